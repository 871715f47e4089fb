# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks with sectors of 4 KiB keep them where the output can note them; elsewhere the user is warned."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.catalog import FORMATS
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.writer import VhdxWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.sectors import sector_of
from ansible_collections.vdisk.parallels.tests.support import vmdk_files

PORT = OsPort()
SIZE = 4 << 20


def vhdx(path: Path, *, sector: int = 4096) -> str:
    file = PORT.create(str(path))
    writer = VhdxWriter(file, subformat="dynamic", size_bytes=SIZE, logical_sector=sector)
    writer.write(0, b"x" * 4096)
    writer.finish("{11111111-1111-4111-8111-111111111111}")
    file.close()
    return str(path)


def vmdk(path: Path, size: int = SIZE) -> str:
    more = ['ddb.logicalSectorSize = "4096"']
    descriptor = vmdk_files.text("monolithicSparse", [f'RW {size // 512} SPARSE "d"'], more=more)
    path.write_bytes(vmdk_files.sparse(capacity=size // 512, grains={}, descriptor=descriptor).raw)
    return str(path)


def converted(source: str, dest: str, **options: Any) -> Any:
    format = Path(dest).suffix.lstrip(".")
    plan = plan_convert(PORT, find_source(PORT, source), ConvertRequest(format, dest, **options), token="t")
    execute(PORT, plan)
    return plan


@pytest.mark.parametrize("format", [name for name, row in FORMATS.items() if row.keeps_sectors])
@pytest.mark.parametrize("make", [vhdx, vmdk])
def test_they_are_kept_where_the_format_notes_them(tmp_path: Path, make: Any, format: str) -> None:
    source, dest = make(tmp_path / f"s.{make.__name__}"), str(tmp_path / f"d.{format}")
    assert sector_of(find_source(PORT, source)) == 4096
    plan = converted(source, dest)
    assert not plan.warnings and sector_of(find_source(PORT, dest)) == 4096
    assert converted(source, dest).is_empty


@pytest.mark.parametrize("format", [name for name, row in FORMATS.items() if not row.keeps_sectors])
def test_elsewhere_the_fate_of_the_partition_table_is_told(tmp_path: Path, format: str) -> None:
    plan = converted(vhdx(tmp_path / "s.vhdx"), str(tmp_path / f"d.{format}"))
    assert [text for text in plan.warnings if "logical_block_size=4096" in text and "partition" in text]


def test_a_disk_of_half_sectors_is_told_too(tmp_path: Path) -> None:
    plan = converted(vmdk(tmp_path / "s.vmdk", SIZE + 512), str(tmp_path / "d.vhdx"))
    assert len(plan.warnings) == 1 and sector_of(find_source(PORT, str(tmp_path / "d.vhdx"))) == 512


def test_an_output_with_other_sectors_is_written_anew(tmp_path: Path) -> None:
    small, large = vhdx(tmp_path / "a.vhdx", sector=512), vhdx(tmp_path / "b.vhdx")
    dest = str(tmp_path / "d.vhdx")
    assert not converted(small, dest).warnings and sector_of(find_source(PORT, dest)) == 512
    plan = converted(large, dest)
    assert "sector_size" in plan.facts.reason and sector_of(find_source(PORT, dest)) == 4096


def test_usual_disks_have_usual_sectors(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(struct.pack("<Q", 1) * 512)
    assert sector_of(find_source(PORT, str(tmp_path / "a.raw"))) == 512
    assert not converted(str(tmp_path / "a.raw"), str(tmp_path / "d.qcow2")).warnings
