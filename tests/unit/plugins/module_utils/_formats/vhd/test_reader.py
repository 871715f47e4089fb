# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    MissingImage,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import GIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.reader import VhdImage, open_vhd
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.places import checked_places

KIB = 1024
BLOCK = 16 * KIB
SIZE = 5 * BLOCK + 512
UNIQUE = bytes(range(16))
PARENT = bytes(range(16, 32))
TABLE = 1536
Fields = Mapping[int, bytes]


class CountingPort(OsPort):
    """The operating system, with a count of the files that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: List[File] = []

    def open_read(self, path: str) -> File:
        file = super().open_read(path)
        self.opened.append(file)
        return file

    def assert_all_closed(self) -> None:
        for file in self.opened:
            with pytest.raises((DiskError, OSError, ValueError)):
                file.pread_into(0, bytearray(1))


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


def summed(raw: bytearray, field: int, fields: Optional[Fields]) -> bytes:
    """``raw`` with these fields and a good checksum."""
    for offset, value in (fields or {}).items():
        raw[offset : offset + len(value)] = value
    raw[field : field + 4] = bytes(4)
    raw[field : field + 4] = u32(0xFFFFFFFF - sum(raw))
    return bytes(raw)


def footer_of(disk_type: int, size: int, fields: Optional[Fields] = None) -> bytes:
    raw = bytearray(512)
    data_offset = 0xFFFFFFFFFFFFFFFF if disk_type == 2 else 512
    start = struct.pack(
        ">8sIIQI4sI4sQQHBBI",
        b"conectix",
        2,
        0x10000,
        data_offset,
        0,
        b"win ",
        0,
        b"Wi2k",
        size,
        size,
        30,
        4,
        17,
        disk_type,
    )
    raw[:64] = start
    raw[68:84] = UNIQUE
    return summed(raw, 64, fields)


def header_of(entries: int, block: int, table: int = TABLE, fields: Optional[Fields] = None) -> bytes:
    raw = bytearray(1024)
    raw[:36] = struct.pack(">8sQQIII", b"cxsparse", 0xFFFFFFFFFFFFFFFF, table, 0x10000, entries, block)
    return summed(raw, 36, fields)


def build_fixed(path: Path, content: bytes, *, fields: Optional[Fields] = None, cut: int = 0) -> str:
    path.write_bytes((content + footer_of(2, len(content), fields))[: len(content) + 512 - cut])
    return str(path)


def build(
    path: Path,
    *,
    blocks: Mapping[int, bytes],
    bitmaps: Optional[Mapping[int, bytes]] = None,
    disk_type: int = 3,
    size: int = SIZE,
    block: int = BLOCK,
    order: Optional[Sequence[int]] = None,
    entries: Optional[Mapping[int, int]] = None,
    footer: Optional[Fields] = None,
    header: Optional[Fields] = None,
    names: Sequence[Tuple[bytes, bytes]] = (),
    has_tail: bool = True,
    has_copy: bool = True,
) -> Tuple[str, Dict[int, int]]:
    """A dynamic or differencing image, packed tightly, and the sectors of its blocks.

    ``names`` (code, text) follow the table.
    """
    count = -(-size // block)
    bitmap_bytes = -(-(block // 4096) // 512) * 512
    position = TABLE + -(-count * 4 // 512) * 512
    locators, texts = {}, []
    for index, (code, text) in enumerate(names):
        locators[576 + 24 * index] = struct.pack(">4sIIIQ", code, 1, len(text), 0, position)
        texts.append((position, text))
        position += -(-len(text) // 512) * 512
    sectors = {}
    for index in order if order is not None else sorted(blocks):
        sectors[index] = position // 512
        position += bitmap_bytes + block
    table = [0xFFFFFFFF] * count
    for index, sector in {**sectors, **(entries or {})}.items():
        table[index] = sector
    tail = footer_of(disk_type, size, footer)
    with open(path, "wb") as stream:
        stream.write(tail if has_copy else bytes(512))
        stream.write(
            header_of(count, block, fields={40: PARENT if disk_type == 4 else bytes(16), **locators, **(header or {})})
        )
        stream.write(struct.pack(f">{count}I", *table).ljust(-(-count * 4 // 512) * 512, b"\xff"))
        for offset, text in texts:
            stream.seek(offset)
            stream.write(text)
        for index, sector in sectors.items():
            stream.seek(sector * 512)
            stream.write((bitmaps or {}).get(index, b"\xff" * (block // 4096)).ljust(bitmap_bytes, b"\0"))
            stream.write(blocks[index].ljust(block, b"\0"))
        stream.truncate(position)
        stream.seek(position)
        if has_tail:
            stream.write(tail)
    return str(path), sectors


def nobody(name: str) -> File:
    raise MissingImage(f"{name} is not there")


def beside(port: OsPort, folder: Path) -> Callable[[str], File]:
    def open_beside(name: str) -> File:
        assert "/" not in name
        if not (folder / name).exists():
            raise MissingImage(f"{name} is not there", path=str(folder / name))
        return port.open_read(str(folder / name))

    return open_beside


def open_alone(path: str) -> VhdImage:
    return open_vhd(OsPort(), path, nobody)


def read(image: VhdImage, offset: int = 0, length: Optional[int] = None) -> bytes:
    buffer = bytearray(b"\xaa" * (image.size - offset if length is None else length))
    image.pread_into(offset, buffer)
    return bytes(buffer)


def refused(path: str, error: type = Damaged) -> DiskError:
    """The error of opening; every file is closed then."""
    port = CountingPort()
    with pytest.raises(error) as caught:
        open_vhd(port, path, beside(port, Path(path).parent))
    port.assert_all_closed()
    assert isinstance(caught.value, DiskError)
    assert caught.value.path is not None
    return caught.value


def block_of(index: int, length: int = BLOCK) -> bytes:
    return images.fill(index, length)


def test_a_fixed_image_is_its_data(tmp_path: Path) -> None:
    content = images.fill(1, 64 * KIB + 512)
    image = open_alone(build_fixed(tmp_path / "disk.vhd", content))
    assert image.size == len(content)
    assert read(image) == content and read(image, 777, 1000) == content[777:1777]
    assert list(image.extents(0, image.size)) == [Extent(0, len(content), DATA)]
    assert (image.path, image.files) == (str(tmp_path / "disk.vhd"), (os.path.realpath(tmp_path / "disk.vhd"),))
    assert image.properties == {"subformat": "fixed"}
    assert image.identity == "{00010203-0405-0607-0809-0a0b0c0d0e0f}"
    assert image.parent is None and image.warnings == ()
    image.close()
    image.close()


def test_holes_of_a_fixed_image_are_zero(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhd"
    with open(path, "wb") as stream:
        stream.seek(MIB)
        stream.write(images.fill(1, 64 * KIB))
        stream.seek(2040 * GIB)
        stream.write(footer_of(2, 2040 * GIB))
    image = open_alone(str(path))
    assert image.size == 2040 * GIB
    if len(found := list(image.extents(0, image.size))) > 1:
        assert found == [
            Extent(0, MIB, ZERO),
            Extent(MIB, 64 * KIB, DATA),
            Extent(MIB + 64 * KIB, 2040 * GIB - MIB - 64 * KIB, ZERO),
        ]
    image.close()


def test_an_old_footer_is_one_byte_short(tmp_path: Path) -> None:
    content = images.fill(1, 64 * KIB)
    image = open_alone(build_fixed(tmp_path / "disk.vhd", content, cut=1))
    assert (image.size, read(image), image.warnings) == (len(content), content, ())
    image.close()


def test_an_old_dynamic_image_reads_as_one(tmp_path: Path) -> None:
    path, _sectors = build(tmp_path / "disk.vhd", blocks={4: block_of(4)})
    os.truncate(path, os.path.getsize(path) - 1)
    image = open_alone(path)
    assert (read(image, 4 * BLOCK, BLOCK), image.warnings) == (block_of(4), ())
    image.close()


def test_a_dynamic_image_is_its_blocks(tmp_path: Path) -> None:
    blocks = {1: block_of(1), 2: block_of(2), 5: block_of(5)}
    path, _sectors = build(tmp_path / "disk.vhd", blocks=blocks)
    image = open_alone(path)
    model = bytearray(6 * BLOCK)
    for index, content in blocks.items():
        model[index * BLOCK : (index + 1) * BLOCK] = content
    assert read(image) == model[:SIZE]
    expected = [(0, BLOCK, ZERO), (BLOCK, 2 * BLOCK, DATA), (3 * BLOCK, 2 * BLOCK, ZERO), (5 * BLOCK, 512, DATA)]
    assert list(image.extents(0, SIZE)) == [Extent(*part) for part in expected]
    assert list(image.extents(BLOCK + 1, 5)) == [Extent(BLOCK + 1, 5, DATA)]
    assert list(image.extents(7, 0)) == []
    assert image.properties == {"subformat": "dynamic", "cluster_size": BLOCK}
    assert image.parent is None and image.warnings == ()
    image.close()


def test_a_sector_of_a_dynamic_image_whose_bit_is_clear_was_never_written(tmp_path: Path) -> None:
    path, _sectors = build(tmp_path / "disk.vhd", blocks={0: block_of(0)}, bitmaps={0: b"\x80\0\0\x01"})
    image = open_alone(path)
    content = block_of(0)
    assert read(image, 0, BLOCK) == content[:512] + bytes(30 * 512) + content[-512:]
    assert list(image.extents(0, BLOCK)) == [
        Extent(0, 512, DATA),
        Extent(512, 30 * 512, ZERO),
        Extent(31 * 512, 512, DATA),
    ]
    image.close()


def test_a_sector_of_an_overlay_whose_bit_is_clear_is_the_parents(tmp_path: Path) -> None:
    path, _sectors = build(tmp_path / "disk.vhd", blocks={1: block_of(1)}, bitmaps={1: b"\x0f\xff\0\0"}, disk_type=4)
    image = open_alone(path)
    expected = [(0, BLOCK + 2048, ABSENT), (BLOCK + 2048, 6144, DATA), (BLOCK + 8192, SIZE - BLOCK - 8192, ABSENT)]
    assert list(image.extents(0, SIZE)) == [Extent(*part) for part in expected]
    assert read(image, BLOCK, 8704) == bytes(2048) + block_of(1)[2048:8192] + bytes(512)
    image.close()


@st.composite
def disks(draw: st.DrawFn) -> Tuple[int, int, Dict[int, bytes], Dict[int, bytes], List[int]]:
    """Size, block size, blocks, bitmaps and the order of the blocks in the file."""
    block = draw(st.sampled_from([4096, 8192, 32768]))
    count = draw(st.integers(1, 7))
    size = count * block - 512 * draw(st.integers(0, block // 512 - 1))
    order = draw(st.permutations(draw(st.lists(st.integers(0, count - 1), unique=True))))
    bitmaps = {}
    for index in order:
        bitmaps[index] = bytes(
            draw(st.lists(st.sampled_from([0, 255, 0x80, 1, 0x5A]), min_size=block // 4096, max_size=block // 4096))
        )
    return size, block, {index: block_of(index, block) for index in order}, bitmaps, order


@settings(deadline=None)
@given(disks(), st.sampled_from([3, 4]), st.data())
def test_any_image_reads_as_its_model(
    tmp_path_factory: pytest.TempPathFactory,
    disk: Tuple[int, int, Dict[int, bytes], Dict[int, bytes], List[int]],
    disk_type: int,
    data: st.DataObject,
) -> None:
    size, block, blocks, bitmaps, order = disk
    path, _sectors = build(
        tmp_path_factory.mktemp("image") / "disk.vhd",
        blocks=blocks,
        bitmaps=bitmaps,
        order=order,
        size=size,
        block=block,
        disk_type=disk_type,
    )
    model, stored = bytearray(-(-size // block) * block), bytearray(-(-size // block) * block // 512)
    for index, bitmap in bitmaps.items():
        for sector in range(block // 512):
            if bitmap[sector // 8] & 0x80 >> sector % 8:
                stored[index * block // 512 + sector] = 1
                start = sector * 512
                model[index * block + start : index * block + start + 512] = blocks[index][start : start + 512]
    image = open_alone(path)
    start = data.draw(st.integers(0, size))
    length = data.draw(st.integers(0, size - start))
    assert read(image, start, length) == model[start : start + length]
    position = start
    found = list(image.extents(start, length))
    for extent in found:
        assert extent.start == position and extent.length > 0
        position = extent.end
        sectors = set(stored[extent.start // 512 : -(-extent.end // 512)])
        assert extent.kind in ({DATA} if sectors == {1} else {ABSENT} if disk_type == 4 else {ZERO})
        assert len(sectors) == 1
    assert position == start + length
    assert all(one.kind != other.kind for one, other in zip(found, found[1:]))
    checked_places(image, start, length)
    image.close()


def test_an_overlay_names_its_parent_best_first(tmp_path: Path) -> None:
    names = [
        (b"Wi2k", b"D:\\old\\base.vhd"),
        (b"MacX", b"file:///base.vhd"),
        (b"W2ku", "C:\\vm\\base.vhd".encode("utf-16-le")),
        (b"W2ru", ".\\bäse.vhd".encode("utf-16-le")),
        (b"Wi2r", b".\\base.vhd"),
        (b"Mac ", b"\0\1\2"),
    ]
    field = "bäse.vhd".encode("utf-16-be")
    path, _sectors = build(tmp_path / "disk.vhd", blocks={0: block_of(0)}, disk_type=4, names=names, header={64: field})
    image = open_alone(path)
    assert image.parent is not None
    assert image.parent.names == ("bäse.vhd", "C:/vm/base.vhd", "base.vhd", "D:/old/base.vhd")
    assert image.parent.format == "vhd"
    assert image.parent.identity == "{10111213-1415-1617-1819-1a1b1c1d1e1f}"
    assert image.properties == {"subformat": "differencing", "cluster_size": BLOCK}
    assert image.warnings == ()
    image.close()


def test_an_overlay_that_does_not_name_its_parent_warns(tmp_path: Path) -> None:
    bad = [
        struct.pack(">4sIIIQ", b"W2ru", 512, length, 0, offset)
        for length, offset in ((70000, 512), (20, 1 << 40), (20, 0xFFFFFFFFFFFFFFFF), (0, 512))
    ]
    locators = {576 + 24 * index: row for index, row in enumerate(bad)}
    path, _sectors = build(
        tmp_path / "disk.vhd", blocks={0: block_of(0)}, disk_type=4, header={**locators, 64: b"\xd8\0"}
    )
    image = open_alone(path)
    assert image.parent is not None and image.parent.names == ()
    assert len(image.warnings) == 1 and "parent" in image.warnings[0]
    image.close()


@pytest.mark.parametrize(
    "fields, word",
    [
        ({28: b"vpc "}, "1044480"),
        ({28: b"qemu"}, "1044480"),
        ({28: b"vs  ", 56: bytes(4)}, " 0 bytes"),
        ({84: b"\1"}, "suspended"),
        ({8: u32(0x12)}, "0x10"),
    ],
)
def test_what_a_user_should_know_is_a_warning(tmp_path: Path, fields: Fields, word: str) -> None:
    # The geometry of a footer made here is 30, 4, 17, thus 1044480 bytes.
    path = build_fixed(tmp_path / "disk.vhd", images.fill(0, 64 * KIB), fields=fields)
    image = open_alone(path)
    assert image.size == 64 * KIB
    assert len(image.warnings) == 1 and word in image.warnings[0], image.warnings
    image.close()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {28: b"qem2"},
        {28: b"vbox"},
        {28: b"wa\0\0"},
        {28: b"vpc ", 56: b"\xff\xff\x10\xff"},
        {28: b"vpc ", 56: b"\0\x80\x01\x01"},
        {8: u32(3)},
    ],
)
def test_what_needs_no_warning_has_none(tmp_path: Path, fields: Fields) -> None:
    image = open_alone(build_fixed(tmp_path / "disk.vhd", images.fill(0, 64 * KIB), fields=fields))
    assert (image.size, image.warnings) == (64 * KIB, ())
    image.close()


def test_an_odd_size_is_rounded_up_with_zeros(tmp_path: Path) -> None:
    content = images.fill(1, 1000)
    image = open_alone(build_fixed(tmp_path / "fixed.vhd", content))
    assert image.size == 1024 and read(image) == content + bytes(24)
    assert [(part.length, part.kind) for part in image.extents(0, 1024)] == [(1000, DATA), (24, ZERO)]
    assert len(image.warnings) == 1
    image.close()
    path, _sectors = build(tmp_path / "dynamic.vhd", blocks={0: block_of(0)}, size=1000)
    image = open_alone(path)
    assert image.size == 1024 and read(image) == block_of(0)[:1024] and len(image.warnings) == 1
    image.close()


def test_the_copy_at_the_start_stands_in_for_a_lost_footer(tmp_path: Path) -> None:
    path, _sectors = build(tmp_path / "disk.vhd", blocks={1: block_of(1)}, has_tail=False)
    whole = Path(path).read_bytes()
    tails = [b"", footer_of(3, SIZE)[:300], bytes(512), footer_of(3, SIZE)[:-1] + b"x"]
    for tail in tails:
        Path(path).write_bytes(whole + tail)
        image = open_alone(path)
        assert read(image, BLOCK, BLOCK) == block_of(1)
        assert len(image.warnings) == 1 and "copy" in image.warnings[0]
        image.close()


def spoilt(path: str, *places: int) -> str:
    """The image with another checksum in the footers at these places."""
    raw = bytearray(Path(path).read_bytes())
    for place in places:
        raw[place % len(raw) + 64] ^= 0xFF
    Path(path).write_bytes(raw)
    return path


def test_a_fixed_image_with_a_wrong_checksum_alone_is_read_with_a_warning(tmp_path: Path) -> None:
    image = open_alone(spoilt(build_fixed(tmp_path / "a.vhd", block_of(1)), -512))
    assert read(image) == block_of(1) and len(image.warnings) == 1 and "checksum" in image.warnings[0]
    # What also says something false of the file is damage.
    refused(spoilt(build_fixed(tmp_path / "b.vhd", block_of(1), fields={48: u64(BLOCK - 512)}), -512))


def test_a_dynamic_image_with_two_wrong_checksums_is_read_with_a_warning(tmp_path: Path) -> None:
    path, _sectors = build(tmp_path / "a.vhd", blocks={0: block_of(0)}, size=2 * BLOCK)
    image = open_alone(spoilt(path, -512, 0))
    assert read(image) == block_of(0) + bytes(BLOCK) and "checksum" in image.warnings[0]
    one = open_alone(spoilt(path, 0))
    assert read(one) == block_of(0) + bytes(BLOCK) and "copy" in one.warnings[0]


def test_a_lost_copy_is_a_warning(tmp_path: Path) -> None:
    path, _sectors = build(tmp_path / "disk.vhd", blocks={1: block_of(1)}, has_copy=False)
    image = open_alone(path)
    assert read(image, BLOCK, BLOCK) == block_of(1)
    assert len(image.warnings) == 1 and "copy" in image.warnings[0]
    image.close()


def test_a_copy_within_the_data_of_a_fixed_image_is_no_copy(tmp_path: Path) -> None:
    content = footer_of(2, 64 * KIB) + images.fill(1, 63 * KIB + 512)
    path = tmp_path / "disk.vhd"
    path.write_bytes(content + bytes(512))
    assert refused(str(path)).offset == len(content)


@pytest.mark.parametrize("length", [0, 1, 510, 511, 512, 513, 2000])
def test_a_file_without_a_footer_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "disk.vhd"
    path.write_bytes(images.fill(1, length))
    refused(str(path))


@pytest.mark.parametrize("step", [1, 511, 512, 2000, 16 * KIB, 20 * KIB, 33 * KIB])
def test_a_cut_file_is_refused_or_warned_of(tmp_path: Path, step: int) -> None:
    path, _sectors = build(tmp_path / "disk.vhd", blocks={1: block_of(1), 3: block_of(3)})
    whole = Path(path).read_bytes()
    for length in range(len(whole) - step, -1, -step):
        Path(path).write_bytes(whole[:length])
        if length >= len(whole) - 512:
            image = open_alone(path)
            assert read(image, 3 * BLOCK, BLOCK) == block_of(3)
            assert bool(image.warnings) == (length != len(whole) - 1)
            image.close()
        else:
            refused(path)
        if step == 1 and length < len(whole) - 600:
            break


@pytest.mark.parametrize(
    "size, error",
    [(0, Damaged), (2040 * GIB + 1, Unsupported), (0xFFFFFFFFFFFFFFFF, Unsupported), (64 * KIB + 1, Damaged)],
)
def test_an_absurd_size_is_refused(tmp_path: Path, size: int, error: type) -> None:
    refused(build_fixed(tmp_path / "disk.vhd", images.fill(0, 64 * KIB), fields={48: u64(size)}), error)


@pytest.mark.parametrize(
    "footer, header, error, offset",
    [
        ({16: u64(0)}, {}, Damaged, None),
        ({16: u64(0xFFFFFFFFFFFFFFFF)}, {}, Damaged, None),
        ({16: u64(1024)}, {}, Damaged, 1024),
        ({48: u64(7 * BLOCK)}, {}, Damaged, 540),
        ({48: u64(2040 * GIB)}, {}, Damaged, 540),
        ({60: u32(5)}, {}, Unsupported, None),
        ({}, {0: b"cxsparsf"}, Damaged, 512),
        ({}, {24: u32(0x20000)}, Unsupported, 536),
        ({}, {16: u64(0)}, Damaged, 528),
        ({}, {16: u64(0xFFFFFFFFFFFFFFFF)}, Damaged, 528),
        ({}, {16: u64(512)}, Damaged, None),
        ({}, {28: u32(0)}, Damaged, 540),
        ({}, {28: u32(5)}, Damaged, 540),
        ({}, {28: u32(0xFFFFFFFF)}, Unsupported, 540),
        ({}, {28: u32((1 << 23) + 1)}, Unsupported, 540),
        ({}, {28: u32(1 << 23)}, Damaged, 528),
        ({}, {32: u32(0)}, Damaged, 544),
        ({}, {32: u32(BLOCK + 512)}, Damaged, 544),
        ({}, {32: u32(4096)}, Damaged, 540),
        ({}, {32: u32(1 << 31)}, Damaged, 544),
    ],
)
@pytest.mark.parametrize("disk_type", [3, 4])
def test_fields_that_cannot_be_are_refused(
    tmp_path: Path, footer: Fields, header: Fields, error: type, offset: Optional[int], disk_type: int
) -> None:
    path, _sectors = build(
        tmp_path / "disk.vhd",
        blocks={1: block_of(1), 3: block_of(3)},
        disk_type=disk_type,
        footer=footer,
        header=header,
    )
    found = refused(path, error)
    assert offset is None or found.offset == offset


def test_a_wrong_checksum_of_the_dynamic_header_is_refused(tmp_path: Path) -> None:
    path, _sectors = build(tmp_path / "disk.vhd", blocks={1: block_of(1)})
    with open(path, "r+b") as stream:
        stream.seek(512 + 900)
        stream.write(b"x")
    assert refused(path).offset == 548


def test_a_name_behind_the_blocks_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path, sectors = build(tmp_path / "disk.vhd", blocks={1: block_of(1), 3: block_of(3)}, disk_type=4)
    text = ".\\behind.vhd".encode("utf-16-le")
    end = sectors[3] * 512 + 512 + BLOCK
    locator = struct.pack(">4sIIIQ", b"W2ru", 512, len(text), 0, end)
    build(Path(path), blocks={1: block_of(1), 3: block_of(3)}, disk_type=4, header={576: locator})
    with open(path, "r+b") as stream:
        stream.seek(end)
        stream.write(text.ljust(512, b"\0") + footer_of(4, SIZE))
    image = open_alone(path)
    assert image.parent is not None and image.parent.names == ("behind.vhd",)
    assert read(image, 3 * BLOCK, BLOCK) == block_of(3)
    image.close()
    build(
        Path(path),
        blocks={1: block_of(1), 3: block_of(3)},
        disk_type=4,
        header={576: struct.pack(">4sIIIQ", b"W2ru", 512, 24, 0, end - 512)},
    )
    assert refused(path).offset == TABLE + 4 * 3


@pytest.mark.parametrize("field", range(0, 85, 2))
@pytest.mark.parametrize("value", [b"\0\0", b"\xff\xff", b"\x7f\x80"])
def test_any_field_of_a_footer_ends_in_an_image_or_in_our_error(tmp_path: Path, field: int, value: bytes) -> None:
    path, _sectors = build(tmp_path / "disk.vhd", blocks={1: block_of(1)}, disk_type=4, footer={field: value})
    outcome(path)


@pytest.mark.parametrize("field", [*range(0, 68, 2), *range(576, 600, 2)])
@pytest.mark.parametrize("value", [b"\0\0", b"\xff\xff", b"\x7f\x80"])
def test_any_field_of_a_header_ends_in_an_image_or_in_our_error(tmp_path: Path, field: int, value: bytes) -> None:
    names = [(b"W2ru", ".\\b".encode("utf-16-le"))]
    path, _sectors = build(
        tmp_path / "disk.vhd", blocks={1: block_of(1)}, disk_type=4, names=names, header={field: value}
    )
    outcome(path)


def outcome(path: str) -> None:
    port = CountingPort()
    try:
        image = open_vhd(port, path, nobody)
    except (Damaged, Unsupported):
        pass
    else:
        length = min(image.size, 2 * SIZE)
        assert sum(extent.length for extent in image.extents(0, length)) == length
        read(image, 0, length)
        image.close()
    port.assert_all_closed()


def test_a_huge_empty_disk_costs_nothing_and_a_block_at_its_end_is_found(tmp_path: Path) -> None:
    count = 2040 * GIB // (2 * MIB)
    data = TABLE + count * 4
    path = tmp_path / "disk.vhd"
    with open(path, "wb") as stream:
        tail = footer_of(3, 2040 * GIB)
        stream.write(tail + header_of(count, 2 * MIB) + b"\xff" * (4 * count - 4) + u32(data // 512))
        stream.write(b"\xff" * 512 + block_of(1, 2 * MIB) + tail)
    image = open_alone(str(path))
    assert list(image.extents(0, image.size)) == [
        Extent(0, 2040 * GIB - 2 * MIB, ZERO),
        Extent(2040 * GIB - 2 * MIB, 2 * MIB, DATA),
    ]
    assert read(image, image.size - 4096, 4096) == block_of(1, 2 * MIB)[-4096:]
    assert read(image, image.size - 2 * MIB - 10, 20) == bytes(10) + block_of(1, 10)
    image.close()


def test_a_file_that_became_shorter_is_damaged(tmp_path: Path) -> None:
    path, sectors = build(tmp_path / "disk.vhd", blocks={1: block_of(1), 3: block_of(3)})
    image = open_alone(path)
    os.truncate(path, sectors[3] * 512 + 2000)
    assert read(image, BLOCK, BLOCK) == block_of(1)
    with pytest.raises(Damaged):
        read(image, 3 * BLOCK, BLOCK)
    image.close()
    image = open_alone(build_fixed(tmp_path / "fixed.vhd", images.fill(0, 64 * KIB)))
    os.truncate(tmp_path / "fixed.vhd", KIB)
    with pytest.raises(Damaged):
        read(image)
    image.close()


@pytest.mark.parametrize("start, length", [(-1, 2), (0, SIZE + 1), (SIZE, 1), (SIZE + 1, 0), (3, -1)])
def test_a_range_behind_the_end_is_a_bad_request(tmp_path: Path, start: int, length: int) -> None:
    path, _sectors = build(tmp_path / "disk.vhd", blocks={1: block_of(1)})
    image = open_alone(path)
    with pytest.raises(BadRequest):
        image.extents(start, length)
    with pytest.raises(BadRequest):
        image.places(start, length)
    if length >= 0:
        with pytest.raises(BadRequest):
            image.pread_into(start, bytearray(length))
    image.close()


def test_threads_may_share_an_image(tmp_path: Path) -> None:
    count = 200
    blocks = {index: block_of(index) for index in range(0, count, 2)}
    path, _sectors = build(
        tmp_path / "disk.vhd",
        blocks=blocks,
        size=count * BLOCK,
        order=sorted(blocks, key=lambda index: index * 7919 % 101),
    )
    image = open_alone(path)
    model = b"".join(blocks.get(index, bytes(BLOCK)) for index in range(count))

    def look(seed: int) -> bool:
        offsets = [(seed * 7907 + step * 104729) % (count * BLOCK - 40000) for step in range(100)]
        return all(read(image, offset, 40000) == model[offset : offset + 40000] for offset in offsets)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(look, range(4)))
    image.close()
