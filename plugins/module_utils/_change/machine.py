# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of a virtual machine that changes with its disk.

The new file is complete before the commit of the disk's change, which proves that it can be written; it gets its name
after it. The journal says what it is to become, so that a run that is cut off in between is finished.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Any, Dict, Iterator, Optional, Tuple

from .._bundle.bundle import BundleState
from .._bundle.machine.edit import DiskValues, MachineEdit, config_of, machine_edit
from .._bundle.naming import temporary_name
from .._bundle.pvm import CONFIG
from .._core.errors import DiskError
from .._core.plan import CreateFile, Plan, Remove, Rename, ReplaceFile, Step, Sync, WriteBytes
from .._io.port import DIRECTORY, Port


def machine_request(edit: MachineEdit) -> Dict[str, Any]:
    """What the journal says of it: values; and the path of a configuration that is not beside the disk, for only that
    one stays where it is when the disk is moved.
    """
    values = {"size": edit.values.size, "kind": edit.values.kind, "split": edit.values.is_split}
    return {"machine": values if edit.is_beside else {**values, "config": edit.config}}


def prepare_steps(edit: MachineEdit) -> Tuple[Step, ...]:
    """The new file, complete under another name."""
    return (
        CreateFile(edit.temporary, 0, like=edit.config),
        WriteBytes(edit.temporary, 0, edit.content),
        Sync(files=(edit.temporary,), directories=(posixpath.dirname(edit.config),)),
    )


def finish_step(edit: MachineEdit) -> Rename:
    """The new file takes the name of the old."""
    return Rename(edit.temporary, edit.config)


def replace_step(edit: MachineEdit) -> ReplaceFile:
    """Both at once, where there is nothing else that changes."""
    return ReplaceFile(edit.config, edit.content, edit.temporary)


def machine_end_steps(port: Port, state: BundleState, request: object) -> Iterator[Step]:
    """The end of an interrupted change, by what the journal says: the new file, when the disk is what it was to become.

    A file that cannot be changed any more stays; a check finds the difference.
    """
    config = _config(state, request)
    folder, name = posixpath.split(config)
    there = port.lstat(folder)
    if there is None or there.kind != DIRECTORY:
        return
    temporary = posixpath.join(folder, temporary_name(name, "new"))
    # A name that a killed run gave may be in the cache alone.
    yield Sync(directories=(folder,))
    values = _values(request)
    if values is not None and _is_done(state, values):
        try:
            edit = machine_edit(port, state.location, values, configs=(config,))
        except DiskError:
            edit = None
        if edit is not None:
            yield replace_step(edit)
            return
    if port.lstat(temporary) is not None:
        yield Remove((temporary,), folder)


def _config(state: BundleState, request: object) -> str:
    """The configuration that a journal means: a file of that name, whatever it says."""
    named = request.get("config") if isinstance(request, dict) else None
    is_path = isinstance(named, str) and named.startswith("/") and posixpath.basename(named) == CONFIG
    return named if is_path and isinstance(named, str) and "\0" not in named else config_of(state.location)


def _values(request: object) -> Optional[DiskValues]:
    if not isinstance(request, dict):
        return None
    size, kind, split = request.get("size"), request.get("kind"), request.get("split")
    is_known = (
        isinstance(size, int) and size > 0 and kind in (None, "plain", "expanding") and split in (None, True, False)
    )
    return DiskValues(size, kind, split) if is_known and isinstance(size, int) else None


def _is_done(state: BundleState, values: DiskValues) -> bool:
    kinds = {image.kind for image in state.layer(state.tree.current_chain[-1])}
    has_kind = values.kind is None or kinds == {values.kind}
    has_parts = values.is_split is None or (len(state.descriptor.storages) > 1) == values.is_split
    return state.descriptor.size_bytes == values.size and has_kind and has_parts


def changes_machine(plan: Plan[Any], config: str) -> bool:
    """Whether a plan gives the configuration another content."""
    return any(
        (isinstance(step, Rename) and step.new == config) or (isinstance(step, ReplaceFile) and step.path == config)
        for step in plan.steps
    )
