# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings: what a check has to say of a disk.

Their codes are part of the public interface; the table of rules is the one place that lists them.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional

from .records import dataclass, replace

ERROR = "error"
WARNING = "warning"
INFO = "info"

NO = "no"
SAFE = "safe"
LOSSY = "lossy"

_DEGREES = (SAFE, LOSSY, NO)


class Rule(NamedTuple):
    """``repairable`` is the best that may be hoped for; a finding may say that in its case it is less."""

    code: str
    severity: str
    repairable: str
    meaning: str


_RULES = (
    # The descriptor.
    Rule("descriptor_missing", ERROR, SAFE, "the bundle has no descriptor"),
    Rule("descriptor_unreadable", ERROR, SAFE, "the descriptor cannot be parsed"),
    Rule("descriptor_invalid", ERROR, SAFE, "the descriptor is inconsistent or not supported"),
    Rule("descriptor_size", ERROR, SAFE, "Disk_size and the ranges of the storages differ"),
    Rule("descriptor_cluster_size", WARNING, SAFE, "the descriptor gives another cluster size than the images"),
    Rule("backup_differs", INFO, NO, "the backup of the descriptor differs from it"),
    Rule("backup_unreadable", INFO, NO, "the backup of the descriptor cannot be parsed"),
    Rule("geometry", INFO, NO, "cylinders, heads and sectors do not multiply to the size of the disk"),
    # The tree of snapshots.
    Rule("shot_duplicate", ERROR, SAFE, "two snapshots have the same GUID, or one has the null GUID"),
    Rule("shot_without_image", ERROR, SAFE, "a snapshot has no image in a storage"),
    Rule("image_without_shot", ERROR, SAFE, "an image belongs to no snapshot"),
    Rule("image_shared", ERROR, SAFE, "one file is used as two images"),
    Rule("parent_missing", ERROR, SAFE, "the parent of a snapshot does not exist"),
    Rule("tree_loop", ERROR, SAFE, "the parents of snapshots form a circle"),
    Rule("tree_too_deep", ERROR, NO, "a chain has more layers than can be opened"),
    Rule("top_missing", ERROR, SAFE, "no layer is the current one"),
    Rule("tree_several_roots", WARNING, NO, "more than one layer has no parent"),
    Rule("shot_temporary", WARNING, NO, "a deletion or merge by other software was not finished"),
    Rule("names_unreadable", INFO, NO, "the names of snapshots cannot be read"),
    Rule("name_without_snapshot", INFO, NO, "a name is kept of a snapshot that the disk does not have"),
    # The files.
    Rule("image_missing", ERROR, NO, "an image that the descriptor names does not exist"),
    Rule("image_unreadable", ERROR, NO, "an image cannot be read or is not a regular file"),
    Rule(
        "image_outside",
        INFO,
        NO,
        "an image is outside the bundle; it is never changed, and read only with allow_outside",
    ),
    Rule("orphan_file", WARNING, NO, "an image file that the descriptor does not name"),
    Rule("leftover_ours", WARNING, SAFE, "an unfinished file of this collection"),
    Rule("leftover_ploop", WARNING, NO, "a leftover of an unfinished operation of ploop"),
    Rule("interrupted", WARNING, SAFE, "a change by this collection was interrupted"),
    Rule("journal_unreadable", ERROR, LOSSY, "the journal of an interrupted change cannot be read"),
    Rule("in_use", INFO, NO, "a process holds the disk; the findings may be a momentary state"),
    Rule("changing", WARNING, NO, "the disk was changed during the check"),
    # The head of an image.
    Rule("image_foreign", ERROR, NO, "an image has another format"),
    Rule("image_signature", ERROR, SAFE, "an image does not have the signature of an expanding image"),
    Rule("image_type", ERROR, SAFE, "the descriptor gives an image another type than its content has"),
    Rule("image_truncated", ERROR, NO, "a file ends within its header or table, or is empty"),
    Rule("image_too_short", WARNING, SAFE, "a file without clusters ends before its data area"),
    Rule("image_dirty", WARNING, SAFE, "an image is marked as in use, but no process holds it"),
    Rule("image_converting", ERROR, NO, "a change of the format version by ploop was interrupted"),
    Rule("image_size", WARNING, NO, "the size of an image differs from its part of the disk"),
    Rule("image_mixed", WARNING, NO, "the layers of a chain differ in cluster size or format version"),
    Rule("header_type", ERROR, SAFE, "the header names an unknown kind of disk"),
    Rule("header_cluster_size", ERROR, SAFE, "the cluster size in the header is wrong"),
    Rule("header_table_length", ERROR, SAFE, "the length of the table in the header is wrong"),
    Rule("header_size", ERROR, SAFE, "the guest size in the header is wrong"),
    Rule("header_size_high", INFO, SAFE, "the unused half of the guest size in a header of version 1 is not zero"),
    Rule("header_data_off", ERROR, SAFE, "the header gives a wrong start of the data area"),
    Rule("flag_empty", WARNING, SAFE, "the header says that nothing was ever written, but there are data"),
    Rule(
        "extension_stale",
        WARNING,
        SAFE,
        "the header refers to a format extension that is no longer valid; some readers refuse the image",
    ),
    Rule("extension_damaged", ERROR, SAFE, "the format extension is damaged"),
    Rule("extension_overlaps", ERROR, SAFE, "a cluster of the format extension is also a cluster of the guest"),
    Rule("extension_unknown", ERROR, NO, "the format extension requires a feature that is not supported"),
    # The table of an image.
    Rule("entry_low", ERROR, LOSSY, "an entry points before the data area"),
    Rule("entry_out_of_file", ERROR, LOSSY, "an entry points past the end of the file"),
    Rule("entry_cut", ERROR, LOSSY, "the file ends within a cluster"),
    Rule("entry_off_grid", ERROR, LOSSY, "an entry points between two slots"),
    Rule("entry_duplicate", ERROR, LOSSY, "two entries point to the same cluster"),
    Rule("entry_surplus", INFO, SAFE, "entries beyond the end of the disk are not zero"),
    Rule("leak_tail", WARNING, SAFE, "the end of the file does not belong to any cluster"),
    Rule("leak_inside", INFO, NO, "clusters that no entry points to; hdd_compact gives them back"),
    Rule("tail_unaligned", INFO, SAFE, "the file ends within its last cluster, after the part that the guest sees"),
    Rule("plain_size", WARNING, NO, "the length of a plain image differs from its part of the disk"),
    Rule("data_unreadable", ERROR, NO, "clusters cannot be read from the medium"),
    # The virtual machine.
    Rule("vm_unclear", WARNING, NO, "the files of the virtual machine cannot be parsed"),
    Rule("vm_disk_not_named", WARNING, NO, "the virtual machine does not name this disk"),
    Rule("vm_size", WARNING, SAFE, "the virtual machine gives another size of the disk"),
    Rule("vm_disk_type", INFO, SAFE, "the virtual machine takes the disk for one of another type"),
    Rule("vm_suspended", INFO, NO, "the virtual machine is suspended; its saved memory fits only the disk as it is"),
    Rule("vm_snapshot_without_layer", WARNING, NO, "a snapshot of the virtual machine has no layer in this disk"),
    Rule("layer_without_vm_snapshot", INFO, NO, "a layer belongs to no snapshot of the virtual machine"),
)

RULES: Mapping[str, Rule] = {rule.code: rule for rule in _RULES}
"""All rules by code."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found. ``where`` is a path. ``repairable`` holds for this case."""

    code: str
    where: str
    message: str
    repairable: str
    repaired: bool = False

    @property
    def severity(self) -> str:
        """How bad it is: error, warning or info."""
        return RULES[self.code].severity

    def as_result(self) -> Dict[str, Any]:
        """The finding as modules return it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "message": self.message,
            "repairable": self.repairable,
            "repaired": self.repaired,
        }


def found(code: str, where: str, message: str, *, repairable: Optional[str] = None) -> Finding:
    """A finding by a rule, with the rule's own word on repair unless one is given."""
    return Finding(code, where, message, RULES[code].repairable if repairable is None else repairable)


def worst(degrees: Iterable[str]) -> str:
    """What it takes to repair several things: no before lossy before safe."""
    return max(degrees, key=_DEGREES.index, default=SAFE)


def is_allowed(degree: str, level: str) -> bool:
    """Whether a repair of ``level`` (none, safe or all) may do what is ``degree`` repairable."""
    return degree == SAFE and level in (SAFE, "all") or degree == LOSSY and level == "all"


def marked_repaired(findings: Iterable[Finding], repaired: Iterable[Finding]) -> List[Finding]:
    """``findings``, with those among ``repaired`` marked so."""
    known = {(one.code, one.where, one.message) for one in repaired}
    return [replace(one, repaired=(one.code, one.where, one.message) in known) for one in findings]


def remaining(findings: Iterable[Finding], *severities: str) -> List[Finding]:
    """Those of these severities that were not repaired."""
    return [one for one in findings if not one.repaired and one.severity in severities]


def counts(findings: Iterable[Finding]) -> Dict[str, int]:
    """How many remain of each severity, and how many were repaired."""
    found = list(findings)
    counted = {severity: len(remaining(found, severity)) for severity in (ERROR, WARNING, INFO)}
    return {**counted, "repaired": sum(one.repaired for one in found)}
