# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a file without any mark is a disk: pieces of something and files with false names are not.

::

    mac.hdd/DiskDescriptor.xml  mac.hdd.0.{...}.hds      a layer or a part of a Parallels disk
    disk.vmdk                   disk-flat.vmdk           an extent of a VMDK
    disk.vhd                    disk.v01                 a piece of a split VHD
    disk.qcow2                  disk.data                the external data file of a qcow2 image
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import re
from shlex import quote
from typing import Optional

from ..._bundle.naming import DESCRIPTOR, classify
from ..._core.errors import DiskError, NotAWholeDisk
from ..._formats.qcow2.layout import named_data_file
from ..._io.durable import read_start
from ..._io.port import FILE, Port
from .advice import document_of, false_name, unfinished, unread
from .series import cut, neighbour

VMDK_PIECE = re.compile(r"(.+)-(?:flat|delta|sesparse|rdmp?|[sf]\d{3,})\.vmdk", re.IGNORECASE)
_VHD_PIECE = re.compile(r"(.+)\.(v)\d\d", re.IGNORECASE)
_CLAIMS = frozenset(
    (
        ".qcow .qcow2 .qed .vmdk .vhd .avhd .vhdx .avhdx .vdi .hds .ova .ovf .box .dmg .sparseimage .asif .wim .e01"
        " .gz .xz .bz2 .zst .lz4 .lzma .7z .zip .rar .tar .tgz .txz .tbz .tbz2 .tzst"
    ).split()
)
XEN_PIECE = re.compile(r"(?:.*/)?(Ref:[0-9]+)/[0-9]{8}(?:\.(?:checksum|xxhash))?")
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".filepart", ".aria2")
_MOST_TEXT = 1 << 20
_MOST_CANDIDATES = 1000
_MOST_HEADER = 64 << 10


def refuse_part(port: Port, path: str, prefix: bytes) -> None:
    """Raise NotAWholeDisk for a file without the mark of an image that is no whole disk by what stands around it."""
    folder, name = posixpath.split(path)
    if _is_of_bundle(port, folder, name):
        raise NotAWholeDisk(
            "The file is a layer or a part of a Parallels disk", path=path, hint=f"Name the bundle: {folder}"
        )
    stat = port.stat(path)
    document = document_of(prefix, stat.size if stat is not None else 0)
    if document is not None:
        raise unread(path, document)
    if VMDK_PIECE.fullmatch(name):
        raise extent_of_vmdk(port, path)
    if _VHD_PIECE.fullmatch(name):
        raise piece_of_vhd(port, path)
    if neighbour(port, folder, name) is not None:
        raise cut(port, folder, name)
    if XEN_PIECE.fullmatch(path):
        step = f"xva-img -p disk-export {quote(folder + '/')} {quote(folder + '.raw')}"
        text = "The file is a piece of a disk in an export of XenServer (XVA), whose empty pieces are left out"
        raise NotAWholeDisk(text, path=path, hint=f"Join them and name the result: {step}")
    image = _image_of_data(port, folder, name)
    if image is not None:
        text = "The file holds the clusters of a qcow2 image, which says what of them counts"
        raise NotAWholeDisk(text, path=path, found=image, hint=f"Name the image: {image}")
    suffix = posixpath.splitext(name)[1]
    if suffix.lower() in _CLAIMS:
        raise false_name(path, suffix)
    if suffix.lower() in _UNFINISHED:
        raise unfinished(path)


def _is_of_bundle(port: Port, folder: str, name: str) -> bool:
    """Whether the file is an image by its name in a bundle, or one that the descriptor there names."""
    place = posixpath.join(folder, DESCRIPTOR)
    stat = port.lstat(place)
    if stat is None or stat.kind != FILE:
        return False
    return classify(name) == "image" or f">{name}<".encode() in _start_of(port, place).replace(b"\n", b"")


def _image_of_data(port: Port, folder: str, name: str) -> Optional[str]:
    """The qcow2 image beside a file whose external data file that is; None where it is a whole raw image, too."""
    for one in [one for one in port.list_directory(folder) if one.lower().endswith(".qcow2")][:_MOST_CANDIDATES]:
        place = posixpath.join(folder, one)
        stat = port.lstat(place)
        start = read_start(port, place, _MOST_HEADER) if stat is not None and stat.kind == FILE else b""
        found = named_data_file(start)
        if found is not None and posixpath.basename(found[0]) == name and not found[1]:
            return place
    return None


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
