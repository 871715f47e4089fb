# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hurt disks: faults of every kind, planted into bundles by struct and text alone.

A fault knows the code under which a check must name it and what it takes to mend it: ``safe``, ``lossy`` or ``no``.
``keeps`` tells whether the guest disk must show afterwards what it showed before the fault.
"""

# The tables come first, for they say what there is; so they name functions that follow.
# pylint: disable=unnecessary-lambda

from __future__ import annotations

import os
import re
import shutil
import struct
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Tuple

from ansible_collections.vdisk.parallels.tests.support.bundles import (
    TOP,
    BuiltBundle,
    Layer,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill, pack_bitmap, pack_extension
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine

CLUSTER_SECTORS = 64
CLUSTER = CLUSTER_SECTORS * 512
CLUSTERS = 8
SECTORS = CLUSTERS * CLUSTER_SECTORS
BITMAP = 0x20385FAE252CB34A

Plant = Callable[[BuiltBundle], None]


def held(*numbers: int, seed: int = 0) -> Dict[int, bytes]:
    """Clusters with data of their own."""
    return {number: fill(number, CLUSTER, seed) for number in numbers}


ONE = [Layer(TOP, clusters=held(0, 1, 2, 5))]
CHAIN = line_of_layers(held(0, 1, 2, 5), held(1, 3, seed=1), held(2, 4, seed=2))


@dataclass(frozen=True)
class Fault:
    """One way to hurt a disk."""

    name: str
    code: str
    level: str
    plant: Plant
    keeps: bool = True
    layers: Tuple[Layer, ...] = tuple(ONE)
    options: Dict[str, Any] = field(default_factory=dict)

    def build(self, directory: str) -> BuiltBundle:
        """A bundle with the fault in it."""
        built = self.sound(directory)
        self.plant(built)
        return built

    def sound(self, directory: str) -> BuiltBundle:
        """The bundle as it is without the fault."""
        return build_bundle(
            directory, size_sectors=SECTORS, layers=list(self.layers), cluster_sectors=CLUSTER_SECTORS, **self.options
        )


# What faults are made of.


def top_of(built: BuiltBundle) -> str:
    """The file of the current layer."""
    return built.files[(0, TOP)]


def put(path: str, offset: int, content: bytes) -> None:
    """Overwrite bytes of a file."""
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(content)


def get(path: str, offset: int, length: int) -> bytes:
    """Bytes of a file."""
    with open(path, "rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def header_field(offset: int, value: int, layout: str = "<I") -> Plant:
    """A fault of one field of the top's header."""
    return lambda built: put(top_of(built), offset, struct.pack(layout, value))


def entry(index: int, value: Callable[[str], int]) -> Plant:
    """A fault of one entry of the top's table; ``value`` makes it from the path."""
    return lambda built: put(top_of(built), 64 + 4 * index, struct.pack("<I", value(top_of(built))))


def entry_of(path: str, index: int) -> int:
    """An entry of a table."""
    return int(struct.unpack("<I", get(path, 64 + 4 * index, 4))[0])


def text(old: str, new: str, count: int = 1) -> Plant:
    """A fault of the descriptor's text, by regular expression."""

    def plant(built: BuiltBundle) -> None:
        with open(built.descriptor, encoding="utf-8") as stream:
            before = stream.read()
        after = re.sub(old, new, before, count=count, flags=re.DOTALL)
        assert after != before, old
        with open(built.descriptor, "w", encoding="utf-8") as stream:
            stream.write(after)

    return plant


def both(*plants: Plant) -> Plant:
    """Several faults."""

    def plant(built: BuiltBundle) -> None:
        for one in plants:
            one(built)

    return plant


def backed_up(plant: Plant) -> Plant:
    """A fault that comes after a backup of the descriptor was made."""

    def planted(built: BuiltBundle) -> None:
        shutil.copyfile(built.descriptor, built.descriptor + ".Backup")
        plant(built)

    return planted


def remove_descriptor(built: BuiltBundle) -> None:
    os.remove(built.descriptor)


def beside(name: str, content: bytes = b"") -> Plant:
    """A file that has no business in the bundle."""

    def plant(built: BuiltBundle) -> None:
        with open(os.path.join(built.directory, name), "wb") as stream:
            stream.write(content)

    return plant


def cut(by: int) -> Plant:
    """The top's file loses bytes at its end, or gets some."""

    def plant(built: BuiltBundle) -> None:
        os.truncate(top_of(built), os.path.getsize(top_of(built)) - by)

    return plant


def with_extension(built: BuiltBundle, *, damage: bytes = b"", signature: bytes = b"v2.1", over: bool = False) -> None:
    """Append a dirty bitmap and the format extension that names it; ``over`` lets a table entry lead to it."""
    path = top_of(built)
    bits = os.path.getsize(path)
    bitmap = pack_bitmap(size_sectors=SECTORS, granularity=64, clusters=[bits // 512])
    put(path, bits, b"\x5a" * CLUSTER + pack_extension([(BITMAP, 0, bitmap)], cluster_bytes=CLUSTER))
    put(path, 44, signature)
    put(path, 56, struct.pack("<Q", (bits + CLUSTER) // 512))
    if damage:
        put(path, bits + CLUSTER + 100, damage)
    if over:
        put(path, 64 + 4 * 6, struct.pack("<I", bits // 512))


def left_by_qemu(built: BuiltBundle) -> None:
    """What QEMU 7.2 makes of an image with an extension: its clusters are gone, it is closed with 0, and the header
    still names it.
    """
    with_extension(built, signature=bytes(4))
    os.truncate(top_of(built), os.path.getsize(top_of(built)) - 2 * CLUSTER)


def in_machine(**machine: Any) -> Plant:
    """The folder of the bundle becomes a virtual machine."""

    def plant(built: BuiltBundle) -> None:
        make_machine(os.path.dirname(built.directory), disk=os.path.basename(built.directory), **machine)

    return plant


def suspend(built: BuiltBundle) -> None:
    in_machine()(built)
    open(os.path.join(os.path.dirname(built.directory), "{1}.mem"), "wb").close()


def end_units(path: str) -> int:
    """The end of a file in sectors."""
    return os.path.getsize(path) // 512


GUID1 = re.escape(guid_of(1))
SPLIT = {"split": [4 * CLUSTER_SECTORS, 4 * CLUSTER_SECTORS]}
DATA_START = CLUSTER

DESCRIPTOR_FAULTS = (
    Fault("no descriptor, one image", "descriptor_missing", "safe", remove_descriptor),
    Fault("no descriptor, parts", "descriptor_missing", "lossy", remove_descriptor, options=SPLIT),
    Fault(
        "no descriptor, parts in a machine",
        "descriptor_missing",
        "no",
        both(in_machine(size_mib=0), remove_descriptor),
        layers=tuple(CHAIN),
    ),
    Fault("no descriptor, several layers", "descriptor_missing", "no", remove_descriptor, layers=tuple(CHAIN)),
    Fault(
        "no descriptor, a backup, several layers",
        "descriptor_missing",
        "lossy",
        backed_up(remove_descriptor),
        layers=tuple(CHAIN),
    ),
    Fault("no descriptor, a backup", "descriptor_missing", "safe", backed_up(remove_descriptor)),
    Fault("an empty descriptor", "descriptor_unreadable", "safe", text(".*", "")),
    Fault(
        "half a descriptor and a backup",
        "descriptor_unreadable",
        "lossy",
        backed_up(text("<ParentGUID>.*", "")),
        layers=tuple(CHAIN),
    ),
    Fault(
        "no end of a descriptor",
        "descriptor_unreadable",
        "safe",
        backed_up(text("</Snapshots>.*", "")),
        layers=tuple(CHAIN),
    ),
    Fault(
        "no end of a descriptor, no backup",
        "descriptor_unreadable",
        "no",
        text("</Snapshots>.*", ""),
        layers=tuple(CHAIN),
    ),
    Fault("binary descriptor", "descriptor_unreadable", "safe", text(".*", "\0\1\2")),
    Fault("Disk_size", "descriptor_size", "safe", text(r"<Disk_size>\d+", "<Disk_size>4096")),
    Fault("Disk_size is 0", "descriptor_size", "safe", text(r"<Disk_size>\d+", "<Disk_size>0")),
    Fault("End", "descriptor_size", "safe", text(r"<End>\d+", "<End>4096")),
    Fault("Disk_size, split", "descriptor_size", "safe", text(r"<Disk_size>\d+", "<Disk_size>100"), options=SPLIT),
    Fault(
        "a gap between parts", "descriptor_invalid", "safe", backed_up(text(r"<Start>256", "<Start>300")), options=SPLIT
    ),
    Fault("padding", "descriptor_invalid", "no", text("<Padding>0", "<Padding>1")),
    Fault("Blocksize", "descriptor_cluster_size", "safe", text(r"<Blocksize>\d+", "<Blocksize>2048")),
    Fault("another backup", "backup_differs", "no", backed_up(text("<Name>a", "<Name>b"))),
    Fault("a backup that is no XML", "backup_unreadable", "no", beside("DiskDescriptor.xml.Backup", b"<")),
    Fault("cylinders", "geometry", "no", text(r"<Cylinders>\d+", "<Cylinders>7")),
)

TREE_FAULTS = (
    Fault(
        "two shots of one GUID",
        "shot_duplicate",
        "lossy",
        backed_up(text(rf"(<Shot>\s*<GUID>){re.escape(guid_of(2))}", rf"\g<1>{guid_of(1)}")),
        layers=tuple(CHAIN),
    ),
    Fault(
        "a shot without image",
        "shot_without_image",
        "no",
        text(r"\s*<Image>\s*<GUID>" + GUID1 + r".*?</Image>", ""),
        layers=tuple(CHAIN),
    ),
    Fault(
        "a shot without image, a backup",
        "shot_without_image",
        "safe",
        backed_up(text(r"\s*<Image>\s*<GUID>" + GUID1 + r".*?</Image>", "")),
        layers=tuple(CHAIN),
    ),
    Fault(
        "an image without shot",
        "image_without_shot",
        "no",
        text(r"\s*<Shot>\s*<GUID>" + GUID1 + r".*?</Shot>", ""),
        layers=tuple(CHAIN),
    ),
    Fault(
        "one file for two images",
        "image_shared",
        "lossy",
        backed_up(text(r"<File>[^<]*" + GUID1 + r"[^<]*</File>", f"<File>a.hdd.0.{TOP}.hds</File>")),
        layers=tuple(CHAIN),
    ),
    Fault(
        "no parent",
        "parent_missing",
        "lossy",
        backed_up(text(rf"<ParentGUID>{GUID1}", f"<ParentGUID>{guid_of(77)}")),
        layers=tuple(CHAIN),
    ),
    Fault(
        "a loop",
        "tree_loop",
        "lossy",
        backed_up(text(r"<ParentGUID>\{00000000-[^<]*", f"<ParentGUID>{guid_of(2)}")),
        layers=tuple(CHAIN),
    ),
    Fault("no top", "top_missing", "safe", text(f"<GUID>{re.escape(TOP)}", f"<GUID>{guid_of(50)}", 0)),
    Fault(
        "two roots",
        "tree_several_roots",
        "no",
        text(rf"<ParentGUID>{GUID1}", "<ParentGUID>{00000000-0000-0000-0000-000000000000}"),
        layers=tuple(CHAIN),
    ),
    Fault(
        "a temporary shot",
        "shot_temporary",
        "no",
        text(r"(<Shot>\s*<GUID>" + GUID1 + r".*?</ParentGUID>)", r"\1<Temporary/>"),
        layers=tuple(CHAIN),
    ),
)

FILE_FAULTS = (
    Fault(
        "a missing image",
        "image_missing",
        "no",
        lambda built: os.remove(built.files[(0, guid_of(1))]),
        layers=tuple(CHAIN),
    ),
    Fault(
        "an image that is a directory",
        "image_unreadable",
        "no",
        lambda built: (os.remove(top_of(built)), os.mkdir(top_of(built)), None)[2],
    ),
    Fault("an image outside", "image_outside", "no", text(r"<File>a\.hdd", "<File>../a.hdd")),
    Fault("an orphan", "orphan_file", "no", beside("a.hdd.0.{11111111-0000-4000-8000-000000000001}.hds", b"x")),
    Fault("a leftover of ours", "leftover_ours", "safe", beside(".a.vdisk-new.tmp", b"x")),
    Fault("a leftover of ploop", "leftover_ploop", "no", beside("DiskDescriptor.xml.tmp", b"x")),
    Fault(
        "a journal",
        "interrupted",
        "safe",
        beside(
            ".vdisk-journal",
            (
                b'{"version": 1, "phase": "apply", "operation": "compact", "images": [], "created": [], '
                b'"discarded": [], "request": {}}'
            ),
        ),
    ),
    Fault("a journal that cannot be read", "journal_unreadable", "lossy", beside(".vdisk-journal", b"{")),
)

HEADER_FAULTS = (
    Fault("signature", "image_signature", "safe", header_field(0, 0)),
    Fault("signature and size", "image_signature", "no", both(header_field(0, 0), header_field(36, 0))),
    Fault("another format", "image_foreign", "no", lambda built: put(top_of(built), 0, b"QFI\xfb\0\0\0\3" + bytes(64))),
    Fault("signature of version 2", "image_signature", "safe", header_field(0, 0), options={"version": 2}),
    Fault("signature of an overlay", "image_signature", "safe", header_field(0, 0), layers=tuple(CHAIN)),
    Fault("a cut header", "image_truncated", "no", lambda built: os.truncate(top_of(built), 40)),
    Fault("a cut table", "image_truncated", "no", lambda built: os.truncate(top_of(built), 70)),
    Fault(
        "nothing but a table",
        "image_too_short",
        "safe",
        lambda built: os.truncate(top_of(built), 64 + 4 * CLUSTERS),
        layers=(Layer(TOP),),
    ),
    Fault("in use", "image_dirty", "safe", lambda built: put(top_of(built), 44, b"Ynot")),
    Fault("a conversion", "image_converting", "no", header_field(52, 2)),
    Fault("another size than the disk", "image_size", "no", lambda built: resized(built)),
    Fault("clusters of two sizes", "image_mixed", "no", lambda built: mixed(built), layers=tuple(CHAIN)),
    Fault("kind of disk", "header_type", "safe", header_field(16, 7)),
    Fault("cluster size", "header_cluster_size", "safe", header_field(28, 63)),
    Fault("cluster size 0", "header_cluster_size", "safe", header_field(28, 0)),
    Fault("cluster size and size", "header_cluster_size", "no", both(header_field(28, 0), header_field(36, 3, "<Q"))),
    Fault("table length", "header_table_length", "safe", header_field(32, 3)),
    Fault("huge table", "header_table_length", "safe", header_field(32, 0xFFFFFFFF)),
    Fault("guest size", "header_size", "safe", header_field(36, 99999)),
    Fault("guest size 0", "header_size", "safe", header_field(36, 0)),
    Fault("high half of the guest size", "header_size_high", "safe", header_field(40, 5)),
    Fault("data_off behind clusters", "header_data_off", "safe", header_field(48, 128)),
    Fault("data_off between clusters", "header_data_off", "safe", header_field(48, 70)),
    Fault("data_off beyond the file", "header_data_off", "safe", header_field(48, 0x10000000), layers=(Layer(TOP),)),
    Fault("data_off 0 in version 2", "header_data_off", "safe", header_field(48, 0), options={"version": 2}),
    Fault("said to be empty", "flag_empty", "safe", header_field(52, 1)),
    Fault("left by QEMU 7.2", "extension_stale", "safe", left_by_qemu),
    Fault(
        "an extension that was closed away",
        "extension_stale",
        "safe",
        lambda built: with_extension(built, signature=bytes(4)),
    ),
    Fault("an extension in use", "extension_stale", "safe", lambda built: with_extension(built, signature=b"Ynot")),
    Fault("a damaged extension", "extension_damaged", "safe", lambda built: with_extension(built, damage=b"x")),
    Fault(
        "an extension over data",
        "extension_overlaps",
        "safe",
        lambda built: with_extension(built, over=True),
        keeps=False,
    ),
    Fault("an unknown necessary feature", "extension_unknown", "no", lambda built: unknown_feature(built)),
)

TABLE_FAULTS = (
    Fault("entry into the header", "entry_low", "lossy", entry(5, lambda path: 1), keeps=False),
    Fault("entry behind the file", "entry_out_of_file", "lossy", entry(4, lambda path: end_units(path))),
    Fault("entry far behind the file", "entry_out_of_file", "lossy", entry(4, lambda path: 0xFFFFFFF0 // 64 * 64)),
    Fault(
        "entry far behind the file, version 2",
        "entry_out_of_file",
        "lossy",
        entry(4, lambda path: 0xFFFFFFFF),
        options={"version": 2},
    ),
    Fault("a cut cluster", "entry_cut", "lossy", cut(1000), keeps=False),
    Fault("entry off the grid", "entry_off_grid", "lossy", entry(4, lambda path: entry_of(path, 0) + 7), keeps=False),
    Fault("twins", "entry_duplicate", "lossy", entry(4, lambda path: entry_of(path, 1)), keeps=False),
    Fault(
        "twins in version 2",
        "entry_duplicate",
        "lossy",
        entry(4, lambda path: entry_of(path, 1)),
        keeps=False,
        options={"version": 2},
    ),
    Fault(
        "twins in a chain",
        "entry_duplicate",
        "lossy",
        entry(3, lambda path: entry_of(path, 2)),
        keeps=False,
        layers=tuple(CHAIN),
    ),
    Fault(
        "many twins",
        "entry_duplicate",
        "lossy",
        both(*(entry(index, lambda path: entry_of(path, 0)) for index in range(1, 8))),
        keeps=False,
    ),
    Fault(
        "a run of twins",
        "entry_duplicate",
        "lossy",
        both(entry(6, lambda path: entry_of(path, 0)), entry(7, lambda path: entry_of(path, 1))),
        keeps=False,
    ),
    Fault(
        "twins, and an entry to where the copy goes",
        "entry_duplicate",
        "lossy",
        both(entry(4, lambda path: entry_of(path, 1)), entry(6, end_units)),
        keeps=False,
    ),
    Fault("entries behind the disk", "entry_surplus", "lossy", lambda built: surplus(built)),
    Fault("a leak at the end", "leak_tail", "safe", cut(-3 * CLUSTER)),
    Fault("a ragged leak", "leak_tail", "safe", cut(-1000)),
    Fault("a leak inside", "leak_inside", "no", entry(1, lambda path: 0), keeps=False),
    Fault("a short last cluster", "tail_unaligned", "safe", lambda built: short_end(built), keeps=False),
    Fault(
        "a short plain image",
        "plain_size",
        "no",
        lambda built: os.truncate(top_of(built), SECTORS * 512 - 1024),
        layers=(Layer(TOP, type="Plain"),),
    ),
)

NAMES = "vdisk-snapshots.json"
VM_FAULTS = (
    Fault(
        "names that are no JSON", "names_unreadable", "no", lambda built: put_new(f"{built.directory}/{NAMES}", b"{")
    ),
    Fault(
        "a name without its snapshot",
        "name_without_snapshot",
        "no",
        lambda built: put_new(
            f"{built.directory}/{NAMES}",
            b'{"version": 1, "snapshots": {"%s": {"name": "gone"}}}' % guid_of(99).encode(),
        ),
    ),
    Fault(
        "a config that is no XML",
        "vm_unclear",
        "no",
        lambda built: put_new(os.path.join(os.path.dirname(built.directory), "config.pvs"), b"<"),
    ),
    Fault(
        "a machine with another disk",
        "vm_disk_not_named",
        "no",
        lambda built: make_machine(os.path.dirname(built.directory), disk="other.hdd"),
    ),
    Fault("another size in the machine", "vm_size", "safe", in_machine(size_mib=9)),
    Fault("another type in the machine", "vm_disk_type", "safe", in_machine(kind=0)),
    Fault("a suspended machine", "vm_suspended", "no", suspend),
    Fault(
        "a snapshot of the machine alone", "vm_snapshot_without_layer", "no", in_machine(snapshots={guid_of(9): "nine"})
    ),
    Fault(
        "a layer of the disk alone",
        "layer_without_vm_snapshot",
        "no",
        in_machine(snapshots={guid_of(1): "one"}),
        layers=tuple(CHAIN),
    ),
)

FAULTS = DESCRIPTOR_FAULTS + TREE_FAULTS + FILE_FAULTS + HEADER_FAULTS + TABLE_FAULTS + VM_FAULTS


def put_new(path: str, content: bytes) -> None:
    """Write a file."""
    with open(path, "wb") as stream:
        stream.write(content)


def resized(built: BuiltBundle) -> None:
    """The image is a sound one of half the size."""
    build_hds(top_of(built), size_sectors=SECTORS // 2, clusters=held(0), cluster_sectors=CLUSTER_SECTORS)


def mixed(built: BuiltBundle) -> None:
    """The image of the top has clusters of another size."""
    build_hds(top_of(built), size_sectors=SECTORS, clusters={}, cluster_sectors=CLUSTER_SECTORS * 2)


def unknown_feature(built: BuiltBundle) -> None:
    """The extension holds a feature that nobody knows and that is necessary."""
    path = top_of(built)
    end = os.path.getsize(path)
    put(path, end, pack_extension([(0x1234, 1, b"12345678")], cluster_bytes=CLUSTER))
    put(path, 44, b"v2.1")
    put(path, 56, struct.pack("<Q", end // 512))


def surplus(built: BuiltBundle) -> None:
    """The table is longer than the disk needs, and its end is not empty."""
    put(top_of(built), 32, struct.pack("<I", CLUSTERS + 4))
    put(top_of(built), 64 + 4 * CLUSTERS, b"\1\2\3\4" * 4)


def short_end(built: BuiltBundle) -> None:
    """The last cluster of the disk is in the file as far as the guest sees it."""
    size = SECTORS - 60
    build_hds(top_of(built), size_sectors=size, clusters=held(0, CLUSTERS - 1), cluster_sectors=CLUSTER_SECTORS)
    os.truncate(top_of(built), os.path.getsize(top_of(built)) - 60 * 512)
    text(r"<Disk_size>\d+", f"<Disk_size>{size}")(built)
    text(r"<End>\d+", f"<End>{size}")(built)


def codes_of(findings: List[Dict[str, Any]]) -> List[str]:
    """The codes among results."""
    return [one["code"] for one in findings]


MIB_WRITES = ("write -P 0x5a 0 32K", "write -P 0x11 200K 8K")
"""What a guest may have written, for qemu-io."""
