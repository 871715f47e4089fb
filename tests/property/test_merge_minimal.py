# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A merge writes as few bytes as any choice of the file that takes the others in would allow; counted here cluster
by cluster.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Dict, List, Mapping, Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import BuiltBundle, Layer, build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill

CLUSTER = 64 << 10
SECTORS = CLUSTER // 512
HELD = "held"
HOLE = "hole"
"""A cluster that is allocated, but a hole of the host file: it hides what lies below it with zeros."""

LAYER = st.dictionaries(st.integers(0, 7), st.just(HELD), max_size=8)
CHAINS = st.lists(LAYER, min_size=2, max_size=6)
CHAINS_WITH_HOLES = st.lists(
    st.dictionaries(st.integers(0, 5), st.sampled_from([HELD, HOLE]), max_size=6), min_size=2, max_size=4
)


def content_of(layer: Mapping[int, str], seed: int) -> Dict[int, bytes]:
    return {cluster: fill(cluster, CLUSTER, seed) if kind == HELD else b"" for cluster, kind in layer.items()}


def built(scratch: str, layers: Sequence[Mapping[int, str]], size_sectors: int, **options: Any) -> BuiltBundle:
    """``layers`` are listed from the root up."""
    chain = line_of_layers(*[content_of(layer, seed) for seed, layer in enumerate(layers)])
    return build_bundle(
        os.path.join(scratch, "a.hdd"), size_sectors=size_sectors, layers=chain, cluster_sectors=SECTORS, **options
    )


def cheapest(layers: Sequence[Mapping[int, str]], size: int, receivers: Sequence[int]) -> int:
    """The fewest bytes, counted one cluster after the other, over all ``receivers`` (numbers of layers, from the
    root up).
    """
    return min(sum(_cost(layers, cluster, receiver, size) for cluster in range(8)) for receiver in receivers)


def _cost(layers: Sequence[Mapping[int, str]], cluster: int, receiver: int, size: int) -> int:
    holders = [number for number, layer in enumerate(layers) if cluster in layer]
    length = min(CLUSTER, size - cluster * CLUSTER)
    if not holders or holders[-1] == receiver or length <= 0:
        return 0
    # Zeros at the very bottom need a place only where the receiver holds something else.
    is_hole = layers[holders[-1]][cluster] == HOLE
    if is_hole and (cluster not in layers[receiver] or layers[receiver][cluster] == HOLE):
        return 0
    return length


@given(layers=CHAINS, cut=st.integers(0, SECTORS - 1), version=st.sampled_from([1, 2]))
@example(layers=[{0: HELD, 1: HELD, 2: HELD}, {}, {1: HELD}], cut=0, version=1)
@example(layers=[{0: HELD}, {0: HELD, 1: HELD, 2: HELD}], cut=0, version=2)
def test_a_merge_of_a_whole_chain_moves_the_fewest_bytes(layers: List[Dict[int, str]], cut: int, version: int) -> None:
    size_sectors = 8 * SECTORS - cut
    with tempfile.TemporaryDirectory() as scratch:
        bundle = built(scratch, layers, size_sectors, version=version)
        expected = bundle.guest(disks.TOP)
        plan = disks.merge(OsPort(), bundle.directory)
        assert plan.bytes_written == cheapest(layers, size_sectors * 512, range(len(layers)))
        assert disks.read_naively(OsPort(), bundle.directory) == expected


@given(layers=CHAINS)
def test_empty_layers_cost_nothing(layers: List[Dict[int, str]]) -> None:
    with_empty = [layer for held in layers[:1] for layer in (held, {}, {}, {})]
    with tempfile.TemporaryDirectory() as scratch:
        plan = disks.plan_of_merge(OsPort(), built(scratch, with_empty, 8 * SECTORS).directory)
        assert (plan.bytes_read, plan.bytes_written) == (0, 0)
        assert not plan.is_empty


@given(layers=CHAINS)
def test_an_outside_root_never_receives_and_the_rest_is_still_chosen_well(layers: List[Dict[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        chain = line_of_layers(*[content_of(layer, seed) for seed, layer in enumerate(layers)])
        outside = os.path.join(scratch, "parent.hds")
        root = Layer(chain[0].guid, clusters=chain[0].clusters, file=outside)
        bundle = build_bundle(
            os.path.join(scratch, "clone.hdd"),
            size_sectors=8 * SECTORS,
            layers=[root, *chain[1:]],
            cluster_sectors=SECTORS,
        )
        plan = disks.plan_of_merge(OsPort(), bundle.directory, allow_outside=True)
        assert plan.bytes_written == cheapest(layers, 8 * CLUSTER, range(1, len(layers)))


@given(layers=CHAINS_WITH_HOLES)
@example(layers=[{0: HELD}, {0: HOLE}])
@example(layers=[{0: HELD}, {0: HOLE}, {}])
def test_zeros_that_hide_data_are_counted_too(layers: List[Dict[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        bundle = built(scratch, layers, 8 * SECTORS)
        expected = bundle.guest(disks.TOP)
        plan = disks.plan_of_merge(OsPort(), bundle.directory)
        assert plan.bytes_written == cheapest(layers, 8 * CLUSTER, range(len(layers)))
        disks.apply(OsPort(), plan)
        assert disks.read_naively(OsPort(), bundle.directory) == expected


@given(layers=st.lists(LAYER, min_size=3, max_size=6), data=st.data())
def test_each_run_of_layers_is_judged_on_its_own(layers: List[Dict[int, str]], data: st.DataObject) -> None:
    removed = set(data.draw(st.lists(st.integers(0, len(layers) - 2), unique=True)))
    groups: List[List[int]] = []
    for number in range(len(layers)):
        if not groups or groups[-1][-1] not in removed:
            groups.append([])
        groups[-1].append(number)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = built(scratch, layers, 8 * SECTORS)
        snapshots = [layer.guid for number, layer in enumerate(bundle.layers) if number in removed]
        plan = disks.plan_of_merge(OsPort(), bundle.directory, snapshots=snapshots)
        expected = sum(
            cheapest([layers[number] for number in group], 8 * CLUSTER, range(len(group))) for group in groups
        )
        assert plan.bytes_written == expected
