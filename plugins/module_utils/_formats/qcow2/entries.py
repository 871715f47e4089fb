# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entries of the tables of a qcow2 file: what they say of the guest's clusters, and how they are written.

::

    L2 entry   63 62 61 ......................... 1 0
               |  0  host offset (bits 9 to 55)     Z    Z: reads as zeros (version 3)
               |  1  sectors - 1 | host byte offset      compressed, see ``compressed_place``
               used once

With extended L2 tables a second word follows: for each of 32 subclusters, bit n says allocated and bit 32 + n reads as
zeros.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from itertools import compress, groupby
from typing import Iterator, NamedTuple, Tuple

from ..._core.errors import BadRequest
from ..._core.units import SECTOR
from ..._core.words import BIG, pack_words, unpack_words
from .layout import ENTRY_BYTES

COPIED, COMPRESSED_BIT, ZERO_BIT = 1 << 63, 1 << 62, 1
OFFSET_MASK = (1 << 56) - (1 << 9)
_RESERVED = ~(COPIED | COMPRESSED_BIT | OFFSET_MASK | ZERO_BIT) & (1 << 64) - 1
L1_RESERVED = _RESERVED | COMPRESSED_BIT | ZERO_BIT


def compressed_place(entry: int, cluster_bits: int) -> Tuple[int, int]:
    """File offset, and length up to the end of the last sector, of a compressed cluster.

    Its bytes may end anywhere in that sector.
    """
    shift = 70 - cluster_bits
    offset = entry & (1 << shift) - 1
    sectors = (entry & COMPRESSED_BIT - 1) >> shift
    return offset, (sectors + 1) * SECTOR - offset % SECTOR


def compressed_entry(offset: int, length: int, cluster_bits: int) -> int:
    """The L2 entry of a compressed cluster of ``length`` bytes at byte ``offset``.

    Raises BadRequest when the offset does not fit.
    """
    shift = 70 - cluster_bits
    if offset + length > 1 << min(shift, 56):
        raise BadRequest(
            "The image becomes too large for compressed clusters of this size",
            found=offset,
            hint="Choose a smaller cluster_size.",
        )
    sectors = (offset + length - 1) // SECTOR - offset // SECTOR
    return COMPRESSED_BIT | sectors << shift | offset


UNALLOCATED, ZEROED, STORED, COMPRESSED, BROKEN = "unallocated", "zeroed", "stored", "compressed", "broken"


class Run(NamedTuple):
    """``length`` bytes from ``start`` on of one kind; a STORED run is one piece of the file from ``host`` on.

    ``entry`` is the L2 entry it was found in first, of a COMPRESSED run in an extended table the word after it.
    """

    start: int
    length: int
    kind: str
    host: int = 0
    entry: int = 0


_PIECE_ENTRIES = 512
_ZERO_PIECE = bytes(_PIECE_ENTRIES * ENTRY_BYTES)
_FOLLOWERS = tuple(range(1, _PIECE_ENTRIES))
_HAS_COMPRESSED_BIT = bytes(1 if byte & 0x40 else 0 for byte in range(256))
_ONES = int.from_bytes((b"\0" * 7 + b"\1") * _PIECE_ENTRIES, "big")
_ENTRY_MASK = COPIED - 1
_MASKS = _ONES * _ENTRY_MASK


def has_compressed(table: bytes, entry_bytes: int) -> bool:
    """Whether any entry of an L2 table is of a compressed cluster."""
    return 1 in table[::entry_bytes].translate(_HAS_COMPRESSED_BIT)


def table_runs(table: bytes, first: int, end: int, cluster_bytes: int) -> Iterator[Run]:
    """What entries ``first`` up to ``end`` of an L2 table say: runs without gaps, from the start of the table's range.

    No entry is looked at alone where it continues the one before. Neighbouring runs may belong together.
    """
    for start in range(first, end, _PIECE_ENTRIES):
        stop = min(end, start + _PIECE_ENTRIES)
        piece = table[start * ENTRY_BYTES : stop * ENTRY_BYTES]
        if _ZERO_PIECE.startswith(piece):
            yield Run(start * cluster_bytes, (stop - start) * cluster_bytes, UNALLOCATED)
            continue
        entry = int.from_bytes(piece[:ENTRY_BYTES], "big")
        if entry & (ZERO_BIT | COMPRESSED_BIT) == ZERO_BIT and piece == piece[:ENTRY_BYTES] * (stop - start):
            yield Run(start * cluster_bytes, (stop - start) * cluster_bytes, ZEROED, 0, entry & _ENTRY_MASK)
            continue
        kinds = piece[::ENTRY_BYTES].translate(_HAS_COMPRESSED_BIT)
        position = 0
        while position < len(kinds):
            is_compressed = kinds[position]
            following = kinds.find(1 - is_compressed, position)
            following = len(kinds) if following < 0 else following
            guest = (start + position) * cluster_bytes
            if is_compressed:
                yield Run(guest, (following - position) * cluster_bytes, COMPRESSED)
            else:
                yield from _plain_runs(piece[position * ENTRY_BYTES : following * ENTRY_BYTES], guest, cluster_bytes)
            position = following


def _plain_runs(piece: bytes, guest: int, cluster_bytes: int) -> Iterator[Run]:
    """The runs of entries that are not compressed, found by arithmetic on all of them as one large integer."""
    count = len(piece) // ENTRY_BYTES
    surplus = 64 * (_PIECE_ENTRIES - count)
    # Without the highest bits nothing is carried from one entry into its neighbour.
    whole = int.from_bytes(piece, "big") & (_MASKS >> surplus)
    entries = unpack_entries(whole.to_bytes(len(piece), "big"))
    lower = (1 << 64 * (count - 1)) - 1
    differing = ((whole >> 64) + cluster_bytes * (_ONES >> surplus + 64)) ^ (whole & lower)
    starts = [0]
    if differing:
        lanes = array("Q", differing.to_bytes(len(piece) - ENTRY_BYTES, "big"))
        starts += [
            index
            for index in compress(_FOLLOWERS, lanes)
            if entries[index] != entries[index - 1] or _is_stored(entries[index])
        ]
    for start, end in zip(starts, [*starts[1:], count]):
        entry, last = entries[start], entries[end - 1]
        if entry == 0 and last:
            # Nothing, then the first cluster of the file, the second and so on: the last one says how many there are.
            middle = end - last // cluster_bytes
            yield Run(guest + start * cluster_bytes, (middle - start) * cluster_bytes, UNALLOCATED)
            start, entry = middle, entries[middle]
        kind = ZEROED if entry & ZERO_BIT else STORED if _is_stored(entry) else UNALLOCATED
        yield Run(guest + start * cluster_bytes, (end - start) * cluster_bytes, kind, entry & OFFSET_MASK, entry)


def _is_stored(entry: int) -> bool:
    return entry != 0 and not entry & ZERO_BIT


def extended_runs(table: bytes, first: int, end: int, cluster_bytes: int) -> Iterator[Run]:
    """The same for an extended L2 table; a cluster whose bits contradict each other is BROKEN."""
    for start in range(first, end, _PIECE_ENTRIES // 2):
        stop = min(end, start + _PIECE_ENTRIES // 2)
        piece = table[start * 2 * ENTRY_BYTES : stop * 2 * ENTRY_BYTES]
        if _ZERO_PIECE.startswith(piece):
            yield Run(start * cluster_bytes, (stop - start) * cluster_bytes, UNALLOCATED)
            continue
        words = unpack_entries(piece)
        for index in range(start, stop):
            entry, bits = words[2 * (index - start)] & _ENTRY_MASK, words[2 * (index - start) + 1]
            if entry & COMPRESSED_BIT:
                yield Run(index * cluster_bytes, cluster_bytes, COMPRESSED, 0, bits)
                continue
            allocated, zeroed = bits & 0xFFFFFFFF, bits >> 32
            if allocated & zeroed or (allocated and not entry & OFFSET_MASK):
                yield Run(index * cluster_bytes, cluster_bytes, BROKEN)
                continue
            yield from subclusters(index * cluster_bytes, entry, bits, cluster_bytes // 32)


def subclusters(guest: int, entry: int, bits: int, step: int) -> Iterator[Run]:
    """The runs of one cluster of 32 subclusters of ``step`` bytes, by the word of ``bits`` after its entry."""
    kinds = [STORED if bits >> n & 1 else ZEROED if bits >> n + 32 & 1 else UNALLOCATED for n in range(32)]
    position = 0
    for kind, group in groupby(kinds):
        count = len(list(group))
        yield Run(guest + position * step, count * step, kind, (entry & OFFSET_MASK) + position * step, entry)
        position += count


def has_reserved_bits(entry: int, *, zero_bit_allowed: bool) -> bool:
    """Whether an L2 entry that is not compressed has bits set which mean nothing."""
    return bool(entry & _RESERVED or (entry & ZERO_BIT and not zero_bit_allowed))


def unpack_entries(raw: bytes) -> array[int]:
    """Table entries as numbers."""
    return unpack_words(raw, "Q", BIG)


def pack_entries(entries: array[int]) -> bytes:
    """Numbers of any width as the bytes of a table."""
    return pack_words(entries, BIG)
