# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Laws of the readers of file systems of Windows and macOS, on small volumes of our own making: damage never makes more
free, not even of several bytes whose counts agree, and whatever stands on the disk ends in ranges or in a reason.
"""

from __future__ import annotations

import os
import random
from typing import Any, Callable, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple import apfs, hfsplus
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.runs import Runs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows import exfat, fat, ntfs
from ansible_collections.vdisk.parallels.tests.support.apfs_images import (
    CHUNK,
    VOLUME_BLOCKS,
    container,
    put_volume,
)
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.exfat_images import ExfatVolume
from ansible_collections.vdisk.parallels.tests.support.fat_images import FatVolume
from ansible_collections.vdisk.parallels.tests.support.filesystems import is_within
from ansible_collections.vdisk.parallels.tests.support.hfsplus_images import formatted, wrapped
from ansible_collections.vdisk.parallels.tests.support.ntfs_images import NtfsVolume, file_name, restart_page, spread

TRIALS = 10_000 if os.environ.get("VDISK_LONG") else 150
Patch = Tuple[int, bytes]


class Tampered:
    """A disk some bytes of which read differently."""

    def __init__(self, disk: BlockDisk) -> None:
        self.size = disk.size
        self.reads: List[Tuple[int, int]] = []
        self.patches: Sequence[Patch] = ()
        self._disk = disk

    def pread_into(self, offset: int, buffer: Any) -> None:
        content = bytearray(self._disk.get(offset, len(buffer)))
        self.reads.append((offset, len(buffer)))
        for place, raw in self.patches:
            low, high = max(place, offset), min(place + len(raw), offset + len(buffer))
            if low < high:
                content[low - offset : high - offset] = raw[low - place : high - place]
        buffer[:] = content


def filled_ntfs() -> BlockDisk:
    made = NtfsVolume()
    made.records[20] = [file_name("a"), spread(0x80, [(30, 5), (90, 2), (None, 4), (60, 1)])]
    made.records[21] = [file_name("b"), spread(0xA0, [(100, 9)], "$I30")]
    made.used = {*range(30, 35), 60, 90, 91, *range(100, 109)}
    made.log = restart_page(5, 0xFFFF) * 2 + b"\xff" * 8192
    return made.build()


def filled_apfs() -> BlockDisk:
    disk = container(2 * CHUNK, used=[(CHUNK + 7, CHUNK + 7 + VOLUME_BLOCKS)])
    put_volume(disk, CHUNK + 7)
    return disk


VOLUMES = {
    "apfs": (apfs, filled_apfs),
    "apfs, large": (apfs, lambda: container(300 * CHUNK, deep=True)),
    "hfsplus": (hfsplus, lambda: formatted(8 << 20)),
    "hfsplus, wrapped": (hfsplus, lambda: wrapped(formatted(4 << 20, 512))),
    "ntfs": (ntfs, filled_ntfs),
    "fat12": (fat, lambda: FatVolume(12).build()),
    "fat16": (fat, lambda: FatVolume(16).build()),
    "fat32": (fat, lambda: FatVolume(32).build()),
    "exfat": (exfat, lambda: ExfatVolume().build()),
}
EACH = pytest.mark.parametrize("name", VOLUMES)


def answer(reader: Any, disk: Tampered) -> Optional[Runs]:
    """What is free, None when it is not recognised or nothing is certain."""
    volume = Volume(disk, [(0, disk.size)])
    try:
        return None if reader.recognise(volume) is None else reader.free_runs(volume)
    except Uncertain:
        return None


def opened(name: str) -> Tuple[Any, Tampered, Runs]:
    reader, make = VOLUMES[name]
    disk = Tampered(make())
    runs = answer(reader, disk)
    assert runs is not None and runs.total
    return reader, disk, runs


def places_of(disk: Tampered, chosen: random.Random) -> Callable[[], int]:
    """Gives offsets that were read."""
    reads = sorted(set(disk.reads))

    def place() -> int:
        offset, length = chosen.choice(reads)
        return offset + chosen.randrange(length)

    return place


@EACH
def test_a_bit_that_is_turned_over_never_makes_more_free(name: str) -> None:
    reader, disk, runs = opened(name)
    chosen = random.Random(name)
    place = places_of(disk, chosen)
    for _trial in range(TRIALS):
        offset, byte = place(), bytearray(1)
        disk.patches = ()
        disk.pread_into(offset, byte)
        disk.patches = [(offset, bytes([byte[0] ^ 1 << chosen.randrange(8)]))]
        found = answer(reader, disk)
        assert found is None or is_within(found, runs), disk.patches


@EACH
def test_bits_that_change_places_never_make_more_free(name: str) -> None:
    """A bit that was set and one that was not, side by side: no count can tell."""
    reader, disk, runs = opened(name)
    chosen = random.Random(name)
    reads = sorted(set(disk.reads))
    for _trial in range(TRIALS):
        disk.patches = ()
        offset, length = chosen.choice(reads)
        raw = bytearray(length)
        disk.pread_into(offset, raw)
        bits = int.from_bytes(raw, "little")
        edges = bits ^ bits >> 1
        if not edges & (1 << 8 * length - 1) - 1:
            continue
        place = chosen.choice([bit for bit in range(8 * length - 1) if edges >> bit & 1])
        changed = (bits ^ 3 << place).to_bytes(length, "little")
        low, high = place // 8, (place + 1) // 8 + 1
        disk.patches = [(offset + low, changed[low:high])]
        found = answer(reader, disk)
        assert found is None or is_within(found, runs), disk.patches


@EACH
def test_whatever_stands_on_the_disk_ends_in_ranges_or_a_reason(name: str) -> None:
    reader, disk, runs = opened(name)
    chosen = random.Random(name)
    place = places_of(disk, chosen)
    for _trial in range(TRIALS):
        disk.patches = [(place() // 2 * 2, odd_bytes(chosen)) for _number in range(chosen.choice((1, 1, 2, 5)))]
        found = answer(reader, disk)
        assert found is None or all(0 <= start < end <= disk.size for start, end in found), disk.patches
        assert found is None or is_within(found, runs), disk.patches


def odd_bytes(chosen: random.Random) -> bytes:
    """What numbers look like that a reader should not trust."""
    width = chosen.choice((1, 2, 4, 8))
    noise = chosen.getrandbits(8 * width).to_bytes(width, "little")
    return chosen.choice(
        (b"\xff" * width, bytes(width), noise, b"\xff" * (width - 1) + b"\x7f", b"\0" * (width - 1) + b"\x80")
    )
