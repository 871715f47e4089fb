# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_check does with its arguments."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._bundle.paths import refuse_layer
from .._core.errors import DiskError
from .._core.findings import ERROR, WARNING, Finding, counts, marked_repaired, remaining
from .._core.records import dataclass
from .._io.fingerprint import refuse_changed
from .._io.port import Port
from .._io.real import OsPort
from .._ops.check.examine import Examination, examine, locate_hurt
from .run import Result, absolute

_SHOWN = 5


@dataclass(frozen=True)
class _Told:
    """What a run has to say: the findings before it, with what was repaired, and what it did."""

    findings: Tuple[Finding, ...]
    result: Result


def check_disk(module: AnsibleModule) -> Result:
    """Look at the disk, mend what may be mended, and tell; fails when what remains is as bad as ``fail_on`` says."""
    params = module.params
    port = OsPort()
    location = locate_hurt(port, absolute(port, params["path"]))
    refuse_layer(port, location)
    seen = examine(port, location, allow_outside=params["allow_outside"])
    told = (
        _Told(seen.findings, {"changed": False, "backup": None})
        if params["repair"] == "none"
        else _repair(module, port, seen)
    )
    findings = list(told.findings)
    if params["data"]:
        from .._ops.check.data import read_clusters

        unreadable, told.result["bytes_read"] = read_clusters(
            port, examine(port, location, allow_outside=params["allow_outside"])
        )
        findings += unreadable
    result = {
        "bytes_read": 0,
        **told.result,
        "healthy": not remaining(findings, ERROR, WARNING),
        "findings": [one.as_result() for one in findings],
        "counts": counts(findings),
        "diff": _diff(seen, findings),
    }
    _fail_on(module, params["fail_on"], findings, result)
    return result


def _repair(module: AnsibleModule, port: Port, seen: Examination) -> _Told:
    params = module.params
    first = seen
    recovered: List[str] = []
    if not module.check_mode:
        seen = _end_interrupted(port, seen, recovered)
    result = _apply(module, port, seen, recovered)
    repaired: Sequence[Finding] = result.pop("repaired")
    after = seen
    if not module.check_mode and result["changed"]:
        after = examine(port, seen.location, allow_outside=params["allow_outside"])
        after = _end_interrupted(port, after, recovered)
    ended = [one for one in first.findings if one.code == "interrupted"] if _is_ended(module, first, after) else []
    if module.check_mode:
        result["changed"] = result["changed"] or bool(ended)
        return _Told(tuple(marked_repaired(first.findings, [*repaired, *ended])), result)
    still = {(one.code, one.where) for one in after.findings}
    gone = [one for one in (*first.findings, *repaired, *ended) if (one.code, one.where) not in still]
    findings = marked_repaired(first.findings, gone)
    known = {(one.code, one.where) for one in findings}
    findings += [one for one in after.findings if (one.code, one.where) not in known]
    return _Told(tuple(findings), result)


def _is_ended(module: AnsibleModule, first: Examination, after: Examination) -> bool:
    return first.journal is not None and (module.check_mode or after.journal is None)


def _end_interrupted(port: Port, seen: Examination, recovered: List[str]) -> Examination:
    """End what an earlier run left, as far as the disk is in order for it."""
    if seen.journal is None:
        return seen
    # Only a disk with a journal needs what ends operations.
    from .._ops.check.repair import is_in_order
    from .._ops.recovery.recover import recover

    if not is_in_order(port, seen):
        return seen
    recovered += recover(port, seen.location, allow_outside=True)
    return examine(port, seen.location, allow_outside=True)


def _apply(module: AnsibleModule, port: Port, seen: Examination, recovered: List[str]) -> Result:
    # Only a repair needs what changes disks.
    from .._ops.check.repair import plan_repair
    from .disk import run_plan

    params = module.params
    backup_dir: Optional[str] = params["backup_dir"]
    folder = absolute(port, backup_dir, "backup_dir") if backup_dir is not None else None
    try:
        plan = plan_repair(port, seen, level=params["repair"], backup_dir=folder, force=params["force"])
    except DiskError:
        refuse_changed(port, seen.fingerprint)
        raise
    result, _outcome = run_plan(module, port, plan, tuple(recovered))
    result["backup"] = plan.facts["backup"]
    result["repaired"] = plan.facts["repaired"]
    return result


def _line(one: Finding) -> str:
    return f"{one.severity} {one.code}: {one.where}: {one.message}"


def _diff(seen: Examination, findings: Sequence[Finding]) -> Dict[str, Any]:
    """The findings before and after."""
    header = f"{seen.location.directory if seen.location.image is None else seen.location.image} (findings)"
    before = [_line(one) for one in findings]
    after = [_line(one) for one in findings if not one.repaired]
    if before == after:
        return {"before": {}, "after": {}, "before_header": header, "after_header": header}
    return {
        "before": {"findings": before},
        "after": {"findings": after},
        "before_header": header,
        "after_header": header,
    }


def _fail_on(module: AnsibleModule, fail_on: str, findings: Sequence[Finding], result: Result) -> None:
    bad = {"error": [ERROR], "warning": [ERROR, WARNING], "never": []}[fail_on]
    left = remaining(findings, *bad) if bad else []
    if not left:
        return
    for warning in dict.fromkeys(result.pop("warnings", ())):
        module.warn(warning)
    more = f" And {len(left) - _SHOWN} more." if len(left) > _SHOWN else ""
    text = " ".join(f"{one.where}: {one.message}" for one in left[:_SHOWN])
    repair = (
        "safe"
        if any(one.repairable == "safe" for one in left)
        else "all"
        if any(one.repairable == "lossy" for one in left)
        else None
    )
    hint = (
        f" Some of it can be repaired: set repair: {repair}."
        if repair is not None and module.params["repair"] != repair
        else ""
    )
    module.fail_json(
        msg=f"The disk is not healthy ({len(left)} findings). {text}{more}{hint}",
        error_code="unhealthy",
        error_context={"path": left[0].where, "found": left[0].code},
        **result,
    )
