# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said about one file system: what it is, and which of its bytes are certainly free."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional

from ..._core.records import dataclass
from .reasons import REASONS
from .runs import Runs


class Uncertain(Exception):
    """Nothing of the file system counts as free. ``code`` is a key of REASONS."""

    def __init__(self, code: str) -> None:
        super().__init__(REASONS[code])
        self.code = code


def refuse_if(wrong: object, code: str = "damaged") -> None:
    """Raise Uncertain when something is not as it must be."""
    if wrong:
        raise Uncertain(code)


@dataclass(frozen=True)
class Identity:
    """What a reader recognises, by magic and plain sanity. ``size`` in bytes is what the file system says of itself.

    ``type`` is one of ext2, ext3, ext4, xfs, btrfs, swap, lvm2, ntfs, fat12, fat16, fat32, exfat, hfsplus, apfs.
    """

    type: str
    label: Optional[str]
    size: int


@dataclass(frozen=True)
class Answer:
    """One file system or container of a disk; ``offset`` and ``size`` are guest bytes.

    ``partition`` is its number, None on a disk without partitions.

    ``free`` are byte ranges of the guest disk, empty unless it is certain; else ``reason`` is a key of REASONS.
    """

    partition: Optional[int]
    offset: int
    type: Optional[str]
    label: Optional[str]
    size: int
    free: Runs
    reason: Optional[str] = None

    @property
    def certain(self) -> bool:
        """Whether the free ranges are proven."""
        return self.reason is None
