# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proof before old bytes are given up: with the copy in its place, the same is free, and all else is the same."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Callable, Iterator, Mapping, Optional, Tuple

from ..._bundle.bundle import BundleState, ImageState, observe
from ..._core.errors import VerifyFailed
from ..._core.ranges import Range, complement
from ..._core.records import dataclass, replace
from ..._formats.hds.bat import read_table
from ..._formats.hds.header import HdsHeader
from ..._guest.filesystems.runs import Runs
from ..._guest.filesystems.scan import FreeSpace
from ..._guest.first_difference import Search
from ..._guest.view import open_view
from ..._io.copy import WINDOW
from ..._io.port import Port
from .freed import free_space_of


@dataclass(frozen=True)
class Checked:
    """Guest bytes that were compared, and those that were read to find what is free."""

    bytes_read: int
    bytes_written: int = 0


@dataclass(frozen=True)
class FreeMapCheck:
    """A copy of an image, at ``temporary`` with the header ``fresh``; ``views`` by snapshot, as planned."""

    state: BundleState
    image: ImageState
    temporary: str
    fresh: HdsHeader
    views: Mapping[str, FreeSpace]
    swap: bool

    def run(self, port: Port, on_progress: Optional[Callable[[int, int], None]] = None) -> Checked:
        """Compare every view that stands on the image. Raises VerifyFailed."""
        # Copies of other images may have their names already.
        before = replace(observe(port, self.state.location, allow_outside=True), surroundings=self.state.surroundings)
        key = (self.image.storage, self.image.guid)
        after = replace(before, images={**before.images, key: self._copied(port)})
        guids = self._guids()
        compared = 0
        for number, guid in enumerate(guids, 1):
            found = free_space_of(port, after, guid, swap=self.swap)
            if found.free != self.views[guid].free:
                raise self._failure("The free space in the copy is not that of the image")
            compared += found.bytes_read + self._compare(port, (before, after), guid)
            if on_progress is not None:
                on_progress(number, len(guids))
        return Checked(compared)

    @property
    def bytes_to_read(self) -> int:
        """Guest bytes that ``run`` reads of the copy, and compares."""
        size, views = self.state.descriptor.size_bytes, [self.views[guid] for guid in self._guids()]
        compared = sum(length for view in views for _offset, length in self._slices(view.free, size))
        return compared + sum(view.bytes_read for view in views)

    def _guids(self) -> Tuple[str, ...]:
        """The snapshots that stand on the image, itself first."""
        return (self.image.guid, *self.state.tree.descendants(self.image.guid))

    def _copied(self, port: Port) -> ImageState:
        file = port.open_read(self.temporary)
        try:
            table = read_table(file, self.fresh)
        finally:
            file.close()
        return replace(self.image, path=self.temporary, header=self.fresh, table=table, extension=None)

    def _compare(self, port: Port, states: Tuple[BundleState, BundleState], guid: str) -> int:
        one, other = (open_view(port, state, guid) for state in states)
        try:
            slices = list(self._slices(self.views[guid].free, one.size))
            difference = Search(one, other, iter(slices)).run()
        finally:
            one.close()
            other.close()
        if difference is not None:
            raise self._failure("The copy does not read back as the image", difference)
        return sum(length for _offset, length in slices)

    def _slices(self, free: Runs, size: int) -> Iterator[Tuple[int, int]]:
        """What the image holds and is not free in the view, in pieces."""
        for start, end in self._held(size):
            for low, high in complement(free.between(start, end), start, end):
                for offset in range(low, high, WINDOW):
                    yield offset, min(WINDOW, high - offset)

    def _held(self, size: int) -> Iterator[Range]:
        base, length = self.state.parts[self.image.storage]
        if self.image.table is not None and self.image.header is not None:
            step = self.image.header.cluster_bytes
            for run in self.image.table.runs():
                end = min(base + (run.cluster + run.count) * step, base + length, size)
                yield base + run.cluster * step, end

    def _failure(self, message: str, offset: Optional[int] = None) -> VerifyFailed:
        hint = "Check the disks and the memory of this machine; the image is as it was."
        return VerifyFailed(message, self.image.path, offset, hint=hint)
