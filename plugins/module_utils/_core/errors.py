# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that can go wrong with a disk, as one tree of errors with stable codes.

An error says what could not be done, to which file, where in it, and what to do next. The code is part of the
public interface (``error_code`` of a failed task); the wording is not.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Optional

CHECK_HINT = "Run hdd_check on the disk: it says what is wrong, and repair: safe mends what can be mended without loss."
"""Advice for damage that a repair may end; a copy of the disk would lose all that was written since."""


class DiskError(Exception):
    """Root of all errors that the engine raises on purpose.

    ``offset`` is in bytes from the start of the file at ``path``. ``hint`` is a sentence: what the user can do.
    """

    code = "error"
    usual_hint: Optional[str] = None

    def __init__(
        self,
        message: str,
        path: Optional[str] = None,
        offset: Optional[int] = None,
        *,
        expected: Optional[object] = None,
        found: Optional[object] = None,
        hint: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.offset = offset
        self.expected = expected
        self.found = found
        self.hint = hint or self.usual_hint

    @property
    def context(self) -> Dict[str, Any]:
        """The fields that are known, ready to be shown as ``error_context``."""
        fields = {"path": self.path, "offset": self.offset, "expected": self.expected, "found": self.found}
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def statement(self) -> str:
        """What is wrong and where, without advice: for those who give their own."""
        where = ""
        if self.path is not None and self.path not in self.message:
            where = f" ({self.path}" + (f", offset {self.offset}" if self.offset is not None else "") + ")"
        elif self.offset is not None:
            where = f" (offset {self.offset})"
        return f"{self.message}{where}."

    def __str__(self) -> str:
        return f"{self.statement} {self.hint}" if self.hint else self.statement


class BadRequest(DiskError):
    """The options do not fit each other or the disk; nothing was tried."""

    code = "bad_request"


class NotFound(DiskError):
    """Nothing lies at the given path."""

    code = "not_found"


class AlreadyExists(DiskError):
    """Something lies where a new file or bundle should go."""

    code = "exists"


class NotAWholeDisk(DiskError):
    """It is a part of a disk, or no disk at all."""

    code = "not_a_whole_disk"


class NotABundle(DiskError):
    """The path exists, but is neither a bundle nor an image of one."""

    code = "not_a_bundle"


class NoSuchSnapshot(DiskError):
    """No snapshot has this name or GUID, or more than one has this name."""

    code = "no_such_snapshot"


class Damaged(DiskError):
    """It is the right format, but its content contradicts itself."""

    code = "damaged"


class Unsupported(DiskError):
    """It is valid, but this collection cannot do it."""

    code = "unsupported"


class MissingLibrary(DiskError):
    """A library that is needed is not there, or cannot be loaded. It says nothing about any disk."""

    code = "missing_library"


class Encrypted(DiskError):
    """The payload is cipher text; only operations on metadata are possible."""

    code = "encrypted"


class InUse(DiskError):
    """Another process holds the disk."""

    code = "in_use"


class Dirty(DiskError):
    """An image carries the in-use mark, but nobody is seen to hold it."""

    code = "dirty"


class Suspended(DiskError):
    """The virtual machine is suspended: its saved memory fits only the disk as it is."""

    code = "suspended"


class SharedLayer(DiskError):
    """Another disk stands on an image: a linked clone, or a second name of the file."""

    code = "shared_layer"


class Misfit(DiskError):
    """Descriptor and images contradict each other."""

    code = "misfit"


class HasSnapshots(DiskError):
    """The operation would need a disk without (these) snapshots."""

    code = "has_snapshots"


class NoSpace(DiskError):
    """The file system has too little room; found out before the first write where possible."""

    code = "no_space"


class Escape(DiskError):
    """A file name in the descriptor leads out of the bundle."""

    code = "escape"


class MissingImage(DiskError):
    """The descriptor names an image that is not there."""

    code = "missing_image"


class StalePlan(DiskError):
    """The disk changed between looking at it and locking it."""

    code = "stale_plan"


class Interrupted(DiskError):
    """An earlier run was cut off and must be finished before this can be done."""

    code = "interrupted"


class VerifyFailed(DiskError):
    """The finished output does not read back as the source."""

    code = "verify_failed"


class IoFailure(DiskError):
    """The operating system refused a call; the cause keeps the details."""

    code = "io_error"


class NoPermission(IoFailure):
    """The user of the run may not do this here."""

    code = "permission"


class ReadOnly(IoFailure):
    """The file system is mounted for reading alone."""

    code = "read_only"
