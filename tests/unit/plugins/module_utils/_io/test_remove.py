# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing trees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import InUse
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._io.remove import remove_tree
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


def test_a_tree_is_removed_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "file").write_bytes(b"precious")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "link").symlink_to(tmp_path / "keep")
    (tree / "broken").symlink_to(tmp_path / "nothing")
    os.mkfifo(tree / "fifo")
    remove_tree(OsPort(), str(tree))
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["keep", "keep/file"]
    remove_tree(OsPort(), str(tree))


def test_a_link_to_a_directory_is_removed_alone(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "keep")
    remove_tree(OsPort(), str(tmp_path / "link"))
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]


def test_directories_nested_deeper_than_the_stack_are_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "t")
    for _depth in range(1100):
        os.mkdir(path)
        path += "/x"
    remove_tree(OsPort(), str(tmp_path / "t"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_is_mounted_inside_is_left_alone() -> None:
    port = MemoryPort()
    port.plant_file("/d/t/root.hds.mnt/etc/passwd", b"guest")

    class Mounted:
        def __getattr__(self, name: str) -> Any:
            return getattr(port, name)

        def lstat(self, path: str) -> Any:
            stat = port.lstat(path)
            return replace(stat, device=99) if stat is not None and "/root.hds.mnt" in path else stat

    with pytest.raises(InUse) as caught:
        remove_tree(Mounted(), "/d/t")  # type: ignore[arg-type]
    assert caught.value.path == "/d/t/root.hds.mnt"
    assert port.content("/d/t/root.hds.mnt/etc/passwd") == b"guest"
