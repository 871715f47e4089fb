# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.capabilities import detect
from ansible_collections.vdisk.parallels.plugins.module_utils._io.locking import owners

linux = pytest.mark.skipif(not detect().proc, reason="only Linux has this /proc")


@pytest.fixture(name="proc")
def proc_fixture(monkeypatch):
    """The files of /proc as a dictionary that the test fills."""
    files = {}
    monkeypatch.setattr(owners, "_text", lambda path: files.get(path, ""))
    monkeypatch.setattr(
        owners,
        "_names",
        lambda path: sorted({name[len(path) + 1 :].split("/")[0] for name in files if name.startswith(path + "/")}),
    )
    return files


@pytest.fixture(name="descriptor")
def descriptor_fixture(tmp_path):
    descriptor = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def key(descriptor):
    facts = os.fstat(descriptor)
    return f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"


def test_a_process_is_named_with_its_number(proc):
    proc["/proc/7/comm"] = "qemu-io\n"
    assert owners.describe(7) == "qemu-io (pid 7)"


@pytest.mark.parametrize("pid, expected", [(7, "process 7"), (-1, owners.UNKNOWN), (0, owners.UNKNOWN)])
def test_a_process_that_is_gone_has_a_number_at_most(proc, pid, expected):
    assert owners.describe(pid) == expected


def test_a_name_cannot_garble_the_message(proc):
    proc["/proc/7/comm"] = "a\x1b[2J\nb\n"
    assert owners.describe(7) == "a?[2J?b (pid 7)"


def test_flocks_are_told_from_other_locks_and_from_waiting(proc, descriptor):
    proc["/proc/locks"] = (
        f"1: FLOCK  ADVISORY  WRITE 11 {key(descriptor)} 0 EOF\n"
        f"1: -> FLOCK  ADVISORY  WRITE 12 {key(descriptor)} 0 EOF\n"
        f"2: POSIX  ADVISORY  WRITE 13 {key(descriptor)} 0 EOF\n"
        f"3: FLOCK  ADVISORY  WRITE 14 {key(descriptor)}1 0 EOF\n"
        "4: FLOCK\n"
    )
    assert owners.LockLists().flocks(descriptor) == ((11, False),)


def test_a_flock_that_others_may_have_as_well_is_told(proc, descriptor):
    proc["/proc/locks"] = (
        f"1: FLOCK  ADVISORY  READ 11 {key(descriptor)} 0 EOF\n2: FLOCK  ADVISORY  READ  12 {key(descriptor)} 0 EOF\n"
    )
    assert owners.LockLists().flocks(descriptor) == ((11, True), (12, True))


def test_the_device_of_the_mount_counts_as_well(proc, descriptor):
    inode = os.fstat(descriptor).st_ino
    proc[f"/proc/self/fdinfo/{descriptor}"] = "pos:\t0\nmnt_id:\t27\n"
    proc["/proc/self/mountinfo"] = (
        "2 1 8:1 / / rw - ext4 /dev/x rw\n27 1 0:99 / /data rw,relatime shared:5 - btrfs /dev/y rw\n"
    )
    proc["/proc/locks"] = f"1: FLOCK  ADVISORY  WRITE 11 00:63:{inode} 0 EOF\n"
    assert owners.LockLists().flocks(descriptor) == ((11, False),)
    assert owners.file_system(descriptor) == "btrfs"


def test_an_unknown_mount_has_no_type(proc, descriptor):
    assert owners.file_system(descriptor) == ""


def test_owners_of_byte_locks_are_found_among_open_files(proc, descriptor):
    line = f"lock:\t1: OFDLCK ADVISORY READ -1 {key(descriptor)} 100 101\n"
    proc["/proc/11/comm"] = "qemu\n"
    proc["/proc/11/fdinfo/3"] = "pos:\t0\n" + line
    proc["/proc/12/fdinfo/3"] = "pos:\t0\n" + line.replace("OFDLCK", "FLOCK")
    proc["/proc/13/fdinfo/3"] = "pos:\t0\n" + line.replace(key(descriptor), "00:00:1")
    proc["/proc/14/fdinfo/3"] = "lock: short\n"
    proc[f"/proc/{os.getpid()}/fdinfo/{descriptor}"] = line
    assert owners.LockLists().byte_lock_owners(descriptor) == ("qemu (pid 11)",)


def test_the_search_for_owners_is_bounded(proc, descriptor, monkeypatch):
    line = f"lock:\t1: OFDLCK ADVISORY READ -1 {key(descriptor)} 100 101\n"
    for number in range(10):
        proc[f"/proc/{number + 1}0/fdinfo/3"] = line
    monkeypatch.setattr(owners, "_MOST_DESCRIPTORS", 4)
    assert len(owners.LockLists().byte_lock_owners(descriptor)) == 4


def test_each_list_is_read_when_it_is_needed_and_once(proc, descriptor, monkeypatch):
    asked = []
    read = owners._text
    monkeypatch.setattr(owners, "_text", lambda path: [asked.append(path), read(path)][1])
    proc["/proc/locks"] = f"1: FLOCK  ADVISORY  WRITE 11 {key(descriptor)} 0 EOF\n"
    proc["/proc/12/fdinfo/3"] = f"lock:\t1: OFDLCK ADVISORY READ -1 {key(descriptor)} 100 101\n"
    listed = owners.LockLists()
    assert asked == []
    assert listed.flocks(descriptor) == listed.flocks(descriptor) == ((11, False),)
    assert asked.count("/proc/locks") == 1 and "/proc/12/fdinfo/3" not in asked
    assert listed.byte_lock_owners(descriptor) == listed.byte_lock_owners(descriptor) == ("process 12",)
    assert asked.count("/proc/12/fdinfo/3") == asked.count("/proc/locks") == 1


@linux
def test_the_real_proc_is_understood(descriptor):
    assert owners.LockLists().flocks(descriptor) == ()
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert owners.LockLists().flocks(descriptor) == ((os.getpid(), False),)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    assert owners.LockLists().flocks(descriptor) == ((os.getpid(), True),)
    assert owners.describe(os.getpid()).endswith(f"(pid {os.getpid()})")
    assert owners.file_system(descriptor)


def test_missing_files_and_folders_are_empty(tmp_path):
    assert owners._text(str(tmp_path / "none")) == ""
    assert owners._names(str(tmp_path / "none")) == []


def test_a_file_that_cannot_be_looked_at_has_no_known_holder(proc, descriptor):
    proc["/proc/locks"] = f"1: FLOCK  ADVISORY  WRITE 11 {key(descriptor)} 0 EOF\n"
    assert owners.LockLists().flocks(-1) == ()
