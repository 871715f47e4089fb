# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ending what an interrupted run left, and believing a journal no more than it deserves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, DiskError, Escape, InUse
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import (
    APPLY,
    PREPARE,
    ImageBefore,
    Journal,
    pack_journal,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import (
    needs_recovery,
    plan_recovery,
    recover,
    take_back,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
JOURNAL = f"{PATH}/.vdisk-journal"
CLUSTER = disks.SMALL_CLUSTER
ONE, TWO = guid_of(1), guid_of(2)


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    """1 - 2 - TOP with data in each, and neighbours that nobody may touch."""
    port = MemoryPort()
    port.plant_file("/vm/outside.hds", b"outside")
    disks.new_disk(port, PATH)
    for number, guid in enumerate((ONE, TWO)):
        disks.write(port, PATH, number * CLUSTER, fill(number, 3 * CLUSTER, number))
        disks.take(port, PATH, guid)
    disks.write(port, PATH, 5 * CLUSTER, b"top" * 1000)
    port.plant_file(f"{PATH}/orphan.hds", b"somebody's orphan")
    port.plant_file(f"{PATH}/notes.txt", b"somebody's notes")
    return port


def views(port: Any, path: str = PATH) -> Dict[str, bytes]:
    return {guid: disks.read_naively(port, path, guid) for guid in disks.guids_of(port, path)}


def run(port: Any, path: str = PATH) -> Any:
    return recover(port, locate(port, path))


def stopped(port: MemoryPort, plan: Any, after: int) -> None:
    """Let the first steps of a plan happen, and nothing behind them, as when the process is killed."""
    from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
    from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace

    execute(port, replace(plan, steps=plan.steps[:after]))


def test_a_disk_without_traces_needs_nothing(port: MemoryPort) -> None:
    before = len(port.effects)
    assert not needs_recovery(disks.state_of(port, PATH))
    assert plan_recovery(port, disks.state_of(port, PATH)).is_empty
    assert run(port) == ()
    assert len(port.effects) == before


@pytest.mark.parametrize("operation", ["take", "merge in place", "merge by copy", "compact"])
def test_a_run_that_was_killed_after_any_step_is_ended(port: MemoryPort, operation: str) -> None:
    disks.leak(port, PATH, guid=ONE, index=1)
    scene, expected = port, views(port)

    def planned(on: MemoryPort) -> Any:
        state = disks.state_of(on, PATH)
        if operation == "take":
            return plan_snapshot_take(state, guid_of(9))
        if operation == "compact":
            return disks.plan_compact(on, state)
        return plan_merge(on, state, [ONE], strategy="in_place" if operation == "merge in place" else "copy")

    count = len(planned(MemoryPort(scene.tree.fork())).steps)
    assert count > 4
    for after in range(count):
        trial = MemoryPort(scene.tree.fork())
        stopped(trial, planned(trial), after)
        surviving = {guid: view for guid, view in expected.items() if guid != ONE or "merge" not in operation}
        assert {guid: view for guid, view in views(trial).items() if guid in surviving} == surviving
        done = run(trial)
        # The journal comes first, so that there is something to end after every step but none.
        assert bool(done) == (after > 0), after
        found = views(trial)
        assert {guid: view for guid, view in found.items() if guid in surviving} == surviving
        if ONE in found and ONE not in surviving:
            assert found[ONE] == expected[ONE], after
        assert not [name for name in trial.listing() if ".vdisk-" in name], after
        assert not any(image.is_dirty for image in disks.state_of(trial, PATH).images.values())
        assert trial.content(f"{PATH}/orphan.hds") == b"somebody's orphan"
        assert run(trial) == ()


def test_recovery_is_refused_while_somebody_holds_the_disk(port: MemoryPort) -> None:
    stopped(port, plan_snapshot_take(disks.state_of(port, PATH), guid_of(9)), 3)
    port.plant_holder(disks.file_of(port, PATH, ONE), Holder("write", "qemu"))
    before = port.listing()
    with pytest.raises(InUse):
        run(port)
    assert port.listing() == before


def test_temporary_files_of_ours_are_cleared(port: MemoryPort) -> None:
    before = port.listing()
    port.plant_file(f"{PATH}/.DiskDescriptor.xml.vdisk-new.tmp", b"torn")
    port.plant_file(f"{PATH}/..vdisk-journal.vdisk-new.tmp", b"torn")
    port.plant_file(f"{PATH}/.x.vdisk-abc.tmp/deep/file", b"torn")
    assert len(run(port)) == 1
    assert port.listing() == before


def test_what_ploop_left_is_not_ours_to_clear(port: MemoryPort) -> None:
    port.plant_file(f"{PATH}/DiskDescriptor.xml.tmp", b"ploop")
    port.plant_file(f"{PATH}/a.hds.idx", b"ploop")
    assert run(port) == ()
    assert port.content(f"{PATH}/DiskDescriptor.xml.tmp") == b"ploop"


# Hostile journals


def journal(**fields: Any) -> bytes:
    record: Dict[str, Any] = {
        "version": 1,
        "operation": "merge",
        "phase": PREPARE,
        "created": [],
        "discarded": [],
        "images": [],
        "request": {},
    }
    record.update(fields)
    return json.dumps(record).encode()


def attack(port: MemoryPort, content: bytes) -> None:
    """Whatever a journal says: every view stays, no named file goes, nothing else is touched, and the end is in
    order or an error of ours.
    """
    before, expected = port.listing(), views(port)
    state = disks.state_of(port, PATH)
    named = {image.path for image in state.images.values()} | {f"{PATH}/DiskDescriptor.xml", f"{PATH}/a.hdd"}
    port.plant_file(JOURNAL, content)
    try:
        run(port)
    except DiskError as error:
        assert error.path is not None
    after = port.listing()
    assert views(port) == expected
    assert named <= set(after)
    for path in ("/vm/outside.hds", f"{PATH}/notes.txt"):
        assert after[path] == before[path]
    assert not {path for path in after if path not in before} - {JOURNAL}


NAMES = [
    "../outside.hds",
    "/vm/outside.hds",
    "..",
    ".",
    "",
    "sub/x.hds",
    "a\0.hds",
    "notes.txt",
    "DiskDescriptor.xml",
    "a.hdd",
    "nothing.hds",
    "\ud800.hds",
    "x" * 5000 + ".hds",
    7,
    None,
    True,
    [],
    {},
]


@pytest.mark.parametrize("field", ["created", "discarded"])
@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:20])
@pytest.mark.parametrize("phase", [PREPARE, APPLY])
def test_a_journal_cannot_name_what_is_not_an_image_of_ours(
    port: MemoryPort, field: str, name: Any, phase: str
) -> None:
    attack(port, journal(phase=phase, **{field: [name]}))


@pytest.mark.parametrize("field", ["created", "discarded"])
@pytest.mark.parametrize("phase", [PREPARE, APPLY])
@pytest.mark.parametrize("guid", [ONE, TWO, TOP])
def test_a_journal_cannot_remove_what_the_descriptor_names(port: MemoryPort, field: str, phase: str, guid: str) -> None:
    attack(port, journal(phase=phase, **{field: [disks.file_of(port, PATH, guid).rsplit("/", 1)[-1]]}))


@pytest.mark.parametrize("field", ["created", "discarded"])
def test_a_link_that_the_descriptor_names_is_an_image_of_the_disk(tmp_path: Path, field: str) -> None:
    built = build_bundle(
        str(tmp_path / "a.hdd"),
        size_sectors=64,
        layers=[Layer(TOP, clusters={0: fill(0, CLUSTER)})],
        cluster_sectors=64,
    )
    file = built.files[(0, TOP)]
    os.rename(file, tmp_path / "a.hdd" / "elsewhere.hds")
    os.symlink("elsewhere.hds", file)
    state = disks.state_of(OsPort(), built.directory)
    assert [name for name in state.others if name.endswith(".hds")] == []
    (tmp_path / "a.hdd" / ".vdisk-journal").write_bytes(journal(**{field: [os.path.basename(file), "elsewhere.hds"]}))
    run(OsPort(), built.directory)
    assert disks.read(OsPort(), built.directory) == built.guest(TOP)


@pytest.mark.parametrize(
    "size", [0, 1, 63, 64, 512, 1 << 62, (1 << 63) - 1, 1 << 63, 1 << 200, -1, 1.5, "7", None, True]
)
@pytest.mark.parametrize("phase", [PREPARE, APPLY])
@pytest.mark.parametrize("is_dirty", [True, False])
def test_a_journal_cannot_cut_what_a_table_names(port: MemoryPort, size: Any, phase: str, is_dirty: bool) -> None:
    file = disks.marked_in_use(port, PATH, ONE) if is_dirty else disks.file_of(port, PATH, ONE)
    attack(port, journal(phase=phase, images=[{"name": file.rsplit("/", 1)[-1], "size": size, "in_use": 0}]))


@pytest.mark.parametrize("in_use", [0, 0x746F6E59, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, -1, "Ynot", None])
def test_a_journal_cannot_put_anything_but_a_number_into_the_in_use_field(port: MemoryPort, in_use: Any) -> None:
    file = disks.marked_in_use(port, PATH, ONE)
    attack(port, journal(images=[{"name": file.rsplit("/", 1)[-1], "size": 1 << 40, "in_use": in_use}]))


def test_a_journal_cannot_touch_an_image_outside(tmp_path: Path) -> None:
    outside = tmp_path / "parent.hds"
    built = build_bundle(
        str(tmp_path / "a.hdd"),
        size_sectors=512,
        layers=[Layer(ONE, clusters={0: fill(0, CLUSTER)}, file=str(outside)), Layer(TOP, ONE, {1: fill(1, CLUSTER)})],
        cluster_sectors=64,
    )
    with open(outside, "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
        stream.seek(0, 2)
        stream.write(b"tail" * 1000)
    before, content = os.stat(outside).st_mtime_ns, outside.read_bytes()
    images = [{"name": "parent.hds", "size": 2 * CLUSTER, "in_use": 0}]
    requests: List[Any] = [
        {},
        {"removals": [ONE], "receivers": {f"0/{TOP}": str(outside)}},
        {"removals": [ONE], "receivers": {f"0/{TOP}": "parent.hds"}},
    ]
    for phase in (PREPARE, APPLY):
        for request in requests:
            (tmp_path / "a.hdd" / ".vdisk-journal").write_bytes(
                journal(phase=phase, images=images, created=["parent.hds"], request=request)
            )
            try:
                recover(OsPort(), locate(OsPort(), built.directory), allow_outside=True)
            except DiskError:
                pass
            assert (os.stat(outside).st_mtime_ns, outside.read_bytes()) == (before, content)
            assert disks.read(OsPort(), built.directory, allow_outside=True) == built.guest(TOP)


def test_a_merge_that_copies_from_outside_is_ended_only_where_that_is_allowed(tmp_path: Path) -> None:
    """Somebody may have put a link to the image of another disk under the name of a layer since it was cut off."""
    outside = tmp_path / "parent.hds"
    layers = [Layer(ONE, clusters={0: fill(0, CLUSTER)}, file=str(outside)), Layer(TOP, ONE, {1: fill(1, CLUSTER)})]
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=512, layers=layers, cluster_sectors=64)
    top = {"name": os.path.basename(built.files[(0, TOP)]), "size": 2 * CLUSTER, "in_use": 0}
    content = journal(phase=APPLY, images=[top], created=[], request={"removals": [ONE], "receivers": {}})
    (tmp_path / "a.hdd" / ".vdisk-journal").write_bytes(content)
    before = {name: (tmp_path / "a.hdd" / name).read_bytes() for name in os.listdir(built.directory)}
    location = locate(OsPort(), built.directory)
    with pytest.raises(Escape, match="allow_outside"):
        recover(OsPort(), location, allow_outside=True, copies_outside=False)
    assert before == {name: (tmp_path / "a.hdd" / name).read_bytes() for name in os.listdir(built.directory)}


REMOVALS = [
    7,
    "text",
    None,
    {},
    [7],
    [None],
    [{}],
    [[]],
    ["nonsense"],
    [TOP],
    [ONE, TOP],
    [TOP, ONE, TWO],
    [ONE, guid_of(99)],
    [ONE, 7],
    [ONE, {}],
]


@pytest.mark.parametrize("removals", REMOVALS, ids=lambda value: repr(value)[:30])
def test_a_journal_with_impossible_removals_is_an_error_of_ours_or_nothing(port: MemoryPort, removals: Any) -> None:
    attack(port, journal(phase=APPLY, request={"removals": removals, "receivers": {}}))


@pytest.mark.parametrize(
    "receivers",
    [
        7,
        None,
        [],
        "text",
        {f"0/{TWO}": 7},
        {f"0/{TWO}": {}},
        {f"0/{TWO}": "orphan.hds"},
        {f"0/{TWO}": "../outside.hds"},
    ],
)
def test_a_journal_with_impossible_receivers_is_an_error_of_ours(port: MemoryPort, receivers: Any) -> None:
    port.plant_file(JOURNAL, journal(phase=APPLY, request={"removals": [ONE], "receivers": receivers}))
    before = port.listing()
    with pytest.raises(Damaged):
        run(port)
    assert port.listing() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 2}',
        journal(version=2),
        journal(version="1"),
        journal(phase="other"),
        journal(request=[]),
        journal(images=[7]),
        journal(images=[{}]),
        journal(images={"name": 7}),
        journal(created=7),
        journal(created="orphan.hds"),
        b'{"version": 1, "phase": "prepare", "images": [{"name": "x.hds", "in_use": 0, "size": ' + b"9" * 5000 + b"}]}",
        b"x" * (5 << 20),
    ],
    ids=range(19),
)
def test_a_journal_that_is_none_is_reported_with_its_path(port: MemoryPort, content: bytes) -> None:
    port.plant_file(JOURNAL, content)
    before = port.listing()
    with pytest.raises(Damaged) as caught:
        disks.state_of(port, PATH)
    assert caught.value.path == JOURNAL
    assert port.listing() == before


def test_a_fifo_in_the_place_of_the_journal_is_not_waited_for(tmp_path: Path) -> None:
    disks.new_disk(OsPort(), str(tmp_path / "a.hdd"))
    os.mkfifo(tmp_path / "a.hdd" / ".vdisk-journal")
    with pytest.raises(Damaged):
        disks.state_of(OsPort(), str(tmp_path / "a.hdd"))


def test_a_journal_of_a_finished_merge_only_removes_what_is_left(port: MemoryPort) -> None:
    port.plant_file(
        JOURNAL, journal(phase=APPLY, discarded=["orphan.hds"], request={"removals": [guid_of(77)], "receivers": {}})
    )
    before = views(port)
    assert len(run(port)) == 1
    assert views(port) == before
    assert f"{PATH}/orphan.hds" not in port.listing()


def test_images_in_a_folder_of_the_bundle_are_recovered_too(tmp_path: Path) -> None:
    """Their marks are ours although the journal knows names only."""
    directory = tmp_path / "a.hdd"
    layers = [Layer(ONE, clusters={0: fill(0, CLUSTER)}), Layer(TOP, ONE, {1: fill(1, CLUSTER)})]
    built = build_bundle(str(directory), size_sectors=512, layers=layers, cluster_sectors=64)
    (directory / "images").mkdir()
    name = os.path.basename(built.files[(0, ONE)])
    os.rename(directory / name, directory / "images" / name)
    text = (directory / "DiskDescriptor.xml").read_text()
    (directory / "DiskDescriptor.xml").write_text(text.replace(f"<File>{name}", f"<File>images/{name}"))
    state = disks.state_of(OsPort(), built.directory)
    plan = plan_merge(OsPort(), state, [ONE])
    from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
    from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import ReplaceFile
    from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace

    second_note = [number for number, step in enumerate(plan.steps) if isinstance(step, ReplaceFile)][1]
    execute(OsPort(), replace(plan, steps=plan.steps[: second_note + 1]))
    recover(OsPort(), locate(OsPort(), built.directory))
    assert disks.read(OsPort(), built.directory) == built.guest(TOP)
    assert len(disks.state_of(OsPort(), built.directory).tree.shots) == 1


# Taking back


def test_taking_back_needs_no_lock_of_its_own(port: MemoryPort) -> None:
    before = port.listing()
    stopped(port, plan_snapshot_take(disks.state_of(port, PATH), guid_of(9)), 3)
    assert port.listing() != before
    lock = port.lock((PATH,), ())
    take_back(port, PATH)
    lock.release()
    assert port.listing() == before


def test_taking_back_leaves_a_merge_that_is_under_way_to_a_further_run(port: MemoryPort) -> None:
    plan = plan_merge(port, disks.state_of(port, PATH), [ONE])
    stopped(port, plan, len(plan.steps) - 4)
    assert disks.state_of(port, PATH).journal is not None
    before = port.listing()
    take_back(port, PATH)
    assert port.listing() == before


def test_a_packed_journal_is_read_back_as_it_was(port: MemoryPort) -> None:
    note = Journal(
        "merge",
        APPLY,
        ("new.hds",),
        ("old.hds",),
        (ImageBefore("x.hds", 5, 0x312E3276),),
        {"removals": [ONE], "receivers": {}},
    )
    port.plant_file(JOURNAL, pack_journal(note))
    state: BundleState = disks.state_of(port, PATH)
    assert state.journal == note
