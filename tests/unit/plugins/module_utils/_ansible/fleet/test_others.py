# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any, Dict, List

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.fleet.others import Others
from ansible_collections.vdisk.parallels.tests.support.farm import ONE, clone_of, machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import guest_of, run, succeed, tree

CHANGES: Dict[str, Dict[str, Any]] = {
    "hdd_merge": {},
    "hdd_compact": {},
    "hdd_check": {"repair": "all", "fail_on": "never"},
}


def test_what_is_known_is_looked_at_anew(root: str) -> None:
    parent = machine(f"{root}/one/a.pvm")
    clone = clone_of(parent, f"{root}/two/b.pvm/b.hdd")
    others = Others()
    assert others.standing.clones_of(parent.directory, set(parent.files.values())) == ()
    others.meet([parent.directory, clone])
    assert others.standing.clones_of(parent.directory, set(parent.files.values())) == ((clone, parent.files[(0, ONE)]),)
    os.rename(clone, f"{root}/gone")
    assert others.look() is others.standing
    assert others.standing.clones_of(parent.directory, set(parent.files.values())) == ()
    assert others.unsearched == []


@pytest.mark.parametrize("module", CHANGES)
@pytest.mark.parametrize("named", ["paths", "folder"])
def test_a_run_of_several_disks_knows_who_stands_on_whom_in_whatever_folders(
    root: str, module: str, named: str
) -> None:
    parent, alone = machine(f"{root}/one/a.pvm"), machine(f"{root}/three/c.pvm")
    for built in (parent, alone):
        # An entry of the first layer that leads nowhere: something that only a repair with a loss ends.
        if module == "hdd_check":
            with open(built.files[(0, ONE)], "r+b") as stream:
                stream.seek(64 + 4 * 7)
                stream.write((1 << 20).to_bytes(4, "little"))
    clone = clone_of(parent, f"{root}/two/b.pvm/b.hdd")
    given = (
        {"path": root, "recurse": True} if named == "folder" else {"paths": [alone.directory, clone, parent.directory]}
    )
    before = tree(parent.directory)
    seen = guest_of_clone(clone) if module != "hdd_check" else None
    for check in (True, False):
        ended = run(module, check=check, **given, **CHANGES[module], allow_outside=True)
        assert [one["path"] for one in ended.result["failed_disks"]] == [parent.directory], ended.result
        (failure,) = ended.result["failed_disks"]
        assert failure["error_code"] == "shared_layer" and clone in failure["msg"]
        assert tree(parent.directory) == before
    assert {one["path"]: one["changed"] for one in ended.result["disks"]}[alone.directory]
    assert seen is None or guest_of_clone(clone) == seen


def guest_of_clone(clone: str) -> str:
    found: str = succeed("hdd_info", path=clone, checksum="sha256", allow_outside=True)["disks"][0]["checksum"]
    return found


@pytest.mark.parametrize(("module", "codes"), [("hdd_merge", []), ("hdd_compact", ["shared_layer"])])
def test_a_clone_that_changed_in_the_same_run_is_what_it_is_then(root: str, module: str, codes: List[str]) -> None:
    """It comes first and is changed: by a compaction it is still a clone, by a merge a disk of its own."""
    parent = machine(f"{root}/z/a.pvm")
    clone = clone_of(parent, f"{root}/a/b.pvm/b.hdd")
    succeed("hdd_snapshot", path=clone, guid="{cccccccc-0000-4000-8000-000000000001}", allow_outside=True)
    seen, wanted = guest_of_clone(clone), guest_of(parent.directory)
    ended = run(module, path=root, recurse=True, allow_outside=True)
    assert [one["error_code"] for one in ended.result["failed_disks"]] == codes
    assert (guest_of_clone(clone), guest_of(parent.directory)) == (seen, wanted)
