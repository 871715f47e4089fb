# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free clusters of exFAT: those that its bitmap calls free, when nothing in any folder has any of them.

The bitmap has no checksum, so every file, folder and table is looked up in it. The percentage in use that the boot
sector tells is no check: Linux does not keep it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, List, Optional, Tuple

from ...._core.units import ceil_div
from ..answer import Identity, Uncertain, refuse_if
from ..bits import zero_runs
from ..runs import Runs
from ..volume import Volume
from .exfat_layout import (
    BITMAP,
    ENTRY,
    LABEL,
    Allocation,
    Clusters,
    Exfat,
    Run,
    allocation,
    read_boot,
    refuse_other_geometry,
)
from .exfat_walk import Walk

_PIECE = 128 << 10
_LONGEST_ROOT = 16 << 20


def recognise(volume: Volume) -> Optional[Identity]:
    """What the boot sector says; the label stands in the root folder."""
    boot = read_boot(volume)
    if boot is None:
        return None
    label = None
    try:
        raw = volume.read(boot.place(boot.root), min(boot.cluster, 1 << 20))
        found = [raw[at : at + ENTRY] for at in range(0, len(raw), ENTRY) if raw[at] == LABEL]
        label = found[0][2 : 2 + 2 * min(11, found[0][1])].decode("utf-16-le", "replace") if found else None
    except Uncertain:
        pass
    return Identity("exfat", label or None, boot.size)


def free_runs(volume: Volume) -> Runs:
    """The free clusters. Raises Uncertain."""
    boot = read_boot(volume)
    if boot is None:
        raise Uncertain("damaged")
    refuse_other_geometry(volume, boot)
    clusters = Clusters(volume, boot)
    root = clusters.chain(boot.root, ceil_div(_LONGEST_ROOT, boot.cluster))
    walk = Walk(volume, boot, clusters)
    content = walk.content(root)
    runs = _bitmap_runs(volume, boot, clusters.runs(_bitmap(boot, content)))
    walk.run(runs, root, content)
    return runs


def _bitmap(boot: Exfat, root: bytes) -> Allocation:
    """Where the bitmap is: the entry that must be there once."""
    found = []
    for at in range(0, len(root), ENTRY):
        if not root[at]:
            break
        if root[at] == BITMAP:
            found.append(root[at : at + ENTRY])
    refuse_if(len(found) != 1 or found[0][1] & 1)
    one = allocation(found[0])
    refuse_if(one.size != ceil_div(boot.clusters, 8))
    return one


def _bitmap_runs(volume: Volume, boot: Exfat, places: List[Run]) -> Runs:
    runs, first = Runs(), 0
    for start, length in _pieces(boot, places):
        count = min(8 * length, boot.clusters - first)
        for low, high in zero_runs(volume.read(start, length), count):
            runs.add(boot.place(first + low + 2), boot.place(first + high + 2))
        first += count
    return runs


def _pieces(boot: Exfat, places: List[Run]) -> Iterator[Tuple[int, int]]:
    """Offset and length of the pieces in which the bitmap is read."""
    left = ceil_div(boot.clusters, 8)
    for start, end in places:
        for offset in range(boot.place(start), boot.place(end), _PIECE):
            length = min(_PIECE, boot.place(end) - offset, left)
            yield offset, length
            left -= length
