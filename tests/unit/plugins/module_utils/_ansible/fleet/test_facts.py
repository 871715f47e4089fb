# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The facts of disks beside what maintenance does with them: those that hdd_info gives."""

from __future__ import annotations

import os
from typing import Any, Dict, List

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import faults, module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP
from ansible_collections.vdisk.parallels.tests.support.farm import MIB, break_down, by_path, clone_of, machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import run, succeed, tree
from ansible_collections.vdisk.parallels.tests.support.table_reads import noted_reads, settled_images

ASKED: List[Dict[str, Any]] = [
    {"scan": "metadata"},
    {"scan": "metadata", "map": 7},
    {"scan": "zeros", "map": 4, "allow_outside": True},
    {"scan": "filesystem"},
]


def farm(root: str) -> None:
    """Machines, a clone, a disk with a table that is damaged, one without a descriptor, a lost one, an empty folder."""
    parent = machine(f"{root}/one/a.pvm")
    clone_of(parent, f"{root}/two/b.pvm/b.hdd")
    ill = machine(f"{root}/three/ill.pvm")
    # Only who has seen all disks of the run knows this clone.
    clone_of(ill, f"{root}/three/deep/er/d.hdd")
    with open(ill.files[(0, TOP)], "r+b") as stream:
        stream.seek(64)
        stream.write((1 << 20).to_bytes(4, "little"))
    break_down(machine(f"{root}/four/broken.pvm"))
    dirty = machine(f"{root}/five/dirty.pvm")
    with open(dirty.files[(0, TOP)], "r+b") as stream:
        stream.seek(44)
        stream.write((0x746F6E59).to_bytes(4, "little"))
    interrupted = machine(f"{root}/six/amid.pvm")
    next(fault for fault in faults.FAULTS if fault.name == "a journal").plant(interrupted)
    os.makedirs(f"{root}/lost.hdd")
    os.makedirs(f"{root}/empty")


@pytest.mark.parametrize("asked", ASKED, ids=str)
@pytest.mark.parametrize("policy", [{}, {"busy": "predict"}, {"compact": False, "orphans": True}], ids=str)
def test_the_facts_are_those_that_hdd_info_gives(root: str, asked: Dict[str, Any], policy: Dict[str, Any]) -> None:
    farm(root)
    before = tree(root)
    info = succeed("hdd_info", paths=[root], recurse=True, **asked)
    told = succeed(
        "hdd_maintain", check=True, paths=[root], recurse=True, facts=True, fail_on="never", **policy, **asked
    )
    assert tree(root) == before
    known = {path: facts for path, facts in by_path(told, "facts").items() if facts is not None}
    assert known == {one["path"]: one for one in info["disks"]} and len(known) > 1
    assert sorted(told["undescribed"], key=lambda one: str(one["path"])) == info["failed_disks"] != []
    module_docs.assert_documented("hdd_maintain", told)


def test_a_disk_is_described_as_it_was_when_its_turn_began(root: str) -> None:
    path = machine(f"{root}/a.pvm").directory
    (before,) = succeed("hdd_info", path=path, scan="zeros")["disks"]
    result = succeed("hdd_maintain", paths=[path], max_layers=1, facts=True)
    assert by_path(result) == {path: "changed"} and by_path(result, "facts") == {path: before}
    assert before["depth"] == 4 and before["reclaimable"]["zero"] == MIB


def test_an_excluded_disk_and_one_that_a_limit_came_before_have_none(root: str) -> None:
    for name in "abc":
        machine(f"{root}/{name}.pvm")
    options = dict(
        paths=[root], recurse=True, facts=True, max_layers=1, compact=False, exclude=["a.pvm"], max_bytes="1"
    )
    result = succeed("hdd_maintain", **options)
    assert [facts is None for facts in by_path(result, "facts").values()] == [True, False, True]
    assert result["undescribed"] == [] and len(result["unfinished"]) == 1


def test_without_being_asked_for_there_are_none(root: str) -> None:
    machine(f"{root}/a.pvm")
    result = succeed("hdd_maintain", check=True, paths=[root], recurse=True)
    assert "undescribed" not in result and "facts" not in result["disks"][0]


@pytest.mark.parametrize("is_check", [True, False])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"map": 5}, "facts"),
        ({"map": 5000, "facts": True}, "map"),
        ({"map": -1, "facts": True}, "map"),
        ({"swap": "drop", "facts": True}, "swap"),
    ],
)
def test_a_mistake_is_told_before_anything_is_touched(
    root: str, options: Dict[str, Any], named: str, is_check: bool
) -> None:
    machine(f"{root}/a.pvm")
    succeed("hdd_maintain", paths=[root], recurse=True, max_layers=1, record=f"{root}/record.json")
    before = tree(root)
    usual = dict(paths=[root], recurse=True, fail_on="never", record=f"{root}/record.json")
    ended = run("hdd_maintain", check=is_check, **usual, **options)
    assert tree(root) == before
    assert ended.failed and ended.result["error_code"] == "bad_request" and named in ended.result["msg"]


def test_a_record_has_what_was_done_and_no_facts(root: str) -> None:
    machine(f"{root}/a.pvm")
    succeed("hdd_maintain", paths=[root], recurse=True, max_layers=1, facts=True, map=3, record=f"{root}/record.json")
    with open(f"{root}/record.json", encoding="utf-8") as stream:
        text = stream.read()
    assert "virtual_size" not in text and "merged" in text


def test_facts_cost_no_further_reading_of_tables(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = machine(f"{root}/a.pvm")
    images, reads = settled_images(built.directory), noted_reads(monkeypatch)
    options = dict(paths=[root], recurse=True, scan="metadata", orphans=True, facts=True, map=9, fail_on="never")
    succeed("hdd_maintain", check=True, **options)
    assert sorted(reads) == images
    # Of a disk that is not opened after the check, the sound tables are not read again either.
    broken = built.files[(0, TOP)]
    with open(broken, "r+b") as stream:
        stream.seek(64)
        stream.write((1 << 20).to_bytes(4, "little"))
    settled_images(built.directory)
    reads.clear()
    (one,) = succeed("hdd_maintain", check=True, **options)["undescribed"]
    assert one["error_code"] == "damaged"
    sound = [name for name in images if name != os.path.basename(broken)]
    assert sorted(name for name in reads if name in sound) == sound
