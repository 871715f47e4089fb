# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which disks are left out of maintenance: by path, by a folder above them, or by a pattern."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from fnmatch import fnmatchcase
from typing import Iterator, Optional, Sequence


def excluded_by(path: str, patterns: Sequence[str]) -> Optional[str]:
    """The first of ``patterns`` that leaves out the disk at an absolute ``path``, None for none.

    A pattern with a slash is compared with the path and with each folder above it, from the root if it begins with a
    slash, else from anywhere; one without a slash with each single name in the path.
    """
    return next((pattern for pattern in patterns if _applies(pattern, path)), None)


def _applies(pattern: str, path: str) -> bool:
    wanted = pattern.rstrip("/")
    if "/" not in wanted:
        return any(wanted == name or fnmatchcase(name, wanted) for name in path.split("/") if name)
    anywhere = wanted if wanted.startswith("/") else f"*/{wanted}"
    return any(place == wanted or fnmatchcase(place, anywhere) for place in _places(path))


def _places(path: str) -> Iterator[str]:
    """The path and each folder above it, without the root."""
    while path not in ("", "/"):
        yield path
        path = posixpath.dirname(path)
