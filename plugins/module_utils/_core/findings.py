# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings: what a check reports of a disk.

Their codes are part of the public interface; the table of rules is the one place that lists them.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

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
    Rule("descriptor_unreadable", ERROR, SAFE, "the descriptor cannot be understood"),
    Rule("descriptor_invalid", ERROR, SAFE, "the descriptor contradicts itself, or says what nobody supports"),
    Rule("descriptor_size", ERROR, SAFE, "Disk_size and the ranges of the storages differ"),
    Rule("descriptor_cluster_size", WARNING, SAFE, "the descriptor gives another cluster size than the images"),
    Rule("backup_differs", INFO, NO, "the backup of the descriptor is another generation"),
    Rule("backup_unreadable", INFO, NO, "the backup of the descriptor cannot be understood"),
    Rule("geometry", INFO, NO, "cylinders, heads and sectors do not multiply to the size of the disk"),
    # The tree of snapshots.
    Rule("shot_duplicate", ERROR, SAFE, "two snapshots have one GUID, or one has that of none"),
    Rule("shot_without_image", ERROR, SAFE, "a snapshot has no image in a storage"),
    Rule("image_without_shot", ERROR, SAFE, "an image belongs to no snapshot"),
    Rule("image_shared", ERROR, SAFE, "one file serves as two images"),
    Rule("parent_missing", ERROR, SAFE, "the parent of a snapshot does not exist"),
    Rule("tree_loop", ERROR, SAFE, "snapshots are one another's parents"),
    Rule("tree_too_deep", ERROR, NO, "a chain has more layers than can be opened"),
    Rule("top_missing", ERROR, SAFE, "no layer is the current one"),
    Rule("tree_several_roots", WARNING, NO, "more than one layer has no parent"),
    Rule("shot_temporary", WARNING, NO, "a deletion or merge by other software was not finished"),
    # The files.
    Rule("image_missing", ERROR, NO, "an image that the descriptor names is not there"),
    Rule("image_unreadable", ERROR, NO, "an image cannot be read, or is no regular file"),
    Rule(
        "image_outside",
        INFO,
        NO,
        "an image is outside the bundle; it is never changed, and looked at only with allow_outside",
    ),
    Rule("orphan_file", WARNING, NO, "an image file that the descriptor does not name"),
    Rule("leftover_ours", WARNING, SAFE, "an unfinished file of this collection"),
    Rule("leftover_ploop", WARNING, NO, "a file that an unfinished operation of ploop left"),
    Rule("interrupted", WARNING, SAFE, "a change by this collection was cut off"),
    Rule("journal_unreadable", ERROR, LOSSY, "the journal of a change that was cut off cannot be understood"),
    Rule("in_use", INFO, NO, "a process holds the disk; what is found may be of the moment"),
    Rule("changing", WARNING, NO, "the disk was changed during the check"),
    # The head of an image.
    Rule("image_foreign", ERROR, NO, "an image is of another format"),
    Rule("image_signature", ERROR, SAFE, "an image does not begin as an expanding image does"),
    Rule("image_truncated", ERROR, NO, "a file ends within its header or table, or is empty"),
    Rule("image_too_short", WARNING, SAFE, "a file without clusters ends before its data area"),
    Rule("image_dirty", WARNING, SAFE, "an image carries the in-use mark, and nobody is seen to hold it"),
    Rule("image_converting", ERROR, NO, "a change of the format version by ploop was cut off"),
    Rule("image_size", WARNING, NO, "an image holds another size than its place in the disk"),
    Rule("image_mixed", WARNING, NO, "the layers of a chain differ in cluster size or format version"),
    Rule("header_type", ERROR, SAFE, "the header names an unknown kind of disk"),
    Rule("header_cluster_size", ERROR, SAFE, "the cluster size in the header is wrong"),
    Rule("header_table_length", ERROR, SAFE, "the length of the table in the header is wrong"),
    Rule("header_size", ERROR, SAFE, "the guest size in the header is wrong"),
    Rule("header_size_high", INFO, SAFE, "the unused half of the guest size in a header of version 1 is not zero"),
    Rule("header_data_off", ERROR, SAFE, "the header gives a wrong start of the data area"),
    Rule("flag_empty", WARNING, SAFE, "the header says that nothing was ever written, and there is data"),
    Rule(
        "extension_stale",
        WARNING,
        SAFE,
        "the header names a format extension that does not count any more; some readers refuse the image",
    ),
    Rule("extension_damaged", ERROR, SAFE, "the format extension is damaged"),
    Rule("extension_overlaps", ERROR, SAFE, "a cluster of the format extension belongs to the guest as well"),
    Rule("extension_unknown", ERROR, NO, "the format extension needs what is unknown here"),
    # The table of an image.
    Rule("entry_low", ERROR, LOSSY, "an entry points before the data area"),
    Rule("entry_out_of_file", ERROR, LOSSY, "an entry points past the end of the file"),
    Rule("entry_cut", ERROR, LOSSY, "the file ends within a cluster"),
    Rule("entry_off_grid", ERROR, LOSSY, "an entry points between two slots"),
    Rule("entry_duplicate", ERROR, LOSSY, "two entries point to one cluster"),
    Rule("entry_surplus", INFO, SAFE, "entries past the end of the disk are not zero"),
    Rule("leak_tail", WARNING, SAFE, "the end of the file belongs to no cluster"),
    Rule("leak_inside", INFO, NO, "clusters that no entry names; hdd_compact gives them back"),
    Rule("tail_unaligned", INFO, SAFE, "the file ends within its last cluster, after what the guest sees"),
    Rule("plain_size", WARNING, NO, "a plain image is not as long as its place in the disk"),
    Rule("data_unreadable", ERROR, NO, "clusters cannot be read from the medium"),
    # The virtual machine.
    Rule("vm_unclear", WARNING, NO, "the files of the virtual machine cannot be understood"),
    Rule("vm_disk_not_named", WARNING, NO, "the virtual machine does not name this disk"),
    Rule("vm_size", WARNING, NO, "the virtual machine gives another size of the disk"),
    Rule("vm_suspended", INFO, NO, "the virtual machine is suspended; its memory belongs to the disk as it is"),
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
    """A finding by a rule, with the rule's own word on repair unless another is given."""
    return Finding(code, where, message, RULES[code].repairable if repairable is None else repairable)


def worst(degrees: Iterable[str]) -> str:
    """What it takes to repair several things: no before lossy before safe."""
    return max(degrees, key=_DEGREES.index, default=SAFE)


def is_allowed(degree: str, level: str) -> bool:
    """Whether a repair of ``level`` (none, safe or all) may do what is ``degree`` repairable."""
    return degree == SAFE and level in (SAFE, "all") or degree == LOSSY and level == "all"


def marked_repaired(findings: Iterable[Finding], repaired: Iterable[Finding]) -> List[Finding]:
    """``findings``, with those that are among ``repaired`` marked."""
    known = {(one.code, one.where, one.message) for one in repaired}
    return [replace(one, repaired=(one.code, one.where, one.message) in known) for one in findings]


def remaining(findings: Iterable[Finding], *severities: str) -> List[Finding]:
    """Those of these severities that were not repaired."""
    return [one for one in findings if not one.repaired and one.severity in severities]


def counts(findings: Iterable[Finding]) -> Dict[str, int]:
    """How many remain of each severity, and how many were repaired."""
    known = list(findings)
    counted = {severity: len(remaining(known, severity)) for severity in (ERROR, WARNING, INFO)}
    return {**counted, "repaired": sum(one.repaired for one in known)}
