# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""``DiskDescriptor.xml`` as bytes, turned into facts. Format reference, section 2.2."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Tuple

from .._core import guid as guids
from .._core.errors import Damaged, NotABundle
from .descriptor import COMPRESSED, MAX_SHOTS, Descriptor, ImageEntry, Shot, StorageEntry, check_counts
from .xml_input import at_line, etree, leaf_text, parse_xml

ROOT_NAMES = ("Parallels_disk_image", "Virtuozzo_disk_image")

_MAX_NUMBER = (1 << 63) - 1
_DEFAULT_CLUSTER_SECTORS = 2048
MARKS = ("Temporary", "TemporaryZero", "TemporaryZeroSwap")


def parse_descriptor(xml: bytes, *, path: str) -> Descriptor:
    """The facts in ``xml``, not yet checked against each other (``descriptor.validate`` does that).

    Raises NotABundle for another kind of document, Damaged for one that cannot be understood, Unsupported beyond the
    limits.
    """
    return facts_of(parse_xml(xml, path=path).root, path)


def facts_of(root: etree._Element, path: str) -> Descriptor:
    """The facts below a root element."""
    if root.tag not in ROOT_NAMES:
        raise NotABundle(
            "The document is no disk descriptor", path=path, expected=" or ".join(ROOT_NAMES), found=str(root.tag)[:80]
        )
    parameters = needed_child(root, "Disk_Parameters", path)
    storages = needed_child(root, "StorageData", path).findall("Storage")
    snapshots = _child(root, "Snapshots", path)
    shots = snapshots.findall("Shot") if snapshots is not None else []
    check_counts(storages=len(storages), shots=len(shots), path=path)
    storage_entries = tuple(_storage(element, path) for element in storages)
    return Descriptor(
        root_name=root.tag,
        version=root.get("Version"),
        size_sectors=_needed_number(parameters, "Disk_size", path),
        cylinders=_number(parameters, "Cylinders", path),
        heads=_number(parameters, "Heads", path),
        sectors=_number(parameters, "Sectors", path),
        padding=_number(parameters, "Padding", path) or 0,
        encrypted=_is_encrypted(_child(parameters, "Encryption", path), path),
        uid=_uid(parameters, path),
        name=_text(parameters, "Name", path) or None,
        logical_sector=_number(parameters, "LogicSectorSize", path) or 512,
        physical_sector=_number(parameters, "PhysicalSectorSize", path),
        suspended=_is_suspended(_child(parameters, "Miscellaneous", path), path),
        storages=storage_entries,
        shots=_with_implied_top(tuple(_shot(element, path) for element in shots), storage_entries),
        declared_top=_declared_top(snapshots, path),
    )


def _declared_top(snapshots: Optional[etree._Element], path: str) -> Optional[str]:
    names_top = snapshots is not None and snapshots.find("TopGUID") is not None
    return guid_in(snapshots, "TopGUID", path) if names_top else None


def _storage(element: etree._Element, path: str) -> StorageEntry:
    images = element.findall("Image")
    if len(images) > MAX_SHOTS + 1:
        check_counts(storages=1, shots=len(images), path=path)
    clusters = [_number(element, tag, path) for tag in ("Blocksize", "BlockSize") if element.find(tag) is not None]
    if len(clusters) > 1:
        raise Damaged(f"A storage has two cluster sizes{at_line(element)}", path=path)
    return StorageEntry(
        start_sector=_needed_number(element, "Start", path),
        end_sector=_needed_number(element, "End", path),
        cluster_sectors=clusters[0] or 0 if clusters else _DEFAULT_CLUSTER_SECTORS,
        preallocated=bool(_number(element, "Preallocated", path)),
        images=tuple(_image(image, path) for image in images),
    )


def _image(element: etree._Element, path: str) -> ImageEntry:
    kind = (_text(element, "Type", path) or "").strip()
    return ImageEntry(guid_in(element, "GUID", path), kind or COMPRESSED, _text(element, "File", path) or "")


def _shot(element: etree._Element, path: str) -> Shot:
    temporary = any(element.find(mark) is not None for mark in MARKS)
    return Shot(guid_in(element, "GUID", path), guid_in(element, "ParentGUID", path), temporary)


def _with_implied_top(shots: Tuple[Shot, ...], storages: Tuple[StorageEntry, ...]) -> Tuple[Shot, ...]:
    """A disk of one image without any shot has the predefined top, as ploop reads it.

    ploop does so beside other shots, too. There the top has lost its parent: to read it without would show another
    disk, and a compaction would drop the zeros in it that hide what is below.
    """
    images = [image.guid for image in storages[0].images] if storages else []
    return (Shot(guids.TOP, guids.NONE),) if not shots and images == [guids.TOP] else shots


def _is_encrypted(element: Optional[etree._Element], path: str) -> bool:
    """Any engine other than the null one, or the name of a key, makes the payload cipher text."""
    if element is None:
        return False
    engine = (_text(element, "Engine", path) or "").strip()
    is_null = not engine or (guids.is_guid(engine) and guids.normalise(engine) == guids.NONE)
    return not is_null or bool((_text(element, "KeyId", path) or "").strip())


def _is_suspended(element: Optional[etree._Element], path: str) -> bool:
    return element is not None and (_text(element, "SuspendState", path) or "").strip() not in ("", "0")


def _uid(parameters: etree._Element, path: str) -> Optional[str]:
    text = (_text(parameters, "UID", path) or "").strip()
    return guids.normalise(text) if guids.is_guid(text) else text or None


def _child(parent: etree._Element, tag: str, path: str) -> Optional[etree._Element]:
    """The one child ``tag``, or None. Two of them would let two readers see two disks."""
    found = parent.findall(tag)
    if len(found) > 1:
        raise Damaged(f"{parent.tag} has several elements {tag}{at_line(found[1])}", path=path)
    return found[0] if found else None


def needed_child(parent: etree._Element, tag: str, path: str) -> etree._Element:
    """The one child ``tag``; Damaged when it is missing or there are two."""
    found = _child(parent, tag, path)
    if found is None:
        raise Damaged(f"{parent.tag} has no {tag}{at_line(parent)}", path=path)
    return found


def _text(parent: etree._Element, tag: str, path: str) -> Optional[str]:
    found = _child(parent, tag, path)
    return None if found is None else leaf_text(found, path=path)


def _number(parent: etree._Element, tag: str, path: str) -> Optional[int]:
    text = _text(parent, tag, path)
    if text is None:
        return None
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19 and int(digits) <= _MAX_NUMBER):
        text, possible = f"{tag} is not a possible number{at_line(parent)}", f"0 to {_MAX_NUMBER}"
        raise Damaged(text, path=path, expected=possible, found=digits[:60])
    return int(digits)


def _needed_number(parent: etree._Element, tag: str, path: str) -> int:
    needed_child(parent, tag, path)
    return _number(parent, tag, path) or 0


def guid_in(parent: etree._Element, tag: str, path: str) -> str:
    """The GUID in the child ``tag``, in its normal form. Raises Damaged."""
    return guids.normalise(leaf_text(needed_child(parent, tag, path), path=path), path=path, what=tag)
