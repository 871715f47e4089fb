# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an NTFS volume is at rest: its flags, its log, a hibernated Windows, shadow copies.

Windows does not mark a mounted volume as dirty; its log tells a crash, a suspended and a fast-started guest.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Optional, Tuple

from ..answer import refuse_if
from ..volume import Volume
from .ntfs_layout import VOLUME_INFORMATION, attributes, fixed_up, value_of
from .ntfs_records import Records, Stream

_VERSIONS = ((1, 2), (3, 0), (3, 1))
_DIRTY, _CHECKED = 0x1, 0x4000
# Windows 10 sets 0x80, which no document names.
_KNOWN_FLAGS = 0x80BF | _CHECKED
_PAGE = 4096
_PAGES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
_NO_CLIENT, _CLEAN = 0xFFFF, 2
_EMPTY_LOG = 1 << 20
_SHADOW_HEADER = 0x1E00
_SHADOW_ID = bytes.fromhex("6b87083876c1484eb7ae04046e6cc752")


def refuse_unclean(volume: Volume, records: Records) -> None:
    """Raise Uncertain unless the volume was unmounted cleanly by a Windows that is neither hibernated nor suspended."""
    _refuse_flags(records)
    log = records.stream(2)
    refuse_if(not (_is_empty(log) or _is_closed(log)), "unclean")
    _refuse_shadow_copies(volume)


def refuse_hibernated(records: Records, number: int) -> None:
    """``number`` is the record of hiberfil.sys: its first page is zero unless there is something to resume."""
    image = records.stream(number)
    refuse_if(image.size < _PAGE or any(image.read(0, min(_PAGE, image.initialised))), "hibernated")


def _refuse_flags(records: Records) -> None:
    found = [one for one in attributes(records.record(3)) if one.type == VOLUME_INFORMATION]
    value = value_of(found[0]) if len(found) == 1 else b""
    refuse_if(len(value) < 12)
    major, minor, flags = struct.unpack_from("<BBH", value, 8)
    refuse_if(flags & (_DIRTY | _CHECKED), "unclean")
    refuse_if((major, minor) not in _VERSIONS or flags & ~_KNOWN_FLAGS, "unknown_features")


def _is_empty(log: Stream) -> bool:
    """ntfs-3g and mkntfs leave a log of ones."""
    length = min(log.size, _EMPTY_LOG)
    return length >= 2 * _PAGE and log.initialised >= length and not log.read(0, length).strip(b"\xff")


def _is_closed(log: Stream) -> bool:
    """Whether the newer of two restart pages names no client, or says that the volume is clean; when equal, both."""
    first = _restart(log, 0)
    second = _restart(log, first[2]) if first is not None else None
    if first is None or second is None:
        return False
    newest = max(first[0], second[0])
    return all(page[1] for page in (first, second) if page[0] == newest)


def _restart(log: Stream, offset: int) -> Optional[Tuple[int, bool, int]]:
    """Sequence number of a restart page, whether the log is closed, and the size of pages. None when it is none."""
    head = log.read(offset, 32)
    size = struct.unpack_from("<I", head, 16)[0]
    if head[:4] != b"RSTR" or size not in _PAGES:
        return None
    page = fixed_up(log.read(offset, size))
    area, minor, major = struct.unpack_from("<Hhh", page, 24)
    if area + 16 > size or (major, minor) not in ((1, 0), (1, 1), (2, 0)):
        return None
    number, clients, flags = struct.unpack_from("<Q4xHH", page, area)
    return number, clients == _NO_CLIENT or bool(flags & _CLEAN), size


def _refuse_shadow_copies(volume: Volume) -> None:
    """A shadow copy reads unchanged blocks in place, also those that the volume calls free."""
    header = volume.read(_SHADOW_HEADER, 128)
    refuse_if(header[:16] == _SHADOW_ID and any(header[48:56]), "shadow_copies")
