# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether one may write, asked without writing. What root sees is in ``modules/test_permissions``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import NoPermission
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host.access import write_refusal
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort


def test_what_may_be_written_and_what_is_not_there_is_not_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path, tmp_path / "file", tmp_path / "absent", tmp_path / "file" / "below"):
        assert write_refusal(str(path)) is None
    assert write_refusal("a\0b") is None
    assert OsPort().write_refusal(str(tmp_path)) is None


def test_what_may_not_be_written_is_refused_with_the_error_of_a_try() -> None:
    path = "/proc/version"
    if not os.path.exists(path) or os.access(path, os.W_OK):
        pytest.skip("no file that even root may not write")
    refusal = write_refusal(path)
    assert isinstance(refusal, NoPermission) and refusal.path == path and refusal.hint
