# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import absolute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.module_runner import run

PORT = OsPort()


def test_links_on_the_way_are_resolved_and_the_last_name_is_kept(root: str) -> None:
    os.mkdir(f"{root}/real")
    os.symlink("real", f"{root}/link")
    os.symlink("elsewhere", f"{root}/real/disk.hdd")
    for path in (f"{root}/link/disk.hdd", f"{root}/link/disk.hdd/", f"{root}/real/../link//disk.hdd"):
        assert absolute(PORT, path) == f"{root}/real/disk.hdd"


def test_a_path_is_taken_from_the_working_directory(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert absolute(PORT, "a b.hdd") == f"{root}/a b.hdd"
    assert absolute(PORT, ".") == absolute(PORT, "x/..") == root
    assert absolute(PORT, "/") == "/"


@pytest.mark.parametrize("path", ["", " ", "\n"])
def test_an_empty_path_is_refused_by_the_name_of_its_option(path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        absolute(PORT, path, "dest")
    assert str(caught.value).startswith("dest:")


def test_an_error_ends_the_task_with_its_code_its_context_and_its_path(root: str) -> None:
    ended = run("hdd_merge", path=f"{root}/none.hdd")
    assert ended.failed and ended.result["error_code"] == "not_found"
    assert ended.result["error_context"]["path"] == f"{root}/none.hdd" and f"{root}/none.hdd" in ended.result["msg"]
    # What is wrong with an option is found before any file is looked at; the path is named all the same.
    ended = run("hdd_merge", path=f"{root}/none.hdd", max_layers=0)
    assert (ended.result["error_code"], ended.result["error_context"]["path"]) == ("bad_request", f"{root}/none.hdd")
