# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_snapshot, called as Ansible calls it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import (
    guest_of,
    refused,
    run,
    succeed,
    three_runs,
    tree,
)

MIB = 1 << 20
SECTORS = 2048 * 4
GUID = "{a1b2c3d4-0000-4000-8000-000000000001}"
KINDS = {
    "expanding": {"layers": [Layer(TOP, clusters={0: fill(0, MIB)})]},
    "plain": {"layers": [Layer(TOP, type="Plain", clusters={0: fill(0, MIB)})]},
    "split": {"layers": [Layer(TOP, clusters={0: fill(0, MIB), 3: fill(3, MIB)})], "split": [4096, 4096]},
    "version 2 of ploop": {"layers": [Layer(TOP, clusters={1: fill(1, MIB)})], "style": "ploop", "version": 2},
    "a chain": {"layers": line_of_layers({0: fill(0, MIB)}, {1: fill(1, MIB)})},
}


DISK = dict(size_sectors=SECTORS, **KINDS["expanding"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", [{"name": "before"}, {"guid": GUID}])
def test_a_snapshot_is_taken_as_predicted_and_only_once(root, path, kind, wanted):
    built = build_bundle(path, size_sectors=SECTORS, **KINDS[kind])
    ended = three_runs("hdd_snapshot", root, path=path, **wanted)
    assert ended.done["changed"]
    assert ended.done["snapshot"]["current"] and ended.done["snapshot"]["name"] == wanted.get("name")
    assert ended.done["disk"]["depth"] == ended.done["snapshot"]["depth"] + 1
    assert (ended.done["bytes_read"], ended.done["bytes_written"]) == (0, 0)
    assert guest_of(path) == hashlib.sha256(built.guest(TOP)).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_returned_is_documented(path, kind):
    build_bundle(path, size_sectors=SECTORS, **KINDS[kind])
    for check in (True, False, False, True):
        module_docs.assert_documented("hdd_snapshot", succeed("hdd_snapshot", check=check, path=path, name="before"))


def test_frozen_files_are_not_touched(root, built, path):
    before = tree(built.files[(0, TOP)])
    succeed("hdd_snapshot", path=path, name="before")
    assert tree(built.files[(0, TOP)]) == before


def test_the_diff_shows_the_tree_and_the_new_file(built, path):
    result = succeed("hdd_snapshot", check=True, path=path, guid=GUID)
    assert result["diff"]["before"]["snapshots"] == [] and result["diff"]["after"]["snapshots"] == [
        f"{GUID} <- current"
    ]
    assert (result["diff"]["before"]["depth"], result["diff"]["after"]["depth"]) == (1, 2)
    assert len(result["diff"]["after"]["files"]) == len(result["diff"]["before"]["files"]) + 1
    assert result["diff"]["after_header"] == f"{path} (disk)"


def test_a_name_means_the_same_snapshot_each_time_and_other_names_others(root, built, path):
    first = succeed("hdd_snapshot", path=path, name="one")["snapshot"]
    second = succeed("hdd_snapshot", path=path, name="two")["snapshot"]
    assert second["parent"] == first["guid"] != second["guid"]
    again = three_runs("hdd_snapshot", root, path=path, name="one").done
    assert not again["changed"] and not again["snapshot"]["current"]
    assert again["snapshot"]["guid"] == first["guid"] and again["snapshot"]["children"] == [second["guid"]]


@pytest.mark.parametrize("spelling", [GUID, GUID.upper(), GUID.strip("{}"), GUID.strip("{}").upper()])
def test_a_guid_may_be_spelled_in_many_ways(built, path, spelling):
    succeed("hdd_snapshot", path=path, guid=GUID)
    for option in ("guid", "name"):
        result = succeed("hdd_snapshot", path=path, **{option: spelling})
        assert not result["changed"] and result["snapshot"]["guid"] == GUID


def test_a_snapshot_of_the_machine_is_meant_by_its_name(root):
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=4, snapshots={guid_of(1): "Before the upgrade"})
    build_bundle(f"{root}/a.pvm/a.hdd", size_sectors=SECTORS, layers=line_of_layers({}, {}))
    result = three_runs("hdd_snapshot", root, path=f"{root}/a.pvm/a.hdd", name="Before the upgrade").done
    assert not result["changed"]
    assert result["snapshot"]["guid"] == guid_of(1) and result["snapshot"]["vm_snapshot"]


def test_a_name_that_several_snapshots_of_the_machine_have_is_refused(root):
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=4, snapshots={guid_of(1): "same", guid_of(2): "same"})
    build_bundle(f"{root}/a.pvm/a.hdd", size_sectors=SECTORS, layers=line_of_layers({}, {}, {}))
    message = refused("hdd_snapshot", root, code="no_such_snapshot", path=f"{root}/a.pvm/a.hdd", name="same")["msg"]
    assert guid_of(1) in message and guid_of(2) in message and "Give the GUID" in message


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"name": ""}, "name: "),
        ({"name": " "}, "name: "),
        ({"guid": "before"}, "Use the option name"),
        ({"guid": ""}, "Use the option name"),
        ({"guid": TOP}, "Choose another GUID"),
        ({"guid": "00000000-0000-0000-0000-000000000000"}, "Choose another GUID"),
    ],
)
def test_what_can_be_no_snapshot_is_refused_with_advice(root, built, path, wanted, words):
    result = refused("hdd_snapshot", root, code="bad_request", path=path, **wanted)
    assert words in result["msg"] and path in result["msg"]


@pytest.mark.parametrize(
    "options", [{}, {"name": "a", "guid": GUID}, {"name": "a", "state": "gone"}, {"name": "a", "descendants": "some"}]
)
def test_options_that_do_not_fit_fail_before_anything_is_done(root, built, path, options):
    before = tree(root)
    assert run("hdd_snapshot", path=path, **options).failed
    assert tree(root) == before


def test_a_missing_disk_is_refused(root, path):
    assert path in refused("hdd_snapshot", root, code="not_found", path=path, name="a")["msg"]


def test_an_image_by_itself_has_no_snapshots(root):
    build_hds(f"{root}/single.hds", size_sectors=SECTORS, clusters={})
    assert (
        "hdd_convert" in refused("hdd_snapshot", root, code="unsupported", path=f"{root}/single.hds", name="a")["msg"]
    )


def test_a_layer_of_a_bundle_is_no_disk_of_its_own(root, built, path):
    assert (
        f"Name the bundle: {path}"
        in refused("hdd_snapshot", root, code="not_a_whole_disk", path=built.files[(0, TOP)], name="a")["msg"]
    )


def test_a_file_in_the_way_is_passed_over(root, built, path):
    new = succeed("hdd_snapshot", check=True, path=path, name="a")["disk"]["layers"][0]["files"][0]["path"]
    open(new, "wb").close()
    before = tree(new)
    ended = three_runs("hdd_snapshot", root, path=path, name="a")
    assert ended.done["disk"]["layers"][0]["files"][0]["path"] != new and tree(new) == before


def write_into_the_top(path, **clusters):
    """What a guest would do: a new top with other clusters in the place of the empty one."""
    top = succeed("hdd_info", path=path)["disks"][0]["layers"][0]["files"][0]["path"]
    os.unlink(top)
    build_hds(top, size_sectors=SECTORS, clusters={int(number[1:]): data for number, data in clusters.items()})


@pytest.mark.parametrize("wanted", [{"name": "before"}, {"guid": GUID}])
def test_a_disk_goes_back_to_a_snapshot_as_predicted_and_only_once(root, built, path, wanted):
    succeed("hdd_snapshot", path=path, **wanted)
    write_into_the_top(path, c0=fill(0, MIB, 9), c2=fill(2, MIB, 9))
    ended = three_runs("hdd_snapshot", root, path=path, state="reverted", **wanted)
    assert ended.done["changed"] and ended.done["snapshot"]["current"]
    assert guest_of(path) == hashlib.sha256(built.guest(TOP)).hexdigest()


def test_going_back_further_keeps_the_snapshots_in_between(root, path):
    built = build_bundle(
        path, size_sectors=SECTORS, layers=line_of_layers({0: fill(0, MIB)}, {1: fill(1, MIB)}, {2: fill(2, MIB)})
    )
    ended = three_runs("hdd_snapshot", root, path=path, state="reverted", guid=guid_of(1))
    assert ended.done["diff"]["after"]["snapshots"] == [f"{guid_of(1)} <- current", f"  {guid_of(2)}"]
    assert guest_of(path) == hashlib.sha256(built.guest(guid_of(1))).hexdigest()


def test_there_is_no_way_back_to_a_snapshot_that_never_was(root, path):
    build_bundle(path, size_sectors=SECTORS, layers=line_of_layers({}, {}))
    result = refused("hdd_snapshot", root, code="no_such_snapshot", path=path, name="before", state="reverted")
    assert guid_of(1) in result["msg"] and path in result["msg"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_snapshot_goes_as_predicted_and_its_data_stay(root, path, number):
    layers = line_of_layers({0: fill(0, MIB)}, {1: fill(1, MIB)}, {0: fill(0, MIB, 2)}, {3: fill(3, MIB)})
    built = build_bundle(path, size_sectors=SECTORS, layers=layers)
    ended = three_runs("hdd_snapshot", root, path=path, state="absent", guid=guid_of(number))
    assert ended.done["changed"] and ended.done["snapshot"]["guid"] == guid_of(number)
    assert [snapshot["guid"] for snapshot in ended.done["disk"]["snapshots"]] == [
        guid_of(other) for other in (1, 2, 3) if other != number
    ]
    assert guest_of(path) == hashlib.sha256(built.guest(TOP)).hexdigest()
    for other in {1, 2, 3} - {number}:
        succeed("hdd_convert", src=path, dest=f"{root}/{other}.raw", snapshot=guid_of(other))
        with open(f"{root}/{other}.raw", "rb") as stream:
            assert stream.read() == built.guest(guid_of(other))


@pytest.mark.parametrize("wanted", [{"name": "never"}, {"guid": GUID}])
def test_a_snapshot_that_never_was_is_absent(root, built, path, wanted):
    assert not three_runs("hdd_snapshot", root, path=path, state="absent", **wanted).done["changed"]


def branch(path):
    """A root with two branches; the current state is on the first."""
    layers = [
        Layer(guid_of(1), clusters={0: fill(0, MIB)}),
        Layer(guid_of(2), parent=guid_of(1), clusters={1: fill(1, MIB)}),
    ]
    layers += [
        Layer(guid_of(3), parent=guid_of(1), clusters={2: fill(2, MIB)}),
        Layer(TOP, parent=guid_of(2), clusters={3: fill(3, MIB)}),
    ]
    return build_bundle(path, size_sectors=SECTORS, layers=layers)


def test_what_is_above_a_snapshot_keeps_its_data_goes_or_forbids(root, path):
    built = branch(path)
    refused(
        "hdd_snapshot", root, code="has_snapshots", path=path, state="absent", guid=guid_of(1), descendants="refuse"
    )
    refused(
        "hdd_snapshot", root, code="has_snapshots", path=path, state="absent", guid=guid_of(2), descendants="delete"
    )
    for force in (False, True):
        options = {"path": path, "state": "absent", "guid": guid_of(1), "force": force}
        assert "fall into" in refused("hdd_snapshot", root, code="has_snapshots", **options)["msg"]
    gone = three_runs("hdd_snapshot", root, path=path, state="absent", guid=guid_of(3), descendants="delete").done
    assert {snapshot["guid"] for snapshot in gone["disk"]["snapshots"]} == {guid_of(1), guid_of(2)}
    kept = three_runs("hdd_snapshot", root, path=path, state="absent", guid=guid_of(1)).done
    assert [snapshot["guid"] for snapshot in kept["disk"]["snapshots"]] == [guid_of(2)]
    assert guest_of(path) == hashlib.sha256(built.guest(TOP)).hexdigest()


def test_a_snapshot_of_the_machine_goes_only_with_force(root):
    path = f"{root}/a.pvm/a.hdd"
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=4, snapshots={guid_of(1): "kept"})
    build_bundle(path, size_sectors=SECTORS, layers=line_of_layers({0: fill(0, MIB)}, {}))
    message = refused("hdd_snapshot", root, code="has_snapshots", path=path, state="absent", name="kept")["msg"]
    assert guid_of(1) in message and "force: true" in message
    assert three_runs("hdd_snapshot", root, path=path, state="absent", guid=guid_of(1), force=True).done["changed"]


@pytest.mark.parametrize("state", ["reverted", "absent"])
def test_what_the_other_states_return_is_documented(path, state):
    branch(path)
    for options in ({"guid": guid_of(3)}, {"guid": guid_of(1)}):
        for check in (True, False, False, True):
            module_docs.assert_documented(
                "hdd_snapshot", succeed("hdd_snapshot", check=check, path=path, state=state, **options)
            )


def test_an_image_by_itself_has_nothing_to_go_back_to(root):
    build_hds(f"{root}/single.hds", size_sectors=SECTORS, clusters={})
    refused("hdd_snapshot", root, code="no_such_snapshot", path=f"{root}/single.hds", name="a", state="reverted")
    assert not three_runs("hdd_snapshot", root, path=f"{root}/single.hds", name="a", state="absent").done["changed"]


def test_a_dirty_disk_is_changed_only_with_force(root, built, path):
    with open(built.files[(0, TOP)], "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
    assert "force: true" in refused("hdd_snapshot", root, code="dirty", path=path, name="a")["msg"]
    assert three_runs("hdd_snapshot", root, path=path, name="a", force=True).done["changed"]


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_a_held_disk_is_refused_in_check_mode_as_well(root, built, path):
    descriptor = os.open(built.files[(0, TOP)], os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        assert str(os.getpid()) in refused("hdd_snapshot", root, code="in_use", path=path, name="a", force=True)["msg"]
    finally:
        os.close(descriptor)


def test_a_chain_has_an_end(root, path):
    build_bundle(path, size_sectors=SECTORS, layers=line_of_layers(*({} for _layer in range(128))))
    assert "hdd_merge" in refused("hdd_snapshot", root, code="unsupported", path=path, name="one too many")["msg"]


def names_in(path):
    with open(f"{path}/vdisk-snapshots.json", encoding="utf-8") as stream:
        return json.load(stream)["snapshots"]


def test_a_name_its_time_and_what_it_is_for_are_kept(built, path):
    root = os.path.dirname(path)
    done = three_runs("hdd_snapshot", root, path=path, name="before", description="the way back").done
    guid = done["snapshot"]["guid"]
    assert (done["snapshot"]["name"], done["snapshot"]["description"]) == ("before", "the way back")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", done["snapshot"]["taken"])
    assert names_in(path) == {
        guid: {"name": "before", "taken": done["snapshot"]["taken"], "description": "the way back"}
    }
    (shown,) = succeed("hdd_info", path=path)["disks"]
    assert shown["snapshots"][0]["name"] == "before" and shown["snapshots"][0]["taken"] and not shown["orphan_files"]
    three_runs("hdd_snapshot", root, path=path, name="before", description="another")
    assert names_in(path)[guid]["description"] == "another"
    three_runs("hdd_snapshot", root, path=path, name="before", state="reverted")
    gone = three_runs("hdd_snapshot", root, path=path, name="before", state="absent").done
    assert gone["snapshot"]["name"] == "before" and not os.path.exists(f"{path}/vdisk-snapshots.json")


def test_without_its_file_only_the_name_is_lost(built, path):
    guid = succeed("hdd_snapshot", path=path, name="before")["snapshot"]["guid"]
    os.unlink(f"{path}/vdisk-snapshots.json")
    again = three_runs("hdd_snapshot", os.path.dirname(path), path=path, name="before").done
    assert (
        again["snapshot"]["guid"] == guid and again["disk"]["depth"] == 2 and names_in(path)[guid]["name"] == "before"
    )
    with open(f"{path}/vdisk-snapshots.json", "w", encoding="utf-8") as stream:
        stream.write("{")
    found = succeed("hdd_snapshot", path=path, name="before", state="reverted")
    assert found["snapshot"]["guid"] == guid and not found["changed"]
    assert any("names of snapshots cannot be read" in text for text in found["disk"]["warnings"])


@pytest.mark.parametrize("kind", ["cut", "newer", "folder"])
def test_names_that_cannot_be_read_are_not_overwritten_and_stop_nothing_halfway(built, path, kind):
    succeed("hdd_snapshot", path=path, name="before")
    names = f"{path}/vdisk-snapshots.json"
    os.unlink(names)
    if kind == "folder":
        os.mkdir(names)
    else:
        with open(names, "w", encoding="utf-8") as stream:
            stream.write('{"version": 2, "snapshots": {}}' if kind == "newer" else "{")
    message = refused("hdd_snapshot", os.path.dirname(path), code="damaged", path=path, name="after")["msg"]
    assert names in message and "Restore the file" in message
    refused("hdd_merge", os.path.dirname(path), code="has_snapshots", path=path, orphans=True)


def test_a_snapshot_by_its_guid_has_a_description_and_no_name(built, path):
    done = three_runs("hdd_snapshot", os.path.dirname(path), path=path, guid=GUID, description="mine").done
    assert done["snapshot"]["name"] is None and names_in(path)[GUID]["description"] == "mine"
    refused(
        "hdd_snapshot", os.path.dirname(path), code="bad_request", path=path, guid=GUID, description="x", state="absent"
    )


def test_a_snapshot_with_a_name_is_no_orphan(built, path):
    succeed("hdd_snapshot", path=path, name="way back")
    succeed("hdd_snapshot", path=path, guid=GUID)
    done = succeed("hdd_merge", path=path, orphans=True)
    assert done["merged"] == [GUID] and [one["name"] for one in done["disk"]["snapshots"]] == ["way back"]
    assert not succeed("hdd_merge", path=path, orphans=True)["changed"]


def test_descriptions_that_outgrow_their_file_are_refused_before_anything_is_written(root):
    """Each is within its own limit; together they would no longer be read, and every name would be lost."""
    path = build_bundle(f"{root}/long.hdd", size_sectors=64, cluster_sectors=8, layers=[Layer(TOP)]).directory
    text = "\U0001f4be" * 10000
    for number in range(40):
        predicted = run("hdd_snapshot", check=True, path=path, name=f"s{number}", description=text)
        if predicted.failed:
            break
        succeed("hdd_snapshot", path=path, name=f"s{number}", description=text)
    assert 20 < number < 30
    ended = refused("hdd_snapshot", root, code="bad_request", path=path, name=f"s{number}", description=text)
    assert "shorter description" in ended["msg"]
    assert len(names_in(path)) == number and os.path.getsize(f"{path}/vdisk-snapshots.json") <= 1 << 20
    # What does not lengthen it is possible.
    assert succeed("hdd_snapshot", path=path, name="s0", description="short")["changed"]
    assert succeed("hdd_snapshot", path=path, name=f"s{number}", description=text)["changed"]
