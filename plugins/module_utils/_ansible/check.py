# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_check does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._bundle.neighbours import Standing, Vicinity
from .._bundle.paths import Location
from .._core.findings import ERROR, WARNING, Finding, counts, remaining
from .._core.plan import Plan
from .._core.units import counted
from .._io.port import Port
from .._ops.check.check_and_repair import NONE, Checked, CheckRequest, check_and_repair
from .._ops.check.examine import locate_damaged
from .run import Result, absolute, own_port, titled_diff

_SHOWN = 5


def check_disk(module: AnsibleModule) -> Result:
    """Check the disks and repair what may be repaired; fail when what remains is as bad as ``fail_on`` says."""
    left: Dict[str, Sequence[Finding]] = {}

    path, is_repaired = module.params["path"], module.params["repair"] != NONE
    if path is not None and not module.params["recurse"]:
        result, findings = check_one(module, path, Standing(own_port(module)))
        _fail_on(module, _bad(module, findings), result)
        return result
    # Most tasks are for one disk.
    from .fleet.each_disk import each_disk, fail_for
    from .fleet.others import Others

    # What is known of other disks serves all of them.
    others = Others()

    def work(one: str) -> Result:
        result, findings = check_one(module, one, others.look() if is_repaired else others.standing)
        left[one] = _bad(module, findings)
        return result

    result = each_disk(module, work, others)
    ill = [(path, findings) for path, findings in left.items() if findings]
    if module.params["fail_on"] != "never":
        sentences = {path: _sentence(module, findings) for path, findings in ill}
        fail_for(module, result, result["failed_disks"], sentences)
    return result


def check_one(module: AnsibleModule, path: str, standing: Standing) -> Tuple[Result, Sequence[Finding]]:
    """Check one disk, and repair it if asked for: the result, and the findings."""
    port = own_port(module)
    given = absolute(port, path)
    location = locate_damaged(port, given)

    def apply(plan: Plan[Any], recovered: Sequence[str]) -> Result:
        # Only a repair needs what changes disks.
        from .disk import run_plan

        return run_plan(module, port, plan, tuple(recovered))[0]

    checked = check_and_repair(port, location, _request(module, port, Vicinity(given, standing)), apply)
    return _result(location, checked), checked.findings


def _result(location: Location, checked: Checked) -> Result:
    findings = checked.findings
    result = {
        "bytes_read": 0,
        **(checked.applied or {}),
        "changed": checked.is_changed,
        "backup": checked.backup,
        "healthy": not remaining(findings, ERROR, WARNING),
        "findings": [one.as_result() for one in findings],
        "counts": counts(findings),
        "diff": _diff(location, findings),
        "warnings": [*(checked.applied or {}).get("warnings", ()), *checked.unknown],
    }
    if checked.data_read is not None:
        result["bytes_read"] = checked.data_read
    return result


def _request(module: AnsibleModule, port: Port, vicinity: Vicinity) -> CheckRequest:
    params = module.params
    folder: Optional[str] = params["backup_dir"] if params["repair"] != NONE else None
    return CheckRequest(
        allow_outside=params["allow_outside"],
        repair=params["repair"],
        backup_dir=port.real_path(absolute(port, folder, "backup_dir")) if folder is not None else None,
        force=params["force"],
        reads_data=params["data"],
        is_prediction=module.check_mode,
        vicinity=vicinity,
    )


def _line(one: Finding) -> str:
    return f"{one.severity} {one.code}: {one.where}: {one.message}"


def _diff(location: Location, findings: Sequence[Finding]) -> Dict[str, Any]:
    """The findings before and after."""
    title = f"{location.image or location.directory} (findings)"
    before = [_line(one) for one in findings]
    after = [_line(one) for one in findings if not one.repaired]
    return titled_diff(title, *({"findings": lines} if before != after else {} for lines in (before, after)))


def _bad(module: AnsibleModule, findings: Sequence[Finding]) -> Sequence[Finding]:
    bad = {"error": [ERROR], "warning": [ERROR, WARNING], "never": []}[module.params["fail_on"]]
    return remaining(findings, *bad) if bad else []


def _fail_on(module: AnsibleModule, left: Sequence[Finding], result: Result) -> None:
    if not left:
        return
    for warning in dict.fromkeys(result.pop("warnings", ())):
        module.warn(warning)
    module.fail_json(
        msg=_sentence(module, left),
        error_code="unhealthy",
        error_context={"path": left[0].where, "found": left[0].code},
        **result,
    )


def _sentence(module: AnsibleModule, left: Sequence[Finding]) -> str:
    more = f" And {len(left) - _SHOWN} more." if len(left) > _SHOWN else ""
    text = " ".join(f"{one.where}: {one.message}" for one in left[:_SHOWN])
    hint = _hint(module.params["repair"], left)
    return f"The disk is not healthy ({counted(len(left), 'finding')}). {text}{more}{hint}"


def _hint(level: str, left: Sequence[Finding]) -> str:
    degrees = {one.repairable for one in left}
    better = "safe" if "safe" in degrees else "all" if "lossy" in degrees else level
    return f" Some of it can be repaired: set repair: {better}." if better != level else ""
