# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.writer import HdsWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.counting import CountingFile
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

PORT = OsPort()
MIB = 1 << 20
CALLS = st.tuples(st.sampled_from(["pwrite", "truncate", "allocate"]), st.integers(0, 9000), st.integers(0, 5000))


def test_it_has_the_methods_of_a_file() -> None:
    wanted = {
        name: list(inspect.signature(method).parameters)
        for name, method in inspect.getmembers(File, inspect.isfunction)
        if name[0] != "_"
    }
    assert "pwrite" in wanted
    assert {name: list(inspect.signature(getattr(CountingFile, name)).parameters) for name in wanted} == wanted


@given(st.lists(CALLS, max_size=12))
def test_its_length_is_that_of_a_real_file(
    tmp_path_factory: pytest.TempPathFactory, calls: List[Tuple[str, int, int]]
) -> None:
    real = PORT.create(str(tmp_path_factory.mktemp("file") / "file"))
    counting = CountingFile("/file")
    written = 0
    for name, offset, length in calls:
        arguments: Tuple[Any, ...] = {
            "pwrite": (offset, b"x" * length),
            "truncate": (offset,),
            "allocate": (offset, length),
        }[name]
        getattr(real, name)(*arguments)
        getattr(counting, name)(*arguments)
        written += length if name == "pwrite" else 0
        assert counting.size() == real.size()
    assert (counting.bytes_written, counting.path) == (written, "/file")
    real.close()
    counting.close()
    assert counting.bytes_written == written


def test_reads_give_zeros_up_to_the_end() -> None:
    file = CountingFile("/file")
    file.pwrite(0, b"x" * 10)
    file.truncate(600_000)
    buffer = bytearray(b"\xa5" * 700_000)
    assert file.pread_into(0, buffer) == 600_000
    assert buffer == bytes(600_000) + b"\xa5" * 100_000
    assert file.pread_into(599_998, memoryview(buffer)[600_000:]) == 2
    assert buffer[600_000:600_003] == b"\0\0\xa5"
    assert file.pread_into(600_000, buffer) == 0
    assert file.pread_into(1 << 50, buffer) == 0


def test_the_rest_is_nothing() -> None:
    file = CountingFile("/file")
    file.truncate(100)
    assert list(file.data_ranges(10, 1000)) == [(10, 100)]
    assert list(file.data_ranges(100, 1000)) == []
    assert file.copy_from(CountingFile("/other"), 0, 0, 10) == 0
    assert not file.copy_on_server(CountingFile("/other"), 0, 0, 10)
    for call in (file.sync, file.close, file.close):
        call()
    file.start_writeback(0, 10)
    file.will_need(0, 10)
    assert file.punch_hole(0, 10)
    assert (file.size(), file.bytes_written) == (100, 0)


def test_a_memoryview_of_wide_items_counts_its_bytes() -> None:
    file = CountingFile("/file")
    file.pwrite(5, memoryview(bytes(16)).cast("Q"))
    assert (file.size(), file.bytes_written) == (21, 16)


def test_a_dry_run_foretells_the_length_of_an_image(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        writer = HdsWriter(file, size_bytes=64 * MIB, cluster_bytes=MIB, version=2)
        writer.write(3 * MIB + 5, b"abc")
        writer.write(40 * MIB, bytes(2 * MIB))
        writer.finish()

    dry, real = CountingFile("/file"), PORT.create(str(tmp_path / "disk.hds"))
    fill(dry)
    fill(real)
    assert dry.size() == real.size() == (tmp_path / "disk.hds").stat().st_size
    real.close()
