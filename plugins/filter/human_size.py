# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: human_size
short_description: Format a number of bytes
description:
  - Formats a number of bytes in the largest unit that fits, with at most one decimal, as in the messages of this
    collection.
  - Unlike P(ansible.builtin.human_readable#filter), it writes C(GiB) for powers of 1024 and accepts negative numbers.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
options:
  _input:
    description: The number of bytes.
    type: int
    required: true
seealso:
  - plugin: ansible.builtin.human_readable
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Show the size of the files of a disk
  ansible.builtin.debug:
    msg: "{{ facts.disks[0].file_size | vdisk.parallels.human_size }}"
"""

RETURN = r"""
_value:
  description: The size, such as V(1.5 GiB).
  type: str
  sample: 1.5 GiB
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import format_size


def human_size(size):
    """The size with its unit, see above."""
    try:
        return format_size(int(size))
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"human_size: {str(size)[:80]!r} is not a number of bytes.") from error


class FilterModule:
    """Filters for sizes."""

    def filters(self):
        return {"human_size": human_size}
