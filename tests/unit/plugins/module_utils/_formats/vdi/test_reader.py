# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    NotFound,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.reader import VdiImage, open_vdi
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images, vdi_images
from ansible_collections.vdisk.parallels.tests.support.places import checked_places
from ansible_collections.vdisk.parallels.tests.support.vdi_images import FREE, build_vdi, change
from ansible_collections.vdisk.parallels.tests.support.vdi_images import ZERO as ZERO_ENTRY

PORT = OsPort()
BLOCK = 4 * KIB


def whole(image: VdiImage) -> bytes:
    content = bytearray(b"\xa5" * image.size)
    image.pread_into(0, content)
    return bytes(content)


def guest(size: int, block: int, contents: Dict[int, bytes]) -> bytearray:
    model = bytearray(size)
    for index, content in contents.items():
        end = min(size, index * block + len(content))
        model[index * block : end] = content[: end - index * block]
    return model


@st.composite
def scenes(draw: st.DrawFn) -> Tuple[int, Dict[int, bytes], List[int], Dict[int, int], int]:
    """Size, stored blocks, their order in the file, entries for blocks set to zero, extra bytes."""
    count = draw(st.integers(1, 40))
    size = count * BLOCK - draw(st.integers(0, BLOCK - 1))
    stored = draw(st.lists(st.integers(0, count - 1), unique=True))
    cleared = draw(st.sets(st.integers(0, count - 1)).map(lambda found: found - set(stored)))
    contents = {index: images.fill(index, BLOCK) for index in stored}
    order = stored if draw(st.booleans()) else sorted(stored)
    return size, contents, order, dict.fromkeys(cleared, ZERO_ENTRY), draw(st.sampled_from([0, 512, BLOCK]))


@given(scenes(), st.data())
def test_every_range_reads_as_the_model(
    tmp_path_factory: pytest.TempPathFactory, scene: Any, data: st.DataObject
) -> None:
    size, contents, order, cleared, extra = scene
    path = str(tmp_path_factory.mktemp("image") / "disk.vdi")
    build_vdi(path, size=size, block=BLOCK, extra=extra, contents=contents, order=order, entries=cleared)
    model = guest(size, BLOCK, contents)
    image = open_vdi(PORT, path)
    assert image.size == size
    assert whole(image) == model
    for _index in range(3):
        start = data.draw(st.integers(0, size))
        length = data.draw(st.integers(0, size - start))
        part = bytearray(b"\xa5" * length)
        image.pread_into(start, part)
        assert part == model[start : start + length]
        parts = list(image.extents(start, length))
        assert [part.start for part in parts] + [start + length] == [start] + [part.end for part in parts]
        assert all(one.kind != other.kind for one, other in zip(parts, parts[1:]))
        stored = {
            index
            for part in parts
            if part.kind == DATA
            for index in range(part.start // BLOCK, (part.end - 1) // BLOCK + 1)
        }
        assert stored == (
            {index for index in contents if index * BLOCK < start + length and (index + 1) * BLOCK > start}
            if length
            else set()
        )
        assert {part.kind for part in parts} <= {DATA, ZERO}
        checked_places(image, start, length)
    image.close()


def test_the_facts_of_an_image(tmp_path: Path) -> None:
    path = tmp_path / "disk.vdi"
    build_vdi(str(path), size=3 * MIB + 7, contents={1: b"x" * MIB})
    image = open_vdi(PORT, str(path))
    assert (image.path, image.files, image.parent) == (str(path), (str(path),), None)
    assert image.identity == "{11223344-5566-7788-99aa-bbccddeeff00}"
    assert (image.properties, image.warnings) == ({"subformat": "dynamic", "cluster_size": MIB}, ())
    assert [tuple(part)[:3] for part in image.extents(0, image.size)] == [
        (0, MIB, ZERO),
        (MIB, MIB, DATA),
        (2 * MIB, MIB + 7, ZERO),
    ]
    image.close()
    image.close()


def test_a_fixed_image_whose_file_has_holes(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.vdi")
    contents = {0: b"", 1: b"y" * MIB, 2: b""}
    data = build_vdi(path, size=3 * MIB, contents=contents, type=2, header_bytes=400)
    image = open_vdi(PORT, path)
    assert image.properties["subformat"] == "fixed"
    assert list(image.places(0, image.size)) == [(0, 3 * MIB, image.file, data)]
    assert whole(image) == bytes(MIB) + b"y" * MIB + bytes(MIB)
    zeros = sum(part.length for part in image.extents(0, image.size) if part.kind == ZERO)
    assert zeros >= 2 * MIB - 16 * KIB
    image.close()


def test_an_image_without_uuids_has_no_identity(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.vdi")
    build_vdi(path, size=MIB, contents={}, created=bytes(16), flags=2, allocated=7)
    image = open_vdi(PORT, path)
    assert image.identity is None
    assert len(image.warnings) == 2
    image.close()


@pytest.mark.parametrize("start, length", [(-1, 1), (0, MIB + 1), (MIB, 1), (0, -1), (MIB + 1, 0)])
def test_behind_the_disk_is_a_bad_request(tmp_path: Path, start: int, length: int) -> None:
    path = str(tmp_path / "disk.vdi")
    build_vdi(path, size=MIB, contents={})
    image = open_vdi(PORT, path)
    with pytest.raises(BadRequest):
        image.extents(start, length)
    with pytest.raises(BadRequest):
        image.places(start, length)
    if length >= 0:
        with pytest.raises(BadRequest):
            image.pread_into(start, bytearray(length))
    image.close()


HEADER_FAULTS = [
    pytest.param({"signature": 0xBEDA107E}, Damaged, 64, id="signature"),
    pytest.param({"version": 2}, Unsupported, 68, id="first versions"),
    pytest.param({"version": 0x00010002}, Unsupported, 68, id="later version"),
    pytest.param({"header_bytes": 383}, Damaged, 72, id="header too short"),
    pytest.param({"header_bytes": 441}, Damaged, 340, id="header reaches into the map"),
    pytest.param({"header_bytes": 0xFFFFFFFF}, Damaged, 340, id="header too long"),
    pytest.param({"type": 0}, Damaged, 76, id="no type"),
    pytest.param({"type": 5}, Damaged, 76, id="unknown type"),
    pytest.param({"type": 3}, Unsupported, 76, id="undo image"),
    pytest.param({"type": 4}, Damaged, 424, id="differencing image without a parent"),
    pytest.param({"linkage": b"\1" + bytes(15)}, Damaged, 424, id="linkage of a dynamic image"),
    pytest.param({"type": 2, "linkage": b"\1" + bytes(15)}, Damaged, 424, id="linkage of a fixed image"),
    pytest.param({"offset_map": 0}, Damaged, 340, id="map in the header"),
    pytest.param({"offset_map": 513}, Damaged, 340, id="map off the sectors"),
    pytest.param({"offset_map": 0xFFFFFE00}, Damaged, 344, id="map behind the data"),
    pytest.param({"offset_data": 512}, Damaged, 344, id="data over the map"),
    pytest.param({"offset_data": 1025}, Damaged, 344, id="data off the sectors"),
    pytest.param({"offset_data": 0}, Damaged, 344, id="data in the header"),
    pytest.param({"size": 0}, Damaged, 368, id="no size"),
    pytest.param({"size": 4 * MIB + 1}, Damaged, 384, id="size beyond the map"),
    pytest.param({"size": (1 << 64) - 1}, Damaged, 384, id="absurd size"),
    pytest.param({"block": 0}, Damaged, 376, id="no block size"),
    pytest.param({"block": 2048}, Damaged, 376, id="block too small"),
    pytest.param({"block": 128 * MIB}, Damaged, 376, id="block too large"),
    pytest.param({"block": 3 * MIB}, Damaged, 376, id="block no power of two"),
    pytest.param({"extra": 24}, Damaged, 380, id="extra bytes no power of two"),
    pytest.param({"extra": 2 * MIB}, Damaged, 380, id="extra bytes above the block"),
    pytest.param({"blocks": 0}, Damaged, 384, id="no blocks"),
    pytest.param({"blocks": 3}, Damaged, 384, id="too few blocks"),
    pytest.param({"blocks": 0xFFFFFFFF}, Unsupported, 384, id="too many blocks"),
    pytest.param({"blocks": 0x1FFFFF80}, Damaged, 344, id="map over the data"),
]


@pytest.mark.parametrize("fields, kind, offset", HEADER_FAULTS)
def test_a_wrong_header_is_refused_where_it_is_wrong(
    tmp_path: Path, fields: Dict[str, Any], kind: type, offset: int
) -> None:
    path = str(tmp_path / "disk.vdi")
    build_vdi(path, size=4 * MIB, contents={2: b"z" * MIB})
    open_vdi(PORT, path).close()
    change(path, **fields)
    with pytest.raises(kind) as caught:
        open_vdi(PORT, path)
    assert isinstance(caught.value, DiskError)
    assert (caught.value.path, caught.value.offset) == (path, offset)


def test_an_overlay_says_what_it_holds_what_it_hides_and_who_is_below(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.vdi")
    parent, changed = vdi_images.MODIFIED, vdi_images.CREATED
    build_vdi(
        path,
        size=6 * BLOCK,
        block=BLOCK,
        contents={1: b"x" * BLOCK, 4: b"y" * BLOCK},
        entries={2: ZERO_ENTRY, 3: ZERO_ENTRY},
        type=4,
        linkage=parent.bytes_le,
        parent_modified=changed.bytes_le,
    )
    image = open_vdi(PORT, path)
    assert image.parent is not None and image.parent.ids == image.ids
    assert image.ids == tuple("{" + str(one) + "}" for one in (changed, parent, parent, changed))
    assert image.properties["subformat"] == "differencing"
    assert [(part.start // BLOCK, part.end // BLOCK, part.kind) for part in image.extents(0, 6 * BLOCK)] == [
        (0, 1, ABSENT),
        (1, 2, DATA),
        (2, 4, ZERO),
        (4, 5, DATA),
        (5, 6, ABSENT),
    ]
    assert whole(image) == guest(6 * BLOCK, BLOCK, {1: b"x" * BLOCK, 4: b"y" * BLOCK})
    checked_places(image, 0, 6 * BLOCK)
    image.close()


@pytest.mark.parametrize("length", [0, 1, 64, 71, 72, 511])
def test_a_file_that_ends_in_its_header_is_refused(tmp_path: Path, length: int) -> None:
    path = str(tmp_path / "disk.vdi")
    build_vdi(path, size=MIB, contents={0: b"x" * MIB}, file_size=length)
    with pytest.raises(Damaged) as caught:
        open_vdi(PORT, path)
    assert caught.value.offset == length


def test_a_file_that_ends_in_its_map_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.vdi")
    build_vdi(path, size=MIB, contents={0: b"x" * MIB}, file_size=515)
    with pytest.raises(Damaged) as caught:
        open_vdi(PORT, path)
    assert caught.value.offset == 515


class Counting(OsPort):
    """Counts the files that stay open."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: List[Any] = []

    def open_read(self, path: str) -> Any:
        file = super().open_read(path)
        self.opened.append(file)
        return file


def test_the_file_is_closed_when_opening_fails(tmp_path: Path) -> None:
    port, path = Counting(), str(tmp_path / "disk.vdi")
    build_vdi(path, size=MIB, contents={}, type=3)
    with pytest.raises(Unsupported):
        open_vdi(port, path)
    with pytest.raises(DiskError):
        port.opened[0].size()
    with pytest.raises(NotFound):
        open_vdi(port, str(tmp_path / "nothing.vdi"))


def test_a_wrong_entry_is_refused_when_it_is_met(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.vdi")
    blocks = 40_000
    build_vdi(
        path, size=blocks * BLOCK, block=BLOCK, contents={3: b"x" * BLOCK, 39_000: b"y" * BLOCK}, entries={39_500: 2}
    )
    image = open_vdi(PORT, path)
    part = bytearray(BLOCK)
    image.pread_into(3 * BLOCK, part)
    assert part == b"x" * BLOCK
    assert [extent.kind for extent in image.extents(0, 16384 * BLOCK)] == [ZERO, DATA, ZERO]
    for _attempt in range(2):
        with pytest.raises(Damaged) as caught:
            image.pread_into(39_000 * BLOCK, part)
        assert caught.value.offset == 512 + 4 * 39_500
        with pytest.raises(Damaged):
            list(image.extents(0, image.size))
    image.pread_into(3 * BLOCK, part)
    assert part == b"x" * BLOCK
    image.close()


def test_reading_from_threads_gives_what_one_reader_sees(tmp_path: Path) -> None:
    path, blocks = str(tmp_path / "disk.vdi"), 70_000
    stored = random.Random(5).sample(range(blocks), 60)
    build_vdi(
        path,
        size=blocks * BLOCK,
        block=BLOCK,
        contents={index: images.fill(index, BLOCK) for index in stored},
        order=stored,
    )
    image = open_vdi(PORT, path)
    wrong: List[int] = []

    def look(seed: int) -> None:
        part = bytearray(BLOCK)
        for index in random.Random(seed).sample(stored, len(stored)):
            image.pread_into(index * BLOCK, part)
            if part != images.fill(index, BLOCK):
                wrong.append(index)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    image.close()
    assert not wrong


def test_entries_of_a_hole_in_the_map_are_not_free(tmp_path: Path) -> None:
    """A sparse file may claim a huge map; its zeros are the same stored block again and again."""
    path = str(tmp_path / "disk.vdi")
    blocks = 1 << 28
    with open(path, "wb") as stream:
        data = 512 + 4 * blocks
        stream.write(vdi_images.pack_header(size=blocks * MIB, blocks=blocks, offset_data=data, allocated=0))
        stream.truncate(data + MIB)
    image = open_vdi(PORT, path)
    with pytest.raises(Damaged):
        next(image.extents(0, image.size))
    image.close()


def test_a_last_block_that_is_cut_in_its_unseen_tail_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.vdi")
    data = build_vdi(path, size=MIB + 512, contents={0: b"x" * MIB, 1: b"y" * 512}, file_size=10 * MIB)
    for length, whole_file in (
        (data + MIB + 512, True),
        (data + MIB + 511, False),
        (data + MIB, False),
        (data + 3, False),
    ):
        with open(path, "r+b") as stream:
            stream.truncate(length)
        image = open_vdi(PORT, path)
        if whole_file:
            assert whole(image) == b"x" * MIB + b"y" * 512
        else:
            with pytest.raises(Damaged) as caught:
                whole(image)
            assert caught.value.offset == 512 + (4 if length >= data + MIB else 0)
        image.close()


def test_a_file_that_shrinks_while_it_is_open_is_damaged(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.vdi")
    data = build_vdi(path, size=2 * MIB, contents={0: b"x" * MIB, 1: b"y" * MIB})
    image = open_vdi(PORT, path)
    with open(path, "r+b") as stream:
        stream.truncate(data + MIB + 5)
    with pytest.raises(Damaged) as caught:
        whole(image)
    assert caught.value.offset == data + MIB + 5
    image.close()


@given(
    st.binary(min_size=448, max_size=448),
    st.lists(st.sampled_from([0, 1, 2, 3, FREE, ZERO_ENTRY, 0x7FFFFFFF]), min_size=4, max_size=4),
)
def test_noise_ends_in_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, entries: List[int]
) -> None:
    path = str(tmp_path_factory.mktemp("image") / "disk.vdi")
    build_vdi(
        path, size=4 * BLOCK, block=BLOCK, contents={0: b"x" * BLOCK, 1: b"y" * BLOCK}, entries=dict(enumerate(entries))
    )
    kept = 72 if noise[0] % 2 else 512
    with open(path, "r+b") as stream:
        stream.seek(kept)
        stream.write(noise[: 512 - kept])
    try:
        image = open_vdi(PORT, path)
    except DiskError:
        return
    legal = [entry for entry in entries if entry < ZERO_ENTRY]
    fits = len(set(legal)) == len(legal) and all(entry < 2 for entry in legal)
    try:
        read = whole(image)
    except Damaged:
        assert not fits
    else:
        assert fits
        expected = {0: b"x" * BLOCK, 1: b"y" * BLOCK}
        assert read == b"".join(expected.get(entry, bytes(BLOCK)) for entry in entries)
    finally:
        image.close()
