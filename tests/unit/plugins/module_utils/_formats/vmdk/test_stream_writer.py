# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, NoSpace
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ForeignWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk import stream_writer as vmdk_stream_writer
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.writer import new_vmdk_writer
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images, vmdk_files

PORT = OsPort()
IDENTITY = "{11111111-2222-4333-8444-555555555555}"
GRAIN = 65536


def stream_writer(file: object, size_bytes: int, **options: object) -> ForeignWriter:
    return new_vmdk_writer([file], ["d.vmdk"], subformat="streamOptimized", size_bytes=size_bytes, **options)  # type: ignore[arg-type, list-item]


def written(path: Path, size_bytes: int, pieces: Dict[int, bytes], **options: object) -> bytes:
    file = PORT.create(str(path))
    writer = stream_writer(file, size_bytes, **options)
    for offset, piece in pieces.items():
        writer.write(offset, piece)
    writer.finish(IDENTITY)
    file.close()
    return path.read_bytes()


class Walk:
    """A stream as it is read from its beginning to its end, without looking at any table first."""

    def __init__(self, raw: bytes, start: int) -> None:
        self.grains: Dict[int, bytes] = {}
        self.sectors: Dict[int, int] = {}
        self.markers: List[Tuple[int, int, int]] = []
        position = start
        while position < len(raw):
            value, size, kind = struct.unpack_from("<QII", raw, position)
            if size:
                content = zlib.decompress(raw[position + 12 : position + 12 + size])
                assert list(self.grains) == sorted(self.grains) and value not in self.grains
                self.grains[value], self.sectors[value] = content, position // 512
                end = position + -(-(12 + size) // 512) * 512
                assert not any(raw[position + 12 + size : end])
                position = end
            else:
                self.markers.append((kind, value, position // 512))
                assert not any(raw[position + 16 : position + 512])
                position += 512 * (1 + value)


def test_the_stream_is_what_the_products_ask_for(tmp_path: Path) -> None:
    size = 100 * MIB + 3 * 512
    pieces = {
        0: images.fill(1, GRAIN),
        3 * GRAIN + 512: b"x" * 512,
        70 * MIB: images.fill(2, 3 * GRAIN),
        size - 512: b"z" * 512,
    }
    raw = written(tmp_path / "d.vmdk", size, pieces)
    walk = Walk(raw, GRAIN)
    first, far = 70 * MIB // 512, 100 * MIB // 512
    assert list(walk.grains) == [0, 3 * 128, first, first + 128, first + 256, far]
    # Every grain is full, the one at the end of the disk too.
    assert {len(content) for content in walk.grains.values()} == {GRAIN}
    assert walk.grains[0] == images.fill(1, GRAIN)
    assert walk.grains[3 * 128] == bytes(512) + b"x" * 512 + bytes(GRAIN - 1024)
    assert walk.grains[far] == bytes(1024) + b"z" * 512 + bytes(GRAIN - 1536)
    # Three tables have grains, the second one has none; then the directory, the footer, the end.
    assert [(kind, sectors) for kind, sectors, _at in walk.markers] == [(1, 4), (1, 4), (1, 4), (2, 1), (3, 1), (0, 0)]
    tables, directory = [at + 1 for _kind, _sectors, at in walk.markers[:3]], walk.markers[3][2] + 1
    assert struct.unpack_from("<128I", raw, directory * 512) == (tables[0], 0, tables[1], tables[2], *[0] * 124)
    for table, number in zip(tables, (0, 2, 3)):
        entries = struct.unpack_from("<512I", raw, table * 512)
        expected = {(lba // 128) % 512: at for lba, at in walk.sectors.items() if lba // 65536 == number}
        assert {index: sector for index, sector in enumerate(entries) if sector} == expected
    header, footer = bytearray(raw[:512]), bytearray(raw[-1024:-512])
    assert vmdk_files.get(header, "gd") == vmdk_files.AT_END and vmdk_files.get(footer, "gd") == directory
    vmdk_files.put(footer, "gd", vmdk_files.AT_END)
    assert header == footer
    assert (vmdk_files.get(header, "capacity"), vmdk_files.get(header, "version"), vmdk_files.get(header, "flags")) == (
        size // 512,
        3,
        0x30001,
    )
    assert raw[512:534] == b"# Disk DescriptorFile\n" and not any(raw[21 * 512 : GRAIN])
    assert (
        b'createType="streamOptimized"\n\n# Extent description\nRW %d SPARSE "d.vmdk"\n' % (size // 512)
        in raw[512 : 21 * 512]
    )
    assert raw[-512:] == bytes(512)


def test_grains_of_zeros_are_left_out(tmp_path: Path) -> None:
    raw = written(
        tmp_path / "d.vmdk", 64 * MIB, {0: bytes(2 * GRAIN), 2 * GRAIN: bytes(100), 5 * GRAIN: bytes(GRAIN) + b"x"}
    )
    assert list(Walk(raw, GRAIN).grains) == [6 * 128]


def test_an_empty_disk_is_a_stream_without_tables(tmp_path: Path) -> None:
    raw = written(tmp_path / "d.vmdk", 64 * MIB, {})
    assert [kind for kind, _sectors, _at in Walk(raw, GRAIN).markers] == [2, 3, 0]
    assert len(raw) == GRAIN + 5 * 512


@pytest.mark.parametrize("level", [None, 0, 1, 9])
def test_the_level_is_that_of_zlib(tmp_path: Path, level: Optional[int]) -> None:
    content = b"some text that repeats itself. " * 2114 + b"12"
    raw = written(tmp_path / "d.vmdk", MIB, {0: content}, level=level)
    packed = zlib.compress(content, 6 if level is None else level)
    assert raw[GRAIN : GRAIN + 12 + len(packed)] == struct.pack("<QI", 0, len(packed)) + packed


def test_what_does_not_compress_is_stored_in_more_than_a_grain(tmp_path: Path) -> None:
    raw = written(tmp_path / "d.vmdk", MIB, {0: images.fill(1, GRAIN)}, level=0)
    assert struct.unpack_from("<I", raw, GRAIN + 8)[0] > GRAIN
    assert Walk(raw, GRAIN).grains == {0: images.fill(1, GRAIN)}


class Recorder:
    """A file that remembers where it was written to, and may be full."""

    path = "/d.vmdk"

    def __init__(self, *, room: int = 1 << 60) -> None:
        self.calls: List[Tuple[int, int]] = []
        self.room = room

    def pwrite(self, offset: int, buffer: bytes) -> None:
        self.room -= len(buffer)
        if self.room < 0:
            raise NoSpace("full", path=self.path)
        self.calls.append((offset, len(buffer)))


def test_the_file_is_written_in_order_and_its_beginning_last() -> None:
    file = Recorder()
    writer = stream_writer(file, 100 * MIB, level=0, workers=3)
    for offset in range(0, 100 * MIB, 256 << 10):
        writer.write(offset, images.fill(offset, 256 << 10))
    writer.finish(IDENTITY)
    position = GRAIN
    for offset, length in file.calls[:-1]:
        assert offset == position
        position += length
    assert file.calls[-1] == (0, GRAIN)
    # Small pieces go out together.
    assert len(file.calls) < 405


def of_ours() -> List[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("vdisk")]


def test_no_thread_outlives_a_writer_that_finishes_or_fails() -> None:
    before = len(of_ours())
    writer = stream_writer(Recorder(), 64 * MIB, workers=2)
    writer.write(0, images.fill(1, MIB))
    assert len(of_ours()) > before
    writer.finish(IDENTITY)
    assert len(of_ours()) == before
    writer = stream_writer(Recorder(room=MIB), 64 * MIB, level=0, workers=2)
    with pytest.raises(NoSpace):
        for offset in range(0, 64 * MIB, MIB):
            writer.write(offset, images.fill(offset, MIB))
    assert len(of_ours()) == before


def test_an_error_at_the_end_ends_the_threads_too() -> None:
    before = len(of_ours())
    writer = stream_writer(Recorder(room=100), 64 * MIB, level=0, workers=2)
    writer.write(0, images.fill(1, GRAIN))
    with pytest.raises(NoSpace):
        writer.finish(IDENTITY)
    assert len(of_ours()) == before


def test_a_file_that_outgrows_its_entries_is_a_bad_request() -> None:
    file = Recorder()
    tail = vmdk_stream_writer._Tail(file, ((1 << 32) - 1) * 512)  # type: ignore[arg-type]
    assert tail.add(bytes(512)) == (1 << 32) - 1
    with pytest.raises(BadRequest):
        tail.add(bytes(512))


def test_memory_stays_bounded() -> None:
    sizes: List[int] = []

    class Slow(Recorder):
        def pwrite(self, offset: int, buffer: bytes) -> None:
            sizes.append(len(buffer))
            super().pwrite(offset, buffer)

    writer = stream_writer(Slow(), 64 * MIB, level=0, workers=2)
    for offset in range(0, 32 * MIB, MIB):
        before = sum(sizes)
        writer.write(offset, images.fill(offset, MIB))
        # All but what two threads and one piece may hold is out by then.
        assert offset + MIB - sum(sizes) < 2 * MIB and sum(sizes) >= before
    writer.finish(IDENTITY)
