# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: maintain_entry
short_description: Summarise what was done to a disk
description:
  - Makes one entry for the report of the role P(vdisk.parallels.maintain#role) from what the modules returned for a
    disk.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
options:
  _input:
    description: The facts of the disk before the changes, one of RV(vdisk.parallels.hdd_info#module:disks).
    type: dict
    required: true
  check:
    description: What M(vdisk.parallels.hdd_check) returned; an empty dictionary when it did not run.
    type: dict
  merge:
    description: What M(vdisk.parallels.hdd_merge) returned; an empty dictionary when it did not run.
    type: dict
  compact:
    description: What M(vdisk.parallels.hdd_compact) returned; an empty dictionary when it did not run.
    type: dict
  over:
    description: Whether a limit of the run prevented a step from being started.
    type: bool
    default: false
  predicted:
    description: Whether this was check mode.
    type: bool
    default: false
seealso:
  - plugin: vdisk.parallels.maintain_report
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Merge a disk
  vdisk.parallels.hdd_merge:
    path: "{{ disk.path }}"
  register: merged

- name: Show what was done
  ansible.builtin.debug:
    msg: "{{ disk | vdisk.parallels.maintain_entry(merge=merged) }}"
"""

RETURN = r"""
_value:
  description:
    - The entry, with C(path), C(name), C(status) (V(changed), V(unchanged), V(skipped) or V(failed)), C(reason),
      C(error_code), C(findings), C(layers_before), C(layers_after), C(size_before), C(size_after), C(merged),
      C(reclaimed) and C(bytes_written).
  type: dict
"""

from ansible_collections.vdisk.parallels.plugins.plugin_utils._maintain.report import disk_entry


def maintain_entry(disk, check=None, merge=None, compact=None, over=False, predicted=False):
    """One entry of a report, see above."""
    return disk_entry(
        disk,
        check=check or {},
        merge=merge or {},
        compact=compact or {},
        is_over=bool(over),
        is_predicted=bool(predicted),
    )


class FilterModule:
    """Filters for the role maintain."""

    def filters(self):
        return {"maintain_entry": maintain_entry}
