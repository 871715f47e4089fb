# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The readers of file systems: one row each, loaded only where its magic is found.

A reader is a file with two functions, see ``Reader``. It reads through a Volume only, bounds what it reads before use,
and raises Uncertain where anything is unknown, unclean or contradicts itself.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Callable, Iterator, Optional, Protocol, Tuple

from ..._core.records import dataclass
from .answer import Identity
from .runs import Runs
from .volume import Volume


class Reader(Protocol):
    """What a file of a reader offers."""

    def recognise(self, volume: Volume) -> Optional[Identity]:
        """What it is, None when it is not this file system. Raises nothing for what is only damaged or unclean."""

    def free_runs(self, volume: Volume) -> Runs:
        """The certainly free bytes of a recognised volume, as ranges of the volume. Raises Uncertain."""


@dataclass(frozen=True)
class Row:
    """A reader, and the bytes (offset, magic) of which one must be there before it is loaded."""

    magics: Tuple[Tuple[int, bytes], ...]
    load: Callable[[], Reader]


def _ext() -> Reader:
    from .linux import ext

    return ext


def _xfs() -> Reader:
    from .linux import xfs

    return xfs


def _btrfs() -> Reader:
    from .linux import btrfs

    return btrfs


def _swap() -> Reader:
    from .linux import swap

    return swap


def _apfs() -> Reader:
    from .apple import apfs

    return apfs


def _hfsplus() -> Reader:
    from .apple import hfsplus

    return hfsplus


def _exfat() -> Reader:
    from .windows import exfat

    return exfat


def _ntfs() -> Reader:
    from .windows import ntfs

    return ntfs


def _fat() -> Reader:
    from .windows import fat

    return fat


# The magic ends the first page, whose size is that of the guest's processor; the others are marks of hibernation.
_SWAP_MAGICS = tuple(
    (page - 10, magic)
    for page in (4096, 8192, 16384, 32768, 65536)
    for magic in (b"SWAP", b"S1SU", b"S2SU", b"ULSU", b"LINH", b"\xed\xc3\x02\xe9")
)
READERS: Tuple[Row, ...] = (
    Row(((1080, b"\x53\xef"),), _ext),
    Row(((0, b"XFSB"),), _xfs),
    Row(((0x10040, b"_BHRfS_M"),), _btrfs),
    Row(_SWAP_MAGICS, _swap),
    Row(((32, b"NXSB"),), _apfs),
    Row(((1024, b"H+"), (1024, b"HX"), (1024, b"BD")), _hfsplus),
    Row(((3, b"EXFAT   "),), _exfat),
    Row(((3, b"NTFS    "),), _ntfs),
    Row(((0, b"\xeb"), (0, b"\xe9")), _fat),
)


def readers_for(volume: Volume) -> Iterator[Reader]:
    """The readers whose magic is there."""
    for row in READERS:
        for offset, magic in row.magics:
            end = offset + len(magic)
            if end <= volume.size and volume.read(offset, len(magic)) == magic:
                yield row.load()
                break
