# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading one VHD image: fixed, dynamic or differencing, in one file or in pieces.

What lies in its parent is not its business.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from functools import partial
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from ..._core.errors import Damaged, DiskError, MissingImage, Unsupported
from ..._core.extents import ABSENT, ZERO, Extent, coalesce
from ..._core.units import SECTOR, ceil_div, round_up
from ..._io.port import File, Port
from ..bounds import check_range
from ..damage import DamagedImage
from ..image import OpenBeside, ParentLink
from ..mapping import StoredRun, read_runs, run_extents, run_places
from ..pieces import JoinedPieces
from ..place import Place
from .blocks import BlockMap, check_blocks, read_all, read_some
from .layout import (
    DIFFERENCING,
    ENTRY_BYTES,
    EPOCH,
    FIXED,
    FOOTER_BYTES,
    FOOTER_COOKIE,
    HEADER_BYTES,
    LONGEST_LOCATOR,
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
)

_MOST_PIECES = 64

_Source = Union[File, JoinedPieces]


class VhdImage:
    """An open VHD image of ``size`` guest bytes. Implements ``ForeignImage``.

    In a dynamic image a sector whose bit is clear is ZERO, whatever its block has there: it was never written.
    """

    def __init__(
        self,
        source: _Source,
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
        self.timestamp = footer.timestamp + EPOCH
        self.warnings = warnings
        properties: Dict[str, object] = {"subformat": SUBFORMATS[footer.disk_type]}
        if blocks is not None:
            properties["cluster_size"] = blocks.header.block_bytes
        self.properties: Mapping[str, object] = properties
        self._source = source
        self._blocks = blocks

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: DATA, ZERO for holes of the host file, ABSENT or ZERO for what is not stored."""
        check_range(self.path, self.size, start, length)
        end = start + length
        missing = ZERO if self.parent is None else ABSENT
        return coalesce(run_extents(self._source, self._stored(start, end), start, end, missing))

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``; what is not stored here reads as zeros.

        Raises Damaged when the file has become shorter.
        """
        view = memoryview(buffer)
        check_range(self.path, self.size, offset, len(view))
        read_runs(self._source, self._stored(offset, offset + len(view)), offset, view)

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The stored parts of the range."""
        check_range(self.path, self.size, start, length)
        source, runs = self._source, self._stored(start, start + length)
        return source.places(runs) if isinstance(source, JoinedPieces) else run_places(source, runs)

    def _stored(self, start: int, end: int) -> Iterator[StoredRun]:
        if self._blocks is not None:
            return self._blocks.stored(start, end)
        end = min(end, self.footer.current_size)
        return iter(((start, end - start, start),) if start < end else ())

    def close(self) -> None:
        """Release the files."""
        self._source.close()


class _Found(NamedTuple):
    """A footer, where it lies, and where the data in front of it must end.

    ``warning`` says why it is not where it belongs.
    """

    source: _Source
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
            size, end = footer.current_size, found.data_end
            raise DamagedImage("The file is shorter than the disk", path, end, expected=size, found=end)
    else:
        if found.warning is None and not _is_copied(source, found.offset):
            warnings.append(
                "The copy of the footer at the start of the file differs from the footer; "
                "some products will refuse the image."
            )
        blocks = _open_blocks(source, footer, found.data_end)
        if footer.disk_type == DIFFERENCING:
            parent = _parent_link(source, blocks.header, warnings)
    real_paths = tuple(port.real_path(file.path) for file in files)
    return VhdImage(source, files=real_paths, footer=footer, blocks=blocks, parent=parent, warnings=tuple(warnings))


def _is_copied(source: _Source, offset: int) -> bool:
    """Whether the file begins with its footer, which is at ``offset``."""
    footer = read_some(source, offset, FOOTER_BYTES).ljust(FOOTER_BYTES, b"\0")
    return read_some(source, 0, FOOTER_BYTES) == footer


def _find_footer(files: List[File], path: str, open_beside: OpenBeside) -> _Found:
    """The footer at the end of the file or of its last piece (added to ``files``), else its copy at the start."""
    source: _Source = files[0]
    tail = _tail(source)
    if tail is None and _add_pieces(files, path, open_beside):
        source = JoinedPieces(path, files)
        tail = _tail(source)
        if tail is None:
            hint = f"Look for a missing piece {piece_name(path, len(files))!r} of the image."
            raise Damaged(
                "The last piece of the image has no footer", files[-1].path, expected=FOOTER_COOKIE, hint=hint
            )
    size = source.size()
    problem: DiskError = DamagedImage(
        "There is no footer at the end of the file", path, max(0, size - FOOTER_BYTES), expected=FOOTER_COOKIE
    )
    if tail is not None:
        try:
            return _Found(source, parse_footer(tail[1], path=path, offset=tail[0]), tail[0], tail[0])
        except Damaged as error:
            problem = error
    copied = _copy_at_start(source)
    found = copied if copied is not None or tail is None else _unsummed(source, tail)
    if found is None:
        raise problem
    return found


def _unsummed(source: _Source, tail: Tuple[int, bytes]) -> Optional[_Found]:
    """A footer of which only the checksum is wrong: all that it says of the file is true."""
    offset, raw = tail
    try:
        footer = parse_footer(raw, path=source.path, offset=offset, is_summed=False)
        if footer.disk_type != FIXED:
            parse_header(read_all(source, footer.data_offset, HEADER_BYTES, "header"), path=source.path, offset=0)
    except (Damaged, Unsupported):
        return None
    if footer.disk_type == FIXED and round_up(footer.current_size, SECTOR) != offset:
        return None
    warning = (
        "The checksum of the footer is wrong, but all else of it fits the file. Some products will refuse the image."
    )
    return _Found(source, footer, offset, offset, warning)


def _copy_at_start(source: _Source) -> Optional[_Found]:
    """The copy of the footer; None when it is no good either."""
    try:
        footer = parse_footer(read_all(source, 0, FOOTER_BYTES, "footer"), path=source.path, offset=0)
    except (Damaged, Unsupported):
        return None
    if footer.disk_type == FIXED:
        # A fixed image has no copy: these are bytes of the guest.
        return None
    warning = (
        "The footer at the end of the file is missing or damaged; its copy at the start was used. "
        "Some products will refuse the image."
    )
    return _Found(source, footer, 0, source.size(), warning)


def _tail(source: _Source) -> Optional[Tuple[int, bytes]]:
    """Offset and 512 bytes of what has the cookie of a footer at the end of the image.

    That of old versions of Virtual PC is one byte short.
    """
    size = source.size()
    for length in (FOOTER_BYTES, FOOTER_BYTES - 1):
        raw = read_some(source, max(0, size - length), length)
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


def _open_blocks(source: _Source, footer: Footer, data_end: int) -> BlockMap:
    offset, path, file_size = footer.data_offset, source.path, source.size()
    if not FOOTER_BYTES <= offset <= file_size - HEADER_BYTES:
        expected = f"{FOOTER_BYTES}..{file_size - HEADER_BYTES}"
        raise DamagedImage("The dynamic header lies outside the file", path, expected=expected, found=offset)
    header = parse_header(read_all(source, offset, HEADER_BYTES, "dynamic header"), path=path, offset=offset)
    size = round_up(footer.current_size, SECTOR)
    check_header(header, footer, path=path, file_size=data_end)
    blocks = BlockMap(source, header, ceil_div(size, header.block_bytes))
    reserved = [(0, FOOTER_BYTES), (offset, HEADER_BYTES), (header.table_offset, header.entries * ENTRY_BYTES)]
    if footer.disk_type == DIFFERENCING:
        reserved += [
            (locator.offset, locator.length) for locator in header.locators if locator.length <= LONGEST_LOCATOR
        ]
    check_blocks(blocks, reserved, data_end)
    return blocks


def _parent_link(source: _Source, header: DynamicHeader, warnings: List[str]) -> ParentLink:
    names = parent_names(header, partial(read_some, source))
    if not names:
        warnings.append("The image does not say where its parent lies.")
    changed = header.parent_timestamp + EPOCH if header.parent_timestamp else None
    return ParentLink(names=names, format="vhd", identity=guid_text(header.parent_id), timestamp=changed)
