# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Take a snapshot: the current layer is frozen where it lies, and a new empty layer goes on top of it.

Commit point: the rename of the descriptor. Before it there are only new files that nobody names; frozen files are not
touched at all, because linked clones may refer to them by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List, Optional, Sequence, Tuple

from .._bundle.bundle import EXPANDING, BundleState, ImageState, refuse_converting, refuse_dirty
from .._bundle.descriptor import Descriptor, ImageEntry, Shot
from .._bundle.naming import image_name
from .._bundle.tree import build_tree
from .._core import guid as guids
from .._core.errors import AlreadyExists, BadRequest, Unsupported
from .._core.plan import Cleanup, CreateFile, Plan, Step, Sync, WriteBytes
from .._core.units import SECTOR
from .._formats.hds_header import HdsHeader, new_header, pack_header
from .._io.journal import PREPARE, Journal
from .journal_steps import ends_journal, replaces_descriptor, writes_journal

MOST_LAYERS = 128
"""ploop's limit: 126 snapshots, a base and a top."""


def plan_snapshot_take(state: BundleState, guid: str, *, force: bool = False) -> Plan:
    """Freeze the current state as snapshot ``guid``; an empty plan when the disk has that snapshot already.

    Raises BadRequest for a GUID with a meaning of its own, Unsupported for a single-file image or a full chain, Dirty.
    """
    if guid in state.tree.shots and guid != state.tree.top:
        return Plan("snapshot", facts={"snapshot": guid, "after": state})
    _refuse(state, guid, force=force)
    created = _new_layer(state, guid)
    target = _with_snapshot(state, guid, tuple(name for name, _header in created))
    directory = state.location.directory
    journal = Journal("snapshot", PREPARE, created=tuple(name for name, _header in created))
    steps: List[Step] = [writes_journal(state, journal)]
    for (name, header), frozen in zip(created, state.layer(state.tree.top)):
        path = f"{directory}/{name}"
        steps += [CreateFile(path, header.data_start, like=frozen.path), WriteBytes(path, 0, pack_header(header))]
    steps.append(Sync(files=tuple(f"{directory}/{name}" for name, _header in created), directories=(directory,)))
    steps.append(replaces_descriptor(state, target))
    steps += ends_journal(state)
    needed = sum(header.data_start for _name, header in created)
    return Plan(
        "snapshot",
        tuple(steps),
        state.fingerprint,
        lock_directories=(directory,),
        lock_files=tuple(image.path for image in state.layer(state.tree.top) if not image.outside),
        space=((directory, needed + len(state.xml) * 2),),
        cleanup=Cleanup(disk=directory),
        facts={"snapshot": guid, "after": _after(state, guid, target, created)},
    )


def _refuse(state: BundleState, guid: str, *, force: bool) -> None:
    if not state.is_bundle:
        raise Unsupported("A single-file image cannot have snapshots", path=state.location.image, hint="Convert it into a bundle with hdd_convert first.")
    if guid in guids.WELL_KNOWN or guid == state.tree.top:
        raise BadRequest(f"{guid} has a meaning of its own and cannot name a snapshot", path=state.location.directory, hint="Choose another GUID or a name.")
    if len(state.tree.chain(state.tree.top)) >= MOST_LAYERS:
        raise Unsupported(f"The disk already has {MOST_LAYERS} layers in a row", path=state.location.directory, hint="Merge snapshots with hdd_merge first.")
    refuse_converting(state)
    refuse_dirty(state, force=force)


def _new_layer(state: BundleState, guid: str) -> Tuple[Tuple[str, HdsHeader], ...]:
    """Name and header of the new top image in each storage. The name depends on what is known before the run."""
    layer = []
    own = guids.derive("layer on", state.descriptor.uid or guids.NONE, guid)
    for number, storage in enumerate(state.descriptor.storages):
        name = image_name(state.location.base, number, own)
        if name in state.others or any(image.file == name for image in state.images.values()):
            raise AlreadyExists(
                "A file of another layer has the name of the new one",
                path=f"{state.location.directory}/{name}",
                hint="Move it out of the bundle, or use another snapshot name.",
            )
        size = (storage.end_sector - storage.start_sector) * SECTOR
        layer.append((name, _overlay_header(state, number, size)))
    return tuple(layer)


def _overlay_header(state: BundleState, storage: int, size: int) -> HdsHeader:
    """An overlay has the version and cluster size of the layers below it (ploop refuses a mixed chain)."""
    below = _first_expanding(state.chain(state.tree.top, storage))
    if below is None or below.header is None:
        cluster_bytes = state.descriptor.storages[storage].cluster_sectors * SECTOR
        return new_header(size_bytes=size, cluster_bytes=cluster_bytes, version=1 if size < 2 << 40 else 2)
    header = new_header(size_bytes=size, cluster_bytes=below.header.cluster_bytes, version=below.header.version)
    return replace(header, heads=below.header.heads)


def _first_expanding(chain: Tuple[ImageState, ...]) -> Optional[ImageState]:
    return next((image for image in chain if image.kind == EXPANDING), None)


def _with_snapshot(state: BundleState, guid: str, files: Tuple[str, ...]) -> Descriptor:
    """The descriptor afterwards: the old top's images and shot get ``guid``, the new images get the top's GUID."""
    top = state.tree.top
    storages = []
    for storage, file in zip(state.descriptor.storages, files):
        kept = tuple(replace(image, guid=guid) if image.guid == top else image for image in storage.images)
        storages.append(replace(storage, images=(ImageEntry(top, "Compressed", file),) + kept))
    shots: List[Shot] = []
    for shot in state.descriptor.shots:
        shots += [Shot(top, guid), replace(shot, guid=guid)] if shot.guid == top else [shot]
    return replace(state.descriptor, storages=tuple(storages), shots=tuple(shots))


def _after(state: BundleState, guid: str, target: Descriptor, created: Sequence[Tuple[str, HdsHeader]]) -> BundleState:
    """The disk as it will be, for predictions."""
    top, directory = state.tree.top, state.location.directory
    images: Dict[Tuple[int, str], ImageState] = {}
    for (storage, layer), image in state.images.items():
        role = guid if layer == top else layer
        images[(storage, role)] = replace(image, guid=role)
    for number, (name, header) in enumerate(created):
        stat = replace(images[(number, guid)].stat, size=header.data_start, allocated=-1)
        images[(number, top)] = ImageState(number, top, name, f"{directory}/{name}", False, EXPANDING, stat, header.size_bytes, header)
    tree = build_tree(target.shots, declared_top=target.declared_top, path=state.location.descriptor)
    return replace(state, descriptor=target, tree=tree, images=images)
