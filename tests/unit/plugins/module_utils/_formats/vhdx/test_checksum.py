# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.checksum import crc32c
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support import vhdx_images as built


@pytest.mark.parametrize(
    "content, crc",
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_checksums_are_those_of_the_standards(content: bytes, crc: int) -> None:
    assert crc32c(content) == crc


@given(st.binary(max_size=3000), st.integers(0, 9000), st.integers(0, 3000))
def test_checksums_are_those_of_the_slow_way(content: bytes, zeros: int, split: int) -> None:
    content += bytes(zeros) + content[::-1]
    assert crc32c(content) == built.crc32c(content)
    assert crc32c(memoryview(content)[split:], crc32c(bytearray(content[:split]))) == built.crc32c(content)


@pytest.mark.parametrize("length", [127, 128, 129, 130, 136, 137, 255, 264, 265, 4096, 65536, 65537, 262144])
def test_checksums_of_long_tables(length: int) -> None:
    content = images.fill(3, length)
    assert crc32c(content) == built.crc32c(content)
