#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_check
short_description: Check and repair Parallels virtual disks
description:
  - Finds what is wrong with a disk, from its descriptor over the tree of snapshots and the tables of its images to the
    virtual machine around it, and goes on after the first thing. Every finding has a stable code; C(docs/findings.md)
    lists them.
  - A check never changes anything. With O(repair), what can be mended is mended, in an order in which a run may be cut
    off anywhere.
  - A disk that another process holds can be checked; what is found may be of the moment then. It is not repaired.
  - Images outside the bundle are never changed.
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
  repair:
    description:
      - With V(none), the disk is only looked at.
      - With V(safe), only what cannot lose data is changed. Marks, flags and fields of a header are set right where all
        others leave one value, unused ends are cut off, format extensions that do not count any more are dropped, what
        earlier runs left is ended or removed, and a descriptor is restored from its backup or made from the images when
        that is certain.
      - With V(all), what is lost already is given up as well. Entries that lead nowhere are forgotten, clusters that
        share a place are parted, and a backup of the descriptor is taken although it may not be the newest tree.
      - An image that carries the in-use mark is repaired only with O(force=true), and the mark is cleared when nothing
        else is wrong with the image.
    type: str
    choices: [none, safe, all]
    default: none
  data:
    description:
      - Also read every allocated cluster, to find those that the medium does not give back. Without it, metadata alone
        are read.
    type: bool
    default: false
  fail_on:
    description:
      - Let the task fail when findings of this severity or worse remain. The result has all the same keys then, and
        C(error_code) is C(unhealthy).
      - With V(never), the task fails only when the disk cannot be looked at at all, or cannot be repaired.
    type: str
    choices: [error, warning, never]
    default: error
  backup_dir:
    description:
      - Where a repair records the old bytes of all metadata that it changes, before the first change, as one JSON file.
      - When left out, O(repair=all) records them in a directory beside the disk that is called like it with C(.repair)
        behind, and O(repair=safe) nowhere.
      - The directory is created when it is missing, the one above it is not.
    type: path
seealso:
  - module: vdisk.parallels.hdd_compact
  - module: vdisk.parallels.hdd_info
"""

EXAMPLES = r"""
---
- name: Check a disk, and fail when something is wrong with it
  vdisk.parallels.hdd_check:
    path: /vms/mac.pvm/mac.hdd

- name: Repair what can be repaired without losing anything
  vdisk.parallels.hdd_check:
    path: /vms/mac.pvm/mac.hdd
    repair: safe

- name: See what a repair would do, and what would remain
  vdisk.parallels.hdd_check:
    path: /vms/mac.pvm/mac.hdd
    repair: all
    fail_on: never
  check_mode: true
  register: doctor
"""

RETURN = r"""
healthy:
  description: Whether neither errors nor warnings remain.
  returned: success
  type: bool
  sample: true
findings:
  description: What was found, worst things of the descriptor first. In check mode, with what would be repaired.
  returned: success
  type: list
  elements: dict
  contains:
    code:
      description: What it is. Codes are stable.
      type: str
      returned: success
    severity:
      description: V(error) for what endangers data or keeps others from opening the disk, V(warning) for what should be
        looked at, V(info) for the rest.
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
      description: V(safe) and V(lossy) tell which O(repair) mends it in this case, V(lossy) being for O(repair=all);
        V(no) is for what is not mended.
      type: str
      returned: success
    repaired:
      description: Whether it was mended; in check mode, whether it would be.
      type: bool
      returned: success
counts:
  description: How many findings remain of each severity, and how many were repaired.
  returned: success
  type: dict
  sample: {error: 0, warning: 1, info: 0, repaired: 2}
backup:
  description: The file with the old bytes; null when none was written.
  returned: success
  type: str
  sample: /vms/mac.pvm/mac.hdd.repair/mac.hdd-0f5d3c2b1a09.json
bytes_read:
  description: Bytes of guest data that were read or copied.
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
    - The step of each change that makes it true, in words and in order. Until that step every reader sees the disk as it
      was; after it only what is no longer needed is removed.
    - Empty when nothing changes, and for a change of which every part leaves the same disk.
  returned: when O(repair) is not V(none)
  type: list
  elements: str
  sample: [replace /vms/mac.pvm/mac.hdd/DiskDescriptor.xml]
elapsed:
  description: Seconds that the repair took, without the time for looking.
  returned: when O(repair) is not V(none)
  type: float
  sample: 0.1
"""

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.check import check_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import bundle_spec, safety_spec


def main():
    spec = dict(
        **bundle_spec(),
        **safety_spec(),
        repair=dict(type="str", choices=["none", "safe", "all"], default="none"),
        data=dict(type="bool", default=False),
        fail_on=dict(type="str", choices=["error", "warning", "never"], default="error"),
        backup_dir=dict(type="path"),
    )
    run_module(spec, check_disk)


if __name__ == "__main__":
    main()
