# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats import image as reader
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import HdsImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.writer import HdsWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.reader import RawImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.writer import RawWriter


def methods(kind: type) -> dict[str, list[str]]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: list(inspect.signature(function).parameters) for name, function in found if not name.startswith("_")}


@pytest.mark.parametrize("kind", [HdsImage, RawImage])
def test_readers_have_the_methods_of_the_protocol(kind: type) -> None:
    wanted = methods(reader.ImageReader)
    assert set(wanted) == {"extents", "pread_into", "places", "close"}
    assert {name: parameters for name, parameters in methods(kind).items() if name in wanted} == wanted


@pytest.mark.parametrize("kind", [HdsWriter, RawWriter])
def test_writers_have_the_methods_of_the_protocol(kind: type) -> None:
    wanted = methods(reader.ImageWriter)
    assert set(wanted) == {"write", "finish"}
    assert {name: parameters for name, parameters in methods(kind).items() if name in wanted} == wanted
