# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk beyond the 2 TiB of format version 1, of which next to nothing is allocated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import shape_of
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_view
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.create import plan_create
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import choose_removals
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT, apply_plan, observed
from ansible_collections.vdisk.parallels.tests.support import oracles

MIB, TIB = 1 << 20, 1 << 40
SIZE = 5 * TIB // 2 + 3 * MIB
SNAPSHOT = "{aaaaaaaa-0000-4000-8000-000000000001}"
# The table stays short enough for dissect, which reads it entry by entry; each of these lies in a cluster of its own.
CLUSTER = 8 * MIB
ROOT_WRITES = [(0, 1), (TIB, 2), (2 * TIB, 3), (SIZE - 3 * MIB, 4)]
TOP_WRITES = [(TIB, 5), (2 * TIB + 24 * MIB, 6), (SIZE - 11 * MIB, 7)]
Spots = List[Tuple[int, int]]
AFTER = sorted({**dict(ROOT_WRITES), **dict(TOP_WRITES)}.items())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Data at a few spots of a root and of a layer above it."""
    oracles.require("qemu-img", "qemu-io")
    return create_huge(tmp_path_factory.mktemp("huge"))


def create_huge(folder: Path) -> str:
    path = os.path.join(os.path.realpath(str(folder)), "mac.hdd")
    apply_plan(
        plan_create(path, shape_of(size=SIZE, cluster_bytes=CLUSTER), name="mac", uid=guids.draw(), token="trial")
    )
    write(path, ROOT_WRITES)
    apply_plan(plan_snapshot_take(observed(path), SNAPSHOT))
    write(path, TOP_WRITES)
    return path


def write(path: str, spots: Spots) -> None:
    layout = oracles.read_layout(path)
    oracles.qemu_io(layout.images[layout.top][0].path, *[f"write -P {byte} {start} {MIB}" for start, byte in spots])


def data_of(path: str, guid: str) -> Spots:
    """Where the engine finds data, and the byte that fills each MiB of it."""
    state = observed(path)
    view = open_view(PORT, state, guid)
    try:
        found = []
        content = bytearray(MIB)
        for extent in view.extents(0, view.size):
            for start in range(extent.start, extent.end, MIB) if extent.kind == DATA else ():
                view.pread_into(start, content)
                assert content == content[:1] * MIB
                found.append((start, content[0]))
        return [spot for spot in found if spot[1]]
    finally:
        view.close()


def test_the_layers_are_clean_and_in_format_version_2(bundle: str) -> None:
    state = observed(bundle)
    assert {image.header.version for image in state.images.values() if image.header is not None} == {2}
    oracles.assert_qemu_finds_clean(oracles.read_layout(bundle).expanding)
    assert sum(os.stat(path).st_blocks * 512 for path in oracles.read_layout(bundle).expanding) < 64 * MIB


def test_we_find_the_data_of_every_snapshot(bundle: str) -> None:
    assert data_of(bundle, SNAPSHOT) == ROOT_WRITES
    assert data_of(bundle, oracles.TOP) == AFTER


def test_qemu_maps_what_we_map(bundle: str) -> None:
    layout = oracles.read_layout(bundle)
    mapped = {
        guid: [start for start, _length in oracles.allocated_by_qemu(images[0].path, size=SIZE)]
        for guid, images in layout.images.items()
    }
    assert mapped[SNAPSHOT] == [start for start, _byte in ROOT_WRITES]
    assert mapped[oracles.TOP] == [start for start, _byte in TOP_WRITES]
    oracles.compared("qemu-img chain", 2)


def test_dissect_reads_the_same_spots(bundle: str) -> None:
    for guid, spots in ((SNAPSHOT, ROOT_WRITES), (oracles.TOP, AFTER)):
        stream = oracles.open_with_dissect(bundle, guid)
        assert stream.size == SIZE
        for start, byte in [*spots, (CLUSTER, 0), (2 * TIB - MIB, 0)]:
            stream.seek(start)
            assert stream.read(MIB) == bytes([byte]) * MIB
        oracles.compared("dissect")


def test_a_sparse_export_is_what_qemu_exports(bundle: str, tmp_path: Path) -> None:
    raw = os.path.join(os.path.realpath(str(tmp_path)), "huge.raw")
    apply_plan(plan_convert(PORT, find_source(PORT, bundle), ConvertRequest("raw", raw), token="trial"))
    assert os.path.getsize(raw) == SIZE
    assert os.stat(raw).st_blocks * 512 < 16 * MIB
    oracles.qemu_io(raw, *[f"read -P {byte} {start} {MIB}" for start, byte in AFTER], format="raw")
    oracles.compared("qemu-io read")


def test_merge_and_compaction_keep_the_spots(tmp_path: Path) -> None:
    oracles.require("qemu-img", "qemu-io")
    path = create_huge(tmp_path)
    write(path, [(4 * CLUSTER, 0)])
    apply_plan(plan_merge(PORT, observed(path), choose_removals(observed(path), max_layers=1)))
    apply_plan(plan_compact(PORT, observed(path)))
    (image,) = oracles.read_layout(path).expanding
    oracles.assert_qemu_finds_clean([image])
    assert data_of(path, oracles.TOP) == AFTER
    assert [start for start, _length in oracles.allocated_by_qemu(image, size=SIZE)] == [
        start for start, _byte in AFTER
    ]
    oracles.qemu_io(image, *[f"read -P {byte} {start} {MIB}" for start, byte in AFTER])
    oracles.compared("qemu-io read")
