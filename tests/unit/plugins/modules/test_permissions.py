# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user may not do ends in a message that says so, and changes nothing.

As root, the modules run as another user for that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import run, succeed, tree

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
    folder = tempfile.mkdtemp(prefix="vdisk-test.")
    os.chmod(folder, 0o755)
    yield folder
    for path in tree(folder):
        os.chmod(path, 0o755)
    shutil.rmtree(folder)


def refused_by_the_host(folder, module, /, **options):
    before = tree(folder)
    with without_privileges():
        ended = run(module, **options)
    assert ended.failed and tree(folder) == before
    assert ended.result["error_code"] == "io_error", ended.result
    assert "Permission denied" in ended.result["msg"] and "Run as a user who may do this" in ended.result["msg"]
    return ended.result["msg"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_disk_that_may_not_be_written_is_left_as_it_is(place, change):
    disk = make_disk(place)
    make_read_only(place)
    name, options = CHANGES[change]
    assert disk in refused_by_the_host(place, name, path=disk, **options)


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


def test_a_disk_that_may_not_be_read_is_one_of_the_failed(place):
    disk = make_disk(place)
    for name in os.listdir(disk):
        os.chmod(f"{disk}/{name}", 0)
    assert disk in refused_by_the_host(place, "hdd_info", path=disk)
    with without_privileges():
        (failure,) = succeed("hdd_info", path=place)["failed_disks"]
    assert failure["path"] == disk and failure["error_code"] == "io_error"


def test_a_bundle_that_may_not_be_entered_is_one_of_the_failed(place):
    disk = make_disk(place)
    os.chmod(disk, 0)
    with without_privileges():
        (failure,) = succeed("hdd_info", path=place)["failed_disks"]
    assert failure["path"] == disk and failure["error_code"] == "io_error"


def test_to_look_at_a_disk_no_right_to_write_is_needed(place):
    disk = make_disk(place)
    make_read_only(place)
    before = tree(place)
    with without_privileges():
        assert succeed("hdd_info", path=disk, scan="zeros", checksum="md5")["disks"][0]["depth"] == 3
        for name, options in CHANGES.values():
            assert succeed(name, check=True, path=disk, **options)["changed"]
        assert not succeed("hdd", path=disk, size="4M")["changed"]
        assert not succeed("hdd_merge", path=disk, max_layers=3)["changed"]
    assert tree(place) == before
