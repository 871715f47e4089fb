# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a run: what became of each disk, written while the run goes on, so that it is known of a run that was
cut off, too.

A file of lines, each one JSON object that a person can read, too::

    {"event": "begin", "what": "vdisk.parallels maintenance", "version": 1, "run": "...", "time": "..."}
    {"event": "disk", "path": "/vms/a.hdd"}                              it has its turn
    {"event": "done", "path": "/vms/a.hdd", "outcome": "changed", ...}   its entry in the result
    {"event": "end", "time": "...", "unfinished": [...]}

A run that was cut off has no end. The next run goes on in the same file; one that follows an end begins a new file,
unless both are parts of one ``run``. A last line that is cut off is no line.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
import posixpath
import time
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..._core.errors import AlreadyExists, BadRequest, Damaged
from ..._core.records import dataclass
from ..._io.durable import read_file
from ..._io.port import FILE, File, Lock, Port

_WHAT = "vdisk.parallels maintenance"
_BEGIN = {"event": "begin", "what": _WHAT, "version": 1}
_MARK = 60
"""Bytes of a record that are the same in each."""

_LIMIT = 64 << 20
_MODE = 0o600

Entry = Dict[str, Any]


class Earlier(NamedTuple):
    """A run that was cut off: when it began, the entries of the disks that it was done with, and the disk at which it
    was cut off, None between two.
    """

    began: str
    disks: List[Entry]
    cut_at: Optional[str] = None


@dataclass(frozen=True)
class Past:
    """What a record says before a run goes on with it. ``reached`` are the disks that need no second look first."""

    earlier: Optional[Earlier] = None
    reached: FrozenSet[str] = frozenset()
    goes_on: bool = False
    length: int = 0


def parse_record(content: bytes, run: Optional[str], *, path: str) -> Past:
    """What the record at ``path`` says to a part of ``run``. Raises BadRequest for a file that is no record."""
    events, length = _events(content)
    if not events:
        # All that there is of a record whose first line was cut off, and what a power failure makes of one.
        if content.rstrip(b"\0") and not _line(_BEGIN)[:_MARK].startswith(content[:_MARK].rstrip(b"\0")):
            raise _foreign(path)
        return Past()
    last = max(number for number, event in enumerate(events) if event["event"] == "begin")
    is_same = run is not None and events[last].get("run") == run
    told = _entries(events[last:] if is_same else events)
    if events[-1]["event"] != "end":
        current = events[-1] if events[-1]["event"] == "disk" else {}
        began = str(events[last if is_same else 0].get("time"))
        return Past(Earlier(began, list(told.values()), current.get("path")), frozenset(told), True, length)
    left = events[-1].get("unfinished") or ()
    return Past(None, frozenset(told) - frozenset(left) if left else frozenset(), is_same, length)


def _events(content: bytes) -> Tuple[List[Entry], int]:
    """The events up to the first line that is none, and the bytes that they take. None where there is no first one."""
    events: List[Entry] = []
    length = 0
    for line in content.splitlines(keepends=True):
        event = _event(line)
        if event is None or not (events or event.get("what") == _WHAT):
            break
        events.append(event)
        length += len(line)
    return events, length


def _event(line: bytes) -> Optional[Entry]:
    try:
        event = json.loads(line.decode("utf-8")) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _entries(events: List[Entry]) -> Dict[str, Entry]:
    """The entries of disks by path; the latest counts."""
    done = [event for event in events if event["event"] == "done" and isinstance(event.get("path"), str)]
    return {one["path"]: {key: value for key, value in one.items() if key != "event"} for one in done}


def _foreign(path: str) -> BadRequest:
    text = "record: the file is no record of maintenance, so it is not overwritten"
    return BadRequest(text, path=path, hint="Name another file.")


class Record:
    """A record that is open for one run. ``past`` is what it said before."""

    def __init__(self, file: File, lock: Lock, past: Past, clock: Callable[[], str]) -> None:
        self.past = past
        self._file = file
        self._lock = lock
        self._clock = clock
        self._length = past.length if past.goes_on else 0

    def begin(self, run: Optional[str]) -> None:
        """The run begins. Of an earlier one that ended, and of a line that was cut off, nothing is left."""
        self._file.truncate(self._length)
        self._write({**_BEGIN, "run": run, "time": self._clock()})
        self._file.sync()

    def turn(self, path: str) -> None:
        """A disk has its turn."""
        self._write({"event": "disk", "path": path})

    def done(self, entry: Mapping[str, Any], *, durably: bool) -> None:
        """The turn of a disk is over; ``durably`` where more than a look was taken."""
        self._write({"event": "done", **entry})
        if durably:
            self._file.sync()

    def end(self, unfinished: Sequence[str]) -> None:
        """The run is over, and its result is told."""
        self._write({"event": "end", "time": self._clock(), "unfinished": list(unfinished)})
        self._file.sync()

    def close(self) -> None:
        """Release the file; what was written stays."""
        self._file.close()
        self._lock.release()

    def _write(self, event: Mapping[str, Any]) -> None:
        line = _line(event)
        self._file.pwrite(self._length, line)
        self._length += len(line)


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode("utf-8") + b"\n"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def open_record(port: Port, path: str, run: Optional[str] = None, *, clock: Callable[[], str] = _now) -> Record:
    """The record at an absolute ``path`` for a part of ``run``: begun, or gone on with. Missing folders are made.

    Raises BadRequest for a file that is something else, which stays as it is, and InUse while another run writes it.
    """
    _make_folders(port, posixpath.dirname(path))
    stat = port.lstat(path)
    if stat is None:
        port.create(path, _MODE).close()
        port.sync_directory(posixpath.dirname(path))
    elif stat.kind != FILE:
        raise BadRequest("record: this is no file", path=path, hint="Name a file that may be written.")
    lock = port.lock((), (path,))
    try:
        past = _past(port, path, run)
        record = Record(port.open_write(path), lock, past, clock)
        record.begin(run)
    except BaseException:
        lock.release()
        raise
    return record


def _past(port: Port, path: str, run: Optional[str]) -> Past:
    try:
        return parse_record(read_file(port, path, limit=_LIMIT), run, path=path)
    except Damaged:
        # Too long.
        raise _foreign(path) from None


def _make_folders(port: Port, folder: str) -> None:
    missing = []
    while port.stat(folder) is None:
        missing.append(folder)
        folder = posixpath.dirname(folder)
    for one in reversed(missing):
        try:
            port.make_directory(one)
        except AlreadyExists:
            # Another run has been quicker.
            continue
