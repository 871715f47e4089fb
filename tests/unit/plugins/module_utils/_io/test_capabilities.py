# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io import capabilities
from ansible_collections.vdisk.parallels.plugins.module_utils._io.capabilities import Capabilities, detect


def test_a_host_without_anything_has_no_capability():
    assert not any(vars(Capabilities()).values())


@pytest.mark.skipif(sys.platform != "linux", reason="tells what Linux has")
def test_linux_is_recognised():
    found = detect()
    assert found.seek_hole and found.fadvise and found.exchange and found.proc
    assert not (found.clone_file or found.full_fsync or found.preallocate or found.read_advice)


def test_detecting_does_not_load_ctypes():
    folder = os.path.dirname(os.path.dirname(os.path.dirname(capabilities.__file__)))
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); from module_utils._io import capabilities as c; "
        f"c.detect(); sys.exit('ctypes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_macos_gets_its_own_calls(monkeypatch):
    monkeypatch.setattr(capabilities.sys, "platform", "darwin")
    monkeypatch.setattr(capabilities.fcntl, "F_FULLFSYNC", 51, raising=False)
    found = detect()
    assert found.full_fsync and found.preallocate and found.read_advice and found.exchange and found.clone_file
    assert not (found.sync_file_range or found.clone or found.proc)


@pytest.mark.parametrize(
    "machine, expected", [("x86_64", True), ("aarch64", True), ("ppc64le", False), ("mips64", False)]
)
def test_cloning_is_left_alone_where_its_number_differs(monkeypatch, machine, expected):
    monkeypatch.setattr(capabilities.sys, "platform", "linux")
    monkeypatch.setattr(capabilities.os, "uname", type("Uname", (), {"machine": machine}))
    assert detect().clone is expected


def test_there_are_no_byte_locks_where_the_layout_is_unknown(monkeypatch):
    monkeypatch.setattr(capabilities.sys, "maxsize", (1 << 31) - 1)
    assert not detect().ofd_locks
