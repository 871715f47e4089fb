# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import lzma
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.detect import UNSTRUCTURED, detect
from ansible_collections.vdisk.parallels.tests.support import images


@pytest.mark.parametrize(
    "prefix, expected",
    [
        pytest.param(images.pack_hds_header(size_sectors=1, bat_entries=1, version=1), "hds", id="expanding v1"),
        pytest.param(images.pack_hds_header(size_sectors=1, bat_entries=1, version=2), "hds", id="expanding v2"),
        pytest.param(b"QFI\xfb\0\0\0\1", "qcow", id="qcow"),
        pytest.param(b"QFI\xfb\0\0\0\2", "qcow2", id="qcow2 v2"),
        pytest.param(b"QFI\xfb\0\0\0\3", "qcow2", id="qcow2 v3"),
        pytest.param(b"QFI\xfb\0\0\0\4", "qcow2", id="qcow2 of a later version"),
        pytest.param(b"QFI\xfb\0\0\0\0", "qcow2", id="qcow2 of no version"),
        pytest.param(b"KDMV\1\0\0\0", "vmdk", id="vmdk sparse"),
        pytest.param(b"KDMV\3\0\0\0\1\0\3\0", "vmdk", id="vmdk stream"),
        pytest.param(b"\xbe\xba\xfe\xca\0\0\0\0", "vmdk", id="vmdk space efficient"),
        pytest.param(b"COWD\1\0\0\0", "vmdk", id="vmdk cow"),
        pytest.param(b"# Disk DescriptorFile\nversion=1\n", "vmdk", id="vmdk descriptor"),
        pytest.param(b"conectix\0\0\0\2", "vhd", id="vhd dynamic"),
        pytest.param(b"vhdxfileQ\0E\0", "vhdx", id="vhdx"),
        pytest.param(
            b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") + struct.pack("<I", 0xBEDA107F),
            "vdi",
            id="vdi",
        ),
        pytest.param(
            b"<<< QEMU VM Virtual Disk Image >>>\n".ljust(64, b"\0") + struct.pack("<II", 0xBEDA107F, 0x00010001),
            "vdi",
            id="vdi of QEMU",
        ),
        pytest.param(
            b"innotek VirtualBox".ljust(64, b"\0") + struct.pack("<II", 0xBEDA107F, 2),
            "vdi",
            id="vdi of the first versions",
        ),
        pytest.param(bytes(64) + struct.pack(">I", 0xBEDA107F), UNSTRUCTURED, id="vdi the wrong way round"),
        pytest.param(b"LUKS\xba\xbe\0\2", "luks", id="luks"),
        pytest.param(gzip.compress(b"x"), "gzip", id="gzip"),
        pytest.param(lzma.compress(b"x"), "xz", id="xz"),
        pytest.param(b"\x28\xb5\x2f\xfd\x24", "zstd", id="zstd"),
        pytest.param(b"PK\x03\x04\x14\0", "zip", id="zip"),
        pytest.param(b"encrcdsa\0\0\0\2", "dmg", id="encrypted dmg"),
        pytest.param(b"box.ovf".ljust(257, b"\0") + b"ustar\x0000", "tar", id="tar"),
        pytest.param(b"<?xml version='1.0' encoding='UTF-8'?>", "xml", id="descriptor"),
        pytest.param(b"\0" * 512, UNSTRUCTURED, id="zeros"),
        pytest.param(b"\xfa\x33\xc0".ljust(510, b"\0") + b"\x55\xaa", UNSTRUCTURED, id="boot sector"),
        pytest.param(b"WithoutFreeSpac", UNSTRUCTURED, id="cut off"),
        pytest.param(zlib.compress(b"x"), UNSTRUCTURED, id="zlib"),
        pytest.param(b"", UNSTRUCTURED, id="empty"),
    ],
)
def test_a_mark_at_the_start_names_the_format(prefix: bytes, expected: str) -> None:
    assert detect(prefix, name="disk.img") == expected


@pytest.mark.parametrize(
    "suffix, expected",
    [
        pytest.param(b"conectix".ljust(512, b"\0"), "vhd", id="fixed vhd"),
        pytest.param(b"\0conectix".ljust(512, b"\0"), "vhd", id="fixed vhd of an old writer"),
        pytest.param(bytes(512) + b"koly".ljust(512, b"\0"), "dmg", id="dmg, longer tail given"),
        pytest.param(b"cdsaencr".rjust(512, b"\0"), "dmg", id="encrypted dmg"),
        pytest.param(b"conectix".ljust(511, b"\0"), "vhd", id="footer of 511 bytes"),
        pytest.param(b"conectix" + bytes(512), UNSTRUCTURED, id="not at the footer's place"),
        pytest.param(bytes(512), UNSTRUCTURED, id="zeros"),
    ],
)
def test_a_mark_at_the_end_names_the_format(suffix: bytes, expected: str) -> None:
    assert detect(bytes(512), suffix_bytes=suffix, name="disk.img") == expected


FOOTER = b"conectix" + struct.pack(">II", 2, 0x10000)


@pytest.mark.parametrize("length", [511, 512])
@pytest.mark.parametrize("given_bytes", [511, 512, 4096])
@pytest.mark.parametrize("name", ["disk.vhd", "disk.img", "disk"])
def test_a_fixed_vhd_is_known_by_its_footer(length: int, given_bytes: int, name: str) -> None:
    content = b"\xfa\x33\xc0" + bytes(8192) + FOOTER.ljust(length, b"\0")
    if given_bytes >= length:
        assert detect(content[:512], suffix_bytes=content[-given_bytes:], name=name) == "vhd"


@pytest.mark.parametrize("suffix", [b"", bytes(512), b"\xff" * 512, b"\0\0" + FOOTER.ljust(510, b"\0")])
def test_a_dynamic_vhd_without_its_end_is_known_by_its_start(suffix: bytes) -> None:
    assert detect(FOOTER.ljust(512, b"\0") + b"cxsparse", suffix_bytes=suffix, name="disk.img") == "vhd"


@pytest.mark.parametrize("name", ["disk.vhd", "DISK.VHD", "disk.avhd", "disk.v01", "disk.V63", "/srv/a.b/disk.v02"])
def test_a_piece_of_a_split_vhd_is_known_by_its_name(name: str) -> None:
    assert detect(b"\xfa\x33\xc0".ljust(512, b"\0"), suffix_bytes=b"x" * 512, name=name) == "vhd"
    assert detect(b"QFI\xfb\0\0\0\3", suffix_bytes=bytes(512), name=name) == "qcow2"


@pytest.mark.parametrize(
    "name", ["disk.vhdx", "disk.v1", "disk.v001", "vhd", "v01", "disk.vhd.bak", "/srv/disk.vhd/image", "disk.vhd\n"]
)
def test_other_names_decide_nothing(name: str) -> None:
    assert detect(b"\xfa\x33\xc0".ljust(512, b"\0"), suffix_bytes=bytes(512), name=name) == UNSTRUCTURED


TITLE = b"# Disk DescriptorFile"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TITLE + b"\nversion=1\n", id="lines of Unix"),
        pytest.param(TITLE + b"\r\nversion=1\r\n", id="lines of Windows"),
        pytest.param(TITLE + b"\rversion=1\r", id="lines of old Macs"),
        pytest.param(b"\xef\xbb\xbf" + TITLE + b"\r\n", id="byte order mark"),
        pytest.param(b"\n \t\n\r\n" + TITLE + b"\n", id="blank lines"),
        pytest.param(b"\xef\xbb\xbf\r\n# made by hand\r\n#\r\n" + TITLE, id="all of it"),
        pytest.param(b"  #Disk descriptorfile\n", id="other spaces and letters"),
        pytest.param(TITLE, id="nothing else"),
    ],
)
def test_a_descriptor_is_known_whatever_stands_before_its_title(text: bytes) -> None:
    assert detect(text, suffix_bytes=text[-512:], name="disk.txt") == "vmdk"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"version=1\n" + TITLE, id="title below something"),
        pytest.param(b"\0" + TITLE, id="byte before the title"),
        pytest.param(b"# Disk Descriptor\n", id="cut off"),
        pytest.param(b"Disk DescriptorFile\n", id="no comment"),
        pytest.param(b"#\n" * 600 + TITLE, id="too far away"),
        pytest.param(b"\xef\xbb\xbf", id="byte order mark alone"),
    ],
)
def test_other_texts_are_no_descriptors(text: bytes) -> None:
    assert detect(text, suffix_bytes=text[-512:], name="notes.txt") == UNSTRUCTURED


def test_a_mark_at_the_start_goes_before_one_at_the_end() -> None:
    assert detect(b"QFI\xfb\0\0\0\3", suffix_bytes=b"conectix".ljust(512, b"\0"), name="disk.vhd") == "qcow2"


def test_the_name_decides_about_a_text_only() -> None:
    text = b'version=1\nCID=fffffffe\ncreateType="monolithicFlat"\n'
    assert detect(text, name="Disk.VMDK") == "vmdk"
    assert detect(text, name="notes.txt") == UNSTRUCTURED
    assert detect(bytes(512), name="disk.vmdk") == UNSTRUCTURED
    assert detect(bytes(512), name="disk.hdd") == UNSTRUCTURED


@given(st.binary(max_size=600), st.binary(max_size=600), st.text(max_size=10))
def test_any_bytes_get_a_name(prefix: bytes, suffix: bytes, name: str) -> None:
    assert detect(prefix, suffix_bytes=suffix, name=name)
