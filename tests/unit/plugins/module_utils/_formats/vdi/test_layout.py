# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
import uuid

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB, TIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.layout import (
    HEADER_BYTES,
    new_header,
    pack_header,
    parse_header,
)
from ansible_collections.vdisk.parallels.tests.support import vdi_images

IDENTITY = "{0d9b6c1e-55b3-4ab4-8d2e-2a2a5d1a7c11}"


def test_a_new_header_is_laid_out_as_virtualbox_does() -> None:
    header = new_header(subformat="dynamic", size_bytes=10 * MIB + 1, block_bytes=MIB)
    assert (header.blocks, header.offset_map, header.offset_data) == (11, MIB, 2 * MIB)
    header = new_header(subformat="fixed", size_bytes=TIB, block_bytes=MIB)
    assert (header.blocks, header.offset_map, header.offset_data) == (1 << 20, MIB, 5 * MIB)
    header = new_header(subformat="fixed", size_bytes=TIB + 1, block_bytes=MIB)
    assert (header.blocks, header.offset_map, header.offset_data) == ((1 << 20) + 1, MIB, 6 * MIB)


@pytest.mark.parametrize("kind, number", [("dynamic", 1), ("fixed", 2)])
def test_every_byte_of_the_header_is_accounted_for(kind: str, number: int) -> None:
    raw = pack_header(
        new_header(subformat=kind, size_bytes=10 * MIB + 1, block_bytes=2 * MIB), allocated=3, identity=IDENTITY
    )
    assert len(raw) == HEADER_BYTES
    text, rest = raw[:64], raw[64:]
    assert text.startswith(b"<<< ") and text.rstrip(b"\0").endswith(b" >>>\n") and len(text.rstrip(b"\0")) < 64
    assert struct.unpack_from("<5I", rest) == (0xBEDA107F, 0x00010001, 400, number, 0)
    assert rest[20:276] == bytes(256)
    assert struct.unpack_from("<7I", rest, 276) == (MIB, 2 * MIB, 0, 0, 0, 512, 0)
    assert struct.unpack_from("<Q4I", rest, 304) == (10 * MIB + 1, 2 * MIB, 0, 6, 3)
    created, modified = rest[328:344], rest[344:360]
    assert created != modified and any(created) and any(modified)
    assert rest[360:392] == bytes(32)
    assert struct.unpack_from("<4I", rest, 392) == (0, 0, 0, 512)
    assert rest[408:] == bytes(40)


def test_uuids_follow_the_identity_alone() -> None:
    one = new_header(subformat="dynamic", size_bytes=MIB, block_bytes=MIB)
    other = new_header(subformat="fixed", size_bytes=7 * MIB, block_bytes=4 * KIB)
    first, second = pack_header(one, allocated=0, identity=IDENTITY), pack_header(other, allocated=7, identity=IDENTITY)
    assert first[392:424] == second[392:424]
    third = pack_header(one, allocated=0, identity="{0d9b6c1e-55b3-4ab4-8d2e-2a2a5d1a7c12}")
    assert third[392:408] != first[392:408] and third[408:424] != first[408:424]
    assert uuid.UUID(bytes_le=first[392:408]).version == 5


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_a_header_is_parsed_as_it_was_packed(kind: str) -> None:
    header = new_header(subformat=kind, size_bytes=5 * TIB + 3, block_bytes=64 * KIB)
    parsed = parse_header(
        pack_header(header, allocated=9, identity=IDENTITY), path="/disk.vdi", file_size=header.offset_data
    )
    assert (parsed.subformat, parsed.size_bytes, parsed.block_bytes, parsed.blocks) == (
        kind,
        5 * TIB + 3,
        64 * KIB,
        header.blocks,
    )
    assert (parsed.allocated, parsed.offset_map, parsed.offset_data, parsed.flags, parsed.extra_bytes) == (
        9,
        MIB,
        header.offset_data,
        0,
        0,
    )
    assert parsed.identity is not None and parsed.warnings == ()


def test_a_header_of_another_writer_is_parsed() -> None:
    raw = vdi_images.pack_header(size=3 * MIB, blocks=4, allocated=1, offset_data=1024, flags=1, extra=512, block=MIB)
    parsed = parse_header(raw, path="/disk.vdi", file_size=1024)
    assert (parsed.used_blocks, parsed.blocks, parsed.stride, parsed.warnings) == (3, 4, MIB + 512, ())
    assert parsed.identity == "{" + str(vdi_images.CREATED) + "}"


@pytest.mark.parametrize(
    "kind, size, block",
    [
        pytest.param("sparse", MIB, MIB, id="unknown kind"),
        pytest.param("dynamic", 0, MIB, id="no size"),
        pytest.param("dynamic", -1, MIB, id="negative size"),
        pytest.param("dynamic", MIB, 2 * KIB, id="block too small"),
        pytest.param("dynamic", MIB, 128 * MIB, id="block too large"),
        pytest.param("dynamic", MIB, 3 * MIB, id="block no power of two"),
        pytest.param("dynamic", MIB, 0, id="no block size"),
        pytest.param("dynamic", MIB, -4096, id="negative block size"),
        pytest.param("dynamic", 0x1FFFFF80 * MIB + 1, MIB, id="too many blocks"),
        pytest.param("fixed", 2 * TIB, 4 * KIB, id="too many small blocks"),
    ],
)
def test_an_impossible_image_is_a_bad_request(kind: str, size: int, block: int) -> None:
    with pytest.raises(BadRequest):
        new_header(subformat=kind, size_bytes=size, block_bytes=block)


def test_the_largest_images() -> None:
    header = new_header(subformat="dynamic", size_bytes=0x1FFFFF80 * MIB, block_bytes=MIB)
    assert (header.blocks, header.offset_data) == (0x1FFFFF80, 2049 * MIB)
    assert (
        parse_header(pack_header(header, allocated=0, identity=IDENTITY), path="/d", file_size=1 << 40).size_bytes
        == 0x1FFFFF8000000
    )
