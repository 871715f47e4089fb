#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd
short_description: Create, resize, convert and remove Parallels virtual disks
description:
  - Makes sure that a virtual disk exists as described, or does not exist.
  - New disks look as Parallels Desktop writes them, so that Desktop, Virtuozzo, ploop, QEMU, libphdi and dissect can
    open them.
  - A new disk is built under a temporary name in the same directory and gets its name when it is complete and on the
    medium. An interrupted run leaves no half-made disk under the final name; the next run removes what is left.
  - An existing disk is changed where it differs from what the task asks for. Only its cluster size cannot be changed.
  - Growing and shrinking work in place and move little data. To change the type, the split or the format version, the
    module writes new images inside the bundle and reads them back before they replace the old ones. This needs free
    space for the new images.
  - An interrupted change leaves the disk as it was before or as it is to be after; the next run cleans up or finishes.
    When several changes are needed, all of them are planned before the first one starts, so that nothing is changed
    when one of them is refused.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._bundle
  - vdisk.parallels._safety
  - ansible.builtin.files
  - vdisk.parallels._group.recurse
  - vdisk.parallels._group.scan
  - vdisk.parallels._group.swap
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
      - The disk. The name of a new one must end in C(.hdd); it is a directory.
  state:
    description:
      - With V(present), the disk exists as described.
      - With V(absent), the disk and its files are removed. Images outside the bundle stay. A path that is not a disk is
        refused, and so is a bundle with files that are not part of a disk.
    type: str
    choices: [present, absent]
    default: present
  size:
    description:
      - The size of the guest disk, such as V(64G) or V(512MiB). It is rounded up to 1 MiB, with a warning.
      - A larger size grows an existing disk; the new space reads as zeros. A smaller size needs O(shrink).
      - Partitions and file systems of the guest keep their size; see also O(partition_table).
      - The refusal of a smaller size says which partition is in the way, by how much its own tools must make it
        smaller, and with which command.
      - The C(config.pvs) of the virtual machine gets the same size; see O(machine).
      - Required to create a disk. When left out, an existing disk keeps its size.
    type: str
  type:
    description:
      - An V(expanding) disk takes space on the host as the guest writes, a V(plain) one holds the raw bytes of the
        guest disk.
      - An existing disk of another type is rewritten.
      - When left out, a new disk is V(expanding), and an existing one keeps its type.
    type: str
    choices: [expanding, plain]
  split_size:
    description:
      - Split the disk into files of at most this size. By Parallels' rule a part holds 100 MiB less than the limit, in
        whole clusters.
      - An existing disk that is split differently is rewritten; when the disk is smaller than the limit, it becomes one
        file.
      - When left out, a new disk is one file, and an existing one keeps its parts. A split disk that grows gets more
        parts of the same length.
    type: str
  cluster_size:
    description:
      - The allocation unit, a power of two from V(32K) to V(64M). It cannot be changed later; another value for an
        existing disk is refused. Use M(vdisk.parallels.hdd_convert) to make a new disk with it.
      - When left out, a new disk has clusters of 1 MiB, the only size that every reader accepts.
    type: str
  format_version:
    description:
      - The version of the image format. With V(auto), a new disk of up to 2 TiB gets version 1, which every reader
        accepts, and a larger one version 2; an existing disk keeps its version.
      - An existing disk of another version is rewritten. A disk of version 1 grows beyond 2 TiB only with V(2).
    type: str
    choices: [auto, "1", "2"]
    default: auto
  preallocate:
    description:
      - Reserve blocks on the host when the disk is created, grown (for the new space) or rewritten.
      - A disk that needs no other change is left as it is.
    type: bool
    default: false
  shrink:
    description:
      - Allow O(size) to be smaller than the disk is.
      - Without O(force), shrinking is refused when there is anything but zeros after the new end or a partition extends
        beyond it. It is also refused when the disk has snapshots, unless O(snapshots) is V(merge).
    type: bool
    default: false
  snapshots:
    description:
      - What to do when the size, the type, the split or the format version must change and the disk has snapshots.
      - V(refuse) fails.
      - With V(top_only), only the current state grows. Snapshots keep their size and read as zeros after it. Only for a
        larger O(size).
      - V(merge) merges all snapshots into the current state. Snapshots that the virtual machine lists are merged only
        with O(force). A disk with branches beside the current state is refused.
    type: str
    choices: [refuse, top_only, merge]
    default: refuse
  partition_table:
    description:
      - The last sectors of a disk hold the backup of its GUID partition table (GPT). When the end of the disk moves,
        the backup is in the wrong place.
      - With V(fix), the backup is written at the end of the disk and the primary table points to it. Partitions stay as
        they are. A disk without a valid GPT is left alone.
      - With V(keep), nothing inside the guest disk is changed; when the size changes, the module warns.
      - With V(grow), the last partition that holds data, or O(grow_partition), also gets what the disk has gained. It
        is for GUID partition tables and boot records, logical partitions included. Small partitions after it that only
        have to be there (Windows and Apple recovery, Microsoft reserved, Linux swap, an extended partition with nothing
        but swap) move to the end with their bytes and keep their unique GUIDs. The old or the new table is valid at
        every moment, and the bytes of a partition are whole where it says.
      - File systems are left to the guest; RV(grown_partition.guest_commands) says how. A partition with BitLocker or
        HFS+ keeps its size and gets free space after it, for its own tools.
      - V(grow) is refused with the reason for a damaged table, dynamic disks (LDM), Storage Spaces, Core Storage,
        an Apple Partition Map, a hybrid boot record that names what changes, a hibernated Linux guest, a Linux RAID
        with its record at the end, other partitions at the end of the disk, and when a partition would have to
        move by less than its own length. Shut Windows down completely first (C(shutdown /s /t 0)).
      - A disk without a partition table is left as it is by V(grow).
    type: str
    choices: [keep, fix, grow]
    default: keep
  grow_partition:
    description:
      - The partition for O(partition_table=grow), by its number, its unique GUID or its label.
      - When left out, the last partition that holds data grows.
    type: str
  machine:
    description:
      - What to do with the C(config.pvs) beside the disk when the task gives O(size) or changes the shape of the disk.
      - With V(update), its C(Size) (and C(SizeInBytes), C(DiskType) and C(Splitted), where they are there and change)
        follow the disk in the same change. Everything else in it keeps its bytes; C(Snapshots.xml) is never changed. An
        interrupted run is finished by the next.
      - A file that is a link, has several names, is read-only, is not well-formed or does not name the disk is refused
        before anything is written.
      - With V(keep), the file is left alone, and the module warns when it gives another size.
      - When left out, it is V(update) where the file names this disk, else V(keep).
    type: str
    choices: [update, keep]
  force:
    description:
      - Continue although an image is marked as in use. A disk that another process holds is still refused.
      - Discard the data that O(shrink) cuts off, and merge snapshots that the virtual machine lists with
        O(snapshots=merge).
  name:
    description:
      - The name of the disk in its descriptor. When left out, a new disk gets the name of its directory without
        C(.hdd), and an existing one keeps its name.
    type: str
  owner:
    description:
      - Name of the user that should own every file of the bundle and its directory.
  group:
    description:
      - Name of the group that should own every file of the bundle and its directory.
  mode:
    description:
      - The permissions of every file of the bundle; those of its directory do not change. A new file has them, or
        fewer, from its first byte on.
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

- name: Create a split disk for file systems with a file size limit
  vdisk.parallels.hdd:
    path: /vms/old.hdd
    size: 8G
    split_size: 2G

- name: Create a plain disk with reserved blocks
  vdisk.parallels.hdd:
    path: /vms/fast.hdd
    size: 1G
    type: plain
    preallocate: true
    mode: "0640"

- name: Grow a disk to 100 GiB and fix its partition table
  vdisk.parallels.hdd:
    path: /vms/build.hdd
    size: 100G
    partition_table: fix

- name: Grow a disk and its last partition, whatever recovery or swap partition comes after it
  vdisk.parallels.hdd:
    path: /vms/build.hdd
    size: 112G
    partition_table: grow
  register: grown

- name: Say what is left to do in the guest
  ansible.builtin.debug:
    msg: "{{ (grown.grown_partition or {}).guest_commands | default([]) }}"

- name: Grow only the current state of a disk with snapshots
  vdisk.parallels.hdd:
    path: /vms/build.hdd
    size: 128G
    snapshots: top_only

- name: Turn a disk into a plain one, without its snapshots
  vdisk.parallels.hdd:
    path: /vms/old.hdd
    type: plain
    snapshots: merge

- name: Shrink a disk that has nothing but zeros at its end
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
    - The facts of the disk after the change, as in RV(vdisk.parallels.hdd_info#module:disks). For a removed disk, only
      RV(ignore:path) and RV(ignore:exists).
    - In check mode, the UID and the allocated size of a disk that does not exist yet are null.
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
    - The step of each change that makes it true, in words and in order. Until that step every reader sees the disk as
      it was; after it only what is no longer needed is removed.
    - Empty when nothing changes, and for a change of which every part leaves the same disk.
  returned: success
  type: list
  elements: str
  sample: [rename to /vms/mac.pvm/mac.hdd]
machine_config:
  description: The configuration of the virtual machine that was changed, null for none.
  returned: when the disk existed
  type: str
  sample: /vms/mac.pvm/config.pvs
grown_partition:
  description:
    - With O(partition_table=grow), the partition that grows, or that is as large as it can be. Sizes and places are
      bytes.
    - Null when the disk has nothing that is known. For a file system on the whole disk, RV(ignore:number) is null.
  returned: when the disk existed and O(partition_table=grow)
  type: dict
  contains:
    scheme:
      description: The kind of partition table, V(gpt) or V(mbr); null for none.
      type: str
    number:
      description: The number of the partition, 5 and more for a logical one.
      type: int
    guid:
      description: Its unique GUID, null with a boot record.
      type: str
    type:
      description: The GUID of its type, or V(0x..) with a boot record.
      type: str
    name:
      description: Its label.
      type: str
    content:
      description: What is in it, such as V(ext), V(xfs), V(ntfs), V(apfs), V(lvm2), V(bitlocker) or V(unknown).
      type: str
    start:
      description: Where it begins.
      type: int
    size_before:
      description: Its size before.
      type: int
    size:
      description: Its size now.
      type: int
    moved:
      description: The partitions that move, each with RV(ignore:number), RV(ignore:type), RV(ignore:start_before),
        RV(ignore:start) and RV(ignore:size).
      type: list
      elements: dict
    guest_commands:
      description:
        - What to run in the guest so that it uses the space. Words in capitals are for you to fill in.
        - Empty when the task changes nothing.
      type: list
      elements: str
  sample:
    scheme: gpt
    number: 3
    guid: c6da9cb0-8006-4d70-bc5d-dbb9eb5a5524
    type: ebd0a0a2-b9e5-4433-87c0-68b6b72699c7
    name: Basic data partition
    content: ntfs
    start: 122683392
    size_before: 67964502016
    size: 136683978752
    moved: []
    guest_commands: ["diskpart: list volume", "diskpart: select volume N", "diskpart: extend filesystem"]
elapsed:
  description: Seconds that the change took.
  returned: success
  type: float
  sample: 0.012
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
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.hdd import ensure_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import bundle_spec, idle_spec, safety_spec


def main():
    spec = dict(
        **idle_spec("recurse", "scan", "swap"),
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
        partition_table=dict(type="str", choices=["keep", "fix", "grow"], default="keep"),
        grow_partition=dict(type="str"),
        machine=dict(type="str", choices=["update", "keep"]),
        name=dict(type="str"),
    )
    run_module(spec, ensure_disk, add_file_common_args=True)


if __name__ == "__main__":
    main()
