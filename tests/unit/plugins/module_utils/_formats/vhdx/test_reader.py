# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import random
import struct
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.reader import open_vhdx
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.places import checked_places
from ansible_collections.vdisk.parallels.tests.support.vhdx_images import (
    BAT,
    BAT_AT,
    DATA_AT,
    DATA_ID,
    DISK_ID,
    KIB,
    LOCATOR,
    LOG_AT,
    LOG_ID,
    LOGICAL,
    METADATA,
    METADATA_AT,
    MIB,
    PAIRS,
    PARAMETERS,
    PARENT_ID,
    PHYSICAL,
    SIZE,
    Built,
    content_of,
    header,
    kinds,
    locator,
    opened,
)

PORT = OsPort()


def refused(path: str, kind: type = Damaged) -> DiskError:
    with pytest.raises(kind) as caught:
        open_vhdx(PORT, path)
    assert isinstance(caught.value, DiskError)
    assert caught.value.path == path
    return caught.value


def plain(tmp_path: Path) -> Built:
    """Blocks 0 to 3: here, zeros, not present, trimmed."""
    built = Built(4 * MIB)
    built.put(0, 5 * MIB, images.fill(1, MIB))
    built.bat.update({1: 2, 3: 3})
    return built


def test_blocks_are_read_where_the_table_says(tmp_path: Path) -> None:
    image = opened(plain(tmp_path).write(tmp_path / "disk.vhdx"))
    assert content_of(image) == images.fill(1, MIB) + bytes(3 * MIB)
    assert kinds(image) == [(0, MIB, "data"), (MIB, 3 * MIB, "zero")]
    assert (image.size, image.parent, image.identity) == (4 * MIB, None, "{" + DATA_ID + "}")
    assert (dict(image.properties), image.warnings) == ({"subformat": "dynamic", "cluster_size": MIB}, ())
    assert image.files == (os.path.realpath(tmp_path / "disk.vhdx"),)
    image.close()
    image.close()


def test_ranges_behind_the_disk_are_refused(tmp_path: Path) -> None:
    image = opened(plain(tmp_path).write(tmp_path / "disk.vhdx"))
    for start, length in ((-1, 1), (0, 4 * MIB + 1), (4 * MIB, 1), (1, -1)):
        with pytest.raises(BadRequest):
            image.extents(start, length)
        with pytest.raises(BadRequest):
            image.places(start, length)
    with pytest.raises(BadRequest):
        image.pread_into(4 * MIB - 1, bytearray(2))
    assert list(image.extents(4 * MIB, 0)) == []
    image.close()


def test_a_fixed_image_says_so_and_its_holes_are_zeros(tmp_path: Path) -> None:
    built = Built(3 * MIB, flags=1)
    for block in range(3):
        built.put(block, DATA_AT + block * MIB, b"x" * 65536 if block == 1 else b"")
    image = opened(built.write(tmp_path / "disk.vhdx"))
    assert image.properties["subformat"] == "fixed"
    assert content_of(image) == bytes(MIB) + b"x" * 65536 + bytes(2 * MIB - 65536)
    assert sum(length for _start, length, _kind in kinds(image)) == 3 * MIB
    image.close()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1 << 32), st.data())
def test_places_are_where_the_bytes_are(
    tmp_path_factory: pytest.TempPathFactory, seed: int, data: st.DataObject
) -> None:
    chance = random.Random(seed)
    built = Built(6 * MIB - 512, pairs=PAIRS)
    bits = bytes(chance.choice((0, 255, 0x81)) for _byte in range(MIB // 4)).ljust(MIB, b"\0")
    built.put(4096, 20 * MIB, bits)
    for place, block in enumerate(chance.sample(range(6), 4)):
        built.put(block, (5 + place) * MIB, images.fill(block, MIB), state=chance.choice((6, 7)))
    image = opened(built.write(tmp_path_factory.mktemp("image") / "disk.vhdx"))
    start = data.draw(st.integers(0, image.size))
    checked_places(image, start, data.draw(st.integers(0, image.size - start)))
    image.close()


@pytest.mark.parametrize("sector", [512, 4096])
def test_sector_bits_choose_between_this_file_and_the_parent(tmp_path: Path, sector: int) -> None:
    built = Built(4 * MIB, sectors=(sector, 4096), pairs=PAIRS)
    chunk = (sector << 23) // MIB
    sectors = MIB // sector
    built.put(0, 5 * MIB, images.fill(1, MIB))
    built.put(1, 6 * MIB, images.fill(2, MIB), state=7)
    built.bat[2] = 2
    bits = bytearray(MIB)
    here = {sectors, sectors + 9, sectors + 10, 2 * sectors - 1}
    for number in here:
        bits[number // 8] |= 1 << number % 8
    built.put(chunk, 7 * MIB, bytes(bits))
    image = opened(built.write(tmp_path / "disk.vhdx"))
    model, expected = bytearray(4 * MIB), bytearray(4 * MIB // sector)
    model[:MIB] = images.fill(1, MIB)
    for number in here:
        start = (number - sectors) * sector
        model[MIB + start : MIB + start + sector] = images.fill(2, MIB)[start : start + sector]
    assert content_of(image) == model
    for start, length, kind in kinds(image):
        expected[start // sector : (start + length) // sector] = bytes([{"data": 1, "zero": 2, "absent": 0}[kind]]) * (
            length // sector
        )
    assert expected[:sectors] == b"\1" * sectors
    assert [number for number in range(sectors, 2 * sectors) if expected[number]] == sorted(here)
    assert expected[2 * sectors :] == b"\2" * sectors + bytes(sectors)
    assert image.properties["subformat"] == "differencing"
    for start, length in ((MIB + 9 * sector - 1, sector + 2), (2 * MIB - 1, 2), (MIB + 100, 5000)):
        assert content_of(image, start, length) == model[start : start + length]
        assert sum(extent.length for extent in image.extents(start, length)) == length
        checked_places(image, start, length)
    checked_places(image, 0, image.size)
    image.close()


def test_the_parent_is_named_best_first(tmp_path: Path) -> None:
    second = "{77777777-aaaa-bbbb-cccc-dddddddddddd}"
    pairs = {
        **PAIRS,
        "parent_linkage": PARENT_ID.upper(),
        "volume_path": "\\\\?\\Volume{1}\\base.vhdx",
        "parent_linkage2": second,
    }
    image = opened(Built(pairs=pairs).write(tmp_path / "disk.vhdx"))
    assert image.parent is not None
    assert image.parent.names == ("base.vhdx", "c:/disks/base.vhdx")
    assert (image.parent.format, image.parent.identity, image.parent_linkage2) == ("vhdx", PARENT_ID, second)
    assert kinds(image) == [(0, 4 * MIB, "absent")]
    image.close()


@pytest.mark.parametrize(
    "pairs",
    [
        {"relative_path": ".\\base.vhdx"},
        {"parent_linkage": PARENT_ID},
        {"parent_linkage": "nonsense", "relative_path": "base"},
        {"parent_linkage": PARENT_ID, "relative_path": "a\0b"},
        {},
    ],
    ids=["no-linkage", "no-path", "no-guid", "nul", "empty"],
)
def test_a_locator_that_does_not_tell_the_parent_is_refused(tmp_path: Path, pairs: Dict[str, str]) -> None:
    refused(Built(pairs=pairs).write(tmp_path / "disk.vhdx"))


def test_another_kind_of_locator_is_not_supported(tmp_path: Path) -> None:
    built = Built(pairs=PAIRS)
    built.items[-1] = (LOCATOR, 4, locator(PAIRS, kind=BAT))
    refused(built.write(tmp_path / "disk.vhdx"), Unsupported)


def test_a_parent_flag_and_a_locator_come_together(tmp_path: Path) -> None:
    without = Built(pairs=PAIRS)
    del without.items[-1]
    refused(without.write(tmp_path / "1.vhdx"))
    superfluous = Built()
    superfluous.items.append((LOCATOR, 4, locator(PAIRS)))
    refused(superfluous.write(tmp_path / "2.vhdx"))


def test_either_header_and_either_region_table_suffices(tmp_path: Path) -> None:
    for number, offset in enumerate((64 * KIB, 128 * KIB, 192 * KIB, 256 * KIB)):
        built = plain(tmp_path)
        built.parts[offset] = b"\xff" * 4096
        image = opened(built.write(tmp_path / f"{number}.vhdx"))
        assert content_of(image, 0, MIB) == images.fill(1, MIB)
        image.close()
    for number, pair in enumerate(((64 * KIB, 128 * KIB), (192 * KIB, 256 * KIB))):
        built = plain(tmp_path)
        built.parts.update(dict.fromkeys(pair, b"\xff" * 4096))
        refused(built.write(tmp_path / f"both-{number}.vhdx"))


def test_the_header_with_the_higher_number_counts(tmp_path: Path) -> None:
    for number, (first, second, found) in enumerate(((8, 7, DATA_ID), (7, 8, BAT), (1 << 63, 5, DATA_ID))):
        built = plain(tmp_path)
        built.parts.update({64 * KIB: header(first), 128 * KIB: header(second, data_id=BAT)})
        image = opened(built.write(tmp_path / f"{number}.vhdx"))
        assert image.identity == "{" + found + "}"
        image.close()


def test_equal_numbers_are_fine_only_in_equal_headers(tmp_path: Path) -> None:
    built = plain(tmp_path)
    built.parts.update({64 * KIB: header(3), 128 * KIB: header(3)})
    opened(built.write(tmp_path / "same.vhdx")).close()
    built.parts[128 * KIB] = header(3, data_id=BAT)
    refused(built.write(tmp_path / "other.vhdx"))


def _both(**changes: object) -> Callable[[Built], None]:
    def change(built: Built) -> None:
        built.parts.update({64 * KIB: header(1, **changes), 128 * KIB: header(2, **changes)})  # type: ignore[arg-type]

    return change


def _region(index: int, entry: Tuple[str, int, int, int]) -> Callable[[Built], None]:
    def change(built: Built) -> None:
        built.regions[index : index + 1] = [entry]

    return change


def _item(index: int, entry: Optional[Tuple[str, int, bytes]]) -> Callable[[Built], None]:
    def change(built: Built) -> None:
        built.items[index : index + 1] = [] if entry is None else [entry]

    return change


def _entry(index: int, value: int) -> Callable[[Built], None]:
    def change(built: Built) -> None:
        built.bat[index] = value

    return change


def _number(value: int) -> bytes:
    return struct.pack("<I", value)


WRONG: Dict[str, Tuple[Callable[[Built], None], type]] = {
    "no mark": (lambda built: built.parts.update({0: b"vhdxfilE"}), Damaged),
    "version 2": (_both(version=2), Unsupported),
    "log version 1": (_both(log_version=1), Unsupported),
    "log before 1 MiB": (_both(log=(0, MIB)), Damaged),
    "log not aligned": (_both(log=(MIB + 4096, MIB)), Damaged),
    "log behind the file": (_both(log=(1 << 40, MIB)), Damaged),
    "log too long": (_both(log=(MIB, 1 << 31)), Damaged),
    "log of half a MiB": (_both(log=(MIB, MIB // 2)), Damaged),
    "log over the table": (_both(log=(BAT_AT, MIB)), Damaged),
    "dirty without a log": (_both(log=(0, 0), log_id=LOG_ID), Damaged),
    "dirty with an empty log": (_both(log_id=LOG_ID), Damaged),
    "table before 1 MiB": (_region(0, (BAT, 0, MIB, 1)), Damaged),
    "table not aligned": (_region(0, (BAT, BAT_AT + 512, MIB, 1)), Damaged),
    "table behind the file": (_region(0, (BAT, 1 << 50, MIB, 1)), Damaged),
    "table at the end of numbers": (_region(0, (BAT, (1 << 64) - MIB, MIB, 1)), Damaged),
    "table of no length": (_region(0, (BAT, BAT_AT, 0, 1)), Damaged),
    "table over metadata": (_region(0, (BAT, METADATA_AT, MIB, 1)), Damaged),
    "table twice": (_region(1, (BAT, METADATA_AT, MIB, 1)), Damaged),
    "no table": (_region(0, (DISK_ID, BAT_AT, MIB, 0)), Damaged),
    "metadata of no length": (_region(1, (METADATA, METADATA_AT, 0, 1)), Damaged),
    "unknown required region": (_region(2, (DISK_ID, 6 * MIB, MIB, 1)), Unsupported),
    "unknown region behind the file": (_region(2, (DISK_ID, 60 * MIB, MIB, 0)), Damaged),
    "unknown region over a block": (_region(2, (DISK_ID, 5 * MIB, MIB, 0)), Damaged),
    "metadata not there": (lambda built: built.parts.update({METADATA_AT: b"metadatA"}), Damaged),
    "no parameters": (_item(0, None), Damaged),
    "no size": (_item(1, None), Damaged),
    "no disk id": (_item(2, None), Damaged),
    "no logical sectors": (_item(3, None), Damaged),
    "no physical sectors": (_item(4, None), Damaged),
    "size of 4 bytes": (_item(1, (SIZE, 6, b"\0\0\1\0")), Damaged),
    "size twice": (_item(2, (SIZE, 6, bytes(8))), Damaged),
    "unknown required item": (_item(5, (BAT, 4, b"x")), Unsupported),
    "required item of a user": (_item(5, (SIZE, 5, b"x")), Unsupported),
    "size 0": (_item(1, (SIZE, 6, bytes(8))), Damaged),
    "odd size": (_item(1, (SIZE, 6, struct.pack("<Q", 4 * MIB - 1))), Damaged),
    "size over 64 TiB": (_item(1, (SIZE, 6, struct.pack("<Q", (64 << 40) + 512))), Damaged),
    "size of all bits": (_item(1, (SIZE, 6, b"\xff" * 8)), Damaged),
    "size too large for the table": (_item(1, (SIZE, 6, struct.pack("<Q", 200 << 30))), Damaged),
    "block 0": (_item(0, (PARAMETERS, 4, bytes(8))), Damaged),
    "block of 512 KiB": (_item(0, (PARAMETERS, 4, struct.pack("<II", MIB // 2, 0))), Damaged),
    "block of 3 MiB": (_item(0, (PARAMETERS, 4, struct.pack("<II", 3 * MIB, 0))), Damaged),
    "block of 512 MiB": (_item(0, (PARAMETERS, 4, struct.pack("<II", 512 * MIB, 0))), Damaged),
    "logical sectors of 1024": (_item(3, (LOGICAL, 6, _number(1024))), Damaged),
    "logical sectors of 0": (_item(3, (LOGICAL, 6, _number(0))), Damaged),
    "physical sectors of 8192": (_item(4, (PHYSICAL, 6, _number(8192))), Damaged),
    "state 4": (_entry(2, 4), Damaged),
    "state 5": (_entry(2, 6 * MIB | 5), Damaged),
    "present in part without a parent": (_entry(2, 5 * MIB | 7), Damaged),
    "reserved bits": (_entry(2, 8), Damaged),
    "block in the headers": (_entry(2, 6), Damaged),
    "block in the log": (_entry(2, LOG_AT | 6), Damaged),
    "block in metadata": (_entry(2, METADATA_AT | 6), Damaged),
    "block in the table": (_entry(2, BAT_AT | 6), Damaged),
    "block behind the file": (_entry(2, 6 * MIB | 6), Damaged),
    "block at the end of numbers": (_entry(2, (1 << 64) - MIB | 6), Damaged),
    "block twice": (_entry(2, 5 * MIB | 6), Damaged),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_wrong_is_refused(tmp_path: Path, name: str) -> None:
    change, kind = WRONG[name]
    built = plain(tmp_path)
    opened(built.write(tmp_path / "right.vhdx")).close()
    change(built)
    refused(built.write(tmp_path / "wrong.vhdx"), kind)


@pytest.mark.parametrize(
    "name, change",
    {
        "bits missing": _entry(4096, 0),
        "bits of state 7": _entry(4096, 7 * MIB | 7),
        "bits behind the file": _entry(4096, 8 * MIB | 6),
        "bits in the headers": _entry(4096, 6),
        "bits in a block": _entry(4096, 5 * MIB | 6),
        "bits in the table": _entry(4096, BAT_AT | 6),
    }.items(),
)
def test_wrong_sector_bits_are_refused(tmp_path: Path, name: str, change: Callable[[Built], None]) -> None:
    built = Built(pairs=PAIRS)
    built.put(0, 5 * MIB, b"", state=7)
    built.put(4096, 7 * MIB, b"\xff")
    opened(built.write(tmp_path / "right.vhdx")).close()
    change(built)
    refused(built.write(tmp_path / "wrong.vhdx"))


def test_what_need_not_be_understood_is_passed_over(tmp_path: Path) -> None:
    built = plain(tmp_path)
    built.regions.append((DISK_ID, 6 * MIB, MIB, 0))
    built.length = 7 * MIB
    built.items += [(BAT, 2, b"xyz"), (SIZE, 1, b"a size of a user"), (METADATA, 0, b"")]
    # The bits of an image without a parent mean nothing.
    image = opened(built.write(tmp_path / "disk.vhdx"))
    assert content_of(image, 0, MIB) == images.fill(1, MIB)
    image.close()


@pytest.mark.parametrize(
    "length",
    [
        0,
        7,
        8,
        64 * KIB,
        64 * KIB + 4095,
        128 * KIB,
        192 * KIB + 8,
        300 * KIB,
        MIB,
        2 * MIB - 1,
        3 * MIB,
        4 * MIB - 1,
        6 * MIB - 1,
    ],
)
def test_a_file_that_was_cut_is_refused(tmp_path: Path, length: int) -> None:
    path = plain(tmp_path).write(tmp_path / "disk.vhdx")
    os.truncate(path, length)
    refused(path)


def test_only_the_part_of_the_last_block_that_is_seen_must_be_there(tmp_path: Path) -> None:
    built = Built(MIB + 1024)
    built.put(1, DATA_AT, b"x" * 1024, length=1024)
    path = built.write(tmp_path / "disk.vhdx")
    image = opened(path)
    assert content_of(image) == bytes(MIB) + b"x" * 1024
    # What is cut off later is noticed when it is read.
    os.truncate(path, DATA_AT + 512)
    with pytest.raises(Damaged):
        content_of(image)
    image.close()
    refused(path)


def test_a_huge_empty_disk_costs_nothing(tmp_path: Path) -> None:
    reads: List[int] = []

    class Counting:
        def __init__(self, path: str) -> None:
            self._file = PORT.open_read(path)
            self.path = path
            self.size, self.close, self.data_ranges = self._file.size, self._file.close, self._file.data_ranges

        def pread_into(self, offset: int, buffer: bytearray) -> int:
            reads.append(len(buffer))
            return self._file.pread_into(offset, buffer)

    class CountingPort(OsPort):
        def open_read(self, path: str) -> Counting:  # type: ignore[override]
            return Counting(path)

    built = Built(64 << 40)
    built.regions[0] = (BAT, BAT_AT, 513 * MIB, 1)
    built.put((1 << 26) - 1 + ((1 << 26) - 1) // 4096, 516 * MIB, b"end")
    path = built.write(tmp_path / "disk.vhdx")
    image = open_vhdx(CountingPort(), path)  # type: ignore[arg-type]
    found = kinds(image)
    assert found[0] == (0, (64 << 40) - MIB, "zero")
    assert found[1][0] == (64 << 40) - MIB
    assert content_of(image, (64 << 40) - MIB, 3) == b"end"
    assert sum(reads) < 2 * MIB
    image.close()


@given(
    st.lists(st.tuples(st.integers(0, 6 * MIB - 1), st.integers(0, 255)), min_size=1, max_size=12), st.integers(0, 6)
)
def test_damage_anywhere_ends_in_an_error_of_ours_or_in_an_image(
    tmp_path_factory: pytest.TempPathFactory, damage: List[Tuple[int, int]], place: int
) -> None:
    folder = tmp_path_factory.mktemp("image")
    path = plain(folder).write(folder / "disk.vhdx")
    areas = [
        (0, 8),
        (64 * KIB, 96),
        (128 * KIB, 96),
        (192 * KIB, 96),
        (METADATA_AT, 200),
        (METADATA_AT + 65536, 44),
        (BAT_AT, 32),
    ]
    start, length = areas[place]
    with open(path, "r+b") as stream:
        for offset, byte in damage:
            stream.seek(start + offset % length)
            stream.write(bytes([byte]))
    try:
        image = opened(path)
    except DiskError:
        return
    assert 0 < image.size <= 64 << 40
    assert sum(extent.length for extent in image.extents(0, image.size)) == image.size
    content_of(image, 0, min(image.size, 4096))
    image.close()
