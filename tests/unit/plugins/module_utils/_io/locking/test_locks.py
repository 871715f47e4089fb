# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks against real other processes; QEMU among them when it is installed."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, InUse, IoFailure, NotFound
from ansible_collections.vdisk.parallels.plugins.module_utils._io.capabilities import Capabilities, detect
from ansible_collections.vdisk.parallels.plugins.module_utils._io.locking import locks, owners
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.sockets import short_folder

byte_locks = pytest.mark.skipif(not detect().ofd_locks, reason="the host has no open file description locks")
linux = pytest.mark.skipif(not detect().proc, reason="only /proc tells who holds what")
qemu = pytest.mark.skipif(
    shutil.which("qemu-io") is None or shutil.which("qemu-img") is None, reason="qemu-io or qemu-img is not installed"
)

# What another program does; it says "ready" and holds on until its standard input ends.
OTHER = """
import fcntl, os, struct, sys
path, action = sys.argv[1:3]
number = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
if action == "flock":
    fcntl.flock(number, fcntl.LOCK_EX)
elif action == "shared flock":
    fcntl.flock(number, fcntl.LOCK_SH)
else:
    command, kind, ranges = action.split(" ", 2)
    for part in ranges.split():
        start, length = map(int, part.split("+"))
        if command == "posix":
            fcntl.lockf(number, fcntl.LOCK_EX if kind == "write" else fcntl.LOCK_SH, length, start)
        else:
            code = fcntl.F_WRLCK if kind == "write" else fcntl.F_RDLCK
            if sys.platform == "darwin":
                fcntl.fcntl(number, 90, struct.pack("qqihh", start, length, 0, code, 0))
            else:
                fcntl.fcntl(number, 37, struct.pack("hhqqi4x", code, 0, start, length, 0))
print("ready", flush=True)
sys.stdin.read()
"""

WRITER = "ofd read 100+2 103+1 201+1 203+1"
READER = "ofd read 100+1 201+1 203+1"


class Running:
    """A process that holds something until ``stop``."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)


@pytest.fixture(name="start")
def start_fixture():
    running = []

    def start(path, action):
        other = Running([sys.executable, "-c", OTHER, str(path), action])
        running.append(other)
        assert other.process.stdout.readline() == b"ready\n"
        return other

    yield start
    for other in running:
        if other.process.poll() is None:
            other.stop()


@pytest.fixture(name="port")
def port_fixture():
    return OsPort()


@pytest.fixture(name="image")
def image_fixture(tmp_path):
    (tmp_path / "image").write_bytes(bytes(4096))
    return str(tmp_path / "image")


def holders_of(port, path):
    return tuple(holder for _path, holder in port.holders((path,)))


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def owner_of(other):
    return owners.describe(other.process.pid) if detect().proc else owners.UNKNOWN


@byte_locks
@pytest.mark.parametrize(
    "action, kind",
    [
        (WRITER, "write"),
        ("ofd read 101+1", "write"),
        ("ofd read 103+1", "write"),
        (READER, "read"),
        ("ofd read 200+5", "read"),
        ("posix read 200+5", "read"),
        ("posix read 300+5", "write"),
        ("posix write 0+0", "write"),
        ("ofd write 0+0", "write"),
    ],
)
def test_a_holder_of_bytes_is_seen_named_and_respected(port, start, image, action, kind):
    other = start(image, action)
    assert holders_of(port, image) == (Holder(kind, owner_of(other)),)
    assert port.writers(image) == ((Holder(kind, owner_of(other)),) if kind == "write" else ())
    with pytest.raises(InUse) as caught:
        port.lock((), (image,))
    assert caught.value.path == image
    assert caught.value.found == f"{kind}: {owner_of(other)}"
    assert owner_of(other) in caught.value.hint
    other.stop()
    assert holders_of(port, image) == ()
    port.lock((), (image,)).release()


@byte_locks
@pytest.mark.parametrize(
    "action",
    ["ofd read 100+1", "ofd read 0+100", "ofd read 400+10", "ofd read 110+50"],
    ids=["sharing", "before", "behind", "between"],
)
def test_locks_that_mean_nothing_to_a_writer_are_no_holders(port, start, image, action):
    start(image, action)
    assert holders_of(port, image) == ()
    port.lock((), (image,)).release()


@byte_locks
def test_several_holders_are_all_named(port, start, image):
    others = [start(image, READER), start(image, READER)]
    found = holders_of(port, image)
    assert {holder.kind for holder in found} == {"read"}
    if detect().proc:
        assert {holder.owner for holder in found} == {owner_of(other) for other in others}


@pytest.mark.parametrize("action", ["flock", "shared flock"])
def test_a_flock_on_an_image_is_respected(port, start, image, action):
    other = start(image, action)
    if detect().proc:
        assert holders_of(port, image) == (Holder("flock", owner_of(other), action == "shared flock"),)
    with pytest.raises(InUse) as caught:
        port.lock((), (image,))
    assert caught.value.found == f"flock: {owner_of(other)}"
    other.stop()
    assert holders_of(port, image) == ()


def test_a_flock_on_the_directory_or_on_its_lock_file_is_respected(port, start, tmp_path):
    (tmp_path / locks.LOCK_FILE).write_bytes(b"")
    for path in (tmp_path, tmp_path / locks.LOCK_FILE):
        other = start(path, "flock")
        if detect().proc:
            assert holders_of(port, str(tmp_path)) == (Holder("flock", owner_of(other)),)
        with pytest.raises(InUse) as caught:
            port.lock((str(tmp_path),), ())
        assert caught.value.path == str(path)
        other.stop()
    port.lock((str(tmp_path),), ()).release()


def test_the_lock_file_is_taken_when_it_is_there_and_never_made(port, tmp_path):
    lock = port.lock((str(tmp_path),), ())
    assert os.listdir(tmp_path) == []
    lock.release()
    (tmp_path / locks.LOCK_FILE).write_bytes(b"")
    lock = port.lock((str(tmp_path),), ())
    with pytest.raises(InUse):
        OsPort().lock((), (str(tmp_path / locks.LOCK_FILE),))
    lock.release()


def test_a_lock_file_that_is_none_is_left_alone(port, tmp_path):
    os.mkfifo(tmp_path / locks.LOCK_FILE)
    port.lock((str(tmp_path),), ()).release()
    assert holders_of(port, str(tmp_path)) == ()


@linux
def test_a_process_that_only_waits_for_a_flock_is_no_holder(port, image, start):
    lock = port.lock((), (image,))
    waiting = subprocess.Popen(
        [sys.executable, "-c", OTHER, image, "flock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        wait_until(lambda: "->" in owners._text("/proc/locks"))
        assert [
            holder.kind for holder in holders_of(OsPort(), image) if holder.owner == owners.describe(waiting.pid)
        ] == []
    finally:
        lock.release()
        waiting.communicate(timeout=30)


def test_two_ports_of_one_process_keep_each_other_out(port, image, tmp_path):
    lock = port.lock((str(tmp_path),), (image,))
    other = OsPort()
    with pytest.raises(InUse):
        other.lock((), (image,))
    if detect().proc:
        owner = owners.describe(os.getpid())
        assert holders_of(other, str(tmp_path)) == (Holder("flock", owner),)
        assert holders_of(other, image) == (Holder("write", owner), Holder("flock", owner))
        assert other.writers(image) == (Holder("write", owner),)
    assert holders_of(port, image) == port.writers(image) == ()
    lock.release()
    assert holders_of(other, image) == ()


def test_a_second_lock_of_one_port_is_refused_as_well(port, image):
    lock = port.lock((), (image,))
    with pytest.raises(InUse):
        port.lock((), (image,))
    assert holders_of(port, image) == ()
    lock.release()


@byte_locks
def test_a_foreign_reader_is_seen_beside_the_own_lock(port, image, start):
    lock = port.lock((), (image,))
    start(image, "ofd read 201+1")
    assert [holder.kind for holder in holders_of(port, image)] == ["read"]
    lock.release()


def test_closing_a_file_does_not_end_the_lock(port, image):
    lock = port.lock((), (image,))
    port.open_write(image).close()
    holders_of(port, image)
    with pytest.raises(InUse):
        OsPort().lock((), (image,))
    lock.release()


@linux
def test_a_lock_ends_with_its_process(tmp_path, image):
    ready, hold = os.pipe()
    child = os.fork()
    if not child:
        try:
            OsPort().lock((str(tmp_path),), (image,))
            os.write(hold, b"ready")
            signal.pause()
        finally:
            os._exit(1)
    os.close(hold)
    assert os.read(ready, 5) == b"ready"
    with pytest.raises(InUse):
        OsPort().lock((str(tmp_path),), ())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    OsPort().lock((str(tmp_path),), (image,)).release()
    os.close(ready)


def test_nothing_stays_open_after_a_refusal_or_a_release(port, image, tmp_path, start):
    port.lock((str(tmp_path),), (image,)).release()
    start(image, "flock")
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for files in ((image,), (str(tmp_path / "none"),), (str(tmp_path),)):
        with pytest.raises((InUse, NotFound, Damaged, IoFailure)):
            port.lock((str(tmp_path),), files)
    holders_of(port, image)
    holders_of(port, str(tmp_path))
    assert len(os.listdir("/dev/fd")) == before


def test_only_regular_files_are_images(port, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Damaged):
        port.lock((), (str(tmp_path / "fifo"),))
    assert holders_of(port, str(tmp_path / "fifo")) == port.writers(str(tmp_path / "fifo")) == ()


def test_the_lists_of_all_locks_are_read_once_for_many_files(port, start, tmp_path, monkeypatch):
    paths = [str(tmp_path / f"image{number}") for number in range(61)]
    for path in paths:
        with open(path, "wb"):
            pass
    flock, reader = start(paths[7], "flock"), start(paths[60], READER)
    start(paths[30], READER)
    asked = []
    read = owners._text
    monkeypatch.setattr(owners, "_text", lambda path: [asked.append(path), read(path)][1])
    found = dict(port.holders((str(tmp_path), *paths)))
    if detect().proc:
        assert found.pop(paths[7]) == Holder("flock", owner_of(flock))
    if detect().ofd_locks:
        assert found.pop(paths[60]) == Holder("read", owner_of(reader))
        assert found.pop(paths[30]).kind == "read"
    assert found == {}
    assert asked.count("/proc/locks") == int(detect().proc)
    # Open files of the host that come and go are listed once, or not at all.
    assert max((asked.count(name) for name in asked if "/fdinfo/" in name and "/self/" not in name), default=1) == 1


def test_who_writes_is_known_without_the_list_of_all_locks(port, start, image, tmp_path, monkeypatch):
    # Linux waits about 10 ms before it gives that list.
    asked = []
    read = owners._text
    monkeypatch.setattr(owners, "_text", lambda path: [asked.append(path), read(path)][1])
    start(image, "flock")
    assert port.writers(image) == port.writers(str(tmp_path)) == port.writers(str(tmp_path / "missing")) == ()
    assert "/proc/locks" not in asked
    holders_of(port, image)
    assert ("/proc/locks" in asked) == detect().proc


def test_a_host_without_byte_locks_goes_on_with_a_warning(image, tmp_path):
    lock = OsPort(Capabilities()).lock((str(tmp_path),), (image,))
    assert len(lock.warnings) == 1
    assert image in lock.warnings[0]
    lock.release()


def test_a_clean_lock_has_no_warnings(port, image, tmp_path):
    lock = port.lock((str(tmp_path),), (image,))
    assert lock.warnings == () or not detect().ofd_locks
    lock.release()


def refusing(number):
    def call(*_arguments):
        raise OSError(number, os.strerror(number))

    return call


@byte_locks
@pytest.mark.parametrize("name", ["EINVAL", "ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_a_file_system_without_locks_goes_on_with_warnings(port, image, tmp_path, monkeypatch, name):
    monkeypatch.setattr(locks.fcntl, "fcntl", refusing(getattr(errno, name)))
    monkeypatch.setattr(locks.fcntl, "flock", refusing(getattr(errno, name)))
    lock = port.lock((str(tmp_path),), (image,))
    assert len(lock.warnings) == 3
    assert holders_of(port, image) == ()
    lock.release()


@byte_locks
def test_another_refusal_is_an_error(port, image, monkeypatch):
    monkeypatch.setattr(locks.fcntl, "fcntl", refusing(errno.EIO))
    with pytest.raises(IoFailure):
        port.lock((), (image,))
    with pytest.raises(IoFailure):
        holders_of(port, image)
    monkeypatch.setattr(locks.fcntl, "flock", refusing(errno.EIO))
    with pytest.raises(IoFailure):
        port.lock((), (image,))


@linux
def test_where_a_flock_is_a_byte_lock_only_bytes_are_locked(port, image, start, monkeypatch):
    start(image, "flock")
    monkeypatch.setattr(owners, "file_system", lambda _descriptor: "nfs4")
    lock = port.lock((), (image,))
    assert "nfs4" in lock.warnings[0]
    assert locks._byte_lock(os.open(image, os.O_RDONLY), 101) is not None
    lock.release()


@linux
def test_where_locks_would_bind_ourselves_none_is_taken(port, image, monkeypatch):
    monkeypatch.setattr(owners, "file_system", lambda _descriptor: "cifs")
    lock = port.lock((), (image,))
    assert "cifs" in lock.warnings[0]
    assert holders_of(OsPort(), image) == ()
    lock.release()


@byte_locks
def test_a_file_that_is_read_only_for_us_is_locked_all_the_same(port, image, monkeypatch):
    plain_open = os.open

    def read_only_open(path, flags, *rest, **options):
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system")
        return plain_open(path, flags, *rest, **options)

    monkeypatch.setattr(locks.os, "open", read_only_open)
    lock = port.lock((), (image,))
    assert lock.warnings == ()
    with pytest.raises(InUse):
        OsPort().lock((), (image,))
    lock.release()


def test_the_structure_of_macos_is_packed_in_its_order(monkeypatch):
    monkeypatch.setattr(locks, "_DARWIN", True)
    monkeypatch.setattr(locks, "_FLOCK_LAYOUT", "qqihh")
    assert locks._packed(3, 101, 1) == struct.pack("qqihh", 101, 1, 0, 3, 0)
    assert locks._unpack(struct.pack("qqihh", 101, 1, 77, 3, 0)) == (3, 77)


# QEMU


@pytest.fixture(name="qemu_image")
def qemu_image_fixture(tmp_path):
    path = str(tmp_path / "qemu.hds")
    subprocess.run(["qemu-img", "create", "-q", "-f", "parallels", path, "64M"], check=True)
    return path


@byte_locks
@qemu
@pytest.mark.parametrize(
    "options, kind",
    [([], "write"), (["-r"], "read"), (["-r", "-U"], None)],
    ids=["writing", "reading", "reading and sharing"],
)
def test_qemu_is_seen_while_it_holds_an_image(port, qemu_image, options, kind):
    other = Running(["qemu-io", "-f", "parallels", *options, qemu_image])
    try:
        # The prompt comes when the image is open.
        assert other.process.stdout.read(8) == b"qemu-io>"
        expected = () if kind is None else (Holder(kind, owner_of(other)),)
        assert holders_of(port, qemu_image) == expected
        if kind is None:
            port.lock((), (qemu_image,)).release()
        else:
            with pytest.raises(InUse):
                port.lock((), (qemu_image,))
    finally:
        other.stop()
    assert holders_of(port, qemu_image) == ()


@byte_locks
@qemu
@pytest.mark.parametrize("options", [[], ["-r"]], ids=["writing", "reading"])
def test_qemu_refuses_an_image_that_is_locked(port, qemu_image, options):
    command = ["qemu-io", "-f", "parallels", *options, "-c", "read 0 512", qemu_image]
    lock = port.lock((), (qemu_image,))
    refused = subprocess.run(command, capture_output=True, check=False)
    assert b"lock" in refused.stdout + refused.stderr
    assert b"read 512/512" not in refused.stdout
    lock.release()
    assert b"read 512/512" in subprocess.run(command, capture_output=True, check=True).stdout


@byte_locks
@qemu
@pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="qemu-nbd is not installed")
def test_a_network_block_device_server_is_seen(port, qemu_image, tmp_path):
    options = ["-f", "parallels", "--persistent", "--pid-file", str(tmp_path / "pid")]
    with short_folder() as folder:
        server = subprocess.Popen(["qemu-nbd", *options, "-k", f"{folder}/socket", qemu_image])
        try:
            wait_until((tmp_path / "pid").exists)
            assert [holder.kind for holder in holders_of(port, qemu_image)] == ["write"]
            with pytest.raises(InUse):
                port.lock((), (qemu_image,))
        finally:
            server.terminate()
            server.wait(timeout=30)
    assert holders_of(port, qemu_image) == ()


@byte_locks
@pytest.mark.parametrize("action", [WRITER, "ofd read 101+1", "ofd read 200+5", "ofd read 300+5", "flock"])
def test_who_writes_keeps_readers_away(port, image, start, action):
    other = start(image, action)
    with pytest.raises(InUse) as caught:
        port.lock((), (image,), for_reading=True)
    assert owner_of(other) in caught.value.message
    other.stop()
    port.lock((), (image,), for_reading=True).release()


@byte_locks
@pytest.mark.parametrize("action", [READER, "shared flock"])
def test_readers_share(port, image, start, tmp_path, action):
    start(image, action)
    one = port.lock((str(tmp_path),), (image,), for_reading=True)
    other = OsPort().lock((str(tmp_path),), (image,), for_reading=True)
    assert one.warnings == other.warnings == ()
    with pytest.raises(InUse):
        OsPort().lock((), (image,))
    one.release()
    other.release()


def test_readers_keep_those_away_who_change_a_directory_or_an_image(image, tmp_path):
    held = OsPort().lock((str(tmp_path),), (image,), for_reading=True)
    for directories, files in (((str(tmp_path),), ()), ((), (image,))):
        with pytest.raises(InUse):
            OsPort().lock(directories, files)
    held.release()
    OsPort().lock((str(tmp_path),), (image,)).release()


@byte_locks
def test_a_reader_counts_as_one(image):
    held = OsPort().lock((), (image,), for_reading=True)
    assert OsPort().writers(image) == ()
    assert {holder.kind for holder in holders_of(OsPort(), image)} <= {"read", "flock"}
    held.release()


def test_a_reader_needs_no_right_to_write(image):
    os.chmod(image, 0o400)
    OsPort().lock((), (image,), for_reading=True).release()


@qemu
@byte_locks
def test_a_reader_keeps_qemu_from_writing_and_not_from_reading(image):
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", image, "1M"], check=True)
    held = OsPort().lock((), (image,), for_reading=True)
    try:
        for command, is_allowed in (("read 0 512", True), ("write 0 512", False)):
            options = ["-r"] if is_allowed else []
            line = ["qemu-io", "-f", "raw", *options, "-c", command, image]
            ended = subprocess.run(line, capture_output=True, check=False)
            assert (ended.returncode == 0) is is_allowed
            assert is_allowed or b"lock" in ended.stderr
    finally:
        held.release()
