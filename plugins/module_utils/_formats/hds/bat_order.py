# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runs of a table in the order of the file, in memory that the table bounds: a number for each run, no objects."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from typing import Dict, Iterable, Sequence

from .bat import RunTable

# Up to so many runs are sorted as objects, which is faster and takes a few MiB.
_FEW_RUNS = 64 << 10
_DIGIT = 11
_MASK = (1 << _DIGIT) - 1


def in_file_order(table: RunTable, least: int = 0) -> array[int]:
    """The indexes of the runs by their entry, the first in guest order first among equals; entries below ``least``
    count as that.
    """
    entries = table.entries
    if len(entries) <= _FEW_RUNS:
        return array("I", sorted(range(len(entries)), key=lambda index: max(entries[index], least)))
    order: Sequence[int] = range(len(entries))
    for shift in (0, _DIGIT, 2 * _DIGIT):
        order = _dealt(order, (max(entries[index], least) >> shift & _MASK for index in order))
    return array("I", order)


def _dealt(indexes: Iterable[int], digits: Iterable[int]) -> array[int]:
    """``indexes`` by their digits, in the order that they had among equals."""
    piles: Dict[int, array[int]] = {}
    for index, digit in zip(indexes, digits):
        if digit in piles:
            piles[digit].append(index)
        else:
            piles[digit] = array("I", (index,))
    order = array("I")
    for digit in sorted(piles):
        order.extend(piles.pop(digit))
    return order
