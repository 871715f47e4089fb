# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check: everything that is wrong with a disk, found without changing it and without giving up at the first thing.

What the rules look at is an ``Examination``: the disk as it must be understood, where that can be told, with all
findings. A repair is planned from it.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import posixpath
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..._bundle.bundle import EXPANDING, identity, journal_path
from ..._bundle.descriptor import Descriptor
from ..._bundle.naming import BACKUP, DESCRIPTOR, classify, temporary_name, without_suffix
from ..._bundle.paths import BUNDLE, SINGLE_FILE, Location, locate, resolve_image
from ..._bundle.pvm import find_vm
from ..._bundle.tree import SnapshotTree, build_tree
from ..._core import guid as guids
from ..._core.errors import Damaged, DiskError, Escape, MissingImage, NotABundle, NotFound
from ..._core.findings import ERROR, NO, SAFE, Finding, found
from ..._core.plan import Fingerprint
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR
from ..._formats.hds.header import HEADER_BYTES, is_hds
from ..._io.journal import Journal, read_journal
from ..._io.port import DIRECTORY, Holder, Port
from .choose_descriptor import Chosen, choose_descriptor
from .header import Place
from .image import ImageExam, Named, examine_image
from .surroundings import examine_files, examine_vm

_LOOKS = 3


@dataclass(frozen=True)
class Examination:
    """A disk and what is wrong with it. ``chosen`` is None for a single-file image; ``tree`` where it cannot be told.

    ``others`` are the names in the bundle that are no images of it, ``holders`` the paths that processes hold, with
    them.
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

    @property
    def descriptor(self) -> Optional[Descriptor]:
        """What the bundle goes by."""
        return None if self.chosen is None else self.chosen.descriptor

    @property
    def size_bytes(self) -> Optional[int]:
        """The size of the guest disk, where it can be told."""
        if self.chosen is None:
            return self.images[0].size
        return None if self.descriptor is None else self.descriptor.size_bytes


def locate_hurt(port: Port, path: str) -> Location:
    """The disk that ``path`` names, as ``locate`` finds it, but also a bundle whose descriptor is gone.

    Raises what ``locate`` raises.
    """
    try:
        return locate(port, path)
    except (NotABundle, NotFound):
        real = port.real_path(path)
        stat = port.stat(real)
        if stat is None or stat.kind != DIRECTORY:
            real = posixpath.dirname(real)
            stat = port.stat(real) if posixpath.basename(path) == DESCRIPTOR or path.lower().endswith(".hdd") else None
        if stat is None or stat.kind != DIRECTORY or port.lstat(posixpath.join(real, DESCRIPTOR)) is not None:
            raise
        names = port.list_directory(real)
        if BACKUP not in names and not any(classify(name) == "image" for name in names):
            raise
        base = posixpath.basename(real)
        return Location(BUNDLE, real, posixpath.join(real, DESCRIPTOR), None, base, without_suffix(base))


def examine(port: Port, location: Location, *, allow_outside: bool = False) -> Examination:
    """Look at all metadata of a disk. Raises an error only when the disk cannot be looked at at all."""
    seen = _examine(port, location, allow_outside)
    for _look in range(_LOOKS - 1):
        if not seen.findings or not _has_changed(port, seen):
            return seen
        seen = _examine(port, location, allow_outside)
    if seen.findings and _has_changed(port, seen):
        text = "The disk was changed while it was looked at; what is found may be of the moment."
        seen = replace(seen, findings=(*seen.findings, found("changing", location.descriptor, text)))
    return seen


def _has_changed(port: Port, seen: Examination) -> bool:
    return any(identity(port.stat(path)) != before for path, before in seen.fingerprint)


def _examine(port: Port, location: Location, allow_outside: bool) -> Examination:
    before = identity(port.stat(location.descriptor))
    journal, findings = _read_journal(port, location)
    is_bundle = location.kind == BUNDLE
    names = port.list_directory(location.directory) if is_bundle else _beside(port, location)
    chosen = choose_descriptor(port, location, names) if is_bundle else None
    named, missing = _named_images(port, location, chosen, allow_outside)
    holders = _holders(port, location, named)
    images = _examine_images(port, named, {path for path, holder in holders if holder.kind != "read"})
    tree = _tree_of(chosen, location)
    # A link that the descriptor names is an image as much as the file that it leads to.
    taken = {posixpath.basename(name) for one in named for name in (one.path, one.file)} if is_bundle else set()
    others = tuple(name for name in names if name not in taken)
    journal_name = posixpath.basename(journal_path(location))
    findings = [
        *(chosen.findings if chosen is not None else ()),
        *missing,
        *(one for image in images for one in image.findings),
        *findings,
    ]
    findings += [*_in_use(holders), *_cross_checks(images, chosen, location, tree)]
    if chosen is None or chosen.descriptor is not None:
        findings += examine_files(location.directory, others, journal=journal_name, is_interrupted=journal is not None)
    descriptor = chosen.descriptor if chosen is not None else None
    size = descriptor.size_bytes if descriptor is not None else None if chosen is not None else images[0].size
    suspended = descriptor is not None and descriptor.suspended
    findings += examine_vm(
        find_vm(port, location), place=location.directory, size_bytes=size, suspended=suspended, tree=tree
    )
    described = ((location.descriptor, before),) if is_bundle else ()
    fingerprint = described + tuple(
        (image.path, identity(image.stat) if image.stat.inode else None) for image in images
    )
    return Examination(location, chosen, tree, images, others, holders, journal, fingerprint, tuple(findings))


def _read_journal(port: Port, location: Location) -> Tuple[Optional[Journal], List[Finding]]:
    path = journal_path(location)
    try:
        journal = read_journal(port, path)
    except Damaged as error:
        return None, [
            found(
                "journal_unreadable",
                path,
                f"{error} A repair that may lose something removes it when the disk is in order without it.",
            )
        ]
    except DiskError as error:
        return None, [found("journal_unreadable", path, str(error), repairable=NO)]
    if journal is None:
        return None, []
    return journal, [
        found(
            "interrupted",
            path,
            f"A {journal.operation} of this disk was cut off. A repair, or the next change of the disk, ends it first.",
        )
    ]


def _beside(port: Port, location: Location) -> List[str]:
    """Of the names beside a single-file image only an unfinished journal is its own."""
    name = temporary_name(posixpath.basename(journal_path(location)), "new")
    return [name] if port.lstat(posixpath.join(location.directory, name)) is not None else []


def _named_images(
    port: Port, location: Location, chosen: Optional[Chosen], allow_outside: bool
) -> Tuple[List[Named], List[Finding]]:
    if chosen is None:
        path = location.image or location.descriptor
        return [Named(0, guids.TOP, posixpath.basename(path), path, False, _is_raw(port, path), Place())], []
    named: List[Named] = []
    findings: List[Finding] = []
    descriptor = chosen.descriptor
    roots = {shot.guid for shot in descriptor.shots if shot.parent == guids.NONE} if descriptor is not None else set()
    for number, storage in enumerate(descriptor.storages if descriptor is not None else ()):
        place = Place(storage.end_sector - storage.start_sector, storage.cluster_sectors)
        for image in storage.images:
            try:
                at = resolve_image(port, location, image.file, allow_outside=allow_outside)
                path, outside = at.path, at.outside
            except MissingImage as error:
                path, outside = error.path or image.file, False
            except Escape:
                text = "It lies outside the bundle and was not looked at; set allow_outside: true to have it looked at. It is never changed."
                findings.append(found("image_outside", image.file, text))
                continue
            except DiskError as error:
                findings.append(found("image_unreadable", error.path or image.file, str(error)))
                continue
            if outside:
                findings.append(
                    found("image_outside", path, "The image lies outside the bundle; it is never changed from here.")
                )
            named.append(
                Named(
                    number, image.guid, image.file, path, outside, image.type == "Plain" and image.guid in roots, place
                )
            )
    return named, findings


def _is_raw(port: Port, path: str) -> bool:
    file = port.open_read(path)
    try:
        prefix = bytearray(HEADER_BYTES)
        return not is_hds(bytes(prefix[: file.pread_into(0, prefix)]))
    finally:
        file.close()


def _holders(port: Port, location: Location, named: Sequence[Named]) -> Tuple[Tuple[str, Holder], ...]:
    places = [location.directory] if location.kind != SINGLE_FILE else []
    places += dict.fromkeys(one.path for one in named)
    return port.holders(places)


def _in_use(holders: Sequence[Tuple[str, Holder]]) -> List[Finding]:
    return [found("in_use", path, f"{holder.owner} holds it ({holder.kind}).") for path, holder in holders]


def _examine_images(port: Port, named: Sequence[Named], held: Set[str]) -> Tuple[ImageExam, ...]:
    """Each image; those whose signature is hurt once more, when their kin have told which version the chain has."""
    is_held = bool(held)
    images = [examine_image(port, one, is_held=is_held) for one in named]
    versions = {image.header.version for image in images if image.header is not None}
    if len(versions) == 1:
        (version,) = versions
        for number, image in enumerate(images):
            if image.header is None and any(one.code == "image_signature" for one in image.findings):
                images[number] = examine_image(port, named[number], is_held=is_held, version=version)
    return tuple(images)


def _tree_of(chosen: Optional[Chosen], location: Location) -> Optional[SnapshotTree]:
    if chosen is None or chosen.descriptor is None or not chosen.is_sound:
        return None
    try:
        return build_tree(
            chosen.descriptor.shots, declared_top=chosen.descriptor.declared_top, path=location.descriptor
        )
    except DiskError:
        return None


class _Key(NamedTuple):
    device: int
    inode: int


def _cross_checks(
    images: Sequence[ImageExam], chosen: Optional[Chosen], location: Location, tree: Optional[SnapshotTree]
) -> List[Finding]:
    """What images tell of each other and of the descriptor."""
    findings: List[Finding] = []
    seen: Dict[_Key, str] = {}
    for image in images:
        key = _Key(image.stat.device, image.stat.inode)
        if image.stat.inode and key in seen and not (chosen is not None and not chosen.is_sound):
            findings.append(
                found(
                    "image_shared",
                    image.path,
                    f"The file serves as two images, {seen[key]} and {image.file}.",
                    repairable=NO,
                )
            )
        seen.setdefault(key, image.file)
    if chosen is None or chosen.descriptor is None:
        return findings
    for number, storage in enumerate(chosen.descriptor.storages):
        known = [(image, image.header) for image in images if image.storage == number and image.header is not None]
        clusters = {header.cluster_sectors for _image, header in known}
        if len(clusters) > 1 or len({header.version for _image, header in known}) > 1:
            findings.append(
                found(
                    "image_mixed",
                    location.descriptor,
                    f"The layers of storage {number} differ in cluster size or format version.",
                )
            )
        elif clusters and clusters != {storage.cluster_sectors}:
            degree = SAFE if chosen.is_sound else NO
            text = f"Storage {number} gives clusters of {storage.cluster_sectors} sectors, its images {min(clusters)}."
            findings.append(found("descriptor_cluster_size", location.descriptor, text, repairable=degree))
        findings += _image_sizes([image for image, _header in known], storage.end_sector - storage.start_sector, tree)
    return findings


def _image_sizes(images: Sequence[ImageExam], length_sectors: int, tree: Optional[SnapshotTree]) -> List[Finding]:
    """Older layers may be shorter than the disk after a grow; the current one should not."""
    findings = []
    for image in images:
        size = image.header.size_sectors if image.header is not None else length_sectors
        if size > length_sectors or (size < length_sectors and tree is not None and image.guid == tree.top):
            text = (
                f"The image holds {size * SECTOR} bytes of guest disk, the descriptor says {length_sectors * SECTOR}."
            )
            findings.append(found("image_size", image.path, text))
    return findings


def has_errors(examination: Examination) -> bool:
    """Whether anything is wrong that keeps others from working with the disk."""
    return any(one.severity == ERROR for one in examination.findings)


def expanding_images(examination: Examination) -> List[ImageExam]:
    """The images of the bundle's own that are understood and expanding."""
    return [
        image
        for image in examination.images
        if image.kind == EXPANDING and image.header is not None and not image.outside
    ]
