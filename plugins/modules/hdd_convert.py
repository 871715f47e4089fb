#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_convert
short_description: Convert virtual disks between Parallels and raw, qcow2, VMDK, VHD, VHDX and VDI
description:
  - Writes the guest disk of a source, in its current state or at a snapshot, to a new image in any of these formats.
    All layers are flattened into one, or each becomes a layer of the output.
  - Holes and zeros of the source are skipped, so the time depends on the data and not on the size of the disk.
  - The output is built under a temporary name in the same directory, synced (unless O(durable=false)), read back and
    compared, and only then gets its name. An existing output is replaced in the same step. An interrupted run leaves no
    half-made output under the final name; the next run cleans up.
  - The source is never changed.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._bundle.needs
  - ansible.builtin.files
  - vdisk.parallels._group.recurse
  - vdisk.parallels._group.scan
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - With O(update=always) the output is written each time.
options:
  src:
    description:
      - The disk to read, in any form that M(vdisk.parallels.hdd_info) accepts as a disk, or a raw, qcow2, VMDK, VHD,
        VHDX or VDI image.
      - Also a virtual machine (C(.pvm), C(.macvm)), an appliance (OVA, or OVF with its files beside it) or a Vagrant
        box of any provider. They are read in place, without unpacking. What the manifest of an appliance says of the
        description and the disk is checked.
      - Also a block device (Linux), which must not be mounted.
    type: path
    required: true
  src_disk:
    description:
      - Which disk of O(src) to read when it holds several. A disk of an appliance is named by its id or its file, one
        of a machine or a box by its file, and any by its number, beginning with V(0).
      - When left out, O(src) must hold one disk.
    type: str
  dest:
    description:
      - The image to write. A bundle is a directory whose name ends in C(.hdd). When the output consists of several
        files, the others are in the same directory.
    type: path
    required: true
  src_format:
    description:
      - The format of the source. With V(auto), a file is read as raw only when it does not look like any other format.
    type: str
    choices: [auto, hdd, raw, qcow2, vmdk, vhd, vhdx, vdi]
    default: auto
  dest_format:
    description:
      - The format of the output. When left out, it follows from the suffix of O(dest), C(.hdd) for a bundle, C(.raw),
        C(.img), C(.dd) or C(.bin) for a raw image, and C(.qcow2), C(.vmdk), C(.vhd), C(.vhdx) or C(.vdi).
    type: str
    choices: [hdd, raw, qcow2, vmdk, vhd, vhdx, vdi]
  subformat:
    description:
      - The kind of image. A bundle is V(expanding) or V(plain), VHD and VHDX are V(dynamic), V(fixed) or
        V(differencing), VDI is V(dynamic) or V(fixed), and the others are kinds of VMDK. When left out, it is the first
        one named here for the format, and V(monolithicSparse) for VMDK.
      - V(differencing) needs O(chain=preserve); the lowest layer is dynamic.
      - V(view) is a VMDK without data. Its text says where in the files of O(src) each part of the disk is, so that
        C(qemu-img) and C(qemu-system -snapshot) read it in place. It is for reading only, and holds for as long as
        these files stay where and as they are. A file that is one hole goes with it, for the parts that have no data.
        A disk in more than 1000 pieces is refused. This collection itself does not read such a text, since it points
        out of its directory. Options that shape data are refused with it, and O(verify) has nothing to compare.
    type: str
    choices:
      - expanding
      - plain
      - dynamic
      - fixed
      - differencing
      - monolithicSparse
      - streamOptimized
      - monolithicFlat
      - twoGbMaxExtentSparse
      - twoGbMaxExtentFlat
      - view
  chain:
    description:
      - With V(flatten), the output is one image with the whole disk. With V(preserve), each layer of the source, from
        O(snapshot) or the current state down, becomes a layer of the output with exactly its own data. These are qcow2
        overlays, differencing VHD or VHDX disks, VMDK deltas, or snapshots of a bundle.
      - The layers below O(dest) are files in the same directory, named after it; for C(disk.qcow2) the lowest is
        C(disk.layer0.qcow2).
    type: str
    choices: [flatten, preserve]
    default: flatten
  backing:
    description:
      - Read an image of another product together with its backing chain. Only files in the directory of O(src) or below
        it are opened, and never in a circle. When V(false), an image with a backing file is refused.
      - A file that is not where the overlay says is also looked for by its bare name beside the overlay. Images of
        VirtualBox find their parent by its UUID, also in the folder above C(Snapshots).
    type: bool
    default: false
  backing_paths:
    description:
      - More folders, with all below them, in which files may be that an image of another product names, such as images
        of its backing chain (with O(backing=true)), extents of a VMDK or the data file of a qcow2 image. None when left
        out.
    type: list
    elements: path
    default: []
  backing_format:
    description:
      - The format of the image below an overlay that does not record it. Such an overlay is refused when this is left
        out; a format is never guessed. What an overlay records counts more than this.
      - Requires O(backing=true).
    type: str
    choices: [raw, qcow2, vmdk, vhd, vhdx, vdi]
  join_pieces:
    description:
      - Read a raw image that was cut by size, such as C(disk.000), C(disk.001) and so on, as one disk. O(src) is the
        first piece. Refused unless all pieces but the last have the same length and no number is missing.
    type: bool
    default: false
  snapshot:
    description:
      - Name or GUID of the snapshot to read. When left out, the current state is read.
      - For a qcow2 source, the name or the id of an internal snapshot. With O(chain=preserve), it and the older ones
        become layers.
    type: str
  cluster_size:
    description:
      - The allocation unit, a power of two. An expanding bundle takes V(32K) to V(64M) (1 MiB when left out), qcow2
        V(512) to V(2M) (64 KiB), a sparse VMDK V(8K) to V(64K) (64 KiB), a dynamic VHD V(512K) to V(256M) (2 MiB), and
        VHDX V(1M) to V(256M).
    type: str
  format_version:
    description:
      - The format version. For an expanding bundle, V(auto) is 1 up to 2 TiB, else 2. For qcow2 it is 3; V(2) is for
        old readers.
    type: str
    choices: [auto, "1", "2", "3"]
    default: auto
  compression:
    description:
      - Compress the data of a qcow2 image. Data that does not get smaller is stored uncompressed. VMDK with
        O(subformat=streamOptimized) is always compressed with zlib.
      - V(zstd) needs Python 3.14 or the Python package zstandard on the node.
    type: str
    choices: [none, zlib, zstd]
    default: none
  compression_level:
    description:
      - The compression level, V(1) to V(9) for zlib and V(1) to V(19) for zstd. When left out, a default that suits
        most data.
    type: int
  adapter_type:
    description:
      - The disk controller in a VMDK descriptor. V(lsilogic) when left out.
    type: str
    choices: [ide, buslogic, lsilogic, legacyESX]
  azure:
    description:
      - Write a VHD that Azure accepts, fixed and a whole number of mebibytes long. Sets O(subformat=fixed) and
        O(align=1M).
    type: bool
    default: false
  split_size:
    description:
      - Split the bundle into files of at most this size, as with M(vdisk.parallels.hdd). One file when left out.
    type: str
  align:
    description:
      - Round the size of the guest disk up to a multiple of this, with a warning. Must be a multiple of 512 bytes. When
        left out, the size is kept.
    type: str
  sparse:
    description:
      - Do not store zeros; they become holes in the file or clusters that are not allocated. When V(false), zeros are
        written like data, except in VMDK streams and with O(chain=preserve).
      - On file systems that share blocks (XFS, Btrfs), a raw output and a Parallels disk with O(reproducible=false)
        share the blocks of the source, and no data are read, unless O(checksum) needs the content. With
        O(chain=preserve) this works layer by layer. Zeros that the source stores as data stay stored. Shared blocks are
        the same blocks, so O(verify) does not read them.
      - On macOS (APFS), only whole files are cloned. There, this works when each file of the output is byte for byte a
        file of the source, for example from a raw image or a plain disk to a raw image.
    type: bool
    default: true
  preallocate:
    description:
      - Reserve blocks on the host for the whole output. An existing output that needs no other change is kept as it is.
    type: bool
    default: false
  name:
    description:
      - The name in the descriptor of a new bundle. When left out, the name of its directory without C(.hdd).
    type: str
  update:
    description:
      - When to keep an existing output. With V(content), when it has the same guest content and the same properties
        (format, kind, size, cluster size and so on). With V(missing), when it exists. With V(always), never.
    type: str
    choices: [content, missing, always]
    default: content
  verify:
    description:
      - Read the finished output back and compare it with the source before it gets its name.
    type: bool
    default: true
  durable:
    description:
      - With V(false), nothing is synced. This is for outputs that are thrown away or uploaded right away. If the power
        fails or the host crashes before the system has written everything, the output may be missing or incomplete;
        remove its files then, since O(update=missing) would keep them. Nothing else is at risk. A task that is
        interrupted is no such case.
      - An output that replaces another one is synced in any case, so that the old one is not lost before the new one is
        on the disk. Remove the old one first where that takes too long.
      - With V(true), the output is on the disk when the task ends.
    type: bool
    default: true
  free_space:
    description:
      - With V(drop), deleted files are not copied and cannot be recovered from the output. Bytes that are certainly
        free in the file systems of the guest read as zeros in the output, and take no space where O(sparse) allows it.
        The source keeps them. When left out, every byte is copied.
      - The file systems and what is refused are in the guide "Give back what the guest has deleted". Of a file system
        that is not recognised, not cleanly unmounted, damaged, encrypted or a member of a RAID, everything is copied;
        RV(filesystems) says why.
      - With O(chain=preserve), a layer leaves out what is free in every snapshot that reads it. In such a snapshot the
        bytes read as zeros, or as what a lower layer has there.
      - With O(update=content), O(verify) and O(reproducible), the content of the source is the one without the free
        bytes.
    type: str
    choices: [keep, drop]
    default: keep
  swap:
    description:
      - With V(drop), the pages of Linux swap areas are left out as well, and read as zeros in the output. They are
        worth nothing once the guest is shut down; the area itself stays. Needs O(free_space=drop). Of a guest that is
        hibernated into its swap, everything is copied. When left out, pages are copied.
    type: str
    choices: [keep, drop]
    default: keep
  checksum:
    description:
      - Compute this checksum of each finished image file.
    type: str
    choices: [none, md5, sha1, sha256, sha512]
    default: none
  checksum_file:
    description:
      - Write the checksums to this file, in the form that C(sha256sum -c) reads. Files in the same directory are listed
        by name alone. An existing file that holds anything other than checksums is never replaced.
      - Requires O(checksum).
    type: path
  reproducible:
    description:
      - The same guest content, options and name give the same bytes, identifiers included; times in the output are 1970
        or the value of the environment variable E(SOURCE_DATE_EPOCH). When V(false), identifiers are random and times
        are the current time.
    type: bool
    default: true
  allow_outside:
    description:
      - Follow images outside the bundle that the descriptor of the source names, as in linked clones. They are only
        read.
    type: bool
    default: false
  force:
    description:
      - Replace an output that has snapshots or a backing chain, is damaged, or is marked as in use; and a file of
        another format that is in the place of a raw image. An output that another process holds is still refused, and
        so is one inside a bundle.
    type: bool
    default: false
  mode:
    description:
      - The permissions of the output. A new file has them, or fewer, from its first byte on.
      - When left out, a new output is no more open than its source. Nobody may read it whom a file of the source keeps
        out. One that replaces a file keeps the permissions of that file.
seealso:
  - module: vdisk.parallels.hdd_nbd
  - module: vdisk.parallels.hdd
  - module: vdisk.parallels.hdd_info
"""

EXAMPLES = r"""
---
- name: Export the current state of a disk as a raw image with a checksum
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac.raw
    checksum: sha256
    checksum_file: /export/mac.raw.sha256

- name: Export the disk as it was before the upgrade
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/before.raw
    snapshot: before-upgrade

- name: Export what the guest uses, without its deleted files
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac-small.qcow2
    free_space: drop

- name: Move the disk to KVM with its snapshots, each as an overlay
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac-chain.qcow2
    chain: preserve

- name: Make a compressed qcow2 image for download
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac.qcow2
    compression: zlib

- name: Make an image for ESXi and OVA packages
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac.vmdk
    subformat: streamOptimized

- name: Make an image for Azure
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac.vhd
    azure: true

- name: Export a disk that is uploaded and then removed
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/upload.raw
    durable: false

- name: Make a Parallels disk from a cloud image
  vdisk.parallels.hdd_convert:
    src: /images/almalinux.raw
    dest: /vms/almalinux.hdd
"""

RETURN = r"""
dest:
  description: The output.
  returned: success
  type: str
  sample: /export/mac.raw
files:
  description: The image files of the output.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
      returned: success
    size:
      description: Its length in bytes.
      type: int
      returned: success
    checksum:
      description: Its checksum; null without O(checksum), and in check mode when the file would be written.
      type: str
      returned: success
reason:
  description: Why the output was written or kept.
  returned: success
  type: str
  sample: "kept: shape and content are the same"
virtual_size:
  description: The size of the guest disk in the output, in bytes.
  returned: success
  type: int
  sample: 68719476736
dest_size:
  description: The length of all image files of the output, in bytes.
  returned: success
  type: int
  sample: 68719476736
checksum:
  description: The checksum of the output when it is one file.
  returned: when O(checksum) is set, the output is one file, and the checksum is known
  type: str
verified:
  description: Whether the output was compared with the source in this run, after writing it or to decide whether to
    keep it.
  returned: success
  type: bool
  sample: true
filesystems:
  description:
    - The file systems of the guest, in the order of the disk, and what of them was left out.
    - Sizes are in bytes, as in the view of O(snapshot).
  returned: when O(free_space=drop) and the source was looked at; it is not when O(update=missing) keeps the output
  type: list
  elements: dict
  contains:
    partition:
      description: The number of the partition; null when the whole disk is one file system.
      type: int
      returned: success
    offset:
      description: Where it begins in the guest disk.
      type: int
      returned: success
    type:
      description: The file system or container, such as ext4, xfs, btrfs, ntfs, fat32, exfat, hfsplus, apfs, swap, lvm2
        or luks; null when none is recognised.
      type: str
      returned: success
    label:
      description: Its label, null without one; of LVM2 the volume group, and of a logical volume without a label its
        group and name.
      type: str
      returned: success
    size:
      description: How large it is.
      type: int
      returned: success
    used:
      description: How much of it is in use; null when that is not certain.
      type: int
      returned: success
    free:
      description: How much of it is free; null when that is not certain.
      type: int
      returned: success
    droppable:
      description: How much of what is free the source stores. This is what the output does not have.
      type: int
      returned: success
    certain:
      description: Whether it is certain what is free.
      type: bool
      returned: success
    reason:
      description: Why not, as one of the codes in the guide "Give back what the guest has deleted"; else null.
      type: str
      returned: success
  sample:
    - partition: 1
      offset: 1048576
      type: ext4
      label: root
      size: 68717379584
      used: 9663676416
      free: 59053703168
      droppable: 34359738368
      certain: true
      reason: null
rate:
  description: Bytes of guest data written per second.
  returned: when something was written
  type: int
  sample: 1073741824
bytes_read:
  description: Bytes of guest data read to write the output and, with O(free_space=drop), to find what is free.
  returned: success
  type: int
  sample: 1073741824
bytes_written:
  description: Bytes of guest data written.
  returned: success
  type: int
  sample: 1073741824
commits:
  description:
    - The step that makes the output take its name, in words. Until that step every reader sees what was there before;
      after it only what is no longer needed is removed.
    - Empty when nothing is written.
  returned: success
  type: list
  elements: str
  sample: ["rename to /export/mac.qcow2"]
elapsed:
  description: Seconds that the change took.
  returned: success
  type: float
  sample: 1.2
disk:
  description: The facts of the output when it is a bundle, as in RV(vdisk.parallels.hdd_info#module:disks).
  returned: when the output is a bundle
  type: dict
error_code:
  description:
    - What kind of failure it is, for programs. A code never changes its meaning. What to do about each is in R(the
      guide to codes,ansible_collections.vdisk.parallels.docsite.codes).
    - The codes are V(bad_request), V(damaged), V(dirty), V(encrypted), V(escape), V(exists), V(has_snapshots),
      V(in_use), V(interrupted), V(io_error), V(misfit), V(missing_image), V(missing_library), V(no_space),
      V(no_such_snapshot), V(not_a_bundle), V(not_a_whole_disk), V(not_found), V(permission), V(read_only),
      V(shared_layer), V(stale_plan), V(suspended), V(unsupported) and V(verify_failed).
  returned: failure
  type: str
  sample: in_use
error_context:
  description: Where it happened and what was there, with C(path), C(offset) in bytes, C(expected) and C(found), as far
    as they are known.
  returned: failure
  type: dict
  sample: {path: /vms/mac.pvm/mac.hdd, found: prl_vm_app (4711)}
"""

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.convert import convert_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import idle_spec

FORMATS = ["hdd", "raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"]
SUBFORMATS = [
    "expanding",
    "plain",
    "dynamic",
    "fixed",
    "differencing",
    "monolithicSparse",
    "streamOptimized",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "twoGbMaxExtentFlat",
    "view",
]


def main():
    spec = dict(
        **idle_spec("recurse", "scan"),
        src=dict(type="path", required=True),
        src_disk=dict(type="str"),
        dest=dict(type="path", required=True),
        src_format=dict(type="str", choices=["auto", *FORMATS], default="auto"),
        dest_format=dict(type="str", choices=FORMATS),
        subformat=dict(type="str", choices=SUBFORMATS),
        chain=dict(type="str", choices=["flatten", "preserve"], default="flatten"),
        backing=dict(type="bool", default=False),
        backing_paths=dict(type="list", elements="path", default=[]),
        backing_format=dict(type="str", choices=FORMATS[1:]),
        join_pieces=dict(type="bool", default=False),
        snapshot=dict(type="str"),
        cluster_size=dict(type="str"),
        format_version=dict(type="str", choices=["auto", "1", "2", "3"], default="auto"),
        compression=dict(type="str", choices=["none", "zlib", "zstd"], default="none"),
        compression_level=dict(type="int"),
        adapter_type=dict(type="str", choices=["ide", "buslogic", "lsilogic", "legacyESX"]),
        azure=dict(type="bool", default=False),
        split_size=dict(type="str"),
        align=dict(type="str"),
        sparse=dict(type="bool", default=True),
        preallocate=dict(type="bool", default=False),
        name=dict(type="str"),
        update=dict(type="str", choices=["content", "missing", "always"], default="content"),
        verify=dict(type="bool", default=True),
        durable=dict(type="bool", default=True),
        free_space=dict(type="str", choices=["keep", "drop"], default="keep"),
        swap=dict(type="str", choices=["keep", "drop"], default="keep"),
        checksum=dict(type="str", choices=["none", "md5", "sha1", "sha256", "sha512"], default="none"),
        checksum_file=dict(type="path"),
        reproducible=dict(type="bool", default=True),
        allow_outside=dict(type="bool", default=False),
        force=dict(type="bool", default=False),
    )
    run_module(spec, convert_disk, add_file_common_args=True)


if __name__ == "__main__":
    main()
