# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import reader
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.known import KnownTables
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import open_hds
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Stat
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images

PORT = OsPort()


@pytest.fixture
def path(tmp_path: Path) -> str:
    images.build_hds(tmp_path / "a.hds", size_sectors=64, cluster_sectors=8, clusters={1: b"one", 3: b"three"})
    return str(tmp_path / "a.hds")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The files whose tables were read."""
    seen: List[str] = []
    real = reader.read_table

    def read_table(file: Any, header: Any) -> Any:
        seen.append(file.path)
        return real(file, header)

    monkeypatch.setattr(reader, "read_table", read_table)
    return seen


def stat_of(path: str) -> Stat:
    stat = PORT.stat(path)
    assert stat is not None
    return stat


def known_of(path: str, age: float) -> KnownTables:
    """What is known of a file that was written so many seconds ago."""
    stat = stat_of(path)
    known = KnownTables(lambda: stat.mtime_ns / 1e9 + age)
    image = open_hds(PORT, path)
    image.close()
    known.add(stat, image.header, image.table)
    return known


def test_a_known_table_is_not_read_again(path: str, reads: List[str]) -> None:
    known = known_of(path, age=3)
    image = open_hds(PORT, path, stat=stat_of(path), known=known)
    assert len(reads) == 1 and [run.cluster for run in image.table.runs()] == [1, 3]
    image.close()


@pytest.mark.parametrize("age", [1.9, 0, -3])
def test_the_table_of_a_file_that_was_written_just_now_is_read_again(path: str, age: float, reads: List[str]) -> None:
    open_hds(PORT, path, stat=stat_of(path), known=known_of(path, age)).close()
    assert len(reads) == 2


def test_the_table_of_a_file_that_has_changed_is_read_again(path: str, reads: List[str]) -> None:
    known, stat = known_of(path, age=3), stat_of(path)
    for other in ({"mtime_ns": stat.mtime_ns + 1}, {"size": stat.size + 1}, {"inode": stat.inode + 1}):
        open_hds(PORT, path, stat=replace(stat, **other), known=known).close()
    assert len(reads) == 4


def test_a_table_that_was_read_by_another_header_is_not_known(path: str) -> None:
    known, stat = known_of(path, age=3), stat_of(path)
    image = open_hds(PORT, path)
    image.close()
    assert known.find(stat, image.header) is not None
    assert known.find(stat, replace(image.header, size_sectors=32)) is None
