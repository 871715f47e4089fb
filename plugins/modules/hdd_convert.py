#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_convert
short_description: Convert virtual disks between Parallels and raw, qcow2, VMDK, VHD, VHDX and VDI
description:
  - Writes the guest disk of a source, as it is now or was at a snapshot, into a new image of any of these formats. All
    layers are flattened into one, or each becomes a layer of the output.
  - Holes and zeros of the source are skipped, so the cost follows the data and not the size of the disk.
  - The output is built under a temporary name beside its place, synced, read back and compared, and only then gets its
    name. What lay there before is replaced in the same step. A run that is cut off leaves nothing under the final name;
    the next run clears up.
  - The source is never changed.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - ansible.builtin.files
requirements:
  - python >= 3.8
  - lxml >= 4.6
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - With O(update=always) the output is written anew each time.
options:
  src:
    description:
      - The disk to read, in any form that M(vdisk.parallels.hdd_info) accepts as a disk, or a raw, qcow2, VMDK, VHD,
        VHDX or VDI image.
    type: path
    required: true
  dest:
    description:
      - The image to write. A bundle is a directory whose name ends in C(.hdd). Other files that the output consists of
        lie beside it.
    type: path
    required: true
  src_format:
    description:
      - What the source is. With V(auto), a file is taken for raw only when it looks like no other format.
    type: str
    choices: [auto, hdd, raw, qcow2, vmdk, vhd, vhdx, vdi]
    default: auto
  dest_format:
    description:
      - What to write. When left out, the end of O(dest) tells, C(.hdd) for a bundle, C(.raw), C(.img), C(.dd) or
        C(.bin) for a raw image, and C(.qcow2), C(.vmdk), C(.vhd), C(.vhdx) or C(.vdi).
    type: str
    choices: [hdd, raw, qcow2, vmdk, vhd, vhdx, vdi]
  subformat:
    description:
      - The kind of image. A bundle is V(expanding) or V(plain), VHD and VHDX are V(dynamic), V(fixed) or
        V(differencing), VDI is V(dynamic) or V(fixed), and the others are kinds of VMDK. The first one named for a
        format is what it is when this is left out, and V(monolithicSparse) for VMDK.
      - V(differencing) needs O(chain=preserve); the lowest layer is then dynamic.
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
  chain:
    description:
      - With V(flatten) the output holds the whole disk. With V(preserve) each layer of the source, down from
        O(snapshot) or the current state, becomes one of the output with exactly its own data, as qcow2 overlays,
        differencing VHD or VHDX disks, VMDK deltas, or snapshots of a bundle.
      - The layers below O(dest) lie beside it and are called after it, C(disk.layer0.qcow2) the lowest below
        C(disk.qcow2).
    type: str
    choices: [flatten, preserve]
    default: flatten
  backing:
    description:
      - Read an image of another product that lies on other images together with them. Only files in the directory of
        O(src) and below are opened, only those whose format is recorded, and never in a circle. Otherwise such a source
        is refused.
    type: bool
    default: false
  snapshot:
    description:
      - Name or GUID of the snapshot to read. When left out, the current state is read.
    type: str
  cluster_size:
    description:
      - The allocation unit, a power of two. An expanding bundle takes V(32K) to V(64M) (1 MiB when left out), qcow2
        V(512) to V(2M) (64 KiB), a sparse VMDK V(8K) to V(64K) (64 KiB), a dynamic VHD V(512K) to V(256M) (2 MiB), and
        VHDX V(1M) to V(256M).
    type: str
  format_version:
    description:
      - The format version. For an expanding bundle, V(auto) is 1 up to 2 TiB, else 2; for qcow2 it is 3, and V(2) suits
        old readers.
    type: str
    choices: [auto, "1", "2", "3"]
    default: auto
  compression:
    description:
      - Compress the data of a qcow2 image. What does not get smaller is stored as it is. Streams of VMDK are always
        compressed by zlib.
      - V(zstd) needs Python 3.14 or the Python package zstandard on the node.
    type: str
    choices: [none, zlib, zstd]
    default: none
  compression_level:
    description:
      - How hard to try, V(1) to V(9) for zlib and to V(19) for zstd. What suits most data when left out.
    type: int
  adapter_type:
    description:
      - The disk controller that a VMDK image is made for, V(lsilogic) when left out.
    type: str
    choices: [ide, buslogic, lsilogic, legacyESX]
  azure:
    description:
      - Write a VHD that Azure takes, fixed and a whole number of mebibytes long. Sets O(subformat=fixed) and
        O(align=1M).
    type: bool
    default: false
  split_size:
    description:
      - Split the bundle into files of at most this size, by the rule of M(vdisk.parallels.hdd). One file when left out.
    type: str
  align:
    description:
      - Round the size of the guest disk up to a multiple of this, a multiple of 512, with a warning. The size is kept
        when left out.
    type: str
  sparse:
    description:
      - Leave zeros out, as holes of the file or as clusters that are not allocated. When V(false), zeros are written
        like data, which streams of VMDK and O(chain=preserve) never do.
      - On file systems that share blocks (XFS, Btrfs) a raw output, and a Parallels disk with O(reproducible=false),
        get the blocks of the source without anything being read, with O(chain=preserve) layer by layer, unless
        O(checksum) asks for the content. Zeros that the source stores as data are shared with it, too, and what is
        shared is the same and need not be read for O(verify).
      - On macOS (APFS), which clones whole files only, that holds where each file of the output is, byte for byte, one
        of the source, as when raw images and plain disks become raw ones.
    type: bool
    default: true
  preallocate:
    description:
      - Reserve the host's blocks of the whole output. An existing output that is good otherwise is kept as it is.
    type: bool
    default: false
  name:
    description:
      - The name in the descriptor of a new bundle. Like its directory without C(.hdd) when left out.
    type: str
  update:
    description:
      - When an existing output is good. With V(content), it must have the same guest content and the same shape; with
        V(missing), it must only exist; with V(always), it is never good.
    type: str
    choices: [content, missing, always]
    default: content
  verify:
    description:
      - Read the finished output back and compare it with the source before it gets its name.
    type: bool
    default: true
  checksum:
    description:
      - Compute this checksum of each finished image file.
    type: str
    choices: [none, md5, sha1, sha256, sha512]
    default: none
  checksum_file:
    description:
      - Write the checksums into this file, in the form that C(sha256sum -c) reads, with file names relative to it where
        they lie beside it. A file that holds anything else than checksums is never replaced.
      - Requires O(checksum).
    type: path
  reproducible:
    description:
      - The same guest content, options and name give the same bytes, all identifiers included, and times in the output
        are 1970 or what the environment variable E(SOURCE_DATE_EPOCH) says. When V(false), identifiers are drawn and
        the time is now.
    type: bool
    default: true
  allow_outside:
    description:
      - Follow images that the source's descriptor names outside of the bundle, as linked clones do. They are only ever
        read.
    type: bool
    default: false
  force:
    description:
      - Replace an output that has snapshots or lies on other images, is damaged or carries the in-use mark. One that
        another process is seen to hold is refused all the same.
    type: bool
    default: false
seealso:
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

- name: Move the disk to KVM with its snapshots, each as an overlay
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac-chain.qcow2
    chain: preserve

- name: Make a small qcow2 image for download
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac.qcow2
    compression: zlib

- name: Make an image for ESXi and OVA packages
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac.vmdk
    subformat: streamOptimized

- name: Make an image that Azure takes
  vdisk.parallels.hdd_convert:
    src: /vms/mac.pvm/mac.hdd
    dest: /export/mac.vhd
    azure: true

- name: Make a Parallels disk of a cloud image
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
      description: Its checksum; null when none was asked for, and in check mode when it would be written.
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
  returned: when O(checksum) asks for it, the output is one file, and it is known
  type: str
verified:
  description: Whether the output was compared with the source in this run, by reading it back or to see that it is
    good.
  returned: success
  type: bool
  sample: true
rate:
  description: Bytes of guest data written in a second.
  returned: when something was written
  type: int
  sample: 1073741824
bytes_read:
  description: Bytes of guest data read for writing.
  returned: success
  type: int
  sample: 1073741824
bytes_written:
  description: Bytes of guest data written.
  returned: success
  type: int
  sample: 1073741824
elapsed:
  description: Seconds that the change took.
  returned: success
  type: float
  sample: 1.2
disk:
  description: The facts of the output when it is a bundle, as RV(vdisk.parallels.hdd_info#module:disks) describes them.
  returned: when the output is a bundle
  type: dict
"""

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.convert import convert_disk

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
]


def main():
    spec = dict(
        src=dict(type="path", required=True),
        dest=dict(type="path", required=True),
        src_format=dict(type="str", choices=["auto", *FORMATS], default="auto"),
        dest_format=dict(type="str", choices=FORMATS),
        subformat=dict(type="str", choices=SUBFORMATS),
        chain=dict(type="str", choices=["flatten", "preserve"], default="flatten"),
        backing=dict(type="bool", default=False),
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
        checksum=dict(type="str", choices=["none", "md5", "sha1", "sha256", "sha512"], default="none"),
        checksum_file=dict(type="path"),
        reproducible=dict(type="bool", default=True),
        allow_outside=dict(type="bool", default=False),
        force=dict(type="bool", default=False),
    )
    run_module(spec, convert_disk, add_file_common_args=True)


if __name__ == "__main__":
    main()
