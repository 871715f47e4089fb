# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user may not do ends in a message that says so, and changes nothing.

As root, the modules run as another user for that.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, run, succeed, tree, warnings

MIB = 1 << 20
NOBODY = 65534
CHANGES = {
    "rename": ("hdd", {"name": "other"}),
    "removal": ("hdd", {"state": "absent"}),
    "snapshot": ("hdd_snapshot", {"name": "new"}),
    "deletion": ("hdd_snapshot", {"guid": "{aaaaaaaa-0000-4000-8000-000000000001}", "state": "absent"}),
    "reversion": ("hdd_snapshot", {"guid": "{aaaaaaaa-0000-4000-8000-000000000001}", "state": "reverted"}),
    "merge": ("hdd_merge", {}),
    "copying merge": ("hdd_merge", {"strategy": "copy"}),
    "compaction": ("hdd_compact", {}),
}

only_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has folders that somebody may write and somebody else owns"
)
NEED_NO_RIGHT_TO_THE_FILES = ("rename", "removal", "snapshot", "reversion", "copying merge")


@contextlib.contextmanager
def without_privileges():
    """As nobody when this is root; another user has no privileges anyway."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)
            os.setegid(group)


def make_read_only(folder):
    for path in tree(folder):
        os.chmod(path, 0o555 if os.path.isdir(path) else 0o444)


def make_disk(folder):
    layers = line_of_layers({0: fill(0, MIB), 2: bytes(MIB)}, {1: fill(1, MIB)}, {3: fill(3, MIB)})
    build_bundle(f"{folder}/a.hdd", size_sectors=2048 * 4, layers=layers)
    return f"{folder}/a.hdd"


@pytest.fixture(name="place")
def place_fixture(tmp_path):
    """A folder that everybody may enter; those of pytest are for one user.

    All that a run loads late is loaded before, as the code may be private, too.
    """
    for number, (name, options) in enumerate(CHANGES.values()):
        os.mkdir(tmp_path / str(number))
        succeed(name, path=make_disk(str(tmp_path / str(number))), **options)
    succeed("hdd_convert", src=f"{tmp_path}/0/a.hdd", dest=f"{tmp_path}/out.raw")
    make_machine(str(tmp_path / "m.pvm"), disk="d.hdd")
    os.rename(make_disk(str(tmp_path)), tmp_path / "m.pvm" / "d.hdd")
    succeed("vagrant_box", src=f"{tmp_path}/m.pvm", dest=f"{tmp_path}/m.box", architecture="amd64", force=True)
    folder = tempfile.mkdtemp(prefix="vdisk-test.")
    os.chmod(folder, 0o755)
    yield folder
    for path in tree(folder):
        os.chmod(path, 0o755)
    shutil.rmtree(folder)


def refused_by_the_host(folder, module, /, **options):
    before = tree(folder)
    with without_privileges():
        predicted, ended = run(module, check=True, **options), run(module, **options)
    assert ended.failed and tree(folder) == before
    assert ended.result["error_code"] == "permission", ended.result
    assert (predicted.failed, predicted.result["error_code"]) == (True, "permission"), predicted.result
    assert predicted.result["msg"] == ended.result["msg"]
    assert "Permission denied" in ended.result["msg"] and "Run as a user who may do this" in ended.result["msg"]
    return ended.result["msg"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_disk_that_may_not_be_written_is_left_as_it_is(place, change):
    disk = make_disk(place)
    make_read_only(place)
    name, options = CHANGES[change]
    # A disk goes by a rename in the folder around it.
    assert (place if change == "removal" else disk) in refused_by_the_host(place, name, path=disk, **options)


@pytest.mark.parametrize("change", CHANGES)
def test_a_disk_whose_files_alone_may_not_be_written_is_left_as_it_is(place, change):
    disk = make_disk(place)
    make_read_only(place)
    for folder in (place, disk):
        os.chmod(folder, 0o777)
    name, options = CHANGES[change]
    if change in NEED_NO_RIGHT_TO_THE_FILES:
        with without_privileges():
            assert succeed(name, path=disk, **options)["changed"]
    else:
        assert f"{disk}/" in refused_by_the_host(place, name, path=disk, **options)


def test_nothing_is_created_where_one_may_not_write(place):
    disk = make_disk(place)
    make_read_only(place)
    refused_by_the_host(place, "hdd", path=f"{place}/new.hdd", size="1M")
    refused_by_the_host(place, "hdd_convert", src=disk, dest=f"{place}/new.raw")
    refused_by_the_host(place, "hdd_convert", src=disk, dest=f"{place}/new.hdd")


@only_root
def test_a_disk_that_may_not_be_read_is_one_of_the_failed(place):
    disk = make_disk(place)
    for name in os.listdir(disk):
        os.chmod(f"{disk}/{name}", 0)
    assert disk in refused_by_the_host(place, "hdd_info", path=disk)
    with without_privileges():
        (failure,) = succeed("hdd_info", path=place)["failed_disks"]
    assert failure["path"] == disk and failure["error_code"] == "permission"


def test_a_bundle_that_may_not_be_entered_is_one_of_the_failed(place):
    disk = make_disk(place)
    os.chmod(disk, 0)
    with without_privileges():
        (failure,) = succeed("hdd_info", path=place)["failed_disks"]
    assert failure["path"] == disk and failure["error_code"] == "permission"


def test_to_look_at_a_disk_no_right_to_write_is_needed(place):
    disk = make_disk(place)
    make_read_only(place)
    before = tree(place)
    with without_privileges():
        assert succeed("hdd_info", path=disk, scan="zeros", checksum="md5")["disks"][0]["depth"] == 3
        assert succeed("hdd_check", path=disk)["healthy"]
        for check in (True, False):
            assert not succeed("hdd", check=check, path=disk, size="4M")["changed"]
            assert not succeed("hdd_merge", check=check, path=disk, max_layers=3)["changed"]
    assert tree(place) == before


@only_root
def test_a_bundle_that_may_not_be_emptied_is_not_renamed_first(place):
    """The folder around it may be written, so its commit, a rename, would succeed."""
    disk = make_disk(place)
    os.chmod(place, 0o777)
    assert disk in refused_by_the_host(place, "hdd", path=disk, state="absent")


@only_root
def test_a_repair_and_a_box_are_foretold_as_well(place):
    disk = make_disk(place)
    with open(f"{disk}/DiskDescriptor.xml", encoding="utf-8") as stream:
        text = stream.read()
    with open(f"{disk}/DiskDescriptor.xml", "w", encoding="utf-8") as stream:
        stream.write(text.replace("<Blocksize>2048", "<Blocksize>1024"))
    make_read_only(place)
    refused_by_the_host(place, "hdd_check", path=disk, repair="safe", fail_on="never")
    os.chmod(place, 0o777)
    make_machine(f"{place}/m.pvm", disk="d.hdd")
    os.rename(disk, f"{place}/m.pvm/d.hdd")
    make_read_only(place)
    refused_by_the_host(
        place, "vagrant_box", src=f"{place}/m.pvm", dest=f"{place}/m.box", architecture="amd64", force=True
    )


@pytest.fixture(name="mounted")
def mounted_fixture(place):
    """The place with a disk on it, mounted for reading alone; only root can do that."""
    disk = make_disk(place)
    for command in (["mount", "--bind", place, place], ["mount", "-o", "remount,bind,ro", place]):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            subprocess.run(["umount", place], capture_output=True, check=False)
            pytest.skip("this host lets nobody mount a folder for reading")
    yield disk
    # Ports of the runs close their handles of folders when they are collected.
    gc.collect()
    subprocess.run(["umount", place], check=True)


def test_a_file_system_for_reading_is_told_and_foretold_by_every_module(mounted):
    """As root, who may write everywhere else."""
    folder = os.path.dirname(mounted)
    tasks = [(name, {**options, "path": mounted}) for name, options in CHANGES.values()]
    tasks += [
        ("hdd", {"path": f"{folder}/new.hdd", "size": "1M"}),
        ("hdd", {"path": mounted, "size": "8M", "snapshots": "merge"}),
        ("hdd", {"path": mounted, "type": "plain", "snapshots": "merge"}),
        ("hdd_compact", {"path": mounted, "strategy": "copy"}),
        ("hdd_convert", {"src": mounted, "dest": f"{folder}/out.raw"}),
        ("hdd_convert", {"src": mounted, "dest": f"{folder}/out.hdd"}),
    ]
    before = tree(folder)
    for name, options in tasks:
        for check in (True, False):
            ended = run(name, check=check, **options)
            assert ended.failed and ended.result["error_code"] == "read_only", (name, options, check, ended.result)
            assert "Mount the file system for writing" in ended.result["msg"]
    assert succeed("hdd_info", path=mounted)["disks"][0]["depth"] == 3
    assert succeed("hdd_check", path=mounted)["healthy"]
    assert tree(folder) == before


STICKY = {
    "rename": "descriptor",
    "removal": "bundle",
    "snapshot": "descriptor",
    "merge": "descriptor",
    "reversion": "descriptor",
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize("change", STICKY)
def test_in_a_sticky_folder_the_names_of_others_stay(place, change):
    """As below /tmp: the folder may be written by all, and names go by their owner alone."""
    disk = make_disk(place)
    for path in tree(place):
        os.chmod(path, 0o777 if os.path.isdir(path) else 0o666)
    os.chmod(place if STICKY[change] == "bundle" else disk, 0o1777)
    name, options = CHANGES[change]
    before = tree(place)
    with without_privileges():
        predicted, ended = run(name, check=True, path=disk, **options), run(name, path=disk, **options)
    assert tree(place) == before
    for one in (predicted, ended):
        assert one.failed and one.result["error_code"] == "permission", one.result
        assert "Run as" in one.result["msg"]
    assert predicted.result["msg"] == ended.result["msg"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_in_a_sticky_folder_the_outputs_of_others_stay(place):
    disk = make_disk(place)
    for path in tree(place):
        os.chmod(path, 0o777 if os.path.isdir(path) else 0o666)
    os.chmod(place, 0o1777)
    for name in ("out.raw", "sums"):
        with open(f"{place}/{name}", "wb") as stream:
            stream.write(b"of another user")
    with without_privileges():
        for check in (True, False):
            ended = run("hdd_convert", check=check, src=disk, dest=f"{place}/out.raw")
            assert ended.failed and ended.result["error_code"] == "permission", ended.result
    with open(f"{place}/out.raw", "rb") as stream:
        assert stream.read() == b"of another user"


@pytest.mark.parametrize("option", [{"owner": "no such user"}, {"group": "no such group"}, {"mode": 600}], ids=str)
def test_options_that_cannot_be_met_are_refused_before_anything_is_written(root, option):
    raw = f"{root}/source.raw"
    with open(raw, "wb") as stream:
        stream.write(fill(1, 1 << 20))
    for module, options in (
        ("hdd", {"path": f"{root}/new.hdd", "size": "4M"}),
        ("hdd_convert", {"src": raw, "dest": f"{root}/out.qcow2"}),
    ):
        message = refused(module, root, code="bad_request", **options, **option)["msg"]
        assert next(iter(option)) in message and len(message.split(". ")) > 1


@pytest.mark.parametrize("module", ["hdd", "hdd_convert"])
def test_a_mode_without_quotes_is_what_yaml_makes_of_it(root, module):
    raw = f"{root}/source.raw"
    with open(raw, "wb") as stream:
        stream.write(fill(1, 1 << 20))
    options = {"path": f"{root}/new.hdd", "size": "4M"} if module == "hdd" else {"src": raw, "dest": f"{root}/new.hdd"}
    succeed(module, **options, mode=0o600)
    modes = {os.stat(f"{root}/new.hdd/{name}").st_mode & 0o7777 for name in os.listdir(f"{root}/new.hdd")}
    assert modes == {0o600}


@only_root
@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_a_lock_file_of_somebody_else_keeps_nobody_from_reading(place):
    path = make_disk(place)
    lock = f"{path}/DiskDescriptor.xml.lck"
    with open(lock, "wb") as stream:
        os.chmod(lock, 0o600)
        os.mkdir(f"{place}/out")
        os.chmod(f"{place}/out", 0o777)
        fcntl.flock(stream, fcntl.LOCK_EX)
        with without_privileges():
            (disk,) = succeed("hdd_info", path=path)["disks"]
            told = warnings(succeed("hdd_convert", src=path, dest=f"{place}/out/a.raw"))
    assert [one["kind"] for one in disk["locks"]] == ["flock"] and disk["state"] == "in_use"
    assert any("by a flock" in text for text in told)


@only_root
def test_what_may_not_be_looked_at_is_no_part_of_an_advice(place):
    os.mkdir(f"{place}/z.pvm")
    wanted = make_disk(f"{place}/z.pvm")
    os.chmod(f"{place}/z.pvm", 0o755)
    os.rename(make_disk(place), f"{place}/closed.hdd")
    os.chmod(f"{place}/closed.hdd", 0o700)
    with without_privileges():
        ended = run("hdd_check", path=place)
    assert ended.result["error_code"] == "not_a_bundle" and f"such as {wanted};" in ended.result["msg"]
