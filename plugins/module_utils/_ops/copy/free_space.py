# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a source is not copied because it is free in the file systems of the guest, in every layer of the output."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..._core.records import dataclass
from ..._formats.image import SUSPENDED
from ..._guest.filesystems.freed_view import dropped_ranges
from ..._guest.filesystems.report import described, doubt_of
from ..._guest.filesystems.runs import Runs
from ..._guest.filesystems.scan import FreeSpace, find_free_space
from ..._guest.source import Source, open_source
from ..._io.port import Port


@dataclass(frozen=True)
class DroppedSpace:
    """The ranges dropped in each layer from the top down, and the file systems of the topmost view, as results.

    ``bytes_read`` are the guest bytes that were read to find them.
    """

    ranges: Tuple[Runs, ...]
    filesystems: Tuple[Dict[str, Any], ...]
    bytes_read: int = 0


def find_dropped(port: Port, source: Source, depths: Sequence[int], *, swap: bool = False) -> DroppedSpace:
    """Look for free space in every view that ends in one of the layers ``depths`` below the top.

    ``swap`` drops the pages of swap, too.
    """
    view = open_source(port, source)
    try:
        found: List[FreeSpace] = []
        for depth in range(max(depths) + 1):
            found.append(find_free_space(view.below(depth), swap=swap, reason=_doubt(source, depth)))
        ranges = dropped_ranges(view, [space.free for space in found])
        filesystems = tuple(described(view, answer) for answer in found[0].answers)
        return DroppedSpace(ranges, filesystems, sum(space.bytes_read for space in found))
    finally:
        view.close()


def _doubt(source: Source, depth: int) -> Optional[str]:
    if source.chain is not None and any(SUSPENDED in text for text in source.chain.warnings):
        return "suspended"
    if source.state is None or source.guid is None:
        return None
    return doubt_of(source.state, source.state.tree.chain(source.guid)[depth])
