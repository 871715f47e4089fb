# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for how images fit each other and the descriptor (``image_shared``, ``_mixed``, ``_size``, cluster sizes)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Iterator, Optional, Sequence, Tuple

from ..._bundle.descriptor import StorageEntry
from ..._bundle.paths import Location
from ..._bundle.tree import SnapshotTree
from ..._core.findings import NO, SAFE, Finding, found
from ..._core.units import SECTOR
from .examination import Chosen, ImageExam


def cross_checks(
    images: Sequence[ImageExam], chosen: Optional[Chosen], location: Location, tree: Optional[SnapshotTree]
) -> Iterator[Finding]:
    """What no image shows on its own."""
    if chosen is None or chosen.is_sound:
        yield from _shared(images)
    if chosen is None or chosen.descriptor is None:
        return
    for number, storage in enumerate(chosen.descriptor.storages):
        known = [image for image in images if image.storage == number and image.header is not None]
        yield from _mixed(known, storage, location.descriptor, is_sound=chosen.is_sound)
        yield from _sizes(known, storage.length_sectors, tree)


def _shared(images: Sequence[ImageExam]) -> Iterator[Finding]:
    known: Dict[Tuple[int, int], str] = {}
    for image in images:
        key = (image.stat.device, image.stat.inode)
        if image.stat.inode and key in known:
            text = f"The file serves as two images, {known[key]} and {image.file}."
            yield found("image_shared", image.path, text, repairable=NO)
        known.setdefault(key, image.file)


def _mixed(images: Sequence[ImageExam], storage: StorageEntry, path: str, *, is_sound: bool) -> Iterator[Finding]:
    headers = [image.header for image in images if image.header is not None]
    clusters, given = {header.cluster_sectors for header in headers}, storage.cluster_sectors
    if len(clusters) > 1 or len({header.version for header in headers}) > 1:
        text = f"The layers of storage {images[0].storage} differ in cluster size or format version."
        yield found("image_mixed", path, text)
    elif clusters and clusters != {given}:
        text = f"Storage {images[0].storage} gives clusters of {given} sectors, its images {min(clusters)}."
        yield found("descriptor_cluster_size", path, text, repairable=SAFE if is_sound else NO)


def _sizes(images: Sequence[ImageExam], length_sectors: int, tree: Optional[SnapshotTree]) -> Iterator[Finding]:
    """Older layers may be shorter than the disk after a grow; the current one should not."""
    for image in images:
        size = image.header.size_sectors if image.header is not None else length_sectors
        if size > length_sectors or (size < length_sectors and tree is not None and image.guid == tree.top):
            text = f"The image holds {size * SECTOR} bytes of guest disk, the descriptor says"
            yield found("image_size", image.path, f"{text} {length_sectors * SECTOR}.")
