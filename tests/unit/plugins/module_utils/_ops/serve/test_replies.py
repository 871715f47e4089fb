# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answers to requests: every byte, in every kind of reply, and what cannot be answered."""

from __future__ import annotations

import random

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import StalePlan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.streams import Gone
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import protocol as nbd
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.pieces import GuestMap
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.replies import Replies, Source
from ansible_collections.vdisk.parallels.tests.support import nbd as client
from ansible_collections.vdisk.parallels.tests.support.images import noise
from ansible_collections.vdisk.parallels.tests.support.nbd import MemoryStream, TrialView

KIB, MIB = 1 << 10, 1 << 20
SIZE = 3 * MIB + 512
ZEROS = [(0, 4096), (MIB, 2 * MIB + 100)]
STORED = [(8192, MIB - 512), (2 * MIB + 100, 2 * MIB + 200 * KIB)]
KINDS = {"simple": False, "structured": True}


@pytest.fixture(name="content", scope="module")
def content_fixture():
    content = bytearray(noise(random.Random(20), SIZE))
    for low, high in ZEROS:
        content[low:high] = bytes(high - low)
    return bytes(content)


class Table:
    """A client at the table of the server."""

    def __init__(self, view, structured=True, allocation=True):
        self.structured = structured
        self.stream = MemoryStream(b"")
        self.replies = Replies(self.stream, Source(view, GuestMap(view)), structured=structured, allocation=allocation)

    def ask(self, kind, offset, length, flags=0):
        self.replies.answer(nbd.Request(flags, kind, 7, offset, length))
        asked = {7: (kind, offset, length)}
        found = client.reply(self.stream.receive, structured=self.structured, asked=asked)
        assert not self.stream.sent
        return found


@pytest.fixture(name="view")
def view_fixture(content, tmp_path):
    port = OsPort()
    # What is not stored in it is not in the file either.
    kept = bytearray(SIZE)
    for low, high in STORED:
        kept[low:high] = content[low:high]
    (tmp_path / "image").write_bytes(kept)
    file = port.open_read(str(tmp_path / "image"))
    yield TrialView(content, zeros=ZEROS, stored=STORED, file=file)
    file.close()


@pytest.mark.parametrize("structured", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("flags", [0, client.DF])
def test_every_range_reads_as_the_disk(view, content, structured, flags):
    table = Table(view, structured)
    chance = random.Random(21)
    ranges = [(0, SIZE), (0, 1), (SIZE - 1, 1), (0, 64 * KIB), (0, 64 * KIB + 1), (4096, 0), (MIB, MIB), (10, 100)]
    edges = sorted({edge for low, high in ZEROS + STORED for edge in (low, high)} | {0, SIZE})
    for _turn in range(40):
        start, end = sorted(max(0, min(SIZE, chance.choice(edges) + chance.randrange(-600, 600))) for _one in "ab")
        ranges.append((start, end - start))
    for offset, length in ranges:
        found = table.ask(client.READ, offset, length, flags if structured else 0)
        assert not found.error
        assert found.content == content[offset : offset + length]
        if flags and structured:
            assert len([kind for kind in found.kinds if kind]) <= 1


def test_zeros_are_told_as_holes_and_not_sent(view):
    assert Table(view).ask(client.READ, MIB, MIB).kinds == (2, 0)
    assert Table(view).ask(client.READ, 0, 4096).kinds == (2, 0)
    assert Table(view).ask(client.READ, 0, MIB).kinds == (2, 1, 0)


def test_a_client_costs_one_buffer_whatever_it_asks_for(content):
    table = Table(TrialView(content))
    table.ask(client.READ, 0, SIZE)
    assert 64 * KIB < table.stream.longest <= 256 * KIB


@pytest.mark.parametrize(
    ("kind", "offset", "length", "flags", "error"),
    [
        (client.WRITE, 0, 512, 0, client.EPERM),
        (client.TRIM, 0, 512, 0, client.EPERM),
        (client.WRITE_ZEROES, 0, 512, 0, client.EPERM),
        (client.FLUSH, 0, 0, 0, client.EINVAL),
        (8, 0, 0, 0, client.EINVAL),
        (65535, 0, 0, 0, client.EINVAL),
        (client.READ, SIZE, 1, 0, client.EINVAL),
        (client.READ, SIZE - 1, 2, 0, client.EINVAL),
        (client.READ, (1 << 64) - 1, 1, 0, client.EINVAL),
        (client.READ, 0, 512, 1, client.EINVAL),
        (client.READ, 0, 512, client.DF | 1 << 15, client.EINVAL),
        (client.CACHE, 0, 512, client.DF, client.EINVAL),
        (client.CACHE, SIZE, 512, 0, client.EINVAL),
        (client.BLOCK_STATUS, 0, 0, 0, client.EINVAL),
        (client.BLOCK_STATUS, SIZE, 1, 0, client.EINVAL),
        (client.BLOCK_STATUS, 0, 1, client.DF, client.EINVAL),
    ],
)
@pytest.mark.parametrize("structured", KINDS.values(), ids=KINDS)
def test_what_is_refused(view, structured, kind, offset, length, flags, error):
    assert Table(view, structured).ask(kind, offset, length, flags).error == error


def test_a_read_that_is_too_long_is_refused():
    view = TrialView(bytes(1))
    view.size = 1 << 40
    assert Table(view).ask(client.READ, 0, (32 << 20) + 1).error == client.EOVERFLOW


def test_simple_replies_have_no_flags(view):
    assert Table(view, structured=False).ask(client.READ, 0, 512, client.DF).error == client.EINVAL


def test_states_cover_the_range(view):
    found = Table(view).ask(client.BLOCK_STATUS, 100, SIZE - 100)
    assert found.states == ((3996, 3), (MIB - 4096, 0), (MIB + 100, 3), (MIB + 412, 0))


def test_one_state_is_given_where_one_is_wanted(view):
    assert Table(view).ask(client.BLOCK_STATUS, 100, SIZE - 100, client.REQ_ONE).states == ((3996, 3),)


def test_states_need_a_context(view):
    assert Table(view, allocation=False).ask(client.BLOCK_STATUS, 0, 512).error == client.EINVAL


def test_states_are_given_in_a_bounded_number():
    view = TrialView(bytes(MIB), zeros=[(start, start + 64) for start in range(0, MIB, 128)])
    assert len(Table(view).ask(client.BLOCK_STATUS, 0, MIB).states) == 4096


def test_a_range_is_read_ahead(view):
    assert not Table(view).ask(client.CACHE, 0, SIZE).error
    assert not Table(view, structured=False).ask(client.CACHE, 0, 0).error


@pytest.mark.parametrize("structured", KINDS.values(), ids=KINDS)
def test_a_short_read_that_fails_is_told(structured):
    view = TrialView(bytes(MIB), broken=5000)
    table = Table(view, structured)
    assert table.ask(client.READ, 4096, 4096).error == client.EIO
    assert table.ask(client.READ, 0, 4096).content == bytes(4096)


def test_a_long_read_that_fails_is_told_with_its_place():
    view = TrialView(b"x" * 4 * MIB, broken=2 * MIB)
    found = Table(view).ask(client.READ, 100, 3 * MIB)
    assert found.error == client.EIO
    assert found.kinds == (1, 32770)
    assert found.content.startswith(b"x" * MIB)
    assert "cannot be read" in found.message


def test_a_long_simple_read_that_fails_ends_the_connection():
    view = TrialView(b"x" * 4 * MIB, broken=2 * MIB)
    with pytest.raises(Gone):
        Table(view, structured=False).ask(client.READ, 100, 3 * MIB)


def test_what_the_file_no_longer_has_is_asked_of_the_image(tmp_path):
    """A file that has become shorter; the image decides what that means."""
    port = OsPort()
    (tmp_path / "image").write_bytes(b"a" * 300 * KIB)
    file = port.open_read(str(tmp_path / "image"))
    try:
        view = TrialView(b"a" * 300 * KIB + b"b" * 300 * KIB, stored=[(0, 600 * KIB)], file=file)
        for structured in KINDS.values():
            for length in (600 * KIB, 10):
                offset = 600 * KIB - length
                assert Table(view, structured).ask(client.READ, offset, length).content == view.content[offset:]
    finally:
        file.close()


class BrokenView(TrialView):
    """A disk whose map cannot be read."""

    def extents(self, start, length):
        self.pread_into(start, bytearray(length))
        return super().extents(start, length)


@pytest.mark.parametrize("kind", [client.READ, client.BLOCK_STATUS, client.CACHE])
def test_a_map_that_cannot_be_read_is_told(kind):
    assert Table(BrokenView(bytes(MIB), broken=0)).ask(kind, 0, 512).error == client.EIO


@pytest.mark.parametrize("kind", [client.READ, client.BLOCK_STATUS, client.CACHE])
def test_a_disk_that_somebody_has_changed_is_told(kind):
    """Its zeros, too: they may be what is missing of a file."""

    def check():
        raise StalePlan("The disk was changed", "/disk")

    view = TrialView(bytes(MIB), zeros=[(0, MIB)])
    table = Table(view)
    table.replies = Replies(table.stream, Source(view, GuestMap(view, check)), structured=True, allocation=True)
    found = table.ask(kind, 0, 512)
    assert found.error == client.EIO and "changed" in found.message
