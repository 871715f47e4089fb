# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: maintain_machines
short_description: Name the machines that have to be stopped for maintenance
description:
  - Finds the virtual machines that are in use, and for whose disks there is something to do, in a result of
    M(vdisk.parallels.hdd_maintain) with O(vdisk.parallels.hdd_maintain#module:busy=predict).
author:
  - The vdisk.parallels authors (@vdisk-parallels)
options:
  _input:
    description: The result.
    type: dict
    required: true
seealso:
  - module: vdisk.parallels.hdd_maintain
"""

EXAMPLES = r"""
---
- name: See what could be done
  vdisk.parallels.hdd_maintain:
    paths: [/vms]
    recurse: true
    orphans: true
    busy: predict
  check_mode: true
  register: forecast

- name: Show what would have to be stopped for it
  ansible.builtin.debug:
    msg: "{{ forecast | vdisk.parallels.maintain_machines | map(attribute='name') }}"
"""

RETURN = r"""
_value:
  description:
    - The machines with C(name), C(uuid) and C(path), and C(disks), which are the paths of the disks that wait. A disk
      without a machine stands for itself, with null as its name and UUID.
  type: list
  elements: dict
"""

from ansible_collections.vdisk.parallels.plugins.plugin_utils._maintain.report import machines_of


def maintain_machines(result):
    """Machines that have to be stopped, see above."""
    return machines_of(result)


class FilterModule:
    """Filters for the role maintain."""

    def filters(self):
        return {"maintain_machines": maintain_machines}
