# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each refusal of a source says, word by word: what it is, and the one next step that helps."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
    DiskError,
    Encrypted,
    NotAWholeDisk,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.catalog import FORMATS, format_detected_as
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.detect import MARKS
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.advice import (
    ADVICE,
    complete,
    document_of,
    false_name,
    unread,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import vmdk_files
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.oracles import require, run
from ansible_collections.vdisk.parallels.tests.support.vdi_images import pack_header

ZEROS = bytes(4096)
LAYER = "mac.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds"
EXTENT = vmdk_files.text("twoGbMaxExtentFlat", ['RW 8 FLAT "d-f001.vmdk" 0', 'RW 8 FLAT "d-f002.vmdk" 0'])
SPARSE = vmdk_files.text("twoGbMaxExtentSparse", ['RW 80 SPARSE "d-s001.vmdk"'])
PIECE = bytes(vmdk_files.sparse(capacity=80, grains={}).raw)
OLD_VDI = b"x".ljust(64, b"\0") + struct.pack("<II", 0xBEDA107F, 2)
UNDO = pack_header(type=3, offset_data=1024, size=1 << 20, blocks=1, allocated=0)
QCOW2 = b"QFI\xfb" + struct.pack(">IQIIQI", 3, 0, 0, 16, 1 << 20, 0).ljust(68, b"\0")

# What lies there: the file to name, its content and others beside it, the code, and all that is said.
SAID: Dict[str, Tuple[str, bytes, Dict[str, bytes], str, str]] = {
    "gzip": (
        "d.raw.gz",
        gzip.compress(ZEROS),
        {},
        "unsupported",
        (
            "The source is compressed with gzip (/v m/d.raw.gz). "
            "Unpack it and name what comes out: gunzip -k '/v m/d.raw.gz'"
        ),
    ),
    "xz without its suffix": (
        "d.img",
        lzma.compress(ZEROS),
        {},
        "unsupported",
        (
            "The source is compressed with xz (/v m/d.img). "
            "Unpack it and name what comes out: unxz -c '/v m/d.img' > '/v m/d.img.unpacked'"
        ),
    ),
    "a backup of Proxmox": (
        "vzdump-qemu-100.vma",
        b"VMA\0" + ZEROS,
        {},
        "unsupported",
        (
            "The source is a backup of Proxmox (VMA) (/v m/vzdump-qemu-100.vma). "
            "Unpack it and name the disk in it: vma extract '/v m/vzdump-qemu-100.vma' '/v m/vzdump-qemu-100'"
        ),
    ),
    "partclone": (
        "sda1.img",
        b"partclone-image\0" + ZEROS,
        {},
        "unsupported",
        (
            "The source is a partition saved by partclone (/v m/sda1.img). "
            "Restore it and name the result: partclone.restore -C -W -s '/v m/sda1.img' -O '/v m/sda1'.raw"
        ),
    ),
    "ntfsclone": (
        "sda1.img",
        b"\0ntfsclone-image\n" + ZEROS,
        {},
        "unsupported",
        (
            "The source is a partition saved by ntfsclone (/v m/sda1.img). "
            "Restore it and name the result: ntfsclone -r -o '/v m/sda1'.raw '/v m/sda1.img'"
        ),
    ),
    "a download that goes on": (
        "d.raw.crdownload",
        b"x" * 4096,
        {},
        "not_a_whole_disk",
        (
            "The file is a download that has not ended (/v m/d.raw.crdownload). "
            "Wait for its end, or set src_format: raw if it is a whole plain image."
        ),
    ),
    "zip": (
        "d.zip",
        b"PK\x03\x04" + ZEROS,
        {},
        "unsupported",
        "The source is a ZIP archive (/v m/d.zip). Unpack it and name the disk in it: unzip '/v m/d.zip'",
    ),
    "qed": (
        "d.qed",
        b"QED\0" + ZEROS,
        {},
        "unsupported",
        (
            "The source is a QED image (/v m/d.qed). "
            "Convert it and name the result: qemu-img convert -f qed -O raw '/v m/d.qed' '/v m/d'.raw"
        ),
    ),
    "web page": (
        "d.img",
        b"\n<!DOCTYPE html>\n<html>" + b" " * 5000,
        {},
        "not_a_whole_disk",
        "The source is a web page (/v m/d.img). Download the image itself; the server gave a page instead of it.",
    ),
    "answer of a server": (
        "d.img",
        b'{"error": "not found"}',
        {},
        "not_a_whole_disk",
        (
            "The source is a JSON document (/v m/d.img). "
            "Download the image itself; the server gave a page instead of it."
        ),
    ),
    "answer in xml": (
        "d.qcow2",
        b"<?xml version='1.0'?><Error/>",
        {},
        "unsupported",
        "The source is an XML file (/v m/d.qcow2). Download the image itself; the server gave a page instead of it.",
    ),
    "description in xml": (
        "d.vbox",
        b"<?xml version='1.0'?><VirtualBox/>",
        {},
        "unsupported",
        "The source is an XML file (/v m/d.vbox). Name the disk image that it describes.",
    ),
    "git lfs": (
        "d.qcow2",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        {},
        "not_a_whole_disk",
        (
            "The source is a pointer of Git LFS (/v m/d.qcow2). "
            "Fetch the file that it stands for: git lfs pull --include d.qcow2"
        ),
    ),
    "false name": (
        "d.qcow2",
        ZEROS,
        {},
        "not_a_whole_disk",
        (
            "The name ends in .qcow2, but the file has no mark of such an image (/v m/d.qcow2). "
            "Get the file anew, or set src_format: raw if it is a plain image."
        ),
    ),
    "false vhd": (
        "d.vhd",
        ZEROS,
        {},
        "not_a_whole_disk",
        (
            "The name ends in .vhd, but the file has no mark of such an image (/v m/d.vhd). "
            "Get the file anew, or set src_format: raw if it is a plain image."
        ),
    ),
    "layer of a bundle": (
        f"mac.hdd/{LAYER}",
        ZEROS,
        {"mac.hdd/DiskDescriptor.xml": b"<x/>"},
        "not_a_whole_disk",
        f"The file is a layer or a part of a Parallels disk (/v m/mac.hdd/{LAYER}). Name the bundle: /v m/mac.hdd",
    ),
    "part of a bundle with another name": (
        "mac.hdd/part.1",
        ZEROS,
        {"mac.hdd/DiskDescriptor.xml": b"<File>part.1</File>"},
        "not_a_whole_disk",
        "The file is a layer or a part of a Parallels disk (/v m/mac.hdd/part.1). Name the bundle: /v m/mac.hdd",
    ),
    "flat extent": (
        "d-f001.vmdk",
        ZEROS,
        {"e.vmdk": EXTENT, "a.vmdk": SPARSE},
        "not_a_whole_disk",
        "The file is an extent of a VMDK (/v m/d-f001.vmdk). Name the disk: /v m/e.vmdk",
    ),
    "flat extent alone": (
        "d-f001.vmdk",
        ZEROS,
        {},
        "not_a_whole_disk",
        (
            "The file is an extent of a VMDK (/v m/d-f001.vmdk). "
            "Copy its description, a small .vmdk file, beside it and name that."
        ),
    ),
    "whole flat extent alone": (
        "d-flat.vmdk",
        ZEROS,
        {},
        "not_a_whole_disk",
        "The file is an extent of a VMDK (/v m/d-flat.vmdk). Set src_format: raw; a flat file holds the whole disk.",
    ),
    "sparse extent": (
        "d-s001.vmdk",
        PIECE,
        {"d.vmdk": SPARSE},
        "not_a_whole_disk",
        "This file is a part of a VMDK, without a descriptor (/v m/d-s001.vmdk, offset 28). Name the disk: /v m/d.vmdk",
    ),
    "piece of a vhd": (
        "d.v01",
        ZEROS,
        {"d.vhd": ZEROS},
        "not_a_whole_disk",
        "The file is a piece of a split VHD (/v m/d.v01). Name its first piece: /v m/d.vhd",
    ),
    "piece of a vhd alone": (
        "d.v01",
        ZEROS,
        {},
        "not_a_whole_disk",
        "The file is a piece of a split VHD (/v m/d.v01). Copy its first piece, /v m/d.vhd, beside it and name that.",
    ),
    "cut by size": (
        "d.raw.001",
        ZEROS,
        {"d.raw.000": ZEROS, "d.raw.002": b"x"},
        "not_a_whole_disk",
        (
            "The file is one of 3 pieces of a disk (/v m/d.raw.001). "
            "Name the first one, /v m/d.raw.000, and set join_pieces: true."
        ),
    ),
    "image cut by size": (
        "d.qcow2.001",
        QCOW2,
        {"d.qcow2.002": b"x"},
        "not_a_whole_disk",
        (
            "The file is one of 2 pieces of a disk (/v m/d.qcow2.001). "
            "Join them and name the result: cat '/v m/d.qcow2.001' '/v m/d.qcow2.002' > '/v m/d.qcow2'"
        ),
    ),
    "cut by split": (
        "d.imgaa",
        ZEROS,
        {"d.imgab": ZEROS},
        "not_a_whole_disk",
        (
            "The file is one of 2 pieces of a disk (/v m/d.imgaa). "
            "Name the first one, /v m/d.imgaa, and set join_pieces: true."
        ),
    ),
    "old vdi": (
        "d.vdi",
        OLD_VDI.ljust(512, b"\0"),
        {},
        "unsupported",
        (
            "The VDI image is an image of the first VirtualBox versions (/v m/d.vdi, offset 68). "
            "Convert it and name the result: VBoxManage clonemedium '/v m/d.vdi' '/v m/d'-copy.vdi"
        ),
    ),
    "undo vdi": (
        "d.vdi",
        UNDO.ljust(1024, b"\0"),
        {},
        "unsupported",
        (
            "The VDI image is an undo image (/v m/d.vdi, offset 76). "
            "Convert it and name the result: VBoxManage clonemedium '/v m/d.vdi' '/v m/d'-copy.vdi"
        ),
    ),
    "damaged qcow2": (
        "d.img",
        QCOW2,
        {},
        "damaged",
        "The file ends within its header (/v m/d.img, offset 72). Get the file anew, or restore it from a copy.",
    ),
    "vmdk of an unknown type": (
        "d.vmdk",
        vmdk_files.text("fullDevice", ['RW 8 FLAT "/dev/sda" 0']),
        {},
        "unsupported",
        (
            "Disks of type 'fullDevice' are not read (/v m/d.vmdk). "
            "Convert it and name the result: vmkfstools -i '/v m/d.vmdk' -d thin '/v m/d'-copy.vmdk"
        ),
    ),
}


def refusal(path: str, files: Dict[str, bytes], **options: Any) -> DiskError:
    port = MemoryPort()
    for name, content in files.items():
        port.plant_file(f"/v m/{name}", content)
    with pytest.raises(DiskError) as caught:
        find_source(port, f"/v m/{path}", **options)
    assert not any(port.opened.values())
    return caught.value


@pytest.mark.parametrize("case", SAID.values(), ids=SAID)
def test_a_refusal_says_what_it_is_and_the_next_step(case: Tuple[str, bytes, Dict[str, bytes], str, str]) -> None:
    path, content, beside, code, text = case
    error = refusal(path, {path: content, **beside})
    assert (error.code, str(error)) == (code, text)


def test_every_kind_of_file_that_is_known_and_not_read_has_advice() -> None:
    assert {kind for kind in MARKS if format_detected_as(kind) is None} <= set(ADVICE)
    assert not set(ADVICE) & set(FORMATS)


@pytest.mark.parametrize("kind", ADVICE)
def test_an_advice_is_one_sentence_with_all_of_its_command(kind: str) -> None:
    error = unread("/v m/x.img", kind)
    assert isinstance(error, Unsupported if ADVICE[kind].is_disk else NotAWholeDisk)
    assert error.message == f"The source is {ADVICE[kind].what}"
    assert error.hint is not None and "{" not in error.hint and ". " not in error.hint
    assert ": " not in error.hint or "x.img" in error.hint


@pytest.mark.parametrize(
    "prefix, kind",
    [
        (b"<!DOCTYPE HTML PUBLIC", "html"),
        (b"\xef\xbb\xbf\r\n <html lang=en>", "html"),
        (b"%PDF-1.7", "pdf"),
        (b"Rar!\x1a\x07\x01\0", "rar"),
        (b"version https://git-lfs.github.com/spec/v1", "lfs"),
        (b"", None),
        (ZEROS, None),
        (b"\xeb\x63\x90<html>", None),
        (b'{"a": 1}', "json"),
        (b'{"\0\0\0\1' + ZEROS, None),
    ],
)
def test_documents_are_known_by_their_first_bytes(prefix: bytes, kind: Optional[str]) -> None:
    assert document_of(prefix, 100 * 512) == kind


@pytest.mark.parametrize(
    "prefix, size, kind",
    [
        (b"# a line\n" * 20, 180, "text"),
        ("# eine Zeile mit ä\n".encode() * 20, 400, "text"),
        (b"# a line\n" * 400, 100_000, "text"),
        (b"# a line\n" * 400, 512 * 100, None),
        (b"# a line\n" * 20 + b"\0", 181, None),
        (b"short", 5, None),
        (b"x" * 1000, 1000, None),
    ],
)
def test_a_text_is_no_whole_number_of_sectors(prefix: bytes, size: int, kind: Optional[str]) -> None:
    assert document_of(prefix, size) == kind


def test_what_a_reader_says_itself_is_left_alone() -> None:
    for error in (Unsupported("x", "/a", hint="Do it."), Unsupported("x"), NotAWholeDisk("x", "/a")):
        hint = error.hint
        complete(error, "vdi")
        assert error.hint == hint
    error = Damaged("x", "/a")
    complete(error, "vdi")
    assert error.hint == "Get the file anew, or restore it from a copy."
    assert "src_format: raw" in str(false_name("/a.vdi", ".vdi"))


@pytest.mark.parametrize("name", ["d.raw{}", "d isk.img"])
@pytest.mark.parametrize(
    "tool, suffix",
    [("gzip", ".gz"), ("xz", ".xz"), ("bzip2", ".bz2"), ("zstd", ".zst"), ("lz4", ".lz4"), ("lzip", ".lz")],
)
def test_the_command_unpacks_the_file_whatever_it_is_called(tmp_path: Path, name: str, tool: str, suffix: str) -> None:
    packer = shutil.which(tool)
    if packer is None:
        pytest.skip(f"{tool} is not installed")
    path = tmp_path / name.format(suffix)
    path.write_bytes(subprocess.run([packer, "-c"], input=ZEROS, capture_output=True, check=True).stdout)
    with pytest.raises(Unsupported) as caught:
        find_source(OsPort(), str(path))
    command = (caught.value.hint or "").partition(": ")[2]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    (made,) = [one for one in tmp_path.iterdir() if one != path]
    assert made.read_bytes() == ZEROS and find_source(OsPort(), str(made)).size == len(ZEROS)


def test_the_command_decrypts_an_image(tmp_path: Path) -> None:
    require("qemu-img")
    (tmp_path / "secret").write_text("open sesame")
    path = str(tmp_path / "d.qcow2")
    secret = f"secret,id=s,file={tmp_path}/secret"
    options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
    made = run("qemu-img", "create", "-f", "qcow2", "--object", secret, "-o", options, path, "1M")
    if "CPU usage" in made.output:
        pytest.skip("qemu-img cannot measure how fast this machine derives keys")
    assert made.code == 0, made.output
    with pytest.raises(Encrypted) as caught:
        find_source(OsPort(), path)
    command = (caught.value.hint or "").partition(": ")[2].replace("PASSPHRASE", f"{tmp_path}/secret")
    subprocess.run(command, shell=True, check=True)
    assert find_source(OsPort(), f"{path}.decrypted").size == 1 << 20
