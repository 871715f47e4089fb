# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Dirty, DiskError, Escape, MissingImage
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.box.disks import examine_disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, BuiltBundle, Layer, build_bundle
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine

PORT = OsPort()


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> str:
    return f"{os.path.realpath(tmp_path)}/a.pvm"


def built(machine: str, disk: str = "a.hdd", **options: Any) -> BuiltBundle:
    make_machine(machine, disk=disk)
    return build_bundle(f"{machine}/a.hdd", size_sectors=64, layers=[Layer(TOP, **options)], cluster_sectors=8)


def test_a_machine_with_a_sound_disk_passes_and_is_fingerprinted(machine: str) -> None:
    made = built(machine)
    found = examine_disks(PORT, machine)
    assert found.warnings == ()
    assert {path for path, _seen in found.fingerprint} == {f"{made.directory}/DiskDescriptor.xml", made.files[(0, TOP)]}


def test_a_machine_that_was_moved_names_its_disk_by_where_it_was(machine: str) -> None:
    built(machine, disk="/Users/me/Parallels/a.pvm/a.hdd")
    assert examine_disks(PORT, machine).fingerprint


@pytest.mark.parametrize(
    ("disk", "error"), [("../b.hdd", Escape), ("/elsewhere/b.hdd", Escape), ("b.hdd", MissingImage)]
)
def test_a_disk_that_would_not_be_in_the_box_is_refused(machine: str, disk: str, error: type) -> None:
    built(machine, disk=disk)
    with pytest.raises(error) as caught:
        examine_disks(PORT, machine)
    assert caught.value.found == disk and caught.value.hint


def test_an_image_outside_is_refused_with_advice_that_a_box_can_follow(machine: str) -> None:
    made = built(machine)
    outside = os.path.join(os.path.dirname(machine), "outside.hds")
    os.rename(made.files[(0, TOP)], outside)
    path = Path(made.directory, "DiskDescriptor.xml")
    path.write_text(path.read_text().replace(os.path.basename(made.files[(0, TOP)]), outside))
    with pytest.raises(Escape) as caught:
        examine_disks(PORT, machine)
    assert "hdd_convert" in str(caught.value.hint)


def test_a_mark_is_passed_by_force_alone_and_a_journal_by_nothing(machine: str) -> None:
    made = built(machine)
    with open(made.files[(0, TOP)], "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
    with pytest.raises(Dirty):
        examine_disks(PORT, machine)
    (told,) = examine_disks(PORT, machine, force=True).warnings
    assert "marked as in use" in told
    Path(made.directory, ".vdisk-journal").write_text(
        '{"version": 1, "operation": "merge", "phase": "apply", "created": [],'
        ' "discarded": [], "images": [], "request": {}}'
    )
    with pytest.raises(DiskError) as caught:
        examine_disks(PORT, machine, force=True)
    assert caught.value.code == "interrupted"
