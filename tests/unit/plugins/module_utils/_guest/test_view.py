# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The composed view of a snapshot."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    Encrypted,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._guest import view as chain_module
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import (
    LayerStack,
    check_range,
    layer_extents,
    open_view,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    BuiltBundle,
    Layer,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.disks import NONE, TOP
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PORT = OsPort()
CLUSTER = 4096
SECTORS = CLUSTER // 512


@st.composite
def chains(draw: st.DrawFn) -> Tuple[List[Layer], int, Any]:
    """Layers of different lengths, some clusters of zeros or holes, a plain root now and then; the size and parts of
    the disk.
    """
    sectors = draw(st.integers(1, 60))
    count = -(-sectors // SECTORS)
    layers, parent = [], NONE
    depth = draw(st.integers(1, 4))
    split = draw(st.sampled_from([None, 2])) if count > 2 else None
    for number in range(1, depth + 1):
        guid = TOP if number == depth else guid_of(number)
        length = draw(st.one_of(st.none(), st.integers(1, sectors))) if split is None else None
        indexes = draw(st.lists(st.integers(0, -(-(length or sectors) // SECTORS) - 1), unique=True))
        clusters = {
            index: draw(st.sampled_from([fill(index, CLUSTER, number), bytes(CLUSTER), b"", b"x" * 700]))
            for index in indexes
        }
        kind = draw(st.sampled_from(["Compressed", "Plain"])) if number == 1 else "Compressed"
        layers.append(Layer(guid, parent, clusters, size_sectors=length, type=kind))
        parent = guid
    parts = None if split is None else [split * SECTORS, sectors - split * SECTORS]
    return layers, sectors, parts


@given(
    chain=chains(),
    ranges=st.lists(
        st.tuples(st.integers(0, 60 * 512), st.one_of(st.integers(0, 600), st.integers(0, 60 * 512))), max_size=8
    ),
    region=st.sampled_from([1000, CLUSTER, 3 * CLUSTER, 1 << 25]),
)
def test_a_view_shows_what_the_layers_say(chain: Any, ranges: List[Tuple[int, int]], region: int) -> None:
    layers, sectors, parts = chain
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patched:
        # Which layers have anything to say is remembered for a region.
        patched.setattr(chain_module, "_REGION_BYTES", region)
        built = build_bundle(
            f"{scratch}/a.hdd", size_sectors=sectors, layers=layers, cluster_sectors=SECTORS, split=parts
        )
        state = disks.state_of(PORT, built.directory)
        for guid in [layer.guid for layer in layers]:
            expected = disks.read_naively(PORT, built.directory, guid)
            view = open_view(PORT, state, guid)
            try:
                _check(
                    view,
                    expected,
                    [(0, len(expected)), *ranges, *((start, 300) for start in range(0, len(expected), 777))],
                )
            finally:
                view.close()


def _check(view: Any, expected: bytes, ranges: List[Tuple[int, int]]) -> None:
    for start, length in ranges:
        start = min(start, len(expected))
        length = min(length, len(expected) - start)
        buffer = bytearray(b"\xee" * length)
        view.pread_into(start, buffer)
        assert buffer == expected[start : start + length]
        extents = list(view.extents(start, length))
        assert (
            [extent.start for extent in extents] == [start, *(extent.end for extent in extents)][:-1]
            if extents
            else length == 0
        )
        assert sum(extent.length for extent in extents) == length
        for extent in extents:
            assert extent.kind == DATA or (extent.kind == ZERO and not any(expected[extent.start : extent.end]))
        assert all(one.kind != other.kind for one, other in zip(extents, extents[1:]))


def single(tmp_path: Path, **options: Any) -> BuiltBundle:
    return build_bundle(
        str(tmp_path / "a.hdd"),
        size_sectors=64,
        layers=line_of_layers({0: fill(0, CLUSTER)}, {1: fill(1, CLUSTER)}),
        cluster_sectors=SECTORS,
        **options,
    )


@pytest.mark.parametrize(
    "start, length", [(-1, 1), (0, 64 * 512 + 1), (64 * 512, 1), (64 * 512 + 1, 0), (0, -1), (1 << 70, 1)]
)
def test_ranges_that_leave_the_disk_are_refused(tmp_path: Path, start: int, length: int) -> None:
    with pytest.raises(BadRequest):
        check_range(start, length, 64 * 512)
    view = open_view(PORT, disks.state_of(PORT, single(tmp_path).directory), TOP)
    with pytest.raises(BadRequest):
        list(view.extents(start, length))
    if length >= 0 and length < 1 << 20:
        with pytest.raises(BadRequest):
            view.pread_into(start, bytearray(length))
    view.close()


def test_an_empty_range_is_allowed_anywhere_on_the_disk(tmp_path: Path) -> None:
    view = open_view(PORT, disks.state_of(PORT, single(tmp_path).directory), TOP)
    for start in (0, 5, 64 * 512):
        assert list(view.extents(start, 0)) == []
        view.pread_into(start, bytearray())
    view.close()


def test_cipher_text_is_not_opened(tmp_path: Path) -> None:
    built = single(tmp_path)
    with open(built.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(built.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace("<Engine>{00000000", "<Engine>{00000001"))
    with pytest.raises(Encrypted):
        open_view(PORT, disks.state_of(PORT, built.directory), TOP)


def _memory(built: BuiltBundle) -> MemoryPort:
    port = MemoryPort()
    for name in os.listdir(built.directory):
        with open(os.path.join(built.directory, name), "rb") as stream:
            port.plant_file(f"{built.directory}/{name}", stream.read())
    return port


@pytest.mark.parametrize("missing", [guid_of(1), TOP])
@pytest.mark.parametrize("split", [None, [32, 32]])
def test_when_one_image_fails_to_open_none_stays_open(tmp_path: Path, missing: str, split: Any) -> None:
    built = single(tmp_path, split=split)
    port = _memory(built)
    state = disks.state_of(port, built.directory)
    port.remove(built.files[(0 if split is None else 1, missing)])
    with pytest.raises(DiskError):
        open_view(port, state, TOP)
    assert not any(port.opened.values())


def test_closing_a_view_closes_every_file(tmp_path: Path) -> None:
    built = single(tmp_path, split=[32, 32])
    port = _memory(built)
    view = open_view(port, disks.state_of(port, built.directory), TOP)
    assert sum(port.opened.values()) == 4
    view.close()
    view.close()
    assert not any(port.opened.values())


def test_a_file_that_became_shorter_meanwhile_is_damaged_with_its_place(tmp_path: Path) -> None:
    built = build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=64, layers=line_of_layers({1: fill(1, CLUSTER)}), cluster_sectors=SECTORS
    )
    state = disks.state_of(PORT, built.directory)
    os.truncate(built.files[(0, TOP)], CLUSTER + 100)
    view = open_view(PORT, state, TOP)
    with pytest.raises(Damaged) as caught:
        view.pread_into(CLUSTER, bytearray(CLUSTER))
    assert (caught.value.path, caught.value.offset) == (built.files[(0, TOP)], CLUSTER + 100)
    view.close()


class Fixed:
    """A layer with one extent of data."""

    def __init__(self, size: int, kind: str) -> None:
        self.size = size
        self.kind = kind

    def extents(self, start: int, length: int) -> Any:
        assert start >= 0 and start + length <= self.size
        return iter([Extent(start, length, self.kind)])

    def pread_into(self, offset: int, buffer: Any) -> None:
        memoryview(buffer)[:] = b"d" * len(buffer)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "start, length, expected",
    [
        (0, 10, [(0, 10, DATA)]),
        (5, 10, [(5, 5, DATA), (10, 5, ZERO)]),
        (10, 5, [(10, 5, ZERO)]),
        (15, 5, [(15, 5, ZERO)]),
        (3, 0, []),
    ],
)
def test_a_layer_is_zero_behind_its_end_and_never_asked_about_it(
    start: int, length: int, expected: List[Tuple[int, int, str]]
) -> None:
    found = [tuple(extent) for extent in layer_extents(Fixed(10, DATA), 10, start, length, 3) if extent.length]  # type: ignore[arg-type]
    assert found == [(*extent, 3) for extent in expected]


def test_a_short_layer_hides_with_zeros_what_lies_below_its_end() -> None:
    layers: Dict[str, Any] = {"upper": Fixed(10, ABSENT), "lower": Fixed(30, DATA)}
    stack = LayerStack((layers["upper"], layers["lower"]), (10, 30), 40)
    assert [(e.start, e.length, e.kind, e.layer) for e in stack.extents(0, 40)] == [(0, 10, DATA, 1), (10, 30, ZERO, 0)]
    buffer = bytearray(40)
    stack.pread_into(0, buffer)
    assert buffer == b"d" * 10 + bytes(30)
