# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One ascending stream over the parts of a split disk."""

from __future__ import annotations

from typing import Any, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import EXPANDING, PLAIN, Shape
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.writer import HdsWriter, ReservedHdsWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.writer import RawWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.parts_writer import PartsWriter, parts_writer
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.writers import Recorder

STEP = disks.SMALL_CLUSTER


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.written: List[Tuple[int, bytes]] = []
        self.finished = 0

    def write(self, offset: int, buffer: Any) -> None:
        self.written.append((offset, bytes(buffer)))

    def finish(self) -> None:
        self.finished += 1


def test_a_stream_is_cut_at_the_borders_of_parts() -> None:
    writers = [Kept(), Kept(), Kept()]
    writer = PartsWriter([(0, 10), (10, 10), (20, 5)], writers, grain=1)  # type: ignore[arg-type]
    writer.write(2, memoryview(b"abc"))
    writer.write(8, memoryview(b"0123456789abcd"))
    writer.write(24, memoryview(b"z"))
    writer.finish("")
    assert [one.written for one in writers] == [
        [(2, b"abc"), (8, b"01")],
        [(0, b"23456789ab")],
        [(0, b"cd"), (4, b"z")],
    ]
    assert [one.finished for one in writers] == [1, 1, 1]


def shape(kind: str, *, preallocate: bool = False) -> Shape:
    return disks.shape(8 * STEP, kind=kind, part_size=3 * STEP, preallocate=preallocate)


@pytest.mark.parametrize(
    "wanted, is_overlay, kinds",
    [
        (shape(PLAIN), False, RawWriter),
        (shape(PLAIN, preallocate=True), False, RawWriter),
        (shape(EXPANDING), False, HdsWriter),
        (shape(EXPANDING, preallocate=True), False, ReservedHdsWriter),
        (shape(PLAIN, preallocate=True), True, HdsWriter),
        (shape(EXPANDING, preallocate=True), True, HdsWriter),
    ],
)
def test_every_part_has_the_writer_of_its_kind(wanted: Shape, is_overlay: bool, kinds: type) -> None:
    files = [Recorder(str(number)) for number in range(3)]
    writer = parts_writer(wanted, files, is_overlay=is_overlay)  # type: ignore[arg-type]
    assert [type(one) for one in writer.writers] == [kinds] * 3
    assert writer.grain == STEP
    allocated = [call for file in files for call in file.calls if call[0] == "allocate"]
    assert bool(allocated) == (wanted.preallocate and not is_overlay)


def test_places_are_cut_at_the_borders_of_parts() -> None:
    files = [Recorder(str(number)) for number in range(3)]
    writer = parts_writer(shape(PLAIN), files)  # type: ignore[arg-type]
    assert writer.place(2 * STEP, 5 * STEP) == (
        (2 * STEP, STEP, files[0], 2 * STEP),
        (3 * STEP, 3 * STEP, files[1], 0),
        (6 * STEP, STEP, files[2], 0),
    )


def test_zeros_of_an_overlay_take_clusters_and_those_of_a_plain_disk_nothing() -> None:
    for wanted, is_overlay, count in ((shape(EXPANDING), True, 2), (shape(PLAIN), False, 0)):
        writer = parts_writer(wanted, [Recorder(str(number)) for number in range(3)], is_overlay=is_overlay)  # type: ignore[misc]
        writer.write_zeros(2 * STEP, 2 * STEP)
        used = sum(one.table().clusters_used for one in writer.writers if isinstance(one, HdsWriter))
        assert used == count
