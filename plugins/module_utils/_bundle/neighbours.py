# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The search for what surrounds a disk: its virtual machine, and other disks that stand on its images.

::

    vms/                    the folder of the machines: its siblings are searched, one machine deep
      base.pvm/
        mac.hdd/            this disk; its machine is base.pvm
      clone.pvm/
        mac.hdd/            a linked clone: its descriptor names images of base.pvm/mac.hdd
      other.pvm/
        mac.hdd -> ...      a link to this disk: other.pvm is its machine, too

Nothing in a disk says who stands on it; only the descriptors of the clones do. What cannot be searched is reported.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Dict, Iterable, Iterator, List, Optional, Set, Tuple

from .._core.errors import DiskError
from .._core.records import replace
from .._io.durable import read_file
from .._io.port import DIRECTORY, SYMLINK, Port
from .bundle import BundleState
from .descriptor_xml import parse_descriptor
from .naming import DESCRIPTOR, MACHINE_SUFFIXES, SUFFIX
from .pvm import find_vm, joined_reports
from .surroundings import Clone, Surroundings

_MOST_NEIGHBOURS = 1000
_DESCRIPTOR_LIMIT = 1 << 20


class Known:
    """What was seen of disks, to be asked again by the search for the next disk of the same host.

    ``others`` are disks of the host that may lie anywhere. What it knows may be out of date: a change searches anew.
    """

    def __init__(self, port: Port, others: Iterable[str] = ()) -> None:
        self._port = port
        self.others = tuple(others)
        self._disks: Dict[str, Tuple[str, ...]] = {}
        self._looks: Dict[str, Tuple[Optional[str], Tuple[str, ...]]] = {}

    def anew(self) -> Known:
        """One that knows the same others, and has seen nothing yet."""
        return Known(self._port, self.others)

    def disks_around(self, folder: str) -> Tuple[str, ...]:
        """The paths of the disks in a folder and in the machines in it. Raises what listing them raises."""
        if folder not in self._disks:
            self._disks[folder] = tuple(self._disks_in(folder))
        return self._disks[folder]

    def look_at(self, disk: str) -> Tuple[Optional[str], Tuple[str, ...]]:
        """Where the path leads if it is a link, and the images that the disk names in other folders."""
        if disk not in self._looks:
            stat = self._port.lstat(disk)
            if stat is not None and stat.kind == SYMLINK:
                self._looks[disk] = (self._port.real_path(disk), ())
            else:
                is_folder = stat is not None and stat.kind == DIRECTORY
                self._looks[disk] = (None, self._named_elsewhere(disk) if is_folder else ())
        return self._looks[disk]

    def _disks_in(self, folder: str) -> Iterator[str]:
        for name in self._port.list_directory(folder):
            path = posixpath.join(folder, name)
            if name.lower().endswith(SUFFIX):
                yield path
            elif name.lower().endswith(MACHINE_SUFFIXES) and self._is_folder(path):
                yield from (
                    posixpath.join(path, one) for one in self._port.list_directory(path) if one.lower().endswith(SUFFIX)
                )

    def _is_folder(self, path: str) -> bool:
        stat = self._port.lstat(path)
        return stat is not None and stat.kind == DIRECTORY

    def _named_elsewhere(self, disk: str) -> Tuple[str, ...]:
        path = posixpath.join(disk, DESCRIPTOR)
        try:
            if self._port.stat(path) is None:
                return ()
            xml = read_file(self._port, path, limit=_DESCRIPTOR_LIMIT)
            # The images of most disks have no folder in their names.
            if b"/" not in b"".join(part.partition(b"</File>")[0] for part in xml.split(b"<File>")[1:]):
                return ()
            descriptor = parse_descriptor(xml, path=path)
        except DiskError:
            # Who cannot be understood stands on nothing that could be told.
            return ()
        names = [entry.file for storage in descriptor.storages for entry in storage.images]
        return tuple(self._port.real_path(posixpath.join(disk, name)) for name in names)


def with_surroundings(
    port: Port, state: BundleState, given: Optional[str] = None, known: Optional[Known] = None
) -> Tuple[BundleState, Surroundings]:
    """``state`` with what surrounds it, and that. ``given`` is the path that the user named, perhaps a link.

    What is ``known`` of the disks around need not be looked at again.
    """
    own = state.location.directory if state.is_bundle else state.location.descriptor
    folders = {posixpath.dirname(own), *([posixpath.dirname(given)] if given is not None else [])}
    search = _Search(known or Known(port), own, {image.path for image in state.images.values()})
    for folder in sorted(folders):
        search.look_around(folder)
    search.look_at_others()
    reports = [find_vm(port, state.location)]
    reports += [find_vm(port, state.location, at=path) for path in search.places(given)]
    found = Surroundings(joined_reports(reports), tuple(search.clones), tuple(search.unknown))
    return replace(state, surroundings=found), found


class _Search:
    """The neighbours of one disk, each looked at once."""

    def __init__(self, known: Known, own: str, images: Set[str]) -> None:
        self._known = known
        self._own = own
        self._images = images
        self._seen: Set[str] = set()
        self._links: List[str] = []
        self.clones: List[Clone] = []
        self.unknown: List[str] = []

    def places(self, given: Optional[str]) -> List[str]:
        """Other paths that lead to the disk."""
        return sorted({*self._links, *([given] if given is not None else [])} - {self._own})

    def look_around(self, folder: str) -> None:
        """Look at every disk beside ``folder``, or in it when it is the folder of no machine."""
        around = posixpath.dirname(folder) if folder.lower().endswith(MACHINE_SUFFIXES) else folder
        try:
            for disk in self._known.disks_around(around):
                if len(self._seen) >= _MOST_NEIGHBOURS:
                    self.unknown.append(
                        f"{around}: more than {_MOST_NEIGHBOURS} disks; not all were searched for clones."
                    )
                    return
                self._look_at(disk)
        except DiskError as error:
            self.unknown.append(f"{around} could not be searched for linked clones: {error}")

    def look_at_others(self) -> None:
        """Look at every other disk of the host that is known."""
        for disk in self._known.others:
            try:
                self._look_at(disk)
            except DiskError as error:
                self.unknown.append(f"{disk} could not be searched for what it stands on: {error}")

    def _look_at(self, disk: str) -> None:
        if disk in self._seen or disk == self._own:
            return
        self._seen.add(disk)
        leads_to, images = self._known.look_at(disk)
        if leads_to == self._own:
            self._links.append(disk)
        self.clones += [Clone(disk, image) for image in images if image in self._images]
