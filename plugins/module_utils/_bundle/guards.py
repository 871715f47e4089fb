# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards: every reason not to touch a disk, each once, and the one order in which every change has to pass them.

Each guard is a function that raises, named ``refuse_*``. An operation does not choose among them: it says what it does
to the disk (``Touches``), and gets a ``Clearance`` to plan with.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Tuple

from .._core.errors import Dirty, Encrypted, HasSnapshots, Interrupted, InUse, Unsupported
from .._core.records import dataclass
from .._core.units import SECTOR
from .bundle import BundleState

ANY = "any"
SHORTER = "shorter"
EXACT = "exact"


@dataclass(frozen=True)
class Touches:
    """What an operation does to a disk. The guards that it has to pass follow from this alone, in one order for all.

    ``data``: it looks at guest data or moves clusters. ``images``: it changes images or freezes them as they are.
    ``memory``: the current state becomes another than the saved memory of a suspended machine goes by. ``lengths``: how
    the images of the current layer must fit their parts of the disk: EXACT, SHORTER (they may be) or ANY. ``ours``:
    images that this very engine has marked as in use.
    """

    data: bool = False
    images: bool = True
    memory: bool = False
    lengths: str = ANY
    ours: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Clearance:
    """A disk that has passed every guard of a change. Plans are built on it, so that none can be built without."""

    state: BundleState


def check_guards(state: BundleState, touches: Touches, *, force: bool = False) -> Clearance:
    """Pass every guard that a change has to pass, in one order.

    Raises Encrypted, Interrupted, InUse, Dirty, Unsupported. ``force`` overrides Dirty, never Encrypted.
    """
    if touches.data:
        refuse_encrypted(state)
    if touches.images:
        refuse_converting(state)
    refuse_dirty(state, force=force, ours=touches.ours)
    if touches.memory:
        refuse_suspended(state, force=force)
    if touches.lengths != ANY:
        refuse_misfits(state, may_be_shorter=touches.lengths == SHORTER)
    return Clearance(state)


def recovery_clearance(state: BundleState) -> Clearance:
    """The clearance to end an interrupted run: its change passed the guards when it began."""
    return Clearance(state)


def refuse_encrypted(state: BundleState) -> None:
    """Raise Encrypted when the payload is cipher text."""
    if state.descriptor.encrypted:
        raise Encrypted(
            "The disk is encrypted; its data cannot be looked at or moved",
            path=state.location.directory,
            hint="Only hdd_info and hdd_snapshot work on it; decrypt it in Parallels Desktop first.",
        )


def refuse_dirty(state: BundleState, *, force: bool, ours: Tuple[str, ...] = ()) -> None:
    """Raise Dirty for an image with the in-use mark, unless forced or set by this engine itself (on ``ours``).

    Raises InUse instead when somebody is seen to hold the image.
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
            "An image is marked as in use, but no process is seen to hold it: a virtual machine runs elsewhere, or its"
            " program died",
            path=image.path,
            offset=44,
            found="Ynot",
            hint="Stop the virtual machine and close the disk cleanly, or set force: true when you are sure that nobody"
            " uses it.",
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

    What such an image holds past the end of the disk may be all that is left of a change by another program, and
    nobody sees it here.
    """
    for number, (_start, length) in enumerate(state.parts):
        image = state.images[(number, state.tree.top)]
        whole = image.header.size_bytes if image.header is not None else image.stat.size // SECTOR * SECTOR
        if image.outside or whole == length or (whole < length and may_be_shorter):
            continue
        raise Unsupported(
            "The image of the current layer is not as long as the descriptor says",
            path=image.path,
            expected=length,
            found=whole,
            hint="Look at the disk with hdd_check, or make a new one with hdd_convert; another program may have been"
            " interrupted while it changed the size.",
        )


def refuse_suspended(state: BundleState, *, force: bool) -> None:
    """Raise Dirty for the disk of a suspended machine, whose saved memory needs the disk as it is; unless forced."""
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
    """Whether the disk is of ploop or Virtuozzo, some of which refuse files with holes (format reference, 1.4)."""
    return state.is_bundle and (state.descriptor.version is None or state.descriptor.root_name.startswith("Virtuozzo"))
