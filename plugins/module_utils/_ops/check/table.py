# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the table of an image (findings ``entry_*``), and where its clusters would have to go.

A sound table is judged by whole arrays. Only a damaged one is taken run by run, and its faults are runs as well.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..._core.findings import LOSSY, NO, Finding, found
from ..._core.records import dataclass
from ..._core.units import ceil_div
from ..._formats.hds.bat import Run, RunTable
from ..._formats.hds.bat_check import is_sound
from ..._formats.hds.bat_order import in_file_order
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


@dataclass(frozen=True, eq=False)
class Faults:
    """What is wrong with a ``table``: a slot is left to one cluster, so of each run the first so many as ``twins`` says
    of those that could stay need another one; None when there are none.

    ``stretched`` is the length that the file needs so that a cluster at its end is whole, ``used_end`` the end of all
    that is in use, ``kept`` how many clusters have their slot, ``affected`` what is wrong, by the code of its finding.
    """

    table: RunTable
    header: HdsHeader
    file_size: int
    twins: Optional[array[int]]
    drops: bool
    copies: int
    stretched: int
    used_end: int
    kept: int
    affected: Mapping[str, Affected]

    @property
    def loses(self) -> bool:
        """Whether the guest will not see all that it should."""
        return self.drops or bool(self.stretched)

    def dropped(self) -> Iterator[Run]:
        """Clusters whose entries point to nothing that could be kept."""
        for run in self.table.runs():
            parts = _apart(run, self.header, self.file_size)
            yield from (part for part in (parts.in_header, parts.outside) if part.count)

    def copied(self) -> Iterator[Run]:
        """Clusters that need a slot of their own."""
        return (run for run, needs_slot in self._readable() if needs_slot)

    def readable(self) -> Iterator[Run]:
        """Clusters that can be read, where they are now."""
        return (run for run, _needs_slot in self._readable())

    def parted(self, slot: int) -> Iterator[Run]:
        """The same when those that need a slot have one: these follow one another from byte ``slot`` on."""
        for run, needs_slot in self._readable():
            yield Run(run.cluster, run.count, slot) if needs_slot else run
            slot += run.count * self.header.cluster_bytes if needs_slot else 0

    def _readable(self) -> Iterator[Tuple[Run, bool]]:
        """Clusters that can be read, in guest order, and whether they need a slot of their own."""
        step = self.header.cluster_bytes
        for index, run in enumerate(self.table.runs()):
            parts = _apart(run, self.header, self.file_size)
            twins, rest = _split(parts.kept, self.twins[index] if self.twins is not None else 0, step)
            for part, needs_slot in ((parts.low, True), (parts.off_grid, True), (twins, True), (rest, False)):
                if part.count:
                    yield part, needs_slot


def find_faults(table: RunTable, header: HdsHeader, *, file_size: int) -> Optional[Faults]:
    """The faults of a table, or None when every cluster is in the file, on the grid and only once."""
    if is_sound(table, header, file_size=file_size):
        return None
    faults = _Sorter(table, header, file_size).faults()
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


class _Parts(NamedTuple):
    """One run taken apart, by what its clusters are good for."""

    in_header: Run
    low: Run
    off_grid: Run
    kept: Run
    outside: Run
    is_cut: bool = False


def _apart(run: Run, header: HdsHeader, file_size: int) -> _Parts:
    if run.count == 1:
        return _one_apart(run, header, file_size)
    step = header.cluster_bytes
    in_header, run = _split(run, ceil_div(header.table_end - run.offset, step), step)
    run, outside = _split(run, ceil_div(file_size - run.offset, step), step)
    visible = min(run.count * step, header.size_bytes - run.cluster * step)
    is_cut = bool(run.count) and run.offset + visible > file_size
    low, run = _split(run, ceil_div(header.data_start - run.offset, step), step)
    kept, off_grid = _split(run, 0 if (run.offset - header.data_start) % step else run.count, step)
    return _Parts(in_header, low, off_grid, kept, outside, is_cut)


def _one_apart(run: Run, header: HdsHeader, file_size: int) -> _Parts:
    """The same for one cluster, as a table of strays has millions of them."""
    cluster, _count, offset = run
    none, step = Run(cluster, 0, offset), header.cluster_bytes
    if offset < header.table_end:
        return _Parts(run, none, none, none, none)
    if offset >= file_size:
        return _Parts(none, none, none, none, run)
    is_cut = offset + min(step, header.size_bytes - cluster * step) > file_size
    rest = Run(cluster + 1, 0, offset + step)
    if offset < header.data_start:
        return _Parts(none, run, none, none, rest, is_cut)
    if (offset - header.data_start) % step:
        return _Parts(none, none, run, none, rest, is_cut)
    return _Parts(none, none, none, run, rest, is_cut)


class _Sorter:
    """Takes the runs of one table apart: what goes, what must move, what stays."""

    def __init__(self, table: RunTable, header: HdsHeader, file_size: int) -> None:
        self._table = table
        self._header = header
        self._file_size = file_size
        self._copies_end = header.data_start
        self._copies = 0
        self._drops = False
        self._stretched = 0
        self._numbers: Dict[str, int] = {}
        self._clusters: Dict[str, List[int]] = {}

    def _is_good(self, entry: int, count: int) -> bool:
        """Whether all clusters of a run could stay. Most are right, and these cost little."""
        header = self._header
        offset = entry * header.entry_bytes
        start, end = header.data_start, self._file_size
        return (
            offset >= start
            and offset + count * header.cluster_bytes <= end
            and not ((offset - start) % header.cluster_bytes)
        )

    def _take_all(self) -> None:
        """Note what is wrong with each run on its own, in guest order."""
        table, unit = self._table, self._header.entry_bytes
        for cluster, count, entry in zip(table.first_clusters, table.counts, table.entries):
            if not self._is_good(entry, count):
                self._take(Run(cluster, count, entry * unit))

    def _take(self, run: Run) -> None:
        parts = _apart(run, self._header, self._file_size)
        self._drops = self._drops or bool(parts.in_header.count or parts.outside.count)
        self._note("entry_low", parts.in_header)
        self._note("entry_out_of_file", parts.outside)
        if parts.is_cut:
            self._note("entry_cut", Run(parts.outside.cluster - 1, 1, 0))
            self._stretched = max(self._stretched, parts.outside.offset)
        self._copy(parts.low, "entry_low")
        self._copy(parts.off_grid, "entry_off_grid")

    def _copy(self, run: Run, code: str) -> None:
        if run.count:
            self._copies += run.count
            end = min(run.offset + run.count * self._header.cluster_bytes, self._file_size)
            self._copies_end = max(self._copies_end, end)
            self._note(code, run)

    def _note(self, code: str, run: Run) -> None:
        if run.count:
            self._numbers[code] = self._numbers.get(code, 0) + run.count
            shown = self._clusters.setdefault(code, [])
            shown += range(run.cluster, run.cluster + min(run.count, _SHOWN - len(shown)))

    def faults(self) -> Faults:
        self._take_all()
        twins, kept, end = self._part_twins()
        affected = {code: Affected(number, tuple(self._clusters[code])) for code, number in self._numbers.items()}
        return Faults(
            self._table,
            self._header,
            self._file_size,
            twins,
            self._drops,
            self._copies,
            self._stretched,
            max(end, self._copies_end),
            kept,
            affected,
        )

    def _part_twins(self) -> Tuple[Optional[array[int]], int, int]:
        """Leave each slot to one cluster; returns how many of each run must move, how many clusters stay, and the end
        of the last one.
        """
        table, header = self._table, self._header
        step, unit, end, kept = header.cluster_bytes, header.entry_bytes, header.data_start, 0
        twins: Optional[array[int]] = None
        for index in in_file_order(table, ceil_div(header.data_start, unit)):
            run = Run(table.first_clusters[index], table.counts[index], table.entries[index] * unit)
            if run.count == 1 and not header.data_start <= run.offset < self._file_size:
                continue
            if not self._is_good(table.entries[index], run.count):
                run = _apart(run, header, self._file_size).kept
                if not run.count:
                    continue
            if run.offset < end:
                # Whatever reaches past this offset began before it, without a gap.
                both, run = _split(run, (end - run.offset) // step, step)
                self._copy(both, "entry_duplicate")
                twins = twins if twins is not None else array("I", bytes(4 * len(table)))
                twins[index] = both.count
            kept += run.count
            end = max(end, run.offset + run.count * step)
        return twins, kept, end


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
