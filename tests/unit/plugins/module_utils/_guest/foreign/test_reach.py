# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where files may lie that an image names."""

from __future__ import annotations

from typing import Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Escape,
    MissingImage,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.allowed import Reach
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.reach import (
    Roots,
    SiblingFiles,
    is_path,
    roots_of,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    for path in ("/vms/web/web.vdi", "/vms/web/Logs/x", "/vms/web/Snapshots/a.vdi", "/mnt/deep/base.vdi", "/secret"):
        port.plant_file(path, b"x")
    return port


@pytest.mark.parametrize(
    "path, format, folders, expected",
    [
        ("/vms/web/web.vdi", "vdi", (), Roots(("/vms/web",))),
        ("/vms/web/Snapshots/a.vdi", "vdi", (), Roots(("/vms/web/Snapshots",), ("/vms/web",))),
        ("/vms/web/Snapshots/a.vmdk", "vmdk", (), Roots(("/vms/web/Snapshots",), ("/vms/web",))),
        ("/vms/web/Snapshots/a.qcow2", "qcow2", (), Roots(("/vms/web/Snapshots",))),
        ("/vms/web/Logs/a.vdi", "vdi", (), Roots(("/vms/web/Logs",))),
        ("/vms/web/web.vdi", "vdi", ("/mnt", "/vms/web"), Roots(("/vms/web", "/mnt"))),
    ],
)
def test_the_folder_of_the_image_is_allowed_and_what_the_user_names(
    port: MemoryPort, path: str, format: str, folders: Tuple[str, ...], expected: Roots
) -> None:
    assert roots_of(port, path, format, Reach(folders)) == expected


@pytest.mark.parametrize("folder", ["/gone", "/secret"])
def test_a_folder_that_is_none_is_a_bad_request(port: MemoryPort, folder: str) -> None:
    with pytest.raises(BadRequest) as caught:
        roots_of(port, "/vms/web/web.vdi", "vdi", Reach((folder,)))
    assert caught.value.path == folder


def test_of_the_folder_above_only_the_files_are_allowed() -> None:
    roots = Roots(("/vms/web/Snapshots", "/mnt"), ("/vms/web",))
    assert roots.folders == ("/vms/web/Snapshots", "/vms/web", "/mnt")
    held = [path for path in ("/vms/web/a", "/vms/web/Snapshots/x/a", "/mnt/x/y/a") if roots.holds(path)]
    assert held == ["/vms/web/a", "/vms/web/Snapshots/x/a", "/mnt/x/y/a"]
    assert not [path for path in ("/vms/web/Logs/x", "/vms/a", "/mntx/a", "/mnt", "/a") if roots.holds(path)]


def test_names_are_seen_from_the_image(port: MemoryPort) -> None:
    open_beside = SiblingFiles(port, "/vms/web/Snapshots/a.vdi", Roots(("/vms/web/Snapshots",), ("/vms/web",)))
    assert open_beside.locate("../web.vdi") == "/vms/web/web.vdi"
    open_beside("../web.vdi").close()
    for name, error in (
        ("../Logs/x", Escape),
        ("../../../secret", Escape),
        ("/secret", Escape),
        ("nbd://x", Escape),
        ("", Escape),
        ("x\0y", Escape),
        ("gone.vdi", MissingImage),
    ):
        with pytest.raises(error):
            open_beside(name)
    port.plant_other("/vms/web/fifo")
    with pytest.raises(Unsupported):
        open_beside("../fifo")


def test_a_name_that_leads_out_is_answered_with_the_folder_to_allow(port: MemoryPort) -> None:
    with pytest.raises(Escape) as caught:
        SiblingFiles(port, "/vms/web/web.vdi", Roots(("/vms/web",)))("/mnt/deep/base.vdi")
    assert "backing_paths: [/mnt/deep]" in str(caught.value)
    SiblingFiles(port, "/vms/web/web.vdi", Roots(("/vms/web", "/mnt/deep")))("/mnt/deep/base.vdi").close()


def test_protocols_are_no_paths() -> None:
    assert is_path("a") and is_path("/a/b") and is_path("../a")
    assert not [name for name in ("", "a\0", "json:{}", "nbd:x", "http://x") if is_path(name)]


@pytest.mark.parametrize(
    "name, expected",
    [
        ("C:\\VMs\\web.vdi", "/vms/web/web.vdi"),
        (".\\web.vdi", "/vms/web/web.vdi"),
        ("Logs\\x", "/vms/web/Logs/x"),
        ("\\\\server\\share\\web.vdi", "/vms/web/web.vdi"),
    ],
)
def test_names_may_be_written_as_on_windows(port: MemoryPort, name: str, expected: str) -> None:
    open_beside = SiblingFiles(port, "/vms/web/a.vmdk", Roots(("/vms/web",)))
    file = open_beside(name)
    assert file.path == expected and expected in open_beside.warnings[0]
    file.close()


@pytest.mark.parametrize(
    "name, error, hint",
    [
        ("..\\..\\secret", Escape, "backing_paths: [/]"),
        ("Logs\\gone", MissingImage, "Copy it to /vms/web/Logs/gone"),
        ("C:\\VMs\\gone.vmdk", Escape, "Put the files together in one directory"),
    ],
)
def test_names_of_windows_lead_no_further(port: MemoryPort, name: str, error: type, hint: str) -> None:
    with pytest.raises(error) as caught:
        SiblingFiles(port, "/vms/web/a.vmdk", Roots(("/vms/web",)))(name)
    assert hint in str(caught.value)
