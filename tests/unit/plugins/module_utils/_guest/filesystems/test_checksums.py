# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.checksums import crc32c


def plain(message: bytes, crc: int) -> int:
    for byte in message:
        crc ^= byte
        for _bit in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def test_the_check_value_of_rfc_3720() -> None:
    assert ~crc32c(b"123456789") & 0xFFFFFFFF == 0xE3069283


@given(st.binary(max_size=600), st.integers(0, 0xFFFFFFFF))
def test_folding_gives_what_a_loop_gives(message: bytes, crc: int) -> None:
    assert crc32c(message, crc) == plain(message, crc)
    assert crc32c(message[5:], crc32c(message[:5], crc)) == plain(message, crc)
