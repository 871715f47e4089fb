# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ranges that an image can be asked for, and those that a writer takes."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from .._core.errors import BadRequest


def check_range(path: str, size: int, start: int, length: int) -> None:
    """Raise BadRequest unless the range lies within a disk of ``size`` bytes."""
    if start < 0 or length < 0 or start + length > size:
        raise BadRequest("The range leaves the disk", path, expected=f"0..{size}", found=f"{start}..{start + length}")


def check_next(path: str, position: int, size: int, offset: int, length: int) -> None:
    """Raise BadRequest unless the range is between ``position``, which a writer has reached, and the disk's end."""
    if length < 0 or offset < position or offset + length > size:
        raise BadRequest(
            "The range goes back or leaves the disk",
            path,
            expected=f"{position}..{size}",
            found=f"{offset}..{offset + length}",
        )
