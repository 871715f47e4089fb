# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import random
import struct
import threading
from pathlib import Path
from typing import Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    IoFailure,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import reader as hds
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import IN_USE
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import HdsImage, open_hds
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.places import checked_places

PORT = OsPort()


def read(image: HdsImage, offset: int, length: int) -> bytes:
    buffer = bytearray(b"\xaa" * length)
    image.pread_into(offset, buffer)
    return bytes(buffer)


@st.composite
def disks(draw: st.DrawFn) -> Tuple[Dict[str, object], Dict[int, bytes]]:
    """Arguments of ``build_hds`` that a reader must accept."""
    version = draw(st.sampled_from([1, 2]))
    cluster_sectors = draw(st.sampled_from([1, 8, 63, 504]))
    count = draw(st.integers(1, 12))
    last = draw(st.integers(1, cluster_sectors))
    size_sectors = (count - 1) * cluster_sectors + last
    indexes = draw(st.lists(st.integers(0, count - 1), unique=True))
    lengths = st.one_of(st.just(cluster_sectors * 512), st.integers(0, cluster_sectors * 512))
    contents = {index: images.fill(index, draw(lengths)) for index in indexes}
    fields: Dict[str, object] = {
        "size_sectors": size_sectors,
        "cluster_sectors": cluster_sectors,
        "version": version,
        "order": draw(st.permutations(indexes)),
        "gaps": draw(st.sets(st.integers(0, 6), max_size=3)),
        "bat_entries": count + draw(st.integers(0, 200)),
        "flags": draw(st.sampled_from([0, 1, 0xFFFFFFFF])),
        "in_use": draw(st.sampled_from([0, IN_USE, 0x37316470])),
    }
    if version == 1:
        fields["size_high"] = draw(st.sampled_from([0, 0xDEADBEEF]))
        fields["data_off"] = draw(st.sampled_from([None, 0, 7]))
        if fields["data_off"] == 7:
            fields["bat_entries"] = count
    return fields, contents


def shows_holes(folder: Path) -> bool:
    path = folder / "probe"
    with open(path, "wb") as stream:
        stream.truncate(MIB)
    with open(path, "rb") as stream:
        return os.lseek(stream.fileno(), 0, os.SEEK_HOLE) == 0


def assert_covers(extents: List[Extent], start: int, length: int) -> None:
    position = start
    for extent in extents:
        assert extent.start == position
        assert extent.length > 0
        position = extent.end
    assert position == start + length
    assert all(one.kind != other.kind for one, other in zip(extents, extents[1:]))


@given(disks(), st.data())
def test_reader_gives_the_bytes_of_the_model(
    tmp_path_factory: pytest.TempPathFactory, disk: Tuple[Dict[str, object], Dict[int, bytes]], data: st.DataObject
) -> None:
    fields, contents = disk
    path = str(tmp_path_factory.mktemp("image") / "disk.hds")
    images.build_hds(path, clusters=contents, **fields)  # type: ignore[arg-type]
    model = images.guest_bytes(
        size_sectors=fields["size_sectors"], cluster_sectors=fields["cluster_sectors"], clusters=contents
    )  # type: ignore[arg-type]
    image = open_hds(PORT, path)
    try:
        assert image.size == len(model)
        assert read(image, 0, image.size) == model
        start = data.draw(st.integers(0, image.size))
        length = data.draw(st.integers(0, image.size - start))
        assert read(image, start, length) == model[start : start + length]
        extents = list(image.extents(start, length))
        assert_covers(extents, start, length)
        cluster_bytes = image.header.cluster_bytes
        for extent in extents:
            absent = {
                index not in contents for index in range(extent.start // cluster_bytes, -(-extent.end // cluster_bytes))
            }
            assert absent == {extent.kind == ABSENT}
            assert extent.kind == DATA or not any(model[extent.start : extent.end])
        checked_places(image, start, length)
    finally:
        image.close()


def test_holes_of_the_host_within_a_cluster_are_zero(tmp_path: Path) -> None:
    if not shows_holes(tmp_path):
        pytest.skip("the file system of the tests does not show holes")
    path = str(tmp_path / "disk.hds")
    content = images.fill(1, 65536)
    images.build_hds(path, size_sectors=4 * 2048, clusters={1: content, 2: b""})
    image = open_hds(PORT, path)
    extents = list(image.extents(0, image.size))
    image.close()
    assert_covers(extents, 0, 4 * MIB)
    assert extents == [
        Extent(0, MIB, ABSENT),
        Extent(MIB, 65536, DATA),
        Extent(MIB + 65536, 2 * MIB - 65536, ZERO),
        Extent(3 * MIB, MIB, ABSENT),
    ]


def test_what_opening_tells_is_there_as_attributes(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.hds")
    images.build_hds(path, size_sectors=19532, clusters={9: b"x"}, version=2, in_use=IN_USE)
    image = open_hds(PORT, path)
    assert (image.path, image.size, image.header.is_dirty, image.table.clusters_used, image.extension) == (
        path,
        19532 * 512,
        True,
        1,
        None,
    )
    image.close()


@pytest.mark.parametrize("start, length", [(0, 1 + 4 * MIB), (4 * MIB, 1), (-1, 1), (0, -1), (1 << 70, 1)])
def test_a_range_outside_the_disk_is_a_bad_request(tmp_path: Path, start: int, length: int) -> None:
    path = str(tmp_path / "disk.hds")
    images.build_hds(path, size_sectors=4 * 2048, clusters={})
    image = open_hds(PORT, path)
    with pytest.raises(BadRequest):
        image.extents(start, length)
    with pytest.raises(BadRequest):
        image.places(start, length)
    if 0 <= length <= 1:
        with pytest.raises(BadRequest):
            image.pread_into(start, bytearray(length))
    image.close()


def test_empty_ranges_are_answered_everywhere(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.hds")
    images.build_hds(path, size_sectors=4 * 2048, clusters={1: b"x", 3: b"y"})
    image = open_hds(PORT, path)
    for start in (0, MIB, MIB + 5, 4 * MIB):
        assert list(image.extents(start, 0)) == []
        assert list(image.places(start, 0)) == []
        image.pread_into(start, bytearray())
    image.close()


def test_a_file_that_shrinks_after_opening_is_damaged(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.hds")
    images.build_hds(path, size_sectors=4 * 2048, clusters={0: b"x", 1: b"y"})
    image = open_hds(PORT, path)
    os.truncate(path, 2 * MIB + 100)
    assert read(image, 0, MIB + 100)[0:1] == b"x"
    with pytest.raises(Damaged) as caught:
        read(image, MIB, 200)
    assert caught.value.offset == 2 * MIB + 100
    image.close()


def test_the_last_cluster_may_end_with_the_guest(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.hds")
    content = images.fill(1, 4 * 512)
    images.build_hds(path, size_sectors=2048 + 4, clusters={1: content}, file_size=MIB + 4 * 512)
    image = open_hds(PORT, path)
    assert read(image, MIB, 4 * 512) == content
    image.close()
    os.truncate(path, MIB + 4 * 512 - 1)
    with pytest.raises(Damaged):
        open_hds(PORT, path)


def test_threads_may_share_a_reader(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.hds")
    contents = {index: images.fill(index, 63 * 512) for index in range(0, 40, 2)}
    images.build_hds(
        path, size_sectors=40 * 63, cluster_sectors=63, clusters=contents, order=sorted(contents, reverse=True)
    )
    model = images.guest_bytes(size_sectors=40 * 63, cluster_sectors=63, clusters=contents)
    image = open_hds(PORT, path)
    wrong: List[int] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _index in range(200):
            start = draw.randrange(len(model))
            length = draw.randrange(len(model) - start)
            if read(image, start, length) != model[start : start + length]:
                wrong.append(start)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    image.close()
    assert wrong == []


class Watching:
    """A port that counts the files it opened and those that were closed."""

    def __init__(self) -> None:
        self.open = 0

    def open_read(self, path: str) -> object:
        file = PORT.open_read(path)
        close = file.close
        self.open += 1

        def counted() -> None:
            self.open -= 1
            close()

        file.close = counted  # type: ignore[method-assign]
        return file


@pytest.mark.parametrize("content", [b"", b"WithoutFreeSpace", bytes(5000), b"WithoutFreeSpace" + b"\xff" * 5000])
def test_a_file_that_is_refused_is_closed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "disk.hds"
    path.write_bytes(content)
    port = Watching()
    with pytest.raises(Damaged):
        open_hds(port, str(path))  # type: ignore[arg-type]
    assert port.open == 0


def test_a_sparse_disk_of_many_tebibytes_opens_by_what_is_allocated(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.hds")
    entries = 15 << 20
    data_off = -(-(64 + 4 * entries) // MIB) * 2048
    with open(path, "wb") as stream:
        try:
            stream.truncate(data_off * 512 + 2 * MIB)
        except OSError as error:
            pytest.skip(f"the file system of the tests takes no large files: {error}")
        stream.seek(0)
        stream.write(
            images.pack_hds_header(size_sectors=entries * 2048, bat_entries=entries, version=2, data_off=data_off)
        )
        stream.seek(64 + 4 * 9_000_000)
        stream.write(struct.pack("<2I", data_off // 2048, data_off // 2048 + 1))
    image = open_hds(PORT, path)
    assert list(image.places(0, image.size)) == [(9_000_000 * MIB, 2 * MIB, image.file, data_off * 512)]
    assert [extent.kind for extent in image.extents(0, image.size)] == [ABSENT, ZERO, ABSENT]
    image.close()


@given(st.data())
def test_any_damage_ends_in_an_error_or_in_an_image_that_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = str(tmp_path_factory.mktemp("image") / "disk.hds")
    version = data.draw(st.sampled_from([1, 2]))
    images.build_hds(
        path, size_sectors=96, cluster_sectors=8, clusters={1: b"a" * 4096, 2: b"b" * 4096, 9: b"c"}, version=version
    )
    with open(path, "rb+") as stream:
        for _index in range(data.draw(st.integers(1, 4))):
            offset = data.draw(st.integers(4, 30)) * 4
            value = data.draw(
                st.one_of(
                    st.sampled_from([0, 1, 2, 8, 16, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]), st.integers(0, 0xFFFFFFFF)
                )
            )
            stream.seek(offset)
            stream.write(struct.pack("<I", value))
        stream.truncate(data.draw(st.one_of(st.just(os.path.getsize(path)), st.integers(0, 20000))))
    try:
        image = open_hds(PORT, path)
    except DiskError as error:
        assert not isinstance(error, IoFailure)
        assert error.path == path
        return
    assert_covers(list(image.extents(0, image.size)), 0, image.size)
    assert len(read(image, 0, min(image.size, 1 << 16))) == min(image.size, 1 << 16)
    image.close()


@pytest.mark.parametrize("many", [1, 1000])
@pytest.mark.parametrize("tail", [0, 300])
def test_a_scattered_image_without_holes_is_described_alike_by_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int, tail: int
) -> None:
    """Many runs in a dense file are joined at once; ``tail`` sectors are missing in the last cluster of the guest."""
    chance = random.Random(7)
    count = 300
    indexes = [index for index in range(count) if chance.random() < 0.8]
    order = list(indexes)
    chance.shuffle(order)
    contents = {index: images.fill(index, 512 * 512) for index in indexes}
    path = tmp_path / "disk.hds"
    images.build_hds(path, size_sectors=count * 512 - tail, cluster_sectors=512, clusters=contents, order=order)
    monkeypatch.setattr(hds, "_MANY_RUNS", many)
    image = open_hds(PORT, str(path))
    asked = []
    ranges = type(image.file).data_ranges
    monkeypatch.setattr(
        type(image.file), "data_ranges", lambda self, start, end: asked.append(start) or ranges(self, start, end)
    )
    try:
        for _round in range(50):
            start = chance.randrange(image.size)
            length = chance.randrange(image.size - start)
            asked.clear()
            extents = list(image.extents(start, length))
            assert_covers(extents, start, length)
            if many == 1 and length > 512 * 512 * 3:
                assert len(asked) == 1
            for extent in extents:
                first, last = extent.start // (512 * 512), (extent.end - 1) // (512 * 512)
                assert {index in contents for index in range(first, last + 1)} == {extent.kind == DATA}
    finally:
        image.close()


def test_a_scattered_image_with_a_hole_is_asked_run_by_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shows_holes(tmp_path):
        pytest.skip("this file system shows no holes")
    monkeypatch.setattr(hds, "_MANY_RUNS", 1)
    contents = {index: images.fill(index, 512 * 512) for index in range(40)}
    contents[11] = b""
    path = tmp_path / "disk.hds"
    images.build_hds(
        path, size_sectors=40 * 512, cluster_sectors=512, clusters=contents, order=[*range(1, 40, 2), *range(0, 40, 2)]
    )
    image = open_hds(PORT, str(path))
    try:
        cluster = 512 * 512
        assert list(image.extents(0, image.size)) == [
            Extent(0, 11 * cluster, DATA),
            Extent(11 * cluster, cluster, ZERO),
            Extent(12 * cluster, 28 * cluster, DATA),
        ]
    finally:
        image.close()
