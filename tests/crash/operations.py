# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every operation as its module runs it: clear or finish what an earlier run left, look, plan, apply.

``run`` of an operation takes any port and the folder in which the scene lies, so it serves in memory and on the host.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any, Callable, List, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState, observe
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.notes import Note, pack_notes
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._change.aside import clear_siblings
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.fingerprint import refuse_changed
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Port
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import (
    needs_recovery,
    recover,
    take_back,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.create import plan_create, plan_remove
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.rename import plan_rename
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import AUTO, plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import (
    DELETE,
    KEEP,
    choose_deletion,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.revert import plan_revert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.crash import scenes
from ansible_collections.vdisk.parallels.tests.crash.scenes import Drawing, line, plant, plant_raw, plant_single, tree
from ansible_collections.vdisk.parallels.tests.crash.sight import Sight
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

FOLDER = "/vm"
DISK = "disk.hdd"
NEW = guid_of(900)

Planner = Callable[[Port, BundleState], Plan]


class Run:
    """One run of a module: ``plans`` are those that it applied, ``recovered`` tells what it finished of earlier runs.

    ``between`` is called when that is done, before anything else.
    """

    def __init__(
        self,
        port: Port,
        folder: str,
        *,
        token: str = "1",
        between: Optional[Callable[[], None]] = None,
        allow_outside: bool = True,
    ) -> None:
        self.port = port
        self._allow_outside = allow_outside
        self.folder = folder
        self.token = token
        self.plans: List[Plan] = []
        self.recovered: Tuple[str, ...] = ()
        self._between = between

    @property
    def changed(self) -> bool:
        """What the task would say."""
        return bool(self.plans or self.recovered)

    def apply(self, plan: Plan) -> None:
        """Execute as ``_ansible.disk.run_plan`` does."""
        if not plan.is_empty:
            self.plans.append(plan)
            execute(self.port, plan, recover=lambda path: take_back(self.port, path))

    def clear(self, name: str) -> str:
        """What comes first where whole disks are built: the path of ``name``, leftovers beside it gone."""
        path = f"{self.folder}/{name}"
        self.recovered += clear_siblings(self.port, path)
        if self._between is not None:
            self._between()
        return path

    def change(self, name: str, planner: Planner) -> None:
        """As ``_ansible.disk.change_disk`` does."""
        location = locate(self.port, f"{self.folder}/{name}")
        state = observe(self.port, location, allow_outside=self._allow_outside)
        if needs_recovery(state):
            self.recovered += recover(self.port, location, allow_outside=self._allow_outside)
            state = observe(self.port, location, allow_outside=self._allow_outside)
        if self._between is not None:
            self._between()
        try:
            plan = planner(self.port, state)
        except DiskError:
            refuse_changed(self.port, state.fingerprint)
            raise
        self.apply(plan)


@dataclass(frozen=True)
class Operation:
    """``prepare`` puts the scene into a folder of a port. ``disk`` is the name of what is changed or built.

    ``inside``: the disk is changed where it lies. ``gone``: snapshots that the operation removes.
    ``expects`` looks at the finished scene and tells whether the scene is one of the kind its name says.
    ``mask`` takes from a sight what the operation may change.
    """

    name: str
    prepare: Callable[[MemoryPort, str], None]
    run: Callable[[Run], None]
    disk: str = DISK
    inside: bool = True
    gone: Tuple[str, ...] = ()
    exchanges: bool = True
    kernel_copies: bool = True
    expects: Optional[Callable[[MemoryPort, str], bool]] = None
    mask: Optional[Callable[[Sight], Sight]] = None

    def scene(self) -> MemoryPort:
        """A port with the scene in FOLDER."""
        port = MemoryPort(exchanges=self.exchanges, kernel_copies=self.kernel_copies)
        port.plant_directory(FOLDER)
        self.prepare(port, FOLDER)
        return port


def _planted(drawing: Drawing) -> Callable[[MemoryPort, str], None]:
    return lambda port, folder: plant(port, f"{folder}/{DISK}", drawing)


# Operations inside a bundle.


def _changes(name: str, drawing: Drawing, planner: Planner, **options: Any) -> Operation:
    return Operation(name, _planted(drawing), lambda run: run.change(DISK, planner), **options)


def _with_names(drawing: Drawing, *layers: str) -> Callable[[MemoryPort, str], None]:
    """Some snapshots have names, and one that the disk does not have."""

    def prepare(port: MemoryPort, folder: str) -> None:
        plant(port, f"{folder}/{DISK}", drawing)
        notes = {drawing.guid(layer): Note(layer, "2026-01-31T12:00:00Z", "why") for layer in layers}
        port.plant_file(f"{folder}/{DISK}/vdisk-snapshots.json", pack_notes({**notes, guid_of(77): Note("gone")}))

    return prepare


def _names(name: str, drawing: Drawing, note: Note, *, guid: str = NEW, named: Sequence[str] = ()) -> Operation:
    operation = _changes(f"name-{name}", drawing, lambda port, state: plan_snapshot_take(state, guid, note=note))
    return replace(operation, prepare=_with_names(drawing, *named)) if named else operation


def _take(name: str, drawing: Drawing) -> Operation:
    return _changes(f"take-{name}", drawing, lambda port, state: plan_snapshot_take(state, NEW))


def merges(
    name: str,
    drawing: Drawing,
    removed: Sequence[str],
    *,
    strategy: str = AUTO,
    into: Optional[str] = None,
    **options: Any,
) -> Operation:
    """Merge the layers called ``removed``; ``into`` is the layer whose file must be the one that stays for the top."""
    gone = tuple(drawing.guid(layer) for layer in removed)

    def planner(port: Port, state: BundleState) -> Plan:
        return plan_merge(port, state, [guid for guid in gone if guid in state.tree.shots], strategy=strategy)

    def expects(port: MemoryPort, path: str) -> bool:
        before = MemoryPort()
        plant(before, path, drawing)
        return into is None or disks.file_of(port, path) == disks.file_of(before, path, drawing.guid(into))

    return _changes(f"merge-{name}", drawing, planner, gone=gone, expects=expects, **options)


def _compacts(name: str, drawing: Drawing, *, scan: str = "zeros") -> Operation:
    return _changes(f"compact-{name}", drawing, lambda port, state: plan_compact(port, state, scan=scan))


def _reverts(name: str, drawing: Drawing, to: str) -> Operation:
    return _changes(f"revert-{name}", drawing, lambda port, state: plan_revert(state, drawing.guid(to)))


BRANCHED = tree(
    "base - ABC0.xA.", "s1 base .D.EE...", "side base ..F..F0.", "s2 s1 A..0.B..", "top s2 .C......", "leaf s1 G......G"
)

TAKES = (
    _take("first", line("AB.x0..C")),
    _take("v2-chain", line("AB.x0..C", ".A.A..B.", "...0...A", version=2)),
    _take("split", line("AB.A", "...B", ".CC.", split=(2, 1, 1))),
    _take("plain", line("ABCD", plain=True)),
    _take("ploop", line("AB.0", ".C..", style="ploop", version=2)),
    _take("branched", BRANCHED),
    _take(
        "topguid",
        tree("base - AB.C", "side base .D..", "top base ..E.", style="ploop", version=2, top_guid=guid_of(800)),
    ),
    _names("first", line("AB.C"), Note("new", "2026-01-31T12:00:00Z", "why")),
    _names("another", line("AB.C", ".D.."), Note("new"), named=["base"]),
    _names("existing", line("AB.C", ".D.."), Note("new", None, "other"), guid=line("AB.C", ".D..").guid("base")),
)

MERGES = (
    merges("lowest", line("ABCDEFG.", "..A....A", ".B......"), ["base", "s1"], into="base"),
    merges("middle", line("A......B", ".ABCDEF.", "..G....."), ["base", "s1"], into="s1"),
    merges("top", line("A..B....", ".A......", "BCDEFG.."), ["base", "s1"], into="top"),
    merges("top-over-data", line("A..B....", ".A.C....", "BCDE...."), ["base", "s1"], into="top"),
    merges("one-of-three", line("AB.C....", ".CC..D..", "..A....E"), ["s1"]),
    merges("holes", line("AxBxCDEF", ".A.B....", "..C....A"), ["base", "s1"], into="base"),
    merges("holes-in-top", line("..A.B..C", "AxBxCxD."), ["base"], into="top"),
    merges("zeros-over-data", line("ABCDEF..", "0.0....0", "..A0...."), ["base", "s1"], into="base"),
    merges("zeros-keep-hiding", line("ABCDEFGH", "0..0....", "..A.0..0"), ["s1"]),
    merges("nothing-to-move", line("ABCDEFGH", "........", "........"), ["base", "s1"], into="base"),
    merges("hidden", line("AB......", "ABCDEF.."), ["base"], into="top"),
    merges("several-groups", line("ABCD....", ".A..B...", "..B..CD.", "A....A..", ".B...B.."), ["base", "s2"]),
    merges("v2", line("ABCDEF..", "..A.B..C", ".B......", version=2), ["base", "s1"], into="base"),
    merges("v2-top", line("A..B....", ".A......", "BCDEFG..", version=2), ["base", "s1"], into="top"),
    merges("split", line("AB.CD.", ".A.AB.", "..C..B", split=(2, 2, 2)), ["base", "s1"]),
    merges("split-two-ways", line("ABC...", ".A.B..", "...CDE", split=(3, 3)), ["base", "s1"]),
    merges("plain", line("ABCDEFGH", ".A.0..B.", "..C....A", plain=True), ["base", "s1"], into="base"),
    merges("above-plain", line("ABCDEFGH", ".A.0..B.", "..C....A", plain=True), ["s1"]),
    merges("branched", BRANCHED, ["s2"]),
    merges("virtuozzo", line("ABCD", "..A0", ".C..", style="virtuozzo", version=2), ["s1"]),
    merges("ploop", line("ABCDE.", "..A0..", ".C...B", style="ploop", version=2), ["base", "s1"], into="base"),
    merges("no-kernel-copies", line("ABCD....", "..A0.B..", ".C..B..."), ["base", "s1"], kernel_copies=False),
    merges("copy", line("ABCD....", "..A0.B..", ".C..B..."), ["base", "s1"], strategy="copy"),
    merges(
        "copy-groups", line("ABCD....", ".A..B...", "..B..CD.", "A....A..", ".B...B.."), ["base", "s2"], strategy="copy"
    ),
    merges("copy-split-v2", line("AB.C", ".A..", "..B0", split=(2, 2), version=2), ["s1"], strategy="copy"),
    replace(
        merges("names", line("ABCD....", "..A0.B..", ".C..B..."), ["base"]),
        prepare=_with_names(line("ABCD....", "..A0.B..", ".C..B..."), "base", "s1"),
    ),
    merges("bitmap", line("ABCDEF..", "..A....B", ".C......", bitmap="base"), ["base", "s1"], into="base"),
)


def _with_an_image_outside(drawing: Drawing, layer: str) -> Callable[[MemoryPort, str], None]:
    """The image of ``layer`` lies beside the bundle and is not the bundle's to change, as in a linked clone."""

    def prepare(port: MemoryPort, folder: str) -> None:
        plant(port, f"{folder}/{DISK}", drawing)
        image = disks.file_of(port, f"{folder}/{DISK}", drawing.guid(layer))
        name = image.rsplit("/", 1)[-1]
        port.plant_file(f"{folder}/elsewhere/{name}", port.content(image))
        port.remove(image)
        descriptor = f"{folder}/{DISK}/DiskDescriptor.xml"
        port.plant_file(
            descriptor,
            port.content(descriptor).replace(f"<File>{name}<".encode(), f"<File>../elsewhere/{name}<".encode()),
        )

    return prepare


def _with_a_dirty_gap(drawing: Drawing, layer: str) -> Callable[[MemoryPort, str], None]:
    """What lies between the table and the data of ``layer`` is not zero, as old writers leave it."""

    def prepare(port: MemoryPort, folder: str) -> None:
        plant(port, f"{folder}/{DISK}", drawing)
        image = disks.file_of(port, f"{folder}/{DISK}", drawing.guid(layer))
        content = bytearray(port.content(image))
        first, count = 64 + 4 * int.from_bytes(content[32:36], "little"), int.from_bytes(content[48:52], "little") * 512
        content[first:count] = b"\x02\0\0\0" * ((count - first) // 4)
        port.plant_file(image, bytes(content))

    return prepare


OUTSIDE = tree("base - ABCD..", "side base .E..F.", "top base ..G..H")

DIRTY = line("ABC", "..A.....", "......B.")

AWAY = (
    merges("leaf-away", BRANCHED, ["leaf"]),
    merges("branch-away", BRANCHED, ["leaf", "side"]),
    merges("fork-away", BRANCHED, ["s1"]),
    merges("root-away", BRANCHED, ["base"]),
    merges("root-and-fork-away", BRANCHED, ["base", "s1"]),
    merges("fork-and-branch-away", BRANCHED, ["s1", "side"]),
    merges("fork-away-split", tree("base - AB.C", "s1 base .D.E", "side s1 F..F", "top s1 .G..", split=(2, 2)), ["s1"]),
    merges("fork-away-plain", tree("base - ABCD", "side base .E.0", "top base F.0.", plain=True, version=2), ["base"]),
    replace(merges("into-new-and-old-files", OUTSIDE, ["base"]), prepare=_with_an_image_outside(OUTSIDE, "side")),
    replace(merges("root-outside", OUTSIDE, ["base"]), prepare=_with_an_image_outside(OUTSIDE, "base")),
    merges("shorter-base", line("ABC", "..A.....", "....BCDE"), ["base"]),
    merges("shorter-middle", line("ABCDEFGH", "..A0", "B......."), ["s1"]),
    merges("shorter-base-grows", line("ABC", "..A.....", "......B."), ["base", "s1"], into="base"),
    replace(
        merges("shorter-base-grows-over-dirt", DIRTY, ["base", "s1"], into="base"),
        prepare=_with_a_dirty_gap(DIRTY, "base"),
    ),
    merges("shorter-plain", line("ABC", "..A..B..", "......B.", plain=True), ["base", "s1"]),
)


def _deletes(
    name: str, drawing: Drawing, snapshot: str, *, descendants: str = KEEP, gone: Sequence[str] = ()
) -> Operation:
    """What ``hdd_snapshot`` does with ``state: absent``; ``gone`` are the snapshots that go besides."""
    guid = drawing.guid(snapshot)

    def planner(port: Port, state: BundleState) -> Plan:
        return plan_merge(port, state, choose_deletion(state, guid, descendants=descendants))

    return _changes(f"delete-{name}", drawing, planner, gone=(guid, *(drawing.guid(layer) for layer in gone)))


def _forked(**options: Any) -> Drawing:
    """::

    base - s1 - fork - s2 - top
                   `- side - leaf
    """
    layers = (
        "base - AB.C",
        "s1 base .D.0",
        "fork s1 E..F",
        "side fork .A.B",
        "leaf side C...",
        "s2 fork .0D.",
        "top s2 ..E.",
    )
    return tree(*layers, **options)


KINDS_OF_BUNDLES = {
    "v1": _forked(),
    "v2": _forked(version=2),
    "split": _forked(split=(2, 2)),
    "plain": _forked(plain=True),
    "topguid": _forked(style="ploop", version=2, top_guid=guid_of(800)),
}


def _deletes_everywhere(name: str, snapshot: str, **options: Any) -> Tuple[Operation, ...]:
    return tuple(_deletes(f"{name}-{kind}", drawing, snapshot, **options) for kind, drawing in KINDS_OF_BUNDLES.items())


DELETIONS = (
    *_deletes_everywhere("leaf", "leaf"),
    *_deletes_everywhere("middle", "s2"),
    *_deletes_everywhere("middle-aside", "side"),
    *_deletes_everywhere("branch", "side", descendants=DELETE, gone=["leaf"]),
    *_deletes_everywhere("fork", "fork"),
    *_deletes_everywhere("parent-of-fork", "s1"),
    *_deletes_everywhere("root", "base"),
)

REVERTS = (
    _reverts("parent", line("AB.C", ".D..", "..E."), "s1"),
    _reverts("grandparent", line("AB.C", ".D..", "..E.", version=2), "base"),
    _reverts("split", line("AB.C", ".D..", "..E.", split=(3, 1)), "base"),
    _reverts("plain", line("ABCD", ".D..", plain=True), "base"),
    _reverts("branched", BRANCHED, "side"),
    _reverts("ploop", line("AB.C", ".D..", "..E.", style="ploop"), "base"),
    _reverts(
        "topguid",
        tree("base - AB.C", "side base .D..", "top base ..E.", style="ploop", version=2, top_guid=guid_of(800)),
        "side",
    ),
)

COMPACTIONS = (
    _compacts("zeros", line("A0B00C0D")),
    _compacts("leaks", line("AxBCxxDE"), scan="metadata"),
    _compacts("both", line("A0xBx0CD")),
    _compacts("chain", line("A0B0C.0D", "0x..0A.B", "..00xB.C")),
    _compacts("v2", line("A0xB.0CD", "x0A..B.C", version=2)),
    _compacts("split", line("0xAB0B", "A.0.0A", split=(3, 3))),
    _compacts("branched", BRANCHED),
    _compacts("above-plain", line("A0B0C..D", "0x..0A0B", plain=True)),
    _compacts("bitmap", line("A0BxDC0.", bitmap="top")),
)


def _single(port: MemoryPort, folder: str) -> None:
    plant_single(port, f"{folder}/{DISK}", "A0xBx0CD")


def _renames(port: Port, state: BundleState) -> Plan:
    return plan_rename(state, "another name")


OTHERS = (
    Operation("compact-single-file", _single, lambda run: run.change(DISK, plan_compact)),
    _changes("rename", line("AB", ".A"), _renames),
    _changes("rename-ploop", line("AB", ".A", style="ploop"), _renames),
)


# Operations that build or remove whole disks.


def _creates(name: str, **shape: Any) -> Operation:
    def run(one: Run) -> None:
        path = one.clear(DISK)
        if one.port.lstat(path) is None:
            one.apply(plan_create(path, disks.shape(**shape), name="disk", uid=disks.UID, token=one.token))
        else:
            one.change(DISK, lambda port, state: plan_rename(state, "disk"))

    return Operation(f"create-{name}", lambda port, folder: None, run, inside=False)


def _removes(name: str, prepare: Callable[[MemoryPort, str], None]) -> Operation:
    def run(one: Run) -> None:
        path = one.clear(DISK)
        if one.port.stat(path) is not None:
            one.apply(plan_remove(observe(one.port, locate(one.port, path), allow_outside=True), token=one.token))

    return Operation(f"remove-{name}", prepare, run, inside=False)


def _converts(
    name: str,
    prepare: Callable[[MemoryPort, str], None],
    source: str,
    dest: str,
    *,
    format: str = "raw",
    exchanges: bool = True,
    **wanted: Any,
) -> Operation:
    def run(one: Run) -> None:
        found = find_source(one.port, f"{one.folder}/{source}")
        path = one.clear(dest)
        one.apply(
            plan_convert(
                one.port,
                found,
                ConvertRequest(format, path, cluster_bytes=disks.SMALL_CLUSTER, **wanted),
                token=one.token,
            )
        )

    return Operation(f"convert-{name}", prepare, run, disk=dest, inside=False, exchanges=exchanges)


def _chain_and(dest: Callable[[MemoryPort, str], None]) -> Callable[[MemoryPort, str], None]:
    def prepare(port: MemoryPort, folder: str) -> None:
        plant(port, f"{folder}/source.hdd", line("AB0.", ".C..", "...D"))
        dest(port, folder)

    return prepare


def _old_raw(port: MemoryPort, folder: str) -> None:
    plant_raw(port, f"{folder}/dest.raw", "ZYX", mode=0o600)


def _old_bundle(port: MemoryPort, folder: str) -> None:
    plant(port, f"{folder}/{DISK}", line("ZY.X"))


def _nothing(port: MemoryPort, folder: str) -> None:
    pass


def _raw_source(port: MemoryPort, folder: str) -> None:
    plant_raw(port, f"{folder}/source.raw", "AB0.C")


BUILDERS = (
    _creates("v1", size=3 * disks.SMALL_CLUSTER),
    _creates(
        "v2-split-preallocated",
        size=3 * disks.SMALL_CLUSTER,
        version=2,
        part_size=2 * disks.SMALL_CLUSTER,
        preallocate=True,
    ),
    _creates("plain", size=2 * disks.SMALL_CLUSTER, kind="plain"),
    _removes("chain", _planted(line("AB.0", ".C.."))),
    _removes("split", _planted(line("AB.0", ".C..", split=(2, 2)))),
    _converts("raw", _chain_and(_nothing), "source.hdd", "dest.raw"),
    _converts("raw-replaced", _chain_and(_old_raw), "source.hdd", "dest.raw"),
    _converts("raw-preallocated", _chain_and(_nothing), "source.hdd", "dest.raw", preallocate=True, verify=False),
    _converts("bundle", _raw_source, "source.raw", DISK, format="hdd"),
    _converts(
        "bundle-split",
        _chain_and(_nothing),
        "source.hdd",
        DISK,
        format="hdd",
        split_size=(100 << 20) + 2 * disks.SMALL_CLUSTER,
        version=2,
    ),
    _converts("bundle-plain", _chain_and(_nothing), "source.hdd", DISK, format="hdd", kind="plain"),
    _converts("bundle-replaced", _chain_and(_old_bundle), "source.hdd", DISK, format="hdd"),
    _converts("bundle-moved-aside", _chain_and(_old_bundle), "source.hdd", DISK, format="hdd", exchanges=False),
)

OPERATIONS = TAKES + REVERTS + MERGES + AWAY + DELETIONS + COMPACTIONS + OTHERS + BUILDERS


def random_operation(seed: object) -> Operation:
    """An operation on a disk as chance will have it."""
    chance = random.Random(f"operation {seed}")
    drawing = scenes.random_drawing(seed)
    kind = chance.choice(("merge", "merge", "merge", "merge", "compact", "take", "revert"))
    if kind == "compact":
        return _compacts(f"random-{seed}", drawing)
    if kind == "take":
        return _take(f"random-{seed}", drawing)
    names = [name for name, _parent, _clusters in drawing.layers if name != "top"]
    if kind == "revert":
        return _reverts(f"random-{seed}", drawing, chance.choice(names))
    removed = [name for name in names if chance.random() < 0.6] or names[:1]
    strategy = AUTO if drawing.plain else chance.choice((AUTO, AUTO, "copy"))
    return merges(f"random-{seed}", drawing, removed, strategy=strategy)


def same_disk_operations() -> Tuple[Operation, ...]:
    """Operations of all kinds that find the same disk before them and can follow one another."""
    disk = line("A0B.C...", ".D.0.E..", "F..G..A.", "..H....B")
    return (
        _take("shared", disk),
        merges("shared", disk, ["base", "s1"]),
        merges("shared-copy", disk, ["s2"], strategy="copy"),
        _compacts("shared", disk),
        _reverts("shared", disk, "s2"),
        _changes("rename-shared", disk, _renames),
    )
