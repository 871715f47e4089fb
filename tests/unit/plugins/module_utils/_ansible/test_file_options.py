# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.file_options import (
    apply_file_options,
    apply_owner,
    cover_new_files,
    refuse_other_owner,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    BadRequest,
    Escape,
    SharedLayer,
    StalePlan,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.tasks import Task

AS_ROOT = os.geteuid() == 0


class FileTask(Task):
    """A task with Ansible's own parser of modes, and nothing else of it that touches files."""

    _symbolic_mode_to_octal = AnsibleModule._symbolic_mode_to_octal
    _apply_operation_to_mode = staticmethod(AnsibleModule._apply_operation_to_mode)
    _get_octal_mode_from_symbolic_perms = staticmethod(AnsibleModule._get_octal_mode_from_symbolic_perms)

    def set_fs_attributes_if_different(self, arguments: Any, changed: bool, *, expand: bool = True) -> bool:
        assert {arguments[name] for name in ("owner", "group", "mode")} == {None} and not expand
        return changed


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize(
    "mode, expected", [("0640", 0o640), ("640", 0o640), (0o640, 0o640), ("u=rw,go=", 0o600), ("g+w", 0o664)]
)
def test_files_get_the_mode_once_and_directories_do_not(tmp_path: Path, mode: Any, expected: int) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "a").chmod(0o644)
    port, task = OsPort(), FileTask(mode=mode)
    paths = [str(tmp_path / "a"), str(tmp_path / "none")]
    assert apply_file_options(port, FileTask(mode=mode, check=True), paths, changed=False)
    assert mode_of(tmp_path / "a") == 0o644
    assert apply_file_options(port, task, paths, changed=False)
    assert mode_of(tmp_path / "a") == expected
    assert not apply_file_options(port, task, paths, changed=False)
    before = mode_of(tmp_path)
    assert not apply_owner(port, task, str(tmp_path), changed=False)
    assert mode_of(tmp_path) == before


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "rw"},
        {"mode": "100644"},
        {"mode": 600},
        {"mode": True},
        {"mode": ["0600"]},
        {"owner": "no such user"},
        {"group": "no-such"},
    ],
)
def test_what_means_nothing_is_refused(tmp_path: Path, options: Any) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(BadRequest):
        apply_file_options(OsPort(), FileTask(**options), [str(tmp_path / "a")], changed=False)


@pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
def test_owners_are_given_by_name_and_number(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    port = OsPort()
    assert apply_file_options(port, FileTask(owner="12345", group="54321"), [str(tmp_path / "a")], changed=False)
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (12345, 54321)
    assert apply_file_options(port, FileTask(owner="root", group=0), [str(tmp_path / "a")], changed=False)
    assert not apply_owner(port, FileTask(owner="root"), str(tmp_path / "a"), changed=False)


@pytest.mark.parametrize("kind", ["link", "other file"])
def test_who_swaps_the_published_file_gains_nothing(tmp_path: Path, kind: str) -> None:
    (tmp_path / "victim").touch()
    (tmp_path / "victim").chmod(0o600)
    port = OsPort()
    port.create(str(tmp_path / "a")).close()
    looked = port.lstat

    def swapped(path: str) -> Any:
        found = looked(path)
        os.unlink(path)
        os.symlink("victim", path) if kind == "link" else os.link(tmp_path / "victim", path)
        return found

    port.lstat = swapped  # type: ignore[method-assign]
    with pytest.raises(Escape if kind == "link" else StalePlan):
        apply_file_options(port, FileTask(mode="0666"), [str(tmp_path / "a")], changed=False)
    assert mode_of(tmp_path / "victim") == 0o600


def test_a_file_with_a_second_name_keeps_what_it_has(tmp_path: Path) -> None:
    """In a folder of somebody else it may be the name of a file that is not his."""
    (tmp_path / "victim").touch()
    (tmp_path / "victim").chmod(0o600)
    os.link(tmp_path / "victim", tmp_path / "a")
    before = os.stat(tmp_path / "victim")
    for options in ({"mode": "0644"}, {"owner": "12345"}, {"group": "12345"}):
        for check in (True, False):
            with pytest.raises(SharedLayer):
                apply_file_options(OsPort(), FileTask(check=check, **options), [str(tmp_path / "a")], changed=False)
    assert os.stat(tmp_path / "victim") == before
    assert not apply_file_options(OsPort(), FileTask(mode="0600"), [str(tmp_path / "a")], changed=False)


@pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
@pytest.mark.parametrize(
    "mode, owner, options, is_refused",
    [
        (0o600, 0, {}, True),
        (0o640, 0, {}, True),
        (0o644, 0, {}, False),
        (0o600, 12345, {}, False),
        (0o600, 0, {"owner": "12345"}, False),
        (0o600, 0, {"mode": "0600"}, True),
    ],
)
def test_who_owns_what_is_replaced_gets_no_secret(
    tmp_path: Path, mode: int, owner: int, options: Any, is_refused: bool
) -> None:
    for name in ("source", "dest", "own"):
        (tmp_path / name).touch()
    os.chown(tmp_path / "source", owner, 0)
    (tmp_path / "source").chmod(mode)
    os.chown(tmp_path / "dest", 12345, 12345)
    os.symlink("dest", tmp_path / "link")
    port, source = OsPort(), [str(tmp_path / "source")]
    for name in ("dest", "link"):
        if is_refused:
            with pytest.raises(AlreadyExists):
                refuse_other_owner(port, FileTask(**options), str(tmp_path / name), source)
        else:
            refuse_other_owner(port, FileTask(**options), str(tmp_path / name), source)
    for name in ("own", "none"):
        refuse_other_owner(port, FileTask(**options), str(tmp_path / name), source)


def test_a_link_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "victim").touch()
    (tmp_path / "victim").chmod(0o600)
    (tmp_path / "a").symlink_to("victim")
    assert not apply_file_options(OsPort(), FileTask(mode="0666"), [str(tmp_path / "a")], changed=False)
    assert mode_of(tmp_path / "victim") == 0o600


@pytest.mark.parametrize("mode, expected", [("0600", 0o600), ("o=,g-w", 0o640), ("0666", 0o644), (None, 0o644)])
def test_new_files_begin_with_the_mode_or_less(tmp_path: Path, mode: Any, expected: int) -> None:
    before = os.umask(0o022)
    try:
        port = OsPort()
        cover_new_files(port, FileTask(mode=mode))
        port.create(str(tmp_path / "a")).close()
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "a") == expected
