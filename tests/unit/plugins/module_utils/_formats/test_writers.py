# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the writers of all formats promise alike. What only one of them does is tested beside it."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ForeignWriter, ImageWriter
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.writers import (
    FOREIGN,
    KINDS,
    WITHOUT_PARENT,
    Writing,
    create,
    recorded,
)

SIZE = 4 * MIB
# Guest offset and length of ranges, and whether bytes or zeros go there.
STEPS = [(MIB, MIB, True), (2 * MIB + 65536, 65536, False), (3 * MIB, 128 * KIB, True), (SIZE - 65536, 65536, True)]
Step = Tuple[int, int, bool]


def carry_out(writing: Writing, steps: List[Step], *, portion: Optional[int] = None) -> bytes:
    """Take the steps in calls of ``portion`` bytes at most; returns what the disk holds then."""
    model = bytearray(SIZE)
    for offset, length, is_data in steps:
        content = images.fill(offset // 512, length) if is_data else bytes(length)
        model[offset : offset + length] = content
        for begin in range(0, length, portion or length):
            part = content[begin : begin + (portion or length)]
            if is_data:
                writing.writer.write(offset + begin, memoryview(part))
            else:
                writing.writer.write_zeros(offset + begin, len(part))
    return bytes(model)


def made(folder: Path, name: str, steps: List[Step], *, portion: Optional[int] = None) -> Dict[str, bytes]:
    """The bytes of every file of a finished image."""
    writing = create(name, folder, SIZE)
    carry_out(writing, steps, portion=portion)
    writing.finish(is_foreign=KINDS[name].is_foreign)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_written_is_read_and_the_rest_is_zero(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    writing = create(name, tmp_path / "image", SIZE)
    model = bytearray(SIZE)
    for offset, length in ((5, 100), (105, 1), (MIB + 3, 70000), (3 * MIB, 0)):
        content = images.fill(offset, length)
        writing.writer.write(offset, memoryview(content))
        model[offset : offset + length] = content
    image = kind.read(writing.finish(is_foreign=kind.is_foreign))
    content = bytearray(b"\xaa" * image.size)
    image.pread_into(0, content)
    assert content == model
    position = 0
    for extent in image.extents(0, image.size):
        assert extent.start == position and (extent.kind != ABSENT or kind.is_overlay or not kind.is_foreign)
        position = extent.end
    assert position == image.size == SIZE
    image.close()


@pytest.mark.parametrize("name", FOREIGN)
def test_what_a_writer_says_of_an_image_is_what_its_reader_finds(tmp_path: Path, name: str) -> None:
    writing = create(name, tmp_path / "image", SIZE)
    model = carry_out(writing, STEPS)
    image = KINDS[name].read(writing.finish())
    assert (image.properties, image.warnings, image.size) == (writing.writer.properties, (), SIZE)
    assert image.files == tuple(os.path.realpath(file.path) for file in writing.files)
    assert (image.parent is not None) == KINDS[name].is_overlay
    content = bytearray(SIZE)
    image.pread_into(0, content)
    image.close()
    assert content == model


@pytest.mark.parametrize("name", [name for name in KINDS if name != "raw"])
def test_before_the_end_the_file_is_no_image(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    writing = create(name, tmp_path / "image", SIZE)
    for offset in (0, 3 * MIB):
        writing.writer.write(offset, b"x" * MIB)
    with pytest.raises(DiskError):
        kind.read(writing.path)
    kind.read(writing.finish(is_foreign=kind.is_foreign)).close()


@pytest.mark.parametrize("name", FOREIGN)
def test_how_the_stream_is_cut_makes_no_difference(tmp_path: Path, name: str) -> None:
    portions = (None, 65536, 32768)
    files = [made(tmp_path / str(portion), name, STEPS, portion=portion) for portion in portions]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("name", WITHOUT_PARENT)
def test_zeros_without_a_parent_take_nothing(tmp_path: Path, name: str) -> None:
    data = [step for step in STEPS if step[2]]
    assert made(tmp_path / "one", name, STEPS) == made(tmp_path / "two", name, data)
    assert made(tmp_path / "three", name, [(0, 2 * MIB, False)]) == made(tmp_path / "four", name, [])


# Writers of HDS and VDI do not look where no bytes go, and zeros do not move that of VDI on.
STRICT = [name for name in KINDS if not name.startswith(("hds", "vdi"))]
OUTSIDE = [(0, 1), (MIB + 3, 1), (SIZE, 1), (SIZE - 1, 2), (-1, 1)]


@pytest.mark.parametrize(
    "name, offset, length",
    [(name, *place) for name in KINDS for place in OUTSIDE]
    + [(name, place, 0) for name in STRICT for place in (-1, 5 * MIB)],
)
def test_going_back_or_past_the_end_is_a_bad_request(name: str, offset: int, length: int) -> None:
    writing = recorded(name, SIZE)
    writing.writer.write(MIB, b"1234")
    before = [list(file.calls) for file in writing.files]
    with pytest.raises(BadRequest):
        writing.writer.write(offset, bytes(length))
    if KINDS[name].is_foreign:
        with pytest.raises(BadRequest):
            writing.writer.write_zeros(offset, length)
    assert [file.calls for file in writing.files] == before


@pytest.mark.parametrize("offset, length", [(2 * MIB, -1), (0, 1 << 60)])
@pytest.mark.parametrize("name", FOREIGN)
def test_zeros_of_a_length_that_cannot_be_are_a_bad_request(name: str, offset: int, length: int) -> None:
    with pytest.raises(BadRequest):
        recorded(name, SIZE).writer.write_zeros(offset, length)


@pytest.mark.parametrize("name", [name for name in STRICT if KINDS[name].is_foreign])
def test_zeros_move_the_stream_on_as_bytes_do(name: str) -> None:
    writing = recorded(name, SIZE)
    writing.writer.write(MIB, b"xx")
    writing.writer.write_zeros(MIB + 2, 10)
    before = [list(file.calls) for file in writing.files]
    for offset in (MIB + 2, MIB + 11):
        with pytest.raises(BadRequest):
            writing.writer.write(offset, b"x")
    assert [file.calls for file in writing.files] == before


@pytest.mark.parametrize("name", KINDS)
def test_a_writer_has_the_methods_of_the_protocol(name: str) -> None:
    def methods(one: type) -> Dict[str, List[str]]:
        found = inspect.getmembers(one, inspect.isfunction)
        return {
            name: list(inspect.signature(function).parameters) for name, function in found if not name.startswith("_")
        }

    found = methods(type(recorded(name, SIZE).writer))
    if KINDS[name].is_foreign:
        assert found == methods(ForeignWriter)
    else:
        # Sharing asks our own formats for more.
        assert found.items() >= methods(ImageWriter).items()


@pytest.mark.parametrize("name", FOREIGN)
def test_a_writer_only_writes_and_cuts(name: str) -> None:
    writing = recorded(name, SIZE)
    carry_out(writing, STEPS)
    writing.writer.finish("{11111111-2222-4333-8444-555555555555}")
    assert all(file.calls for file in writing.files)
    assert {call for file in writing.files for call, _offset, _length in file.calls} <= {"write", "truncate"}
