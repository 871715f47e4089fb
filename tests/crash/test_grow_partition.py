# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A partition that grows, and small ones behind it that move, cut off anywhere: the old or the new table is sound, and
every partition that it names is whole.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Port
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.grow_partition import (
    GrowthRequest,
    plan_partition_growth,
)
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import DISK, Operation
from ansible_collections.vdisk.parallels.tests.crash.sight import sight_of
from ansible_collections.vdisk.parallels.tests.crash.test_faults import FAULTS, judge
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support import disks, gpt, mbr
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))
SECTOR = 512
MIB = 1 << 20
SIZE, OLD_SIZE = 5 * MIB, 3 * MIB
DATA, WINRE = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "de94bba4-06d1-4d40-a16a-bfd50179d6ac"
SWAP = "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"
Tables = Callable[[bytes], Dict[int, Tuple[int, int]]]


def _by_gpt(disk: bytes) -> Dict[int, Tuple[int, int]]:
    return {number: (first, last + 1) for number, (first, last, _guid) in gpt.entries_of(disk).items()}


def _by_mbr(disk: bytes) -> Dict[int, Tuple[int, int]]:
    return {number: (start, start + count) for number, (_kind, start, count) in mbr.entries_of(disk).items()}


class GrowthTrial(Trial):
    """A trial that looks at partitions: the table and what is in each, not at what belongs to none."""

    def __init__(self, operation: Operation, tables: Tables) -> None:
        self._tables = tables
        super().__init__(operation)
        assert self.before.sight is not None and self.after.sight is not None
        self._old, self._new = (tables(one.sight.views[TOP]) for one in (self.before, self.after) if one.sight)
        self._possible = [self._old, self._new]

    def allow(self, *tables: Dict[int, Tuple[int, int]]) -> None:
        """Further tables that are as good as the old one."""
        self._possible += tables

    def _check_views(self, port: Port, *, unreliable: Tuple[str, ...] = ()) -> None:
        assert self.before.sight is not None
        shown, before = sight_of(port, self.path), self.before.sight
        assert {guid: view for guid, view in shown.views.items() if guid != TOP} == {
            guid: view for guid, view in before.views.items() if guid != TOP
        }
        view, old = shown.views[TOP], before.views[TOP]
        table = self._tables(view)
        assert table in self._possible, f"neither the old nor the new table: {table}"
        for number, (start, end) in self._old.items():
            if number in mbr_extended(self._old, table):
                continue
            length = (end - start) * SECTOR
            there = table[number][0] * SECTOR
            assert view[there : there + length] == old[start * SECTOR : end * SECTOR], (
                f"partition {number} is not whole"
            )


def mbr_extended(old: Dict[int, Tuple[int, int]], table: Dict[int, Tuple[int, int]]) -> Tuple[int, ...]:
    """Partitions that have others in them, whose records change."""
    return tuple(
        number
        for number, (start, end) in old.items()
        if any(start < other and last <= end for inner, (other, last) in old.items() if inner != number)
    )


def grows_partition(name: str, content: Callable[[], bytes], **options: Any) -> Operation:
    """The table is for a disk of OLD_SIZE bytes, which has become longer since."""
    layers = options.pop("layers", 1)

    def prepare(port: MemoryPort, folder: str) -> None:
        path = disks.new_disk(port, f"{folder}/{DISK}", size=SIZE, **options)
        view = content()
        for offset in range(0, len(view), disks.SMALL_CLUSTER):
            piece = view[offset : offset + disks.SMALL_CLUSTER]
            if any(piece):
                disks.write(port, path, offset, piece)
        if layers > 1:
            disks.take(port, path, guid_of(7))

    def planner(port: Port, state: BundleState) -> Plan:
        return plan_partition_growth(port, state, GrowthRequest(), actual=state)

    return Operation(f"grow-partition-{name}", prepare, lambda run: run.change(DISK, planner))


def _filled(disk: bytes, *places: Tuple[int, int]) -> bytes:
    content = bytearray(disk)
    for seed, (start, count) in enumerate(places):
        content[start * SECTOR : (start + count) * SECTOR] = fill(0, count * SECTOR, seed=seed)
    return bytes(content)


def _gpt_with_recovery() -> bytes:
    disk = _filled(bytes(OLD_SIZE), (2048, 200), (4096, 150))
    return gpt.with_gpt(disk, [(2048, 3999), (4096, 4245)], types=[DATA, WINRE])


def _gpt_alone() -> bytes:
    return gpt.with_gpt(_filled(bytes(OLD_SIZE), (2048, 100)), [(2048, 3999)], types=[DATA])


def _mbr_with_swap() -> bytes:
    disk = _filled(bytes(OLD_SIZE), (2048, 200), (4104, 150))
    return mbr.with_mbr(disk, [(0x83, 2048, 2000), (5, 4096, 158)], [(0x82, 4104, 150)])


def _mbr_logical() -> bytes:
    disk = _filled(bytes(OLD_SIZE), (2056, 200), (3000, 100), (3200, 60))
    logical = [(0x83, 2056, 900), (0x82, 3000, 100), (0x82, 3200, 60)]
    return mbr.with_mbr(disk, [(5, 2048, 2000)], logical)


def _gpt_with_two() -> bytes:
    """Two small ones behind, whose places are not on the grid."""
    disk = _filled(bytes(OLD_SIZE), (2048, 200), (2560, 100), (4100, 60))
    return gpt.with_gpt(disk, [(2048, 2559), (2560, 2999), (4100, 4245)], types=[DATA, WINRE, SWAP])


def _mbr_with_two() -> bytes:
    disk = _filled(bytes(OLD_SIZE), (2048, 200), (3000, 90), (3500, 60))
    return mbr.with_mbr(disk, [(7, 2048, 900), (0x27, 3000, 400), (0x12, 3500, 100)])


def _mbr_logical_before_primary() -> bytes:
    """What moves in the extended partition takes the old place of the one behind it."""
    disk = _filled(bytes(OLD_SIZE), (2056, 100), (2608, 1300), (4096, 900))
    return mbr.with_mbr(disk, [(5, 2048, 2048), (0x27, 4096, 1000)], [(0x83, 2056, 500), (0x82, 2608, 1400)])


BY_GPT = (
    grows_partition("gpt", _gpt_with_recovery),
    grows_partition("gpt-alone", _gpt_alone, version=2),
    grows_partition("gpt-plain", _gpt_with_recovery, kind="plain"),
    grows_partition("gpt-split", _gpt_with_recovery, part_size=2 * MIB),
    grows_partition("gpt-snapshot", _gpt_with_recovery, layers=2),
    grows_partition("gpt-two", _gpt_with_two),
    grows_partition("gpt-two-snapshot", _gpt_with_two, layers=2, version=2),
)
BY_MBR = (
    grows_partition("mbr", _mbr_with_swap),
    grows_partition("mbr-snapshot", _mbr_with_swap, layers=2),
    grows_partition("mbr-two", _mbr_with_two),
    grows_partition("mbr-logical", _mbr_logical),
    grows_partition("mbr-around-logical", _mbr_logical_before_primary),
    grows_partition("mbr-around-logical-plain", _mbr_logical_before_primary, kind="plain"),
)
GROWTHS = (*BY_GPT, *BY_MBR)


def trial_of(operation: Operation) -> GrowthTrial:
    trial = GrowthTrial(operation, _by_gpt if operation in BY_GPT else _by_mbr)
    if "logical" in operation.name:
        # The extended partition is larger, and what is behind it has moved, before what is in it changes.
        trial.allow({**trial._old, **{number: place for number, place in trial._new.items() if number < 5}})
    return trial


@pytest.mark.parametrize("operation", GROWTHS, ids=lambda operation: operation.name)
def test_a_partition_that_grows_is_whole_at_every_moment(
    operation: Operation, count: Callable[[Explorer], None]
) -> None:
    trial = trial_of(operation)
    assert trial._old != trial._new
    explorer = Explorer(trial, limit=None if LONG else 40)
    explorer.finished_states()
    explorer.power_failures()
    explorer.power_failures_while_recovering(40 if LONG else 1)
    explorer.kills(60 if LONG else 1)
    count(explorer)
    calls = Explorer(trial).calls()
    for number in range(1, calls + 1, 1 if LONG else max(1, calls // 6)):
        judge(trial, number, FAULTS[list(FAULTS)[number % len(FAULTS)]])


def test_the_finished_tables_are_sound_at_both_ends() -> None:
    for operation in BY_GPT:
        trial = trial_of(operation)
        assert trial.after.sight is not None
        assert gpt.judge(trial.after.sight.views[TOP]) == [(first, end - 1) for first, end in trial._new.values()]
