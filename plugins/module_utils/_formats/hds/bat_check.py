# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the table (BAT) of an expanding image can be: every cluster lies in the file, on the grid and only once."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from itertools import chain
from typing import NoReturn

from ..._core.errors import CHECK_HINT, Damaged
from .bat import Run, RunTable, long_runs
from .bat_order import in_file_order, is_on_grid, marked_slots
from .header import ENTRY_BYTES, HEADER_BYTES, HdsHeader

# Up to so many runs, hardly any of them longer than a cluster, are looked up in a set, of about 60 bytes each.
_COUNTED_RUNS = 64 << 10


class _DamagedTable(Damaged):
    usual_hint = CHECK_HINT


def check_table(table: RunTable, header: HdsHeader, *, path: str, file_size: int) -> None:
    """Raise Damaged, with the offset of the entry, unless every cluster lies in the file, on the grid and only once.

    Of the last guest cluster only the part that the guest sees must be in the file.
    """
    if not len(table):
        return
    if not _is_placed(table, header, file_size):
        for run in table.runs():
            _check_run(run, header, path, file_size)
    if not _is_disjoint(table, header):
        _refuse_shared(table, header, path)


def is_sound(table: RunTable, header: HdsHeader, *, file_size: int) -> bool:
    """Whether every cluster lies whole in the file, on the grid and only once."""
    return not len(table) or (_is_placed(table, header, file_size) and _is_disjoint(table, header))


def _is_placed(table: RunTable, header: HdsHeader, file_size: int) -> bool:
    if min(table.entries) * header.entry_bytes < header.data_start or table.data_end > file_size:
        return False
    return is_on_grid(table, header)


def _is_disjoint(table: RunTable, header: HdsHeader) -> bool:
    """Whether no cluster of the file belongs to two runs; all of them lie on the grid."""
    if len(table) <= _COUNTED_RUNS and table.clusters_used <= 2 * len(table):
        return _are_few_disjoint(table, header.entry_step)
    marks = marked_slots(table, header, table.data_end)
    if marks is not None:
        return marks.count(1) == table.clusters_used
    step = header.entry_step
    end = 0
    for index in in_file_order(table):
        if table.entries[index] < end:
            return False
        end = table.entries[index] + table.counts[index] * step
    return True


def _are_few_disjoint(table: RunTable, step: int) -> bool:
    """The same by the first clusters of the runs: of two runs that share clusters, one begins in the other."""
    firsts = set(table.entries)
    if len(firsts) < len(table):
        return False
    entries, counts = table.entries, table.counts
    followers = (range(entries[at] + step, entries[at] + counts[at] * step, step) for at in long_runs(counts))
    return firsts.isdisjoint(chain.from_iterable(followers))


def _entry_offset(cluster: int) -> int:
    return HEADER_BYTES + ENTRY_BYTES * cluster


def _check_run(run: Run, header: HdsHeader, path: str, file_size: int) -> None:
    if run.offset < header.data_start:
        raise _DamagedTable(
            "A cluster lies before the data area",
            path,
            _entry_offset(run.cluster),
            expected=f"at least {header.data_start}",
            found=run.offset,
        )
    if (run.offset - header.data_start) % header.cluster_bytes:
        raise _DamagedTable(
            "A cluster does not lie on the grid of clusters",
            path,
            _entry_offset(run.cluster),
            expected=f"steps of {header.cluster_bytes}",
            found=run.offset,
        )
    seen = min(run.count * header.cluster_bytes, header.size_bytes - run.cluster * header.cluster_bytes)
    if run.offset + seen > file_size:
        inside = max(0, file_size - run.offset) // header.cluster_bytes
        found = run.offset + inside * header.cluster_bytes
        raise _DamagedTable(
            "A cluster lies beyond the end of the file",
            path,
            _entry_offset(run.cluster + inside),
            expected=f"below {file_size}",
            found=found,
        )


def _refuse_shared(table: RunTable, header: HdsHeader, path: str) -> NoReturn:
    order, step = in_file_order(table), header.entry_step
    lower = upper = order[0]
    for upper in order[1:]:
        if table.entries[upper] < table.entries[lower] + table.counts[lower] * step:
            break
        lower = upper
    here = table.first_clusters[upper]
    twin = table.first_clusters[lower] + (table.entries[upper] - table.entries[lower]) // step
    one, other = sorted((here, twin))
    raise _DamagedTable(
        f"Guest clusters {one} and {other} share one cluster of the file",
        path,
        _entry_offset(other),
        expected="every cluster once",
        found=table.entries[upper] * header.entry_bytes,
    )
