# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet of hosts with disks of many GiB that take next to no room: their files have tables, and holes where the data
would be.

The names of hosts, machines and snapshots are as bad as they may be, too: some are markup.
"""

from __future__ import annotations

import os
import random
import uuid
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from ansible_collections.vdisk.parallels.plugins.filter.audit_report import audit_report
from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP, Layer, build_bundle
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed

GIB_SECTORS = 2 << 20
EVIL = "<script>alert('snapshot')</script>\"'&amp;"


def guid(text: str) -> str:
    """A GUID that depends on ``text`` alone."""
    return f"{{{uuid.uuid5(uuid.NAMESPACE_DNS, text)}}}"


def clusters(seed: int, gib: int, ranges: Iterable[Tuple[float, float, float]]) -> Dict[int, bytes]:
    """Clusters of 1 MiB in ranges of the disk, each given as begin, end and density; without content, so that they
    are holes.
    """
    chance = random.Random(seed)
    whole = gib << 10
    return {
        n: b""
        for begin, end, dense in ranges
        for n in range(int(whole * begin), int(whole * end))
        if chance.random() < dense
    }


def machine(folder: str, name: str, gib: int, layers: List[Layer], names: Mapping[str, str]) -> None:
    """A virtual machine with one disk; ``names`` are the snapshots that it knows."""
    make_machine(folder, name=name, disk="disk0.hdd", size_mib=gib << 10, snapshots=names)
    build_bundle(os.path.join(folder, "disk0.hdd"), name=name, size_sectors=gib * GIB_SECTORS, layers=layers)


def tree(key: str, shape: Mapping[str, Tuple[Optional[str], Dict[int, bytes]]]) -> List[Layer]:
    """Layers by name, each with the name of its parent; the one called top is the current one."""
    guids = {name: TOP if name == "top" else guid(f"{key} {name}") for name in shape}
    return [
        Layer(guids[name], NONE if parent is None else guids[parent], held) for name, (parent, held) in shape.items()
    ]


def make_fleet(root: str) -> Dict[str, str]:
    """The hosts, and the folder on each of them that holds its disks."""
    folders = {
        name: os.path.join(root, name) for name in ("mac-build-01", "mac-build-02", "mac-build-03", "win-lab-01")
    }
    for folder in folders.values():
        os.makedirs(folder)
    shape = {
        "clean": (None, clusters(1, 256, [(0, 0.12, 1), (0.3, 0.42, 0.7), (0.9, 0.91, 1)])),
        "xcode": ("clean", clusters(2, 256, [(0.1, 0.2, 0.9), (0.42, 0.5, 0.5)])),
        "beta": ("xcode", clusters(3, 256, [(0.15, 0.3, 0.6)])),
        "old build": ("clean", clusters(4, 256, [(0.05, 0.1, 0.3), (0.6, 0.62, 1)])),
        "job 4711": ("xcode", clusters(5, 256, [(0.2, 0.28, 0.8), (0.5, 0.58, 0.2)])),
        "top": ("job 4711", clusters(6, 256, [(0.22, 0.3, 0.35), (0.7, 0.71, 1)])),
    }
    layers = tree("one", shape)
    named = {
        guid("one clean"): "Clean install of macOS 15.1",
        guid("one xcode"): "Xcode 16.2",
        guid("one beta"): "Xcode 16.3 beta",
    }
    machine(f"{folders['mac-build-01']}/macOS 15 build.pvm", "macOS 15 build", 256, layers, named)
    steps = ["root", *(f"run {number}" for number in range(1, 12)), "top"]
    chain = {
        name: (
            steps[index - 1] if index else None,
            clusters(20 + index, 128, [(0, 0.2, 0.9)] if not index else [(0.1 + index / 20, 0.22 + index / 20, 0.4)]),
        )
        for index, name in enumerate(steps)
    }
    machine(
        f"{folders['mac-build-02']}/ci-runner.pvm",
        "ci-runner",
        128,
        tree("two", chain),
        {guid("two root"): "base image"},
    )
    evil = tree(
        "three",
        {"base": (None, clusters(40, 64, [(0, 0.4, 0.95)])), "top": ("base", clusters(41, 64, [(0.2, 0.25, 1)]))},
    )
    machine(f"{folders['mac-build-03']}/evil.pvm", "Evil & <b>Co", 64, evil, {guid("three base"): EVIL})
    build_bundle(
        f"{folders['mac-build-03']}/scratch.hdd",
        size_sectors=32 * GIB_SECTORS,
        layers=[Layer(TOP, clusters=clusters(50, 32, [(0, 0.3, 0.5)]))],
    )
    image = f"{folders['mac-build-03']}/scratch.hdd/scratch.hdd.0.{TOP}.hds"
    with open(image, "r+b") as stream:
        # Six GiB behind the last cluster that no table names.
        stream.truncate(os.path.getsize(image) + (6 << 30))
    parts = [20 * GIB_SECTORS, 20 * GIB_SECTORS, 8 * GIB_SECTORS]
    windows = [Layer(TOP, clusters=clusters(60, 48, [(0, 0.35, 0.97), (0.8, 0.95, 0.4)]))]
    build_bundle(f"{folders['win-lab-01']}/windows.hdd", size_sectors=sum(parts), split=parts, layers=windows)
    build_bundle(
        f"{folders['win-lab-01']}/hurt.hdd",
        size_sectors=16 * GIB_SECTORS,
        layers=[Layer(TOP, clusters=clusters(70, 16, [(0, 0.2, 1)]))],
    )
    with open(f"{folders['win-lab-01']}/hurt.hdd/hurt.hdd.0.{TOP}.hds", "r+b") as stream:
        # Two entries lead to one cluster.
        stream.seek(64)
        entry = stream.read(4)
        stream.write(entry)
    return folders


def report_of(folders: Mapping[str, str], *, absent: str, stamp: str, scan: str = "metadata") -> Dict[str, Any]:
    """The report of an audit of these hosts, and of one more that does not answer."""
    told = [
        *(_answers(folder, scan) for folder in folders.values()),
        [{"unreachable": True, "msg": "Connection refused"}, {}],
    ]
    infos, forecasts = zip(*told)
    found: Dict[str, Any] = audit_report(
        [*folders, absent], infos, forecasts=forecasts, title="Virtual disks of the farm", stamp=stamp
    )
    return found


def _answers(path: str, scan: str) -> List[Dict[str, Any]]:
    """What the modules tell of the disks of one host, as the role asks them."""
    info = succeed("hdd_info", paths=[path], recurse=True, map=120, scan=scan)
    options = dict(paths=[path], recurse=True, orphans=True, compact=False, fail_on="never")
    return [info, succeed("hdd_maintain", check=True, **options)]
