# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the guest disk is cut into parts and which image each part gets: pure arithmetic of sizes."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, NoReturn, Optional, Sequence, Tuple

from .._core import guid as guids
from .._core.errors import BadRequest
from .._core.records import dataclass, replace
from .._core.units import KIB, MIB, SECTOR, TIB, format_size
from .._formats.hds.header import HdsHeader, max_size_bytes, new_header
from .bundle import BundleState
from .descriptor import Descriptor, ImageEntry, StorageEntry, one_layer
from .naming import image_name

EXPANDING = "expanding"
PLAIN = "plain"
DEFAULT_CLUSTER = MIB
_SMALLEST_CLUSTER = 32 * KIB
_LARGEST_CLUSTER = 64 * MIB
_SPLIT_RESERVE = 100 * MIB
_MOST_PARTS = 1024
_AUTO = "Use format_version: auto."


@dataclass(frozen=True)
class Shape:
    """What a disk is like apart from its content. ``part_size`` is that of all parts but the last, None for one."""

    size: int
    kind: str = EXPANDING
    cluster_bytes: int = DEFAULT_CLUSTER
    version: int = 1
    part_size: Optional[int] = None
    preallocate: bool = False

    @property
    def parts(self) -> Tuple[Tuple[int, int], ...]:
        """Start and length of each part in bytes."""
        if self.part_size is None:
            return ((0, self.size),)
        starts = range(0, self.size, self.part_size)
        return tuple((start, min(self.part_size, self.size - start)) for start in starts)


def shape_of(
    *,
    size: int,
    kind: str = EXPANDING,
    cluster_bytes: int = DEFAULT_CLUSTER,
    version: Optional[int] = None,
    split_size: Optional[int] = None,
    preallocate: bool = False,
) -> Shape:
    """The requested shape. ``version`` None: 1 up to 2 TiB, else 2. Raises BadRequest when no format can hold it."""
    _refuse_odd_size(size)
    refuse_odd_cluster(cluster_bytes)
    part = None if split_size is None else part_size_of(split_size, cluster_bytes)
    if part is not None:
        refuse_many_parts(-(-size // part))
    longest = size if part is None else min(size, part)
    chosen = version or (1 if size <= 2 * TIB and longest <= max_size_bytes(1, cluster_bytes) else 2)
    shape = Shape(size, kind, cluster_bytes, chosen, part, preallocate)
    if kind == EXPANDING and longest > max_size_bytes(chosen, cluster_bytes):
        _refuse_long(shape, "Use larger clusters, or make the disk smaller." if version is None else _AUTO)
    return shape


def _refuse_odd_size(size: int) -> None:
    if size <= 0 or size % SECTOR:
        text, hint = f"size: a disk of {size} bytes is not possible", "Write for example 64G."
        raise BadRequest(text, expected="a positive multiple of 512", found=size, hint=hint)


def _refuse_long(shape: Shape, hint: str) -> NoReturn:
    most = f"at most {max_size_bytes(shape.version, shape.cluster_bytes)} bytes"
    text = f"{format_size(shape.size)} do not fit format version {shape.version} with clusters of"
    raise BadRequest(f"{text} {format_size(shape.cluster_bytes)}", found=shape.size, expected=most, hint=hint)


def refuse_odd_cluster(cluster_bytes: int) -> None:
    """Raise BadRequest for a cluster size that no new image gets."""
    if cluster_bytes & (cluster_bytes - 1) or not _SMALLEST_CLUSTER <= cluster_bytes <= _LARGEST_CLUSTER:
        possible = "a power of two from 32K to 64M"
        text = f"cluster_size: clusters of {cluster_bytes} bytes are not possible"
        raise BadRequest(text, expected=possible, found=cluster_bytes, hint=f"Use {possible}; 1M suits every reader.")


def refuse_many_parts(count: int) -> None:
    """Raise BadRequest for more parts than a disk may have."""
    if count > _MOST_PARTS:
        text = f"split_size: the disk would have more than {_MOST_PARTS} parts"
        raise BadRequest(text, found=count, hint="Choose a larger split_size.")


def part_size_of(split_size: int, cluster_bytes: int) -> int:
    """Length of a part by Parallels' rule: the limit less 100 MiB, on the cluster grid."""
    part = (split_size - _SPLIT_RESERVE) // cluster_bytes * cluster_bytes
    if part <= 0:
        text, most = f"split_size: {format_size(split_size)} is too small", "more than 100 MiB and a cluster"
        raise BadRequest(text, found=split_size, expected=most, hint="Write for example 2G.")
    return part


def descriptor_of(shape: Shape, *, name: str, base: str, uid: Optional[str]) -> Descriptor:
    """The descriptor of a new disk with one layer, as Parallels Desktop writes it (format reference, section 6)."""
    kind, is_reserved = ("Plain", False) if shape.kind == PLAIN else ("Compressed", shape.preallocate)
    storages: List[StorageEntry] = []
    for number, (start, length) in enumerate(shape.parts):
        image = ImageEntry(guids.TOP, kind, image_name(base, number, guids.TOP))
        first, end = start // SECTOR, (start + length) // SECTOR
        storages.append(StorageEntry(first, end, shape.cluster_bytes // SECTOR, is_reserved, (image,)))
    return one_layer(tuple(storages), name=name, uid=uid)


Parts = Tuple[Tuple[int, int], ...]


def wanted_parts(state: BundleState, size: int, part_size: Optional[int] = None) -> Parts:
    """The parts of the disk at another size: of ``part_size`` bytes, or as they are now, the last taking the rest."""
    if part_size is not None:
        return Shape(size, part_size=part_size).parts
    parts = state.parts
    if len(parts) == 1:
        return ((0, size),)
    length = parts[0][1]
    kept = [part for part in parts if part[0] < size]
    start = kept[-1][0]
    last = min(size - start, max(kept[-1][1], length))
    starts = range(start + last, size, length)
    return (*kept[:-1], (start, last), *((position, min(length, size - position)) for position in starts))


def resized(descriptor: Descriptor, size: int, storages: Sequence[StorageEntry]) -> Descriptor:
    """The descriptor of the disk at another size: its geometry as far as it has one."""
    sectors = size // SECTOR
    target = replace(descriptor, size_sectors=sectors, storages=tuple(storages))
    heads, per_track = descriptor.heads, descriptor.sectors
    if descriptor.cylinders is None or heads is None or per_track is None:
        return target
    if not heads * per_track or sectors % (heads * per_track):
        heads, per_track = 16, 32
    return replace(target, heads=heads, sectors=per_track, cylinders=sectors // (heads * per_track))


def header_of_part(shape: Shape, length: int) -> HdsHeader:
    """The header of an expanding image that holds ``length`` bytes of a disk of this shape."""
    return new_header(size_bytes=length, cluster_bytes=shape.cluster_bytes, version=shape.version)
