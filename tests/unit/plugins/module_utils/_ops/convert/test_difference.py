# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an output differs from what is asked for."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import shape_of
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.conversion import Conversion
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.destination import find_destination
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.difference import (
    content_difference,
    shape_difference,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest, layer_depths
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

ONE = guid_of(1)
CLUSTER = disks.SMALL_CLUSTER


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers("/vm/a.hdd", ONE)


def conversion(port: MemoryPort, *, keeps_layers: bool = False, **shape: Any) -> Conversion:
    source = find_source(port, "/vm/a.hdd")
    request = ConvertRequest("hdd", "/vm/b.hdd", keeps_layers=keeps_layers)
    wanted = shape_of(size=source.size, **{"cluster_bytes": CLUSTER, **shape})
    return Conversion(source, request, wanted, find_destination(port, request), layer_depths(source, request))


def test_a_copy_differs_in_nothing(port: MemoryPort) -> None:
    disks.convert(port, "/vm/a.hdd", "/vm/b.hdd")
    assert shape_difference(port, conversion(port)) is None
    assert content_difference(port, conversion(port)) is None


@pytest.mark.parametrize(
    "shape, words",
    [
        ({"kind": "plain"}, "it is expanding instead of plain"),
        ({"version": 2}, "it has format version 1"),
        ({"cluster_bytes": 2 * CLUSTER}, f"clusters of {CLUSTER} bytes"),
    ],
    ids=str,
)
def test_the_first_difference_of_a_shape_is_named(port: MemoryPort, shape: Any, words: str) -> None:
    disks.convert(port, "/vm/a.hdd", "/vm/b.hdd")
    found: Optional[str] = shape_difference(port, conversion(port, **shape))
    assert found is not None and words in found


def test_other_layers_are_a_difference_of_shape(port: MemoryPort) -> None:
    disks.convert(port, "/vm/a.hdd", "/vm/b.hdd")
    assert shape_difference(port, conversion(port, keeps_layers=True)) is not None
    disks.take(port, "/vm/b.hdd", ONE)
    assert shape_difference(port, conversion(port)) == "the destination has snapshots"


def test_a_difference_of_content_names_the_first_byte(port: MemoryPort) -> None:
    disks.convert(port, "/vm/a.hdd", "/vm/b.hdd")
    disks.write(port, "/vm/b.hdd", 3 * CLUSTER, b"other")
    assert content_difference(port, conversion(port)) == f"at byte {3 * CLUSTER}"


def test_a_difference_of_a_layer_names_how_deep_it_is(port: MemoryPort) -> None:
    disks.convert(port, "/vm/a.hdd", "/vm/b.hdd", keeps_layers=True)
    one = conversion(port, keeps_layers=True)
    assert shape_difference(port, one) is None and content_difference(port, one) is None
    # A byte of the lower layer, under a cluster that the upper one does not hold.
    disks.write(port, "/vm/a.hdd", 6 * CLUSTER, b"new on top")
    found = content_difference(port, conversion(port, keeps_layers=True))
    assert found == f"at byte {6 * CLUSTER}"
