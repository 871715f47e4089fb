# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pieces of a file that was cut by size, known by their names.

::

    disk.raw.000  disk.raw.001        numbers of two to four digits; of two only from 00 on, since versions look so, too
    disk.part1    disk.part2          numbers after "part"
    diskaa        diskab              letters, as split makes them
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import re
import shlex
from typing import List, Optional, Sequence, Tuple

from ..._core.errors import BadRequest, DiskError, NotAWholeDisk
from ..._core.plan import Fingerprint
from ..._formats.detect import TAIL_BYTES, UNSTRUCTURED, detect
from ..._formats.pieces import MOST_PIECES
from ..._io.durable import read_start
from ..._io.fingerprint import identity
from ..._io.port import FILE, Port

_NUMBERED = re.compile(r"(.+\.)([0-9]{2,4})|(.+[._-]part[._-]?)([0-9]{1,4})", re.IGNORECASE)
_MOST_SHOWN = 4
_COMPLETE = "Copy all pieces into the folder, or move away what is no piece."
_LETTERED = re.compile(r"(.+)([a-z])([a-z])")


def _parts(name: str) -> Optional[Tuple[str, str]]:
    """What comes before the number of a piece, and its digits."""
    match = _NUMBERED.fullmatch(name)
    if match is None:
        return None
    return (match.group(3), match.group(4)) if match.group(3) else (match.group(1), match.group(2))


def _stepped(name: str, step: int) -> List[str]:
    """The names that the next piece may have, or the one before; none where there can be none."""
    numbered, lettered = _parts(name), _LETTERED.fullmatch(name)
    if numbered is not None:
        stem, digits = numbered
        number = int(digits) + step
        # Only after "part" are there numbers that grow longer.
        plain = [f"{stem}{number}"] if "part" in stem.lower() and not digits.startswith("0") else []
        same = f"{stem}{number:0{len(digits)}d}"
        return list(dict.fromkeys([same, *plain])) if number >= 0 and (plain or len(same) == len(name)) else []
    if lettered:
        place = _place(lettered.group(2) + lettered.group(3)) + step
        return [f"{lettered.group(1)}{_letters(place)}"] if 0 <= place < 26 * 26 else []
    return []


def _place(letters: str) -> int:
    """Where two letters stand in the order aa, ab, .. az, ba, .."""
    return 26 * (ord(letters[0]) - ord("a")) + ord(letters[1]) - ord("a")


def _letters(place: int) -> str:
    return chr(ord("a") + place // 26) + chr(ord("a") + place % 26)


def _beside(port: Port, folder: str, name: str, step: int) -> Optional[str]:
    names = _stepped(name, step)
    return next((one for one in names if port.stat(posixpath.join(folder, one)) is not None), None)


def series_of(port: Port, path: str) -> Tuple[str, ...]:
    """The pieces of what was cut by size, from the first one to the last before a gap, of which ``path`` is one."""
    folder, name = posixpath.split(path)
    found = [name]
    for step in (-1, 1):
        beside = _beside(port, folder, name, step)
        while beside is not None:
            found.insert(0 if step < 0 else len(found), beside)
            beside = _beside(port, folder, beside, step)
    return tuple(posixpath.join(folder, one) for one in (found if _is_cut(found[0]) else [name]))


def _is_cut(first: str) -> bool:
    """Whether the first name of a series is none of a version or a year."""
    stem, digits = _parts(first) or ("", "")
    if not digits:
        # Words end in letters, too.
        lettered = _LETTERED.fullmatch(first)
        return lettered is not None and (lettered.group(2) == "a" or lettered.group(1).endswith("."))
    return len(digits) == 3 or "part" in stem.lower() or digits in ("00", "0000", "0001")


def _strays(port: Port, pieces: Sequence[str]) -> List[str]:
    """Files that are called as further pieces of a series, but between which and the series there is a gap."""
    folder, last = posixpath.split(pieces[-1])
    own = {posixpath.basename(piece) for piece in pieces}
    numbered, lettered = _parts(last), _LETTERED.fullmatch(last)
    found = []
    for name in port.list_directory(folder):
        if numbered is not None:
            is_piece = (_parts(name) or ("",))[0] == numbered[0]
        else:
            other = _LETTERED.fullmatch(name)
            is_piece = bool(lettered and other and other.group(1) == lettered.group(1))
            # Up to the letter after the last one: other endings of two letters, such as .md, are no pieces.
            is_piece = is_piece and bool(lettered and other and ord(other.group(2)) <= ord(lettered.group(2)) + 1)
        if is_piece and name not in own:
            found.append(posixpath.join(folder, name))
    return sorted(found)


def neighbour(port: Port, folder: str, name: str) -> Optional[str]:
    """The piece before or after a file that was cut by size, or one behind a gap."""
    if not _stepped(name, 1) and not _stepped(name, -1):
        return None
    path = posixpath.join(folder, name)
    others = [posixpath.basename(piece) for piece in series_of(port, path) if piece != path]
    if not others and _parts(name) is not None:
        others = [posixpath.basename(piece) for piece in _strays(port, (path,))]
        if not any(_is_first(one) and _is_cut(one) for one in (name, *others)):
            return None
    return others[0] if others else None


def _is_first(path: str) -> bool:
    numbered = _parts(posixpath.basename(path))
    return path.endswith("aa") if numbered is None else int(numbered[1]) < 2


def joinable(port: Port, path: str, format: str) -> Fingerprint:
    """All pieces of a plain image that was cut by size, of which ``path`` is the first.

    Raises BadRequest where the whole is not beyond doubt: pieces but the last are of one length, the numbers begin with
    0 or 1 and have no gaps, and neither the first nor the last has a mark of another format.
    """
    pieces = series_of(port, path)
    # No links: what is opened lies beside the first piece.
    stats = [(piece, port.lstat(piece)) for piece in pieces]
    sizes = [stat.size if stat is not None and stat.kind == FILE else -1 for _piece, stat in stats]
    strays = _strays(port, pieces) if len(pieces) > 1 else []
    wrong = None
    if len(pieces) < 2:
        wrong = "there is no second piece"
    elif len(pieces) > MOST_PIECES:
        wrong = f"there are more than {MOST_PIECES} pieces"
    elif path != pieces[0] or not _is_first(path):
        wrong = f"the first piece is {pieces[0]}"
    elif strays:
        wrong = f"pieces are missing between {pieces[-1]} and {strays[-1]}"
    elif len(set(sizes[:-1])) > 1 or not 0 < sizes[-1] <= sizes[0]:
        wrong = "the pieces are not all of one length"
    elif format not in ("auto", "raw"):
        wrong = f"{format} images are not joined"
    elif format == "auto" and _mark_of(port, pieces) != UNSTRUCTURED:
        wrong = f"the pieces are those of no plain image ({_mark_of(port, pieces)})"
    if wrong is not None:
        hint = f"Join them yourself and name the result: {_command(port, pieces)}"
        if path != pieces[0] and _is_first(pieces[0]):
            hint = f"Name that: {pieces[0]}"
        elif len(pieces) < 2:
            hint = "Leave join_pieces out."
        elif strays:
            hint = _COMPLETE
        raise BadRequest(f"join_pieces: {wrong}", path=path, found=list(pieces)[:10], hint=hint)
    return tuple((piece, identity(stat)) for piece, stat in stats)


def _mark_of(port: Port, pieces: Sequence[str]) -> str:
    """What the first bytes of the first piece and the last ones of the last one say."""
    file = port.open_read(pieces[-1])
    try:
        tail = bytearray(min(file.size(), TAIL_BYTES))
        file.pread_into(file.size() - len(tail), tail)
    finally:
        file.close()
    return detect(read_start(port, pieces[0], 4096), suffix_bytes=bytes(tail), name="")


def _command(port: Port, pieces: Sequence[str]) -> str:
    """What joins the pieces, into a file that is not there yet."""
    folder, name = posixpath.split(pieces[0])
    numbered, lettered = _parts(name), _LETTERED.fullmatch(name)
    stem = numbered[0] if numbered is not None else lettered.group(1) if lettered is not None else name
    whole = posixpath.join(folder, re.sub(r"[._-](part)?[._-]?$", "", stem, flags=re.IGNORECASE) or stem)
    whole += "" if port.lstat(whole) is None else ".whole"
    shown = " ".join(shlex.quote(piece) for piece in pieces)
    if len(pieces) > _MOST_SHOWN and numbered is not None and len({len(piece) for piece in pieces}) == 1:
        # They sort as they follow each other.
        shown = shlex.quote(posixpath.join(folder, stem)) + "[0-9]" * len(numbered[1])
    return f"cat {shown} > {shlex.quote(whole)}"


def piece_with_mark(port: Port, path: str) -> Optional[DiskError]:
    """The refusal of an image of a format that was cut by size; None for a file that stands alone."""
    folder, name = posixpath.split(path)
    if neighbour(port, folder, name) is None:
        return None
    error = cut(port, folder, name)
    pieces = series_of(port, path)
    if not _strays(port, pieces):
        error.hint = f"Join them and name the result: {_command(port, pieces)}"
    return error


def cut(port: Port, folder: str, name: str) -> DiskError:
    """The refusal of a file that is a piece of a plain image."""
    path = posixpath.join(folder, name)
    pieces = series_of(port, path)
    strays = _strays(port, pieces)
    if strays:
        found = sorted([*pieces, *strays])[:10]
        return NotAWholeDisk("The file is a piece of a disk, and others are missing", path, found=found, hint=_COMPLETE)
    return NotAWholeDisk(
        f"The file is one of {len(pieces)} pieces of a disk",
        path=path,
        found=list(pieces)[:10],
        hint=f"Name the first one, {pieces[0]}, and set join_pieces: true.",
    )
