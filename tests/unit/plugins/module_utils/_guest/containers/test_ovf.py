# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptions of appliances, and their manifests."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, DiskError, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.ovf import (
    OvfDisk,
    chunk_name,
    parse_manifest,
    parse_ovf,
)

NAMESPACES = 'xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"'


def described(files: str, disks: str) -> bytes:
    return (
        f'<?xml version="1.0"?><Envelope {NAMESPACES}><References>{files}</References>'
        f"<DiskSection><Info>x</Info>{disks}</DiskSection></Envelope>"
    ).encode()


def test_disks_are_listed_with_their_files() -> None:
    found = parse_ovf(
        described(
            '<File ovf:id="f1" ovf:href="a.vmdk"/><File ovf:id="f2" ovf:href="b.vmdk" ovf:compression="gzip"/>'
            '<File ovf:id="f3" ovf:href="./c%20d.iso" ovf:chunkSize="5" ovf:size="12"/>',
            '<Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="1"/><Disk ovf:diskId="d2" ovf:fileRef="f2"/>'
            '<Disk ovf:diskId="d3" ovf:fileRef="f3" ovf:parentRef="d1"/><Disk ovf:diskId="d4" ovf:capacity="9"/>',
        ),
        path="/a.ovf",
    )
    assert found == (
        OvfDisk("d1", "a.vmdk", "identity", None),
        OvfDisk("d2", "b.vmdk", "gzip", None),
        OvfDisk("d3", "c%20d.iso", "identity", "d1", 5, 12),
        OvfDisk("d4", None, "identity", None),
    )
    assert found[2].names == ("c%20d.iso", "c d.iso") and found[0].names == ("a.vmdk",)
    assert chunk_name("c.iso", 12) == "c.iso.000000012"


@pytest.mark.parametrize("name", ["..%2Fa", "%2e%2e", "a%00b", "%2F"])
def test_escapes_lead_nowhere_else(name: str) -> None:
    assert OvfDisk("d", name).names == (name,)


@pytest.mark.parametrize("size", ["x", "-1", "1" * 30, "²"])
def test_sizes_are_numbers(size: str) -> None:
    with pytest.raises(Damaged):
        parse_ovf(
            described(
                f'<File ovf:id="f" ovf:href="a" ovf:chunkSize="{size}"/>', '<Disk ovf:diskId="d" ovf:fileRef="f"/>'
            ),
            path="/a",
        )


@pytest.mark.parametrize("href", ["../a", "/etc/hostname", "x/y", "http://host/a", "", "."])
def test_files_are_beside_the_description(href: str) -> None:
    with pytest.raises(Unsupported):
        parse_ovf(
            described(f'<File ovf:id="f" ovf:href="{href}"/>', '<Disk ovf:diskId="d" ovf:fileRef="f"/>'), path="/a"
        )


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"<a/>",
        b"<Envelope>",
        described("", '<Disk ovf:diskId="d" ovf:fileRef="f"/>'),
        b'<!DOCTYPE x [<!ENTITY e "x">]><Envelope/>',
    ],
)
def test_what_is_no_description_is_refused(xml: bytes) -> None:
    with pytest.raises(DiskError):
        parse_ovf(xml, path="/a.ovf")


def test_a_manifest_names_files_with_their_checksums() -> None:
    text = f"SHA256(a.ovf)= {'AB' * 32}\r\nSHA1 (b (1).vmdk) = {'0' * 40}\n\n".encode()
    assert parse_manifest(text, path="/a.mf") == {"a.ovf": ("sha256", "ab" * 32), "b (1).vmdk": ("sha1", "0" * 40)}


@pytest.mark.parametrize("line", ["MD5(a)= 00", "SHA1(a)= 00", "SHA256(a)=" + "g" * 64, "hello", "SHA256 a = b"])
def test_a_line_that_is_no_checksum_is_damage(line: str) -> None:
    with pytest.raises(Damaged):
        parse_manifest(line.encode(), path="/a.mf")
