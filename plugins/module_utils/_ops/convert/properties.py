# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an existing image of another product is of the kind that is asked for."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from itertools import islice
from typing import Iterable, Iterator, Mapping, Optional

from ..._core import guid as guids
from ..._core.extents import DATA, Extent
from ..._formats.catalog import NONE, ForeignShape
from ..._formats.codecs import file_names
from ..._formats.image import ParentImage
from ..._guest.backing import ForeignChain, open_chain
from ..._io.buffers import new_buffer
from ..._io.counting import CountingFile
from ..._io.port import Port
from ..._io.sparse import is_zero
from .conversion import Conversion
from .writers import new_writer

_TRIED_CLUSTERS = 64


def wanted_properties(shape: ForeignShape, path: str, *, is_overlay: bool) -> Mapping[str, object]:
    """What a reader will report of such an image. Raises BadRequest when the format cannot hold such a disk."""
    names = file_names(shape, posixpath.basename(path))
    files = [CountingFile(posixpath.join(posixpath.dirname(path), name)) for name in names]
    parent = ParentImage("parent", guids.NONE) if is_overlay else None
    properties = dict(new_writer(shape, files, names, parent=parent, disk_identity=guids.NONE).properties)
    if "compression" in properties:
        # The writer reports what the clusters are like that it has written, and it has written none.
        properties["compression"] = shape.compression
    return properties


def image_difference(port: Port, shape: ForeignShape, conversion: Conversion) -> Optional[str]:
    """In words, the first way in which the image at the destination differs from ``shape``; None when it does not."""
    chain, layers = conversion.destination.chain, len(conversion.depths)
    if chain is None:
        return "the destination cannot be read"
    if chain.layers[0].size != shape.size:
        return f"the destination's disk has {chain.layers[0].size} bytes instead of {shape.size}"
    if len(chain.layers) != layers:
        return f"the destination consists of {len(chain.layers)} layers instead of {layers}"
    for depth in reversed(range(layers)):
        asked = wanted_properties(shape, conversion.request.path, is_overlay=depth < layers - 1)
        for name, value in asked.items():
            found = chain.layers[depth].properties.get(name)
            if found != value and not (
                name == "compression" and found == NONE and not _would_shrink(port, shape, chain, depth)
            ):
                return f"its {name} is {found} instead of {value}"
    return None


def _would_shrink(port: Port, shape: ForeignShape, chain: ForeignChain, depth: int) -> bool:
    """Whether compression would shrink a layer without a packed cluster, judged by the first ones that hold data."""
    from ..._formats.qcow2.codec import packer

    pack = packer(shape.compression, shape.level, path=chain.layers[depth].path)
    step = shape.cluster_bytes or 1
    view = open_chain(port, chain)
    try:
        for offset in islice(_data_clusters(view.own_extents(depth), step), _TRIED_CLUSTERS):
            content = new_buffer(step)
            view.below(depth).pread_into(offset, content[: min(step, view.size - offset)])
            if not is_zero(content) and pack(bytes(content)) is not None:
                return True
    finally:
        view.close()
    return False


def _data_clusters(extents: Iterable[Extent], step: int) -> Iterator[int]:
    for extent in extents:
        if extent.kind == DATA:
            yield from range(extent.start // step * step, extent.end, step)
