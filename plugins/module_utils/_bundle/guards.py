# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards: every reason not to touch a disk, each once, and the one order in which every change has to pass them.

Each guard is a function that raises, named ``refuse_*``. An operation does not choose among them: it says what it does
to the disk (``Touches``), and gets a ``Clearance`` to plan with.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Tuple

from .._core.errors import (
    CHECK_HINT,
    Dirty,
    Encrypted,
    HasSnapshots,
    Interrupted,
    InUse,
    Misfit,
    SharedLayer,
    Suspended,
    Unsupported,
)
from .._core.records import dataclass
from .._core.units import SECTOR
from .bundle import BundleState, ImageState
from .naming import classify

if TYPE_CHECKING:
    from .._io.port import Port, Stat
    from .surroundings import Clone

ANY = "any"
SHORTER = "shorter"
EXACT = "exact"


@dataclass(frozen=True)
class Touches:
    """What an operation does to a disk. The guards that it has to pass follow from this alone, in one order for all.

    ``data``: it looks at guest data or moves clusters. ``images``: it changes images or freezes them as they are.
    ``lengths``: how the images of the current layer must fit their parts of the disk: EXACT, SHORTER (they may be) or
    ANY. ``ours``: images that this very engine has marked as in use.
    """

    data: bool = False
    images: bool = True
    lengths: str = ANY
    ours: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Clearance:
    """A disk that has passed every guard of a change. Plans are built on it, so that none can be built without."""

    state: BundleState
    force: bool = False


def check_guards(state: BundleState, touches: Touches, *, force: bool = False) -> Clearance:
    """Pass every guard that a change has to pass, in one order.

    Raises Encrypted, Interrupted, InUse, Dirty, Suspended, Misfit. ``force`` overrides Dirty, Suspended, and the Misfit
    of an image that is not of its type or was cut.
    """
    if touches.data:
        refuse_encrypted(state)
    if touches.images:
        refuse_converting(state)
    refuse_dirty(state, force=force, ours=touches.ours)
    refuse_suspended(state, force=force)
    if touches.data:
        refuse_contradictions(state, force=force)
        refuse_cut_source(state, state.tree.top, force=force)
    if touches.lengths != ANY:
        refuse_misfits(state, may_be_shorter=touches.lengths == SHORTER)
    return Clearance(state, force)


def recovery_clearance(state: BundleState) -> Clearance:
    """The clearance to end an interrupted run: its change passed the guards when it began."""
    return Clearance(state, force=True)


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
    """Raise Misfit unless each image of the current layer is as long as its part of the disk.

    What such an image holds past the end of the disk may be all that is left of a change by another program, and
    nobody sees it here.
    """
    for number, (_start, length) in enumerate(state.parts):
        image = state.images[(number, state.tree.top)]
        whole = image.header.size_bytes if image.header is not None else image.stat.size // SECTOR * SECTOR
        if image.outside or whole == length or (whole < length and may_be_shorter):
            continue
        raise Misfit(
            "The image of the current layer is not as long as the descriptor says",
            path=image.path,
            expected=length,
            found=whole,
            hint="Look at the disk with hdd_check, or make a new one with hdd_convert; another program may have been"
            " interrupted while it changed the size.",
        )


def refuse_contradictions(state: BundleState, *, force: bool) -> None:
    """Raise Misfit for an image whose content belies its type, unless forced: what is moved would look healthy then."""
    for image in state.images.values():
        if image.contradiction is not None and not force:
            raise Misfit(
                f"{image.contradiction[0].upper()}{image.contradiction[1:]}",
                path=image.path,
                hint=f"{CHECK_HINT} Or set force: true to go by the descriptor.",
            )


def refuse_hidden_ends(state: BundleState, images: Iterable[ImageState], *, force: bool) -> None:
    """Raise Misfit for an image that is to go and holds data past the end of its part of the disk, unless forced."""
    for image in images:
        length = state.parts[image.storage][1]
        if image.header is None or image.table is None:
            hides = image.stat.size > length
        else:
            first = -(-length // image.header.cluster_bytes)
            hides = image.header.used_entries > first and image.table.has_any(first, image.header.used_entries)
        if hides and not force:
            raise Misfit(
                "An image that would go holds data past the end of the disk, which may be all that is left of them",
                path=image.path,
                expected=f"at most {length} bytes",
                hint="Look at the disk with hdd_check; set force: true when that end is not needed.",
            )


def refuse_suspended(state: BundleState, *, force: bool) -> None:
    """Raise Suspended for the disk of a suspended machine, whose saved memory fits only the disk as it is."""
    if is_suspended(state) and not force:
        raise Suspended(
            "The virtual machine is suspended; its saved memory would no longer fit the disk",
            path=_sign_of_suspension(state),
            hint="Resume it and shut it down, or set force: true to give the saved memory up.",
        )


def is_suspended(state: BundleState) -> bool:
    """Whether the descriptor or the machine says so: by saved state beside its configuration, or by the state of the
    snapshot that it goes on from.
    """
    machine = None if state.surroundings is None else state.surroundings.machine.facts
    return state.descriptor.suspended or (machine is not None and machine.suspended)


def _sign_of_suspension(state: BundleState) -> str:
    """The descriptor, or the configuration of the machine that is suspended: it need not be the one around the disk."""
    report = None if state.surroundings is None else state.surroundings.machine
    if state.descriptor.suspended or report is None or report.facts is None:
        return state.location.descriptor
    return next((one.config for one in report.others if one.suspended), report.facts.config)


def refuse_standing(state: BundleState, paths: Iterable[str], *, force: bool) -> None:
    """Raise SharedLayer when a linked clone names one of these images, which are to change or to go; unless forced."""
    if state.surroundings is not None and not force:
        refuse_clones(state.surroundings.clones, paths)


def refuse_clones(clones: Iterable[Clone], paths: Iterable[str]) -> None:
    """Raise SharedLayer when one of these clones names one of the files at ``paths``."""
    wanted = set(paths)
    for clone in clones:
        if clone.image in wanted:
            raise SharedLayer(
                f"The linked clone {clone.disk} stands on this image and would lose what it holds",
                path=clone.image,
                found=clone.disk,
                hint="Make the clone a disk of its own first, for example with hdd_convert and allow_outside: true, or"
                " set force: true when the clone is not needed any more.",
            )


def refuse_linked(state: BundleState, paths: Iterable[str]) -> None:
    """Raise SharedLayer for an image with a second name, such as ``cp -al`` and ``rsync --link-dest`` give: a change in
    place would change what is under the other name, too.
    """
    wanted = set(paths)
    for image in state.images.values():
        if image.path in wanted:
            refuse_other_names(image.path, image.stat)


def refuse_other_names(path: str, stat: Stat) -> None:
    """Raise SharedLayer for a file that has names beside the one at ``path``."""
    if stat.links > 1:
        raise SharedLayer(
            f"The file has {stat.links} names (hard links); a change in place would change all of them",
            path=path,
            found=stat.links,
            expected=1,
            hint="Give the disk a file of its own first: cp FILE FILE.own && mv FILE.own FILE.",
        )


def refuse_strangers(state: BundleState, *, force: bool) -> None:
    """Raise Unsupported when the bundle, which is to go as a whole, holds what does not belong to the disk: files of
    others, folders (another bundle was moved into it), and, unless forced, images that the descriptor does not name.
    """
    foreign = [name for name in state.others if classify(name) == "foreign" or name in state.folders]
    unnamed = [] if force else [name for name in state.unnamed if name not in foreign]
    if foreign or unnamed:
        hint = "Move them away, then run again; nothing was removed."
        if not foreign:
            hint = "Move them away, or set force: true to remove them as well; nothing was removed."
        raise Unsupported(
            f"The bundle holds files that are no part of a disk: {', '.join((foreign or unnamed)[:5])}",
            path=state.location.directory,
            found=(foreign or unnamed)[:20],
            hint=hint,
        )


def unreliable_snapshots(state: BundleState) -> Tuple[str, ...]:
    """The snapshots that an interrupted merge was removing: until it is finished they may show anything."""
    journal = state.journal
    if journal is None or (journal.operation, journal.phase) != ("merge", "apply"):
        return ()
    removals = (journal.request or {}).get("removals", [])
    return tuple(guid for guid in removals if guid in state.tree.shots) if isinstance(removals, list) else ()


def refuse_unreliable(state: BundleState, guids: Iterable[str]) -> None:
    """Raise Interrupted when one of these snapshots cannot be read before an interrupted merge is finished."""
    wanted = set(guids)
    for guid in unreliable_snapshots(state):
        if guid in wanted:
            raise Interrupted(
                f"A merge that was to remove snapshot {guid} was interrupted; until it is finished, the snapshot does"
                " not show what it showed",
                path=state.location.directory,
                found=guid,
                hint="Finish the merge with any module that changes the disk, such as hdd_merge, or read another"
                " snapshot.",
            )


def refuse_snapshots(state: BundleState, what: str) -> None:
    """Raise HasSnapshots with the ways out."""
    others = [guid for guid in state.tree.shots if guid != state.tree.top]
    ways = "Set snapshots: merge to give the snapshots up"
    ways += ", or snapshots: top_only to let the current state alone become larger." if what == "grow" else "."
    raise HasSnapshots(
        f"The disk has {len(others)} snapshot(s)", path=state.location.directory, found=others[:20], hint=ways
    )


def refuse_cut_source(state: BundleState, guid: str, *, force: bool) -> None:
    """Raise Misfit when snapshot ``guid`` is a plain image that is shorter than the disk: a copy that was cut.

    One that begins as an expanding image is rather of that kind, whose file is shorter than its disk: those who read it
    go by the descriptor and warn, those who change it pass ``refuse_contradictions``.
    """
    for number, (_start, length) in enumerate(state.parts):
        image = state.images[(number, guid)]
        if image.header is None and image.size < length and image.contradiction is None and not force:
            hint = "Restore the whole file, or set force: true to take what is there."
            if guid != state.tree.top:
                hint = "When the disk became larger after the snapshot was taken, nothing is missing: set force: true."
                hint += " Else restore the whole file, or set force: true to take what is there."
            raise Misfit(
                "A plain image is shorter than the disk; what is missing would read as zeros",
                path=image.path,
                expected=length,
                found=image.stat.size,
                hint=hint,
            )


def warnings_for_readers(state: BundleState) -> Tuple[str, ...]:
    """What somebody must know who reads the disk to use a copy instead of it."""
    place = state.location.directory if state.is_bundle else state.location.descriptor
    found = list(state.warnings)
    found += [
        f"{image.path}: the image is marked as in use; the disk was not closed cleanly, and the copy is like that of a"
        " machine that lost its power."
        for image in state.images.values()
        if image.is_dirty
    ]
    if is_suspended(state):
        found.append(f"{place}: the virtual machine is suspended; what its memory holds is not on the disk.")
    if state.journal is not None:
        found.append(f"{place}: a change of the disk was interrupted; the next change finishes it.")
    if state.surroundings is not None:
        found += [*state.surroundings.machine.warnings, *state.surroundings.unknown]
    return tuple(found)


def warnings_of_flocks(port: Port, places: Iterable[str]) -> Tuple[str, ...]:
    """What somebody must know who reads these files and folders while others keep them for themselves by a ``flock``,
    which does not tell whether they write. A shared one is that of a reader.
    """
    found = port.holders(list(places))
    held = {holder.owner: path for path, holder in found if holder.kind == "flock" and not holder.is_shared}
    return tuple(
        f"{path}: {owner} keeps it for itself by a flock; if it writes meanwhile, the copy is a mixture of before and"
        " after. Stop it and run again if it may have written."
        for owner, path in held.items()
    )


def minds_holes(state: BundleState) -> bool:
    """Whether the disk is of ploop or Virtuozzo, some of which refuse files with holes (format reference, 1.4)."""
    return state.is_bundle and (state.descriptor.version is None or state.descriptor.root_name.startswith("Virtuozzo"))
