# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.compact import compact_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.tasks import Task

MIB = 1 << 20
DISK = dict(size_sectors=2048 * 4, layers=[Layer(TOP, clusters={0: fill(0, MIB), 2: bytes(MIB)})])


def compacted(path: str, *, check: bool = False, threshold: object = None) -> dict:
    task = Task(path=path, scan="zeros", strategy="auto", threshold=threshold, force=False, check=check)
    return compact_disk(task)  # type: ignore[arg-type]


def test_what_is_given_back_is_predicted_and_done_once(path: str, built: object) -> None:
    for check in (True, False):
        result = compacted(path, check=check)
        assert (result["changed"], result["reclaimed"]) == (True, MIB)
    again = compacted(path)
    assert (again["changed"], again["reclaimed"]) == (False, 0)


def test_less_than_the_threshold_is_left_and_still_reported(path: str, built: object) -> None:
    result = compacted(path, threshold="2M")
    assert (result["changed"], result["reclaimed"]) == (False, 0)
    assert result["reclaimable"] == MIB


def test_a_threshold_that_is_no_size_is_refused(path: str, built: object) -> None:
    with pytest.raises(BadRequest):
        compacted(path, threshold="some")
