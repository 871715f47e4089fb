# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.check import check_disk
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.tasks import Failed, Task

MIB = 1 << 20
DISK = dict(size_sectors=2048 * 4, layers=[Layer(TOP, clusters={0: fill(0, MIB), 2: fill(2, MIB)})])


def checked(path: str, *, check: bool = False, **options: Any) -> dict:
    usual = dict(allow_outside=False, repair="none", data=False, fail_on="never", force=False)
    return check_disk(Task(path=path, check=check, **{**usual, **options}))  # type: ignore[arg-type]


def leak(built: Any) -> None:
    """A cluster at the end of the image that no entry names."""
    image = built.files[(0, TOP)]
    os.truncate(image, os.path.getsize(image) + MIB)


def test_a_sound_disk_is_healthy_and_its_data_is_read_when_asked(path: str, built: object) -> None:
    assert checked(path)["healthy"] and checked(path)["bytes_read"] == 0
    result = checked(path, data=True, fail_on="warning")
    assert (result["healthy"], result["bytes_read"], result["changed"]) == (True, 2 * MIB, False)


def test_a_finding_is_repaired_as_predicted_and_once(path: str, built: object) -> None:
    leak(built)
    codes = [one["code"] for one in checked(path)["findings"]]
    assert codes
    for check in (True, False):
        result = checked(path, check=check, repair="safe")
        assert result["changed"] and {one["repaired"] for one in result["findings"]} == {True}
        assert result["diff"]["before"]["findings"] and not result["diff"]["after"]["findings"]
    assert checked(path, repair="safe")["findings"] == []


def test_what_remains_fails_the_task_as_strictly_as_asked(path: str, built: Any) -> None:
    with open(built.files[(0, TOP)], "r+b") as stream:
        stream.seek(64)
        stream.write(b"\xff\xff\xff\x7f")
    result = checked(path)
    assert result["healthy"] is False and result["counts"]["error"]
    with pytest.raises(Failed) as caught:
        checked(path, fail_on="error")
    assert caught.value.result["error_code"] == "unhealthy"
    assert caught.value.result["findings"] == result["findings"] and "repair:" in caught.value.result["msg"]
