# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Destinations that cannot be read: damaged, not understood, or refused by the host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
    DiskError,
    IoFailure,
    NoSpace,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH, RAW, DEST = "/vm/a.hdd", "/vm/a.raw", "/vm/b.hdd"
CLUSTER = disks.SMALL_CLUSTER
ONE = guid_of(1)
SIZE = 8 * CLUSTER


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers(PATH, ONE)


FLAT: Dict[str, Any] = {"format": "vmdk", "subformat": "monolithicFlat"}


def test_a_damaged_destination_is_replaced_by_force_only(port: MemoryPort) -> None:
    disks.convert(port, PATH, DEST)
    disks.patch(port, disks.file_of(port, DEST), 16, b"\7")
    with pytest.raises(Damaged, match="force: true"):
        disks.convert(port, PATH, DEST)
    disks.convert(port, PATH, DEST, force=True)
    assert disks.read_naively(port, DEST) == disks.read_naively(port, PATH)


def linked_clone(tmp_path: Path) -> str:
    """A sound disk of somebody else's making, which cannot be looked into without allow_outside."""
    layers = [
        Layer(ONE, clusters={0: fill(0, 65536)}, file=str(tmp_path / "parent.hds")),
        Layer(TOP, ONE, {1: fill(1, 65536)}),
    ]
    return build_bundle(str(tmp_path / "b.hdd"), size_sectors=1024, layers=layers, cluster_sectors=128).directory


def test_a_disk_that_is_only_not_understood_is_not_taken_for_damaged(tmp_path: Path) -> None:
    port, dest = OsPort(), linked_clone(tmp_path)
    raw = tmp_path / "a.raw"
    raw.write_bytes(b"x" * 512)
    before = sorted(os.listdir(dest))
    with pytest.raises(DiskError):
        disks.convert(port, str(raw), dest)
    assert sorted(os.listdir(dest)) == before


@pytest.mark.parametrize("errno_name, kind", [("EIO", IoFailure), ("ENOSPC", NoSpace)])
def test_an_image_that_the_host_cannot_read_now_is_not_taken_for_a_broken_one(errno_name: str, kind: type) -> None:
    """Its pieces would stay behind."""
    port = MemoryPort()
    port.plant_file("/vm/a.raw", b"old".ljust(SIZE, b"\0"))
    execute(
        port, plan_convert(port, find_source(port, "/vm/a.raw"), ConvertRequest(path="/vm/d.vmdk", **FLAT), token="t")
    )
    port.plant_file("/vm/a.raw", b"new".ljust(SIZE, b"\0"))
    refused = set()
    for number in range(1, 200):
        source = find_source(port, "/vm/a.raw")
        before = len(port.calls)
        port.fail_call(number, errno_name)
        try:
            plan_convert(port, source, ConvertRequest(path="/vm/d.vmdk", force=True, **FLAT), token="t")
        except kind:
            refused.add(port.calls[before + number - 1])
        if len(port.calls) - before < number:
            break
        port.fail_call(0)
    assert ("open_read", "/vm/d.vmdk") in refused and ("pread_into", "/vm/d.vmdk") in refused
