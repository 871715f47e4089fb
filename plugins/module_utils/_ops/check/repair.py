# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repair: a plan that puts right what a check has found, as far as it may. What cannot be repaired keeps its finding.

::

    record of the old bytes | journal, when a table changes | images, one after the other | descriptor
        | leftovers go | journal goes

Each image and the descriptor become right on their own, so a run may be cut off anywhere; a further one continues it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..._bundle.descriptor import Descriptor
from ..._bundle.guards import refuse_clones, refuse_other_names
from ..._bundle.naming import temporary_name
from ..._bundle.paths import BUNDLE, Location, is_inside, journal_path
from ..._core.errors import AlreadyExists, BadRequest, Dirty, Escape, NotFound
from ..._core.findings import ERROR, LOSSY, Finding, is_allowed
from ..._core.plan import Cleanup, MakeDirectory, Plan, Remove, ReplaceFile, Step, Sync
from ..._core.records import dataclass, replace
from ..._formats.hds.header import IN_USE_OFFSET
from ..._io.durable import read_file
from ..._io.journal import APPLY, ImageBefore, Journal, pack_journal
from ..._io.port import DIRECTORY, SYMLINK, Port
from .examination import Examination, expanding_images
from .repair_image import ImageRepair, plan_image_repair, repair_steps

if TYPE_CHECKING:
    from ..._bundle.machine.edit import MachineEdit

SAFE = "safe"
ALL = "all"
_LIMIT = 64 << 20
_ROOM = 1 << 16
_STOP = (
    "Stop the virtual machine; when you are sure that nobody uses the disk, set force: true, and the repair clears the "
    "mark."
)
_WHAT = (
    "bytes of a virtual disk as they were before a repair by the Ansible collection vdisk.parallels, in hexadecimal; "
    "null where there was no file"
)


@dataclass(frozen=True)
class RepairFacts:
    """What is repaired, and the file that keeps the old bytes, None for none."""

    repaired: Tuple[Finding, ...]
    backup: Optional[str] = None


class _Repairs(NamedTuple):
    """What becomes of the images, the new ``content`` of the descriptor (None for none), the paths that go, and what
    becomes of the configurations of virtual machines.
    """

    images: List[ImageRepair]
    content: Optional[bytes]
    removed: List[str]
    machines: Tuple[MachineEdit, ...] = ()


def plan_repair(
    port: Port, examined: Examination, *, level: str, backup_dir: Optional[str] = None, force: bool = False
) -> Plan[RepairFacts]:
    """Repair what may be repaired at ``level`` (safe or all); an empty plan when there is nothing of that kind.

    With ALL, when ``backup_dir`` is given, or when a descriptor is replaced, the old bytes of all metadata are recorded
    first. Raises Dirty for an image that is marked as in use, unless forced; SharedLayer for an image with a second
    name, and, unless forced, for one that a linked clone stands on where something may be lost; BadRequest or NotFound
    for an impossible ``backup_dir``.
    """
    planned = [plan_image_repair(image, level) for image in expanding_images(examined)]
    images = [repair for repair in planned if repair is not None]
    content, repaired = _descriptor_after(examined, level)
    cleared = _cleared(examined, level)
    repaired += [one for repair in images for one in repair.repaired] + cleared
    machines, followed = _machines(port, examined, level)
    repaired += followed
    repairs = _Repairs(images, content, [one.where for one in cleared], machines)
    if not any(repairs):
        return Plan("repair", facts=RepairFacts(tuple(repaired)))
    _refuse_dirty(examined, force=force)
    _refuse_shared(examined, images, force=force)
    steps: List[Step] = []
    backup = None
    replaces = content is not None and examined.chosen is not None and bool(examined.chosen.xml)
    if level == ALL or backup_dir is not None or replaces:
        steps, backup = _records(port, examined, repairs, backup_dir)
    steps += _changes(examined, repairs)
    plan = _plan(examined, images, steps).with_facts(RepairFacts(tuple(repaired), backup))
    return replace(plan, fingerprint=sum((machine.before for machine in machines), plan.fingerprint))


def _machines(port: Port, examined: Examination, level: str) -> Tuple[Tuple[MachineEdit, ...], List[Finding]]:
    """What lets machines say the size of their disk, unless another operation is still to be ended."""
    findings = [*_allowed(examined, level, "vm_size"), *_allowed(examined, level, "vm_disk_type")]
    is_ours = examined.journal is None or examined.journal.operation == "repair"
    is_readable = not any(one.code == "journal_unreadable" for one in examined.findings)
    if not findings or not is_ours or not is_readable or examined.size_bytes is None:
        return (), []
    from ..._bundle.machine.edit import DiskValues, machine_edit

    values = DiskValues(examined.size_bytes, examined.kind)
    configs = dict.fromkeys(one.where for one in findings)
    edits = [machine_edit(port, examined.location, values, configs=(config,)) for config in configs]
    changed = {edit.config for edit in edits if edit is not None}
    return tuple(edit for edit in edits if edit is not None), [one for one in findings if one.where in changed]


def _plan(examined: Examination, repairs: Sequence[ImageRepair], steps: Sequence[Step]) -> Plan[None]:
    location, directory = examined.location, examined.location.directory
    is_bundle = location.kind == BUNDLE
    own = [image.path for image in examined.images if not image.outside and image.stat.inode]
    growths = [repair.size - repair.exam.stat.size for repair in repairs]
    written = sum(move.length for repair in repairs for move in repair.moves)
    return Plan(
        "repair",
        tuple(steps),
        examined.fingerprint,
        lock_directories=(directory,) if is_bundle else (),
        lock_files=tuple(dict.fromkeys(own)),
        space=((directory, _ROOM + sum(max(0, growth) for growth in growths)),),
        bytes_read=written,
        bytes_written=written,
        bytes_freed=sum(max(0, -growth) for growth in growths),
        cleanup=Cleanup(disk=directory if is_bundle else location.descriptor),
    )


def _refuse_dirty(examined: Examination, *, force: bool) -> None:
    ours = {image.name for image in examined.journal.images} if examined.journal is not None else set()
    for image in examined.images if not force else ():
        is_ours = image.outside or posixpath.basename(image.path) in ours
        if image.raw[IN_USE_OFFSET : IN_USE_OFFSET + 4] == b"Ynot" and not is_ours:
            text = "An image is marked as in use: a virtual machine runs, or its program died"
            raise Dirty(text, path=image.path, offset=IN_USE_OFFSET, found="Ynot", hint=_STOP)


def _refuse_shared(examined: Examination, repairs: Sequence[ImageRepair], *, force: bool) -> None:
    """What a safe repair leaves is the same guest disk for a clone; what may lose something is not."""
    for repair in repairs:
        refuse_other_names(repair.exam.path, repair.exam.stat)
    lossy = [repair.exam.path for repair in repairs if any(one.repairable == LOSSY for one in repair.repaired)]
    if not force:
        refuse_clones(examined.surroundings.clones, lossy)


def _descriptor_after(examined: Examination, level: str) -> Tuple[Optional[bytes], List[Finding]]:
    """The new content of the descriptor, None for none, and the findings that it repairs."""
    chosen = examined.chosen
    if chosen is None or chosen.descriptor is None:
        return None, []
    content = chosen.content
    if content is not None and not is_allowed(chosen.degree, level):
        return None, []
    repaired = [one for one in chosen.findings if one.severity == ERROR] if content is not None else []
    clusters, types = (_allowed(examined, level, code) for code in ("descriptor_cluster_size", "image_type"))
    base = content if content is not None else chosen.xml
    if (clusters or types) and base is not None:
        from ..._bundle.descriptor_edit import apply

        target = _with_clusters(examined, chosen.descriptor) if clusters else chosen.descriptor
        content = apply(base, _with_types(examined, target, types), path=examined.location.descriptor)
        repaired += clusters + types
    return content, repaired


def _with_types(examined: Examination, descriptor: Descriptor, findings: Sequence[Finding]) -> Descriptor:
    """The descriptor with the types of these images corrected."""
    wrong = {one.where for one in findings}
    right = {
        (image.storage, image.guid): image.right_type
        for image in examined.images
        if image.path in wrong and image.right_type is not None
    }
    storages = [
        replace(
            storage,
            images=tuple(replace(one, type=right.get((number, one.guid)) or one.type) for one in storage.images),
        )
        for number, storage in enumerate(descriptor.storages)
    ]
    return replace(descriptor, storages=tuple(storages))


def _allowed(examined: Examination, level: str, code: str) -> List[Finding]:
    return [one for one in examined.findings if one.code == code and is_allowed(one.repairable, level)]


def _with_clusters(examined: Examination, descriptor: Descriptor) -> Descriptor:
    """The descriptor with the cluster sizes of the images, where those of a storage agree."""
    known = [(image.storage, image.header.cluster_sectors) for image in examined.images if image.header is not None]
    storages = []
    for number, storage in enumerate(descriptor.storages):
        sizes = {size for one, size in known if one == number}
        storages.append(replace(storage, cluster_sectors=min(sizes)) if len(sizes) == 1 else storage)
    return replace(descriptor, storages=tuple(storages))


def _cleared(examined: Examination, level: str) -> List[Finding]:
    """Unfinished files of ours that go, and an unreadable journal when the disk is in order without it."""
    cleared = _allowed(examined, level, "leftover_ours")
    others = [one for one in examined.findings if one.severity == ERROR and one.code != "journal_unreadable"]
    if all(is_allowed(one.repairable, level) for one in others):
        cleared += _allowed(examined, level, "journal_unreadable")
    return cleared


def _changes(examined: Examination, repairs: _Repairs) -> Iterator[Step]:
    location, path = examined.location, journal_path(examined.location)
    heavy = [repair for repair in repairs.images if repair.is_heavy]
    # The journal of another operation stays in force; what it says of the images holds for these changes, too.
    is_ours = examined.journal is None or examined.journal.operation == "repair"
    is_readable = not any(one.code == "journal_unreadable" for one in examined.findings)
    if heavy and is_ours and is_readable:
        yield ReplaceFile(path, pack_journal(_journal(heavy)), _temporary(path))
    for repair in repairs.images:
        yield from repair_steps(repair)
    if repairs.content is not None:
        yield ReplaceFile(location.descriptor, repairs.content, _temporary(location.descriptor))
    for machine in repairs.machines:
        # What is left of one that is cut off is cleared by its journal.
        yield ReplaceFile(path, pack_journal(_journal(heavy, machine)), _temporary(path))
        yield ReplaceFile(machine.config, machine.content, machine.temporary)
    if is_ours and is_readable and (heavy or repairs.machines or examined.journal is not None):
        yield Remove((path,), location.directory)
    if repairs.removed:
        yield Remove(tuple(repairs.removed), location.directory)


def _journal(repairs: Sequence[ImageRepair], machine: Optional[MachineEdit] = None) -> Journal:
    exams = [repair.exam for repair in repairs]
    images = [
        ImageBefore(posixpath.basename(one.path), one.stat.size, one.header.in_use) for one in exams if one.header
    ]
    if machine is None:
        return Journal("repair", APPLY, images=tuple(images))
    from ..._change.machine import machine_request

    return Journal("repair", APPLY, images=tuple(images), request=machine_request(machine))


def _temporary(path: str) -> str:
    directory, name = posixpath.split(path)
    return posixpath.join(directory, temporary_name(name, "new"))


def _records(
    port: Port, examined: Examination, repairs: _Repairs, backup_dir: Optional[str]
) -> Tuple[List[Step], Optional[str]]:
    """The steps that keep a copy of all metadata that will change, and where; nothing when none changes."""
    import hashlib

    location = examined.location
    changes = [change for repair in repairs.images for change in _old_bytes(port, repair)]
    documents = [location.descriptor] if repairs.content is not None else []
    documents += [machine.config for machine in repairs.machines]
    documents += [path for path in repairs.removed if path == journal_path(location)]
    changes += [{"path": path, "offset": 0, "old": _whole(port, path)} for path in documents]
    if not changes:
        return [], None
    record = {
        "what": _WHAT,
        "version": 1,
        "disk": location.directory if location.kind == BUNDLE else location.descriptor,
        "files": [{"path": repair.exam.path, "size": repair.exam.stat.size} for repair in repairs.images],
        "changes": changes,
    }
    packed = (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()
    folder = backup_dir if backup_dir is not None else _default_folder(location)
    path = posixpath.join(folder, f"{location.base}-{hashlib.sha256(packed).hexdigest()[:12]}.json")
    return [*_folder_steps(port, location, folder), ReplaceFile(path, packed, _temporary(path))], path


def _default_folder(location: Location) -> str:
    parent = posixpath.dirname(location.directory) if location.kind == BUNDLE else location.directory
    return posixpath.join(parent, f"{location.base}.repair")


def _folder_steps(port: Port, location: Location, folder: str) -> List[Step]:
    if location.kind == BUNDLE and is_inside(f"{folder}/", location.directory):
        raise BadRequest("backup_dir: the directory is within the disk", path=folder, hint="Choose one beside it.")
    there = port.lstat(folder)
    if there is not None:
        if there.kind == SYMLINK:
            hint = "Set backup_dir to the directory of your choice, or remove the link."
            raise Escape("The directory for what a repair replaces is a link", path=folder, hint=hint)
        if there.kind != DIRECTORY:
            text = "backup_dir: what is there is no directory"
            raise AlreadyExists(text, path=folder, found=there.kind, hint="Choose another name.")
        return []
    parent = posixpath.dirname(folder) or "/"
    stat = port.stat(parent)
    if stat is None or stat.kind != DIRECTORY:
        text = "backup_dir: the directory that it should be in does not exist"
        raise NotFound(text, path=folder, hint="Create it first.")
    return [MakeDirectory(folder), Sync(directories=(parent,))]


def _old_bytes(port: Port, repair: ImageRepair) -> List[Dict[str, Any]]:
    path = repair.exam.path
    file = port.open_read(path)
    try:
        changes = []
        for start, end in repair.changed_ranges:
            buffer = bytearray(end - start)
            got = file.pread_into(start, buffer)
            changes.append({"path": path, "offset": start, "old": bytes(buffer[:got]).hex()})
        return changes
    finally:
        file.close()


def _whole(port: Port, path: str) -> Optional[str]:
    try:
        return read_file(port, path, limit=_LIMIT).hex()
    except (Escape, NotFound):
        # A link is removed as such; where it leads is not looked at.
        return None
