# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io import process


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDISK_ONE", "x y")
    monkeypatch.setenv("VDISK_TWO", "")
    monkeypatch.delenv("VDISK_THREE", raising=False)
    assert [process.setting(f"VDISK_{name}") for name in ("ONE", "TWO", "THREE")] == ["x y", None, None]


@pytest.mark.parametrize(
    "text, seconds",
    [("1700000000", 1_700_000_000), ("0", 0), ("", 0), ("-5", 0), ("1.5", 0), ("soon", 0), ("٣", 0), ("9" * 16, 0)],
)
def test_the_time_of_a_reproducible_build_is_a_number_or_0(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: int
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    assert process.source_date_epoch() == seconds


def test_without_the_variable_the_time_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert process.source_date_epoch() == 0


def test_only_a_leading_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    found = [process.expand_home(path) for path in ("~/a b", "/x/~/y", "a~", "")]
    assert found == ["/home/me/a b", "/x/~/y", "a~", ""]


def test_the_mask_is_told_and_stays() -> None:
    before = os.umask(0o027)
    try:
        assert process.umask() == process.umask() == 0o027
        process.use_umask(0o077)
        assert process.umask() == 0o077
    finally:
        os.umask(before)


def test_the_number_is_that_of_this_process() -> None:
    assert os.path.samefile(f"/proc/{process.process_id()}", "/proc/self") if os.path.isdir("/proc/self") else True
    assert process.process_id() == os.getpid()


def test_the_user_is_the_one_that_files_are_made_for(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    assert process.own_user_id() == os.stat(tmp_path / "file").st_uid
