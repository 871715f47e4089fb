# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every operation and every guard: the table of docs/guards.md, played cell by cell."""

from __future__ import annotations

import dataclasses
import os
import struct
from typing import Any, Callable, Dict, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.tests.conftest import ROOT
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    TOP,
    BuiltBundle,
    Layer,
    build_bundle,
    guid_of,
)
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, run, succeed

MIB = 1 << 20
CLUSTER = 64 << 10
ONE, TWO = guid_of(1), guid_of(2)
SECTORS = 4 * MIB // 512


def scene(root: str) -> BuiltBundle:
    """A machine with a disk of three layers; the upper ones have clusters of zeros that may go."""
    folder = f"{root}/vms/a.pvm"
    make_machine(folder, disk="a.hdd", size_mib=4)
    layers = [
        Layer(ONE, clusters={0: fill(0, CLUSTER), 1: fill(1, CLUSTER)}),
        Layer(TWO, ONE, clusters={1: fill(2, CLUSTER), 7: bytes(CLUSTER)}),
        Layer(TOP, TWO, clusters={5: bytes(CLUSTER), 6: fill(3, CLUSTER)}),
    ]
    return build_bundle(f"{folder}/a.hdd", size_sectors=SECTORS, cluster_sectors=CLUSTER // 512, layers=layers)


def patch(path: str, offset: int, content: bytes) -> None:
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(content)


def edit(built: BuiltBundle, old: str, new: str) -> None:
    path = f"{built.directory}/DiskDescriptor.xml"
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    assert old in text
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text.replace(old, new))


def suspended(built: BuiltBundle) -> None:
    edit(built, "<Bootable>1</Bootable>", "<Bootable>1</Bootable><SuspendState>1</SuspendState>")


def saved(built: BuiltBundle) -> None:
    with open(f"{os.path.dirname(built.directory)}/{guid_of(9)}.mem", "wb") as stream:
        stream.write(b"memory")


def snapshot(built: BuiltBundle) -> None:
    item = f'<SavedStateItem guid="{guid_of(8)}" state="suspend" current="yes"><Name>x</Name></SavedStateItem>'
    with open(f"{os.path.dirname(built.directory)}/Snapshots.xml", "w", encoding="utf-8") as stream:
        stream.write(f'<ParallelsSavedStates><SavedStateItem guid="">{item}</SavedStateItem></ParallelsSavedStates>')


def longer(built: BuiltBundle) -> None:
    edit(built, str(SECTORS), str(SECTORS - 2048))


def clone(built: BuiltBundle) -> None:
    """A machine beside, whose disk lies on the first two layers."""
    folder = f"{os.path.dirname(os.path.dirname(built.directory))}/clone.pvm"
    make_machine(folder, disk="c.hdd", size_mib=4)
    layers = [Layer(ONE), Layer(TWO, ONE), Layer(TOP, TWO)]
    made = build_bundle(f"{folder}/c.hdd", size_sectors=SECTORS, cluster_sectors=CLUSTER // 512, layers=layers)
    for guid in (ONE, TWO):
        # Of a disk that was merged, all that is left is its one image.
        edit(made, os.path.basename(made.files[(0, guid)]), built.files.get((0, guid), built.files[(0, TOP)]))
        os.remove(made.files[(0, guid)])


def linked(built: BuiltBundle) -> None:
    for file in built.files.values():
        os.link(file, f"{os.path.dirname(built.directory)}/{os.path.basename(file)}.other")


def folder(built: BuiltBundle) -> None:
    os.mkdir(f"{built.directory}/b.hdd")


PROBLEMS: Dict[str, Callable[[BuiltBundle], None]] = {
    "encrypted": lambda built: edit(built, "<Engine>{00000000", "<Engine>{00000001"),
    "converting": lambda built: patch(built.files[(0, TOP)], 52, struct.pack("<I", 2)),
    "dirty": lambda built: patch(built.files[(0, TOP)], 44, b"Ynot"),
    "suspended": suspended,
    "saved": saved,
    "snapshot": snapshot,
    "longer": longer,
    "clone": clone,
    "linked": linked,
    "folder": folder,
}


def operations(root: str, path: str) -> Dict[str, Tuple[str, Dict[str, Any]]]:
    raw = f"{root}/source.raw"
    with open(raw, "wb") as stream:
        stream.write(fill(7, MIB))
    return {
        "hdd: name": ("hdd", {"path": path, "name": "other"}),
        "hdd: larger": ("hdd", {"path": path, "size": "8M", "snapshots": "top_only"}),
        "hdd: another type": ("hdd", {"path": path, "type": "plain", "snapshots": "merge"}),
        "hdd: absent": ("hdd", {"path": path, "state": "absent"}),
        "hdd_snapshot: present": ("hdd_snapshot", {"path": path, "guid": guid_of(5)}),
        "hdd_snapshot: reverted": ("hdd_snapshot", {"path": path, "guid": ONE, "state": "reverted"}),
        "hdd_snapshot: absent": ("hdd_snapshot", {"path": path, "guid": TWO, "state": "absent"}),
        "hdd_merge": ("hdd_merge", {"path": path}),
        "hdd_compact: in place": ("hdd_compact", {"path": path}),
        "hdd_compact: copy": ("hdd_compact", {"path": path, "strategy": "copy"}),
        "hdd_convert: from it": ("hdd_convert", {"src": path, "dest": f"{root}/out.raw"}),
        "hdd_convert: onto it": ("hdd_convert", {"src": raw, "dest": path}),
        "vagrant_box": (
            "vagrant_box",
            {"src": os.path.dirname(path), "dest": f"{root}/a.box", "architecture": "amd64"},
        ),
    }


def table() -> List[Tuple[str, str, str]]:
    """Operation, problem and outcome of each cell."""
    with open(os.path.join(ROOT, "docs", "guards.md"), encoding="utf-8") as stream:
        rows = [
            [cell.strip() for cell in line.strip().strip("|").split("|")] for line in stream if line.startswith("|")
        ]
    return [(row[0], problem, cell) for row in rows[2:] for problem, cell in zip(rows[0][1:], row[1:])]


CELLS = table()


def test_the_table_has_every_operation_and_every_problem(root: str) -> None:
    assert {problem for _operation, problem, _cell in CELLS} == set(PROBLEMS)
    assert {operation for operation, _problem, _cell in CELLS} == set(operations(root, f"{root}/a.hdd"))


@pytest.mark.parametrize(("operation", "problem", "cell"), CELLS, ids=lambda value: value.replace(" ", "-"))
def test_a_cell_of_the_table(root: str, operation: str, problem: str, cell: str) -> None:
    built = scene(root)
    module, options = operations(root, built.directory)[operation]
    if operation == "hdd_convert: onto it":
        # Its snapshots are a reason of their own, which comes first.
        succeed("hdd_merge", path=built.directory)
        built = dataclasses.replace(built, files={(0, TOP): f"{built.directory}/{image_of(built.directory)}"})
    PROBLEMS[problem](built)
    if cell in ("ok", "warns"):
        done = succeed(module, **options)
        assert done["changed"]
        assert cell == "ok" or done["warnings"], "nobody was warned"
        return
    code = cell.rstrip("!")
    assert refused(module, root, code=code, **options)["error_context"]
    forced = run(module, **{**options, "force": True})
    if cell.endswith("!"):
        assert forced.failed and forced.result["error_code"] == code
    else:
        assert not forced.failed and forced.result["changed"], forced.result


def image_of(directory: str) -> str:
    (name,) = [name for name in os.listdir(directory) if name.endswith(".hds")]
    return name


GROUP = ["hdd", "hdd_check", "hdd_compact", "hdd_convert", "hdd_info", "hdd_merge", "hdd_snapshot", "vagrant_box"]


def test_the_group_is_that_of_the_collection() -> None:
    with open(os.path.join(ROOT, "meta", "runtime.yml"), encoding="utf-8") as stream:
        names = [line.split(".")[-1].strip() for line in stream if line.strip().startswith("- vdisk.parallels.")]
    assert set(GROUP) <= set(names)
    for name in names:
        with open(os.path.join(ROOT, "plugins", "modules", f"{name}.py"), encoding="utf-8") as stream:
            spec = stream.read().partition("def main()")[2]
        assert "allow_outside" in spec or "bundle_spec" in spec, name


@pytest.mark.parametrize("module", GROUP)
def test_allow_outside_as_a_default_of_the_group_breaks_no_module(root: str, module: str) -> None:
    built = scene(root)
    tasks = {
        "hdd_check": {"path": built.directory},
        "hdd_info": {"path": built.directory},
        "hdd_snapshot": {"path": built.directory, "name": "x"},
        "hdd": {"path": built.directory, "name": "x"},
        **{name: options for name, options in operations(root, built.directory).values() if name in module},
    }
    if module == "hdd":
        tasks["hdd"] = {"path": built.directory, "name": "x"}
    if module == "hdd_convert":
        tasks["hdd_convert"] = {"src": built.directory, "dest": f"{root}/o.raw"}
    succeed(module, **tasks[module], allow_outside=True)


def test_info_lists_who_stands_on_a_disk_in_whatever_folder_of_the_run(root: str) -> None:
    built = scene(root)
    os.makedirs(f"{root}/elsewhere")
    clone(built)
    os.rename(f"{root}/vms/clone.pvm", f"{root}/elsewhere/clone.pvm")
    there = f"{root}/elsewhere/clone.pvm/c.hdd"
    (alone,) = succeed("hdd_info", path=built.directory)["disks"]
    assert alone["clones"] == []
    for options in ({"paths": [built.directory, there]}, {"paths": [root], "recurse": True}):
        facts = {disk["path"]: disk for disk in succeed("hdd_info", **options, allow_outside=True)["disks"]}
        found = {(one["disk"], one["image"]) for one in facts[built.directory]["clones"]}
        assert found == {(there, built.files[(0, guid)]) for guid in (ONE, TWO)}
        assert facts[there]["clones"] == []
    os.rename(f"{root}/elsewhere/clone.pvm", f"{root}/vms/clone.pvm")
    (near,) = succeed("hdd_info", path=built.directory)["disks"]
    assert {one["disk"] for one in near["clones"]} == {f"{root}/vms/clone.pvm/c.hdd"}
