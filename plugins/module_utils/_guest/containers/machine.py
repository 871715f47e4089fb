# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disk of a virtual machine that is named as a whole (``.pvm``, ``.macvm``)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import List, Optional

from ..._bundle.naming import DESCRIPTOR, MACHINE_SUFFIXES, without_suffix
from ..._bundle.paths import is_inside
from ..._bundle.pvm import CONFIG, disks_of
from ..._core.errors import Escape, NotABundle
from ..._io.port import DIRECTORY, FILE, Port


def is_machine(port: Port, path: str) -> bool:
    """Whether a folder is a virtual machine and no disk."""
    name = path.rstrip("/").lower()
    return name.endswith(MACHINE_SUFFIXES) and port.stat(posixpath.join(path, DESCRIPTOR)) is None


def disk_of_machine(port: Port, path: str, wanted: Optional[str]) -> str:
    """The path of the disk that is meant. Raises BadRequest for several, NotABundle for a machine without any."""
    folder = port.real_path(path)
    found = _named(port, folder) or _bundles(port, folder)
    if not found:
        raise NotABundle("The machine has no disk in its folder", path=path, hint="Name the .hdd directory.")
    from .catalog import chosen

    names = [posixpath.basename(disk) for disk in found]
    return found[chosen(path, [(name, without_suffix(name)) for name in names], wanted)]


def _named(port: Port, folder: str) -> List[str]:
    """The disks of the configuration, in its order; machines get moved, so that bare names count, too."""
    stat = port.stat(posixpath.join(folder, CONFIG))
    if stat is None or stat.kind != FILE:
        return []
    found = []
    for name in disks_of(port, folder):
        places = (posixpath.join(folder, name), posixpath.join(folder, posixpath.basename(name)))
        there = [place for place in places if port.stat(place) is not None]
        inside = [place for place in there if is_inside(port.real_path(place), folder)]
        if there and not inside:
            raise Escape(
                "A disk of the machine is outside of its folder",
                path=posixpath.join(folder, CONFIG),
                found=there[0][:255],
                hint=f"If you trust it, name the disk itself: {there[0]}",
            )
        found += inside[:1]
    return list(dict.fromkeys(found))


def _bundles(port: Port, folder: str) -> List[str]:
    places = [posixpath.join(folder, name) for name in port.list_directory(folder)]
    described = [place for place in places if port.stat(posixpath.join(place, DESCRIPTOR)) is not None]
    return [place for place in described if getattr(port.stat(place), "kind", None) == DIRECTORY]
