# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with the table of an image, and where its clusters would have to go.

A sound table costs one look by whole arrays. Only a hurt one is taken run by run, and what is wrong is kept in runs,
too.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..._core.records import dataclass
from ..._core.units import ceil_div
from ..._formats.hds.bat import Run, RunTable
from ..._formats.hds.bat_check import is_sound
from ..._formats.hds.header import HdsHeader

Ranges = Sequence[Tuple[int, int]]
_SHOWN = 5


class Seen(NamedTuple):
    """How many entries are wrong in one way, and the guest clusters of the first of them."""

    number: int
    clusters: Tuple[int, ...]

    def __str__(self) -> str:
        more = ", ..." if self.number > len(self.clusters) else ""
        noun = "guest cluster" if self.number == 1 else f"{self.number} guest clusters:"
        return f"{noun} {', '.join(map(str, self.clusters))}{more}"


@dataclass(frozen=True)
class Faults:
    """``dropped`` entries lead to nothing that could be kept.

    ``copied`` clusters must get a place of their own, ``kept`` is how many have one.

    ``stretched`` is the length that the file needs so that a cluster at its end is whole. ``used_end`` lies behind all
    that is in use.
    """

    dropped: Tuple[Run, ...]
    copied: Tuple[Run, ...]
    stretched: int
    used_end: int
    kept: int
    seen: Mapping[str, Seen]

    @property
    def loses(self) -> bool:
        """Whether the guest will not see all that it should."""
        return bool(self.dropped) or bool(self.stretched)


def find_faults(table: RunTable, header: HdsHeader, *, file_size: int) -> Optional[Faults]:
    """The faults of a table, or None when every cluster lies in the file, on the grid and only once."""
    if is_sound(table, header, file_size=file_size):
        return None
    sorter = _Sorter(header, file_size)
    sorter.take_all(table)
    faults = sorter.faults()
    return faults if faults.seen else None


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

    def take_all(self, table: RunTable) -> None:
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
        seen = min(run.count * step, self._header.size_bytes - run.cluster * step)
        if run.offset + seen > self._file_size:
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

    def faults(self) -> Faults:
        step = self._header.cluster_bytes
        end = self._header.data_start
        kept = 0
        self._kept.sort()
        for offset, cluster, count in self._kept:
            if offset < end:
                # Whatever reaches behind this place began before it, without a gap.
                twins, rest = _split(Run(cluster, count, offset), (end - offset) // step, step)
                self._copy(twins, "entry_duplicate")
                offset, count = rest.offset, rest.count
            kept += count
            end = max(end, offset + count * step)
        for run in self._copied:
            end = max(end, min(run.offset + run.count * step, self._file_size))
        seen = {code: Seen(number, tuple(self._clusters[code])) for code, number in self._numbers.items()}
        return Faults(tuple(sorted(self._dropped)), tuple(sorted(self._copied)), self._stretched, end, kept, seen)


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
