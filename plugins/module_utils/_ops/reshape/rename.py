# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of the descriptor alone. Commit point: its rename."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional

from ..._bundle.bundle import BundleState
from ..._bundle.guards import Touches, check_guards
from ..._change.bundle_plan import BundleChange, ChangeFacts, bundle_plan, unchanged
from ..._change.journal import descriptor_step
from ..._core.errors import Unsupported
from ..._core.plan import Plan
from ..._core.records import replace


def plan_rename(state: BundleState, name: Optional[str], *, force: bool = False) -> Plan[ChangeFacts]:
    """Give the disk another name in its descriptor; an empty plan when it has that name or none is asked for."""
    if name is None or name == state.descriptor.name:
        return unchanged("rename", ChangeFacts(state))
    if not state.is_bundle:
        raise Unsupported(
            "A single-file image has no name of its own", path=state.location.image, hint="Leave the option name out."
        )
    clearance = check_guards(state, Touches(images=False), force=force)
    target = replace(state.descriptor, name=name)
    # One atomic step needs no journal.
    change = BundleChange("rename", ends_journal=False, commit=descriptor_step(state, target))
    return bundle_plan(clearance, change, ChangeFacts(replace(state, descriptor=target)))
