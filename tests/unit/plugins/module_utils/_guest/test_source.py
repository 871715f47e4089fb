# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding out what a source is, and reading it as a whole disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    Escape,
    NotABundle,
    NotFound,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import HDD, RAW, find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    disks.new_disk(port, "/vm/a.hdd")
    disks.write(port, "/vm/a.hdd", 1000, b"guest data")
    return port


def content(port: Any, path: str, **options: Any) -> bytes:
    view = open_source(port, find_source(port, path, **options))
    try:
        buffer = bytearray(view.size)
        view.pread_into(0, buffer)
        return bytes(buffer)
    finally:
        view.close()


@pytest.mark.parametrize("name", ["", "/DiskDescriptor.xml", "/a.hdd"])
def test_a_bundle_is_recognised_by_each_of_its_names(port: MemoryPort, name: str) -> None:
    source = find_source(port, f"/vm/a.hdd{name}")
    assert (source.format, source.path, source.guid) == (HDD, "/vm/a.hdd", TOP)
    assert content(port, f"/vm/a.hdd{name}") == disks.read_naively(port, "/vm/a.hdd")


def test_a_single_file_image_is_a_disk(tmp_path: Path) -> None:
    path = str(tmp_path / "old.img")
    build_hds(path, size_sectors=1024, clusters={1: fill(1, 65536)}, cluster_sectors=128)
    source = find_source(OsPort(), path)
    assert (source.format, source.size) == (HDD, 1024 * 512)
    assert content(OsPort(), path) == bytes(65536) + fill(1, 65536) + bytes(6 * 65536)


@pytest.mark.parametrize(
    "prefix", [b"\x1f\x8b\x08", b"PK\x03\x04", b"<?xml version='1.0'?>", b"QED\0", b"EVF\x09\x0d\x0a\xff\x00"]
)
def test_a_structured_file_is_never_taken_for_raw_unless_asked(port: MemoryPort, prefix: bytes) -> None:
    port.plant_file("/vm/x.img", prefix.ljust(2048, b"\0"))
    with pytest.raises(Unsupported) as caught:
        find_source(port, "/vm/x.img")
    assert caught.value.path == "/vm/x.img"
    assert content(port, "/vm/x.img", format=RAW) == prefix.ljust(2048, b"\0")


@pytest.mark.parametrize("prefix", [b"QFI\xfb\0\0\0\3", b"KDMV", b"vhdxfile", b"conectix"])
def test_a_mark_without_an_image_behind_it_is_damage_and_not_raw(port: MemoryPort, prefix: bytes) -> None:
    port.plant_file("/vm/x.img", prefix.ljust(2048, b"\0"))
    with pytest.raises((Damaged, Unsupported)) as caught:
        find_source(port, "/vm/x.img")
    assert caught.value.path == "/vm/x.img"
    assert content(port, "/vm/x.img", format=RAW) == prefix.ljust(2048, b"\0")


def test_marks_at_the_end_of_a_file_count_too(port: MemoryPort) -> None:
    port.plant_file("/vm/fixed.vhd", bytes(4096) + b"conectix".ljust(512, b"\0"))
    with pytest.raises(Damaged):
        find_source(port, "/vm/fixed.vhd")


@pytest.mark.parametrize("size", [1, 511, 512, 513, 100_000])
def test_a_raw_image_is_read_to_the_end_of_its_last_sector(port: MemoryPort, size: int) -> None:
    raw = fill(3, size)
    port.plant_file("/vm/x.raw", raw)
    assert content(port, "/vm/x.raw") == raw + bytes(-size % 512)


@pytest.mark.parametrize("format", ["auto", RAW, HDD])
def test_what_is_not_there_is_not_found(port: MemoryPort, format: str) -> None:
    with pytest.raises(NotFound):
        find_source(port, "/vm/nothing", format=format)


def test_empty_files_and_folders_are_no_raw_images(port: MemoryPort) -> None:
    port.plant_file("/vm/empty.raw")
    port.plant_directory("/vm/folder")
    for path, format in (("/vm/empty.raw", RAW), ("/vm/empty.raw", "auto"), ("/vm/folder", RAW), ("/vm/a.hdd", RAW)):
        with pytest.raises(BadRequest):
            find_source(port, path, format=format)
    with pytest.raises(NotABundle):
        find_source(port, "/vm/folder")


@pytest.mark.parametrize("format", ["auto", RAW, HDD])
def test_a_fifo_is_not_waited_for(tmp_path: Path, format: str) -> None:
    os.mkfifo(tmp_path / "x.raw")
    with pytest.raises(DiskError):
        find_source(OsPort(), str(tmp_path / "x.raw"), format=format)


def test_outside_images_are_read_only_when_allowed(tmp_path: Path) -> None:
    layers = [
        Layer(guid_of(1), clusters={0: fill(0, 65536)}, file=str(tmp_path / "parent.hds")),
        Layer(TOP, guid_of(1)),
    ]
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=1024, layers=layers, cluster_sectors=128)
    with pytest.raises(Escape):
        find_source(OsPort(), built.directory)
    assert content(OsPort(), built.directory, allow_outside=True) == built.guest(TOP)


def test_a_view_that_is_larger_than_the_source_goes_on_with_zeros(port: MemoryPort) -> None:
    port.plant_file("/vm/x.raw", b"x" * 1024)
    view = open_source(port, find_source(port, "/vm/x.raw"), 4096)
    assert [(extent.start, extent.end, extent.kind) for extent in view.extents(0, 4096)] == [
        (0, 1024, DATA),
        (1024, 4096, ZERO),
    ]
    assert [(extent.start, extent.end, extent.kind) for extent in view.extents(2000, 100)] == [(2000, 2100, ZERO)]
    assert list(view.extents(4096, 0)) == []
    for start, length in ((0, 4096), (1000, 100), (1024, 5), (3000, 1096)):
        buffer = bytearray(b"?" * length)
        view.pread_into(start, buffer)
        assert buffer == (b"x" * 1024 + bytes(3072))[start : start + length]
    view.close()
    assert not any(port.opened.values())


def test_a_raw_image_that_became_shorter_is_damaged(port: MemoryPort) -> None:
    port.plant_file("/vm/x.raw", b"x" * 4096)
    view = open_source(port, find_source(port, "/vm/x.raw"))
    port.open_write("/vm/x.raw").truncate(1000)
    with pytest.raises(Damaged):
        view.pread_into(0, bytearray(4096))
