# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why an output is written or kept: the one place that decides the ``reason`` of a conversion."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from ..._io.port import Port
from .conversion import Conversion
from .request import ALWAYS, MISSING

KEPT = "kept"


def reason_of(port: Port, conversion: Conversion) -> str:
    """The reason in words. It begins with ``kept`` when the destination is good as it is, else with ``written``."""
    update = conversion.request.update
    if conversion.destination.stat is None:
        return "written: there was no destination"
    if update == MISSING:
        return "kept: the destination exists"
    if update == ALWAYS:
        return "written: update is always"
    from .difference import content_difference, shape_difference

    difference = shape_difference(port, conversion)
    if difference is not None:
        return f"written: {difference}"
    found = content_difference(port, conversion)
    return "kept: shape and content are the same" if found is None else f"written: the content differs {found}"


def is_kept(reason: str) -> bool:
    """Whether the destination stays as it is."""
    return reason.startswith(KEPT)
