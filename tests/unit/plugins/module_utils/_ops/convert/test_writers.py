# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The writer of each kind of output."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.catalog import FORMATS, ForeignShape
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.codecs import file_names
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._io.counting import CountingFile
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.foreign_shape import settled
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.writers import new_writer
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.parts_writer import PartsWriter

SIZE = 8 << 20
KINDS = [
    (row.name, kind)
    for row in FORMATS.values()
    if row.is_foreign
    for kind in (row.kinds or (None,))
    if kind != row.overlay_kind or kind is None
]


@pytest.mark.parametrize("format, kind", KINDS, ids=str)
def test_every_kind_has_a_writer_that_reports_it(format: str, kind: str) -> None:
    shape = settled(ForeignShape(format, SIZE, kind), layers=1)
    names = file_names(shape, f"a.{format}")
    assert names[0] == f"a.{format}" and len(set(names)) == len(names)
    writer = new_writer(shape, [CountingFile(f"/vm/{name}") for name in names], names)
    assert writer.properties.get("subformat") == kind


@pytest.mark.parametrize("format", [row.name for row in FORMATS.values() if row.is_foreign and row.has_layers])
def test_an_image_on_another_one_is_of_the_kind_for_that(format: str) -> None:
    shape = settled(ForeignShape(format, SIZE), layers=2)
    parent = ParentImage(f"b.{format}", guids.derive("test"))
    writer = new_writer(shape, [CountingFile(f"/vm/a.{format}")], [f"a.{format}"], parent=parent)
    assert writer.properties.get("subformat") == (FORMATS[format].overlay_kind or shape.subformat)


def test_bundles_and_raw_images_are_written_part_by_part() -> None:
    assert isinstance(new_writer(Shape(SIZE), [CountingFile("/vm/a.hds")], ["a.hds"]), PartsWriter)
