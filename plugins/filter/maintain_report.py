# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: maintain_report
short_description: Summarise what was done to the disks of a host
description:
  - Makes the report of the role P(vdisk.parallels.maintain#role) from its entries.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
options:
  _input:
    description: Entries of P(vdisk.parallels.maintain_entry#filter).
    type: list
    elements: dict
    required: true
  failed_disks:
    description: RV(vdisk.parallels.hdd_info#module:failed_disks) of the host.
    type: list
    elements: dict
  absent:
    description: Paths that do not exist.
    type: list
    elements: str
  predicted:
    description: Whether this was check mode.
    type: bool
    default: false
seealso:
  - plugin: vdisk.parallels.maintain_entry
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Show the summary
  ansible.builtin.debug:
    msg: "{{ (entries | vdisk.parallels.maintain_report).summary }}"
"""

RETURN = r"""
_value:
  description:
    - The report, with C(disks), C(absent), C(predicted), the numbers of disks that were C(changed), C(unchanged),
      C(skipped) and C(failed), C(size_before), C(size_after) and C(bytes_written), and C(summary), which is a list of
      lines.
  type: dict
"""

from ansible_collections.vdisk.parallels.plugins.plugin_utils._maintain.report import host_report


def maintain_report(entries, failed_disks=None, absent=None, predicted=False):
    """The report of a host, see above."""
    return host_report(
        list(entries), failed_disks=list(failed_disks or ()), absent=list(absent or ()), is_predicted=bool(predicted)
    )


class FilterModule:
    """Filters for the role maintain."""

    def filters(self):
        return {"maintain_report": maintain_report}
