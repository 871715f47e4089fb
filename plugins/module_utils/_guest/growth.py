# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A partition that becomes larger, in any partition table: what is copied and what is written, in order.

The copies and ``before`` are in places that no partition has, so nobody sees them; ``commit`` is one sector, which
names the new places; ``after`` only repeats what it says.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .._core.errors import Damaged, Unsupported
from .._core.records import dataclass
from .._formats.image import GuestView
from .arrangement import Arrangement, Part, arrange
from .gpt import SECTOR_SIZES, Gpt, Write, has_signature, move_backup, read_gpt
from .mbr import EXTENDED, Mbr, MbrEntry, read_mbr, with_place

_MBR_SECTORS = 1 << 32
_PROTECTIVE = 0xEE
_FIX = "Set partition_table: fix or keep, and grow the partition in the guest."


@dataclass(frozen=True)
class Layout:
    """The partitions of a disk, in bytes; one of ``gpt`` and ``mbr`` is there. ``limit`` is the end of what is free."""

    parts: Tuple[Part, ...]
    limit: int
    sector: int
    gpt: Optional[Gpt] = None
    mbr: Optional[Mbr] = None

    @property
    def scheme(self) -> str:
        """Its name in results."""
        return "gpt" if self.gpt is not None else "mbr"

    def device(self, part: Part) -> str:
        """The name that Linux gives the partition wherever the disk hangs."""
        known = part.guid or f"{self.mbr.signature if self.mbr is not None else 0:08x}-{part.number:02x}"
        return f"/dev/disk/by-partuuid/{known}"


class Growth(NamedTuple):
    """``copies`` are start, end and new start in bytes of the guest disk; ``moved`` the parts with their new starts.

    What comes ``first`` is true on its own before the rest begins, which may use the old places of what it moves.
    """

    end: int
    moved: Tuple[Tuple[Part, int], ...]
    copies: Tuple[Tuple[int, int, int], ...]
    before: Tuple[Write, ...]
    commit: Write
    after: Tuple[Write, ...] = ()
    first: Optional[Growth] = None

    @property
    def all_moved(self) -> Tuple[Tuple[Part, int], ...]:
        """All parts that move, with their new starts."""
        return (self.first.moved if self.first is not None else ()) + self.moved


def read_layout(disk: GuestView, size: int, *, sector: int) -> Optional[Layout]:
    """The partitions of a disk that has or gets ``size`` bytes; None for a disk without a table.

    Raises Damaged for a table that is not sound, Unsupported for one that cannot be changed here.
    """
    gpt = read_gpt(disk)
    if gpt is not None:
        return _checked(Layout(_gpt_parts(gpt), gpt.end_of_partitions(size), gpt.sector, gpt))
    if has_signature(disk):
        text, hint = "The GUID partition table is damaged", "Repair it in the guest, for example with gdisk, first."
        raise Damaged(f"partition_table: {text}", hint=hint)
    _refuse_apm(disk)
    if sector not in SECTOR_SIZES:
        raise Unsupported(f"partition_table: sectors of {sector} bytes are not known", found=sector, hint=_FIX)
    mbr = read_mbr(disk, sector) if disk.size >= 2 * sector else None
    if mbr is None:
        return None
    if any(entry.kind == _PROTECTIVE for entry in mbr.entries):
        text = "partition_table: the boot record protects a GUID partition table that is not there"
        raise Damaged(text, hint="Restore the table in the guest, for example with gdisk, first.")
    limit = min(size, _MBR_SECTORS * sector)
    return _checked(Layout(_mbr_parts(mbr), limit, sector, mbr=mbr))


def _refuse_apm(disk: GuestView) -> None:
    start = bytearray(min(disk.size, 1024))
    disk.pread_into(0, start)
    if start[:2] == b"ER" or start[512:514] == b"PM":
        text = "partition_table: an Apple Partition Map is not changed"
        raise Unsupported(text, found="APM", hint=_FIX)


def _checked(layout: Layout) -> Layout:
    ordered = sorted((part for part in layout.parts if part.inner is None), key=lambda one: one.start)
    for one, other in zip(ordered, ordered[1:]):
        if one.end > other.start:
            text = f"partition_table: {one.label} and {other.label} overlap"
            raise Damaged(text, hint="Repair the table in the guest first.")
    if any(part.end <= part.start for part in ordered):
        raise Damaged("partition_table: a partition ends before it begins", hint="Repair the table in the guest first.")
    return layout


def _gpt_parts(gpt: Gpt) -> Tuple[Part, ...]:
    found = []
    for number, at in enumerate(range(0, len(gpt.entries), gpt.width), 1):
        raw = gpt.entries[at : at + gpt.width]
        if any(raw[:16]):
            first, last = struct.unpack_from("<QQ", raw, 32)
            name = raw[56:128].decode("utf-16-le", "replace").split("\0", 1)[0]
            start = first * gpt.sector
            found.append(Part(number, _guid(raw), _guid(raw[16:]), name, start, (last + 1) * gpt.sector, start))
    return tuple(found)


def _guid(raw: bytes) -> str:
    first, second, third = struct.unpack_from("<IHH", raw)
    return f"{first:08x}-{second:04x}-{third:04x}-{raw[8:10].hex()}-{raw[10:16].hex()}"


def _mbr_parts(mbr: Mbr) -> Tuple[Part, ...]:
    inner = tuple(f"0x{entry.kind:02x}" for entry in mbr.entries if entry.record)
    return tuple(_mbr_part(entry, mbr.sector, inner) for entry in mbr.entries)


def _mbr_part(entry: MbrEntry, sector: int, inner: Tuple[str, ...]) -> Part:
    block = (entry.record or entry.start) * sector
    start, end = entry.start * sector, entry.end * sector
    within = inner if entry.kind in EXTENDED and not entry.record else None
    return Part(entry.number, f"0x{entry.kind:02x}", None, None, start, end, block, entry.active, within)


def candidates(layout: Layout) -> Tuple[Part, ...]:
    """The partitions that may be meant: all but an extended one."""
    return tuple(part for part in layout.parts if part.inner is None)


def grow_partition(layout: Layout, target: Part, size: int, *, extends: bool = True) -> Optional[Growth]:
    """How ``target`` gets what is free; None when that is nothing.

    Unless it ``extends``, its own place stays, and only what is behind it makes room.
    """
    if layout.gpt is not None:
        return _grow_in_gpt(layout, layout.gpt, target, size, extends)
    mbr = layout.mbr
    if mbr is None:
        return None
    entry = next(one for one in mbr.entries if one.number == target.number)
    if entry.record:
        return _grow_logical(layout, mbr, entry, size, extends)
    primary = [part for part in layout.parts if part.number <= 4]
    found = arrange(primary, target, layout.limit, size=size)
    if not _is_gain(found, target, extends):
        return None
    end = found.end if extends else target.end
    record = _primary_record(mbr, [(target, target.start, end), *_places(found)])
    return Growth(end, found.moved, _copies(found.moved), (), (0, record))


def _is_gain(found: Arrangement, target: Part, extends: bool) -> bool:
    return found.end > target.end and (extends or bool(found.moved))


def _places(found: Arrangement) -> List[Tuple[Part, int, int]]:
    return [(part, place, place + part.end - part.start) for part, place in found.moved]


def _copies(moved: Sequence[Tuple[Part, int]]) -> Tuple[Tuple[int, int, int], ...]:
    return tuple((part.block, part.end, place - part.start + part.block) for part, place in moved)


def _grow_in_gpt(layout: Layout, gpt: Gpt, target: Part, size: int, extends: bool) -> Optional[Growth]:
    found = arrange(layout.parts, target, layout.limit, size=size)
    if not _is_gain(found, target, extends):
        return None
    end = found.end if extends else target.end
    _refuse_hybrid(gpt, [target, *(part for part, _place in found.moved)] if extends else list(dict(found.moved)))
    entries = bytearray(gpt.entries)
    for part, start, behind in [(target, target.start, end), *_places(found)]:
        at = (part.number - 1) * gpt.width
        struct.pack_into("<QQ", entries, at + 32, start // gpt.sector, behind // gpt.sector - 1)
    move = move_backup(gpt, size, bytes(entries))
    if move is None:
        raise Damaged("partition_table: a partition reaches into the end of the disk", hint=_FIX)
    return Growth(end, found.moved, _copies(found.moved), move.before, move.commit, move.after)


def _refuse_hybrid(gpt: Gpt, changed: Sequence[Part]) -> None:
    """The boot record and the header cannot change at once; entries of parts that stay may stay, too."""
    for at in range(446, 510, 16) if gpt.is_hybrid else ():
        kind, (start, count) = gpt.boot_record[at + 4], struct.unpack_from("<II", gpt.boot_record, at + 8)
        if kind in (0, _PROTECTIVE):
            continue
        first, end = start * gpt.sector, (start + count) * gpt.sector
        for part in changed:
            if first < part.end and part.start < end:
                text = f"partition_table: the boot record is a hybrid and names {part.label}, too"
                hint = "Make the boot record a protective one with gdisk in the guest first, and a hybrid again after."
                raise Unsupported(text, found="hybrid", hint=hint)


def _primary_record(mbr: Mbr, places: Sequence[Tuple[Part, int, int]]) -> bytes:
    raw = mbr.records[0]
    for part, start, end in places:
        raw = with_place(raw, part.number - 1, start=start // mbr.sector, count=(end - start) // mbr.sector)
    return raw


def _grow_logical(layout: Layout, mbr: Mbr, entry: MbrEntry, size: int, extends: bool) -> Optional[Growth]:
    """The extended partition becomes larger first, which changes nothing for those in it."""
    primary = [part for part in layout.parts if part.number <= 4]
    logical = [part for part in layout.parts if part.number > 4]
    outer = next(part for part in primary if part.inner is not None)
    target = next(part for part in logical if part.number == entry.number)
    around = arrange(primary, outer, layout.limit, size=size)
    found = arrange(logical, target, around.end, size=size)
    if not _is_gain(found, target, extends):
        return None
    end = found.end if extends else target.end
    sector, base = mbr.sector, outer.start // mbr.sector
    opening = (0, _primary_record(mbr, [(outer, outer.start, around.end), *_places(around)]))
    first = Growth(around.end, around.moved, _copies(around.moved), (), opening)
    before: List[Write] = []
    if entry.link is not None:
        count = end // sector - entry.record
        raw = _linked(mbr.records[entry.link], base, entry.record, count)
        before.append((entry.link * sector, raw))
    before += _moved_records(mbr, found.moved, base)
    own = with_place(
        mbr.records[entry.record], 0, start=entry.start, count=end // sector - entry.start, base=entry.record
    )
    for part, place in found.moved[:1]:
        own = _linked(own, base, (place - part.start + part.block) // sector, (part.end - part.block) // sector)
    return Growth(end, found.moved, _copies(found.moved), tuple(before), (entry.record * sector, own), first=first)


def _linked(raw: bytes, base: int, record: int, count: int) -> bytes:
    """A record that names the next one at sector ``record``, which with its partition takes ``count`` sectors."""
    return with_place(raw, 1, start=record, count=count, base=base)


def _moved_records(mbr: Mbr, moved: Sequence[Tuple[Part, int]], base: int) -> List[Write]:
    """The records of logical partitions at their new places, where they name the new places of those behind."""
    found = []
    following: Optional[Tuple[int, int]] = None
    for part, place in reversed(moved):
        record = (place - part.start + part.block) // mbr.sector
        raw = mbr.records[part.block // mbr.sector]
        if following is not None:
            raw = _linked(raw, base, *following)
        found.append((record * mbr.sector, raw))
        following = (record, (part.end - part.block) // mbr.sector)
    return found
