# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Telling the host what will be read soon, in the order in which it lies on the disk and not in the guest's."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Any, Iterable, Iterator, List, Tuple

from .._io.port import File

_BATCH = 16 << 20

Slice = Tuple[int, int]


def read_ahead(view: Any, slices: Iterable[Slice]) -> Iterator[Slice]:
    """The same slices (offset, length), while the host is told one batch ahead what they need.

    A view that cannot tell where its data lies gets no help: what it reads in order the host reads ahead by itself.
    """
    if not hasattr(view, "sources"):
        yield from slices
        return
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


def _advise(view: Any, batch: List[Slice]) -> None:
    wanted: List[Tuple[str, int, int, File]] = []
    for start, end in _joined(batch):
        wanted.extend(
            (file.path, offset, length, file) for _guest, length, file, offset in view.sources(start, end - start)
        )
    wanted.sort(key=lambda one: one[:2])
    first, last, reader = 0, 0, None
    for _path, offset, length, file in wanted:
        if reader is not file or offset != last:
            if reader is not None:
                reader.will_need(first, last - first)
            first, reader = offset, file
        last = offset + length
    if reader is not None:
        reader.will_need(first, last - first)


def _joined(slices: List[Slice]) -> Iterator[Tuple[int, int]]:
    first, last = slices[0][0], slices[0][0]
    for offset, length in slices:
        if offset != last:
            yield first, last
            first = offset
        last = offset + length
    yield first, last
