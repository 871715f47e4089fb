# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""GUIDs as Parallels writes them: lower case, in braces.

Well-known ones are listed in the format reference, section 3.1.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re

from .errors import Damaged

TOP = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
"""The active, writable layer of a bundle that names no other top."""

NONE = "{00000000-0000-0000-0000-000000000000}"
"""Stands for "no parent" and for "no encryption engine"."""

BACKUP = "{704718e1-2314-44c8-9087-d78ed36b0f4e}"
"""A layer that backup software made; never the top."""

WELL_KNOWN = frozenset((TOP, NONE, BACKUP))

_NAMESPACE = bytes.fromhex("7c0f4a2e3d0b5c5e9d5e0c1f6f5f8a11")
_GUID = re.compile(r"\{?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\}?", re.IGNORECASE)


def is_guid(text: str) -> bool:
    """Whether ``text`` is a GUID, with or without braces, in either case."""
    return _GUID.fullmatch(text.strip()) is not None


def normalise(text: str, *, path: str | None = None, what: str = "GUID") -> str:
    """``text`` in the one form that is compared and written: lower case, in braces.

    Raises Damaged for anything else.
    """
    match = _GUID.fullmatch(text.strip())
    if match is None:
        raise Damaged(f"{what} {text[:60]!r} is not a GUID", path=path, expected="a GUID in braces", found=text[:60])
    return "{" + match.group(1).lower() + "}"


def derive(*parts: str) -> str:
    """A GUID that depends on ``parts`` alone (UUIDv5), the same on every machine."""
    # What uuid.uuid5 does; the module takes several times as long to load as all else here.
    import hashlib

    # A part may be the name of a file, which need not be UTF-8.
    name = "\0".join(parts).encode("utf-8", "backslashreplace")
    made = bytearray(hashlib.sha1(_NAMESPACE + name).digest()[:16])
    made[6] = made[6] & 0x0F | 0x50
    made[8] = made[8] & 0x3F | 0x80
    return of_bytes(bytes(made))


def draw() -> str:
    """A new random GUID."""
    from uuid import uuid4

    return "{" + str(uuid4()) + "}"


def to_bytes(text: str) -> bytes:
    """The 16 bytes of a GUID, in the order in which it is written."""
    return bytes.fromhex(text.strip("{}").replace("-", ""))


def of_bytes(raw: bytes) -> str:
    """16 bytes, in the order in which they are written, as a GUID."""
    text = raw.hex()
    return f"{{{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}}}"


def swapped(raw: bytes) -> bytes:
    """16 bytes with the first three fields in the other byte order; Microsoft and VirtualBox store those so."""
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
