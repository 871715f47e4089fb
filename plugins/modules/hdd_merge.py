#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_merge
short_description: Merge the layers of Parallels virtual disks
description:
  - Makes a chain of layers shorter. The guest disk and every snapshot that stays read the same afterwards, byte for
    byte.
  - All layers are merged in one pass. Each cluster is moved at most once, however many layers there are, into the file
    for which the fewest bytes have to move, be it the lowest, the highest or one in between. Empty and fully hidden
    layers cost nothing.
  - The space needed is known and checked before the first write. No file is removed before the new descriptor is on the
    medium.
  - When a run is interrupted, the next change of the disk finishes it or takes it back. Until then all snapshots are
    intact, except those that were being merged away.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._bundle.many
  - vdisk.parallels._safety
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
  max_layers:
    description:
      - How many layers the current chain may have afterwards, the current layer included. The oldest snapshots are
        merged first, so the newest ones stay.
      - Snapshots that M(vdisk.parallels.hdd_snapshot) has given a name are merged as well, with a warning for each.
        Only O(orphans=true) and M(vdisk.parallels.hdd_maintain) leave them alone.
    type: int
    default: 1
  snapshots:
    description:
      - Names or GUIDs of the snapshots that may be merged; all others stay. Those that the disk does not have are
        skipped, with a warning.
      - When left out, every snapshot of the current chain may be merged.
    type: list
    elements: str
  orphans:
    description:
      - Merge only orphaned layers, which are those that the snapshot list of the virtual machine does not name. They
        remain, for example, when a backup program does not clean up.
      - A disk outside a virtual machine has no such list, so all its snapshots are orphans and are merged, except those
        that M(vdisk.parallels.hdd_snapshot) has given a name.
      - Refused when the file with these names cannot be read.
    type: bool
    default: false
  branches:
    description:
      - What to do when another branch starts at a snapshot that is to be merged. With V(refuse), the task fails. With
        V(discard), branches that do not lead to the current state are removed with all their data.
    type: str
    choices: [refuse, discard]
    default: refuse
  strategy:
    description:
      - V(in_place) writes into the existing file for which the fewest bytes have to move. It needs little extra space.
      - V(copy) writes the merged layer into a new file, so that all old files stay as they are until the new descriptor
        is in force.
      - V(auto) is V(in_place) where a layer may be changed, and V(copy) where no layer may be changed, for example
        because each one also serves another branch or is outside the bundle.
    type: str
    choices: [auto, in_place, copy]
    default: auto
  force:
    description:
      - Continue although an image is marked as in use, and merge snapshots that the virtual machine lists. A disk that
        another process holds is still refused.
seealso:
  - module: vdisk.parallels.hdd_snapshot
  - module: vdisk.parallels.hdd_compact
"""

EXAMPLES = r"""
---
- name: Merge all layers into one
  vdisk.parallels.hdd_merge:
    path: /vms/mac.pvm/mac.hdd

- name: Keep the two newest snapshots
  vdisk.parallels.hdd_merge:
    path: /vms/mac.pvm/mac.hdd
    max_layers: 3

- name: Merge only what the virtual machine does not list
  vdisk.parallels.hdd_merge:
    path: /vms/mac.pvm/mac.hdd
    orphans: true

- name: Merge one snapshot away
  vdisk.parallels.hdd_merge:
    path: /vms/mac.pvm/mac.hdd
    snapshots: [before-upgrade]
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
merged:
  description: GUIDs of the snapshots that were merged away, oldest first, then those of discarded branches.
  returned: success
  type: list
  elements: str
  sample: ["{0c4f3a55-0d59-5b4c-8e0e-6c3b6a1f7f21}"]
layers_before:
  description: Layers of the current chain before the change.
  returned: success
  type: int
  sample: 13
layers_after:
  description: Layers of the current chain after the change.
  returned: success
  type: int
  sample: 1
freed:
  description: Bytes that the file system got back; negative when the merge needed more than it freed.
  returned: success
  type: int
  sample: 71940702208
disk:
  description: The facts of the disk after the change, as in RV(vdisk.parallels.hdd_info#module:disks).
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
  sample: 1.2
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
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.merge import merge_layers
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import (
    ONE_OR_MANY,
    fleet_spec,
    idle_spec,
    safety_spec,
)


def main():
    spec = dict(
        **idle_spec("scan", "swap", "files"),
        **fleet_spec(),
        **safety_spec(),
        max_layers=dict(type="int", default=1),
        snapshots=dict(type="list", elements="str"),
        orphans=dict(type="bool", default=False),
        branches=dict(type="str", choices=["refuse", "discard"], default="refuse"),
        strategy=dict(type="str", choices=["auto", "in_place", "copy"], default="auto"),
    )
    run_module(spec, merge_layers, **ONE_OR_MANY)


if __name__ == "__main__":
    main()
