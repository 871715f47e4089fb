# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_merge on disks with branches, orphans and shared images, called as Ansible calls it."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    NONE,
    TOP,
    Layer,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, succeed, three_runs, tree, warnings

CLUSTER = 64 << 10
STEP = CLUSTER // 512
SECTORS = STEP * 8
ONE, TWO, THREE, FOUR, FIVE = (guid_of(number) for number in range(1, 6))


def held(*numbers, seed=0):
    return {number: fill(number, CLUSTER, seed) for number in numbers}


BRANCHED = (
    Layer(ONE, NONE, held(0, 1, 2, 3)),
    Layer(TWO, ONE, held(1, 5, seed=1)),
    Layer(TOP, TWO, held(2, seed=2)),
    Layer(THREE, ONE, held(3, seed=3)),
    Layer(FOUR, THREE, held(0, 7, seed=4)),
)
"""1 - 2 - TOP, and 3 - 4 beside 2."""
KINDS = {
    "expanding": {"layers": BRANCHED},
    "version 2": {"layers": BRANCHED, "version": 2},
    "split": {"layers": BRANCHED, "split": [2 * STEP, 6 * STEP]},
    "of ploop": {"layers": BRANCHED, "style": "ploop", "version": 2},
    "on a plain root": {"layers": [Layer(ONE, NONE, BRANCHED[0].clusters, type="Plain"), *BRANCHED[1:]]},
}


def build(path, layers=BRANCHED, **options):
    return build_bundle(path, size_sectors=SECTORS, layers=layers, cluster_sectors=STEP, **options)


@pytest.fixture(name="built")
def built_fixture(path):
    return build(path)


def in_machine(root, *named, layers=BRANCHED):
    """A disk in a virtual machine that has the snapshots ``named``."""
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=1, snapshots={guid: f"Snapshot {guid[-2]}" for guid in named})
    return build(f"{root}/a.pvm/a.hdd", layers)


def assert_views(built, *guids):
    """Every snapshot in ``guids`` and the current state shows what it showed."""
    for guid in (*guids, TOP):
        raw = f"{os.path.dirname(built.directory)}/view.raw"
        succeed("hdd_convert", src=built.directory, dest=raw, snapshot=None if guid == TOP else guid, force=True)
        with open(raw, "rb") as stream:
            assert stream.read() == built.guest(guid), guid
        os.unlink(raw)


# Branches


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ["auto", "in_place"])
def test_branches_that_are_not_current_are_given_up_on_request(root, path, kind, strategy):
    built = build(path, **KINDS[kind])
    ended = three_runs("hdd_merge", root, path=path, branches="discard", strategy=strategy)
    assert ended.done["merged"] == [ONE, TWO, THREE, FOUR]
    assert (ended.done["layers_before"], ended.done["layers_after"]) == (3, 1)
    assert_views(built)


def test_what_is_returned_is_documented(built, path):
    for options in ({"snapshots": [TWO]}, {"branches": "discard"}, {}):
        for check in (True, False):
            module_docs.assert_documented("hdd_merge", succeed("hdd_merge", check=check, path=path, **options))


@pytest.mark.parametrize("max_layers", [1, 2])
def test_a_refused_merge_says_what_to_do(root, built, path, max_layers):
    result = refused("hdd_merge", root, code="has_snapshots", path=path, max_layers=max_layers)
    assert all(words in result["msg"] for words in (ONE, path, "branches: discard", "option snapshots", "max_layers"))
    assert result["error_context"]["found"] == [THREE]


def test_each_advice_of_a_refused_merge_works(root, built, path):
    assert three_runs("hdd_merge", root, path=path, snapshots=[TWO]).done["merged"] == [TWO]
    assert_views(built, ONE, THREE, FOUR)
    assert not three_runs("hdd_merge", root, path=path, max_layers=2).done["changed"]
    assert three_runs("hdd_merge", root, path=path, branches="discard").done["merged"] == [ONE, THREE, FOUR]
    assert_views(built)


def test_a_snapshot_of_another_branch_is_passed_over(root, built, path):
    ended = three_runs("hdd_merge", root, path=path, snapshots=[THREE, FOUR])
    assert not ended.done["changed"] and ended.done["merged"] == []


def test_only_what_branches_off_at_a_merged_snapshot_is_given_up(root, path):
    layers = [*BRANCHED, Layer(FIVE, TWO, held(6, seed=5))]
    built = build(path, layers)
    ended = three_runs("hdd_merge", root, path=path, snapshots=[TWO], branches="discard")
    assert ended.done["merged"] == [TWO, FIVE]
    assert_views(built, ONE, THREE, FOUR)


def test_the_diff_shows_the_tree_before_and_after(built, path):
    diff = succeed("hdd_merge", check=True, path=path, snapshots=[TWO])["diff"]
    assert diff["before"]["snapshots"] == [ONE, f"  {TWO} <- current", f"  {THREE}", f"    {FOUR}"]
    assert diff["after"]["snapshots"] == [f"{ONE} <- current", f"  {THREE}", f"    {FOUR}"]
    diff = succeed("hdd_merge", check=True, path=path, branches="discard")["diff"]
    assert (diff["after"]["snapshots"], diff["after"]["depth"]) == ([], 1)


def test_the_bytes_and_the_room_that_come_free_are_foretold(root, path):
    """Of the two layers that become one, the root takes in 1, 2 and 5; the branch is given up."""
    built = build(path)
    blocks = {guid: os.stat(built.files[(0, guid)]).st_blocks * 512 for guid in (ONE, TWO, THREE, FOUR, TOP)}
    done = three_runs("hdd_merge", root, path=path, branches="discard").done
    assert done["bytes_written"] == done["bytes_read"] == 3 * CLUSTER
    assert done["freed"] == sum(blocks.values()) - blocks[ONE] - CLUSTER


# Orphans


@pytest.mark.parametrize(
    ("named", "merged"),
    [
        ([], [ONE, TWO, THREE]),
        ([TWO], [ONE, THREE]),
        ([ONE, TWO, THREE], []),
        ([guid_of(77)], [ONE, TWO, THREE]),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_layers_that_the_machine_has_forgotten_go(root, named, merged, force):
    built = in_machine(
        root, *named, layers=line_of_layers(held(0, 1), held(1, seed=1), held(2, seed=2), held(3, seed=3))
    )
    ended = three_runs("hdd_merge", root, path=built.directory, orphans=True, force=force)
    assert ended.done["merged"] == merged
    assert_views(built, *(guid for guid in (ONE, TWO, THREE) if guid not in merged))


def test_an_empty_list_of_snapshots_makes_all_layers_orphans(root):
    """That is how machines are found whose snapshots were lost."""
    built = in_machine(root, layers=line_of_layers(held(0), held(1), held(2)))
    with open(f"{root}/a.pvm/Snapshots.xml", "w", encoding="utf-8") as stream:
        stream.write("<ParallelsSavedStates/>")
    assert three_runs("hdd_merge", root, path=built.directory, orphans=True).done["merged"] == [ONE, TWO]


@pytest.mark.parametrize("snapshots", [[], ["gone"], [TWO]])
def test_orphans_are_looked_for_among_the_named_snapshots_only(root, snapshots):
    built = in_machine(root, TWO, layers=line_of_layers(held(0), held(1), held(2)))
    ended = three_runs("hdd_merge", root, path=built.directory, orphans=True, snapshots=snapshots)
    assert not ended.done["changed"] and ended.done["merged"] == []


def test_an_orphan_where_branches_part_is_refused_like_any_other(root):
    built = in_machine(root, TWO, FOUR)
    result = refused("hdd_merge", root, code="has_snapshots", path=built.directory, orphans=True)
    assert ONE in result["msg"] and result["error_context"]["found"] == [THREE]


def test_a_branch_that_the_machine_names_is_not_discarded(root):
    built = in_machine(root, FOUR)
    result = refused("hdd_merge", root, code="has_snapshots", path=built.directory, orphans=True, branches="discard")
    assert FOUR in result["msg"] and "force: true" in result["msg"]
    ended = three_runs("hdd_merge", root, path=built.directory, branches="discard", force=True)
    assert ended.done["merged"] == [ONE, TWO, THREE, FOUR]
    assert_views(built)


def test_outside_of_a_machine_every_snapshot_is_an_orphan(root, built, path):
    assert three_runs("hdd_merge", root, path=path, orphans=True, branches="discard").done["merged"] == [
        ONE,
        TWO,
        THREE,
        FOUR,
    ]


# Snapshots of the machine


def test_a_snapshot_of_the_machine_goes_by_its_name_and_once(root):
    built = in_machine(root, TWO)
    assert (
        "force: true"
        in refused("hdd_merge", root, code="has_snapshots", path=built.directory, snapshots=["Snapshot 2"])["msg"]
    )
    done = succeed("hdd_merge", path=built.directory, snapshots=["Snapshot 2"], force=True)
    assert done["merged"] == [TWO]
    again = succeed("hdd_merge", path=built.directory, snapshots=["Snapshot 2"], force=True)
    assert not again["changed"]
    assert warnings(again) == ["snapshots: the disk has no snapshot 'Snapshot 2', so there was nothing to merge."]
    assert_views(built, ONE, THREE, FOUR)


# Shared images


@pytest.mark.parametrize("strategy", ["auto", "in_place", "copy"])
def test_a_clone_is_merged_upwards_and_its_origin_is_never_changed(root, path, strategy):
    shared = f"{root}/origin.hds"
    built = build(path, [Layer(ONE, NONE, BRANCHED[0].clusters, file=shared), *BRANCHED[1:]])
    before = tree(shared)
    assert (
        "allow_outside"
        in refused("hdd_merge", root, code="escape", path=path, strategy=strategy, branches="discard")["msg"]
    )
    ended = three_runs("hdd_merge", root, path=path, strategy=strategy, branches="discard", allow_outside=True)
    assert ended.done["merged"] == [ONE, TWO, THREE, FOUR] and tree(shared) == before
    assert not any(layer["outside"] for layer in ended.done["disk"]["layers"])
    assert_views(built)


# Layers of different lengths


@pytest.mark.parametrize("strategy", ["auto", "in_place", "copy"])
def test_a_chain_that_grew_becomes_one_layer_of_full_length(root, path, strategy):
    layers = [
        Layer(ONE, NONE, held(0, 1, 2), size_sectors=4 * STEP),
        Layer(TWO, ONE, held(1, seed=1), size_sectors=4 * STEP),
        Layer(TOP, TWO, held(6, seed=2)),
    ]
    built = build(path, layers)
    ended = three_runs("hdd_merge", root, path=path, strategy=strategy)
    assert ended.done["layers_after"] == 1 and ended.done["disk"]["warnings"] == []
    assert_views(built)


# A machine whose list of snapshots cannot be read


def spoil_list(built):
    """Make the list of the machine's snapshots unreadable, or take the machine's configuration away."""
    with open(f"{os.path.dirname(built.directory)}/Snapshots.xml", "w", encoding="utf-8") as stream:
        stream.write("<ParallelsSavedStates><SavedStateItem")


def lose_config(built):
    os.unlink(f"{os.path.dirname(built.directory)}/config.pvs")


@pytest.mark.parametrize("harm", [spoil_list, lose_config])
def test_no_snapshot_goes_while_nobody_can_tell_what_the_machine_needs(root, harm):
    built = in_machine(root, ONE, layers=line_of_layers(held(0), held(1), held(2)))
    harm(built)
    for options in ({}, {"orphans": True}, {"orphans": True, "force": True}):
        assert (
            "Nobody can tell"
            in refused("hdd_merge", root, code="has_snapshots", path=built.directory, **options)["msg"]
        )
    gone = dict(path=built.directory, guid=ONE, state="absent")
    assert "force: true" in refused("hdd_snapshot", root, code="has_snapshots", **gone)["msg"]
    assert succeed("hdd_snapshot", **gone, force=True)["changed"]
    assert succeed("hdd_merge", path=built.directory, force=True)["layers_after"] == 1
    assert_views(built)


def test_a_merge_that_has_nothing_to_do_does_not_ask_what_the_machine_needs(root):
    built = in_machine(root, ONE, layers=line_of_layers(held(0)))
    spoil_list(built)
    assert not succeed("hdd_merge", path=built.directory)["changed"]
