# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observe: everything that is known of a virtual disk without changing it, as frozen facts.

A single-file image gets a descriptor made up for it, so that all that follows sees one shape only.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from types import MappingProxyType
from typing import TYPE_CHECKING, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._core import guid as guids
from .._core.errors import CHECK_HINT, Damaged, DiskError, NotABundle, Unsupported
from .._core.records import dataclass, replace
from .._core.units import SECTOR
from .._formats.hds.bat import RunTable
from .._formats.hds.bat_order import unused_ranges
from .._formats.hds.header import HEADER_BYTES, HdsHeader, is_hds, parse_header
from .._formats.hds.reader import open_hds
from .._io.durable import read_file, read_start
from .._io.fingerprint import identity, refuse_changed
from .._io.port import DIRECTORY, FILE, Holder, Port, Stat
from .descriptor import Descriptor, ImageEntry, StorageEntry, one_layer, validate
from .descriptor_xml import parse_descriptor
from .naming import NOTES, UNFINISHED_COPY, classify, temporary_name
from .paths import BUNDLE, Location, ResolvedImage, image_stat, journal_path, resolve_image
from .tree import SnapshotTree, build_tree

if TYPE_CHECKING:
    from .._core.plan import Fingerprint
    from .._formats.hds.extension import Extension
    from .._formats.hds.known import KnownTables
    from .._io.journal import Journal
    from .notes import Note
    from .surroundings import Surroundings

EXPANDING = "expanding"
PLAIN = "plain"
IMAGE_TYPES = ("Compressed", "Plain")
_DESCRIPTOR_LIMIT = 16 << 20
_PLAIN_EXPANDING = "the descriptor calls the image Plain, and it begins as an expanding image does"
_PREFIX = 512
_NO_NOTES: Mapping[str, Note] = MappingProxyType({})


@dataclass(frozen=True)
class ImageState:
    """One image: the part of one layer in one storage. ``size`` is what it holds of the guest disk, in bytes.

    ``held_by`` are the holders of an image with the in-use mark; of others they are not asked for. ``contradiction``
    says how the content belies the type that the descriptor gives, by which the image is read all the same.
    """

    storage: int
    guid: str
    file: str
    path: str
    outside: bool
    kind: str
    stat: Stat
    size: int
    header: Optional[HdsHeader] = None
    table: Optional[RunTable] = None
    extension: Optional[Extension] = None
    used_clusters: int = 0
    held_by: Tuple[Holder, ...] = ()
    contradiction: Optional[str] = None

    @property
    def is_dirty(self) -> bool:
        """Whether the image carries the in-use mark."""
        return self.header is not None and self.header.is_dirty

    @property
    def used(self) -> int:
        """Bytes of the clusters in use; for a plain image, all of it."""
        return self.size if self.header is None else self.used_clusters * self.header.cluster_bytes

    @property
    def leaked(self) -> int:
        """Bytes of the file after the table that no entry and no extension uses."""
        if self.header is None:
            return 0
        pinned = sum(end - start for start, end in self.pinned)
        return max(0, self.stat.size - self.header.data_start - self.used - pinned)

    @property
    def pinned(self) -> Tuple[Tuple[int, int], ...]:
        """Ranges of the file that the format extension uses."""
        return self.extension.pinned if self.extension is not None else ()

    @property
    def unused(self) -> List[Tuple[int, int]]:
        """Ranges of the file that no entry of the table uses, on the cluster grid."""
        if self.header is None or self.table is None:
            return []
        return unused_ranges(self.table, self.header, file_size=self.stat.size, pinned=self.pinned)


@dataclass(frozen=True)
class BundleState:
    """A disk at one moment.

    ``images`` is keyed by storage number and GUID; ``others`` are the remaining names beside them, ``folders`` those of
    them that are directories, ``unnamed`` files with content that look like images and that no descriptor names.
    ``notes`` are the names that users gave to snapshots, by GUID; ``notes_waiting`` when one of them is in the journal
    of an interrupted change alone, whose end brings it into the file.
    ``surroundings`` are known only to those who asked for them (``neighbours.with_surroundings``).
    """

    location: Location
    xml: bytes
    descriptor: Descriptor
    tree: SnapshotTree
    images: Mapping[Tuple[int, str], ImageState]
    others: Tuple[str, ...]
    journal: Optional[Journal]
    fingerprint: Fingerprint
    warnings: Tuple[str, ...] = ()
    surroundings: Optional[Surroundings] = None
    folders: Tuple[str, ...] = ()
    unnamed: Tuple[str, ...] = ()
    notes: Mapping[str, Note] = _NO_NOTES
    notes_unread: Optional[str] = None
    notes_waiting: bool = False

    @property
    def is_bundle(self) -> bool:
        """Whether this is a bundle and no single-file image."""
        return self.location.kind == BUNDLE

    @property
    def parts(self) -> Tuple[Tuple[int, int], ...]:
        """Start and length in bytes of the part of the guest disk that each storage holds."""
        return tuple((one.start_sector * SECTOR, one.length_sectors * SECTOR) for one in self.descriptor.storages)

    @property
    def journal_path(self) -> str:
        """Where the journal of this disk is while a change is under way."""
        return journal_path(self.location)

    def layer(self, guid: str) -> Tuple[ImageState, ...]:
        """The images of one layer, one for each storage."""
        return tuple(self.images[(number, guid)] for number in range(len(self.descriptor.storages)))

    def chain(self, guid: str, storage: int) -> Tuple[ImageState, ...]:
        """The images that answer for ``guid`` in one storage, topmost first."""
        return tuple(self.images[(storage, layer)] for layer in self.tree.chain(guid))


class _Look(NamedTuple):
    """How to look at images."""

    allow_outside: bool
    opens_outside: bool
    known: Optional[KnownTables]


def observe(
    port: Port,
    location: Location,
    *,
    allow_outside: bool = False,
    opens_outside: bool = True,
    known: Optional[KnownTables] = None,
) -> BundleState:
    """Read the descriptor, every header and every table of a disk, those of files that are not ``known``.

    Images outside are refused unless ``allow_outside``; without ``opens_outside`` they are noted with size 0 and not
    opened.

    Raises an error that says what is wrong and where; an observed disk is consistent as far as its metadata show.
    Raises StalePlan when somebody else changes the disk at this very moment.
    """
    port.forget(location.directory)
    # The fingerprint is taken first: whatever changes while the rest is read makes the plan stale.
    described = ((location.descriptor, identity(port.stat(location.descriptor))),) if location.kind == BUNDLE else ()
    try:
        return _observe(port, location, described, _Look(allow_outside, opens_outside, known))
    except DiskError as error:
        refuse_changed(port, described)
        if error.hint is None and isinstance(error, (Damaged, NotABundle)):
            error.hint = CHECK_HINT
        raise


def _journal(port: Port, path: str) -> Optional[Journal]:
    if port.lstat(path) is None:
        return None
    # Hardly a disk is amid a change.
    from .._io.journal import read_journal

    return read_journal(port, path)


def _observe(port: Port, location: Location, described: Fingerprint, look: _Look) -> BundleState:
    journal = _journal(port, journal_path(location))
    if location.kind == BUNDLE:
        xml = read_file(port, location.descriptor, limit=_DESCRIPTOR_LIMIT)
        descriptor = parse_descriptor(xml, path=location.descriptor)
        others: Tuple[str, ...] = tuple(port.list_directory(location.directory))
    else:
        xml, descriptor, others = b"", _descriptor_of_single_file(port, location), _unfinished_files(port, location)
    validate(descriptor, path=location.descriptor)
    tree = build_tree(descriptor.shots, declared_top=descriptor.declared_top, path=location.descriptor)
    images = _observe_images(port, location, _named_images(descriptor, tree), look)
    if location.kind == BUNDLE:
        # A link that the descriptor names is an image as much as the file that it leads to.
        named = {path.rsplit("/", 1)[-1] for image in images.values() for path in (image.path, image.file)}
        others = tuple(name for name in others if name not in named)
    fingerprint = described + tuple((image.path, identity(image.stat)) for image in images.values())
    warnings = tuple(size_warnings(descriptor, tree, images))
    state = BundleState(location, xml, descriptor, tree, images, others, journal, fingerprint, warnings)
    folders, unnamed = _strangers(port, location, others)
    state = replace(state, folders=folders, unnamed=unnamed)
    has_notes = NOTES in others or (journal is not None and "note" in (journal.request or {}))
    return _with_notes(port, state) if has_notes and location.kind == BUNDLE else state


def _with_notes(port: Port, state: BundleState) -> BundleState:
    # Few disks have snapshots with names.
    from .notes import read_notes, waiting_notes

    notes, warning = read_notes(port, posixpath.join(state.location.directory, NOTES))
    state = replace(state, notes=notes, notes_unread=warning, warnings=state.warnings + ((warning,) if warning else ()))
    waiting = waiting_notes(state.journal.request or {}) if state.journal is not None else {}
    added = {guid: note for guid, note in waiting.items() if _is_missing(state, guid, note)}
    return replace(state, notes={**notes, **added}, notes_waiting=True) if added else state


def _is_missing(state: BundleState, guid: str, note: Note) -> bool:
    """Whether a snapshot was taken, and the run was cut off before the file had its name."""
    return guid in state.tree.shots and guid != state.tree.top and state.notes.get(guid) != note


def _strangers(port: Port, location: Location, names: Sequence[str]) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """Which of the other names are directories, and which are files with content that are called like an image."""
    if location.kind != "bundle":
        return (), ()
    stats = {name: port.lstat(posixpath.join(location.directory, name)) for name in names}
    folders = tuple(name for name, stat in stats.items() if stat is not None and stat.kind == DIRECTORY)
    called = [name for name in names if classify(name) in ("image", "marker")]
    sizes = {name: stat.size for name, stat in stats.items() if stat is not None and stat.kind == FILE}
    unnamed = tuple(name for name in called if name not in folders and sizes.get(name))
    return folders, unnamed


def _unfinished_files(port: Port, location: Location) -> Tuple[str, ...]:
    """Unfinished journal and copy of a single-file disk; of the names beside it only these are its own."""
    journal = temporary_name(posixpath.basename(journal_path(location)), "new")
    names = (journal, temporary_name(location.base, UNFINISHED_COPY))
    return tuple(name for name in names if port.lstat(posixpath.join(location.directory, name)) is not None)


def _descriptor_of_single_file(port: Port, location: Location) -> Descriptor:
    """One storage, one shot, one image: what a single-file disk would say of itself."""
    path = location.image or location.descriptor
    with_magic, size_sectors, cluster_sectors = _probe_single_file(port, path)
    image = ImageEntry(guids.TOP, "Compressed" if with_magic else "Plain", path.rsplit("/", 1)[-1])
    storage = StorageEntry(0, size_sectors, cluster_sectors, False, (image,))
    return replace(
        one_layer((storage,), name=location.name, uid=None), root_name="", version=None, physical_sector=None
    )


def _probe_single_file(port: Port, path: str) -> Tuple[bool, int, int]:
    prefix, stat = read_start(port, path, _PREFIX), port.stat(path)
    size = stat.size if stat else 0
    if not is_hds(prefix):
        return False, size // SECTOR, 2048
    header = parse_header(prefix[:HEADER_BYTES], path=path, file_size=size)
    return True, header.size_sectors, header.cluster_sectors


class _Named(NamedTuple):
    """An image that the descriptor names, and the ``length`` in bytes of its part of the guest disk."""

    storage: int
    entry: ImageEntry
    length: int
    is_root: bool


def _named_images(descriptor: Descriptor, tree: SnapshotTree) -> Iterator[_Named]:
    for number, storage in enumerate(descriptor.storages):
        for entry in storage.images:
            if entry.guid in tree.shots:
                is_root = tree.shots[entry.guid].parent == guids.NONE
                yield _Named(number, entry, storage.length_sectors * SECTOR, is_root)


def _observe_images(
    port: Port, location: Location, named: Iterable[_Named], look: _Look
) -> Dict[Tuple[int, str], ImageState]:
    images: Dict[Tuple[int, str], ImageState] = {}
    used: Dict[Tuple[int, int], str] = {}
    for one in named:
        entry = one.entry
        if location.kind == BUNDLE:
            file = resolve_image(port, location, entry.file, allow_outside=look.allow_outside)
        else:
            file = ResolvedImage(location.image or location.descriptor, False)
        state = _observe_image(port, file, one, look)
        key = (state.stat.device, state.stat.inode)
        if key in used:
            other = f"a file other than {used[key]}"
            raise Damaged("One file serves as two images", path=state.path, found=entry.file, expected=other)
        used[key] = entry.file
        images[(one.storage, entry.guid)] = state
    return _with_holders(port, images)


def _with_holders(port: Port, images: Dict[Tuple[int, str], ImageState]) -> Dict[Tuple[int, str], ImageState]:
    dirty = [image.path for image in images.values() if image.is_dirty]
    for path, holder in port.holders(dirty) if dirty else ():
        where = next(where for where, image in images.items() if image.path == path)
        images[where] = replace(images[where], held_by=(*images[where].held_by, holder))
    return images


def _observe_image(port: Port, file: ResolvedImage, named: _Named, look: _Look) -> ImageState:
    number, entry, length, is_root = named
    is_opened = look.opens_outside or not file.outside
    path, kind = file.path, entry.type
    stat = image_stat(port, path, entry.file)
    is_plain = is_root and kind == "Plain"
    size = _plain_size(stat, length, path) if is_plain and is_opened else 0
    state = ImageState(number, entry.guid, entry.file, path, file.outside, PLAIN, stat, size)
    if not is_opened:
        return state
    prefix = read_start(port, path, _PREFIX)
    if is_plain:
        return replace(state, contradiction=_PLAIN_EXPANDING if is_hds(prefix) else None)
    if kind not in IMAGE_TYPES:
        text = f"An image of type {kind[:40]!r} cannot be read"
        raise Unsupported(text, path=path, found=kind[:40], expected=" or ".join(IMAGE_TYPES), hint=CHECK_HINT)
    if not is_hds(prefix):
        _refuse_foreign(prefix, path)
    return _with_metadata(port, state, length, look.known)


def _with_metadata(port: Port, state: ImageState, length: int, known: Optional[KnownTables]) -> ImageState:
    """The state of an expanding image, with what its file says."""
    image = open_hds(port, state.path, stat=state.stat, known=known)
    try:
        return replace(
            state,
            kind=EXPANDING,
            size=min(image.size, length),
            header=image.header,
            table=image.table,
            extension=image.extension,
            used_clusters=image.table.clusters_used,
        )
    finally:
        image.close()


def _plain_size(stat: Stat, length: int, path: str) -> int:
    """A plain root may be shorter than its storage after a grow that left it alone; only an empty one is wrong."""
    if stat.size < SECTOR <= length:
        hint = "Restore the file from a backup."
        raise Damaged("A plain image is cut short", path=path, expected=length, found=stat.size, hint=hint)
    return min(stat.size // SECTOR * SECTOR, length)


def _refuse_foreign(prefix: bytes, path: str) -> None:
    # Hardly an image is of another product.
    from .._formats.detect import detect

    kind = detect(prefix, name=path)
    if kind in ("unstructured", "raw"):
        text, found = "An image does not begin as an expanding image does", prefix[:16].hex()
        expected = "WithoutFreeSpace or WithouFreSpacExt"
        hint = CHECK_HINT
        if prefix[510:512] == b"\x55\xaa":
            hint += " It begins with a boot sector: if it holds raw bytes, hdd_convert with src_format: raw reads them."
        raise Damaged(text, path=path, offset=0, expected=expected, found=found, hint=hint)
    text = f"An image is of the foreign format {kind}"
    expected, hint = (
        "an expanding Parallels image",
        "Run hdd_check; hdd_convert may read such a file as src.",
    )
    raise Unsupported(text, path=path, offset=0, found=kind, expected=expected, hint=hint)


def size_warnings(
    descriptor: Descriptor, tree: SnapshotTree, images: Mapping[Tuple[int, str], ImageState]
) -> List[str]:
    """Differences that are no damage: after a grow or a switch the top may be shorter than the disk."""
    notes = [
        f"{image.path}: {image.contradiction}; the guest sees the file as it is. hdd_check tells more."
        for image in images.values()
        if image.contradiction is not None
    ]
    notes += [
        f"{image.path}: a change of the format version by ploop was cut off; finish it with ploop."
        for image in images.values()
        if image.header is not None and image.header.is_converting
    ]
    for number, storage in enumerate(descriptor.storages):
        top = images[(number, tree.top)]
        length = storage.length_sectors * SECTOR
        whole = top.header.size_bytes if top.header is not None else top.stat.size
        if top.outside and top.header is None and not top.size:
            # It was not opened.
            whole = length
        notes += [
            f"{image.path}: the plain image ends after {image.stat.size} of {length} bytes; the rest reads as zeros. It"
            " was cut, or a resize left it as it was."
            for (storage, guid), image in images.items()
            if storage == number and guid != tree.top and image.header is None and image.stat.size < length
        ]
        if whole != length:
            notes.append(f"{top.path}: the image holds {whole} bytes of guest disk, the descriptor says {length}.")
    return notes
