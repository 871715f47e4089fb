#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_convert
short_description: Convert between Parallels virtual disks and raw images
description:
  - Writes the guest disk of a source, as it is now or was at a snapshot, into a new image. All layers are flattened into one.
  - Holes and zeros of the source are skipped, so the cost follows the data and not the size of the disk.
  - The output is built under a temporary name beside its place, synced, read back and compared, and only then gets its name. What lay
    there before is replaced in the same step. A run that is cut off leaves nothing under the final name; the next run clears up.
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
      - The disk to read, in any form that M(vdisk.parallels.hdd_info) accepts as a disk, or a raw image.
    type: path
    required: true
  dest:
    description:
      - The image to write. A bundle is a directory whose name ends in C(.hdd).
    type: path
    required: true
  src_format:
    description:
      - What the source is. With V(auto), a file is taken for raw only when it looks like no other format.
    type: str
    choices: [auto, hdd, raw]
    default: auto
  dest_format:
    description:
      - What to write. When left out, the end of O(dest) tells, C(.hdd) for a bundle, C(.raw), C(.img), C(.dd) or C(.bin) for a raw image.
    type: str
    choices: [hdd, raw]
  subformat:
    description:
      - The kind of bundle, V(expanding) when left out. Only for O(dest_format=hdd).
    type: str
    choices: [expanding, plain]
  snapshot:
    description:
      - Name or GUID of the snapshot to read. When left out, the current state is read.
    type: str
  cluster_size:
    description:
      - The allocation unit of an expanding bundle, a power of two from V(32K) to V(64M). 1 MiB when left out.
    type: str
  format_version:
    description:
      - The format version of an expanding bundle. With V(auto), 1 up to 2 TiB, else 2.
    type: str
    choices: [auto, "1", "2"]
    default: auto
  split_size:
    description:
      - Split the bundle into files of at most this size, by the rule of M(vdisk.parallels.hdd). One file when left out.
    type: str
  align:
    description:
      - Round the size of the guest disk up to a multiple of this, a multiple of 512, with a warning. The size is kept when left out.
    type: str
  sparse:
    description:
      - Leave zeros out, as holes of the file or as clusters that are not allocated. When V(false), zeros are written like data.
    type: bool
    default: true
  preallocate:
    description:
      - Reserve the host's blocks of the whole output.
    type: bool
    default: false
  name:
    description:
      - The name in the descriptor of a new bundle. Like its directory without C(.hdd) when left out.
    type: str
  update:
    description:
      - When an existing output is good. With V(content), it must have the same guest content and the same shape; with V(missing), it must
        only exist; with V(always), it is never good.
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
      - Write the checksums into this file, in the form that C(sha256sum -c) reads, with file names relative to it where they lie beside it.
      - Requires O(checksum).
    type: path
  reproducible:
    description:
      - The same guest content and options give the same bytes, the identity of a new bundle included. When V(false), the identity is drawn.
    type: bool
    default: true
  allow_outside:
    description:
      - Follow images that the source's descriptor names outside of the bundle, as linked clones do. They are only ever read.
    type: bool
    default: false
  force:
    description:
      - Replace an output that has snapshots, is damaged or carries the in-use mark. One that another process is seen to hold is refused all the same.
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
  description: Whether the output was compared with the source in this run, by reading it back or to see that it is good.
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

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.convert import convert_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module


def main():
    spec = dict(
        src=dict(type="path", required=True),
        dest=dict(type="path", required=True),
        src_format=dict(type="str", choices=["auto", "hdd", "raw"], default="auto"),
        dest_format=dict(type="str", choices=["hdd", "raw"]),
        subformat=dict(type="str", choices=["expanding", "plain"]),
        snapshot=dict(type="str"),
        cluster_size=dict(type="str"),
        format_version=dict(type="str", choices=["auto", "1", "2"], default="auto"),
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
