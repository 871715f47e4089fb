# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx import log as vhdx_log
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.layout import Region
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
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
)
from ansible_collections.vdisk.parallels.tests.support.vhdx_logs import (
    RING,
    SCENARIOS,
    SECTOR,
    A,
    B,
    Change,
    Page,
    Zeros,
    dirty,
    log_entry,
    page,
    ring_of,
    table_page,
)

PORT = OsPort()


def replayed(
    tmp_path: Path, ring: bytes, *, length: int = 8 * MIB, before: Optional[bytes] = None
) -> Tuple[bytes, bytes]:
    """A file before and after the replay."""
    path = tmp_path / "file"
    content = bytearray(before if before is not None else images.fill(9, length))
    content[LOG_AT : LOG_AT + MIB] = ring
    path.write_bytes(content)
    file = PORT.open_read(str(path))
    after = vhdx_log.replay(file, Region(LOG_AT, MIB), log_id="{" + LOG_ID + "}")
    buffer = bytearray(after.size() + 10)
    got = after.pread_into(0, buffer)
    assert got == after.size()
    assert list(after.data_ranges(5, after.size() + 5)) == [(5, after.size())]
    after.close()
    assert path.read_bytes() == content
    return bytes(content), bytes(buffer[:got])


def applied(before: bytes, changes: List[Change]) -> bytes:
    model = bytearray(before)
    for change in changes:
        if isinstance(change, Page):
            model[change.offset : change.offset + SECTOR] = change.content
        else:
            model[change.offset : change.offset + change.length] = bytes(change.length)
    return bytes(model)


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_the_log_is_laid_over_the_file(tmp_path: Path, name: str) -> None:
    entries, changes = SCENARIOS[name]
    before, after = replayed(tmp_path, ring_of(entries))
    assert after == applied(before, changes)


@st.composite
def logs(draw: st.DrawFn) -> Tuple[Dict[int, bytes], List[Change]]:
    """A run of entries from anywhere in the ring; the last one may have written off the first ones."""
    change = st.one_of(
        st.builds(Page, st.integers(0, 24).map(lambda number: 2 * MIB + number * SECTOR), st.integers(0, 99).map(page)),
        st.builds(
            Zeros,
            st.integers(0, 24).map(lambda number: 2 * MIB + number * SECTOR),
            st.integers(0, 9).map(lambda number: number * SECTOR),
        ),
    )
    planned = draw(st.lists(st.lists(change, max_size=5), min_size=1, max_size=5))
    first = draw(st.integers(0, RING - 1))
    tail = draw(st.integers(0, len(planned) - 1))
    places, sector = [], first
    for changes in planned:
        places.append(sector % RING)
        sector += 1 + sum(isinstance(part, Page) for part in changes)
    sequence = draw(st.sampled_from([1, 77, (1 << 32) - 2]))
    entries = {
        place: log_entry(sequence + number, changes, tail=places[tail] if number >= tail else places[0])
        for number, (place, changes) in enumerate(zip(places, planned))
    }
    return entries, [part for changes in planned[tail:] for part in changes]


@given(logs())
def test_any_run_of_entries_is_replayed(
    tmp_path_factory: pytest.TempPathFactory, log: Tuple[Dict[int, bytes], List[Change]]
) -> None:
    before, after = replayed(tmp_path_factory.mktemp("log"), ring_of(log[0]), length=3 * MIB)
    assert after == applied(before, log[1])


def test_parts_of_pages_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(
        bytes(LOG_AT)
        + ring_of({0: log_entry(5, [Page(8192, page(1)), Zeros(16384, 8192), Page(20480, page(2))], tail=0)})
    )
    content = applied(path.read_bytes(), [Page(8192, page(1)), Page(20480, page(2))])
    after = vhdx_log.replay(PORT.open_read(str(path)), Region(LOG_AT, MIB), log_id="{" + LOG_ID + "}")
    for start, length in (
        (8193, 1),
        (8000, 300),
        (12287, 2),
        (16000, 9000),
        (20479, 2),
        (24575, 1),
        (2 * MIB - 5, 100),
        (3 * MIB, 5),
    ):
        buffer = bytearray(b"?" * length)
        got = after.pread_into(start, buffer)
        assert buffer[:got] == content[start : start + length]
        assert got == max(0, min(length, len(content) - start))
    after.close()


def test_the_file_is_as_long_as_the_log_says(tmp_path: Path) -> None:
    _before, after = replayed(tmp_path, ring_of({0: log_entry(5, [A], tail=0, last=9 * MIB + 1)}), length=5 * MIB)
    assert len(after) == 10 * MIB
    assert after[5 * MIB :] == bytes(5 * MIB)
    _before, after = replayed(
        tmp_path, ring_of({0: log_entry(5, [Page(6 * MIB, page(1)), Zeros(1 << 50, 1 << 60)], tail=0)}), length=5 * MIB
    )
    assert len(after) == 6 * MIB + SECTOR
    assert after[6 * MIB :] == page(1)


def test_a_file_shorter_than_its_log_says_is_refused(tmp_path: Path) -> None:
    replayed(tmp_path, ring_of({0: log_entry(5, [A], tail=0, flushed=8 * MIB)}))
    with pytest.raises(Damaged):
        replayed(tmp_path, ring_of({0: log_entry(5, [A], tail=0, flushed=8 * MIB + 1)}))


def _patched(raw: bytes, offset: int, content: bytes) -> bytes:
    """``raw`` with other bytes and a right checksum."""
    raw = raw[:4] + bytes(4) + raw[8:]
    raw = raw[:offset] + content + raw[offset + len(content) :]
    return raw[:4] + struct.pack("<I", crc32c(raw)) + raw[8:]


INVALID = {
    "nothing": b"",
    "signature": log_entry(5, [A], tail=0, signature=b"logE"),
    "checksum": log_entry(5, [A], tail=0)[:5000] + b"\0\1\2\3" + log_entry(5, [A], tail=0)[5004:],
    "number 0": log_entry(0, [A], tail=0),
    "descriptor of another entry": log_entry(5, [A], tail=0, descriptor_sequence=4),
    "data of another entry": log_entry(5, [A], tail=0, data_sequence=4),
    "data of a far entry": log_entry(5, [A], tail=0, data_sequence=(1 << 32) + 5),
    "target not aligned": log_entry(5, [Page(4 * MIB + 512, page(1))], tail=0),
    "zeros not aligned": log_entry(5, [Zeros(4 * MIB, 512)], tail=0),
    "unknown descriptor": _patched(log_entry(5, [A], tail=0), 64, b"what"),
    "no data sector": _patched(log_entry(5, [A], tail=0), SECTOR, b"datA"),
    "length 0": _patched(log_entry(5, [A], tail=0), 8, bytes(4)),
    "odd length": _patched(log_entry(5, [A], tail=0), 8, struct.pack("<I", 8191)),
    "shorter than its data": _patched(log_entry(5, [A], tail=0)[:SECTOR], 8, struct.pack("<I", 4096)),
    "longer than the ring": _patched(log_entry(5, [A], tail=0), 8, struct.pack("<I", MIB + 4096)),
    "odd tail": _patched(log_entry(5, [A], tail=0), 12, struct.pack("<I", 1)),
    "tail behind the ring": _patched(log_entry(5, [A], tail=0), 12, struct.pack("<I", MIB)),
    "absurd number of descriptors": _patched(log_entry(5, [A], tail=0), 24, b"\xff\xff\xff\xff"),
    "tail elsewhere": log_entry(5, [A], tail=3),
}


@pytest.mark.parametrize("name", list(INVALID))
def test_a_log_without_a_valid_entry_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Damaged):
        replayed(tmp_path, ring_of({0: INVALID[name]}))
    # And beside a valid one it is nothing.
    before, after = replayed(tmp_path, ring_of({0: INVALID[name], 90: log_entry(3, [B], tail=90)}))
    assert after == applied(before, [B])


def test_a_log_that_is_too_long_is_not_replayed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open(path, "wb") as stream:
        stream.truncate(1 << 32)
    with pytest.raises(Unsupported):
        vhdx_log.replay(
            PORT.open_read(str(path)), Region(MIB, vhdx_log.MOST_LOG_BYTES + MIB), log_id="{" + LOG_ID + "}"
        )


def test_a_log_of_nothing_but_heads_takes_little_work(tmp_path: Path) -> None:
    """Each claims the whole ring; none is valid, because another one begins in it."""
    head = _patched(log_entry(5, [], tail=0), 8, struct.pack("<I", MIB))
    with pytest.raises(Damaged):
        replayed(tmp_path, head * RING, length=2 * MIB)


def test_more_ranges_of_zeros_than_anybody_needs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vhdx_log, "_MOST_ZERO_RANGES", 299)
    with pytest.raises(Unsupported):
        replayed(tmp_path, ring_of(SCENARIOS["many descriptors"][0]))


def test_table_metadata_and_payload_are_read_through_the_log(tmp_path: Path) -> None:
    items = vhdx_images.items(3 * MIB)
    raw = vhdx_images.metadata(items)
    changes: List[Change] = [
        Page(192 * KIB, vhdx_images.regions([(BAT, BAT_AT, MIB, 1), (vhdx_images.METADATA, 2 * MIB, MIB, 1)])[:SECTOR]),
        Page(2 * MIB + 65536, raw[65536:].ljust(SECTOR, b"\0")),
        table_page([5 * MIB | 6, 2, 7 * MIB | 6]),
        Page(5 * MIB + 8192, page(50)),
    ]
    built = dirty({0: log_entry(5, changes, tail=0, last=8 * MIB)})
    built.parts[192 * KIB] = b"torn"
    path = built.write(tmp_path / "disk.vhdx")
    before = Path(path).read_bytes()
    image = vhdx_images.opened(path)
    assert image.size == 3 * MIB
    expected = bytearray(images.fill(72, MIB) + bytes(2 * MIB))
    expected[8192 : 8192 + SECTOR] = page(50)
    assert vhdx_images.content_of(image) == expected
    assert vhdx_images.kinds(image) == [(0, MIB, "data"), (MIB, MIB, "zero"), (2 * MIB, MIB, "data")]
    assert len(image.warnings) == 1
    assert "log" in image.warnings[0]
    assert list(image.places(0, image.size)) == [], "bytes of the file are hidden by those of the log"
    image.close()
    assert Path(path).read_bytes() == before


def test_sector_bits_are_read_through_the_log(tmp_path: Path) -> None:
    built = Built(4 * MIB, pairs=vhdx_images.PAIRS)
    built.put(0, 5 * MIB, images.fill(1, MIB), state=7)
    built.put(4096, 6 * MIB, b"")
    ring = ring_of({0: log_entry(5, [Page(6 * MIB, b"\2".ljust(SECTOR, b"\0"))], tail=0)})
    built.parts.update(
        {64 * KIB: vhdx_images.header(1, log_id=LOG_ID), 128 * KIB: vhdx_images.header(2, log_id=LOG_ID), LOG_AT: ring}
    )
    image = vhdx_images.opened(built.write(tmp_path / "disk.vhdx"))
    assert vhdx_images.kinds(image)[:3] == [(0, 512, "absent"), (512, 512, "data"), (1024, 4 * MIB - 1024, "absent")]
    image.close()


def test_a_block_in_what_the_log_adds_to_the_file_is_zeros(tmp_path: Path) -> None:
    built = dirty({0: log_entry(5, [table_page([4 * MIB | 6, 9 * MIB | 6])], tail=0, last=10 * MIB)})
    path = built.write(tmp_path / "disk.vhdx")
    assert os.path.getsize(path) == 8 * MIB
    image = vhdx_images.opened(path)
    assert vhdx_images.content_of(image) == images.fill(71, MIB) + bytes(3 * MIB)
    image.close()
