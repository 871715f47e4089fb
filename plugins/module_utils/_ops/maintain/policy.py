# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy of maintenance: which layers go, and what is given back."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ..._bundle.guards import refuse_standing, refuse_suspended
from ..._core.errors import BadRequest
from ..._core.plan import Plan
from ..._core.records import dataclass
from ..._io.port import Port

if TYPE_CHECKING:
    from ..._bundle.bundle import BundleState
    from ..._bundle.pvm import VmReport
    from ..compact.plan import CompactFacts
    from ..snapshots.merge import MergeFacts


@dataclass(frozen=True)
class Policy:
    """With ``max_layers`` the oldest layers are merged until no more remain; with ``orphans`` only those that no
    machine lists and nobody gave a name. ``scan`` and ``threshold`` (bytes) are those of a compaction. ``force`` passes
    over in-use marks and over nothing else.
    """

    checks: bool = True
    reads_data: bool = False
    max_layers: Optional[int] = None
    orphans: bool = False
    compacts: bool = True
    scan: str = "zeros"
    drops_swap: bool = False
    threshold: int = 0
    force: bool = False
    allow_outside: bool = False

    @property
    def merges(self) -> bool:
        """Whether layers are merged at all."""
        return self.orphans or self.max_layers is not None


def refuse_bad_policy(policy: Policy) -> None:
    """Raise BadRequest for a policy that nobody can mean."""
    if policy.max_layers is not None and policy.max_layers < 1:
        hint = "Use 1 or more, or leave it out to merge nothing."
        raise BadRequest("max_layers: a disk has at least one layer", found=policy.max_layers, hint=hint)


def plan_merge_by(policy: Policy, port: Port, state: BundleState, machine: VmReport) -> Plan[MergeFacts]:
    """The merge that the policy asks for. Snapshots that the machine lists stay, whatever is forced."""
    # Most runs merge nothing.
    from ..snapshots.merge_request import MergeRequest, plan_requested_merge

    _refuse_what_force_is_not_for(policy, state)
    request = MergeRequest(
        max_layers=1 if policy.max_layers is None else policy.max_layers,
        orphans=policy.orphans,
        force=policy.force,
        spared=True,
    )
    return plan_requested_merge(port, state, machine, request)


def plan_compaction_by(policy: Policy, port: Port, state: BundleState) -> Plan[CompactFacts]:
    """The compaction that the policy asks for."""
    # A run without compaction does without its planner.
    from ..compact.plan import plan_compact

    _refuse_what_force_is_not_for(policy, state)
    return plan_compact(
        port, state, scan=policy.scan, swap=policy.drops_swap, threshold=policy.threshold, force=policy.force
    )


def _refuse_what_force_is_not_for(policy: Policy, state: BundleState) -> None:
    if policy.force:
        refuse_suspended(state, force=False)
        refuse_standing(state, [image.path for image in state.images.values() if not image.outside], force=False)
