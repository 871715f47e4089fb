#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_compact
short_description: Give unused room of Parallels virtual disks back to the host
description:
  - Gives back what the guest does not use. Leaked clusters, which no table names, always go. With O(scan=zeros), so do
    clusters that hold nothing but zeros, and clusters that hold what the layers below hold anyway.
  - In a chain of layers, a zero cluster goes only where every layer below reads as zeros, too. One that hides data of a
    parent stays.
  - The guest disk is the same at every instant, that of each snapshot included, so a run may be cut off anywhere; the
    next change of the disk clears up.
  - Plain images keep their length, whatever the O(strategy). With O(scan=zeros), the zeros in them become holes of the
    host file.
  - Stop the linked clones of a disk first. A clone that runs knows where the clusters of the layers below it lie, and
    does not look again. With O(strategy=copy), layers are replaced as whole files, which such a clone survives.
  - Images outside the bundle are left as they are. In a preallocated disk only leaked clusters go. Disks of ploop and
    Virtuozzo get no holes, because some of their versions refuse such files.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._bundle
  - vdisk.parallels._safety
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  scan:
    description:
      - With V(metadata), only the tables are looked at; with V(zeros), every allocated cluster is read as well, as far
        as needed. Holes of the host files are never read.
      - An encrypted disk can only be compacted with V(metadata), and only where no cluster has to move.
    type: str
    choices: [metadata, zeros]
    default: zeros
  threshold:
    description:
      - Do nothing when less than this would be given back, for example V(1G). When left out, one cluster is enough.
        What counts is what the O(strategy) gives back.
    type: str
  strategy:
    description:
      - With V(in_place), the last clusters move into the gaps and the file is cut. Needs no extra room.
      - With V(copy), a new file with what is needed, in the order of the guest disk, takes the place and the name of
        the old one. Needs room for the data, except where the host can share blocks of files. Links to the old file by
        a hard link keep the old file. An image with a format extension is refused.
      - With V(punch), the host's blocks are given back and the file keeps its length. Zeros that are stored within a
        cluster go as well, when there are 64 KiB of them, and so do those that hide data of a parent. Moves nothing,
        but leaves the file fragmented, and other tools may report the gaps as leaked clusters. Refused where the host's
        file system has no holes.
      - What is given back is counted in bytes of file length with V(in_place) and V(copy), and in bytes of host blocks
        with V(punch) and in plain images.
    type: str
    choices: [in_place, copy, punch]
    default: in_place
seealso:
  - module: vdisk.parallels.hdd_merge
  - module: vdisk.parallels.hdd_info
"""

EXAMPLES = r"""
---
- name: Give back what the guest has zeroed, when it is worth it
  vdisk.parallels.hdd_compact:
    path: /vms/mac.pvm/mac.hdd
    threshold: 1G

- name: Put the clusters in order on a disk that has room
  vdisk.parallels.hdd_compact:
    path: /vms/mac.pvm/mac.hdd
    strategy: copy

- name: See what there is to gain
  vdisk.parallels.hdd_compact:
    path: /vms/mac.pvm/mac.hdd
  check_mode: true
  register: gain
"""

RETURN = r"""
reclaimable:
  description: Bytes that could be given back.
  returned: success
  type: int
  sample: 8589934592
reclaimed:
  description: Bytes that were given back; in check mode, that would be.
  returned: success
  type: int
  sample: 8589934592
layers:
  description: The same for each image, with its GUID and file.
  returned: success
  type: list
  elements: dict
  contains:
    guid:
      description: The layer.
      type: str
      returned: success
    file:
      description: The image, as the descriptor names it.
      type: str
      returned: success
    reclaimable:
      description: Bytes that could be given back.
      type: int
      returned: success
    reclaimed:
      description: Bytes that were given back.
      type: int
      returned: success
by_reason:
  description: Why clusters can go, in bytes.
  returned: success
  type: dict
  contains:
    leaked:
      description: No table names them.
      type: int
      returned: success
    zero:
      description: They hold zeros and hide nothing, or can become holes; null when they were not looked at.
      type: int
      returned: success
    equal:
      description: They hold what the layers below hold, too; null when they were not looked at.
      type: int
      returned: success
    free_in_filesystem:
      description: Always null; the file systems of the guest are not looked at.
      type: int
      returned: success
disk:
  description: The facts of the disk afterwards, as RV(vdisk.parallels.hdd_info#module:disks) describes them.
  returned: success
  type: dict
bytes_read:
  description: Bytes of guest data that were looked at or moved.
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
    - The step of each change that makes it true, in words and in order. Until that step every reader sees the disk as it
      was; after it only what is no longer needed is removed.
    - Empty when nothing changes, and for a change of which every part leaves the same disk.
  returned: success
  type: list
  elements: str
  sample: []
elapsed:
  description: Seconds that the change took, without the time for looking.
  returned: success
  type: float
  sample: 0.8
"""

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.compact import compact_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import bundle_spec, safety_spec


def main():
    spec = dict(
        **bundle_spec(),
        **safety_spec(),
        scan=dict(type="str", choices=["metadata", "zeros"], default="zeros"),
        threshold=dict(type="str"),
        strategy=dict(type="str", choices=["in_place", "copy", "punch"], default="in_place"),
    )
    run_module(spec, compact_disk)


if __name__ == "__main__":
    main()
