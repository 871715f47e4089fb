# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.merge import merge_layers
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.tasks import Task

MIB = 1 << 20
ONE, TWO, THREE = guid_of(1), guid_of(2), guid_of(3)
DISK = dict(size_sectors=2048 * 4, layers=line_of_layers(*({number: fill(number, MIB)} for number in range(4))))


def merged(path: str, **options: Any) -> dict:
    usual = dict(max_layers=1, orphans=False, branches="refuse", strategy="auto", force=False)
    return merge_layers(Task(path=path, **{**usual, **options}))  # type: ignore[arg-type]


def test_all_layers_become_one(path: str, built: object) -> None:
    result = merged(path)
    assert (result["merged"], result["layers_before"], result["layers_after"]) == ([ONE, TWO, THREE], 4, 1)
    assert not merged(path)["changed"]


def test_a_snapshot_that_is_not_there_is_named_in_a_warning(path: str, built: object) -> None:
    result = merged(path, snapshots=[TWO, guid_of(9)])
    assert result["merged"] == [TWO]
    assert [guid_of(9) in text for text in result["warnings"]] == [True]


def test_orphans_are_what_the_machine_does_not_name(root: str) -> None:
    path = f"{root}/a.pvm/a.hdd"
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=4, snapshots={TWO: "kept"})
    build_bundle(path, **DISK)  # type: ignore[arg-type]
    result = merged(path, orphans=True)
    assert (result["merged"], result["layers_after"]) == ([ONE, THREE], 2)


def test_no_layer_at_all_is_refused_before_the_disk_is_looked_at() -> None:
    with pytest.raises(BadRequest):
        merged("/none.hdd", max_layers=0)
