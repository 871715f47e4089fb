# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a run: what it says of one that was cut off, wherever that was."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, InUse
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.maintain.record import (
    Record,
    open_record,
    parse_record,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/home/.record.json"


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/home")
    return port


def entry(path: str, outcome: str = "changed") -> Dict[str, Any]:
    return {"path": path, "outcome": outcome}


def opened(port: MemoryPort, run: Optional[str] = None, time: str = "T") -> Record:
    return open_record(port, PATH, run, clock=lambda: time)


def content(port: MemoryPort) -> bytes:
    file = port.open_read(PATH)
    buffer = bytearray(file.size())
    file.pread_into(0, buffer)
    file.close()
    return bytes(buffer)


def lines(port: MemoryPort) -> List[Dict[str, Any]]:
    return [json.loads(line) for line in content(port).splitlines()]


def a_run(port: MemoryPort, *paths: str, run: Optional[str] = None, unfinished: Any = (), time: str = "T") -> Record:
    """A run that does all of its disks; its record is left open."""
    record = opened(port, run, time)
    for path in paths:
        record.turn(path)
        record.done(entry(path), durably=True)
    return record


def test_a_run_that_ended_leaves_nothing_to_tell(port: MemoryPort) -> None:
    record = a_run(port, "/a", "/b")
    record.end([])
    record.close()
    assert [one["event"] for one in lines(port)] == ["begin", "disk", "done", "disk", "done", "end"]
    again = opened(port)
    assert (again.past.earlier, again.past.reached) == (None, frozenset())
    assert len(lines(port)) == 1, "the record was not begun anew"


def test_a_run_that_was_cut_off_is_told_and_added_to(port: MemoryPort) -> None:
    record = a_run(port, "/a", time="first")
    record.turn("/b")
    record.close()
    second = opened(port, time="second")
    earlier = second.past.earlier
    assert earlier is not None and earlier == ("first", [entry("/a")], "/b")
    assert second.past.reached == {"/a"}
    second.turn("/b")
    second.done(entry("/b", "unchanged"), durably=False)
    second.close()
    third = opened(port).past.earlier
    assert third is not None and third == ("first", [entry("/a"), entry("/b", "unchanged")], None)


def test_after_a_limit_those_that_it_kept_out_are_not_among_the_reached(port: MemoryPort) -> None:
    record = a_run(port, "/a", "/b")
    record.end(["/b"])
    record.close()
    past = opened(port).past
    assert (past.earlier, past.reached) == (None, {"/a"})


def test_tasks_of_one_run_go_on_in_one_record(port: MemoryPort) -> None:
    first = a_run(port, "/a", run="play 1")
    first.end([])
    first.close()
    second = opened(port, "play 1")
    assert second.past.earlier is None
    second.turn("/b")
    second.close()
    third = opened(port, "play 1").past.earlier
    assert third is not None and third == ("T", [], "/b"), "what was told already is told again"
    other = opened_after_release(port, "play 2")
    assert other is not None and [one["path"] for one in other.disks] == ["/a"]


def opened_after_release(port: MemoryPort, run: str) -> Any:
    """What another run is told; nobody holds the record."""
    port.held.clear()
    return opened(port, run).past.earlier


def test_a_record_that_is_cut_at_any_byte_says_what_came_before_and_is_gone_on_with(port: MemoryPort) -> None:
    record = a_run(port, "/a", "/b")
    record.end([])
    whole = content(port)
    for length in range(len(whole)):
        past = parse_record(whole[:length], None, path=PATH)
        assert past.length <= length
        done = 0 if past.earlier is None else len(past.earlier.disks)
        assert done == whole[:length].count(b'"done"') - (b'"done"' in whole[past.length : length])
        # What a power failure may leave behind the last line that was synced.
        torn = parse_record(whole[:length] + bytes(64) + b"\n{}\n", None, path=PATH) if length else past
        assert (torn.earlier, torn.reached, torn.length) == (past.earlier, past.reached, past.length)


@pytest.mark.parametrize("wrong", [b"hosts: all\n", b"{}\n", b'{"event": "begin"}\n', b"\xff\xfe\n", b"[" * 100_000])
def test_a_file_that_is_something_else_is_refused_and_stays(port: MemoryPort, wrong: bytes) -> None:
    port.plant_file(PATH, wrong)
    with pytest.raises(BadRequest):
        opened(port)
    assert content(port) == wrong and not port.held


def test_a_folder_is_refused_and_missing_folders_are_made(port: MemoryPort) -> None:
    port.plant_directory(PATH)
    with pytest.raises(BadRequest):
        opened(port)
    open_record(port, "/home/x/y/record", None).close()
    assert port.lstat("/home/x/y/record") is not None


def test_folders_that_another_run_has_just_made_serve_both(port: MemoryPort) -> None:
    make = port.make_directory

    def late(path: str) -> None:
        port.plant_directory(path)
        make(path)

    port.make_directory = late  # type: ignore[method-assign]
    open_record(port, "/home/x/y/record", None).close()
    assert port.lstat("/home/x/y/record") is not None


def test_nobody_else_reads_the_record_and_one_run_at_a_time_writes_it(port: MemoryPort) -> None:
    record = opened(port)
    stat = port.lstat(PATH)
    assert stat is not None and stat.mode & 0o077 == 0
    with pytest.raises(InUse):
        opened(port)
    record.close()
    port.plant_holder(PATH, Holder("flock", "pid 7"))
    with pytest.raises(InUse):
        opened(port)


def test_an_empty_record_and_one_that_a_power_failure_filled_with_zeros_are_begun_anew(port: MemoryPort) -> None:
    for left in (b"", bytes(300), b'{"event": "begin", "wh'):
        port.held.clear()
        port.plant_file(PATH, left)
        assert opened(port).past.earlier is None
        assert [one["event"] for one in lines(port)] == ["begin"]
