# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps that every change inside a disk's directory shares: its journal and the descriptor's replacement."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Sequence, Tuple

from .._bundle.bundle import BundleState
from .._bundle.descriptor import Descriptor
from .._bundle.naming import temporary_name
from .._core.plan import Remove, ReplaceFile
from .._io.journal import Journal, pack_journal


def journal_step(state: BundleState, journal: Journal) -> ReplaceFile:
    """The durable note of what is about to happen; it replaces that of an earlier phase."""
    return ReplaceFile(state.journal_path, pack_journal(journal), _temporary(state.journal_path))


def descriptor_step(state: BundleState, target: Descriptor) -> ReplaceFile:
    """The commit of a change inside a bundle: the descriptor as it is, but for what ``target`` says."""
    # A task that finds nothing to do need not load what edits documents.
    from .._bundle.descriptor_edit import apply

    content = apply(state.xml, target, path=state.location.descriptor)
    return ReplaceFile(state.location.descriptor, content, _temporary(state.location.descriptor))


def journal_end_steps(state: BundleState, discarded: Sequence[str] = ()) -> Tuple[Remove, ...]:
    """The end of a change: the journal goes only when the removal of the ``discarded`` paths is durable."""
    directory = state.location.directory
    first = (Remove(tuple(discarded), directory),) if discarded else ()
    return first + (Remove((state.journal_path,), directory),)


def _temporary(path: str) -> str:
    directory, name = path.rsplit("/", 1)
    return f"{directory}/{temporary_name(name, 'new')}"
