# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""``DiskDescriptor.xml`` as bytes: read it, change what a new set of facts asks for, write a new one.

Whatever is not known here belongs to somebody else and keeps its bytes. Format reference, section 2.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List, Optional, Sequence, Tuple, Union

from .._core import guid as guids
from .._core.errors import BadRequest, Damaged, NotABundle
from .descriptor import COMPRESSED, MAX_SHOTS, Descriptor, ImageEntry, Shot, StorageEntry, check_counts
from .naming import DESCRIPTOR
from .xml_edit import Editor, Node, last_before, render
from .xml_input import at_line, etree, leaf_text, parse_xml

ROOT_NAMES = ("Parallels_disk_image", "Virtuozzo_disk_image")

_MAX_NUMBER = (1 << 63) - 1
_DEFAULT_CLUSTER_SECTORS = 2048
_MARKS = ("Temporary", "TemporaryZero", "TemporaryZeroSwap")

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


def parse_descriptor(xml: bytes, *, path: str) -> Descriptor:
    """The facts in ``xml``, not yet checked against each other (``descriptor.validate`` does that).

    Raises NotABundle for another kind of document, Damaged for what cannot be understood, Unsupported beyond the limits.
    """
    return _facts(parse_xml(xml, path=path).root, path)


def _facts(root: etree._Element, path: str) -> Descriptor:
    if root.tag not in ROOT_NAMES:
        raise NotABundle("The document is no disk descriptor", path=path, expected=" or ".join(ROOT_NAMES), found=str(root.tag)[:80])
    parameters = _needed(root, "Disk_Parameters", path)
    storages = _needed(root, "StorageData", path).findall("Storage")
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
        declared_top=_guid(snapshots, "TopGUID", path) if snapshots is not None and snapshots.find("TopGUID") is not None else None,
    )


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
    return ImageEntry(guid=_guid(element, "GUID", path), type=kind or COMPRESSED, file=_text(element, "File", path) or "")


def _shot(element: etree._Element, path: str) -> Shot:
    temporary = any(element.find(mark) is not None for mark in _MARKS)
    return Shot(guid=_guid(element, "GUID", path), parent=_guid(element, "ParentGUID", path), temporary=temporary)


def _with_implied_top(shots: Tuple[Shot, ...], storages: Tuple[StorageEntry, ...]) -> Tuple[Shot, ...]:
    """ploop reads a disk with one image more than shots as having the predefined top, without a parent."""
    images = storages[0].images if storages else ()
    if len(images) != len(shots) + 1 or any(shot.guid == guids.TOP for shot in shots) or all(image.guid != guids.TOP for image in images):
        return shots
    return (Shot(guids.TOP, guids.NONE),) + shots


def _is_encrypted(element: Optional[etree._Element], path: str) -> bool:
    """Any engine other than the null one, or the name of a key, makes the payload cipher text."""
    if element is None:
        return False
    engine = (_text(element, "Engine", path) or "").strip()
    if engine and (not guids.is_guid(engine) or guids.normalise(engine) != guids.NONE):
        return True
    return bool((_text(element, "KeyId", path) or "").strip())


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


def _needed(parent: etree._Element, tag: str, path: str) -> etree._Element:
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
        raise Damaged(f"{tag} is no number that can be{at_line(parent)}", path=path, expected=f"0 to {_MAX_NUMBER}", found=digits[:60])
    return int(digits)


def _needed_number(parent: etree._Element, tag: str, path: str) -> int:
    _needed(parent, tag, path)
    return _number(parent, tag, path) or 0


def _guid(parent: etree._Element, tag: str, path: str) -> str:
    return guids.normalise(leaf_text(_needed(parent, tag, path), path=path), path=path, what=tag)


def apply(xml: bytes, target: Descriptor, *, path: str) -> bytes:
    """``xml`` with what ``target`` asks for, such that parsing the result gives ``target``; the same bytes when it does already.

    Images are found again by their file, else by GUID; shots by GUID; storages by number. Raises BadRequest for what cannot be changed
    here: the root's name and version, and encryption.
    """
    document = parse_xml(xml, path=path)
    current = _facts(document.root, path)
    if current == target:
        return xml
    if replace(target, root_name=current.root_name, version=current.version, encrypted=current.encrypted) != target:
        raise BadRequest("The root element, its version and encryption of a descriptor cannot be changed", path=path)
    editor = Editor(document, path=path)
    _apply_parameters(editor, _needed(document.root, "Disk_Parameters", path), current, target)
    _apply_storages(editor, _needed(document.root, "StorageData", path), current, target)
    _apply_snapshots(editor, document.root, current, target, path)
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
    if current.images == target.images:
        return
    elements = element.findall("Image")
    found = _match_images(current.images, target.images)
    wanted: List[Union[etree._Element, Node]] = []
    for image, number in zip(target.images, found):
        if number is None:
            wanted.append(_image_node(image))
            continue
        before = current.images[number]
        for tag, old, new in (("GUID", before.guid, image.guid), ("Type", before.type, image.type), ("File", before.file, image.file)):
            if old != new:
                editor.set_child(elements[number], tag, new, order=_IMAGE_ORDER)
        wanted.append(elements[number])
    editor.arrange(element, elements, wanted, after=last_before(element, "Image", _STORAGE_ORDER))


def _match_images(current: Sequence[ImageEntry], target: Sequence[ImageEntry]) -> List[Optional[int]]:
    """For each target image the number of the current one that it continues: the same file in any role, else the same role."""
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


def _apply_snapshots(editor: Editor, root: etree._Element, current: Descriptor, target: Descriptor, path: str) -> None:
    if current.shots == target.shots and current.declared_top == target.declared_top:
        return
    parent = root.find("Snapshots")
    if parent is None:
        editor.insert(root, _snapshots_node(target), after=last_before(root, "Snapshots", _ROOT_ORDER))
        return
    if current.declared_top != target.declared_top:
        editor.set_child(parent, "TopGUID", target.declared_top, order=_SNAPSHOT_ORDER)
    elements = parent.findall("Shot")
    by_guid = {_guid(element, "GUID", path): element for element in elements}
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
        for mark in (child for tag in _MARKS for child in element.findall(tag)):
            editor.remove(mark)
    elif target.temporary and not current.temporary:
        editor.insert(element, Node("Temporary", None), after=last_before(element, "Temporary", _SHOT_ORDER))


def _storage_node(storage: StorageEntry) -> Node:
    parts = [Node("Start", str(storage.start_sector)), Node("End", str(storage.end_sector)), Node("Blocksize", str(storage.cluster_sectors))]
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
    version = "" if target.version is None else f' Version="{target.version}"'
    xml = f"<?xml version='1.0' encoding='UTF-8'?>\n<{target.root_name}{version}>{body}\n</{target.root_name}>\n".encode()
    if target.root_name not in ROOT_NAMES or target.encrypted or parse_descriptor(xml, path=path) != target:
        raise BadRequest("A new descriptor cannot say what was asked for", path=path)
    return xml


def _parameters_node(target: Descriptor, *, bootable: bool) -> Node:
    encryption = Node("Encryption", (Node("Engine", guids.NONE), Node("Data", ""), Node("Salt", "")))
    state = (
        Node("CompatLevel", "level2"),
        Node("SuspendState", "1" if target.suspended else "0"),
        Node("ChangeState", "0"),
        *(Node(counter, "0") for counter in _COUNTERS),
        Node("Bootable", "1" if bootable else "0"),
        Node("ShutdownState", "0"),
    )
    special = {"Encryption": encryption, "Miscellaneous": Node("Miscellaneous", state)}
    fields = dict(_PARAMETER_FIELDS)
    nodes = []
    for tag in _PARAMETER_ORDER:
        value = getattr(target, fields[tag]) if tag in fields else None
        if tag in special:
            nodes.append(special[tag])
        elif value is not None:
            nodes.append(Node(tag, str(value)))
    return Node("Disk_Parameters", tuple(nodes))
