# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the host lets a plan write where its steps write: asked before the first step, and in check mode."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, List, Tuple

from .._core.plan import (
    CopyRanges,
    CreateFile,
    MakeDirectory,
    Plan,
    PunchHoles,
    Remove,
    Rename,
    ReplaceFile,
    Resize,
    WriteBytes,
)
from .._io.port import DIRECTORY, Port


def refuse_unwritable(port: Port, plan: Plan[Any]) -> None:
    """Raise NoPermission or ReadOnly for what the steps write, where the host is known to refuse it."""
    for path in written_places(plan):
        refuse_place(port, path)
    for path in _emptied(plan):
        there = port.lstat(path)
        if there is not None and there.kind == DIRECTORY:
            refuse_place(port, path)
            for name in port.list_directory(path):
                _refuse_loss(port, f"{path}/{name}")
    for path in lost_names(plan):
        _refuse_loss(port, path)


def refuse_place(port: Port, path: str) -> None:
    """Raise NoPermission or ReadOnly for a file, or a directory in which names would change."""
    refusal = port.write_refusal(path)
    if refusal is not None:
        raise refusal


def refuse_content(port: Port, path: str) -> None:
    """Raise NoPermission or ReadOnly for a file that is to be made or replaced in its folder."""
    refuse_place(port, _folder(path))
    _refuse_loss(port, path)


def written_places(plan: Plan[Any]) -> Tuple[str, ...]:
    """The files that the steps write, and the directories in which they change names, in their order.

    Some are made by an earlier step.
    """
    places: List[str] = []
    for step in plan.steps:
        if isinstance(step, (WriteBytes, CopyRanges, Resize, PunchHoles)):
            places.append(step.path)
        elif isinstance(step, (MakeDirectory, CreateFile, ReplaceFile)):
            places.append(_folder(step.path))
        elif isinstance(step, Rename):
            places.append(_folder(step.new))
        elif isinstance(step, Remove):
            places.append(step.directory)
    return tuple(dict.fromkeys(places))


def _refuse_loss(port: Port, path: str) -> None:
    refusal = port.removal_refusal(path)
    if refusal is not None:
        raise refusal


def lost_names(plan: Plan[Any]) -> Tuple[str, ...]:
    """The paths of which the steps remove, rename or replace the name, in their order. Some are made by an earlier
    step, and have no name before.
    """
    names: List[str] = []
    for step in plan.steps:
        if isinstance(step, ReplaceFile):
            names.append(step.path)
        elif isinstance(step, Rename):
            names += [step.old, step.new]
        elif isinstance(step, Remove):
            names += step.paths
    return tuple(dict.fromkeys(names))


def _folder(path: str) -> str:
    return path.rsplit("/", 1)[0] or "/"


def _emptied(plan: Plan[Any]) -> List[str]:
    """What is renamed and goes then, under the name that it has now; of a directory each name goes on its own."""
    names = {step.new: step.old for step in plan.steps if isinstance(step, Rename)}
    names.update({step.displaced: step.new for step in plan.steps if isinstance(step, Rename) and step.displaced})
    removed = [path for step in plan.steps if isinstance(step, Remove) for path in step.paths]
    return [names[path] for path in removed if path in names]
