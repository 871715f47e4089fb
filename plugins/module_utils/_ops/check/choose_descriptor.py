# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which descriptor a bundle goes by (findings ``descriptor_missing``, ``descriptor_unreadable``, ``backup_*``): the one
that it has, that with a size put right, its backup, or one made anew from the images.

A backup is the generation before, and the tree may have changed since. It is certain only when it names exactly the
images that are there and what is left of the descriptor gives the same tree, or when there is one layer and nothing to
choose.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import FrozenSet, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

from ..._bundle.descriptor import Descriptor, ImageEntry, Shot, StorageEntry
from ..._bundle.descriptor_xml import parse_descriptor
from ..._bundle.naming import BACKUP, classify
from ..._bundle.paths import Location
from ..._bundle.pvm import CONFIG, find_vm
from ..._core import guid as guids
from ..._core.errors import DiskError, NotFound
from ..._core.findings import ERROR, LOSSY, NO, SAFE, Finding, found
from ..._core.records import replace
from ..._core.units import MIB, SECTOR
from ..._formats.hds.header import HEADER_BYTES, is_hds, unpack_header
from ..._io.durable import read_file
from ..._io.port import FILE, Port
from .descriptor import examine_descriptor
from .examination import Chosen, Expected
from .header import understand

_LIMIT = 16 << 20
_GUID = r"\s*(\{[0-9a-fA-F-]{36}\})\s*"
_SHOT = re.compile(rf"<GUID>{_GUID}</GUID>\s*<ParentGUID>{_GUID}</ParentGUID>")
_IMAGE = re.compile(rf"<GUID>{_GUID}</GUID>\s*<Type>[^<]*</Type>\s*<File>([^<]*)</File>")
_LINKED = re.compile(rb"<LinkedVmUuid>\s*[^<\s]")
_ENGINE = re.compile(r"<Engine>\s*\{(?!00000000-0000-0000-0000-000000000000)[0-9a-fA-F-]{36}\}")
_SECRET = re.compile(r"<(?:Data|Salt|KeyId)>\s*[^<\s]")
_SUSPENDED = re.compile(r"<SuspendState>\s*[1-9]")
_FILE = re.compile(r"<File>([^<]*)</File>")
_TOP = re.compile(rf"<TopGUID>{_GUID}</TopGUID>")
_NAME = re.compile(r"(.+)\.(\d{1,4})\.(\{[0-9a-fA-F-]{36}\})\.hds")
_Pairs = FrozenSet[Tuple[str, str]]


class _Source(NamedTuple):
    descriptor: Descriptor
    content: bytes
    degree: str
    text: str


def choose_descriptor(port: Port, location: Location, names: Sequence[str]) -> Chosen:
    """Look at the descriptor of a bundle, and for another one when it is damaged.

    ``names`` are those in its directory.
    """
    path = location.descriptor
    xml, current, findings = _read(port, path)
    errors = [one for one in findings if one.severity == ERROR]
    if current is not None and not errors:
        return Chosen(xml, current, None, SAFE, True, (*findings, *_compare_backup(port, location, names, xml)))
    if xml is None and any(one.code == "descriptor_unreadable" for one in errors):
        # What the medium does not give back today may be good tomorrow, so nothing takes its place.
        return Chosen(None, None, None, NO, False, tuple(findings))
    source = _find_source(port, location, names, xml, current, errors)
    if source is None:
        hint = (
            "There is no backup that fits, and the images do not show what it was. Restore the descriptor from a copy."
        )
        reported = [
            replace(one, message=f"{one.message} {hint}", repairable=NO) if one.severity == ERROR else one
            for one in findings
        ]
        return Chosen(xml, current, None, NO, False, tuple(reported))
    reported = [
        replace(one, message=f"{one.message} {source.text}", repairable=source.degree)
        for one in findings
        if one.severity == ERROR
    ]
    after = [one for one in examine_descriptor(source.descriptor, path=path) if one.severity != ERROR]
    return Chosen(xml, source.descriptor, source.content, source.degree, True, (*reported, *after))


def _read(port: Port, path: str) -> Tuple[Optional[bytes], Optional[Descriptor], List[Finding]]:
    try:
        xml = read_file(port, path, limit=_LIMIT)
    except NotFound:
        return None, None, [found("descriptor_missing", path, "The bundle has no descriptor.")]
    except DiskError as error:
        return None, None, [found("descriptor_unreadable", path, str(error), repairable=NO)]
    try:
        current = parse_descriptor(xml, path=path)
    except DiskError as error:
        return xml, None, [found("descriptor_unreadable", path, str(error))]
    return xml, current, examine_descriptor(current, path=path)


def _compare_backup(port: Port, location: Location, names: Sequence[str], xml: Optional[bytes]) -> List[Finding]:
    if BACKUP not in names:
        return []
    path = f"{location.directory}/{BACKUP}"
    try:
        backup = read_file(port, path, limit=_LIMIT)
        parse_descriptor(backup, path=path)
    except DiskError as error:
        return [found("backup_unreadable", path, str(error))]
    if backup == xml:
        return []
    return [
        found(
            "backup_differs",
            path,
            "The backup of the descriptor is another generation of it, as Parallels Desktop leaves it.",
        )
    ]


def _find_source(
    port: Port,
    location: Location,
    names: Sequence[str],
    xml: Optional[bytes],
    current: Optional[Descriptor],
    errors: Sequence[Finding],
) -> Optional[_Source]:
    if xml is not None and current is not None and all(one.code == "descriptor_size" for one in errors):
        resized = _resized(port, location, xml, current)
        if resized is not None:
            return resized
    images = {name for name in names if classify(name) == "image"}
    if BACKUP not in names:
        made = _from_images(port, location, images) if current is None else None
        return made._replace(degree=LOSSY) if made is not None and _says_more(xml, made.descriptor) else made
    backup = _read_backup(port, location)
    if isinstance(backup, DiskError):
        return None
    content, descriptor = backup
    if descriptor is not None:
        return _from_backup(port, location, content, descriptor, images, xml)
    # That there was a backup says nothing; what it said might have.
    made = _from_images(port, location, images) if current is None else None
    return None if made is None else made._replace(degree=LOSSY)


def _read_backup(port: Port, location: Location) -> Union[DiskError, Tuple[bytes, Optional[Descriptor]]]:
    """The backup and what it says, which is None when it cannot be understood; or the error that kept it from being
    read.
    """
    path = f"{location.directory}/{BACKUP}"
    try:
        content = read_file(port, path, limit=_LIMIT)
    except DiskError as error:
        return error
    try:
        return content, parse_descriptor(content, path=path)
    except DiskError:
        return content, None


def _resized(port: Port, location: Location, xml: bytes, current: Descriptor) -> Optional[_Source]:
    """Two of three agree: Disk_size, the ranges of the storages, the images."""
    end = current.storages[-1].end_sector
    lengths = [storage.end_sector - storage.start_sector for storage in current.storages]
    held = [{_guest_sectors(port, location, image) for image in storage.images} for storage in current.storages]
    if all(length in sizes for length, sizes in zip(lengths, held)):
        target = replace(current, size_sectors=end)
    elif len(held) == 1 and current.size_sectors in held[0]:
        target = replace(current, storages=(replace(current.storages[0], end_sector=current.size_sectors),))
    else:
        return None
    if any(one.severity == ERROR for one in examine_descriptor(target, path=location.descriptor)):
        return None
    from ..._bundle.descriptor_edit import apply

    degree = SAFE if all(len(sizes) == 1 for sizes in held) else LOSSY
    return _Source(
        target, apply(xml, target, path=location.descriptor), degree, f"The images hold {target.size_sectors} sectors."
    )


def _guest_sectors(port: Port, location: Location, image: ImageEntry) -> Optional[int]:
    """How much of the guest disk an image in the bundle holds, by its header or, when it is plain, its length."""
    read = _header_of(port, location, image.file)
    if read is None:
        return None
    size, expected = read
    return expected.length_sectors if expected is not None else (size // SECTOR if image.type == "Plain" else None)


def _header_of(port: Port, location: Location, name: str) -> Optional[Tuple[int, Optional[Expected]]]:
    """The length of an image file and what a sound header says of it; None for what is no file in the bundle."""
    path = f"{location.directory}/{name}"
    try:
        stat = None if not name or "/" in name or "\0" in name else port.lstat(path)
        if stat is None or stat.kind != FILE:
            return None
        file = port.open_read(path)
        try:
            buffer = bytearray(HEADER_BYTES)
            got = file.pread_into(0, buffer)
        finally:
            file.close()
    except DiskError:
        return None
    if got < HEADER_BYTES or not is_hds(bytes(buffer)):
        return stat.size, None
    disk_type, header = unpack_header(bytes(buffer), version=1 if buffer.startswith(b"WithoutFree") else 2)
    understood = understand(disk_type, header, Expected(), path=path, file_size=stat.size)
    is_sound = understood.header is not None and not understood.findings
    return stat.size, Expected(header.size_sectors, header.cluster_sectors) if is_sound else None


def _from_backup(
    port: Port, location: Location, content: bytes, descriptor: Descriptor, images: Set[str], xml: Optional[bytes]
) -> Optional[_Source]:
    path = f"{location.directory}/{BACKUP}"
    if any(one.severity == ERROR for one in examine_descriptor(descriptor, path=path)):
        return None
    named = {image.file for storage in descriptor.storages for image in storage.images}
    if named != images or not all(_fits(port, location, storage) for storage in descriptor.storages):
        return None
    if _is_certain(descriptor, xml) and not _says_more(xml, descriptor):
        return _Source(
            descriptor, content, SAFE, "Its backup names the images that are there, and nothing speaks against it."
        )
    return _Source(
        descriptor,
        content,
        LOSSY,
        "Its backup names the images that are there; whether the tree of snapshots was the same since is not known.",
    )


def _fits(port: Port, location: Location, storage: StorageEntry) -> bool:
    """Whether some image is as large as the storage."""
    return storage.end_sector - storage.start_sector in {
        _guest_sectors(port, location, image) for image in storage.images
    }


def _is_certain(backup: Descriptor, xml: Optional[bytes]) -> bool:
    text = (xml or b"").decode("latin-1")
    shots = _pairs(_SHOT.findall(text))
    images = frozenset((guid.lower(), file) for guid, file in _IMAGE.findall(text))
    backup_shots = frozenset((shot.guid, shot.parent) for shot in backup.shots)
    backup_images = frozenset((image.guid, image.file) for storage in backup.storages for image in storage.images)
    if not images <= backup_images:
        return False
    return shots == backup_shots or (len(backup_shots) == 1 and shots <= backup_shots)


def _says_more(xml: Optional[bytes], other: Descriptor) -> bool:
    """Whether the remains of a descriptor say something that ``other`` does not: encryption, a suspended machine,
    more files, another current layer.
    """
    text = (xml or b"").decode("latin-1")
    if not other.encrypted and (_ENGINE.search(text) or _SECRET.search(text)):
        return True
    if _SUSPENDED.search(text) and not other.suspended:
        return True
    files = {image.file for storage in other.storages for image in storage.images}
    if {name.strip() for name in _FILE.findall(text)} - files:
        return True
    tops = {top.lower() for top in _TOP.findall(text)} - {guids.NONE}
    return bool(tops) and tops != {other.declared_top or guids.TOP}


def _pairs(found_pairs: Sequence[Tuple[str, str]]) -> _Pairs:
    return frozenset((one.lower(), other.lower()) for one, other in found_pairs)


def _from_images(port: Port, location: Location, images: Set[str]) -> Optional[_Source]:
    """A descriptor made of the images when there is one layer only: one image, or a row of parts of the current
    state.
    """
    parts = _parts(images)
    storages: List[StorageEntry] = []
    position = 0
    for name in parts:
        read = _header_of(port, location, name)
        expected = read[1] if read is not None else None
        if expected is None or expected.length_sectors is None or expected.cluster_sectors is None:
            return None
        entry = ImageEntry(guids.TOP, "Compressed", name)
        storages.append(
            StorageEntry(position, position + expected.length_sectors, expected.cluster_sectors, False, (entry,))
        )
        position += expected.length_sectors
    if not position:
        return None
    descriptor = _one_layer(location, storages, position)
    from ..._bundle.descriptor_edit import new_descriptor

    vm = find_vm(port, location).facts
    text = "The images show what it must say; a name, an identity and settings that it had are not known."
    is_sure = len(parts) == 1 or (vm is not None and vm.config_size_mib == position * SECTOR // MIB)
    if not is_sure:
        text += " Whether the last part of the disk is there is not known."
    if _may_stand_on_another(port, location, parts[0]):
        text += " Whether the disk stood on layers elsewhere, as a linked clone does, is not known."
        is_sure = False
    return _Source(descriptor, new_descriptor(descriptor, path=location.descriptor), SAFE if is_sure else LOSSY, text)


def _may_stand_on_another(port: Port, location: Location, name: str) -> bool:
    """Whether a lone layer may be a linked clone's: its machine names another one, or it has clusters, but not the
    first one of the disk.
    """
    folder = location.directory.rsplit("/", 1)[0]
    try:
        linked = _LINKED.search(read_file(port, f"{folder}/{CONFIG}", limit=_LIMIT)) is not None
    except DiskError:
        linked = False
    head = bytearray(HEADER_BYTES + 4)
    file = port.open_read(f"{location.directory}/{name}")
    try:
        file.pread_into(0, head)
        has_clusters = file.size() > unpack_header(bytes(head), version=1)[1].data_start
    finally:
        file.close()
    return linked or (has_clusters and not any(head[HEADER_BYTES:]))


def _parts(images: Set[str]) -> List[str]:
    named = {name: _NAME.fullmatch(name) for name in images}
    if len(images) == 1:
        ((name, match),) = named.items()
        # ploop calls layers above the root like the root with a GUID after it.
        is_root = not name.endswith("}") if match is None else match.group(3).lower() == guids.TOP
        return [name] if is_root else []
    ordered = sorted(
        (int(match.group(2)), name)
        for name, match in named.items()
        if match is not None and match.group(3).lower() == guids.TOP
    )
    return (
        [name for _number, name in ordered]
        if len(ordered) == len(images) and [number for number, _name in ordered] == list(range(len(images)))
        else []
    )


def _one_layer(location: Location, storages: Sequence[StorageEntry], size_sectors: int) -> Descriptor:
    return Descriptor(
        root_name="Parallels_disk_image",
        version="1.0",
        size_sectors=size_sectors,
        cylinders=size_sectors // (16 * 32),
        heads=16,
        sectors=32,
        padding=0,
        encrypted=False,
        uid=guids.derive(
            "rebuilt", location.base, str(size_sectors), *(storage.images[0].file for storage in storages)
        ),
        name=location.name,
        logical_sector=SECTOR,
        physical_sector=4096,
        suspended=False,
        storages=tuple(storages),
        shots=(Shot(guids.TOP, guids.NONE),),
        declared_top=None,
    )
