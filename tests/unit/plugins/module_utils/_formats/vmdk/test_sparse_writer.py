# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from pathlib import Path

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.tests.support import vmdk_files as independent
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.vmdk.test_writer import (
    IDENTITY,
    PARENT,
    created,
    finished,
    recorded,
)


def test_data_ascends_tables_follow_and_the_header_comes_last() -> None:
    writer, (file,) = recorded("monolithicSparse", 100 * MIB)
    for offset in (5, 65535, 3 * MIB, 3 * MIB + 4096, 40 * MIB):
        writer.write(offset, b"12")
    writer.write(40 * MIB + 65536, bytes(65536 * 3))
    writer.finish(IDENTITY)
    # 4 tables: redundant directory in sector 21 with tables from 22, directory in 38 with tables from 39, data from
    # 128.
    base = 128 * 512
    grain = 65536
    assert file.calls == [
        ("write", base + 5, 2),
        ("write", base + 65535, 2),
        ("write", base + 2 * grain, 2),
        ("write", base + 2 * grain + 4096, 2),
        ("write", 22 * 512, 2048),
        ("write", 39 * 512, 2048),
        ("write", base + 3 * grain, 2),
        ("write", base + 4 * grain, 3 * grain),
        ("write", 26 * 512, 2048),
        ("write", 43 * 512, 2048),
        ("truncate", base + 7 * grain, 0),
        ("write", 21 * 512, 16),
        ("write", 38 * 512, 16),
        ("write", 0, 21 * 512),
    ]


def test_both_directories_lead_to_tables_of_their_own_with_the_same_entries(tmp_path: Path) -> None:
    writer, path, files = created(tmp_path, "monolithicSparse", 100 * MIB)
    writer.write(0, b"x" * 65536)
    writer.write(99 * MIB, b"y" * 65536)
    finished(writer, files)
    raw = Path(path).read_bytes()
    found = []
    for field in ("rgd", "gd"):
        start = independent.get(raw, field)
        tables = struct.unpack_from("<4I", raw, start * 512)  # type: ignore[operator]
        found.append((tables, [raw[table * 512 : table * 512 + 2048] for table in tables]))
    assert found[0][1] == found[1][1]
    assert found[0][0] == (22, 26, 30, 34) and found[1][0] == (39, 43, 47, 51)
    assert struct.unpack_from("<I", found[0][1][0])[0] == 128
    assert struct.unpack_from("<I", found[0][1][3], 4 * (3 * MIB // 65536))[0] == 256
    assert raw[128 * 512 : 128 * 512 + 65536] == b"x" * 65536
    assert len(raw) == 128 * 512 + 2 * 65536


def test_an_empty_sparse_disk_is_its_tables(tmp_path: Path) -> None:
    writer, path, files = created(tmp_path, "monolithicSparse", 40 * MIB)
    finished(writer, files)
    raw = bytearray(Path(path).read_bytes())
    assert len(raw) == 65536
    built = independent.sparse(
        capacity=81920, grains={}, grain=128, descriptor=b"-", redundant=True, all_tables=True, flags=1
    )
    independent.put(built.raw, "overhead", 128)
    assert raw[:512] == built.raw[:512]
    assert raw[21 * 512 :] == built.raw[21 * 512 :].ljust(65536 - 21 * 512, b"\0")


def test_a_large_zeroed_overlay_is_made_of_table_pieces() -> None:
    writer, (file,) = recorded("monolithicSparse", 1 << 40, parent=PARENT)
    writer.write_zeros(0, 1 << 40)
    writer.finish(IDENTITY)
    tables = (1 << 40) // (32 * MIB)
    assert [length for kind, _offset, length in file.calls if kind == "write"][: 2 * tables] == [2048] * 2 * tables
    assert [size for kind, size, _length in file.calls if kind == "truncate"][0] > 1 << 40
