# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task returns of a box: the other tests are those of the module."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle
from ansible_collections.vdisk.parallels.tests.support.machines import UUID, make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed


def test_a_result_describes_the_box(tmp_path: Path) -> None:
    machine, box = str(tmp_path / "a.pvm"), str(tmp_path / "a.box")
    make_machine(machine)
    build_bundle(f"{machine}/mac.hdd", size_sectors=2048, layers=[Layer(TOP)])
    first = succeed("vagrant_box", src=machine, dest=box, architecture="arm64")
    assert (first["dest"], first["uuid"].strip("{}"), first["changed"]) == (box, UUID.strip("{}"), True)
    assert first["files"][:2] == ["metadata.json", "box.pvm/config.pvs"] and first["size"] == os.path.getsize(box)
    assert first["files"][2] == "box.pvm/mac.hdd/DiskDescriptor.xml"
    assert first["diff"]["before"] == {"box": "absent", "files": []}
    again = succeed("vagrant_box", src=machine, dest=box, architecture="arm64")
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"] == first["diff"]["after"]
