# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_merge, called as Ansible calls it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import (
    guest_of,
    put,
    refused,
    run,
    succeed,
    three_runs,
    tree,
    warnings,
)

MIB = 1 << 20
SECTORS = 2048 * 8
ENGINE = "<Engine>{00000000-0000-0000-0000-000000000000}"


def held(*numbers, seed=0):
    return {number: fill(number, MIB, seed) for number in numbers}


LAYERS = line_of_layers(held(0, 1, 2, 3), held(1, 2, seed=1), held(2, 5, seed=2), held(7, seed=3))
KINDS = {
    "expanding": {"layers": LAYERS},
    "on a plain root": {"layers": [Layer(LAYERS[0].guid, type="Plain", clusters=LAYERS[0].clusters), *LAYERS[1:]]},
    "split": {"layers": LAYERS, "split": [4096, SECTORS - 4096]},
    "of ploop": {"layers": LAYERS, "style": "ploop", "version": 2},
    "with a large top": {"layers": line_of_layers(held(0), held(1), held(*range(8), seed=4))},
}


DISK = dict(size_sectors=SECTORS, layers=LAYERS)


def is_guest(path, built):
    return guest_of(path) == hashlib.sha256(built.guest(TOP)).hexdigest()


@pytest.mark.parametrize("strategy", ["auto", "in_place", "copy"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "on a plain root"])
def test_all_layers_become_one_as_predicted_and_only_once(root, path, kind, strategy):
    built = build_bundle(path, size_sectors=SECTORS, **KINDS[kind])
    ended = three_runs("hdd_merge", root, path=path, strategy=strategy)
    assert ended.done["changed"] and is_guest(path, built)
    assert ended.done["merged"] == [layer.guid for layer in built.layers[:-1]] and ended.again["merged"] == []
    assert (ended.done["layers_before"], ended.done["layers_after"]) == (len(built.layers), 1)
    assert ended.done["disk"]["snapshots"] == []


@pytest.mark.parametrize("strategy", ["auto", "in_place"])
def test_a_plain_root_takes_the_rest_in(root, path, strategy):
    built = build_bundle(path, size_sectors=SECTORS, **KINDS["on a plain root"])
    ended = three_runs("hdd_merge", root, path=path, strategy=strategy)
    assert ended.done["disk"]["type"] == "plain" and is_guest(path, built)


def test_a_plain_root_cannot_be_copied(root, path):
    build_bundle(path, size_sectors=SECTORS, **KINDS["on a plain root"])
    assert "strategy: in_place" in refused("hdd_merge", root, code="unsupported", path=path, strategy="copy")["msg"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_returned_is_documented(path, kind):
    build_bundle(path, size_sectors=SECTORS, **KINDS[kind])
    for options in ({"max_layers": 2}, {}, {}):
        for check in (True, False):
            module_docs.assert_documented("hdd_merge", succeed("hdd_merge", check=check, path=path, **options))


@pytest.mark.parametrize(("max_layers", "merged"), [(1, 3), (2, 2), (3, 1), (4, 0), (99, 0)])
def test_the_newest_layers_stay(root, built, path, max_layers, merged):
    ended = three_runs("hdd_merge", root, path=path, max_layers=max_layers)
    assert ended.done["merged"] == [layer.guid for layer in LAYERS[:merged]]
    assert ended.done["layers_after"] == 4 - merged and is_guest(path, built)


def test_the_views_of_the_snapshots_that_stay_are_the_same(root, built, path):
    three_runs("hdd_merge", root, path=path, snapshots=[guid_of(2)])
    for guid in (guid_of(1), guid_of(3)):
        succeed("hdd_convert", src=path, dest=f"{root}/{guid}.raw", snapshot=guid)
        with open(f"{root}/{guid}.raw", "rb") as stream:
            assert stream.read() == built.guest(guid)


def test_only_the_named_snapshots_go(root, built, path):
    ended = three_runs("hdd_merge", root, path=path, snapshots=[guid_of(2), guid_of(3).upper()])
    assert ended.done["merged"] == [guid_of(2), guid_of(3)] and is_guest(path, built)


def test_a_snapshot_goes_by_the_name_that_it_was_taken_with(root, path):
    succeed("hdd", path=path, size="3M")
    taken = [succeed("hdd_snapshot", path=path, name=name)["snapshot"]["guid"] for name in ("one", "two")]
    assert three_runs("hdd_merge", root, path=path, snapshots=["one"]).done["merged"] == taken[:1]


def test_snapshots_that_the_disk_does_not_have_are_passed_over_with_a_warning(root, built, path):
    ended = three_runs("hdd_merge", root, path=path, snapshots=["gone", "gone", guid_of(1)])
    assert ended.done["merged"] == [guid_of(1)]
    assert warnings(ended.done) == ["snapshots: the disk has no snapshot 'gone', so there was nothing to merge."]


def test_no_snapshots_are_nothing_to_merge(root, built, path):
    assert not three_runs("hdd_merge", root, path=path, snapshots=[]).done["changed"]


def test_a_disk_without_snapshots_is_left_alone(root, path):
    succeed("hdd", path=path, size="3M")
    assert not three_runs("hdd_merge", root, path=path).done["changed"]


def test_an_image_by_itself_is_left_alone(root):
    build_hds(f"{root}/single.hds", size_sectors=SECTORS, clusters={})
    assert not three_runs("hdd_merge", root, path=f"{root}/single.hds").done["changed"]


def test_the_diff_shows_the_layers_and_files_that_go(built, path):
    diff = succeed("hdd_merge", check=True, path=path, max_layers=2)["diff"]
    assert (diff["before"]["depth"], diff["after"]["depth"]) == (4, 2)
    assert diff["before"]["snapshots"] == [f"{guid_of(1)}", f"  {guid_of(2)}", f"    {guid_of(3)} <- current"]
    assert diff["after"]["snapshots"] == [f"{guid_of(3)} <- current"]
    assert set(diff["after"]["files"]) < set(diff["before"]["files"])


def test_each_cluster_is_moved_at_most_once(root, built, path):
    ended = three_runs("hdd_merge", root, path=path)
    assert ended.done["bytes_written"] <= 4 * MIB
    assert ended.done["freed"] > 0


@pytest.mark.parametrize("max_layers", [0, -1])
def test_a_disk_has_at_least_one_layer(root, built, path, max_layers):
    result = refused("hdd_merge", root, code="bad_request", path=path, max_layers=max_layers)
    assert "max_layers: " in result["msg"] and path in result["msg"] and "1 or more" in result["msg"]


@pytest.mark.parametrize("options", [{"max_layers": "few"}, {"strategy": "up"}])
def test_options_that_do_not_fit_fail_before_anything_is_done(root, built, path, options):
    before = tree(root)
    assert run("hdd_merge", path=path, **options).failed
    assert tree(root) == before


def test_where_branches_part_nothing_is_merged(root, path):
    layers = [
        Layer(guid_of(1), clusters=held(0)),
        Layer(guid_of(2), parent=guid_of(1), clusters=held(1)),
        Layer(TOP, parent=guid_of(1)),
    ]
    build_bundle(path, size_sectors=SECTORS, layers=layers)
    message = refused("hdd_merge", root, code="has_snapshots", path=path)["msg"]
    assert guid_of(1) in message and "snapshots" in message


def test_branches_that_are_not_current_may_be_discarded(root, path):
    layers = [
        Layer(guid_of(1), clusters=held(0)),
        Layer(guid_of(2), parent=guid_of(1), clusters=held(1)),
        Layer(TOP, parent=guid_of(1), clusters=held(2)),
    ]
    built = build_bundle(path, size_sectors=SECTORS, layers=layers)
    ended = three_runs("hdd_merge", root, path=path, branches="discard")
    assert set(ended.done["merged"]) == {guid_of(1), guid_of(2)} and is_guest(path, built)
    assert ended.done["disk"]["snapshots"] == [] and len(ended.done["diff"]["after"]["files"]) == 1


def test_layers_that_the_machine_has_forgotten_are_merged(root):
    path = f"{root}/a.pvm/a.hdd"
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=8, snapshots={guid_of(2): "kept"})
    built = build_bundle(path, size_sectors=SECTORS, layers=LAYERS)
    ended = three_runs("hdd_merge", root, path=path, orphans=True)
    assert ended.done["merged"] == [guid_of(1), guid_of(3)] and is_guest(path, built)


def test_a_snapshot_of_the_machine_goes_only_with_force(root):
    path = f"{root}/a.pvm/a.hdd"
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=8, snapshots={guid_of(2): "kept"})
    build_bundle(path, size_sectors=SECTORS, layers=LAYERS)
    message = refused("hdd_merge", root, code="has_snapshots", path=path)["msg"]
    assert guid_of(2) in message and "force: true" in message
    assert three_runs("hdd_merge", root, path=path, snapshots=[guid_of(1), guid_of(3)]).done["layers_after"] == 2
    assert three_runs("hdd_merge", root, path=path, force=True).done["merged"] == [guid_of(2)]


def test_a_missing_disk_is_refused(root, path):
    assert path in refused("hdd_merge", root, code="not_found", path=path)["msg"]


def test_a_layer_of_a_bundle_is_no_disk_of_its_own(root, built, path):
    assert (
        f"Name the bundle: {path}"
        in refused("hdd_merge", root, code="not_a_whole_disk", path=built.files[(0, TOP)])["msg"]
    )


def test_a_missing_image_is_named(root, built, path):
    os.unlink(built.files[(0, guid_of(2))])
    result = refused("hdd_merge", root, code="missing_image", path=path)
    assert built.files[(0, guid_of(2))] in result["msg"] and "backup" in result["msg"]


def test_a_dirty_disk_is_changed_only_with_force(root, built, path):
    with open(built.files[(0, TOP)], "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
    assert "force: true" in refused("hdd_merge", root, code="dirty", path=path)["msg"]
    assert three_runs("hdd_merge", root, path=path, force=True).done["changed"]
    assert is_guest(path, built)


def test_an_encrypted_disk_is_not_merged(root, built, path):
    with open(built.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(built.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(ENGINE, ENGINE.replace("00000000-", "2df8d6f2-")))
    assert path in refused("hdd_merge", root, code="encrypted", path=path)["msg"]


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_a_held_disk_is_refused_in_check_mode_as_well(root, built, path):
    descriptor = os.open(built.files[(0, guid_of(1))], os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        assert str(os.getpid()) in refused("hdd_merge", root, code="in_use", path=path, force=True)["msg"]
    finally:
        os.close(descriptor)


def test_all_disks_of_a_folder_are_merged_in_one_task_and_one_that_is_broken_stays_alone(root, path):
    built = build_bundle(path, **DISK)
    other = build_bundle(f"{root}/other.hdd", **DISK)
    ended = three_runs("hdd_merge", root, paths=[root], max_layers=2)
    assert [(one["path"], one["layers_after"]) for one in ended.done["disks"]] == [(path, 2), (other.directory, 2)]
    assert ended.done["failed_disks"] == [] and len(ended.done["diff"]) == len(ended.done["commits"]) == 2
    put(os.path.join(other.directory, "DiskDescriptor.xml"), b"<broken")
    failed = run("hdd_merge", path=root, recurse=True)
    assert failed.failed and failed.result["error_code"] == "damaged"
    assert [one["path"] for one in failed.result["failed_disks"]] == [other.directory]
    assert [one["layers_after"] for one in failed.result["disks"]] == [1] and is_guest(path, built)


def test_one_disk_and_many_disks_exclude_each_other(root, path):
    assert run("hdd_merge", path=path, paths=[path]).failed and run("hdd_merge").failed
