# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check: everything that is wrong with a disk, found without changing it and without giving up at the first thing.

The result is an ``Examination``: the disk as it must be understood, where that is known, with all findings. The rules
are in the files beside this one; here are those of an examination itself: ``interrupted``, ``journal_unreadable``,
``in_use``, ``changing``, ``image_outside``.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Iterator, List, Optional, Sequence, Set, Tuple, Union

from ..._bundle.descriptor import ImageEntry
from ..._bundle.naming import BACKUP, DESCRIPTOR, classify, temporary_name, without_suffix
from ..._bundle.paths import BUNDLE, SINGLE_FILE, Location, journal_path, locate, resolve_image
from ..._bundle.pvm import find_vm
from ..._bundle.tree import SnapshotTree, build_tree
from ..._core import guid as guids
from ..._core.errors import Damaged, DiskError, Escape, MissingImage, NotABundle, NotFound
from ..._core.findings import NO, Finding, found
from ..._core.plan import Fingerprint
from ..._core.records import replace
from ..._formats.hds.header import HEADER_BYTES, is_hds
from ..._io.fingerprint import identity
from ..._io.journal import Journal, read_journal
from ..._io.port import DIRECTORY, Holder, Port
from .choose_descriptor import choose_descriptor
from .cross_checks import cross_checks
from .examination import Chosen, Examination, Expected, ImageExam, Named
from .files import examine_files
from .image import examine_image
from .machine import examine_vm

_LOOKS = 3


def locate_damaged(port: Port, path: str) -> Location:
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
    examined = _examine(port, location, allow_outside)
    for _look in range(_LOOKS - 1):
        if not examined.findings or not _has_changed(port, examined):
            return examined
        examined = _examine(port, location, allow_outside)
    if examined.findings and _has_changed(port, examined):
        text = "The disk was changed while it was looked at; what is found may be of the moment."
        changing = found("changing", location.descriptor, text)
        examined = replace(examined, findings=(*examined.findings, changing))
    return examined


def _has_changed(port: Port, examined: Examination) -> bool:
    return any(identity(port.stat(path)) != before for path, before in examined.fingerprint)


def _examine(port: Port, location: Location, allow_outside: bool) -> Examination:
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
    described = ((location.descriptor, before),) if is_bundle else ()
    fingerprint: Fingerprint = described + tuple(
        (image.path, identity(image.stat) if image.stat.inode else None) for image in images
    )
    examined = Examination(
        location,
        chosen,
        _tree_of(chosen, location),
        images,
        tuple(name for name in names if name not in taken),
        holders,
        journal,
        fingerprint,
        (
            *(chosen.findings if chosen is not None else ()),
            *outside,
            *(one for image in images for one in image.findings),
            *interrupted,
        ),
    )
    return replace(examined, findings=(*examined.findings, *_as_a_whole(port, examined)))


def _as_a_whole(port: Port, examined: Examination) -> Iterator[Finding]:
    """What is found when all parts of a disk are known."""
    location, descriptor = examined.location, examined.descriptor
    yield from _in_use(examined.holders)
    yield from cross_checks(examined.images, examined.chosen, location, examined.tree)
    if examined.chosen is None or descriptor is not None:
        journal, is_interrupted = posixpath.basename(journal_path(location)), examined.journal is not None
        yield from examine_files(location.directory, examined.others, journal=journal, is_interrupted=is_interrupted)
    yield from examine_vm(
        find_vm(port, location),
        place=location.directory,
        size_bytes=examined.size_bytes,
        suspended=descriptor is not None and descriptor.suspended,
        tree=examined.tree,
    )


def _read_journal(port: Port, location: Location) -> Tuple[Optional[Journal], List[Finding]]:
    path = journal_path(location)
    try:
        journal = read_journal(port, path)
    except Damaged as error:
        text = f"{error} A repair that may lose something removes it when the disk is in order without it."
        return None, [found("journal_unreadable", path, text)]
    except DiskError as error:
        return None, [found("journal_unreadable", path, str(error), repairable=NO)]
    if journal is None:
        return None, []
    text = f"A {journal.operation} of this disk was cut off. A repair, or the next change of the disk, ends it first."
    return journal, [found("interrupted", path, text)]


def _names_of_single_file(port: Port, location: Location) -> List[str]:
    """Of the names in the folder of a single-file image only an unfinished journal is its own."""
    name = temporary_name(posixpath.basename(journal_path(location)), "new")
    return [name] if port.lstat(posixpath.join(location.directory, name)) is not None else []


def _named_images(
    port: Port, location: Location, chosen: Optional[Chosen], allow_outside: bool
) -> Tuple[List[Named], List[Finding]]:
    """The images that may be looked at, and findings for what is outside or cannot be found."""
    if chosen is None:
        path = location.image or location.descriptor
        return [Named(0, guids.TOP, posixpath.basename(path), path, False, _is_raw(port, path), Expected())], []
    named: List[Named] = []
    findings: List[Finding] = []
    descriptor = chosen.descriptor
    roots = {shot.guid for shot in descriptor.shots if shot.parent == guids.NONE} if descriptor is not None else set()
    for number, storage in enumerate(descriptor.storages if descriptor is not None else ()):
        expected = Expected(storage.end_sector - storage.start_sector, storage.cluster_sectors)
        for image in storage.images:
            at = _resolved(port, location, image, allow_outside)
            if isinstance(at, Finding):
                findings.append(at)
                continue
            path, outside = at
            if outside:
                text = "The image is outside the bundle; it is never changed from here."
                findings.append(found("image_outside", path, text))
            is_plain = image.type == "Plain" and image.guid in roots
            named.append(Named(number, image.guid, image.file, path, outside, is_plain, expected))
    return named, findings


def _resolved(
    port: Port, location: Location, image: ImageEntry, allow_outside: bool
) -> Union[Finding, Tuple[str, bool]]:
    """The path of an image and whether it is outside the bundle; a finding for one that is not to be looked at."""
    try:
        at = resolve_image(port, location, image.file, allow_outside=allow_outside)
        return at.path, at.outside
    except MissingImage as error:
        return error.path or image.file, False
    except Escape:
        text = (
            "It is outside the bundle and was not looked at; set allow_outside: true to have it looked at. It is never "
            "changed."
        )
        return found("image_outside", image.file, text)
    except DiskError as error:
        return found("image_unreadable", error.path or image.file, str(error))


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
    """Each image; those whose signature is damaged once more, when their siblings show which version the chain has."""
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
