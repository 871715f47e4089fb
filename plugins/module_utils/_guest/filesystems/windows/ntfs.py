# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free clusters of NTFS: those that $Bitmap calls free, when no record of the master file table has any of them.

$Bitmap has neither a counter nor a checksum, so every run of every record in use is looked up in it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import List, Optional

from ...._core.units import ceil_div
from ..answer import Identity, Uncertain, refuse_if
from ..bits import zero_runs
from ..runs import Runs
from ..volume import Volume
from .ntfs_layout import (
    FILE_NAME,
    HOLE,
    VOLUME_NAME,
    Boot,
    attributes,
    fixed_up,
    read_boot,
    refuse_other_backup,
    runs_of,
    value_of,
)
from .ntfs_records import Records
from .ntfs_state import refuse_hibernated, refuse_unclean

_PIECE = 128 << 10
_BAD_CLUSTERS = 8
_MIRRORED = 4
_ROOT = 5
_HIBERNATED = "hiberfil.sys"
_REFERENCE = (1 << 48) - 1


def recognise(volume: Volume) -> Optional[Identity]:
    """What the boot sector says; the label stands in a record."""
    boot = read_boot(volume)
    if boot is None:
        return None
    label = None
    try:
        record = Records(volume, boot).record(3)
        names = [value_of(one) for one in attributes(record) if one.type == VOLUME_NAME]
        label = names[0].decode("utf-16-le", "replace") if names else None
    except Uncertain:
        pass
    return Identity("ntfs", label or None, boot.sectors * boot.sector)


def free_runs(volume: Volume) -> Runs:
    """The free clusters. Raises Uncertain."""
    boot = read_boot(volume)
    if boot is None or boot.sectors * boot.sector > volume.size:
        raise Uncertain("damaged" if boot is None else "too_large")
    records = Records(volume, boot)
    refuse_unclean(volume, records)
    refuse_other_backup(volume, boot)
    _refuse_other_mirror(volume, boot, records)
    runs = _bitmap_runs(boot, records)
    for number in _refuse_used(boot, records, runs):
        refuse_hibernated(records, number)
    return runs


def _refuse_other_mirror(volume: Volume, boot: Boot, records: Records) -> None:
    """The first records are there a second time: raise Uncertain where they differ."""
    size = boot.record
    copy = volume.read(boot.mirror_cluster * boot.cluster, _MIRRORED * size)
    for number in range(_MIRRORED):
        record = records.record(number)
        used = struct.unpack_from("<I", record, 24)[0]
        refuse_if(fixed_up(copy[number * size : number * size + size])[:used] != record[:used])


def _bitmap_runs(boot: Boot, records: Records) -> Runs:
    """What $Bitmap calls free. What of it was never written is not known."""
    bitmap = records.stream(6)
    refuse_if(bitmap.size < ceil_div(boot.clusters, 8))
    runs = Runs()
    count = min(boot.clusters, 8 * bitmap.initialised)
    for first in range(0, count, 8 * _PIECE):
        part = min(8 * _PIECE, count - first)
        bits = zero_runs(bitmap.read(first // 8, ceil_div(part, 8)), part)
        runs.extend(((first + low) * boot.cluster, (first + high) * boot.cluster) for low, high in bits)
    return runs


def _refuse_used(boot: Boot, records: Records, runs: Runs) -> List[int]:
    """Raise Uncertain when a file has a free cluster. Gives the records of hiberfil.sys in the root folder."""
    found: List[int] = []
    for number, record in records.all():
        for one in attributes(record):
            if one.is_resident:
                if one.type == FILE_NAME and _is_hibernation(value_of(one)):
                    found.append((struct.unpack_from("<Q", record, 32)[0] & _REFERENCE) or number)
            elif number != _BAD_CLUSTERS:
                for first, count in runs_of(one, boot.clusters):
                    refuse_if(first != HOLE and runs.within(first * boot.cluster, (first + count) * boot.cluster))
    return found


def _is_hibernation(name: bytes) -> bool:
    """Whether a file name is that of the image of a hibernated Windows."""
    if len(name) < 66 or struct.unpack_from("<Q", name)[0] & _REFERENCE != _ROOT:
        return False
    return name[66 : 66 + 2 * name[64]].decode("utf-16-le", "replace").lower() == _HIBERNATED
