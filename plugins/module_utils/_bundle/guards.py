# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every reason not to touch a disk, each once."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Tuple

from .._core.errors import Dirty, Encrypted, HasSnapshots, Interrupted, InUse, Unsupported
from .._core.units import SECTOR
from .bundle import BundleState
from .shape import parts_of


def refuse_encrypted(state: BundleState) -> None:
    """Raise Encrypted when the payload is cipher text."""
    if state.descriptor.encrypted:
        raise Encrypted(
            "The disk is encrypted; its data cannot be looked at or moved",
            path=state.location.directory,
            hint="Only hdd_info and hdd_snapshot work on it; decrypt it in Parallels Desktop first.",
        )


def refuse_dirty(state: BundleState, *, force: bool, ours: Tuple[str, ...] = ()) -> None:
    """Raise Dirty when an image carries the in-use mark, unless forced or when this very engine set it on the files in
    ``ours``.

    Raises InUse instead when the one who set it is seen to hold the image.
    """
    if force:
        return
    dirty = [
        image for image in state.images.values() if image.is_dirty and not image.outside and image.path not in ours
    ]
    # A mark whose owner is alive says more than one that was left behind.
    for image in sorted(dirty, key=lambda image: not image.held_by):
        for holder in image.held_by:
            raise InUse(
                f"{image.path} is held by {holder.owner}",
                path=image.path,
                found=f"{holder.kind}: {holder.owner}",
                hint=f"Stop {holder.owner} or wait, then run again.",
            )
        raise Dirty(
            "An image is marked as in use, but no process is seen to hold it: a virtual machine runs elsewhere, or its program died",
            path=image.path,
            offset=44,
            found="Ynot",
            hint="Stop the virtual machine and close the disk cleanly, or set force: true when you are sure that nobody uses it.",
        )


def refuse_converting(state: BundleState) -> None:
    """Raise Interrupted when ploop was changing the format version of an image."""
    for image in state.images.values():
        if image.header is not None and image.header.is_converting:
            raise Interrupted(
                "A change of the format version by ploop was cut off",
                path=image.path,
                offset=52,
                hint="Finish it with ploop before changing the disk.",
            )


def refuse_misfits(state: BundleState, *, may_be_shorter: bool = False) -> None:
    """Raise Unsupported unless each image of the current layer is as long as its part of the disk.

    What such an image holds behind the end of the disk may be all that is left of a change by another program, and
    nobody sees it here.
    """
    for number, (_start, length) in enumerate(parts_of(state)):
        image = state.images[(number, state.tree.top)]
        whole = image.header.size_bytes if image.header is not None else image.stat.size // SECTOR * SECTOR
        if image.outside or whole == length or (whole < length and may_be_shorter):
            continue
        raise Unsupported(
            "The image of the current layer is not as long as the descriptor says",
            path=image.path,
            expected=length,
            found=whole,
            hint="Look at the disk with hdd_check, or make a new one with hdd_convert; another program may have been cut off while it changed the size.",
        )


def refuse_suspended(state: BundleState, *, force: bool) -> None:
    """Raise Dirty for the disk of a suspended machine, whose saved memory goes by what the disk is like now; unless
    forced.
    """
    if state.descriptor.suspended and not force:
        raise Dirty(
            "The virtual machine is suspended; its saved memory would no longer fit the disk",
            path=state.location.descriptor,
            hint="Resume it and shut it down, or set force: true to give the saved memory up.",
        )


def refuse_snapshots(state: BundleState, what: str) -> None:
    """Raise HasSnapshots with the ways out."""
    others = [guid for guid in state.tree.shots if guid != state.tree.top]
    ways = "Set snapshots: merge to give the snapshots up"
    ways += ", or snapshots: top_only to let the current state alone become larger." if what == "grow" else "."
    raise HasSnapshots(
        f"The disk has {len(others)} snapshot(s)", path=state.location.directory, found=others[:20], hint=ways
    )


def minds_holes(state: BundleState) -> bool:
    """Whether the disk belongs to ploop or Virtuozzo, some versions of which refuse files with holes (format
    reference, section 1.4).
    """
    return state.is_bundle and (state.descriptor.version is None or state.descriptor.root_name.startswith("Virtuozzo"))
