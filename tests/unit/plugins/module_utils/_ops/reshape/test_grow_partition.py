# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.grow_partition import (
    END,
    GrowthRequest,
    plan_partition_growth,
)
from ansible_collections.vdisk.parallels.tests.support import disks, gpt
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
MIB = 1 << 20
DATA, WINRE = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "de94bba4-06d1-4d40-a16a-bfd50179d6ac"


def with_table(port: MemoryPort, *marks: Tuple[int, bytes], size: int = 5 * MIB, **options: Any) -> MemoryPort:
    """A disk that has become longer than its table knows, with bytes at places of its own."""
    disks.new_disk(port, PATH, size=size, **options)
    content = bytearray(gpt.with_gpt(bytes(3 * MIB), [(2048, 3999), (4096, 4245)], types=[DATA, WINRE]))
    for offset, mark in marks:
        content[offset : offset + len(mark)] = mark
    for offset in range(0, len(content), disks.SMALL_CLUSTER):
        piece = bytes(content[offset : offset + disks.SMALL_CLUSTER])
        if any(piece):
            disks.write(port, PATH, offset, piece)
    return port


def planned(port: MemoryPort, **request: Any) -> Plan:
    state = disks.state_of(port, PATH)
    return plan_partition_growth(port, state, GrowthRequest(**request), actual=state)


def test_the_plan_says_what_grows_what_moves_and_what_the_guest_does(port: MemoryPort) -> None:
    with_table(port, (MIB + 1080, b"\x53\xef"), (2 * MIB, b"recovery" * 100))
    plan = planned(port)
    assert plan.facts.grown == {
        "scheme": "gpt",
        "number": 1,
        "guid": "01010101-0101-0101-0101-010101010101",
        "type": DATA,
        "name": "",
        "content": "ext",
        "start": MIB,
        "size_before": 1952 * 512,
        "size": 3 * MIB,
        "moved": [{"number": 2, "type": WINRE, "start_before": 2 * MIB, "start": 4 * MIB, "size": 150 * 512}],
        "guest_commands": [
            "resize2fs /dev/disk/by-partuuid/01010101-0101-0101-0101-010101010101",
            "reagentc /info (when it says Disabled: reagentc /enable)",
        ],
    }
    disks.apply(port, plan)
    view = disks.read_naively(port, PATH)
    assert gpt.judge(view) == [(2048, 8191), (8192, 8341)] and view[4 * MIB : 4 * MIB + 800] == b"recovery" * 100
    assert disks.facts_of(port, disks.state_of(port, PATH)) == disks.facts_of(port, plan.facts.after)
    assert planned(port).is_empty and plan.bytes_written >= disks.SMALL_CLUSTER


@pytest.mark.parametrize(
    ("marks", "request_", "code", "word"),
    [
        ([], {"wanted": "7"}, "bad_request", "no partition is called"),
        ([(2 * MIB + 4086, b"S1SUSPEND")], {}, "unsupported", "sleeping"),
        ([(MIB + 88, b"CS")], {}, "unsupported", "Core Storage"),
        ([(4000 * 512 - 8192, b"\xfc\x4e\x2b\xa9")], {}, "unsupported", "RAID"),
        ([(512 + 20, b"\xff")], {}, "damaged", "damaged"),
    ],
)
def test_what_must_not_grow_is_refused_before_anything_is_written(
    port: MemoryPort, marks: list, request_: dict, code: str, word: str
) -> None:
    with_table(port, *marks)
    before = disks.read_naively(port, PATH)
    with pytest.raises(DiskError) as caught:
        planned(port, **request_)
    assert (caught.value.code, caught.value.path) == (code, PATH) and word in str(caught.value) and caught.value.hint
    assert disks.read_naively(port, PATH) == before


def test_bitlocker_gets_room_and_keeps_its_size(port: MemoryPort) -> None:
    with_table(port, (MIB + 3, b"-FVE-FS-"))
    plan = planned(port)
    assert plan.facts.grown["size"] == plan.facts.grown["size_before"] and plan.facts.grown["moved"]
    disks.apply(port, plan)
    assert gpt.judge(disks.read_naively(port, PATH)) == [(2048, 3999), (8192, 8341)]
    assert planned(port).is_empty


def test_a_table_that_only_lacks_its_backup_gets_it(port: MemoryPort) -> None:
    with_table(port)
    disks.apply(port, planned(port))
    disks.apply(port, disks.plan_of_grow(disks.state_of(port, PATH), 5 * MIB + (64 << 10)))
    plan = planned(port)
    disks.apply(port, plan)
    assert not plan.facts.grown["moved"] and plan.facts.grown["size"] == plan.facts.grown["size_before"]
    assert gpt.judge(disks.read_naively(port, PATH)) == [(2048, 8191), (8192, 8341)]
    assert planned(port).is_empty


def test_a_gap_in_front_of_what_stays_is_taken(port: MemoryPort) -> None:
    with_table(port, size=3 * MIB + (64 << 10))
    plan = planned(port)
    assert not plan.facts.grown["moved"] and plan.facts.grown["size"] == MIB
    disks.apply(port, plan)
    assert gpt.judge(disks.read_naively(port, PATH)) == [(2048, 4095), (4096, 4245)]


def test_what_was_cut_off_behind_its_commit_is_ended_first(port: MemoryPort) -> None:
    with_table(port)
    plan = planned(port)
    assert plan.commit is not None
    disks.apply(port, replace(plan, steps=plan.steps[: plan.commit + 1]))
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import recover

    recover(port, locate(port, PATH))
    ending = planned(port)
    assert ending.operation == END
    disks.apply(port, ending)
    assert gpt.judge(disks.read_naively(port, PATH)) == [(2048, 8191), (8192, 8341)] and planned(port).is_empty


@pytest.mark.parametrize(("mark", "commands"), [((1080, b"\x53\xef"), ["resize2fs /dev/sdX"]), ((9, b"x"), None)])
def test_a_disk_without_a_table_has_nothing_to_change(port: MemoryPort, mark: tuple, commands: object) -> None:
    disks.new_disk(port, PATH, size=3 * MIB)
    disks.write(port, PATH, *mark)
    plan = planned(port)
    assert plan.is_empty
    assert (plan.facts.grown or {}).get("guest_commands") == commands
    with pytest.raises(DiskError) as caught:
        planned(port, wanted="1")
    assert caught.value.code == "bad_request"
