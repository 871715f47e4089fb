# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of each disk, and the sums over all of them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ..._bundle.bundle import BundleState
from ..._core.errors import DiskError
from ..._core.findings import ERROR, Finding, remaining
from ..._core.units import counted

CHANGED = "changed"
UNCHANGED = "unchanged"
SKIPPED = "skipped"
FAILED = "failed"
OUTCOMES = (CHANGED, UNCHANGED, SKIPPED, FAILED)

BUSY = ("in_use", "dirty")
PARDONED = (*BUSY, "suspended", "shared_layer", "stale_plan", "has_snapshots", "encrypted")
"""Error codes of what keeps a disk from being worked on without anything being wrong with it."""

_SHOWN = 3
_SUMS = ("freed", "reclaimed", "written")

Result = Dict[str, Any]


def figures(state: BundleState) -> Result:
    """Length of the current chain, and the sizes of the disk's own images in bytes. Of a prediction the host's blocks
    are not known.
    """
    own = [image for image in state.images.values() if not image.outside]
    allocated = [image.stat.allocated for image in own]
    return {
        "layers": len(state.tree.current_chain),
        "file_size": sum(image.stat.size for image in own),
        "used_size": sum(image.used for image in own),
        "allocated_size": None if any(size < 0 for size in allocated) else sum(allocated),
    }


class Outcome:
    """One disk in a run: filled while it is worked on, and told at the end."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.machine: Optional[Result] = None
        self.before: Optional[Result] = None
        self.after: Optional[Result] = None
        self.findings: Optional[Sequence[Finding]] = None
        self.merged: Sequence[str] = ()
        self.snapshots: Optional[Sequence[Result]] = None
        self.freed = 0
        self.reclaimed = 0
        self.written = 0
        self.is_changed = False
        self.worthwhile: Optional[bool] = None
        self._codes: List[str] = []
        self._reasons: List[str] = []

    @property
    def is_busy(self) -> bool:
        """Whether it was left alone because it is in use, or seems to be."""
        return bool(self._codes) and self._codes[0] in BUSY

    def complain(self, error: DiskError) -> None:
        """An error kept a step from being done."""
        self._codes.append(error.code)
        self._reasons.append(str(error))

    def judge(self, findings: Sequence[Finding]) -> bool:
        """Take in what a check found; returns whether the disk may be changed."""
        self.findings = findings
        errors = remaining(findings, ERROR)
        if errors:
            more = f" And {len(errors) - _SHOWN} more." if len(errors) > _SHOWN else ""
            text = " ".join(f"{one.where}: {one.message}" for one in errors[:_SHOWN])
            self._codes.append("unhealthy")
            self._reasons.append(
                f"The disk is not healthy ({counted(len(errors), 'error')}). {text}{more} hdd_check repairs disks."
            )
        return not errors

    def note(self, sentence: str) -> None:
        """Something that is to be known and is no error."""
        self._reasons.append(sentence)

    def as_result(self, *, is_left_out: bool = False) -> Result:
        """The entry in ``disks``. One that ``is_left_out`` was not, or not wholly, worked on."""
        return {
            "path": self.path,
            "machine": self.machine,
            "outcome": self._outcome(is_left_out),
            "reason": " ".join(dict.fromkeys(self._reasons)) or None,
            "error_code": self._codes[0] if self._codes else None,
            "findings": None if self.findings is None else [one.as_result() for one in self.findings],
            "before": self.before,
            "after": self.after if self.after is not None else self.before,
            "worthwhile": self.worthwhile,
            "merged": list(self.merged),
            "snapshots": self._snapshots(),
            **{key: getattr(self, key) for key in _SUMS},
        }

    def _snapshots(self) -> List[Result]:
        """The snapshots that had a name, and whether each is merged away."""
        return [
            {**{key: one[key] for key in ("guid", "name", "description")}, "merged": one["guid"] in self.merged}
            for one in self.snapshots or ()
            if one["name"] or one["description"]
        ]

    def _outcome(self, is_left_out: bool) -> str:
        if any(code not in PARDONED for code in self._codes):
            return FAILED
        if self.is_changed:
            return CHANGED
        return SKIPPED if self._codes or is_left_out else UNCHANGED


def totals_of(disks: Sequence[Result]) -> Result:
    """How many disks had which outcome, and sums in bytes."""
    return {
        "disks": len(disks),
        **{outcome: sum(one["outcome"] == outcome for one in disks) for outcome in OUTCOMES},
        "merged": sum(len(one["merged"]) for one in disks),
        **{key: sum(one[key] for one in disks) for key in _SUMS},
        **{f"size_{when}": sum(one[when]["file_size"] for one in disks if one[when]) for when in ("before", "after")},
    }
