# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the type that the descriptor gives an image, against what the file holds (finding ``image_type``).

A repair corrects the word in the descriptor, which loses nothing: no byte of an image changes. It is safe when only one
type makes sense of the file.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from ..._bundle.bundle import EXPANDING, IMAGE_TYPES
from ..._core.errors import DiskError
from ..._core.findings import ERROR, LOSSY, NO, SAFE, Finding, found
from ..._core.units import SECTOR
from ..._formats.detect import detect
from ..._formats.hds.bat import read_table
from ..._formats.hds.bat_check import check_table
from ..._formats.hds.header import is_hds, parse_header
from ..._io.port import File
from .examination import ImageExam, Named

_COMPRESSED, _PLAIN = IMAGE_TYPES
_BOOT_SIGNATURE = b"\x55\xaa"


class Verdict(NamedTuple):
    """The finding, the type that fits, None when none is known to, and the codes that it explains."""

    finding: Finding
    right_type: Optional[str]
    replaces: Tuple[str, ...]


def is_contradicted(named: Named, prefix: bytes, exam: ImageExam) -> bool:
    """Whether the type of an image needs a closer look."""
    if named.type not in (*IMAGE_TYPES, ""):
        return True
    if named.is_plain:
        return bool(named.type) and is_hds(prefix)
    return exam.kind != EXPANDING


def judge_type(file: File, named: Named, prefix: bytes, exam: ImageExam) -> Optional[Verdict]:
    """What is wrong with the type of an image that ``is_contradicted``."""
    if is_hds(prefix):
        return _of_expanding(file, named, exam)
    if exam.kind == EXPANDING:
        text = f"The descriptor gives the type {named.type[:40]!r}, which nobody knows; the file is not known either."
        return Verdict(found("image_type", named.path, text, repairable=NO), None, ())
    return _of_raw(named, prefix, exam.stat.size)


def _of_expanding(file: File, named: Named, exam: ImageExam) -> Verdict:
    if not named.is_plain:
        is_sure = not any(one.severity == ERROR for one in exam.findings)
        text = f"The descriptor gives the type {named.type[:40]!r}, which nobody knows; the file is an expanding image."
        return _verdict(named, text, _COMPRESSED, SAFE if is_sure else LOSSY)
    size = _sound_size(file, named, exam)
    text = "The descriptor calls the image Plain, and it begins as an expanding image does"
    if size is None:
        text += ", but cannot be one. A guest disk may begin so, too."
        return Verdict(found("image_type", named.path, text, repairable=NO), None, ())
    text += " and is one of exactly this size."
    # What is as long as the disk may be its content.
    is_sure = exam.stat.size != size
    return _verdict(named, text, _COMPRESSED, SAFE if is_sure else LOSSY, ("plain_size",))


def _sound_size(file: File, named: Named, exam: ImageExam) -> Optional[int]:
    """The guest size of a sound expanding image that fits its part of the disk."""
    raw = bytearray(64)
    file.pread_into(0, raw)
    try:
        header = parse_header(bytes(raw), path=named.path, file_size=exam.stat.size)
        check_table(read_table(file, header), header, path=named.path, file_size=exam.stat.size)
    except DiskError:
        return None
    return header.size_bytes if header.size_sectors == named.expected.length_sectors else None


def has_boot_sector(prefix: bytes) -> bool:
    """Whether a disk begins so: with a partition table, or what a firmware starts."""
    return prefix[510:512] == _BOOT_SIGNATURE


def _of_raw(named: Named, prefix: bytes, size: int) -> Verdict:
    length = (named.expected.length_sectors or 0) * SECTOR
    text = f"The descriptor gives the type {named.type[:40]!r}, and the file is no expanding image, but"
    has_table = has_boot_sector(prefix)
    if size != length:
        text += (
            f" begins with a boot sector: it is raw, with {size} bytes of {length}. To read it as it is: hdd_convert"
        )
        return _verdict(named, f"{text} with src_format: raw on the file.", _PLAIN, LOSSY)
    text += f" exactly as long as its part of the disk, {length} bytes"
    kind = detect(prefix, name=named.path)
    if kind not in ("unstructured", "raw"):
        text += f". It looks like {kind}. To read it as it is: hdd_convert with src_format: raw on the file."
        return Verdict(found("image_type", named.path, text, repairable=NO), None, ("plain_size",))
    text += ", and begins with a boot sector: it is raw." if has_table else "; it may be raw."
    text += " To read it as it is: hdd_convert with src_format: raw on the file."
    return _verdict(named, text, _PLAIN, SAFE if has_table else LOSSY, ("plain_size",))


def _verdict(named: Named, text: str, right: str, degree: str, replaces: Tuple[str, ...] = ()) -> Verdict:
    text = f"{text} A repair calls it {right} in the descriptor."
    return Verdict(found("image_type", named.path, text, repairable=degree), right, replaces)
