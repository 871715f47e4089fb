# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshot a user means: by GUID, by the virtual machine's name for it, or by a name of the user's own."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Mapping

from ..._bundle.bundle import BundleState
from ..._bundle.tree import resolve
from ..._core import guid as guids
from ..._core.errors import NoSuchSnapshot


def snapshot_guid(state: BundleState, name: str) -> str:
    """The GUID that ``name`` stands for on this disk: it depends on the disk's UID and the name alone."""
    return guids.derive("snapshot", state.descriptor.uid or guids.NONE, name)


def known_names(state: BundleState, vm_names: Mapping[str, str]) -> Mapping[str, str]:
    """What snapshots of the disk are called: by users here, or by the virtual machine, whose names come first."""
    own = {guid: note.name for guid, note in state.notes.items() if note.name and guid in state.tree.shots}
    return {**own, **vm_names}


def wanted_guid(state: BundleState, name_or_guid: str, vm_names: Mapping[str, str]) -> str:
    """The GUID that is meant: of an existing snapshot, of one of the virtual machine that this disk lacks, or the one
    that the name would get.

    Raises NoSuchSnapshot for a name that several snapshots of the disk have.
    """
    known = known_names(state, vm_names)
    try:
        return resolve(state.tree, name_or_guid, names=known, path=state.location.directory)
    except NoSuchSnapshot:
        if guids.is_guid(name_or_guid):
            return guids.normalise(name_or_guid)
        named = [guid for guid, name in known.items() if name == name_or_guid]
        if any(guid in state.tree.shots for guid in named):
            raise
        own = snapshot_guid(state, name_or_guid)
        return named[0] if named and own not in state.tree.shots else own
