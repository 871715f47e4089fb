# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The members of a tar archive, without unpacking it: ustar, GNU and pax headers, and GNU's sparse members."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from shlex import quote
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..._core.errors import Unsupported
from ..._core.units import round_up
from ..._formats.damage import DamagedSource
from ..._formats.mapping import ByteSource
from .segments import Stretch
from .sparse import MAP, PAX_SPARSE, Pairs, decimal, pax_pairs, placed, real_size

BLOCK = 512
MOST_MEMBERS = 20_000
_MOST_NAME = 64 << 10
# Maps of sparse members may be in there.
_MOST_PAX = 16 << 20
_MOST_STRETCHES = 1 << 20

_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"x", b"g", b"L", b"K", b"S"


class Entry(NamedTuple):
    """A regular file in an archive: its name without ``.`` and ``..``, and where its bytes are."""

    name: str
    stretches: Tuple[Stretch, ...]
    size: int


def read_entries(source: ByteSource) -> Tuple[Entry, ...]:
    """The regular files of an archive, the last one of each name. Raises Damaged, Unsupported beyond the limits."""
    found: Dict[str, Entry] = {}
    for number, entry in enumerate(_walk(source)):
        if number >= MOST_MEMBERS:
            raise Unsupported("The archive has too many members", source.path, expected=f"up to {MOST_MEMBERS}")
        if entry.name:
            found[entry.name] = entry
    return tuple(found.values())


def _walk(source: ByteSource) -> Iterator[Entry]:
    offset, end = 0, source.size()
    overrides: Dict[str, str] = {}
    while offset + BLOCK <= end:
        raw = _block(source, offset)
        if not raw.strip(b"\0"):
            return
        _check_sum(raw, source.path, offset)
        kind, size = raw[156:157], _number(raw[124:136], source.path, offset + 124)
        data = offset + BLOCK
        if kind in (_PAX, _LONG_NAME):
            overrides.update(_overrides(source, kind, data, size))
        elif kind not in (_PAX_GLOBAL, _LONG_LINK):
            size = decimal(overrides["size"], source.path, offset) if "size" in overrides else size
            entry, data = _member(source, raw, (data, size), overrides)
            if data + size > end:
                raise DamagedSource("The archive ends within a member", source.path, offset, expected=data + size)
            yield entry
            overrides = {}
        offset = data + round_up(size, BLOCK)
    if offset < end:
        raise DamagedSource("The archive ends within a header", source.path, offset, expected=BLOCK, found=end - offset)


def _member(source: ByteSource, raw: bytes, place: Tuple[int, int], overrides: Dict[str, str]) -> Tuple[Entry, int]:
    """The member with the header ``raw``, stored at ``place`` (offset and length), and where its bytes really begin."""
    (data, size), kind = place, raw[156:157]
    if kind not in (b"0", b"\0", b"7", _SPARSE):
        return Entry("", (), 0), data
    name = overrides.get(PAX_SPARSE + "name") or overrides.get("path") or _name(raw)
    stretches: Tuple[Stretch, ...] = ((0, size, data),) if size else ()
    real = size
    if kind == _SPARSE:
        data, pairs = _old_pairs(source, raw, data)
        real = _number(raw[483:495], source.path, data)
        stretches = placed(pairs, (data, size), real, source.path)
    elif any(key.startswith(PAX_SPARSE) for key in overrides):
        real = real_size(overrides, source.path, data)
        begin, pairs = pax_pairs(source, overrides, (data, size))
        stretches = placed(pairs, (begin, data + size - begin), real, source.path)
    elif "SUN.holesdata" in overrides:
        hint = f"Unpack it and name the disk in it: tar -xf {quote(source.path)}"
        raise Unsupported("Sparse members of Solaris are not read", source.path, data, hint=hint)
    return Entry(_clean(name), stretches, real), data


def _old_pairs(source: ByteSource, raw: bytes, data: int) -> Tuple[int, Pairs]:
    """Where the bytes of a sparse member of GNU tar begin, and its map, which is in its header and those after it."""
    table, more = raw[386:482], raw[482]
    pairs: Pairs = []
    while True:
        for start in range(0, len(table) - 23, 24):
            if table[start] or table[start + 12]:
                fields = (table[start : start + 12], table[start + 12 : start + 24])
                pairs.append((_number(fields[0], source.path, data), _number(fields[1], source.path, data)))
        if not more or len(pairs) > _MOST_STRETCHES:
            return data, pairs
        block = _block(source, data)
        table, more, data = block[:504], block[504], data + BLOCK


def _block(source: ByteSource, offset: int) -> bytes:
    raw = bytearray(BLOCK)
    got = source.pread_into(offset, raw)
    if got < BLOCK:
        raise DamagedSource("The archive ends within a header", source.path, offset + got, expected=BLOCK, found=got)
    return bytes(raw)


def _check_sum(raw: bytes, path: str, offset: int) -> None:
    found = _number(raw[148:156], path, offset + 148)
    expected = sum(raw[:148]) + sum(raw[156:]) + 8 * 32
    # Some old writers add up signed bytes.
    signed = expected - 256 * sum(byte > 127 for byte in raw[:148] + raw[156:])
    if found not in (expected, signed):
        message = "This is no header of a tar archive"
        raise DamagedSource(message, path, offset + 148, expected=expected, found=found)


def _number(field: bytes, path: str, offset: int) -> int:
    if field[0] & 0x80:
        number = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    else:
        text = field.lstrip(b" \0").split(b"\0")[0].strip() or b"0"
        number = int(text, 8) if not text.strip(b"01234567") else -1
    if not 0 <= number < 1 << 62:
        raise DamagedSource("A number in the archive is impossible", path, offset, found=field[:12])
    return number


def _overrides(source: ByteSource, kind: bytes, data: int, size: int) -> Dict[str, str]:
    most = _MOST_PAX if kind == _PAX else _MOST_NAME
    if size > most:
        raise Unsupported("A header of the archive is too long", source.path, data, expected=most, found=size)
    raw = bytearray(size)
    if source.pread_into(data, raw) < size:
        raise DamagedSource("The archive ends within a header", source.path, data)
    if kind == _LONG_NAME:
        return {"path": bytes(raw).split(b"\0")[0].decode("utf-8", "surrogateescape")}
    found: Dict[str, str] = {}
    numbers: List[str] = []
    for key, value in _pax_records(bytes(raw)):
        # The oldest maps are records of one number each.
        if key in (PAX_SPARSE + "offset", PAX_SPARSE + "numbytes"):
            numbers.append(value)
        found[key] = value
    if numbers:
        found.setdefault(MAP, ",".join(numbers))
    return found


def _pax_records(raw: bytes) -> Iterator[Tuple[str, str]]:
    while raw:
        digits = raw.split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() and len(digits) < 10 else 0
        if not len(digits) < length <= len(raw):
            return
        key, _equals, value = raw[len(digits) + 1 : length - 1].partition(b"=")
        yield key.decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")
        raw = raw[length:]


def _name(raw: bytes) -> str:
    name, prefix = raw[:100].split(b"\0")[0], raw[345:500].split(b"\0")[0]
    # GNU tar has times where POSIX has a prefix.
    is_posix = raw[257:263] == b"ustar\0"
    whole = prefix + b"/" + name if prefix and is_posix else name
    return whole.decode("utf-8", "surrogateescape")


def _clean(name: str) -> str:
    """The name as a path below the archive; empty for one that leads out."""
    path: Optional[str] = posixpath.normpath(name).lstrip("/") if name and "\0" not in name else None
    return "" if path is None or path in (".", "..") or path.startswith("../") else path
