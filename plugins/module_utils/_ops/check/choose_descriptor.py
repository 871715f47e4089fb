# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which descriptor a bundle goes by: its own, that with a size corrected, its backup, or a new one from the images.

Findings ``descriptor_missing``, ``descriptor_unreadable`` and ``backup_*``. A backup is the generation before, and the
tree may have changed since. It is certain only when it names exactly the images that are there and the remains of the
descriptor have the same tree, or when there is one layer and nothing to choose.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import FrozenSet, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..._bundle.descriptor import Descriptor, ImageEntry, StorageEntry, one_layer
from ..._bundle.descriptor_xml import parse_descriptor
from ..._bundle.naming import BACKUP, classify, writable
from ..._bundle.paths import Location
from ..._bundle.pvm import CONFIG, find_vm
from ..._core import guid as guids
from ..._core.errors import DiskError, MissingLibrary, NotFound
from ..._core.findings import ERROR, LOSSY, NO, SAFE, Finding, found
from ..._core.records import replace
from ..._core.units import MIB, SECTOR
from ..._formats.hds.header import HEADER_BYTES, is_hds, unpack_header
from ..._io.durable import read_file, read_start
from ..._io.port import FILE, Port
from .descriptor import examine_descriptor
from .examination import Chosen, Expected
from .header import understand

_LIMIT = 16 << 20
_HINT = "There is no backup that fits, and the images do not show what it was. Restore the descriptor from a copy."
# Few descriptors are lost, so these are compiled when they are used.
_GUID = r"\s*(\{[0-9a-fA-F-]{36}\})\s*"
_SHOT = rf"<GUID>{_GUID}</GUID>\s*<ParentGUID>{_GUID}</ParentGUID>"
_IMAGE = rf"<GUID>{_GUID}</GUID>\s*<Type>[^<]*</Type>\s*<File>([^<]*)</File>"
_LINKED = rb"<LinkedVmUuid>\s*[^<\s]"
_ENGINE = r"<Engine>\s*\{(?!00000000-0000-0000-0000-000000000000)[0-9a-fA-F-]{36}\}"
_SECRET = r"<(?:Data|Salt|KeyId)>\s*[^<\s]"
_SUSPENDED = r"<SuspendState>\s*[1-9]"
_FILE = r"<File>([^<]*)</File>"
_TOP = rf"<TopGUID>{_GUID}</TopGUID>"
_NAME = r"(.+)\.(\d{1,4})\.(\{[0-9a-fA-F-]{36}\})\.hds"
_Pairs = FrozenSet[Tuple[str, str]]


class _Bundle(NamedTuple):
    """Where a descriptor is looked for: ``names`` are those in the bundle, ``xml`` is what the descriptor has."""

    port: Port
    location: Location
    names: Sequence[str]
    xml: Optional[bytes]

    @property
    def images(self) -> Set[str]:
        """The names of images."""
        return {name for name in self.names if classify(name) == "image"}

    @property
    def backup(self) -> str:
        """The path of the backup."""
        return f"{self.location.directory}/{BACKUP}"


class _Source(NamedTuple):
    descriptor: Descriptor
    content: bytes
    degree: str
    text: str


def choose_descriptor(port: Port, location: Location, names: Sequence[str]) -> Chosen:
    """Examine the descriptor of a bundle with these ``names`` in it, and look for another one when it is damaged."""
    path = location.descriptor
    xml, current, findings = _read(port, path)
    bundle = _Bundle(port, location, names, xml)
    errors = [one for one in findings if one.severity == ERROR]
    if current is not None and not errors:
        return Chosen(xml, current, None, SAFE, True, (*findings, *_compare_backup(bundle)))
    if xml is None and any(one.code == "descriptor_unreadable" for one in errors):
        # What the medium does not give back today may be good tomorrow, so nothing takes its place.
        return Chosen(None, None, None, NO, False, tuple(findings))
    source = _find_source(bundle, current, errors)
    if source is None:
        reported = [_reported(one, _HINT, NO) if one.severity == ERROR else one for one in findings]
        return Chosen(xml, current, None, NO, False, tuple(reported))
    reported = [_reported(one, source.text, source.degree) for one in errors]
    rest = [one for one in examine_descriptor(source.descriptor, path=path) if one.severity != ERROR]
    return Chosen(xml, source.descriptor, source.content, source.degree, True, (*reported, *rest))


def _reported(error: Finding, text: str, degree: str) -> Finding:
    return replace(error, message=f"{error.message} {text}", repairable=degree)


def _read(port: Port, path: str) -> Tuple[Optional[bytes], Optional[Descriptor], List[Finding]]:
    try:
        xml = read_file(port, path, limit=_LIMIT)
    except NotFound:
        return None, None, [found("descriptor_missing", path, "The bundle has no descriptor.")]
    except DiskError as error:
        return None, None, [found("descriptor_unreadable", path, str(error), repairable=NO)]
    try:
        current = parse_descriptor(xml, path=path)
    except MissingLibrary:
        # The descriptor may be as good as any.
        raise
    except DiskError as error:
        return xml, None, [found("descriptor_unreadable", path, error.statement)]
    return xml, current, examine_descriptor(current, path=path)


def _compare_backup(bundle: _Bundle) -> List[Finding]:
    if BACKUP not in bundle.names:
        return []
    path = bundle.backup
    try:
        backup = read_file(bundle.port, path, limit=_LIMIT)
        parse_descriptor(backup, path=path)
    except DiskError as error:
        return [found("backup_unreadable", path, error.statement)]
    text = "The backup of the descriptor is another generation of it, as Parallels Desktop leaves it."
    return [found("backup_differs", path, text)] if backup != bundle.xml else []


def _find_source(bundle: _Bundle, current: Optional[Descriptor], errors: Sequence[Finding]) -> Optional[_Source]:
    if bundle.xml is not None and current is not None and all(one.code == "top_missing" for one in errors):
        named = _with_top(bundle, bundle.xml, current)
        if named is not None:
            return named
    if bundle.xml is not None and current is not None and all(one.code == "descriptor_size" for one in errors):
        resized = _resized(bundle, bundle.xml, current)
        if resized is not None:
            return resized
    content, descriptor = None, None
    if BACKUP in bundle.names:
        try:
            content = read_file(bundle.port, bundle.backup, limit=_LIMIT)
            descriptor = parse_descriptor(content, path=bundle.backup)
        except DiskError:
            if content is None:
                return None
    if content is not None and descriptor is not None:
        return _from_backup(bundle, content, descriptor)
    made = _from_images(bundle) if current is None else None
    # An unreadable backup may have said something else.
    is_doubtful = made is not None and (content is not None or _says_more(bundle.xml, made.descriptor))
    return made._replace(degree=LOSSY) if made is not None and is_doubtful else made


def _with_top(bundle: _Bundle, xml: bytes, current: Descriptor) -> Optional[_Source]:
    """The only layer is the current one, whatever it is called; it gets the GUID that all readers know."""
    guids_of_images = {image.guid for storage in current.storages for image in storage.images}
    is_alone = len(current.shots) == 1 and current.shots[0].parent == guids.NONE
    if not is_alone or guids_of_images != {current.shots[0].guid}:
        return None
    storages = tuple(
        replace(storage, images=tuple(replace(image, guid=guids.TOP) for image in storage.images))
        for storage in current.storages
    )
    shots = (replace(current.shots[0], guid=guids.TOP),)
    target = replace(current, storages=storages, shots=shots, declared_top=None)
    if any(one.severity == ERROR for one in examine_descriptor(target, path=bundle.location.descriptor)):
        return None
    from ..._bundle.descriptor_edit import apply

    content = apply(xml, target, path=bundle.location.descriptor)
    return _Source(target, content, SAFE, "There is one layer, so it is the current one.")


def _resized(bundle: _Bundle, xml: bytes, current: Descriptor) -> Optional[_Source]:
    """Two of three agree: Disk_size, the ranges of the storages, the images."""
    path = bundle.location.descriptor
    end = current.storages[-1].end_sector
    held = [{_guest_sectors(bundle, image) for image in storage.images} for storage in current.storages]
    if all(storage.length_sectors in sizes for storage, sizes in zip(current.storages, held)):
        target = replace(current, size_sectors=end)
    elif len(held) == 1 and current.size_sectors in held[0]:
        target = replace(current, storages=(replace(current.storages[0], end_sector=current.size_sectors),))
    else:
        return None
    if any(one.severity == ERROR for one in examine_descriptor(target, path=path)):
        return None
    from ..._bundle.descriptor_edit import apply

    degree = SAFE if all(len(sizes) == 1 for sizes in held) else LOSSY
    text = f"The images hold {target.size_sectors} sectors."
    return _Source(target, apply(xml, target, path=path), degree, text)


def _guest_sectors(bundle: _Bundle, image: ImageEntry) -> Optional[int]:
    """How much of the guest disk an image in the bundle holds, by its header or, when it is plain, its length."""
    read = _header_of(bundle, image.file)
    if read is None:
        return None
    size, expected = read
    return expected.length_sectors if expected is not None else (size // SECTOR if image.type == "Plain" else None)


def _header_of(bundle: _Bundle, name: str) -> Optional[Tuple[int, Optional[Expected]]]:
    """The length of an image file and what a sound header says of it; None for what is no file in the bundle."""
    path = f"{bundle.location.directory}/{name}"
    try:
        stat = None if not name or "/" in name or "\0" in name else bundle.port.lstat(path)
        if stat is None or stat.kind != FILE:
            return None
        raw = read_start(bundle.port, path, HEADER_BYTES)
    except DiskError:
        return None
    if len(raw) < HEADER_BYTES or not is_hds(raw):
        return stat.size, None
    disk_type, header = unpack_header(raw, version=1 if raw.startswith(b"WithoutFree") else 2)
    understood = understand(disk_type, header, Expected(), path=path, file_size=stat.size)
    is_sound = understood.header is not None and not understood.findings
    return stat.size, Expected(header.size_sectors, header.cluster_sectors) if is_sound else None


def _from_backup(bundle: _Bundle, content: bytes, descriptor: Descriptor) -> Optional[_Source]:
    if any(one.severity == ERROR for one in examine_descriptor(descriptor, path=bundle.backup)):
        return None
    named = {image.file for storage in descriptor.storages for image in storage.images}
    if named != bundle.images or not all(_fits(bundle, storage) for storage in descriptor.storages):
        return None
    text = "Its backup names the images that are there"
    if _is_certain(descriptor, bundle.xml) and not _says_more(bundle.xml, descriptor):
        return _Source(descriptor, content, SAFE, f"{text}, and nothing speaks against it.")
    text += "; whether the tree of snapshots was the same since is not known."
    return _Source(descriptor, content, LOSSY, text)


def _fits(bundle: _Bundle, storage: StorageEntry) -> bool:
    """Whether some image is as large as the storage."""
    return any(_guest_sectors(bundle, image) == storage.length_sectors for image in storage.images)


def _is_certain(backup: Descriptor, xml: Optional[bytes]) -> bool:
    text = (xml or b"").decode("latin-1")
    shots = _pairs(re.findall(_SHOT, text))
    images = frozenset((guid.lower(), file) for guid, file in re.findall(_IMAGE, text))
    backup_shots = frozenset((shot.guid, shot.parent) for shot in backup.shots)
    backup_images = frozenset((image.guid, image.file) for storage in backup.storages for image in storage.images)
    if not images <= backup_images:
        return False
    return shots == backup_shots or (len(backup_shots) == 1 and shots <= backup_shots)


def _says_more(xml: Optional[bytes], other: Descriptor) -> bool:
    """Whether the remains of a descriptor name what ``other`` lacks: encryption, suspension, files, current layer."""
    text = (xml or b"").decode("latin-1")
    if not other.encrypted and (re.search(_ENGINE, text) or re.search(_SECRET, text)):
        return True
    if re.search(_SUSPENDED, text) and not other.suspended:
        return True
    files = {image.file for storage in other.storages for image in storage.images}
    if {name.strip() for name in re.findall(_FILE, text)} - files:
        return True
    tops = {top.lower() for top in re.findall(_TOP, text)} - {guids.NONE}
    return bool(tops) and tops != {other.declared_top or guids.TOP}


def _pairs(found_pairs: Sequence[Tuple[str, str]]) -> _Pairs:
    return frozenset((one.lower(), other.lower()) for one, other in found_pairs)


def _from_images(bundle: _Bundle) -> Optional[_Source]:
    """A descriptor made from the images of the only layer: one image, or parts of the current state."""
    location = bundle.location
    storages = _storages(bundle)
    if not storages:
        return None
    files = [storage.images[0].file for storage in storages]
    size = storages[-1].end_sector
    descriptor = one_layer(
        tuple(storages), name=writable(location.name), uid=guids.derive("rebuilt", location.base, str(size), *files)
    )
    from ..._bundle.descriptor_edit import new_descriptor

    vm = find_vm(bundle.port, location).facts
    text = "The images show what it must say; a name, an identity and settings that it had are not known."
    is_sure = len(files) == 1 or (vm is not None and vm.config_size_mib == size * SECTOR // MIB)
    if not is_sure:
        text += " Whether the last part of the disk is there is not known."
    match = re.fullmatch(_NAME, files[0])
    if match is not None and match.group(3).lower() != guids.TOP:
        text += " Its file has the name of a snapshot; whether there was a layer above it is not known."
        is_sure = False
    if _may_stand_on_another(bundle, files[0]):
        text += " Whether the disk stood on layers elsewhere, as a linked clone does, is not known."
        is_sure = False
    return _Source(descriptor, new_descriptor(descriptor, path=location.descriptor), SAFE if is_sure else LOSSY, text)


def _storages(bundle: _Bundle) -> List[StorageEntry]:
    """The storages that the images of the only layer make; none when they do not show it."""
    storages: List[StorageEntry] = []
    position = 0
    for name in _parts(bundle.images):
        read = _header_of(bundle, name)
        expected = read[1] if read is not None else None
        if expected is None or expected.length_sectors is None or expected.cluster_sectors is None:
            return []
        end = position + expected.length_sectors
        image = ImageEntry(guids.TOP, "Compressed", name)
        storages.append(StorageEntry(position, end, expected.cluster_sectors, False, (image,)))
        position = end
    return storages


def _may_stand_on_another(bundle: _Bundle, name: str) -> bool:
    """Whether a lone layer may be a linked clone's: its machine says so, or its first cluster alone is missing."""
    port, directory = bundle.port, bundle.location.directory
    try:
        config = read_file(port, f"{directory.rsplit('/', 1)[0]}/{CONFIG}", limit=_LIMIT)
    except DiskError:
        config = b""
    path = f"{directory}/{name}"
    head, stat = read_start(port, path, HEADER_BYTES + 4), port.stat(path)
    has_clusters = stat is not None and stat.size > unpack_header(head, version=1)[1].data_start
    return re.search(_LINKED, config) is not None or (has_clusters and not any(head[HEADER_BYTES:]))


def _parts(images: Set[str]) -> List[str]:
    named = {name: re.fullmatch(_NAME, name) for name in images}
    if len(images) == 1:
        ((name, match),) = named.items()
        # ploop calls layers above the root like the root with a GUID after it.
        return [name] if match is not None or not name.endswith("}") else []
    matches = [match for match in named.values() if match is not None and match.group(3).lower() == guids.TOP]
    parts = {int(match.group(2)): match.group() for match in matches}
    is_complete = len(matches) == len(images) and sorted(parts) == list(range(len(images)))
    return [parts[number] for number in sorted(parts)] if is_complete else []
