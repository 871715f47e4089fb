# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the header of an image (findings ``header_*``): how to read one that contradicts itself or the descriptor.

A field is corrected only where the others leave one value: guest size, table length and cluster size bind each other,
and the descriptor gives two of them once more. The start of the data area follows from the table.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from collections import Counter
from itertools import repeat
from operator import mod, ne
from typing import Iterator, List, Optional, Tuple

from ..._core.findings import LOSSY, NO, SAFE, Finding, found
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR, ceil_div, round_up
from ..._formats.hds.bat import RunTable
from ..._formats.hds.header import DISK_TYPE, ENTRY_BYTES, HEADER_BYTES, HdsHeader
from .examination import Expected

_MOST_CLUSTER_SECTORS = (1 << 31) // SECTOR - 1
_MOST_COUNTED = 64 << 10
_MOST_SECTORS = (1 << 63) // SECTOR - 1


@dataclass(frozen=True)
class Understood:
    """The header as it must be read; None when that is not known."""

    header: Optional[HdsHeader]
    findings: Tuple[Finding, ...]


def understand(disk_type: int, header: HdsHeader, expected: Expected, *, path: str, file_size: int) -> Understood:
    """Judge all fields but the start of the data area and the extension."""
    judged = _with_cluster(header, expected, path)
    findings = judged.findings
    if judged.header is not None:
        judged = _with_sizes(judged.header, expected, path, file_size)
        findings += judged.findings
    sound = judged.header
    if disk_type != DISK_TYPE:
        is_sure = sound is not None and sound.bat_entries == sound.used_entries
        text = f"The header gives the kind of disk {disk_type}; {DISK_TYPE} is the only one."
        findings += (found("header_type", path, text, repairable=SAFE if is_sure else NO),)
        sound = sound if is_sure else None
    if any(one.repairable == NO for one in findings):
        sound = None
    return Understood(sound, findings)


def _fits(size: int, cluster: int, entries: int) -> bool:
    return 0 < size <= _MOST_SECTORS and _is_cluster(cluster) and ceil_div(size, cluster) == entries


def _is_cluster(sectors: int) -> bool:
    return 0 < sectors <= _MOST_CLUSTER_SECTORS


def _with_cluster(header: HdsHeader, expected: Expected, path: str) -> Understood:
    given, wanted = header.cluster_sectors, expected.cluster_sectors
    size, entries = header.size_sectors, header.bat_entries
    if wanted is not None and not _fits(size, given, entries) and _fits(size, wanted, entries):
        text = f"The header gives clusters of {given} sectors; size, table and descriptor say {wanted}."
        return Understood(replace(header, cluster_sectors=wanted), (found("header_cluster_size", path, text),))
    if _is_cluster(given):
        return Understood(header, ())
    text = f"The header gives clusters of {given} sectors, which is impossible."
    return Understood(None, (found("header_cluster_size", path, text, repairable=NO),))


def _with_sizes(header: HdsHeader, expected: Expected, path: str, file_size: int) -> Understood:
    size, cluster, entries = header.size_sectors, header.cluster_sectors, header.bat_entries
    length, is_whole = expected.length_sectors, header.table_end <= file_size
    if _fits(size, cluster, entries) and is_whole:
        return Understood(header, ())
    if length is not None and size != length and _fits(length, cluster, entries) and is_whole:
        text = f"The header gives a guest size of {size} sectors; the table and the descriptor say {length}."
        return Understood(replace(header, size_sectors=length), (found("header_size", path, text),))
    if not 0 < size <= _MOST_SECTORS:
        text = f"The header gives a guest size of {size} sectors, which is impossible."
        return Understood(None, (found("header_size", path, text, repairable=NO),))
    return _with_table_length(header, path, file_size, is_sure=length is None or length == size)


def _with_table_length(header: HdsHeader, path: str, file_size: int, *, is_sure: bool) -> Understood:
    """A longer table than needed is harmless as long as there is room for it."""
    needed = header.used_entries
    right = replace(header, bat_entries=needed)
    start = header.data_off * SECTOR
    if header.bat_entries > needed and header.table_end <= min(file_size, start or file_size):
        return Understood(header, ())
    has_room = right.table_end <= min(file_size, start or file_size) and bool(start or header.bat_entries > needed)
    given = f"The header gives a table of {header.bat_entries} entries"
    if has_room and is_sure:
        text = f"{given}; the guest size needs {needed}, and there is room for them."
        return Understood(right, (found("header_table_length", path, text),))
    if right.table_end > file_size:
        text = f"The file of {file_size} bytes ends within its table, which needs {right.table_end}. "
        return Understood(None, (found("image_truncated", path, text + "Restore it from a copy."),))
    text = f"{given}, the guest size needs {needed}. Which is right is not known; restore the image."
    return Understood(None, (found("header_table_length", path, text, repairable=NO),))


def with_data_off(header: HdsHeader, table: RunTable, *, path: str, file_size: int) -> Tuple[HdsHeader, List[Finding]]:
    """The header with a start of the data area that its table allows. What the guest sees does not depend on it."""
    if _is_possible(header, file_size):
        misfits = _misfits(header, table)
        if not misfits:
            return header, []
    else:
        misfits = len(table) + 1
    choices = [replace(header, data_off=data_off) for data_off in _candidates(header, table)]
    # The first of equals: the end of the table, rounded up to a cluster, is what writers choose.
    best = min(choices, key=lambda choice: _misfits(choice, table))
    left = _misfits(best, table)
    if left >= misfits or (left and _is_possible(header, file_size)) or best.data_off == header.data_off:
        return header, []
    message = f"The header lets the data area start at sector {header.data_off}; the table needs {best.data_off}."
    return best, [found("header_data_off", path, message, repairable=LOSSY if left else SAFE)]


def _is_possible(header: HdsHeader, file_size: int) -> bool:
    if header.version == 2 and (not header.data_off or header.data_off % header.cluster_sectors):
        return False
    smallest = min(_candidates_of_empty(header))
    return header.data_start >= header.table_end and (
        header.data_start <= file_size or header.data_off <= max(smallest, header.cluster_sectors)
    )


def _misfits(header: HdsHeader, table: RunTable) -> int:
    """How many runs begin before the data area or off its grid."""
    if not len(table):
        return 0
    unit = header.entry_bytes
    first = ceil_div(header.data_start, unit)
    misfits = sum(1 for entry in table.entries if entry < first) if min(table.entries) < first else 0
    if header.version == 1:
        residue = header.data_start // unit % header.entry_step
        misfits += sum(map(ne, map(mod, table.entries, repeat(header.entry_step)), repeat(residue)))
    return misfits


def _candidates_of_empty(header: HdsHeader) -> List[int]:
    table_end = HEADER_BYTES + ENTRY_BYTES * header.bat_entries
    return [round_up(table_end, header.cluster_bytes) // SECTOR]


def _candidates(header: HdsHeader, table: RunTable) -> Iterator[int]:
    """Possible starts, the usual one first."""
    yield from _candidates_of_empty(header)
    if header.version == 1 and len(table):
        step = header.cluster_sectors
        sectors = ceil_div(header.table_end, SECTOR)
        # A table of strays has as many residues as entries; the first tell what it is about.
        for residue, _number in Counter(map(mod, table.entries[:_MOST_COUNTED], repeat(step))).most_common(3):
            yield sectors + (residue - sectors) % step
    elif header.version == 2 and len(table) and min(table.entries) * header.cluster_bytes >= header.table_end:
        yield min(table.entries) * header.cluster_sectors
