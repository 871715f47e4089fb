# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A check from end to end: examine a disk, repair what may be repaired, examine it again, and say what is left.

An interrupted run is ended before a repair, if the disk is in order for that, and again after it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

from ..._bundle.bundle import observe
from ..._bundle.paths import Location, refuse_layer
from ..._core.errors import DiskError
from ..._core.findings import Finding, marked_repaired
from ..._core.plan import Plan
from ..._core.records import dataclass, replace
from ..._formats.hds.known import KnownTables
from ..._io.fingerprint import refuse_changed
from ..._io.port import Port
from .examination import Examination
from .examine import examine

if TYPE_CHECKING:
    from ..._bundle.neighbours import Vicinity
    from .repair import RepairFacts

NONE = "none"

Applied = Dict[str, Any]
Apply = Callable[[Plan[Any], Tuple[str, ...]], Applied]
"""Applies a plan, or predicts it; takes sentences about what was ended of earlier runs."""


@dataclass(frozen=True)
class CheckRequest:
    """``repair`` is none, safe or all. A ``is_prediction`` changes nothing. ``vicinity`` is where to look for machines
    and linked clones, beside the folder of the disk.
    """

    allow_outside: bool
    repair: str = NONE
    backup_dir: Optional[str] = None
    force: bool = False
    reads_data: bool = False
    is_prediction: bool = False
    vicinity: Optional[Vicinity] = None


@dataclass(frozen=True)
class Checked:
    """All findings, with the repaired ones marked, and the file with the old bytes.

    ``applied`` is the result of the plan of a repair; ``data_read`` are bytes, None when the data were not read;
    ``unknown`` are sentences about what around the disk could not be searched, ``tables`` those of sound images as they
    were before a repair.
    """

    findings: Tuple[Finding, ...]
    is_changed: bool = False
    backup: Optional[str] = None
    applied: Optional[Applied] = None
    data_read: Optional[int] = None
    unknown: Tuple[str, ...] = ()
    tables: Optional[KnownTables] = None


def check_and_repair(port: Port, location: Location, request: CheckRequest, apply: Apply) -> Checked:
    """Check the disk at ``location`` and do what ``request`` asks for."""
    refuse_layer(port, location)
    first = _examined(port, location, request)
    checked = Checked(first.findings) if request.repair == NONE else _repair(port, first, request, apply)
    checked = replace(checked, unknown=first.surroundings.unknown, tables=_sound_tables(first))
    if not request.reads_data:
        return checked
    # Hardly anybody reads all data.
    from .data import read_clusters

    unreadable, read = read_clusters(port, _examined(port, location, request))
    return replace(checked, findings=(*checked.findings, *unreadable), data_read=read)


def _sound_tables(examined: Examination) -> KnownTables:
    known = KnownTables()
    for image in examined.images:
        if image.header is not None and image.table is not None and not image.findings:
            known.add(image.stat, image.header, image.table)
    return known


def _examined(port: Port, location: Location, request: CheckRequest) -> Examination:
    return examine(port, location, allow_outside=request.allow_outside, vicinity=request.vicinity)


def _repair(port: Port, first: Examination, request: CheckRequest, apply: Apply) -> Checked:
    examined, recovered = (first, ()) if request.is_prediction else _end_interrupted(port, first, request)
    plan = _planned(port, examined, request)
    applied = apply(plan, recovered)
    repaired, is_changed = plan.facts.repaired, not plan.is_empty or bool(recovered)
    ended = tuple(one for one in first.findings if one.code == "interrupted" and first.journal is not None)
    if request.is_prediction:
        findings = marked_repaired(first.findings, repaired + ended)
        return Checked(tuple(findings), is_changed or bool(ended), plan.facts.backup, applied)
    after = examined
    if is_changed:
        after, _sentences = _end_interrupted(port, _examined(port, first.location, request), request)
    findings = _merged(first, repaired + (ended if after.journal is None else ()), after.findings)
    return Checked(tuple(findings), is_changed, plan.facts.backup, applied)


def _planned(port: Port, examined: Examination, request: CheckRequest) -> Plan[RepairFacts]:
    # Only a repair needs what changes disks.
    from .repair import plan_repair

    try:
        return plan_repair(port, examined, level=request.repair, backup_dir=request.backup_dir, force=request.force)
    except DiskError:
        refuse_changed(port, examined.fingerprint)
        raise


def _merged(first: Examination, repaired: Tuple[Finding, ...], after: Tuple[Finding, ...]) -> List[Finding]:
    """What was found before and after a repair: what is no longer found is repaired, what is new comes last."""
    still = {(one.code, one.where) for one in after}
    gone = [one for one in (*first.findings, *repaired) if (one.code, one.where) not in still]
    findings = marked_repaired(first.findings, gone)
    known = {(one.code, one.where) for one in findings}
    return findings + [one for one in after if (one.code, one.where) not in known]


def _end_interrupted(port: Port, examined: Examination, request: CheckRequest) -> Tuple[Examination, Tuple[str, ...]]:
    """The disk after the end of an interrupted run, if it is in order for that, and sentences about it."""
    if examined.journal is None or not is_in_order(port, examined):
        return examined, ()
    # Only a disk with a journal needs what ends operations.
    from ..recovery.recover import recover

    reach = {"allow_outside": True, "copies_outside": request.allow_outside}
    recovered = recover(port, examined.location, force=request.force, vicinity=request.vicinity, **reach)
    return _examined(port, examined.location, replace(request, allow_outside=True)), recovered


def is_in_order(port: Port, examined: Examination) -> bool:
    """Whether the disk can be observed, so that an interrupted run can be ended."""
    try:
        observe(port, examined.location, allow_outside=True)
        return True
    except DiskError:
        return False
