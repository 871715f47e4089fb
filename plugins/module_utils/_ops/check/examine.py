# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check: everything that is wrong with a disk, found without changing it and without giving up at the first thing.

The result is an ``Examination``: the disk as it must be understood, where that is known, with all findings. The rules
are in the other files here; those of an examination itself are ``interrupted``, ``journal_unreadable``, ``in_use``,
``changing`` and ``image_outside``.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence, Set, Tuple, Union

from ..._bundle.descriptor import Descriptor, ImageEntry
from ..._bundle.naming import DESCRIPTOR, NOTES, classify, temporary_name
from ..._bundle.neighbours import Standing, Vicinity, surroundings_of
from ..._bundle.paths import (
    BUNDLE,
    SINGLE_FILE,
    Location,
    ResolvedImage,
    bundle_location,
    journal_path,
    locate,
    resolve_image,
)
from ..._bundle.tree import SnapshotTree, build_tree
from ..._core import guid as guids
from ..._core.errors import Damaged, DiskError, Escape, MissingImage, NotABundle, NotFound
from ..._core.findings import NO, Finding, found
from ..._core.plan import Fingerprint
from ..._core.records import replace
from ..._formats.hds.header import HEADER_BYTES, is_hds
from ..._io.durable import read_start
from ..._io.fingerprint import identity
from ..._io.journal import Journal, read_journal
from ..._io.port import DIRECTORY, Holder, Port
from .choose_descriptor import choose_descriptor
from .cross_checks import cross_checks
from .examination import Chosen, Examination, Expected, ImageExam, Named
from .files import examine_files
from .image import examine_image
from .machine import DiskFacts, examine_vm, with_repair

if TYPE_CHECKING:
    from ..._bundle.notes import Notes

_LOOKS = 3
_NOT_EXAMINED = (
    "It is outside the bundle and was not examined; set allow_outside: true to have it examined. It is never changed."
)


def locate_damaged(port: Port, path: str) -> Location:
    """The disk that ``path`` names, as ``locate`` finds it and fails, but also a bundle whose descriptor is gone."""
    try:
        return locate(port, path)
    except (NotABundle, NotFound):
        real = port.real_path(path)
        if _is_bare_bundle(port, real):
            return bundle_location(real)
        is_inside = posixpath.basename(path) == DESCRIPTOR or path.lower().endswith(".hdd")
        if not _is_directory(port, real) and is_inside and _is_bare_bundle(port, posixpath.dirname(real)):
            return bundle_location(posixpath.dirname(real))
        raise


def _is_directory(port: Port, path: str) -> bool:
    stat = port.stat(path)
    return stat is not None and stat.kind == DIRECTORY


def _is_bare_bundle(port: Port, path: str) -> bool:
    """Whether a directory has no descriptor, but a backup of one or images."""
    if not _is_directory(port, path) or port.lstat(posixpath.join(path, DESCRIPTOR)) is not None:
        return False
    return any(classify(name) in ("backup", "image") for name in port.list_directory(path))


def examine(
    port: Port, location: Location, *, allow_outside: bool = False, vicinity: Optional[Vicinity] = None
) -> Examination:
    """Examine all metadata of a disk, and the machines around it and around the path in ``vicinity``.

    Raises an error only when the disk cannot be examined at all.
    """
    vicinity = vicinity or Vicinity(standing=Standing(port))
    examined = _examine(port, location, allow_outside, vicinity)
    for _look in range(_LOOKS - 1):
        if not examined.findings or not _has_changed(port, examined):
            return examined
        examined = _examine(port, location, allow_outside, vicinity)
    if examined.findings and _has_changed(port, examined):
        text = "The disk was changed during the check; the findings may be a momentary state."
        changing = found("changing", location.descriptor, text)
        examined = replace(examined, findings=(*examined.findings, changing))
    return examined


def _has_changed(port: Port, examined: Examination) -> bool:
    return any(identity(port.stat(path)) != before for path, before in examined.fingerprint)


def _examine(port: Port, location: Location, allow_outside: bool, vicinity: Vicinity) -> Examination:
    port.forget(location.directory)
    before = identity(port.stat(location.descriptor))
    journal, interrupted = _read_journal(port, location)
    is_bundle = location.kind == BUNDLE
    names = port.list_directory(location.directory) if is_bundle else _names_of_single_file(port, location)
    chosen = choose_descriptor(port, location, names) if is_bundle else None
    named, outside = _named_images(port, location, chosen, allow_outside)
    holders = _holders(port, location, named)
    images = _examine_images(port, named, {path for path, holder in holders if holder.kind != "read"})
    # A link that the descriptor names is an image as much as the file that it leads to.
    taken = {posixpath.basename(name) for one in named for name in (one.path, one.file)} if is_bundle else set()
    others = tuple(name for name in names if name not in taken)
    fingerprint: Fingerprint = ((location.descriptor, before),) if is_bundle else ()
    fingerprint += tuple((image.path, identity(image.stat) if image.stat.inode else None) for image in images)
    findings = [*(chosen.findings if chosen is not None else ()), *outside]
    findings += [*(one for image in images for one in image.findings), *interrupted]
    tree = _tree_of(chosen, location)
    examined = Examination(location, chosen, tree, images, others, holders, journal, fingerprint, tuple(findings))
    files = {*(image.path for image in images), *(posixpath.join(location.directory, name) for name in others)}
    examined = replace(examined, surroundings=surroundings_of(port, location, files, vicinity))
    return replace(examined, findings=(*findings, *_as_a_whole(port, examined)))


def _as_a_whole(port: Port, examined: Examination) -> Iterator[Finding]:
    """What is found when all parts of a disk are known."""
    location, descriptor = examined.location, examined.descriptor
    yield from _in_use(examined.holders)
    yield from cross_checks(examined.images, examined.chosen, location, examined.tree)
    if examined.chosen is None or descriptor is not None:
        journal, is_interrupted = posixpath.basename(journal_path(location)), examined.journal is not None
        yield from examine_files(location.directory, examined.others, journal=journal, is_interrupted=is_interrupted)
    suspended = descriptor is not None and descriptor.suspended
    report = examined.surroundings.machine
    suspended = suspended or (report.facts is not None and report.facts.suspended)
    notes: Notes = {}
    if NOTES in examined.others:
        # Few disks have snapshots with names.
        from .names import examine_notes, read_notes_of

        notes, unreadable = read_notes_of(port, location)
        yield from (*unreadable, *examine_notes(location, examined.tree, notes))
    disk = DiskFacts(location.directory, examined.size_bytes, suspended, examined.tree, frozenset(notes), examined.kind)
    yield from (with_repair(port, location, one, disk) for one in examine_vm(report, disk))


def _read_journal(port: Port, location: Location) -> Tuple[Optional[Journal], List[Finding]]:
    path = journal_path(location)
    try:
        journal = read_journal(port, path)
    except Damaged as error:
        text = f"{error.statement} A repair that may lose something removes it when the disk is in order without it."
        return None, [found("journal_unreadable", path, text)]
    except DiskError as error:
        return None, [found("journal_unreadable", path, str(error), repairable=NO)]
    if journal is None:
        return None, []
    text = f"A {journal.operation} of this disk was cut off. A repair, or the next change of the disk, ends it first."
    return journal, [found("interrupted", path, text)]


def _names_of_single_file(port: Port, location: Location) -> List[str]:
    """Of the names in the folder of a single-file image only an unfinished journal is the disk's own."""
    name = temporary_name(posixpath.basename(journal_path(location)), "new")
    return [name] if port.lstat(posixpath.join(location.directory, name)) is not None else []


def _named_images(
    port: Port, location: Location, chosen: Optional[Chosen], allow_outside: bool
) -> Tuple[List[Named], List[Finding]]:
    """The images that may be examined, and findings for what is outside or cannot be found."""
    if chosen is None:
        path = location.image or location.descriptor
        is_raw = not is_hds(read_start(port, path, HEADER_BYTES))
        return [Named(0, guids.TOP, posixpath.basename(path), path, False, is_raw, Expected())], []
    named: List[Named] = []
    findings: List[Finding] = []
    for number, image, is_root, expected in _entries(chosen.descriptor):
        at = _resolved(port, location, image, allow_outside)
        if isinstance(at, Finding):
            findings.append(at)
            continue
        if at.outside:
            text = "The image is outside the bundle; it is never changed from here."
            findings.append(found("image_outside", at.path, text))
        is_plain = image.type == "Plain" and is_root
        one = Named(number, image.guid, image.file, at.path, at.outside, is_plain, expected, image.type, is_root)
        named.append(one)
    return named, findings


def _entries(descriptor: Optional[Descriptor]) -> Iterator[Tuple[int, ImageEntry, bool, Expected]]:
    """The images that a descriptor names: storage number, entry, whether it is a root, and what it must be."""
    if descriptor is None:
        return
    roots = {shot.guid for shot in descriptor.shots if shot.parent == guids.NONE}
    for number, storage in enumerate(descriptor.storages):
        expected = Expected(storage.length_sectors, storage.cluster_sectors)
        for image in storage.images:
            yield number, image, image.guid in roots, expected


def _resolved(port: Port, location: Location, image: ImageEntry, allow_outside: bool) -> Union[Finding, ResolvedImage]:
    """The file of an image, or a finding for one that must not be examined."""
    try:
        return resolve_image(port, location, image.file, allow_outside=allow_outside)
    except MissingImage as error:
        return ResolvedImage(error.path or image.file, False)
    except Escape:
        return found("image_outside", image.file, _NOT_EXAMINED)
    except DiskError as error:
        return found("image_unreadable", error.path or image.file, error.statement)


def _holders(port: Port, location: Location, named: Sequence[Named]) -> Tuple[Tuple[str, Holder], ...]:
    places = [location.directory] if location.kind != SINGLE_FILE else []
    places += dict.fromkeys(one.path for one in named)
    return port.holders(places)


def _in_use(holders: Sequence[Tuple[str, Holder]]) -> List[Finding]:
    return [found("in_use", path, f"{holder.owner} holds it ({holder.kind}).") for path, holder in holders]


def _examine_images(port: Port, named: Sequence[Named], held: Set[str]) -> Tuple[ImageExam, ...]:
    """Each image; those with a damaged signature again, when their siblings show which version the chain has."""
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
    descriptor = chosen.descriptor if chosen is not None and chosen.is_sound else None
    if descriptor is None:
        return None
    try:
        return build_tree(descriptor.shots, declared_top=descriptor.declared_top, path=location.descriptor)
    except DiskError:
        return None
