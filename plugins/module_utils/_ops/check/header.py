# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the header of an image must be understood, when its fields contradict each other or what the descriptor says.

A field is corrected only where the others leave one value: guest size, table length and cluster size bind each other,
and the descriptor gives two of them once more. The start of the data area follows from the table.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from collections import Counter
from itertools import repeat
from operator import mod
from typing import Iterator, List, Optional, Tuple

from ..._core.findings import LOSSY, NO, SAFE, Finding, found
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR, ceil_div, round_up
from ..._formats.hds.bat import RunTable
from ..._formats.hds.header import DISK_TYPE, ENTRY_BYTES, HEADER_BYTES, HdsHeader

_MOST_CLUSTER_SECTORS = (1 << 31) // SECTOR - 1
_MOST_SECTORS = (1 << 63) // SECTOR - 1


@dataclass(frozen=True)
class Place:
    """What the descriptor says of an image: how many sectors of the disk it may hold, and its cluster size.

    A single file has neither.
    """

    length_sectors: Optional[int] = None
    cluster_sectors: Optional[int] = None


@dataclass(frozen=True)
class Understood:
    """The header as it must be read; None when that cannot be told."""

    header: Optional[HdsHeader]
    findings: Tuple[Finding, ...]


def understand(disk_type: int, header: HdsHeader, place: Place, *, path: str, file_size: int) -> Understood:
    """Judge all fields but the start of the data area and the extension."""
    findings: List[Finding] = []
    sound = _with_cluster(header, place, path, findings)
    sound = _with_sizes(sound, place, path, file_size, findings) if sound is not None else None
    if disk_type != DISK_TYPE:
        is_sure = sound is not None and sound.bat_entries == sound.used_entries
        findings.append(
            found(
                "header_type",
                path,
                f"The header gives the kind of disk {disk_type}; {DISK_TYPE} is the only one.",
                repairable=SAFE if is_sure else NO,
            )
        )
        sound = sound if is_sure else None
    if any(one.repairable == NO for one in findings):
        sound = None
    return Understood(sound, tuple(findings))


def _fits(size: int, cluster: int, entries: int) -> bool:
    return 0 < size <= _MOST_SECTORS and 0 < cluster <= _MOST_CLUSTER_SECTORS and ceil_div(size, cluster) == entries


def _with_cluster(header: HdsHeader, place: Place, path: str, findings: List[Finding]) -> Optional[HdsHeader]:
    told, size, entries = place.cluster_sectors, header.size_sectors, header.bat_entries
    if _fits(size, header.cluster_sectors, entries) or told is None or told == header.cluster_sectors:
        if 0 < header.cluster_sectors <= _MOST_CLUSTER_SECTORS:
            return header
        message = f"The header gives clusters of {header.cluster_sectors} sectors, which is impossible."
        findings.append(found("header_cluster_size", path, message, repairable=NO))
        return None
    if _fits(size, told, entries):
        message = (
            f"The header gives clusters of {header.cluster_sectors} sectors; size, table and descriptor say {told}."
        )
        findings.append(found("header_cluster_size", path, message))
        return replace(header, cluster_sectors=told)
    if 0 < header.cluster_sectors <= _MOST_CLUSTER_SECTORS:
        return header
    findings.append(
        found(
            "header_cluster_size",
            path,
            f"The header gives clusters of {header.cluster_sectors} sectors, which is impossible.",
            repairable=NO,
        )
    )
    return None


def _with_sizes(
    header: HdsHeader, place: Place, path: str, file_size: int, findings: List[Finding]
) -> Optional[HdsHeader]:
    size, cluster, entries, length = (
        header.size_sectors,
        header.cluster_sectors,
        header.bat_entries,
        place.length_sectors,
    )
    if _fits(size, cluster, entries) and header.table_end <= file_size:
        return header
    if length is not None and size != length and _fits(length, cluster, entries) and header.table_end <= file_size:
        findings.append(
            found(
                "header_size",
                path,
                f"The header gives a guest size of {size} sectors; the table and the descriptor say {length}.",
            )
        )
        return replace(header, size_sectors=length)
    if not 0 < size <= _MOST_SECTORS:
        findings.append(
            found(
                "header_size",
                path,
                f"The header gives a guest size of {size} sectors, which is impossible.",
                repairable=NO,
            )
        )
        return None
    return _with_table_length(header, path, file_size, findings, is_sure=length is None or length == size)


def _with_table_length(
    header: HdsHeader, path: str, file_size: int, findings: List[Finding], *, is_sure: bool
) -> Optional[HdsHeader]:
    """A longer table than needed is harmless as long as there is room for it."""
    needed = header.used_entries
    right = replace(header, bat_entries=needed)
    start = header.data_off * SECTOR
    if header.bat_entries > needed and header.table_end <= min(file_size, start or file_size):
        return header
    has_room = (
        right.table_end <= min(file_size, start)
        if start
        else header.bat_entries > needed and right.table_end <= file_size
    )
    if has_room and is_sure:
        message = f"The header gives a table of {header.bat_entries} entries; the guest size needs {needed}, and there is room for them."
        findings.append(found("header_table_length", path, message))
        return right
    if right.table_end > file_size:
        message = f"The file of {file_size} bytes ends within its table, which needs {right.table_end}. Restore it from a copy."
        findings.append(found("image_truncated", path, message))
        return None
    message = f"The header gives a table of {header.bat_entries} entries, the guest size needs {needed}. Which is right cannot be told; restore the image."
    findings.append(found("header_table_length", path, message, repairable=NO))
    return None


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
        residues = Counter(map(mod, table.entries, repeat(header.entry_step)))
        misfits += len(table) - residues[residue]
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
        for residue, _number in Counter(map(mod, table.entries, repeat(step))).most_common(3):
            yield sectors + (residue - sectors) % step
    elif header.version == 2 and len(table) and min(table.entries) * header.cluster_bytes >= header.table_end:
        yield min(table.entries) * header.cluster_sectors
