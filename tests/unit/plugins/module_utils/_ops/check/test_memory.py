# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A hostile table costs no more memory than a few times its size, whatever is wrong with it."""

from __future__ import annotations

import struct
import sys
import tracemalloc
from array import array
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import observe
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import CopyRanges, WriteBytes
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import bat_check, bat_order
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check import repair_image
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.repair import plan_repair

ENTRIES = 10_000
CLUSTER = 32 << 10
DATA_OFF = -(-(64 + 4 * ENTRIES) // CLUSTER) * 64
# Runs in three arrays, their order, the twins among them; and what does not grow with the table.
# Python 3.14 takes an eighth more than 3.11.
MOST_TIMES = 9
MOST_BESIDE = 1 << 20

TABLES: Dict[str, Any] = {
    "one slot for all": (lambda index: DATA_OFF, "entry_duplicate"),
    "each slot twice": (lambda index: DATA_OFF + 64 * (index // 2), "entry_duplicate"),
    "in the header": (lambda index: 1 + index % 5, "entry_low"),
    "past the end": (lambda index: (1 << 30) + index * 7919 % 1000003, "entry_out_of_file"),
    "between slots": (lambda index: DATA_OFF + 1 + index * 2 % 50, "entry_off_grid"),
    "swapped pairs": (lambda index: DATA_OFF + 64 * (index ^ 1), None),
}


def plant(folder: Path, entry: Callable[[int], int]) -> str:
    path = folder / "a.hdd"
    fields = (2, 16, 1, 64, ENTRIES, ENTRIES * 64, 0, DATA_OFF, 0, 0)
    with open(path, "wb") as stream:
        stream.write(struct.pack("<16s5IQ3IQ", b"WithoutFreeSpace", *fields))
        stream.write(array("I", map(entry, range(ENTRIES))).tobytes())
        stream.truncate(DATA_OFF * 512 + ENTRIES * CLUSTER)
    return str(path)


@pytest.mark.parametrize("kind", TABLES)
def test_memory_is_bounded_by_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(bat_order, "_FEW_RUNS", 0)
    monkeypatch.setattr(bat_check, "_COUNTED_RUNS", 0)
    entry, code = TABLES[kind]
    port, path = OsPort(), plant(tmp_path, entry)
    location = locate(port, path)
    # What is imported on the way is no memory of the table.
    examine(port, location)
    tracemalloc.start()
    try:
        findings = examine(port, location).findings
        peak_of_check = tracemalloc.get_traced_memory()[1]
        if sys.version_info >= (3, 9):
            tracemalloc.reset_peak()
        try:
            observe(port, location)
            assert code is None
        except Damaged:
            assert code is not None
        peak_of_look = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ([one.code for one in findings if one.severity == "error"] or [None]) == [code]
    assert max(peak_of_check, peak_of_look) < MOST_TIMES * 4 * ENTRIES + MOST_BESIDE


# What a check holds, the pieces of the table that are written, and the record of the old ones in hexadecimal, which
# is made into a document.
MOST_TIMES_OF_REPAIR = 30
WRONG = {kind: case for kind, case in TABLES.items() if case[1] is not None}


def every_other(entry):
    return lambda index: entry(index) if index % 2 else 0


@pytest.mark.parametrize("spread", ["in a row", "every other one"])
@pytest.mark.parametrize("kind", WRONG)
def test_a_repair_costs_no_more_than_a_few_times_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, spread: str
) -> None:
    monkeypatch.setattr(repair_image, "_MOST_SPANS", 16)
    monkeypatch.setattr(repair_image, "_WINDOW", 1 << 10)
    entry = WRONG[kind][0] if spread == "in a row" else every_other(WRONG[kind][0])
    port, path = OsPort(), plant(tmp_path, entry)
    tracemalloc.start()
    try:
        plan = plan_repair(port, examine(port, locate(port, path)), level="all")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_TIMES_OF_REPAIR * 4 * ENTRIES + MOST_BESIDE
    written = [step for step in plan.steps if isinstance(step, WriteBytes)]
    assert len(written) < 100 and sum(len(step.content) for step in written) < 3 * 4 * ENTRIES
    assert sum(isinstance(step, CopyRanges) for step in plan.steps) <= 1


@pytest.mark.parametrize("spread", ["in a row", "every other one"])
@pytest.mark.parametrize("kind", WRONG)
def test_a_repair_by_large_pieces_shows_what_one_by_single_entries_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, spread: str
) -> None:
    entry = WRONG[kind][0] if spread == "in a row" else every_other(WRONG[kind][0])
    tables = []
    for most in (1 << 20, 4):
        monkeypatch.setattr(repair_image, "_MOST_SPANS", most)
        monkeypatch.setattr(repair_image, "_WINDOW", 64)
        folder = tmp_path / str(most)
        folder.mkdir()
        port, path = OsPort(), plant(folder, lambda index: entry(index) if index < 500 or index > 9900 else 0)
        execute(port, plan_repair(port, examine(port, locate(port, path)), level="all"))
        assert not [one for one in examine(port, locate(port, path)).findings if one.severity == "error"]
        with open(path, "rb") as stream:
            tables.append(stream.read(64 + 4 * ENTRIES))
    assert tables[0] == tables[1]
