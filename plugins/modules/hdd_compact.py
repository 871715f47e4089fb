#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_compact
short_description: Give unused space of Parallels virtual disks back to the host
description:
  - Gives back space that the guest does not use. Leaked clusters, which no table entry points to, are always dropped.
    With O(scan=zeros), clusters that hold nothing but zeros are dropped as well, and clusters that hold the same data
    as the layers below.
  - In a chain of layers, a zero cluster is dropped only where the layers below also read as zeros. A zero cluster that
    hides data of a parent stays.
  - The guest disk and every snapshot read the same at every moment, so a run may be interrupted at any point; the next
    change of the disk cleans up. With O(scan=filesystem), this is true of all that is not free in the file systems of
    that snapshot.
  - Plain images keep their length, whatever the O(strategy). With O(scan=zeros), zeros in them become holes in the host
    file.
  - Stop linked clones of the disk first. A running clone has read where the clusters of the layers below it are, and
    does not look again. With O(strategy=copy), layers are replaced as whole files, which a running clone survives.
  - Images outside the bundle are not changed. In a preallocated disk only leaked clusters are dropped. Disks of ploop
    and Virtuozzo get no holes, because some of their versions refuse such files.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._bundle.many
  - vdisk.parallels._safety
  - vdisk.parallels._group.files
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
      - With V(metadata), only the tables are read. With V(zeros), allocated clusters are read as well, as far as
        needed. Holes in the host files are never read.
      - V(filesystem) destroys deleted files for good, in the current state and in all snapshots. It is V(zeros), and
        clusters go as well that hold only bytes that are certainly free in the file systems of the guest, in every
        snapshot that reads them. In plain images they become holes. The guest must be shut down. Which file systems
        are known, and when nothing is free, is in the guide "Give back what the guest has deleted".
      - An encrypted disk can only be compacted with V(metadata), and only where no cluster has to move.
    type: str
    choices: [metadata, zeros, filesystem]
    default: zeros
  swap:
    description:
      - With V(drop), the pages of Linux swap areas go as well; they are worth nothing once the guest is shut down.
        Needs O(scan=filesystem). A guest that is hibernated into its swap is left as it is.
    type: str
    choices: [keep, drop]
    default: keep
  threshold:
    description:
      - Do nothing when less than this would be given back, for example V(1G). When left out, one cluster is enough.
        Space is counted as the O(strategy) gives it back.
    type: str
  strategy:
    description:
      - With V(in_place), the last clusters move into the gaps and the file is cut. This needs no extra space.
      - With V(copy), a new file with only the clusters that are needed, in the order of the guest disk, replaces the
        old one. This needs space for the data, except where the host can share blocks between files. Hard links to the
        old file keep the old file. An image with a format extension is refused.
      - With V(punch), host blocks are given back as holes and the file keeps its length. Zeros inside a cluster become
        holes as well, from 64 KiB on, and so do zeros that hide data of a parent. No data moves, but the file gets
        fragmented, and other tools may report the gaps as leaked clusters. Refused where the file system of the host
        has no holes.
      - Space is counted as file length with V(in_place) and V(copy), and as host blocks with V(punch) and in plain
        images.
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

- name: Give back what deleted files leave, in all snapshots
  vdisk.parallels.hdd_compact:
    path: /vms/mac.pvm/mac.hdd
    scan: filesystem

- name: Show what would be given back
  vdisk.parallels.hdd_compact:
    path: /vms/mac.pvm/mac.hdd
  check_mode: true
  register: gain
"""

RETURN = r"""
disks:
  description: For each disk its C(path) and the results that are described here, without C(diff).
  returned: with O(paths) or O(recurse=true)
  type: list
  elements: dict
failed_disks:
  description: The disks on which an error prevented the work, with path, error_code, msg and error_context.
  returned: with O(paths) or O(recurse=true)
  type: list
  elements: dict
  sample: []
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
      description: Bytes that were given back; in check mode, that would be.
      type: int
      returned: success
by_reason:
  description: Bytes that could be given back, by reason.
  returned: success
  type: dict
  contains:
    leaked:
      description: No table entry points to them.
      type: int
      returned: success
    zero:
      description: They hold zeros and hide nothing, or can become holes; null when data were not read.
      type: int
      returned: success
    equal:
      description: They hold the same as the layers below; null when data were not read.
      type: int
      returned: success
    free_in_filesystem:
      description: They hold what is free in the file systems of the guest; null without O(scan=filesystem).
      type: int
      returned: success
filesystems:
  description:
    - The file systems of the guest in its current state, as in RV(vdisk.parallels.hdd_convert#module:filesystems).
    - What is droppable there is stored; clusters that hold other things as well stay.
  returned: when O(scan=filesystem)
  type: list
  elements: dict
disk:
  description: The facts of the disk after the change, as in RV(vdisk.parallels.hdd_info#module:disks).
  returned: success
  type: dict
bytes_read:
  description: Bytes of guest data read or moved.
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
    - The step of each change that makes it true, in words and in order. Until that step every reader sees the disk as
      it was; after it only what is no longer needed is removed.
    - Empty when nothing changes, and for a change of which every part leaves the same disk.
  returned: success
  type: list
  elements: str
  sample: []
elapsed:
  description: Seconds that the change took, without the time for the scan.
  returned: success
  type: float
  sample: 0.8
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
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.compact import compact_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import (
    ONE_OR_MANY,
    fleet_spec,
    idle_spec,
    safety_spec,
)


def main():
    spec = dict(
        **idle_spec("files"),
        **fleet_spec(),
        **safety_spec(),
        scan=dict(type="str", choices=["metadata", "zeros", "filesystem"], default="zeros"),
        swap=dict(type="str", choices=["keep", "drop"], default="keep"),
        threshold=dict(type="str"),
        strategy=dict(type="str", choices=["in_place", "copy", "punch"], default="in_place"),
    )
    run_module(spec, compact_disk, **ONE_OR_MANY)


if __name__ == "__main__":
    main()
