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
    """One image of a storage: ``file`` holds layer ``guid``. ``type`` is as written, normally Compressed or Plain."""

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

    @property
    def length_sectors(self) -> int:
        """The length of the part."""
        return self.end_sector - self.start_sector


@dataclass(frozen=True)
class Shot:
    """One node of the snapshot tree; a root has the null GUID as parent. A ``temporary`` one is being removed."""

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


def one_layer(storages: Tuple[StorageEntry, ...], *, name: Optional[str], uid: Optional[str]) -> Descriptor:
    """The descriptor of a disk of one layer in these storages, as Parallels Desktop writes it."""
    size_sectors = storages[-1].end_sector
    return Descriptor(
        root_name="Parallels_disk_image",
        version="1.0",
        size_sectors=size_sectors,
        cylinders=size_sectors // (16 * 32),
        heads=16,
        sectors=32,
        padding=0,
        encrypted=False,
        uid=uid,
        name=name,
        logical_sector=SECTOR,
        physical_sector=4096,
        suspended=False,
        storages=storages,
        shots=(Shot(guids.TOP, guids.NONE),),
        declared_top=None,
    )


def validate(descriptor: Descriptor, *, path: str) -> None:
    """Raise Damaged or Unsupported unless ``descriptor`` agrees with itself and keeps within the limits.

    The tree of shots is judged by ``build_tree``.
    """
    check_counts(storages=len(descriptor.storages), shots=len(descriptor.shots), path=path)
    if descriptor.padding:
        text = "The images are padded, which nobody supports"
        raise Unsupported(text, path=path, expected=0, found=descriptor.padding)
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
            text = f"The descriptor has too many {what}"
            raise Unsupported(text, path=path, expected=f"at most {limit}", found=found)


def _check_ranges(descriptor: Descriptor, path: str) -> None:
    size = descriptor.size_sectors
    if not 0 < size <= MAX_SIZE_SECTORS:
        possible = f"1 to {MAX_SIZE_SECTORS} sectors"
        raise Damaged("Disk_size is out of range", path=path, expected=possible, found=size)
    if not descriptor.storages:
        raise Damaged("The descriptor names no storage", path=path)
    position = 0
    for index, storage in enumerate(descriptor.storages):
        _check_range(index, storage, position, path)
        position = storage.end_sector
    if position != size:
        raise Damaged("The storages do not add up to Disk_size", path=path, expected=size, found=position)


def _check_range(index: int, storage: StorageEntry, position: int, path: str) -> None:
    """``position`` is the sector at which the storage must start."""
    start, end, cluster = storage.start_sector, storage.end_sector, storage.cluster_sectors
    if start != position or end <= start:
        text, possible = f"Storage {index} does not follow the one before it", f"a range from sector {position}"
        raise Damaged(text, path=path, expected=possible, found=f"{start} to {end}")
    if not 0 < cluster <= MAX_CLUSTER_SECTORS:
        text, possible = f"The cluster size of storage {index} is out of range", f"1 to {MAX_CLUSTER_SECTORS} sectors"
        raise Damaged(text, path=path, expected=possible, found=cluster)


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
