# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applying plans: under lock, only to what was looked at, and without traces when a step fails."""

from __future__ import annotations

import os
from typing import Any, Callable, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import (
    check_preconditions,
    execute,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    Damaged,
    DiskError,
    InUse,
    IoFailure,
    NoSpace,
    SharedLayer,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    Cleanup,
    CopyRanges,
    CreateFile,
    MakeDirectory,
    Move,
    Plan,
    PunchHoles,
    Remove,
    Rename,
    ReplaceFile,
    Resize,
    Step,
    Sync,
    WriteBytes,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.fingerprint import identity
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/d")
    return port


def plan(*steps: Step, **others: Any) -> Plan:
    return Plan("test", steps, **others)


# Steps


@pytest.mark.parametrize(
    "step",
    [
        WriteBytes("/a", 0, b"x"),
        Resize("/a", 3),
        PunchHoles("/a", ((0, 4096),)),
        CopyRanges("/a", (Move(None, 0, 8, 2),)),
    ],
    ids=lambda step: type(step).__name__,
)
def test_a_file_with_a_second_name_is_not_changed_in_place(tmp_path: Any, step: Any) -> None:
    folder = os.path.realpath(tmp_path)
    (tmp_path / "a").write_bytes(b"0123456789")
    os.link(tmp_path / "a", tmp_path / "other")
    made = plan(CreateFile(f"{folder}/new", 1), type(step)(f"{folder}/a", *tuple(vars(step).values())[1:]))
    with pytest.raises(SharedLayer):
        execute(OsPort(), made)
    assert (tmp_path / "other").read_bytes() == b"0123456789" and not (tmp_path / "new").exists()


def test_steps_are_applied_in_order(port: MemoryPort) -> None:
    port.plant_file("/d/source", b"0123456789")
    moves = (Move("/d/source", 2, 4, 3), Move(None, 0, 8, 2))
    outcome = execute(
        port,
        plan(
            CreateFile("/d/a", 12),
            WriteBytes("/d/a", 8, b"xxxx"),
            CopyRanges("/d/a", moves),
            Resize("/d/a", 11),
            Sync(files=("/d/a",), directories=("/d",)),
            Rename("/d/a", "/d/b"),
            ReplaceFile("/d/c", b"content", "/d/.c.tmp"),
            Remove(("/d/source",), "/d"),
        ),
    )
    assert port.listing() == {"/d": None, "/d/b": b"\0\0\0\x00234\0\0\0x", "/d/c": b"content"}
    assert (outcome.bytes_read, outcome.bytes_written) == (3, 5)


def test_a_file_takes_mode_and_owner_of_its_model(port: MemoryPort) -> None:
    port.plant_file("/d/model", b"", mode=0o640)
    port.set_attributes("/d/model", mode=0o640, uid=7, gid=8)
    execute(port, plan(CreateFile("/d/a", 0, like="/d/model"), CreateFile("/d/b", 0, like="/d/missing")))
    made = port.stat("/d/a")
    assert made is not None and (made.mode, made.uid, made.gid) == (0o640, 7, 8)
    assert port.stat("/d/b") is not None


def test_reserved_files_have_their_blocks_and_others_are_holes(port: MemoryPort) -> None:
    execute(port, plan(CreateFile("/d/a", 40_960, reserve=True), CreateFile("/d/b", 40_960)))
    one, other = port.stat("/d/a"), port.stat("/d/b")
    assert one is not None and other is not None
    assert (one.size, one.allocated) == (40_960, 40_960)
    assert (other.size, other.allocated) == (40_960, 0)


@pytest.mark.parametrize("kernel_copies", [True, False])
def test_data_are_copied_with_and_without_the_kernel(kernel_copies: bool) -> None:
    port = MemoryPort(kernel_copies=kernel_copies)
    content = os.urandom(700_000)
    port.plant_file("/source", content)
    port.plant_file("/target", b"")
    execute(port, plan(CopyRanges("/target", (Move("/source", 100, 50, 699_900), Move(None, 0, 0, 600_000)))))
    assert port.content("/target") == bytes(600_000) + content[600_050:]


def test_holes_are_punched_or_refused_with_advice(port: MemoryPort) -> None:
    port.plant_file("/d/a", b"x" * 16384)
    execute(port, plan(PunchHoles("/d/a", ((0, 4096), (8192, 12288)))))
    assert port.content("/d/a") == (bytes(4096) + b"x" * 4096) * 2
    port.punches = False
    with pytest.raises(Unsupported) as caught:
        execute(port, plan(PunchHoles("/d/a", ((4096, 8192),))))
    assert (caught.value.path, caught.value.offset) == ("/d/a", 4096) and caught.value.hint
    assert port.content("/d/a") == (bytes(4096) + b"x" * 4096) * 2


def test_a_source_that_ends_too_early_is_an_error(port: MemoryPort) -> None:
    port.plant_file("/d/source", b"short")
    port.plant_file("/d/target", b"")
    with pytest.raises(Damaged):
        execute(
            MemoryPort(port.tree, kernel_copies=False), plan(CopyRanges("/d/target", (Move("/d/source", 0, 0, 100),)))
        )


def test_a_new_file_never_replaces_one(port: MemoryPort) -> None:
    port.plant_file("/d/a", b"precious")
    with pytest.raises(AlreadyExists):
        execute(port, plan(CreateFile("/d/a", 0)))
    assert port.content("/d/a") == b"precious"


def test_a_leftover_temporary_is_no_obstacle_to_a_replacement(port: MemoryPort) -> None:
    port.plant_file("/d/.a.tmp", b"torn")
    execute(port, plan(ReplaceFile("/d/a", b"new", "/d/.a.tmp")))
    assert port.listing() == {"/d": None, "/d/a": b"new"}


def test_progress_counts_up_to_what_was_planned(port: MemoryPort) -> None:
    port.plant_file("/d/source", bytes(100))
    port.plant_file("/d/target", b"")
    told: List[Tuple[int, int]] = []
    moves = (Move("/d/source", 0, 0, 40), Move(None, 0, 40, 60))
    execute(
        port,
        plan(CopyRanges("/d/target", moves), bytes_written=100),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(40, 100), (100, 100)]


def test_no_file_stays_open_and_nothing_is_held(port: MemoryPort) -> None:
    port.plant_file("/d/a", b"x")
    execute(
        port,
        plan(
            MakeDirectory("/d/e"),
            CreateFile("/d/b", 5, hold=True),
            WriteBytes("/d/a", 0, b"y"),
            Remove(("/d/a",), "/d"),
            lock_directories=("/d",),
        ),
    )
    assert not port.held and not any(port.opened.values())


# What must hold beforehand


@pytest.mark.parametrize(
    "change",
    [
        lambda port: port.plant_file("/d/a", b"other"),
        lambda port: port.open_write("/d/a").pwrite(0, b"X"),
        lambda port: port.open_write("/d/a").truncate(3),
        lambda port: port.remove("/d/a"),
        lambda port: (port.rename("/d/a", "/d/b"), port.plant_link("/d/a", "/d/other")),
    ],
    ids=["replaced", "written", "cut", "removed", "replaced by a link"],
)
def test_a_file_that_is_not_what_it_was_makes_the_plan_stale(port: MemoryPort, change: Callable[[Any], None]) -> None:
    port.plant_file("/d/a", b"content")
    port.plant_file("/d/other", b"content")
    made_for = plan(WriteBytes("/d/other", 0, b"x"), fingerprint=(("/d/a", identity(port.stat("/d/a"))),))
    change(port)
    with pytest.raises(StalePlan) as caught:
        execute(port, made_for)
    assert caught.value.path == "/d/a"
    assert port.content("/d/other") == b"content"


def test_what_should_not_be_there_makes_the_plan_stale_too(port: MemoryPort) -> None:
    made_for = plan(CreateFile("/d/b", 0), fingerprint=(("/d/a", None),))
    execute(port, made_for)
    port.plant_file("/d/a", b"")
    with pytest.raises(StalePlan):
        execute(port, made_for)


def test_staleness_is_judged_under_the_lock(port: MemoryPort) -> None:
    port.plant_file("/d/a", b"content")
    seen = identity(port.stat("/d/a"))

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(port, name)

        def lock(self, directories: Tuple[str, ...], files: Tuple[str, ...]) -> Any:
            port.plant_file("/d/a", b"changed just before")
            return port.lock(directories, files)

    with pytest.raises(StalePlan):
        execute(Watched(), plan(WriteBytes("/d/a", 0, b"x"), fingerprint=(("/d/a", seen),), lock_files=("/d/a",)))  # type: ignore[arg-type]
    assert not port.held


def test_room_is_checked_before_the_first_step(port: MemoryPort) -> None:
    port.set_free_space(1000)
    with pytest.raises(NoSpace) as caught:
        execute(port, plan(CreateFile("/d/a", 0), space=(("/d", 1001),)))
    assert (caught.value.expected, caught.value.found, caught.value.path) == (1001, 1000, "/d")
    assert port.listing() == {"/d": None}
    execute(port, plan(CreateFile("/d/a", 0), space=(("/d", 1000), ("/nowhere", 0), ("/nowhere", -5))))


def test_what_somebody_holds_is_refused_by_name(port: MemoryPort) -> None:
    port.plant_file("/d/a", b"content")
    port.plant_holder("/d/a", Holder("write", "qemu-system-x86 (77)"))
    for run in (execute, check_preconditions):
        with pytest.raises(InUse, match="qemu-system-x86"):
            run(port, plan(WriteBytes("/d/a", 0, b"x"), lock_files=("/d/a",)))
    assert port.content("/d/a") == b"content"


def test_foreseeing_takes_no_lock_and_changes_nothing(port: MemoryPort) -> None:
    port.plant_file("/d/a", b"content")
    port.set_free_space(1000)
    before = len(port.effects)
    check_preconditions(
        port, plan(WriteBytes("/d/a", 0, b"x"), lock_files=("/d/a",), lock_directories=("/d",), space=(("/d", 1000),))
    )
    with pytest.raises(NoSpace):
        check_preconditions(port, plan(WriteBytes("/d/a", 0, b"x"), space=(("/d", 1001),)))
    assert len(port.effects) == before and not port.held


# When a step fails


def test_a_failing_step_cleans_up_and_tells_the_first_error(port: MemoryPort) -> None:
    steps = (MakeDirectory("/d/.t"), CreateFile("/d/.t/a", 10), WriteBytes("/d/missing", 0, b"x"))
    with pytest.raises(DiskError) as caught:
        execute(port, plan(*steps, cleanup=Cleanup(remove=("/d/.t",))))
    assert caught.value.path == "/d/missing"
    assert port.listing() == {"/d": None}
    assert not port.held and not any(port.opened.values())


def test_a_failure_while_cleaning_up_does_not_hide_the_first_one(port: MemoryPort) -> None:
    port.plant_file("/d/held/x", b"")
    recovered: List[str] = []

    def recover(path: str) -> None:
        recovered.append(path)
        raise IoFailure("and this fails, too")

    with pytest.raises(DiskError) as caught:
        execute(port, plan(WriteBytes("/d/missing", 0, b"x"), cleanup=Cleanup(disk="/d/a.hdd")), recover=recover)
    assert caught.value.path == "/d/missing"
    assert recovered == ["/d/a.hdd"]


def test_an_interrupt_from_the_keyboard_cleans_up_as_well(port: MemoryPort) -> None:
    port.plant_file("/d/source", b"12")

    def interrupted(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    steps = (CreateFile("/d/.a", 0), CopyRanges("/d/.a", (Move("/d/source", 0, 0, 2),)))
    with pytest.raises(KeyboardInterrupt):
        execute(
            port, plan(*steps, cleanup=Cleanup(remove=("/d/.a",)), lock_directories=("/d",)), on_progress=interrupted
        )
    assert port.listing() == {"/d": None, "/d/source": b"12"}
    assert not port.held


def test_a_refusal_before_the_first_step_cleans_nothing_up(port: MemoryPort) -> None:
    port.plant_file("/d/.t", b"of another run")
    with pytest.raises(StalePlan):
        execute(
            port,
            plan(CreateFile("/d/a", 0), fingerprint=(("/d/gone", (1, 2, 3, 4)),), cleanup=Cleanup(remove=("/d/.t",))),
        )
    assert port.content("/d/.t") == b"of another run"


# Putting a directory in the place of another


def replacement(exchanges: bool) -> MemoryPort:
    port = MemoryPort(exchanges=exchanges)
    port.plant_file("/d/new/x", b"new")
    port.plant_file("/d/disk/x", b"old")
    return port


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "two renames"])
def test_a_directory_replaces_another_which_is_kept_aside(exchanges: bool) -> None:
    port = replacement(exchanges)
    execute(port, plan(Rename("/d/new", "/d/disk", displaced="/d/.old")))
    assert port.listing() == {"/d": None, "/d/disk": None, "/d/disk/x": b"new", "/d/.old": None, "/d/.old/x": b"old"}


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchange", "two renames"])
def test_a_replacement_that_fails_half_way_is_taken_back(exchanges: bool) -> None:
    for number in range(1, 10):
        port = replacement(exchanges)
        port.fail_call(number, "EIO")
        try:
            execute(port, plan(Rename("/d/new", "/d/disk", displaced="/d/.old"), cleanup=Cleanup(remove=("/d/new",))))
        except DiskError:
            found = port.listing().get("/d/disk/x")
            is_committed = "/d/.old/x" in port.listing()
            assert found == (b"new" if is_committed else b"old"), number
            assert not is_committed or port.listing()["/d/.old/x"] == b"old"
        else:
            assert number > 3
            return
    raise AssertionError("every call failed")


def test_a_rename_that_should_meet_nothing_does_not_replace_a_directory(port: MemoryPort) -> None:
    port.plant_directory("/d/new")
    port.plant_directory("/d/disk")
    with pytest.raises(AlreadyExists):
        execute(port, plan(Rename("/d/new", "/d/disk")))
