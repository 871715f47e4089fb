# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import StalePlan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.fingerprint import identity, refuse_changed
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

PORT = OsPort()


def test_nothing_has_no_identity(tmp_path: Path) -> None:
    assert identity(PORT.stat(str(tmp_path / "none"))) is None


def test_what_is_as_it_was_passes(tmp_path: Path) -> None:
    file, missing = tmp_path / "a", str(tmp_path / "b")
    file.write_bytes(b"x")
    refuse_changed(PORT, ((str(file), identity(PORT.stat(str(file)))), (missing, None)))


@pytest.mark.parametrize("change", ["content", "time", "replaced", "gone"])
def test_whatever_changes_makes_it_stale(tmp_path: Path, change: str) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    seen = ((str(file), identity(PORT.stat(str(file)))),)
    if change == "content":
        file.write_bytes(b"xy")
    elif change == "time":
        os.utime(file, ns=(0, 1))
    elif change == "replaced":
        other = tmp_path / "b"
        other.write_bytes(b"x")
        os.replace(other, file)
    else:
        file.unlink()
    with pytest.raises(StalePlan) as caught:
        refuse_changed(PORT, seen)
    assert caught.value.path == str(file) and caught.value.hint == "Run again."


def test_a_file_that_turns_up_makes_it_stale(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    with pytest.raises(StalePlan):
        refuse_changed(PORT, ((str(file), None),))
