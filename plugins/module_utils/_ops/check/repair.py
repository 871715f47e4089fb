# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repair: a plan that puts right what a check has found, as far as it may. What cannot be repaired keeps its finding.

::

    record of the old bytes | journal, when a table changes | images, one after the other | descriptor
        | leftovers go | journal goes

Each image and the descriptor become right on their own, so a run may be cut off anywhere; a further one goes on from
there.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
import posixpath
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..._bundle.descriptor import Descriptor
from ..._bundle.naming import temporary_name
from ..._bundle.paths import BUNDLE, is_inside, journal_path
from ..._core.errors import AlreadyExists, BadRequest, Dirty, NotFound
from ..._core.findings import ERROR, Finding, is_allowed
from ..._core.plan import Cleanup, MakeDirectory, Plan, Remove, ReplaceFile, Step, Sync
from ..._core.records import dataclass, replace
from ..._formats.hds.header import IN_USE_OFFSET
from ..._io.durable import read_file
from ..._io.journal import APPLY, ImageBefore, Journal, pack_journal
from ..._io.port import DIRECTORY, Port
from .examination import Examination, expanding_images
from .repair_image import ImageRepair, plan_image_repair, repair_steps

SAFE = "safe"
ALL = "all"
_LIMIT = 64 << 20
_ROOM = 1 << 16


@dataclass(frozen=True)
class RepairFacts:
    """What is repaired, and the file that keeps the old bytes, None for none."""

    repaired: Tuple[Finding, ...]
    backup: Optional[str] = None


def plan_repair(
    port: Port, examined: Examination, *, level: str, backup_dir: Optional[str] = None, force: bool = False
) -> Plan[RepairFacts]:
    """Repair what may be repaired at ``level`` (safe or all); an empty plan when there is nothing of that kind.

    With ALL, when ``backup_dir`` is given, or when a descriptor is replaced, the old bytes of all metadata are recorded
    first. Raises Dirty for an image that is marked as in use, unless forced; BadRequest or NotFound for a
    ``backup_dir`` that cannot be.
    """
    repairs = [
        repair
        for repair in (plan_image_repair(image, level) for image in expanding_images(examined))
        if repair is not None
    ]
    content, repaired = _descriptor_after(examined, level)
    removed, cleared = _removals(examined, level)
    repaired += [one for repair in repairs for one in repair.repaired] + cleared
    if not repairs and content is None and not removed:
        return Plan("repair", facts=RepairFacts(tuple(repaired)))
    _refuse_dirty(examined, force=force)
    directory = examined.location.directory
    steps: List[Step] = []
    backup = None
    if (
        level == ALL
        or backup_dir is not None
        or (content is not None and examined.chosen is not None and bool(examined.chosen.xml))
    ):
        steps, backup = _records(port, examined, repairs, content, removed, backup_dir)
    steps += _changes(examined, repairs, content)
    if removed:
        steps.append(Remove(tuple(removed), directory))
    written = sum(move.length for repair in repairs for move in repair.moves)
    return Plan(
        "repair",
        tuple(steps),
        examined.fingerprint,
        lock_directories=(directory,) if examined.location.kind == BUNDLE else (),
        lock_files=tuple(
            dict.fromkeys(image.path for image in examined.images if not image.outside and image.stat.inode)
        ),
        space=((directory, _ROOM + sum(max(0, repair.size - repair.exam.stat.size) for repair in repairs)),),
        bytes_read=written,
        bytes_written=written,
        bytes_freed=sum(max(0, repair.exam.stat.size - repair.size) for repair in repairs),
        cleanup=Cleanup(disk=directory if examined.location.kind == BUNDLE else examined.location.descriptor),
        facts=RepairFacts(tuple(repaired), backup),
    )


def _refuse_dirty(examined: Examination, *, force: bool) -> None:
    if force:
        return
    ours = {image.name for image in examined.journal.images} if examined.journal is not None else set()
    for image in examined.images:
        if (
            image.raw[IN_USE_OFFSET : IN_USE_OFFSET + 4] == b"Ynot"
            and not image.outside
            and posixpath.basename(image.path) not in ours
        ):
            raise Dirty(
                "An image is marked as in use: a virtual machine runs, or its program died",
                path=image.path,
                offset=IN_USE_OFFSET,
                found="Ynot",
                hint="Stop the virtual machine; when you are sure that nobody uses the disk, set force: true, and the "
                "repair clears the mark.",
            )


def _descriptor_after(examined: Examination, level: str) -> Tuple[Optional[bytes], List[Finding]]:
    """The content that the descriptor must get, None for none, and the findings that this repairs."""
    chosen = examined.chosen
    if chosen is None or chosen.descriptor is None:
        return None, []
    content = chosen.content if chosen.content is not None and is_allowed(chosen.degree, level) else None
    if chosen.content is not None and content is None:
        return None, []
    repaired = [one for one in chosen.findings if one.severity == ERROR] if content is not None else []
    clusters = [
        one for one in examined.findings if one.code == "descriptor_cluster_size" and is_allowed(one.repairable, level)
    ]
    base = content if content is not None else chosen.xml
    if clusters and base is not None:
        from ..._bundle.descriptor_edit import apply

        content = apply(base, _with_clusters(examined, chosen.descriptor), path=examined.location.descriptor)
        repaired += clusters
    return content, repaired


def _with_clusters(examined: Examination, descriptor: Descriptor) -> Descriptor:
    """The descriptor with the cluster sizes of the images, where those of a storage agree."""
    storages = []
    for number, storage in enumerate(descriptor.storages):
        sizes = {
            image.header.cluster_sectors
            for image in examined.images
            if image.storage == number and image.header is not None
        }
        storages.append(replace(storage, cluster_sectors=min(sizes)) if len(sizes) == 1 else storage)
    return replace(descriptor, storages=tuple(storages))


def _removals(examined: Examination, level: str) -> Tuple[List[str], List[Finding]]:
    """Unfinished files of ours, and a journal that nobody can read when the disk is in order without it."""
    cleared = [one for one in examined.findings if one.code == "leftover_ours" and is_allowed(one.repairable, level)]
    others = [one for one in examined.findings if one.severity == ERROR and one.code != "journal_unreadable"]
    if all(is_allowed(one.repairable, level) for one in others):
        cleared += [
            one for one in examined.findings if one.code == "journal_unreadable" and is_allowed(one.repairable, level)
        ]
    return [one.where for one in cleared], cleared


def _changes(examined: Examination, repairs: Sequence[ImageRepair], content: Optional[bytes]) -> List[Step]:
    steps: List[Step] = []
    path = journal_path(examined.location)
    heavy = [repair for repair in repairs if repair.is_heavy]
    # The journal of another operation stays in force; what it says of the images holds for these changes, too.
    is_ours = examined.journal is None or examined.journal.operation == "repair"
    is_readable = not any(one.code == "journal_unreadable" for one in examined.findings)
    if heavy and is_ours and is_readable:
        images = tuple(
            ImageBefore(posixpath.basename(repair.exam.path), repair.exam.stat.size, repair.exam.header.in_use)
            for repair in heavy
            if repair.exam.header
        )
        steps.append(ReplaceFile(path, pack_journal(Journal("repair", APPLY, images=images)), _temporary(path)))
    for repair in repairs:
        steps += repair_steps(repair)
    if content is not None:
        steps.append(ReplaceFile(examined.location.descriptor, content, _temporary(examined.location.descriptor)))
    if is_ours and is_readable and (heavy or examined.journal is not None):
        steps.append(Remove((path,), examined.location.directory))
    return steps


def _temporary(path: str) -> str:
    directory, name = posixpath.split(path)
    return posixpath.join(directory, temporary_name(name, "new"))


def _records(
    port: Port,
    examined: Examination,
    repairs: Sequence[ImageRepair],
    content: Optional[bytes],
    removed: Sequence[str],
    backup_dir: Optional[str],
) -> Tuple[List[Step], Optional[str]]:
    """The steps that keep a copy of all metadata that will change, and where; nothing when none changes."""
    import hashlib

    changes = [change for repair in repairs for change in _old_bytes(port, repair)]
    documents = [examined.location.descriptor] if content is not None else []
    documents += [path for path in removed if path == journal_path(examined.location)]
    changes += [{"path": path, "offset": 0, "old": _whole(port, path)} for path in documents]
    if not changes:
        return [], None
    record = {
        "what": "bytes of a virtual disk as they were before a repair by the Ansible collection vdisk.parallels, "
        "in hexadecimal; null where there was no file",
        "version": 1,
        "disk": examined.location.directory if examined.location.kind == BUNDLE else examined.location.descriptor,
        "files": [{"path": repair.exam.path, "size": repair.exam.stat.size} for repair in repairs],
        "changes": changes,
    }
    packed = (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()
    folder = backup_dir if backup_dir is not None else _default_folder(examined)
    steps = _makes_folder(port, examined, folder)
    path = posixpath.join(folder, f"{examined.location.base}-{hashlib.sha256(packed).hexdigest()[:12]}.json")
    steps.append(ReplaceFile(path, packed, _temporary(path)))
    return steps, path


def _default_folder(examined: Examination) -> str:
    parent = (
        posixpath.dirname(examined.location.directory)
        if examined.location.kind == BUNDLE
        else examined.location.directory
    )
    return posixpath.join(parent, f"{examined.location.base}.repair")


def _makes_folder(port: Port, examined: Examination, folder: str) -> List[Step]:
    if examined.location.kind == BUNDLE and (
        folder == examined.location.directory or is_inside(folder, examined.location.directory)
    ):
        raise BadRequest("backup_dir: the directory is within the disk", path=folder, hint="Choose one beside it.")
    there = port.stat(folder)
    if there is not None:
        if there.kind != DIRECTORY:
            raise AlreadyExists(
                "backup_dir: what is there is no directory", path=folder, found=there.kind, hint="Choose another name."
            )
        return []
    parent = posixpath.dirname(folder) or "/"
    stat = port.stat(parent)
    if stat is None or stat.kind != DIRECTORY:
        raise NotFound(
            "backup_dir: the directory that it should be in does not exist", path=folder, hint="Create it first."
        )
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
    except NotFound:
        return None
