# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What we write, as 7-Zip reads it, and appliances that 7-Zip and we unpack alike.

It refuses a VHDX with an odd number of sectors, and like QEMU it takes a differencing VMDK of VirtualBox for a whole
disk; it has no differencing VDI.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import conversions, foreign
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.conversions import Source
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.oracles import compared, require
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_catalog import (
    ONE,
    described,
)
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_tar import archive

MIB = 1 << 20
TYPES = {"qcow2": "QCOW", "vmdk": "VMDK", "vhd": "VHD", "vhdx": "VHDX", "vdi": "VDI"}
KINDS: Dict[str, Tuple[str, Dict[str, Any]]] = {
    "qcow2": ("qcow2", {}),
    "qcow2 zlib": ("qcow2", {"compression": "zlib"}),
    "vmdk": ("vmdk", {}),
    "vmdk stream": ("vmdk", {"subformat": "streamOptimized"}),
    "vhd": ("vhd", {}),
    "vhd fixed": ("vhd", {"subformat": "fixed"}),
    "vhdx": ("vhdx", {}),
    "vhdx fixed": ("vhdx", {"subformat": "fixed"}),
    "vdi": ("vdi", {}),
    "vdi fixed": ("vdi", {"subformat": "fixed"}),
}


def unpacked(path: str, kind: str, *names: str) -> bytes:
    require("7zz")
    command = ["7zz", "e", f"-t{kind}", "-so", path, *names]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    compared("7zz")
    return done.stdout


@pytest.mark.parametrize("guest", ["sparse", "fragmented", "dense"])
@pytest.mark.parametrize("kind", KINDS)
def test_seven_zip_reads_what_we_write(tmp_path: Path, kind: str, guest: str) -> None:
    format, options = KINDS[kind]
    raw = foreign.make_raw(tmp_path / "disk.raw", guest)
    path = str(tmp_path / f"out.{format}")
    conversions.convert(Source(raw), path, format, **options)
    assert unpacked(path, TYPES[format]) == Path(raw).read_bytes()


@pytest.mark.parametrize("format", ["vhd", "vhdx"])
def test_seven_zip_reads_our_differencing_disks(tmp_path: Path, format: str) -> None:
    layers = line_of_layers({0: fill(0, MIB), 1: fill(1, MIB)}, {1: fill(1, MIB, 1), 3: fill(3, MIB)})
    build_bundle(str(tmp_path / "disk.hdd"), size_sectors=8 * 2048, layers=layers)
    path = str(tmp_path / f"out.{format}")
    conversions.convert(Source(str(tmp_path / "disk.hdd")), path, format, keeps_layers=True)
    expected = fill(0, MIB) + fill(1, MIB, 1) + bytes(MIB) + fill(3, MIB) + bytes(4 * MIB)
    assert unpacked(path, TYPES[format]) == expected


def test_a_disk_of_an_appliance_is_what_seven_zip_unpacks(tmp_path: Path) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", "sparse")
    conversions.convert(Source(raw), str(tmp_path / "a.vmdk"), "vmdk", subformat="streamOptimized")
    packed = archive({"x.ovf": described(*ONE), "a.vmdk": (tmp_path / "a.vmdk").read_bytes()})
    path = tmp_path / "x.ova"
    path.write_bytes(packed)
    (tmp_path / "b.vmdk").write_bytes(unpacked(str(path), "tar", "a.vmdk"))
    port = OsPort()
    view = open_source(port, find_source(port, str(path)))
    buffer = bytearray(view.size)
    view.pread_into(0, buffer)
    view.close()
    assert buffer == unpacked(str(tmp_path / "b.vmdk"), "VMDK") == Path(raw).read_bytes()
