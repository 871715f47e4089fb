# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that are not UTF-8, which no result can hold: shown as ``b\\xff.hdd``, and taken so, too."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import Any

from .._core.errors import DiskError
from .._io.port import Port

_SHOWN = re.compile(r"\\x([89a-f][0-9a-f])")


def readable(value: Any) -> Any:
    """A result of any depth with every text in UTF-8; other bytes become ``\\xNN``, as Python writes them."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(key) if isinstance(key, str) else key: readable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [readable(one) for one in value]
    return value


def _text(value: str) -> str:
    try:
        value.encode()
        return value
    except UnicodeEncodeError:
        pass
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        # Half a pair, which stands for no byte.
        return value.encode("utf-8", "backslashreplace").decode()


def meant(port: Port, path: str) -> str:
    """The path that a result shows as ``path``: itself, unless nothing is there and something is at the other."""
    if _SHOWN.search(path) is None:
        return path
    other = _SHOWN.sub(lambda match: chr(0xDC00 + int(match.group(1), 16)), path)
    try:
        return other if port.lstat(path) is None and port.lstat(other) is not None else path
    except DiskError:
        return path
