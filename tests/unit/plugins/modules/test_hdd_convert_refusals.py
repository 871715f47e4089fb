# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hdd_convert says of a source that it does not read: for every error code, word by word.

Each message says what it is, why, and one next step, as a command where there is one. More of what a file can be is in
``_guest/foreign/test_advice.py``.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import uuid
from typing import Any, Callable, Dict, NamedTuple, Set

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._core import errors
from ansible_collections.vdisk.parallels.tests.support import vdi_images
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused
from ansible_collections.vdisk.parallels.tests.support.sockets import make_socket
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.qcow2.test_external import external
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.qcow2.test_reader import usual
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_catalog import (
    ONE,
    TWO,
    appliance,
    described,
    manifest,
)
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_tar import archive

MIB = 1 << 20
ZEROS = bytes(4096)
PARENT = uuid.UUID("920eaa6b-da5f-4608-a547-e8938db453e6")


class Case(NamedTuple):
    """A source ``src`` below the folder that ``make`` fills, and all that is said, ``{root}`` being that folder."""

    code: str
    make: Callable[[str], object]
    src: str
    said: str
    options: Dict[str, Any] = {}


def file(name: str, content: bytes) -> Callable[[str], object]:
    return files({name: content})


def files(contents: Dict[str, bytes]) -> Callable[[str], object]:
    def make(root: str) -> None:
        for name, content in contents.items():
            os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
            with open(f"{root}/{name}", "wb") as stream:
                stream.write(content)

    return make


def qcow2(name: str, builder: Any) -> Callable[[str], object]:
    def make(root: str) -> None:
        from pathlib import Path

        builder.write(Path(root) / name)

    return make


def overlay(name: bytes, format: bytes = b"") -> Any:
    builder = usual()
    builder.name = name
    if format:
        builder.extension(0xE2792ACA, format)
    return builder


def bundle(root: str) -> None:
    build_bundle(f"{root}/a.hdd", size_sectors=8 * 2048, layers=line_of_layers({0: fill(0, MIB)}, {1: fill(1, MIB)}))


def plain_bundle(root: str) -> None:
    from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP, Layer

    layers = [Layer(TOP, NONE, {0: fill(0, MIB)}, "Plain")]
    build_bundle(f"{root}/a.hdd", size_sectors=8 * 2048, layers=layers)


def layer_of(root: str, number: int) -> str:
    names = sorted(name for name in os.listdir(f"{root}/a.hdd") if name.endswith(".hds"))
    return names[number]


def without_image(root: str) -> None:
    bundle(root)
    os.remove(f"{root}/a.hdd/{layer_of(root, 0)}")


def cut(root: str) -> None:
    plain_bundle(root)
    os.truncate(f"{root}/a.hdd/{layer_of(root, 0)}", 4 * MIB)


def differencing(root: str) -> None:
    made = {"type": 4, "linkage": PARENT.bytes_le, "parent_modified": b"\2" * 16}
    vdi_images.build_vdi(f"{root}/d.vdi", size=4 * 4096, block=4096, contents={}, **made)  # type: ignore[arg-type]


def over_a_changed_parent(root: str) -> None:
    differencing(root)
    vdi_images.build_vdi(
        f"{root}/base.vdi", size=4 * 4096, block=4096, contents={}, created=PARENT.bytes_le, modified=b"\3" * 16
    )


def machine(root: str) -> None:
    files({"vm.utm/config.plist": b"<plist/>", "vm.utm/Data/disk-0.qcow2": b"QFI\xfb", "vm.utm/Data/efi.fd": ZEROS})(
        root
    )


def listening(root: str) -> None:
    make_socket(f"{root}/s")


CHAIN = ["first.qcow2", "second.qcow2"]


def circle(root: str) -> None:
    for one, other in (CHAIN, CHAIN[::-1]):
        qcow2(one, overlay(other.encode(), b"qcow2"))(root)


LOCKED = "import fcntl, sys, time; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, 2); print(flush=True); time.sleep(60)"


def held(root: str) -> subprocess.Popen:  # type: ignore[type-arg]
    """A plain image that another process holds for writing."""
    file("a.raw", ZEROS)(root)
    process = subprocess.Popen([sys.executable, "-c", LOCKED, f"{root}/a.raw"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


ENCRYPTED = usual(crypt=2)
BACKING = {"backing": True}
OVERLAY = overlay(b"base.qcow2", b"qcow2")
SAID: Dict[str, Case] = {
    "nothing": Case("not_found", file("a", b""), "b.raw", "There is no source ({root}/b.raw). Check the path."),
    "empty file": Case(
        "bad_request", file("a.raw", b""), "a.raw", "The source is empty ({root}/a.raw). Get the file anew."
    ),
    "socket": Case(
        "bad_request",
        listening,
        "s",
        "A source is a file, a folder or a block device ({root}/s). Name an image file, or a block device (Linux).",
    ),
    "overlay": Case(
        "bad_request",
        qcow2("a.qcow2", OVERLAY),
        "a.qcow2",
        (
            "The image is an overlay: what it does not hold is in base.qcow2 ({root}/a.qcow2). "
            "Set backing: true to follow it; only files in the directory of the source are "
            "opened."
        ),
    ),
    "differencing VDI": Case(
        "bad_request",
        differencing,
        "d.vdi",
        (
            "The image is an overlay: what it does not hold is in the image with the UUID "
            "920eaa6b-da5f-4608-a547-e8938db453e6 ({root}/d.vdi). Set backing: true to follow "
            "it; only files in the directory of the source are opened."
        ),
    ),
    "several disks": Case(
        "bad_request",
        file("x.ova", archive(appliance(TWO))),
        "x.ova",
        "The source holds 2 disks: d1, d2 ({root}/x.ova). Set src_disk, for example to d1.",
    ),
    "no such disk": Case(
        "bad_request",
        file("x.ova", archive(appliance(TWO))),
        "x.ova",
        "src_disk: no disk of the source is called 'd9' ({root}/x.ova). Choose one of these: d1, d2",
        {"src_disk": "d9"},
    ),
    "a disk of one": Case(
        "bad_request",
        file("a.raw", ZEROS),
        "a.raw",
        "src_disk: the source is one disk ({root}/a.raw). Leave src_disk out.",
        {"src_disk": "1"},
    ),
    "snapshot of what has none": Case(
        "bad_request",
        file("a.raw", ZEROS),
        "a.raw",
        (
            "snapshot: a raw source has no snapshots that could be read ({root}/a.raw). Leave "
            "the option out; name the layer as src."
        ),
        {"snapshot": "x"},
    ),
    "pieces that do not fit": Case(
        "bad_request",
        files({"a.000": ZEROS, "a.001": ZEROS, "a.003": ZEROS}),
        "a.001",
        "join_pieces: the first piece is {root}/a.000 ({root}/a.001). Name that: {root}/a.000",
        {"join_pieces": True},
    ),
    "folder without a disk": Case(
        "not_a_bundle",
        file("vm/readme", b"x"),
        "vm",
        (
            "The directory has no DiskDescriptor.xml ({root}/vm). Name the .hdd directory "
            "itself; the disks of a virtual machine are in its .pvm."
        ),
    ),
    "folder of a machine": Case(
        "not_a_bundle",
        machine,
        "vm.utm",
        (
            "The directory has no DiskDescriptor.xml ({root}/vm.utm). Name the disk image in it: "
            "{root}/vm.utm/Data/disk-0.qcow2"
        ),
    ),
    "machine without a disk": Case(
        "not_a_bundle",
        file("m.pvm/x", b"x"),
        "m.pvm",
        "The machine has no disk in its folder ({root}/m.pvm). Name the .hdd directory.",
    ),
    "expanding layer": Case(
        "not_a_whole_disk",
        bundle,
        "a.hdd/{layer}",
        "The file is a layer or a part of a Parallels disk ({root}/a.hdd/{layer}). Name the bundle: {root}/a.hdd",
    ),
    "plain layer": Case(
        "not_a_whole_disk",
        plain_bundle,
        "a.hdd/{layer}",
        "The file is a layer or a part of a Parallels disk ({root}/a.hdd/{layer}). Name the bundle: {root}/a.hdd",
    ),
    "data file": Case(
        "not_a_whole_disk",
        lambda root: (qcow2("a.qcow2", external())(root), file("a.data", ZEROS)(root)),
        "a.data",
        (
            "The file holds the clusters of a qcow2 image, which says what of them counts "
            "({root}/a.data). Name the image: {root}/a.qcow2"
        ),
    ),
    "appliance without a disk": Case(
        "not_a_whole_disk",
        file("x.ova", archive({"x.ovf": described(ONE[0], "")})),
        "x.ova",
        "The appliance has no disk with a file ({root}/x.ova). Name another source.",
    ),
    "text": Case(
        "not_a_whole_disk",
        file("a.img", b"These are the sums of all files.\n" * 9),
        "a.img",
        "The source is a text ({root}/a.img). Name a disk image.",
    ),
    "machine of VMware": Case(
        "not_a_whole_disk",
        file("a.vmx", b'.encoding = "UTF-8"\n' * 20),
        "a.vmx",
        "The source is a text ({root}/a.vmx). Name the disk image that it describes.",
    ),
    "page with the name of a VHD": Case(
        "not_a_whole_disk",
        file("a.vhd", b"<html>" * 200),
        "a.vhd",
        "The source is a web page ({root}/a.vhd). Download the image itself; the server gave a page instead of it.",
    ),
    "snapshot that is not there": Case(
        "no_such_snapshot",
        qcow2("a.qcow2", usual()),
        "a.qcow2",
        "The image has no snapshot called 'x' ({root}/a.qcow2). It has no snapshots; leave snapshot out.",
        {"snapshot": "x"},
    ),
    "snapshot that a bundle has not": Case(
        "no_such_snapshot",
        bundle,
        "a.hdd",
        "The disk has no snapshot 'x' ({root}/a.hdd). It has {aaaaaaaa-0000-4000-8000-000000000001}.",
        {"snapshot": "x"},
    ),
    "another format than said": Case(
        "damaged",
        file("a.vmdk", b"QFI\xfb" + ZEROS),
        "a.vmdk",
        (
            "The descriptor is no text in its encoding ({root}/a.vmdk, offset 0). Leave "
            "src_format out: the file has the mark of another kind, qcow2."
        ),
        {"src_format": "vmdk"},
    ),
    "damaged qcow2": Case(
        "damaged",
        qcow2("a.qcow2", usual(incompatible=2)),
        "a.qcow2",
        (
            "The image is marked as corrupt ({root}/a.qcow2, offset 72). Keep a copy of the "
            "image and run: qemu-img check -r all {root}/a.qcow2"
        ),
    ),
    "circle": Case(
        "damaged",
        circle,
        CHAIN[0],
        "The images name each other in a circle ({root}/first.qcow2). Let one of them name the right image.",
        BACKING,
    ),
    "changed parent": Case(
        "damaged",
        over_a_changed_parent,
        "d.vdi",
        (
            "The image below has been changed since the overlay was made on it ({root}/d.vdi). "
            "Find a copy of the image as it was; the overlay cannot be read without it."
        ),
        BACKING,
    ),
    "changed appliance": Case(
        "damaged",
        file(
            "x.ova",
            archive(
                {
                    **appliance(),
                    "x.mf": manifest(
                        {
                            "a.vmdk": b"",
                            "x.ovf": appliance()["x.ovf"],
                        },
                        "sha1",
                    ),
                }
            ),
        ),
        "x.ova",
        "The file 'a.vmdk' is not what the manifest says ({root}/x.ova). Get the container anew.",
    ),
    "cut archive": Case(
        "damaged",
        file("x.ova", archive(appliance())[:2000]),
        "x.ova",
        "The archive ends within a header ({root}/x.ova, offset 1536). Get the whole container anew.",
    ),
    "compressed": Case(
        "unsupported",
        file("a.gz", gzip.compress(ZEROS)),
        "a.gz",
        "The source is compressed with gzip ({root}/a.gz). Unpack it and name what comes out: gunzip -k {root}/a.gz",
    ),
    "format that is not recorded": Case(
        "unsupported",
        qcow2("a.qcow2", overlay(b"b")),
        "a.qcow2",
        (
            "The overlay does not say which format the image below it has, and guessing would be "
            "an open door ({root}/a.qcow2). Set backing_format, to raw or to the name of its "
            "format."
        ),
        BACKING,
    ),
    "format that is not known": Case(
        "unsupported",
        qcow2("a.qcow2", overlay(b"b", b"rbd")),
        "a.qcow2",
        (
            "The image below has the format rbd, which cannot be read there ({root}/a.qcow2). "
            "Convert it and name the result: qemu-img convert -f qcow2 -O raw {root}/a.qcow2 "
            "{root}/a.raw"
        ),
        BACKING,
    ),
    "data file without a name": Case(
        "unsupported",
        qcow2("a.qcow2", external(None)),
        "a.qcow2",
        (
            "The image keeps its data in another file, and does not say in which "
            "({root}/a.qcow2, offset 72). Let the image name it: qemu-img amend --image-opts -o "
            "data_file=DATA "
            "driver=qcow2,file.filename={root}/a.qcow2,data-file.driver=file,data-file.filename=DATA"
        ),
    ),
    "feature": Case(
        "unsupported",
        qcow2("a.qcow2", usual(incompatible=32)),
        "a.qcow2",
        (
            "The image needs features that are not known here: bit 5 ({root}/a.qcow2, offset "
            "72). Convert it and name the result: qemu-img convert -f qcow2 -O raw "
            "{root}/a.qcow2 {root}/a.raw"
        ),
    ),
    "snapshot of an appliance": Case(
        "unsupported",
        file("x.ova", archive(appliance((ONE[0], ONE[1].replace("/>", ' ovf:parentRef="d0"/>'))))),
        "x.ova",
        (
            "The disk 'd1' is stored in a way that is not read ({root}/x.ova). Export the "
            "appliance anew, without snapshots."
        ),
    ),
    "encrypted qcow2": Case(
        "encrypted",
        qcow2("a.qcow2", ENCRYPTED),
        "a.qcow2",
        (
            "The image is encrypted (LUKS) ({root}/a.qcow2, offset 32). Decrypt it and name the "
            "result: qemu-img convert --object secret,id=s,file=PASSPHRASE --image-opts "
            "driver=qcow2,file.filename={root}/a.qcow2,encrypt.key-secret=s -O raw "
            "{root}/a.qcow2.decrypted"
        ),
    ),
    "missing layer": Case(
        "missing_image",
        without_image,
        "a.hdd",
        (
            "An image that the descriptor names is missing "
            "({root}/a.hdd/a.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds). Restore the file "
            "from a backup of the bundle."
        ),
    ),
    "missing parent": Case(
        "missing_image",
        qcow2("a.qcow2", OVERLAY),
        "a.qcow2",
        (
            "The image names 'base.qcow2', which is not there ({root}/a.qcow2). Copy it to "
            "{root}/base.qcow2, or name its folder in backing_paths."
        ),
        BACKING,
    ),
    "missing parent of VirtualBox": Case(
        "missing_image",
        differencing,
        "d.vdi",
        (
            "The image is a differencing image: what it does not hold is in the image with the "
            "UUID 920eaa6b-da5f-4608-a547-e8938db453e6, which was not found ({root}/d.vdi). Copy "
            "that image beside it, or name its folder in backing_paths."
        ),
        BACKING,
    ),
    "missing data file": Case(
        "missing_image",
        qcow2("a.qcow2", external("b.data")),
        "a.qcow2",
        (
            "The image names 'b.data', which is not there ({root}/a.qcow2). Copy it to "
            "{root}/b.data, or name its folder in backing_paths."
        ),
    ),
    "missing file of an appliance": Case(
        "missing_image",
        file("x.ova", archive(appliance(a_vmdk=None))),
        "x.ova",
        "The file 'a.vmdk' of the disk 'd1' is missing ({root}/x.ova). Get the whole container anew.",
    ),
    "parent elsewhere": Case(
        "escape",
        qcow2("a.qcow2", overlay(b"/etc/hostname", b"raw")),
        "a.qcow2",
        (
            "The image names a file outside of its directory, '/etc/hostname' ({root}/a.qcow2). "
            "If you trust it, set backing_paths: [/etc]; or copy the file there."
        ),
        BACKING,
    ),
    "parent on a server": Case(
        "escape",
        qcow2("a.qcow2", overlay(b"nbd://h/x", b"raw")),
        "a.qcow2",
        (
            "The image names 'nbd://h/x', which is no file in its directory ({root}/a.qcow2). "
            "Convert it and name the result: qemu-img convert -f qcow2 -O raw {root}/a.qcow2 {root}/a.raw"
        ),
        BACKING,
    ),
    "cut bundle": Case(
        "misfit",
        cut,
        "a.hdd",
        (
            "A plain image is shorter than the disk; what is missing would read as zeros "
            "({root}/a.hdd/a.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds). Restore the "
            "whole file, or set force: true to take what is there."
        ),
    ),
    "held by another process": Case(
        "in_use",
        held,
        "a.raw",
        "The source is being written by python (pid 1) ({root}/a.raw). Stop python (pid 1) or wait, then run again.",
    ),
}

NOT_OF_A_SOURCE = {
    "error": "the root of all",
    "exists": "of outputs",
    "dirty": "a source that is marked as in use is read, with a warning",
    "suspended": "the source is read, with a warning",
    "shared_layer": "of changes and outputs",
    "has_snapshots": "of changes",
    "interrupted": "of bundles in the middle of a merge: its words are in the tests of _bundle/guards.py",
    "no_space": "of outputs",
    "stale_plan": "of changes between two looks",
    "verify_failed": "of outputs",
    "missing_library": "of the host: what reads descriptors cannot be loaded",
    "read_only": "of outputs",
}
ON_A_PORT = {"io_error": "EIO", "permission": "EACCES"}
"""What only a host can do."""


def classes(of: type) -> Set[type]:
    return {of}.union(*(classes(one) for one in of.__subclasses__()))


def test_every_code_is_in_the_table_or_has_a_reason_not_to_be() -> None:
    codes = {one.code for one in classes(errors.DiskError) if one.__module__ == errors.__name__}  # type: ignore[attr-defined]
    assert {case.code for case in SAID.values()} | set(NOT_OF_A_SOURCE) | set(ON_A_PORT) == codes


@pytest.mark.parametrize("name", SAID)
def test_a_refusal_says_what_why_and_the_next_step(tmp_path: Any, name: str) -> None:
    root = str(tmp_path / "vm")
    os.mkdir(root)
    code, make, src, said, options = SAID[name]
    process = make(root)
    try:
        layer = layer_of(root, 0) if "{layer}" in src else ""
        path = f"{root}/{src.format(layer=layer)}"
        found = refused("hdd_convert", root, code=code, src=path, dest=f"{root}/out.raw", **options)["msg"]
    finally:
        if isinstance(process, subprocess.Popen):
            process.kill()
            process.wait()
    if code == "in_use":
        found = re.sub(r"python[\d.]* \(pid \d+\)", "python (pid 1)", found)
    assert found == said.replace("{root}", root).replace("{layer}", layer)
