# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds a disk, in both directions: QEMU keeps us out, we keep QEMU out, and an in-use mark without an owner is
told apart.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Dirty, InUse
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.create import plan_remove
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import choose_removals
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT, TrialDisk, apply_plan, bytes_of, create
from ansible_collections.vdisk.parallels.tests.support import oracles
from ansible_collections.vdisk.parallels.tests.support.sockets import short_folder

MIB = 1 << 20
GUID = "{aaaaaaaa-0000-4000-8000-000000000001}"
IN_USE_OFFSET = 44

PLANS: Dict[str, Callable[[TrialDisk, bool], Plan]] = {
    "take": lambda disk, force: plan_snapshot_take(disk.state, GUID, force=force),
    "merge": lambda disk, force: plan_merge(PORT, disk.state, choose_removals(disk.state, max_layers=1), force=force),
    "compact": lambda disk, force: plan_compact(PORT, disk.state, force=force),
    "remove": lambda disk, force: plan_remove(disk.state, token="trial", force=force),
}
every_operation = pytest.mark.parametrize("operation", list(PLANS))


@pytest.fixture
def disk(tmp_path: Path) -> TrialDisk:
    """Two layers, with something to merge and something to compact in each."""
    oracles.require("qemu-io", "qemu-img", "qemu-nbd")
    trial = create(str(tmp_path), 8 * MIB)
    trial.write_zeros(6)
    trial.write(1, 2)
    trial.take("before")
    trial.write_zeros(7)
    trial.write(3)
    return trial


def image_of(disk: TrialDisk, guid: str = "") -> str:
    layout = disk.layout
    return layout.images[guid or layout.top][0].path


def in_use(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(IN_USE_OFFSET + 4)[IN_USE_OFFSET:]


@contextmanager
def opened_by_qemu_io(path: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """qemu-io has ``path`` open until the end of the block."""
    process = subprocess.Popen(
        ["qemu-io", "-f", "parallels", *options, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(b"read 0 512\n")
        process.stdin.flush()
        lines = []
        while b"ops" not in (lines or [b""])[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        yield process
        if process.poll() is None:
            process.stdin.write(b"quit\n")
            process.stdin.close()
            process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def served_by_qemu_nbd(path: str) -> Iterator[subprocess.Popen[bytes]]:
    """qemu-nbd serves ``path`` for reading and writing until the end of the block."""
    with short_folder() as folder:
        socket = os.path.join(folder, "nbd")
        process = subprocess.Popen(
            ["qemu-nbd", "-f", "parallels", "-t", "-k", socket, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 30
            # The socket comes before the image, whose mark comes last.
            while not os.path.exists(socket) or in_use(path) != b"Ynot":
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            yield process
            process.terminate()
            process.wait(timeout=30)
        finally:
            process.kill()
            process.wait()


HOLDERS: Dict[str, Callable[[str], object]] = {"qemu-io": opened_by_qemu_io, "qemu-nbd": served_by_qemu_nbd}


def content_of(bundle: str) -> Dict[str, Tuple[int, bytes]]:
    """Time and bytes of every file."""
    return {
        name: (os.stat(os.path.join(bundle, name)).st_mtime_ns, Path(bundle, name).read_bytes())
        for name in sorted(os.listdir(bundle))
    }


@every_operation
@pytest.mark.parametrize("holder", list(HOLDERS))
@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
def test_a_disk_that_qemu_writes_to_is_refused_with_the_name_of_the_process(
    disk: TrialDisk, operation: str, holder: str, force: bool
) -> None:
    with HOLDERS[holder](image_of(disk)) as process:  # type: ignore[attr-defined]
        before = content_of(disk.bundle)
        with pytest.raises(InUse) as refused:
            apply_plan(PLANS[operation](disk, force))
        assert f"{holder} (pid {process.pid})" in str(refused.value)
        assert content_of(disk.bundle) == before
    assert bytes_of(disk.bundle) == disk.now
    oracles.compared("qemu locks")


@pytest.mark.parametrize("operation", ["merge", "compact"])
def test_a_lower_layer_that_qemu_only_reads_is_not_changed_either(disk: TrialDisk, operation: str) -> None:
    root = disk.layout.chain(disk.layout.top)[0]
    with opened_by_qemu_io(image_of(disk, root), "-r") as process:
        before = content_of(disk.bundle)
        with pytest.raises(InUse) as refused:
            apply_plan(PLANS[operation](disk, False))
        assert f"(pid {process.pid})" in str(refused.value)
        assert content_of(disk.bundle) == before
    oracles.compared("qemu locks")


def test_while_we_hold_the_lock_qemu_does_not_write(disk: TrialDisk) -> None:
    path = image_of(disk)
    lock = PORT.lock((disk.bundle,), (path,))
    try:
        refused = oracles.run("qemu-io", "-f", "parallels", "-c", "write 0 512", path)
        assert "lock" in refused.output and refused.code != 0, refused.output
        # Who asks for it may look on.
        oracles.qemu_img("info", "-U", "-f", "parallels", path)
    finally:
        lock.release()
    oracles.qemu_io(path, "write -P 9 0 1M")
    oracles.compared("qemu locks", 3)


def set_in_use(disk: TrialDisk) -> None:
    with open(image_of(disk), "r+b") as stream:
        stream.seek(IN_USE_OFFSET)
        stream.write(b"Ynot")


@every_operation
def test_a_marked_image_without_an_owner_is_refused_as_dirty(disk: TrialDisk, operation: str) -> None:
    set_in_use(disk)
    before = content_of(disk.bundle)
    with pytest.raises(Dirty) as refused:
        PLANS[operation](disk, False)
    assert refused.value.path == image_of(disk)
    assert content_of(disk.bundle) == before
    assert bytes_of(disk.bundle) == disk.now


@pytest.mark.parametrize("operation", ["merge", "compact"])
def test_with_force_a_marked_image_is_changed_and_closed(disk: TrialDisk, operation: str) -> None:
    set_in_use(disk)
    views = disk.views
    apply_plan(PLANS[operation](disk, True))
    oracles.assert_qemu_finds_clean(disk.layout.expanding)
    chain_of_layers = oracles.ChainOracle(disk.bundle)
    for guid in disk.layout.images:
        assert chain_of_layers.guest(guid) == views[guid] == bytes_of(disk.bundle, guid)
        oracles.compared("qemu-img chain")


def test_with_force_a_snapshot_of_a_marked_image_keeps_the_content(disk: TrialDisk) -> None:
    set_in_use(disk)
    apply_plan(PLANS["take"](disk, True))
    chain_of_layers = oracles.ChainOracle(disk.bundle)
    assert chain_of_layers.guest(GUID) == chain_of_layers.guest(disk.layout.top) == disk.now == bytes_of(disk.bundle)
    oracles.compared("qemu-img chain", 2)


def test_with_force_a_marked_disk_is_removed(disk: TrialDisk) -> None:
    set_in_use(disk)
    apply_plan(PLANS["remove"](disk, True))
    assert not os.path.exists(disk.bundle)


@every_operation
def test_what_a_killed_qemu_leaves_is_dirty(disk: TrialDisk, operation: str) -> None:
    with opened_by_qemu_io(image_of(disk)) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(Dirty):
        PLANS[operation](disk, False)
    oracles.compared("qemu locks")
