# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bytes of NBD, packed and taken apart."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import protocol as nbd
from ansible_collections.vdisk.parallels.tests.support import nbd as client


def test_a_request_is_packed_and_parsed_as_clients_do():
    asked = nbd.Request(nbd.FLAG_DF, nbd.CMD_READ, 1 << 63, 1 << 40, 4096)
    assert nbd.parse_request(nbd.pack_request(asked)) == asked
    assert nbd.pack_request(asked) == client.request(client.READ, 1 << 40, 4096, client.DF, 1 << 63)
    assert len(nbd.pack_request(asked)) == nbd.REQUEST_BYTES


@pytest.mark.parametrize("raw", [b"\0" * 28, b"\x25\x60\x95\x14" + b"\0" * 24])
def test_a_request_with_another_magic_is_malformed(raw):
    with pytest.raises(nbd.Malformed):
        nbd.parse_request(raw)


@pytest.mark.parametrize(("flags", "leaves_out"), [(1, False), (3, True)])
def test_client_flags(flags, leaves_out):
    assert nbd.parse_client_flags(struct.pack(">I", flags)) is leaves_out


@pytest.mark.parametrize("flags", [0, 2, 4, 5, 1 << 31])
def test_client_flags_of_another_protocol_are_malformed(flags):
    with pytest.raises(nbd.Malformed):
        nbd.parse_client_flags(struct.pack(">I", flags))


def test_an_option_header():
    assert nbd.parse_option(client.option(7, b"abc")[:16]) == nbd.Option(7, 3)


@pytest.mark.parametrize("raw", [b"IHAVEOPS" + bytes(8), b"IHAVEOPT" + struct.pack(">II", 7, nbd.LONGEST_OPTION + 1)])
def test_an_option_that_cannot_be_meant_is_malformed(raw):
    with pytest.raises(nbd.Malformed):
        nbd.parse_option(raw)


def test_what_info_and_go_ask_for():
    assert nbd.parse_info_request(client.go(b"disk", 3, 0)) == (b"disk", (3, 0))


@pytest.mark.parametrize(
    "raw", [b"", b"\0\0\0", client.name(b"disk"), client.go(b"", 1)[:-1], client.go(b"", 1) + b"\0", b"\xff" * 8]
)
def test_what_info_and_go_ask_for_must_end_with_the_option(raw):
    with pytest.raises(ValueError):
        nbd.parse_info_request(raw)


def test_queries_for_contexts():
    assert nbd.parse_meta_request(client.meta(b"base:", b"x:y", export=b"d")) == (b"d", [b"base:", b"x:y"])


@pytest.mark.parametrize("raw", [b"", client.name(b""), client.meta(b"base:")[:-1], client.meta() + b"\0\0\0\0"])
def test_queries_that_do_not_fit_their_count_are_refused(raw):
    with pytest.raises(ValueError):
        nbd.parse_meta_request(raw)


def _taken_apart(*chunks, kind=client.READ, length=8):
    stream = client.MemoryStream(b"")
    stream.send(chunks)
    found = client.reply(stream.receive, structured=True, asked={7: (kind, 100, length)})
    assert not stream.sent
    return found


def test_chunks_as_a_client_takes_them_apart():
    found = _taken_apart(
        nbd.hole_chunk(7, 104, 4), nbd.data_chunk(7, 100, 4) + b"abcd", nbd.chunk(7, nbd.CHUNK_NONE, 0, done=True)
    )
    assert (found.content, found.kinds) == (b"abcd\0\0\0\0", (2, 1, 0))


def test_states_as_a_client_takes_them_apart():
    found = _taken_apart(nbd.status_chunk(7, [(3, 0), (5, nbd.STATE_HOLE_ZERO)]), kind=client.BLOCK_STATUS)
    assert found.states == ((3, 0), (5, 3))


@pytest.mark.parametrize("pack", [nbd.error_chunk, lambda *given: nbd.error_offset_chunk(*given, 102)])
def test_errors_as_a_client_takes_them_apart(pack):
    found = _taken_apart(pack(7, nbd.EIO, "no such luck " * 200))
    assert (found.error, len(found.message)) == (5, 1024)


def test_simple_replies():
    assert nbd.simple_reply(7) == struct.pack(">IIQ", 0x67446698, 0, 7)
    assert nbd.simple_reply(7, nbd.EPERM) == struct.pack(">IIQ", 0x67446698, 1, 7)
