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
        (SIZE - 512, b"GEOM::ELI\0", ("geom", "unsupported")),
        (SIZE - 65536, MD, ("md", "raid")),
        (65536 + 1372, b"\x19\x01\x54\x19", ("ufs", "unsupported")),
        (8192 + 1372, b"\x54\x19\x01\0", ("ufs", "unsupported")),
        (65536, b"\x01\x16\x19\x70", ("gfs2", "unsupported")),
        (4096, b"OCFSV2", ("ocfs2", "unsupported")),
        (32769, b"CD001", ("iso9660", "unsupported")),
        (32769, b"BEA01", ("udf", "unsupported")),
        (544, b"1SFB", ("befs", "unsupported")),
        (512, b"\x57\x45\x56\x82", ("disklabel", "unsupported")),
        (32, b"ORCLDISK", ("asm", "unsupported")),
        (0, b"bluestore block device", ("ceph", "unsupported")),
        (516, b"!Stra0tis\x86\xff\x02^Arh", ("stratis", "unsupported")),
    ],
    ids=[
        *("LUKS", "BitLocker", "To Go", "Core Storage", "md 1.2", "md 1.1", "md 1.0", "GEOM", "md 0.90"),
        *("UFS 2", "UFS 1", "GFS2", "OCFS2", "ISO 9660", "UDF", "BeFS", "BSD", "ASM", "Ceph", "Stratis"),
    ],
)
def test_what_is_never_read_is_known_by_its_magic(offset: int, magic: bytes, expected) -> None:
    assert opaque(marked((offset, magic)), None) == expected


@pytest.mark.parametrize("label", [0, 1, 2, 3])
def test_each_label_of_zfs_is_seen(label: int) -> None:
    size = 2 * SIZE + 70_000
    place = (0, 256 << 10, 2 * SIZE - (512 << 10), 2 * SIZE - (256 << 10))[label]
    assert opaque(marked((place + 16384 + 24, b"version\0"), size=size), None) == ("zfs", "unsupported")
    assert opaque(marked(size=size), None) is None
    assert opaque(marked(size=300_000), None) is None


def test_superblocks_at_the_end_are_found_at_odd_sizes() -> None:
    assert opaque(marked(((SIZE + 5632 - 8192) & ~4095, MD), size=SIZE + 5632), None) == ("md", "raid")
    assert opaque(marked((SIZE - 65536, MD), size=SIZE + 5632), None) == ("md", "raid")


def test_the_type_in_the_table_counts() -> None:
    assert opaque(marked(), "0x42") == ("ldm", "raid")
    assert opaque(marked(), "53746f72-6167-11aa-aa11-00306543ecac") == ("corestorage", "encrypted")
    assert opaque(marked(), "0x83") is None
    assert opaque(marked(size=512), None) is None
