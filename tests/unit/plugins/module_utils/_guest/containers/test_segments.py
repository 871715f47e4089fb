# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file made of stretches of another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.segments import SegmentedFile
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


def member(gaps: list, lengths: list, tail: int) -> tuple:
    """A member with these holes and stretches, and what it reads as."""
    port, whole, model, stretches = MemoryPort(), b"head", b"", []
    for number, (gap, length) in enumerate(zip(gaps, lengths)):
        model += bytes(gap)
        stretches.append((len(model), length, len(whole)))
        model += fill(number, length)
        whole += fill(number, length) + b"?" * number
    port.plant_file("/a.tar", whole)
    model += bytes(tail)
    return port, SegmentedFile("/a.tar/x", port.open_read("/a.tar"), stretches, len(model)), model


@given(st.lists(st.integers(0, 50), max_size=5), st.lists(st.integers(1, 50), max_size=5), st.integers(0, 9), st.data())
def test_any_range_reads_as_the_model(gaps: list, lengths: list, tail: int, data: st.DataObject) -> None:
    _port, file, model = member(gaps, lengths, tail)
    assert file.size() == len(model)
    start, length = data.draw(st.integers(0, len(model) + 5)), data.draw(st.integers(0, 200))
    buffer = bytearray(b"?" * length)
    assert file.pread_into(start, buffer) == len(model[start : start + length])
    assert buffer[: len(model[start : start + length])] == model[start : start + length]
    for first, last in file.data_ranges(start, start + length):
        assert start <= first < last <= min(start + length, len(model))


def test_closing_closes_the_archive() -> None:
    port, file, _model = member([0], [10], 0)
    assert any(port.opened.values())
    file.close()
    assert not any(port.opened.values())


def test_what_a_shorter_archive_still_has_is_given() -> None:
    port, file, model = member([3, 4], [10, 10], 5)
    port.open_write("/a.tar").truncate(4 + 10 + 2)
    buffer = bytearray(len(model))
    assert file.pread_into(0, buffer) == 3 + 10 + 4 + 2 and buffer[:19] == model[:19]


def test_nothing_is_changed() -> None:
    _port, file, _model = member([0], [10], 0)
    for call in (
        lambda: file.pwrite(0, b"x"),
        lambda: file.truncate(0),
        lambda: file.allocate(0, 1),
        lambda: file.punch_hole(0, 1),
        lambda: file.copy_from(file, 0, 0, 1),
        lambda: file.share_from(file, 0, 0, 1),
        lambda: file.copy_on_server(file, 0, 0, 1),
        file.sync,
    ):
        with pytest.raises(Unsupported):
            call()
    file.will_need(0, 1)
    file.start_writeback(0, 1)
