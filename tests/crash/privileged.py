# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a privileged run does in the folder of somebody else: every module, with each thing that it can do there.

::

    vm/                  the enemy's, with all that is in it
      a.pvm/             a machine with a disk of three layers, names, and a backup of the descriptor
      source.raw         an image
      chain/             a chain of qcow2 files
      out/               where outputs go
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.notes import Note, pack_notes
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import ReplaceFile
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.crash.swapper import SECRET
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, BuiltBundle, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import Run, run, succeed
from ansible_collections.vdisk.parallels.tests.support.served import content_of

MIB = 1 << 20
CLUSTER = 64 << 10
ONE, TWO = guid_of(1), guid_of(2)
ENEMY = 12345
_SECTORS = 2 * MIB // 512
_LAYERS = (
    Layer(ONE, clusters={0: fill(0, CLUSTER), 1: fill(1, CLUSTER)}),
    Layer(TWO, ONE, clusters={1: fill(2, CLUSTER), 7: bytes(CLUSTER)}),
    Layer(TOP, TWO, clusters={5: bytes(CLUSTER), 6: fill(3, CLUSTER)}),
)

Scene = Callable[[str], None]
Act = Callable[[str], List[Run]]


# Scenes.


def machine(folder: str) -> BuiltBundle:
    """The machine and an empty folder for outputs."""
    make_machine(f"{folder}/a.pvm", disk="a.hdd", size_mib=2)
    os.mkdir(f"{folder}/out")
    path = f"{folder}/a.pvm/a.hdd"
    built = build_bundle(path, size_sectors=_SECTORS, cluster_sectors=CLUSTER // 512, layers=_LAYERS)
    shutil.copyfile(built.descriptor, f"{built.descriptor}.Backup")
    with open(f"{path}/vdisk-snapshots.json", "wb") as stream:
        stream.write(pack_notes({ONE: Note("one", "2026-01-31T12:00:00Z", "why")}))
    return built


def with_raw(folder: str) -> None:
    """An image beside the machine, and an output that is to be replaced."""
    machine(folder)
    for name in ("source.raw", "out/old.raw"):
        with open(f"{folder}/{name}", "wb") as stream:
            stream.write(fill(7, 4 * CLUSTER) + bytes(4 * CLUSTER))


def with_chain(folder: str) -> None:
    """A chain of qcow2 files."""
    machine(folder)
    os.mkdir(f"{folder}/chain")
    succeed("hdd_convert", src=disk(folder), dest=f"{folder}/chain/a.qcow2", chain="preserve")


def old_output(folder: str) -> None:
    """A disk of one layer, which is to be replaced."""
    with_raw(folder)
    succeed("hdd_convert", src=disk(folder), dest=f"{folder}/out/old.hdd")


def damaged(folder: str) -> None:
    """A disk whose repair is safe in part: a wrong number in the descriptor, and an entry past the end of an image."""
    built = machine(folder)
    with open(built.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(built.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(f"<Blocksize>{CLUSTER // 512}<", "<Blocksize>64<"))
    with open(built.files[(0, TWO)], "r+b") as stream:
        stream.seek(64 + 4 * 9)
        stream.write((0x7FFF00).to_bytes(4, "little"))


def cut_off(steps: int) -> Scene:
    """A merge that was killed, so many steps after its journal said that it changes images; or before it did."""

    def prepare(folder: str) -> None:
        port = OsPort()
        plan = disks.plan_of_merge(port, machine(folder).directory, strategy="in_place")
        second = [at for at, step in enumerate(plan.steps) if isinstance(step, ReplaceFile)][1]
        execute(port, replace(plan, steps=plan.steps[: second + steps]))
        port.names.close()

    return prepare


def disk(folder: str) -> str:
    """The disk of the machine."""
    return f"{folder}/a.pvm/a.hdd"


# What is done.


def serve_and_read(folder: str) -> List[Run]:
    """A server that is started, read and ended."""
    started = run("hdd_nbd", path=disk(folder), socket=f"{folder}/out/socket")
    content = b""
    if not started.failed:
        try:
            content = content_of(started.result)
        except (AssertionError, OSError, EOFError):
            # Whoever swaps things may keep clients away, too.
            pass
    read = Run({"client": SECRET.decode() if SECRET in content else ""}, failed=False)
    return [started, read, run("hdd_nbd", path=disk(folder), state="stopped")]


@dataclass(frozen=True)
class Task:
    """One thing that a module does. ``named`` are the paths that its options name, below the enemy's folder."""

    name: str
    scene: Scene
    act: Act
    named: Tuple[str, ...]

    @property
    def module(self) -> str:
        """The module that does it."""
        return self.name.partition(":")[0]


_IN_FOLDER = "IN/"


def _task(title: str, scene: Any = machine, /, **options: Any) -> Task:
    """``IN/`` at the start of an option is the enemy's folder."""

    def there(value: Any, folder: str) -> Any:
        if isinstance(value, list):
            return [there(one, folder) for one in value]
        is_path = isinstance(value, str) and value.startswith(_IN_FOLDER)
        return f"{folder}/{value[len(_IN_FOLDER) :]}".rstrip("/") if is_path else value

    def act(folder: str) -> List[Run]:
        return [run(title.partition(":")[0], **{key: there(value, folder) for key, value in options.items()})]

    given = [one for value in options.values() for one in (value if isinstance(value, list) else [value])]
    named = tuple(one[len(_IN_FOLDER) :] for one in given if isinstance(one, str) and one.startswith(_IN_FOLDER))
    return Task(title, scene, act, named)


_DISK: Dict[str, Any] = {"path": "IN/a.pvm/a.hdd"}
_FROM: Dict[str, Any] = {"src": "IN/a.pvm/a.hdd"}
_GIVEN: Optional[Dict[str, Any]] = {"mode": "0640", **({"owner": str(ENEMY)} if os.geteuid() == 0 else {})}

TASKS: Tuple[Task, ...] = (
    _task("hdd: new", path="IN/out/n.hdd", size="2M", **_GIVEN),
    _task("hdd: new plain", path="IN/out/n.hdd", size="2M", type="plain", preallocate=True),
    _task("hdd: larger", **_DISK, size="4M", snapshots="top_only", machine="update"),
    _task("hdd: smaller", **_DISK, size="1M", snapshots="merge", shrink=True, force=True, machine="update"),
    _task("hdd: another type", **_DISK, type="plain", snapshots="merge", **_GIVEN),
    _task("hdd: name", **_DISK, name="other"),
    _task("hdd: owner and mode", **_DISK, **_GIVEN),
    _task("hdd: absent", **_DISK, state="absent"),
    _task("hdd_snapshot: present", **_DISK, name="new", description="text"),
    _task("hdd_snapshot: reverted", **_DISK, guid=ONE, state="reverted"),
    _task("hdd_snapshot: absent", **_DISK, name="one", state="absent"),
    _task("hdd_merge: in place", **_DISK),
    _task("hdd_merge: copy", **_DISK, strategy="copy"),
    _task("hdd_merge: several", paths=["IN/"], recurse=True),
    _task("hdd_merge: after one that was killed early", cut_off(-1), **_DISK),
    _task("hdd_merge: after one that was killed late", cut_off(2), **_DISK),
    _task("hdd_compact: in place", **_DISK),
    _task("hdd_compact: copy", **_DISK, strategy="copy"),
    _task("hdd_compact: punch", **_DISK, strategy="punch"),
    _task("hdd_check: data", damaged, **_DISK, data=True, fail_on="never"),
    _task("hdd_check: repair safe", damaged, **_DISK, repair="safe", backup_dir="IN/out", fail_on="never"),
    _task("hdd_check: repair all", damaged, **_DISK, repair="all", fail_on="never"),
    _task("hdd_check: after a merge that was killed", cut_off(2), **_DISK, repair="all", fail_on="never"),
    _task("hdd_info: all", paths=["IN/"], recurse=True, scan="filesystem", map=8),
    _task("hdd_info: checksum", **_DISK, checksum="sha256"),
    _task("hdd_maintain: all", paths=["IN/"], recurse=True, max_layers=1, orphans=True, threshold="0"),
    _task("hdd_convert: raw", **_FROM, dest="IN/out/a.raw", checksum="sha256", checksum_file="IN/out/sums", **_GIVEN),
    _task("hdd_convert: raw replaced", with_raw, **_FROM, dest="IN/out/old.raw"),
    _task("hdd_convert: chain of qcow2", **_FROM, dest="IN/out/a.qcow2", chain="preserve", checksum="sha256"),
    _task("hdd_convert: chain of VHDX", **_FROM, dest="IN/out/a.vhdx", chain="preserve"),
    _task("hdd_convert: flat VMDK", **_FROM, dest="IN/out/a.vmdk", subformat="twoGbMaxExtentFlat"),
    _task("hdd_convert: view", **_FROM, dest="IN/out/a.vmdk", subformat="view"),
    _task("hdd_convert: bundle", **_FROM, dest="IN/out/b.hdd", chain="preserve", **_GIVEN),
    _task("hdd_convert: bundle replaced", old_output, src="IN/source.raw", dest="IN/out/old.hdd", force=True),
    _task("hdd_convert: from a chain", with_chain, src="IN/chain/a.qcow2", dest="IN/out/a.raw", backing=True),
    _task("hdd_convert: from a machine", src="IN/a.pvm", dest="IN/out/a.vdi"),
    Task("hdd_nbd: started, read and stopped", machine, serve_and_read, ("a.pvm/a.hdd", "out/socket")),
    _task("vagrant_box: new", src="IN/a.pvm", dest="IN/out/a.box", architecture="amd64"),
)


def give_to_enemy(folder: str) -> None:
    """All of it belongs to the enemy, where that can be."""
    if os.geteuid() == 0:
        for at, folders, files in os.walk(folder):
            for name in [".", *folders, *files]:
                os.chown(os.path.join(at, name), ENEMY, ENEMY, follow_symlinks=False)
