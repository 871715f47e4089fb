# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk after a change: predictions of its state, and what it loses."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Iterator, Sequence, Tuple

from .._bundle.bundle import BundleState, ImageState, size_warnings
from .._bundle.descriptor import Descriptor
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


def as_described(
    state: BundleState, target: Descriptor, steps: Sequence[Step], images: Dict[Tuple[int, str], ImageState]
) -> BundleState:
    """``state`` with another descriptor and other images, as an observation after the steps would find it."""
    replaced = [step for step in steps if isinstance(step, ReplaceFile)]
    xml = [state.xml, *(step.content for step in replaced if step.path == state.location.descriptor)][-1]
    created = {step.path.rsplit("/", 1)[-1] for step in steps if isinstance(step, CreateFile)}
    others = tuple(name for name in state.others if name not in created)
    warnings = tuple(size_warnings(target, state.tree, images))
    return replace(state, descriptor=target, xml=xml, images=images, others=others, warnings=warnings)
