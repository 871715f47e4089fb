# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a ``DiskDescriptor.xml`` says, as facts, and the rules it must keep. Format reference, sections 2.2 to 2.4.

Sectors are 512 bytes whatever the descriptor says of the guest's sectors. GUIDs are in the one form of ``_core.guid``.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Set, Tuple

from .._core import guid as guids
from .._core.errors import Damaged, Unsupported
from .._core.records import dataclass
from .._core.units import SECTOR

COMPRESSED = "Compressed"
PLAIN = "Plain"

MAX_SHOTS = 4096
"""ploop stops at 128 layers; trees with many branches are larger, but each layer is a file that somebody must keep."""

MAX_STORAGES = 1024
"""Parts are 2 GiB, so this is a split disk of 2 TiB, beyond which file systems need no splitting."""

MAX_SIZE_SECTORS = (1 << 63) // SECTOR - 1
"""Offsets in files are signed 64-bit bytes everywhere."""

MAX_CLUSTER_SECTORS = (1 << 31) // SECTOR - 1
"""QEMU and the format reference bound a cluster below 2 GiB."""


@dataclass(frozen=True)
class ImageEntry:
    """One image of a storage: the layer ``guid`` lies in ``file``.

    ``type`` is as written, normally Compressed or Plain.
    """

    guid: str
    type: str
    file: str


@dataclass(frozen=True)
class StorageEntry:
    """One part of the guest disk, ``end_sector`` exclusive. An unsplit disk has one."""

    start_sector: int
    end_sector: int
    cluster_sectors: int
    preallocated: bool
    images: Tuple[ImageEntry, ...]


@dataclass(frozen=True)
class Shot:
    """One node of the snapshot tree; ``parent`` is the null GUID for a root.

    ``temporary`` marks an unfinished delete or merge.
    """

    guid: str
    parent: str
    temporary: bool = False


@dataclass(frozen=True)
class Descriptor:
    """A descriptor. None stands for what it does not say; ``declared_top`` is its TopGUID."""

    root_name: str
    version: Optional[str]
    size_sectors: int
    cylinders: Optional[int]
    heads: Optional[int]
    sectors: Optional[int]
    padding: int
    encrypted: bool
    uid: Optional[str]
    name: Optional[str]
    logical_sector: int
    physical_sector: Optional[int]
    suspended: bool
    storages: Tuple[StorageEntry, ...]
    shots: Tuple[Shot, ...]
    declared_top: Optional[str]

    @property
    def size_bytes(self) -> int:
        """The size of the guest disk."""
        return self.size_sectors * SECTOR

    @property
    def is_split(self) -> bool:
        """Whether the guest disk is spread over several storages."""
        return len(self.storages) > 1

    def image(self, storage_index: int, guid: str) -> Optional[ImageEntry]:
        """The image of layer ``guid`` in one storage, or None."""
        return next((image for image in self.storages[storage_index].images if image.guid == guid), None)


def validate(descriptor: Descriptor, *, path: str) -> None:
    """Raise Damaged or Unsupported unless ``descriptor`` agrees with itself and keeps within the limits.

    The tree of shots is ``build_tree``'s.
    """
    check_counts(storages=len(descriptor.storages), shots=len(descriptor.shots), path=path)
    if descriptor.padding:
        raise Unsupported(
            "The images are padded, which nobody supports", path=path, expected=0, found=descriptor.padding
        )
    _check_ranges(descriptor, path)
    guid_set = _check_shots(descriptor, path)
    files: Set[str] = set()
    for index, storage in enumerate(descriptor.storages):
        _check_images(index, storage, guid_set, path)
        for image in storage.images:
            if image.file in files:
                raise Damaged("One file is named for two images", path=path, found=image.file[:255])
            files.add(image.file)


def check_counts(*, storages: int, shots: int, path: str) -> None:
    """Raise Unsupported for more storages or shots than any honest disk has."""
    for found, limit, what in ((storages, MAX_STORAGES, "storages"), (shots, MAX_SHOTS, "snapshots")):
        if found > limit:
            raise Unsupported(
                f"The descriptor has too many {what}", path=path, expected=f"at most {limit}", found=found
            )


def _check_ranges(descriptor: Descriptor, path: str) -> None:
    if not 0 < descriptor.size_sectors <= MAX_SIZE_SECTORS:
        raise Damaged(
            "Disk_size is out of range",
            path=path,
            expected=f"1 to {MAX_SIZE_SECTORS} sectors",
            found=descriptor.size_sectors,
        )
    if not descriptor.storages:
        raise Damaged("The descriptor names no storage", path=path)
    position = 0
    for index, storage in enumerate(descriptor.storages):
        if storage.start_sector != position or storage.end_sector <= storage.start_sector:
            raise Damaged(
                f"Storage {index} does not follow the one before it",
                path=path,
                expected=f"a range from sector {position}",
                found=f"{storage.start_sector} to {storage.end_sector}",
            )
        if not 0 < storage.cluster_sectors <= MAX_CLUSTER_SECTORS:
            raise Damaged(
                f"The cluster size of storage {index} is out of range",
                path=path,
                expected=f"1 to {MAX_CLUSTER_SECTORS} sectors",
                found=storage.cluster_sectors,
            )
        position = storage.end_sector
    if position != descriptor.size_sectors:
        raise Damaged(
            "The storages do not add up to Disk_size", path=path, expected=descriptor.size_sectors, found=position
        )


def _check_shots(descriptor: Descriptor, path: str) -> Set[str]:
    seen: Set[str] = set()
    for shot in descriptor.shots:
        if shot.guid == guids.NONE:
            raise Damaged("A snapshot has the GUID that stands for none", path=path, found=shot.guid)
        if shot.guid in seen:
            raise Damaged("Two snapshots have one GUID", path=path, found=shot.guid)
        seen.add(shot.guid)
    if not seen:
        raise Damaged("The descriptor names no snapshot, not even the current state", path=path)
    return seen


def _check_images(index: int, storage: StorageEntry, guid_set: Set[str], path: str) -> None:
    found: Set[str] = set()
    for image in storage.images:
        if not image.file or "\0" in image.file:
            raise Damaged(f"An image of storage {index} has no file name", path=path, found=image.guid)
        if image.guid in found:
            raise Damaged(f"Two images of storage {index} have one GUID", path=path, found=image.guid)
        if image.guid not in guid_set:
            raise Damaged(f"An image of storage {index} belongs to no snapshot", path=path, found=image.guid)
        found.add(image.guid)
    if len(found) < len(guid_set):
        raise Damaged(f"Storage {index} has no image for a snapshot", path=path, expected=min(guid_set - found))
