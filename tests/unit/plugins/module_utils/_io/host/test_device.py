# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Block devices as files; with a loop device where the host lets us make one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    DiskError,
    Escape,
    InUse,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host.device import BlockDevice, block_device
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import FILE
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.oracles import require

PORT = OsPort()


class Unmoved(OsPort):
    """Where a path led to when it was looked up, before somebody moved things."""

    def real_path(self, path: str) -> str:
        return path


CONTENT = fill(1, 1 << 20) + bytes(1 << 20) + fill(2, 4096)


@pytest.fixture(name="loop")
def _loop(tmp_path: Path) -> Iterator[str]:
    require("losetup")
    (tmp_path / "disk.raw").write_bytes(CONTENT)
    made = subprocess.run(
        ["losetup", "-r", "-f", "--show", str(tmp_path / "disk.raw")], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "-d", made.stdout.strip()], check=False)


def test_a_device_is_a_file_of_its_length(loop: str) -> None:
    device = block_device(PORT, loop)
    assert device == BlockDevice(os.path.realpath(loop), os.stat(loop).st_rdev)
    port = device.port(PORT)
    stat = port.stat(loop)
    assert stat is not None and (stat.kind, stat.size) == (FILE, len(CONTENT))
    file = port.open_read(loop)
    buffer = bytearray(8192)
    assert file.pread_into(len(CONTENT) - 4096, buffer) == 4096 and buffer[:4096] == fill(2, 4096)
    assert list(file.data_ranges(5, 1 << 40)) == [(5, len(CONTENT))]
    file.close()


def test_a_device_is_a_source(loop: str) -> None:
    source = find_source(PORT, loop)
    assert (source.format, source.size) == ("raw", len(CONTENT))
    view = open_source(PORT, source)
    buffer = bytearray(len(CONTENT))
    view.pread_into(0, buffer)
    with pytest.raises(InUse):
        find_source(PORT, loop)
    view.close()
    assert buffer == CONTENT
    find_source(PORT, loop)


@pytest.mark.parametrize("sector", [512, 4096])
def test_sectors_are_those_of_the_device(tmp_path: Path, sector: int) -> None:
    require("losetup")
    (tmp_path / "disk.raw").write_bytes(CONTENT)
    command = ["losetup", "-r", "-b", str(sector), "-f", "--show", str(tmp_path / "disk.raw")]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    loop = made.stdout.strip()
    try:
        source = find_source(PORT, loop)
        assert source.logical_sector == sector
        assert isinstance(source.container, BlockDevice)
        # What the device itself answers, where the host has no /sys.
        assert source.container._asked() == sector
    finally:
        subprocess.run(["losetup", "-d", loop], check=False)


def test_sectors_of_a_device_that_is_gone_are_the_usual_ones() -> None:
    assert BlockDevice("/dev/gone", os.makedev(4000, 7)).logical_sector == 512


def test_a_container_on_a_device_is_to_be_copied(tmp_path: Path) -> None:
    require("losetup")
    (tmp_path / "box").write_bytes(b"x" * 700)
    subprocess.run(["tar", "-cf", tmp_path / "disk.tar", "-C", tmp_path, "box"], check=True)
    made = subprocess.run(
        ["losetup", "-r", "-f", "--show", str(tmp_path / "disk.tar")], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    loop = made.stdout.strip()
    try:
        with pytest.raises(Unsupported) as caught:
            find_source(PORT, loop)
    finally:
        subprocess.run(["losetup", "-d", loop], check=False)
    assert (caught.value.hint or "").endswith(f": head -c 10240 {loop} > container.tar")


def test_something_else_under_the_name_of_a_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"only root may know")
    (tmp_path / "link").symlink_to(tmp_path)
    number = os.makedev(7, 0)
    for path, kind in ((tmp_path / "disk", StalePlan), (tmp_path / "link" / "disk", Escape)):
        with pytest.raises(kind):
            BlockDevice(str(path), number).port(Unmoved()).open_read(str(path))


def test_what_is_no_block_device_is_left_to_others(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert block_device(PORT, str(tmp_path / "fifo")) is None
    assert block_device(PORT, str(tmp_path / "gone")) is None
    assert block_device(PORT, "/dev/null") is None
    (tmp_path / "a.raw").write_bytes(b"x" * 512)
    port = BlockDevice("/dev/none", 0).port(PORT)
    assert port.stat(str(tmp_path / "a.raw")) == PORT.stat(str(tmp_path / "a.raw"))
    port.open_read(str(tmp_path / "a.raw")).close()
    with pytest.raises(DiskError):
        find_source(PORT, "/dev/null")
