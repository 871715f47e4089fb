# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a disk that does not exist yet, for check mode."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Mapping, Tuple

from .._core.units import SECTOR
from .._io.port import FILE, Stat
from .bundle import BundleState, ImageState
from .descriptor import Descriptor
from .naming import DESCRIPTOR, marker_name, without_suffix
from .paths import Location
from .shape import EXPANDING, PLAIN, Shape, header_of_part
from .tree import build_tree


def unwritten(size: int) -> Stat:
    """The facts of a file that will have ``size`` bytes; how many blocks the host gives it cannot be predicted."""
    return Stat(FILE, size, -1, 0, 0, 0, 0o644, 0, 0)


def predicted_bundle(path: str, shape: Shape, descriptor: Descriptor, lengths: Mapping[str, int]) -> BundleState:
    """A bundle of layers above each other whose image files will have these ``lengths``, by name."""
    base = path.rsplit("/", 1)[-1]
    location = Location("bundle", path, f"{path}/{DESCRIPTOR}", None, base, without_suffix(base))
    images: Dict[Tuple[int, str], ImageState] = {}
    for number, storage in enumerate(descriptor.storages):
        size = (storage.end_sector - storage.start_sector) * SECTOR
        for entry in storage.images:
            is_plain = entry.type == "Plain"
            header = None if is_plain else header_of_part(shape, size)
            used = 0 if header is None else (lengths[entry.file] - header.data_start) // header.cluster_bytes
            images[(number, entry.guid)] = ImageState(
                number,
                entry.guid,
                entry.file,
                f"{path}/{entry.file}",
                False,
                PLAIN if is_plain else EXPANDING,
                unwritten(lengths[entry.file]),
                size,
                header,
                used_clusters=used,
            )
    tree = build_tree(descriptor.shots, declared_top=None, path=location.descriptor)
    return BundleState(location, b"", descriptor, tree, images, (DESCRIPTOR, marker_name(base)), None, ())
