# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The format extension of an expanding image: one cluster with a list of features (format reference, section 1.7).

::

    0        8       24                                                 cluster end
    | magic  | MD5   | feature | feature | ... | 0                      |
                     feature: u64 magic, u64 flags, u32 size, u32 unused, data padded to 8 bytes

The only known feature is the dirty bitmap. Its data names further clusters. No table entry names any of these clusters.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterator, List, Optional, Sequence, Tuple

from ..._core.errors import Damaged, Unsupported
from ..._core.records import dataclass
from ..._core.units import SECTOR, ceil_div, round_up
from ..._io.port import File
from .header import CLOSED, CLOSED_WITH_EXTENSION, HdsHeader

MAGIC = 0xAB234CEF23DCEA87
DIRTY_BITMAP = 0x20385FAE252CB34A
FLAG_NECESSARY = 1
FLAG_TRANSIT = 2

_REPAIR = "Run hdd_check with repair: safe, which drops the extension; the guest data does not depend on it."

_CLUSTER_HEAD = struct.Struct("<Q16s")
_DIGEST_FROM = 8 + 16
_FEATURE_HEAD = struct.Struct("<QQII")
_BITMAP_HEAD = struct.Struct("<Q16sII")
_ALL_CLEAR, _ALL_SET = 0, 1
_READ_BYTES = 256 << 10
# Bounds of ours: an extension of an honest image is far smaller.
_FEATURES_MAX = 1024
_LIST_BYTES_MAX = 4 << 20


@dataclass(frozen=True)
class Feature:
    """One entry of the list; ``data`` without its padding."""

    magic: int
    flags: int
    data: bytes


@dataclass(frozen=True)
class Extension:
    """A valid extension at byte ``offset``. ``pinned`` are the ranges ``(start, end)`` of the file that it occupies."""

    offset: int
    features: Tuple[Feature, ...]
    pinned: Tuple[Tuple[int, int], ...]


def read_extension(file: File, header: HdsHeader, *, path: str, file_size: int) -> Optional[Extension]:
    """The extension of an image, or None when there is none that counts.

    It counts when the image was closed by software that keeps it. After any other close signature it counts only if
    magic and checksum are right. An image closed without it, or not closed at all, has none, whatever ``ext_off`` says.

    Raises Damaged for an extension that contradicts itself, Unsupported for one that holds a necessary unknown feature.
    """
    if not header.ext_off or header.in_use == CLOSED or header.is_dirty:
        return None
    offset = header.ext_off * SECTOR
    fault = _find_fault(file, header, offset, file_size)
    if fault is not None:
        if header.in_use != CLOSED_WITH_EXTENSION:
            return None
        raise Damaged(fault, path, offset, hint=_REPAIR)
    features = _read_features(file, header, offset, path)
    pinned = [(offset, offset + header.cluster_bytes)]
    for feature in features:
        if feature.magic == DIRTY_BITMAP:
            clusters = list(_bitmap_clusters(feature, header, path, offset))
            _check_inside(clusters, header, path, file_size)
            pinned += clusters
        elif feature.flags & FLAG_NECESSARY:
            hint = "Open the disk with the software that made it."
            found = hex(feature.magic)
            raise Unsupported("The image needs a feature that is unknown here", path, offset, found=found, hint=hint)
    return Extension(offset, features, tuple(sorted(pinned)))


def may_keep(extension: Extension) -> bool:
    """Whether the extension stays right when clusters move around it and the guest data stays as it is.

    Only for known features; an unknown one may point at anything.
    """
    return all(feature.magic == DIRTY_BITMAP for feature in extension.features)


def _find_fault(file: File, header: HdsHeader, offset: int, file_size: int) -> Optional[str]:
    """What keeps the cluster at ``offset`` from being an extension, or None."""
    if (
        offset < header.table_end
        or offset + header.cluster_bytes > file_size
        or header.cluster_bytes < _DIGEST_FROM + 8
    ):
        return "The format extension does not lie within the file"
    magic, digest = _CLUSTER_HEAD.unpack(_read(file, offset, _CLUSTER_HEAD.size))
    if magic != MAGIC:
        return "The format extension does not start with its signature"
    if digest != _digest(file, offset + _DIGEST_FROM, offset + header.cluster_bytes):
        return "The checksum of the format extension is wrong"
    return None


def _digest(file: File, start: int, end: int) -> bytes:
    import hashlib

    try:
        summer = hashlib.md5(usedforsecurity=False)  # type: ignore[call-arg,unused-ignore]
    except TypeError:  # Python 3.8
        summer = hashlib.md5()
    for position in range(start, end, _READ_BYTES):
        summer.update(_read(file, position, min(_READ_BYTES, end - position)))
    return summer.digest()


def _read_features(file: File, header: HdsHeader, offset: int, path: str) -> Tuple[Feature, ...]:
    position = offset + _DIGEST_FROM
    cluster_end = offset + header.cluster_bytes
    features: List[Feature] = []
    while True:
        if position + 8 > cluster_end:
            raise Damaged("The list of the format extension has no end", path, position)
        head = _read(file, position, min(_FEATURE_HEAD.size, cluster_end - position))
        if not any(head[:8]):
            return tuple(features)
        if len(head) < _FEATURE_HEAD.size:
            raise Damaged("The list of the format extension is cut off", path, position)
        magic, flags, length, _unused = _FEATURE_HEAD.unpack(head)
        start = position + _FEATURE_HEAD.size
        if start + length > cluster_end:
            raise Damaged("A feature leaves the cluster of the format extension", path, position, found=length)
        position = start + round_up(length, 8)
        if len(features) == _FEATURES_MAX or position - offset > _LIST_BYTES_MAX:
            raise Unsupported(
                "The format extension is too large",
                path,
                start,
                expected=f"{_FEATURES_MAX} features, {_LIST_BYTES_MAX} bytes",
            )
        features.append(Feature(magic, flags, _read(file, start, length)))


def _bitmap_clusters(feature: Feature, header: HdsHeader, path: str, offset: int) -> Iterator[Tuple[int, int]]:
    """The byte ranges of the clusters that hold the bits of a dirty bitmap."""
    count = _checked_count(feature, header, path, offset)
    for sector in struct.unpack_from(f"<{count}Q", feature.data, _BITMAP_HEAD.size):
        if sector not in (_ALL_CLEAR, _ALL_SET):
            yield sector * SECTOR, sector * SECTOR + header.cluster_bytes


def _checked_count(feature: Feature, header: HdsHeader, path: str, offset: int) -> int:
    """How many clusters a dirty bitmap lists."""
    if len(feature.data) < _BITMAP_HEAD.size:
        raise Damaged("A dirty bitmap is cut off", path, offset, expected=_BITMAP_HEAD.size, found=len(feature.data))
    size_sectors, _identity, granularity, count = _BITMAP_HEAD.unpack_from(feature.data)
    if size_sectors != header.size_sectors:
        raise Damaged(
            "A dirty bitmap belongs to a disk of another size",
            path,
            offset,
            expected=header.size_sectors,
            found=size_sectors,
        )
    if not granularity or granularity & (granularity - 1):
        raise Damaged("The granularity of a dirty bitmap is no power of two", path, offset, found=granularity)
    expected = ceil_div(ceil_div(ceil_div(size_sectors, granularity), 8), header.cluster_bytes)
    if count != expected or len(feature.data) < _BITMAP_HEAD.size + 8 * count:
        raise Damaged(
            "The list of clusters of a dirty bitmap has the wrong length", path, offset, expected=expected, found=count
        )
    return count


def _check_inside(clusters: Sequence[Tuple[int, int]], header: HdsHeader, path: str, file_size: int) -> None:
    for start, end in clusters:
        if start < header.table_end or end > file_size:
            offset = header.ext_off * SECTOR
            raise Damaged("A cluster of a dirty bitmap does not lie within the file", path, offset, found=start)


def _read(file: File, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    got = file.pread_into(offset, buffer)
    if got < length:
        raise Damaged("The file ends within its format extension", file.path, offset + got)
    return bytes(buffer)
