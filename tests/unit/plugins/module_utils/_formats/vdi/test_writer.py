# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB, TIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.reader import open_vdi
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.writer import VdiWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images, vdi_images
from ansible_collections.vdisk.parallels.tests.support.writers import Recorder, ascending_writes

PORT = OsPort()
IDENTITY = "{0d9b6c1e-55b3-4ab4-8d2e-2a2a5d1a7c11}"


@given(ascending_writes([4 * KIB, 8 * KIB]), st.sampled_from(["dynamic", "fixed"]), st.booleans())
def test_what_is_written_is_read_and_the_rest_is_zero(
    tmp_path_factory: pytest.TempPathFactory, plan: Any, subformat: str, preallocate: bool
) -> None:
    size, block, pieces = plan
    path = str(tmp_path_factory.mktemp("image") / "disk.vdi")
    reserved = preallocate and subformat == "fixed"
    writer = VdiWriter(PORT.create(path), subformat=subformat, size_bytes=size, block_bytes=block, preallocate=reserved)
    model = bytearray(size)
    touched = set()
    for offset, piece in pieces:
        writer.write(offset, memoryview(piece))
        model[offset : offset + len(piece)] = piece
        if piece:
            touched.update(range(offset // block, (offset + len(piece) - 1) // block + 1))
    writer.finish(IDENTITY)
    writer.file.close()
    image = open_vdi(PORT, path)
    content = bytearray(image.size)
    image.pread_into(0, content)
    assert content == model
    assert (image.properties, image.warnings) == (writer.properties, ())
    blocks = -(-size // block)
    number = blocks if subformat == "fixed" else len(touched)
    assert vdi_images.field(path, "allocated") == number
    assert os.path.getsize(path) == 2 * MIB + number * block
    with open(path, "rb") as stream:
        stream.seek(MIB)
        entries = struct.unpack(f"<{blocks}I", stream.read(4 * blocks))
    wanted = range(blocks) if subformat == "fixed" else sorted(touched)
    assert [index for index, entry in enumerate(entries) if entry != vdi_images.FREE] == list(wanted)
    assert [entry for entry in entries if entry != vdi_images.FREE] == list(range(number))
    image.close()


def new_writer(file: Any, **options: Any) -> VdiWriter:
    return VdiWriter(file, **{"subformat": "dynamic", "size_bytes": 100 * MIB, **options})


def test_data_ascends_then_comes_the_map_and_the_header_comes_last() -> None:
    file = Recorder()
    writer = new_writer(file)
    for offset in (5, MIB - 1, 7 * MIB, 7 * MIB + 4096, 40 * MIB):
        writer.write(offset, b"12")
    writer.write(41 * MIB - 1, memoryview(bytes(3 * MIB)))
    writer.write(90 * MIB, b"")
    writer.finish(IDENTITY)
    expected = [
        (2 * MIB + 5, 2),
        (3 * MIB - 1, 2),
        (4 * MIB, 2),
        (4 * MIB + 4096, 2),
        (5 * MIB, 2),
        (6 * MIB - 1, 3 * MIB),
    ]
    assert file.calls[:6] == [("write", offset, length) for offset, length in expected]
    assert file.calls[6:] == [("truncate", 9 * MIB, 0), ("write", MIB, 400), ("write", 0, 512)]


def test_the_map_follows_the_stream_and_has_no_hole() -> None:
    file = Recorder()
    writer = new_writer(file, size_bytes=TIB)
    writer.write(0, b"x")
    assert file.calls == [("write", 5 * MIB, 1)]
    writer.write(200_000 * MIB - 3, b"abcdef")
    assert file.calls[1:] == [("write", MIB + piece * 256 * KIB, 256 * KIB) for piece in range(3)] + [
        ("write", 7 * MIB - 3, 6)
    ]
    writer.finish(IDENTITY)
    pieces = [(offset, length) for kind, offset, length in file.calls if kind == "write" and MIB <= offset < 5 * MIB]
    assert pieces == [(MIB + piece * 256 * KIB, 256 * KIB) for piece in range(16)]
    assert file.calls[-1] == ("write", 0, 512)


def test_a_write_over_the_border_of_two_pieces_of_the_map(tmp_path: Path) -> None:
    path, block = str(tmp_path / "disk.vdi"), 4 * KIB
    border = 65536 * block
    writer = new_writer(PORT.create(path), size_bytes=3 * border, block_bytes=block)
    content = images.fill(1, 5 * block)
    writer.write(border - 2 * block - 100, content)
    writer.write(border * 2, b"z" * block)
    writer.finish(IDENTITY)
    writer.file.close()
    image = open_vdi(PORT, path)
    part = bytearray(len(content))
    image.pread_into(border - 2 * block - 100, part)
    assert part == content
    assert [extent.start // block for extent in image.extents(0, image.size) if extent.kind == DATA] == [65533, 131072]
    image.close()


def test_a_fixed_image_has_its_places_from_the_start() -> None:
    file = Recorder()
    writer = new_writer(file, subformat="fixed", size_bytes=70_000 * MIB + 1, preallocate=True)
    writer.write(3 * MIB + 1, b"abc")
    writer.write_zeros(4 * MIB, MIB)
    writer.finish(IDENTITY)
    end = 2 * MIB + 70_001 * MIB
    tail = 70_001 - 65536
    assert file.calls == [
        ("allocate", 0, end),
        ("write", 5 * MIB + 1, 3),
        ("truncate", end, 0),
        ("write", MIB, 256 * KIB),
        ("write", MIB + 256 * KIB, 4 * tail),
        ("write", 0, 512),
    ]


def test_only_a_fixed_image_can_be_reserved() -> None:
    file = Recorder()
    with pytest.raises(BadRequest):
        new_writer(file, preallocate=True)
    assert file.calls == []


def test_what_the_writer_promises_of_the_image() -> None:
    writer = new_writer(Recorder(), block_bytes=64 * KIB)
    assert (writer.grain, writer.properties) == (64 * KIB, {"subformat": "dynamic", "cluster_size": 64 * KIB})
