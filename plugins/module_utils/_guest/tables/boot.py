# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What firmware finds on a disk that no machine has started yet: code in the boot record, and the loaders in the EFI
system partition that it takes where nothing else is noted (UEFI 2.10, section 3.5: ``\\EFI\\BOOT\\BOOTX64.EFI``).
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Any, Dict, Iterator, List, Optional

from ..filesystems.answer import Uncertain, refuse_if
from ..filesystems.volume import Disk, Volume
from ..filesystems.windows.fat_layout import Fat, Table, read_boot

_CODE = 440
_ESP = frozenset(("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"))
_ENTRY = 32
_DELETED, _END = 0xE5, 0
_LABEL, _FOLDER = 0x08, 0x10
_LONGEST_FOLDER = 1 << 20
_LARGEST_TABLE = 1 << 18


def has_boot_code(disk: Disk) -> bool:
    """Whether the boot record has code; a BIOS jumps there whatever it is."""
    if disk.size < _CODE:
        return False
    record = bytearray(_CODE)
    disk.pread_into(0, record)
    return any(record)


def efi_loaders(disk: Disk, table: Dict[str, Any]) -> Optional[List[str]]:
    """The loaders such as ``BOOTAA64.EFI`` in the EFI system partitions; None when one of them cannot be understood."""
    found: List[str] = []
    for one in table["entries"]:
        if one["type"] in _ESP and one["start"] + one["size"] <= disk.size:
            try:
                found += _loaders(Volume(disk, ((one["start"], one["size"]),)))
            except Uncertain:
                return None
    return sorted(set(found))


def _loaders(volume: Volume) -> Iterator[str]:
    fat = read_boot(volume)
    if fat is None:
        return
    refuse_if(fat.bits < 32 and fat.table_bytes > _LARGEST_TABLE)
    folder = _named(_folder(volume, fat, 0), b"EFI        ")
    folder = _named(_folder(volume, fat, _first(folder, fat)), b"BOOT       ") if folder else None
    for entry in _entries(_folder(volume, fat, _first(folder, fat))) if folder else ():
        name = entry[:11].decode("ascii", "replace")
        if name.startswith("BOOT") and name.endswith("EFI") and not entry[11] & _FOLDER and any(entry[28:32]):
            yield f"{name[:8].rstrip()}.EFI"


def _named(raw: bytes, name: bytes) -> Optional[bytes]:
    """The entry of a subfolder; long names have such a short one as well."""
    return next((entry for entry in _entries(raw) if entry[:11] == name and entry[11] & _FOLDER), None)


def _entries(raw: bytes) -> Iterator[bytes]:
    for offset in range(0, len(raw) - _ENTRY + 1, _ENTRY):
        entry = raw[offset : offset + _ENTRY]
        if entry[0] == _END:
            return
        if entry[0] != _DELETED and not entry[11] & _LABEL:
            yield entry


def _first(entry: bytes, fat: Fat) -> int:
    low, high = struct.unpack_from("<H", entry, 26)[0], struct.unpack_from("<H", entry, 20)[0]
    return int(low | high << 16 if fat.bits == 32 else low)


def _folder(volume: Volume, fat: Fat, first: int) -> bytes:
    """The content of a folder that begins in cluster ``first``, 0 for the root. Raises Uncertain for no sound one."""
    if not first and fat.bits != 32:
        return volume.read(fat.root, fat.root_bytes)
    cluster = first or struct.unpack_from("<I", fat.raw, 44)[0]
    table = Table(volume, fat)
    pieces: List[bytes] = []
    while cluster < fat.mask & ~7:
        refuse_if(not 2 <= cluster < fat.clusters + 2 or len(pieces) * fat.cluster > _LONGEST_FOLDER)
        pieces.append(volume.read(fat.place(cluster), fat.cluster))
        cluster = table.value(cluster)
    return b"".join(pieces)
