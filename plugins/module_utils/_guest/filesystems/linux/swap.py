# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Linux swap: its pages are worth nothing once the guest is off, unless the guest is hibernated into them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Optional, Tuple

from ..answer import Identity, Uncertain
from ..runs import Runs
from ..volume import Volume

PAGES = (4096, 8192, 16384, 32768, 65536)
_PLAIN = (b"SWAPSPACE2", b"SWAP-SPACE")
_HIBERNATED = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001", b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c")


def recognise(volume: Volume) -> Optional[Identity]:
    """A swap area, hibernated or not."""
    found = _header(volume)
    if found is None:
        return None
    page, _magic = found
    raw = volume.read(1024, 128)
    last = struct.unpack_from("<I", raw, 4)[0]
    label = raw[28:44].split(b"\0", 1)[0].decode("utf-8", "replace")
    return Identity("swap", label or None, (last + 1) * page)


def free_runs(volume: Volume) -> Runs:
    """All pages but the first. Raises Uncertain for a hibernated guest."""
    found = _header(volume)
    if found is None:
        raise Uncertain("unrecognised")
    page, magic = found
    if magic != _PLAIN[0]:
        raise Uncertain("hibernated" if magic.startswith(_HIBERNATED) else "unsupported")
    version, last, _bad = struct.unpack("<III", volume.read(1024, 12))
    if version != 1:
        raise Uncertain("unknown_features")
    if (last + 1) * page > volume.size:
        raise Uncertain("too_large")
    return Runs([(page, (last + 1) * page)])


def _header(volume: Volume) -> Optional[Tuple[int, bytes]]:
    """The bytes of a page, and the magic at the end of the first."""
    for page in PAGES:
        if volume.size >= 2 * page:
            magic = volume.read(page - 10, 10)
            if magic in _PLAIN or magic.startswith(_HIBERNATED):
                return page, magic
    return None
