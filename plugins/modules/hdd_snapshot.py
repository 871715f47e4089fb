#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_snapshot
short_description: Take, delete and go back to snapshots of Parallels virtual disks
description:
  - Makes sure that a disk has a snapshot, has it no more, or goes on from it. Taking one freezes the current layer
    where it lies and puts a new, empty layer on top of it; no guest data is copied, and frozen files keep their names
    because linked clones may refer to them.
  - A name stands for a GUID that depends on the disk's UID and the name alone. That is why the same task may run again
    and again without any state being kept, and why the name itself is stored nowhere.
  - Every storage of a split disk is frozen in the same step. The commit is the rename of the descriptor; a run that is
    cut off before it leaves the disk as it was, and the next run clears what was left.
  - Snapshots that are taken here belong to the disk, not to the virtual machine; Parallels Desktop does not list them.
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
  state:
    description:
      - With V(present), the snapshot exists afterwards; when it is there already, nothing is done.
      - With V(absent), it is gone; O(descendants) tells what becomes of its data. The current state and all other
        snapshots stay as they are.
      - With V(reverted), the disk goes on from the snapshot, with a new empty layer. What was written since the current
        layer began is given up; take a snapshot first to keep it. When nothing was written since, nothing is done.
    type: str
    choices: [present, absent, reverted]
    default: present
  name:
    description:
      - A name for the snapshot. A name that the virtual machine itself gives to one of its snapshots means that one.
      - Mutually exclusive with O(guid).
    type: str
  guid:
    description:
      - The GUID of the snapshot, with or without braces.
      - Mutually exclusive with O(name).
    type: str
  descendants:
    description:
      - What O(state=absent) does with the snapshots above the one that goes. With V(keep), its data is merged into each
        of them, by the cheapest road. With V(refuse), there must be none. With V(delete), they go, too, with all their
        data; the current state must not go on from one of them.
    type: str
    choices: [refuse, delete, keep]
    default: keep
  force:
    description:
      - Go on although an image carries the in-use mark, and delete a snapshot although the virtual machine names it. A
        disk that another process is seen to hold is refused all the same.
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

- name: Go back when the upgrade went wrong
  vdisk.parallels.hdd_snapshot:
    path: /vms/mac.pvm/mac.hdd
    name: before-upgrade
    state: reverted

- name: Give the snapshot up and keep the disk as it is now
  vdisk.parallels.hdd_snapshot:
    path: /vms/mac.pvm/mac.hdd
    name: before-upgrade
    state: absent

- name: Use a GUID that somebody else chose
  vdisk.parallels.hdd_snapshot:
    path: /vms/mac.pvm/mac.hdd
    guid: "{a1b2c3d4-0000-4000-8000-000000000001}"
"""

RETURN = r"""
snapshot:
  description: The snapshot; one that is gone as it was before.
  returned: success
  type: dict
  contains:
    guid:
      description: Its GUID, lower case, in braces.
      type: str
      returned: success
    name:
      description: The name that was asked for or that the virtual machine gives to it; null when neither is known.
      type: str
      returned: success
    parent:
      description: GUID of the snapshot below it, null for the lowest.
      type: str
      returned: success
    children:
      description: GUIDs of the snapshots above it, the current layer not counted.
      type: list
      elements: str
      returned: success
    depth:
      description: Number of layers from the root up to it, null for a snapshot that never was.
      type: int
      returned: success
    current:
      description: Whether the disk goes on from this snapshot.
      type: bool
      returned: success
    vm_snapshot:
      description: Whether the virtual machine has a snapshot with this GUID.
      type: bool
      returned: success
  sample:
    guid: "{0c4f3a55-0d59-5b4c-8e0e-6c3b6a1f7f21}"
    name: before-upgrade
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
  description: The facts of the disk afterwards, as RV(vdisk.parallels.hdd_info#module:disks) describes them.
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
    - The step of each change that makes it true, in words and in order. Until that step every reader sees the disk as it
      was; after it only what is no longer needed is removed.
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
"""

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.snapshot import ensure_snapshot
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import bundle_spec, safety_spec


def main():
    spec = dict(
        **bundle_spec(),
        **safety_spec(),
        state=dict(type="str", choices=["present", "absent", "reverted"], default="present"),
        name=dict(type="str"),
        guid=dict(type="str"),
        descendants=dict(type="str", choices=["refuse", "delete", "keep"], default="keep"),
    )
    run_module(spec, ensure_snapshot, mutually_exclusive=[("name", "guid")], required_one_of=[("name", "guid")])


if __name__ == "__main__":
    main()
