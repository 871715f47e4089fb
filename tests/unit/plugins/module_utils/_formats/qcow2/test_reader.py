# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple, Union

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
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.cache import Cache
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentLink
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.reader import Qcow2Image, open_qcow2
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.places import checked_places

PORT = OsPort()
COPIED, PACKED, ZERO_BIT = 1 << 63, 1 << 62, 1
EXTENSION_FORMAT, EXTENSION_NAMES, EXTENSION_BITMAPS = 0xE2792ACA, 0x6803F857, 0x23852875
CLUSTER = 4096
SIZE = 10 * CLUSTER - 512
# Where the builder puts things, in clusters of the file.
L1_AT, REFCOUNT_TABLE_AT, BLOCK_AT, L2_AT, DATA_AT = 1, 2, 3, 4, 6


def deflate(content: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -12)
    return stream.compress(content) + stream.flush()


class Builder:
    """A qcow2 file made with ``struct`` alone: header fields by name, an L1 table, up to two L2 tables, and data
    clusters.
    """

    def __init__(self, *, version: int = 3, bits: int = 12, size: int = SIZE) -> None:
        self.bits = bits
        self.cluster = 1 << bits
        self.fields: Dict[str, int] = dict(
            magic=0x514649FB, version=version, name_offset=0, name_bytes=0, bits=bits, size=size, crypt=0,
            l1_entries=2, l1_offset=L1_AT << bits,
            table_offset=REFCOUNT_TABLE_AT << bits, table_clusters=1, snapshots=0, snapshots_offset=0,
            incompatible=0, compatible=0, autoclear=0, order=4, length=112, compression=0,
        )  # fmt: skip
        self.extensions = b""
        self.name = b""
        self.l1 = [COPIED | (L2_AT << bits)]
        self.tables: Dict[int, List[int]] = {L2_AT: []}
        self.data: Dict[int, bytes] = {}
        self.length: Optional[int] = None

    def store(self, guest: int, host: int, content: bytes, flags: int = COPIED) -> None:
        self.entry(guest, (host << self.bits) | flags)
        self.data[host << self.bits] = content

    def pack(self, guest: int, offset: int, content: bytes, *, sectors: Optional[int] = None) -> None:
        packed = deflate(content)
        more = (offset + len(packed) - 1) // 512 - offset // 512 if sectors is None else sectors
        self.entry(guest, PACKED | more << (70 - self.bits) | offset)
        self.data[offset] = packed

    def entry(self, guest: int, value: int, table: int = L2_AT) -> None:
        entries = self.tables[table]
        entries.extend([0] * (guest + 1 - len(entries)))
        entries[guest] = value

    def header(self) -> bytes:
        f = dict(self.fields)
        start = 72 if f["version"] == 2 else f["length"]
        if self.name:
            f["name_offset"], f["name_bytes"] = start + len(self.extensions) + 8, len(self.name)
        raw = struct.pack(
            ">IIQIIQIIQQIIQ",
            *[f[name] for name in "magic version name_offset name_bytes bits size crypt l1_entries l1_offset".split()],
            *[f[name] for name in "table_offset table_clusters snapshots snapshots_offset".split()],
        )
        if f["version"] != 2:
            raw += struct.pack(
                ">QQQII", *[f[name] for name in "incompatible compatible autoclear order length".split()]
            )
            raw += bytes([f["compression"]])
        return raw.ljust(start, b"\0")[:start] + self.extensions + bytes(8) + self.name

    def write(self, path: Path) -> str:
        with open(path, "wb") as file:
            file.write(self.header())
            self._put(file, L1_AT << self.bits, struct.pack(f">{len(self.l1)}Q", *self.l1))
            self._put(file, REFCOUNT_TABLE_AT << self.bits, struct.pack(">Q", BLOCK_AT << self.bits))
            for host, entries in self.tables.items():
                self._put(file, host << self.bits, struct.pack(f">{len(entries)}Q", *entries))
            end = DATA_AT << self.bits
            for offset, content in self.data.items():
                self._put(file, offset, content)
                end = max(end, -(-(offset + len(content)) // self.cluster) * self.cluster)
            file.truncate(end if self.length is None else self.length)
        return str(path)

    @staticmethod
    def _put(file: object, offset: int, content: bytes) -> None:
        file.seek(offset)  # type: ignore[attr-defined]
        file.write(content)  # type: ignore[attr-defined]

    def extension(self, kind: int, content: bytes) -> None:
        self.extensions += struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)


def content_of(image: Qcow2Image) -> bytes:
    buffer = bytearray(b"\xaa" * image.size)
    image.pread_into(0, buffer)
    return bytes(buffer)


def kinds(image: Qcow2Image) -> List[Tuple[int, int, str]]:
    return [(extent.start, extent.length, extent.kind) for extent in image.extents(0, image.size)]


def usual(**fields: int) -> Builder:
    """One stored, one zero, one packed cluster, two stored ones in a row, the last one at the end of the disk."""
    builder = Builder()
    builder.fields.update(fields)
    builder.store(0, 6, images.fill(0, CLUSTER))
    builder.entry(2, ZERO_BIT if builder.fields["version"] > 2 else 0)
    builder.pack(4, (9 << 12) + 100, TEXT)
    builder.store(8, 7, images.fill(8, CLUSTER))
    builder.store(9, 8, images.fill(9, CLUSTER))
    return builder


TEXT = (b"a text that is much the same " * 200)[:CLUSTER]
EXPECTED = b"".join(
    [
        images.fill(0, CLUSTER),
        bytes(3 * CLUSTER),
        TEXT,
        bytes(3 * CLUSTER),
        images.fill(8, CLUSTER),
        images.fill(9, CLUSTER),
    ]
)[:SIZE]


@pytest.mark.parametrize("version", [2, 3])
def test_a_file_is_read_as_it_was_built(tmp_path: Path, version: int) -> None:
    path = usual(version=version).write(tmp_path / "disk.qcow2")
    image = open_qcow2(PORT, path)
    assert content_of(image) == EXPECTED
    assert kinds(image) == [
        (0, CLUSTER, DATA),
        (CLUSTER, 3 * CLUSTER, ZERO),
        (4 * CLUSTER, CLUSTER, DATA),
        (5 * CLUSTER, 3 * CLUSTER, ZERO),
        (8 * CLUSTER, 2 * CLUSTER - 512, DATA),
    ]
    assert (image.path, image.files, image.size, image.parent, image.identity, image.warnings) == (
        path,
        (os.path.realpath(path),),
        SIZE,
        None,
        None,
        (),
    )
    assert image.properties == {"format_version": str(version), "cluster_size": CLUSTER, "compression": "zlib"}
    image.close()
    image.close()


def test_with_a_parent_what_is_not_stored_is_absent_and_what_is_zero_is_zero(tmp_path: Path) -> None:
    builder = usual()
    builder.name = b"../base:x\xff.img"
    builder.extension(0x12345678, b"unknown")
    builder.extension(EXTENSION_FORMAT, b"raw")
    builder.extension(EXTENSION_BITMAPS, bytes(24))
    builder.fields["snapshots"] = 3
    builder.fields["incompatible"] = 1
    builder.entry(3, 7 << 12 | ZERO_BIT)
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    assert image.parent == ParentLink(("../base:x\udcff.img",), "raw")
    assert [(start // CLUSTER, kind) for start, _length, kind in kinds(image)] == [
        (0, DATA),
        (1, ABSENT),
        (2, ZERO),
        (4, DATA),
        (5, ABSENT),
        (8, DATA),
    ]
    assert content_of(image) == EXPECTED
    assert len(image.warnings) == 3
    image.close()


@pytest.mark.parametrize("version", [2, 3])
def test_a_backing_file_without_a_format_has_none(tmp_path: Path, version: int) -> None:
    builder = usual(version=version)
    builder.name = b"base.img"
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    assert image.parent == ParentLink(("base.img",), None)
    image.close()


def test_holes_of_stored_clusters_are_zero(tmp_path: Path) -> None:
    builder = Builder(bits=16, size=4 << 16)
    builder.store(1, 6, b"\1" * 4096)
    builder.store(2, 7, b"")
    builder.length = 8 << 16
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    found = kinds(image)
    assert found[0] == (0, 1 << 16, ZERO)
    assert found[-1][2] == (ZERO if len(found) > 2 else DATA)
    assert content_of(image) == bytes(1 << 16) + b"\1" * 4096 + bytes((3 << 16) - 4096)
    image.close()


@pytest.mark.parametrize("offset, length", [(-1, 1), (SIZE, 1), (0, SIZE + 1), (5, -1)])
def test_a_range_behind_the_disk_is_a_bad_request(tmp_path: Path, offset: int, length: int) -> None:
    image = open_qcow2(PORT, usual().write(tmp_path / "disk.qcow2"))
    with pytest.raises(BadRequest):
        image.extents(offset, length)
    with pytest.raises(BadRequest):
        image.places(offset, length)
    if length > 0:
        with pytest.raises(BadRequest):
            image.pread_into(offset, bytearray(length))
    assert list(image.extents(SIZE, 0)) == []
    image.close()


@given(st.integers(0, SIZE), st.integers(0, SIZE))
def test_any_range_is_a_part_of_the_whole(tmp_path_factory: pytest.TempPathFactory, start: int, length: int) -> None:
    length = min(length, SIZE - start)
    image = open_qcow2(PORT, usual().write(tmp_path_factory.mktemp("image") / "disk.qcow2"))
    buffer = bytearray(b"\xaa" * length)
    image.pread_into(start, buffer)
    assert buffer == EXPECTED[start : start + length]
    position = start
    for extent in image.extents(start, length):
        assert extent.start == position and extent.length > 0
        position = extent.end
        if extent.kind != DATA:
            assert not any(EXPECTED[extent.start : extent.end])
    assert position == start + length
    checked_places(image, start, length, has_packed=True)
    image.close()


BAD_FIELDS: Dict[str, Tuple[Dict[str, int], type]] = {
    "magic": (dict(magic=0x514649FC), Damaged),
    "version 1": (dict(version=1), Unsupported),
    "version 4": (dict(version=4), Unsupported),
    "tiny clusters": (dict(bits=8), Damaged),
    "huge clusters": (dict(bits=22), Damaged),
    "absurd clusters": (dict(bits=0xFFFFFFFF), Damaged),
    "AES": (dict(crypt=1), Encrypted),
    "LUKS": (dict(crypt=2), Encrypted),
    "crypt": (dict(crypt=3), Unsupported),
    "L1 too small": (dict(size=5 << 20), Damaged),
    "absurd size": (dict(size=(1 << 64) - 1), Damaged),
    "absurd L1": (dict(l1_entries=0xFFFFFFFF), Damaged),
    "L1 beyond the limit": (dict(l1_entries=(4 << 20) + 1), Damaged),
    "L1 in the header": (dict(l1_offset=0), Damaged),
    "L1 off the grid": (dict(l1_offset=(1 << 12) + 8), Damaged),
    "L1 behind the end": (dict(l1_offset=1 << 40), Damaged),
    "L1 beyond the end": (dict(l1_entries=4 << 20), Damaged),
    "L1 far behind": (dict(l1_offset=(1 << 64) - 4096), Damaged),
    "no reference counts": (dict(table_clusters=0), Damaged),
    "too many reference counts": (dict(table_clusters=2049), Damaged),
    "reference counts in the header": (dict(table_offset=0), Damaged),
    "reference counts off the grid": (dict(table_offset=8193), Damaged),
    "reference counts behind the end": (dict(table_offset=1 << 50), Damaged),
    "snapshots": (dict(snapshots=65537), Damaged),
    "corrupt": (dict(incompatible=2), Damaged),
    "external data and snapshots": (dict(incompatible=4, snapshots=1), Damaged),
    "compression bit alone": (dict(incompatible=8), Damaged),
    "compression alone": (dict(compression=1), Damaged),
    "unknown compression": (dict(incompatible=8, compression=2), Unsupported),
    "extended L2 in small clusters": (dict(incompatible=16), Damaged),
    "feature 5": (dict(incompatible=32), Unsupported),
    "feature 63": (dict(incompatible=1 << 63), Unsupported),
    "width": (dict(order=7), Damaged),
    "short header": (dict(length=96), Damaged),
    "odd header": (dict(length=108), Damaged),
    "long header": (dict(length=4104), Damaged),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_header_that_cannot_be_meant_is_refused(tmp_path: Path, name: str) -> None:
    fields, error = BAD_FIELDS[name]
    with pytest.raises(error) as caught:
        open_qcow2(PORT, usual(**fields).write(tmp_path / "disk.qcow2"))
    assert (
        isinstance(caught.value, DiskError)
        and caught.value.path == str(tmp_path / "disk.qcow2")
        and caught.value.offset is not None
    )


def test_a_corrupt_image_names_what_repairs_it(tmp_path: Path) -> None:
    with pytest.raises(Damaged) as caught:
        open_qcow2(PORT, usual(incompatible=2).write(tmp_path / "disk.qcow2"))
    assert "qemu-img check -r all" in (caught.value.hint or "")


def test_an_unknown_feature_is_named_as_the_image_names_it(tmp_path: Path) -> None:
    builder = usual(incompatible=1 << 7 | 1 << 9)
    builder.extension(EXTENSION_NAMES, b"\1\7wrong".ljust(48, b"\0") + b"\0\7time travel\xff".ljust(48, b"\0") + b"\0")
    with pytest.raises(Unsupported) as caught:
        open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    assert (
        "time travel" in caught.value.message
        and "bit 9" in caught.value.message
        and "wrong" not in caught.value.message
    )


@pytest.mark.parametrize(
    "kind, length", [(EXTENSION_FORMAT, 64), (EXTENSION_FORMAT, 1 << 31), (77, 1 << 31), (77, 4096)]
)
def test_an_extension_that_is_too_long_is_refused(tmp_path: Path, kind: int, length: int) -> None:
    builder = usual()
    builder.extensions = struct.pack(">II", kind, length) + bytes(64)
    with pytest.raises(Damaged):
        open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))


@pytest.mark.parametrize(
    "offset, length, ok",
    [(4000, 97, False), (200, 1024, False), (1 << 63, 5, False), (200, 0, True), (0, 5, True), (4000, 96, False)],
)
def test_a_name_out_of_place_is_refused(tmp_path: Path, offset: int, length: int, ok: bool) -> None:
    builder = usual(name_offset=offset, name_bytes=length)
    path = builder.write(tmp_path / "disk.qcow2")
    if ok:
        image = open_qcow2(PORT, path)
        assert image.parent is None
        image.close()
        return
    # The last one lies in the cluster, but consists of zero bytes.
    with pytest.raises(Damaged):
        open_qcow2(PORT, path)


def l1(*entries: int) -> Builder:
    builder = usual()
    builder.fields["size"] = 3 << 20
    builder.l1 = list(entries)
    builder.tables[5] = []
    return builder


GOOD_L1 = COPIED | L2_AT << 12


@pytest.mark.parametrize(
    "entries",
    [(GOOD_L1, GOOD_L1), (GOOD_L1, L2_AT << 12), (GOOD_L1, COPIED | 1 << 40)]
    + [(wrong, 0) for wrong in (GOOD_L1 + 512, GOOD_L1 | 1, GOOD_L1 | 1 << 62)]
    + [(GOOD_L1, COPIED | place << 12) for place in (L1_AT, REFCOUNT_TABLE_AT, BLOCK_AT, 10)],
)
def test_an_l1_entry_that_cannot_be_meant_is_refused(tmp_path: Path, entries: Tuple[int, int]) -> None:
    with pytest.raises(Damaged):
        open_qcow2(PORT, l1(*entries).write(tmp_path / "disk.qcow2"))


def test_l1_entries_behind_the_disk_do_not_matter(tmp_path: Path) -> None:
    builder = l1(GOOD_L1, COPIED | 5 << 12)
    image = open_qcow2(PORT, builder.write(tmp_path / "one.qcow2"))
    assert content_of(image)[: 9 * CLUSTER] == EXPECTED[: 9 * CLUSTER]
    image.close()
    builder = l1(GOOD_L1, GOOD_L1)
    builder.fields["size"] = SIZE
    image = open_qcow2(PORT, builder.write(tmp_path / "two.qcow2"))
    assert content_of(image) == EXPECTED
    image.close()


def read_all(path: str) -> None:
    image = open_qcow2(PORT, path)
    try:
        content_of(image)
    finally:
        image.close()


def map_all(path: str) -> None:
    image = open_qcow2(PORT, path)
    try:
        kinds(image)
    finally:
        image.close()


BAD_ENTRIES: Dict[str, int] = {
    "off the grid": COPIED | 6 << 12 | 512,
    "reserved low bit": COPIED | 6 << 12 | 4,
    "reserved high bit": COPIED | 6 << 12 | 1 << 57,
    "behind the end": COPIED | 100 << 12,
    "far behind the end": COPIED | 1 << 55,
    "in the header": COPIED | 256,
    "in the L1 table": COPIED | L1_AT << 12,
    "in the table of reference counts": COPIED | REFCOUNT_TABLE_AT << 12,
    "in the reference counts": COPIED | BLOCK_AT << 12,
    "in an L2 table": COPIED | L2_AT << 12,
    "zero and off the grid": COPIED | 6 << 12 | 512 | ZERO_BIT,
    "zero and reserved": ZERO_BIT | 2,
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
@pytest.mark.parametrize("guest", [1, 3, 9])
def test_an_l2_entry_that_cannot_be_meant_is_refused(tmp_path: Path, guest: int, name: str) -> None:
    builder = usual()
    builder.entry(guest, BAD_ENTRIES[name])
    path = builder.write(tmp_path / "disk.qcow2")
    for attempt in (read_all, map_all):
        with pytest.raises(Damaged) as caught:
            attempt(path)
        assert caught.value.offset == (L2_AT << 12) + 8 * guest


def test_a_run_that_reaches_into_a_table_is_refused(tmp_path: Path) -> None:
    builder = Builder()
    builder.l1 = [COPIED | 8 << 12]
    builder.tables = {8: []}
    for index, host in enumerate((6, 7, 8, 9)):
        builder.entry(index, COPIED | host << 12, table=8)
    builder.length = 12 << 12
    with pytest.raises(Damaged):
        map_all(builder.write(tmp_path / "disk.qcow2"))


def test_version_2_knows_no_zero_bit(tmp_path: Path) -> None:
    builder = usual(version=2)
    builder.entry(5, ZERO_BIT)
    with pytest.raises(Damaged):
        map_all(builder.write(tmp_path / "disk.qcow2"))


def broken_packing() -> Iterator[object]:
    def short(builder: Builder) -> None:
        builder.pack(4, 9 << 12, TEXT[:-1])

    def long(builder: Builder) -> None:
        builder.pack(4, 9 << 12, TEXT + b"x")

    def bomb(builder: Builder) -> None:
        builder.pack(4, 9 << 12, bytes(1 << 20))

    def noise(builder: Builder) -> None:
        builder.pack(4, 9 << 12, TEXT)
        builder.data[9 << 12] = b"\xff" * 300

    def cut(builder: Builder) -> None:
        builder.pack(4, (9 << 12) + 500, images.fill(3, CLUSTER), sectors=0)

    def behind(builder: Builder) -> None:
        builder.pack(4, 1 << 40, b"")
        del builder.data[1 << 40]

    def in_table(builder: Builder) -> None:
        builder.entry(4, PACKED | 1 << 58 | (L2_AT << 12) + 100)

    def into_table(builder: Builder) -> None:
        builder.pack(4, (DATA_AT << 12) - 600, TEXT)
        builder.entry(4, PACKED | 1 << 58 | (L2_AT << 12) - 400)

    def in_header(builder: Builder) -> None:
        builder.pack(4, 1000, TEXT)

    for change in (short, long, bomb, noise, cut, behind, in_table, into_table, in_header):
        yield pytest.param(change, id=change.__name__)


@pytest.mark.parametrize("change", list(broken_packing()))
def test_a_compressed_cluster_that_is_not_exactly_one_is_refused(tmp_path: Path, change: object) -> None:
    builder = usual()
    del builder.data[(9 << 12) + 100]
    change(builder)  # type: ignore[operator]
    builder.length = 20 << 12
    path = builder.write(tmp_path / "disk.qcow2")
    with pytest.raises(Damaged):
        read_all(path)


def test_the_last_sector_of_packed_bytes_may_be_cut_off(tmp_path: Path) -> None:
    builder = usual()
    builder.length = (9 << 12) + 100 + len(deflate(TEXT))
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    assert content_of(image) == EXPECTED
    image.close()


def test_several_compressed_clusters_may_share_one_of_the_file(tmp_path: Path) -> None:
    builder = Builder()
    texts = [bytes([65 + index]) * CLUSTER for index in range(9)]
    offset = 6 << 12
    for guest, text in enumerate(texts):
        builder.pack(guest, offset, text)
        offset += len(deflate(text))
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    assert content_of(image) == b"".join(texts) + bytes(CLUSTER - 512)
    image.close()


def test_a_file_cut_anywhere_ends_in_an_error_or_in_the_same_bytes(tmp_path: Path) -> None:
    path = usual().write(tmp_path / "disk.qcow2")
    whole = Path(path).read_bytes()
    outcomes = set()
    for length in [0, 1, 71, 72, 103, 104, 111, 112, *range(512, len(whole) + 1, 512)]:
        Path(path).write_bytes(whole[:length])
        try:
            image = open_qcow2(PORT, path)
            content = content_of(image)
            image.close()
            assert content == EXPECTED
            outcomes.add("read")
        except Damaged:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@given(st.integers(0, 111), st.integers(0, 255))
def test_any_byte_of_the_header_may_be_wrong(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = Path(usual().write(tmp_path_factory.mktemp("image") / "disk.qcow2"))
    raw = bytearray(path.read_bytes())
    raw[position] = value
    path.write_bytes(raw)
    try:
        image = open_qcow2(PORT, str(path))
    except DiskError:
        return
    list(zip(image.extents(0, min(image.size, 1 << 30)), range(1000)))
    image.close()


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=9), st.sampled_from([0, 16]))
def test_any_entries_end_in_an_error_or_in_bytes(
    tmp_path_factory: pytest.TempPathFactory, entries: List[int], incompatible: int
) -> None:
    builder = Builder(bits=14, size=9 << 14)
    builder.fields["incompatible"] = incompatible
    for guest, entry in enumerate(entries):
        builder.entry(guest, entry)
    builder.length = 20 << 14
    path = builder.write(tmp_path_factory.mktemp("image") / "disk.qcow2")
    for attempt in (read_all, map_all):
        try:
            attempt(path)
        except Damaged:
            pass


class Watched(OsPort):
    """A port that counts open files."""

    def __init__(self) -> None:
        super().__init__()
        self.files: List[object] = []

    def open_read(self, path: str) -> object:  # type: ignore[override]
        file = super().open_read(path)
        self.files.append(file)
        return file


@pytest.mark.parametrize("fields", [dict(incompatible=2), dict(magic=0), dict(l1_offset=1 << 40), dict(size=1 << 60)])
def test_a_file_that_is_refused_is_closed(tmp_path: Path, fields: Dict[str, int]) -> None:
    port = Watched()
    with pytest.raises(Damaged):
        open_qcow2(port, usual(**fields).write(tmp_path / "disk.qcow2"))
    assert [file._descriptor for file in port.files] == [-1]  # type: ignore[attr-defined]


def test_a_huge_empty_disk_has_one_extent(tmp_path: Path) -> None:
    builder = Builder(bits=16, size=1 << 50)
    builder.fields.update(l1_entries=1 << 21, l1_offset=16 << 16)
    builder.length = 1 << 30
    builder.tables = {}
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    assert kinds(image) == [(0, 1 << 50, ZERO)]
    image.close()


class Counting:
    """Hands on to a file and counts what is read of it."""

    def __init__(self, file: object) -> None:
        self._file = file
        self.reads: List[Tuple[int, int]] = []

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        self.reads.append((offset, len(buffer)))
        return self._file.pread_into(offset, buffer)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def counted(image: Qcow2Image) -> Counting:
    counting = Counting(image.file)
    image.file = counting  # type: ignore[assignment]
    return counting


def test_tables_that_lead_nowhere_are_not_read_and_others_once(tmp_path: Path) -> None:
    builder = Builder(bits=16, size=1 << 40)
    builder.fields.update(l1_entries=2048)
    builder.l1 = [0] * 2048
    for slot, host in ((0, 4), (1000, 5)):
        builder.l1[slot] = COPIED | host << 16
        builder.tables[host] = [0] * 77 + [COPIED | (host + 2) << 16]
        builder.data[(host + 2) << 16] = images.fill(host, 1 << 16)
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    counting = counted(image)
    place = 1000 * (512 << 20) + 77 * 65536
    assert [extent for extent in kinds(image) if extent[2] == DATA] == [(77 * 65536, 65536, DATA), (place, 65536, DATA)]
    buffer = bytearray(65536)
    image.pread_into(place, buffer)
    assert buffer == images.fill(5, 1 << 16)
    assert counting.reads == [(4 << 16, 65536), (5 << 16, 65536), (7 << 16, 65536)]
    image.close()


def test_neighbours_in_the_file_are_read_at_once(tmp_path: Path) -> None:
    builder = Builder(bits=9, size=512 * 60)
    builder.fields.update(l1_entries=1)
    for guest in range(60):
        builder.store(guest, 10 + guest, images.fill(guest, 512))
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    counting = counted(image)
    assert content_of(image) == b"".join(images.fill(guest, 512) for guest in range(60))
    assert counting.reads == [(4 * 512, 512), (10 * 512, 60 * 512)]
    image.close()


def test_a_compressed_cluster_that_is_read_in_parts_is_unpacked_once(tmp_path: Path) -> None:
    builder = Builder(bits=21, size=4 << 20)
    builder.fields.update(l1_entries=1)
    content = (b"0123456789abcdef" * (1 << 16)) * 2
    builder.pack(0, 6 << 21, content)
    builder.pack(1, (6 << 21) + 300_000, content[::-1])
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    counting = counted(image)
    parts: Dict[int, bytes] = {}

    def read(start: int) -> None:
        buffer = bytearray(256 << 10)
        image.pread_into(start, buffer)
        parts[start] = bytes(buffer)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(0, 4 << 20, 256 << 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(parts[start] for start in sorted(parts)) == content + content[::-1]
    assert len([offset for offset, _length in counting.reads if offset >= 6 << 21]) == 2
    image.close()


def test_the_cache_of_tables_stays_small(tmp_path: Path) -> None:
    builder = Builder(bits=9, size=100_000 * 512)
    tables = -(-100_000 // 64)
    builder.fields.update(l1_entries=tables, l1_offset=(20 + tables) * 512)
    builder.tables = {}
    path = builder.write(tmp_path / "disk.qcow2")
    with open(path, "r+b") as file:
        file.seek((20 + tables) * 512)
        file.write(b"".join(struct.pack(">Q", COPIED | (20 + index) * 512) for index in range(tables)))
        file.seek(20 * 512)
        file.write(struct.pack(">Q", ZERO_BIT) * 64 * tables)
    image = open_qcow2(PORT, path)
    image._cache = Cache(10)
    assert kinds(image) == [(0, image.size, ZERO)]
    assert len(image._cache._values) == 10
    image.close()


def test_subclusters_are_read(tmp_path: Path) -> None:
    builder = Builder(bits=14, size=4 << 14)
    builder.fields.update(incompatible=16, l1_entries=1)
    builder.name = b"base"
    content = images.fill(5, 1 << 14)
    packed = deflate(content)
    entries = [
        COPIED | 6 << 14,
        0x0000FF0F | 0xF0 << 32,
        0,
        0,
        0,
        0xFFFFFFFF << 32,
        PACKED | (len(packed) - 1) // 512 << 56 | 7 << 14,
        0,
    ]
    builder.tables = {L2_AT: entries}
    builder.data = {6 << 14: content, 7 << 14: packed}
    path = builder.write(tmp_path / "disk.qcow2")
    image = open_qcow2(PORT, path)
    step = 512
    expected = [
        (0, 4 * step, DATA),
        (4 * step, 4 * step, ZERO),
        (8 * step, 8 * step, DATA),
        (16 * step, 16 * step + (1 << 14), ABSENT),
        (2 << 14, 1 << 14, ZERO),
        (3 << 14, 1 << 14, DATA),
    ]
    found = kinds(image)
    assert found == expected
    assert (
        content_of(image)
        == content[: 4 * step]
        + bytes(4 * step)
        + content[8 * step : 16 * step]
        + bytes(16 * step + (2 << 14))
        + content
    )
    assert image.properties["compression"] == "zlib"
    checked_places(image, 0, 3 << 14)
    assert checked_places(image, 3 << 14, 1 << 14, has_packed=True) == []
    image.close()


@pytest.mark.parametrize(
    "entry, bits",
    [(COPIED | 6 << 14 | 1, 1), (COPIED | 6 << 14, 1 | 1 << 32), (0, 1), (PACKED | 6 << 14, 5), (COPIED | 90 << 14, 1)],
)
def test_subclusters_that_cannot_be_meant_are_refused(tmp_path: Path, entry: int, bits: int) -> None:
    builder = Builder(bits=14, size=4 << 14)
    builder.fields.update(incompatible=16, l1_entries=1)
    builder.tables = {L2_AT: [0, 0, entry, bits]}
    builder.length = 9 << 14
    with pytest.raises(Damaged) as caught:
        map_all(builder.write(tmp_path / "disk.qcow2"))
    assert caught.value.offset == (L2_AT << 14) + 16


def test_stale_reference_counts_do_not_matter_in_an_image_that_was_not_closed(tmp_path: Path) -> None:
    builder = usual(incompatible=1)
    builder.store(5, BLOCK_AT, images.fill(5, CLUSTER))
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    assert content_of(image)[5 * CLUSTER : 6 * CLUSTER] == images.fill(5, CLUSTER)
    assert len(image.warnings) == 1
    image.close()


def test_a_table_that_is_a_hole_of_the_file_leads_nowhere(tmp_path: Path) -> None:
    builder = Builder(bits=16, size=1 << 30)
    builder.l1 = [COPIED | 5 << 16, COPIED | 4 << 16]
    builder.store(8191, 6, b"\1" * 65536)
    builder.length = 7 << 16
    image = open_qcow2(PORT, builder.write(tmp_path / "disk.qcow2"))
    assert kinds(image) == [(0, (1 << 30) - 65536, ZERO), ((1 << 30) - 65536, 65536, DATA)]
    buffer = bytearray(b"\xaa" * 65536)
    image.pread_into(65536, buffer)
    assert not any(buffer)
    assert image.properties["compression"] == "none"
    image.close()
