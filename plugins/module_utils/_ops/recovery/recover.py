# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recovery: finish or clear what an interrupted run of this collection left. Only its own traces are touched.

It is never an undo of something that has become true: before the commit, what was created goes and what was marked is
unmarked; after it, the removals are finished; a merge that was changing images in place goes forward to its end.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState, ImageState, observe
from ..._bundle.guards import recovery_clearance, refuse_linked, refuse_standing
from ..._bundle.leftovers import needs_recovery, temporaries
from ..._bundle.naming import classify
from ..._bundle.paths import Location, locate
from ..._change.bundle_plan import BundleChange, ChangeFacts, bundle_plan, unchanged
from ..._change.executor import execute
from ..._change.image import header_rewrite_step, table_rewrite_steps
from ..._core.errors import Damaged, Escape, Interrupted
from ..._core.plan import Cleanup, CopyRanges, Plan, Remove, Resize, Step, Sync, WriteBytes
from ..._core.records import dataclass, replace
from ..._formats.hds.header import CLOSED, IN_USE_OFFSET
from ..._io.journal import APPLY, ImageBefore, Journal
from ..._io.port import Port
from .written_since import was_written_since

if TYPE_CHECKING:
    from ..._bundle.neighbours import Vicinity

_U32 = range(1 << 32)
_MOST_RUNS = 3


@dataclass(frozen=True)
class RecoveryFacts(ChangeFacts):
    """What was interrupted, in words for the user."""

    what: str


def plan_recovery(port: Port, state: BundleState, *, force: bool = False) -> Plan[RecoveryFacts]:
    """The steps that end an interrupted run; empty when there is nothing to end.

    Raises Dirty for a merge that goes forward while others have left a mark in another image, and SharedLayer when a
    linked clone stands on what would be rewritten or removed, both unless forced; SharedLayer also for what would be
    rewritten and has a second name.
    """
    journal = state.journal
    if not needs_recovery(state):
        return unchanged("recover", RecoveryFacts(state, ""))
    if (
        journal is not None
        and (journal.phase, journal.operation) == (APPLY, "merge")
        and not _is_merged(state, journal)
    ):
        return _repeat_merge(port, state, journal, force)
    steps = tuple(_steps(port, state, journal))
    _refuse_shared(state, steps, force=force)
    change = BundleChange("recover", ends_journal=False, apart=steps)
    what = journal.operation if journal is not None else "temporary files"
    plan = bundle_plan(recovery_clearance(state), change, RecoveryFacts(state, what))
    # It only removes, and must not trigger itself.
    return replace(plan, space=(), cleanup=Cleanup())


def _refuse_shared(state: BundleState, steps: Sequence[Step], *, force: bool) -> None:
    """Others may have come to stand on the files since the run was cut off."""
    rewritten = [step.path for step in steps if isinstance(step, (WriteBytes, CopyRanges, Resize))]
    removed = [path for step in steps if isinstance(step, Remove) for path in step.paths]
    refuse_standing(state, (*rewritten, *removed), force=force)
    refuse_linked(state, rewritten)


def recover(
    port: Port,
    location: Location,
    *,
    allow_outside: bool = False,
    copies_outside: bool = True,
    force: bool = False,
    vicinity: Optional[Vicinity] = None,
) -> Tuple[str, ...]:
    """Put the disk at ``location`` in order, under lock; returns what was done, in sentences for the user.

    With ``vicinity``, linked clones around the disk are looked for. Without ``copies_outside`` a merge that would copy
    from images outside of the bundle raises Escape.
    """
    done: List[str] = []
    runs = 0
    while True:
        runs += 1
        state = observe(port, location, allow_outside=allow_outside)
        if vicinity is not None:
            state = _with_surroundings(port, state, vicinity)
        plan = plan_recovery(port, state, force=force)
        if plan.operation == "merge" and not copies_outside:
            _refuse_outside(state)
        if plan.is_empty:
            return tuple(done)
        if runs > _MOST_RUNS:
            raise Interrupted(
                "An interrupted run cannot be finished", path=state.journal_path, hint="Look at the disk with hdd_info."
            )
        execute(port, plan)
        ending = "finished" if plan.operation == "merge" else "cleared up"
        done.append(f"{location.directory}: an interrupted run ({plan.facts.what}) was found and {ending}.")
        done += plan.warnings


def _refuse_outside(state: BundleState) -> None:
    for image in state.images.values():
        if image.outside:
            raise Escape(
                "To end an interrupted merge is to copy from an image outside of the bundle",
                path=state.location.descriptor,
                found=image.path,
                hint="Set allow_outside: true if it belongs to the disk.",
            )


def _with_surroundings(port: Port, state: BundleState, vicinity: Vicinity) -> BundleState:
    # Hardly a disk is in the middle of a change.
    from ..._bundle.neighbours import with_surroundings

    return with_surroundings(port, state, vicinity.named, standing=vicinity.standing)[0] if state.journal else state


def take_back(port: Port, directory: str) -> Optional[str]:
    """After a failed step of a run that still holds the lock: recover what needs no moving of data.

    Returns advice for the rest.
    """
    state = observe(port, locate(port, directory), allow_outside=True)
    plan = plan_recovery(port, state)
    if plan.operation != "recover":
        return "The disk shows what it should; the next run that changes it finishes the merge."
    if not plan.is_empty:
        execute(port, Plan("recover", plan.steps))
    return None


def _is_merged(state: BundleState, journal: Journal) -> bool:
    return not any(guid in state.tree.shots for guid in _removals(state, journal))


def _removals(state: BundleState, journal: Journal) -> List[str]:
    """The snapshots that a merge was removing, as far as a journal may be believed. Raises Damaged."""
    removals = (journal.request or {}).get("removals", [])
    if not isinstance(removals, list) or not all(isinstance(guid, str) and guid != state.tree.top for guid in removals):
        raise _misfit(state)
    return removals


def _misfit(state: BundleState) -> Damaged:
    text, hint = "The journal of an interrupted merge does not fit the disk", "Look at the disk with hdd_info."
    return Damaged(text, path=state.journal_path, hint=hint)


def _repeat_merge(port: Port, state: BundleState, journal: Journal, force: bool) -> Plan[RecoveryFacts]:
    # Loaded only when there is a merge to end.
    from ..snapshots.merge import Repetition, plan_merge

    removals, receivers = _removals(state, journal), (journal.request or {}).get("receivers", {})
    if not isinstance(receivers, dict) or not all(guid in state.tree.shots for guid in removals):
        raise _misfit(state)
    marked = {before.name for before in journal.images}
    ours = tuple(image.path for image in state.images.values() if image.path.rsplit("/", 1)[-1] in marked)
    refuse_linked(state, ours)
    half_made = _present(state, journal.created)
    # New images get the names in the journal again, so that a further run finds them.
    cleared = replace(state, others=tuple(name for name in state.others if name not in half_made))
    plan = plan_merge(port, cleared, removals, force=force, repeats=Repetition(receivers, ours))
    directory = state.location.directory
    begin: Tuple[Step, ...] = (_settle_step(directory),)
    if half_made:
        begin += (Remove(tuple(f"{directory}/{name}" for name in half_made), directory),)
    return Plan(
        plan.operation,
        begin + plan.steps,
        state.fingerprint,
        plan.lock_directories,
        plan.lock_files,
        plan.space,
        cleanup=plan.cleanup,
        commit=None if plan.commit is None else len(begin) + plan.commit,
        hidden=plan.hidden,
        warnings=plan.warnings,
        facts=RecoveryFacts(plan.facts.after, "merge"),
    )


def _settle_step(directory: str) -> Step:
    """Names that a killed run left may be in the cache alone: they must reach the medium before what needs them."""
    return Sync(directories=(directory,))


def _steps(port: Port, state: BundleState, journal: Optional[Journal]) -> Iterator[Step]:
    directory = state.location.directory
    if journal is not None:
        yield _settle_step(directory)
    removed = [f"{directory}/{name}" for name in temporaries(state)]
    if journal is not None:
        yield from _image_end_steps(port, state, journal)
        removed += [f"{directory}/{name}" for name in _present(state, journal.created + journal.discarded)]
    if removed:
        # First, as what follows may need the space.
        yield Remove(tuple(removed), directory)
    if journal is not None:
        if state.notes_waiting:
            from ..._change.notes import notes_end_steps

            yield from notes_end_steps(state)
        if "machine" in (journal.request or {}):
            from ..._change.machine import machine_end_steps

            yield from machine_end_steps(port, state, journal.request["machine"])
        yield Remove((state.journal_path,), directory)


def _image_end_steps(port: Port, state: BundleState, journal: Journal) -> Iterator[Step]:
    """The images that were being changed are closed, in the shape that fits the descriptor."""
    if journal.operation in ("grow", "shrink"):
        from .resize import resize_end_steps

        yield from resize_end_steps(state, journal)
        return
    by_name = {image.path.rsplit("/", 1)[-1]: image for image in state.images.values() if not image.outside}
    restored = [(by_name[before.name], before) for before in journal.images if before.name in by_name]
    for image, before in restored:
        yield from _restore_steps(port, image, before, cut=journal.phase != APPLY)
    if restored:
        yield Sync(files=tuple(image.path for image, _before in restored))


def _restore_steps(port: Port, image: ImageState, before: ImageBefore, *, cut: bool) -> Iterator[Step]:
    """Unmark an image; in the first phase also cut off what was added, but nothing that somebody wrote since."""
    header = image.header
    if header is None:
        return
    is_ours = not was_written_since(image, before.size)
    if cut and is_ours and before.size < image.stat.size and not _is_needed(image, before.size):
        yield Resize(image.path, before.size)
    if not cut:
        yield from table_rewrite_steps(port, image)
    yield header_rewrite_step(image)
    if image.is_dirty and (is_ours or not cut):
        mark = before.in_use if cut and before.in_use in _U32 else CLOSED
        yield WriteBytes(image.path, IN_USE_OFFSET, struct.pack("<I", mark))


def _is_needed(image: ImageState, length: int) -> bool:
    """Whether a cluster that the table names lies past ``length``."""
    return image.table is None or image.table.data_end > length


def _present(state: BundleState, names: Sequence[str]) -> Tuple[str, ...]:
    """Those of a journal's ``names`` that are there and may be removed: only what has the name of an image."""
    return tuple(name for name in names if name in state.others and classify(name) == "image")
