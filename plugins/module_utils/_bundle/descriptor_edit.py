# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing ``DiskDescriptor.xml``, or writing a new one, so that it says what a set of facts says.

Whatever is not known here belongs to somebody else and keeps its bytes. Format reference, section 2.2.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Union

from .._core import guid as guids
from .._core.errors import BadRequest
from .._core.records import replace
from .descriptor import Descriptor, ImageEntry, Shot, StorageEntry
from .descriptor_xml import MARKS, ROOT_NAMES, facts_of, guid_in, needed_child, parse_descriptor
from .naming import DESCRIPTOR
from .xml_edit import Editor, Node, last_before, render
from .xml_input import etree, parse_xml

_ROOT_ORDER = ("Disk_Parameters", "StorageData", "Snapshots")
_PARAMETER_ORDER = (
    "Disk_size",
    "Max_delta_size",
    "Cylinders",
    "PhysicalSectorSize",
    "LogicSectorSize",
    "Heads",
    "Sectors",
    "Padding",
    "Encryption",
    "UID",
    "Name",
    "Miscellaneous",
)
_PARAMETER_FIELDS = (
    ("Disk_size", "size_sectors"),
    ("Cylinders", "cylinders"),
    ("PhysicalSectorSize", "physical_sector"),
    ("LogicSectorSize", "logical_sector"),
    ("Heads", "heads"),
    ("Sectors", "sectors"),
    ("Padding", "padding"),
    ("UID", "uid"),
    ("Name", "name"),
)
_STORAGE_ORDER = ("Start", "End", "Blocksize", "BlockSize", "Preallocated", "Image")
_IMAGE_ORDER = ("GUID", "Type", "File")
_SHOT_ORDER = ("GUID", "ParentGUID", "Temporary")
_SNAPSHOT_ORDER = ("TopGUID", "Shot")
_COUNTERS = (
    "DupBlocksCnt",
    "CorruptBlocksCnt",
    "UnrefBlocksCnt",
    "OutOfDiskBlocksCnt",
    "BatOverlapBlocksCnt",
    "BlocksCnt",
    "TruncatedBlocksCnt",
    "ReferencedBlocksCnt",
)


def apply(xml: bytes, target: Descriptor, *, path: str) -> bytes:
    """``xml`` edited so that parsing it gives ``target``; the same bytes if it already does.

    Images are found again by their file, else by GUID; shots by GUID; storages by number. Raises BadRequest for what
    cannot be changed here: the root's name and version, and encryption.
    """
    document = parse_xml(xml, path=path)
    root, current = document.root, facts_of(document.root, path)
    if current == target:
        return xml
    if replace(target, root_name=current.root_name, version=current.version, encrypted=current.encrypted) != target:
        raise BadRequest("The root element, its version and encryption of a descriptor cannot be changed", path=path)
    editor = Editor(document, path=path)
    _apply_parameters(editor, needed_child(root, "Disk_Parameters", path), current, target)
    _apply_storages(editor, needed_child(root, "StorageData", path), current, target)
    _apply_snapshots(editor, root, current, target)
    changed = editor.to_bytes()
    if parse_descriptor(changed, path=path) != target:
        raise BadRequest("The descriptor cannot say what was asked for", path=path)
    return changed


def _apply_parameters(editor: Editor, parameters: etree._Element, current: Descriptor, target: Descriptor) -> None:
    for tag, field in _PARAMETER_FIELDS:
        value = getattr(target, field)
        if value != getattr(current, field):
            editor.set_child(parameters, tag, None if value is None else str(value), order=_PARAMETER_ORDER)
    if current.suspended == target.suspended:
        return
    state = "1" if target.suspended else "0"
    miscellaneous = parameters.find("Miscellaneous")
    if miscellaneous is None:
        new = Node("Miscellaneous", (Node("SuspendState", state),))
        editor.insert(parameters, new, after=last_before(parameters, "Miscellaneous", _PARAMETER_ORDER))
    else:
        editor.set_child(miscellaneous, "SuspendState", state, order=("CompatLevel", "SuspendState"))


def _apply_storages(editor: Editor, parent: etree._Element, current: Descriptor, target: Descriptor) -> None:
    elements = parent.findall("Storage")
    for element, before, after in zip(elements, current.storages, target.storages):
        _apply_storage(editor, element, before, after)
    if len(current.storages) != len(target.storages):
        new = [_storage_node(storage) for storage in target.storages[len(elements) :]]
        editor.arrange(parent, elements, [*elements[: len(target.storages)], *new], after=None)


def _apply_storage(editor: Editor, element: etree._Element, current: StorageEntry, target: StorageEntry) -> None:
    cluster_tag = "BlockSize" if element.find("BlockSize") is not None else "Blocksize"
    for tag, field in (("Start", "start_sector"), ("End", "end_sector"), (cluster_tag, "cluster_sectors")):
        if getattr(current, field) != getattr(target, field):
            editor.set_child(element, tag, str(getattr(target, field)), order=_STORAGE_ORDER)
    if current.preallocated != target.preallocated:
        editor.set_child(element, "Preallocated", "1" if target.preallocated else "0", order=_STORAGE_ORDER)
    if current.images != target.images:
        _apply_images(editor, element, current, target)


def _apply_images(editor: Editor, element: etree._Element, current: StorageEntry, target: StorageEntry) -> None:
    elements = element.findall("Image")
    wanted: List[Union[etree._Element, Node]] = []
    for image, number in zip(target.images, _match_images(current.images, target.images)):
        if number is None:
            wanted.append(_image_node(image))
            continue
        for tag, field in (("GUID", "guid"), ("Type", "type"), ("File", "file")):
            if getattr(current.images[number], field) != getattr(image, field):
                editor.set_child(elements[number], tag, getattr(image, field), order=_IMAGE_ORDER)
        wanted.append(elements[number])
    editor.arrange(element, elements, wanted, after=last_before(element, "Image", _STORAGE_ORDER))


def _match_images(current: Sequence[ImageEntry], target: Sequence[ImageEntry]) -> List[Optional[int]]:
    """For each target image the number of the current one that it continues: the same file, else the same GUID."""
    found: List[Optional[int]] = [None] * len(target)
    free: Dict[int, ImageEntry] = dict(enumerate(current))
    for field in ("file", "guid"):
        known = {getattr(image, field): number for number, image in free.items()}
        for position, image in enumerate(target):
            number = known.pop(getattr(image, field), None) if found[position] is None else None
            if number is not None:
                found[position] = number
                del free[number]
    return found


def _apply_snapshots(editor: Editor, root: etree._Element, current: Descriptor, target: Descriptor) -> None:
    if current.shots == target.shots and current.declared_top == target.declared_top:
        return
    parent = root.find("Snapshots")
    if parent is None:
        editor.insert(root, _snapshots_node(target), after=last_before(root, "Snapshots", _ROOT_ORDER))
        return
    if current.declared_top != target.declared_top:
        editor.set_child(parent, "TopGUID", target.declared_top, order=_SNAPSHOT_ORDER)
    elements = parent.findall("Shot")
    by_guid = {guid_in(element, "GUID", editor.path): element for element in elements}
    before = {shot.guid: shot for shot in current.shots}
    wanted: List[Union[etree._Element, Node]] = []
    for shot in target.shots:
        element = by_guid.pop(shot.guid, None)
        if element is not None:
            _apply_shot(editor, element, before[shot.guid], shot)
        wanted.append(_shot_node(shot) if element is None else element)
    editor.arrange(parent, elements, wanted, after=last_before(parent, "Shot", _SNAPSHOT_ORDER))


def _apply_shot(editor: Editor, element: etree._Element, current: Shot, target: Shot) -> None:
    if current.parent != target.parent:
        editor.set_child(element, "ParentGUID", target.parent, order=_SHOT_ORDER)
    if current.temporary and not target.temporary:
        for mark in (child for tag in MARKS for child in element.findall(tag)):
            editor.remove(mark)
    elif target.temporary and not current.temporary:
        editor.insert(element, Node("Temporary", None), after=last_before(element, "Temporary", _SHOT_ORDER))


def _storage_node(storage: StorageEntry) -> Node:
    parts = [
        Node("Start", str(storage.start_sector)),
        Node("End", str(storage.end_sector)),
        Node("Blocksize", str(storage.cluster_sectors)),
    ]
    if storage.preallocated:
        parts.append(Node("Preallocated", "1"))
    return Node("Storage", (*parts, *(_image_node(image) for image in storage.images)))


def _image_node(image: ImageEntry) -> Node:
    return Node("Image", (Node("GUID", image.guid), Node("Type", image.type), Node("File", image.file)))


def _shot_node(shot: Shot) -> Node:
    marks = (Node("Temporary", None),) if shot.temporary else ()
    return Node("Shot", (Node("GUID", shot.guid), Node("ParentGUID", shot.parent), *marks))


def _snapshots_node(target: Descriptor) -> Node:
    top = (Node("TopGUID", target.declared_top),) if target.declared_top is not None else ()
    return Node("Snapshots", (*top, *(_shot_node(shot) for shot in target.shots)))


def new_descriptor(target: Descriptor, *, bootable: bool = False, path: str = DESCRIPTOR) -> bytes:
    """A whole document that says ``target``, as Parallels Desktop 17 writes it. ``path`` is for messages only.

    Raises BadRequest for what such a document cannot say, encryption above all.
    """
    lead, unit = "\n    ", "    "
    storages = Node("StorageData", tuple(_storage_node(storage) for storage in target.storages))
    parts = (_parameters_node(target, bootable=bootable), storages, _snapshots_node(target))
    body = "".join(lead + render(part, lead=lead, unit=unit, path=path) for part in parts)
    name, version = target.root_name, "" if target.version is None else f' Version="{target.version}"'
    xml = f"<?xml version='1.0' encoding='UTF-8'?>\n<{name}{version}>{body}\n</{name}>\n".encode()
    if name not in ROOT_NAMES or target.encrypted or parse_descriptor(xml, path=path) != target:
        raise BadRequest("A new descriptor cannot say what was asked for", path=path)
    return xml


def _parameters_node(target: Descriptor, *, bootable: bool) -> Node:
    encryption = Node("Encryption", (Node("Engine", guids.NONE), Node("Data", ""), Node("Salt", "")))
    special = {"Encryption": encryption, "Miscellaneous": _state_node(target, bootable)}
    fields = dict(_PARAMETER_FIELDS)
    nodes = []
    for tag in _PARAMETER_ORDER:
        value = getattr(target, fields[tag]) if tag in fields else None
        if tag in special:
            nodes.append(special[tag])
        elif value is not None:
            nodes.append(Node(tag, str(value)))
    return Node("Disk_Parameters", tuple(nodes))


def _state_node(target: Descriptor, bootable: bool) -> Node:
    parts = (
        Node("CompatLevel", "level2"),
        Node("SuspendState", "1" if target.suspended else "0"),
        Node("ChangeState", "0"),
        *(Node(counter, "0") for counter in _COUNTERS),
        Node("Bootable", "1" if bootable else "0"),
        Node("ShutdownState", "0"),
    )
    return Node("Miscellaneous", parts)
