# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans: what an operation will do, as an immutable list out of a small vocabulary of steps.

A plan is made from facts alone and says everything beforehand: the bytes it will move, the room it needs, the point
where it becomes true (the commit) and what must not have changed in between. Check mode shows it, the executor applies
it. Paths are absolute, offsets and lengths are bytes.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Callable, Dict, Generic, Iterable, NamedTuple, Optional, Protocol, Tuple, TypeVar, Union

from .records import dataclass, replace

Facts = TypeVar("Facts")
Other = TypeVar("Other")
Identity = Optional[Tuple[int, ...]]
Fingerprint = Tuple[Tuple[str, Identity], ...]
"""Paths with their device, inode, length and time of change, or None where nothing was."""


class Move(NamedTuple):
    """``length`` bytes from ``source`` at ``source_offset`` to ``target_offset``; no ``source`` means zeros."""

    source: Optional[str]
    source_offset: int
    target_offset: int
    length: int


@dataclass(frozen=True)
class MakeDirectory:
    """Create a directory that nobody knows yet and hold it, so that another run does not take it for a leftover."""

    path: str


@dataclass(frozen=True)
class CreateFile:
    """Create a file of ``size`` bytes that reads as zeros; ``like`` names the file whose mode and owner it takes.

    ``reserve`` asks for host blocks. ``hold`` locks the file, so that another run does not take it for a leftover.
    ``clone_of`` names a file whose blocks it gets, all of them, where the host can do that.
    """

    path: str
    size: int
    reserve: bool = False
    like: Optional[str] = None
    hold: bool = False
    clone_of: Optional[str] = None


@dataclass(frozen=True)
class WriteBytes:
    """Write small things: a header, a piece of a table."""

    path: str
    offset: int
    content: bytes


@dataclass(frozen=True)
class CopyRanges:
    """Move guest data between files, in the given order. ``moves`` can be gone through again and again."""

    path: str
    moves: Iterable[Move]

    @property
    def length(self) -> int:
        """Bytes moved."""
        return sum(move.length for move in self.moves)


@dataclass(frozen=True)
class Resize:
    """Cut a file, or let it grow with a hole; with ``reserve`` what it gains gets host blocks at once."""

    path: str
    size: int
    reserve: bool = False


@dataclass(frozen=True)
class PunchHoles:
    """Give the host blocks of ranges ``(start, end)`` of a file back; they read as zeros, the length stays."""

    path: str
    ranges: Tuple[Tuple[int, int], ...]


@dataclass(frozen=True)
class Sync:
    """A barrier: all before it in these files and directories is on the medium before anything after it starts."""

    files: Tuple[str, ...] = ()
    directories: Tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplaceFile:
    """Give a small file a new content, durably and in one step (temporary, sync, rename, directory sync).

    ``like`` names the file whose mode and owner it takes when it is new.
    """

    path: str
    content: bytes
    temporary: str
    like: Optional[str] = None


@dataclass(frozen=True)
class Rename:
    """Give a file or directory its final name and sync the directory.

    Without ``displaced`` a file at ``new`` is replaced, a directory there is an error. With it, what lies at ``new`` is
    kept under ``displaced``: the names are exchanged in one step where the host can, else it is moved aside first.
    ``is_new`` is for a name that nobody had: somebody who has it by now keeps it, and the step fails.
    """

    old: str
    new: str
    displaced: Optional[str] = None
    is_new: bool = False


@dataclass(frozen=True)
class Remove:
    """Remove files and whole directories (own temporaries, layers no longer named), then sync ``directory``."""

    paths: Tuple[str, ...]
    directory: str


class Report(Protocol):
    """What a job did, in bytes of guest data."""

    @property
    def bytes_read(self) -> int:
        """Bytes read."""

    @property
    def bytes_written(self) -> int:
        """Bytes written."""


class Job(Protocol):
    """What a transfer does. It knows source and target."""

    def run(self, port: Any, on_progress: Optional[Callable[[int, int], None]] = None) -> Report:
        """Do it on the host behind ``port``, and report how far it is: bytes done, and bytes in all."""


@dataclass(frozen=True)
class Transfer:
    """Stream a guest view into new images, leaving zeros out, and check the result."""

    job: Job


Step = Union[
    MakeDirectory, CreateFile, WriteBytes, CopyRanges, Resize, PunchHoles, Sync, ReplaceFile, Rename, Remove, Transfer
]


@dataclass(frozen=True)
class Cleanup:
    """When a step fails: remove these paths, end the publishing from ``staging``, or recover the disk at ``disk``."""

    remove: Tuple[str, ...] = ()
    disk: Optional[str] = None
    staging: Optional[str] = None


@dataclass(frozen=True)
class Plan(Generic[Facts]):
    """The steps of one operation and all that is known of them beforehand.

    ``commit`` is the index of the step that makes the change true, None where every prefix of the steps is the same
    disk to its readers. Before it only new files are written, and the files in ``hidden``, which no reader looks at;
    after it only removals, and changes of the files in ``settled``, which nobody counts on any more.

    ``bytes_freed`` is what the file system gets back; ``space`` lists how many bytes must be free in which directory;
    ``bytes_scanned`` are the bytes of ``bytes_read`` that planning has read. ``facts`` are the operation's own
    predictions. Without ``is_durable`` nothing is synced, which is for outputs that replace nothing.
    """

    operation: str
    steps: Tuple[Step, ...] = ()
    fingerprint: Fingerprint = ()
    lock_directories: Tuple[str, ...] = ()
    lock_files: Tuple[str, ...] = ()
    space: Tuple[Tuple[str, int], ...] = ()
    bytes_read: int = 0
    bytes_written: int = 0
    bytes_freed: int = 0
    cleanup: Cleanup = Cleanup()
    warnings: Tuple[str, ...] = ()
    commit: Optional[int] = None
    hidden: Tuple[str, ...] = ()
    settled: Tuple[str, ...] = ()
    bytes_scanned: int = 0
    is_durable: bool = True
    facts: Facts = None  # type: ignore[assignment]

    @property
    def is_empty(self) -> bool:
        """Whether the disk already is as requested."""
        return not self.steps

    def with_facts(self, facts: Other) -> Plan[Other]:
        """The same plan with other predictions."""
        return replace(self, facts=facts)  # type: ignore[arg-type,return-value]

    @property
    def commit_text(self) -> Optional[str]:
        """The commit in words, the same in check mode and in the run; None for a plan without one."""
        if self.commit is None:
            return None
        step = self.steps[self.commit]
        if isinstance(step, Rename):
            return f"rename {step.old} away" if step.new.endswith(".tmp") else f"rename to {step.new}"
        return _COMMITS[type(step)].format(step)


_COMMITS: Dict[type, str] = {
    ReplaceFile: "replace {0.path}",
    Remove: "remove {0.paths[0]}",
    WriteBytes: "write {0.path} at byte {0.offset}",
    Resize: "give {0.path} a length of {0.size} bytes",
}
