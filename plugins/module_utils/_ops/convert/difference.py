# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an existing output differs from what is asked for: in its shape, or else in its content."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.shape import EXPANDING, Shape
from ..._formats.catalog import RAW, ForeignShape
from ..._guest.compare import chain_difference
from ..._guest.source import find_source, open_source
from ..._io.port import FILE, Port
from .conversion import Conversion
from .destination import Destination
from .job import open_wanted


def shape_difference(port: Port, conversion: Conversion) -> Optional[str]:
    """In words, the first way in which the destination differs apart from its content; None when it does not."""
    if isinstance(conversion.shape, ForeignShape):
        from .properties import image_difference

        return image_difference(port, conversion.shape, conversion)
    if conversion.request.format == RAW:
        return _size_difference(conversion.destination, conversion.shape.size)
    state = conversion.destination.state
    if state is None:
        return "the destination is damaged"
    layers = len(conversion.depths)
    if len(state.tree.shots) != len(state.tree.current_chain) or len(state.tree.shots) != layers:
        what = "snapshots" if layers == 1 else f"other snapshots than a chain of {layers} layers"
        return f"the destination has {what}"
    return _bundle_difference(state, conversion.shape)


def _size_difference(destination: Destination, size: int) -> Optional[str]:
    stat = destination.stat
    found = stat.size if stat is not None and stat.kind == FILE else -1
    return None if found == size else f"the destination has {found} bytes instead of {size}"


def _bundle_difference(state: BundleState, shape: Shape) -> Optional[str]:
    """How a disk without branches differs from ``shape``."""
    if state.parts != shape.parts:
        return f"its parts end at {_ends(state.parts)} instead of {_ends(shape.parts)}"
    root = state.tree.current_chain[-1]
    for guid in state.tree.current_chain:
        for image in state.layer(guid):
            kind = shape.kind if guid == root else EXPANDING
            if image.kind != kind:
                return f"it is {image.kind} instead of {kind}"
            header = image.header
            if header is not None and (header.cluster_bytes, header.version) != (shape.cluster_bytes, shape.version):
                return f"it has format version {header.version} with clusters of {header.cluster_bytes} bytes"
    return None


def _ends(parts: Sequence[Tuple[int, int]]) -> List[int]:
    return [start + length for start, length in parts]


def content_difference(port: Port, conversion: Conversion) -> Optional[str]:
    """In words, where the first of the layers that differ does so; None when none does."""
    request = conversion.request
    one = open_wanted(port, conversion.source, conversion.shape.size, conversion.dropped)
    try:
        other = open_source(port, find_source(port, request.path, format=request.format, backing=True))
        try:
            found = chain_difference(one, other, list(reversed(conversion.depths)))
        finally:
            other.close()
    finally:
        one.close()
    if found is None:
        return None
    return f"at byte {found[1]}" + (f", {found[0]} layers below the top" if found[0] else "")
