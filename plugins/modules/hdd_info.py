#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_info
short_description: Gather facts of Parallels virtual disks
description:
  - Tells what is in a bundle, a single-file image, or all bundles of a directory or virtual machine, from metadata and,
    when asked, from data.
  - Nothing is changed, not even a time of change, and no lock is taken. What another process holds, and what earlier
    runs left, is told.
  - One bad disk never keeps the others from being described; it comes back in RV(failed_disks).
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes.info_module
requirements:
  - python >= 3.8
  - lxml >= 4.6
options:
  path:
    description:
      - A bundle, its C(DiskDescriptor.xml), its inner C(.hdd) file, a single-file image, a C(.pvm) directory, or a
        directory of those.
      - Mutually exclusive with O(paths).
    type: path
    aliases: [hdd]
  paths:
    description:
      - Several of those in one task, which is much faster than many tasks.
      - Mutually exclusive with O(path).
    type: list
    elements: path
  recurse:
    description:
      - Look for bundles in all directories below the given ones, too. Links are not followed.
    type: bool
    default: false
  scan:
    description:
      - With V(metadata), what could be reclaimed is told from the tables alone. With V(zeros), every allocated cluster
        is read as well, and zeros in plain images are looked for.
    type: str
    choices: [metadata, zeros]
    default: metadata
  checksum:
    description:
      - Compute the checksum of the guest disk as it is now, zeros included, as of a raw image of it. Reads all of its
        data.
    type: str
    choices: [none, md5, sha1, sha256, sha512]
    default: none
  map:
    description:
      - Into how many stretches of equal length to divide the guest disk, to tell for each layer how much it holds of
        each of them, as a picture of the disk needs it.
      - This is told from the tables alone. With V(0), or when left out, there is no map; at most 4096 make sense.
    type: int
    default: 0
  allow_outside:
    description:
      - Follow images that the descriptor names outside of the bundle, as linked clones do. They are only ever read.
    type: bool
    default: false
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

- name: See which parts of the guest disk each layer holds
  vdisk.parallels.hdd_info:
    path: /vms/mac.pvm/mac.hdd
    map: 100

- name: Find every disk of a build farm and what could be given back
  vdisk.parallels.hdd_info:
    path: /Users/build/Parallels
    recurse: true
    scan: zeros
"""

RETURN = r"""
disks:
  description: Facts of each disk. Sizes are bytes; what is not known is null.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The bundle or image.
      type: str
      returned: always
    exists:
      description: Whether there is anything at the path; when not, only RV(disks[].path) is told besides.
      type: bool
      returned: always
    name:
      description: The name in the descriptor, else that of the directory.
      type: str
      returned: when it exists
    uid:
      description: The identity of the disk, null when the descriptor has none.
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
      description: The version of the image format, null for plain images.
      type: int
      returned: when it exists
    virtual_size:
      description: The size that the guest sees.
      type: int
      returned: when it exists
    file_size:
      description: The length of all image files of the bundle.
      type: int
      returned: when it exists
    allocated_size:
      description: The host's blocks of those files; null in predictions.
      type: int
      returned: when it exists
    used_size:
      description: The clusters in use in all layers.
      type: int
      returned: when it exists
    cluster_size:
      description: The allocation unit.
      type: int
      returned: when it exists
    geometry:
      description: Cylinders, heads and sectors as the descriptor gives them.
      type: dict
      returned: when it exists
    encrypted:
      description: Whether the payload is cipher text.
      type: bool
      returned: when it exists
    state:
      description: V(clean), V(dirty) when an image carries the in-use mark, V(in_use) when a process is seen to hold
        it.
      type: str
      returned: when it exists
    locks:
      description: Who holds the bundle or its images, with kind and owner.
      type: list
      elements: dict
      returned: when it exists
    snapshots:
      description: The frozen states, as RV(vdisk.parallels.hdd_snapshot#module:snapshot) describes them.
      type: list
      elements: dict
      returned: when it exists
    layers:
      description: The layers of the current state from the top to the root, each with its GUID, its files and whether
        one lies outside.
      type: list
      elements: dict
      returned: when it exists
    depth:
      description: Number of layers of the current state.
      type: int
      returned: when it exists
    orphan_files:
      description: Image files that the descriptor does not name.
      type: list
      elements: str
      returned: when it exists
    leftovers:
      description: Files that an interrupted change left, of this collection or of ploop.
      type: list
      elements: str
      returned: when it exists
    backup_differs:
      description: Whether the descriptor's backup is another generation; null when there is none.
      type: bool
      returned: when it exists
    reclaimable:
      description:
        - Bytes that M(vdisk.parallels.hdd_compact) could give back, by reason, which are leaked, zero, equal and
          free_in_filesystem. Null for what was not looked at.
      type: dict
      returned: when it exists
    vm:
      description: The virtual machine that the disk lies in, with name, uuid, config, disk_index and size_mismatch;
        null when there is none.
      type: dict
      returned: when it exists
    partitions:
      description:
        - The partition table of the guest disk with scheme and a list of entries (number, type, name, start and size in
          bytes).
        - Null when there is none, when it cannot be understood or when the disk is encrypted. Modules that change disks
          leave it out.
      type: dict
      returned: when it exists
    checksum:
      description: The checksum of the guest disk.
      type: str
      returned: when O(checksum) asks for it
    map:
      description: Which stretches of the guest disk each layer of the whole tree holds.
      type: dict
      returned: when O(map) asks for it
      contains:
        bucket_size:
          description: Bytes of the guest disk in one stretch, a whole number of clusters; the last one may be shorter.
          type: int
          returned: success
        layers:
          description: The layers, parents before their children.
          type: list
          elements: dict
          returned: success
          contains:
            guid:
              description: The layer; that of a snapshot is the snapshot's.
              type: str
              returned: success
            parent:
              description: The layer that it lies on, null for the root.
              type: str
              returned: success
            current:
              description: Whether this is the layer that the guest writes to.
              type: bool
              returned: success
            outside:
              description: Whether one of its images lies outside the bundle.
              type: bool
              returned: success
            file_size:
              description: The length of its images.
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
              description: For each stretch, how many clusters that begin there the layer holds.
              type: list
              elements: int
              returned: success
    warnings:
      description: What is odd about the disk but no damage.
      type: list
      elements: str
      returned: when it exists
failed_disks:
  description: The disks that could not be described, with path, error_code, msg and error_context.
  returned: success
  type: list
  elements: dict
  sample: []
totals:
  description: Sums over RV(disks).
  returned: success
  type: dict
"""

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.info import describe_disks


def main():
    spec = dict(
        path=dict(type="path", aliases=["hdd"]),
        paths=dict(type="list", elements="path"),
        recurse=dict(type="bool", default=False),
        scan=dict(type="str", choices=["metadata", "zeros"], default="metadata"),
        checksum=dict(type="str", choices=["none", "md5", "sha1", "sha256", "sha512"], default="none"),
        map=dict(type="int", default=0),
        allow_outside=dict(type="bool", default=False),
    )
    run_module(spec, describe_disks, mutually_exclusive=[("path", "paths")], required_one_of=[("path", "paths")])


if __name__ == "__main__":
    main()
