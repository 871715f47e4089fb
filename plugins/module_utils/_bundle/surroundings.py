# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What surrounds a disk, as facts: its virtual machine, and the linked clones that stand on its images."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import NamedTuple, Tuple

from .._core.records import dataclass
from .pvm import VmReport


class Clone(NamedTuple):
    """A disk whose descriptor names an image of another disk. Both are paths."""

    disk: str
    image: str


@dataclass(frozen=True)
class Surroundings:
    """``unknown`` are sentences about what could not be searched."""

    machine: VmReport = VmReport()
    clones: Tuple[Clone, ...] = ()
    unknown: Tuple[str, ...] = ()
