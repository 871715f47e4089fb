# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an internal snapshot has that the one below it has not, by the runs of both."""

from __future__ import annotations

from typing import Any, Iterator, List, Tuple

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.delta import SnapshotDelta
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.entries import (
    COMPRESSED,
    STORED,
    UNALLOCATED,
    ZEROED,
    Run,
)

SIZE = 512


class Image:
    """An image of clusters ``(kind, place)``; its bytes are the numbers of places, so that one can compare them."""

    path = "/a.qcow2"

    def __init__(self, cells: List[Tuple[str, int]]) -> None:
        self.cells = cells
        self.size = len(cells) * SIZE
        self.header = type("Header", (), {"cluster_bytes": SIZE})()

    def runs(self, start: int, end: int) -> Iterator[Run]:
        position = start
        while position < end:
            kind, place = self.cells[position // SIZE]
            stop = min(end, (position // SIZE + 1) * SIZE)
            yield Run(position, stop - position, kind, place * SIZE + position % SIZE if kind == STORED else 0)
            position = stop

    def packed_place(self, cluster: int) -> Tuple[int, int]:
        return self.cells[cluster][1], 1

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        for index in range(len(buffer)):
            buffer[index] = self.value(offset + index)

    def value(self, offset: int, backing: bytes = b"") -> int:
        if offset >= self.size:
            return 0
        kind, place = self.cells[offset // SIZE]
        if kind == UNALLOCATED:
            return backing[offset] if offset < len(backing) else 0
        return place + 1 if kind in (STORED, COMPRESSED) else 0


class Backing:
    """What is seen of a backing file: a cluster of zeros is ZERO; it may be shorter than what lies on it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        for position in range(start, start + length, SIZE // 8):
            part = min(SIZE // 8, start + length - position)
            yield Extent(position, part, DATA if any(self.content[position : position + part]) else ZERO, 3)

    def pread_into(self, offset: int, buffer: memoryview) -> None:
        part = self.content[offset : offset + len(buffer)]
        buffer[:] = part.ljust(len(buffer), b"\0")


CELLS = st.lists(st.tuples(st.sampled_from([COMPRESSED, STORED, UNALLOCATED, ZEROED]), st.integers(0, 3)), max_size=9)


@given(CELLS, CELLS, st.data())
def test_only_what_is_the_same_below_is_absent(
    upper: List[Tuple[str, int]], lower: List[Tuple[str, int]], data: st.DataObject
) -> None:
    # One place is either packed or not.
    one, other = ([(kind, place + 10 * (kind == COMPRESSED)) for kind, place in cells] for cells in (upper, lower))
    above, below = Image(one), Image(other)
    delta: Any = SnapshotDelta(above, below)  # type: ignore[arg-type]
    start = data.draw(st.integers(0, above.size))
    end = data.draw(st.integers(start, above.size))
    position = start
    for part in delta.extents(start, end - start):
        assert part.start == position and part.length
        position = part.end
        for offset in range(part.start, part.end, 64):
            value, under = above.value(offset), below.value(offset)
            if part.kind == ABSENT:
                assert value == under
            else:
                assert value != under and (value == 0) == (part.kind == ZERO)
    assert position == end


@given(CELLS, CELLS, st.lists(st.integers(0, 1), max_size=9), st.data())
def test_over_a_backing_file_every_byte_is_what_the_guest_saw(
    upper: List[Tuple[str, int]], lower: List[Tuple[str, int]], below: List[int], data: st.DataObject
) -> None:
    one, other = ([(kind, place + 10 * (kind == COMPRESSED)) for kind, place in cells] for cells in (upper, lower))
    above, under = Image(one), Image(other)
    backing = b"".join(bytes([99 * cell]) * SIZE for cell in below)
    delta: Any = SnapshotDelta(above, under, Backing(backing))  # type: ignore[arg-type]
    start = data.draw(st.integers(0, above.size))
    end = data.draw(st.integers(start, above.size))
    position, buffer = start, bytearray(end - start)
    delta.pread_into(start, buffer)
    for part in delta.extents(start, end - start):
        assert part.start == position and part.length and part.layer == 0
        position = part.end
        for offset in range(part.start, part.end, 64):
            value = above.value(offset, backing)
            if part.kind == ABSENT:
                assert value == under.value(offset, backing)
            else:
                assert value == buffer[offset - start] and (part.kind == DATA or value == 0)
    assert position == end
