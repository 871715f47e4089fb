# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the table of an image (findings ``entry_*``), and where its clusters would have to go.

A sound table is judged by whole arrays. Only a damaged one is taken run by run, and its faults are runs as well.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..._core.findings import LOSSY, NO, Finding, found
from ..._core.records import dataclass
from ..._core.units import ceil_div
from ..._formats.hds.bat import Run, RunTable
from ..._formats.hds.bat_check import is_sound
from ..._formats.hds.header import ENTRY_BYTES, HEADER_BYTES, HdsHeader
from ..._io.port import File

Ranges = Sequence[Tuple[int, int]]
_SHOWN = 5
_PIECE = 256 << 10
_MOST_SURPLUS_PIECES = 64

_TEXTS = {
    "entry_low": "The table points before the data area for {}. A repair keeps what is after the table and forgets the "
    "other entries.",
    "entry_out_of_file": "The table points past the end of the file for {}. Their data are lost; a repair forgets the "
    "entries.",
    "entry_cut": "The file ends within {}. A repair keeps what is there; the rest becomes zeros.",
    "entry_off_grid": "The table points between two slots for {}. A repair gives each a slot of its own with what is "
    "read there now.",
    "entry_duplicate": "Another guest cluster has the same slot in the file as {}. A repair gives each a copy; one of "
    "two had its data overwritten.",
}


class Affected(NamedTuple):
    """How many entries are wrong in one way, and the guest clusters of the first of them."""

    number: int
    clusters: Tuple[int, ...]

    def __str__(self) -> str:
        more = ", ..." if self.number > len(self.clusters) else ""
        noun = "guest cluster" if self.number == 1 else f"{self.number} guest clusters:"
        return f"{noun} {', '.join(map(str, self.clusters))}{more}"


@dataclass(frozen=True)
class Faults:
    """``dropped`` entries point to nothing that could be kept; ``copied`` clusters need a slot, ``kept`` ones have it.

    ``stretched`` is the length that the file needs so that a cluster at its end is whole, ``used_end`` the end of all
    that is in use, ``affected`` what is wrong, by the code of its finding.
    """

    dropped: Tuple[Run, ...]
    copied: Tuple[Run, ...]
    stretched: int
    used_end: int
    kept: int
    affected: Mapping[str, Affected]

    @property
    def loses(self) -> bool:
        """Whether the guest will not see all that it should."""
        return bool(self.dropped) or bool(self.stretched)


def find_faults(table: RunTable, header: HdsHeader, *, file_size: int) -> Optional[Faults]:
    """The faults of a table, or None when every cluster is in the file, on the grid and only once."""
    if is_sound(table, header, file_size=file_size):
        return None
    faults = _Sorter(header, file_size).faults(table)
    return faults if faults.affected else None


def table_findings(faults: Optional[Faults], path: str) -> List[Finding]:
    """A finding for each way in which entries are wrong."""
    affected = faults.affected if faults is not None else {}
    return [found(code, path, _TEXTS[code].format(which)) for code, which in affected.items()]


def read_surplus(file: File, header: HdsHeader, *, file_size: int) -> Tuple[Tuple[int, int], ...]:
    """Byte ranges of the table after its used part that hold something."""
    first = HEADER_BYTES + ENTRY_BYTES * header.used_entries
    pieces: List[Tuple[int, int]] = []
    buffer = bytearray(_PIECE)
    for start, end in file.data_ranges(first, min(header.table_end, file_size)):
        for offset in range(start, end, _PIECE):
            got = file.pread_into(offset, memoryview(buffer)[: min(_PIECE, end - offset)])
            if buffer.count(0, 0, got) < got and len(pieces) < _MOST_SURPLUS_PIECES:
                pieces.append((offset, offset + got))
    return tuple(pieces)


def surplus_findings(surplus: Ranges, path: str) -> List[Finding]:
    """What is wrong with a table that holds ``surplus``."""
    # They may be live, and the size wrong.
    degree = LOSSY if len(surplus) < _MOST_SURPLUS_PIECES else NO
    text = "The table has entries past the end of the disk, which nobody reads."
    return [found("entry_surplus", path, text, repairable=degree)] if surplus else []


class _Sorter:
    """Takes the runs of one table apart: what goes, what must move, what stays."""

    def __init__(self, header: HdsHeader, file_size: int) -> None:
        self._header = header
        self._file_size = file_size
        self._dropped: List[Run] = []
        self._copied: List[Run] = []
        self._kept: List[Tuple[int, int, int]] = []
        self._stretched = 0
        self._numbers: Dict[str, int] = {}
        self._clusters: Dict[str, List[int]] = {}

    def _take_all(self, table: RunTable) -> None:
        """Sort all runs. Most are right, and these cost little."""
        start, end, step, unit = self._header.data_start, self._file_size, table.cluster_bytes, table.entry_bytes
        keep = self._kept.append
        for cluster, count, entry in zip(table.first_clusters, table.counts, table.entries):
            offset = entry * unit
            if offset >= start and offset + count * step <= end and not (offset - start) % step:
                keep((offset, cluster, count))
            else:
                self._take(Run(cluster, count, offset))

    def _take(self, run: Run) -> None:
        header, step = self._header, self._header.cluster_bytes
        in_header, run = _split(run, ceil_div(header.table_end - run.offset, step), step)
        self._drop(in_header, "entry_low")
        run, outside = _split(run, ceil_div(self._file_size - run.offset, step), step)
        self._drop(outside, "entry_out_of_file")
        if not run.count:
            return
        self._look_for_a_cut(run)
        low, run = _split(run, ceil_div(header.data_start - run.offset, step), step)
        self._copy(low, "entry_low")
        if (run.offset - header.data_start) % step:
            self._copy(run, "entry_off_grid")
        elif run.count:
            self._kept.append((run.offset, run.cluster, run.count))

    def _look_for_a_cut(self, run: Run) -> None:
        step = self._header.cluster_bytes
        visible = min(run.count * step, self._header.size_bytes - run.cluster * step)
        if run.offset + visible > self._file_size:
            self._note("entry_cut", run.cluster + run.count - 1, 1)
            self._stretched = max(self._stretched, run.offset + run.count * step)

    def _drop(self, run: Run, code: str) -> None:
        if run.count:
            self._dropped.append(run)
            self._note(code, run.cluster, run.count)

    def _copy(self, run: Run, code: str) -> None:
        if run.count:
            self._copied.append(run)
            self._note(code, run.cluster, run.count)

    def _note(self, code: str, cluster: int, count: int) -> None:
        self._numbers[code] = self._numbers.get(code, 0) + count
        shown = self._clusters.setdefault(code, [])
        shown += range(cluster, cluster + min(count, _SHOWN - len(shown)))

    def faults(self, table: RunTable) -> Faults:
        self._take_all(table)
        kept, end = self._part_twins()
        step = self._header.cluster_bytes
        for run in self._copied:
            end = max(end, min(run.offset + run.count * step, self._file_size))
        affected = {code: Affected(number, tuple(self._clusters[code])) for code, number in self._numbers.items()}
        return Faults(tuple(sorted(self._dropped)), tuple(sorted(self._copied)), self._stretched, end, kept, affected)

    def _part_twins(self) -> Tuple[int, int]:
        """Leave each slot to one cluster; returns how many clusters stay, and the end of the last one."""
        step, end, kept = self._header.cluster_bytes, self._header.data_start, 0
        self._kept.sort()
        for offset, cluster, count in self._kept:
            if offset < end:
                # Whatever reaches past this offset began before it, without a gap.
                twins, rest = _split(Run(cluster, count, offset), (end - offset) // step, step)
                self._copy(twins, "entry_duplicate")
                offset, count = rest.offset, rest.count
            kept += count
            end = max(end, offset + count * step)
        return kept, end


def _split(run: Run, count: int, step: int) -> Tuple[Run, Run]:
    """The first ``count`` clusters of a run, and the rest."""
    count = max(0, min(count, run.count))
    return Run(run.cluster, count, run.offset), Run(run.cluster + count, run.count - count, run.offset + count * step)


def meets(table: RunTable, ranges: Ranges) -> bool:
    """Whether an allocated cluster touches one of a few byte ranges of the file."""
    step = table.cluster_bytes
    return bool(ranges) and any(
        run.offset < end and start < run.offset + run.count * step for run in table.runs() for start, end in ranges
    )
