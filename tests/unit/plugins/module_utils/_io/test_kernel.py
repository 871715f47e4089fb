# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls of the C library and of the kernel, where there are such, and what is said where there are none."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io import kernel

MIB = 1 << 20


@pytest.mark.skipif(not os.path.exists("/proc/self/mounts"), reason="Linux tells what is mounted")
def test_ext4_is_told_from_others(tmp_path, monkeypatch):
    assert not kernel.is_ext4(-1)
    with open("/proc/self/stat", "rb") as stream:
        assert not kernel.is_ext4(stream.fileno())
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        mounts = [line.split()[1:3] for line in stream]
    for place, kind in mounts:
        if kind == "ext4" and os.path.isdir(place):
            descriptor = os.open(place, os.O_RDONLY)
            assert kernel.is_ext4(descriptor)
            os.close(descriptor)
    monkeypatch.setattr(kernel, "_library", object())
    with open(__file__, "rb") as stream:
        assert not kernel.is_ext4(stream.fileno())


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="only Linux says of what type a file system is")
def test_file_systems_of_the_network_are_told_from_others(tmp_path, monkeypatch):
    assert not kernel.is_remote(-1)
    with open("/proc/self/stat", "rb") as stream:
        assert not kernel.is_remote(stream.fileno())
    numbers = {"fstatfs64": 0x6969}

    class Library:
        def __getattr__(self, name):
            if name not in numbers:
                raise AttributeError(name)

            def fstatfs(_descriptor, answer):
                # On a machine with words of 32 bits the highest one is a sign.
                answer[0] = numbers[name]
                return 0

            return fstatfs

    monkeypatch.setattr(kernel, "_library", Library())
    # NFS, CIFS, SMB, Ceph, FUSE; ext4, XFS, Btrfs, tmpfs, overlayfs.
    remote = (0x6969, 0xFF534D42, 0xFE534D42, 0xFE534D42 - (1 << 32), 0x00C36400, 0x65735546)
    local = (0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x794C7630)
    for number, expected in (*((one, True) for one in remote), *((one, False) for one in local)):
        numbers["fstatfs64"] = number
        assert kernel.is_remote(0) == expected
        assert kernel.is_ext4(0) == (number == 0xEF53)


def test_what_is_reserved_keeps_the_size_and_reads_as_zeros(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with path.open("r+b") as stream:
        done = kernel.reserve(stream.fileno(), 4096, MIB)
        assert path.read_bytes() == b"x"
        assert not done or os.fstat(stream.fileno()).st_blocks * 512 >= MIB
    with path.open("rb") as stream:
        assert not kernel.reserve(stream.fileno(), 0, MIB)


def test_macos_exchanges_by_its_own_call(monkeypatch):
    asked = []
    monkeypatch.setattr(kernel, "_library", type("Library", (), {"renameatx_np": "renameatx_np"})())
    monkeypatch.setattr(kernel, "_called", lambda *arguments: asked.append(arguments) or 0)
    assert kernel.exchange(3, "a", 4, "b")
    assert asked == [("renameatx_np", 3, b"a", 4, b"b", 2)]


def test_an_interrupted_call_of_the_library_is_repeated(monkeypatch):
    import ctypes

    answers = iter([-1, -1, 0])
    monkeypatch.setattr(ctypes, "get_errno", lambda: errno.EINTR)
    assert kernel._called(lambda: next(answers)) == 0


def test_a_host_without_ctypes_has_no_such_calls(monkeypatch):
    monkeypatch.setattr(kernel, "_library", None)
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert not kernel.sync_file_range(0, 0, 0)
    assert not kernel.exchange(3, "a", 3, "b")


def test_calls_that_a_signal_interrupts_are_made_again():
    answers = [InterruptedError(), InterruptedError(), 7]

    def call(argument, *, option):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, argument, option

    assert kernel.repeated(call, 1, option=2) == (7, 1, 2)


def test_a_descriptor_that_is_gone_is_released_all_the_same(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    kernel.release(descriptor)
    with pytest.raises(OSError):
        os.fstat(descriptor)
    kernel.release(descriptor)


def test_names_with_a_zero_byte_never_reach_the_library():
    with pytest.raises(ValueError):
        kernel.exchange(3, "a", 3, "b\0c")
    with pytest.raises(ValueError):
        kernel.clone_file(0, 3, "a\0b")


@pytest.mark.parametrize(
    "source_offset, offset, length", [(1, 0, 4096), (0, 1, 4096), (0, 0, 4095), (0, 0, 0)], ids=str
)
def test_what_no_host_shares_is_not_asked_for(source_offset, offset, length):
    # A descriptor that does not exist would be an error.
    assert kernel.clone_range(-1, source_offset, -1, offset, length) == 0


def test_a_range_is_copied_as_far_as_the_source_goes(tmp_path):
    (tmp_path / "a").write_bytes(b"0123456789")
    with open(tmp_path / "a", "rb") as source, open(tmp_path / "b", "wb") as target:
        done = kernel.copy_range(source.fileno(), 4, target.fileno(), 2, 100) if hasattr(os, "copy_file_range") else 0
    assert done in (0, 6)
    assert (tmp_path / "b").read_bytes() == (bytes(2) + b"456789" if done else b"")
