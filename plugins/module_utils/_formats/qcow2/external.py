# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The external data file of a qcow2 image: it holds the guest's clusters, each where the guest has it.

::

    disk.qcow2    | header | L1 | L2 |      an entry says whether its cluster is stored; its offset is that of the guest
    disk.data     |  A  |     |  C  |       without compressed clusters and without snapshots
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from shlex import quote
from typing import Iterator, Optional

from ..._core.errors import Damaged, Unsupported
from ..._io.port import File
from ..image import OpenBeside
from .entries import BROKEN, COMPRESSED, COPIED, STORED, Run, extended_runs, subclusters, table_runs, unpack_entries
from .layout import ENTRY_BYTES, Qcow2Header

_ALL_STORED = 0xFFFFFFFF


def open_data(path: str, real_path: str, header: Qcow2Header, open_beside: Optional[OpenBeside]) -> File:
    """The data file of the image at ``path``. Raises Unsupported where none is named, and what opening raises."""
    if open_beside is None:
        raise Unsupported("The image keeps its data in another file, which is not read here", path, 72)
    if header.data_name is None:
        options = quote(f"driver=qcow2,file.filename={path},data-file.driver=file,data-file.filename=DATA")
        hint = f"Let the image name it: qemu-img amend --image-opts -o data_file=DATA {options}"
        raise Unsupported("The image keeps its data in another file, and does not say in which", path, 72, hint=hint)
    file = open_beside(header.data_name)
    if file.path == real_path:
        file.close()
        raise Damaged("The image names itself as its data file", path, found=header.data_name[:200])
    return file


def external_runs(header: Qcow2Header, table: bytes, base: int, first: int, end: int) -> Iterator[Run]:
    """What entries ``first`` up to ``end`` of the L2 table of guest byte ``base`` say, as ``table_runs`` does.

    What leads elsewhere than to its own offset, or is compressed, is BROKEN.
    """
    entries = unpack_entries(table)[:: header.l2_entry_bytes // ENTRY_BYTES]
    size = header.cluster_bytes
    if base == 0 and first == 0 and entries[0] == COPIED:
        # Elsewhere an offset of zero is none.
        bits = int.from_bytes(table[ENTRY_BYTES : 2 * ENTRY_BYTES], "big") if header.is_extended else _ALL_STORED
        is_broken = bits & bits >> 32 & _ALL_STORED
        yield from (Run(0, size, BROKEN),) if is_broken else subclusters(0, COPIED, bits, size // 32)
        first = 1
    if COPIED in entries[first:end]:
        yield Run((first + entries[first:end].index(COPIED)) * size, size, BROKEN)
        return
    find = extended_runs if header.is_extended else table_runs
    for run in find(table, first, end, size) if first < end else ():
        is_elsewhere = run.kind == STORED and run.host != base + run.start
        yield run._replace(kind=BROKEN) if is_elsewhere or run.kind == COMPRESSED else run
