# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""qcow2 images whose clusters are in another file, put together by hand and by QEMU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
    DiskError,
    Escape,
    MissingImage,
    NotAWholeDisk,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.layout import named_data_file
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.reader import Qcow2Image, open_qcow2
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.allowed import NEARBY, Reach
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.oracles import qemu_img, require
from ansible_collections.vdisk.parallels.tests.support.places import checked_places
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.qcow2.test_reader import (
    CLUSTER,
    COPIED,
    L2_AT,
    PACKED,
    SIZE,
    ZERO_BIT,
    Builder,
    content_of,
    kinds,
)

PORT = OsPort()
EXTERNAL, RAW_DATA, DATA_FILE = 4, 2, 0x44415441
STALE = b"\xee" * CLUSTER


def external(name: Optional[str] = "a.data", **fields: int) -> Builder:
    """Clusters 0, 3, 4 and the last one are stored, cluster 5 is zero; ``name`` is that of the data file."""
    builder = Builder()
    builder.fields.update(incompatible=EXTERNAL, **fields)
    if name is not None:
        builder.extension(DATA_FILE, name.encode())
    for guest in (0, 3, 4, 9):
        builder.entry(guest, COPIED | guest * CLUSTER)
    builder.entry(5, ZERO_BIT)
    return builder


DATA_BYTES = b"".join(fill(guest, CLUSTER) if guest in (0, 3, 4, 9) else STALE for guest in range(10))[:SIZE]
MODEL = b"".join(fill(guest, CLUSTER) if guest in (0, 3, 4, 9) else bytes(CLUSTER) for guest in range(10))[:SIZE]


def made(folder: Path, builder: Builder, data: bytes = DATA_BYTES) -> str:
    (folder / "a.data").write_bytes(data)
    return builder.write(folder / "a.qcow2")


def opened(path: str) -> Qcow2Image:
    folder = os.path.dirname(path)
    return open_qcow2(PORT, path, open_beside=lambda name: PORT.open_read(os.path.join(folder, name)))


def content(path: str, **options: Any) -> bytes:
    view = open_source(PORT, find_source(PORT, path, **options))
    buffer = bytearray(view.size)
    view.pread_into(0, buffer)
    view.close()
    return bytes(buffer)


@pytest.mark.parametrize("autoclear", [0, RAW_DATA])
def test_the_clusters_are_read_from_the_data_file(tmp_path: Path, autoclear: int) -> None:
    image = opened(made(tmp_path, external(autoclear=autoclear)))
    assert content_of(image) == MODEL
    assert [kind for _start, _length, kind in kinds(image)] == [DATA, ZERO, DATA, ZERO, DATA]
    assert image.files == (str(tmp_path / "a.qcow2"), str(tmp_path / "a.data"))
    places = checked_places(image, 0, SIZE)
    assert {place.file.path for place in places} == {str(tmp_path / "a.data")}
    assert image.properties["compression"] == "none" and image.header.is_raw_data == bool(autoclear)
    image.close()


def test_over_a_backing_file_what_is_not_stored_is_absent(tmp_path: Path) -> None:
    builder = external()
    builder.name = b"base.raw"
    image = opened(made(tmp_path, builder))
    assert [kind for _start, _length, kind in kinds(image)] == [DATA, ABSENT, DATA, ZERO, ABSENT, DATA]
    image.close()


def test_subclusters_are_read_from_the_data_file(tmp_path: Path) -> None:
    size = 4 << 14
    builder = Builder(bits=14, size=size)
    builder.fields.update(incompatible=EXTERNAL | 16, l1_entries=1)
    builder.extension(DATA_FILE, b"a.data")
    builder.tables = {L2_AT: [COPIED, 0x0F | 0xF0 << 32, 0, 0, COPIED | 2 << 14, 0xFFFFFFFF, 0, 0xFFFFFFFF << 32]}
    data = b"".join(fill(number, 1 << 14) for number in range(4))
    image = opened(made(tmp_path, builder, data))
    step = 512
    assert content_of(image) == data[: 4 * step].ljust(2 << 14, b"\0") + data[2 << 14 : 3 << 14] + bytes(1 << 14)
    image.close()


@pytest.mark.parametrize(
    "guest, entry",
    [
        (3, COPIED | 4 * CLUSTER),
        (3, COPIED),
        (0, COPIED | CLUSTER),
        (3, PACKED | 9 << 12),
        (3, COPIED | 3 * CLUSTER | 2),
    ],
)
def test_what_is_not_where_the_guest_has_it_is_damaged(tmp_path: Path, guest: int, entry: int) -> None:
    builder = external()
    builder.entry(guest, entry)
    image = opened(made(tmp_path, builder))
    with pytest.raises(Damaged) as caught:
        content_of(image)
    assert caught.value.offset is not None and "qemu-img check" in str(caught.value)
    image.close()


@pytest.mark.parametrize("bits", [1 | 1 << 32, 0xFFFFFFFF | 1 << 63])
def test_subclusters_that_contradict_each_other_are_damaged(tmp_path: Path, bits: int) -> None:
    builder = Builder(bits=14, size=4 << 14)
    builder.fields.update(incompatible=EXTERNAL | 16, l1_entries=1)
    builder.extension(DATA_FILE, b"a.data")
    builder.tables = {L2_AT: [COPIED, bits]}
    image = opened(made(tmp_path, builder, bytes(4 << 14)))
    with pytest.raises(Damaged):
        content_of(image)
    image.close()


def test_a_data_file_that_is_cut_is_damaged_where_it_is_cut(tmp_path: Path) -> None:
    image = opened(made(tmp_path, external(), DATA_BYTES[: 5 * CLUSTER]))
    buffer = bytearray(6 * CLUSTER)
    image.pread_into(0, buffer)
    assert buffer == MODEL[: 6 * CLUSTER]
    with pytest.raises(Damaged) as caught:
        content_of(image)
    assert "data file" in caught.value.message
    image.close()


def test_only_what_is_named_in_reach_is_opened(tmp_path: Path) -> None:
    folder, other = tmp_path / "vm", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "b.data").write_bytes(DATA_BYTES)
    path = external(str(other / "b.data")).write(folder / "a.qcow2")
    with pytest.raises(Escape) as caught:
        find_source(PORT, path)
    assert f"backing_paths: [{other}]" in str(caught.value)
    assert content(path, reach=Reach((str(other),))) == MODEL
    # Both were moved together.
    (folder / "b.data").write_bytes(DATA_BYTES)
    source = find_source(PORT, path)
    assert source.chain is not None and "b.data was read instead" in source.chain.warnings[0]
    assert content(path) == MODEL
    assert [file for file, _seen in source.fingerprint] == [path, str(folder / "b.data")]


@pytest.mark.parametrize(
    "name, error",
    [
        (None, Unsupported),
        ("gone.data", MissingImage),
        ("../secret", Escape),
        ("nbd://host/a.data", Escape),
        ('json:{"driver": "a.data"}', Escape),
        ("a.qcow2", Damaged),
        ("fifo", Unsupported),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(tmp_path: Path, name: Optional[str], error: type) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "secret").write_bytes(DATA_BYTES)
    os.mkfifo(tmp_path / "vm" / "fifo")
    path = made(tmp_path / "vm", external(name))
    with pytest.raises(error) as caught:
        find_source(PORT, path)
    assert isinstance(caught.value, DiskError) and caught.value.hint


def test_a_link_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "secret").write_bytes(DATA_BYTES)
    path = external("b.data").write(tmp_path / "vm" / "a.qcow2")
    os.symlink(tmp_path / "secret", tmp_path / "vm" / "b.data")
    with pytest.raises(Escape):
        find_source(PORT, path)


@pytest.mark.parametrize("fields", [{"snapshots": 1}])
def test_what_the_format_does_not_allow_is_damaged(tmp_path: Path, fields: Dict[str, int]) -> None:
    with pytest.raises(Damaged):
        opened(made(tmp_path, external(**fields)))


@pytest.mark.parametrize("name", ["x" * 4096, "a\0b"])
def test_a_name_that_cannot_be_is_damaged(tmp_path: Path, name: str) -> None:
    builder = external(name, length=112)
    if len(name) > 4000:
        builder.bits, builder.cluster = 12, 4096
    with pytest.raises(Damaged):
        opened(made(tmp_path, builder))


def test_without_somebody_who_opens_files_it_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        open_qcow2(PORT, made(tmp_path, external()))


@pytest.mark.parametrize(
    "autoclear, name, is_part", [(0, "a.data", True), (RAW_DATA, "a.data", False), (0, "b.data", False)]
)
def test_a_data_file_by_itself_is_a_disk_only_where_it_is_raw(
    tmp_path: Path, autoclear: int, name: str, is_part: bool
) -> None:
    path = made(tmp_path, external(name, autoclear=autoclear))
    if is_part:
        with pytest.raises(NotAWholeDisk) as caught:
            find_source(PORT, str(tmp_path / "a.data"))
        assert str(caught.value).endswith(f"Name the image: {path}")
    else:
        assert content(str(tmp_path / "a.data"))[:SIZE] == DATA_BYTES
    assert content(str(tmp_path / "a.data"), format="raw")[:SIZE] == DATA_BYTES


def test_only_an_image_with_the_feature_names_a_data_file() -> None:
    assert named_data_file(external("x").header()) == ("x", False)
    assert named_data_file(external("x", autoclear=RAW_DATA).header()) == ("x", True)
    for raw in (b"", bytes(4096), external(None).header(), Builder().header(), Builder(version=2).header()):
        assert named_data_file(raw) is None


WRITES: List[Tuple[str, int, int]] = [("0x5a", 0, 65536), ("0x11", 200 << 10, 4096), ("0x22", (8 << 20) - 512, 512)]


@pytest.mark.parametrize("options", ["", ",data_file_raw=on", ",extended_l2=on", ",cluster_size=4096"])
def test_what_qemu_made_is_read_as_qemu_reads_it(tmp_path: Path, options: str) -> None:
    require("qemu-io")
    path, data = str(tmp_path / "q.qcow2"), str(tmp_path / "q.data")
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={data}{options}", path, "8M")
    commands = [f"-cwrite -P {byte} {start} {length}" for byte, start, length in WRITES]
    from subprocess import run

    run(["qemu-io", "-f", "qcow2", *commands, "-cwrite -z 64k 64k", "-cdiscard 196k 4k", path], check=True)
    qemu_img("convert", "-f", "qcow2", "-O", "raw", path, str(tmp_path / "out.raw"))
    expected = (tmp_path / "out.raw").read_bytes()
    assert content(path) == expected and expected.count(b"\x5a") == 65536
    # Moved together, it is found by its bare name.
    (tmp_path / "moved").mkdir()
    os.rename(path, tmp_path / "moved" / "q.qcow2")
    os.rename(data, tmp_path / "moved" / "q.data")
    assert content(str(tmp_path / "moved" / "q.qcow2"), reach=NEARBY) == expected


def test_the_advice_for_an_image_without_a_name_works(tmp_path: Path) -> None:
    require("qemu-img")
    path = made(tmp_path, external(None))
    with pytest.raises(Unsupported) as caught:
        find_source(PORT, path)
    command = (caught.value.hint or "").partition(": ")[2].replace("DATA", str(tmp_path / "a.data"))
    from subprocess import run

    run(command, shell=True, check=True)
    assert content(path) == MODEL
