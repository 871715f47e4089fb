# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repair: a plan that mends what a check has found, as far as it may. What cannot be mended keeps its finding.

::

    record of the old bytes | journal, when a table changes | images, one after the other | descriptor | leftovers go | journal goes

Each image and the descriptor become right on their own, so a run may be cut off anywhere; a further one goes on from
there.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import json
import posixpath
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..._bundle.descriptor import Descriptor
from ..._bundle.naming import temporary_name
from ..._bundle.paths import BUNDLE, is_inside, journal_path
from ..._core.errors import AlreadyExists, BadRequest, Dirty, DiskError, NotFound
from ..._core.findings import ERROR, Finding, is_allowed
from ..._core.plan import Cleanup, MakeDirectory, Plan, Remove, ReplaceFile, Step, Sync
from ..._core.records import replace
from ..._formats.hds.header import IN_USE_OFFSET
from ..._io.durable import read_file
from ..._io.journal import APPLY, ImageBefore, Journal, pack_journal
from ..._io.port import DIRECTORY, Port
from .examine import Examination, expanding_images
from .repair_image import ImageRepair, plan_image_repair, repair_steps

SAFE = "safe"
ALL = "all"
_LIMIT = 64 << 20
_ROOM = 1 << 16


def plan_repair(
    port: Port, seen: Examination, *, level: str, backup_dir: Optional[str] = None, force: bool = False
) -> Plan:
    """ImageRepair what may be mended at ``level`` (safe or all); an empty plan when there is nothing of that kind.

    With ALL, when ``backup_dir`` is given, or when a descriptor is replaced, the old bytes of all metadata are recorded
    first. Raises Dirty for an image that is marked as in use, unless forced; BadRequest or NotFound for a
    ``backup_dir`` that cannot be.
    """
    mends = [mend for mend in (plan_image_repair(image, level) for image in expanding_images(seen)) if mend is not None]
    content, repaired = _descriptor_after(seen, level)
    removed, cleared = _removals(seen, level)
    repaired += [one for mend in mends for one in mend.repaired] + cleared
    facts: Dict[str, Any] = {"repaired": tuple(repaired), "backup": None}
    if not mends and content is None and not removed:
        return Plan("repair", facts=facts)
    _refuse_dirty(seen, force=force)
    directory = seen.location.directory
    steps: List[Step] = []
    if (
        level == ALL
        or backup_dir is not None
        or (content is not None and seen.chosen is not None and bool(seen.chosen.xml))
    ):
        steps, facts["backup"] = _records(port, seen, mends, content, removed, backup_dir)
    steps += _changes(seen, mends, content)
    if removed:
        steps.append(Remove(tuple(removed), directory))
    written = sum(move.length for mend in mends for move in mend.moves)
    return Plan(
        "repair",
        tuple(steps),
        seen.fingerprint,
        lock_directories=(directory,) if seen.location.kind == BUNDLE else (),
        lock_files=tuple(dict.fromkeys(image.path for image in seen.images if not image.outside and image.stat.inode)),
        space=((directory, _ROOM + sum(max(0, mend.size - mend.exam.stat.size) for mend in mends)),),
        bytes_read=written,
        bytes_written=written,
        bytes_freed=sum(max(0, mend.exam.stat.size - mend.size) for mend in mends),
        cleanup=Cleanup(disk=directory if seen.location.kind == BUNDLE else seen.location.descriptor),
        facts=facts,
    )


def _refuse_dirty(seen: Examination, *, force: bool) -> None:
    if force:
        return
    ours = {image.name for image in seen.journal.images} if seen.journal is not None else set()
    for image in seen.images:
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
                hint="Stop the virtual machine; when you are sure that nobody uses the disk, set force: true, and the repair clears the mark.",
            )


def _descriptor_after(seen: Examination, level: str) -> Tuple[Optional[bytes], List[Finding]]:
    """The content that the descriptor must get, None for none, and the findings that this repairs."""
    chosen = seen.chosen
    if chosen is None or chosen.descriptor is None:
        return None, []
    content = chosen.content if chosen.content is not None and is_allowed(chosen.degree, level) else None
    if chosen.content is not None and content is None:
        return None, []
    repaired = [one for one in chosen.findings if one.severity == ERROR] if content is not None else []
    clusters = [
        one for one in seen.findings if one.code == "descriptor_cluster_size" and is_allowed(one.repairable, level)
    ]
    base = content if content is not None else chosen.xml
    if clusters and base is not None:
        from ..._bundle.descriptor_edit import apply

        content = apply(base, _with_clusters(seen, chosen.descriptor), path=seen.location.descriptor)
        repaired += clusters
    return content, repaired


def _with_clusters(seen: Examination, descriptor: Descriptor) -> Descriptor:
    """The descriptor with the cluster sizes of the images, where those of a storage agree."""
    storages = []
    for number, storage in enumerate(descriptor.storages):
        sizes = {
            image.header.cluster_sectors
            for image in seen.images
            if image.storage == number and image.header is not None
        }
        storages.append(replace(storage, cluster_sectors=min(sizes)) if len(sizes) == 1 else storage)
    return replace(descriptor, storages=tuple(storages))


def _removals(seen: Examination, level: str) -> Tuple[List[str], List[Finding]]:
    """Unfinished files of ours, and a journal that nobody can read when the disk is in order without it."""
    cleared = [one for one in seen.findings if one.code == "leftover_ours" and is_allowed(one.repairable, level)]
    others = [one for one in seen.findings if one.severity == ERROR and one.code != "journal_unreadable"]
    if all(is_allowed(one.repairable, level) for one in others):
        cleared += [
            one for one in seen.findings if one.code == "journal_unreadable" and is_allowed(one.repairable, level)
        ]
    return [one.where for one in cleared], cleared


def _changes(seen: Examination, mends: Sequence[ImageRepair], content: Optional[bytes]) -> List[Step]:
    steps: List[Step] = []
    path = journal_path(seen.location)
    heavy = [mend for mend in mends if mend.is_heavy]
    # The journal of another operation stays in force; what it says of the images holds for these changes, too.
    is_ours = seen.journal is None or seen.journal.operation == "repair"
    is_readable = not any(one.code == "journal_unreadable" for one in seen.findings)
    if heavy and is_ours and is_readable:
        images = tuple(
            ImageBefore(posixpath.basename(mend.exam.path), mend.exam.stat.size, mend.exam.header.in_use)
            for mend in heavy
            if mend.exam.header
        )
        steps.append(ReplaceFile(path, pack_journal(Journal("repair", APPLY, images=images)), _temporary(path)))
    for mend in mends:
        steps += repair_steps(mend)
    if content is not None:
        steps.append(ReplaceFile(seen.location.descriptor, content, _temporary(seen.location.descriptor)))
    if is_ours and is_readable and (heavy or seen.journal is not None):
        steps.append(Remove((path,), seen.location.directory))
    return steps


def _temporary(path: str) -> str:
    directory, name = posixpath.split(path)
    return posixpath.join(directory, temporary_name(name, "new"))


def _records(
    port: Port,
    seen: Examination,
    mends: Sequence[ImageRepair],
    content: Optional[bytes],
    removed: Sequence[str],
    backup_dir: Optional[str],
) -> Tuple[List[Step], Optional[str]]:
    """The steps that keep a copy of all metadata that will change, and where; nothing when none changes."""
    import hashlib

    changes = [change for mend in mends for change in _old_bytes(port, mend)]
    documents = [seen.location.descriptor] if content is not None else []
    documents += [path for path in removed if path == journal_path(seen.location)]
    changes += [{"path": path, "offset": 0, "old": _whole(port, path)} for path in documents]
    if not changes:
        return [], None
    record = {
        "what": "bytes of a virtual disk as they were before a repair by the Ansible collection vdisk.parallels, in hexadecimal; null where there was no file",
        "version": 1,
        "disk": seen.location.directory if seen.location.kind == BUNDLE else seen.location.descriptor,
        "files": [{"path": mend.exam.path, "size": mend.exam.stat.size} for mend in mends],
        "changes": changes,
    }
    packed = (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()
    folder = backup_dir if backup_dir is not None else _default_folder(seen)
    steps = _makes_folder(port, seen, folder)
    path = posixpath.join(folder, f"{seen.location.base}-{hashlib.sha256(packed).hexdigest()[:12]}.json")
    steps.append(ReplaceFile(path, packed, _temporary(path)))
    return steps, path


def _default_folder(seen: Examination) -> str:
    parent = posixpath.dirname(seen.location.directory) if seen.location.kind == BUNDLE else seen.location.directory
    return posixpath.join(parent, f"{seen.location.base}.repair")


def _makes_folder(port: Port, seen: Examination, folder: str) -> List[Step]:
    if seen.location.kind == BUNDLE and (
        folder == seen.location.directory or is_inside(folder, seen.location.directory)
    ):
        raise BadRequest("backup_dir: the directory lies within the disk", path=folder, hint="Choose one beside it.")
    there = port.stat(folder)
    if there is not None:
        if there.kind != DIRECTORY:
            raise AlreadyExists(
                "backup_dir: what lies there is no directory",
                path=folder,
                found=there.kind,
                hint="Choose another name.",
            )
        return []
    parent = posixpath.dirname(folder) or "/"
    stat = port.stat(parent)
    if stat is None or stat.kind != DIRECTORY:
        raise NotFound(
            "backup_dir: the directory that it should lie in does not exist", path=folder, hint="Create it first."
        )
    return [MakeDirectory(folder), Sync(directories=(parent,))]


def _old_bytes(port: Port, mend: ImageRepair) -> List[Dict[str, Any]]:
    path = mend.exam.path
    file = port.open_read(path)
    try:
        changes = []
        for start, end in mend.changed_ranges:
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


def is_in_order(port: Port, seen: Examination) -> bool:
    """Whether the disk can be observed by all others, so that what an earlier run left can be ended."""
    from ..._bundle.bundle import observe

    try:
        observe(port, seen.location, allow_outside=True)
        return True
    except DiskError:
        return False
