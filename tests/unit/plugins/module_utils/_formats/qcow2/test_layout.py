# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2 import layout


def test_the_bytes_of_a_header() -> None:
    header = layout.Qcow2Header(
        3,
        16,
        1 << 30,
        0x10000,
        2,
        0x50000,
        0x10000,
        incompatible=8,
        compression="zstd",
        backing_name="b\u00e4.qcow2",
        backing_format="raw",
    )
    name = "b\u00e4.qcow2".encode()
    expected = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 112 + 16 + 8, len(name), 16, 1 << 30, 0, 2, 0x10000, 0x50000, 1, 0, 0
    )
    expected += struct.pack(">QQQII8s", 8, 0, 0, 4, 112, b"\1") + struct.pack(">II8sQ", 0xE2792ACA, 3, b"raw", 0) + name
    assert layout.pack_header(header) == expected
    assert layout.parse_header(expected.ljust(65536, b"\0"), path="x", file_size=1 << 20) == header


def test_a_name_that_does_not_fit_is_a_bad_request() -> None:
    header = layout.Qcow2Header(
        2, 9, 512, 512, 1, 1024, 512, backing_name="x" * (512 - 72 - 16 - 8), backing_format="qcow2"
    )
    raw = layout.pack_header(header)
    assert len(raw) == 512
    assert layout.parse_header(raw, path="x", file_size=4096) == header
    for bits, length in ((9, 512 - 72 - 16 - 7), (16, 1024)):
        with pytest.raises(BadRequest):
            layout.pack_header(
                layout.Qcow2Header(2, bits, 512, 512, 1, 1024, 512, backing_name="x" * length, backing_format="qcow2")
            )
