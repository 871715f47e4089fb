# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_maintain does with its arguments: all disks of a host, one after another."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from ..._bundle.find import Found, disks_at
from ..._core.errors import BadRequest
from ..._io.port import Port
from ..._ops.maintain.budget import Budget
from ..._ops.maintain.exclude import excluded_by
from ..._ops.maintain.outcome import CHANGED, FAILED, Outcome, totals_of
from ..._ops.maintain.policy import Policy, refuse_bad_policy
from ..run import Result, absolute, absolute_all, failure_of, own_port, titled_diff
from ..spec import drops_swap, size_option, size_or
from .each_disk import fail_for, tell_subject
from .log import Log
from .visit import Run, visit

_PATTERN = frozenset("*?[")


def maintain_disks(module: AnsibleModule) -> Result:
    """Check, merge and compact all disks of the host by policy."""
    params, port = module.params, own_port(module)
    policy, budget = _policy(params), _budget(module)
    patterns = [_resolved(port, pattern) for pattern in params["exclude"]]
    found = disks_at(port, absolute_all(module, port, params["paths"]), recurse=params["recurse"])
    clones = disks_at(port, [absolute(port, path, "clones_in") for path in params["clones_in"]], recurse=True)
    run = Run(module, port, policy, budget, dict.fromkeys(found.disks + clones.disks))
    # The record of the last run ends where a new one begins: not before all options are understood.
    log = _log(module, port)
    try:
        run.warnings += [f"clones_in: {error}" for _path, error in clones.failed]
        disks = _visit_all(run, log, found.disks, patterns)
        log.end(run.unfinished)
    finally:
        log.close()
    result = _result(run, disks, found, log.earlier)
    result["warnings"] += _unused(port, patterns, found.disks)
    if params["fail_on"] != "never":
        fail_for(module, result, [*result["missing"], *_failures(disks)])
    result["warnings"] += [one["msg"] for one in result["missing"]]
    return result


def _log(module: AnsibleModule, port: Port) -> Log:
    path = module.params["record"]
    if path is None or module.check_mode:
        return Log()
    # A run that nobody wants to know of later does without what writes records.
    from ..._ops.maintain.record import open_record

    return Log(open_record(port, absolute(port, path, "record"), module.params["run"]))


def _visit_all(run: Run, log: Log, paths: Sequence[str], patterns: Sequence[str]) -> List[Result]:
    """The entries of all disks in the order of their paths. Those that an earlier run has not reached come first."""
    entries: Dict[str, Result] = {}
    for number, path in enumerate(sorted(paths, key=lambda path: path in log.reached)):
        tell_subject(run.module, path, number, len(paths))
        log.turn(path)
        entries[path] = _turn(run, path, _excluded(run.port, path, patterns))
        log.done(entries[path])
    return [entries[path] for path in paths]


def _turn(run: Run, path: str, pattern: Optional[str]) -> Result:
    if pattern is not None:
        outcome = Outcome(path)
        outcome.note(f"It is excluded by {pattern}.")
        return outcome.as_result(is_left_out=True)
    return visit(run, path)


def _policy(params: Mapping[str, Any]) -> Policy:
    policy = Policy(
        checks=params["check"],
        reads_data=params["check_data"],
        max_layers=params["max_layers"],
        orphans=params["orphans"],
        compacts=params["compact"],
        scan=params["scan"],
        drops_swap=drops_swap(params),
        threshold=size_or(params["threshold"], "threshold", 0),
        force=params["force"],
        allow_outside=params["allow_outside"],
    )
    refuse_bad_policy(policy)
    return policy


def _budget(module: AnsibleModule) -> Budget:
    params = module.params
    seconds, most = params["max_duration"], size_option(params["max_bytes"], "max_bytes")
    for value, option in ((seconds, "max_duration"), (most, "max_bytes")):
        if value is not None and value < 1:
            raise BadRequest(f"{option}: nothing could be done", found=value, hint="Leave it out to have no limit.")
    # A prediction is for every disk.
    return Budget(None if module.check_mode else seconds, most)


def _failures(disks: Sequence[Result]) -> List[Result]:
    return [
        {**one, "msg": one["reason"], "error_context": {"path": one["path"]}}
        for one in disks
        if one["outcome"] == FAILED
    ]


def _resolved(port: Port, pattern: str) -> str:
    """A path as those of the disks are: without links. A pattern as it is."""
    is_path = pattern.startswith("/") and not _PATTERN & set(pattern)
    return port.real_path(absolute(port, pattern, "exclude")) if is_path else pattern


def _excluded(port: Port, path: str, patterns: Sequence[str]) -> Optional[str]:
    """The pattern that leaves a disk out, by the path that the task names or by the one without links."""
    return excluded_by(path, patterns) or excluded_by(port.real_path(path), patterns)


def _unused(port: Port, patterns: Sequence[str], disks: Sequence[str]) -> List[str]:
    """A warning for each pattern that is perhaps mistaken."""
    used = {pattern for pattern in patterns for path in disks if _excluded(port, path, [pattern]) is not None}
    return [f"exclude: {pattern} leaves out no disk." for pattern in patterns if pattern not in used]


def _result(run: Run, disks: List[Result], found: Found, earlier: Optional[Result]) -> Result:
    changed = [one for one in disks if one["outcome"] == CHANGED]
    shown = ({one["path"]: one[when] for one in changed} for when in ("before", "after"))
    return {
        "changed": run.has_changed,
        "disks": [run.facts.of(one) for one in disks],
        **run.facts.undescribed,
        "missing": [{"path": path, **failure_of(error)} for path, error in found.failed],
        "unfinished": run.unfinished,
        "predicted": run.module.check_mode,
        "earlier": earlier,
        "totals": totals_of(disks),
        "elapsed": round(run.budget.elapsed, 3),
        "diff": titled_diff("disks", *shown),
        "warnings": run.warnings,
    }
