# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""QEMU reads a VMDK that is text, with its extents in the layers of a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.text_view import plan_text_view
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import MIB, PORT, apply_plan, create
from ansible_collections.vdisk.parallels.tests.support import oracles

SHAPES: Dict[str, Dict[str, Any]] = {
    "v1": {"version": 1},
    "v2": {"version": 2},
    "split": {"split_size": 104 * MIB},
    "plain": {"kind": "plain"},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_qemu_reads_every_snapshot_in_place(tmp_path: Path, shape: str) -> None:
    oracles.require("qemu-img", "qemu-io")
    disk = create(str(tmp_path), 9 * MIB + 333 * 512, **SHAPES[shape])
    disk.write(1, 4)
    disk.take("before")
    disk.write(2, 4, 9)
    disk.write_zeros(1)
    dest, reference, read = (str(tmp_path / name) for name in ("view.vmdk", "reference.raw", "read.raw"))
    for guid, content in disk.views.items():
        request = ConvertRequest("vmdk", dest, subformat="view", update="always")
        source = replace(find_source(PORT, disk.bundle), guid=guid)
        apply_plan(plan_text_view(PORT, source, request, token="trial"))
        Path(reference).write_bytes(content)
        oracles.qemu_img("compare", "-f", "vmdk", "-F", "raw", dest, reference)
        oracles.qemu_img("convert", "-f", "vmdk", "-O", "raw", dest, read)
        assert Path(read).read_bytes() == content
        oracles.compared("qemu-img", 2)
