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
      third.pvm/
        config.pvs          names ../base.pvm/mac.hdd, or its whole path: third.pvm is its machine, too

Nothing in a disk says who stands on it; only the descriptors of the clones do. What cannot be searched is reported.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Dict, Iterator, List, Optional, Set, Tuple

from .._core.errors import DiskError, NotFound
from .._core.records import replace
from .._io.durable import read_file
from .._io.port import DIRECTORY, SYMLINK, Port
from .bundle import BundleState
from .descriptor_xml import parse_descriptor
from .naming import DESCRIPTOR, MACHINE_SUFFIXES, SUFFIX
from .paths import is_inside
from .pvm import CONFIG, disks_of, find_vm, joined_reports
from .surroundings import Clone, Surroundings
from .xml_input import MAX_DOCUMENT_BYTES

_MOST_NEIGHBOURS = 1000
_DESCRIPTOR_LIMIT = 1 << 20


def with_surroundings(
    port: Port, state: BundleState, given: Optional[str] = None, *, standing: Optional[Standing] = None
) -> Tuple[BundleState, Surroundings]:
    """``state`` with what surrounds it, and that. ``given`` is the path that the user named, perhaps a link.

    Those who look at many disks share one ``standing``, which also knows the disks of other folders then.
    """
    own = state.location.directory if state.is_bundle else state.location.descriptor
    standing = standing or Standing(port)
    folders = {posixpath.dirname(own), *([posixpath.dirname(given)] if given is not None else [])}
    around = [text for folder in sorted(folders) for text in standing.look_around(folder)]
    unknown = dict.fromkeys([*around, *standing.unread])
    links = {*standing.links.get(own, ()), *([given] if given is not None else [])} - {own}
    reports = [find_vm(port, state.location)]
    reports += [find_vm(port, state.location, at=path) for path in sorted(links)]
    known = {config for report in reports for config in report.configs}
    machines = [folder for folder in standing.machines.get(own, ()) if posixpath.join(folder, CONFIG) not in known]
    reports += [find_vm(port, state.location, folder=folder) for folder in sorted(machines)]
    clones = standing.clones_of(own, {image.path for image in state.images.values()})
    found = Surroundings(joined_reports(reports), clones, tuple(unknown))
    return replace(state, surroundings=found), found


class Standing:
    """Which disks stand on which images, which links lead to which disk, and which machines name it. Each disk and
    folder is looked at once.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._disks: Set[str] = set()
        self._folders: Dict[str, Tuple[str, ...]] = {}
        self._by_image: Dict[str, List[str]] = {}
        self.links: Dict[str, List[str]] = {}
        self.machines: Dict[str, List[str]] = {}
        self.unread: List[str] = []

    def clones_of(self, own: str, images: Set[str]) -> Tuple[Clone, ...]:
        """The other disks that stand on one of these images."""
        found = {(disk, image) for image in images for disk in self._by_image.get(image, ()) if disk != own}
        return tuple(Clone(disk, image) for disk, image in sorted(found))

    def look_around(self, folder: str) -> Tuple[str, ...]:
        """Look at every disk beside ``folder``, or in it when it is the folder of no machine.

        Returns sentences about what could not be searched.
        """
        around = posixpath.dirname(folder) if folder.lower().endswith(MACHINE_SUFFIXES) else folder
        if around not in self._folders:
            self._folders[around] = tuple(self._search(around))
        return self._folders[around]

    def _search(self, around: str) -> Iterator[str]:
        try:
            for number, disk in enumerate(self._disks_in(around)):
                if number >= _MOST_NEIGHBOURS:
                    yield f"{around}: more than {_MOST_NEIGHBOURS} disks; not all were searched for clones."
                    return
                try:
                    self.look_at(disk)
                except DiskError as error:
                    self._leave_open(disk, error)
        except DiskError as error:
            yield f"{around} could not be searched for linked clones, so whether there are some is not known: {error}"

    def _disks_in(self, folder: str) -> Iterator[str]:
        for name in self._port.list_directory(folder):
            path = posixpath.join(folder, name)
            if name.lower().endswith(SUFFIX):
                yield path
            elif name.lower().endswith(MACHINE_SUFFIXES) and self._is_folder(path):
                yield from self._disks_of(self._port.real_path(path))

    def _disks_of(self, machine: str) -> List[str]:
        try:
            names = self._port.list_directory(machine)
        except DiskError as error:
            self._leave_open(machine, error)
            return []
        if CONFIG in names:
            self._note_machine(machine)
        return [posixpath.join(machine, name) for name in names if name.lower().endswith(SUFFIX)]

    def _note_machine(self, machine: str) -> None:
        """Note which disks in other folders a machine has. What is odd in its own folder is told to those in it."""
        try:
            xml = read_file(self._port, posixpath.join(machine, CONFIG), limit=MAX_DOCUMENT_BYTES)
            # Most machines name their disks by bare names.
            names = xml.replace(b"\0", b"").split(b"<SystemName")[1:]
            if not any(b"/" in name.partition(b"</")[0] for name in names):
                return
            for path in disks_of(self._port, machine):
                disk = self._port.real_path(posixpath.join(machine, path))
                if "/" in path and not is_inside(disk, machine):
                    self.machines.setdefault(disk, []).append(machine)
        except DiskError:
            return

    def _is_folder(self, path: str) -> bool:
        stat = self._port.stat(path)
        return stat is not None and stat.kind == DIRECTORY

    def look_at(self, disk: str) -> None:
        """Note on which images a disk stands, or where a link leads."""
        if disk in self._disks:
            return
        self._disks.add(disk)
        stat = self._port.lstat(disk)
        if stat is not None and stat.kind == SYMLINK:
            real = self._port.real_path(disk)
            self.links.setdefault(real, []).append(disk)
            # What the link leads to may stand on images, too.
            self.look_at(real)
        elif stat is not None and stat.kind == DIRECTORY:
            self._note_names(disk)

    def _leave_open(self, disk: str, error: DiskError) -> None:
        self.unread.append(f"{disk} cannot be read, so whether it stands on other disks is not known: {error}")

    def _note_names(self, disk: str) -> None:
        path = posixpath.join(disk, DESCRIPTOR)
        try:
            if self._port.stat(path) is None:
                return
            xml = read_file(self._port, path, limit=_DESCRIPTOR_LIMIT)
            # The images of most disks have no folder in their names.
            if b"/" not in b"".join(part.partition(b"</File>")[0] for part in xml.split(b"<File>")[1:]):
                return
            descriptor = parse_descriptor(xml, path=path)
        except NotFound:
            return
        except DiskError as error:
            self._leave_open(disk, error)
            return
        for storage in descriptor.storages:
            for entry in storage.images:
                image = self._port.real_path(posixpath.join(disk, entry.file))
                self._by_image.setdefault(image, []).append(disk)
