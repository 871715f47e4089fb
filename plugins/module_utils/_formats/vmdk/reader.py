# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a VMDK: one link of a chain, with all the files that its descriptor names.

What lies in its parent is not its business.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple, Union

from ..._core.errors import Damaged, NotAWholeDisk, Unsupported
from ..._core.extents import ABSENT, ZERO, Extent, coalesce, shifted
from ..._core.units import SECTOR
from ..._io.buffers import clear
from ..._io.port import File, Port
from ..bounds import check_range
from ..damage import DamagedSource
from ..image import OpenBeside, ParentLink
from ..image_ids import ImageIds
from ..mapping import read_stored, run_extents
from ..place import Place
from .caches import Caches
from .descriptor import FLAT_KINDS, MOST_TEXT_BYTES, ZERO_KIND, Descriptor, ExtentLine, parse_descriptor
from .layout import COWD_MAGIC, SE_SPARSE_MAGIC, SPARSE_MAGIC, SparseHeader, read_sector, read_sparse_header
from .opening import open_hosted, open_sparse_extent
from .sparse import SparseExtent

if TYPE_CHECKING:
    from .sesparse import SeSparseExtent

_NAME_THE_TEXT = "Name the small .vmdk file with the description of the disk."


class _Part(Protocol):
    """One extent of the disk, seen from its own start."""

    def extents(self, start: int, end: int, hole: str) -> Iterator[Extent]:
        """What a range is made of; ``hole`` is what a part without an entry is."""

    def pread_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` from ``offset``."""

    def places(self, start: int, end: int) -> Iterator[Place]:
        """The parts of a range that lie in the file as they are."""


class _FlatExtent:
    """Bytes that lie in a file as they are, from byte ``offset`` on."""

    def __init__(self, file: File, offset: int) -> None:
        self._file = file
        self._offset = offset

    def extents(self, start: int, end: int, hole: str) -> Iterator[Extent]:
        return run_extents(self._file, ((start, end - start, self._offset + start),), start, end, ZERO)

    def pread_into(self, offset: int, view: memoryview) -> None:
        read_stored(self._file, self._offset + offset, view)

    def places(self, start: int, end: int) -> Iterator[Place]:
        yield Place(start, end - start, self._file, self._offset + start)


class _ZeroExtent:
    """A part of the disk that is stored nowhere."""

    def extents(self, start: int, end: int, hole: str) -> Iterator[Extent]:
        yield Extent(start, end - start, ZERO)

    def pread_into(self, offset: int, view: memoryview) -> None:
        clear(view)

    def places(self, start: int, end: int) -> Iterator[Place]:
        return iter(())


class VmdkImage:
    """An open VMDK of ``size`` guest bytes. Implements ``ForeignImage``; ``identity`` is its CID."""

    def __init__(
        self, descriptor: Descriptor, pieces: Sequence[_Part], files: Sequence[File], real_paths: Sequence[str]
    ) -> None:
        self.path = files[0].path
        self.descriptor = descriptor
        self.files = tuple(real_paths)
        self.size = descriptor.sectors * SECTOR
        self.identity = descriptor.cid
        self.ids = descriptor.ids
        self.logical_sector = descriptor.logical_sector
        self.parent = _parent_link(descriptor)
        sparse: List[Any] = [piece for piece in pieces if not isinstance(piece, (_FlatExtent, _ZeroExtent))]
        self.properties: Mapping[str, object] = _properties(descriptor, sparse)
        self.warnings: Tuple[str, ...] = tuple(warning for piece in sparse for warning in piece.warnings)
        self._open_files = tuple(files)
        self._pieces = tuple(pieces)
        self._starts: List[int] = []
        position = 0
        for extent in descriptor.extents:
            self._starts.append(position)
            position += extent.sectors * SECTOR

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of.

        ABSENT only in an image with a parent; compressed grains are DATA, whatever they hold.
        """
        check_range(self.path, self.size, start, length)
        return coalesce(self._extents(start, start + length))

    def _extents(self, start: int, end: int) -> Iterator[Extent]:
        hole = ZERO if self.parent is None else ABSENT
        for index, begin, stop in self._touched(start, end):
            base = self._starts[index]
            yield from shifted(self._pieces[index].extents(begin - base, stop - base, hole), base)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``; what is not stored reads as zeros. Raises Damaged."""
        view = memoryview(buffer)
        check_range(self.path, self.size, offset, len(view))
        for index, begin, stop in self._touched(offset, offset + len(view)):
            self._pieces[index].pread_into(begin - self._starts[index], view[begin - offset : stop - offset])

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The parts of the range that are stored; compressed grains have no place."""
        check_range(self.path, self.size, start, length)
        return self._places(start, start + length)

    def _places(self, start: int, end: int) -> Iterator[Place]:
        for index, begin, stop in self._touched(start, end):
            base = self._starts[index]
            for guest, length, file, offset in self._pieces[index].places(begin - base, stop - base):
                yield Place(base + guest, length, file, offset)

    def _touched(self, start: int, end: int) -> Iterator[Tuple[int, int, int]]:
        """The pieces that a range touches, as ``(index, start, end)`` on the disk."""
        index = bisect_right(self._starts, start) - 1
        while start < end:
            stop = min(end, self._starts[index + 1]) if index + 1 < len(self._starts) else end
            yield index, start, stop
            start = stop
            index += 1

    def close(self) -> None:
        """Release all files; a second call does nothing."""
        _close(self._open_files)


def _parent_link(descriptor: Descriptor) -> Optional[ParentLink]:
    """The parent by VMware's CID and name, or by VirtualBox's UUID alone."""
    if descriptor.parent_cid is not None and descriptor.parent_hint is not None:
        return ParentLink((descriptor.parent_hint.replace("\\", "/"),), "vmdk", descriptor.parent_cid)
    return None if descriptor.ids.parent is None else ParentLink((), None, ids=descriptor.ids)


def _properties(descriptor: Descriptor, sparse: Sequence[Any]) -> Dict[str, object]:
    properties: Dict[str, object] = {"subformat": descriptor.create_type}
    if sparse:
        properties["cluster_size"] = sparse[0].grain_bytes
    properties["compression"] = "zlib" if any(extent.is_compressed for extent in sparse) else "none"
    if descriptor.adapter_type is not None:
        properties["adapter_type"] = descriptor.adapter_type
    if descriptor.logical_sector != SECTOR:
        properties["sector_size"] = descriptor.logical_sector
    return properties


def open_vmdk(port: Port, path: str, open_beside: OpenBeside) -> VmdkImage:
    """Open a VMDK: the file with the descriptor at ``path``, and through ``open_beside`` all others that it names.

    Raises Damaged, Unsupported or Encrypted, and what ``open_beside`` raises; all files are closed then. Data is looked
    at only when it is read, grain tables too.
    """
    files: List[File] = [port.open_read(path)]
    try:
        return _open_vmdk(port, path, open_beside, files)
    except BaseException:
        _close(files)
        raise


def _open_vmdk(port: Port, path: str, open_beside: OpenBeside, files: List[File]) -> VmdkImage:
    file = files[0]
    magic = read_sector(file, 0)
    pieces: Sequence[_Part]
    if magic.startswith(SPARSE_MAGIC):
        descriptor, pieces = _open_embedded(file)
    elif magic.startswith((COWD_MAGIC, SE_SPARSE_MAGIC)):
        raise NotAWholeDisk("This file is a part of a VMDK", path, hint=_NAME_THE_TEXT)
    else:
        descriptor = _read_text(file)
        pieces = _open_pieces(descriptor, path, open_beside, files)
    real_paths = dict.fromkeys(port.real_path(opened.path) for opened in files)
    return VmdkImage(descriptor, pieces, files, tuple(real_paths))


def _read_text(file: File) -> Descriptor:
    size = file.size()
    if size > MOST_TEXT_BYTES:
        expected = f"up to {MOST_TEXT_BYTES} bytes"
        raise Damaged(
            "This is neither a descriptor of a VMDK nor a sparse extent with one",
            file.path,
            0,
            expected=expected,
            found=size,
        )
    raw = bytearray(size)
    read_stored(file, 0, memoryview(raw))
    return parse_descriptor(bytes(raw), path=file.path)


def _open_embedded(file: File) -> Tuple[Descriptor, Sequence[_Part]]:
    header = read_sparse_header(file)
    descriptor = _embedded_descriptor(file, header)
    first = descriptor.extents[0]
    # The file may have been renamed, and FreeBSD gives it no name, so that in the descriptor does not matter.
    if len(descriptor.extents) == 1 and first.kind == "SPARSE":
        extent = open_hosted(file, header, Caches())
        _check_capacity(extent, first)
        return descriptor, (extent,)
    if len(descriptor.extents) == 1 and first.kind == "FLAT" and header.is_flat:
        if first.offset < header.first_free_sector:
            message, expected = "The disk begins within its description", f"from sector {header.first_free_sector} on"
            raise DamagedSource(message, file.path, expected=expected, found=first.offset)
        return descriptor, (_open_piece(file, first, Caches()),)
    found = [extent.kind for extent in descriptor.extents[:3]]
    raise Unsupported("An embedded descriptor speaks of other files", file.path, expected="one extent", found=found)


def _embedded_descriptor(file: File, header: SparseHeader) -> Descriptor:
    if not header.descriptor_sectors:
        raise NotAWholeDisk("This file is a part of a VMDK, without a descriptor", file.path, 28, hint=_NAME_THE_TEXT)
    raw = bytearray(header.descriptor_sectors * SECTOR)
    read_stored(file, header.descriptor_sector * SECTOR, memoryview(raw))
    return parse_descriptor(bytes(raw), path=file.path, offset=header.descriptor_sector * SECTOR)


def read_descriptor(file: File) -> Descriptor:
    """The descriptor in a file, alone or embedded. Raises Damaged, Unsupported or Encrypted, and NotAWholeDisk."""
    if read_sector(file, 0).startswith(SPARSE_MAGIC):
        return _embedded_descriptor(file, read_sparse_header(file))
    return _read_text(file)


def ids_of(file: File) -> ImageIds:
    """By which UUIDs VirtualBox knows an image. Raises as ``read_descriptor`` does."""
    return read_descriptor(file).ids


def _open_pieces(descriptor: Descriptor, path: str, open_beside: OpenBeside, files: List[File]) -> List[_Part]:
    opened: Dict[str, File] = {}
    taken: Dict[str, List[Tuple[int, int]]] = {}
    caches = Caches()
    pieces: List[_Part] = []
    for extent in descriptor.extents:
        if extent.kind == ZERO_KIND or extent.name is None:
            pieces.append(_ZeroExtent())
            continue
        if not extent.name:
            raise DamagedSource("An extent of the descriptor has no file", path, expected="the name of a file")
        taken.setdefault(extent.name, []).append((extent.offset, extent.offset + extent.sectors))
        if extent.name not in opened:
            opened[extent.name] = open_beside(extent.name)
            files.append(opened[extent.name])
        elif extent.kind not in FLAT_KINDS:
            raise Damaged("Two extents have the same file", path, expected="a file of its own", found=extent.name)
        pieces.append(_open_piece(opened[extent.name], extent, caches))
    _check_overlaps(taken, path)
    return pieces


def _open_piece(file: File, extent: ExtentLine, caches: Caches) -> _Part:
    if extent.kind in FLAT_KINDS:
        needed = (extent.offset + extent.sectors) * SECTOR
        if file.size() < needed:
            raise DamagedSource(
                "The extent is shorter than its descriptor says",
                file.path,
                file.size(),
                expected=needed,
                found=file.size(),
            )
        return _FlatExtent(file, extent.offset * SECTOR)
    piece = open_sparse_extent(file, caches)
    _check_capacity(piece, extent)
    return piece


def _check_capacity(piece: Union[SparseExtent, SeSparseExtent], extent: ExtentLine) -> None:
    """Raise Damaged unless header and descriptor agree; some writers round the header up to whole grains."""
    if not extent.sectors <= piece.capacity < extent.sectors + piece.grain_sectors:
        raise DamagedSource(
            "Descriptor and header disagree on the size", piece.path, 12, expected=extent.sectors, found=piece.capacity
        )


def _check_overlaps(taken: Mapping[str, List[Tuple[int, int]]], path: str) -> None:
    for name, ranges in taken.items():
        ranges.sort()
        for (_start, end), (start, _end) in zip(ranges, ranges[1:]):
            if start < end:
                raise Damaged(
                    "Two extents overlap in one file",
                    path,
                    expected=f"from sector {end} on",
                    found=f"{name}, sector {start}",
                )


def _close(files: Sequence[File]) -> None:
    for file in files:
        file.close()
