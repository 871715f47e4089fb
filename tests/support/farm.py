# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks as they are on a host with many virtual machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

from ansible_collections.vdisk.parallels.tests.support.bundles import (
    TOP,
    BuiltBundle,
    Layer,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine

MIB = 1 << 20
ONE, TWO, THREE = guid_of(1), guid_of(2), guid_of(3)
CHAIN = line_of_layers({0: fill(0, MIB), 5: bytes(MIB)}, {1: fill(1, MIB)}, {2: fill(2, MIB)}, {0: fill(3, MIB)})


def machine(folder: str, **options: Any) -> BuiltBundle:
    """A machine at ``folder`` with a disk of three snapshots and a cluster of zeros in the first of them."""
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    make_machine(folder, disk="a.hdd", size_mib=8, **options)
    return build_bundle(f"{folder}/a.hdd", size_sectors=8 * 2048, layers=CHAIN)


def clone_of(built: BuiltBundle, path: str) -> str:
    """A disk at ``path`` that stands on the first layer of another one."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    made = build_bundle(path, size_sectors=8 * 2048, layers=[Layer(ONE), Layer(TOP, ONE)])
    descriptor = Path(made.directory, "DiskDescriptor.xml")
    descriptor.write_text(descriptor.read_text().replace(os.path.basename(made.files[(0, ONE)]), built.files[(0, ONE)]))
    return made.directory


def break_down(built: BuiltBundle) -> None:
    """Leave nothing of the descriptor that could be read."""
    Path(built.directory, "DiskDescriptor.xml").write_text("<broken")


def by_path(result: Dict[str, Any], key: str = "outcome") -> Dict[str, Any]:
    """One value of each disk in a result of hdd_maintain."""
    return {one["path"]: one[key] for one in result["disks"]}
