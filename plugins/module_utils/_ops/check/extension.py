# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the format extension of an image (findings ``extension_*``)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from ..._core.errors import Damaged, Unsupported
from ..._core.findings import Finding, found
from ..._formats.hds.bat import RunTable
from ..._formats.hds.extension import Extension, may_keep, read_extension
from ..._formats.hds.header import HdsHeader
from ..._io.port import File
from .table import meets


class ExtensionExam(NamedTuple):
    """The extension that counts, whether the header must forget one, and whether all that it needs is known."""

    extension: Optional[Extension] = None
    is_dropped: bool = False
    is_known: bool = True
    findings: Tuple[Finding, ...] = ()


def examine_extension(file: File, header: HdsHeader, table: RunTable, *, file_size: int) -> ExtensionExam:
    """Judge the extension that ``header`` names, if any."""
    path = file.path
    if not header.ext_off:
        return ExtensionExam()
    try:
        extension = read_extension(file, header, path=path, file_size=file_size)
    except Unsupported as error:
        return ExtensionExam(is_known=False, findings=(found("extension_unknown", path, error.statement),))
    except Damaged as error:
        return _dropped(
            "extension_damaged", path, f"{error.statement} It says nothing of the guest's data; a repair drops it."
        )
    if extension is None:
        text = f"The header names a format extension at sector {header.ext_off}, but was closed by software that does"
        return _dropped("extension_stale", path, f"{text} not keep one. A repair drops it.")
    if meets(table, extension.pinned):
        text = "A guest cluster shares its slot with the format extension. A repair drops the extension."
        return _dropped("extension_overlaps", path, text)
    return ExtensionExam(extension, is_known=may_keep(extension))


def _dropped(code: str, path: str, message: str) -> ExtensionExam:
    return ExtensionExam(is_dropped=True, findings=(found(code, path, message),))
