# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only the operating system shows: hosts that refuse, files that are none, and facts that memory does not have."""

from __future__ import annotations

import errno
import gc
import os
import stat
import struct
import sys
import threading
import types

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    Damaged,
    IoFailure,
    NoSpace,
    NotFound,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io import kernel, real
from ansible_collections.vdisk.parallels.plugins.module_utils._io.capabilities import Capabilities, detect
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host import file as file_of_host
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.darwin_library import DarwinLibrary
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.sockets import make_socket

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

MIB = 1 << 20


def refusing(number):
    """A call that the host refuses."""

    def call(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture(name="port")
def port_fixture():
    return OsPort()


@pytest.fixture(name="file")
def file_fixture(port, tmp_path):
    file = port.create(str(tmp_path / "file"))
    yield file
    file.close()


def test_a_fifo_is_refused_without_waiting(port, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for call in (port.open_read, port.open_write):
        with pytest.raises(Damaged) as caught:
            call(str(tmp_path / "fifo"))
        assert caught.value.found == "other"


def test_devices_and_sockets_are_refused(port, tmp_path):
    make_socket(str(tmp_path / "socket"))
    for path in ("/dev/null", str(tmp_path / "socket")):
        with pytest.raises(Damaged):
            port.open_read(path)


def test_descriptors_are_not_inherited_and_all_are_closed(port, tmp_path):
    # Ports of other tests close what they hold when they are collected.
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    (tmp_path / "a").write_bytes(b"")
    for _round in range(3):
        file = port.open_read(str(tmp_path / "a"))
        assert not os.get_inheritable(file._descriptor)
        file.close()
        for path in (str(tmp_path), str(tmp_path / "none"), "/dev/null"):
            with pytest.raises((Damaged, NotFound)):
                port.open_read(path)
        port.sync_directory(str(tmp_path))
    port.names.close()
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="the host has no O_NOATIME")
def test_reading_leaves_the_access_time_alone(port, tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    os.utime(tmp_path / "a", (1000, 2000))
    file = port.open_read(str(tmp_path / "a"))
    file.pread_into(0, bytearray(1))
    file.close()
    facts = os.stat(tmp_path / "a")
    assert (facts.st_atime, facts.st_mtime) == (1000, 2000)


@pytest.mark.skipif(not hasattr(os, "O_NOATIME"), reason="the host has no O_NOATIME")
def test_files_of_others_are_opened_without_that_wish(port, tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x")
    plain_open = os.open

    def strict_open(path, flags, *rest, **options):
        if flags & os.O_NOATIME:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return plain_open(path, flags, *rest, **options)

    monkeypatch.setattr(real.os, "open", strict_open)
    assert port.open_read(str(tmp_path / "a")).size() == 1


@pytest.mark.skipif(AS_ROOT, reason="root may read everything")
def test_a_forbidden_file_is_an_io_failure_with_a_hint(port, tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(0)
    with pytest.raises(IoFailure) as caught:
        port.open_read(str(tmp_path / "a"))
    assert caught.value.found == "EACCES"
    assert caught.value.hint


@pytest.mark.parametrize("vectored", [True, False])
def test_short_transfers_are_continued(tmp_path, monkeypatch, vectored):
    if vectored and not hasattr(os, "preadv"):
        pytest.skip("the host has no preadv")
    port = OsPort(Capabilities(vectored=vectored))
    file = port.create(str(tmp_path / "a"))
    monkeypatch.setattr(file_of_host, "_LARGEST_TRANSFER", 7)
    content = bytes(range(256))
    file.pwrite(3, content)
    buffer = bytearray(300)
    assert file.pread_into(0, memoryview(buffer)) == 259
    assert bytes(buffer) == bytes(3) + content + bytes(41)


def test_a_host_that_writes_nothing_is_not_asked_for_ever(file, monkeypatch):
    monkeypatch.setattr(real.os, "pwrite", lambda *_arguments: 0)
    with pytest.raises(IoFailure) as caught:
        file.pwrite(10, b"abc")
    assert caught.value.offset == 10


def test_an_error_in_the_middle_tells_where(file, monkeypatch):
    answers = iter([2])

    def pwrite(*_arguments):
        for answer in answers:
            return answer
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(real.os, "pwrite", pwrite)
    with pytest.raises(NoSpace) as caught:
        file.pwrite(10, b"abc")
    assert caught.value.offset == 12
    assert isinstance(caught.value.__cause__, OSError)


def test_threads_share_a_file(file):
    file.truncate(64 * 4096)

    def fill(start):
        for index in range(start, 64, 4):
            file.pwrite(index * 4096, bytes([index]) * 4096)
            list(file.data_ranges(0, 64 * 4096))

    threads = [threading.Thread(target=fill, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    buffer = bytearray(64 * 4096)
    file.pread_into(0, buffer)
    assert bytes(buffer) == b"".join(bytes([index]) * 4096 for index in range(64))


def test_holes_are_found(file):
    if not detect().seek_hole:
        pytest.skip("the host cannot tell holes")
    file.truncate(64 << 20)
    file.pwrite(32 << 20, b"x")
    ranges = list(file.data_ranges(0, 64 << 20))
    if ranges == [(0, 64 << 20)]:
        pytest.skip("the file system cannot tell holes")
    assert sum(end - start for start, end in ranges) <= 1 << 20


# Making data durable


@pytest.fixture(name="synced")
def synced_fixture(monkeypatch):
    """The calls that reach the medium: fcntl answers with ``synced.number``, if any."""

    class Calls(list):
        number = 0

    calls = Calls()

    def full(_descriptor, command):
        calls.append(command)
        if calls.number:
            raise OSError(calls.number, os.strerror(calls.number))

    monkeypatch.setattr(kernel.fcntl, "fcntl", full)
    monkeypatch.setattr(kernel.os, "fsync", lambda _descriptor: calls.append("fsync"))
    return calls


def test_a_full_sync_is_used_where_there_is_one(tmp_path, synced):
    port = OsPort(Capabilities(full_fsync=True))
    port.create(str(tmp_path / "a")).sync()
    port.sync_directory(str(tmp_path))
    assert synced == [51, 51]


def test_a_file_system_without_full_sync_gets_the_usual_one(tmp_path, synced):
    synced.number = errno.ENOTSUP
    OsPort(Capabilities(full_fsync=True)).create(str(tmp_path / "a")).sync()
    assert synced == [51, "fsync"]


def test_a_failed_full_sync_is_an_error_and_not_tried_in_another_way(tmp_path, synced):
    synced.number = errno.EIO
    with pytest.raises(IoFailure):
        OsPort(Capabilities(full_fsync=True)).create(str(tmp_path / "a")).sync()
    assert synced == [51]


def test_a_failed_sync_is_an_error(file, monkeypatch):
    monkeypatch.setattr(kernel.os, "fsync", refusing(errno.EIO))
    with pytest.raises(IoFailure):
        file.sync()


def test_a_directory_that_cannot_be_synced_is_tolerated_and_a_failing_one_is_not(port, tmp_path, monkeypatch):
    monkeypatch.setattr(kernel.os, "fsync", refusing(errno.EINVAL))
    port.sync_directory(str(tmp_path))
    monkeypatch.setattr(kernel.os, "fsync", refusing(errno.EIO))
    with pytest.raises(IoFailure):
        port.sync_directory(str(tmp_path))


# Reserving blocks


def test_a_file_system_that_cannot_reserve_gets_zeros_in_its_holes_only(tmp_path, monkeypatch):
    port = OsPort()
    if not port.capabilities.fallocate:
        pytest.skip("the host has no posix_fallocate")
    file = port.create(str(tmp_path / "a"))
    file.truncate(4 << 20)
    file.pwrite(1 << 20, b"x" * (1 << 20))
    file.sync()
    monkeypatch.setattr(kernel.os, "posix_fallocate", refusing(errno.EOPNOTSUPP))
    written = []
    plain_write = type(file).pwrite
    monkeypatch.setattr(
        type(file),
        "pwrite",
        lambda self, offset, buffer: (written.append((offset, len(buffer))), plain_write(self, offset, buffer)),
    )
    file.allocate(0, 5 << 20)
    assert not any(offset < 2 << 20 and offset + length > 1 << 20 for offset, length in written)
    assert os.stat(tmp_path / "a").st_blocks * 512 >= 5 << 20
    assert (tmp_path / "a").read_bytes() == bytes(1 << 20) + b"x" * (1 << 20) + bytes(3 << 20)


def test_a_full_disk_while_reserving_is_told(file, monkeypatch):
    monkeypatch.setattr(kernel.os, "posix_fallocate", refusing(errno.ENOSPC), raising=False)
    with pytest.raises(NoSpace):
        file_with(file, fallocate=True).allocate(0, 4096)


def file_with(file, **flags):
    """The same file on a host with exactly these capabilities."""
    return real.OsFile(file.path, os.dup(file._descriptor), Capabilities(**flags))


def test_macos_reserves_behind_the_end_and_then_grows(file, monkeypatch):
    asked = []
    monkeypatch.setattr(
        kernel.fcntl,
        "fcntl",
        lambda _descriptor, command, argument: asked.append((command, struct.unpack("=Iiqqq", argument))),
    )
    file.pwrite(0, b"x" * 4096)
    file_with(file, preallocate=True, seek_hole=True).allocate(0, 1 << 20)
    assert asked == [(42, (4, 3, 0, (1 << 20) - 4096, 0))]
    assert file.size() == 1 << 20


def test_macos_without_preallocation_writes_zeros(file, monkeypatch):
    monkeypatch.setattr(kernel.fcntl, "fcntl", refusing(errno.ENOTSUP))
    file_with(file, preallocate=True).allocate(0, 1 << 20)
    assert os.fstat(file._descriptor).st_blocks * 512 >= 1 << 20


def test_a_full_disk_on_macos_is_told(file, monkeypatch):
    monkeypatch.setattr(kernel.fcntl, "fcntl", refusing(errno.ENOSPC))
    with pytest.raises(NoSpace):
        file_with(file, preallocate=True).allocate(0, 1 << 20)


# Long writes


@pytest.mark.parametrize("is_ext4, expected", [(True, [(7, MIB), (MIB + 7, MIB)]), (False, [])])
def test_blocks_of_long_writes_are_taken_before_on_ext4(tmp_path, monkeypatch, is_ext4, expected):
    reserved = []
    monkeypatch.setattr(kernel, "is_ext4", lambda descriptor: is_ext4)
    monkeypatch.setattr(kernel, "reserve", lambda descriptor, offset, length: not reserved.append((offset, length)))
    file = OsPort(Capabilities(reserve=True)).create(str(tmp_path / "file"))
    for offset, length in ((7, MIB), (MIB + 7, MIB), (2 * MIB + 7, 1000)):
        file.pwrite(offset, b"x" * length)
    assert reserved == expected
    assert (tmp_path / "file").read_bytes() == bytes(7) + b"x" * (2 * MIB + 1000)


def test_a_host_that_reserves_nothing_is_asked_once_and_the_write_goes_on(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(kernel, "is_ext4", lambda descriptor: True)
    monkeypatch.setattr(kernel, "reserve", lambda descriptor, offset, length: bool(asked.append(offset)))
    file = OsPort(Capabilities(reserve=True)).create(str(tmp_path / "file"))
    file.pwrite(0, b"x" * MIB)
    file.pwrite(MIB, b"y" * MIB)
    assert asked == [0]
    assert (tmp_path / "file").read_bytes() == b"x" * MIB + b"y" * MIB


def test_nothing_is_taken_where_all_is_reserved(tmp_path, monkeypatch):
    reserved = []
    monkeypatch.setattr(kernel, "is_ext4", lambda descriptor: True)
    monkeypatch.setattr(kernel, "reserve", lambda descriptor, offset, length: not reserved.append((offset, length)))
    file = OsPort(Capabilities(reserve=True, fallocate=True)).create(str(tmp_path / "file"))
    file.allocate(0, MIB)
    file.pwrite(0, b"x" * MIB)
    assert reserved == []


# Copying by the kernel


@pytest.fixture(name="pair")
def pair_fixture(tmp_path, monkeypatch):
    """On a file system of the network, or one like it."""
    monkeypatch.setattr(kernel.os, "major", lambda device: 0)
    content = os.urandom(100_000)
    (tmp_path / "source").write_bytes(content)
    port = OsPort(Capabilities(copy_file_range=True))
    return port.open_read(str(tmp_path / "source")), port.create(str(tmp_path / "target")), content


def fake_copy_file_range(most):
    """copy_file_range as Linux does it, ``most`` bytes at a time."""

    def call(source, target, count, source_offset, offset):
        content = os.pread(source, min(count, most), source_offset)
        return os.pwrite(target, content, offset) if content else 0

    return call


def test_on_a_disk_of_this_host_the_kernel_is_not_asked_to_copy(pair, monkeypatch):
    monkeypatch.setattr(kernel.os, "copy_file_range", fake_copy_file_range(1 << 20), raising=False)
    monkeypatch.setattr(kernel.os, "major", lambda device: 8)
    source, target, _content = pair
    assert target.copy_from(source, 0, 0, 10_000) == 0


def test_short_copies_of_the_kernel_are_continued(pair, monkeypatch, tmp_path):
    monkeypatch.setattr(kernel.os, "copy_file_range", fake_copy_file_range(777), raising=False)
    source, target, content = pair
    assert target.copy_from(source, 10, 20, 50_000) == 50_000
    assert (tmp_path / "target").read_bytes() == bytes(20) + content[10:50_010]
    assert target.copy_from(source, 99_000, 0, 5000) == 1000


@pytest.mark.parametrize("name", ["EXDEV", "EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM"])
def test_a_kernel_that_cannot_copy_did_nothing(pair, monkeypatch, name):
    monkeypatch.setattr(kernel.os, "copy_file_range", refusing(getattr(errno, name)), raising=False)
    source, target, _content = pair
    assert target.copy_from(source, 0, 0, 1000) == 0


@pytest.mark.parametrize("name, expected", [("EIO", IoFailure), ("ENOSPC", NoSpace)])
def test_a_failing_copy_is_an_error(pair, monkeypatch, name, expected):
    monkeypatch.setattr(kernel.os, "copy_file_range", refusing(getattr(errno, name)), raising=False)
    source, target, _content = pair
    with pytest.raises(expected):
        target.copy_from(source, 0, 0, 1000)


def test_aligned_ranges_are_cloned_and_the_rest_is_copied(pair, monkeypatch, tmp_path):
    cloned = []

    def ioctl(target, _number, argument):
        source, source_offset, length, offset = struct.unpack("=qQQQ", argument)
        cloned.append((source_offset, length, offset))
        os.pwrite(target, os.pread(source, length, source_offset), offset)

    monkeypatch.setattr(kernel.fcntl, "ioctl", ioctl)
    monkeypatch.setattr(kernel.os, "copy_file_range", fake_copy_file_range(1 << 20), raising=False)
    source, target, content = pair
    both = file_with(target, clone=True, copy_file_range=True)
    assert both.copy_from(source, 4096, 8192, 10_000) == 10_000
    assert cloned == [(4096, 8192, 8192)]
    assert (tmp_path / "target").read_bytes() == bytes(8192) + content[4096:14_096]
    assert both.copy_from(source, 1, 0, 8192) == 8192
    assert len(cloned) == 1


def test_a_file_system_without_clones_copies(pair, monkeypatch):
    monkeypatch.setattr(kernel.fcntl, "ioctl", refusing(errno.EOPNOTSUPP))
    source, target, _content = pair
    assert file_with(target, clone=True).copy_from(source, 0, 0, 8192) == 0
    monkeypatch.setattr(kernel.fcntl, "ioctl", refusing(errno.EIO))
    with pytest.raises(IoFailure):
        file_with(target, clone=True).copy_from(source, 0, 0, 8192)


def test_a_server_copies_what_lies_on_it(pair, monkeypatch, tmp_path):
    source, target, content = pair
    monkeypatch.setattr(kernel.os, "copy_file_range", fake_copy_file_range(777), raising=False)
    assert not target.copy_on_server(source, 0, 0, 10_000)
    assert target.size() == 0
    here, there = (os.fstat(file._descriptor).st_ino for file in (source, target))
    remote = {there}
    monkeypatch.setattr(kernel, "is_remote", lambda descriptor: os.fstat(descriptor).st_ino in remote)
    # Both have to lie there.
    assert not file_with(target, copy_file_range=True).copy_on_server(source, 0, 0, 10_000)
    remote = {here}
    source, there = file_with(source), file_with(target, copy_file_range=True)
    assert not there.copy_on_server(source, 0, 0, 10_000)
    remote = {here, os.fstat(target._descriptor).st_ino}
    source, there = file_with(source), file_with(target, copy_file_range=True)
    assert there.copy_on_server(source, 10, 20, 50_000)
    assert (tmp_path / "target").read_bytes() == bytes(20) + content[10:50_010]
    # What lies on a disk of this host, whoever serves it, is not copied by the kernel.
    monkeypatch.setattr(kernel.os, "major", lambda device: 7)
    assert not file_with(target, copy_file_range=True).copy_on_server(source, 10, 20, 50_000)
    # What ends too early is not done.
    assert not there.copy_on_server(source, 99_000, 0, 5000)
    assert not file_with(target).copy_on_server(source, 0, 0, 10)


@pytest.mark.parametrize("name", ["EOPNOTSUPP", "EXDEV", "EIO", "ENOENT", "EOVERFLOW", "ESTALE"])
def test_a_server_that_refuses_leaves_it_to_the_write(pair, monkeypatch, name):
    source, target, _content = pair
    monkeypatch.setattr(kernel, "is_remote", lambda descriptor: True)
    monkeypatch.setattr(kernel.os, "copy_file_range", refusing(getattr(errno, name)), raising=False)
    assert not target.copy_on_server(source, 0, 0, 1000)


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT"])
def test_a_server_that_is_full_is_an_error(pair, monkeypatch, name):
    source, target, _content = pair
    monkeypatch.setattr(kernel, "is_remote", lambda descriptor: True)
    monkeypatch.setattr(kernel.os, "copy_file_range", refusing(getattr(errno, name)), raising=False)
    with pytest.raises(NoSpace):
        target.copy_on_server(source, 0, 0, 1000)


# Clones of whole files


@pytest.fixture(name="darwin")
def darwin_fixture(monkeypatch):
    library = DarwinLibrary()
    monkeypatch.setattr(kernel, "_library", library)
    return library


CLONES = OsPort(Capabilities(clone_file=True))


@pytest.fixture(name="frozen")
def frozen_fixture(tmp_path):
    """A file that may not be written."""
    (tmp_path / "source").write_bytes(b"x" * 10_000)
    os.chmod(tmp_path / "source", 0o440)
    os.utime(tmp_path / "source", (1, 1))
    file = CLONES.open_read(str(tmp_path / "source"))
    yield file
    file.close()


def test_a_clone_is_a_new_file_of_ours_that_may_be_written(frozen, tmp_path, darwin):
    before = os.umask(0o027)
    try:
        clone = CLONES.clone(frozen, str(tmp_path / "clone"))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    clone.pwrite(0, b"y")
    clone.close()
    assert (tmp_path / "clone").read_bytes() == b"y" + b"x" * 9999
    assert (tmp_path / "source").read_bytes() == b"x" * 10_000
    assert (tmp_path / "clone").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "clone").stat().st_mtime > 1e9
    ((source, _folder, name, flags),) = darwin.cloned
    assert (source, name, flags) == (frozen._descriptor, b"clone", 3)


@pytest.mark.parametrize("name", ["EXDEV", "ENOTSUP", "EINVAL", "EACCES", "EPERM"])
def test_a_host_that_cannot_clone_leaves_nothing(frozen, tmp_path, darwin, name):
    darwin.refusal = getattr(errno, name)
    assert CLONES.clone(frozen, str(tmp_path / "clone")) is None
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize("name, expected", [("EIO", IoFailure), ("ENOSPC", NoSpace), ("EDQUOT", NoSpace)])
def test_a_clone_that_fails_is_an_error(frozen, tmp_path, darwin, name, expected):
    darwin.refusal = getattr(errno, name)
    with pytest.raises(expected) as caught:
        CLONES.clone(frozen, str(tmp_path / "clone"))
    assert caught.value.path == str(tmp_path / "clone")
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.usefixtures("darwin")
def test_a_clone_replaces_nothing(frozen, tmp_path):
    (tmp_path / "clone").write_bytes(b"theirs")
    with pytest.raises(AlreadyExists):
        CLONES.clone(frozen, str(tmp_path / "clone"))
    assert (tmp_path / "clone").read_bytes() == b"theirs"
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(AlreadyExists):
        CLONES.clone(frozen, str(tmp_path / "link"))
    assert sorted(os.listdir(tmp_path)) == ["clone", "link", "source"]
    with pytest.raises(IoFailure):
        CLONES.clone(frozen, str(tmp_path / "a\0b"))


@pytest.mark.usefixtures("darwin")
@pytest.mark.parametrize("name", ["fchmod", "open"])
def test_a_clone_that_cannot_be_opened_is_removed(frozen, tmp_path, monkeypatch, name):
    opening = os.open

    def refuse(path, *arguments, **options):
        if path == "clone" or name != "open":
            return refusing(errno.EIO)()
        return opening(path, *arguments, **options)

    # The stand-in for the library opens bytes.
    monkeypatch.setattr(real.os, name, refuse)
    with pytest.raises(IoFailure):
        CLONES.clone(frozen, str(tmp_path / "clone"))
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize(
    "flags, is_cloned",
    [
        (0, True),
        (stat.UF_COMPRESSED, True),
        (stat.UF_IMMUTABLE, False),
        (stat.SF_NOUNLINK, False),
        (stat.UF_HIDDEN, False),
    ],
)
def test_marks_that_would_be_in_the_way_are_not_cloned(frozen, tmp_path, darwin, monkeypatch, flags, is_cloned):
    asked = {name: getattr(os, name) for name in ("stat", "fstat")}

    def marked(call):
        facts = call()
        return types.SimpleNamespace(
            **{name: getattr(facts, name) for name in dir(facts) if name.startswith("st_")},
            st_flags=flags,
        )

    for name, call in asked.items():
        monkeypatch.setattr(real.os, name, lambda *what, call=call, **how: marked(lambda: call(*what, **how)))
    assert CLONES.clones_files(frozen.path, str(tmp_path)) is is_cloned
    clone = CLONES.clone(frozen, str(tmp_path / "clone"))
    monkeypatch.undo()
    assert (clone is not None) == is_cloned == bool(darwin.cloned)
    if clone is not None:
        clone.close()


def test_hosts_without_the_call_do_not_clone(frozen, port, tmp_path, monkeypatch):
    assert OsPort(Capabilities()).clone(frozen, str(tmp_path / "clone")) is None
    assert CLONES.clone(MemoryPort().create("/a"), str(tmp_path / "clone")) is None
    monkeypatch.setattr(kernel, "_library", object())
    assert CLONES.clone(frozen, str(tmp_path / "clone")) is None
    assert not CLONES.clones_files(frozen.path, str(tmp_path))
    assert not port.clones_files(frozen.path, str(tmp_path))
    assert os.listdir(tmp_path) == ["source"]


def test_whether_files_are_cloned_is_told_beforehand(frozen, tmp_path, darwin):
    assert CLONES.clones_files(frozen.path, str(tmp_path))
    assert not CLONES.clones_files(frozen.path, str(tmp_path / "missing"))
    assert not CLONES.clones_files(str(tmp_path / "missing"), str(tmp_path))
    assert not CLONES.clones_files("/proc/self/mounts", str(tmp_path))
    darwin.name = b"hfs"
    assert not CLONES.clones_files(frozen.path, str(tmp_path))


# Holes


def test_a_file_system_without_holes_says_so(file, monkeypatch):
    file.pwrite(0, b"x" * 8192)
    assert not file_with(file).punch_hole(0, 4096)
    monkeypatch.setattr(kernel, "_called", lambda *arguments: errno.EOPNOTSUPP)
    monkeypatch.setattr(kernel.fcntl, "fcntl", refusing(errno.ENOTSUP))
    assert not file_with(file, punch_hole=True).punch_hole(0, 4096)
    monkeypatch.setattr(kernel, "_called", lambda *arguments: errno.EIO)
    monkeypatch.setattr(kernel.fcntl, "fcntl", refusing(errno.EIO))
    with pytest.raises(IoFailure) as caught:
        file_with(file, punch_hole=True).punch_hole(4096, 4096)
    assert caught.value.offset == 4096


def test_without_fallocate_macos_is_asked(file, monkeypatch):
    asked = []
    monkeypatch.setattr(kernel, "_library", object())
    monkeypatch.setattr(kernel.fcntl, "fcntl", lambda *arguments: asked.append(arguments[1:]))
    assert file_with(file, punch_hole=True).punch_hole(8192, 4096)
    assert asked == [(99, struct.pack("=IIqq", 0, 0, 8192, 4096))]


# Hints


@pytest.mark.skipif(sys.platform != "linux", reason="calls of Linux")
def test_writeback_is_started_by_the_best_call_there_is(file, monkeypatch):
    file.pwrite(0, b"x" * 8192)
    advised = []
    monkeypatch.setattr(real.os, "posix_fadvise", lambda *arguments: advised.append(arguments[1:]))
    assert kernel.sync_file_range(file._descriptor, 0, 8192)
    file_with(file, sync_file_range=True, fadvise=True).start_writeback(0, 8192)
    assert advised == []
    monkeypatch.setattr(kernel, "_library", object())
    file_with(file, sync_file_range=True, fadvise=True).start_writeback(0, 8192)
    assert advised == [(0, 8192, os.POSIX_FADV_DONTNEED)]


def test_refused_hints_are_silent(file, monkeypatch):
    monkeypatch.setattr(real.os, "posix_fadvise", refusing(errno.EINVAL), raising=False)
    monkeypatch.setattr(kernel.fcntl, "fcntl", refusing(errno.EINVAL))
    advising = file_with(file, fadvise=True)
    advising.start_writeback(0, 10)
    advising.will_need(0, 10)
    file_with(file, read_advice=True).will_need(0, 1 << 40)


def test_macos_is_asked_to_read_ahead(file, monkeypatch):
    asked = []
    monkeypatch.setattr(
        kernel.fcntl,
        "fcntl",
        lambda _descriptor, command, argument: asked.append((command, struct.unpack("=qi4x", argument))),
    )
    file_with(file, read_advice=True).will_need(5, 1 << 40)
    assert asked == [(44, (5, 0x7FFFFFFF))]


# Names and attributes


@pytest.mark.skipif(sys.platform != "linux", reason="calls of Linux")
def test_exchange_falls_back_when_the_library_or_the_file_system_has_none(port, tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    monkeypatch.setattr(kernel, "_library", object())
    assert not port.exchange(str(tmp_path / "a"), str(tmp_path / "b"))
    monkeypatch.setattr(kernel, "_library", type("Library", (), {"renameat2": None})())
    monkeypatch.setattr(kernel, "_called", lambda *_arguments: errno.EINVAL)
    assert not port.exchange(str(tmp_path / "a"), str(tmp_path / "b"))
    monkeypatch.setattr(kernel, "_called", lambda *_arguments: errno.EIO)
    with pytest.raises(IoFailure):
        port.exchange(str(tmp_path / "a"), str(tmp_path / "b"))
    with pytest.raises(IoFailure):
        port.exchange(str(tmp_path / "a"), "b\0c")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_owner_and_mode_are_set_as_asked(port, tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"")
    changed = []
    monkeypatch.setattr(real.os, "fchown", lambda _descriptor, uid, gid: changed.append((uid, gid)))
    port.set_attributes(str(tmp_path / "a"), mode=0o600, uid=12345, gid=54321)
    assert changed == [(12345, 54321)]
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("name", ["EPERM", "EROFS"])
def test_an_owner_that_is_refused_is_an_error(port, tmp_path, monkeypatch, name):
    (tmp_path / "a").write_bytes(b"")
    monkeypatch.setattr(real.os, "fchown", refusing(getattr(errno, name)))
    with pytest.raises(IoFailure):
        port.set_attributes(str(tmp_path / "a"), mode=0o600, uid=12345, gid=54321)


def test_attributes_that_are_right_are_not_touched(port, tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"")
    facts = port.stat(str(tmp_path / "a"))
    monkeypatch.setattr(real.os, "fchown", refusing(errno.EPERM))
    monkeypatch.setattr(real.os, "fchmod", refusing(errno.EPERM))
    port.set_attributes(str(tmp_path / "a"), mode=facts.mode, uid=facts.uid, gid=facts.gid)


def test_allocated_counts_blocks_and_not_bytes(port, tmp_path):
    file = port.create(str(tmp_path / "a"))
    file.truncate(1 << 30)
    facts = port.stat(str(tmp_path / "a"))
    assert facts.size == 1 << 30
    assert facts.allocated < 1 << 20
