# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is of an output."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.output import (
    OutputFile,
    output_files,
    predicted_facts,
    present_facts,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

ONE = guid_of(1)


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers("/vm/a.hdd", ONE)


@pytest.mark.parametrize("format", ["raw", "qcow2", "vhd"])
def test_facts_and_files_are_as_predicted(port: MemoryPort, format: str) -> None:
    request = ConvertRequest(format, f"/vm/b.{format}")
    assert present_facts(port, request)["exists"] is False
    plan = disks.plan_of_convert(port, "/vm/a.hdd", request.path, format=format, predict=True)
    facts, files = predicted_facts(port, request, plan), output_files(port, request, plan, None)
    disks.apply(port, disks.plan_of_convert(port, "/vm/a.hdd", request.path, format=format))
    found = present_facts(port, request)
    assert (facts["path"], facts["exists"]) == (found["path"], found["exists"]) == (request.path, True)
    assert [OutputFile(file.path, port.stat(file.path).size, None) for file in files] == list(files)  # type: ignore[union-attr]


def test_of_a_transfer_the_files_are_those_it_reports(port: MemoryPort) -> None:
    request = ConvertRequest("raw", "/vm/b.raw", checksum="md5")
    plan = disks.plan_of_convert(port, "/vm/a.hdd", request.path, checksum="md5")
    report = disks.apply(port, plan).reports["transfer"]
    written = output_files(port, request, plan, report)  # type: ignore[arg-type]
    kept = disks.plan_of_convert(port, "/vm/a.hdd", request.path)
    assert kept.is_empty and output_files(port, request, kept, None) == written
    assert written[0].checksum is not None


def test_an_image_that_cannot_be_read_is_one_file(port: MemoryPort) -> None:
    port.plant_file("/vm/b.qcow2", b"no image")
    request = ConvertRequest("qcow2", "/vm/b.qcow2")
    kept = disks.plan_of_convert(port, "/vm/a.hdd", request.path, format="qcow2", update="missing")
    assert output_files(port, request, kept, None) == (OutputFile("/vm/b.qcow2", 8, None),)


def test_a_directory_that_is_no_disk_counts_as_absent(port: MemoryPort) -> None:
    port.plant_directory("/vm/b.hdd")
    assert present_facts(port, ConvertRequest("hdd", "/vm/b.hdd"))["exists"] is False
