# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks of a machine that is to be packed: a box with half a disk looks fine until the original is gone."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import List, NamedTuple, Tuple

from ..._bundle.bundle import BundleState, observe
from ..._bundle.find import bundles_in
from ..._bundle.guards import (
    Touches,
    check_guards,
    is_suspended,
    refuse_cut_source,
    refuse_dirty,
    warnings_for_readers,
    warnings_of_flocks,
)
from ..._bundle.neighbours import Standing, with_surroundings
from ..._bundle.paths import Location, is_inside, locate
from ..._bundle.pvm import CONFIG, disks_of
from ..._core.errors import Escape, Interrupted, MissingImage
from ..._core.plan import Fingerprint
from ..._io.port import Port


class MachineDisks(NamedTuple):
    """What must not change while the machine is packed, and what its user should know."""

    fingerprint: Fingerprint
    warnings: Tuple[str, ...]


def examine_disks(port: Port, machine: str, *, force: bool = False) -> MachineDisks:
    """Look at every disk in the machine and at every one that its configuration names.

    Raises what keeps a disk from being whole: Escape, MissingImage, InUse, Dirty (unless forced), Interrupted, Misfit.
    """
    disks = {*bundles_in(port, machine, recurse=False), *_named(port, machine)} - {machine}
    fingerprint: Fingerprint = ()
    warnings: List[str] = []
    standing = Standing(port)
    for path in sorted(disks):
        state, _around = with_surroundings(port, _observed(port, locate(port, path)), path, standing=standing)
        _refuse(state, force=force)
        fingerprint += state.fingerprint
        warnings += warnings_for_readers(state)
        warnings += warnings_of_flocks(port, [path, *(image.path for image in state.images.values())])
    return MachineDisks(fingerprint, tuple(dict.fromkeys(warnings)))


def _observed(port: Port, location: Location) -> BundleState:
    try:
        return observe(port, location)
    except Escape as error:
        error.hint = "Make the disk one of its own first, with hdd_convert and allow_outside: true."
        raise


def _named(port: Port, machine: str) -> List[str]:
    found = []
    for name in disks_of(port, machine):
        path = posixpath.normpath(posixpath.join(machine, name))
        if not is_inside(path, machine) and is_inside(port.real_path(path), machine):
            # The configuration names it through a link to the machine.
            path = port.real_path(path)
        if not is_inside(path, machine):
            moved = posixpath.join(machine, posixpath.basename(name))
            if port.stat(path) is not None or port.stat(moved) is None:
                raise Escape(
                    "A disk of the machine is outside of its folder and would not be in the box",
                    path=posixpath.join(machine, CONFIG),
                    found=name[:255],
                    hint="Move the disk into the machine, or remove it from the configuration.",
                )
            path = moved
        if port.stat(path) is None:
            raise MissingImage(
                "A disk that the machine's configuration names is missing",
                path=path,
                found=name[:255],
                hint="Restore it, or remove it from the configuration.",
            )
        found.append(port.real_path(path))
    return found


def _refuse(state: BundleState, *, force: bool) -> None:
    if state.journal is not None:
        raise Interrupted(
            "A change of the disk was interrupted; a box would hold it half changed",
            path=state.location.directory,
            hint="Finish it with any module that changes the disk, such as hdd_merge.",
        )
    refuse_dirty(state, force=force)
    # A box of a suspended machine is whole: it holds the saved memory, too.
    check_guards(state, Touches(), force=force or is_suspended(state))
    refuse_cut_source(state, state.tree.top, force=force)
