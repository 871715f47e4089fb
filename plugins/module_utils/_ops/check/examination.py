# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check knows of a disk and its images, with all findings: filled by the rules, and the basis of a repair."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, Optional, Tuple

from ..._bundle.bundle import EXPANDING
from ..._bundle.descriptor import Descriptor
from ..._bundle.paths import Location
from ..._bundle.surroundings import Surroundings
from ..._bundle.tree import SnapshotTree
from ..._core.findings import ERROR, Finding
from ..._core.plan import Fingerprint
from ..._core.records import dataclass
from ..._core.units import round_up
from ..._formats.hds.bat import RunTable
from ..._formats.hds.extension import Extension
from ..._formats.hds.header import HdsHeader
from ..._io.journal import Journal
from ..._io.port import Holder, Stat
from .table import Faults


@dataclass(frozen=True)
class Expected:
    """What the descriptor says of an image: its length and cluster size. A single file has neither."""

    length_sectors: Optional[int] = None
    cluster_sectors: Optional[int] = None


@dataclass(frozen=True)
class Named:
    """An image as the descriptor names it; a single file has no ``type``."""

    storage: int
    guid: str
    file: str
    path: str
    outside: bool
    is_plain: bool
    expected: Expected
    type: str = ""
    is_root: bool = True


@dataclass(frozen=True)
class ImageExam:
    """What is known of one image.

    ``raw`` are its first 64 bytes, ``header`` is how they must be understood, None when that is not known. ``size`` is
    what it holds of the guest disk, in bytes. ``extension`` is valid; another one may have to go (``drops_extension``).
    ``surplus`` are byte ranges after the used table that are not zero. An image that ``is_frozen`` must not be changed.
    ``right_type`` is what the descriptor should call it, None for what it does.
    """

    storage: int
    guid: str
    file: str
    path: str
    outside: bool
    stat: Stat
    kind: str
    size: int
    findings: Tuple[Finding, ...]
    raw: bytes = b""
    header: Optional[HdsHeader] = None
    table: Optional[RunTable] = None
    faults: Optional[Faults] = None
    extension: Optional[Extension] = None
    drops_extension: bool = False
    surplus: Tuple[Tuple[int, int], ...] = ()
    is_frozen: bool = False
    right_type: Optional[str] = None

    @property
    def used_end(self) -> int:
        """The file offset after the last slot that is in use, on the grid."""
        return self.end_of_use(with_extension=True)

    def end_of_use(self, *, with_extension: bool) -> int:
        """The same, also for when the extension will have gone."""
        if self.header is None or self.table is None:
            return self.stat.size
        start = self.header.data_start
        ends = [start, self.table.data_end if self.faults is None else self.faults.used_end]
        if with_extension and self.extension is not None:
            ends += [end for _start, end in self.extension.pinned]
        return start + round_up(max(ends) - start, self.header.cluster_bytes)


@dataclass(frozen=True)
class Chosen:
    """``xml`` is the descriptor as it is, None for none; ``descriptor`` what the bundle goes by, as far as is known.

    ``content`` is what the file should become to say it, None when it may stay; that is ``degree`` repairable.
    """

    xml: Optional[bytes]
    descriptor: Optional[Descriptor]
    content: Optional[bytes]
    degree: str
    is_sound: bool
    findings: Tuple[Finding, ...]


@dataclass(frozen=True)
class Examination:
    """A disk and what is wrong with it. ``chosen`` is None for a single-file image; ``tree`` where it is not known.

    ``others`` are the names in the bundle that are none of its images, ``holders`` the held paths and their holders.
    """

    location: Location
    chosen: Optional[Chosen]
    tree: Optional[SnapshotTree]
    images: Tuple[ImageExam, ...]
    others: Tuple[str, ...]
    holders: Tuple[Tuple[str, Holder], ...]
    journal: Optional[Journal]
    fingerprint: Fingerprint
    findings: Tuple[Finding, ...]
    surroundings: Surroundings = Surroundings()

    @property
    def descriptor(self) -> Optional[Descriptor]:
        """What the bundle goes by."""
        return None if self.chosen is None else self.chosen.descriptor

    @property
    def kind(self) -> Optional[str]:
        """Plain or expanding, of a disk of one layer; None where it is not that simple."""
        kinds = {image.kind for image in self.images}
        is_single = self.chosen is None or (self.tree is not None and len(self.tree.shots) == 1)
        return kinds.pop() if is_single and len(kinds) == 1 else None

    @property
    def size_bytes(self) -> Optional[int]:
        """The size of the guest disk, where it is known."""
        if self.chosen is None:
            return self.images[0].size
        return None if self.descriptor is None else self.descriptor.size_bytes


def has_errors(examined: Examination) -> bool:
    """Whether anything is wrong that keeps others from working with the disk."""
    return any(one.severity == ERROR for one in examined.findings)


def expanding_images(examined: Examination) -> List[ImageExam]:
    """The images of the bundle's own that are understood and expanding."""
    own = [image for image in examined.images if image.header is not None and not image.outside]
    return [image for image in own if image.kind == EXPANDING]
