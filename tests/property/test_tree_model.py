# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tree of snapshots against a model that is a dictionary: take, go back, delete and merge never change what any other
snapshot shows.

The guest writes, and others grow, switch and mark the disk, through code that shares nothing with the engine. Every
operation runs as in a task: plan twice, apply, compare with what was predicted, plan again. A refusal is predicted by
the model, changes nothing and stays the same.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, Type
from xml.etree import ElementTree

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.leftovers import leftovers, orphans
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    DiskError,
    HasSnapshots,
    Interrupted,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_view
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import (
    choose_deletion,
    choose_removals,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.revert import plan_revert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import HEADER, fill, pack_hds_header
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))
SECTOR = 512
MOST_SNAPSHOTS = 8
ROOT, OTHER_TOP = guid_of(900), guid_of(901)
BACKUP = "{704718e1-2314-44c8-9087-d78ed36b0f4e}"

SHAPES = st.fixed_dictionaries(
    {
        "clusters": st.one_of(st.integers(1, 12), st.integers(1, 12), st.integers(100, 112)),
        "cut": st.one_of(st.just(0), st.integers(0, 63)),
        "cluster_sectors": st.sampled_from([1, 3, 8, 64]),
        "version": st.sampled_from([1, 2]),
        "root": st.sampled_from(["expanding", "expanding", "packed", "plain", "outside", "plain outside"]),
        "parts": st.sampled_from([None, None, 1, 5]),
        "declared_top": st.sampled_from([None, TOP, OTHER_TOP]),
        "with_backup": st.booleans(),
    }
)
PIECES = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 20), st.integers(0, 255)), min_size=1, max_size=4)
HISTORY = st.lists(
    st.tuples(PIECES, st.sampled_from([0, 0, 0, 1, 7, 64]), st.one_of(st.none(), st.none(), st.integers(0, 9))),
    max_size=5,
)
"""What the guest writes before each of the first snapshots, by how many sectors the disk grows, and whether it then
goes on from another one.
"""
Pieces = List[Tuple[int, int, int]]


class Scene(NamedTuple):
    """How a disk looks at first: the parameters of SHAPES. ``cut`` sectors are missing from the last cluster."""

    clusters: int
    cut: int
    cluster_sectors: int
    version: int
    root: str
    parts: Optional[int]
    declared_top: Optional[str]
    with_backup: bool

    @property
    def sectors(self) -> int:
        return sum(self.split) if self.split is not None else self.whole_sectors

    @property
    def whole_sectors(self) -> int:
        step = min(self.cluster_sectors, 8) if self.clusters > 12 else self.cluster_sectors
        return self.clusters * step - self.cut % step

    @property
    def is_outside(self) -> bool:
        return "outside" in self.root

    @property
    def split(self) -> Optional[List[int]]:
        """Lengths of the parts in sectors; a disk whose root is shared is in one part, to keep its descriptor easy
        to change.
        """
        if self.parts is None or self.is_outside:
            return None
        part = self.parts * self.cluster_sectors
        return [min(part, self.whole_sectors - start) for start in range(0, self.whole_sectors, part)][:6]


# What others do to a disk, with struct and ElementTree.


def put(port: Any, path: str, content: bytes) -> None:
    """Give a file a content."""
    port.remove(path)
    file = port.create(path)
    file.pwrite(0, content)
    file.close()


def get(port: Any, path: str) -> bytes:
    """The content of a file."""
    file = port.open_read(path)
    content = bytearray(file.size())
    file.pread_into(0, content)
    file.close()
    return bytes(content)


def edit(port: Any, path: str, change: Callable[[ElementTree.Element], None]) -> None:
    """Change the descriptor of the disk at ``path``."""
    root = ElementTree.fromstring(get(port, f"{path}/DiskDescriptor.xml"))
    change(root)
    put(port, f"{path}/DiskDescriptor.xml", ElementTree.tostring(root, encoding="utf-8"))


def resized(image: bytes, sectors: int, *, is_empty: bool = False) -> bytes:
    """An expanding image made longer or, when it holds nothing, shorter, with room for the new table before its
    data.
    """
    magic, _type, heads, _cylinders, step, _count, size, _in_use, data_off, _flags, _ext = HEADER.unpack(image[:64])
    version, cluster = (1, step * SECTOR) if magic == b"WithoutFreeSpace" else (2, step * SECTOR)
    unit = SECTOR if version == 1 else cluster
    table = struct.unpack_from(f"<{-(-size // step)}I", image, 64)
    held = (
        {}
        if is_empty
        else {
            index: image[place * unit : place * unit + cluster].ljust(cluster, b"\0")
            for index, place in enumerate(table)
            if place
        }
    )
    last = size // step
    if last in held:
        # What lies behind the end of the disk would come to light.
        held[last] = held[last][: size % step * SECTOR].ljust(cluster, b"\0")
    count = -(-sectors // step)
    data_off = -(-(64 + 4 * count) // cluster) * step
    places = {index: data_off * SECTOR + number * cluster for number, index in enumerate(held)}
    header = pack_hds_header(
        size_sectors=sectors, bat_entries=count, cluster_sectors=step, version=version, data_off=data_off, heads=heads
    )
    entries = struct.pack(f"<{count}I", *[places.get(index, 0) // unit for index in range(count)])
    return (header + entries).ljust(data_off * SECTOR, b"\0") + b"".join(held.values())


def grow(port: Any, path: str, add: int) -> None:
    """Make the disk longer by ``add`` sectors as ploop does: only the top layer grows."""
    part = disks.parts_of(port, path)[-1]
    file, is_plain = part.chain[0]
    sectors = (part.end - part.start) // SECTOR + add
    content = get(port, file)
    put(
        port,
        file,
        content[: part.end - part.start].ljust(sectors * SECTOR, b"\0") if is_plain else resized(content, sectors),
    )

    def change(root: ElementTree.Element) -> None:
        for element in [
            root.find("Disk_Parameters/Disk_size"),
            *[storage.find("End") for storage in root.iter("Storage")][-1:],
        ]:
            assert element is not None
            element.text = str(int(element.text or 0) + add)

    edit(port, path, change)


def length_of(port: Any, image: Tuple[str, bool]) -> int:
    """How many bytes of its part an image holds."""
    path, is_plain = image
    return len(get(port, path)) if is_plain else HEADER.unpack(get(port, path)[:64])[6] % (1 << 32) * SECTOR


def shorten_top(port: Any, path: str, by: int) -> None:
    """Give an empty top the length of the layer below it, as ploop does when it switches, or in the last part less
    ``by`` sectors.
    """
    for part in disks.parts_of(port, path):
        sectors = length_of(port, part.chain[1]) // SECTOR
        if part.end == disks.parts_of(port, path)[-1].end:
            sectors = max(1, sectors - by)
        put(port, part.chain[0][0], resized(get(port, part.chain[0][0]), sectors, is_empty=True))


def mark_temporary(port: Any, path: str, guid: str, mark: str) -> None:
    """Leave a snapshot as ploop does when it dies in the middle of a merge."""

    def change(root: ElementTree.Element) -> None:
        for shot in root.iter("Shot"):
            if shot.findtext("GUID") == guid:
                ElementTree.SubElement(shot, mark)

    edit(port, path, change)


def marked(port: Any, path: str) -> Set[str]:
    """The snapshots with such a mark."""
    root = ElementTree.fromstring(get(port, f"{path}/DiskDescriptor.xml"))
    return {
        shot.findtext("GUID") or ""
        for shot in root.iter("Shot")
        if any(child.tag.startswith("Temporary") for child in shot)
    }


class TreeMachine(RuleBasedStateMachine):
    """One disk in one folder. ``views`` maps every snapshot, the current state included, to its guest bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.port: Any = None
        self.folder = self.path = self.outside = ""
        self.top = TOP
        self.declared_top: Optional[str] = None
        self.views: Dict[str, bytearray] = {}
        self.parents: Dict[str, Optional[str]] = {}
        self.temporary: Set[str] = set()
        self.shared: object = None

    def open_port(self) -> None:
        """Make ``port`` and ``folder``."""
        self.port, self.folder = MemoryPort(), "/vm"
        self.port.plant_directory(self.folder)

    @initialize(shape=SHAPES, history=HISTORY)
    def start(self, shape: Dict[str, Any], history: List[Tuple[Pieces, int, Optional[int]]]) -> None:
        self.create(shape)
        for pieces, add, target in history:
            if add:
                self.ploop_grows(add)
            self.guest_writes(pieces)
            self.take()
            if target is not None:
                self.revert(target)
        if history:
            self.guest_writes(history[0][0])

    def create(self, shape: Dict[str, Any]) -> None:
        self.open_port()
        scene = Scene(**shape)
        self.path = f"{self.folder}/disk.hdd"
        self.declared_top, self.top = scene.declared_top, scene.declared_top or TOP
        layers = self._layers(scene)
        with tempfile.TemporaryDirectory() as scratch:
            built = build_bundle(
                os.path.join(scratch, "disk.hdd"),
                size_sectors=scene.sectors,
                layers=layers,
                split=scene.split,
                top_guid=scene.declared_top,
                cluster_sectors=scene.cluster_sectors,
                version=scene.version,
            )
            if scene.root == "packed":
                _pack(built.files[(0, layers[0].guid)])
            self._bring(scene, built.directory, os.path.basename(built.files[(0, layers[0].guid)]))
            self.views = {layer.guid: bytearray(built.guest(layer.guid)) for layer in layers}
        self.parents = {
            layer.guid: below.guid if below is not None else None for below, layer in zip([None, *layers], layers)
        }

    def _layers(self, scene: Scene) -> List[Layer]:
        step = scene.cluster_sectors * SECTOR
        held = {number: fill(number, step) for number in range(0, -(-scene.sectors // scene.cluster_sectors), 3)}
        kind = "Plain" if "plain" in scene.root else "Compressed"
        if not scene.is_outside and not scene.with_backup:
            return [Layer(self.top, clusters=held, type=kind)]
        layers = [Layer(ROOT, clusters=held, type=kind)]
        if scene.with_backup:
            layers.append(Layer(BACKUP, ROOT, {1: fill(1, step, 7)} if scene.sectors > scene.cluster_sectors else {}))
        return [*layers, Layer(self.top, layers[-1].guid)]

    def _bring(self, scene: Scene, directory: str, root_name: str) -> None:
        """Copy a bundle from the host into the port; a shared root goes to another folder."""
        self.port.make_directory(self.path)
        self.outside = f"{self.folder}/parent/{root_name}" if scene.is_outside else ""
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), "rb") as stream:
                content = stream.read()
            if name == "DiskDescriptor.xml" and self.outside:
                content = content.replace(root_name.encode(), self.outside.encode())
            if name == root_name and self.outside:
                self.port.make_directory(os.path.dirname(self.outside))
                put(self.port, self.outside, content)
            else:
                put(self.port, f"{self.path}/{name}", content)
        self.shared = self.look_at_shared()

    def look_at_shared(self) -> object:
        """What must never change of the image outside of the bundle."""
        if not self.outside:
            return None
        stat = self.port.stat(self.outside)
        return get(self.port, self.outside), stat.mtime_ns, stat.inode, stat.size

    # What others do.

    @rule(pieces=PIECES)
    def guest_writes(self, pieces: Pieces) -> None:
        """Sectors, but only where the top layer reaches: ploop makes tops that are shorter than the disk."""
        view, end = self.views[self.top], self.writable_end()
        for sector, length, byte in pieces:
            offset = sector * SECTOR % end
            content = (bytes([byte]) * length * SECTOR)[: end - offset]
            disks.write(self.port, self.path, offset, content)
            view[offset : offset + len(content)] = content

    @rule(number=st.integers(0, 30))
    def guest_forgets_a_cluster(self, number: int) -> None:
        """The place in the file stays, with what was written there, and a merge may use it again."""
        part = disks.parts_of(self.port, self.path)[0]
        path, is_plain = part.chain[0]
        if is_plain:
            return
        step = HEADER.unpack(get(self.port, path)[:64])[4] * SECTOR
        length = min(part.end, length_of(self.port, part.chain[0]))
        index = number % -(-length // step)
        disks.leak(self.port, self.path, index=index)
        parent = self.parents[self.top]
        piece = slice(index * step, min(length, (index + 1) * step))
        self.views[self.top][piece] = bytes(piece.stop - piece.start) if parent is None else self.views[parent][piece]

    @precondition(lambda self: self.views and self.writable_end() == len(self.views[self.top]) < 1000 * SECTOR)
    @rule(add=st.one_of(st.integers(1, 20), st.sampled_from([64, 128])))
    def ploop_grows(self, add: int) -> None:
        grow(self.port, self.path, add)
        for view in self.views.values():
            view += bytes(add * SECTOR)
        self.shared = self.look_at_shared()

    @precondition(lambda self: 1 < len(self.views) <= MOST_SNAPSHOTS and self.parents[self.top])
    @rule(number=st.integers(0, 20), shorter=st.sampled_from([None, 0, 0, 1, 5, 64]))
    def somebody_switches(self, number: int, shorter: Optional[int]) -> None:
        """The disk goes on from another snapshot, and the present state is kept as a leaf.

        The new top may be shorter than its disk.
        """
        target, kept = self.pick(number), self.new_guid()
        disks.switch(self.port, self.path, target, kept_as=kept)
        if shorter is not None:
            shorten_top(self.port, self.path, shorter)
        self.views[kept], self.parents[kept] = self.views[self.top], self.parents[self.top]
        view = self.views[target][: self.writable_end()]
        self.views[self.top], self.parents[self.top] = view.ljust(len(self.views[target]), b"\0"), target

    @precondition(lambda self: len(self.views) > 1 and not self.temporary)
    @rule(number=st.integers(0, 20), mark=st.sampled_from(["Temporary", "TemporaryZero"]))
    def ploop_dies_in_a_merge(self, number: int, mark: str) -> None:
        guid = self.pick(number)
        mark_temporary(self.port, self.path, guid, mark)
        self.temporary.add(guid)

    # What the engine does.

    @precondition(lambda self: self.views and len(self.views) <= MOST_SNAPSHOTS)
    @rule()
    def take(self) -> None:
        guid = self.new_guid()
        self.run(lambda: plan_snapshot_take(self.state(), guid))
        self.views[guid] = bytearray(self.views[self.top])
        self.parents[guid] = self.parents[self.top]
        self.parents[self.top] = guid

    @precondition(lambda self: len(self.views) > 1)
    @rule(number=st.integers(0, 20))
    def revert(self, number: int) -> None:
        guid = self.pick(number)
        if (
            self.run(lambda: plan_revert(self.state(), guid), refusal=Interrupted if guid in self.temporary else None)
            is not None
        ):
            self.views[self.top] = bytearray(self.views[guid])
            self.parents[self.top] = guid

    @precondition(lambda self: len(self.views) > 1)
    @rule(number=st.integers(0, 20), descendants=st.sampled_from(["keep", "keep", "refuse", "delete"]))
    def delete(self, number: int, descendants: str) -> None:
        guid = self.pick(number)
        above = self.above(guid)
        removals = {guid, *above} if descendants == "delete" else {guid}
        refused = self.top in removals or (descendants == "refuse" and above - {self.top})
        refused = refused or self.falls_apart_without(removals)

        def planned() -> Plan:
            state = self.state()
            return plan_merge(self.port, state, choose_deletion(state, guid, descendants=descendants))

        plan = self.run(planned, refusal=HasSnapshots if refused else None, may_be=self.excuse(removals))
        if plan is not None:
            assert set(plan.facts.merged) == removals
            self.forget(removals)

    @precondition(lambda self: len(self.views) > 1)
    @rule(
        chosen=st.one_of(st.none(), st.lists(st.integers(0, 9), max_size=4)),
        max_layers=st.integers(1, 4),
        strategy=st.sampled_from(["auto", "in_place", "copy"]),
        branches=st.sampled_from(["refuse", "discard"]),
    )
    def merge(self, chosen: Optional[List[int]], max_layers: int, strategy: str, branches: str) -> None:
        chain = self.chain(self.top)
        snapshots = None if chosen is None else [self.pick(number) for number in chosen]
        candidates = [guid for guid in chain[:-1] if snapshots is None or guid in snapshots]
        removals = set(candidates[: max(0, len(chain) - max_layers)])
        aside = {child for child, parent in self.parents.items() if parent in removals and child not in chain}
        refused = aside and branches == "refuse"
        for child in aside:
            removals |= {child, *self.above(child)}

        def planned() -> Plan:
            state = self.state()
            return plan_merge(
                self.port,
                state,
                choose_removals(state, max_layers=max_layers, snapshots=snapshots, branches=branches),
                strategy=strategy,
            )

        plan = self.run(
            planned, refusal=HasSnapshots if refused else None, may_be=self.excuse(removals, strategy=strategy)
        )
        if plan is not None:
            assert set(plan.facts.merged) == removals
            self.forget(removals)

    # The model.

    def new_guid(self) -> str:
        """A GUID that no snapshot has now; it may have been that of one before, as with snapshots that are taken by
        name.
        """
        return next(guid for guid in map(guid_of, range(1, 99)) if guid not in self.views)

    def writable_end(self) -> int:
        """Where the top layer ends on the disk."""
        last = disks.parts_of(self.port, self.path)[-1]
        return min(last.end, last.start + length_of(self.port, last.chain[0]))

    def pick(self, number: int) -> str:
        """Some snapshot."""
        return sorted(guid for guid in self.views if guid != self.top)[number % (len(self.views) - 1)]

    def chain(self, guid: str) -> List[str]:
        """The layers of ``guid``, the root first."""
        parent = self.parents[guid]
        return [guid] if parent is None else [*self.chain(parent), guid]

    def falls_apart_without(self, removals: Set[str]) -> bool:
        """Whether several layers would have no parent: a disk has one root."""
        left = {guid: self.chain(guid) for guid in self.parents if guid not in removals}
        return len({next(guid for guid in chain if guid in left) for chain in left.values()}) > 1

    def above(self, guid: str) -> Set[str]:
        return {other for other in self.parents if other != guid and guid in self.chain(other)}

    def forget(self, removals: Set[str]) -> None:
        for guid in removals:
            del self.views[guid]
            gone_parent = self.parents.pop(guid)
            self.parents = {child: gone_parent if parent == guid else parent for child, parent in self.parents.items()}
        self.temporary -= removals

    def excuse(self, removals: Set[str], *, strategy: str = "auto") -> Tuple[Type[DiskError], ...]:
        """What a merge may refuse beside that: a new file for a plain layer, and a layer that ends within a cluster
        and before one below it.
        """
        for survivor in [guid for guid in self.views if guid not in removals and self.parents[guid] in removals]:
            chain = self.chain(survivor)[::-1]
            count = next((number for number, guid in enumerate(chain) if number and guid not in removals), len(chain))
            for part in disks.parts_of(self.port, self.path, survivor):
                has_plain = any(is_plain for _file, is_plain in part.chain[:count])
                if (has_plain and strategy == "copy") or self._ends_early(part.chain, count):
                    return (Unsupported,)
        return ()

    def _ends_early(self, chain: Sequence[Tuple[str, bool]], count: int) -> bool:
        lengths = [length_of(self.port, image) for image in chain]
        step = HEADER.unpack(get(self.port, chain[0][0])[:64])[4] * SECTOR
        return any(length % step and length < max(lengths[number:]) for number, length in enumerate(lengths[:count]))

    # How an operation runs.

    def run(
        self,
        planned: Callable[[], Plan],
        *,
        refusal: Optional[Type[DiskError]] = None,
        may_be: Tuple[Type[DiskError], ...] = (),
    ) -> Optional[Plan]:
        """Plan, apply and plan again; None when it was refused, which is required when there is a ``refusal``."""
        before = self.listing()
        expected = (refusal,) if refusal is not None else may_be
        try:
            plan = planned()
        except expected:  # pylint: disable=catching-non-exception
            with pytest.raises(expected):
                planned()
            assert self.listing() == before
            return None
        assert refusal is None
        assert planned().steps == plan.steps
        assert self.listing() == before
        predicted = disks.facts_of(self.port, plan.facts.after)
        if not plan.is_empty:
            outcome = disks.apply(self.port, plan)
            assert (outcome.bytes_read, outcome.bytes_written) == (plan.bytes_read, plan.bytes_written)
        assert disks.facts_of(self.port, self.state()) == predicted
        again = planned()
        assert again.is_empty, again.steps
        return plan

    def state(self) -> BundleState:
        return disks.state_of(self.port, self.path, allow_outside=True)

    def listing(self) -> object:
        """Something that differs when anything was changed."""
        return len(self.port.effects)

    # What always holds.

    @precondition(lambda self: self.views)
    @invariant()
    def the_disk_is_as_the_model_says(self) -> None:
        state = self.state()
        self.check_views(state)
        self.check_tree(state)
        assert self.look_at_shared() == self.shared
        assert (state.journal, leftovers(state), orphans(state)) == (None, (), ())
        assert not [name for name in self.port.list_directory(self.folder) if name.startswith(".")]
        assert not any(image.is_dirty for image in state.images.values())
        if isinstance(self.port, MemoryPort):
            assert not self.port.held
            assert not any(self.port.opened.values())

    def check_views(self, state: BundleState) -> None:
        for guid, content in self.views.items():
            assert disks.read_naively(self.port, self.path, guid) == content, guid
            view = open_view(self.port, state, guid)
            found = bytearray(view.size)
            view.pread_into(0, found)
            view.close()
            assert found == content, guid

    def check_tree(self, state: BundleState) -> None:
        assert state.tree.top == self.top
        assert state.descriptor.declared_top == self.declared_top
        assert {guid: shot.parent for guid, shot in state.tree.shots.items()} == {
            guid: parent or disks.NONE for guid, parent in self.parents.items()
        }
        assert sorted(disks.guids_of(self.port, self.path)) == sorted(self.views)
        assert marked(self.port, self.path) == self.temporary


def _pack(path: str) -> None:
    """Move the data of a v1 image right behind its table, so that the table has no room to grow: data_off 0 or as
    small as it may be.
    """
    with open(path, "rb") as stream:
        image = stream.read()
    fields = list(HEADER.unpack(image[:64]))
    step, count, data_off = fields[4], fields[5], fields[8]
    start = -(-(64 + 4 * count) // SECTOR)
    if fields[0] != b"WithoutFreeSpace" or start == data_off:
        return
    table = [place and place - data_off + start for place in struct.unpack_from(f"<{count}I", image, 64)]
    fields[8] = 0
    assert all((place - start) % step == 0 for place in table if place)
    with open(path, "wb") as stream:
        stream.write(
            (HEADER.pack(*fields) + struct.pack(f"<{count}I", *table)).ljust(start * SECTOR, b"\0")
            + image[data_off * SECTOR :]
        )


class RealTreeMachine(TreeMachine):
    """The same on the files of the host, with their holes and kernel copies."""

    def open_port(self) -> None:
        self.port = OsPort()
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="vdisk-tree-"))

    def listing(self) -> object:
        found = {}
        for folder, _folders, names in os.walk(self.folder):
            for path in [folder] + [os.path.join(folder, name) for name in names]:
                facts = os.lstat(path)
                found[path] = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        return found

    def teardown(self) -> None:
        if self.folder:
            shutil.rmtree(self.folder)


@pytest.mark.parametrize("machine, examples", [(TreeMachine, 40), (RealTreeMachine, 8)], ids=["memory", "host"])
def test_a_tree_shows_what_the_model_shows(machine: Type[TreeMachine], examples: int) -> None:
    chosen = settings(max_examples=examples * 50 if LONG else examples, stateful_step_count=60 if LONG else 20)
    run_state_machine_as_test(machine, settings=chosen)
