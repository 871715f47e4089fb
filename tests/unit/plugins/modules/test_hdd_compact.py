# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_compact, called as Ansible calls it."""

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
from ansible_collections.vdisk.parallels.tests.support.module_runner import (
    guest_of,
    refused,
    run,
    succeed,
    three_runs,
    tree,
)

MIB = 1 << 20
SECTORS = 2048 * 8
ZERO = bytes(MIB)
ENGINE = "<Engine>{00000000-0000-0000-0000-000000000000}"


def held(*numbers, seed=0):
    return {number: fill(number, MIB, seed) for number in numbers}


ONE = [Layer(TOP, clusters={0: ZERO, **held(1), 2: ZERO, **held(3, 4)})]
# Cluster 1 of the top hides data of the root, cluster 2 hides nothing.
CHAIN = line_of_layers({**held(0, 1), 5: ZERO}, {1: ZERO, 2: ZERO, **held(6)})
KINDS = {
    "one layer": ({"layers": ONE}, 2 * MIB),
    "a chain": ({"layers": CHAIN}, 2 * MIB),
    "split": ({"layers": ONE, "split": [4096, SECTORS - 4096]}, 2 * MIB),
    "version 2": ({"layers": ONE, "version": 2}, 2 * MIB),
    "on a plain root": (
        {
            "layers": [
                Layer(guid_of(1), type="Plain", clusters=held(0)),
                Layer(TOP, parent=guid_of(1), clusters={0: ZERO, 1: ZERO}),
            ]
        },
        MIB,
    ),
}


DISK = dict(size_sectors=SECTORS, layers=ONE)


def leak(path, cluster_count=3):
    """A single-file image with clusters that no entry names."""
    build_hds(path, size_sectors=SECTORS, clusters=held(0, 1, 2), gaps=range(cluster_count))


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_are_given_back_as_predicted_and_only_once(root, path, kind):
    options, gain = KINDS[kind]
    built = build_bundle(path, size_sectors=SECTORS, **options)
    before = sum(os.path.getsize(file) for file in built.files.values())
    ended = three_runs("hdd_compact", root, path=path)
    assert ended.done["changed"]
    assert ended.done["reclaimable"] == ended.done["reclaimed"] == ended.predicted["reclaimed"] == gain
    assert before - sum(os.path.getsize(file) for file in built.files.values()) == gain
    assert ended.done["by_reason"] == {"leaked": 0, "zero": gain, "equal": 0, "free_in_filesystem": None}
    assert (ended.again["reclaimable"], ended.again["reclaimed"]) == (0, 0)
    assert guest_of(path) == hashlib.sha256(built.guest(TOP)).hexdigest()


@pytest.mark.parametrize("strategy", ["in_place", "copy", "punch"])
def test_every_strategy_gives_back_what_it_predicts_for_all_reasons(root, path, strategy):
    below = {**held(0, 1), 5: ZERO}
    built = build_bundle(
        path, size_sectors=SECTORS, layers=line_of_layers(below, {0: below[0], 2: ZERO, 3: fill(3, MIB)})
    )
    with open(built.files[(0, TOP)], "ab") as stream:
        stream.write(b"\xee" * MIB)
    before = succeed("hdd_info", path=path, scan="zeros")["disks"][0]
    ended = three_runs("hdd_compact", root, path=path, strategy=strategy)
    assert ended.done["changed"] and ended.done["reclaimed"] == ended.predicted["reclaimable"] == 4 * MIB
    assert (
        ended.done["by_reason"]
        == {"leaked": MIB, "zero": 2 * MIB, "equal": MIB, "free_in_filesystem": None}
        == before["reclaimable"]
    )
    now = ended.done["disk"]
    assert before["file_size"] - now["file_size"] == (0 if strategy == "punch" else 4 * MIB)
    assert before["allocated_size"] - now["allocated_size"] >= 4 * MIB - 65536
    assert {layer["guid"]: layer["reclaimed"] for layer in ended.done["layers"]} == {TOP: 3 * MIB, guid_of(1): MIB}
    assert guest_of(path) == hashlib.sha256(built.guest(TOP)).hexdigest()


@pytest.mark.parametrize("strategy", ["in_place", "copy", "punch"])
def test_zeros_of_a_plain_disk_become_holes_with_any_strategy(root, path, strategy):
    built = build_bundle(
        path, size_sectors=SECTORS, layers=[Layer(TOP, type="Plain", clusters={**held(0), 1: ZERO, 2: ZERO})]
    )
    ended = three_runs("hdd_compact", root, path=path, strategy=strategy)
    assert ended.done["reclaimed"] == ended.predicted["reclaimed"] == 2 * MIB
    assert os.stat(built.files[(0, TOP)]).st_blocks * 512 < 2 * MIB
    assert guest_of(path) == hashlib.sha256(built.guest(TOP)).hexdigest()


@pytest.mark.parametrize("scan", ["metadata", "zeros"])
def test_ploop_gets_no_holes(root, path, scan):
    build_bundle(path, size_sectors=SECTORS, layers=ONE, style="ploop")
    assert "in_place" in refused("hdd_compact", root, code="unsupported", path=path, strategy="punch", scan=scan)["msg"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_returned_is_documented(path, kind):
    build_bundle(path, size_sectors=SECTORS, **KINDS[kind][0])
    for options in ({"scan": "metadata"}, {"strategy": "punch"}, {"strategy": "copy"}, {}):
        for check in (True, False):
            module_docs.assert_documented("hdd_compact", succeed("hdd_compact", check=check, path=path, **options))


def test_each_layer_tells_its_share(root, path):
    build_bundle(path, size_sectors=SECTORS, layers=CHAIN)
    layers = {layer["guid"]: layer for layer in succeed("hdd_compact", path=path)["layers"]}
    assert {guid: layer["reclaimed"] for guid, layer in layers.items()} == {TOP: MIB, guid_of(1): MIB}
    assert layers[TOP]["file"] == f"a.hdd.0.{TOP}.hds"


def test_the_view_of_a_snapshot_stays_the_same(root, path):
    built = build_bundle(path, size_sectors=SECTORS, layers=CHAIN)
    three_runs("hdd_compact", root, path=path)
    succeed("hdd_convert", src=path, dest=f"{root}/one.raw", snapshot=guid_of(1))
    with open(f"{root}/one.raw", "rb") as stream:
        assert stream.read() == built.guest(guid_of(1))


def test_the_tables_alone_do_not_tell_of_zeros(root, built, path):
    ended = three_runs("hdd_compact", root, path=path, scan="metadata")
    assert not ended.done["changed"] and ended.done["by_reason"]["zero"] is None and ended.done["bytes_read"] == 0


@pytest.mark.parametrize("scan", ["metadata", "zeros"])
def test_leaked_clusters_go_with_any_scan(root, scan):
    path = f"{root}/single.hds"
    leak(path)
    before = guest_of(path)
    ended = three_runs("hdd_compact", root, path=path, scan=scan)
    assert ended.done["reclaimed"] == 3 * MIB and ended.done["by_reason"]["leaked"] == 3 * MIB
    assert ended.done["disk"]["reclaimable"]["leaked"] == 0
    assert ended.done["bytes_written"] == 3 * MIB
    assert guest_of(path) == before and os.listdir(root) == ["single.hds"]


@pytest.mark.parametrize(
    ("threshold", "changed"), [("3M", False), ("2097153", False), ("2M", True), ("1K", True), ("0", True), (None, True)]
)
def test_below_the_threshold_nothing_happens(root, built, path, threshold, changed):
    ended = three_runs("hdd_compact", root, path=path, threshold=threshold)
    assert ended.done["changed"] == changed
    assert ended.done["reclaimable"] == 2 * MIB or changed
    assert ended.done["reclaimed"] == (2 * MIB if changed else 0)


def test_the_diff_shows_what_the_files_lose(built, path):
    diff = succeed("hdd_compact", check=True, path=path)["diff"]
    assert diff["before"]["file_size"] - diff["after"]["file_size"] == 2 * MIB
    assert diff["before"]["used_size"] - diff["after"]["used_size"] == 2 * MIB
    assert set(diff["after"]) == {"file_size", "used_size"}


def test_a_plain_disk_has_nothing_to_give(root, path):
    succeed("hdd", path=path, size="3M", type="plain")
    ended = three_runs("hdd_compact", root, path=path)
    assert not ended.done["changed"] and [layer["reclaimable"] for layer in ended.done["layers"]] == [0]


def test_the_clusters_of_a_preallocated_disk_stay(root, path):
    succeed("hdd", path=path, size="3M", preallocate=True)
    assert not three_runs("hdd_compact", root, path=path).done["changed"]


@pytest.mark.parametrize("threshold", ["much", "", "-1"])
def test_a_threshold_that_is_no_size_is_refused_with_advice(root, built, path, threshold):
    result = refused("hdd_compact", root, code="bad_request", path=path, threshold=threshold)
    assert "threshold: " in result["msg"] and path in result["msg"] and "Write for example" in result["msg"]


@pytest.mark.parametrize("options", [{"scan": "files"}, {"strategy": "move"}])
def test_what_is_not_built_is_not_offered(root, built, path, options):
    before = tree(root)
    assert run("hdd_compact", path=path, **options).failed
    assert tree(root) == before


def test_a_missing_disk_is_refused(root, path):
    assert path in refused("hdd_compact", root, code="not_found", path=path)["msg"]


def test_a_layer_of_a_bundle_is_no_disk_of_its_own(root, path):
    built = build_bundle(path, size_sectors=SECTORS, layers=CHAIN)
    assert (
        f"Name the bundle: {path}"
        in refused("hdd_compact", root, code="not_a_whole_disk", path=built.files[(0, TOP)])["msg"]
    )


def test_a_dirty_disk_is_changed_only_with_force(root, built, path):
    with open(built.files[(0, TOP)], "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
    assert "force: true" in refused("hdd_compact", root, code="dirty", path=path)["msg"]
    assert three_runs("hdd_compact", root, path=path, force=True).done["changed"]


def test_only_the_tables_of_an_encrypted_disk_are_looked_at(root, built, path):
    with open(built.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(built.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(ENGINE, ENGINE.replace("00000000-", "2df8d6f2-")))
    assert path in refused("hdd_compact", root, code="encrypted", path=path)["msg"]
    assert not three_runs("hdd_compact", root, path=path, scan="metadata").done["changed"]


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_a_held_disk_is_refused_in_check_mode_as_well(root, built, path):
    descriptor = os.open(built.files[(0, TOP)], os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        assert str(os.getpid()) in refused("hdd_compact", root, code="in_use", path=path, force=True)["msg"]
    finally:
        os.close(descriptor)


def test_all_disks_of_a_folder_are_compacted_in_one_task(root, built, path):
    done = three_runs("hdd_compact", root, path=root, recurse=True).done
    assert [one["path"] for one in done["disks"]] == [path] and done["disks"][0]["reclaimed"] > 0
    assert done["changed"] and done["bytes_written"] == done["disks"][0]["bytes_written"]
