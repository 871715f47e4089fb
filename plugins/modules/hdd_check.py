#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_check
short_description: Check and repair Parallels virtual disks
description:
  - Checks the descriptor of a disk, its snapshot tree, the headers and tables of its images, and the virtual machine
    around it. It reports everything it finds, not only the first problem. Every finding has a stable code;
    C(docs/findings.md) lists them.
  - Without O(repair), nothing is changed. With it, the module repairs what it can, in an order that is safe to
    interrupt at any point.
  - A disk that another process holds can be checked, but the findings may only be a momentary state. It is not
    repaired.
  - Images outside the bundle are never changed.
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
  repair:
    description:
      - With V(none), the disk is only checked.
      - With V(safe), only repairs that cannot lose data are made. Marks, flags and header fields are corrected where
        the other fields leave one possible value; unused ends of files are cut off; format extensions that are no
        longer valid are dropped; interrupted runs are finished or cleared; and the descriptor is restored from its
        backup or rebuilt from the images when the result is certain.
      - With V(all), repairs that give up what is already lost are made as well. Entries that point nowhere are cleared,
        two entries that point to the same cluster get a copy each, and a backup of the descriptor is restored even if
        its snapshot tree may be out of date.
      - An image that is marked as in use is repaired only with O(force=true), and the mark is cleared when nothing else
        is wrong with the image.
    type: str
    choices: [none, safe, all]
    default: none
  data:
    description:
      - Also read every allocated cluster, to find those that the medium cannot read. Otherwise, only metadata are read.
    type: bool
    default: false
  fail_on:
    description:
      - Fail when findings of this severity or worse remain. The failed result has all the usual keys, and C(error_code)
        is C(unhealthy).
      - With V(never), the task fails only when the disk cannot be checked at all, or when a repair fails.
    type: str
    choices: [error, warning, never]
    default: error
  backup_dir:
    description:
      - The directory for a JSON file with the old bytes of all metadata that a repair changes. It is written before the
        first change.
      - When left out, O(repair=all) uses a directory beside the disk, with the name of the disk followed by C(.repair),
        and O(repair=safe) writes no such file.
      - The directory is created when it is missing; its parent directory must exist.
      - A link is followed when it is given here, but never at the place that is used when it is left out.
    type: path
seealso:
  - module: vdisk.parallels.hdd_compact
  - module: vdisk.parallels.hdd_info
"""

EXAMPLES = r"""
---
- name: Check a disk, and fail when it has errors
  vdisk.parallels.hdd_check:
    path: /vms/mac.pvm/mac.hdd

- name: Repair what can be repaired without losing data
  vdisk.parallels.hdd_check:
    path: /vms/mac.pvm/mac.hdd
    repair: safe

- name: Show what a repair would do, and what would remain
  vdisk.parallels.hdd_check:
    path: /vms/mac.pvm/mac.hdd
    repair: all
    fail_on: never
  check_mode: true
  register: doctor
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
healthy:
  description: Whether neither errors nor warnings remain.
  returned: success
  type: bool
  sample: true
findings:
  description: What was found, those of the descriptor first. In check mode, with what would be repaired.
  returned: success
  type: list
  elements: dict
  contains:
    code:
      description:
        - The stable code of the finding. R(The guide to codes,ansible_collections.vdisk.parallels.docsite.codes) has
          their meaning.
        - The codes are V(backup_differs), V(backup_unreadable), V(changing), V(data_unreadable),
          V(descriptor_cluster_size), V(descriptor_invalid), V(descriptor_missing), V(descriptor_size),
          V(descriptor_unreadable), V(entry_cut), V(entry_duplicate), V(entry_low), V(entry_off_grid),
          V(entry_out_of_file), V(entry_surplus), V(extension_damaged), V(extension_overlaps), V(extension_stale),
          V(extension_unknown), V(flag_empty), V(geometry), V(header_cluster_size), V(header_data_off), V(header_size),
          V(header_size_high), V(header_table_length), V(header_type), V(image_converting), V(image_dirty),
          V(image_foreign), V(image_missing), V(image_mixed), V(image_outside), V(image_shared), V(image_signature),
          V(image_size), V(image_too_short), V(image_truncated), V(image_type), V(image_unreadable),
          V(image_without_shot), V(in_use), V(interrupted), V(journal_unreadable), V(layer_without_vm_snapshot),
          V(leak_inside), V(leak_tail), V(leftover_ours), V(leftover_ploop), V(name_without_snapshot),
          V(names_unreadable), V(orphan_file), V(parent_missing), V(plain_size), V(shot_duplicate), V(shot_temporary),
          V(shot_without_image), V(tail_unaligned), V(top_missing), V(tree_loop), V(tree_several_roots),
          V(tree_too_deep), V(vm_disk_not_named), V(vm_disk_type), V(vm_size), V(vm_snapshot_without_layer),
          V(vm_suspended) and V(vm_unclear).
      type: str
      returned: success
    severity:
      description: V(error) for what endangers data or prevents other software from opening the disk, V(warning) for
        what should be looked at, V(info) for the rest.
      type: str
      returned: success
    where:
      description: The file.
      type: str
      returned: success
    message:
      description: What is wrong, for people.
      type: str
      returned: success
    repairable:
      description: V(safe) when O(repair=safe) and O(repair=all) repair it in this case, V(lossy) when only
        O(repair=all) does, V(no) when it cannot be repaired.
      type: str
      returned: success
    repaired:
      description: Whether it was repaired; in check mode, whether it would be.
      type: bool
      returned: success
counts:
  description: How many findings of each severity remain, and how many were repaired.
  returned: success
  type: dict
  sample: {error: 0, warning: 1, info: 0, repaired: 2}
backup:
  description: The JSON file with the old bytes; null when none was written.
  returned: success
  type: str
  sample: /vms/mac.pvm/mac.hdd.repair/mac.hdd-0f5d3c2b1a09.json
bytes_read:
  description: Bytes of guest data read or copied.
  returned: success
  type: int
  sample: 0
bytes_written:
  description: Bytes of guest data written.
  returned: when O(repair) is not V(none)
  type: int
  sample: 0
commits:
  description:
    - The step of each change that makes it true, in words and in order. Until that step every reader sees the disk as
      it was; after it only what is no longer needed is removed.
    - Empty when nothing changes, and for a change of which every part leaves the same disk.
  returned: when O(repair) is not V(none)
  type: list
  elements: str
  sample: [replace /vms/mac.pvm/mac.hdd/DiskDescriptor.xml]
elapsed:
  description: Seconds that the repair took, without the check itself.
  returned: when O(repair) is not V(none)
  type: float
  sample: 0.1
error_code:
  description:
    - What kind of failure it is, for programs. A code never changes its meaning. What to do about each is in R(the
      guide to codes,ansible_collections.vdisk.parallels.docsite.codes).
    - The codes are V(bad_request), V(damaged), V(dirty), V(encrypted), V(escape), V(exists), V(has_snapshots),
      V(in_use), V(interrupted), V(io_error), V(misfit), V(missing_image), V(missing_library), V(no_space),
      V(no_such_snapshot), V(not_a_bundle), V(not_a_whole_disk), V(not_found), V(permission), V(read_only),
      V(shared_layer), V(stale_plan), V(suspended), V(unhealthy), V(unsupported) and V(verify_failed).
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
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.check import check_disk
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
        repair=dict(type="str", choices=["none", "safe", "all"], default="none"),
        data=dict(type="bool", default=False),
        fail_on=dict(type="str", choices=["error", "warning", "never"], default="error"),
        backup_dir=dict(type="path"),
    )
    run_module(spec, check_disk, **ONE_OR_MANY)


if __name__ == "__main__":
    main()
