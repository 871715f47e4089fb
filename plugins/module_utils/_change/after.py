# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk after a change: predictions of its state, and what it loses."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Iterator, Sequence, Tuple

from .._bundle.bundle import BundleState, ImageState, size_warnings
from .._bundle.descriptor import Descriptor
from .._bundle.naming import NOTES
from .._core.plan import CreateFile, ReplaceFile, Step
from .._core.records import replace
from .._formats.hds.extension import may_keep


def dropped_extensions(images: Sequence[ImageState]) -> Iterator[str]:
    """A sentence for each image whose format extension cannot be kept."""
    for image in images:
        if image.extension is not None:
            bitmaps, other = "the dirty bitmaps of backup software", "the contents of a format extension"
            what = bitmaps if may_keep(image.extension) else other
            yield f"{image.path}: {what} do not fit the changed disk and are dropped; the next backup is a full one."


def forgotten_steps(state: BundleState, target: Descriptor) -> Tuple[Step, ...]:
    """What lets the names go of snapshots that the disk then does not have."""
    if not state.notes:
        return ()
    # Few disks have snapshots with names.
    from .notes import notes_after, notes_steps

    return notes_steps(state, notes_after(state, [shot.guid for shot in target.shots]))


def forgotten_paths(state: BundleState) -> Tuple[str, ...]:
    """The file that ``forgotten_steps`` may change."""
    return (f"{state.location.directory}/{NOTES}",) if state.notes else ()


def remembered(state: BundleState, target: Descriptor) -> BundleState:
    """``state`` with the names of those snapshots alone that ``target`` has."""
    kept = {shot.guid for shot in target.shots}
    return replace(state, notes={guid: note for guid, note in state.notes.items() if guid in kept})


def as_described(
    state: BundleState, target: Descriptor, steps: Sequence[Step], images: Dict[Tuple[int, str], ImageState]
) -> BundleState:
    """``state`` with another descriptor and other images, as an observation after the steps would find it."""
    replaced = [step for step in steps if isinstance(step, ReplaceFile)]
    xml = [state.xml, *(step.content for step in replaced if step.path == state.location.descriptor)][-1]
    created = {step.path.rsplit("/", 1)[-1] for step in steps if isinstance(step, CreateFile)}
    others = tuple(name for name in state.others if name not in created)
    warnings = tuple(size_warnings(target, state.tree, images))
    after = replace(state, descriptor=target, xml=xml, images=images, others=others, warnings=warnings)
    return remembered(after, target) if state.notes else after
