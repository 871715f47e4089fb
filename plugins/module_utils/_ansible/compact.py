# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_compact does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ansible.module_utils.basic import AnsibleModule

from .._core.plan import Plan
from .._ops.compact.plan import CompactFacts, plan_compact
from .._ops.compact.savings import summary
from .disk import Disk, change_disk
from .run import Result
from .spec import drops_swap, size_option

if TYPE_CHECKING:
    from .fleet.others import Others


def compact_disk(module: AnsibleModule) -> Result:
    """Give back what the guest does not use."""
    params = module.params
    is_dropping = drops_swap(params)
    threshold = size_option(params["threshold"], "threshold")

    def planner(disk: Disk) -> Plan[CompactFacts]:
        chosen = {name: params[name] for name in ("scan", "strategy", "force")}
        return plan_compact(disk.port, disk.state, threshold=threshold or 0, swap=is_dropping, **chosen)

    def work(path: str, others: Optional[Others] = None) -> Result:
        result, plan, _disk = change_disk(module, planner, path=path, others=others)
        result.update(summary(plan.facts.savings, reclaimed=not plan.is_empty, scan=params["scan"]))
        if plan.facts.filesystems is not None:
            result["filesystems"] = list(plan.facts.filesystems)
        return result

    if params["path"] is not None and not params["recurse"]:
        return work(params["path"])
    # Most tasks are for one disk.
    from .fleet.each_disk import change_each
    from .fleet.others import Others

    others = Others()
    return change_each(module, lambda path: work(path, others), others)
