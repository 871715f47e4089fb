# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading one VHD image: fixed, dynamic or differencing, in one file or in pieces.

What lies in its parent is not its business.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from functools import partial
from itertools import accumulate
from operator import sub
from threading import Lock
from typing import Dict, Iterator, List, Mapping, NamedTuple, NoReturn, Optional, Protocol, Sequence, Tuple, Union

from ..._core.errors import BadRequest, Damaged, DiskError, MissingImage, Unsupported
from ..._core.extents import ABSENT, DATA, ZERO, Extent, coalesce
from ..._core.units import SECTOR, ceil_div, round_up
from ..._io.buffers import clear
from ..._io.port import File, Port
from ..image import OpenBeside, ParentLink
from .layout import (
    DIFFERENCING,
    ENTRY_BYTES,
    FIXED,
    FOOTER_BYTES,
    FOOTER_COOKIE,
    HEADER_BYTES,
    LONGEST_LOCATOR,
    NOT_STORED,
    SUBFORMATS,
    DynamicHeader,
    Footer,
    check_header,
    check_size,
    footer_warnings,
    guid_text,
    parent_names,
    parse_footer,
    parse_header,
    piece_name,
    runs_of_set_bits,
)

_MOST_PIECES = 64
_TABLE_PIECE = 64 << 10
_PIECE_ENTRIES = _TABLE_PIECE // ENTRY_BYTES
_CHUNK_ENTRIES = 1024
_NOTHING_STORED = b"\xff" * _TABLE_PIECE
_CACHED_PIECES = 16
_CACHED_BITMAPS = 64
# Blocks are sorted by the 2 GiB of the file that they begin in, so that no list of them grows large.
_BUCKET_SECTORS = 1 << 22
_HINT = "Restore the image from a copy."


class Source(Protocol):
    """What is read: one file, or the pieces of a split image as if they were one."""

    path: str

    def size(self) -> int:
        """The length now."""

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; fewer bytes than asked come back only at the end."""

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The parts ``(start, end)`` of the range that are no holes, ascending."""

    def close(self) -> None:
        """Release everything."""


class JoinedPieces:
    """The pieces of a split image one behind the other. Their lengths are those at the time of opening.

    Implements ``Source``.
    """

    def __init__(self, path: str, pieces: Sequence[File]) -> None:
        self.path = path
        self._pieces = tuple(pieces)
        self._ends = list(accumulate(piece.size() for piece in pieces))

    def size(self) -> int:
        """The length of all pieces together."""
        return self._ends[-1]

    def _parts(self, start: int, end: int) -> Iterator[Tuple[File, int, int, int]]:
        """For each piece that the range touches: the piece, where it begins in the whole, and start and end of the
        part in the whole.
        """
        while start < min(end, self._ends[-1]):
            index = bisect_right(self._ends, start)
            stop = min(end, self._ends[index])
            yield self._pieces[index], self._ends[index - 1] if index else 0, start, stop
            start = stop

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; fewer bytes than asked come back only at the end of the image, or when a
        piece has become shorter.
        """
        view = memoryview(buffer)
        done = 0
        for piece, base, start, stop in self._parts(offset, offset + len(view)):
            got = piece.pread_into(start - base, view[start - offset : stop - offset])
            done += got
            if got < stop - start:
                break
        return done

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The parts of the range that are no holes, ascending."""
        for piece, base, begin, stop in self._parts(start, end):
            for data_start, data_end in piece.data_ranges(begin - base, stop - base):
                yield base + data_start, base + data_end

    def close(self) -> None:
        """Release all pieces."""
        for piece in self._pieces:
            piece.close()


class BlockMap:
    """Where the blocks of a dynamic or differencing image lie.

    Table and bitmaps are read when they are needed; a few stay in memory.
    """

    def __init__(self, source: Source, header: DynamicHeader, used_entries: int) -> None:
        self.header = header
        self.used_entries = used_entries
        self._source = source
        self._lock = Lock()
        self._pieces: OrderedDict[int, bytes] = OrderedDict()
        self._bitmaps: OrderedDict[int, bytes] = OrderedDict()

    def blocks(self, first: int, end: int) -> Iterator[Tuple[int, int]]:
        """The blocks from ``first`` up to, not including, ``end`` that are stored: ``(block, sector of its
        bitmap)``, ascending.
        """
        for start, entries in self.chunks(first, end):
            for block, sector in enumerate(entries, start):
                if sector != NOT_STORED:
                    yield block, sector

    def chunks(self, first: int, end: int) -> Iterator[Tuple[int, Tuple[int, ...]]]:
        """The table entries of blocks ``first`` up to, not including, ``end`` in short stretches: ``(first block,
        entries)``.

        Stretches without a stored block are left out.
        """
        end = min(end, self.used_entries)
        while first < end:
            number, index = divmod(first, _PIECE_ENTRIES)
            count = min(end - first, _PIECE_ENTRIES - index)
            before = number * _TABLE_PIECE
            piece_bytes = min(_TABLE_PIECE, self.used_entries * ENTRY_BYTES - before)
            piece = self._cached(self._pieces, _CACHED_PIECES, self.header.table_offset + before, piece_bytes, "table")
            for start in range(index, index + count, _CHUNK_ENTRIES):
                length = min(_CHUNK_ENTRIES, index + count - start)
                if not piece.startswith(_NOTHING_STORED[: length * ENTRY_BYTES], start * ENTRY_BYTES):
                    yield number * _PIECE_ENTRIES + start, struct.unpack_from(f">{length}I", piece, start * ENTRY_BYTES)
            first += count

    def stored(self, start: int, end: int) -> Iterator[Tuple[int, int, int]]:
        """The stored parts of a guest range, ascending: ``(guest offset, length, file offset)``.

        Ends at whole sectors only where the range does.
        """
        block_bytes = self.header.block_bytes
        for block, sector in self.blocks(start // block_bytes, ceil_div(end, block_bytes)):
            guest = block * block_bytes
            begin, stop = max(guest, start) - guest, min(guest + block_bytes, end) - guest
            bitmap = self._cached(self._bitmaps, _CACHED_BITMAPS, sector * SECTOR, self.header.bitmap_bytes, "bitmap")
            shift = sector * SECTOR + self.header.bitmap_bytes
            for first, behind in runs_of_set_bits(bitmap, begin // SECTOR, ceil_div(stop, SECTOR)):
                low, high = max(first * SECTOR, begin), min(behind * SECTOR, stop)
                yield guest + low, high - low, shift + low

    def _cached(self, cache: OrderedDict[int, bytes], most: int, offset: int, length: int, what: str) -> bytes:
        with self._lock:
            if offset in cache:
                cache.move_to_end(offset)
                return cache[offset]
        found = _read(self._source, offset, length, what)
        with self._lock:
            cache[offset] = found
            while len(cache) > most:
                cache.popitem(last=False)
        return found


class VhdImage:
    """An open VHD image of ``size`` guest bytes. Implements ``ForeignImage``.

    In a dynamic image a sector whose bit is clear is ZERO, whatever its block has there: it was never written.
    """

    def __init__(
        self,
        source: Source,
        *,
        files: Tuple[str, ...],
        footer: Footer,
        blocks: Optional[BlockMap],
        parent: Optional[ParentLink],
        warnings: Tuple[str, ...],
    ) -> None:
        self.path = source.path
        self.files = files
        self.footer = footer
        self.size = round_up(footer.current_size, SECTOR)
        self.parent = parent
        self.identity: Optional[str] = guid_text(footer.unique_id)
        self.warnings = warnings
        properties: Dict[str, object] = {"subformat": SUBFORMATS[footer.disk_type]}
        if blocks is not None:
            properties["cluster_size"] = blocks.header.block_bytes
        self.properties: Mapping[str, object] = properties
        self._source = source
        self._blocks = blocks

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: DATA, ZERO for holes of the host file, and ABSENT or ZERO for what is not
        stored here.
        """
        self._check_range(start, length)
        return coalesce(self._extents(start, start + length))

    def _extents(self, position: int, end: int) -> Iterator[Extent]:
        missing = ZERO if self.parent is None else ABSENT
        for guest, length, offset in self._stored(position, end):
            if guest > position:
                yield Extent(position, guest - position, missing)
            position = guest
            shift = guest - offset
            for data_start, data_end in self._source.data_ranges(offset, offset + length):
                if data_start + shift > position:
                    yield Extent(position, data_start + shift - position, ZERO)
                yield Extent(data_start + shift, data_end - data_start, DATA)
                position = data_end + shift
            if position < guest + length:
                yield Extent(position, guest + length - position, ZERO)
                position = guest + length
        if position < end:
            yield Extent(position, end - position, missing)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``; what is not stored here reads as zeros.

        Raises Damaged when the file has become shorter.
        """
        view = memoryview(buffer)
        self._check_range(offset, len(view))
        position = 0
        for guest, count, file_offset in self._stored(offset, offset + len(view)):
            begin = guest - offset
            clear(view[position:begin])
            position = begin + count
            got = self._source.pread_into(file_offset, view[begin:position])
            if got < count:
                raise Damaged(
                    "The file ends within its data", path=self.path, offset=file_offset + got, expected=count, found=got
                )
        clear(view[position:])

    def _stored(self, start: int, end: int) -> Iterator[Tuple[int, int, int]]:
        if self._blocks is not None:
            return self._blocks.stored(start, end)
        end = min(end, self.footer.current_size)
        return iter(((start, end - start, start),) if start < end else ())

    def close(self) -> None:
        """Release the files."""
        self._source.close()

    def _check_range(self, start: int, length: int) -> None:
        if start < 0 or length < 0 or start + length > self.size:
            raise BadRequest(
                "The range leaves the disk",
                path=self.path,
                expected=f"0..{self.size}",
                found=f"{start}..{start + length}",
            )


class _Found(NamedTuple):
    """A footer, where it lies, and where the data in front of it must end.

    ``warning`` says why it is not where it belongs.
    """

    source: Source
    footer: Footer
    offset: int
    data_end: int
    warning: Optional[str] = None


def open_vhd(port: Port, path: str, open_beside: OpenBeside) -> VhdImage:
    """Open an image and judge its metadata.

    Only for an image without a footer at its end ``open_beside`` is asked for ``.v01`` and so on.

    Raises Damaged or Unsupported; all files are closed then.
    """
    files = [port.open_read(path)]
    try:
        found = _find_footer(files, path, open_beside)
        return _open(port, files, found)
    except BaseException:
        for file in files:
            file.close()
        raise


def _open(port: Port, files: List[File], found: _Found) -> VhdImage:
    source, footer, path = found.source, found.footer, found.source.path
    check_size(footer, path=path, offset=found.offset)
    warnings = footer_warnings(footer)
    if found.warning:
        warnings.insert(0, found.warning)
    blocks, parent = None, None
    if footer.disk_type == FIXED:
        if footer.current_size > found.data_end:
            raise Damaged(
                "The file is shorter than the disk",
                path=path,
                offset=found.data_end,
                expected=footer.current_size,
                found=found.data_end,
                hint=_HINT,
            )
    else:
        if found.warning is None and _read_some(source, 0, FOOTER_BYTES) != _read_some(
            source, found.offset, FOOTER_BYTES
        ).ljust(FOOTER_BYTES, b"\0"):
            warnings.append(
                "The copy of the footer at the start of the file differs from the footer; some products will refuse the image."
            )
        blocks = _open_blocks(source, footer, found.data_end)
        if footer.disk_type == DIFFERENCING:
            parent = _parent_link(source, blocks.header, warnings)
    real_paths = tuple(port.real_path(file.path) for file in files)
    return VhdImage(source, files=real_paths, footer=footer, blocks=blocks, parent=parent, warnings=tuple(warnings))


def _find_footer(files: List[File], path: str, open_beside: OpenBeside) -> _Found:
    """The footer at the end of the file, else at the end of the last piece (pieces are added to ``files``), else its
    copy at the start.
    """
    source: Source = files[0]
    tail = _tail(source)
    if tail is None and _add_pieces(files, path, open_beside):
        source = JoinedPieces(path, files)
        tail = _tail(source)
        if tail is None:
            hint = f"Look for a missing piece {piece_name(path, len(files))!r} of the image."
            raise Damaged(
                "The last piece of the image has no footer", path=files[-1].path, expected=FOOTER_COOKIE, hint=hint
            )
    size = source.size()
    problem: DiskError = Damaged(
        "There is no footer at the end of the file",
        path=path,
        offset=max(0, size - FOOTER_BYTES),
        expected=FOOTER_COOKIE,
        hint=_HINT,
    )
    if tail is not None:
        try:
            return _Found(source, parse_footer(tail[1], path=path, offset=tail[0]), tail[0], tail[0])
        except Damaged as error:
            problem = error
    try:
        footer = parse_footer(_read(source, 0, FOOTER_BYTES, "footer"), path=path, offset=0)
    except (Damaged, Unsupported):
        raise problem from None
    if footer.disk_type == FIXED:
        # A fixed image has no copy: these are bytes of the guest.
        raise problem
    warning = "The footer at the end of the file is missing or damaged; its copy at the start was used. Some products will refuse the image."
    return _Found(source, footer, 0, size, warning)


def _tail(source: Source) -> Optional[Tuple[int, bytes]]:
    """Offset and 512 bytes of what has the cookie of a footer at the end of the image.

    That of old versions of Virtual PC is one byte short.
    """
    size = source.size()
    for length in (FOOTER_BYTES, FOOTER_BYTES - 1):
        raw = _read_some(source, max(0, size - length), length)
        if len(raw) == length and raw.startswith(FOOTER_COOKIE):
            return size - length, raw.ljust(FOOTER_BYTES, b"\0")
    return None


def _add_pieces(files: List[File], path: str, open_beside: OpenBeside) -> bool:
    """Open what follows ``path`` in a split image, up to the first gap; whether there was anything."""
    if not path.lower().endswith((".vhd", ".avhd")):
        return False
    for number in range(1, _MOST_PIECES):
        try:
            files.append(open_beside(piece_name(path, number)))
        except MissingImage:
            break
    return len(files) > 1


def _open_blocks(source: Source, footer: Footer, data_end: int) -> BlockMap:
    offset, path, file_size = footer.data_offset, source.path, source.size()
    if not FOOTER_BYTES <= offset <= file_size - HEADER_BYTES:
        expected = f"{FOOTER_BYTES}..{file_size - HEADER_BYTES}"
        raise Damaged(
            "The dynamic header lies outside the file", path=path, expected=expected, found=offset, hint=_HINT
        )
    header = parse_header(_read(source, offset, HEADER_BYTES, "dynamic header"), path=path, offset=offset)
    size = round_up(footer.current_size, SECTOR)
    check_header(header, size=size, path=path, offset=offset, file_size=data_end)
    blocks = BlockMap(source, header, ceil_div(size, header.block_bytes))
    reserved = [(0, FOOTER_BYTES), (offset, HEADER_BYTES), (header.table_offset, header.entries * ENTRY_BYTES)]
    if footer.disk_type == DIFFERENCING:
        reserved += [
            (locator.offset, locator.length) for locator in header.locators if locator.length <= LONGEST_LOCATOR
        ]
    _check_blocks(blocks, path, reserved, data_end)
    return blocks


def _check_blocks(blocks: BlockMap, path: str, reserved: Sequence[Tuple[int, int]], data_end: int) -> None:
    """Raise Damaged unless each block lies within the data of the file, on none of the ``reserved`` ranges (start,
    length), and alone.
    """
    step = blocks.header.stored_bytes // SECTOR
    buckets = _collect(blocks, path, reserved, data_end)
    free = 0
    for number in sorted(buckets):
        ordered = sorted(buckets[number])
        if ordered[0] < free or min(map(sub, ordered[1:], ordered), default=step) < step:
            twin = next(sector for before, sector in zip([free - step, *ordered], ordered) if sector < before + step)
            owner = max(block for block, sector in blocks.blocks(0, blocks.used_entries) if sector == twin)
            _refuse(
                "Two blocks of the image share one place in the file",
                blocks,
                path,
                owner,
                expected="every block alone",
                found=twin,
            )
        free = ordered[-1] + step


def _collect(blocks: BlockMap, path: str, reserved: Sequence[Tuple[int, int]], data_end: int) -> Dict[int, array[int]]:
    """The sectors of all blocks by the stretch of the file that they begin in; no more of a stretch than show that
    they overlap.
    """
    step = blocks.header.stored_bytes // SECTOR
    last = (data_end - blocks.header.stored_bytes) // SECTOR
    metadata_end = max(ceil_div(start + length, SECTOR) for start, length in reserved)
    buckets: Dict[int, array[int]] = {}
    for first, entries in blocks.chunks(0, blocks.used_entries):
        ordered = sorted(entry for entry in entries if entry != NOT_STORED)
        if ordered[0] < metadata_end or ordered[-1] > last:
            _check_places(blocks, path, reserved, last, first, entries)
        start = 0
        while start < len(ordered):
            number = ordered[start] // _BUCKET_SECTORS
            stop = bisect_left(ordered, (number + 1) * _BUCKET_SECTORS, start)
            bucket = buckets.get(number)
            if bucket is None:
                bucket = buckets[number] = array("I")
            bucket.extend(ordered[start:stop])
            if len(bucket) > _BUCKET_SECTORS // step + 1:
                return {number: bucket}
            start = stop
    return buckets


def _check_places(
    blocks: BlockMap, path: str, reserved: Sequence[Tuple[int, int]], last: int, first: int, entries: Sequence[int]
) -> None:
    for block, sector in enumerate(entries, first):
        if sector == NOT_STORED:
            continue
        if sector > last:
            _refuse(
                "A block lies beyond the end of the data",
                blocks,
                path,
                block,
                expected=f"at most sector {last}",
                found=sector,
            )
        end = sector * SECTOR + blocks.header.stored_bytes
        for start, length in reserved:
            if sector * SECTOR < start + length and start < end:
                _refuse(
                    "A block lies on metadata of the image",
                    blocks,
                    path,
                    block,
                    expected=f"outside {start}..{start + length}",
                    found=sector,
                )


def _refuse(message: str, blocks: BlockMap, path: str, block: int, *, expected: object, found: object) -> NoReturn:
    offset = blocks.header.table_offset + block * ENTRY_BYTES
    raise Damaged(f"{message} (block {block})", path=path, offset=offset, expected=expected, found=found, hint=_HINT)


def _parent_link(source: Source, header: DynamicHeader, warnings: List[str]) -> ParentLink:
    names = parent_names(header, partial(_read_some, source))
    if not names:
        warnings.append("The image does not say where its parent lies.")
    return ParentLink(names=names, format="vhd", identity=guid_text(header.parent_id))


def _read_some(source: Source, offset: int, length: int) -> bytes:
    raw = bytearray(length)
    got = source.pread_into(offset, raw) if offset < source.size() else 0
    return bytes(raw[:got])


def _read(source: Source, offset: int, length: int, what: str) -> bytes:
    raw = _read_some(source, offset, length)
    if len(raw) < length:
        raise Damaged(
            f"The file ends within its {what}",
            path=source.path,
            offset=offset + len(raw),
            expected=length,
            found=len(raw),
            hint=_HINT,
        )
    return raw
