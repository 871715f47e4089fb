# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disk facts: what the modules return of a disk. All sizes are bytes; what is not known is None."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState, ImageState
from ..._bundle.guards import is_suspended
from ..._bundle.leftovers import holders, leftovers, orphans
from ..._bundle.naming import BACKUP
from ..._core import guid as guids
from ..._core.errors import DiskError
from ..._core.units import MIB, SECTOR
from ..._io.durable import read_file
from ..._io.port import Holder, Port

if TYPE_CHECKING:
    from ..._bundle.pvm import VmFacts, VmReport

_BACKUP_LIMIT = 16 << 20
Facts = Dict[str, Any]


def absent_facts(path: str) -> Facts:
    """The facts of a disk that does not exist."""
    return {"path": path, "exists": False}


def disk_facts(port: Port, state: BundleState, machine: Optional[VmReport] = None) -> Facts:
    """All that metadata say of a disk, in the shape that the modules return."""
    held = holders(port, state)
    vm, warnings = (None, ()) if machine is None else machine[:2]
    own = [image for image in state.images.values() if not image.outside]
    leaked = sum(image.leaked for image in own)
    return {
        **_identity_facts(state),
        **_size_facts(own),
        "state": _state(state, held),
        "locks": [{"kind": holder.kind, "owner": holder.owner} for _path, holder in held],
        "snapshots": snapshot_facts(state, vm),
        "layers": [_layer_facts(state, guid) for guid in state.tree.current_chain],
        "depth": len(state.tree.current_chain),
        "clones": _clones(state),
        "orphan_files": list(orphans(state)),
        "leftovers": list(leftovers(state)),
        "backup_differs": _backup_differs(port, state),
        "reclaimable": {"leaked": leaked, "zero": None, "equal": None, "free_in_filesystem": None},
        "vm": _vm_facts(state, vm),
        "warnings": [*state.warnings, *_warnings(state), *warnings],
    }


def _clones(state: BundleState) -> Optional[List[Facts]]:
    """The disks that are known to stand on its images; None when nobody looked."""
    if state.surroundings is None:
        return None
    return [clone._asdict() for clone in state.surroundings.clones]


def _identity_facts(state: BundleState) -> Facts:
    descriptor, location = state.descriptor, state.location
    kinds = {image.kind for image in state.images.values()}
    versions = sorted({image.header.version for image in state.images.values() if image.header is not None})
    return {
        "path": location.directory if state.is_bundle else location.image,
        "name": descriptor.name or location.name,
        "uid": descriptor.uid,
        "exists": True,
        "format": "bundle" if state.is_bundle else "single_file",
        "type": kinds.pop() if len(kinds) == 1 else "mixed",
        "split": len(descriptor.storages) > 1,
        "format_version": versions[-1] if versions else None,
        "virtual_size": descriptor.size_bytes,
        "cluster_size": _cluster_size(state),
        "geometry": {"cylinders": descriptor.cylinders, "heads": descriptor.heads, "sectors": descriptor.sectors},
        "encrypted": descriptor.encrypted,
    }


def _cluster_size(state: BundleState) -> int:
    headers = [image.header for image in state.layer(state.tree.top) if image.header is not None]
    return headers[0].cluster_bytes if headers else state.descriptor.storages[0].cluster_sectors * SECTOR


def _size_facts(own: Sequence[ImageState]) -> Facts:
    allocated = [image.stat.allocated for image in own]
    return {
        "file_size": sum(image.stat.size for image in own),
        "allocated_size": None if any(size < 0 for size in allocated) else sum(allocated),
        "used_size": sum(image.used for image in own),
    }


def _state(state: BundleState, held: Sequence[Tuple[str, Holder]]) -> str:
    if any(holder.kind in ("write", "flock") for _path, holder in held):
        return "in_use"
    return "dirty" if any(image.is_dirty for image in state.images.values()) else "clean"


def snapshot_facts(state: BundleState, vm: Optional[VmFacts]) -> List[Facts]:
    """The frozen states of a disk, in the order of the descriptor; ``current`` is the parent of the current state."""
    top = state.tree.top
    return [one_snapshot(state, guid, vm) for guid in state.tree.shots if guid != top]


def one_snapshot(state: BundleState, guid: str, vm: Optional[VmFacts]) -> Facts:
    """One snapshot and its neighbours."""
    tree = state.tree
    shot = tree.shots[guid]
    named = vm.snapshots.get(guid) if vm is not None else None
    note = state.notes.get(guid)
    name, taken, description = (None, None, None) if note is None else note
    return {
        "guid": guid,
        "name": named.name if named is not None else name,
        "taken": (named.date or None) if named is not None else taken,
        "description": description,
        "parent": None if shot.parent == guids.NONE else shot.parent,
        "children": [child for child in tree.children(guid) if child != tree.top],
        "depth": tree.depth(guid),
        "current": tree.shots[tree.top].parent == guid,
        "vm_snapshot": named is not None,
    }


def _layer_facts(state: BundleState, guid: str) -> Facts:
    images = state.layer(guid)
    return {
        "guid": guid,
        "files": [_file_facts(image) for image in images],
        "outside": any(image.outside for image in images),
    }


def _file_facts(image: ImageState) -> Facts:
    return {
        "path": image.path,
        "storage": image.storage,
        "type": image.kind,
        "size": image.stat.size,
        "allocated": None if image.stat.allocated < 0 else image.stat.allocated,
        "used_clusters": image.used_clusters if image.header is not None else None,
        "in_use": image.is_dirty,
    }


def _backup_differs(port: Port, state: BundleState) -> Optional[bool]:
    """Whether the descriptor's backup is another generation; None when there is none."""
    if BACKUP not in state.others:
        return None
    try:
        return read_file(port, f"{state.location.directory}/{BACKUP}", limit=_BACKUP_LIMIT) != state.xml
    except DiskError:
        return True


def _vm_facts(state: BundleState, vm: Optional[VmFacts]) -> Optional[Facts]:
    if vm is None:
        return None
    size = vm.config_size_mib
    return {
        "name": vm.name,
        "uuid": vm.uuid,
        "config": vm.config,
        "os": vm.os,
        "suspended": vm.suspended,
        "disk_index": vm.disk_index,
        "size_mismatch": None if size is None else size != state.descriptor.size_bytes // MIB,
    }


def _warnings(state: BundleState) -> List[str]:
    notes = []
    journal = state.journal
    if journal is not None:
        notes.append(
            f"{state.journal_path}: a {journal.operation} of this disk was interrupted; the next change of the disk "
            "finishes it first. Snapshots that it was removing are no longer reliable; all others are."
        )
    if is_suspended(state):
        notes.append(f"{state.location.descriptor}: the disk belongs to a suspended virtual machine.")
    outside = sorted({image.path for image in state.images.values() if image.outside})
    notes += [f"{path}: the image is outside the bundle; it is only read." for path in outside]
    return notes


def totals(disks: Sequence[Facts]) -> Facts:
    """Sums over many disks; reclaimable counts what is known."""
    there = [disk for disk in disks if disk["exists"]]
    return {
        "disks": len(there),
        "virtual_size": sum(disk["virtual_size"] for disk in there),
        "file_size": sum(disk["file_size"] for disk in there),
        "allocated_size": sum(disk["allocated_size"] or 0 for disk in there),
        "used_size": sum(disk["used_size"] for disk in there),
        "snapshots": sum(len(disk["snapshots"]) for disk in there),
        "reclaimable": sum(size or 0 for disk in there for size in disk["reclaimable"].values()),
    }
