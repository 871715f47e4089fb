# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The identity of files: what must not have changed between looking at a disk and changing it."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .._core.errors import StalePlan
from .port import Port, Stat

if TYPE_CHECKING:
    from .._core.plan import Fingerprint, Identity


def identity(stat: Optional[Stat]) -> Identity:
    """What of a file must stay the same for a plan to hold."""
    return None if stat is None else (stat.device, stat.inode, stat.size, stat.mtime_ns)


def refuse_changed(port: Port, fingerprint: Fingerprint) -> None:
    """Raise StalePlan when a file is no longer what it was."""
    for path, seen in fingerprint:
        if identity(port.stat(path)) != seen:
            raise StalePlan(
                "The disk was changed by somebody else while this run was looking at it", path=path, hint="Run again."
            )
