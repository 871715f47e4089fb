# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a disk that does not exist yet, for check mode."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Mapping, Optional, Tuple

from .._core.records import replace
from .._core.units import SECTOR
from .._formats.hds.header import HdsHeader
from .._io.port import FILE, Stat
from .bundle import BundleState, ImageState
from .descriptor import Descriptor
from .naming import DESCRIPTOR, marker_name
from .paths import bundle_location
from .shape import EXPANDING, PLAIN, Shape, header_of_part
from .tree import build_tree


def unwritten(size: int) -> Stat:
    """The facts of a file that will have ``size`` bytes; how many blocks the host gives it cannot be predicted."""
    return Stat(FILE, size, -1, 0, 0, 0, 0o644, 0, 0)


def predicted_bundle(path: str, shape: Shape, descriptor: Descriptor, lengths: Mapping[str, int]) -> BundleState:
    """A bundle of layers above each other whose image files will have these ``lengths``, by name."""
    location = bundle_location(path)
    images: Dict[Tuple[int, str], ImageState] = {}
    for number, storage in enumerate(descriptor.storages):
        size = storage.length_sectors * SECTOR
        for entry in storage.images:
            file, header = entry.file, None if entry.type == "Plain" else header_of_part(shape, size)
            stat, kind = unwritten(lengths[file]), PLAIN if header is None else EXPANDING
            image = ImageState(number, entry.guid, file, f"{path}/{file}", False, kind, stat, size, header)
            images[(number, entry.guid)] = replace(image, used_clusters=_used(header, lengths[file]))
    tree = build_tree(descriptor.shots, declared_top=None, path=location.descriptor)
    return BundleState(location, b"", descriptor, tree, images, (DESCRIPTOR, marker_name(location.base)), None, ())


def _used(header: Optional[HdsHeader], length: int) -> int:
    return 0 if header is None else (length - header.data_start) // header.cluster_bytes
