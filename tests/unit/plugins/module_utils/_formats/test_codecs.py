# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opening and writing images by the name of their format."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.catalog import FORMATS, RAW, ForeignShape
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.codecs import (
    OPENERS,
    NewImage,
    file_names,
    new_image_writer,
    open_image,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.foreign_shape import settled
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

SIZE = 4 << 20
FOREIGN = [row.name for row in FORMATS.values() if row.is_foreign]


@pytest.mark.parametrize("format", FOREIGN)
def test_what_a_writer_makes_its_opener_reads(format: str) -> None:
    port = MemoryPort()
    port.plant_directory("/vm")
    shape = settled(ForeignShape(format, SIZE), layers=1)
    names = file_names(shape, f"a.{format}")
    files = [port.create(f"/vm/{name}") for name in names]
    writer = new_image_writer(NewImage(shape, files, names))
    writer.write(1 << 20, b"data" * 1024)
    writer.finish(guids.derive("test"))
    image = open_image(port, format, f"/vm/a.{format}", lambda name: port.open_read(f"/vm/{name}"))
    content = bytearray(4096)
    image.pread_into(1 << 20, content)
    image.close()
    assert image.size == SIZE and content == b"data" * 1024


def test_a_raw_image_is_opened_like_the_others() -> None:
    port = MemoryPort()
    port.plant_file("/vm/a.raw", b"x" * 1024)
    assert open_image(port, RAW, "/vm/a.raw", port.open_read).size == 1024


@pytest.mark.parametrize("format", ["hdd", "qed", ""])
def test_other_formats_are_refused_by_name(format: str) -> None:
    def never(name: str) -> File:
        raise AssertionError(name)

    assert format not in OPENERS
    with pytest.raises(Unsupported):
        open_image(MemoryPort(), format, "/vm/a", never)


def test_only_some_images_consist_of_several_files() -> None:
    assert file_names(ForeignShape("qcow2", SIZE), "a.qcow2") == ("a.qcow2",)
    assert len(file_names(ForeignShape("vmdk", SIZE, "monolithicFlat"), "a.vmdk")) == 2
