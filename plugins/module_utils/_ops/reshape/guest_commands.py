# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guest has to do with a partition that has become larger, or that is to become smaller: its own commands."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Optional, Tuple

from ..._core.units import MIB, ceil_div
from ..._guest import contents

_LINUX = {
    contents.EXT: ("resize2fs {device}",),
    contents.XFS: ('xfs_growfs "$(findmnt -fno TARGET -S {source})"',),
    contents.BTRFS: ('btrfs filesystem resize max "$(findmnt -fno TARGET -S {source})"',),
    contents.LVM: ("pvresize {device}", "lvextend --resizefs --extents +100%FREE VOLUME"),
    contents.LUKS: ("cryptsetup resize NAME", "then what is in it, such as resize2fs /dev/mapper/NAME"),
    contents.RAID: ("mdadm --grow /dev/mdN --size=max", "then what is in it, such as resize2fs /dev/mdN"),
    contents.SWAP: ("swapoff {device}", "mkswap -U OLD-UUID {device}", "swapon {device}"),
}
_WINDOWS = ("diskpart: list volume", "diskpart: select volume N", "diskpart: extend filesystem")
_OTHERS: Dict[str, Tuple[str, ...]] = {
    contents.NTFS: _WINDOWS,
    contents.REFS: _WINDOWS,
    contents.BITLOCKER: ("diskpart: list volume", "diskpart: select volume N (unlocked)", "diskpart: extend"),
    contents.APFS: ("diskutil apfs resizeContainer disk0s{number} 0",),
    contents.HFS: ("diskutil resizeVolume disk0s{number} R",),
    contents.UFS: ("growfs DISKp{number}",),
    contents.ZFS: ("zpool online -e POOL DISKp{number}",),
    contents.FAT: ("FAT is not grown by Windows, macOS or Linux themselves; fatresize does it",),
    contents.EXFAT: ("no system grows exFAT; copy the files, format the partition, copy them back",),
}
_RECOVERY = "reagentc /info (when it says Disabled: reagentc /enable)"
_PARTITION_TOO = ", then make the partition smaller with parted"
_SHRINKS = {
    contents.EXT: "umount it, then resize2fs {device} {mib}M" + _PARTITION_TOO,
    contents.NTFS: "diskpart: select volume N, then shrink desired={less}",
    contents.BITLOCKER: "diskpart: select volume N, then shrink desired={less}",
    contents.APFS: "diskutil apfs resizeContainer disk0s{number} {mib}M",
    contents.HFS: "diskutil resizeVolume disk0s{number} {mib}M",
    contents.BTRFS: "btrfs filesystem resize {mib}M MOUNTPOINT" + _PARTITION_TOO,
    contents.LVM: "pvresize --setphysicalvolumesize {mib}M {device}" + _PARTITION_TOO,
    contents.XFS: "XFS cannot become smaller: copy its files to a smaller file system",
}


def commands_to_grow(content: str, *, device: str, number: int, moves_recovery: bool = False) -> Tuple[str, ...]:
    """What the guest runs so that it uses a larger partition. Words in capitals are for the user to fill in."""
    source = device.replace("/dev/disk/by-partuuid/", "PARTUUID=")
    lines = [*_LINUX.get(content, ()), *_OTHERS.get(content, ())]
    found = [line.format(device=device, source=source, number=number) for line in lines]
    return tuple(found + [_RECOVERY] * moves_recovery)


def command_to_shrink(content: str, *, device: str, number: Optional[int], size: int, less: int) -> str:
    """What makes a partition ``less`` bytes smaller, to ``size`` bytes at most; empty when nothing is known.

    Without a ``number`` it is the whole disk.
    """
    mib, more = size // MIB, ceil_div(less, MIB)
    command = _SHRINKS.get(content, "")
    if number is None:
        command = command.replace(_PARTITION_TOO, "").replace("disk0s{number}", "disk0")
    return command.format(device=device, number=number, mib=mib, less=more)
