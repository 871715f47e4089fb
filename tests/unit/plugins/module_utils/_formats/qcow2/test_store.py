# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Dict, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.layout import Qcow2Header
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.store import Store
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

CLUSTER = 512
PER_TABLE = CLUSTER // 8


def header_of(clusters: int, version: int = 3) -> Qcow2Header:
    return Qcow2Header(version, 9, clusters * CLUSTER, CLUSTER, -(-clusters // PER_TABLE), 0, 0)


def words(raw: bytes, offset: int, count: int, code: str = "Q") -> Tuple[int, ...]:
    return struct.unpack_from(f">{count}{code}", raw, offset)


def entries_of(raw: bytes, clusters: int) -> Dict[int, int]:
    """The L2 entries of guest clusters, found through the L1 table."""
    found = {}
    for slot, table in enumerate(words(raw, CLUSTER, -(-clusters // PER_TABLE))):
        place = table & ~(1 << 63)
        for index, entry in enumerate(words(raw, place, PER_TABLE) if place else ()):
            if entry:
                found[slot * PER_TABLE + index] = entry
    return found


def test_clusters_follow_one_another_and_each_is_counted_once() -> None:
    port = MemoryPort()
    file = port.create("/d")
    store = Store(file, header_of(200))
    written: List[Tuple[int, int, int]] = []
    for first, last in ((3, 5), (5, 6), (60, 70), (190, 190)):
        written += store.plain(first, last)
    for guest, count, offset in written:
        file.pwrite(offset, b"".join(bytes([guest + index]) * CLUSTER for index in range(count)))
    table_offset, table_bytes = store.finish()
    raw = port.content("/d")
    entries = entries_of(raw, 200)
    assert sorted(entries) == [3, 4, 5, 6, *range(60, 71), 190]
    for guest, entry in entries.items():
        place = entry & ~(1 << 63)
        assert entry >> 63 == 1
        assert raw[place : place + CLUSTER] == bytes([guest]) * CLUSTER
    (block,) = words(raw, table_offset, 1)
    assert table_bytes == CLUSTER
    assert words(raw, block, len(raw) // CLUSTER, "H") == (1,) * (len(raw) // CLUSTER)


def test_zeros_are_a_bit_of_the_entry() -> None:
    port = MemoryPort()
    store = Store(port.create("/d"), header_of(200))
    store.zeros(62, 4)
    store.finish()
    assert entries_of(port.content("/d"), 200) == dict.fromkeys(range(62, 66), 1)


def test_zeros_of_version_2_are_clusters_that_nobody_wrote() -> None:
    port = MemoryPort()
    store = Store(port.create("/d"), header_of(200, version=2))
    store.zeros(62, 4)
    store.finish()
    raw = port.content("/d")
    entries = entries_of(raw, 200)
    assert sorted(entries) == [62, 63, 64, 65]
    assert not any(any(raw[entry & ~(1 << 63) :][:CLUSTER]) for entry in entries.values())


def test_packed_clusters_share_one_of_the_file_and_are_counted_for_it() -> None:
    port = MemoryPort()
    store = Store(port.create("/d"), header_of(200))
    assert not store.has_packed
    for guest in range(4):
        store.packed(guest, bytes([guest + 1]) * 101)
    assert store.has_packed
    table_offset, _length = store.finish()
    raw = port.content("/d")
    entries = entries_of(raw, 200)
    places = [entry & (1 << 61) - 1 for entry in entries.values()]
    assert [entry >> 62 for entry in entries.values()] == [1] * 4
    assert [raw[place : place + 101] for place in places] == [bytes([guest + 1]) * 101 for guest in range(4)]
    (block,) = words(raw, table_offset, 1)
    assert words(raw, block, len(raw) // CLUSTER, "H")[places[0] // CLUSTER] == 4


@pytest.mark.parametrize("blocks", [1, 2, 64, 65])
def test_a_file_as_long_as_its_counts_can_describe_is_written_and_a_longer_one_is_a_bad_request(blocks: int) -> None:
    counted = blocks * CLUSTER // 2
    port = MemoryPort()
    store = Store(port.create("/d"), header_of(counted), most_bytes=blocks * 8)
    guest = 0
    with pytest.raises(BadRequest) as refused:
        for guest in range(counted):
            list(store.plain(guest, guest))
    assert refused.value.hint == "Choose a larger cluster_size."
    assert guest % PER_TABLE, "refused at a cluster, not at a table, so that what is there can be finished"
    _table_offset, table_bytes = store.finish()
    assert table_bytes == -(-blocks * 8 // CLUSTER) * CLUSTER
    assert len(port.content("/d")) <= counted * CLUSTER
    assert sorted(entries_of(port.content("/d"), counted)) == list(range(guest))


def test_the_largest_table_of_counts_is_that_of_qemu() -> None:
    port = MemoryPort()
    store = Store(port.create("/d"), header_of(1 << 30))
    with pytest.raises(BadRequest) as refused:
        # One packed cluster that is longer than all that the counts can describe.
        store.packed(0, _Endless(1 << 38))
    blocks = (8 << 20) // 8
    assert refused.value.expected == blocks * CLUSTER // 2 - blocks - (8 << 20) // CLUSTER


class _Endless(bytes):
    """Bytes of a length that no memory holds; asked for it only."""

    def __new__(cls, length: int) -> _Endless:
        made = super().__new__(cls)
        made.length = length
        return made

    def __len__(self) -> int:
        return self.length

    length = 0
