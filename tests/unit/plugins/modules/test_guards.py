# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every operation and every guard: the table of docs/guards.md, played cell by cell."""

from __future__ import annotations

import dataclasses
import os
import struct
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import NoPermission, ReadOnly
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import ReplaceFile
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import (
    APPLY,
    ImageBefore,
    Journal,
    pack_journal,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.conftest import ROOT
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    TOP,
    BuiltBundle,
    Layer,
    build_bundle,
    guid_of,
)
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, run, succeed, tree
from ansible_collections.vdisk.parallels.tests.support.served import run_folder

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


def held(built: BuiltBundle) -> Callable[[], None]:
    """Another run, or a program that locks as they do."""
    return OsPort().lock((built.directory,), tuple(built.files.values())).release


def cut_off(built: BuiltBundle) -> None:
    """A merge that was killed when it had begun to change images."""
    port = OsPort()
    plan = disks.plan_of_merge(port, built.directory, strategy="in_place") if (0, TWO) in built.files else None
    if plan is None or plan.is_empty:
        # Of one layer, all that can be left is a note.
        before = ImageBefore(os.path.basename(built.files[(0, TOP)]), os.path.getsize(built.files[(0, TOP)]), 0)
        with open(f"{built.directory}/.vdisk-journal", "wb") as stream:
            stream.write(pack_journal(Journal("compact", APPLY, images=(before,))))
        return
    second = [at for at, step in enumerate(plan.steps) if isinstance(step, ReplaceFile)][1]
    execute(port, replace(plan, steps=plan.steps[: second + 2]))


def needed(built: BuiltBundle) -> None:
    items = "".join(
        f'<SavedStateItem guid="{guid}" state="poweroff"><Name>{name}</Name></SavedStateItem>'
        for guid, name in ((ONE, "one"), (TWO, "two"))
    )
    with open(f"{os.path.dirname(built.directory)}/Snapshots.xml", "w", encoding="utf-8") as stream:
        stream.write(f'<ParallelsSavedStates><SavedStateItem guid="">{items}</SavedStateItem></ParallelsSavedStates>')


def unclear(built: BuiltBundle) -> None:
    with open(f"{os.path.dirname(built.directory)}/Snapshots.xml", "w", encoding="utf-8") as stream:
        stream.write("<ParallelsSavedStates>")


def outside(built: BuiltBundle) -> None:
    """The lowest layer is elsewhere; of a disk of one layer, that one."""
    file = built.files.get((0, ONE), built.files[(0, TOP)])
    there = f"{os.path.dirname(os.path.dirname(built.directory))}/outside.hds"
    os.rename(file, there)
    edit(built, f"<File>{os.path.basename(file)}</File>", f"<File>{there}</File>")


def through_a_link(built: BuiltBundle) -> None:
    """The machine, which lists its snapshots, has a link to a disk in another folder."""
    needed(built)
    fast = f"{os.path.dirname(os.path.dirname(os.path.dirname(built.directory)))}/fast"
    os.mkdir(fast)
    os.rename(built.directory, f"{fast}/a.hdd")
    os.symlink(f"{fast}/a.hdd", built.directory)


def link_asleep(built: BuiltBundle) -> None:
    """The same machine is suspended and lists nothing."""
    through_a_link(built)
    os.remove(f"{os.path.dirname(built.directory)}/Snapshots.xml")
    saved(built)


def beside_asleep(built: BuiltBundle) -> None:
    """A suspended machine beside has a link to the disk, which is named by its own path."""
    folder = os.path.dirname(built.directory)
    beside = f"{os.path.dirname(folder)}/m.pvm"
    os.mkdir(beside)
    os.rename(f"{folder}/config.pvs", f"{beside}/config.pvs")
    os.symlink(built.directory, f"{beside}/a.hdd")
    with open(f"{beside}/{guid_of(9)}.mem", "wb") as stream:
        stream.write(b"memory")


def cut(built: BuiltBundle) -> None:
    """A disk of one plain image, half of which is there."""
    succeed("hdd", path=built.directory, type="plain", snapshots="merge", force=True)
    path = f"{built.directory}/{image_of(built.directory)}"
    os.truncate(path, os.path.getsize(path) // 2)


def cut_root(built: BuiltBundle) -> None:
    """A plain root below other layers, half of which is there; of one layer, that one."""
    if (0, ONE) not in built.files:
        cut(built)
        return
    path = built.files[(0, ONE)]
    with open(path, "wb") as stream:
        stream.write(fill(0, CLUSTER) + bytes(SECTORS * 256 - CLUSTER))
    with open(built.descriptor, encoding="utf-8") as stream:
        head, guid, rest = stream.read().partition(f"<GUID>{ONE}</GUID>")
    with open(built.descriptor, "w", encoding="utf-8") as stream:
        stream.write(head + guid + rest.replace("<Type>Compressed<", "<Type>Plain<", 1))


def belied(built: BuiltBundle) -> None:
    """An expanding root that the descriptor calls Plain, padded to the length of the disk."""
    os.truncate(built.files.get((0, ONE), built.files[(0, TOP)]), SECTORS * 512)
    edit(built, "<Type>Compressed</Type>", "<Type>Plain</Type>")


def belied_short(built: BuiltBundle) -> None:
    """The same as it usually is: shorter than the disk."""
    edit(built, "<Type>Compressed</Type>", "<Type>Plain</Type>")


def raw_bytes(built: BuiltBundle) -> None:
    """Somebody has written a disk over the lowest expanding image."""
    content = bytearray(fill(9, SECTORS * 512))
    content[510:512] = b"\x55\xaa"
    with open(built.files.get((0, ONE), built.files[(0, TOP)]), "wb") as stream:
        stream.write(content)


def shorter(built: BuiltBundle) -> None:
    """The descriptor says more than the images, as after a resize that was cut off or left some alone."""
    edit(built, str(SECTORS), str(SECTORS + 2048))


def machine(built: BuiltBundle) -> None:
    """The configuration of the machine cannot be parsed."""
    with open(f"{os.path.dirname(built.directory)}/config.pvs", "w", encoding="utf-8") as stream:
        stream.write("<ParallelsVirtualMachine>")


def neighbour(built: BuiltBundle) -> None:
    """A machine beside, whose disk may be a clone: its descriptor cannot be parsed."""
    clone(built)
    path = f"{os.path.dirname(os.path.dirname(built.directory))}/clone.pvm/c.hdd/DiskDescriptor.xml"
    os.truncate(path, os.path.getsize(path) - 9)


def lost(built: BuiltBundle) -> None:
    os.rename(built.descriptor, f"{built.descriptor}.Backup")


def missing(built: BuiltBundle) -> None:
    os.remove(built.files.get((0, ONE), built.files[(0, TOP)]))


def unknown_word(built: BuiltBundle) -> None:
    edit(built, "<Type>Compressed</Type>", "<Type>Sparse</Type>")


def refusing(kind: type) -> Callable[[BuiltBundle], Callable[[], None]]:
    """The host says that it would refuse to write; real mounts and users are in test_permissions."""

    def plant(_built: BuiltBundle) -> Callable[[], None]:
        real = OsPort.__dict__["write_refusal"]

        def refusal(self: OsPort, path: str) -> Any:
            return kind("Cannot write", path=path, hint="Run elsewhere.")

        OsPort.write_refusal = refusal  # type: ignore[method-assign]

        def end() -> None:
            OsPort.write_refusal = real  # type: ignore[method-assign]

        return end

    return plant


PROBLEMS: Dict[str, Callable[[BuiltBundle], Any]] = {
    "in use": held,
    "interrupted": cut_off,
    "needed": needed,
    "unclear": unclear,
    "outside": outside,
    "link": through_a_link,
    "link asleep": link_asleep,
    "beside asleep": beside_asleep,
    "cut": cut,
    "cut root": cut_root,
    "belied": belied,
    "belied short": belied_short,
    "raw": raw_bytes,
    "shorter": shorter,
    "machine": machine,
    "neighbour": neighbour,
    "lost": lost,
    "missing": missing,
    "word": unknown_word,
    "read only": refusing(ReadOnly),
    "permission": refusing(NoPermission),
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
        "hdd: smaller": ("hdd", {"path": path, "size": "2M", "shrink": True, "snapshots": "merge"}),
        "hdd: another type": ("hdd", {"path": path, "type": "plain", "snapshots": "merge"}),
        "hdd: absent": ("hdd", {"path": path, "state": "absent"}),
        "hdd_snapshot: present": ("hdd_snapshot", {"path": path, "guid": guid_of(5)}),
        "hdd_snapshot: reverted": ("hdd_snapshot", {"path": path, "guid": ONE, "state": "reverted"}),
        "hdd_snapshot: absent": ("hdd_snapshot", {"path": path, "guid": TWO, "state": "absent"}),
        "hdd_merge": ("hdd_merge", {"path": path}),
        "hdd_compact: in place": ("hdd_compact", {"path": path}),
        "hdd_maintain: merge": ("hdd_maintain", {"paths": [path], "max_layers": 1, "compact": False}),
        "hdd_maintain: compact": ("hdd_maintain", {"paths": [path]}),
        "hdd_compact: copy": ("hdd_compact", {"path": path, "strategy": "copy"}),
        "hdd_convert: from it": ("hdd_convert", {"src": path, "dest": f"{root}/out.raw"}),
        "hdd_convert: onto it": ("hdd_convert", {"src": raw, "dest": path}),
        "hdd_convert: view of it": (
            "hdd_convert",
            {"src": path, "dest": f"{root}/view.vmdk", "subformat": "view"},
        ),
        "hdd_nbd": ("hdd_nbd", {"path": path}),
        "hdd_info": ("hdd_info", {"path": path}),
        "hdd_check": ("hdd_check", {"path": path}),
        "hdd_check: repair": ("hdd_check", {"path": path, "repair": "safe", "backup_dir": f"{root}/old"}),
        "hdd_check: repair of an image": ("hdd_check", {"path": path, "repair": "all", "backup_dir": f"{root}/old"}),
        "vagrant_box": (
            "vagrant_box",
            {"src": os.path.dirname(path), "dest": f"{root}/a.box", "architecture": "amd64"},
        ),
    }


def tables() -> List[List[List[str]]]:
    """The tables of the page: rows of cells, the heads first."""
    found: List[List[List[str]]] = [[]]
    with open(os.path.join(ROOT, "docs", "guards.md"), encoding="utf-8") as stream:
        for line in stream:
            if line.startswith("|"):
                found[-1].append([cell.strip() for cell in line.strip().strip("|").split("|")])
            elif found[-1]:
                found.append([])
    return [[rows[0], *rows[2:]] for rows in found if rows]


def table() -> List[Tuple[str, str, str]]:
    """Operation, problem and outcome of each cell of the parts of the table."""
    cells = []
    for head, *rows in tables():
        if head[0] == "operation":
            cells += [(row[0], problem, cell) for row in rows for problem, cell in zip(head[1:], row[1:])]
    return cells


CELLS = table()


@pytest.fixture(autouse=True)
def servers() -> Iterator[str]:
    with run_folder() as folder:
        yield folder


def test_the_table_has_every_operation_and_every_problem(root: str) -> None:
    assert {problem for _operation, problem, _cell in CELLS} == set(PROBLEMS)
    assert {operation for operation, _problem, _cell in CELLS} == set(operations(root, f"{root}/a.hdd"))
    assert len(CELLS) == len({(operation, problem) for operation, problem, _cell in CELLS})
    assert len(CELLS) == len(PROBLEMS) * len(operations(root, f"{root}/a.hdd"))


def test_every_module_has_a_row_and_every_role_the_modules_that_it_runs() -> None:
    modules = {name[:-3] for name in os.listdir(os.path.join(ROOT, "plugins", "modules")) if name.endswith(".py")}
    assert {operation.partition(":")[0] for operation, _problem, _cell in CELLS} == modules
    (rows,) = [rows[1:] for rows in tables() if rows[0][0] == "role"]
    told = {row[0].strip("`"): set(row[1].replace("`", "").split(", ")) for row in rows}
    assert told == {role: modules_of(role) for role in os.listdir(os.path.join(ROOT, "roles"))}


def modules_of(role: str) -> set:
    found = set()
    for folder, _folders, names in os.walk(os.path.join(ROOT, "roles", role, "tasks")):
        for name in names:
            with open(os.path.join(folder, name), encoding="utf-8") as stream:
                words = [line.strip() for line in stream]
            found |= {word[len("vdisk.parallels.") : -1] for word in words if word.startswith("vdisk.parallels.")}
    return found


# The sample of the short suite; all of them are played without it.
PLAYED = CELLS[:: 4 if os.environ.get("VDISK_FEW") else 1]


@pytest.mark.parametrize(("operation", "problem", "cell"), PLAYED, ids=lambda value: value.replace(" ", "-"))
def test_a_cell_of_the_table(root: str, operation: str, problem: str, cell: str) -> None:
    module, options, end = prepared(root, operation, problem)
    cell, _more, next_code = cell.partition(" > ")
    if module == "hdd_maintain":
        try:
            play_maintenance(root, problem, cell, options)
        finally:
            end()
        return
    try:
        if cell in ("ok", "warns", "-"):
            done = succeed(module, **options)
            assert module in LOOKS or done["changed"] == (cell != "-")
            assert cell != "warns" or is_told(module, done), "nobody was warned"
            return
        code = cell.rstrip("!")
        if problem == "interrupted" or code == "unhealthy":
            # What was interrupted is ended first; a repair mends what it can before it tells what is left.
            ended = run(module, **options).result
            assert ended.get("error_code") == code, ended
        else:
            ended = refused(module, root, code=code, **options)
        assert ended["error_context"], ended
        assert len(ended["msg"].split(". ")) > 1, f"no advice: {ended['msg']}"
        if "force" not in spec_of(module):
            assert cell.endswith("!")
            return
        forced = run(module, **{**options, "force": True})
    finally:
        end()
    if cell.endswith("!") or next_code:
        assert forced.failed and forced.result["error_code"] == (next_code or code)
    else:
        assert not forced.failed, forced.result
        # Nothing of a plain image that was cut can be given back.
        assert forced.result["changed"] or module in LOOKS or (module, problem) == ("hdd_compact", "cut")


def play_maintenance(root: str, problem: str, cell: str, options: Dict[str, Any]) -> None:
    """A run over many disks ends well; what kept it from this one is told with the disk."""
    if cell in ("ok", "warns", "-"):
        done = succeed("hdd_maintain", **options)
        assert done["disks"][0]["error_code"] is None and done["changed"] == (cell != "-")
        assert cell != "warns" or is_told("hdd_maintain", done), "nobody was warned"
        return
    before = tree(root)
    for check in (True, False):
        done = run("hdd_maintain", check=check, **options).result
        one = done["disks"][0] if done["disks"] else done["missing"][0]
        assert one["error_code"] == cell.rstrip("!"), one
        assert len(one.get("reason", one.get("msg")).split(". ")) > 1, f"no advice: {one}"
        assert problem == "interrupted" or tree(root) == before
    forced = succeed("hdd_maintain", **options, force=True, fail_on="never")["disks"][0]
    assert (
        (forced["error_code"] == cell[:-1])
        if cell.endswith("!")
        # Nothing of a plain image that was cut can be given back.
        else (forced["outcome"] == ("unchanged" if problem == "cut" else "changed"))
    ), forced


LOOKS = ("hdd_info", "hdd_check")
USUAL = {"layer_without_vm_snapshot", "descriptor_cluster_size", "entry_out_of_file"}
"""What a check finds in the disk as it is, and what its repair is asked for."""


def prepared(root: str, operation: str, problem: str) -> Tuple[str, Dict[str, Any], Callable[[], None]]:
    """The module and its options on a disk with this problem, and what ends the problem."""
    built = scene(root)
    module, options = operations(root, built.directory)[operation]
    if operation == "hdd_convert: onto it":
        # Its snapshots are a reason of their own, which comes first.
        succeed("hdd_merge", path=built.directory)
        built = dataclasses.replace(built, files={(0, TOP): f"{built.directory}/{image_of(built.directory)}"})
    if operation == "hdd: another type" and problem in ("cut", "cut root", "belied", "belied short"):
        # These are of that type already.
        options["type"] = "expanding"
    if operation == "hdd_check: repair":
        # Something to repair.
        edit(built, f"<Blocksize>{CLUSTER // 512}<", "<Blocksize>64<")
    end = PROBLEMS[problem](built) or (lambda: None)
    own = [path for path in built.files.values() if os.path.exists(path) and path != built.files.get((0, ONE))]
    if operation == "hdd_check: repair of an image" and own:
        # An entry that leads nowhere; only a disk of one plain image has no table.
        patch(own[0], 64 + 4 * 20, struct.pack("<I", 1 << 20))
    return module, options, end


def is_told(module: str, done: Dict[str, Any]) -> bool:
    """Whether a result says that something is odd: as a warning, in the facts of a disk, or as a finding."""
    facts = (done.get("disks") or [{}])[0]
    if module == "hdd_maintain":
        return bool(done.get("warnings") or not {one["code"] for one in facts["findings"] or ()} <= USUAL)
    if module == "hdd_info":
        return bool(facts["warnings"] or facts["clones"] or facts["encrypted"] or facts["state"] != "clean")
    if module == "hdd_check":
        return bool(done.get("warnings")) or not {one["code"] for one in done["findings"]} <= USUAL
    return bool(done.get("warnings"))


def spec_of(module: str) -> str:
    with open(os.path.join(ROOT, "plugins", "modules", f"{module}.py"), encoding="utf-8") as stream:
        text = stream.read().partition("def main()")[2]
    return text.replace("safety_spec", "force")


def image_of(directory: str) -> str:
    (name,) = [name for name in os.listdir(directory) if name.endswith(".hds")]
    return name


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
