# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is added to the refusals of readers."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, NotAWholeDisk, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.refusals import explain
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


def test_a_piece_is_told_what_it_is_a_piece_of() -> None:
    port = MemoryPort()
    port.plant_file("/vm/d-s001.vmdk", b"KDMV")
    port.plant_file("/vm/d.vmdk", b'RW 8 SPARSE "d-s001.vmdk"')
    error = NotAWholeDisk("a part", "/vm/d-s001.vmdk")
    explain(port, error, "vmdk", is_guessed=True)
    assert error.hint == "Name the disk: /vm/d.vmdk"


@pytest.mark.parametrize("is_guessed", [True, False])
@pytest.mark.parametrize("content", [b"conectix".ljust(512, b"\0"), bytes(512)])
def test_a_vhd_that_only_its_name_tells_is_a_false_name(is_guessed: bool, content: bytes) -> None:
    port = MemoryPort()
    port.plant_file("/vm/d.vhd", bytes(1024) + content)
    error = Damaged("no footer", "/vm/d.vhd")
    if is_guessed and not content.strip(b"\0"):
        with pytest.raises(NotAWholeDisk):
            explain(port, error, "vhd", is_guessed=is_guessed)
    else:
        explain(port, error, "vhd", is_guessed=is_guessed)
        assert error.hint == "Get the file anew, or restore it from a copy."


def test_a_format_that_is_not_read_has_the_tool_that_reads_it() -> None:
    error = Unsupported("odd", "/vm/d.vdi")
    explain(MemoryPort(), error, "vdi", is_guessed=True)
    assert error.hint == "Convert it and name the result: VBoxManage clonemedium /vm/d.vdi /vm/d-copy.vdi"
