# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is agreed with a client: each option, and what it leads to."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import protocol as nbd
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.negotiation import (
    END,
    OPTIONS,
    TRANSMISSION,
    Export,
    Negotiation,
)
from ansible_collections.vdisk.parallels.tests.support import nbd as client

EXPORT = Export("mac.hdd", "/vms/mac.hdd at before", 12345 * 512)
BASE_FLAGS = 1 | 2 | 1 << 8 | 1 << 10
DF_FLAG = 1 << 7


@pytest.fixture(name="talk")
def talk_fixture():
    negotiation = Negotiation(EXPORT)
    negotiation.greet(struct.pack(">I", 3))
    return negotiation


def ask(talk, option, content=b"", phase=OPTIONS):
    answer = talk.answer(option, content)
    assert answer.phase == phase
    stream = client.MemoryStream(b"")
    stream.send((answer.content,))
    replies = client.option_replies(stream.receive, option)
    assert not stream.sent
    return replies


def test_go_tells_size_and_flags_and_begins(talk):
    replies = ask(talk, client.GO, client.go(), TRANSMISSION)
    assert replies == [(client.INFO, struct.pack(">HQH", 0, EXPORT.size, BASE_FLAGS)), (client.ACK, b"")]


def test_info_tells_all_that_is_asked_for_once_and_does_not_begin(talk):
    replies = ask(talk, client.OPT_INFO, client.go(b"mac.hdd", 3, 1, 2, 3, 99))
    assert [struct.unpack(">H", content[:2])[0] for kind, content in replies if kind == client.INFO] == [0, 1, 2, 3]
    assert (client.INFO, b"\0\1mac.hdd") in replies
    assert (client.INFO, b"\0\2/vms/mac.hdd at before") in replies
    assert (client.INFO, struct.pack(">HIII", 3, 1, 4096, 32 << 20)) in replies


def test_without_structured_replies_df_is_not_offered(talk):
    assert ask(talk, client.STRUCTURED) == [(client.ACK, b"")]
    replies = ask(talk, client.GO, client.go(), TRANSMISSION)
    assert struct.unpack(">HQH", replies[0][1])[2] == BASE_FLAGS | DF_FLAG
    assert talk.structured


@pytest.mark.parametrize("option", [client.OPT_INFO, client.GO])
def test_an_unknown_export_is_refused(talk, option):
    assert ask(talk, option, client.go(b"other"))[-1][0] == client.UNKNOWN


@pytest.mark.parametrize("option", [client.OPT_INFO, client.GO, client.LIST_META, client.SET_META])
def test_content_that_does_not_end_is_refused(talk, option):
    ask(talk, client.STRUCTURED)
    assert ask(talk, option, b"\0\0\0\5abc")[-1][0] == client.INVALID


@pytest.mark.parametrize("option", [client.LIST, client.STARTTLS, client.STRUCTURED])
def test_content_where_none_belongs_is_refused(talk, option):
    assert ask(talk, option, b"x")[-1][0] == client.INVALID
    assert not talk.structured


def test_the_list_has_one_export(talk):
    listed, end = ask(talk, client.LIST)
    assert listed == (client.SERVER, client.name(b"mac.hdd") + b"/vms/mac.hdd at before")
    assert end == (client.ACK, b"")


def test_there_is_no_tls(talk):
    assert ask(talk, client.STARTTLS)[-1][0] == client.POLICY


@pytest.mark.parametrize("option", [0, 4, 11, 12, 1 << 31, 0xFFFFFFFF])
def test_an_unknown_option_is_refused(talk, option):
    assert ask(talk, option, b"whatever")[-1][0] == client.UNSUP


def test_abort_ends(talk):
    assert ask(talk, client.ABORT, phase=END) == [(client.ACK, b"")]


@pytest.mark.parametrize(("flags", "zeros"), [(1, 124), (3, 0)])
def test_the_old_way_to_choose_an_export(flags, zeros):
    talk = Negotiation(EXPORT)
    talk.greet(struct.pack(">I", flags))
    answer = talk.answer(client.EXPORT_NAME, b"")
    assert answer == (struct.pack(">QH", EXPORT.size, BASE_FLAGS) + bytes(zeros), TRANSMISSION)


def test_the_old_way_to_an_unknown_export_ends(talk):
    assert talk.answer(client.EXPORT_NAME, b"other") == (b"", END)


def test_a_context_needs_structured_replies(talk):
    assert ask(talk, client.SET_META, client.meta(client.CONTEXT))[-1][0] == client.INVALID
    assert ask(talk, client.LIST_META, client.meta())[-1][0] == client.INVALID


@pytest.mark.parametrize(
    ("option", "queries", "found"),
    [
        (client.SET_META, [client.CONTEXT], True),
        (client.SET_META, [b"qemu:dirty", client.CONTEXT, client.CONTEXT], True),
        (client.SET_META, [b"base:"], False),
        (client.SET_META, [], False),
        (client.SET_META, [b"qemu:dirty"], False),
        (client.LIST_META, [], True),
        (client.LIST_META, [b"base:"], True),
        (client.LIST_META, [b"x:y"], False),
    ],
)
def test_contexts(talk, option, queries, found):
    ask(talk, client.STRUCTURED)
    replies = ask(talk, option, client.meta(*queries))
    number = 1 if option == client.SET_META else 0
    expected = [(client.META, struct.pack(">I", number) + client.CONTEXT)] if found else []
    assert replies == [*expected, (client.ACK, b"")]
    assert talk.allocation is (found and option == client.SET_META)


def test_a_failed_choice_of_contexts_takes_the_last_one_back(talk):
    ask(talk, client.STRUCTURED)
    ask(talk, client.SET_META, client.meta(client.CONTEXT))
    assert ask(talk, client.SET_META, client.meta(client.CONTEXT, export=b"other"))[-1][0] == client.UNKNOWN
    assert not talk.allocation


def test_a_context_holds_for_the_name_that_it_was_chosen_for(talk):
    ask(talk, client.STRUCTURED)
    ask(talk, client.SET_META, client.meta(client.CONTEXT, export=b"mac.hdd"))
    ask(talk, client.GO, client.go(b""), TRANSMISSION)
    assert not talk.allocation


def test_a_client_of_another_protocol_is_malformed():
    with pytest.raises(nbd.Malformed):
        Negotiation(EXPORT).greet(b"\0\0\0\0")
