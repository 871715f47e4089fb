#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd
short_description: Create, resize, convert and remove Parallels virtual disks
description:
  - Makes sure that a virtual disk exists as described, or is gone.
  - What is written is what Parallels Desktop writes, so that Desktop, Virtuozzo, ploop, QEMU, libphdi and dissect can
    all open it.
  - A new disk is built under a temporary name beside its place and gets its name when it is complete and on the medium.
    A run that is cut off leaves no half disk; the next run clears what was left.
  - An existing disk is compared with what the task asks for, and changed where it differs. Only the size of its
    clusters is fixed.
  - Growing and shrinking happen in place and move next to no data. For another type, other parts or another format
    version the disk is written anew, inside its bundle, read back, and only then takes the place of the old images;
    that needs the room for it.
  - A change that is cut off leaves the disk as it was or as it shall be; the next run clears up or finishes. When
    several changes are needed, all of them are planned before the first one begins, so that nothing is half done
    because a later one is refused.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._bundle
  - vdisk.parallels._safety
  - ansible.builtin.files
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description:
      - The disk. A new one is a directory whose name ends in C(.hdd).
  state:
    description:
      - With V(present), the disk exists as described afterwards.
      - With V(absent), the disk and its own files are gone. Images outside the bundle stay. A path that is no disk is
        refused, and so is a bundle that holds files which are no part of a disk.
    type: str
    choices: [present, absent]
    default: present
  size:
    description:
      - The size that the guest sees, such as V(64G) or V(512MiB). Rounded up to 1 MiB, with a warning.
      - A larger size than that of an existing disk lets it grow; what it gains reads as zeros. A smaller one needs
        O(shrink).
      - Partitions and file systems of the guest keep their size, but see O(partition_table).
      - When the disk belongs to a virtual machine whose C(config.pvs) says another size, there is a warning; that file
        is not edited.
      - Required to create a disk. When left out for an existing one, its size is not looked at.
    type: str
  type:
    description:
      - An V(expanding) disk takes room as the guest writes, a V(plain) one is the raw bytes.
      - An existing disk of another type is written anew.
      - When left out, a new disk is V(expanding), and the type of an existing one is not looked at.
    type: str
    choices: [expanding, plain]
  split_size:
    description:
      - Split the disk into files of at most this size. By Parallels' rule a part holds 100 MiB less than the limit, on
        the grid of clusters.
      - An existing disk whose parts are others is written anew; with a limit that it does not reach, it becomes one
        file.
      - When left out, a new disk is one file, and an existing one keeps its parts. One that grows gets further parts of
        the same length.
    type: str
  cluster_size:
    description:
      - The allocation unit, a power of two from V(32K) to V(64M). It is fixed when a disk is created; another one for
        an existing disk is refused, and M(vdisk.parallels.hdd_convert) makes a new disk with it.
      - When left out, a new disk has clusters of 1 MiB, the only size that every reader accepts.
    type: str
  format_version:
    description:
      - The version of the image format. With V(auto), a new disk of up to 2 TiB gets version 1, which every reader
        accepts, and a larger one version 2; the version of an existing disk is not looked at.
      - An existing disk of another version is written anew. A disk of version 1 grows beyond 2 TiB only when version
        V(2) is asked for.
    type: str
    choices: [auto, "1", "2"]
    default: auto
  preallocate:
    description:
      - Reserve the host's blocks when the disk is created, for what it gains when it grows, and when it is written
        anew.
      - A disk that needs no change is left as it is.
    type: bool
    default: false
  shrink:
    description:
      - Allow O(size) to be smaller than the disk is.
      - It is refused when anything but zeros lies behind the new end, or a partition reaches there, unless O(force)
        gives that up; and when the disk has snapshots, unless O(snapshots) is V(merge).
    type: bool
    default: false
  snapshots:
    description:
      - What happens when a change of the size, the type, the parts or the format version is needed and the disk has
        snapshots.
      - V(refuse) fails.
      - With V(top_only), the current state alone becomes larger. Snapshots keep their length and show zeros behind it.
        It is for a larger O(size) only.
      - V(merge) gives all snapshots up and keeps the current state. Snapshots that the virtual machine lists are only
        given up with O(force), and branches that do not lead to the current state never.
    type: str
    choices: [refuse, top_only, merge]
    default: refuse
  partition_table:
    description:
      - The last sectors of a disk hold a copy of its GUID partition table. When the end of the disk moves, the copy is
        in the wrong place.
      - With V(fix), it is put at the end of the disk, and the table is made to say so. Partitions stay as they are. A
        disk without a sound GUID partition table is left alone.
      - With V(keep), nothing inside of the guest disk is changed; there is a warning when the size changes.
    type: str
    choices: [keep, fix]
    default: keep
  force:
    description:
      - Go on although an image carries the in-use mark. A disk that another process is seen to hold is refused all the
        same.
      - Give up what O(shrink) would cut off, and the snapshots of the virtual machine that O(snapshots=merge) would
        merge.
  name:
    description:
      - The name that the descriptor gives to the disk. When left out, a new disk is called like its directory without
        C(.hdd).
    type: str
  owner:
    description:
      - Name of the user that should own every file of the bundle and its directory.
  group:
    description:
      - Name of the group that should own every file of the bundle and its directory.
  mode:
    description:
      - The permissions of every file of the bundle; those of its directory are left alone.
seealso:
  - module: vdisk.parallels.hdd_convert
  - module: vdisk.parallels.hdd_info
"""

EXAMPLES = r"""
---
- name: Create an expanding disk
  vdisk.parallels.hdd:
    path: /vms/build.hdd
    size: 64G

- name: Create a split disk for people with file systems of old
  vdisk.parallels.hdd:
    path: /vms/old.hdd
    size: 8G
    split_size: 2G

- name: Create a raw disk whose blocks are reserved
  vdisk.parallels.hdd:
    path: /vms/fast.hdd
    size: 1G
    type: plain
    preallocate: true
    mode: "0640"

- name: Let a disk have 100 GiB, with the partition table in order
  vdisk.parallels.hdd:
    path: /vms/build.hdd
    size: 100G
    partition_table: fix

- name: Let the current state of a disk with snapshots become larger
  vdisk.parallels.hdd:
    path: /vms/build.hdd
    size: 128G
    snapshots: top_only

- name: Turn a disk into raw bytes, without its snapshots
  vdisk.parallels.hdd:
    path: /vms/old.hdd
    type: plain
    snapshots: merge

- name: Make a disk smaller that has nothing but zeros at its end
  vdisk.parallels.hdd:
    path: /vms/build.hdd
    size: 80G
    shrink: true
    partition_table: fix

- name: Remove a disk
  vdisk.parallels.hdd:
    path: /vms/old.hdd
    state: absent
"""

RETURN = r"""
disk:
  description:
    - The facts of the disk afterwards, as RV(vdisk.parallels.hdd_info#module:disks) describes them. Of a disk that is
      gone, only RV(ignore:path) and RV(ignore:exists).
    - In check mode, the UID and the allocated size of a disk that is not created yet are null.
  returned: success
  type: dict
bytes_read:
  description: Bytes of guest data read.
  returned: success
  type: int
  sample: 0
bytes_written:
  description: Bytes of guest data written or moved. A new disk is empty.
  returned: success
  type: int
  sample: 0
commits:
  description:
    - The step of each change that makes it true, in words and in order. Until that step every reader sees the disk as it
      was; after it only what is no longer needed is removed.
    - Empty when nothing changes, and for a change of which every part leaves the same disk.
  returned: success
  type: list
  elements: str
  sample: [rename to /vms/mac.pvm/mac.hdd]
elapsed:
  description: Seconds that the change took.
  returned: success
  type: float
  sample: 0.012
"""

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.hdd import ensure_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import bundle_spec, safety_spec


def main():
    spec = dict(
        **bundle_spec(),
        **safety_spec(),
        state=dict(type="str", choices=["present", "absent"], default="present"),
        size=dict(type="str"),
        type=dict(type="str", choices=["expanding", "plain"]),
        split_size=dict(type="str"),
        cluster_size=dict(type="str"),
        format_version=dict(type="str", choices=["auto", "1", "2"], default="auto"),
        preallocate=dict(type="bool", default=False),
        shrink=dict(type="bool", default=False),
        snapshots=dict(type="str", choices=["refuse", "top_only", "merge"], default="refuse"),
        partition_table=dict(type="str", choices=["keep", "fix"], default="keep"),
        name=dict(type="str"),
    )
    run_module(spec, ensure_disk, add_file_common_args=True)


if __name__ == "__main__":
    main()
