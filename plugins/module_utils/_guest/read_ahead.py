# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Letting the host know what will be read soon, in the order in which it lies on the disk and not in the guest's."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, Tuple

from .._core.ranges import Range, joined
from .._formats.image import GuestView
from .._io.port import File

_BATCH = 16 << 20

Slice = Tuple[int, int]


def read_ahead(view: GuestView, slices: Iterable[Slice]) -> Iterator[Slice]:
    """The same slices (offset, length), while the host hears one batch ahead what they need.

    What has no place, such as compressed data, gets no help: what is read in order the host reads ahead by itself.
    """
    current: List[Slice] = []
    for batch in _batches(slices):
        _advise(view, batch)
        yield from current
        current = batch
    yield from current


def _batches(slices: Iterable[Slice]) -> Iterator[List[Slice]]:
    batch: List[Slice] = []
    size = 0
    for one in slices:
        batch.append(one)
        size += one[1]
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _advise(view: GuestView, batch: List[Slice]) -> None:
    needed: Dict[File, List[Range]] = {}
    for start, end in joined((offset, offset + length) for offset, length in batch):
        for _guest, length, file, offset in view.places(start, end - start):
            needed.setdefault(file, []).append((offset, offset + length))
    for file in sorted(needed, key=lambda one: one.path):
        for start, end in joined(sorted(needed[file])):
            file.will_need(start, end - start)
