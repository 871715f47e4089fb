# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.containers.opaque import opaque
from ansible_collections.vdisk.parallels.tests.support.filesystems import Bytes, whole

MD = b"\xfc\x4e\x2b\xa9"
SIZE = 1 << 20


def marked(*marks, size: int = SIZE):
    content = bytearray(size)
    for offset, magic in marks:
        content[offset : offset + len(magic)] = magic
    return whole(Bytes(bytes(content)))


@pytest.mark.parametrize(
    ("offset", "magic", "expected"),
    [
        (0, b"LUKS\xba\xbe", ("luks", "encrypted")),
        (3, b"-FVE-FS-", ("bitlocker", "encrypted")),
        (424, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001"), ("bitlocker", "encrypted")),
        (88, b"CS", ("corestorage", "encrypted")),
        (4096, MD, ("md", "raid")),
        (0, MD, ("md", "raid")),
        (SIZE - 8192, MD, ("md", "raid")),
        (SIZE - 65536, MD, ("md", "raid")),
    ],
    ids=["LUKS", "BitLocker", "To Go", "Core Storage", "md 1.2", "md 1.1", "md 1.0", "md 0.90"],
)
def test_what_is_never_read_is_known_by_its_magic(offset: int, magic: bytes, expected) -> None:
    assert opaque(marked((offset, magic)), None) == expected


def test_superblocks_at_the_end_are_found_at_odd_sizes() -> None:
    assert opaque(marked(((SIZE + 5632 - 8192) & ~4095, MD), size=SIZE + 5632), None) == ("md", "raid")
    assert opaque(marked((SIZE - 65536, MD), size=SIZE + 5632), None) == ("md", "raid")


def test_the_type_in_the_table_counts() -> None:
    assert opaque(marked(), "0x42") == ("ldm", "raid")
    assert opaque(marked(), "53746f72-6167-11aa-aa11-00306543ecac") == ("corestorage", "encrypted")
    assert opaque(marked(), "0x83") is None
    assert opaque(marked(size=512), None) is None
