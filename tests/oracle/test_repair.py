# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repaired disks in the eyes of qemu-img, and what its own repair keeps of the same images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import NO
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.repair import plan_repair
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT, apply_plan
from ansible_collections.vdisk.parallels.tests.support import oracles
from ansible_collections.vdisk.parallels.tests.support.faults import (
    FAULTS,
    MIB_WRITES,
    SECTORS,
    Fault,
    left_by_qemu,
    top_of,
)

MENDED = [fault for fault in FAULTS if fault.level != NO]
SEEN_BY_QEMU = ("entry_out_of_file", "image_dirty", "leak_tail")


def repair(directory: str, level: str = "all") -> None:
    """As the module does, without what ends journals of others."""
    plan = plan_repair(PORT, examine(PORT, locate_damaged(PORT, directory)), level=level, force=True)
    if not plan.is_empty:
        apply_plan(plan)


def raw_of(image: str, scratch: Path) -> bytes:
    oracles.qemu_img("convert", "-f", "parallels", "-O", "raw", image, str(scratch / "layer.raw"))
    return (scratch / "layer.raw").read_bytes()


@pytest.mark.parametrize("fault", MENDED, ids=lambda fault: fault.name)
def test_qemu_finds_a_repaired_disk_clean(fault: Fault, tmp_path: Path) -> None:
    oracles.require("qemu-img")
    built = fault.build(os.path.join(os.path.realpath(str(tmp_path)), "a.hdd"))
    repair(built.directory)
    oracles.assert_qemu_finds_clean(list(built.files.values()))


@pytest.mark.parametrize(
    "fault", [fault for fault in MENDED if fault.code in SEEN_BY_QEMU], ids=lambda fault: fault.name
)
def test_nothing_is_lost_that_a_repair_by_qemu_keeps(fault: Fault, tmp_path: Path) -> None:
    oracles.require("qemu-img")
    built = fault.build(os.path.join(os.path.realpath(str(tmp_path)), "a.hdd"))
    theirs = str(tmp_path / "theirs.hds")
    shutil.copyfile(top_of(built), theirs)
    ended = oracles.run("qemu-img", "check", "-f", "parallels", "-r", "all", theirs)
    assert ended.code == 0, ended.output
    repair(built.directory)
    ours = raw_of(top_of(built), tmp_path)
    assert ours == raw_of(theirs, tmp_path)
    assert len(ours) == SECTORS * 512
    oracles.compared("qemu-img check -r all")


@pytest.mark.parametrize(
    "fault",
    [fault for fault in MENDED if fault.code in ("entry_duplicate", "entry_off_grid")],
    ids=lambda fault: fault.name,
)
def test_what_qemu_read_before_a_repair_it_reads_afterwards(fault: Fault, tmp_path: Path) -> None:
    oracles.require("qemu-img")
    built = fault.build(os.path.join(os.path.realpath(str(tmp_path)), "a.hdd"))
    before = raw_of(top_of(built), tmp_path)
    repair(built.directory)
    assert raw_of(top_of(built), tmp_path) == before
    oracles.compared("qemu-img convert")


def test_what_qemu_left_behind_is_mended(tmp_path: Path) -> None:
    """QEMU itself drops an extension that it does not keep, goes on naming it, and then refuses the image."""
    fault = next(fault for fault in FAULTS if fault.name == "an extension that was closed away")
    built = fault.sound(os.path.join(os.path.realpath(str(tmp_path)), "a.hdd"))
    left_by_qemu(built)
    path = top_of(built)
    oracles.qemu_io(path, *MIB_WRITES)
    repair(built.directory, "safe")
    oracles.assert_qemu_finds_clean([path])
    assert examine(PORT, locate_damaged(PORT, built.directory)).findings == ()
    with open(path, "rb") as stream:
        assert stream.read(64)[56:64] == bytes(8)


def made_dense(path: str) -> None:
    """ploop refuses files with holes."""
    content = Path(path).read_bytes()
    Path(path).write_bytes(content)


@pytest.mark.parametrize(
    "fault", [fault for fault in MENDED if fault.layers[0].type != "Plain"], ids=lambda fault: fault.name
)
def test_ploop_finds_a_repaired_disk_clean_and_its_own_repair_keeps_no_more(fault: Fault, tmp_path: Path) -> None:
    folder = os.path.realpath(str(tmp_path))
    built = fault.build(os.path.join(folder, "a.hdd"))
    for image in built.files.values():
        made_dense(image)
    shutil.copyfile(top_of(built), os.path.join(folder, "theirs.hds"))
    forced = oracles.ploop("check", "-F", "-f", "-d", "theirs.hds", directory=folder)
    repair(built.directory)
    for image in built.files.values():
        made_dense(image)
        ended = oracles.ploop("check", "-f", "-c", image, directory=folder)
        assert ended.code == 0, ended.output
    oracles.compared("ploop check")
    # Where it went on, it kept the damage that it does not mend: twins, and sizes that it does not know to be wrong.
    if forced.code == 0 and fault.code in (
        "entry_out_of_file",
        "entry_cut",
        "entry_duplicate",
        "image_dirty",
        "leak_tail",
    ):
        ours, theirs = raw_of(top_of(built), tmp_path), raw_of(os.path.join(folder, "theirs.hds"), tmp_path)
        assert len(ours) == len(theirs) and all(a == b or not b for a, b in zip(ours, theirs))
        oracles.compared("ploop check -F")
