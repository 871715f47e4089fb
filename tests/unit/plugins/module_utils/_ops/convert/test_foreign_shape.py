# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What images of other products are to be like, judged before anything is written."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.catalog import FORMATS, ForeignShape
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.foreign_shape import layer_files, settled
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

SIZE = 1 << 20


@pytest.mark.parametrize("cluster_bytes", [512, 4096])
def test_grains_that_no_writer_makes_are_refused_by_the_name_of_the_option(cluster_bytes: int) -> None:
    port = MemoryPort()
    port.plant_file("/vm/a.raw", bytes(SIZE))
    with pytest.raises(BadRequest) as caught:
        plan_convert(
            port,
            find_source(port, "/vm/a.raw"),
            ConvertRequest("vmdk", "/vm/d.vmdk", cluster_bytes=cluster_bytes),
            token="t",
        )
    assert "cluster_size" in str(caught.value) and "8192" in str(caught.value.expected)


@pytest.mark.parametrize("name", [row.name for row in FORMATS.values() if row.is_foreign])
def test_what_is_left_open_is_chosen_by_the_catalog(name: str) -> None:
    row = FORMATS[name]
    shape = settled(ForeignShape(name, SIZE), layers=1)
    assert shape.subformat == (row.kinds[0] if row.kinds else None)
    assert row.clusters is not None and shape.cluster_bytes == row.clusters.default
    assert settled(shape, layers=1) == shape


@pytest.mark.parametrize("name", [row.name for row in FORMATS.values() if row.clusters and row.is_foreign])
def test_clusters_are_powers_of_two_within_the_limits_of_the_catalog(name: str) -> None:
    clusters = FORMATS[name].clusters
    assert clusters is not None
    for size in (clusters.smallest, clusters.largest):
        assert settled(ForeignShape(name, SIZE, cluster_bytes=size), layers=1).cluster_bytes == size
    for size in (clusters.smallest // 2, clusters.largest * 2, clusters.smallest * 3):
        with pytest.raises(BadRequest, match="cluster_size"):
            settled(ForeignShape(name, SIZE, cluster_bytes=size), layers=1)


@pytest.mark.parametrize(
    "options, layers, words",
    [
        ({"format": "qcow2", "subformat": "dynamic"}, 1, "subformat: dynamic"),
        ({"format": "vdi"}, 2, "chain: vdi"),
        ({"format": "vmdk", "subformat": "monolithicFlat"}, 2, "chain: only monolithicSparse"),
        ({"format": "vhd", "subformat": "differencing"}, 1, "another one below it"),
        ({"format": "vmdk", "compression": "zlib"}, 1, "compression: zlib"),
        ({"format": "vmdk", "subformat": "streamOptimized", "compression": "zstd"}, 1, "compression: zstd"),
        ({"format": "qcow2", "compression": "zstd", "version": 2}, 1, "format_version 3"),
        ({"format": "qcow2", "level": 3}, 1, "nothing is compressed"),
        ({"format": "vhd", "adapter_type": "ide"}, 1, "adapter_type"),
        ({"format": "vhdx", "version": 2}, 1, "format_version"),
        ({"format": "qcow2", "preallocate": True}, 1, "preallocate"),
        ({"format": "vhd", "subformat": "fixed", "cluster_bytes": 1 << 20}, 1, "cluster_size"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(options: Dict[str, Any], layers: int, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        settled(ForeignShape(size=SIZE, **options), layers=layers)
    assert words in str(caught.value)


def test_a_stream_is_always_compressed() -> None:
    for compression in ("none", "zlib"):
        shape = ForeignShape("vmdk", SIZE, "streamOptimized", compression=compression)
        assert settled(shape, layers=1).compression == "zlib"


def test_the_lowest_layer_of_a_differencing_chain_is_dynamic() -> None:
    assert settled(ForeignShape("vhdx", SIZE, "differencing"), layers=2).subformat == "dynamic"


def test_only_the_image_itself_keeps_its_name_in_a_later_generation() -> None:
    shape = ForeignShape("qcow2", SIZE)
    assert layer_files(shape, "a.qcow2", layers=3, generation=1) == (
        ("a.layer0.qcow2",),
        ("a.layer1.qcow2",),
        ("a.qcow2",),
    )
    first, second = (set(sum(layer_files(shape, "a.qcow2", layers=3, generation=number), ())) for number in (1, 2))
    assert first & second == {"a.qcow2"}
