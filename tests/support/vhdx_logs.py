# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs of VHDX files: entries, rings of them, and files whose log has not been replayed."""

from __future__ import annotations

import struct
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

from ansible_collections.vdisk.parallels.tests.support import images, vhdx_images
from ansible_collections.vdisk.parallels.tests.support.vhdx_images import (
    BAT,
    BAT_AT,
    KIB,
    LOG_AT,
    LOG_ID,
    MIB,
    Built,
    crc32c,
    guid,
)

SECTOR = 4096
RING = MIB // SECTOR


class Page(NamedTuple):
    """4 KiB that the log writes to a file offset."""

    offset: int
    content: bytes


class Zeros(NamedTuple):
    """Zeros that the log writes."""

    offset: int
    length: int


Change = Union[Page, Zeros]


def log_entry(
    sequence: int,
    changes: List[Change],
    *,
    tail: int,
    log_id: str = LOG_ID,
    flushed: int = 0,
    last: int = 0,
    signature: bytes = b"loge",
    descriptor_sequence: Optional[int] = None,
    data_sequence: Optional[int] = None,
) -> bytes:
    """The bytes of an entry; ``tail`` counts sectors."""
    descriptors, sectors = b"", b""
    number = sequence if descriptor_sequence is None else descriptor_sequence
    for change in changes:
        if isinstance(change, Page):
            leading, trailing = change.content[:8], change.content[-4:]
            descriptors += b"desc" + trailing + leading + struct.pack("<QQ", change.offset, number)
            high, low = divmod(sequence if data_sequence is None else data_sequence, 1 << 32)
            sectors += b"data" + struct.pack("<I", high) + change.content[8:-4] + struct.pack("<I", low)
        else:
            descriptors += b"zero" + bytes(4) + struct.pack("<QQQ", change.length, change.offset, number)
    table = -(-(64 + len(descriptors)) // SECTOR) * SECTOR
    head = signature + bytes(4) + struct.pack("<IIQII", table + len(sectors), tail * SECTOR, sequence, len(changes), 0)
    head += guid(log_id) + struct.pack("<QQ", flushed, last)
    raw = (head + descriptors).ljust(table, b"\0") + sectors
    return raw[:4] + struct.pack("<I", crc32c(raw)) + raw[8:]


def ring_of(entries: Dict[int, bytes]) -> bytes:
    """A log of 1 MiB with entries at these sectors; what goes beyond its end continues at its beginning."""
    ring = bytearray(MIB)
    for sector, raw in entries.items():
        for start in range(0, len(raw), SECTOR):
            place = (sector * SECTOR + start) % MIB
            ring[place : place + SECTOR] = raw[start : start + SECTOR]
    return bytes(ring)


def page(seed: int) -> bytes:
    return images.fill(seed, SECTOR)


A, B, C = Page(4 * MIB, page(1)), Page(4 * MIB + 8192, page(2)), Page(4 * MIB, page(3))
WIPE = Zeros(4 * MIB - 4096, 3 * 4096)
MANY: List[Change] = [Zeros(5 * MIB + 8192 * number, 4096) for number in range(300)] + [
    Page(4 * MIB + 8192 * number, page(number)) for number in range(130)
]
# Entries by sector, and the changes that count.
SCENARIOS: Dict[str, Tuple[Dict[int, bytes], List[Change]]] = {
    "one entry": ({0: log_entry(5, [A], tail=0)}, [A]),
    "two entries": ({7: log_entry(5, [A], tail=7), 9: log_entry(6, [B, C], tail=7)}, [A, B, C]),
    "around the end": ({254: log_entry(5, [A], tail=254), 0: log_entry(6, [B], tail=254)}, [A, B]),
    "an entry around the end": ({254: log_entry(5, [A, B], tail=254), 1: log_entry(6, [C], tail=254)}, [A, B, C]),
    "tail behind the first": ({0: log_entry(5, [A], tail=0), 2: log_entry(6, [B], tail=2)}, [B]),
    "torn last": ({0: log_entry(5, [A], tail=0), 2: log_entry(6, [B], tail=0)[:-1] + b"\1"}, [A]),
    "torn head of the last": ({0: log_entry(5, [A], tail=0), 2: log_entry(6, [B], tail=0)[SECTOR:]}, [A]),
    "stale behind": (
        {0: log_entry(50, [A], tail=0), 2: log_entry(7, [B], tail=2), 20: log_entry(8, [B], tail=20)},
        [A],
    ),
    "stale in front": ({0: log_entry(7, [B], tail=0), 2: log_entry(50, [A], tail=2)}, [A]),
    "of another log": (
        {
            0: log_entry(5, [A], tail=0),
            2: log_entry(6, [B], tail=0, log_id=BAT),
            40: log_entry(900, [B], tail=40, log_id=BAT),
        },
        [A],
    ),
    "tail not in the run": ({0: log_entry(5, [A], tail=0), 50: log_entry(60, [B], tail=30)}, [A]),
    "gap in the numbers": ({0: log_entry(5, [A], tail=0), 2: log_entry(7, [B], tail=0)}, [A]),
    "zeros": ({0: log_entry(5, [WIPE], tail=0)}, [WIPE]),
    "zeros over data": ({0: log_entry(5, [A, B], tail=0), 3: log_entry(6, [WIPE], tail=0)}, [A, B, WIPE]),
    "data over zeros": ({0: log_entry(5, [WIPE, A], tail=0)}, [WIPE, A]),
    "data, zeros, data": ({0: log_entry(5, [A, WIPE, C], tail=0)}, [A, WIPE, C]),
    "the same page again": ({0: log_entry(5, [A, C], tail=0), 3: log_entry(6, [A], tail=0)}, [A, C, A]),
    "many descriptors": ({100: log_entry(5, MANY, tail=100)}, MANY),
    "nothing to write": ({0: log_entry(5, [], tail=0)}, []),
    "high numbers": ({0: log_entry((1 << 40) + 5, [A], tail=0), 2: log_entry((1 << 40) + 6, [B], tail=0)}, [A, B]),
}
DIRTY_DISK = images.fill(71, MIB) + images.fill(72, MIB) + bytes(2 * MIB)


def dirty(scenario: Dict[int, bytes]) -> Built:
    """A disk of 4 MiB whose blocks 0 and 1 are here, with a log."""
    built = Built(4 * MIB)
    built.put(0, 4 * MIB, images.fill(71, MIB))
    built.put(1, 5 * MIB, images.fill(72, MIB))
    built.parts.update(
        {
            64 * KIB: vhdx_images.header(1, log_id=LOG_ID),
            128 * KIB: vhdx_images.header(2, log_id=LOG_ID),
            LOG_AT: ring_of(scenario),
        }
    )
    built.length = 8 * MIB
    return built


def table_page(entries: List[int]) -> Page:
    return Page(BAT_AT, struct.pack(f"<{len(entries)}Q", *entries).ljust(SECTOR, b"\0"))
