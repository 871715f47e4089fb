# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gzip file read at any place."""

from __future__ import annotations

import gzip
import random
import threading
from typing import List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers import inflated
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.inflated import InflatedFile
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

CONTENT = fill(1, 300_000) + bytes(500_000) + fill(2, 200_001)


def opened(packed: bytes, **options: object) -> InflatedFile:
    port = MemoryPort()
    port.plant_file("/a.gz", packed)
    return InflatedFile(port.open_read("/a.gz"), **options)  # type: ignore[arg-type]


@pytest.fixture(name="points", params=[1, 3, 128])
def _points(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(inflated, "MOST_POINTS", request.param)
    monkeypatch.setattr(inflated, "_FIRST_STEP", 50_000)
    return int(request.param)


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress(CONTENT), id="one member"),
        pytest.param(gzip.compress(CONTENT[:400_000]) + gzip.compress(CONTENT[400_000:], 0), id="two members"),
        pytest.param(gzip.compress(CONTENT) + bytes(1000), id="padded"),
        pytest.param(gzip.compress(CONTENT) + b"\x1f", id="one byte more"),
    ],
)
def test_any_place_reads_as_the_content(points: int, packed: bytes) -> None:
    file = opened(packed)
    assert file.size() == len(CONTENT) and len(file.index.points) <= points + 1
    chance = random.Random(1)
    for _index in range(60):
        start, length = chance.randrange(len(CONTENT) + 10), chance.randrange(70_000)
        buffer = bytearray(length)
        assert file.pread_into(start, buffer) == len(CONTENT[start : start + length])
        assert buffer[: len(CONTENT[start : start + length])] == CONTENT[start : start + length]
    assert list(file.data_ranges(5, 1 << 40)) == [(5, len(CONTENT))] and not list(file.data_ranges(1 << 40, 1 << 41))
    file.close()


def test_the_index_is_made_once() -> None:
    first = opened(gzip.compress(CONTENT))
    again = opened(gzip.compress(CONTENT), index=first.index)
    buffer = bytearray(len(CONTENT))
    assert again.index is first.index and again.pread_into(0, buffer) == len(CONTENT) and buffer == CONTENT


def test_threads_share_it() -> None:
    file, wrong = opened(gzip.compress(CONTENT)), []

    def read(seed: int, found: List[int]) -> None:
        chance = random.Random(seed)
        for _index in range(20):
            start, buffer = chance.randrange(len(CONTENT) - 5000), bytearray(5000)
            file.pread_into(start, buffer)
            if buffer != CONTENT[start : start + 5000]:
                found.append(start)

    threads = [threading.Thread(target=read, args=(seed, wrong)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(gzip.compress(CONTENT)[:-1], id="cut in its end"),
        pytest.param(gzip.compress(CONTENT)[:5000], id="cut"),
        pytest.param(gzip.compress(CONTENT)[:-8] + bytes(8), id="wrong checksum"),
        pytest.param(b"\x1f\x8b\x08" + bytes(100), id="noise"),
    ],
)
def test_what_cannot_be_inflated_is_damaged(packed: bytes) -> None:
    with pytest.raises(Damaged):
        opened(packed)
