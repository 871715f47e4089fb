# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Let the virtual machine say the size that its disk has.

Commit point: the rename of ``config.pvs``. Nothing of the disk changes.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from ..._bundle.bundle import BundleState
from ..._bundle.guards import Touches, check_guards
from ..._bundle.machine_edit import MachineEdit
from ..._change.bundle_plan import SMALL_CHANGES, BundleChange, ChangeFacts, bundle_plan
from ..._change.machine import machine_request, replace_step
from ..._core.plan import Plan
from ..._io.journal import PREPARE, Journal

OPERATION = "machine"


def plan_machine(state: BundleState, edit: MachineEdit, *, force: bool = False) -> Plan[ChangeFacts]:
    """Write the configuration anew. Raises what forbids a change of the disk: its machine runs, or is suspended."""
    clearance = check_guards(state, Touches(), force=force)
    change = BundleChange(
        OPERATION,
        Journal(OPERATION, PREPARE, request=machine_request(edit)),
        commit=replace_step(edit),
        witnesses=edit.before,
        needed=SMALL_CHANGES + len(edit.content),
    )
    return bundle_plan(clearance, change, ChangeFacts(state))
