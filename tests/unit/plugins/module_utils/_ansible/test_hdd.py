# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.hdd import ensure_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, NotFound
from ansible_collections.vdisk.parallels.tests.support.tasks import hdd_task

MIB = 1 << 20


def asked(path: str, *, check: bool = False, **options: Any) -> dict:
    return ensure_disk(hdd_task(path, check=check, **options))  # type: ignore[arg-type]


def test_a_disk_is_created_kept_and_removed(path: str) -> None:
    predicted = asked(path, check=True, size="3M")
    assert predicted["changed"] and not os.path.exists(path)
    created = asked(path, size="3M")
    assert (created["changed"], created["disk"]["virtual_size"], created["disk"]["name"]) == (True, 3 * MIB, "a")
    assert predicted["disk"]["virtual_size"] == 3 * MIB and predicted["disk"]["uid"] is None
    assert not asked(path, size="3M")["changed"]
    assert asked(path, state="absent")["changed"] and not os.path.exists(path)
    gone = asked(path, state="absent")
    assert (gone["changed"], gone["disk"]["exists"]) == (False, False)


def test_a_size_is_rounded_up_with_a_word_about_it(path: str) -> None:
    result = asked(path, size="3000K")
    assert result["disk"]["virtual_size"] == 3 * MIB
    assert [text for text in result["warnings"] if "rounded up" in text]
    assert not asked(path, size="3000K")["changed"]


def test_a_new_disk_needs_a_size_and_a_directory(root: str, path: str) -> None:
    with pytest.raises(BadRequest):
        asked(path)
    with pytest.raises(NotFound) as caught:
        asked(f"{root}/none/a.hdd", size="3M")
    assert caught.value.path == f"{root}/none"


def test_owner_and_mode_are_asked_for_every_file(path: str) -> None:
    asked(path, size="3M")
    assert asked(path, mode="0600")["changed"] and not asked(path)["changed"]
