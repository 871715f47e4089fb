# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_check, called as Ansible calls it: each planted fault is found, named, and mended or left with a reason."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, build_bundle
from ansible_collections.vdisk.parallels.tests.support.faults import CHAIN, FAULTS, held
from ansible_collections.vdisk.parallels.tests.support.images import build_hds
from ansible_collections.vdisk.parallels.tests.support.module_runner import (
    guest_of,
    refused,
    run,
    succeed,
    three_runs,
    tree,
    warnings,
)

MENDED = [fault for fault in FAULTS if fault.level != "no"]
LEFT = [fault for fault in FAULTS if fault.level == "no"]
LOSSY = [fault for fault in FAULTS if fault.level == "lossy"]
REPAIR = {"safe": "safe", "lossy": "all"}


def ids(fault):
    return fault.name


@pytest.fixture(name="root")
def root_fixture(tmp_path):
    folder = tmp_path / "m.pvm"
    folder.mkdir()
    return str(folder)


def found_in(result, code):
    return [one for one in result["findings"] if one["code"] == code]


@pytest.mark.parametrize("fault", FAULTS, ids=ids)
def test_a_fault_is_found_and_a_check_changes_nothing(root, path, fault):
    fault.build(path)
    before = tree(root)
    result = succeed("hdd_check", path=path, fail_on="never")
    assert tree(root) == before
    (one,) = found_in(result, fault.code)
    assert (one["repairable"], one["repaired"]) == (fault.level, False), result["findings"]
    assert os.path.basename(one["where"]) in os.listdir(path) + [
        "DiskDescriptor.xml",
        "a.hdd",
        "config.pvs",
    ] or fault.code in (
        "image_missing",
        "image_outside",
    )
    assert not result["changed"] and result["backup"] is None
    assert succeed("hdd_check", path=path, fail_on="never")["findings"] == result["findings"]
    bad = [one for one in result["findings"] if one["severity"] != "info"]
    assert result["healthy"] == (not bad)
    module_docs.assert_documented("hdd_check", result)


@pytest.mark.parametrize("fault", MENDED, ids=ids)
def test_a_repair_is_foretold_and_leaves_a_clean_disk(root, path, fault):
    built = fault.build(path)
    if fault.code == "interrupted":
        pytest.skip("what a recovery warns of is not predicted")
    ended = three_runs("hdd_check", root, path=path, repair=REPAIR[fault.level], force=True, fail_on="never")
    assert ended.done["changed"]
    (one,) = found_in(ended.done, fault.code)
    assert one["repaired"], ended.done
    assert not found_in(ended.again, fault.code)
    assert ended.done["healthy"] == ended.again["healthy"]
    assert not [one for one in ended.again["findings"] if one["repairable"] != "no"], ended.again
    assert not [one for one in ended.again["findings"] if one["severity"] == "error"], ended.again
    if fault.keeps:
        assert guest_of(path) == hashlib.sha256(built.guest(TOP)).hexdigest()
    module_docs.assert_documented("hdd_check", ended.done)


@pytest.mark.parametrize("fault", LEFT, ids=ids)
def test_what_cannot_be_mended_is_left_with_its_reason(root, path, fault):
    fault.build(path)
    ended = run("hdd_check", path=path, repair="all", force=True, fail_on="never").result
    (one,) = found_in(ended, fault.code)
    assert not one["repaired"] and len(one["message"]) > 20
    again = run("hdd_check", path=path, repair="all", force=True, fail_on="never").result
    assert not again["changed"], again


@pytest.mark.parametrize("fault", LOSSY, ids=ids)
def test_a_safe_repair_does_not_touch_what_may_lose_data(root, path, fault):
    fault.build(path)
    result = three_runs("hdd_check", root, path=path, repair="safe", force=True, fail_on="never").done
    assert not found_in(result, fault.code)[0]["repaired"]


@pytest.mark.parametrize("fault", FAULTS, ids=ids)
def test_fail_on_tells_what_lets_the_task_fail(path, fault):
    fault.build(path)
    findings = succeed("hdd_check", path=path, fail_on="never")["findings"]
    severities = {one["severity"] for one in findings}
    for fail_on, bad in (("error", {"error"}), ("warning", {"error", "warning"})):
        ended = run("hdd_check", path=path, fail_on=fail_on)
        assert ended.failed == bool(bad & severities)
        assert ended.result["findings"] == findings
        if ended.failed:
            assert ended.result["error_code"] == "unhealthy"


def test_a_repair_ends_what_was_cut_off(root, path):
    (fault,) = [fault for fault in MENDED if fault.code == "interrupted"]
    fault.build(path)
    before = tree(root)
    predicted = succeed("hdd_check", check=True, path=path, repair="safe")
    assert tree(root) == before
    done = succeed("hdd_check", path=path, repair="safe")
    assert predicted["changed"] and done["changed"] and predicted["findings"] == done["findings"]
    assert found_in(done, "interrupted")[0]["repaired"] and "was found and cleared up" in str(warnings(done))
    assert not succeed("hdd_check", path=path, repair="safe")["changed"]
    assert succeed("hdd_check", path=path)["findings"] == []


def test_an_image_in_use_is_repaired_only_with_force(root, path):
    (fault,) = [fault for fault in MENDED if fault.code == "image_dirty"]
    fault.build(path)
    assert "force: true" in refused("hdd_check", root, code="dirty", path=path, repair="safe")["msg"]
    assert succeed("hdd_check", path=path, repair="safe", force=True)["healthy"]


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_a_held_disk_is_checked_and_not_repaired(root, path):
    (fault,) = [fault for fault in MENDED if fault.name == "said to be empty"]
    built = fault.build(path)
    descriptor = os.open(built.files[(0, TOP)], os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        result = succeed("hdd_check", path=path)
        (one,) = found_in(result, "in_use")
        assert str(os.getpid()) in one["message"] and found_in(result, "flag_empty")
        assert (
            str(os.getpid()) in refused("hdd_check", root, code="in_use", path=path, repair="safe", force=True)["msg"]
        )
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "options", [{}, {"split": [256, 256]}, {"version": 2}, {"style": "ploop"}, {"style": "virtuozzo"}], ids=str
)
def test_a_sound_disk_has_nothing_to_be_found(root, path, options):
    build_bundle(path, size_sectors=512, layers=CHAIN, cluster_sectors=64, **options)
    for repair in ("none", "safe", "all"):
        result = three_runs("hdd_check", root, path=path, repair=repair, data=True, fail_on="warning").done
        assert not [one for one in result["findings"] if one["code"] != "geometry"]
        assert result["healthy"] and not result["changed"] and result["bytes_read"] == 8 * 64 * 512


def test_every_byte_that_a_repair_changes_is_recorded(root, path):
    """Writing the recorded bytes back gives the metadata that were there."""
    for number, fault in enumerate(LOSSY):
        disk = f"{root}/{number}.pvm/a.hdd"
        os.makedirs(os.path.dirname(disk))
        fault.build(disk)
        before = {name: read_file(f"{disk}/{name}") for name in os.listdir(disk)}
        backup = succeed("hdd_check", path=disk, repair="all", force=True, fail_on="never")["backup"]
        if fault.code == "entry_cut":
            # The file became longer, and no byte that was there has changed.
            assert backup is None
            continue
        assert os.path.dirname(backup) == f"{disk}.repair"
        with open(backup, encoding="utf-8") as stream:
            record = json.load(stream)
        for change in record["changes"]:
            if change["old"] is None:
                assert os.path.basename(change["path"]) not in before
            else:
                put_back(change["path"], change["offset"], bytes.fromhex(change["old"]))
        for file in record["files"]:
            if os.path.getsize(file["path"]) >= file["size"]:
                os.truncate(file["path"], file["size"])
                assert (
                    read_file(file["path"])[: len(before[os.path.basename(file["path"])])]
                    == before[os.path.basename(file["path"])]
                )


def read_file(path):
    with open(path, "rb") as stream:
        return stream.read()


def put_back(path, offset, content):
    with open(path, "r+b" if os.path.exists(path) else "wb") as stream:
        stream.seek(offset)
        stream.write(content)
        if path.endswith((".xml", "journal")):
            stream.truncate()


def test_the_record_goes_where_it_is_told_to(root, path):
    (fault,) = [fault for fault in MENDED if fault.name == "said to be empty"]
    fault.build(path)
    refused("hdd_check", root, code="bad_request", path=path, repair="safe", backup_dir=f"{path}/inside")
    refused("hdd_check", root, code="not_found", path=path, repair="safe", backup_dir=f"{root}/none/here")
    open(f"{root}/file", "wb").close()
    refused("hdd_check", root, code="exists", path=path, repair="safe", backup_dir=f"{root}/file")
    result = three_runs("hdd_check", root, path=path, repair="safe", backup_dir=f"{root}/kept").done
    assert os.listdir(f"{root}/kept") == [os.path.basename(result["backup"])]
    assert os.path.dirname(result["backup"]) == f"{root}/kept"


def test_a_single_file_is_checked_and_repaired(root):
    path = f"{root}/single.hds"
    build_hds(
        path,
        size_sectors=512,
        cluster_sectors=64,
        clusters=held(0, 1, 3),
        in_use=0x746F6E59,
        tail=b"x" * 5000,
        entries={5: 0xFFFFFFFF},
    )
    result = three_runs("hdd_check", root, path=path, repair="all", force=True).done
    assert {one["code"] for one in result["findings"]} >= {"image_dirty", "leak_tail"} and result["healthy"]
    assert sorted(os.listdir(root)) == ["single.hds", "single.hds.repair"]


def test_a_missing_disk_is_refused(root, path):
    refused("hdd_check", root, code="not_found", path=path, repair="all")


def test_what_is_no_disk_is_refused(root):
    refused("hdd_check", root, code="not_a_bundle", path=root)


def test_a_layer_of_a_bundle_is_no_disk_of_its_own(root, path):
    built = build_bundle(path, size_sectors=512, layers=CHAIN, cluster_sectors=64)
    assert (
        f"Name the bundle: {path}"
        in refused("hdd_check", root, code="not_a_whole_disk", path=built.files[(0, TOP)])["msg"]
    )


def test_several_faults_at_once_are_mended_at_once(root, path):
    names = {
        "Disk_size",
        "said to be empty",
        "data_off behind clusters",
        "high half of the guest size",
        "twins",
        "a leftover of ours",
    }
    chosen = [fault for fault in FAULTS if fault.name in names]
    assert len(chosen) == len(names)
    built = chosen[0].sound(path)
    for fault in chosen:
        fault.plant(built)
    ended = three_runs("hdd_check", root, path=path, repair="all")
    assert {one["code"] for one in ended.done["findings"] if one["repaired"]} == {fault.code for fault in chosen}
    assert ended.again["findings"] == [one for one in ended.again["findings"] if one["repairable"] == "no"]


def test_all_disks_of_a_folder_are_checked_and_the_ill_one_is_named_at_the_end(root, path):
    build_bundle(path, size_sectors=2048)
    bad, gone = f"{root}/bad.hdd", f"{root}/gone.hdd"
    for one in (bad, gone):
        build_bundle(one, size_sectors=2048)
    with open(f"{bad}/DiskDescriptor.xml", "w", encoding="utf-8") as stream:
        stream.write("<broken")
    result = three_runs("hdd_check", root, paths=[root, f"{root}/none.hdd"], fail_on="never").done
    assert {one["path"]: one["healthy"] for one in result["disks"]} == {path: True, bad: False, gone: True}
    assert [one["error_code"] for one in result["failed_disks"]] == ["not_found"]
    failed = run("hdd_check", path=root, recurse=True)
    assert failed.failed and failed.result["error_code"] == "unhealthy" and bad in failed.result["msg"]
    assert failed.result["msg"].startswith("1 of 3 disks failed.") and len(failed.result["disks"]) == 3
    assert refused("hdd_check", root, code="not_found", paths=[f"{root}/none.hdd"])["disks"] == []
    assert succeed("hdd_check", paths=[root], repair="safe")["disks"][1]["healthy"]
