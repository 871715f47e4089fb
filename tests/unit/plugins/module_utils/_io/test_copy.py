# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, NoSpace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.capabilities import Capabilities
from ansible_collections.vdisk.parallels.plugins.module_utils._io.copy import SLICE, WRITEBACK_STEP, copy_bytes
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsFile, OsPort
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


def pair(port, content):
    port.plant_file("/source", content)
    return port.open_read("/source"), port.create("/target")


@pytest.mark.parametrize("kernel_copies", [True, False])
@pytest.mark.parametrize("size", [0, 1, SLICE, SLICE + 1, WRITEBACK_STEP + 12345])
def test_bytes_arrive_where_they_should(kernel_copies, size):
    content = os.urandom(size + 7)
    port = MemoryPort(kernel_copies=kernel_copies)
    source, target = pair(port, content)
    told = []
    copy_bytes(source, 7, target, 3, size, buffer=bytearray(SLICE), on_progress=told.append)
    assert port.content("/target") == (bytes(3) + content[7:] if size else b"")
    assert sum(told) == size
    assert len(told) == -(-size // WRITEBACK_STEP)


def test_the_kernel_is_not_asked_again_after_it_failed():
    port = MemoryPort(kernel_copies=False)
    source, target = pair(port, bytes(3 * WRITEBACK_STEP))
    copy_bytes(source, 0, target, 0, 3 * WRITEBACK_STEP, buffer=bytearray(SLICE))
    assert sum(name == "copy_from" for name, _path in port.calls) == 1


def test_a_kernel_that_copies_a_part_leaves_the_rest_to_the_buffer():
    port = MemoryPort()
    content = os.urandom(10_000)
    source, target = pair(port, content)
    whole = target.copy_from
    target.copy_from = lambda source, source_offset, offset, length: whole(
        source, source_offset, offset, min(length, 1000)
    )
    copy_bytes(source, 0, target, 0, 10_000, buffer=memoryview(bytearray(100)))
    assert port.content("/target") == content


@pytest.mark.parametrize("kernel_copies", [True, False])
def test_a_source_that_ends_too_early_is_damaged(kernel_copies):
    source, target = pair(MemoryPort(kernel_copies=kernel_copies), b"x" * 1000)
    with pytest.raises(Damaged) as caught:
        copy_bytes(source, 500, target, 0, 1000, buffer=bytearray(SLICE))
    assert (caught.value.path, caught.value.offset) == ("/source", 1000)


def test_a_range_may_move_down_over_itself():
    port = MemoryPort(kernel_copies=False)
    content = os.urandom(10_000)
    port.plant_file("/a", content)
    file = port.open_write("/a")
    copy_bytes(file, 1000, file, 0, 9000, buffer=bytearray(2048))
    assert port.content("/a") == content[1000:] + content[9000:]


def test_a_full_disk_ends_the_copy():
    port = MemoryPort(kernel_copies=False)
    source, target = pair(port, b"x" * (1 << 20))
    port.set_free_space(SLICE)
    with pytest.raises(NoSpace):
        copy_bytes(source, 0, target, 0, 1 << 20, buffer=bytearray(SLICE))


def test_writeback_starts_on_each_step(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(OsFile, "start_writeback", lambda self, offset, length: started.append((offset, length)))
    port = OsPort(Capabilities())
    (tmp_path / "a").write_bytes(b"x" * (WRITEBACK_STEP + 10))
    source, target = port.open_read(str(tmp_path / "a")), port.create(str(tmp_path / "b"))
    copy_bytes(source, 0, target, 100, WRITEBACK_STEP + 10, buffer=bytearray(SLICE))
    assert started == [(100, WRITEBACK_STEP)]
    assert (tmp_path / "b").read_bytes() == bytes(100) + b"x" * (WRITEBACK_STEP + 10)
