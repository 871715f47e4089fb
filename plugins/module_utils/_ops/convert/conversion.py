# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One conversion as facts: what it starts from, and what its plan says of the output."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

from ..._bundle.notes import Note
from ..._core.records import dataclass
from ..._guest.source import Source
from .destination import Destination
from .request import AnyShape, ConvertRequest

if TYPE_CHECKING:
    from ..._bundle.descriptor import Descriptor
    from ..copy.free_space import DroppedSpace

_NO_NOTES: Mapping[str, Note] = MappingProxyType({})


@dataclass(frozen=True)
class Conversion:
    """All that is decided before the first step, and why the output is written or kept (``reason``).

    ``depths`` are the layers of the source that become layers of the output, lowest first; ``dropped`` is known when
    free space is not copied.
    """

    source: Source
    request: ConvertRequest
    shape: AnyShape
    destination: Destination
    depths: Tuple[int, ...]
    reason: str = ""
    dropped: Optional[DroppedSpace] = None


@dataclass(frozen=True)
class ConvertFacts:
    """What a plan says of its output. ``files`` are its image files, ``built`` where each is until the commit.

    ``lengths`` are known once they are predicted; ``descriptor`` and the ``notes`` of snapshots belong to a bundle.
    ``filesystems`` are those of the source when free space is not copied.
    """

    reason: str
    shape: AnyShape
    files: Tuple[str, ...] = ()
    built: Tuple[str, ...] = ()
    lengths: Tuple[int, ...] = ()
    descriptor: Optional[Descriptor] = None
    notes: Mapping[str, Note] = _NO_NOTES
    filesystems: Optional[Tuple[Dict[str, Any], ...]] = None
