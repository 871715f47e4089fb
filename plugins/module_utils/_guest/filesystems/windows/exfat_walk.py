# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A walk over all folders of an exFAT volume: whether the bitmap has what they name."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import List, Set

from ..answer import Uncertain, refuse_if
from ..runs import Runs
from ..volume import Volume
from .exfat_layout import (
    ALLOCATED,
    BITMAP,
    CONTIGUOUS,
    ENTRY,
    FILE,
    FOLDER,
    LABEL,
    NAME,
    STREAM,
    UPCASE,
    VENDOR,
    VOLUME_ID,
    Allocation,
    Clusters,
    Exfat,
    Run,
    allocation,
    entry_sets,
)

_ROOT_ONLY = (BITMAP, UPCASE, LABEL, VOLUME_ID)
_MOST_BYTES = 256 << 20
_LONGEST_FOLDER = 64 << 20
_LONGEST_READ = 1 << 20


class Walk:
    """A walk over the folders of ``boot``'s volume. It reads no more than some hundred MiB: else costly."""

    def __init__(self, volume: Volume, boot: Exfat, clusters: Clusters) -> None:
        self._volume = volume
        self._boot = boot
        self._clusters = clusters
        self._left = _MOST_BYTES
        self._seen: Set[int] = set()
        self._waiting: List[Allocation] = []

    def run(self, runs: Runs, root: List[Run], content: bytes) -> None:
        """Visit everything, the root folder first. Raises Uncertain where something has a cluster of ``runs``."""
        self._refuse_free(runs, root)
        self._seen.add(self._boot.root)
        self._visit(runs, content, is_root=True)
        while self._waiting:
            one = self._waiting.pop()
            refuse_if(one.first in self._seen or one.size > _LONGEST_FOLDER)
            self._seen.add(one.first)
            places = self._clusters.runs(one)
            self._visit(runs, self.content(places), is_root=False)

    def content(self, places: List[Run]) -> bytes:
        """The bytes of some clusters."""
        found = []
        for start, end in places:
            self._left -= (end - start) * self._boot.cluster
            refuse_if(self._left < 0, "costly")
            for offset in range(self._boot.place(start), self._boot.place(end), _LONGEST_READ):
                found.append(self._volume.read(offset, min(_LONGEST_READ, self._boot.place(end) - offset)))
        return b"".join(found)

    def _visit(self, runs: Runs, content: bytes, *, is_root: bool) -> None:
        for one in entry_sets(content):
            if one[0] == FILE:
                self._look_at_file(runs, one)
            elif one[0] not in _ROOT_ONLY:
                raise Uncertain("unknown_features")
            elif not is_root:
                raise Uncertain("damaged")
            elif one[0] in (BITMAP, UPCASE):
                self._refuse_free(runs, self._clusters.runs(allocation(one)))

    def _look_at_file(self, runs: Runs, one: bytes) -> None:
        refuse_if(one[ENTRY : ENTRY + 1] != bytes([STREAM]))
        for offset in range(ENTRY, len(one), ENTRY):
            kind, flags = one[offset], one[offset + 1]
            if kind in (NAME, VENDOR):
                continue
            refuse_if(offset > ENTRY and kind < VENDOR, "unknown_features")
            found = allocation(one[offset : offset + ENTRY], is_contiguous=bool(flags & CONTIGUOUS))
            if not found.first and not found.size:
                continue
            refuse_if(not flags & ALLOCATED or not found.size)
            self._refuse_free(runs, self._clusters.runs(found))
            if offset == ENTRY and struct.unpack_from("<H", one, 4)[0] & FOLDER:
                self._waiting.append(found)

    def _refuse_free(self, runs: Runs, places: List[Run]) -> None:
        for start, end in places:
            refuse_if(runs.within(self._boot.place(start), self._boot.place(end)))
