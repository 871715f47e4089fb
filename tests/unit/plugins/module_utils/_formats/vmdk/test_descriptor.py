# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from typing import Dict, Optional, Type

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    Encrypted,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.guid import derive
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image_ids import ImageIds
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk import descriptor as vmdk_descriptor
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.descriptor import (
    Descriptor,
    ExtentLine,
    NewDescriptor,
    checked_name,
    cid_of,
    geometry,
    parse_descriptor,
)
from ansible_collections.vdisk.parallels.tests.support import vmdk_files

IDENTITY = "{11111111-2222-4333-8444-555555555555}"
OTHER = "{99999999-2222-4333-8444-555555555555}"
RAW = vmdk_files.text("monolithicFlat", ['RW 100 FLAT "d-flat.vmdk" 0'])


def new(parent: Optional[ParentImage] = None, adapter: str = "lsilogic") -> NewDescriptor:
    return NewDescriptor("monolithicSparse", (ExtentLine(81920, "SPARSE", "d.vmdk"),), adapter, 4, parent)


def settings(raw: bytes) -> Dict[str, str]:
    return dict(re.findall(r'^([\w.]+) ?= ?"?([^"\n]*)"?$', raw.decode(), re.MULTILINE))


def test_the_text_is_in_canonical_words() -> None:
    raw = new().pack(IDENTITY)
    cid = cid_of(IDENTITY)
    long_id = settings(raw)["ddb.longContentID"]
    ids = {key: value for key, value in settings(raw).items() if key.startswith("ddb.uuid")}
    assert raw.decode() == (
        "# Disk DescriptorFile\n"
        "version=1\n"
        'encoding="UTF-8"\n'
        f"CID={cid}\n"
        "parentCID=ffffffff\n"
        'createType="monolithicSparse"\n'
        "\n"
        "# Extent description\n"
        'RW 81920 SPARSE "d.vmdk"\n'
        "\n"
        "# The Disk Data Base\n"
        "#DDB\n"
        "\n"
        'ddb.virtualHWVersion = "4"\n'
        f'ddb.longContentID = "{long_id}"\n'
        f'ddb.uuid.image = "{ids["ddb.uuid.image"]}"\n'
        f'ddb.uuid.modification = "{ids["ddb.uuid.modification"]}"\n'
        'ddb.uuid.parent = "00000000-0000-0000-0000-000000000000"\n'
        'ddb.uuid.parentmodification = "00000000-0000-0000-0000-000000000000"\n'
        'ddb.geometry.cylinders = "5"\n'
        'ddb.geometry.heads = "255"\n'
        'ddb.geometry.sectors = "63"\n'
        'ddb.adapterType = "lsilogic"\n'
        'ddb.toolsVersion = "2147483647"\n'
    )
    assert re.fullmatch("[0-9a-f]{32}", long_id) and long_id.endswith(cid)
    assert len(set(ids.values())) == 3 and all(len(value) == 36 for value in ids.values())


def test_an_overlay_names_its_parent_by_all_ids() -> None:
    base, raw = settings(new().pack(OTHER)), new(ParentImage("base disk.vmdk", OTHER)).pack(IDENTITY)
    found = settings(raw)
    assert found["parentCID"] == cid_of(OTHER) == base["CID"]
    assert found["parentFileNameHint"] == "base disk.vmdk"
    assert (found["ddb.uuid.parent"], found["ddb.uuid.parentmodification"]) == (
        base["ddb.uuid.image"],
        base["ddb.uuid.modification"],
    )
    read = parse_descriptor(raw, path="/d")
    assert (read.cid, read.parent_cid, read.parent_hint) == (cid_of(IDENTITY), cid_of(OTHER), "base disk.vmdk")


def test_ids_come_from_the_identity_alone() -> None:
    assert new().pack(IDENTITY) == new().pack(IDENTITY)
    assert new().pack(IDENTITY) != new().pack(OTHER)


def test_flat_extents_carry_their_offset() -> None:
    extents = (ExtentLine(10, "FLAT", "d-f001.vmdk"), ExtentLine(3, "FLAT", "d-f002.vmdk"))
    raw = NewDescriptor("twoGbMaxExtentFlat", extents, "ide", 6).pack(IDENTITY)
    assert b'\nRW 10 FLAT "d-f001.vmdk" 0\nRW 3 FLAT "d-f002.vmdk" 0\n' in raw
    assert parse_descriptor(raw, path="/d").extents == extents
    assert settings(raw)["ddb.virtualHWVersion"] == "6"


@pytest.mark.parametrize("bad", ["00000000", "fffffffe", "ffffffff"])
def test_a_content_id_never_has_a_meaning_of_its_own(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["{" + bad + "-0000-0000-0000-000000000000}", "{00000001-0000-0000-0000-000000000000}"])
    monkeypatch.setattr(vmdk_descriptor, "derive", lambda *_parts: next(answers))
    assert cid_of(IDENTITY) == "00000001"


@pytest.mark.parametrize(
    "sectors, adapter, expected",
    [
        (1, "ide", (1, 16, 63)),
        (81920, "ide", (81, 16, 63)),
        (1 << 40, "ide", (16383, 16, 63)),
        (16777216, "lsilogic", (1044, 255, 63)),
        (1, "buslogic", (1, 255, 63)),
        (1 << 40, "legacyESX", (65535, 255, 63)),
    ],
)
def test_geometry(sectors: int, adapter: str, expected: tuple) -> None:
    assert geometry(sectors, adapter) == expected


@pytest.mark.parametrize("name", ["", 'a"b', "a\nb", "a\0b", "a\rb", "\udc80"])
def test_a_name_that_breaks_the_text_is_a_bad_request(name: str) -> None:
    with pytest.raises(BadRequest):
        checked_name(name)
    with pytest.raises(BadRequest):
        NewDescriptor("monolithicFlat", (ExtentLine(1, "FLAT", name),), "ide", 4).pack(IDENTITY)
    with pytest.raises(BadRequest):
        new(ParentImage(name, OTHER)).pack(IDENTITY)


@given(
    st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters='"'), min_size=1, max_size=50),
    st.integers(1, 1 << 44),
)
def test_any_other_name_is_read_back(name: str, sectors: int) -> None:
    extent = ExtentLine(sectors, "FLAT", name)
    raw = NewDescriptor("monolithicFlat", (extent,), "buslogic", 4, ParentImage(name, OTHER)).pack(IDENTITY)
    read = parse_descriptor(raw, path="/d")
    ids = ImageIds(*(derive(guid, "vmdk", field) for guid in (IDENTITY, OTHER) for field in ("image", "modification")))
    assert read == Descriptor("monolithicFlat", cid_of(IDENTITY), cid_of(OTHER), name, "buslogic", (extent,), ids)
    assert read.sectors == sectors


def test_what_other_writers_do_is_understood() -> None:
    raw = (
        b"# Disk DescriptorFile\r\nVERSION = 3\r\n  Cid=A1B2\r\nPARENTCID=FFFFFFFF\r\n"
        b'isNativeSnapshot="no"\r\ncreatetype=TWOGBMAXEXTENTSPARSE\r\n'
        b'rw 5 sparse "a b.vmdk"\r\nRDONLY 6 Sparse "c.vmdk"  \r\nRW 7 ZERO\r\nNOACCESS 8 ZERO\r\n'
        b'some noise\r\nddb.adapterType="legacyESX"\r\n\0\0garbage\xff'
    )
    extents = (
        ExtentLine(5, "SPARSE", "a b.vmdk"),
        ExtentLine(6, "SPARSE", "c.vmdk", access="RDONLY"),
        ExtentLine(7, "ZERO"),
    )
    expected = (*extents, ExtentLine(8, "ZERO", access="NOACCESS"))
    assert parse_descriptor(raw, path="/d") == Descriptor(
        "twoGbMaxExtentSparse", "0000a1b2", None, None, "legacyESX", expected
    )


@pytest.mark.parametrize("encoding", ["UTF-8", "windows-1252", "Shift_JIS", "GBK"])
def test_names_in_known_encodings(encoding: str) -> None:
    name = {"windows-1252": "Dänemark.vmdk", "UTF-8": "Dänemark ディスク.vmdk"}.get(encoding, "ディスク.vmdk")
    raw = (
        vmdk_files.text("monolithicFlat", [f'RW 1 FLAT "{name}" 0'], more=[f'encoding="{encoding}"'])
        .decode()
        .encode(encoding)
    )
    assert parse_descriptor(raw, path="/d").extents[0].name == name


@pytest.mark.parametrize("encoding", ["", "utf-7", "punycode", "zip", "rot13", "no-such", "unicode_escape"])
def test_names_in_other_encodings_are_damaged(encoding: str) -> None:
    more = [f'encoding="{encoding}"'] if encoding else []
    raw = vmdk_files.text("monolithicFlat", ['RW 1 FLAT "@" 0'], more=more).replace(b"@", b"\xe4")
    with pytest.raises(Damaged):
        parse_descriptor(raw, path="/d")


def changed(old: bytes, new_text: bytes) -> bytes:
    assert old in RAW
    return RAW.replace(old, new_text)


LINE = b'RW 100 FLAT "d-flat.vmdk" 0'
REFUSED = {
    "empty": (b"", Damaged),
    "binary": (bytes(range(256)), Damaged),
    "no-type": (changed(b"createType", b"creatureType"), Damaged),
    "no-extent": (changed(LINE, b""), Damaged),
    "version": (changed(b"version=1", b"version=9"), Unsupported),
    "raw-device": (changed(b'"monolithicFlat"', b'"vmfsRawDeviceMap"'), Unsupported),
    "custom": (changed(b'"monolithicFlat"', b'"custom"'), Unsupported),
    "full-device": (changed(b'"monolithicFlat"', b'"fullDevice"'), Unsupported),
    "partitions": (changed(b'"monolithicFlat"', b'"partitionedDevice"'), Unsupported),
    "rdm": (changed(b'"monolithicFlat"', b'"vmfsRawDeviceMap"'), Unsupported),
    "rdm-extent": (changed(b"FLAT", b"VMFSRDM"), Unsupported),
    "device-extent": (changed(b"FLAT", b"VMFSRDM"), Unsupported),
    "no-access": (changed(b"RW", b"NOACCESS"), Unsupported),
    "encrypted": (changed(b"#DDB", b'encryptionKeys="vmware:key/list/x"'), Encrypted),
    "encrypted-by-filter": (changed(b"#DDB", b'ddb.iofilters = "vmwarevmcrypt"'), Encrypted),
    "no-size": (changed(b"RW 100", b"RW 0"), Damaged),
    "negative": (changed(b"RW 100", b"RW -1"), Damaged),
    "hex": (changed(b"RW 100", b"RW 0x10"), Damaged),
    "huge": (changed(b"RW 100", b"RW 17592186044417"), Damaged),
    "digits": (changed(b"RW 100", b"RW " + b"9" * 5000), Damaged),
    "sum": (changed(LINE, b"\n".join([b'RW 17592186044416 FLAT "a" 0', b'RW 1 FLAT "b" 0'])), Damaged),
    "offset": (changed(b'" 0', b'" 17592186044417'), Damaged),
    "sparse-offset": (changed(b"FLAT", b"SPARSE").replace(b'" 0', b'" 8'), Damaged),
    "no-name": (changed(b'"d-flat.vmdk" 0', b""), Damaged),
    "long-name": (changed(b"d-flat.vmdk", b"x" * 4097), Damaged),
    "no-quotes": (changed(b'"d-flat.vmdk"', b"d-flat.vmdk"), Damaged),
    "named-zero": (changed(b"FLAT", b"ZERO"), Damaged),
    "device": (changed(LINE, LINE + b" partition uuid x"), Damaged),
    "cid": (changed(b"CID=1a2b3c4d", b"CID=xyz"), Damaged),
    "long-cid": (changed(b"CID=1a2b3c4d", b"CID=1a2b3c4d5"), Damaged),
    "parent-without-hint": (changed(b"parentCID=ffffffff", b"parentCID=12345678"), Damaged),
    "hint-without-parent": (changed(b"#DDB", b'parentFileNameHint="p.vmdk"'), Damaged),
    "two-types": (changed(b"#DDB", b'createType="vmfs"'), Damaged),
    "two-parents": (changed(b"#DDB", b"parentCID=12345678"), Damaged),
    "many": (changed(LINE, b"\n".join(b'RW 1 FLAT "%d" 0' % number for number in range(4097))), Unsupported),
}


@pytest.mark.parametrize("raw, error", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused(raw: bytes, error: Type[DiskError]) -> None:
    parse_descriptor(RAW, path="/d")
    with pytest.raises(DiskError) as caught:
        parse_descriptor(raw, path="/d", offset=512)
    assert (caught.value.code, caught.value.path) == (error.code, "/d")


def test_the_type_stands_in_the_message() -> None:
    with pytest.raises(Unsupported, match="fullDevice"):
        parse_descriptor(changed(b"monolithicFlat", b"fullDevice"), path="/d")


@pytest.mark.parametrize(
    "piece", [b"\n", b" ", b"x", b"=", b'"', b"RW ", b"RW 1 FLAT ", b"a=\n", b"encoding ", b"encoding\n", b"#", b"\xff"]
)
def test_a_megabyte_of_anything_ends_soon_in_our_error(piece: bytes) -> None:
    with pytest.raises(DiskError):
        parse_descriptor((piece * (1 << 20))[: 1 << 20], path="/d")


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(noise: bytes) -> None:
    for raw in (noise, RAW + noise, RAW[:70] + noise + RAW[70:]):
        try:
            parse_descriptor(raw, path="/d")
        except DiskError:
            pass
