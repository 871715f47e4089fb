# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an existing image of another product is of the kind that is asked for."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.catalog import FORMATS, ForeignShape
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.foreign_shape import settled
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.properties import wanted_properties
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

ONE = guid_of(1)
FOREIGN = [row.name for row in FORMATS.values() if row.is_foreign]


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers("/vm/a.hdd", ONE)


@pytest.mark.parametrize("format", FOREIGN)
def test_an_output_has_the_properties_that_were_asked_for(port: MemoryPort, format: str) -> None:
    dest = f"/vm/b.{format}"
    disks.convert(port, "/vm/a.hdd", dest, format=format)
    plan = disks.plan_of_convert(port, "/vm/a.hdd", dest, format=format)
    assert plan.facts.reason == "kept: shape and content are the same"


@pytest.mark.parametrize(
    "format, options, words",
    [
        ("qcow2", {"version": 2}, "its format_version is 3 instead of 2"),
        ("qcow2", {"cluster_bytes": 4096}, "its cluster_size is 65536 instead of 4096"),
        ("qcow2", {"compression": "zlib"}, "its compression is none instead of zlib"),
        ("vmdk", {"subformat": "streamOptimized"}, "its subformat is monolithicSparse"),
        ("vhd", {"subformat": "fixed"}, "its subformat is dynamic"),
        ("vdi", {"align": 1 << 20}, "instead of 1048576"),
        ("qcow2", {"keeps_layers": True}, "consists of 1 layers instead of 2"),
    ],
    ids=str,
)
def test_the_first_property_that_differs_is_named(
    port: MemoryPort, format: str, options: Dict[str, Any], words: str
) -> None:
    dest = f"/vm/b.{format}"
    disks.convert(port, "/vm/a.hdd", dest, format=format)
    plan = disks.plan_of_convert(port, "/vm/a.hdd", dest, format=format, **options)
    assert words in plan.facts.reason


def test_a_disk_that_a_format_cannot_hold_is_refused() -> None:
    with pytest.raises(BadRequest):
        wanted_properties(settled(ForeignShape("vhd", 4 << 40), layers=1), "/vm/b.vhd", is_overlay=False)
