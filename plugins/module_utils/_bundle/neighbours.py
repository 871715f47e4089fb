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
import re
from typing import Collection, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from .._core.errors import DiskError, NotABundle, NotFound
from .._core.records import replace
from .._io.durable import read_file
from .._io.port import DIRECTORY, SYMLINK, Port
from .bundle import BundleState
from .descriptor_xml import ROOT_NAMES, parse_descriptor
from .naming import DESCRIPTOR, MACHINE_SUFFIXES, SUFFIX
from .paths import BUNDLE, Location, is_inside, lost_descriptor
from .pvm import CONFIG, disks_of, find_vm, joined_reports
from .surroundings import Clone, Surroundings
from .xml_input import MAX_DOCUMENT_BYTES

_MOST_NEIGHBOURS = 1000
_DESCRIPTOR_LIMIT = 1 << 20
_ENDS = tuple(f"</{name}>".encode() for name in ROOT_NAMES)
_FILE = re.compile(rb"<File>([^<>&/]*)</File>")


class Vicinity(NamedTuple):
    """How to look around a disk: the path by which the user ``named`` it, perhaps a link, and what is known of others.

    Those who look at many disks share one ``standing``, which also knows the disks of other folders then.
    """

    named: Optional[str] = None
    standing: Optional[Standing] = None


def with_surroundings(
    port: Port, state: BundleState, given: Optional[str] = None, *, standing: Optional[Standing] = None
) -> Tuple[BundleState, Surroundings]:
    """``state`` with what surrounds it, and that. ``given`` and ``standing`` are those of a ``Vicinity``."""
    location = state.location
    images = {image.path for image in state.images.values()}
    if state.is_bundle:
        # What an interrupted change removes or rewrites is not always an image that the descriptor names.
        images |= {f"{location.directory}/{name}" for name in state.others}
    found = surroundings_of(port, location, images, Vicinity(given, standing))
    return replace(state, surroundings=found), found


def surroundings_of(port: Port, location: Location, images: Collection[str], vicinity: Vicinity) -> Surroundings:
    """What surrounds the disk at ``location``, whose files are ``images``. Both neighbourhoods count: that of the disk,
    and that of the path by which it was named.
    """
    given, standing = vicinity.named, vicinity.standing or Standing(port)
    own = location.directory if location.kind == BUNDLE else location.descriptor
    folders = {posixpath.dirname(own), *([posixpath.dirname(given)] if given is not None else [])}
    around = [text for folder in sorted(folders) for text in standing.look_around(folder)]
    unknown = dict.fromkeys([*around, *standing.unread_but(own)])
    links = {*standing.links.get(own, ()), *([given] if given is not None else [])} - {own}
    reports = [find_vm(port, location)]
    reports += [find_vm(port, location, at=path) for path in sorted(links)]
    known = {config for report in reports for config in report.configs}
    machines = [folder for folder in standing.machines.get(own, ()) if posixpath.join(folder, CONFIG) not in known]
    reports += [find_vm(port, location, folder=folder) for folder in sorted(machines)]
    return Surroundings(joined_reports(reports), standing.clones_of(own, set(images)), tuple(unknown))


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
        self._unread: Dict[str, str] = {}

    def clones_of(self, own: str, images: Set[str]) -> Tuple[Clone, ...]:
        """The other disks that stand on one of these images."""
        found = {(disk, image) for image in images for disk in self._by_image.get(image, ()) if disk != own}
        return tuple(Clone(disk, image) for disk, image in sorted(found))

    def unread_but(self, own: str) -> Tuple[str, ...]:
        """Sentences about other disks and machines that cannot be read."""
        return tuple(text for disk, text in self._unread.items() if disk != own)

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
        self._unread[disk] = (
            f"{disk} cannot be read, so whether it stands on other disks is not known: {error.statement}"
        )

    def _note_names(self, disk: str) -> None:
        path = posixpath.join(disk, DESCRIPTOR)
        try:
            if self._port.stat(path) is None:
                if lost_descriptor(self._port, disk):
                    raise NotABundle(f"The directory has no {DESCRIPTOR}", path=disk)
                return
            xml = read_file(self._port, path, limit=_DESCRIPTOR_LIMIT)
            plain = _plain_names(xml)
            if plain is None:
                descriptor = parse_descriptor(xml, path=path)
                files = _spellings(entry.file for storage in descriptor.storages for entry in storage.images)
            else:
                # Most disks name nothing outside of them, unless by a link.
                files = [file for file in _spellings(plain) if self._is_link(posixpath.join(disk, file))]
            for file in files:
                self._by_image.setdefault(self._port.real_path(posixpath.join(disk, file)), []).append(disk)
        except NotFound:
            return
        except DiskError as error:
            self._leave_open(disk, error)

    def _is_link(self, path: str) -> bool:
        stat = self._port.lstat(path)
        return stat is not None and stat.kind == SYMLINK


def _spellings(files: Iterable[str]) -> List[str]:
    """Paths as they are written, and without the white space around them: whoever opens them may leave it out."""
    return list(dict.fromkeys(spelling for file in files for spelling in (file, file.strip()) if spelling))


def _plain_names(xml: bytes) -> Optional[Sequence[str]]:
    """The images that a descriptor names, when all of them are plain names without a folder, as in most; else None."""
    names = _FILE.findall(xml)
    is_plain = names and len(names) == xml.count(b"<File") and xml.rstrip().endswith(_ENDS)
    return [name.decode("utf-8", "surrogateescape") for name in names] if is_plain else None
