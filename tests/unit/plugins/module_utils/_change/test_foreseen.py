# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files as a plan would leave them are those that the executor leaves."""

from __future__ import annotations

from typing import Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._change.foreseen import foreseen
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    CopyRanges,
    CreateFile,
    Move,
    Plan,
    PunchHoles,
    Resize,
    Step,
    Sync,
    WriteBytes,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

pytest.importorskip("hypothesis", reason="property tests need hypothesis")

from hypothesis import given
from hypothesis import strategies as st

A, B, NEW = "/d/a", "/d/b", "/d/new"


def scene() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/d")
    port.plant_file(A, bytes(range(1, 101)))
    port.plant_file(B, bytes(range(101, 181)))
    return port


def content(port: Any, path: str) -> bytes:
    file = port.open_read(path)
    try:
        buffer = bytearray(file.size())
        assert file.pread_into(0, buffer) == len(buffer)
        # What is past the end does not come back, and parts are the parts of the whole.
        assert file.pread_into(len(buffer), bytearray(8)) == 0
        half = bytearray(len(buffer))
        assert file.pread_into(len(buffer) // 3, half) == len(buffer) - len(buffer) // 3
        assert half[: len(buffer) - len(buffer) // 3] == buffer[len(buffer) // 3 :]
        return bytes(buffer)
    finally:
        file.close()


def both_see_the_same(steps: List[Step]) -> None:
    port, real = scene(), scene()
    ahead = foreseen(port, steps)
    execute(real, Plan("test", tuple(steps)))
    for path in (A, B, NEW):
        if real.lstat(path) is not None:
            assert content(ahead, path) == content(real, path), path
    assert content(port, A) == bytes(range(1, 101)), "something was written"


def test_moves_writes_and_cuts_are_seen_in_their_order() -> None:
    both_see_the_same(
        [
            CreateFile(NEW, 64),
            CopyRanges(NEW, (Move(A, 10, 0, 20), Move(B, 0, 40, 30), Move(None, 0, 50, 5))),
            WriteBytes(NEW, 5, b"head"),
            CopyRanges(A, (Move(NEW, 0, 90, 40), Move(A, 90, 0, 20))),
            Resize(A, 120),
            Resize(A, 125),
            PunchHoles(B, ((3, 60),)),
            Sync(files=(A,)),
        ]
    )


ranges = st.tuples(st.integers(0, 50), st.integers(0, 90), st.integers(1, 30))
moves = st.builds(lambda source, at: Move(source, at[0], at[1], at[2]), st.sampled_from([A, B, None]), ranges)
steps = st.one_of(
    st.builds(CopyRanges, st.sampled_from([A, B]), st.lists(moves, min_size=1, max_size=4).map(tuple)),
    st.builds(WriteBytes, st.sampled_from([A, B]), st.integers(0, 120), st.binary(min_size=1, max_size=20)),
    st.builds(Resize, st.sampled_from([A, B]), st.integers(100, 160)),
)


@given(st.lists(steps, max_size=8))
def test_whatever_the_steps_are_the_files_are_those_that_the_executor_leaves(told: List[Step]) -> None:
    both_see_the_same(told)


def test_holes_are_those_of_the_files_where_the_bytes_lie() -> None:
    port = scene()
    file = port.open_write(B)
    file.truncate(0)
    file.truncate(16 * 4096)
    file.pwrite(4 * 4096, b"x" * 4096)
    file.close()
    ahead = foreseen(port, [CreateFile(NEW, 8 * 4096), CopyRanges(NEW, (Move(B, 3 * 4096, 0, 4 * 4096),))])
    new = ahead.open_read(NEW)
    assert list(new.data_ranges(0, 8 * 4096)) == [(4096, 2 * 4096)]
    new.will_need(0, 8 * 4096)
    new.close()
    assert not any(port.opened.values()), "a file stays open"


def test_what_is_cloned_is_not_guessed() -> None:
    with pytest.raises(Unsupported):
        foreseen(scene(), [CreateFile(NEW, 0, clone_of=A)])
