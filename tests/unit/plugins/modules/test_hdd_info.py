# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_info, called as Ansible calls it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    TOP,
    UID,
    Layer,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.machines import UUID, make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, run, succeed, tree

MIB = 1 << 20
SECTORS = 2048 * 4


@pytest.fixture(name="root")
def root_fixture(tmp_path):
    """A machine with a disk of two layers, a disk, a bad one, an image and other things."""
    root = str(tmp_path)
    make_machine(f"{root}/mac.pvm", size_mib=4, snapshots={guid_of(1): "before"})
    build_bundle(
        f"{root}/mac.pvm/mac.hdd",
        size_sectors=SECTORS,
        layers=line_of_layers({0: fill(0, MIB), 1: fill(1, MIB)}, {1: fill(1, MIB, 7), 3: bytes(MIB)}),
    )
    build_bundle(f"{root}/one.hdd", size_sectors=SECTORS, layers=[Layer(TOP, clusters={2: fill(2, MIB)})])
    os.mkdir(f"{root}/bad.hdd")
    with open(f"{root}/bad.hdd/DiskDescriptor.xml", "w", encoding="utf-8") as stream:
        stream.write("<Parallels_disk_image")
    os.makedirs(f"{root}/deep/er")
    build_bundle(f"{root}/deep/er/two.hdd", size_sectors=SECTORS, layers=[Layer(TOP)])
    build_hds(f"{root}/single.hds", size_sectors=SECTORS, clusters={0: fill(0, MIB)})
    open(f"{root}/notes.txt", "wb").close()
    return root


def names(disks):
    return [disk["path"].rsplit("/", 1)[-1] for disk in disks]


def test_a_bundle_is_described(root):
    (disk,) = succeed("hdd_info", path=f"{root}/mac.pvm/mac.hdd")["disks"]
    assert {
        key: disk[key]
        for key in ("name", "uid", "exists", "format", "type", "split", "format_version", "encrypted", "state", "depth")
    } == {
        "name": "mac",
        "uid": UID,
        "exists": True,
        "format": "bundle",
        "type": "expanding",
        "split": False,
        "format_version": 1,
        "encrypted": False,
        "state": "clean",
        "depth": 2,
    }
    assert (disk["virtual_size"], disk["file_size"], disk["used_size"], disk["cluster_size"]) == (
        4 * MIB,
        6 * MIB,
        4 * MIB,
        MIB,
    )
    assert [layer["guid"] for layer in disk["layers"]] == [TOP, guid_of(1)]
    assert disk["geometry"] == {"cylinders": 16, "heads": 16, "sectors": 32}
    assert disk["vm"] == {
        "name": "Mac",
        "uuid": UUID,
        "config": f"{root}/mac.pvm/config.pvs",
        "os": None,
        "suspended": False,
        "disk_index": 0,
        "size_mismatch": False,
    }


def test_a_snapshot_has_the_name_that_the_machine_gives_to_it(root):
    (snapshot,) = succeed("hdd_info", path=f"{root}/mac.pvm/mac.hdd")["disks"][0]["snapshots"]
    assert snapshot == {
        "guid": guid_of(1),
        "name": "before",
        "parent": None,
        "children": [],
        "depth": 1,
        "current": True,
        "vm_snapshot": True,
        "taken": "2024-11-15 10:30:00",
        "description": None,
    }


@pytest.mark.parametrize(
    "options", [{}, {"scan": "zeros"}, {"checksum": "sha256"}, {"recurse": True}, {"allow_outside": True}, {"map": 3}]
)
@pytest.mark.parametrize("where", ["", "/one.hdd", "/mac.pvm", "/single.hds", "/nothing.hdd"])
def test_what_is_returned_is_documented(root, where, options):
    for check in (True, False):
        module_docs.assert_documented("hdd_info", succeed("hdd_info", check=check, path=root + where, **options))


@pytest.mark.parametrize("options", [{}, {"scan": "zeros", "checksum": "sha512", "recurse": True}])
def test_nothing_is_changed_by_looking(root, options):
    before = tree(root)
    result = succeed("hdd_info", path=root, **options)
    assert not result["changed"] and tree(root) == before
    assert "diff" not in result


def test_check_mode_tells_the_same(root):
    results = [
        succeed("hdd_info", check=check, path=root, recurse=True, scan="zeros", checksum="md5")
        for check in (True, False)
    ]
    assert results[0]["disks"] == results[1]["disks"] and results[0]["failed_disks"] == results[1]["failed_disks"]


def test_a_directory_stands_for_its_bundles_and_those_of_its_machines(root):
    result = succeed("hdd_info", path=root)
    assert names(result["disks"]) == ["mac.hdd", "one.hdd"]
    assert names(succeed("hdd_info", path=root, recurse=True)["disks"]) == ["two.hdd", "mac.hdd", "one.hdd"]


def test_one_bad_disk_does_not_keep_the_others_from_being_described(root):
    result = succeed("hdd_info", path=root)
    (failure,) = result["failed_disks"]
    assert failure["path"] == f"{root}/bad.hdd" and failure["error_code"] == "damaged"
    assert f"{root}/bad.hdd/DiskDescriptor.xml" in failure["msg"]
    assert failure["error_context"]["path"] == f"{root}/bad.hdd/DiskDescriptor.xml"


def test_a_single_bad_disk_fails_the_task(root):
    result = refused("hdd_info", root, code="damaged", path=f"{root}/bad.hdd")
    assert result["disks"] == [] and result["failed_disks"][0]["msg"] == result["msg"]


def test_in_a_list_a_bad_disk_is_one_of_the_failed(root):
    result = succeed("hdd_info", paths=[f"{root}/one.hdd", f"{root}/bad.hdd", f"{root}/notes.txt", f"{root}/gone.hdd"])
    assert [disk["exists"] for disk in result["disks"]] == [True, False]
    assert [failure["error_code"] for failure in result["failed_disks"]] == ["damaged", "not_a_bundle"]


def test_what_is_not_there_does_not_exist(root):
    result = succeed("hdd_info", path=f"{root}/gone.hdd")
    assert result["disks"] == [{"path": f"{root}/gone.hdd", "exists": False}]
    assert result["totals"]["disks"] == 0


def test_the_totals_are_the_sums(root):
    result = succeed("hdd_info", path=root, recurse=True)
    for key in ("virtual_size", "file_size", "allocated_size", "used_size"):
        assert result["totals"][key] == sum(disk[key] for disk in result["disks"])
    assert (result["totals"]["disks"], result["totals"]["snapshots"]) == (3, 1)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_the_checksum_is_that_of_a_raw_image_of_the_guest_disk(root, algorithm):
    guest = fill(0, MIB) + fill(1, MIB, 7) + bytes(2 * MIB)
    (disk,) = succeed("hdd_info", path=f"{root}/mac.pvm/mac.hdd", checksum=algorithm)["disks"]
    assert disk["checksum"] == hashlib.new(algorithm, guest).hexdigest()


def test_zeros_are_counted_only_when_they_are_looked_for(root):
    path = f"{root}/mac.pvm/mac.hdd"
    assert succeed("hdd_info", path=path)["disks"][0]["reclaimable"] == {
        "leaked": 0,
        "zero": None,
        "equal": None,
        "free_in_filesystem": None,
    }
    assert succeed("hdd_info", path=path, scan="zeros")["disks"][0]["reclaimable"]["zero"] == MIB


@pytest.mark.parametrize("spelling", ["{0}/", "{0}/DiskDescriptor.xml", "{0}/one.hdd", "one.hdd", "~/one.hdd"])
def test_a_disk_may_be_named_in_many_ways(root, spelling, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", root)
    assert succeed("hdd_info", path=spelling.format(f"{root}/one.hdd"))["disks"][0]["path"] == f"{root}/one.hdd"


def test_an_image_by_itself_is_a_disk(root):
    (disk,) = succeed("hdd_info", hdd=f"{root}/single.hds")["disks"]
    assert disk["format"] == "single_file" and disk["uid"] is None and disk["depth"] == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [("notes.txt", "not_a_bundle"), ("fifo", "not_a_bundle"), ("link", "not_found"), ("deep/er", "not_a_bundle")],
)
def test_what_is_no_disk_is_refused_with_advice(root, name, code):
    os.mkfifo(f"{root}/fifo")
    os.symlink("nowhere", f"{root}/link")
    os.rename(f"{root}/deep/er/two.hdd", f"{root}/two.hdd")
    result = refused("hdd_info", root, code=code, path=f"{root}/{name}")
    assert f"{root}/{name}" in result["msg"]


def test_an_empty_path_does_not_mean_the_working_directory(root, monkeypatch):
    monkeypatch.chdir(root)
    assert "path: the path is empty" in refused("hdd_info", root, code="bad_request", path="")["msg"]
    assert "paths: the path is empty" in refused("hdd_info", root, code="bad_request", paths=["one.hdd", ""])["msg"]


def test_no_paths_are_no_disks(root):
    result = succeed("hdd_info", paths=[])
    assert result["disks"] == result["failed_disks"] == []


@pytest.mark.parametrize("options", [{}, {"path": "/", "paths": ["/"]}])
def test_one_of_path_and_paths_is_needed(options):
    assert run("hdd_info", **options).failed


def test_what_is_outside_of_the_bundle_is_read_only_when_that_is_allowed(root):
    outside = build_bundle(f"{root}/base.hdd", size_sectors=SECTORS, layers=[Layer(TOP)]).files[(0, TOP)]
    build_bundle(f"{root}/clone.hdd", size_sectors=SECTORS, layers=[Layer(TOP, file=outside)], images=False)
    assert "allow_outside: true" in refused("hdd_info", root, code="escape", path=f"{root}/clone.hdd")["msg"]
    assert succeed("hdd_info", path=f"{root}/clone.hdd", allow_outside=True)["disks"][0]["layers"][0]["outside"]


def test_a_mark_of_use_makes_a_disk_dirty(root):
    image = f"{root}/one.hdd/one.hdd.0.{TOP}.hds"
    with open(image, "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
    assert succeed("hdd_info", path=f"{root}/one.hdd")["disks"][0]["state"] == "dirty"


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_who_holds_a_disk_is_told(root):
    descriptor = os.open(f"{root}/one.hdd", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        (disk,) = succeed("hdd_info", path=f"{root}/one.hdd")["disks"]
    finally:
        os.close(descriptor)
    assert disk["state"] == "in_use"
    assert [lock["kind"] for lock in disk["locks"]] == ["flock"] and str(os.getpid()) in disk["locks"][0]["owner"]


def test_an_encrypted_disk_is_described_from_its_metadata_only(root):
    path = f"{root}/secret.hdd"
    built = build_bundle(path, size_sectors=SECTORS, layers=[Layer(TOP, clusters={0: fill(0, MIB)})])
    with open(built.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(built.descriptor, "w", encoding="utf-8") as stream:
        stream.write(
            text.replace(
                "<Engine>{00000000-0000-0000-0000-000000000000}", "<Engine>{2df8d6f2-1c5b-4a5e-b2c8-5f1f2a3b4c5d}"
            )
        )
    (disk,) = succeed("hdd_info", path=path)["disks"]
    assert disk["encrypted"] and disk["partitions"] is None
    for options in ({"scan": "zeros"}, {"checksum": "md5"}):
        refused("hdd_info", root, code="encrypted", path=path, **options)


def test_a_map_tells_what_each_layer_holds(root):
    (disk,) = succeed("hdd_info", path=f"{root}/mac.pvm/mac.hdd", map=4)["disks"]
    assert disk["map"]["bucket_size"] == MIB
    assert [(layer["guid"], layer["parent"], layer["used_clusters"]) for layer in disk["map"]["layers"]] == [
        (guid_of(1), None, [1, 1, 0, 0]),
        (TOP, guid_of(1), [0, 1, 0, 1]),
    ]
    assert "map" not in succeed("hdd_info", path=f"{root}/mac.pvm/mac.hdd")["disks"][0]


@pytest.mark.parametrize("number", [-1, 4097])
def test_a_map_of_too_many_stretches_is_no_fault_of_the_disks(root, number):
    result = refused("hdd_info", str(root), code="bad_request", paths=[str(root)], recurse=True, map=number)
    assert "Use 1 to 4096" in result["msg"]
