# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take a snapshot: the current layer is frozen where it lies, and a new empty layer goes on top of it.

Commit point: the rename of the descriptor. Before it there are only new files that nobody names; frozen files are not
touched at all, because linked clones may refer to them by name.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.descriptor import Descriptor, ImageEntry, Shot
from ..._bundle.guards import Touches, check_guards
from ..._change.bundle_plan import BundleChange, ChangeFacts, bundle_plan, unchanged
from ..._change.journal import descriptor_step
from ..._change.new_layer import new_image_steps, new_images, with_new_top
from ..._core import guid as guids
from ..._core.errors import BadRequest, Unsupported
from ..._core.plan import Plan
from ..._core.records import dataclass, replace
from ..._io.journal import PREPARE, Journal

MOST_LAYERS = 128
"""ploop's limit: 126 snapshots, a base and a top."""


@dataclass(frozen=True)
class SnapshotFacts(ChangeFacts):
    """The snapshot that was asked for, and the disk after the change."""

    snapshot: str


def plan_snapshot_take(state: BundleState, guid: str, *, force: bool = False) -> Plan[SnapshotFacts]:
    """Freeze the current state as snapshot ``guid``; an empty plan when the disk has that snapshot already.

    Raises BadRequest for a GUID with a meaning of its own, Unsupported for a single-file image or a full chain, Dirty.
    """
    top = state.tree.top
    if guid in state.tree.shots and guid != top:
        return unchanged("snapshot", SnapshotFacts(state, guid))
    _refuse(state, guid)
    clearance = check_guards(state, Touches(), force=force)
    created = new_images(state, guid, base=top)
    names = tuple(name for name, _header in created)
    target = _with_snapshot(state, guid, names)
    change = BundleChange(
        "snapshot",
        Journal("snapshot", PREPARE, created=names),
        before=tuple(new_image_steps(state, created, like=top)),
        commit=descriptor_step(state, target),
        created=names,
        needed=sum(header.data_start for _name, header in created),
    )
    renamed = [replace(image, guid=guid) if image.guid == top else image for image in state.images.values()]
    kept = {(image.storage, image.guid): image for image in renamed}
    return bundle_plan(clearance, change, SnapshotFacts(with_new_top(state, target, kept, created), guid))


def _refuse(state: BundleState, guid: str) -> None:
    if not state.is_bundle:
        raise Unsupported(
            "A single-file image cannot have snapshots",
            path=state.location.image,
            hint="Convert it into a bundle with hdd_convert first.",
        )
    if guid in guids.WELL_KNOWN or guid == state.tree.top:
        raise BadRequest(
            f"{guid} has a meaning of its own and cannot name a snapshot",
            path=state.location.directory,
            hint="Choose another GUID or a name.",
        )
    if len(state.tree.current_chain) >= MOST_LAYERS:
        raise Unsupported(
            f"The disk already has {MOST_LAYERS} layers in a row",
            path=state.location.directory,
            hint="Merge snapshots with hdd_merge first.",
        )


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
