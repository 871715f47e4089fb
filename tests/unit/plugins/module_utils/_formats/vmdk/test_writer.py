# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import GIB, MIB, TIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ForeignWriter, ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.descriptor import cid_of
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.reader import VmdkImage, open_vmdk
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.writer import (
    SPLIT_BYTES,
    new_vmdk_writer,
    vmdk_files,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.writers import Recorder

PORT = OsPort()
IDENTITY = "{11111111-2222-4333-8444-555555555555}"
PARENT = ParentImage("base.vmdk", "{99999999-2222-4333-8444-555555555555}")
SUBFORMATS = ("monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat")
SPARSE = ("monolithicSparse", "streamOptimized", "twoGbMaxExtentSparse")


def created(folder: Path, subformat: str, size_bytes: int, **options: object) -> Tuple[ForeignWriter, str, list]:
    names = vmdk_files("d.vmdk", subformat, size_bytes)
    files = [PORT.create(str(folder / f"{name}.new")) for name in names]
    return (
        new_vmdk_writer(files, names, subformat=subformat, size_bytes=size_bytes, **options),
        str(folder / "d.vmdk"),
        files,
    )  # type: ignore[arg-type]


def finished(writer: ForeignWriter, files: list, identity: str = IDENTITY) -> None:
    writer.finish(identity)
    for file in files:
        file.close()
        os.rename(file.path, file.path[: -len(".new")])


def opened(path: str) -> VmdkImage:
    return open_vmdk(PORT, path, lambda name: PORT.open_read(os.path.join(os.path.dirname(path), name)))


@st.composite
def writes(draw: st.DrawFn) -> Tuple[int, int, List[Tuple[int, int, str]]]:
    """Size, grain size and an ascending course of writes, zeros and ranges left out."""
    grain = draw(st.sampled_from([8192, 16384, 65536]))
    size = draw(st.integers(1, 10)) * grain - 512 * draw(st.integers(0, 7))
    position, course = 0, []
    for _index in range(draw(st.integers(0, 10))):
        start = position + draw(st.one_of(st.just(0), st.integers(0, 3 * grain)))
        length = draw(st.one_of(st.integers(0, 3 * grain), st.just(grain)))
        if start + length > size:
            length = max(0, size - start)
            start = size - length
        course.append((start, length, draw(st.sampled_from(["write", "write", "write zeros", "zeros"]))))
        position = start + length
    return size, grain, course


def followed(writer: ForeignWriter, size: int, course: List[Tuple[int, int, str]]) -> bytes:
    """Do what the course says; returns what the disk holds then."""
    model = bytearray(size)
    for index, (start, length, what) in enumerate(course):
        if what == "zeros":
            writer.write_zeros(start, length)
            continue
        content = bytes(length) if what == "write zeros" else images.fill(index, length)
        writer.write(start, memoryview(content) if index % 2 else bytearray(content))
        model[start : start + length] = content
    return bytes(model)


@given(writes(), st.sampled_from(SUBFORMATS))
def test_what_is_written_is_read_and_the_rest_is_zero(
    tmp_path_factory: pytest.TempPathFactory, plan: Tuple[int, int, List[Tuple[int, int, str]]], subformat: str
) -> None:
    size, grain, course = plan
    writer, path, files = created(tmp_path_factory.mktemp("d"), subformat, size, grain_bytes=grain, workers=1)
    model = followed(writer, size, course)
    finished(writer, files)
    image = opened(path)
    content = bytearray(b"\xaa" * image.size)
    image.pread_into(0, content)
    for extent in image.extents(0, image.size):
        assert extent.kind == DATA or not any(model[extent.start : extent.end])
    assert (image.size, image.identity, image.parent, image.warnings) == (size, cid_of(IDENTITY), None, ())
    assert image.properties == writer.properties
    assert image.files == tuple(file.path[: -len(".new")] for file in files)
    image.close()
    assert content == model


@given(writes())
def test_an_overlay_stores_what_was_written_or_zeroed_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, plan: Tuple[int, int, List[Tuple[int, int, str]]]
) -> None:
    size, grain, course = plan
    writer, path, files = created(
        tmp_path_factory.mktemp("d"), "monolithicSparse", size, grain_bytes=grain, parent=PARENT
    )
    model = followed(writer, size, course)
    finished(writer, files)
    touched = {
        number
        for start, length, _what in course
        if length
        for number in range(start // grain, (start + length - 1) // grain + 1)
    }
    image = opened(path)
    assert image.parent is not None
    assert (image.parent.names, image.parent.format, image.parent.identity) == (
        ("base.vmdk",),
        "vmdk",
        cid_of(PARENT.identity),
    )
    for extent in image.extents(0, size):
        numbers = set(range(extent.start // grain, (extent.end - 1) // grain + 1))
        assert numbers.isdisjoint(touched) if extent.kind == ABSENT else numbers <= touched
    content = bytearray(size)
    image.pread_into(0, content)
    image.close()
    assert content == model


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, subformat: str) -> None:
    contents = []
    for name, workers in (("one", 1), ("two", 2), ("three", 5)):
        folder = tmp_path / name
        folder.mkdir()
        writer, path, files = created(folder, subformat, 12 * MIB, workers=workers)
        for start in range(0, 12 * MIB, 3 * MIB):
            writer.write(start, images.fill(start, 2 * MIB + start // 1000 // 512 * 512))
        finished(writer, files)
        image = opened(path)
        contents.append([Path(file).read_bytes() for file in image.files])
        image.close()
    assert contents[0] == contents[1] == contents[2]


def recorded(subformat: str, size_bytes: int, **options: object) -> Tuple[ForeignWriter, List[Recorder]]:
    names = vmdk_files("d.vmdk", subformat, size_bytes)
    files = [Recorder("/" + name) for name in names]
    return new_vmdk_writer(files, names, subformat=subformat, size_bytes=size_bytes, **options), files  # type: ignore[arg-type]


def test_a_disk_is_split_as_vmware_does(tmp_path: Path) -> None:
    size = 2 * SPLIT_BYTES + 512
    assert SPLIT_BYTES == 4192256 * 512
    for subformat, letter in (("twoGbMaxExtentSparse", "s"), ("twoGbMaxExtentFlat", "f")):
        folder = tmp_path / letter
        folder.mkdir()
        assert vmdk_files("a disk.VMDK", subformat, size) == (
            "a disk.VMDK",
            *(f"a disk-{letter}00{number}.vmdk" for number in (1, 2, 3)),
        )
        writer, path, files = created(folder, subformat, size)
        writer.write(SPLIT_BYTES - 4096, b"ab" * 4096)
        writer.write(2 * SPLIT_BYTES - 512, b"cd" * 512)
        finished(writer, files)
        image = opened(path)
        assert [extent.sectors for extent in image.descriptor.extents] == [4192256, 4192256, 1]
        buffer = bytearray(8192)
        image.pread_into(SPLIT_BYTES - 4096, buffer)
        assert buffer == b"ab" * 4096
        buffer = bytearray(1024)
        image.pread_into(2 * SPLIT_BYTES - 512, buffer)
        assert buffer == b"cd" * 512
        image.close()


@pytest.mark.parametrize(
    "subformat, expected",
    [
        ("monolithicSparse", ("d.vmdk",)),
        ("streamOptimized", ("d.vmdk",)),
        ("monolithicFlat", ("d.vmdk", "d-flat.vmdk")),
        ("twoGbMaxExtentSparse", ("d.vmdk", "d-s001.vmdk")),
        ("twoGbMaxExtentFlat", ("d.vmdk", "d-f001.vmdk")),
    ],
)
def test_file_names(subformat: str, expected: Tuple[str, ...]) -> None:
    assert vmdk_files("d.vmdk", subformat, MIB) == expected
    assert vmdk_files("d.disk", subformat, MIB) == ("d.disk", *(name.replace("d-", "d.disk-") for name in expected[1:]))


@pytest.mark.parametrize("size", [0, -512, 511, 513, 1 << 60])
def test_an_impossible_size_is_a_bad_request(size: int) -> None:
    for subformat in SUBFORMATS:
        with pytest.raises(BadRequest):
            vmdk_files("d.vmdk", subformat, size)


@pytest.mark.parametrize("name", ['a"b.vmdk', "a\nb.vmdk", ""])
def test_an_impossible_name_is_a_bad_request(name: str) -> None:
    with pytest.raises(BadRequest):
        vmdk_files(name, "monolithicFlat", MIB)


BAD_OPTIONS: Dict[str, Dict[str, object]] = {
    "subformat": {"subformat": "seSparse"},
    "adapter": {"adapter_type": "pvscsi"},
    "adapter-case": {"adapter_type": "IDE"},
    "grain-odd": {"grain_bytes": 65537},
    "grain-no-power": {"grain_bytes": 3 * 8192},
    "grain-small": {"grain_bytes": 4096},
    "grain-large": {"grain_bytes": 4 << 20},
    "grain-zero": {"grain_bytes": 0},
    "hardware": {"hardware_version": 0},
    "level": {"level": 6},
    "level-high": {"level": 10, "subformat": "streamOptimized"},
    "level-low": {"level": -1, "subformat": "streamOptimized"},
    "parent-of-stream": {"parent": PARENT, "subformat": "streamOptimized"},
    "parent-of-flat": {"parent": PARENT, "subformat": "monolithicFlat"},
    "parent-name": {"parent": ParentImage('a"b', IDENTITY)},
    "parent-long": {"parent": ParentImage("b" * 10000, IDENTITY)},
    "large": {"size_bytes": 2 * TIB},
    "too-many-files": {"size_bytes": 10000 * GIB, "subformat": "twoGbMaxExtentSparse"},
    "too-many-tables": {"size_bytes": 5 * TIB, "subformat": "streamOptimized", "grain_bytes": 8192},
}


@pytest.mark.parametrize("options", BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_what_does_not_fit_is_a_bad_request(options: Dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        recorded(**{"subformat": "monolithicSparse", "size_bytes": MIB, **options})  # type: ignore[arg-type]


def test_the_number_of_files_must_fit() -> None:
    with pytest.raises(BadRequest):
        new_vmdk_writer([Recorder()], ["d.vmdk"], subformat="monolithicFlat", size_bytes=MIB)  # type: ignore[list-item]
    with pytest.raises(BadRequest):
        new_vmdk_writer([Recorder()], ["d.vmdk", "e"], subformat="monolithicFlat", size_bytes=MIB)  # type: ignore[list-item]


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_a_writer_only_writes_and_cuts(subformat: str) -> None:
    # A Recorder has nothing else; the same writer is run dry against such a file.
    writer, files = recorded(subformat, 70 * MIB, workers=2)
    writer.write(MIB, images.fill(1, 3 * MIB))
    writer.write_zeros(8 * MIB, MIB)
    writer.finish(IDENTITY)
    assert files[0].calls[-1][:2] == ("write", 0)
    assert all(file.calls for file in files)


@pytest.mark.parametrize(
    "subformat", ["streamOptimized", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "monolithicFlat"]
)
def test_a_large_sparse_disk_costs_what_is_written(subformat: str) -> None:
    writer, files = recorded(subformat, 3 * TIB, workers=1)
    for offset in (0, 1 << 40, 3 * TIB - 65536):
        writer.write(offset, images.fill(1, 65536))
    writer.finish(IDENTITY)
    assert sum(length for file in files for kind, _offset, length in file.calls if kind == "write") < 3 * MIB
