# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a file without any mark is a disk: pieces of something and files with false names are not.

::

    mac.hdd/DiskDescriptor.xml  mac.hdd.0.{...}.hds      a layer or a part of a Parallels disk
    disk.vmdk                   disk-flat.vmdk           an extent of a VMDK
    disk.vhd                    disk.v01                 a piece of a split VHD
    disk.001                    disk.002                 pieces that were cut by size
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import re
import shlex
from typing import TYPE_CHECKING, Optional, Tuple

from ..._bundle.naming import DESCRIPTOR, classify
from ..._core.errors import BadRequest, DiskError, NotAWholeDisk
from ..._formats.detect import UNSTRUCTURED, detect
from ..._io.durable import read_start
from ..._io.fingerprint import identity
from ..._io.port import FILE, Port
from .advice import document_of, false_name, unread

if TYPE_CHECKING:
    from ..._core.plan import Fingerprint

VMDK_PIECE = re.compile(r"(.+)-(?:flat|delta|sesparse|rdmp?|[sf]\d{3,})\.vmdk", re.IGNORECASE)
_VHD_PIECE = re.compile(r"(.+)\.(v)\d\d", re.IGNORECASE)
_NUMBERED = re.compile(r"(.+\.)(\d{3})")
_LETTERED = re.compile(r"(.+)([a-z])([a-z])")
_CLAIMS = frozenset(
    (
        ".qcow .qcow2 .qed .vmdk .vhd .avhd .vhdx .avhdx .vdi .hds .ova .ovf .box .dmg"
        " .gz .xz .bz2 .zst .7z .zip .tar .tgz"
    ).split()
)
_MOST_TEXT = 1 << 20
_MOST_CANDIDATES = 1000


def refuse_part(port: Port, path: str, prefix: bytes) -> None:
    """Raise NotAWholeDisk for a file without the mark of an image that is no whole disk by what stands around it."""
    folder, name = posixpath.split(path)
    if _is_of_bundle(port, folder, name):
        raise NotAWholeDisk(
            "The file is a layer or a part of a Parallels disk", path=path, hint=f"Name the bundle: {folder}"
        )
    document = document_of(prefix)
    if document is not None:
        raise unread(path, document)
    if VMDK_PIECE.fullmatch(name):
        raise extent_of_vmdk(port, path)
    if _VHD_PIECE.fullmatch(name):
        raise piece_of_vhd(port, path)
    if _neighbour(port, folder, name) is not None:
        raise _cut(port, folder, name)
    suffix = posixpath.splitext(name)[1]
    if suffix.lower() in _CLAIMS:
        raise false_name(path, suffix)


def _is_of_bundle(port: Port, folder: str, name: str) -> bool:
    """Whether the file is an image by its name in a bundle, or one that the descriptor there names."""
    place = posixpath.join(folder, DESCRIPTOR)
    stat = port.lstat(place)
    if stat is None or stat.kind != FILE:
        return False
    return classify(name) == "image" or f">{name}<".encode() in _start_of(port, place).replace(b"\n", b"")


def _start_of(port: Port, path: str) -> bytes:
    """The first bytes of a text."""
    file = port.open_read(path)
    try:
        raw = bytearray(min(file.size(), _MOST_TEXT))
        return bytes(raw[: file.pread_into(0, raw)])
    finally:
        file.close()


def extent_of_vmdk(port: Port, path: str) -> DiskError:
    """The refusal of a file that is an extent of a VMDK."""
    whole = _description(port, path)
    if whole is not None:
        hint = f"Name the disk: {whole}"
    elif path.lower().endswith("-flat.vmdk"):
        hint = "Set src_format: raw; a flat file holds the whole disk."
    else:
        hint = "Copy its description, a small .vmdk file, beside it and name that."
    return NotAWholeDisk("The file is an extent of a VMDK", path=path, found=whole, hint=hint)


def _description(port: Port, path: str) -> Optional[str]:
    """The small file beside an extent that names it."""
    folder, name = posixpath.split(path)
    wanted = f'"{name}"'.encode("utf-8", "surrogateescape")
    names = [one for one in port.list_directory(folder) if one.lower().endswith(".vmdk") and one != name]
    for one in names[:_MOST_CANDIDATES]:
        place = posixpath.join(folder, one)
        stat = port.lstat(place)
        if stat is not None and stat.kind == FILE and stat.size <= _MOST_TEXT:
            try:
                if wanted in _start_of(port, place):
                    return place
            except DiskError:
                continue
    return None


def piece_of_vhd(port: Port, path: str) -> DiskError:
    """The refusal of a further piece of a split VHD."""
    stem = posixpath.splitext(path)[0]
    first = next((stem + suffix for suffix in (".vhd", ".VHD") if port.stat(stem + suffix) is not None), None)
    hint = f"Name its first piece: {first}" if first else f"Copy its first piece, {stem}.vhd, beside it and name that."
    return NotAWholeDisk("The file is a piece of a split VHD", path=path, found=first, hint=hint)


def _neighbour(port: Port, folder: str, name: str) -> Optional[str]:
    """The piece before or after a file that was cut by size."""
    for step in (1, -1):
        beside = _stepped(name, step)
        if beside is not None and port.stat(posixpath.join(folder, beside)) is not None:
            return beside
    return None


def _stepped(name: str, step: int) -> Optional[str]:
    """The name of the next piece, or of the one before; None where there can be none."""
    numbered, lettered = _NUMBERED.fullmatch(name), _LETTERED.fullmatch(name)
    if numbered:
        number = int(numbered.group(2)) + step
        return f"{numbered.group(1)}{number:03d}" if 0 <= number < 1000 else None
    if lettered and (lettered.group(2) == "a" or lettered.group(1).endswith(".")):
        letter = chr(ord(lettered.group(3)) + step)
        return f"{lettered.group(1)}{lettered.group(2)}{letter}" if "a" <= letter <= "z" else None
    return None


def series_of(port: Port, path: str) -> Tuple[str, ...]:
    """The pieces of what was cut by size, from the first one to the last before a gap, of which ``path`` is one."""
    folder, name = posixpath.split(path)
    found = [name]
    for step in (-1, 1):
        beside = _stepped(name, step)
        while beside is not None and port.stat(posixpath.join(folder, beside)) is not None:
            found.append(beside)
            beside = _stepped(beside, step)
    return tuple(posixpath.join(folder, one) for one in sorted(found))


def joinable(port: Port, path: str, format: str) -> Fingerprint:
    """All pieces of a plain image that was cut by size, of which ``path`` is the first.

    Raises BadRequest where the whole is not beyond doubt: pieces but the last are of one length, the numbers begin with
    0 or 1 and have no gaps, and the first has no mark of another format.
    """
    pieces = series_of(port, path)
    # No links: what is opened lies beside the first piece.
    stats = [(piece, port.lstat(piece)) for piece in pieces]
    sizes = [stat.size if stat is not None and stat.kind == FILE else -1 for _piece, stat in stats]
    wrong = None
    if len(pieces) < 2:
        wrong = "there is no second piece"
    elif path != pieces[0] or not path.endswith(("000", "001", "aa")):
        wrong = f"the first piece is {pieces[0]}"
    elif len(set(sizes[:-1])) > 1 or not 0 < sizes[-1] <= sizes[0]:
        wrong = "the pieces are not all of one length"
    elif format not in ("auto", "raw"):
        wrong = f"{format} images are not joined"
    elif format == "auto" and detect(read_start(port, path, 4096), name="") != UNSTRUCTURED:
        wrong = "the first piece is no plain image"
    if wrong is not None:
        raise BadRequest(
            f"join_pieces: {wrong}", path=path, found=list(pieces)[:10], hint="Join them yourself: cat PIECES > WHOLE"
        )
    return tuple((piece, identity(stat)) for piece, stat in stats)


def piece_with_mark(port: Port, path: str) -> Optional[DiskError]:
    """The refusal of an image of a format that was cut by size; None for a file that stands alone."""
    folder, name = posixpath.split(path)
    numbered = _NUMBERED.fullmatch(name)
    if numbered is None or _neighbour(port, folder, name) is None:
        return None
    error = _cut(port, folder, name)
    whole = shlex.quote(posixpath.join(folder, numbered.group(1).rstrip(".")))
    error.hint = f"Join them and name the result: cat {whole}.??? > {whole}"
    return error


def _cut(port: Port, folder: str, name: str) -> DiskError:
    path = posixpath.join(folder, name)
    pieces = series_of(port, path)
    return NotAWholeDisk(
        f"The file is one of {len(pieces)} pieces of a disk",
        path=path,
        found=list(pieces)[:10],
        hint=f"Name the first one, {pieces[0]}, and set join_pieces: true.",
    )
