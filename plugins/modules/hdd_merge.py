#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_merge
short_description: Merge the layers of Parallels virtual disks
description:
  - Makes a chain of layers shorter. The view of the guest and of every snapshot that stays is the same afterwards, byte
    for byte.
  - All layers that go are merged in one pass. Each cluster is moved at most once, whatever the number of layers, into
    the file that makes the total smallest, be it the lowest, the highest or one in between; empty and fully hidden
    layers cost nothing.
  - The room that is needed is known and checked before the first write. Nothing is removed before the new descriptor is
    durable.
  - When a run is cut off, the next change of the disk finishes it. Until then all snapshots are good, except those that
    were to go.
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
  max_layers:
    description:
      - How many layers the current chain may have afterwards. The oldest snapshots go first, so the newest ones stay.
    type: int
    default: 1
  snapshots:
    description:
      - Names or GUIDs of the only snapshots that may go. Those that the disk does not have are passed over, with a
        warning.
      - When left out, every snapshot of the current chain may go.
    type: list
    elements: str
  orphans:
    description:
      - Merge only layers that no snapshot of the virtual machine names, which is what is left when a virtual machine
        has forgotten its snapshots. On a disk outside of a virtual machine, every snapshot is one.
    type: bool
    default: false
  branches:
    description:
      - What happens where another branch starts at a snapshot that should go. With V(refuse), nothing is done. With
        V(discard), the branches that are not current are given up with all their data.
    type: str
    choices: [refuse, discard]
    default: refuse
  strategy:
    description:
      - V(in_place) changes the file that needs the fewest bytes and little extra room.
      - V(copy) writes the merged layer into a new file, so that all old files stay as they are until the commit.
      - V(auto) is V(in_place) wherever a layer may be changed, and V(copy) where every layer is shared with other
        disks.
    type: str
    choices: [auto, in_place, copy]
    default: auto
  force:
    description:
      - Go on although an image carries the in-use mark, and although the virtual machine names a snapshot that goes. A
        disk that another process is seen to hold is refused all the same.
seealso:
  - module: vdisk.parallels.hdd_snapshot
  - module: vdisk.parallels.hdd_compact
"""

EXAMPLES = r"""
---
- name: Make one layer out of all
  vdisk.parallels.hdd_merge:
    path: /vms/mac.pvm/mac.hdd

- name: Keep the two newest snapshots
  vdisk.parallels.hdd_merge:
    path: /vms/mac.pvm/mac.hdd
    max_layers: 3

- name: Merge what the virtual machine has forgotten
  vdisk.parallels.hdd_merge:
    path: /vms/mac.pvm/mac.hdd
    orphans: true

- name: Give up one snapshot
  vdisk.parallels.hdd_merge:
    path: /vms/mac.pvm/mac.hdd
    snapshots: [before-upgrade]
"""

RETURN = r"""
merged:
  description: GUIDs of the snapshots that went, oldest first, then those of discarded branches.
  returned: success
  type: list
  elements: str
  sample: ["{0c4f3a55-0d59-5b4c-8e0e-6c3b6a1f7f21}"]
layers_before:
  description: Layers of the current chain before.
  returned: success
  type: int
  sample: 13
layers_after:
  description: Layers of the current chain afterwards.
  returned: success
  type: int
  sample: 1
freed:
  description: Bytes that the file system got back; negative when the merge needed more than it freed.
  returned: success
  type: int
  sample: 71940702208
disk:
  description: The facts of the disk afterwards, as RV(vdisk.parallels.hdd_info#module:disks) describes them.
  returned: success
  type: dict
bytes_read:
  description: Bytes of guest data read.
  returned: success
  type: int
  sample: 268435456
bytes_written:
  description: Bytes of guest data written.
  returned: success
  type: int
  sample: 268435456
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
  sample: 1.2
"""

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.merge import merge_layers
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import bundle_spec, safety_spec


def main():
    spec = dict(
        **bundle_spec(),
        **safety_spec(),
        max_layers=dict(type="int", default=1),
        snapshots=dict(type="list", elements="str"),
        orphans=dict(type="bool", default=False),
        branches=dict(type="str", choices=["refuse", "discard"], default="refuse"),
        strategy=dict(type="str", choices=["auto", "in_place", "copy"], default="auto"),
    )
    run_module(spec, merge_layers)


if __name__ == "__main__":
    main()
