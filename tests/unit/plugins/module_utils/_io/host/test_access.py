# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether one may write, asked without writing. What root sees is in ``modules/test_permissions``."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import NoPermission
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host.access import removal_refusal, write_refusal
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


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_in_a_sticky_folder_only_the_owners_may_let_a_name_go(mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, mode)
        own, strange = f"{folder}/own", f"{folder}/strange"
        for path in (own, strange):
            Path(path).write_bytes(b"")
        os.chown(own, 65534, 65534)
        assert removal_refusal(strange) is None
        with as_nobody():
            assert removal_refusal(own) is None and removal_refusal(f"{folder}/absent") is None
            refusal = removal_refusal(strange)
            # What is foretold is what happens.
            if mode == 0o1777:
                assert isinstance(refusal, NoPermission) and refusal.path == strange
                with pytest.raises(PermissionError):
                    os.rename(strange, f"{folder}/new")
            else:
                assert refusal is None
                os.rename(strange, f"{folder}/new")
        os.chown(folder, 65534, 65534)
        with as_nobody():
            assert removal_refusal(f"{folder}/new") is None
