# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the tables of a qcow2 file lie: the L1 table, read and judged, and the places of all other metadata."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import compress, islice
from operator import eq
from typing import Iterator, List, NamedTuple, NoReturn, Tuple

from ..._core.units import ceil_div
from ..._io.port import File
from .entries import L1_RESERVED, OFFSET_MASK, unpack_entries
from .layout import DIRTY, ENTRY_BYTES, DamagedTables, Qcow2Header

_READ_BYTES = 256 << 10
_PIECE_BYTES = 4 << 10
_ZERO_PIECE = bytes(_PIECE_BYTES)


class Tables(NamedTuple):
    """Where the metadata lie, in clusters of the file.

    L1 entry ``slots[i]`` leads to the L2 table at ``hosts[i]``; entries that lead nowhere are left out. ``pinned`` are
    all L2 tables and blocks of reference counts in order, ``areas`` the other places that no data may lie in.
    """

    slots: array[int]
    hosts: array[int]
    pinned: array[int]
    areas: Tuple[Tuple[int, int], ...]


def read_tables(file: File, header: Qcow2Header, file_size: int) -> Tables:
    """The L1 table, judged, and the places of all other metadata. Raises Damaged."""
    bits = header.cluster_bits
    # A number of clusters mostly fits into 32 bits, which halves the memory.
    typecode = "I" if file_size >> bits < 1 << 32 else "Q"
    slots, hosts = array("I"), array(typecode)
    most = file_size >> bits
    bad = L1_RESERVED | header.cluster_bytes - 1
    for first, entries in _read_pieces(file, header.l1_offset, header.used_l1_entries):
        offsets = [entry & OFFSET_MASK for entry in entries]
        if max(offsets) >> bits >= most or any(entry & bad for entry in entries):
            _refuse_l1_entry(header, first, entries, file)
        slots.extend(compress(range(first, first + len(offsets)), offsets))
        hosts.extend([offset >> bits for offset in offsets if offset])
    areas = _areas(header)
    tables = sorted_entries(hosts)
    blocks = array(typecode, _refcount_blocks(file, header, most))
    if any(map(eq, tables, memoryview(tables)[1:])):
        _refuse_shared(header, slots, hosts, file.path)
    for begin, end in [*areas, *((block, block + 1) for block in blocks)]:
        index = bisect_left(tables, begin)
        if index < len(tables) and tables[index] < end:
            place = header.l1_offset + slots[hosts.index(tables[index])] * ENTRY_BYTES
            raise DamagedTables(
                "An L2 table lies in other tables of the image", file.path, place, found=tables[index] << bits
            )
    return Tables(slots, hosts, sorted_entries(tables + blocks) if blocks else tables, areas)


def _areas(header: Qcow2Header) -> Tuple[Tuple[int, int], ...]:
    places = [
        (0, 1),
        (header.l1_offset, header.l1_entries * ENTRY_BYTES),
        (header.refcount_table_offset, header.refcount_table_bytes),
    ]
    size = header.cluster_bytes
    return tuple((offset // size, ceil_div(offset + length, size)) for offset, length in places)


def _refcount_blocks(file: File, header: Qcow2Header, most: int) -> Iterator[int]:
    """The clusters of the blocks of reference counts, none in an image that says they may be stale.

    Senseless entries do not matter.
    """
    if header.incompatible & DIRTY:
        return iter(())
    pieces = _read_pieces(file, header.refcount_table_offset, header.refcount_table_bytes // ENTRY_BYTES)
    entries = (entry for _first, piece in pieces for entry in piece if entry and not entry & header.cluster_bytes - 1)
    return (entry >> header.cluster_bits for entry in entries if entry >> header.cluster_bits < most)


def _refuse_l1_entry(header: Qcow2Header, first: int, entries: array[int], file: File) -> NoReturn:
    """Say what is wrong with the first of these entries that is wrong."""
    size = header.cluster_bytes
    end = file.size() // size * size
    index, entry = next((i, e) for i, e in enumerate(entries) if e & (L1_RESERVED | size - 1) or e & OFFSET_MASK >= end)
    place, offset = header.l1_offset + (first + index) * ENTRY_BYTES, entry & OFFSET_MASK
    if entry & L1_RESERVED:
        raise DamagedTables("An L1 entry has unknown bits", file.path, place, found=hex(entry))
    if entry & size - 1:
        raise DamagedTables("An L2 table does not lie on the grid of clusters", file.path, place, found=offset)
    raise DamagedTables(
        "An L2 table lies beyond the end of the file", file.path, place, expected=f"below {end}", found=offset
    )


def _refuse_shared(header: Qcow2Header, slots: array[int], hosts: array[int], path: str) -> NoReturn:
    tables = sorted_entries(hosts)
    shared = next(one for one, other in zip(tables, memoryview(tables)[1:]) if one == other)
    one, other = islice((slot for slot, host in zip(slots, hosts) if host == shared), 2)
    found = shared << header.cluster_bits
    raise DamagedTables(
        f"L1 entries {one} and {other} lead to one L2 table", path, header.l1_offset + other * ENTRY_BYTES, found=found
    )


def _read_pieces(file: File, offset: int, count: int) -> Iterator[Tuple[int, array[int]]]:
    """A table in pieces, each with the index of its first entry; those without any entry are left out.

    What lies past the end of the table or of the file counts as zero.
    """
    buffer = bytearray(min(_READ_BYTES, ceil_div(count * ENTRY_BYTES, _PIECE_BYTES) * _PIECE_BYTES))
    position = offset
    for start, end in file.data_ranges(offset, offset + count * ENTRY_BYTES):
        # Holes need not end at an entry, so two ranges may share one.
        position = max(position, offset + (start - offset) // ENTRY_BYTES * ENTRY_BYTES)
        end = offset + ceil_div(end - offset, ENTRY_BYTES) * ENTRY_BYTES
        while position < end:
            length = min(len(buffer), end - position)
            got = file.pread_into(position, memoryview(buffer)[:length])
            buffer[got:] = bytes(len(buffer) - got)
            for begin in range(0, length, _PIECE_BYTES):
                if not buffer.startswith(_ZERO_PIECE, begin):
                    yield (
                        (position + begin - offset) // ENTRY_BYTES,
                        unpack_entries(bytes(buffer[begin : begin + _PIECE_BYTES])),
                    )
            position += length


def sorted_entries(entries: array[int]) -> array[int]:
    """``entries`` in order, with a working set that stays small beside them."""
    step = 1 << 19
    parts: List[array[int]] = [
        array(entries.typecode, sorted(entries[start : start + step])) for start in range(0, len(entries), step)
    ]
    if len(parts) <= 1:
        return parts[0] if parts else entries
    from heapq import merge

    return array(entries.typecode, merge(*parts))
