# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which format a file claims to be in, by the marks at its start and end."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import Dict, Tuple

UNSTRUCTURED = "unstructured"
"""No known mark: the file may be a plain image."""

TAIL_BYTES = 512
"""How much of the end of the file the marks may be in."""

_TEXT_BYTES = 1024
_BOM = b"\xef\xbb\xbf"
_DESCRIPTOR = b"disk descriptorfile"
# One piece of a split image has no mark of its own but for the first (if it is dynamic) and the last.
_VHD_NAME = r"\.(?:a?vhd|v\d\d)"

# Format: offset and bytes of marks, any of which suffices.
MARKS: Dict[str, Tuple[Tuple[int, bytes], ...]] = {
    "hds": ((0, b"WithoutFreeSpace"), (0, b"WithouFreSpacExt")),
    "qcow": ((0, b"QFI\xfb\0\0\0\1"),),
    # Of any other version; whoever opens it says which ones there are.
    "qcow2": ((0, b"QFI\xfb"),),
    "qed": ((0, b"QED\0"),),
    "vmdk": ((0, b"KDMV"), (0, b"COWD"), (0, b"\xbe\xba\xfe\xca\0\0\0\0")),
    "vhdx": ((0, b"vhdxfile"),),
    "vhd": ((0, b"conectix"),),
    "vdi": ((64, b"\x7f\x10\xda\xbe"),),
    "luks": ((0, b"LUKS\xba\xbe"),),
    "ewf": ((0, b"EVF\x09\x0d\x0a\xff\x00"), (0, b"EVF2\x0d\x0a\x81\x00"), (0, b"LVF\x09\x0d\x0a\xff\x00")),
    "vma": ((0, b"VMA\0"),),
    "partclone": ((0, b"partclone-image"),),
    "ntfsclone": ((0, b"\0ntfsclone-image"),),
    "wim": ((0, b"MSWIM\0\0\0"),),
    "asif": ((0, b"shdw"),),
    "sparseimage": ((0, b"sprs"),),
    "dmg": ((0, b"encrcdsa"), (0, b"cdsaencr")),
    "bochs": ((0, b"Bochs Virtual HD Image"),),
    "gzip": ((0, b"\x1f\x8b\x08"),),
    "xz": ((0, b"\xfd7zXZ\0"),),
    "zstd": ((0, b"\x28\xb5\x2f\xfd"),),
    "bzip2": ((4, b"1AY&SY"),),
    "lz4": ((0, b"\x04\x22\x4d\x18"),),
    "7z": ((0, b"7z\xbc\xaf\x27\x1c"),),
    "zip": ((0, b"PK\x03\x04"), (0, b"PK\x05\x06")),
    "lzip": ((0, b"LZIP\1"),),
    "compress": ((0, b"\x1f\x9d\x90"),),
    "cab": ((0, b"MSCF\0\0\0\0"),),
    "rpm": ((0, b"\xed\xab\xee\xdb"),),
    "ar": ((0, b"!<arch>\n"),),
    "exe": ((78, b"This program cannot be run in DOS mode"),),
    "elf": ((0, b"\x7fELF\1\1\1"), (0, b"\x7fELF\2\1\1")),
    "tar": ((257, b"ustar"),),
    "xml": ((0, b"<?xml"), (0, b"\xef\xbb\xbf<?xml")),
}


def detect(prefix: bytes, *, suffix_bytes: bytes = b"", name: str) -> str:
    """The format that the first bytes (512 or more) and the last 512 bytes of a file claim, or UNSTRUCTURED.

    An expanding image is ``hds``. ``name`` decides only where the marks leave it open: a text that is called ``.vmdk``,
    and a file without any mark that is called as a VHD image or a piece of one (``.vhd``, ``.v01``), which would lack
    its footer.
    """
    for kind, marks in MARKS.items():
        if any(prefix[offset : offset + len(mark)] == mark for offset, mark in marks):
            return kind
    tail = suffix_bytes[-TAIL_BYTES:]
    # Old writers made the footer one byte shorter.
    if tail.startswith(b"conectix") or tail[1:].startswith(b"conectix"):
        return "vhd"
    if tail.startswith(b"koly") or tail.endswith(b"cdsaencr"):
        return "dmg"
    if _is_descriptor(prefix[:_TEXT_BYTES], name):
        return "vmdk"
    extension = name[name.rfind(".") :] if "." in name else ""
    return "vhd" if re.fullmatch(_VHD_NAME, extension, re.IGNORECASE) else UNSTRUCTURED


def _is_descriptor(text: bytes, name: str) -> bool:
    """Whether this is the text of a VMDK: its title comes first, after a byte order mark, blank lines and comments."""
    lines = (text[len(_BOM) :] if text.startswith(_BOM) else text).lower().splitlines()
    for line in lines:
        stripped = line.strip()
        if stripped and not stripped.startswith(b"#"):
            break
        if stripped[1:].lstrip().startswith(_DESCRIPTOR):
            return True
    return name.lower().endswith(".vmdk") and b"createtype" in text.lower()
