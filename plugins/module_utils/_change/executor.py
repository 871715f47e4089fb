# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The executor: applies any plan, step by step, under lock.

It refuses a plan whose disk has changed since it was examined, checks the room before the first step, and takes back
what it did when a step before the commit fails. It decides nothing about disks.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._core.errors import AlreadyExists, DiskError, InUse, IoFailure, NoSpace, NotFound, SharedLayer, Unsupported
from .._core.plan import (
    CopyRanges,
    CreateFile,
    MakeDirectory,
    Plan,
    PunchHoles,
    Remove,
    Rename,
    ReplaceFile,
    Resize,
    Step,
    Sync,
    Transfer,
    WriteBytes,
)
from .._core.records import dataclass
from .._core.units import format_size
from .._io.buffers import new_buffer
from .._io.copy import SLICE, WINDOW, Writeback, copy_bytes
from .._io.durable import make_like, mode_like, replace_file
from .._io.fingerprint import refuse_changed
from .._io.port import DIRECTORY, File, Lock, Port, Stat
from .._io.remove import remove_tree
from .permissions import refuse_unwritable

Progress = Callable[[int, int], None]
Recover = Callable[[str], Optional[str]]

_WITHOUT_HOLES = (
    "Use strategy: in_place or copy for expanding images; with scan: metadata, plain ones are left as they are."
)


@dataclass(frozen=True)
class Outcome:
    """What a run really did: bytes of guest data moved, seconds, and what steps reported by name."""

    bytes_read: int
    bytes_written: int
    elapsed: float
    warnings: Tuple[str, ...]
    reports: Dict[str, object]


def execute(
    port: Port, plan: Plan[Any], *, on_progress: Optional[Progress] = None, recover: Optional[Recover] = None
) -> Outcome:
    """Apply ``plan``. After a failed step ``recover`` puts a disk's directory in order; it may return advice.

    Raises InUse, StalePlan, NoSpace, NoPermission or ReadOnly, before anything changes; any
    other error comes from a step and leaves the disk as it was, or with a journal that a further run finishes.
    """
    started = time.monotonic()
    if not plan.is_durable:
        from .._io.unsynced import unsynced

        port = unsynced(port)
    lock = _locked(port, plan) if plan.lock_directories or plan.lock_files else None
    run = _Run(port, plan, on_progress)
    try:
        refuse_stale(port, plan)
        refuse_without_room(port, plan)
        refuse_unwritable(port, plan)
        run.open_targets()
        _take_steps(run, port, plan, recover)
    finally:
        run.close()
        run.release()
        if lock is not None:
            lock.release()
    warnings = tuple(getattr(lock, "warnings", ())) if lock is not None else ()
    return Outcome(run.bytes_read, run.bytes_written, time.monotonic() - started, warnings, run.reports)


def _take_steps(run: _Run, port: Port, plan: Plan[Any], recover: Optional[Recover]) -> None:
    try:
        run.steps()
    except BaseException as error:
        run.close()
        advice = _clean_up(port, plan, recover)
        if advice is not None and isinstance(error, DiskError):
            error.hint = f"{error.hint} {advice}" if error.hint else advice
        raise


def _locked(port: Port, plan: Plan[Any]) -> Lock:
    try:
        return port.lock(plan.lock_directories, plan.lock_files)
    except NotFound:
        refuse_stale(port, plan)
        raise


def check_preconditions(port: Port, plan: Plan[Any]) -> None:
    """Raise InUse, NoSpace, NoPermission or ReadOnly as ``execute`` would before its first step, as far as is known
    without a lock.
    """
    for path, holder in port.holders(plan.lock_directories + plan.lock_files):
        owner = holder.owner
        found, hint = f"{holder.kind}: {owner}", f"Stop {owner} or wait, then run again."
        raise InUse(f"{path} is held by {owner}", path=path, found=found, hint=hint)
    refuse_without_room(port, plan)
    refuse_unwritable(port, plan)


def refuse_stale(port: Port, plan: Plan[Any]) -> None:
    """Raise StalePlan when a file is no longer what the plan was made for."""
    refuse_changed(port, plan.fingerprint)


def refuse_without_room(port: Port, plan: Plan[Any]) -> None:
    """Raise NoSpace when a file system has too little room for what the plan says it needs."""
    for directory, needed in plan.space:
        free = port.free_space(directory) if needed > 0 else 0
        if needed > 0 and free < needed:
            text = f"There is too little room: {format_size(needed)} are needed, {format_size(free)} are free"
            hint = "Free some space and run again; nothing was changed."
            raise NoSpace(text, path=directory, expected=needed, found=free, hint=hint)


def _clean_up(port: Port, plan: Plan[Any], recover: Optional[Recover]) -> Optional[str]:
    """Take back what a failed plan did; returns advice for the user. Must not hide the first error by another."""
    try:
        for path in plan.cleanup.remove:
            remove_tree(port, path)
        if plan.cleanup.staging is not None:
            from .publish import settle

            settle(port, plan.cleanup.staging)
        if plan.cleanup.disk is not None and recover is not None:
            return recover(plan.cleanup.disk)
    except DiskError:
        pass
    return None


def _refuse_shared(path: str, stat: Stat) -> None:
    """Whatever the guards looked at: a file with a second name is nobody's to change in place."""
    if stat.links > 1:
        text = f"The file has {stat.links} names (hard links); a change in place would change all of them"
        hint = "Give the disk a file of its own first: cp FILE FILE.own && mv FILE.own FILE."
        raise SharedLayer(text, path=path, found=stat.links, expected=1, hint=hint)


class _Run:
    """One application of a plan: the files it has open and what it counted."""

    def __init__(self, port: Port, plan: Plan[Any], on_progress: Optional[Progress]) -> None:
        self._port = port
        self._plan = plan
        self._on_progress = on_progress
        self._files: Dict[Tuple[str, bool], File] = {}
        self._held: List[Lock] = []
        self._buffer = memoryview(b"")
        self.bytes_read = 0
        self.bytes_written = 0
        self.reports: Dict[str, object] = {}

    def open_targets(self) -> None:
        """Open what will be written, so that a file that may not be is found before the first step."""
        written = (step for step in self._plan.steps if isinstance(step, (WriteBytes, CopyRanges, Resize, PunchHoles)))
        for path in dict.fromkeys(step.path for step in written):
            there = self._port.lstat(path)
            if there is not None:
                _refuse_shared(path, there)
                self._writing(path)

    def steps(self) -> None:
        """Apply all steps in order."""
        for step in self._plan.steps:
            _APPLY[type(step)](self, step)

    def close(self) -> None:
        """Close every file."""
        while self._files:
            self._files.popitem()[1].close()

    def release(self) -> None:
        """Release what was held while it had no final name."""
        while self._held:
            self._held.pop().release()

    def _reading(self, path: str) -> File:
        if (path, True) in self._files:
            return self._files[(path, True)]
        if (path, False) not in self._files:
            self._files[(path, False)] = self._port.open_read(path)
        return self._files[(path, False)]

    def _writing(self, path: str) -> File:
        if (path, True) not in self._files:
            self._files[(path, True)] = self._port.open_write(path)
        return self._files[(path, True)]

    def _forget(self, path: str) -> None:
        for key in [key for key in self._files if key[0] == path or key[0].startswith(path + "/")]:
            self._files.pop(key).close()

    def make_directory(self, step: MakeDirectory) -> None:
        self._port.make_directory(step.path)
        self._hold((step.path,), ())

    def _hold(self, directories: Tuple[str, ...], files: Tuple[str, ...]) -> None:
        """Lock what was made a moment ago. Raises InUse when another run took it for a leftover in that moment."""
        path = (directories + files)[0]
        try:
            self._held.append(self._port.lock(directories, files))
            is_there = self._port.lstat(path) is not None
        except NotFound:
            is_there = False
        if not is_there:
            text = "Another run was clearing up in this directory at the same moment"
            raise InUse(text, path=path, hint="Run again.")

    def create_file(self, step: CreateFile) -> None:
        stream = self._files[(step.path, True)] = self._created(step)
        if step.hold:
            self._hold((), (step.path,))
        if step.like is not None:
            make_like(self._port, stream, step.like)
        if step.reserve and step.size:
            stream.allocate(0, step.size)
        elif step.size:
            stream.truncate(step.size)
        if not step.size:
            # Of an image in a thousand pieces none is kept open before it is its turn.
            self._files.pop((step.path, True)).close()

    def _created(self, step: CreateFile) -> File:
        mode = 0o666 if step.like is None else mode_like(self._port, step.like)
        return self._cloned(step, mode) or self._port.create(step.path, mode)

    def _cloned(self, step: CreateFile, mode: int) -> Optional[File]:
        if step.clone_of is None:
            return None
        # Not kept open: a disk may have more parts than a process may have files.
        model = self._port.open_read(step.clone_of)
        try:
            return self._port.clone(model, step.path, mode)
        finally:
            model.close()

    def write_bytes(self, step: WriteBytes) -> None:
        self._writing(step.path).pwrite(step.offset, step.content)

    def copy_ranges(self, step: CopyRanges) -> None:
        target = self._writing(step.path)
        self._buffer = self._buffer or new_buffer(WINDOW)
        writeback = Writeback((target,))
        for move in step.moves:
            start, length = move.target_offset, move.length
            if move.source is None:
                self._zero(target, start, length)
            else:
                source, at, buffer = self._reading(move.source), move.source_offset, self._buffer
                copy_bytes(source, at, target, start, length, buffer=buffer, on_progress=self._moved)
                self.bytes_read += length
            writeback.reached(self.bytes_written)

    def _moved(self, length: int) -> None:
        self.bytes_written += length
        if self._on_progress is not None:
            self._on_progress(self.bytes_written, self._plan.bytes_written)

    def _zero(self, target: File, offset: int, length: int) -> None:
        zeros = bytes(min(length, SLICE))
        while length > 0:
            part = min(length, SLICE)
            target.pwrite(offset, zeros if part == len(zeros) else zeros[:part])
            offset, length = offset + part, length - part
            self._moved(part)

    def resize(self, step: Resize) -> None:
        file = self._writing(step.path)
        length = file.size() if step.reserve else 0
        if length < step.size and step.reserve:
            file.allocate(length, step.size - length)
        else:
            file.truncate(step.size)

    def punch_holes(self, step: PunchHoles) -> None:
        """Raises Unsupported where the host has no holes; zeros would give nothing back."""
        file = self._writing(step.path)
        for start, end in step.ranges:
            if not file.punch_hole(start, end - start):
                text = "The file system cannot punch holes into files"
                raise Unsupported(text, path=step.path, offset=start, hint=_WITHOUT_HOLES)

    def sync(self, step: Sync) -> None:
        for path in step.files:
            self._writing(path).sync()
        for path in step.directories:
            self._port.sync_directory(path)

    def replace_file(self, step: ReplaceFile) -> None:
        self._port.remove(step.temporary)
        replace_file(self._port, step.path, step.content, temporary=step.temporary, like=step.like)

    def rename(self, step: Rename) -> None:
        self._forget(step.old)
        directory = step.new.rsplit("/", 1)[0] or "/"
        if step.displaced is None:
            self._rename_onto_nothing_or_file(step)
        else:
            self._replace(step.old, step.new, step.displaced, directory)
        self._port.sync_directory(directory)

    def _replace(self, old: str, new: str, displaced: str, directory: str) -> None:
        """Two renames; when the second fails the first is taken back, so that ``new`` is as it was."""
        if self._port.exchange(old, new):
            try:
                self._port.rename(old, displaced)
            except BaseException:
                self._port.exchange(old, new)
                raise
            return
        self._port.rename(new, displaced)
        try:
            self._port.sync_directory(directory)
            self._port.rename(old, new)
        except BaseException:
            self._port.rename(displaced, new)
            raise

    def _rename_onto_nothing_or_file(self, step: Rename) -> None:
        self._refuse_directory(step.new)
        try:
            self._port.rename(step.old, step.new, replace=not step.is_new)
        except AlreadyExists as error:
            self._refuse_directory(step.new)
            text, hint = "Another run has put a file there meanwhile", "Look at it and run again; it was not touched."
            raise AlreadyExists(text, path=step.new, hint=hint) from error
        except IoFailure:
            self._refuse_directory(step.new)
            raise

    def _refuse_directory(self, path: str) -> None:
        there = self._port.lstat(path)
        if there is not None and there.kind == DIRECTORY:
            text = "Somebody else put a directory where the new one should go"
            raise AlreadyExists(text, path=path, hint="Look at it and run again.")

    def remove(self, step: Remove) -> None:
        for path in step.paths:
            self._forget(path)
            remove_tree(self._port, path)
        self._port.sync_directory(step.directory)

    def transfer(self, step: Transfer) -> None:
        report = step.job.run(self._port, self._on_progress)
        self.bytes_read += report.bytes_read
        self.bytes_written += report.bytes_written
        self.reports["transfer"] = report


_APPLY: Dict[type, Callable[[_Run, Step], None]] = {
    MakeDirectory: _Run.make_directory,  # type: ignore[dict-item]
    CreateFile: _Run.create_file,  # type: ignore[dict-item]
    WriteBytes: _Run.write_bytes,  # type: ignore[dict-item]
    CopyRanges: _Run.copy_ranges,  # type: ignore[dict-item]
    Resize: _Run.resize,  # type: ignore[dict-item]
    PunchHoles: _Run.punch_holes,  # type: ignore[dict-item]
    Sync: _Run.sync,  # type: ignore[dict-item]
    ReplaceFile: _Run.replace_file,  # type: ignore[dict-item]
    Rename: _Run.rename,  # type: ignore[dict-item]
    Remove: _Run.remove,  # type: ignore[dict-item]
    Transfer: _Run.transfer,  # type: ignore[dict-item]
}
