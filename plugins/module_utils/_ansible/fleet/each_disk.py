# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same work on every disk that a task names: a bad one never stops the others, and the task says so at the end."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..._core.errors import DiskError
from ..._io.port import Port
from ..run import Result, absolute, absolute_all, failure_of, own_port

if TYPE_CHECKING:
    from .others import Others

Work = Callable[[str], Result]

_SUMS = ("bytes_read", "bytes_written", "elapsed")
_SHOWN = 3


def each_disk(module: AnsibleModule, work: Work, others: Optional[Others] = None) -> Result:
    """What ``work`` returns for ``path``; with ``paths`` or ``recurse`` what it returns for each disk, as ``disks``.

    Of several disks, those that an error stops are in ``failed_disks``, and ``others`` knows who stands on whom.
    """
    params = module.params
    if params["path"] is not None and not params["recurse"]:
        return work(params["path"])
    port, single = own_port(module), params["path"]
    given = [absolute(port, single)] if single is not None else absolute_all(module, port, params["paths"])
    found, failed = _found(port, given, recurse=params["recurse"])
    if others is not None:
        others.meet(found)
    done: Dict[str, Result] = {}
    for number, path in enumerate(found):
        tell_subject(module, path, number, len(found))
        try:
            done[path] = work(path)
        except DiskError as error:
            failed.append({"path": path, **failure_of(error)})
    return _joined(done, failed)


def change_each(module: AnsibleModule, work: Work, others: Optional[Others] = None) -> Result:
    """As ``each_disk``, for work that is to be done on every disk: the task fails at the end when one failed."""
    result = each_disk(module, work, others)
    if "disks" in result:
        fail_for(module, result, result["failed_disks"])
    return result


def tell_subject(module: AnsibleModule, path: str, number: int, count: int) -> None:
    """Say in the progress of the task which disk is looked at."""
    progress = getattr(module, "progress", None)
    if progress is not None:
        progress.subject(path, number, count)


def fail_for(
    module: AnsibleModule,
    result: Result,
    failed: Sequence[Mapping[str, Any]],
    ill: Optional[Mapping[str, str]] = None,
) -> None:
    """Fail the task, with its whole ``result``, for what ``failed`` and for the disks that are ``ill``, by path."""
    ill = ill or {}
    sentences = [f"{one['path']}: {one['msg']}" for one in failed] + [f"{path}: {text}" for path, text in ill.items()]
    if not sentences:
        return
    for warning in dict.fromkeys(result.pop("warnings", ())):
        module.warn(warning)
    count = len({*(one["path"] for one in (*result["disks"], *failed))})
    more = f" And {len(sentences) - _SHOWN} more." if len(sentences) > _SHOWN else ""
    first = failed[0] if failed else {"error_code": "unhealthy", "error_context": {"path": next(iter(ill))}}
    module.fail_json(
        msg=f"{len(sentences)} of {count} disks failed. {' '.join(sentences[:_SHOWN])}{more}",
        error_code=first["error_code"],
        error_context=first["error_context"],
        **result,
    )


def _found(port: Port, paths: Sequence[str], *, recurse: bool) -> Tuple[Sequence[str], List[Dict[str, Any]]]:
    # Most tasks are for one disk.
    from ..._bundle.find import disks_at

    selected = disks_at(port, paths, recurse=recurse)
    return selected.disks, [{"path": path, **failure_of(error)} for path, error in selected.failed]


def _joined(done: Mapping[str, Result], failed: List[Dict[str, Any]]) -> Result:
    results = list(done.values())
    apart = ("diff", "warnings")
    joined: Result = {
        "changed": any(one["changed"] for one in results),
        "disks": [
            {"path": path, **{key: value for key, value in one.items() if key not in apart}}
            for path, one in done.items()
        ],
        "failed_disks": failed,
        "diff": [one["diff"] for one in results if _is_shown(one["diff"])],
        "warnings": [text for one in results for text in one.get("warnings", ())],
        "commits": [text for one in results for text in one.get("commits", ())],
    }
    for key in _SUMS:
        joined[key] = round(sum(one.get(key, 0) for one in results), 3)
    return joined


def _is_shown(diff: Mapping[str, Any]) -> bool:
    return bool(diff["before"] != diff["after"])
