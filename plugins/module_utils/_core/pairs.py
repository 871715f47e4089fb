# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two ascending sequences of things that have a range, such as extents, gone through together.

::

    one      aaaa..bbbbbb
    other    ..ccccc.dddd
    pairs    ..11..2.3333    1: a and c    2: b and c    3: b and d
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterable, Iterator, Protocol, Tuple, TypeVar


class Ranged(Protocol):
    """Something that has a range, such as an extent."""

    @property
    def start(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it has ended."""


Left = TypeVar("Left", bound=Ranged)
Right = TypeVar("Right", bound=Ranged)


def paired(one: Iterable[Left], other: Iterable[Right]) -> Iterator[Tuple[int, int, Left, Right]]:
    """Where two ascending sequences of items meet: ``(start, end, item of one, item of other)``.

    The items of one sequence do not overlap.
    """
    ahead, beside = iter(one), iter(other)
    left, right = next(ahead, None), next(beside, None)
    while left is not None and right is not None:
        start, end = max(left.start, right.start), min(left.end, right.end)
        if start < end:
            yield start, end, left, right
        # Whichever ends first meets nothing more.
        if left.end == end:
            left = next(ahead, None)
        else:
            right = next(beside, None)
