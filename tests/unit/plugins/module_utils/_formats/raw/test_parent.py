# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A raw image below an overlay."""

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ForeignImage, ImageReader
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.parent import PlainParent
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


def test_it_is_read_as_it_is_and_has_nothing_below_it() -> None:
    port = MemoryPort()
    port.plant_file("/vm/a.raw", b"x" * 700)
    image = PlainParent(port, "/vm/a.raw")
    content = bytearray(700)
    image.pread_into(0, content)
    assert content == b"x" * 700 and image.size == 700 and image.files == ("/vm/a.raw",)
    assert [extent.kind for extent in image.extents(0, 700)] == [DATA]
    assert [(place.start, place.length, place.offset) for place in image.places(100, 200)] == [(100, 200, 100)]
    assert (image.parent, image.identity, dict(image.properties), image.warnings) == (None, None, {}, ())
    expected = {name for protocol in (ImageReader, ForeignImage) for name in dir(protocol) if not name.startswith("_")}
    assert [name for name in expected if not hasattr(image, name)] == []
    image.close()
