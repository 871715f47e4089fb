# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_snapshot with state absent and reverted, called as Ansible calls it."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, succeed, three_runs, tree, warnings

CLUSTER = 64 << 10
STEP = CLUSTER // 512
SECTORS = STEP * 8
ONE, TWO, THREE, FOUR = (guid_of(number) for number in range(1, 5))
KINDS = {
    "expanding": {},
    "version 2": {"version": 2},
    "split": {"split": [2 * STEP, 6 * STEP]},
    "of ploop": {"style": "ploop", "version": 2},
    "with another top": {"top_guid": guid_of(9)},
    "on a plain root": {},
}


def layers_of(kind="expanding"):
    """1 - 2 - TOP, and 3 - 4 beside 2."""
    top = KINDS[kind].get("top_guid", TOP)
    return [
        Layer(
            ONE,
            NONE,
            {number: fill(number, CLUSTER) for number in range(4)},
            type="Plain" if kind == "on a plain root" else "Compressed",
        ),
        Layer(TWO, ONE, {1: fill(1, CLUSTER, 1), 5: fill(5, CLUSTER, 1)}),
        Layer(top, TWO, {2: fill(2, CLUSTER, 2)}),
        Layer(THREE, ONE, {3: fill(3, CLUSTER, 3)}),
        Layer(FOUR, THREE, {0: fill(0, CLUSTER, 4), 7: fill(7, CLUSTER, 4)}),
    ]


DISK = dict(size_sectors=SECTORS, cluster_sectors=STEP, layers=layers_of())


@pytest.fixture(name="machine")
def machine_fixture(root):
    """The same disk in a virtual machine that has two of its snapshots, and one that the disk does not have."""
    make_machine(
        f"{root}/a.pvm",
        disk="a.hdd",
        size_mib=1,
        snapshots={ONE: "Installed", THREE: "Experiment", guid_of(8): "Elsewhere"},
    )
    return build_bundle(f"{root}/a.pvm/a.hdd", size_sectors=SECTORS, cluster_sectors=STEP, layers=layers_of())


def assert_views(built, *guids, now, top=TOP):
    """Every snapshot in ``guids`` and the current state, which is that of the snapshot or layer ``now``, shows its
    bytes.
    """
    for guid, expected in [*((guid, guid) for guid in guids), (top, now)]:
        raw = f"{os.path.dirname(built.directory)}/view.raw"
        succeed("hdd_convert", src=built.directory, dest=raw, snapshot=None if guid == top else guid, force=True)
        with open(raw, "rb") as stream:
            assert stream.read() == built.guest(expected), guid
        os.unlink(raw)


def snapshots_of(result):
    return sorted(snapshot["guid"] for snapshot in result["disk"]["snapshots"])


# Absent


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gone", [TWO, THREE, FOUR])
def test_a_snapshot_goes_as_predicted_and_only_once(root, path, kind, gone):
    top = KINDS[kind].get("top_guid", TOP)
    built = build_bundle(path, size_sectors=SECTORS, cluster_sectors=STEP, layers=layers_of(kind), **KINDS[kind])
    ended = three_runs("hdd_snapshot", root, path=path, guid=gone, state="absent")
    assert ended.done["changed"] and ended.done["snapshot"]["guid"] == gone
    stay = [guid for guid in (ONE, TWO, THREE, FOUR) if guid != gone]
    assert snapshots_of(ended.done) == stay
    assert_views(built, *stay, now=top, top=top)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_root_of_several_branches_stays_whatever_is_forced(root, path, kind, force):
    build_bundle(path, size_sectors=SECTORS, cluster_sectors=STEP, layers=layers_of(kind), **KINDS[kind])
    result = refused("hdd_snapshot", root, code="has_snapshots", path=path, guid=ONE, state="absent", force=force)
    assert "2 disks" in result["msg"] and "descendants: delete" in result["msg"]


@pytest.mark.parametrize("gone", [TWO, THREE, FOUR])
def test_what_is_returned_of_a_deletion_is_documented(built, path, gone):
    for check in (True, False, False, True):
        module_docs.assert_documented(
            "hdd_snapshot", succeed("hdd_snapshot", check=check, path=path, guid=gone, state="absent")
        )


def test_a_leaf_costs_nothing_and_frees_its_file(root, built, path):
    size = os.stat(built.files[(0, FOUR)]).st_blocks * 512
    ended = three_runs("hdd_snapshot", root, path=path, guid=FOUR, state="absent")
    assert (ended.done["bytes_read"], ended.done["bytes_written"], ended.done["freed"]) == (0, 0, size)
    assert ended.done["snapshot"]["parent"] == THREE and ended.done["snapshot"]["depth"] == 3
    assert not os.path.exists(built.files[(0, FOUR)])
    assert (ended.again["freed"], ended.again["snapshot"]["depth"]) == (0, None)


def test_a_branch_goes_with_all_that_stands_on_it(root, built, path):
    ended = three_runs("hdd_snapshot", root, path=path, guid=THREE, state="absent", descendants="delete")
    assert snapshots_of(ended.done) == [ONE, TWO] and ended.done["bytes_written"] == 0
    assert_views(built, ONE, TWO, now=TOP)


def test_a_snapshot_that_never_was_is_absent(root, built, path):
    for wanted in ({"name": "never"}, {"guid": guid_of(77)}):
        ended = three_runs("hdd_snapshot", root, path=path, state="absent", **wanted)
        assert not ended.done["changed"] and ended.done["snapshot"]["name"] == wanted.get("name")


def test_a_snapshot_goes_by_the_name_that_it_was_taken_with(root, built, path):
    taken = succeed("hdd_snapshot", path=path, name="before")["snapshot"]["guid"]
    ended = three_runs("hdd_snapshot", root, path=path, name="before", state="absent")
    assert ended.done["snapshot"]["guid"] == taken and snapshots_of(ended.done) == [ONE, TWO, THREE, FOUR]
    assert_views(built, ONE, TWO, THREE, FOUR, now=TOP)


def test_a_name_may_be_used_again_and_again(built, path):
    for _day in range(3):
        assert succeed("hdd_snapshot", path=path, name="daily")["changed"]
        assert succeed("hdd_snapshot", path=path, name="daily", state="reverted")["changed"] is False
        assert succeed("hdd_merge", path=path, snapshots=["daily"], strategy="copy")["changed"]
    assert_views(built, ONE, TWO, THREE, FOUR, now=TOP)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"guid": ONE, "descendants": "refuse"},
            ["There are snapshots above", "descendants: keep", "descendants: delete"],
        ),
        (
            {"guid": THREE, "descendants": "refuse"},
            ["There are snapshots above", "descendants: keep", "descendants: delete"],
        ),
        (
            {"guid": ONE, "descendants": "delete"},
            ["The disk goes on from", "Revert to another snapshot first", "descendants: keep"],
        ),
        (
            {"guid": TWO, "descendants": "delete"},
            ["The disk goes on from", "Revert to another snapshot first", "descendants: keep"],
        ),
    ],
)
def test_a_refused_deletion_says_what_to_do(root, built, path, options, words):
    result = refused("hdd_snapshot", root, code="has_snapshots", path=path, state="absent", **options)
    assert all(word in result["msg"] for word in [path, options["guid"], *words])


def test_a_refused_deletion_names_the_snapshots_above(root, built, path):
    result = refused(
        "hdd_snapshot", root, code="has_snapshots", path=path, state="absent", guid=ONE, descendants="refuse"
    )
    assert sorted(result["error_context"]["found"]) == [TWO, THREE, FOUR]


@pytest.mark.parametrize("state", ["absent", "reverted"])
def test_the_current_layer_is_no_snapshot(root, built, path, state):
    assert TOP in refused("hdd_snapshot", root, code="bad_request", path=path, guid=TOP, state=state)["msg"]


# Reverted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", [ONE, TWO, THREE, FOUR])
def test_the_disk_goes_on_from_a_snapshot_as_predicted_and_only_once(root, path, kind, target):
    top = KINDS[kind].get("top_guid", TOP)
    built = build_bundle(path, size_sectors=SECTORS, cluster_sectors=STEP, layers=layers_of(kind), **KINDS[kind])
    ended = three_runs("hdd_snapshot", root, path=path, guid=target, state="reverted")
    assert ended.done["changed"] and ended.done["snapshot"]["current"]
    assert (ended.done["bytes_read"], ended.done["bytes_written"]) == (0, 0)
    assert snapshots_of(ended.done) == [ONE, TWO, THREE, FOUR]
    assert_views(built, ONE, TWO, THREE, FOUR, now=target, top=top)


def test_what_is_returned_of_a_revert_is_documented(built, path):
    for check in (True, False, False, True):
        module_docs.assert_documented(
            "hdd_snapshot", succeed("hdd_snapshot", check=check, path=path, guid=THREE, state="reverted")
        )


def test_what_is_given_up_is_a_warning_and_only_then(root, built, path):
    ended = three_runs("hdd_snapshot", root, path=path, guid=TWO, state="reverted")
    assert [text for text in warnings(ended.done) if path in text and "64 KiB" in text and "given up" in text], (
        ended.done
    )
    assert warnings(ended.again) == []


def test_after_a_snapshot_there_is_nothing_to_go_back_from(root, built, path):
    succeed("hdd_snapshot", path=path, name="before")
    assert not three_runs("hdd_snapshot", root, path=path, name="before", state="reverted").done["changed"]


@pytest.mark.parametrize("wanted", [{"name": "never"}, {"guid": guid_of(77)}])
def test_a_snapshot_that_never_was_is_no_place_to_go_back_to(root, built, path, wanted):
    message = refused("hdd_snapshot", root, code="no_such_snapshot", path=path, state="reverted", **wanted)["msg"]
    assert path in message and ONE in message and FOUR in message


def test_a_snapshot_that_ploop_was_merging_is_refused_with_advice_that_works(root, path):
    layers = [
        Layer(ONE, clusters={0: fill(0, CLUSTER)}),
        Layer(TWO, ONE, {1: fill(1, CLUSTER)}, temporary=True),
        Layer(TOP, TWO, {2: fill(2, CLUSTER)}),
    ]
    built = build_bundle(path, size_sectors=SECTORS, cluster_sectors=STEP, layers=layers, style="ploop")
    assert (
        "state: absent"
        in refused("hdd_snapshot", root, code="interrupted", path=path, guid=TWO, state="reverted")["msg"]
    )
    assert three_runs("hdd_snapshot", root, path=path, guid=TWO, state="absent").done["changed"]
    assert_views(built, ONE, now=TOP)


@pytest.mark.parametrize("state", ["absent", "reverted"])
def test_a_dirty_disk_is_changed_only_with_force(root, built, path, state):
    with open(built.files[(0, TOP)], "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
    assert "force: true" in refused("hdd_snapshot", root, code="dirty", path=path, guid=TWO, state=state)["msg"]
    assert three_runs("hdd_snapshot", root, path=path, guid=TWO, state=state, force=True).done["changed"]
    assert_views(built, ONE, THREE, FOUR, now=TWO if state == "reverted" else TOP)


@pytest.mark.parametrize("state", ["absent", "reverted"])
def test_a_shared_image_is_used_only_when_allowed_and_never_changed(root, path, state):
    shared = f"{root}/shared.hds"
    layers = [
        Layer(ONE, clusters={0: fill(0, CLUSTER)}, file=shared),
        Layer(TWO, ONE, {1: fill(1, CLUSTER)}),
        Layer(TOP, TWO, {2: fill(2, CLUSTER)}),
    ]
    build_bundle(path, size_sectors=SECTORS, cluster_sectors=STEP, layers=layers)
    before = tree(shared)
    assert "allow_outside" in refused("hdd_snapshot", root, code="escape", path=path, guid=ONE, state=state)["msg"]
    ended = three_runs("hdd_snapshot", root, path=path, guid=ONE, state=state, allow_outside=True)
    assert ended.done["changed"] and tree(shared) == before


# The difference


def test_the_diff_of_a_deletion_shows_the_tree_before_and_after(built, path):
    before = [ONE, f"  {TWO} <- current", f"  {THREE}", f"    {FOUR}"]
    for gone, after in (
        (FOUR, [ONE, f"  {TWO} <- current", f"  {THREE}"]),
        (THREE, [ONE, f"  {TWO} <- current", f"  {FOUR}"]),
        (TWO, [f"{ONE} <- current", f"  {THREE}", f"    {FOUR}"]),
    ):
        diff = succeed("hdd_snapshot", check=True, path=path, guid=gone, state="absent")["diff"]
        assert (diff["before"]["snapshots"], diff["after"]["snapshots"]) == (before, after)


def test_the_diff_of_a_revert_moves_the_arrow(built, path):
    diff = succeed("hdd_snapshot", check=True, path=path, guid=FOUR, state="reverted")["diff"]
    assert diff["before"]["snapshots"] == [ONE, f"  {TWO} <- current", f"  {THREE}", f"    {FOUR}"]
    assert diff["after"]["snapshots"] == [ONE, f"  {TWO}", f"  {THREE}", f"    {FOUR} <- current"]
    assert (diff["before"]["depth"], diff["after"]["depth"]) == (3, 4)


def test_where_nothing_changes_the_diff_is_empty(built, path):
    diff = succeed("hdd_snapshot", path=path, name="never", state="absent")["diff"]
    assert diff["before"] == diff["after"] == {}


# In a virtual machine


def test_names_of_the_machine_are_understood(root, machine):
    ended = three_runs("hdd_snapshot", root, path=machine.directory, name="Experiment", state="reverted")
    assert ended.done["snapshot"]["guid"] == THREE and ended.done["snapshot"]["vm_snapshot"]
    assert_views(machine, ONE, TWO, THREE, FOUR, now=THREE)


def test_the_diff_shows_the_names_of_the_machine(machine):
    diff = succeed("hdd_snapshot", check=True, path=machine.directory, guid=TWO, state="absent")["diff"]
    assert diff["before"]["snapshots"] == [
        f"{ONE} Installed",
        f"  {TWO} <- current",
        f"  {THREE} Experiment",
        f"    {FOUR}",
    ]
    assert diff["after"]["snapshots"] == [f"{ONE} Installed <- current", f"  {THREE} Experiment", f"    {FOUR}"]


@pytest.mark.parametrize("wanted", [{"name": "Experiment"}, {"guid": THREE}, {"guid": ONE}])
@pytest.mark.parametrize("descendants", ["keep", "refuse", "delete"])
def test_a_snapshot_of_the_machine_is_not_deleted(root, machine, wanted, descendants):
    result = refused(
        "hdd_snapshot",
        root,
        code="has_snapshots",
        path=machine.directory,
        state="absent",
        descendants=descendants,
        **wanted,
    )
    if descendants == "keep":
        assert "belongs to a snapshot of the virtual machine" in result["msg"] and "force: true" in result["msg"]


def test_a_snapshot_of_the_machine_above_is_not_deleted_either(root):
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=1, snapshots={FOUR: "kept"})
    path = build_bundle(f"{root}/a.pvm/a.hdd", size_sectors=SECTORS, cluster_sectors=STEP, layers=layers_of()).directory
    assert (
        FOUR
        in refused(
            "hdd_snapshot", root, code="has_snapshots", path=path, state="absent", guid=THREE, descendants="delete"
        )["msg"]
    )
    assert three_runs("hdd_snapshot", root, path=path, state="absent", guid=THREE).done["changed"]


def test_with_force_it_goes_and_the_machine_still_naming_it_is_no_hindrance(root, machine):
    ended = three_runs("hdd_snapshot", root, path=machine.directory, name="Experiment", state="absent", force=True)
    assert snapshots_of(ended.done) == [ONE, TWO, FOUR]
    assert ended.again["snapshot"]["guid"] == THREE and ended.again["snapshot"]["vm_snapshot"]
    assert not three_runs("hdd_snapshot", root, path=machine.directory, name="Experiment", state="absent").done[
        "changed"
    ]
    assert_views(machine, ONE, TWO, FOUR, now=TOP)


def test_a_snapshot_of_the_machine_that_the_disk_lacks_is_absent_but_cannot_be_made_up(root, machine):
    assert not three_runs("hdd_snapshot", root, path=machine.directory, name="Elsewhere", state="absent").done[
        "changed"
    ]
    for state in ("present", "reverted"):
        message = refused(
            "hdd_snapshot", root, code="no_such_snapshot", path=machine.directory, name="Elsewhere", state=state
        )["msg"]
        assert machine.directory in message and "Elsewhere" in message
    assert three_runs("hdd_snapshot", root, path=machine.directory, guid=guid_of(8)).done["snapshot"]["vm_snapshot"]


def test_the_files_of_the_machine_are_never_touched(root, machine):
    files = [f"{root}/a.pvm/config.pvs", f"{root}/a.pvm/Snapshots.xml"]
    before = [tree(file) for file in files]
    succeed("hdd_snapshot", path=machine.directory, guid=FOUR, state="reverted")
    succeed("hdd_snapshot", path=machine.directory, guid=THREE, state="absent", force=True)
    assert [tree(file) for file in files] == before
