# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the files in a bundle that are none of its images (findings ``orphan_file``, ``leftover_*``)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from ..._bundle.naming import classify
from ..._core.findings import Finding, found


def examine_files(
    directory: str, names: Sequence[str], *, journal: Optional[str], is_interrupted: bool
) -> Iterator[Finding]:
    """Judge ``names``; ``journal`` is that of the journal, which has a finding of its own."""
    for name in names:
        kind, path = classify(name), f"{directory}/{name}"
        if kind == "image":
            text = "The descriptor does not name this image. It may be a layer that the descriptor has lost, or a"
            text += " linked clone may need it; move it away, and remove it when nothing misses it."
            yield found("orphan_file", path, text)
        elif kind == "ploop_leftover":
            text = "An operation of ploop was not finished. Finish it with ploop, or remove the file."
            yield found("leftover_ploop", path, text)
        elif kind == "ours" and name != journal and not is_interrupted:
            yield found("leftover_ours", path, "A run of this collection was cut off while it wrote this file.")
