#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_snapshot
short_description: Take, revert to and delete snapshots of Parallels virtual disks
description:
  - Makes sure that a snapshot exists, does not exist, or that the disk is reverted to it. Taking one freezes the
    current layer and adds a new, empty layer on top of it. No guest data are copied, and frozen files keep their names
    because linked clones may refer to them.
  - The GUID of a snapshot is computed from the UID of the disk and the O(name). The same name on the same disk
    therefore always means the same snapshot. The name itself is not written to the disk, so M(vdisk.parallels.hdd_info)
    cannot show it.
  - All parts of a split disk are frozen in the same step, the rename of the descriptor. A run that is interrupted
    before it leaves the disk as it was, and the next run removes what is left.
  - Snapshots taken here belong to the disk, not to the virtual machine; Parallels Desktop does not list them.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._bundle
  - vdisk.parallels._safety
  - vdisk.parallels._group.recurse
  - vdisk.parallels._group.scan
  - vdisk.parallels._group.swap
  - vdisk.parallels._group.files
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - With V(present), the snapshot exists; when it exists already, nothing is done.
      - With V(absent), the snapshot is deleted; O(descendants) decides what happens to its data. The current state and
        all other snapshots stay as they are, except those that O(descendants=delete) removes.
      - With V(reverted), the current state becomes that of the snapshot, with a new empty layer on top of it.
        Everything in the current layer is discarded; take a snapshot first to keep it. When the disk is based on the
        snapshot and nothing was written since, nothing is done.
    type: str
    choices: [present, absent, reverted]
    default: present
  name:
    description:
      - The name of the snapshot. When the virtual machine lists a snapshot with this name, that one is meant.
      - The name and the time are kept in C(vdisk-snapshots.json) in the bundle. A snapshot with a name there is no
        orphan for M(vdisk.parallels.hdd_merge). Without the file, only the names are lost.
      - Mutually exclusive with O(guid).
    type: str
  guid:
    description:
      - The GUID of the snapshot, with or without braces.
      - Mutually exclusive with O(name).
    type: str
  description:
    description:
      - What the snapshot is for, kept with its name. Only for O(state=present); an existing snapshot gets it, too.
      - When left out, a new snapshot has none, and an existing one keeps its own.
    type: str
  descendants:
    description:
      - What O(state=absent) does with the layers above the deleted snapshot. With V(keep), its data are merged into
        each of its children, moving as few bytes as possible. With V(refuse), the task fails when there are snapshots
        above it. With V(delete), they are deleted as well, with all their data; this is refused when the current state
        is based on the snapshot or on one of them.
    type: str
    choices: [refuse, delete, keep]
    default: keep
  force:
    description:
      - Continue although an image is marked as in use, and delete a snapshot that the virtual machine lists. A disk
        that another process holds is still refused.
seealso:
  - module: vdisk.parallels.hdd_merge
  - module: vdisk.parallels.hdd_info
"""

EXAMPLES = r"""
---
- name: Freeze the disk before an upgrade
  vdisk.parallels.hdd_snapshot:
    path: /vms/mac.pvm/mac.hdd
    name: before-upgrade

- name: Say what a snapshot is for
  vdisk.parallels.hdd_snapshot:
    path: /vms/mac.pvm/mac.hdd
    name: before-upgrade
    description: the state before 15.2

- name: Revert when the upgrade went wrong
  vdisk.parallels.hdd_snapshot:
    path: /vms/mac.pvm/mac.hdd
    name: before-upgrade
    state: reverted

- name: Delete the snapshot and keep the disk as it is now
  vdisk.parallels.hdd_snapshot:
    path: /vms/mac.pvm/mac.hdd
    name: before-upgrade
    state: absent

- name: Use a given GUID
  vdisk.parallels.hdd_snapshot:
    path: /vms/mac.pvm/mac.hdd
    guid: "{a1b2c3d4-0000-4000-8000-000000000001}"
"""

RETURN = r"""
snapshot:
  description: The snapshot; a deleted one as it was before.
  returned: success
  type: dict
  contains:
    guid:
      description: Its GUID, lower case, in braces.
      type: str
      returned: success
    name:
      description: The name in the virtual machine's list, or the O(name) that it got here; null when neither is known.
      type: str
      returned: success
    taken:
      description:
        - When it was taken, as the virtual machine writes it, or in UTC such as V(2026-01-31T12:00:00Z) when it was
          taken here; null when that is not known, and for a new snapshot in check mode.
      type: str
      returned: success
    description:
      description: The O(description) that it got, null for none.
      type: str
      returned: success
    parent:
      description: GUID of the snapshot below it; null for the lowest.
      type: str
      returned: success
    children:
      description: GUIDs of the snapshots above it, the current layer not counted.
      type: list
      elements: str
      returned: success
    depth:
      description: Number of layers from the root up to it; null for a snapshot that did not exist.
      type: int
      returned: success
    current:
      description: Whether the current state is directly based on this snapshot.
      type: bool
      returned: success
    vm_snapshot:
      description: Whether the virtual machine lists a snapshot with this GUID.
      type: bool
      returned: success
  sample:
    guid: "{0c4f3a55-0d59-5b4c-8e0e-6c3b6a1f7f21}"
    name: before-upgrade
    taken: "2026-01-31T12:00:00Z"
    description: the state before 15.2
    parent:
    children: []
    depth: 1
    current: true
    vm_snapshot: false
freed:
  description: Bytes that the file system got back; negative when the change needed more than it freed.
  returned: when O(state=absent)
  type: int
  sample: 1048576
disk:
  description: The facts of the disk after the change, as in RV(vdisk.parallels.hdd_info#module:disks).
  returned: success
  type: dict
bytes_read:
  description: Bytes of guest data read. Only a deletion moves any.
  returned: success
  type: int
  sample: 0
bytes_written:
  description: Bytes of guest data written. Only a deletion moves any.
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
  sample: [replace /vms/mac.pvm/mac.hdd/DiskDescriptor.xml]
elapsed:
  description: Seconds that the change took.
  returned: success
  type: float
  sample: 0.011
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
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.snapshot import ensure_snapshot
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import bundle_spec, idle_spec, safety_spec


def main():
    spec = dict(
        **idle_spec("recurse", "scan", "swap", "files"),
        **bundle_spec(),
        **safety_spec(),
        state=dict(type="str", choices=["present", "absent", "reverted"], default="present"),
        name=dict(type="str"),
        guid=dict(type="str"),
        description=dict(type="str"),
        descendants=dict(type="str", choices=["refuse", "delete", "keep"], default="keep"),
    )
    run_module(spec, ensure_snapshot, mutually_exclusive=[("name", "guid")], required_one_of=[("name", "guid")])


if __name__ == "__main__":
    main()
