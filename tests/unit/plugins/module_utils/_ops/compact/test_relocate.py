# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs say of every cluster what a reckoning cluster by cluster says."""

from __future__ import annotations

import tracemalloc
from typing import Dict, Iterator, List, Set, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import ImageState
from ansible_collections.vdisk.parallels.plugins.module_utils._change.image import close_steps, entry_steps, mark_steps
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    CopyRanges,
    CreateFile,
    Move,
    Rename,
    Resize,
    Step,
    Sync,
    WriteBytes,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat import TableBuilder
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat_check import check_table
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.extension import Extension
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import (
    HdsHeader,
    new_header,
    pack_header,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Stat
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.changes import (
    FreshCopy,
    Relocation,
    entry_run_steps,
    forget_steps,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.clusters import Clusters
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.relocate import (
    dropped_places,
    kept_runs,
    relocate,
)
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP

FILE = "/d/f"
STEP = 4096
MANY = 4_000_000


class FullFile:
    """A file without holes."""

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        yield start, end

    def close(self) -> None:
        pass


class FullPort:
    """A port on which every file is full."""

    def open_read(self, path: str) -> FullFile:
        return FullFile()


def image_of(header: HdsHeader, places: Dict[int, int], pinned: List[int], size: int) -> ImageState:
    """An image whose clusters are at ``places``, with an extension at ``pinned``."""
    builder = TableBuilder(header)
    for cluster in sorted(places):
        builder.add(cluster, 1, places[cluster] // header.entry_bytes)
    table = builder.build()
    check_table(table, header, path=FILE, file_size=size)
    extension = Extension(0, (), tuple((place, place + header.cluster_bytes) for place in pinned)) if pinned else None
    stat = Stat("file", size, 0, 0, 0, 0, 0, 0, 0)
    return ImageState(
        0, TOP, "f", FILE, False, "expanding", stat, header.size_bytes, header, table, extension, len(places)
    )


@st.composite
def images(draw: st.DrawFn) -> Tuple[ImageState, HdsHeader, Dict[int, int], Set[int]]:
    """An image, where its clusters are, and which of them are dropped; many are neighbours in guest and file."""
    version = draw(st.sampled_from([1, 2]))
    header = new_header(size_bytes=40 * STEP, cluster_bytes=STEP, version=version)
    if version == 1:
        header = replace(header, data_off=draw(st.sampled_from([0, 1, 16, 21])))
    slots = [header.data_start + slot * STEP for slot in range(30)]
    # Runs of clusters and of slots, in any order, give neighbours that stay neighbours.
    cuts = draw(st.lists(st.integers(0, 30), max_size=5).map(lambda found: sorted({0, 30, *found})))
    pieces = draw(st.permutations([slots[low:high] for low, high in zip(cuts, cuts[1:])]))
    free = draw(st.sets(st.sampled_from(slots), max_size=12))
    used = [slot for piece in pieces for slot in piece if slot not in free]
    clusters = sorted(draw(st.sets(st.integers(0, 39), min_size=len(used), max_size=len(used))))
    places = dict(zip(clusters, used))
    pinned = sorted(draw(st.sets(st.sampled_from(sorted(free)), max_size=3))) if free else []
    end = max([header.data_start] + [place + STEP for place in [*used, *pinned]])
    size = end + draw(st.sampled_from([0, 100, STEP, 3 * STEP + 100]))
    if places and max(places.values()) + STEP == size and draw(st.booleans()):
        # The last cluster of the disk may be cut short in the file.
        last = max(places, key=places.__getitem__)
        if last == 39:
            header = replace(header, size_sectors=header.size_sectors - 3)
            size -= 3 * 512
    dropped = {cluster for cluster in places if draw(st.booleans())} if draw(st.booleans()) else set()
    return image_of(header, places, pinned, size), header, places, dropped


def clusters_of(dropped: Set[int]) -> Clusters:
    return Clusters((cluster, cluster + 1) for cluster in sorted(dropped))


def relocated_one_by_one(
    image: ImageState, places: Dict[int, int], dropped: Set[int]
) -> Tuple[List[Tuple[int, int]], List[Move]]:
    """As many of the last clusters of the file move as there are free slots before them, the first to the first."""
    free = [place for cluster, place in places.items() if cluster in dropped]
    for start, end in image.unused:
        free += range(start, end - STEP + 1, STEP)
    kept = sorted((place, cluster) for cluster, place in places.items() if cluster not in dropped)
    slots = []
    moving: List[Tuple[int, int]] = []
    for slot in sorted(free):
        if not kept or kept[-1][0] < slot:
            break
        moving.insert(0, kept.pop())
        slots.append(slot)
    moves: List[Move] = []
    for (place, _cluster), slot in zip(moving, slots):
        length = min(STEP, image.stat.size - place)
        last = moves[-1] if moves else None
        if last and (last.source_offset + last.length, last.target_offset + last.length) == (place, slot):
            moves[-1] = last._replace(length=last.length + length)
        else:
            moves.append(Move(FILE, place, slot, length))
    return sorted((cluster, slot) for (_place, cluster), slot in zip(moving, slots)), moves


def new_places(image: ImageState, header: HdsHeader, dropped: Set[int]) -> Dict[int, int]:
    """The clusters that move, and where they are then."""
    runs = relocate(image, header, clusters_of(dropped)).entries()
    return {first + index: offset for first, offsets in runs for index, offset in enumerate(offsets)}


@given(images())
def test_every_cluster_goes_where_one_by_one_it_would_go(
    drawn: Tuple[ImageState, HdsHeader, Dict[int, int], Set[int]],
) -> None:
    image, header, places, dropped = drawn
    relocated = relocate(image, header, clusters_of(dropped))
    entries = list(new_places(image, header, dropped).items())
    assert (entries, list(relocated.moves(FILE, image.stat.size))) == relocated_one_by_one(image, places, dropped)


@given(images())
def test_moves_go_into_free_slots_and_the_guest_reads_the_same(
    drawn: Tuple[ImageState, HdsHeader, Dict[int, int], Set[int]],
) -> None:
    image, header, places, dropped = drawn
    kept = {cluster: place for cluster, place in places.items() if cluster not in dropped}
    size = image.stat.size
    # Sectors of the file, each with a number of its own; a sector that is written once more shows.
    old = list(range(-(-size // 512)))
    new = list(old)
    taken = {sector for place in [*kept.values(), *(start for start, _end in image.pinned)] for sector in _slot(place)}
    written: Set[int] = set()
    for move in relocate(image, header, clusters_of(dropped)).moves(FILE, size):
        assert move.target_offset + move.length <= move.source_offset
        source, target = move.source_offset // 512, move.target_offset // 512
        sectors = set(range(target, target + -(-move.length // 512)))
        assert sectors.isdisjoint(taken | written)
        written |= sectors
        # In the order of the moves, as the executor does it, from the file as it is then.
        new[target : target + len(sectors)] = new[source : source + len(sectors)]
    after = {**kept, **new_places(image, header, dropped)}
    for cluster, place in kept.items():
        seen = -(-min(STEP, header.size_bytes - cluster * STEP) // 512)
        assert new[after[cluster] // 512 :][:seen] == old[place // 512 :][:seen]


def _slot(place: int) -> range:
    return range(place // 512, (place + STEP) // 512)


@given(images())
def test_a_second_relocation_finds_nothing(drawn: Tuple[ImageState, HdsHeader, Dict[int, int], Set[int]]) -> None:
    image, header, places, dropped = drawn
    change = Relocation(image, header, clusters_of(dropped))
    after = {cluster: place for cluster, place in places.items() if cluster not in dropped}
    after.update(new_places(image, header, dropped))
    again = image_of(header, after, [start for start, _end in image.pinned], change.size_after)
    second = Relocation(again, header, Clusters())
    assert not second.moves_data and second.reclaimable == 0 and second.size_after == change.size_after


@given(images())
def test_runs_name_what_stays_and_what_goes(drawn: Tuple[ImageState, HdsHeader, Dict[int, int], Set[int]]) -> None:
    image, header, places, dropped = drawn
    kept = [
        (run.cluster + index, run.offset + index * STEP)
        for run in kept_runs(image, header, clusters_of(dropped))
        for index in range(run.count)
    ]
    assert kept == sorted((cluster, place) for cluster, place in places.items() if cluster not in dropped)
    gone = list(dropped_places(image, header, clusters_of(dropped)))
    assert gone == sorted(gone)
    assert [offset for start, end in gone for offset in range(start, end, STEP)] == sorted(
        places[cluster] for cluster in dropped
    )


@given(images())
def test_the_steps_of_a_relocation_are_those_of_single_clusters(
    drawn: Tuple[ImageState, HdsHeader, Dict[int, int], Set[int]],
) -> None:
    image, header, places, dropped = drawn
    change = Relocation(image, header, clusters_of(dropped))
    relocated, moves = relocated_one_by_one(image, places, dropped)
    final = {**{cluster: place for cluster, place in places.items() if cluster not in dropped}, **dict(relocated)}
    pinned = [start for start, _end in image.pinned]
    length = max([header.data_start] + [place + STEP for place in [*final.values(), *pinned]])
    barrier = Sync(files=(FILE,))
    expected: List[Step] = list(mark_steps([image]))
    if dropped:
        expected += [*entry_steps(FILE, header, [(cluster, 0) for cluster in sorted(dropped)]), barrier]
    if moves:
        expected += [CopyRanges(FILE, tuple(moves)), barrier, *entry_steps(FILE, header, relocated), barrier]
    expected += [Resize(FILE, min(length, image.stat.size)), *close_steps([image], keep_extension=True)]
    assert list(change.steps(FullPort())) == expected  # type: ignore[arg-type]
    assert change.moves_data == bool(moves)


@given(images())
def test_the_steps_of_a_copy_are_those_of_single_clusters(
    drawn: Tuple[ImageState, HdsHeader, Dict[int, int], Set[int]],
) -> None:
    image, header, places, dropped = drawn
    change = FreshCopy(image, header, clusters_of(dropped), "/d", False)
    fresh, path = change.fresh, change.temporary
    kept = sorted(cluster for cluster in places if cluster not in dropped)
    entries = [(cluster, fresh.data_start + index * STEP) for index, cluster in enumerate(kept)]
    expected: List[Step] = [CreateFile(path, change.size_after, reserve=False, like=FILE, hold=True)]
    steps = list(change.steps(FullPort()))  # type: ignore[arg-type]
    moves = [move for step in steps if isinstance(step, CopyRanges) for move in step.moves]
    assert sum(move.length for move in moves) == sum(
        min(STEP, fresh.size_bytes - cluster * STEP) for cluster, _offset in entries
    )
    assert all(places[cluster] == _source_of(moves, offset) for cluster, offset in entries)
    if moves:
        expected.append(CopyRanges(path, tuple(moves)))
    expected += entry_steps(path, fresh, entries)
    expected += [WriteBytes(path, 0, pack_header(fresh)), Sync(files=(path,), directories=("/d",)), Rename(path, FILE)]
    assert steps == expected


def _source_of(moves: List[Move], target: int) -> int:
    (move,) = [move for move in moves if move.target_offset <= target < move.target_offset + move.length]
    return move.source_offset + target - move.target_offset


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 70_000), st.booleans()), max_size=4))
def test_runs_give_the_steps_of_their_clusters(drawn: List[Tuple[int, int, bool]]) -> None:
    header = new_header(size_bytes=300_000 * 4096, cluster_bytes=4096, version=1)
    runs, cluster = [], 0
    for gap, count, is_mirrored in drawn:
        offsets = range(4096 * 7, 4096 * (7 + count), 4096)
        cluster += gap
        runs.append((cluster, offsets[::-1] if is_mirrored else offsets))
        cluster += count
    pairs = [(first + index, offset) for first, offsets in runs for index, offset in enumerate(offsets)]
    assert list(entry_run_steps("/x", header, runs)) == list(entry_steps("/x", header, pairs))
    # Neighbours are one range.
    ranges = [(first, first + len(offsets)) for first, offsets in runs if first]
    ranges = [one for index, one in enumerate(ranges) if not index or ranges[index - 1][1] < one[0]]
    cleared = [(index, 0) for first, end in ranges for index in range(first, end)]
    assert list(forget_steps("/x", ranges)) == list(entry_steps("/x", header, cleared))


def large(first_slot: int) -> Tuple[ImageState, HdsHeader]:
    """Four million clusters that are one run, from a slot on."""
    header = new_header(size_bytes=MANY << 20, cluster_bytes=1 << 20, version=2)
    builder = TableBuilder(header)
    builder.add(0, MANY, header.data_start // header.entry_bytes + first_slot)
    table = builder.build()
    stat = Stat("file", table.data_end, 0, 0, 0, 0, 0, 0, 0)
    return ImageState(0, TOP, "f", FILE, False, "expanding", stat, header.size_bytes, header, table, None, MANY), header


@pytest.mark.parametrize("first_slot", [0, 3], ids=["at the start", "after a gap"])
@pytest.mark.parametrize("ranges", [[], [(10, 20)], [(MANY - 9, MANY)], [(0, MANY)]], ids=str)
def test_a_large_run_costs_what_a_small_one_costs(first_slot: int, ranges: List[Tuple[int, int]]) -> None:
    image, header = large(first_slot)
    dropped = Clusters(ranges)
    tracemalloc.start()
    try:
        relocation = Relocation(image, header, dropped)
        relocation.size_after, relocation.moves_data  # noqa: B018
        steps = sum(1 for _step in relocation.steps(FullPort()))  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert steps < 100
    assert peak < 1 << 20


def test_half_of_a_large_run_moves_at_once() -> None:
    image, header = large(0)
    tracemalloc.start()
    try:
        steps = list(Relocation(image, header, Clusters([(0, MANY // 2)])).steps(FullPort()))  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    half = MANY // 2 << 20
    (copy,) = [step for step in steps if isinstance(step, CopyRanges)]
    assert copy.moves == (Move(FILE, header.data_start + half, header.data_start, half),)
    assert len(steps) < 100
    # The entries themselves are 8 MB.
    assert peak < 16 << 20


def test_a_copy_of_a_large_run_holds_one_piece_of_its_table() -> None:
    image, header = large(0)
    tracemalloc.start()
    try:
        copy = FreshCopy(image, header, Clusters([(7, 8)]), "/d", False)  # type: ignore[arg-type]
        steps = sum(1 for _step in copy.steps(FullPort()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert steps < 100
    assert peak < 16 << 20
