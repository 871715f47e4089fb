# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from pathlib import Path
from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import ext
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.scan import FreeSpace, find_free_space
from ansible_collections.vdisk.parallels.tests.support import filesystem_images as images
from ansible_collections.vdisk.parallels.tests.support.filesystems import Bytes, ImageFile, free_of, sparse, tool
from ansible_collections.vdisk.parallels.tests.support.lvm import (
    EXTENT,
    EXTENTS,
    FIRST_EXTENT,
    logical,
    physical,
    segment,
    text,
)

MIB = 1 << 20
GPT = "label: gpt\nstart=2048, size=48M, type=L\nsize=8M, type=S\nsize=13M, type=E6D6D379-F507-44C2-A23C-238F2A3DF928\n"


def scan(path: Path, **options) -> FreeSpace:
    disk = ImageFile(path)
    try:
        return find_free_space(disk, **options)  # type: ignore[arg-type]
    finally:
        disk.close()


def said(found: FreeSpace) -> List[Tuple]:
    return [(one.partition, one.offset, one.type, one.label, one.free.total, one.reason) for one in found.answers]


def disk(tmp_path: Path) -> Path:
    """Three partitions: ext4, swap, and LVM2 with an ext2 in two pieces."""
    group = physical(text(logical("root", segment(1, 0, 4, [("pv0", 6)]), segment(2, 4, 4, [("pv0", 1)]))))
    inner = images.ext(tmp_path / "inner", "-t", "ext2", size=8 * EXTENT).read_bytes()
    place = bytearray(group)
    for at, (start, count) in ((0, (6, 4)), (4, (1, 4))):
        first = FIRST_EXTENT + start * EXTENT
        place[first : first + count * EXTENT] = inner[at * EXTENT : (at + count) * EXTENT]
    (tmp_path / "group").write_bytes(bytes(place))
    parts = [
        (MIB, images.ext(tmp_path / "ext4", "-t", "ext4", "-L", "root", size=48 * MIB)),
        (49 * MIB, images.swap(tmp_path / "swap", size=8 * MIB)),
        (57 * MIB, tmp_path / "group"),
    ]
    return images.with_partitions(tmp_path / "disk", GPT, 72 * MIB, parts)


def test_everything_on_a_disk_is_named_with_what_is_free(tmp_path: Path) -> None:
    path = disk(tmp_path)
    outer, inner = free_of(ext, tmp_path / "ext4"), free_of(ext, tmp_path / "inner")
    found = scan(path)
    assert said(found) == [
        (1, MIB, "ext4", "root", outer.total, None),
        (2, 49 * MIB, "swap", None, 0, None),
        (3, 57 * MIB, "lvm2", "vg0", (EXTENTS - 8) * EXTENT, None),
        (3, 57 * MIB + FIRST_EXTENT + EXTENT, "ext2", "vg0/root", inner.total, None),
    ]
    assert found.free.total == outer.total + inner.total + (EXTENTS - 8) * EXTENT
    assert list(found.answers[0].free) == [(start + MIB, end + MIB) for start, end in outer]
    shifts = {0: 57 * MIB + FIRST_EXTENT + 6 * EXTENT, 1: 57 * MIB + FIRST_EXTENT - 3 * EXTENT}
    expected = [
        shifts[part] + at for start, end in inner for at in range(start, end, 1024) for part in [at // (4 * EXTENT)]
    ]
    assert sorted(expected) == [at for start, end in found.answers[3].free for at in range(start, end, 1024)]


def test_pages_of_swap_are_free_only_when_asked_for(tmp_path: Path) -> None:
    path = disk(tmp_path)
    assert scan(path, swap=True).free.total - scan(path).free.total == 8 * MIB - 4096


def test_a_hibernated_guest_has_nothing_free(tmp_path: Path) -> None:
    path = disk(tmp_path)
    with open(path, "r+b") as stream:
        stream.seek(49 * MIB + 4086)
        stream.write(b"S1SUSPEND\0")
    found = scan(path)
    assert found.free.total == 0 and {one.reason for one in found.answers} == {"hibernated"}


def test_a_reason_of_the_caller_frees_nothing_but_names_all(tmp_path: Path) -> None:
    found = scan(disk(tmp_path), reason="suspended")
    assert found.free.total == 0 and {one.reason for one in found.answers} == {"suspended"}
    assert [one.type for one in found.answers] == ["ext4", "swap", "lvm2", "ext2"]


def test_a_disk_without_partitions_is_one_file_system(tmp_path: Path) -> None:
    path = images.ext(tmp_path / "image", "-t", "ext4")
    assert said(scan(path)) == [(None, 0, "ext4", None, free_of(ext, path).total, None)]


def test_two_things_in_one_place_free_nothing(tmp_path: Path) -> None:
    path = images.btrfs(tmp_path / "image")
    content = images.swap(tmp_path / "swap").read_bytes()[:4096]
    with open(path, "r+b") as stream:
        stream.write(content)
    assert said(scan(path)) == [(None, 0, None, None, 0, "ambiguous")]


def test_a_file_system_below_partitions_is_ambiguous(tmp_path: Path) -> None:
    path = images.btrfs(tmp_path / "image")
    tool("sfdisk", "-q", path, stdin="label: dos\nstart=8192, size=100M, type=83\n")
    found = scan(path)
    assert found.free.total == 0 and [one.reason for one in found.answers] == ["ambiguous"]


def test_encryption_and_emptiness_free_nothing(tmp_path: Path) -> None:
    path = images.with_partitions(tmp_path / "disk", "label: dos\nsize=10M, type=83\nsize=10M, type=83\n", 32 * MIB, [])
    with open(path, "r+b") as stream:
        stream.seek(MIB)
        stream.write(b"LUKS\xba\xbe")
    assert said(scan(path)) == [(1, MIB, "luks", None, 0, "encrypted"), (2, 11 * MIB, None, None, 0, "unrecognised")]


def test_a_file_system_that_ends_behind_its_partition_is_refused(tmp_path: Path) -> None:
    part = images.ext(tmp_path / "ext4", "-t", "ext4", size=12 * MIB)
    path = images.with_partitions(
        tmp_path / "disk", "label: dos\nstart=2048, size=11M, type=83\n", 32 * MIB, [(MIB, part)]
    )
    assert [(one.type, one.reason) for one in scan(path).answers] == [("ext4", "too_large")]


def test_torn_tables_free_nothing() -> None:
    content = bytearray(MIB)
    content[446 + 4], content[510:512] = 0xEE, b"\x55\xaa"
    found = find_free_space(Bytes(bytes(content)))  # type: ignore[arg-type]
    assert said(found) == [(None, 0, None, None, 0, "partition_table")]


@pytest.mark.parametrize("size", [512, 1024, 1536, 70_000])
def test_tiny_disks(tmp_path: Path, size: int) -> None:
    assert [one.reason for one in scan(sparse(tmp_path / "disk", size)).answers] == ["unrecognised"]


def test_what_is_read_is_counted(tmp_path: Path) -> None:
    image = ImageFile(disk(tmp_path))
    found = find_free_space(image)  # type: ignore[arg-type]
    assert found.bytes_read == sum(length for _offset, length in image.reads) > 10_000
    image.close()


def divided(path: Path, start: int) -> None:
    """Give the place its own table with a partition from 1 MiB on, as a guest of the guest does."""
    with open(path, "r+b") as stream:
        stream.seek(start + 446)
        stream.write(struct.pack("<4xB3xII", 0x83, 2048, 4096).ljust(64, b"\0") + b"\x55\xaa")


@pytest.mark.parametrize("place", [MIB, 57 * MIB + FIRST_EXTENT + 6 * EXTENT], ids=["partition", "logical volume"])
def test_what_is_a_disk_of_its_own_has_nothing_free(tmp_path: Path, place: int) -> None:
    path = disk(tmp_path)
    before = said(scan(path))
    divided(path, place)
    after = said(scan(path))
    changed = [(one[4], one[5]) for one, other in zip(after, before) if one != other]
    assert changed == [(0, "ambiguous")]


def test_a_physical_volume_in_a_logical_one_has_nothing_free(tmp_path: Path) -> None:
    path = disk(tmp_path)
    place = 57 * MIB + FIRST_EXTENT + 6 * EXTENT
    inner = physical()
    with open(path, "r+b") as stream:
        stream.seek(place + 512)
        stream.write(inner[512:1024])
    assert said(scan(path))[3][4:] == (0, "ambiguous")
    with open(path, "r+b") as stream:
        stream.seek(place + 1024)
        stream.write(bytes(1024))
    assert said(scan(path))[3][2:] == ("lvm2", "vg0/root", 0, "unsupported")
