# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: maintain_report
short_description: Summarise what was done to the disks of a host
description:
  - Makes the report of the role P(vdisk.parallels.maintain#role) from results of M(vdisk.parallels.hdd_maintain).
author:
  - The vdisk.parallels authors (@vdisk-parallels)
options:
  _input:
    description:
      - Results of M(vdisk.parallels.hdd_maintain) on one host, in the order of the runs. What a later one says of a
        disk counts.
      - Instead of a result, a dictionary with a machine of P(vdisk.parallels.maintain_machines#filter) as C(stopped),
        and with the C(msg) that says why it could not be stopped.
    type: list
    elements: dict
    required: true
seealso:
  - module: vdisk.parallels.hdd_maintain
  - plugin: vdisk.parallels.maintain_machines
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Look after the disks
  vdisk.parallels.hdd_maintain:
    paths: [/vms]
    recurse: true
  register: maintained

- name: Show the summary
  ansible.builtin.debug:
    msg: "{{ ([maintained] | vdisk.parallels.maintain_report).summary }}"
"""

RETURN = r"""
_value:
  description:
    - The report, with C(disks), C(absent), which are the paths that lead to no disk, C(unfinished), C(predicted),
      C(earlier), which are runs that were cut off with C(began), C(cut_at) and C(disks), the numbers of disks that were
      C(changed), C(unchanged), C(skipped) and C(failed), C(size_before), C(size_after) and C(bytes_written), and
      C(summary), which is a list of lines.
    - A disk has C(path), C(name), C(status), C(reason), C(error_code), C(findings), C(layers_before), C(layers_after),
      C(size_before), C(size_after), C(merged), C(snapshots_merged) and C(snapshots_kept), which are the names of
      snapshots that went and that are still there, C(reclaimed) and C(bytes_written).
  type: dict
"""

from ansible_collections.vdisk.parallels.plugins.plugin_utils._maintain.report import host_report


def maintain_report(results):
    """The report of a host, see above."""
    return host_report(list(results))


class FilterModule:
    """Filters for the role maintain."""

    def filters(self):
        return {"maintain_report": maintain_report}
