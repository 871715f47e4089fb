# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the images of a disk can give back, estimated without a change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.changes import FreshCopy, Holes, Relocation
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.droppable import METADATA, ZEROS
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.savings import (
    COPY,
    IN_PLACE,
    PUNCH,
    estimate,
    reclaimable_by_reason,
    summary,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill

PORT = OsPort()
CLUSTER = 128 << 10
SECTORS = CLUSTER // 512
ONE = guid_of(1)
ZERO = bytes(CLUSTER)


def filled(*indexes: int) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER) for index in indexes}


def state_with(tmp_path: Path, layers: List[Layer], **options: Any) -> BundleState:
    bundle = build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=8 * SECTORS, layers=layers, cluster_sectors=SECTORS, **options
    )
    return disks.state_of(PORT, bundle.directory, allow_outside=True)


def with_gap(tmp_path: Path) -> BundleState:
    """A disk of two clusters with data, one of zeros, and a place that nothing uses."""
    state = state_with(tmp_path, line_of_layers({}))
    (image,) = state.images.values()
    build_hds(
        image.path, size_sectors=8 * SECTORS, clusters={**filled(0, 1), 2: ZERO}, cluster_sectors=SECTORS, gaps=[1]
    )
    return disks.state_of(PORT, state.location.directory)


def test_an_estimate_changes_nothing(tmp_path: Path) -> None:
    state = with_gap(tmp_path)
    (image,) = state.images.values()
    before = os.stat(image.path).st_mtime_ns, os.stat(image.path).st_ctime_ns
    for strategy in (IN_PLACE, COPY, PUNCH):
        estimate(PORT, state, scan=ZEROS, strategy=strategy)
    assert (os.stat(image.path).st_mtime_ns, os.stat(image.path).st_ctime_ns) == before


def test_the_summary_tells_layers_and_reasons(tmp_path: Path) -> None:
    savings = estimate(PORT, with_gap(tmp_path), scan=ZEROS)
    assert sum(one.read for one in savings) == CLUSTER + 2 * 4096
    told = summary(savings, reclaimed=False, scan=ZEROS)
    assert (told["reclaimable"], told["reclaimed"]) == (2 * CLUSTER, 0)
    assert told["by_reason"] == {"leaked": CLUSTER, "zero": CLUSTER, "equal": 0, "free_in_filesystem": None}
    assert [(layer["guid"], layer["reclaimable"], layer["reclaimed"]) for layer in told["layers"]] == [
        (TOP, 2 * CLUSTER, 0)
    ]
    done = summary(savings, reclaimed=True, scan=METADATA)
    assert (done["reclaimed"], done["by_reason"]["zero"], done["layers"][0]["reclaimed"]) == (
        2 * CLUSTER,
        None,
        2 * CLUSTER,
    )


def test_what_was_not_looked_at_is_unknown(tmp_path: Path) -> None:
    savings = estimate(PORT, with_gap(tmp_path), scan=METADATA)
    assert [one.read for one in savings] == [0]
    expected = {"leaked": CLUSTER, "zero": None, "equal": None, "free_in_filesystem": None}
    assert reclaimable_by_reason(savings, scan=METADATA) == expected


@pytest.mark.parametrize("strategy, change", [(IN_PLACE, Relocation), (COPY, FreshCopy), (PUNCH, Holes)])
def test_a_strategy_has_its_change_and_the_reasons_are_the_same(tmp_path: Path, strategy: str, change: type) -> None:
    layers = line_of_layers({**filled(0, 3), 1: ZERO}, {**filled(3, 4), 2: ZERO})
    savings = estimate(PORT, state_with(tmp_path, layers), scan=ZEROS, strategy=strategy)
    assert [type(one.change) for one in savings] == [change, change]
    expected = {"leaked": 0, "zero": 2 * CLUSTER, "equal": CLUSTER, "free_in_filesystem": None}
    assert reclaimable_by_reason(savings, scan=ZEROS) == expected
    assert sum(one.reclaimable for one in savings) == 3 * CLUSTER


@pytest.mark.parametrize("strategy", [IN_PLACE, COPY, PUNCH])
def test_a_plain_image_gives_holes_with_any_strategy(tmp_path: Path, strategy: str) -> None:
    state = state_with(tmp_path, [Layer(TOP, type="Plain", clusters={**filled(0), **dict.fromkeys(range(1, 8), ZERO)})])
    (one,) = estimate(PORT, state, scan=ZEROS, strategy=strategy)
    assert isinstance(one.change, Holes) and one.reasons["zero"] == one.reclaimable == 7 * CLUSTER
    assert estimate(PORT, state, scan=METADATA, strategy=strategy) == []


def test_an_image_outside_is_not_estimated(tmp_path: Path) -> None:
    outside = str(tmp_path / "parent.hds")
    state = state_with(tmp_path, [Layer(ONE, clusters={0: ZERO}, file=outside), Layer(TOP, ONE, {1: ZERO})])
    assert [one.image.guid for one in estimate(PORT, state, scan=ZEROS)] == [TOP]
