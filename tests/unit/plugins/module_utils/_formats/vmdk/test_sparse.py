# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent, coalesce
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.caches import Caches
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.opening import open_sparse_extent
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.sparse import SparseExtent
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images, vmdk_files

PORT = OsPort()
GRAIN = 4096
BIG = 3 * 512 + 5


def opened(path: Path, raw: bytes) -> SparseExtent:
    path.write_bytes(raw)
    file = PORT.open_read(str(path))
    try:
        return open_sparse_extent(file, Caches())
    except BaseException:
        file.close()
        raise


def content_of(extent: SparseExtent) -> bytes:
    content = bytearray(b"\xaa" * extent.size)
    extent.pread_into(0, memoryview(content))
    return bytes(content)


def kinds(extent: SparseExtent) -> List[Tuple[int, int, str]]:
    return [(e.start, e.length, e.kind) for e in coalesce(extent.extents(0, extent.size, ABSENT))]


class Model(NamedTuple):
    """The guest's view of an extent, and what each of its grains is."""

    content: bytes
    kinds: List[str]


def model(capacity: int, grains: Dict[int, bytes], zeroed: List[int], grain_bytes: int) -> Model:
    content = bytearray(capacity * 512)
    found = [ABSENT] * -(-len(content) // grain_bytes)
    for number, piece in grains.items():
        room = len(content) - number * grain_bytes
        content[number * grain_bytes : (number + 1) * grain_bytes] = piece.ljust(grain_bytes, b"\0")[:room]
        found[number] = DATA
    for number in zeroed:
        found[number] = ZERO
    return Model(bytes(content), found)


def expected_extents(view: Model, grain_bytes: int, start: int, end: int) -> List[Extent]:
    pieces: Iterator[Extent] = (
        Extent(
            max(start, index * grain_bytes), min(end, (index + 1) * grain_bytes) - max(start, index * grain_bytes), kind
        )
        for index, kind in enumerate(view.kinds)
        if index * grain_bytes < end and (index + 1) * grain_bytes > start
    )
    return list(coalesce(pieces))


@st.composite
def allocations(draw: st.DrawFn, *, most: int = BIG) -> Tuple[int, List[int], List[int]]:
    """Capacity in sectors of 8-sector grains, the stored grains in the order of the file, and the zeroed ones."""
    count = draw(st.integers(1, most))
    capacity = count * 8 - draw(st.integers(0, 7))
    numbers = draw(
        st.lists(
            st.one_of(st.integers(0, count - 1), st.integers(max(0, count - 6), count - 1)), unique=True, max_size=20
        )
    )
    start = draw(st.integers(0, count - 1))
    run = [number for number in range(start, min(count, start + draw(st.integers(0, 12)))) if number not in numbers]
    zeroed = numbers[: draw(st.integers(0, len(numbers)))]
    return capacity, [*run, *numbers[len(zeroed) :]], zeroed


def check_against(extent: SparseExtent, view: Model, grain_bytes: int, cuts: List[int]) -> None:
    assert content_of(extent) == view.content
    positions = sorted({0, extent.size, *(cut % (extent.size + 1) for cut in cuts)})
    for start, end in [*zip(positions, positions[1:]), (0, extent.size)]:
        buffer = bytearray(b"\xaa" * (end - start))
        extent.pread_into(start, memoryview(buffer))
        assert buffer == view.content[start:end]
        found = list(coalesce(extent.extents(start, end, ABSENT)))
        assert found == expected_extents(view, grain_bytes, start, end)


@given(allocations(), st.lists(st.integers(0, 1 << 24), max_size=5), st.booleans(), st.sampled_from([512, 256, 64]))
def test_any_allocation_reads_like_its_model(
    tmp_path_factory: pytest.TempPathFactory,
    plan: Tuple[int, List[int], List[int]],
    cuts: List[int],
    all_tables: bool,
    entries: int,
) -> None:
    capacity, stored, zeroed = plan
    grains = {number: images.fill(number, GRAIN) for number in stored}
    built = vmdk_files.sparse(
        capacity=capacity, grains=grains, zeroed=zeroed, version=2, flags=5, all_tables=all_tables, entries=entries
    )
    extent = opened(tmp_path_factory.mktemp("d") / "d.vmdk", built.raw)
    check_against(extent, model(capacity, grains, zeroed, GRAIN), GRAIN, cuts)
    extent.file.close()


@given(allocations(), st.lists(st.integers(0, 1 << 24), max_size=5), st.booleans())
def test_any_stream_reads_like_its_model(
    tmp_path_factory: pytest.TempPathFactory, plan: Tuple[int, List[int], List[int]], cuts: List[int], footer: bool
) -> None:
    capacity, stored, zeroed = plan
    grains = {number: images.fill(number, GRAIN) for number in sorted([*stored, *zeroed])}
    last = capacity * 512 - max(grains, default=0) * GRAIN
    built = vmdk_files.stream(
        capacity=capacity, grains=grains, descriptor=b"", footer=footer, last=last if 0 < last < GRAIN else 0
    )
    extent = opened(tmp_path_factory.mktemp("d") / "d.vmdk", built.raw)
    check_against(extent, model(capacity, grains, [], GRAIN), GRAIN, cuts)
    extent.file.close()


@given(
    st.lists(st.integers(4080, 4110), unique=True, max_size=12),
    st.integers(4111, 4120),
    st.lists(st.integers(0, 1 << 24), max_size=4),
)
def test_any_cowd_reads_like_its_model(
    tmp_path_factory: pytest.TempPathFactory, stored: List[int], capacity: int, cuts: List[int]
) -> None:
    grains = {number: images.fill(number, 512) for number in stored}
    extent = opened(tmp_path_factory.mktemp("d") / "d.vmdk", vmdk_files.cowd(capacity=capacity, grains=grains).raw)
    check_against(extent, model(capacity, grains, [], 512), 512, cuts)
    extent.file.close()


def test_holes_of_the_host_file_are_zeros(tmp_path: Path) -> None:
    built = vmdk_files.sparse(capacity=4096, grains={3: b"", 4: b""}, grain=2048 // 8)
    path = tmp_path / "d.vmdk"
    start = built.grains[3]
    with path.open("wb") as stream:
        stream.write(built.raw[:start])
        stream.truncate(len(built.raw))
        stream.seek(start + 65536)
        stream.write(b"x" * 4096)
    file = PORT.open_read(str(path))
    extent = open_sparse_extent(file, Caches())
    grain = 256 * 512
    if len(list(file.data_ranges(0, file.size()))) < 2:
        pytest.skip("no holes in files here")
    assert kinds(extent) == [
        (0, 3 * grain, ABSENT),
        (3 * grain, 65536, ZERO),
        (3 * grain + 65536, 4096, DATA),
        (3 * grain + 69632, 2 * grain - 69632, ZERO),
        (5 * grain, 11 * grain, ABSENT),
    ]
    assert content_of(extent)[3 * grain + 65536 :][:4096] == b"x" * 4096
    file.close()


@pytest.mark.parametrize("sixteen_tib_of", ["no tables", "empty tables"])
def test_a_huge_empty_extent_is_one_extent_and_little_is_read(tmp_path: Path, sixteen_tib_of: str) -> None:
    tables = 1 << 19
    path = tmp_path / "d.vmdk"
    head = vmdk_files.HEADER.pack(b"KDMV", 1, 1, 1 << 35, 128, 0, 0, 512, 0, 8, 128, 0, b"\n \r\n", 0)
    with path.open("wb") as stream:
        stream.write(head)
        if sixteen_tib_of == "empty tables":
            stream.seek(8 * 512)
            stream.write(struct.pack(f"<{tables}I", *range(8192, 8192 + 4 * tables, 4)))
        stream.truncate((8192 + 4 * tables) * 512)
    file = CountingFile(PORT.open_read(str(path)))
    extent = open_sparse_extent(file, Caches())
    if len(list(file.data_ranges(8192 * 512, file.size()))):
        pytest.skip("no holes in files here")
    assert kinds(extent) == [(0, 1 << 44, ABSENT)]
    assert file.bytes_read < 3 << 20
    file.close()


class CountingFile:
    """A file that counts the bytes read from it."""

    def __init__(self, file: object) -> None:
        self._file = file
        self.bytes_read = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def pread_into(self, offset: int, buffer: bytearray) -> int:
        self.bytes_read += len(buffer)
        return self._file.pread_into(offset, buffer)


def test_a_table_is_cached(tmp_path: Path) -> None:
    path = tmp_path / "d.vmdk"
    path.write_bytes(vmdk_files.sparse(capacity=8192, grains={1: b"x" * GRAIN, 2: b"y" * GRAIN}).raw)
    file = CountingFile(PORT.open_read(str(path)))
    extent = open_sparse_extent(file, Caches())
    buffer = bytearray(GRAIN)
    extent.pread_into(GRAIN, memoryview(buffer))
    before = file.bytes_read
    extent.pread_into(2 * GRAIN, memoryview(buffer))
    assert (file.bytes_read - before, buffer) == (GRAIN, b"y" * GRAIN)
    file.close()


def test_the_last_inflated_grain_is_cached(tmp_path: Path) -> None:
    path = tmp_path / "d.vmdk"
    path.write_bytes(vmdk_files.stream(capacity=8192, grains={1: images.fill(1, GRAIN)}, descriptor=b"").raw)
    file = CountingFile(PORT.open_read(str(path)))
    extent = open_sparse_extent(file, Caches())
    buffer = bytearray(512)
    extent.pread_into(GRAIN, memoryview(buffer))
    before = file.bytes_read
    extent.pread_into(GRAIN + 512, memoryview(buffer))
    assert (file.bytes_read, buffer) == (before, images.fill(1, GRAIN)[512:1024])
    file.close()


def test_threads_share_an_extent(tmp_path: Path) -> None:
    grains = {number: images.fill(number, GRAIN) for number in range(0, 600, 2)}
    extent = opened(tmp_path / "d.vmdk", vmdk_files.stream(capacity=8 * 600, grains=grains, descriptor=b"").raw)
    expected = content_of(extent)
    wrong: List[int] = []

    def read(seed: int) -> None:
        for index in range(200):
            offset = (index * 7919 * seed) % (extent.size - 5000)
            buffer = bytearray(5000)
            extent.pread_into(offset, memoryview(buffer))
            if buffer != expected[offset : offset + 5000]:
                wrong.append(offset)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    extent.file.close()
    assert not wrong


def two_grains(**options: object) -> vmdk_files.Built:
    grains = {0: images.fill(0, GRAIN), 1: images.fill(1, GRAIN), 700: images.fill(700, GRAIN)}
    return vmdk_files.sparse(capacity=8 * 1024 - 3, grains=grains, descriptor=b"x", redundant=True, **options)  # type: ignore[arg-type]


def sector_of_entry(name: str, built: vmdk_files.Built) -> int:
    places = {
        "header": 1,
        "descriptor": 20,
        "directory": built.directory // 512,
        "own-table": built.tables[0] // 512,
        "end-of-table": built.tables[1] // 512 + 3,
        "before-table": built.tables[0] // 512 - 1,
        "overlapping": built.grains[0] // 512 + 7,
        "same": built.grains[0] // 512,
        "same-in-other-order": built.grains[0] // 512 - 7,
        "end": len(built.raw) // 512,
        "across-end": len(built.raw) // 512 - 7,
        "far": 0xFFFFFFFF,
    }
    return places[name]


PLACES = (
    "header descriptor directory own-table end-of-table before-table overlapping same same-in-other-order end "
    "across-end far"
).split()


@pytest.mark.parametrize("place", PLACES)
def test_an_entry_that_leads_elsewhere_is_damaged_at_its_place(tmp_path: Path, place: str) -> None:
    built = two_grains()
    entry = built.tables[0] + 4
    struct.pack_into("<I", built.raw, entry, sector_of_entry(place, built))
    extent = opened(tmp_path / "d.vmdk", built.raw)
    for look in (lambda: kinds(extent), lambda: extent.pread_into(0, memoryview(bytearray(512)))):
        with pytest.raises(Damaged) as caught:
            look()
        offset = caught.value.offset
        assert offset in (entry, built.tables[0]) and caught.value.path == str(tmp_path / "d.vmdk")
    # Another table is not concerned.
    extent.pread_into(700 * GRAIN, memoryview(bytearray(512)))
    extent.file.close()


def test_a_zeroed_grain_needs_its_flag(tmp_path: Path) -> None:
    built = vmdk_files.sparse(capacity=80, grains={0: b"x" * GRAIN}, zeroed=[1], version=2, flags=5)
    extent = opened(tmp_path / "d.vmdk", built.raw)
    assert kinds(extent) == [(0, GRAIN, DATA), (GRAIN, GRAIN, ZERO), (2 * GRAIN, 8 * GRAIN, ABSENT)]
    extent.file.close()
    vmdk_files.put(built.raw, "flags", 1)
    extent = opened(tmp_path / "e.vmdk", built.raw)
    with pytest.raises(Damaged):
        kinds(extent)
    extent.file.close()


def test_entries_behind_the_end_of_the_disk_mean_nothing(tmp_path: Path) -> None:
    built = vmdk_files.sparse(capacity=81, grains={10: b"x" * 512})
    struct.pack_into("<I", built.raw, built.tables[0] + 4 * 11, 0xFFFFFFFF)
    # Of the last grain only its first sector is seen.
    extent = opened(tmp_path / "d.vmdk", built.raw[: built.grains[10] + 512])
    assert content_of(extent) == bytes(80 * 512) + b"x" * 512
    extent.file.close()
    extent = opened(tmp_path / "e.vmdk", built.raw[: built.grains[10] + 511])
    with pytest.raises(Damaged):
        kinds(extent)
    extent.file.close()


def one_grain() -> vmdk_files.Built:
    return vmdk_files.stream(capacity=80, grains={3: images.fill(3, GRAIN)}, descriptor=b"")


BAD_GRAINS = {
    "other-lba": struct.pack("<QI", 32, 100),
    "far-lba": struct.pack("<QI", 1 << 63, 100),
    "no-length": struct.pack("<QI", 24, 0),
    "long": struct.pack("<QI", 24, 2 * GRAIN + 65),
    "longest": struct.pack("<QI", 24, 0xFFFFFFFF),
    "beyond-file": struct.pack("<QI", 24, 2 * GRAIN + 64),
    "no-zlib": struct.pack("<QI", 24, 100) + b"\xff" * 100,
    "raw-deflate": struct.pack("<QI", 24, 100) + zlib.compress(bytes(GRAIN))[2:].ljust(100, b"\0"),
    "cut": struct.pack("<QI", 24, 100) + zlib.compress(images.fill(3, GRAIN))[:100],
    "short": struct.pack("<QI", 24, 100) + zlib.compress(bytes(GRAIN - 1)).ljust(100, b"\0"),
    "too-much": struct.pack("<QI", 24, 100) + zlib.compress(bytes(GRAIN + 1)).ljust(100, b"\0"),
    "bomb": struct.pack("<QI", 24, 400) + zlib.compress(bytes(1 << 18), 9).ljust(400, b"\0"),
    "checksum": struct.pack("<QI", 24, len(zlib.compress(bytes(GRAIN)))) + zlib.compress(bytes(GRAIN))[:-4] + b"abcd",
}


@pytest.mark.parametrize("start", BAD_GRAINS.values(), ids=BAD_GRAINS)
def test_a_bad_compressed_grain_is_damaged(tmp_path: Path, start: bytes) -> None:
    built = one_grain()
    at = built.grains[3]
    built.raw[at : at + len(start)] = start
    extent = opened(tmp_path / "d.vmdk", built.raw)
    extent.pread_into(0, memoryview(bytearray(GRAIN)))
    with pytest.raises(Damaged) as caught:
        extent.pread_into(3 * GRAIN, memoryview(bytearray(512)))
    assert caught.value.offset is not None and at <= caught.value.offset < at + 16
    extent.file.close()


@pytest.mark.parametrize("cut", [1, 511, 512, 1024, 1536, 2048, 5000])
def test_a_cut_stream_is_damaged(tmp_path: Path, cut: int) -> None:
    with pytest.raises(Damaged):
        opened(tmp_path / "d.vmdk", one_grain().raw[:-cut])


def test_a_stream_with_something_behind_it_is_damaged(tmp_path: Path) -> None:
    for more in (b"x", bytes(512)):
        with pytest.raises(Damaged):
            opened(tmp_path / "d.vmdk", one_grain().raw + more)


@pytest.mark.parametrize(
    "field, value",
    [("version", 2), ("flags", 0x30003), ("capacity", 81), ("grain", 16), ("entries", 256), ("gd", vmdk_files.AT_END)],
)
def test_a_footer_that_contradicts_the_header_is_damaged(tmp_path: Path, field: str, value: int) -> None:
    built = one_grain()
    vmdk_files.put(built.raw, field, value, at=len(built.raw) - 1024)
    with pytest.raises(Damaged):
        opened(tmp_path / "d.vmdk", built.raw)


@given(st.data())
def test_any_change_gives_our_errors_or_the_right_length(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    built = data.draw(st.sampled_from([one_grain(), two_grains(), vmdk_files.cowd(capacity=9000, grains={5: b"x"})]))
    raw = bytearray(built.raw)
    metadata = [
        *range(80),
        *range(built.directory, built.directory + 16),
        *(start + index for start in built.tables.values() for index in range(24)),
    ]
    for _index in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.sampled_from(metadata))] = data.draw(st.sampled_from([0, 1, 2, 8, 64, 127, 128, 255]))
    raw = raw[: data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))]
    try:
        extent = opened(tmp_path_factory.mktemp("d") / "d.vmdk", raw)
    except DiskError:
        return
    try:
        assert sum(piece.length for piece in extent.extents(0, min(extent.size, 1 << 24), ABSENT)) == min(
            extent.size, 1 << 24
        )
        extent.pread_into(0, memoryview(bytearray(min(extent.size, 1 << 20))))
    except DiskError:
        pass
    finally:
        extent.file.close()
