# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recovery: finish or clear what an interrupted run of this collection left. Only its own traces are touched.

It is never an undo of something that has become true: before the commit, what was created goes and what was marked is
unmarked; after it, the removals are finished; a merge that was changing images in place goes forward to its end.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import struct
from typing import Iterator, List, Optional, Tuple

from ..._bundle.bundle import BundleState, ImageState, observe
from ..._bundle.naming import JOURNAL, classify, is_temporary_of, temporary_name
from ..._bundle.paths import Location, locate
from ..._change.executor import execute
from ..._change.image import header_rewrite_step, table_rewrite_steps
from ..._core.errors import Damaged, Interrupted, InUse, NotFound
from ..._core.plan import Plan, Remove, Resize, Step, Sync, WriteBytes
from ..._core.records import replace
from ..._formats.hds.header import CLOSED, IN_USE_OFFSET
from ..._io.journal import APPLY, ImageBefore, Journal
from ..._io.port import DIRECTORY, SYMLINK, Port
from ..._io.remove import remove_tree

_DISPLACED = "old-"
_U32 = range(1 << 32)


def needs_recovery(state: BundleState) -> bool:
    """Whether an earlier run left a journal or temporaries of its own in the disk's directory."""
    return state.journal is not None or bool(_temporaries(state))


def plan_recovery(port: Port, state: BundleState) -> Plan:
    """The steps that end an interrupted run; empty when there is nothing to end."""
    if not needs_recovery(state):
        return Plan("recover")
    journal = state.journal
    if (
        journal is not None
        and journal.phase == APPLY
        and journal.operation == "merge"
        and not _is_merged(state, journal)
    ):
        return _repeat_merge(port, state, journal)
    own = tuple(image.path for image in state.images.values() if not image.outside)
    return Plan(
        "recover",
        tuple(_steps(port, state, journal)),
        state.fingerprint,
        lock_directories=(state.location.directory,) if state.is_bundle else (),
        lock_files=own,
        facts={"what": journal.operation if journal is not None else "temporary files"},
    )


def recover(port: Port, location: Location, *, allow_outside: bool = False) -> Tuple[str, ...]:
    """Bring the disk at ``location`` to order, under lock; returns what was done, in sentences for the user."""
    done: List[str] = []
    while True:
        state = observe(port, location, allow_outside=allow_outside)
        plan = plan_recovery(port, state)
        if plan.is_empty:
            return tuple(done)
        if len(done) > 2:
            raise Interrupted(
                "An interrupted run cannot be finished", path=state.journal_path, hint="Look at the disk with hdd_info."
            )
        execute(port, plan)
        ending = "finished" if plan.operation == "merge" else "cleared up"
        done.append(
            f"{location.directory}: an interrupted run ({plan.facts.get('what', plan.operation)}) was found and {ending}."
        )


def take_back(port: Port, directory: str) -> Optional[str]:
    """After a failed step of a run that still holds the lock: clear what a recovery without moving data can clear.

    Returns advice for what it cannot.
    """
    state = observe(port, locate(port, directory), allow_outside=True)
    plan = plan_recovery(port, state)
    if plan.operation == "recover" and not plan.is_empty:
        execute(port, Plan("recover", plan.steps))
    return (
        None
        if plan.operation == "recover"
        else "The disk shows what it should; the next run that changes it finishes the merge."
    )


def _is_merged(state: BundleState, journal: Journal) -> bool:
    return not any(guid in state.tree.shots for guid in _removals(state, journal))


def _removals(state: BundleState, journal: Journal) -> List[str]:
    """The snapshots that a merge was removing, as far as a journal may be believed. Raises Damaged."""
    removals = (journal.request or {}).get("removals", [])
    if not isinstance(removals, list) or not all(isinstance(guid, str) and guid != state.tree.top for guid in removals):
        raise _misfit(state)
    return removals


def _misfit(state: BundleState) -> Damaged:
    return Damaged(
        "The journal of an interrupted merge does not fit the disk",
        path=state.journal_path,
        hint="Look at the disk with hdd_info.",
    )


def _repeat_merge(port: Port, state: BundleState, journal: Journal) -> Plan:
    # Loaded only when there is a merge to end.
    from ..snapshots.merge import plan_merge

    removals, receivers = _removals(state, journal), (journal.request or {}).get("receivers", {})
    if not isinstance(receivers, dict) or not all(guid in state.tree.shots for guid in removals):
        raise _misfit(state)
    directory = state.location.directory
    marked = {before.name for before in journal.images}
    ours = tuple(image.path for image in state.images.values() if image.path.rsplit("/", 1)[-1] in marked)
    half_made = tuple(name for name in journal.created if name in state.others and _may_remove(name))
    # New images get the names that the journal knows once more, so that a further run finds them.
    cleared = replace(state, others=tuple(name for name in state.others if name not in half_made))
    plan = plan_merge(port, cleared, removals, receivers=receivers, ours=ours)
    clears: Tuple[Step, ...] = (
        (Remove(tuple(f"{directory}/{name}" for name in half_made), directory),) if half_made else ()
    )
    return replace(
        plan, steps=(_settle_step(directory),) + clears + plan.steps, fingerprint=state.fingerprint
    ).with_facts(what="merge")


def _settle_step(directory: str) -> Step:
    """Names that a killed run has left may be in the cache alone: what is built on them must not reach the medium
    before them.
    """
    return Sync(directories=(directory,))


def _steps(port: Port, state: BundleState, journal: Optional[Journal]) -> Iterator[Step]:
    directory = state.location.directory
    if journal is not None:
        yield _settle_step(directory)
    removed = [f"{directory}/{name}" for name in _temporaries(state)]
    if journal is not None:
        yield from _image_end_steps(port, state, journal)
        removed += [
            f"{directory}/{name}"
            for name in journal.created + journal.discarded
            if name in state.others and _may_remove(name)
        ]
    if removed:
        yield Remove(tuple(removed), directory)
    if journal is not None:
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
    """Unmark an image; in the first phase also cut off what was added, but never a cluster that its table names."""
    if image.header is None:
        return
    if cut and image.table is not None and image.table.data_end <= before.size < image.stat.size:
        yield Resize(image.path, before.size)
    if not cut:
        yield from table_rewrite_steps(port, image)
    yield header_rewrite_step(image)
    if image.is_dirty:
        yield WriteBytes(
            image.path, IN_USE_OFFSET, struct.pack("<I", before.in_use if cut and before.in_use in _U32 else CLOSED)
        )


def _may_remove(name: str) -> bool:
    """A journal may only make us remove what images of a bundle are called."""
    return classify(name) == "image"


def _temporaries(state: BundleState) -> Tuple[str, ...]:
    journal_name = state.journal_path.rsplit("/", 1)[-1]
    return tuple(name for name in state.others if classify(name) == "ours" and name != journal_name)


def clear_siblings(port: Port, path: str) -> Tuple[str, ...]:
    """End what runs that were building, replacing or removing ``path`` left beside it; what a live run holds is left
    alone.

    A disk that was moved aside and has no successor gets its name back. Returns what was done.
    """
    directory, base = path.rsplit("/", 1)
    stat = port.stat(directory or "/")
    if stat is None or stat.kind != DIRECTORY:
        return ()
    done = []
    leftovers = [name for name in port.list_directory(directory or "/") if is_temporary_of(name, base)]
    if leftovers:
        # A disk that was put in the place of another must be there for good before the other one goes.
        port.sync_directory(directory or "/")
    for name in leftovers:
        leftover = f"{directory}/{name}"
        entry = port.lstat(leftover)
        if entry is not None and entry.kind == SYMLINK:
            # We make no links; wherever it leads, only the link goes.
            port.remove(leftover)
            done.append(f"{path}: a link with the name of a temporary was removed.")
            continue
        try:
            lock = _hold(port, leftover)
        except (InUse, NotFound):
            # Another run is at work with it, or has ended just now.
            continue
        try:
            if port.lstat(path) is None and name.startswith(displaced_prefix(base)):
                port.rename(leftover, path)
                done.append(f"{path}: the disk got its name back after an interrupted replacement.")
            else:
                _end(port, leftover)
                done.append(f"{path}: what an interrupted run had left beside it was removed.")
        finally:
            lock.release()
    if done:
        port.sync_directory(directory or "/")
    return tuple(done)


def _end(port: Port, leftover: str) -> None:
    if port.lstat(f"{leftover}/{JOURNAL}") is not None:
        # Only outputs of several files keep a journal while they are built.
        from ..._change.publish import settle

        settle(port, leftover)
    else:
        remove_tree(port, leftover)


def _hold(port: Port, path: str):  # type: ignore[no-untyped-def]
    stat = port.lstat(path)
    return port.lock((path,), ()) if stat is not None and stat.kind == DIRECTORY else port.lock((), (path,))


def displaced_prefix(base: str) -> str:
    """How the temporary names of disks that were moved aside begin."""
    return temporary_name(base, _DISPLACED).rsplit(".tmp", 1)[0]


def displaced_name(path: str, token: str) -> str:
    """Where the disk at ``path`` is kept while its successor takes its name."""
    directory, base = path.rsplit("/", 1)
    return f"{directory}/{temporary_name(base, _DISPLACED + token)}"
