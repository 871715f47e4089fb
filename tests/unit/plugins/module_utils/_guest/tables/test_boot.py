# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.tables.boot import efi_loaders, has_boot_code
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.fat_images import FatVolume, entry, with_loaders
from ansible_collections.vdisk.parallels.tests.support.filesystems import tool
from ansible_collections.vdisk.parallels.tests.support.gpt import ESP

LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"


def table(*places: Any) -> Dict[str, Any]:
    return {"entries": [{"type": kind, "start": start, "size": size} for kind, start, size in places]}


def found(volume: BlockDisk, kind: str = ESP) -> Optional[List[str]]:
    return efi_loaders(volume, table((kind, 0, volume.size)))


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_loaders_of_new_machines_are_found(bits: int) -> None:
    volume = with_loaders(bits, "BOOTAA64EFI", "BOOTX64 EFI", "GRUBX64 EFI", "BOOT    CSV")
    assert found(volume) == ["BOOTAA64.EFI", "BOOTX64.EFI"]
    assert found(volume, "0xef") == ["BOOTAA64.EFI", "BOOTX64.EFI"]
    assert found(volume, LINUX) == []


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_what_only_looks_like_a_loader_is_none(bits: int) -> None:
    assert found(with_loaders(bits)) == []
    volume = FatVolume(bits)
    assert found(volume.build()) == [], "a volume without EFI"
    volume.root = [entry("EFI", 0x20, 5, 3)]
    assert found(volume.build()) == [], "EFI is a file"
    volume.root = [entry("EFI", 0x10, 5)]
    volume.folders = {5: [entry("BOOT", 0x10, 6)], 6: [entry("BOOTAA64EFI", 0x20, 0, 0), entry("BOOTX64 EFI", 0x10, 7)]}
    volume.table.update({5: volume.end, 6: volume.end})
    assert found(volume.build()) == [], "an empty file, and a folder"
    volume.root = [b"\xe5" + entry("EFI", 0x10, 5)[1:]]
    assert found(volume.build()) == [], "it is deleted"


def test_an_empty_partition_has_none_and_a_damaged_one_is_not_judged() -> None:
    assert found(BlockDisk(1 << 20)) == []
    assert efi_loaders(BlockDisk(1 << 20), table((ESP, 0, 2 << 20))) == [], "it is not on the disk"
    volume = FatVolume(16)
    volume.root = [entry("EFI", 0x10, 5)]
    volume.folders = {}
    volume.table.update({5: 6, 6: 5})
    assert found(volume.build()) is None, "a chain in a circle"
    volume.table.update({5: 60000})
    assert found(volume.build()) is None, "a chain that leaves the volume"


@pytest.mark.parametrize("seed", range(4))
def test_noise_ends_in_an_answer(seed: int) -> None:
    chance = random.Random(seed)
    for bits in (12, 16):
        volume = with_loaders(bits, "BOOTAA64EFI")
        for _change in range(60):
            volume.put(chance.randrange(min(volume.size, 40960)), bytes([chance.randrange(256)]))
            answer = found(volume)
            assert answer is None or all(name.startswith("BOOT") for name in answer)


def test_code_in_the_boot_record_is_seen() -> None:
    disk = BlockDisk(1024)
    assert not has_boot_code(disk)
    disk.put(440, b"\1\2\3\4")
    assert not has_boot_code(disk), "a signature is no code"
    disk.put(439, b"\1")
    assert has_boot_code(disk)
    assert not has_boot_code(BlockDisk(100))


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_real_partitions_are_understood(tmp_path: Path, bits: int) -> None:
    """As mkfs.fat and mtools make them, with long names and many files beside the loader."""
    image, loader = tmp_path / "esp.img", tmp_path / "bootaa64.efi"
    size = {12: 2, 16: 24, 32: 40}[bits] << 20
    with open(image, "wb") as stream:
        stream.truncate(size)
    loader.write_bytes(b"MZ loader")
    tool("mkfs.fat", "-F", str(bits), "-s", "1", image)
    tool("mmd", "-i", image, "::EFI", "::EFI/debian with a long name", "::EFI/BOOT")
    for number in range(40):
        tool("mcopy", "-i", image, loader, f"::EFI/BOOT/A rather long name {number}.conf")
    tool("mcopy", "-i", image, loader, "::EFI/BOOT/bootaa64.efi")
    disk = BlockDisk(size)
    disk.put(0, image.read_bytes())
    assert found(disk) == ["BOOTAA64.EFI"]
