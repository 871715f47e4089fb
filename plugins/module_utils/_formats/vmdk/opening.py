# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opening a sparse extent of a VMDK, of whichever kind, by its header."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Union

from ..._core.errors import Damaged
from ..._io.port import File
from .caches import Caches
from .layout import (
    COWD_MAGIC,
    FLAG_REDUNDANT,
    SE_SPARSE_MAGIC,
    SparseHeader,
    parse_cowd_header,
    read_sector,
    read_sparse_header,
)
from .sparse import SparseExtent

if TYPE_CHECKING:
    from .sesparse import SeSparseExtent


def open_sparse_extent(file: File, caches: Caches) -> Union[SparseExtent, SeSparseExtent]:
    """The sparse extent in ``file``, of whichever kind.

    Raises Damaged or Unsupported; closing the file is left to the caller.
    """
    magic = read_sector(file, 0)[:4]
    if magic == COWD_MAGIC:
        return _open_cowd(file, caches)
    if magic == SE_SPARSE_MAGIC:
        # Only vSphere makes them.
        from .sesparse import SeSparseExtent

        return SeSparseExtent(file, caches)
    return open_hosted(file, read_sparse_header(file), caches)


def _open_cowd(file: File, caches: Caches) -> SparseExtent:
    header = parse_cowd_header(read_sector(file, 0), path=file.path)
    caches.reserve(header.tables, file.path)
    extent = SparseExtent(file, header, caches)
    extent.load_directory(header.gd_sector)
    return extent


def open_hosted(file: File, header: SparseHeader, caches: Caches) -> SparseExtent:
    """The sparse extent with this header.

    A bad directory is replaced by the redundant one, if that is good, with a warning.
    """
    caches.reserve(header.tables, file.path)
    extent = SparseExtent(file, header, caches)
    warnings = (
        [f"{file.path} was not closed cleanly; what was written last may be missing."] if header.is_unclean else []
    )
    try:
        extent.load_directory(header.gd_sector)
    except Damaged:
        if not (header.flags & FLAG_REDUNDANT and header.rgd_sector):
            raise
        extent.load_directory(header.rgd_sector)
        warnings.append(f"The grain directory of {file.path} is damaged; its redundant copy was used.")
    extent.warnings = tuple(warnings)
    return extent
