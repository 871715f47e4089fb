# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The envelope of every change inside a disk: locks, fingerprint, room, journal, commit, removals, clean-up.

::

    journal    what is about to happen                           taken back by recovery until the commit
    before     new files; what no reader sees
    commit     one atomic step: the change is true
    after      what nobody counts on any more
    removals   of the images that are no longer named            finished by recovery
    journal    goes
    apart      changes of which every prefix is the same disk

A change without a commit has steps of which every prefix is the same disk to its readers; recovery ends it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, Optional, Tuple, TypeVar

from .._bundle.bundle import BundleState
from .._bundle.guards import Clearance, refuse_linked, refuse_standing
from .._core.plan import Cleanup, Fingerprint, Plan, ReplaceFile, Step
from .._core.records import dataclass, replace
from .._io.journal import Journal
from .journal import journal_end_steps, journal_step
from .new_files import nothing_at

if TYPE_CHECKING:
    from .._bundle.machine_edit import MachineEdit

SMALL_CHANGES = 1 << 16
"""Room for the journal and the growth of tables and directories, where nothing else is written."""


@dataclass(frozen=True)
class ChangeFacts:
    """What every change predicts: the disk ``after`` it."""

    after: BundleState


Facts = TypeVar("Facts", bound=ChangeFacts)


@dataclass(frozen=True)
class BundleChange:
    """What one operation does inside a disk, without what surrounds it.

    ``journal`` is written first; without one, a journal that is there already is ended if ``ends_journal`` says so.
    ``created`` are names of new files, ``discarded`` paths that go after the commit, ``temporaries`` paths that a
    failed step must not leave, ``replaced`` images whose name a complete copy takes. ``hidden`` and ``settled`` are
    those of ``Plan``. ``needed`` bytes must be free, beside what the envelope itself takes. ``machine`` is what the
    configuration of the virtual machine becomes with the commit, ``witnesses`` are other files that must not change.
    """

    operation: str
    journal: Optional[Journal] = None
    ends_journal: bool = True
    before: Tuple[Step, ...] = ()
    commit: Optional[Step] = None
    after: Tuple[Step, ...] = ()
    apart: Tuple[Step, ...] = ()
    created: Tuple[str, ...] = ()
    discarded: Tuple[str, ...] = ()
    temporaries: Tuple[str, ...] = ()
    hidden: Tuple[str, ...] = ()
    settled: Tuple[str, ...] = ()
    replaced: Tuple[str, ...] = ()
    needed: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bytes_freed: int = 0
    bytes_scanned: int = 0
    warnings: Tuple[str, ...] = ()
    machine: Optional[MachineEdit] = None
    witnesses: Fingerprint = ()


def bundle_plan(clearance: Clearance, change: BundleChange, facts: Facts) -> Plan[Facts]:
    """The plan of a change: it locks every image of the disk's own, and goes stale when one of them changes."""
    if change.machine is not None:
        change = _with_machine(change, change.machine)
    state = clearance.state
    in_place = change.hidden + change.settled
    refuse_standing(state, (*in_place, *change.discarded), force=clearance.force)
    refuse_linked(state, in_place)
    directory = state.location.directory
    opening = tuple(_opening(state, change))
    temporaries = [path.rsplit("/", 1)[-1] for path in change.temporaries]
    return Plan(
        change.operation,
        opening + tuple(_closing(state, change)),
        fingerprint=state.fingerprint + change.witnesses + nothing_at(state, (*change.created, *temporaries)),
        lock_directories=(directory,) if state.is_bundle else (),
        lock_files=own_images(state),
        space=((directory, change.needed + _room_of_descriptor(state, change)),),
        bytes_read=change.bytes_read,
        bytes_written=change.bytes_written,
        bytes_freed=change.bytes_freed,
        bytes_scanned=change.bytes_scanned,
        cleanup=Cleanup(remove=change.temporaries, disk=directory if state.is_bundle else state.location.descriptor),
        warnings=change.warnings,
        commit=None if change.commit is None else len(opening),
        hidden=change.hidden + change.replaced,
        settled=change.settled,
        facts=facts,
    )


def _with_machine(change: BundleChange, edit: MachineEdit) -> BundleChange:
    # Hardly a change is of the machine, too.
    from .machine import finish_step, machine_request, prepare_steps

    journal = change.journal
    if journal is not None:
        journal = replace(journal, request={**(journal.request or {}), **machine_request(edit)})
    return replace(
        change,
        journal=journal,
        before=prepare_steps(edit) + change.before,
        after=(finish_step(edit), *change.after),
        temporaries=(*change.temporaries, edit.temporary),
        settled=(*change.settled, edit.config),
        needed=change.needed + len(edit.content),
        witnesses=change.witnesses + edit.before,
    )


def unchanged(operation: str, facts: Facts) -> Plan[Facts]:
    """The empty plan: the disk already is as requested."""
    return Plan(operation, facts=facts)


def own_images(state: BundleState) -> Tuple[str, ...]:
    """The paths of the images that belong to the disk; those outside of it are never changed or locked."""
    return tuple(image.path for image in state.images.values() if not image.outside)


def _opening(state: BundleState, change: BundleChange) -> Iterator[Step]:
    if change.journal is not None:
        yield journal_step(state, change.journal)
    yield from change.before


def _closing(state: BundleState, change: BundleChange) -> Iterator[Step]:
    if change.commit is not None:
        yield change.commit
    yield from change.after
    if change.ends_journal:
        yield from journal_end_steps(state, change.discarded)
    yield from change.apart


def _room_of_descriptor(state: BundleState, change: BundleChange) -> int:
    """A new descriptor stands beside the old one until it takes its name."""
    return 2 * len(state.xml) if isinstance(change.commit, ReplaceFile) else 0
