# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks in the middle of a change: who else stands on their files is asked before it is ended, and check mode sees what
the run sees.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict, Optional, Tuple

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import ReplaceFile
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    TOP,
    BuiltBundle,
    Layer,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import guest_of, refused, run, succeed, tree

CLUSTER = 64 << 10
ONE, TWO = guid_of(1), guid_of(2)
DISK: Dict[str, Any] = dict(size_sectors=8192, cluster_sectors=CLUSTER // 512)
CHANGES = {
    "hdd": {"name": "other"},
    "hdd_snapshot": {"guid": guid_of(5)},
    "hdd_merge": {},
    "hdd_compact": {},
    "hdd_check": {"repair": "safe"},
}


def chain(path: str) -> BuiltBundle:
    layers = line_of_layers(
        {0: fill(0, CLUSTER), 1: fill(1, CLUSTER)}, {1: fill(2, CLUSTER), 7: fill(4, CLUSTER)}, {6: fill(3, CLUSTER)}
    )
    return build_bundle(path, layers=layers, **DISK)


def cut_off(built: BuiltBundle, *, after_commit: bool) -> None:
    """A merge that was killed when it had begun to change images, or right after its commit."""
    port = OsPort()
    plan = disks.plan_of_merge(port, built.directory, strategy="in_place")
    assert plan.commit is not None
    second = [at for at, step in enumerate(plan.steps) if isinstance(step, ReplaceFile)][1]
    execute(port, replace(plan, steps=plan.steps[: plan.commit + 1 if after_commit else second + 2]))
    assert os.path.exists(f"{built.directory}/.vdisk-journal")


def clone_on(built: BuiltBundle, guid: str, path: str) -> None:
    made = build_bundle(path, layers=[Layer(guid), Layer(TOP, guid)], **DISK)
    own = made.files[(0, guid)]
    with open(made.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(made.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(os.path.basename(own), built.files[(0, guid)]))
    os.remove(own)


@pytest.mark.parametrize("module", CHANGES)
@pytest.mark.parametrize("after_commit", [False, True], ids=["in the middle", "after the commit"])
def test_a_clone_that_came_since_keeps_an_interrupted_merge_from_being_ended(
    root: str, module: str, after_commit: bool
) -> None:
    """What is still to go, or half changed, is what the clone stands on."""
    built = chain(f"{root}/a.hdd")
    cut_off(built, after_commit=after_commit)
    for guid in (ONE, TWO):
        if os.path.exists(built.files[(0, guid)]):
            clone_on(built, guid, f"{root}/clone-{guid[-3:-1]}.hdd")
    task = {"path": built.directory, **CHANGES[module]}
    ended = refused(module, root, code="shared_layer", check=False, **task)
    assert f"{root}/clone-" in ended["msg"] and "force" in ended["msg"]
    assert (
        succeed(module, **task, force=True, fail_on="never")["changed"]
        if module == "hdd_check"
        else succeed(module, **task, force=True)["changed"]
    )
    assert not os.path.exists(f"{built.directory}/.vdisk-journal")


@pytest.mark.parametrize("module", CHANGES)
def test_a_second_name_that_came_since_keeps_it_as_well(root: str, module: str) -> None:
    """As a backup by ``cp -al`` or ``rsync --link-dest`` makes it after the crash."""
    built = chain(f"{root}/a.hdd")
    wanted = guest_of(built.directory)
    cut_off(built, after_commit=False)
    os.mkdir(f"{root}/backup")
    for name in os.listdir(built.directory):
        if name.endswith(".hds"):
            os.link(f"{built.directory}/{name}", f"{root}/backup/{name}")
    ended = refused(module, root, code="shared_layer", check=False, path=built.directory, **CHANGES[module])
    assert "hard links" in ended["msg"] and "cp FILE" in ended["msg"]
    # The advice helps.
    for name in os.listdir(f"{root}/backup"):
        path = f"{built.directory}/{name}"
        shutil.copy(path, f"{path}.own")
        os.rename(f"{path}.own", path)
    saved = {name: value for name, value in tree(f"{root}/backup").items() if name != f"{root}/backup"}
    assert run(module, path=built.directory, **CHANGES[module]).result["changed"]
    assert guest_of(built.directory) == wanted
    assert {name: value[-1] for name, value in tree(f"{root}/backup").items() if name in saved} == {
        name: value[-1] for name, value in saved.items()
    }


def waiting(root: str) -> Tuple[str, str]:
    """A disk whose snapshot was taken, and the run was cut off before its name was in the file; and its GUID."""
    path = build_bundle(f"{root}/a.hdd", layers=[Layer(TOP, clusters={0: fill(0, CLUSTER)})], **DISK).directory
    port = OsPort()
    taken: Optional[str] = None

    def stop(plan: Any) -> Any:
        return replace(plan, steps=plan.steps[: plan.commit + 1])

    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.notes import Note
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.names import snapshot_guid
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take

    state = disks.state_of(port, path)
    taken = snapshot_guid(state, "before")
    execute(port, stop(plan_snapshot_take(state, taken, note=Note("before", "now", "the way back"))))
    assert os.path.exists(f"{path}/.vdisk-journal") and not os.path.exists(f"{path}/vdisk-snapshots.json")
    return path, taken


def test_a_name_that_waits_in_the_journal_is_seen_by_all(root: str) -> None:
    path, guid = waiting(root)
    before = tree(root)
    (facts,) = succeed("hdd_info", path=path)["disks"]
    assert {one["guid"]: one["name"] for one in facts["snapshots"]}[guid] == "before"
    predicted = succeed("hdd_merge", check=True, path=path, orphans=True)
    assert predicted["merged"] == []
    (one,) = succeed("hdd_maintain", check=True, paths=[path], orphans=True)["disks"]
    assert one["merged"] == []
    assert {shot["guid"]: shot["name"] for shot in one["snapshots"]}[guid] == "before"
    assert succeed("hdd_snapshot", check=True, path=path, name="before")["snapshot"]["guid"] == guid
    assert succeed("hdd_convert", check=True, src=path, dest=f"{root}/x.raw", snapshot="before")["changed"]
    assert tree(root) == before
    done = succeed("hdd_merge", path=path, orphans=True)
    assert done["merged"] == [] and done["changed"] and predicted["changed"]
    (facts,) = succeed("hdd_info", path=path)["disks"]
    assert {one["guid"]: one["description"] for one in facts["snapshots"]}[guid] == "the way back"
    assert not os.path.exists(f"{path}/.vdisk-journal")


def test_check_mode_advises_nobody_to_force_what_a_real_run_ends(root: str) -> None:
    built = chain(f"{root}/a.hdd")
    cut_off(built, after_commit=False)
    for module, options in CHANGES.items():
        if module != "hdd_check":
            message = refused(module, root, code="dirty", check=True, path=built.directory, **options)["msg"]
            assert "A real run ends that first" in message and "force" not in message, module
    (one,) = succeed("hdd_maintain", check=True, paths=[built.directory], max_layers=1, fail_on="never")["disks"]
    assert "A real run ends that first" in one["reason"] and "force" not in one["reason"]
    assert succeed("hdd", path=built.directory, name="other")["changed"]
