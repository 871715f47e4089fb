# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: audit_page
short_description: Show a report of disks as one HTML page
description:
  - Renders the report of P(vdisk.parallels.audit_report#filter) as one self-contained HTML document. It loads nothing
    from the network, follows the reader's light or dark setting, can be printed, and works without JavaScript except
    for its filter box.
  - All text from hosts and disks is escaped.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
options:
  _input:
    description: A report.
    type: dict
    required: true
seealso:
  - plugin: vdisk.parallels.audit_report
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Render a report that was written before
  ansible.builtin.copy:
    content: "{{ lookup('ansible.builtin.file', 'audit.json') | from_json | vdisk.parallels.audit_page }}"
    dest: audit.html
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The document.
  type: str
"""

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.page import render
from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.report import FORMAT


def audit_page(report):
    """The page of a report, see above."""
    if not isinstance(report, Mapping) or report.get("format") != FORMAT:
        raise AnsibleFilterError(
            "audit_page: this is no report, or one of another version. "
            "Make it with the filter audit_report of this collection."
        )
    return render(_plain(report))


def _plain(value):
    """The same as dictionaries and lists of Python: those of Ansible do their work again each time they are read."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


class FilterModule:
    """Filters for the role audit."""

    def filters(self):
        return {"audit_page": audit_page}
