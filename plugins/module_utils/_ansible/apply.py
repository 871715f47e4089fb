# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applying a plan in a task: the result that every changing module returns, and what it shows in diff mode."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._core.plan import Plan
from .._io.port import Port
from .run import Result, titled_diff

if TYPE_CHECKING:
    from .._change.executor import Outcome

_SHOWN_IN_DIFF = (
    "virtual_size",
    "file_size",
    "used_size",
    "type",
    "split",
    "format_version",
    "cluster_size",
    "depth",
    "name",
)


def apply_plan(
    module: AnsibleModule,
    port: Port,
    plan: Plan[Any],
    *,
    recovered: Tuple[str, ...] = (),
    recover: Optional[Callable[[str], Optional[str]]] = None,
) -> Tuple[Result, Optional[Outcome]]:
    """Apply ``plan`` unless in check mode.

    ``recovered`` says what was finished of earlier runs; ``recover`` puts a disk in order after a failed step.
    """
    outcome = None
    if not plan.is_empty and module.check_mode:
        # A task that finds nothing to do needs no executor.
        from .._change.executor import check_preconditions

        check_preconditions(port, plan)
    elif not plan.is_empty:
        from .._change.executor import execute

        progress = getattr(module, "progress", None)
        if progress is not None:
            progress.phase("writing")
        outcome = execute(port, plan, on_progress=progress, recover=recover)
    result = _result(plan, outcome)
    result["changed"] = not plan.is_empty or bool(recovered)
    result["warnings"] = [*recovered, *result["warnings"]]
    return result, outcome


def _result(plan: Plan[Any], outcome: Optional[Outcome]) -> Result:
    return {
        "bytes_read": outcome.bytes_read + plan.bytes_scanned if outcome is not None else plan.bytes_read,
        "bytes_written": outcome.bytes_written if outcome is not None else plan.bytes_written,
        "elapsed": round(outcome.elapsed, 3) if outcome is not None else 0.0,
        "commits": [plan.commit_text] if plan.commit_text is not None else [],
        "warnings": [*plan.warnings, *(outcome.warnings if outcome is not None else ())],
    }


def diff_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> Dict[str, Any]:
    """What differs between two sets of disk facts, readable: sizes, files and the tree of snapshots."""
    old, new = _shown(before), _shown(after)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    title = f"{after.get('path') or before.get('path')} (disk)"
    return titled_diff(title, *({key: facts[key] for key in keys if key in facts} for facts in (old, new)))


def _shown(facts: Mapping[str, Any]) -> Dict[str, Any]:
    if not facts.get("exists"):
        return {}
    shown = {key: facts[key] for key in _SHOWN_IN_DIFF}
    shown["files"] = sorted(file["path"].rsplit("/", 1)[-1] for layer in facts["layers"] for file in layer["files"])
    shown["snapshots"] = draw_tree(facts["snapshots"])
    return shown


def draw_tree(snapshots: List[Dict[str, Any]]) -> List[str]:
    """The snapshots as indented lines, parents above their children; an arrow marks where the disk goes on."""
    by_guid = {snapshot["guid"]: snapshot for snapshot in snapshots}
    lines: List[str] = []
    pending = [snapshot for snapshot in reversed(snapshots) if snapshot["parent"] not in by_guid]
    while pending:
        snapshot = pending.pop()
        words = [snapshot["name"] or "", f"({snapshot['description']})" if snapshot.get("description") else ""]
        name = "".join(f" {word}" for word in words if word)
        here = " <- current" if snapshot["current"] else ""
        lines.append(f"{'  ' * (snapshot['depth'] - 1)}{snapshot['guid']}{name}{here}")
        pending += [by_guid[child] for child in reversed(snapshot["children"]) if child in by_guid]
    return lines
