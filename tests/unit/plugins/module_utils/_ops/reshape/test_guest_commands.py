# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest import contents
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.guest_commands import (
    command_to_shrink,
    commands_to_grow,
)

DEVICE = "/dev/disk/by-partuuid/b92de8b4-a480-4828-88ed-48f3ecabd2cb"
KINDS = [
    value for name, value in vars(contents).items() if name.isupper() and isinstance(value, str) and value.islower()
]


def test_each_content_that_can_grow_has_its_commands() -> None:
    silent = {kind for kind in KINDS if not commands_to_grow(kind, device=DEVICE, number=2)}
    assert silent == {"unknown", "corestorage", "hibernated"}


@pytest.mark.parametrize(
    ("content", "first"),
    [
        ("ext", f"resize2fs {DEVICE}"),
        ("xfs", 'xfs_growfs "$(findmnt -fno TARGET -S PARTUUID=b92de8b4-a480-4828-88ed-48f3ecabd2cb)"'),
        ("lvm2", f"pvresize {DEVICE}"),
        ("apfs", "diskutil apfs resizeContainer disk0s2 0"),
        ("ntfs", "diskpart: list volume"),
        ("btrfs", f'btrfs filesystem resize max "$(findmnt -fno TARGET -S PARTUUID={DEVICE[-36:]})"'),
        ("swap", f"swapoff {DEVICE}"),
        ("hfsplus", "diskutil resizeVolume disk0s2 R"),
        ("ufs", "growfs DISKp2"),
        ("zfs", "zpool online -e POOL DISKp2"),
    ],
)
def test_commands_name_the_partition(content: str, first: str) -> None:
    assert commands_to_grow(content, device=DEVICE, number=2)[0] == first


def test_a_recovery_environment_that_has_moved_is_looked_for_again() -> None:
    assert "reagentc" in commands_to_grow("ntfs", device=DEVICE, number=3, moves_recovery=True)[-1]


def test_what_becomes_smaller_is_named_in_mebibytes() -> None:
    mib = 1 << 20
    said = command_to_shrink("ntfs", device=DEVICE, number=3, size=100 * mib + 5, less=20 * mib + 1)
    assert said == "diskpart: select volume N, then shrink desired=21"
    assert command_to_shrink("ext", device=DEVICE, number=3, size=100 * mib + 5, less=1).count("100M") == 1
    assert command_to_shrink("unknown", device=DEVICE, number=3, size=1, less=1) == ""
    whole = command_to_shrink("ext", device="/dev/sdX", number=None, size=100 * mib, less=mib)
    assert whole == "umount it, then resize2fs /dev/sdX 100M"
