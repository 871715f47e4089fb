# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The NBD protocol as bytes: what a client sends, parsed, and what it is sent, packed. No I/O.

Source: doc/proto.md of the NBD project. All numbers are big-endian.

::

    server  NBDMAGIC IHAVEOPT flags           client  flags
    client  IHAVEOPT option length DATA       server  magic option kind length DATA, as often as it takes
    client  magic flags type cookie offset length
    server  simple reply (and data), or chunks, the last one marked
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import NamedTuple, Sequence, Tuple


class Malformed(Exception):
    """What came is not the protocol; nothing that follows can be understood."""


GREETING = b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 3)
"""Fixed newstyle, and no zeros after the old way to choose an export."""

FIXED_NEWSTYLE, NO_ZEROES = 1, 2

OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
OPT_STRUCTURED_REPLY, OPT_LIST_META, OPT_SET_META = 8, 9, 10

REP_ACK, REP_SERVER, REP_INFO, REP_META = 1, 2, 3, 4
_ERROR = 1 << 31
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_UNKNOWN = _ERROR + 1, _ERROR + 2, _ERROR + 3, _ERROR + 6

INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE = 0, 1, 2, 3

HAS_FLAGS, READ_ONLY, SEND_DF, CAN_MULTI_CONN, SEND_CACHE = 1, 2, 1 << 7, 1 << 8, 1 << 10

CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_WRITE_ZEROES, CMD_BLOCK_STATUS = range(8)
FLAG_DF, FLAG_REQ_ONE = 4, 8

CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS = 0, 1, 2, 5
CHUNK_ERROR, CHUNK_ERROR_OFFSET = 32769, 32770

EPERM, EIO, EINVAL, EOVERFLOW = 1, 5, 22, 75

ALLOCATION = b"base:allocation"
CONTEXT = 1
STATE_HOLE_ZERO = 3

OPTION_BYTES = 16
REQUEST_BYTES = 28
LONGEST_OPTION = 64 << 10
LONGEST_PAYLOAD = 32 << 20
"""Data of one request or reply; what every client may ask for."""

_OPTION = struct.Struct(">8sII")
_OPTION_REPLY = struct.Struct(">QIII")
_REQUEST = struct.Struct(">IHHQQI")
_SIMPLE = struct.Struct(">IIQ")
_CHUNK = struct.Struct(">IHHQI")
_OPTION_REPLY_MAGIC, _REQUEST_MAGIC = 0x3E889045565A9, 0x25609513
_SIMPLE_MAGIC, _CHUNK_MAGIC = 0x67446698, 0x668E33EF


class Option(NamedTuple):
    """The header of an option: ``length`` bytes follow."""

    number: int
    length: int


class Request(NamedTuple):
    """One request of a client. ``offset`` and ``length`` are bytes of the guest disk, not yet judged."""

    flags: int
    type: int
    cookie: int
    offset: int
    length: int


def parse_client_flags(raw: bytes) -> bool:
    """Whether zeros are to be left out. Raises Malformed for a client of another protocol, or one that knows more."""
    (flags,) = struct.unpack(">I", raw)
    if not flags & FIXED_NEWSTYLE or flags & ~(FIXED_NEWSTYLE | NO_ZEROES):
        raise Malformed(f"client flags {flags:#x}")
    return bool(flags & NO_ZEROES)


def parse_option(raw: bytes) -> Option:
    """The header of an option. Raises Malformed for another magic and for one that is too long to be meant."""
    magic, number, length = _OPTION.unpack(raw)
    if magic != b"IHAVEOPT" or length > LONGEST_OPTION:
        raise Malformed(f"option {number} with {length} bytes and the magic {magic!r}")
    return Option(number, length)


def parse_request(raw: bytes) -> Request:
    """A request. Raises Malformed for another magic."""
    magic, flags, kind, cookie, offset, length = _REQUEST.unpack(raw)
    if magic != _REQUEST_MAGIC:
        raise Malformed(f"a request with the magic {magic:#x}")
    return Request(flags, kind, cookie, offset, length)


def pack_request(request: Request) -> bytes:
    """What a client sends."""
    return _REQUEST.pack(_REQUEST_MAGIC, *request)


def parse_name(raw: bytes) -> Tuple[bytes, bytes]:
    """A name and what follows it. Raises ValueError when it does not end."""
    if len(raw) < 4:
        raise ValueError("no name")
    length = int.from_bytes(raw[:4], "big")
    if length > len(raw) - 4:
        raise ValueError("a name that does not end")
    return raw[4 : 4 + length], raw[4 + length :]


def parse_info_request(raw: bytes) -> Tuple[bytes, Tuple[int, ...]]:
    """Export and wanted information of OPT_INFO and OPT_GO. Raises ValueError."""
    name, rest = parse_name(raw)
    if len(rest) < 2 or len(rest) != 2 + 2 * int.from_bytes(rest[:2], "big"):
        raise ValueError("a list that does not end with the option")
    return name, struct.unpack(f">{len(rest) // 2 - 1}H", rest[2:])


def parse_meta_request(raw: bytes) -> Tuple[bytes, Sequence[bytes]]:
    """Export and queries of OPT_LIST_META and OPT_SET_META. Raises ValueError."""
    name, rest = parse_name(raw)
    if len(rest) < 4:
        raise ValueError("no count")
    count, rest = int.from_bytes(rest[:4], "big"), rest[4:]
    queries = []
    while rest:
        query, rest = parse_name(rest)
        queries.append(query)
    if len(queries) != count:
        raise ValueError("another count than there are queries")
    return name, queries


def option_reply(option: int, kind: int, content: bytes = b"") -> bytes:
    """One reply to an option."""
    return _OPTION_REPLY.pack(_OPTION_REPLY_MAGIC, option, kind, len(content)) + content


def simple_reply(cookie: int, error: int = 0) -> bytes:
    """A simple reply; the data of a read follow."""
    return _SIMPLE.pack(_SIMPLE_MAGIC, error, cookie)


def chunk(cookie: int, kind: int, length: int, *, done: bool = False) -> bytes:
    """The header of a chunk with ``length`` bytes."""
    return _CHUNK.pack(_CHUNK_MAGIC, done, kind, cookie, length)


def data_chunk(cookie: int, offset: int, length: int, *, done: bool = False) -> bytes:
    """The beginning of a chunk of data, all but these."""
    return chunk(cookie, CHUNK_DATA, 8 + length, done=done) + struct.pack(">Q", offset)


def hole_chunk(cookie: int, offset: int, length: int) -> bytes:
    """A chunk that stands for zeros."""
    return chunk(cookie, CHUNK_HOLE, 12) + struct.pack(">QI", offset, length)


def error_chunk(cookie: int, error: int, message: str) -> bytes:
    """The last chunk of a reply to what cannot be done."""
    text = message.encode()[:1024]
    return chunk(cookie, CHUNK_ERROR, 6 + len(text), done=True) + struct.pack(">IH", error, len(text)) + text


def error_offset_chunk(cookie: int, error: int, message: str, offset: int) -> bytes:
    """The last chunk of a reply that cannot be read from ``offset`` on."""
    text = message.encode()[:1024]
    head = chunk(cookie, CHUNK_ERROR_OFFSET, 14 + len(text), done=True)
    return head + struct.pack(">IH", error, len(text)) + text + struct.pack(">Q", offset)


def status_chunk(cookie: int, descriptors: Sequence[Tuple[int, int]]) -> bytes:
    """Lengths and states of consecutive ranges."""
    content = b"".join(struct.pack(">II", length, state) for length, state in descriptors)
    return chunk(cookie, CHUNK_STATUS, 4 + len(content), done=True) + struct.pack(">I", CONTEXT) + content
