#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_info
short_description: Gather facts of Parallels virtual disks
description:
  - Reports facts about a bundle, a single-file image, or all bundles of a directory or virtual machine, from metadata
    and, on request, from data.
  - Nothing is changed, not even a modification time, and no lock is taken. Locks of other processes and leftovers of
    interrupted runs are reported.
  - A bad disk does not stop the others; it is listed in RV(failed_disks).
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes.info_module
  - vdisk.parallels._group.force
  - vdisk.parallels._group.files
  - vdisk.parallels._bundle.outside
options:
  path:
    description:
      - A bundle, its C(DiskDescriptor.xml), its inner C(.hdd) file, a single-file image, a C(.pvm) directory, or a
        directory with any of these.
      - Mutually exclusive with O(paths).
    type: path
    aliases: [hdd]
  paths:
    description:
      - Several such paths in one task, which is much faster than many tasks.
      - Mutually exclusive with O(path).
    type: list
    elements: path
  recurse:
    description:
      - Also look for bundles in all subdirectories. Links are not followed.
    type: bool
    default: false
  scan:
    description:
      - With V(metadata), what can be given back is computed from the tables alone. With V(zeros), every allocated
        cluster is read as well, and plain images are searched for zeros.
      - With V(filesystem), the file systems of the guest are examined, too, in every snapshot.
    type: str
    choices: [metadata, zeros, filesystem]
    default: metadata
  swap:
    description:
      - As O(vdisk.parallels.hdd_compact#module:swap), for O(scan=filesystem). With V(drop), pages of Linux swap count
        as free.
    type: str
    choices: [keep, drop]
    default: keep
  checksum:
    description:
      - Compute the checksum of the guest disk in its current state, zeros included, as for a raw image of it. This
        reads all data of the disk.
    type: str
    choices: [none, md5, sha1, sha256, sha512]
    default: none
  map:
    description:
      - Divide the guest disk into this many ranges of equal length and report for each layer how many clusters it holds
        in each range, for drawing a map of the disk.
      - The map is made from the tables alone. With V(0), or when left out, there is no map. The maximum is 4096.
    type: int
    default: 0
seealso:
  - module: vdisk.parallels.hdd
"""

EXAMPLES = r"""
---
- name: Look at one disk
  vdisk.parallels.hdd_info:
    path: /vms/mac.pvm/mac.hdd
  register: mac

- name: Show how many layers it has
  ansible.builtin.debug:
    msg: "{{ mac.disks[0].name }} has {{ mac.disks[0].depth }} layers"

- name: Show which parts of the guest disk each layer holds
  vdisk.parallels.hdd_info:
    path: /vms/mac.pvm/mac.hdd
    map: 100

- name: Find every disk of a build farm and what can be given back
  vdisk.parallels.hdd_info:
    path: /Users/build/Parallels
    recurse: true
    scan: zeros
"""

RETURN = r"""
disks:
  description: Facts of each disk. Sizes are in bytes; unknown values are null.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The bundle or image.
      type: str
      returned: always
    exists:
      description: Whether there is a disk at the path. When not, RV(disks[].path) is the only other key.
      type: bool
      returned: always
    name:
      description: The name in the descriptor, or the name of the directory when there is none.
      type: str
      returned: when it exists
    uid:
      description: The UID of the disk; null when the descriptor has none.
      type: str
      returned: when it exists
    format:
      description: V(bundle) or V(single_file).
      type: str
      returned: when it exists
    type:
      description: V(expanding), V(plain), or V(mixed) for expanding layers on a plain one.
      type: str
      returned: when it exists
    split:
      description: Whether the disk is split into several files.
      type: bool
      returned: when it exists
    format_version:
      description: The version of the image format; null for plain images.
      type: int
      returned: when it exists
    virtual_size:
      description: The size of the guest disk.
      type: int
      returned: when it exists
    file_size:
      description: The total length of all image files of the bundle.
      type: int
      returned: when it exists
    allocated_size:
      description: The space that these files take on the host; null in predictions.
      type: int
      returned: when it exists
    used_size:
      description: The clusters in use in all layers, in bytes.
      type: int
      returned: when it exists
    cluster_size:
      description: The allocation unit.
      type: int
      returned: when it exists
    geometry:
      description: Cylinders, heads and sectors from the descriptor.
      type: dict
      returned: when it exists
    encrypted:
      description: Whether the disk is encrypted.
      type: bool
      returned: when it exists
    state:
      description: V(clean), V(dirty) when an image is marked as in use, V(in_use) when a process holds the disk.
      type: str
      returned: when it exists
    locks:
      description: Processes that hold the bundle or its images, with kind and owner of the lock.
      type: list
      elements: dict
      returned: when it exists
    snapshots:
      description: The snapshots, as in RV(vdisk.parallels.hdd_snapshot#module:snapshot).
      type: list
      elements: dict
      returned: when it exists
    layers:
      description: The layers of the current state from the top to the root, each with its GUID, its files and whether
        one is outside the bundle.
      type: list
      elements: dict
      returned: when it exists
    depth:
      description: Number of layers of the current state.
      type: int
      returned: when it exists
    clones:
      description:
        - Linked clones that are known to stand on layers of this disk, with C(disk), the path of the clone, and
          C(image), the image that it needs.
        - The disks of the run, those beside the disk and those of the machines beside its machine are searched; clones
          elsewhere are not known.
        - It is null where nobody looked, such as for a disk that has just been made.
      type: list
      elements: dict
      returned: when it exists
    orphan_files:
      description: Image files that the descriptor does not name.
      type: list
      elements: str
      returned: when it exists
    leftovers:
      description: Files that an interrupted change by this collection or ploop has left.
      type: list
      elements: str
      returned: when it exists
    backup_differs:
      description: Whether the backup of the descriptor differs from it; null when there is no backup.
      type: bool
      returned: when it exists
    reclaimable:
      description:
        - Bytes that M(vdisk.parallels.hdd_compact) can give back, by reason, which are leaked, zero, equal and
          free_in_filesystem. Null for what was not examined.
      type: dict
      returned: when it exists
    vm:
      description:
        - The virtual machine that the disk belongs to, with name, uuid, config, os, suspended, disk_index and
          size_mismatch; null when there is none.
        - C(os) is the type of the guest system, V(macos), V(windows), V(linux), V(freebsd), V(os2), V(msdos),
          V(netware), V(solaris), V(chromeos), V(android) or V(other), as the configuration says.
      type: dict
      returned: when it exists
    partitions:
      description:
        - The partition table of the guest disk with scheme and a list of entries (number, type, name, start and size in
          bytes).
        - Its C(boot_code) says whether the boot record has code, which a BIOS starts. C(efi_loaders) are the names of
          the files in C(EFI/BOOT) of the EFI system partitions, such as C(BOOTAA64.EFI), which EFI starts on a new
          machine; null when a partition cannot be understood.
        - Null when there is none, when it cannot be read or when the disk is encrypted. Modules that change disks do
          not return it.
      type: dict
      returned: when it exists
    filesystems:
      description: The file systems of the guest in its current state, as in
        RV(vdisk.parallels.hdd_convert#module:filesystems).
      type: list
      elements: dict
      returned: when O(scan=filesystem)
    checksum:
      description: The checksum of the guest disk.
      type: str
      returned: when O(checksum) is not V(none)
    map:
      description: Which parts of the guest disk each layer of the whole tree holds.
      type: dict
      returned: when O(map) is not V(0)
      contains:
        bucket_size:
          description: Bytes of the guest disk in one range, a whole number of clusters; the last range may be shorter.
          type: int
          returned: success
        layers:
          description: The layers, parents before their children.
          type: list
          elements: dict
          returned: success
          contains:
            guid:
              description: The GUID of the layer; that of a snapshot's layer is the GUID of the snapshot.
              type: str
              returned: success
            parent:
              description: The GUID of the layer below; null for the root.
              type: str
              returned: success
            current:
              description: Whether this is the layer that the guest writes to.
              type: bool
              returned: success
            outside:
              description: Whether one of its images is outside the bundle.
              type: bool
              returned: success
            file_size:
              description: The total length of its images.
              type: int
              returned: success
            used_size:
              description: Its clusters in use, in bytes.
              type: int
              returned: success
            cluster_size:
              description: The length of one cluster.
              type: int
              returned: success
            used_clusters:
              description: For each range, how many clusters that begin in it the layer holds.
              type: list
              elements: int
              returned: success
    warnings:
      description: What is unusual about the disk but not damage.
      type: list
      elements: str
      returned: when it exists
  sample:
    - path: /vms/mac.pvm/mac.hdd
      exists: true
      name: mac
      uid: "{0f5d3c2b-1a09-4e8f-b7c6-d5a4f3e2b1c0}"
      format: bundle
      type: expanding
      split: false
      format_version: 1
      virtual_size: 68719476736
      file_size: 9664724992
      allocated_size: 9664737280
      used_size: 9658433536
      cluster_size: 1048576
      geometry: {cylinders: 262144, heads: 16, sectors: 32}
      encrypted: false
      state: in_use
      locks:
        - {kind: write, owner: prl_vm_app (4711)}
      snapshots:
        - guid: "{0c4f3a55-0d59-5b4c-8e0e-6c3b6a1f7f21}"
          name: before-upgrade
          taken: "2026-01-31T12:00:00Z"
          description: the state before 15.2
          parent: null
          children: []
          depth: 1
          current: true
          vm_snapshot: false
      layers:
        - guid: "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
          files:
            - path: /vms/mac.pvm/mac.hdd/mac.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds
              storage: 0
              type: expanding
              size: 1074790400
              allocated: 1074794496
              used_clusters: 1021
              in_use: true
          outside: false
        - guid: "{0c4f3a55-0d59-5b4c-8e0e-6c3b6a1f7f21}"
          files:
            - path: /vms/mac.pvm/mac.hdd/mac.hdd.0.{0c4f3a55-0d59-5b4c-8e0e-6c3b6a1f7f21}.hds
              storage: 0
              type: expanding
              size: 8589934592
              allocated: 8589942784
              used_clusters: 8190
              in_use: false
          outside: false
      depth: 2
      clones:
        - disk: /vms/clone.pvm/mac.hdd
          image: /vms/mac.pvm/mac.hdd/mac.hdd.0.{0c4f3a55-0d59-5b4c-8e0e-6c3b6a1f7f21}.hds
      orphan_files: []
      leftovers: []
      backup_differs: false
      reclaimable: {leaked: 4194304, zero: null, equal: null, free_in_filesystem: null}
      vm:
        name: Mac
        uuid: "{9c27ae79-fbe5-4c84-9cdc-e1459f642b91}"
        config: /vms/mac.pvm/config.pvs
        os: macos
        suspended: false
        disk_index: 0
        size_mismatch: false
      partitions:
        scheme: gpt
        entries:
          - number: 1
            type: c12a7328-f81f-11d2-ba4b-00a0c93ec93b
            name: EFI System Partition
            start: 20480
            size: 209715200
          - number: 2
            type: 7c3457ef-0000-11aa-aa11-00306543ecac
            name: Macintosh HD
            start: 209735680
            size: 68509720576
        backup_header_at_end: true
      warnings: []
failed_disks:
  description: The disks that could not be described, with path, error_code, msg and error_context.
  returned: success
  type: list
  elements: dict
  sample:
    - path: /vms/old.pvm/old.hdd
      error_code: damaged
      msg: The descriptor cannot be parsed (/vms/old.pvm/old.hdd/DiskDescriptor.xml). Run hdd_check, which says where.
      error_context: {path: /vms/old.pvm/old.hdd/DiskDescriptor.xml}
totals:
  description: Sums over RV(disks). C(reclaimable) counts what is known.
  returned: success
  type: dict
  sample:
    disks: 1
    virtual_size: 68719476736
    file_size: 9664724992
    allocated_size: 9664737280
    used_size: 9658433536
    snapshots: 1
    reclaimable: 4194304
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
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.info import describe_disks
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import idle_spec


def main():
    spec = dict(
        **idle_spec("force", "files"),
        path=dict(type="path", aliases=["hdd"]),
        paths=dict(type="list", elements="path"),
        recurse=dict(type="bool", default=False),
        scan=dict(type="str", choices=["metadata", "zeros", "filesystem"], default="metadata"),
        swap=dict(type="str", choices=["keep", "drop"], default="keep"),
        checksum=dict(type="str", choices=["none", "md5", "sha1", "sha256", "sha512"], default="none"),
        map=dict(type="int", default=0),
        allow_outside=dict(type="bool", default=False),
    )
    run_module(spec, describe_disks, mutually_exclusive=[("path", "paths")], required_one_of=[("path", "paths")])


if __name__ == "__main__":
    main()
