# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repair that is cut off anywhere, by the power or by a call that fails, loses nothing, and the next one ends
where it would have ended.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import NO
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.check_and_repair import (
    CheckRequest,
    check_and_repair,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examination import Examination
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.repair import plan_repair
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import take_back
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP
from ansible_collections.vdisk.parallels.tests.support.crash import check_states
from ansible_collections.vdisk.parallels.tests.support.faults import FAULTS, Fault
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))
STATES = None if LONG else 60
DISK = "/vm/a.hdd"
LEVELS = {"safe": "safe", "lossy": "all"}
REPAIRED = [fault for fault in FAULTS if fault.level != NO]


def planted(fault: Fault, folder: Path) -> MemoryPort:
    """A port with the damaged disk."""
    os.mkdir(folder / "vm")
    fault.build(str(folder / "vm" / "a.hdd"))
    port = MemoryPort()
    port.plant_directory("/vm")
    for path in sorted((folder / "vm").rglob("*")):
        if path.is_file():
            port.plant_file(f"/{path.relative_to(folder)}", path.read_bytes())
    return port


def repair(port: MemoryPort, level: str) -> Examination:
    """Repair as the module does; returns what is found afterwards."""

    def apply(plan: Plan, _recovered: Tuple[str, ...]) -> Dict[str, Any]:
        if not plan.is_empty:
            execute(port, plan, recover=lambda path: take_back(port, path))
        return {}

    location = locate_damaged(port, DISK)
    check_and_repair(port, location, CheckRequest(allow_outside=False, repair=level, force=True), apply)
    return examine(port, location)


def outcome(port: MemoryPort, level: str) -> Dict[str, object]:
    """What must be the same however often the repair was cut off: the guest disk and what remains to be reported; and a
    further repair does nothing.
    """
    left = repair(port, level)
    assert not [
        one for one in left.findings if one.repairable == "safe" or (one.repairable == "lossy" and level == "all")
    ], left.findings
    assert plan_repair(port, left, level=level, force=True).is_empty
    assert not port.held and not any(port.opened.values())
    assert not [name for name in port.list_directory(DISK) if ".vdisk-" in name]
    codes = sorted({one.code for one in left.findings if one.code not in ("leak_inside", "orphan_file")})
    return {"guest": disks.read_naively(port, DISK, TOP), "codes": codes}


@pytest.mark.parametrize("fault", REPAIRED, ids=lambda fault: fault.name)
def test_a_repair_that_is_cut_off_anywhere_loses_nothing(fault: Fault, tmp_path: Path) -> None:
    level = LEVELS[fault.level]
    port = planted(fault, tmp_path)
    recording = port.record()
    repair(port, level)
    expected = outcome(port, level)

    def check(state: MemoryPort) -> None:
        assert outcome(state, level) == expected

    assert check_states(recording, check, limit=STATES) > 0


@pytest.mark.parametrize("fault", REPAIRED, ids=lambda fault: fault.name)
def test_a_call_that_fails_during_a_repair_loses_nothing(fault: Fault, tmp_path: Path) -> None:
    level = LEVELS[fault.level]
    start = planted(fault, tmp_path).tree.fork
    count = _calls(start, level)
    undisturbed = MemoryPort(start())
    repair(undisturbed, level)
    expected = outcome(undisturbed, level)
    for number in range(1, count + 1, 1 if LONG else 3):
        port = MemoryPort(start())
        port.fail_call(number, ("EIO", "ENOSPC")[number % 2])
        try:
            repair(port, level)
        except DiskError as error:
            assert str(error)
        port.fail_call(0)
        assert outcome(port, level) == expected, f"call {number}: {port.calls[number - 1]}"


def _calls(start: Callable[[], object], level: str) -> int:
    port = MemoryPort(start())  # type: ignore[arg-type]
    repair(port, level)
    return len(port.calls)
