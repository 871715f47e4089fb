# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a new VHD image in one pass.

::

    write(...)   | (hole)                               | table .. | bitmap, block | bitmap, block |
    finish()     | footer copy | dynamic header | names | table .. | bitmap, block | bitmap, block | footer |

Each piece of the table goes out when the stream has passed what it describes. Every block begins at a multiple of 4
KiB, its bitmap lies right in front of it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from typing import Dict, Iterator, Mapping, Optional, Tuple

from ..._core.errors import BadRequest
from ..._core.units import MIB, SECTOR, ceil_div, format_size, round_up
from ..._core.words import BIG, pack_words
from ..._io.port import Buffer, File
from ..bounds import check_next
from ..image import ParentImage
from .layout import (
    DIFFERENCING,
    ENTRY_BYTES,
    FIXED,
    FOOTER_BYTES,
    HEADER_BYTES,
    LARGEST_BLOCK,
    LARGEST_SIZE,
    LARGEST_TABLE,
    LONGEST_LOCATOR,
    NO_OFFSET,
    NOT_STORED,
    RELATIVE_NAME,
    SMALLEST_BLOCK,
    SUBFORMATS,
    DynamicHeader,
    Footer,
    Locator,
    geometry_of,
    pack_footer,
    pack_header,
    unique_id,
    vhd_time,
)

_ALIGNMENT = 4096
_PIECE_ENTRIES = 16 << 10
_HEADER_OFFSET = FOOTER_BYTES
_NAMES_OFFSET = _HEADER_OFFSET + HEADER_BYTES
_LONGEST_NAME = 512
_TYPES = {name: number for number, name in SUBFORMATS.items()}


class VhdWriter:
    """Fills a new, empty file. Implements ``ForeignWriter``.

    ``preallocate`` reserves the blocks of the host for a fixed image. A differencing image names its ``parent`` by the
    relative path only: an absolute one would be wrong as soon as both are moved. ``timestamp`` (seconds since 1970)
    stands for the time of the parent, too. Raises BadRequest for what the format cannot hold.
    """

    # Whole bytes of the bitmap: libvhdi misreads those in which only some of the eight sectors are marked.
    grain = 8 * SECTOR

    def __init__(
        self,
        file: File,
        *,
        subformat: str,
        size_bytes: int,
        block_bytes: int = 2 * MIB,
        parent: Optional[ParentImage] = None,
        timestamp: int = 0,
        preallocate: bool = False,
    ) -> None:
        if subformat not in _TYPES:
            message, expected = "There is no such kind of VHD image", ", ".join(_TYPES)
            raise BadRequest(message, file.path, expected=expected, found=subformat)
        self.file = file
        self._type = _TYPES[subformat]
        self._size = size_bytes
        self._time = vhd_time(timestamp)
        self._position = 0
        self._parent = parent
        _check_request(file.path, self._type, size_bytes, block_bytes, parent, preallocate)
        properties: Dict[str, object] = {"subformat": subformat}
        self._blocks: Optional[_Blocks] = None
        self._name = b""
        if self._type == FIXED:
            if preallocate:
                file.allocate(0, size_bytes + FOOTER_BYTES)
        else:
            properties["cluster_size"] = block_bytes
            if parent is not None:
                self._name = _relative_name(parent, file.path)
            table_offset = _NAMES_OFFSET + round_up(len(self._name), SECTOR)
            header = DynamicHeader(table_offset, ceil_div(size_bytes, block_bytes), block_bytes)
            self._blocks = _Blocks(file, header, is_overlay=self._type == DIFFERENCING)
        self.properties: Mapping[str, object] = properties

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``. Raises BadRequest when that goes back or leaves the disk."""
        view = memoryview(buffer)
        if not self._advance(offset, view.nbytes):
            return
        if self._blocks is None:
            self.file.pwrite(offset, view)
        else:
            self._blocks.write(offset, view.cast("B"))

    def write_zeros(self, offset: int, length: int) -> None:
        """Let the range read as zeros whatever the parent has there; without a parent nothing is stored."""
        if self._advance(offset, length) and self._blocks is not None and self._type == DIFFERENCING:
            self._blocks.mark(offset, length)

    def _advance(self, offset: int, length: int) -> bool:
        """Check a range and remember its end; whether there is anything in it."""
        check_next(self.file.path, self._position, self._size, offset, length)
        self._position = offset + length
        return length > 0

    def finish(self, identity: str) -> None:
        """Give the file its length and its metadata, the footer at last.

        The image's id is derived from the GUID ``identity``.
        """
        footer = Footer(
            disk_type=self._type,
            current_size=self._size,
            original_size=self._size,
            data_offset=NO_OFFSET if self._blocks is None else _HEADER_OFFSET,
            unique_id=unique_id(identity),
            timestamp=self._time,
            geometry=geometry_of(self._size),
        )
        raw = pack_footer(footer)
        if self._blocks is None:
            self.file.truncate(self._size + FOOTER_BYTES)
            self.file.pwrite(self._size, raw)
            return
        end = self._blocks.finish()
        self.file.truncate(end + FOOTER_BYTES)
        if self._name:
            self.file.pwrite(_NAMES_OFFSET, self._name.ljust(round_up(len(self._name), SECTOR), b"\0"))
        self.file.pwrite(_HEADER_OFFSET, pack_header(self._header(self._blocks.header)))
        self.file.pwrite(0, raw)
        self.file.pwrite(end, raw)

    def _header(self, header: DynamicHeader) -> DynamicHeader:
        if self._parent is None:
            return header
        return DynamicHeader(
            table_offset=header.table_offset,
            entries=header.entries,
            block_bytes=header.block_bytes,
            parent_id=unique_id(self._parent.identity),
            parent_timestamp=self._time,
            parent_name=self._parent.name.rsplit("/", 1)[-1].encode("utf-16-be"),
            locators=(Locator(RELATIVE_NAME, len(self._name), _NAMES_OFFSET),),
        )


class _Blocks:
    """Places blocks in guest order by the first byte that they get, and writes table and bitmaps after the stream.

    The bitmap of a dynamic image says that all of a block is stored, as it is: what was not written is zero. That of an
    overlay has exactly the sectors that were written, so it goes out when the stream has left the block.
    """

    def __init__(self, file: File, header: DynamicHeader, *, is_overlay: bool) -> None:
        self._file = file
        self.header = header
        self._is_overlay = is_overlay
        self._table_end = header.table_offset + round_up(header.entries * ENTRY_BYTES, SECTOR)
        self._stride = round_up(header.stored_bytes, _ALIGNMENT)
        self._first = round_up(self._table_end + header.bitmap_bytes, _ALIGNMENT) - header.bitmap_bytes
        last = self._first + (header.entries - 1) * self._stride
        if last // SECTOR >= NOT_STORED:
            raise BadRequest(
                "Blocks of this size cannot cover the disk",
                file.path,
                expected="larger blocks",
                found=header.block_bytes,
            )
        self._count = 0
        self._block = -1
        self._bitmap = bytearray()
        self._piece = 0
        self._entries = self._empty_piece()

    def write(self, offset: int, view: memoryview) -> None:
        """Store ``view`` at guest byte ``offset``."""
        position = 0
        for start, length in self._parts(offset, view.nbytes):
            self._file.pwrite(start, view[position : position + length])
            position += length

    def mark(self, offset: int, length: int) -> None:
        """Say of a range that it is stored; its bytes stay a hole."""
        for _part in self._parts(offset, length):
            pass

    def _parts(self, offset: int, length: int) -> Iterator[Tuple[int, int]]:
        """Allocate and mark a range: file offset and length of its part in each block."""
        end = offset + length
        while offset < end:
            block, begin = divmod(offset, self.header.block_bytes)
            stop = min(self.header.block_bytes, begin + end - offset)
            if block != self._block:
                self._enter(block)
            if self._is_overlay:
                _mark(self._bitmap, begin // SECTOR, ceil_div(stop, SECTOR))
            yield self._place() + self.header.bitmap_bytes + begin, stop - begin
            offset += stop - begin

    def _place(self) -> int:
        """Where the bitmap of the current block lies."""
        return self._first + (self._count - 1) * self._stride

    def _enter(self, block: int) -> None:
        self._leave()
        self._block = block
        self._count += 1
        self._go_on_to(block // _PIECE_ENTRIES)
        self._entries[block % _PIECE_ENTRIES] = self._place() // SECTOR
        if self._is_overlay:
            self._bitmap = bytearray(self.header.bitmap_bytes)
        else:
            self._file.pwrite(self._place(), b"\xff" * self.header.bitmap_bytes)

    def _leave(self) -> None:
        if self._is_overlay and self._count:
            self._file.pwrite(self._place(), self._bitmap)

    def _go_on_to(self, piece: int) -> None:
        """Write the table in front of ``piece``. Nothing may stay a hole: zero is a sector, too."""
        while self._piece < piece:
            self._file.pwrite(
                self.header.table_offset + self._piece * _PIECE_ENTRIES * ENTRY_BYTES, pack_words(self._entries, BIG)
            )
            self._piece += 1
            self._entries = self._empty_piece()

    def _empty_piece(self) -> array[int]:
        """A piece of the table without blocks; the last one ends with the sector that the table ends in."""
        entries = (self._table_end - self.header.table_offset) // ENTRY_BYTES - self._piece * _PIECE_ENTRIES
        return array("I", b"\xff" * (ENTRY_BYTES * max(0, min(_PIECE_ENTRIES, entries))))

    def finish(self) -> int:
        """Write what is left of the table and the last bitmap; returns where the last block ends."""
        self._leave()
        self._go_on_to(ceil_div(self.header.entries, _PIECE_ENTRIES))
        return self._place() + self.header.stored_bytes if self._count else self._table_end


def _mark(bitmap: bytearray, first: int, end: int) -> None:
    """Set the bits from ``first`` up to, not including, ``end``; the highest bit of a byte is its first."""
    low, high = first // 8, (end - 1) // 8
    head, tail = 0xFF >> first % 8, 0xFF << (7 - (end - 1) % 8) & 0xFF
    if low == high:
        bitmap[low] |= head & tail
        return
    bitmap[low] |= head
    bitmap[low + 1 : high] = b"\xff" * (high - low - 1)
    bitmap[high] |= tail


def _relative_name(parent: ParentImage, path: str) -> bytes:
    """The relative locator, such as ``.\\base.vhd``. Raises BadRequest for a name that the format cannot hold."""
    name = parent.name
    hint = "Give the image below another file name."
    if "\0" in name or "\\" in name or not name.strip("/") or name.startswith("/"):
        raise BadRequest(
            "The name of the image below cannot be written into a VHD image",
            path,
            expected="a relative name",
            found=name,
            hint=hint,
        )
    try:
        field = name.rsplit("/", 1)[-1].encode("utf-16-be")
        locator = (".\\" + name.replace("/", "\\")).encode("utf-16-le")
    except UnicodeEncodeError:
        raise BadRequest("The name of the image below is no text", path, found=ascii(name), hint=hint) from None
    if not 0 < len(field) <= _LONGEST_NAME or len(locator) > LONGEST_LOCATOR:
        expected = f"at most {_LONGEST_NAME // 2} characters"
        raise BadRequest(
            "The name of the image below is too long for a VHD image",
            path,
            expected=expected,
            found=name[:80],
            hint=hint,
        )
    return locator


def _check_request(
    path: str, disk_type: int, size: int, block_bytes: int, parent: Optional[ParentImage], preallocate: bool
) -> None:
    if size <= 0 or size % SECTOR or size > LARGEST_SIZE:
        expected = f"a multiple of {SECTOR} up to {LARGEST_SIZE} ({format_size(LARGEST_SIZE)})"
        hint = f"A VHD image holds at most {LARGEST_SIZE >> 30} GiB; choose vhdx for a larger disk."
        raise BadRequest(
            "The VHD format cannot hold a disk of this size", path, expected=expected, found=size, hint=hint
        )
    if (disk_type == DIFFERENCING) != (parent is not None):
        raise BadRequest("A differencing image needs an image below it, and no other has one", path)
    if preallocate and disk_type != FIXED:
        raise BadRequest(
            "Only a fixed image can be preallocated", path, expected=SUBFORMATS[FIXED], found=SUBFORMATS[disk_type]
        )
    if disk_type == FIXED:
        return
    if not SMALLEST_BLOCK <= block_bytes <= LARGEST_BLOCK or block_bytes & (block_bytes - 1):
        expected = f"a power of two from {SMALLEST_BLOCK} to {LARGEST_BLOCK}"
        raise BadRequest("The block size is impossible", path, expected=expected, found=block_bytes)
    if ceil_div(size, block_bytes) * ENTRY_BYTES > LARGEST_TABLE:
        raise BadRequest(
            "The table of such small blocks would be too long", path, expected="larger blocks", found=block_bytes
        )
