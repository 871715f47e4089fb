# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of a conversion: the source to read, and the output to write."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Tuple, Union

from ..._bundle.shape import EXPANDING, Shape
from ..._core.records import dataclass
from ..._core.units import SECTOR
from ..._formats.catalog import NONE, RAW, ForeignShape
from ..._guest.foreign.allowed import NEARBY, Reach
from ..._guest.source import AUTO, Source

CONTENT = "content"
MISSING = "missing"
ALWAYS = "always"

AnyShape = Union[Shape, ForeignShape]
"""What an output is like apart from its content: a raw image or a bundle, or an image of another product."""


@dataclass(frozen=True)
class SourceRequest:
    """The disk to read. ``snapshot`` is its name or GUID; ``backing`` follows images below one of another product, as
    far as ``reach`` says; ``disk`` is the one that is meant of several in a container or a machine.

    With ``keeps_layers`` all layers below the snapshot are read one by one; ``force`` takes a plain image that is cut.
    """

    path: str
    format: str = AUTO
    snapshot: Optional[str] = None
    allow_outside: bool = False
    backing: bool = False
    reach: Reach = NEARBY
    disk: Optional[str] = None
    keeps_layers: bool = False
    force: bool = False


@dataclass(frozen=True)
class ConvertRequest:
    """The output that is asked for. Sizes are bytes; None leaves the choice; ``align`` rounds the guest size up.

    ``kind``, ``split_size`` and ``name`` are for bundles, ``subformat``, the compression and ``adapter_type`` for
    images of other products. With ``keeps_layers`` each layer of the source becomes one of the output; with
    ``drops_free`` none has what is free in the guest's file systems, with ``drops_swap`` nor what its swap holds.
    Without ``durable`` a power failure may take the output, unless it replaces one.
    """

    format: str
    path: str
    kind: str = EXPANDING
    cluster_bytes: Optional[int] = None
    version: Optional[int] = None
    split_size: Optional[int] = None
    align: int = SECTOR
    sparse: bool = True
    preallocate: bool = False
    name: Optional[str] = None
    update: str = CONTENT
    verify: bool = True
    checksum: Optional[str] = None
    reproducible: bool = True
    force: bool = False
    subformat: Optional[str] = None
    compression: str = NONE
    level: Optional[int] = None
    adapter_type: Optional[str] = None
    timestamp: int = 0
    keeps_layers: bool = False
    drops_free: bool = False
    drops_swap: bool = False
    durable: bool = True


def layer_depths(source: Source, request: ConvertRequest) -> Tuple[int, ...]:
    """Which layers of the source become layers of the output, counted from its top, the lowest first."""
    if not request.keeps_layers or request.format == RAW:
        return (0,)
    if source.state is not None and source.guid is not None:
        count = len(source.state.tree.chain(source.guid))
    else:
        count = len(source.chain.layers) if source.chain is not None else 1
    return tuple(reversed(range(count)))
