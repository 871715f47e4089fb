# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revert: the disk goes on from a snapshot, with a new empty layer; what was current is given up.

Commit point: the rename of the descriptor. Before it there are only new files that nobody names; after it the files of
the old current layer go. No snapshot is touched.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from ..._bundle.bundle import BundleState
from ..._bundle.descriptor import Descriptor, ImageEntry
from ..._bundle.guards import refuse_converting, refuse_dirty
from ..._change.journal import descriptor_step, journal_end_steps, journal_step
from ..._change.new_files import nothing_at
from ..._change.new_layer import new_image_steps, new_images, with_new_top
from ..._core.errors import BadRequest, Interrupted, Unsupported
from ..._core.plan import Cleanup, Plan
from ..._core.records import replace
from ..._core.units import format_size
from ..._io.journal import PREPARE, Journal


def plan_revert(state: BundleState, guid: str, *, force: bool = False) -> Plan:
    """Make the disk go on from snapshot ``guid``; an empty plan when it does and nothing was written since.

    Raises BadRequest for the current layer, Unsupported for a single file, Interrupted for a snapshot that ploop was
    merging.
    """
    top, directory = state.tree.top, state.location.directory
    _refuse(state, guid)
    if state.tree.shots[top].parent == guid and is_empty_layer(state, top):
        return Plan("revert", facts={"snapshot": guid, "after": state})
    refuse_converting(state)
    refuse_dirty(state, force=force)
    created = new_images(state, guid, base=guid)
    names = tuple(name for name, _header in created)
    old = tuple(image for image in state.layer(top) if not image.outside)
    target = _with_new_top(state, guid, names)
    steps = (
        journal_step(
            state,
            Journal("revert", PREPARE, created=names, discarded=tuple(image.path.rsplit("/", 1)[-1] for image in old)),
        ),
        *new_image_steps(state, created, like=top),
        descriptor_step(state, target),
        *journal_end_steps(state, [image.path for image in old]),
    )
    given_up = sum(image.used for image in state.layer(top))
    kept = {key: image for key, image in state.images.items() if key[1] != top}
    needed = sum(header.data_start for _name, header in created)
    return Plan(
        "revert",
        steps,
        state.fingerprint + nothing_at(state, names),
        lock_directories=(directory,),
        lock_files=tuple(image.path for image in old),
        space=((directory, needed + len(state.xml) * 2),),
        bytes_freed=sum(image.stat.allocated for image in old),
        cleanup=Cleanup(disk=directory),
        warnings=(
            f"{directory}: the current state, {format_size(given_up)} of clusters, is given up for snapshot {guid}.",
        )
        if given_up
        else (),
        facts={"snapshot": guid, "after": with_new_top(state, target, kept, created)},
    )


def is_empty_layer(state: BundleState, guid: str) -> bool:
    """Whether nothing was ever written to a layer, so that its view is that of its parent, in full length."""
    below = state.tree.shots[guid].parent
    for image in state.layer(guid):
        if (
            image.header is None
            or image.used_clusters
            or below not in state.tree.shots
            or image.size < state.images[(image.storage, below)].size
        ):
            return False
    return True


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
