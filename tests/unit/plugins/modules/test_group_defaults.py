# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Defaults of the action group: what many members have as an option, no other member fails for."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.conftest import ROOT
from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed
from ansible_collections.vdisk.parallels.tests.support.served import run_folder

CLUSTER = 64 << 10
MANY = 3
FILES = ("mode", "owner", "group", "seuser", "serole", "setype", "selevel", "attributes", "unsafe_writes")
OF_ONE_TASK = {"path", "paths", "name", "state"}
"""What a single task is about: which disk, which snapshot, what is to be. docs/use.md says so."""


def spec(module: str) -> Dict[str, Dict[str, Any]]:
    arguments = module_docs.spec_of(module)
    found: Dict[str, Dict[str, Any]] = dict(arguments["argument_spec"])
    if arguments.get("add_file_common_args"):
        from ansible.module_utils.basic import FILE_COMMON_ARGUMENTS

        found.update({name: FILE_COMMON_ARGUMENTS[name] for name in FILES})
    return found


def group() -> list:
    with open(os.path.join(ROOT, "meta", "runtime.yml"), encoding="utf-8") as stream:
        return [line.split(".")[-1].strip() for line in stream if line.strip().startswith("- vdisk.parallels.")]


def common() -> Dict[str, int]:
    """How many members have an option; those that take it for the sake of the others count, too."""
    counts: Dict[str, int] = {}
    for module in group():
        for option in spec(module):
            counts[option] = counts.get(option, 0) + 1
    return {option: count for option, count in counts.items() if count >= MANY and option not in OF_ONE_TASK}


def test_the_group_is_the_whole_collection() -> None:
    assert sorted(group()) == sorted(module_docs.NAMES)


def test_an_option_of_many_members_is_one_of_all_with_the_same_type_and_choices() -> None:
    specs = {module: spec(module) for module in group()}
    assert {"force", "recurse", "scan", "swap", "allow_outside", *FILES} == set(common())
    for option in common():
        kinds = set()
        for module, options in specs.items():
            assert option in options, f"a default of the group for {option} breaks {module}"
            kinds.add((options[option].get("type"), tuple(options[option].get("choices", ()))))
            assert not options[option].get("required"), (module, option)
        assert len(kinds) == 1, (option, kinds)


@pytest.mark.parametrize("module", module_docs.NAMES)
def test_what_has_no_effect_is_told_so_and_says_why(module: str) -> None:
    fields = module_docs.options(module)
    for option in common():
        text = " ".join(fields[option]["description"])
        if "no effect" in text.lower():
            assert "module_defaults" in text or "see O(mode)" in text, (module, option)


@pytest.fixture(autouse=True)
def servers() -> Iterator[str]:
    with run_folder() as folder:
        yield folder


def tasks(root: str) -> Dict[str, Dict[str, Any]]:
    folder = f"{root}/vms/a.pvm"
    make_machine(folder, disk="a.hdd", size_mib=4)
    layers = [Layer(guid_of(1), clusters={0: fill(0, CLUSTER)}), Layer(TOP, guid_of(1), {5: bytes(CLUSTER)})]
    disk = build_bundle(f"{folder}/a.hdd", size_sectors=8192, cluster_sectors=CLUSTER // 512, layers=layers).directory
    return {
        "hdd": {"path": disk, "name": "x"},
        "hdd_check": {"path": disk},
        "hdd_compact": {"path": disk},
        # Without it, nobody looks for the pages that swap: drop leaves out.
        "hdd_convert": {"src": disk, "dest": f"{root}/out.raw", "free_space": "drop"},
        "hdd_info": {"path": disk},
        "hdd_maintain": {"paths": [disk]},
        "hdd_merge": {"path": disk},
        "hdd_nbd": {"path": disk},
        "hdd_snapshot": {"path": disk, "guid": guid_of(5)},
        "vagrant_box": {"src": folder, "dest": f"{root}/a.box", "architecture": "amd64"},
    }


DEFAULTS: Dict[str, Any] = {
    "force": True,
    "recurse": True,
    "scan": "filesystem",
    "swap": "drop",
    "allow_outside": True,
    "mode": "0640",
    "owner": str(os.getuid()),
    "group": str(os.getgid()),
    "unsafe_writes": False,
}


@pytest.mark.parametrize("module", module_docs.NAMES)
def test_a_default_of_the_group_breaks_no_member(root: str, module: str) -> None:
    task = tasks(root)[module]
    assert set(DEFAULTS) <= set(common())
    succeed(module, **DEFAULTS, **task)
