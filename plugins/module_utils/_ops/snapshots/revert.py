# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revert: the disk goes on from a snapshot, with a new empty layer; what was current is given up.

Commit point: the rename of the descriptor. Before it there are only new files that nobody names; after it the files of
the old current layer go. No snapshot is touched.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from ..._bundle.bundle import BundleState
from ..._bundle.descriptor import Descriptor, ImageEntry
from ..._bundle.guards import Touches, check_guards
from ..._change.bundle_plan import BundleChange, bundle_plan, unchanged
from ..._change.journal import descriptor_step
from ..._change.new_layer import NewImages, new_image_steps, new_images, with_new_top
from ..._core.errors import BadRequest, Interrupted, Unsupported
from ..._core.plan import Plan
from ..._core.records import replace
from ..._core.units import format_size
from ..._io.journal import PREPARE, Journal
from .take import SnapshotFacts


def plan_revert(state: BundleState, guid: str, *, force: bool = False) -> Plan[SnapshotFacts]:
    """Make the disk go on from snapshot ``guid``; an empty plan when it does and nothing was written since.

    Raises BadRequest for the current layer, Unsupported for a single file, Interrupted for a snapshot that ploop was
    merging.
    """
    top = state.tree.top
    _refuse(state, guid)
    if state.tree.shots[top].parent == guid and is_empty_layer(state, top):
        return unchanged("revert", SnapshotFacts(state, guid))
    clearance = check_guards(state, Touches(), force=force)
    created = new_images(state, guid, base=guid)
    target = _with_new_top(state, guid, tuple(name for name, _header in created))
    kept = {key: image for key, image in state.images.items() if key[1] != top}
    facts = SnapshotFacts(with_new_top(state, target, kept, created), guid)
    return bundle_plan(clearance, _change(state, guid, created, target), facts)


def _change(state: BundleState, guid: str, created: NewImages, target: Descriptor) -> BundleChange:
    top, names = state.tree.top, tuple(name for name, _header in created)
    old = tuple(image for image in state.layer(top) if not image.outside)
    given_up = sum(image.used for image in state.layer(top))
    what = f"the current state, {format_size(given_up)} of clusters, is given up for snapshot {guid}"
    return BundleChange(
        "revert",
        Journal("revert", PREPARE, created=names, discarded=tuple(image.path.rsplit("/", 1)[-1] for image in old)),
        before=tuple(new_image_steps(state, created, like=top)),
        commit=descriptor_step(state, target),
        created=names,
        discarded=tuple(image.path for image in old),
        needed=sum(header.data_start for _name, header in created),
        bytes_freed=sum(image.stat.allocated for image in old),
        warnings=(f"{state.location.directory}: {what}.",) if given_up else (),
    )


def is_empty_layer(state: BundleState, guid: str) -> bool:
    """Whether nothing was ever written to a layer, so that its view is that of its parent, in full length."""
    below = state.tree.shots[guid].parent
    return below in state.tree.shots and all(
        image.header is not None and not image.used_clusters and image.size >= state.images[(image.storage, below)].size
        for image in state.layer(guid)
    )


def _refuse(state: BundleState, guid: str) -> None:
    if not state.is_bundle:
        raise Unsupported("A single-file image has no snapshots", path=state.location.image, hint="Name a bundle.")
    if guid == state.tree.top:
        raise BadRequest(
            f"{guid} is the current layer and no snapshot", path=state.location.directory, hint="Name a snapshot."
        )
    if state.tree.shots[guid].temporary:
        raise Interrupted(
            f"ploop was merging snapshot {guid} away and did not finish",
            path=state.location.directory,
            found=guid,
            hint="Delete the snapshot with state: absent, which hands its data to its children.",
        )


def _with_new_top(state: BundleState, guid: str, files: tuple[str, ...]) -> Descriptor:
    top = state.tree.top
    storages = []
    for storage, file in zip(state.descriptor.storages, files):
        images = tuple(ImageEntry(top, "Compressed", file) if image.guid == top else image for image in storage.images)
        storages.append(replace(storage, images=images))
    shots = tuple(replace(shot, parent=guid) if shot.guid == top else shot for shot in state.descriptor.shots)
    return replace(state.descriptor, storages=tuple(storages), shots=shots)
