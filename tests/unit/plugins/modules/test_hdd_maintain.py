# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_maintain, called as Ansible calls it."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import shutil
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._io.host.file import OsFile
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks, module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.farm import MIB, TWO, break_down, by_path, clone_of, machine
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import (
    content,
    guest_of,
    put,
    refused,
    run,
    succeed,
    tree,
    warnings,
)

POLICY = dict(recurse=True, max_layers=1)


def figures(result):
    """What a prediction must hit, of disks that are not compacted after a merge."""
    keys = ("path", "outcome", "merged", "freed", "reclaimed", "written", "before", "after")
    told = [{key: one[key] for key in keys} for one in result["disks"]]
    return [{**one, "after": {**(one["after"] or {}), "allocated_size": None}} for one in told]


def test_all_disks_are_checked_merged_and_compacted_as_predicted_and_only_once(root):
    paths = [machine(f"{root}/vms/{name}.pvm").directory for name in "abc"]
    guests = [guest_of(path) for path in paths]
    before = tree(root)
    predicted = succeed("hdd_maintain", check=True, paths=[root], compact=False, **POLICY)
    assert tree(root) == before
    done = succeed("hdd_maintain", paths=[root], compact=False, **POLICY)
    assert figures(predicted) == figures(done) and by_path(done) == dict.fromkeys(paths, "changed")
    assert predicted["totals"] == done["totals"] and done["totals"]["merged"] == 9
    assert list(done["diff"]["before"]) == list(done["diff"]["after"]) == paths
    after = tree(root)
    predicted = succeed("hdd_maintain", check=True, paths=[root], **POLICY)
    assert tree(root) == after
    done = succeed("hdd_maintain", paths=[root], **POLICY)
    assert figures(predicted) == figures(done) and by_path(done, "reclaimed") == dict.fromkeys(paths, MIB)
    after = tree(root)
    again = succeed("hdd_maintain", paths=[root], **POLICY)
    assert not again["changed"] and by_path(again) == dict.fromkeys(paths, "unchanged") and tree(root) == after
    assert [guest_of(path) for path in paths] == guests
    for result in (predicted, done, again):
        module_docs.assert_documented("hdd_maintain", result)


def test_merge_and_compaction_of_a_disk_are_one_visit_as_predicted(root):
    path = machine(f"{root}/a.pvm").directory
    before = tree(root)
    predicted = succeed("hdd_maintain", check=True, paths=[root], **POLICY)
    assert tree(root) == before
    result = succeed("hdd_maintain", paths=[root], **POLICY)
    assert figures(predicted) == figures(result) and predicted["totals"] == result["totals"]
    (done,) = result["disks"]
    assert (len(done["merged"]), done["reclaimed"], done["reason"]) == (3, MIB, None)
    assert done["before"]["layers"] == 4 and done["after"]["layers"] == 1
    assert done["after"]["file_size"] == os.path.getsize(next(e.path for e in os.scandir(path) if e.name.endswith("s")))
    assert done["machine"]["path"] == f"{root}/a.pvm"


@pytest.mark.parametrize("scan", ["metadata", "zeros"])
@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_what_compaction_gives_back_after_a_merge_is_predicted(root, seed, most, scan):
    chance = random.Random(seed)
    held = [
        {n: bytes(MIB) if chance.random() < 0.4 else fill(n, MIB, depth) for n in chance.sample(range(8), 4)}
        for depth in range(4)
    ]
    build_bundle(f"{root}/a.hdd", size_sectors=8 * 2048, layers=line_of_layers(*held))
    guest = guest_of(f"{root}/a.hdd")
    options = dict(paths=[root], recurse=True, max_layers=most, scan=scan)
    before = tree(root)
    predicted = succeed("hdd_maintain", check=True, **options)
    assert tree(root) == before
    done = succeed("hdd_maintain", **options)
    assert figures(predicted) == figures(done) and guest_of(f"{root}/a.hdd") == guest
    assert scan == "metadata" or seed or done["totals"]["reclaimed"], "nothing was compacted"
    assert not succeed("hdd_maintain", **options)["changed"]


def cut_off(root, call):
    """Let a run in a process of its own end at its ``call``-th write, as by a power failure; whether it came so far."""
    child = os.fork()
    if child == 0:
        count = itertools.count(1)

        def dying(method):
            def called(*arguments, **others):
                if next(count) == call:
                    os._exit(9)
                return method(*arguments, **others)

            return called

        for kind, names in ((OsFile, ("pwrite", "truncate", "sync")), (OsPort, ("create", "rename", "remove"))):
            for name in names:
                setattr(kind, name, dying(getattr(kind, name)))
        try:
            succeed("hdd_maintain", paths=[root], record=f"{root}/record", **POLICY)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitpid(child, 0)[1] >> 8
    assert code in (0, 9), code
    return code == 9


def test_a_run_that_is_cut_off_anywhere_is_told_by_the_next_one_which_goes_on(root):
    built = [machine(f"{root}/model/{name}.pvm").directory for name in "ab"]
    guests = [guest_of(path) for path in built]
    told = set()
    for call in itertools.count(1, 4):
        assert call < 1000
        place = f"{root}/{call}"
        shutil.copytree(f"{root}/model", place)
        paths = [path.replace("/model/", f"/{call}/") for path in built]
        is_cut = cut_off(place, call)
        layers = [one["depth"] for one in succeed("hdd_info", paths=[place], recurse=True)["disks"]]
        result = succeed("hdd_maintain", paths=[place], record=f"{place}/record", **POLICY)
        assert [guest_of(path) for path in paths] == guests
        assert by_path(result, "after")[paths[1]]["layers"] == by_path(result, "after")[paths[0]]["layers"] == 1
        if not is_cut:
            assert result["earlier"] is None and not result["changed"]
            break
        earlier = result["earlier"] or {"disks": [], "cut_at": None}
        done = [one["path"] for one in earlier["disks"]]
        told.add((len(done), earlier["cut_at"] is not None))
        # It was done with what it tells, and what it had done before the disk at which it was cut off is told; unless
        # that was the very last thing that it wrote.
        assert done == paths[: len(done)] and layers[: len(done)] == [1] * len(done)
        assert layers[len(done) + 1 :] in ([], [4]) or result["earlier"] is None and layers == [1, 1]
        module_docs.assert_documented("hdd_maintain", result)
        shutil.rmtree(place)
    assert told >= {(0, True), (1, True)}


def test_disks_that_a_limit_kept_out_come_first_the_next_time(root):
    paths = [machine(f"{root}/vms/{name}.pvm").directory for name in "abc"]
    options = dict(paths=[f"{root}/vms"], record=f"{root}/home/record", max_bytes="1", compact=False, **POLICY)
    orders = []
    for _round in range(3):
        result = succeed("hdd_maintain", **options)
        assert [one["path"] for one in result["disks"]] == paths and result["earlier"] is None
        orders.append([path for path, outcome in by_path(result).items() if outcome == "changed"])
    assert orders == [[paths[0]], [paths[1]], [paths[2]]]
    assert os.stat(f"{root}/home/record").st_mode & 0o077 == 0


def test_a_prediction_writes_no_record_and_a_file_of_somebody_is_not_taken_for_one(root):
    machine(f"{root}/vms/a.pvm")
    succeed("hdd_maintain", check=True, paths=[f"{root}/vms"], record=f"{root}/record", **POLICY)
    assert not os.path.exists(f"{root}/record")
    with open(f"{root}/record", "w", encoding="utf-8") as stream:
        stream.write("my notes\n")
    refused(
        "hdd_maintain", root, code="bad_request", check=False, paths=[f"{root}/vms"], record=f"{root}/record", **POLICY
    )


def test_one_bad_disk_never_stops_the_rest_and_the_task_is_red_at_the_end(root):
    first, second = machine(f"{root}/a.pvm"), machine(f"{root}/b.pvm")
    break_down(first)
    ended = run("hdd_maintain", paths=[root, f"{root}/none"], **POLICY)
    assert ended.failed and ended.result["msg"].startswith("2 of 3 disks failed.")
    assert by_path(ended.result) == {first.directory: "failed", second.directory: "changed"}
    assert [(one["path"], one["error_code"]) for one in ended.result["missing"]] == [(f"{root}/none", "not_found")]
    assert by_path(ended.result, "error_code")[first.directory] == "unhealthy"
    calm = run("hdd_maintain", paths=[root, f"{root}/none"], fail_on="never", **POLICY)
    assert not calm.failed and sum(f"{root}/none" in text for text in warnings(calm.result)) == 1


def test_without_a_policy_no_layer_is_merged(root):
    path = machine(f"{root}/a.pvm").directory
    done = succeed("hdd_maintain", paths=[path])
    assert done["totals"]["merged"] == 0 and done["totals"]["reclaimed"] == MIB


def test_snapshots_of_the_machine_stay_and_do_not_keep_the_disk_from_being_compacted(root):
    machine(f"{root}/a.pvm", snapshots={TWO: "kept"})
    (disk,) = succeed("hdd_maintain", paths=[root], force=True, **POLICY)["disks"]
    assert (disk["outcome"], disk["merged"], disk["reclaimed"]) == ("changed", [], MIB)
    assert disk["error_code"] == "has_snapshots" and disk["after"]["layers"] == 4
    (disk,) = succeed("hdd_maintain", paths=[root], recurse=True, orphans=True)["disks"]
    assert (disk["outcome"], len(disk["merged"]), disk["after"]["layers"]) == ("changed", 2, 2)


def test_a_parent_is_left_alone_wherever_its_clone_is(root):
    parent = machine(f"{root}/templates/deep/a.pvm")
    clone = clone_of(parent, f"{root}/elsewhere/b.pvm/b.hdd")
    before = tree(root)
    result = succeed("hdd_maintain", paths=[root], allow_outside=True, exclude=["elsewhere"], **POLICY)
    assert by_path(result) == {parent.directory: "skipped", clone: "skipped"} and tree(root) == before
    told = {one["path"]: one for one in result["disks"]}
    assert told[parent.directory]["error_code"] == "shared_layer" and clone in told[parent.directory]["reason"]
    assert "excluded by elsewhere" in told[clone]["reason"]
    # Alone, nobody can know.
    assert succeed("hdd_maintain", paths=[parent.directory], **POLICY)["totals"]["changed"] == 1


def test_excluded_disks_stay_and_a_pattern_that_fits_nothing_is_told(root):
    paths = [machine(f"{root}/{name}.pvm").directory for name in ("a", "b-golden")]
    os.symlink(root, f"{root}/../link-{os.path.basename(root)}")
    link = f"{root}/../link-{os.path.basename(root)}"
    try:
        result = succeed("hdd_maintain", paths=[root], exclude=["*-golden.pvm", "*.nope", f"{link}/a.pvm"], **POLICY)
    finally:
        os.remove(link)
    assert by_path(result) == dict.fromkeys(paths, "skipped") and not result["changed"]
    assert warnings(result) == ["exclude: *.nope leaves out no disk."]


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
@pytest.mark.parametrize("check", [True, False])
def test_a_disk_that_is_in_use_is_skipped_and_its_forecast_is_for_who_would_stop_it(root, check):
    built, idle = machine(f"{root}/a.pvm"), machine(f"{root}/b.pvm")
    succeed("hdd_maintain", paths=[idle.directory], **POLICY)
    descriptors = [
        os.open(path, os.O_RDONLY) for path in (next(iter(built.files.values())), only_image(idle.directory))
    ]
    try:
        for descriptor in descriptors:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        before = tree(root)
        result = succeed("hdd_maintain", check=check, paths=[root], busy="predict", **POLICY)
        assert by_path(result) == {built.directory: "skipped", idle.directory: "skipped"}
        assert by_path(result, "worthwhile") == {built.directory: True, idle.directory: False}
        assert str(os.getpid()) in result["disks"][0]["reason"] and tree(root) == before
        plain = succeed("hdd_maintain", check=check, paths=[root], **POLICY)
        assert set(by_path(plain, "worthwhile").values()) == {None}
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def only_image(directory):
    return next(entry.path for entry in os.scandir(directory) if entry.name.endswith(".hds"))


def test_a_marked_disk_is_skipped_unless_forced(root):
    built = machine(f"{root}/a.pvm")
    disks.marked_in_use(OsPort(), built.directory)
    result = succeed("hdd_maintain", paths=[root], busy="predict", **POLICY)
    assert (by_path(result), by_path(result, "error_code")) == (
        {built.directory: "skipped"},
        {built.directory: "dirty"},
    )
    assert by_path(result, "worthwhile") == {built.directory: True}
    assert by_path(succeed("hdd_maintain", paths=[root], force=True, **POLICY)) == {built.directory: "changed"}


def test_a_limit_lets_nothing_new_begin_and_a_further_run_goes_on(root):
    paths = [machine(f"{root}/{name}.pvm").directory for name in "abc"]
    first = succeed("hdd_maintain", paths=[root], max_bytes="1K", **POLICY)
    assert by_path(first) == {paths[0]: "changed", paths[1]: "skipped", paths[2]: "skipped"}
    assert first["unfinished"] == paths and "max_bytes" in first["disks"][0]["reason"]
    assert first["disks"][0]["reclaimed"] == 0
    runs = [succeed("hdd_maintain", paths=[root], max_bytes="1K", **POLICY) for _number in range(6)]
    assert runs[-1]["unfinished"] == [] and set(by_path(runs[-1]).values()) == {"unchanged"}


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": "1 pound"},
        {"max_layers": 0},
        {"max_layers": -2},
        {"max_bytes": "0"},
        {"max_bytes": "lots"},
        {"max_duration": -1},
        {"paths": [""]},
    ],
)
def test_a_mistake_in_the_options_is_red_at_once(root, options):
    machine(f"{root}/a.pvm")
    refused("hdd_maintain", root, code="bad_request", fail_on="never", **{"paths": [root], "recurse": True, **options})


def test_a_folder_without_disks_is_red(root):
    os.mkdir(f"{root}/empty")
    assert refused("hdd_maintain", root, code="not_a_bundle", paths=[f"{root}/empty"], recurse=True)["disks"] == []


def test_what_an_interrupted_run_left_is_cleared_and_told(root):
    built = machine(f"{root}/a.pvm")
    put(f"{built.directory}/.x.vdisk-0.tmp", b"half")
    result = succeed("hdd_maintain", paths=[root], compact=False)
    assert result["changed"] and not os.path.exists(f"{built.directory}/.x.vdisk-0.tmp")
    assert by_path(result) == {built.directory: "changed"} and result["disks"][0]["reason"] in warnings(result)
    assert content(built.descriptor) and not succeed("hdd_maintain", paths=[root], compact=False)["changed"]


def named(root, *names):
    """A machine whose snapshots were taken here, those with a name by it."""
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=8)
    path = build_bundle(f"{root}/a.pvm/a.hdd", size_sectors=8 * 2048, layers=[Layer(TOP)]).directory
    for number, name in enumerate(names, 1):
        succeed("hdd_snapshot", path=path, **({"name": name} if name else {"guid": guid_of(number)}))
    return path


def test_snapshots_with_names_count_as_layers_and_are_no_orphans(root):
    path = named(root, "before-upgrade", None, None, "last", None)
    for check in (True, False):
        (disk,) = succeed("hdd_maintain", check=check, paths=[root], max_layers=3, orphans=True)["disks"]
        assert len(disk["merged"]) == 3 and disk["after"]["layers"] == 3
    left = succeed("hdd_info", path=path)["disks"][0]["snapshots"]
    assert {one["name"] for one in left} == {"before-upgrade", "last"}
    put(f"{path}/vdisk-snapshots.json", b"{")
    (disk,) = succeed("hdd_maintain", paths=[root], max_layers=2, orphans=True)["disks"]
    assert disk["error_code"] == "has_snapshots" and disk["merged"] == []
    (disk,) = succeed("hdd_maintain", paths=[root], max_layers=2)["disks"]
    assert len(disk["merged"]) == 1 and disk["after"]["layers"] == 2


def test_a_merge_of_a_disk_tells_which_names_go(root):
    path = named(root, "before-upgrade", None, "last")
    predicted = succeed("hdd_merge", check=True, path=path, max_layers=2)
    done = succeed("hdd_merge", path=path, max_layers=2)
    for one in (predicted, done):
        assert len(one["merged"]) == 2
        assert ["before-upgrade" in text for text in warnings(one)] == [True]
    # Who names it knows it.
    assert warnings(succeed("hdd_merge", path=path, snapshots=["last"])) == []


def test_names_of_snapshots_are_told_whether_they_stay_or_go(root):
    path = f"{root}/a.hdd"
    succeed("hdd", path=path, size="8M")
    for name in ("first", "second"):
        succeed("hdd_snapshot", path=path, name=name, description=f"the {name}")
    snapshots = succeed("hdd_info", path=path)["disks"][0]["snapshots"]
    guids = [one["guid"] for one in sorted(snapshots, key=lambda one: one["depth"])]

    def told(**options):
        foretold = succeed("hdd_maintain", check=True, paths=[path], **options)
        (disk,) = succeed("hdd_maintain", paths=[path], **options)["disks"]
        assert foretold["disks"][0]["snapshots"] == disk["snapshots"]
        return {one["name"]: (one["guid"], one["description"], one["merged"]) for one in disk["snapshots"]}

    kept = {"first": (guids[0], "the first", False), "second": (guids[1], "the second", False)}
    assert told(orphans=True) == kept
    assert told(max_layers=2)["first"] == (guids[0], "the first", True)
    assert told() == {"second": kept["second"]}
