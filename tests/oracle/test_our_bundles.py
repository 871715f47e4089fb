# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine makes, in the eyes of qemu-img, dissect, libphdi and ploop."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Callable, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import (
    PORT,
    TrialDisk,
    apply_plan,
    bytes_of,
    create,
    import_raw,
)
from ansible_collections.vdisk.parallels.tests.support import oracles

ODD = 11 * MIB + 333 * 512
SPLIT = 104 * MIB  # Parallels keeps 100 MiB of each part back: parts of 4 MiB


def filled(folder: str, size: int = ODD, **shape: object) -> TrialDisk:
    disk = create(folder, size, **shape)
    last = (size - 1) // disk.layout.cluster_bytes
    disk.write(1, last)
    disk.write(0, 3, 2)
    return disk


def chain(folder: str, snapshots: int, size: int = ODD, **shape: object) -> TrialDisk:
    """Each layer adds, replaces and hides something."""
    disk = filled(folder, size, **shape)
    last = (size - 1) // disk.layout.cluster_bytes
    for number in range(snapshots):
        disk.take(f"step {number}")
        disk.write(number, 4 + number)
        disk.write_zeros(2 + number)
    disk.write(last)
    return disk


def merged(folder: str, layers: List[List[int]], *, receiver: int, holes: bool = False, **shape: object) -> TrialDisk:
    """A chain in which ``layers`` lists the clusters of each layer, merged; ``receiver`` is the layer whose file must
    survive.

    With ``holes`` the zeros of the top are holes of its file.
    """
    disk = create(folder, ODD, **shape)
    disk.write(*layers[0])
    for number, clusters in enumerate(layers[1:]):
        disk.take(f"step {number}")
        disk.write(*clusters)
    disk.write_zeros(0, 10)
    if holes:
        oracles.dig_holes(disk.layout.expanding)
    files = disk.top_files()
    disk.merge()
    assert disk.top_files() == [files[receiver]]
    return disk


def merged_by_copy(folder: str, *, holes: bool = False, **shape: object) -> TrialDisk:
    disk = chain(folder, 3, **shape)
    if holes:
        oracles.dig_holes(disk.layout.expanding)
    files = disk.top_files()
    disk.merge(strategy="copy")
    assert len(disk.top_files()) == 1
    assert disk.top_files()[0] not in files
    return disk


def merged_in_two_places(folder: str, *, holes: bool = False, **shape: object) -> TrialDisk:
    disk = chain(folder, 4, **shape)
    if holes:
        oracles.dig_holes(disk.layout.expanding)
    guids = list(disk.frozen)
    disk.merge(guids[0], guids[2])
    assert len(disk.top_files()) == 3
    return disk


def merged_and_taken_again(folder: str) -> TrialDisk:
    disk = merged(folder, [[0, 1], [1, 2, 3, 4, 5], [2, 9]], receiver=1)
    disk.take("after the merge")
    disk.write(1, 11)
    return disk


def compacted(folder: str, *, holes: bool = False, **shape: object) -> TrialDisk:
    disk = create(folder, ODD, **shape)
    disk.write_zeros(6, 0)
    disk.write(5, 4, 3, 2)
    disk.take("before")
    disk.write_zeros(9, 2)
    disk.write(8, 3)
    if holes:
        oracles.dig_holes(disk.layout.expanding)
    disk.compact()
    step = disk.layout.cluster_bytes
    held = []
    for path in disk.layout.expanding:
        held.append(
            [
                place // step
                for start, length in oracles.allocated_by_qemu(path)
                for place in range(start, start + length, step)
            ]
        )
    # Zeros over the root's data must stay, all others go.
    assert held == [[2, 3, 8], [2, 3, 4, 5]]
    return disk


SCENARIOS: Dict[str, Callable[[str], TrialDisk]] = {
    "v1-1M-empty": lambda folder: create(folder, 8 * MIB),
    "v1-1M": lambda folder: filled(folder, 12 * MIB),
    "v1-1M-odd": filled,
    "v1-512K-odd": lambda folder: filled(folder, cluster_bytes=512 * KIB),
    "v1-64K-odd": lambda folder: filled(folder, cluster_bytes=64 * KIB),
    "v2-1M-odd": lambda folder: filled(folder, version=2),
    "v2-512K": lambda folder: filled(folder, 12 * MIB, version=2, cluster_bytes=512 * KIB),
    "v2-64K-odd": lambda folder: filled(folder, version=2, cluster_bytes=64 * KIB),
    "plain-odd": lambda folder: filled(folder, kind="plain"),
    "preallocated-v1-1M": lambda folder: filled(folder, 12 * MIB, preallocate=True),
    "preallocated-v2-64K-odd": lambda folder: filled(folder, preallocate=True, version=2, cluster_bytes=64 * KIB),
    "split-v1-1M-odd": lambda folder: filled(folder, split_size=SPLIT),
    "split-v2-64K": lambda folder: filled(folder, 10 * MIB, split_size=SPLIT, version=2, cluster_bytes=64 * KIB),
    "split-plain": lambda folder: filled(folder, 10 * MIB, split_size=SPLIT, kind="plain"),
    "1-snapshot-v1-1M": lambda folder: chain(folder, 1, 12 * MIB),
    "2-snapshots-v1-1M-odd": lambda folder: chain(folder, 2),
    "3-snapshots-v1-512K": lambda folder: chain(folder, 3, 12 * MIB, cluster_bytes=512 * KIB),
    "4-snapshots-v1-1M": lambda folder: chain(folder, 4, 12 * MIB),
    "4-snapshots-v2-64K-odd": lambda folder: chain(folder, 4, version=2, cluster_bytes=64 * KIB),
    "2-snapshots-plain": lambda folder: chain(folder, 2, 12 * MIB, kind="plain"),
    "2-snapshots-preallocated": lambda folder: chain(folder, 2, 12 * MIB, preallocate=True),
    "2-snapshots-split-v1-1M-odd": lambda folder: chain(folder, 2, split_size=SPLIT),
    "2-snapshots-split-plain": lambda folder: chain(folder, 2, split_size=SPLIT, kind="plain"),
    "merged-into-the-lowest": lambda folder: merged(folder, [[0, 1, 2, 3, 4, 5, 6, 7], [1, 9], [2, 8, 11]], receiver=0),
    "merged-into-the-middle": lambda folder: merged(folder, [[0, 1], [1, 2, 3, 4, 5, 6, 7], [2, 8, 11]], receiver=1),
    "merged-into-the-top": lambda folder: merged(folder, [[0, 1], [1, 2], [2, 3, 4, 5, 6, 7, 8, 11]], receiver=2),
    "merged-with-holes-into-the-lowest": lambda folder: merged(
        folder, [[0, 1, 2, 3, 4, 5, 6, 7], [1, 9], [2, 8, 11]], receiver=0, holes=True
    ),
    "merged-with-holes-into-the-middle": lambda folder: merged(
        folder, [[0, 1], [1, 2, 3, 4, 5, 6, 7], [2, 8, 11]], receiver=1, holes=True
    ),
    "merged-v2-64K-into-the-middle": lambda folder: merged(
        folder, [[0, 1], [1, 2, 3, 4, 5, 6], [2, 8, 170]], receiver=1, version=2, cluster_bytes=64 * KIB
    ),
    "merged-preallocated": lambda folder: merged(
        folder, [[0, 1, 2, 3, 4, 5, 6, 7], [1, 9], [2, 8, 11]], receiver=0, preallocate=True
    ),
    "merged-plain": lambda folder: merged(
        folder, [[0, 1, 2, 3, 4, 5, 6, 7], [1, 9], [2, 8, 11]], receiver=0, kind="plain"
    ),
    "merged-split": lambda folder: merged(
        folder, [[0, 1, 2, 3, 4, 5, 6, 7], [1, 9], [2, 8, 11]], receiver=2, split_size=SPLIT
    ),
    "merged-by-copy-v1-1M": merged_by_copy,
    "merged-by-copy-v2-64K": lambda folder: merged_by_copy(folder, version=2, cluster_bytes=64 * KIB),
    "merged-by-copy-with-holes": lambda folder: merged_by_copy(folder, holes=True),
    "merged-by-copy-split": lambda folder: merged_by_copy(folder, split_size=SPLIT),
    "merged-in-two-places-v1-1M": merged_in_two_places,
    "merged-in-two-places-with-holes": lambda folder: merged_in_two_places(folder, holes=True),
    "merged-in-two-places-v2-512K": lambda folder: merged_in_two_places(folder, version=2, cluster_bytes=512 * KIB),
    "merged-and-taken-again": merged_and_taken_again,
    "compacted-v1-1M": compacted,
    "compacted-v2-64K": lambda folder: compacted(folder, version=2, cluster_bytes=64 * KIB),
    "compacted-with-holes": lambda folder: compacted(folder, holes=True),
    "imported-v1-1M-odd": lambda folder: import_raw(folder, ODD),
    "imported-v2-64K": lambda folder: import_raw(folder, 10 * MIB, version=2, cluster_bytes=64 * KIB),
    "imported-plain": lambda folder: import_raw(folder, 10 * MIB, kind="plain"),
    "imported-split": lambda folder: import_raw(folder, ODD, split_size=SPLIT),
    "imported-preallocated": lambda folder: import_raw(folder, 10 * MIB, preallocate=True),
}

# libphdi reads format version 1 with clusters of 1 MiB only, and no overlay of a plain disk; its Python binding fails
# on split bundles.
FOR_LIBPHDI = [
    name for name in SCENARIOS if not any(word in name for word in ("v2", "64K", "512K", "split", "snapshots-plain"))
]
# ploop knows one storage only.
FOR_PLOOP = [name for name in SCENARIOS if "split" not in name]
EXPORTED = ["4-snapshots-v2-64K-odd", "2-snapshots-plain", "2-snapshots-split-v1-1M-odd"]


@pytest.fixture(scope="module")
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrialDisk:
    """The disk of a scenario, for reading only."""
    oracles.require("qemu-io", "qemu-img")
    return SCENARIOS[request.param](str(tmp_path_factory.mktemp("trial")))


every_disk = pytest.mark.parametrize("disk", list(SCENARIOS), indirect=True)


@every_disk
def test_the_engine_reads_what_was_written(disk: TrialDisk) -> None:
    assert set(disk.state.tree.shots) == set(disk.views)
    for guid, content in disk.views.items():
        assert bytes_of(disk.bundle, guid) == content, guid


@every_disk
def test_qemu_finds_every_layer_clean_and_reads_the_same_bytes(disk: TrialDisk) -> None:
    oracles.assert_qemu_finds_clean(disk.layout.expanding)
    chain_of_layers = oracles.ChainOracle(disk.bundle)
    for guid, content in disk.views.items():
        assert chain_of_layers.guest(guid) == content, guid
        oracles.compared("qemu-img chain")


@every_disk
def test_dissect_reads_the_same_bytes(disk: TrialDisk) -> None:
    for guid, content in disk.views.items():
        assert oracles.read_with_dissect(disk.bundle, guid) == content, guid
        oracles.compared("dissect")
    assert oracles.read_with_dissect(disk.bundle) == disk.now


@pytest.mark.parametrize("disk", FOR_LIBPHDI, indirect=True)
def test_libphdi_reads_the_same_bytes(disk: TrialDisk, tmp_path: Path) -> None:
    for guid, content in disk.views.items():
        assert oracles.read_with_pyphdi(disk.bundle, guid, str(tmp_path)) == content, guid
        oracles.compared("libphdi")


@pytest.mark.parametrize("disk", FOR_PLOOP, indirect=True)
def test_ploop_accepts_the_bundle(disk: TrialDisk, tmp_path: Path) -> None:
    copied = shutil.copytree(disk.bundle, str(tmp_path / "copy.hdd"))
    oracles.assert_ploop_accepts(copied)


@pytest.mark.parametrize("disk", EXPORTED, indirect=True)
def test_every_snapshot_is_exported_as_qemu_reads_it(disk: TrialDisk, tmp_path: Path) -> None:
    chain_of_layers = oracles.ChainOracle(disk.bundle)
    source = find_source(PORT, disk.bundle)
    for number, guid in enumerate(disk.views):
        path = os.path.join(os.path.realpath(str(tmp_path)), f"{number}.raw")
        apply_plan(plan_convert(PORT, replace(source, guid=guid), ConvertRequest("raw", path), token="trial"))
        assert Path(path).read_bytes() == chain_of_layers.guest(guid), guid
        oracles.compared("qemu-img chain")
