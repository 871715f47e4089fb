# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is agreed with a client before it reads: options in, replies out. No I/O."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Callable, Dict, List, NamedTuple, Sequence

from . import protocol as nbd

OPTIONS, TRANSMISSION, END = "options", "transmission", "end"

_SMALLEST_BLOCK, _PREFERRED_BLOCK = 1, 4096


class Export(NamedTuple):
    """What is offered: one disk, under the empty name and under ``name``."""

    name: str
    description: str
    size: int


class Answer(NamedTuple):
    """Bytes to send, and what comes then."""

    content: bytes
    phase: str = OPTIONS


class Negotiation:
    """One client before transmission.

    Afterwards ``structured`` tells whether replies come in chunks, ``allocation`` whether it may ask for holes.
    """

    def __init__(self, export: Export) -> None:
        self.structured = False
        self.allocation = False
        self._export = export
        self._no_zeroes = False
        self._names = (b"", export.name.encode())
        self._context_of = b""

    def greet(self, flags: bytes) -> None:
        """Take the client's flags. Raises Malformed."""
        self._no_zeroes = nbd.parse_client_flags(flags)

    def answer(self, option: int, content: bytes) -> Answer:
        """The reply to one option."""
        known = _KNOWN.get(option)
        if known is None:
            return self._refusal(option, nbd.ERR_UNSUP, "this option is not known here")
        try:
            return known(self, option, content)
        except ValueError as error:
            return self._refusal(option, nbd.ERR_INVALID, str(error))

    def _refusal(self, option: int, kind: int, text: str) -> Answer:
        return Answer(nbd.option_reply(option, kind, text.encode()))

    def _export_name(self, _option: int, content: bytes) -> Answer:
        """The old way, which has no replies: an unknown name ends the connection."""
        if content not in self._names:
            return Answer(b"", END)
        self._chosen(content)
        zeros = b"" if self._no_zeroes else bytes(124)
        return Answer(struct.pack(">QH", self._export.size, self._flags()) + zeros, TRANSMISSION)

    def _chosen(self, name: bytes) -> None:
        # Both names mean one disk, but a context holds for the name that it was asked for.
        self.allocation = self.allocation and self._context_of == name

    def _flags(self) -> int:
        flags = nbd.HAS_FLAGS | nbd.READ_ONLY | nbd.CAN_MULTI_CONN | nbd.SEND_CACHE
        return flags | (nbd.SEND_DF if self.structured else 0)

    def _abort(self, option: int, _content: bytes) -> Answer:
        return Answer(nbd.option_reply(option, nbd.REP_ACK), END)

    def _list(self, option: int, content: bytes) -> Answer:
        _expect_nothing(content)
        name = self._export.name.encode()
        listed = struct.pack(">I", len(name)) + name + self._export.description.encode()
        return Answer(nbd.option_reply(option, nbd.REP_SERVER, listed) + nbd.option_reply(option, nbd.REP_ACK))

    def _start_tls(self, option: int, content: bytes) -> Answer:
        _expect_nothing(content)
        return self._refusal(option, nbd.ERR_POLICY, "there is no TLS")

    def _info(self, option: int, content: bytes) -> Answer:
        name, wanted = nbd.parse_info_request(content)
        if name not in self._names:
            return self._refusal(option, nbd.ERR_UNKNOWN, "there is no such export")
        export = self._export
        known = {
            nbd.INFO_EXPORT: struct.pack(">QH", export.size, self._flags()),
            nbd.INFO_NAME: export.name.encode(),
            nbd.INFO_DESCRIPTION: export.description.encode(),
            nbd.INFO_BLOCK_SIZE: struct.pack(">III", _SMALLEST_BLOCK, _PREFERRED_BLOCK, nbd.LONGEST_PAYLOAD),
        }
        kinds = [nbd.INFO_EXPORT, *(kind for kind in sorted(set(wanted)) if kind in known and kind != nbd.INFO_EXPORT)]
        content = b"".join(
            nbd.option_reply(option, nbd.REP_INFO, struct.pack(">H", kind) + known[kind]) for kind in kinds
        )
        content += nbd.option_reply(option, nbd.REP_ACK)
        if option == nbd.OPT_INFO:
            return Answer(content)
        self._chosen(name)
        return Answer(content, TRANSMISSION)

    def _structured(self, option: int, content: bytes) -> Answer:
        _expect_nothing(content)
        self.structured = True
        return Answer(nbd.option_reply(option, nbd.REP_ACK))

    def _meta(self, option: int, content: bytes) -> Answer:
        is_set = option == nbd.OPT_SET_META
        if is_set:
            self.allocation = False
        if not self.structured:
            raise ValueError("structured replies come first")
        name, queries = nbd.parse_meta_request(content)
        if name not in self._names:
            return self._refusal(option, nbd.ERR_UNKNOWN, "there is no such export")
        replies: List[bytes] = []
        if _selects(queries, is_set):
            context = nbd.CONTEXT if is_set else 0
            replies.append(nbd.option_reply(option, nbd.REP_META, struct.pack(">I", context) + nbd.ALLOCATION))
        if is_set:
            self.allocation, self._context_of = bool(replies), name
        return Answer(b"".join([*replies, nbd.option_reply(option, nbd.REP_ACK)]))


def _selects(queries: Sequence[bytes], is_set: bool) -> bool:
    """Whether base:allocation is meant; to list, no query means all contexts, and a namespace all of its own."""
    wanted = set(queries)
    if is_set:
        return nbd.ALLOCATION in wanted
    return not wanted or bool(wanted & {nbd.ALLOCATION, b"base:"})


def _expect_nothing(content: bytes) -> None:
    if content:
        raise ValueError("this option has no data")


_KNOWN: Dict[int, Callable[[Negotiation, int, bytes], Answer]] = {
    nbd.OPT_EXPORT_NAME: Negotiation._export_name,
    nbd.OPT_ABORT: Negotiation._abort,
    nbd.OPT_LIST: Negotiation._list,
    nbd.OPT_STARTTLS: Negotiation._start_tls,
    nbd.OPT_INFO: Negotiation._info,
    nbd.OPT_GO: Negotiation._info,
    nbd.OPT_STRUCTURED_REPLY: Negotiation._structured,
    nbd.OPT_LIST_META: Negotiation._meta,
    nbd.OPT_SET_META: Negotiation._meta,
}
