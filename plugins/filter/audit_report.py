# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: audit_report
short_description: Combine the facts of the disks of many hosts
description:
  - Combines the results of M(vdisk.parallels.hdd_maintain) or M(vdisk.parallels.hdd_info) on many hosts into one
    report, with totals and with what each disk can give back. The role P(vdisk.parallels.audit#role) writes it as
    C(audit.json).
  - All lists have one entry for each host, in the same order, and an empty dictionary for a host without a result.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
positional: _input
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: str
    required: true
  infos:
    description:
      - Results of M(vdisk.parallels.hdd_info), or of M(vdisk.parallels.hdd_maintain) in check mode with
        O(vdisk.parallels.hdd_maintain#module:facts=true), which are their own O(forecasts).
    type: list
    elements: dict
    required: true
  forecasts:
    description:
      - Results of M(vdisk.parallels.hdd_maintain) in check mode with
        O(vdisk.parallels.hdd_maintain#module:orphans=true) and without a compaction.
    type: list
    elements: dict
  title:
    description: The title of the report.
    type: str
    default: Audit of virtual disks
  stamp:
    description: The time of the report, as text.
    type: str
    default: ""
  scan:
    description: The O(vdisk.parallels.hdd_info#module:scan) that the facts were gathered with.
    type: str
    default: metadata
  check:
    description: Whether the report is to tell what a check found, as far as there was one.
    type: bool
    default: true
  merge:
    description: Whether the report is to tell what a merge of orphan layers would do, as far as that was predicted.
    type: bool
    default: true
seealso:
  - plugin: vdisk.parallels.audit_page
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Gather facts of the disks of this host, check them, and predict a merge of their orphan layers
  vdisk.parallels.hdd_maintain:
    paths: [/vms]
    recurse: true
    orphans: true
    compact: false
    scan: metadata
    facts: true
    fail_on: never
  check_mode: true
  register: facts_of_disks

- name: Write a report of all hosts
  ansible.builtin.copy:
    content: >-
      {{ hosts | vdisk.parallels.audit_report(infos=hosts | map('extract', hostvars, 'facts_of_disks'))
      | to_nice_json }}
    dest: report.json
    mode: "0644"
  vars:
    hosts: "{{ ansible_play_hosts }}"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description:
    - The report. C(totals) has the sums over the fleet, C(hosts) has each host with its C(disks), C(failed_disks),
      C(status) and C(message).
    - A disk has the facts of RV(vdisk.parallels.hdd_info#module:disks) and also C(gain), C(check), C(merge) and
      C(orphan_layers).
  type: dict
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.report import build_report


def audit_report(
    hosts, infos, forecasts=None, title="Audit of virtual disks", stamp="", scan="metadata", check=True, merge=True
):
    """The report of a fleet, see above."""
    hosts, infos = list(hosts), list(infos)
    forecasts = [{}] * len(hosts) if forecasts is None else list(forecasts)
    if not len(hosts) == len(infos) == len(forecasts):
        raise AnsibleFilterError("audit_report: each list must have one entry for each host.")
    if any("missing" in info and "undescribed" not in info for info in infos):
        raise AnsibleFilterError("audit_report: a result of hdd_maintain in infos needs facts: true.")
    return build_report(hosts, infos, forecasts, title=title, stamp=stamp, scan=scan, check=check, merge=merge)


class FilterModule:
    """Filters for the role audit."""

    def filters(self):
        return {"audit_report": audit_report}
