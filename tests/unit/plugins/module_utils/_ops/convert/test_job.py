# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streaming a guest disk: what is read, written, measured and digested."""

from __future__ import annotations

import hashlib
from typing import Any, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.checksums import (
    FileDigest,
    file_checksum,
    guest_checksum,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.digests import ContentDigest, LayerDigest
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.slices import data_slices
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.copy import SLICE
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

RANGES = st.lists(st.tuples(st.integers(1, 3 * SLICE), st.sampled_from([DATA, ZERO])), min_size=1, max_size=8)


def extents_of(ranges: List[Tuple[int, str]]) -> List[Extent]:
    found, position = [], 0
    for length, kind in ranges:
        found.append(Extent(position, length, kind))
        position += length
    return found


@given(RANGES)
def test_slices_lie_on_the_grid_come_once_and_cover_all_data(ranges: List[Tuple[int, str]]) -> None:
    extents = extents_of(ranges)
    size = extents[-1].end
    slices = list(data_slices(extents, size))
    assert [offset % SLICE for offset, _length in slices] == [0] * len(slices)
    assert sorted({offset for offset, _length in slices}) == [offset for offset, _length in slices]
    assert all(offset + length <= size and (length == SLICE or offset + length == size) for offset, length in slices)
    touched = {
        offset
        for extent in extents
        if extent.kind == DATA
        for offset in range(extent.start // SLICE * SLICE, extent.end, SLICE)
    }
    assert {offset for offset, _length in slices} == touched


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=5000)), max_size=5), st.integers(0, 100_000)
)
def test_the_checksum_of_a_file_counts_what_was_skipped_as_zeros(pieces: List[Tuple[int, bytes]], rest: int) -> None:
    digest, content = FileDigest("sha256"), bytearray()
    for gap, piece in pieces:
        content += bytes(gap)
        digest.add(len(content), memoryview(piece))
        content += piece
    content += bytes(rest)
    digest.skip_to(len(content))
    assert digest.hexdigest() == hashlib.sha256(content).hexdigest()


def test_the_digest_of_content_depends_on_place_bytes_and_size() -> None:
    def value(*parts: Tuple[int, bytes], size: int = 1 << 20) -> str:
        digest = ContentDigest()
        for offset, content in parts:
            digest.add(offset, memoryview(content))
        return digest.value(size)

    assert value((0, b"a")) == value((0, b"a"))
    assert (
        len(
            {
                value(),
                value((0, b"a")),
                value((512, b"a")),
                value((0, b"b")),
                value(size=512),
                value((0, b"a"), (1, b"a")),
                value((0, b"aa")),
            }
        )
        == 7
    )


def test_the_digest_of_a_layer_does_not_depend_on_the_pieces_in_which_it_comes() -> None:
    def value(*parts: Tuple[int, Any]) -> str:
        digest = LayerDigest()
        for offset, content in parts:
            if isinstance(content, int):
                digest.add_zeros(offset, content)
            else:
                digest.add(offset, memoryview(content))
        return digest.value(1 << 20)

    assert value((0, b"ab"), (2, b"c"), (3, 10), (13, 7)) == value((0, b"abc"), (3, 17))
    different = [
        (),
        ((0, b"abc"),),
        ((0, b"abc"), (3, 17)),
        ((0, b"abc"), (4, 17)),
        ((0, b"abc"), (3, 18)),
        ((1, b"abc"),),
        ((0, 3),),
        ((0, b"ab"), (3, b"c")),
    ]
    assert len({value(*parts) for parts in different}) == len(different)


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    disks.new_disk(port, "/vm/a.hdd", size=700 * 512)
    disks.write(port, "/vm/a.hdd", 33000, fill(1, 60000))
    return port


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_checksums_are_those_of_all_bytes(port: MemoryPort, algorithm: str) -> None:
    expected = hashlib.new(algorithm, disks.read_naively(port, "/vm/a.hdd")).hexdigest()
    view = open_source(port, find_source(port, "/vm/a.hdd"))
    assert guest_checksum(view, algorithm) == expected
    view.close()
    disks.convert(port, "/vm/a.hdd", "/vm/a.raw")
    assert file_checksum(port, "/vm/a.raw", algorithm) == expected
    assert not any(port.opened.values())


def test_progress_never_goes_back_and_ends_at_the_size(port: MemoryPort) -> None:
    from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute

    told: List[Tuple[int, int]] = []
    execute(
        port,
        disks.plan_of_convert(port, "/vm/a.hdd", "/vm/a.raw", sparse=False),
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == sorted(told)
    assert told[-1] == (700 * 512, 700 * 512)
