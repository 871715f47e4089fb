# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Telling data that no compression will make smaller, at a fraction of the cost of trying."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import zlib

_SAMPLES = 1024
# Of 1024 random bytes about 251 values occur.
_MANY_VALUES = 240
_PROBE_BYTES = 1536
_PROBES = 3


def looks_random(content: bytes) -> bool:
    """Whether samples of ``content`` say that packing it is time lost.

    Depends on the content alone; never for less than 9 KiB.
    """
    if len(content) < 2 * _PROBES * _PROBE_BYTES:
        return False
    if len(set(content[:: len(content) // _SAMPLES])) < _MANY_VALUES:
        return False
    step = (len(content) - _PROBE_BYTES) // (_PROBES - 1)
    packed = sum(len(zlib.compress(content[index * step : index * step + _PROBE_BYTES], 1)) for index in range(_PROBES))
    return packed >= _PROBES * _PROBE_BYTES
