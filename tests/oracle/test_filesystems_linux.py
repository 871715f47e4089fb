# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free space of Linux file systems, proven by their own tools.

What is called free is overwritten with random bytes in a copy; then the check of the file system finds nothing, every
file is as it was, and the copy can be written to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.containers import lvm
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import btrfs, ext, xfs
from ansible_collections.vdisk.parallels.tests.support import filesystem_images as images
from ansible_collections.vdisk.parallels.tests.support.filesystems import (
    ImageFile,
    free_of,
    reason_of,
    scribbled,
    sparse,
    tool,
    turn_bits,
    whole,
)
from ansible_collections.vdisk.parallels.tests.support.oracles import compared

MIB = 1 << 20
EXT: Dict[str, Tuple[str, ...]] = {
    "ext2": ("-t", "ext2"),
    "ext2 revision 0": ("-t", "ext2", "-r", "0"),
    "ext2 4k": ("-t", "ext2", "-b", "4096"),
    "ext3": ("-t", "ext3"),
    "ext4": ("-t", "ext4"),
    "ext4 4k": ("-t", "ext4", "-b", "4096"),
    "ext4 64k": ("-t", "ext4", "-b", "65536"),
    "32 bits": ("-t", "ext4", "-O", "^64bit"),
    "uninit_bg": ("-t", "ext4", "-O", "^metadata_csum,uninit_bg"),
    "no checksums": ("-t", "ext4", "-O", "^metadata_csum"),
    "bigalloc": ("-t", "ext4", "-O", "bigalloc", "-C", "65536"),
    "bigalloc 4k": ("-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "65536"),
    "meta_bg": ("-t", "ext4", "-O", "meta_bg,^resize_inode"),
    "meta_bg small groups": ("-t", "ext4", "-O", "meta_bg,^resize_inode", "-g", "512", "-N", "256"),
    "sparse_super2": ("-t", "ext4", "-O", "sparse_super2"),
    "no sparse_super": ("-t", "ext2", "-O", "^sparse_super,^resize_inode"),
    "mmp": ("-t", "ext4"),
    "no flex_bg": ("-t", "ext4", "-O", "^flex_bg"),
    "no resize_inode": ("-t", "ext4", "-O", "^resize_inode"),
    "others": (
        "-t",
        "ext4",
        "-O",
        "inline_data,encrypt,casefold,verity,ea_inode,large_dir,metadata_csum_seed",
    ),
    "orphan file": ("-t", "ext4", "-O", "orphan_file"),
    "fast commit": ("-t", "ext4", "-O", "fast_commit"),
}
XFS: Dict[str, Tuple[str, ...]] = {
    "version 5": (),
    "version 4": ("-m", "crc=0"),
    "1k blocks": ("-b", "size=1024"),
    "4k sectors": ("-s", "size=4096"),
    "rmapbt": ("-m", "rmapbt=1"),
    "no reflink": ("-m", "reflink=0"),
}
BTRFS: Dict[str, Tuple[str, ...]] = {
    "default": (),
    "two copies": ("-m", "dup", "-d", "dup"),
    "single": ("-m", "single"),
    "mixed": ("--mixed",),
    "xxhash": ("--csum", "xxhash"),
    "sha256": ("--csum", "sha256"),
    "blake2": ("--csum", "blake2"),
    "small nodes": ("-n", "4096", "-m", "single"),
    "a tree of block groups": ("-O", "block-group-tree"),
    "no free space tree": ("-R", "quota", "-O", "^no-holes"),
}
SIZE_OF_64K = 200 * MIB


def dumped(image: Path, folder: Path) -> Dict[str, str]:
    """The hashes of the files in an ext file system, read by debugfs."""
    folder.mkdir()
    tool("debugfs", "-R", f"rdump / {folder}", image)
    found = images.hashes(folder)
    shutil.rmtree(folder)
    return {name: value for name, value in found.items() if "lost+found" not in name}


def made_ext(path: Path, name: str) -> Path:
    made = images.ext(path, *EXT[name], size=SIZE_OF_64K if "64k" in name else 24 * MIB)
    if name == "mmp":
        # Only now: whoever writes to it waits first whether somebody else does.
        tool("tune2fs", "-O", "mmp", made)
    return made


def made_btrfs(path: Path, name: str) -> Path:
    if name == "a tree of block groups" and "block-group-tree" not in tool("mkfs.btrfs", "-O", "list-all"):
        pytest.skip("this mkfs.btrfs makes no tree of block groups; that of btrfs-progs 6.14 does")
    return images.btrfs(path, *BTRFS[name])


@pytest.mark.parametrize("name", EXT)
def test_ext_loses_nothing(tmp_path: Path, name: str) -> None:
    image = made_ext(tmp_path / "image", name)
    runs = free_of(ext, image)
    facts = dict(line.split(":", 1) for line in tool("dumpe2fs", "-h", image).splitlines() if ":" in line)
    assert runs.total == int(facts["Free blocks"]) * int(facts["Block size"])
    copy = scribbled(image, runs)
    if name == "mmp":
        tool("tune2fs", "-f", "-O", "^mmp", copy)
    tool("e2fsck", "-fn", copy)
    assert dumped(copy, tmp_path / "files") == dumped(image, tmp_path / "files") != {}
    (tmp_path / "more").write_bytes(os.urandom(900_000))
    tool("debugfs", "-w", "-R", f"write {tmp_path}/more more", copy)
    tool("e2fsck", "-fn", copy)
    assert free_of(ext, copy).total < runs.total
    compared("e2fsprogs")


@pytest.mark.parametrize("name", XFS)
def test_xfs_loses_nothing(tmp_path: Path, name: str) -> None:
    image = images.xfs(tmp_path / "image", *XFS[name])
    copy = scribbled(image, free_of(xfs, image))
    tool("xfs_repair", "-n", "-f", copy)
    compared("xfsprogs")
    if name == "version 4":
        return
    before = mounted_hashes(image, tmp_path)
    assert mounted_hashes(copy, tmp_path) == before != {}


@pytest.mark.parametrize("name", BTRFS)
def test_btrfs_loses_nothing(tmp_path: Path, name: str) -> None:
    image = made_btrfs(tmp_path / "image", name)
    copy = scribbled(image, free_of(btrfs, image))
    tool("btrfs", "check", "--check-data-csum", copy)
    compared("btrfs-progs")


def mounted_hashes(image: Path, tmp_path: Path) -> Dict[str, str]:
    # Two file systems with the same UUID are never mounted at once.
    with images.mounted(image, tmp_path / "mount", "loop,ro,nouuid") as folder:
        return images.hashes(folder)


MAKERS: Dict[str, Tuple[Any, Any, str, Tuple[str, ...]]] = {
    "ext4": (images.ext, ext, "loop", ("-t", "ext4")),
    "xfs": (images.xfs, xfs, "loop,nouuid", ()),
    "btrfs": (images.btrfs, btrfs, "loop", ()),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_used_file_system_loses_nothing_and_a_mounted_one_is_refused(tmp_path: Path, name: str) -> None:
    """Files come and go in a mounted file system. Copied after a sync of a file, it is refused; unmounted it is not."""
    make, reader, options, arguments = MAKERS[name]
    image = make(tmp_path / "image", *arguments)
    with images.mounted(image, tmp_path / "mount", options) as folder:
        for number in range(60):
            (folder / f"file{number}").write_bytes(os.urandom(37_000 + 911 * number))
        os.sync()
        for number in range(0, 60, 3):
            (folder / f"file{number}").unlink()
        os.sync()
        for number in range(4):
            with open(folder / f"late{number}", "wb") as stream:
                stream.write(os.urandom(300_000))
                stream.flush()
                os.fsync(stream.fileno())
        crashed = tmp_path / "crashed"
        subprocess.run(["cp", "--sparse=always", image, crashed], check=True)
        kept = images.hashes(folder)
    assert reason_of(reader, crashed) == "unclean"
    runs = free_of(reader, image)
    copy = scribbled(image, runs)
    image.unlink()
    with images.mounted(copy, tmp_path / "mount", options) as folder:
        assert images.hashes(folder) == kept
        for number in range(40):
            (folder / f"new{number}").write_bytes(os.urandom(50_000))
    check = {"ext4": ("e2fsck", "-fn"), "xfs": ("xfs_repair", "-n", "-f"), "btrfs": ("btrfs", "check", "-p")}
    tool(*check[name], copy)
    compared("mounted")


def test_lvm_is_what_pvs_says(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a loop device needs root")
    image = sparse(tmp_path / "pv", 64 * MIB)
    done = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"loop devices do not work here: {done.stderr.strip()}")
    device = done.stdout.strip()
    only = f'devices {{ filter=["a|^{device}$|","r|.*|"] use_devicesfile=0 }}'
    try:
        tool("pvcreate", "--config", only, "-ff", "-y", device)
        tool("vgcreate", "--config", only, "vdisktest", device)
        listing = tmp_path / "group.txt"
        tool("vgcfgbackup", "--config", only, "-f", listing, "vdisktest")
        listing.write_text(_with_volume(listing.read_text()))
        tool("vgcfgrestore", "--config", only, "-f", listing, "--force", "vdisktest", fails=True)
        columns = "pvseg_start,pvseg_size,lv_name"
        told = tool("pvs", "--config", only, "--segments", "--noheadings", "-o", columns, device)
    finally:
        subprocess.run(["losetup", "-d", device], check=False)
    segments = [line.split() for line in told.splitlines() if line.split() and line.split()[0].isdigit()]
    free = [(int(row[0]), int(row[0]) + int(row[1])) for row in segments if len(row) == 2]
    found = lvm.read_physical(whole(ImageFile(image)))
    assert [((low - MIB) // (4 * MIB), (high - MIB) // (4 * MIB)) for low, high in found.free] == free
    assert [one.name for one in found.volumes] == ["root"] and len(segments) > len(free)
    compared("lvm2")


def _with_volume(text: str) -> str:
    volume = (
        'logical_volumes {\nroot { id = "AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA"\nstatus = ["READ","WRITE","VISIBLE"]\n'
        'flags = []\ncreation_time = 1\ncreation_host = "x"\nsegment_count = 2\n'
        'segment1 { start_extent = 0\nextent_count = 4\ntype = "striped"\nstripe_count = 1\nstripes = [ "pv0", 8 ] }\n'
        'segment2 { start_extent = 4\nextent_count = 2\ntype = "striped"\nstripe_count = 1\nstripes = [ "pv0", 3 ] }\n'
        "} }\n"
    )
    place = text.index("\n\t}\n", text.index("physical_volumes")) + 4
    return text[:place] + volume + text[place:]


@pytest.mark.long
@pytest.mark.parametrize("name", EXT)
def test_flipped_bits_of_ext(tmp_path: Path, name: str) -> None:
    assert turn_bits(ext, made_ext(tmp_path / "image", name), 1500).get("larger", 0) == 0


@pytest.mark.long
@pytest.mark.parametrize("name", XFS)
def test_flipped_bits_of_xfs(tmp_path: Path, name: str) -> None:
    assert turn_bits(xfs, images.xfs(tmp_path / "image", *XFS[name]), 1500).get("larger", 0) == 0


@pytest.mark.long
@pytest.mark.parametrize("name", BTRFS)
def test_flipped_bits_of_btrfs(tmp_path: Path, name: str) -> None:
    assert turn_bits(btrfs, made_btrfs(tmp_path / "image", name), 1500).get("larger", 0) == 0
