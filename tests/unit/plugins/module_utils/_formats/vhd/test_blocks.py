# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import pytest

from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.vhd.test_reader import (
    BLOCK,
    MIB,
    TABLE,
    block_of,
    build,
    footer_of,
    header_of,
    open_alone,
    read,
    refused,
    u32,
)


@pytest.mark.parametrize("sector", [0, 1, 2, 3, 4, 1 << 20, 0xFFFFFFFE])
@pytest.mark.parametrize("order", [(1, 3), (3, 1)])
@pytest.mark.parametrize("block", [0, 5])
def test_a_block_outside_the_data_is_refused(tmp_path: Path, sector: int, order: Tuple[int, int], block: int) -> None:
    # Sectors 0 to 2 are footer and header, the table is sector 3, and names and blocks follow.
    names = [(b"W2ru", ".\\b".encode("utf-16-le"))]
    path, _sectors = build(
        tmp_path / "disk.vhd",
        blocks={1: block_of(1), 3: block_of(3)},
        order=order,
        entries={block: sector},
        disk_type=4,
        names=names,
    )
    found = refused(path)
    assert found.offset == TABLE + 4 * block


def test_every_overlap_of_two_blocks_is_refused(tmp_path: Path) -> None:
    blocks = {1: block_of(1), 3: block_of(3)}
    path, sectors = build(tmp_path / "disk.vhd", blocks=blocks)
    step = BLOCK // 512 + 1
    for other in range(sectors[1] - 1, sectors[3] + 2):
        build(Path(path), blocks=blocks, entries={4: other})
        refused(path)
    build(Path(path), blocks=blocks, entries={3: sectors[1]})
    assert refused(path).offset == TABLE + 4 * 3
    build(Path(path), blocks=blocks, entries={3: sectors[3] - 1})
    assert refused(path).offset == TABLE + 4 * 3
    build(Path(path), blocks=blocks, entries={1: sectors[3], 3: sectors[1]})
    image = open_alone(path)
    assert read(image, BLOCK, BLOCK) == block_of(3) and read(image, 3 * BLOCK, BLOCK) == block_of(1)
    image.close()
    assert sectors[3] - sectors[1] == step


def test_a_table_full_of_one_block_is_refused_without_much_memory(tmp_path: Path) -> None:
    count = 1 << 20
    path = tmp_path / "disk.vhd"
    size = count * 4096
    with open(path, "wb") as stream:
        tail = footer_of(3, size)
        stream.write(tail + header_of(count, 4096) + u32(2 + TABLE // 512 + count // 128) * count)
        stream.truncate(TABLE + count * 4 + MIB)
        stream.seek(0, 2)
        stream.write(tail)
    refused(str(path))


def test_blocks_out_of_order_in_many_parts_of_the_file_are_judged(tmp_path: Path) -> None:
    # Blocks in three stretches of 2 GiB of a sparse file, descending; then one that begins in one stretch and ends in
    # the next.
    stretch = 1 << 22
    sectors = [3 * stretch - 10, 2 * stretch, stretch - 4, 100]
    entries = dict(enumerate(sectors))
    path = tmp_path / "disk.vhd"

    def make() -> str:
        build(path, blocks={}, entries=entries, size=6 * BLOCK, has_tail=False)
        with open(path, "r+b") as stream:
            stream.seek(4 * stretch * 512)
            stream.write(footer_of(3, 6 * BLOCK))
            for index, sector in entries.items():
                stream.seek(sector * 512)
                stream.write(b"\xff" * 512 + block_of(index))
        return str(path)

    image = open_alone(make())
    assert read(image, 0, 4 * BLOCK) == b"".join(block_of(index) for index in range(4))
    image.close()
    entries[4] = stretch + 1
    assert refused(make()).offset == TABLE + 4 * 4
