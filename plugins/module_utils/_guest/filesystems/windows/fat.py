# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free clusters of FAT12, FAT16 and FAT32: entries that are 0 in the table, when no chain and no folder names them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from typing import Iterator, Optional, Tuple

from ..answer import Identity, Uncertain, refuse_if
from ..runs import Runs
from ..volume import Volume
from .fat_layout import Fat, Table, label_of, read_boot, refuse_other_geometry, refuse_unclean
from .fat_walk import Walk


def recognise(volume: Volume) -> Optional[Identity]:
    """What the boot sector says."""
    fat = read_boot(volume)
    return None if fat is None else Identity(f"fat{fat.bits}", label_of(fat), fat.size)


def free_runs(volume: Volume) -> Runs:
    """The free clusters. Raises Uncertain."""
    fat = read_boot(volume)
    if fat is None:
        raise Uncertain("damaged")
    refuse_other_geometry(volume, fat)
    table = Table(volume, fat)
    media = 0xFFFFFF00 & fat.mask | fat.raw[21]
    refuse_if(table.value(0) != media)
    refuse_unclean(fat, table.value(1))
    runs = _free(fat, table)
    used = _refuse_chains(fat, table, runs)
    walk = Walk(volume, fat, table)
    walk.run()
    refuse_if(fat.bits != 32 and used != walk.reached)
    refuse_if(not (fat.has_backup or walk.confirmed), "unconfirmed")
    return runs


def _free(fat: Fat, table: Table) -> Runs:
    """Runs of entries that are 0. One that the entry before it goes on in is damage."""
    runs, before = Runs(), 0
    for first, values in table.pieces():
        for low, high in _zeros(values):
            refuse_if((values[low - 1] if low else before) == first + low)
            runs.add(fat.place(first + low), fat.place(first + high))
        before = values[-1]
    return runs


def _zeros(values: array[int]) -> Iterator[Tuple[int, int]]:
    """Ranges of values that are 0."""
    flags = bytes(map(bool, values))
    end = 0
    while True:
        start = flags.find(0, end)
        if start < 0:
            return
        end = flags.find(1, start)
        if end < 0:
            yield start, len(flags)
            return
        yield start, end


def _refuse_chains(fat: Fat, table: Table, runs: Runs) -> int:
    """Raise Uncertain for a chain that goes on in a free cluster or nowhere. Gives the number of clusters in use."""
    used, last = 0, fat.clusters + 1
    bad = (fat.mask & ~0xF) | 7
    for first, values in table.pieces():
        used += len(values) - values.count(0) - values.count(bad)
        for value in [value for number, value in enumerate(values, first + 1) if value and value != number]:
            if value >= bad:
                continue
            refuse_if(not 2 <= value <= last or runs.within(fat.place(value), fat.place(value + 1)))
    return used
