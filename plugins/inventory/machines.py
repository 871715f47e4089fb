# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: machines
short_description: Virtual machines with Parallels disks as inventory hosts
description:
  - Each virtual machine, and each disk that belongs to none, becomes an inventory host with facts of its disks, in
    groups by state, by guest system, by the host that has it, and in one for what needs attention.
  - They come from reports, which are results of M(vdisk.parallels.hdd_info) or of the role
    P(vdisk.parallels.audit#role) in files, and from the folders of the controller itself. Nothing is changed, and no
    other host is connected to.
  - The source is a YAML file with a name that ends in C(machines.yml) or C(machines.yaml).
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
requirements:
  - lxml >= 4.6 on the controller, for O(paths)
notes:
  - The inventory hosts are named C(MACHINE_on_HOST); characters other than letters, digits, C(.), C(-) and C(_) become
    C(_). Where several would have one name, or another inventory source has it already, a digest of the path is
    appended.
  - Tasks belong on the host that has the disks, so delegate them to C(vdisk_host), as in the examples.
  - What others call their machines and disks is marked as unsafe, and never evaluated as a template.
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices: [vdisk.parallels.machines]
  reports:
    description:
      - Files with reports, or folders of which all files with names that end in C(.json) are read. A relative path
        starts at the folder of the inventory source.
      - A file is either the C(audit.json) of the role P(vdisk.parallels.audit#role), or the result of
        M(vdisk.parallels.hdd_info) for the host that its name without C(.json) says.
      - Of a machine that is in several of them, the last one counts.
      - At least one of O(reports) and O(paths) is required.
    type: list
    elements: str
    default: []
  paths:
    description:
      - Disks, C(.pvm) directories, or folders with any of these, on the controller itself. A relative path starts at
        the folder of the inventory source.
      - They are looked at as the user who runs Ansible. A path that leads nowhere, or that this user may not read, is
        an error; a folder without disks is a warning.
    type: list
    elements: str
    default: []
  recurse:
    description: Also look for disks in all subdirectories of O(paths). Links are not followed.
    type: bool
    default: true
  check:
    description:
      - Check the metadata of each disk of O(paths), as M(vdisk.parallels.hdd_check) does, so that C(vdisk_attention)
        has the codes of all errors and warnings. Without it, it has what the facts say.
      - Reports of the role P(vdisk.parallels.audit#role) have the findings of its check.
    type: bool
    default: false
  entries:
    description: What an inventory host is, a machine with all its disks, or a single disk.
    type: str
    choices: [machines, disks]
    default: machines
  group_prefix:
    description: What the names of the groups begin with.
    type: str
    default: vdisk_
seealso:
  - module: vdisk.parallels.hdd_info
  - plugin: vdisk.parallels.audit_report
    plugin_type: filter
"""

EXAMPLES = r"""
---
# farm.machines.yml: what the role audit has written. These groups are made:
#   vdisk_machines            all of them
#   vdisk_state_clean         likewise dirty, in_use, suspended and unreadable
#   vdisk_os_macos            likewise windows, linux, freebsd and others, as the machine's configuration says
#   vdisk_on_mac07            all machines of the host mac07
#   vdisk_needs_attention     those with reasons in vdisk_attention
plugin: vdisk.parallels.machines
reports:
  - report/audit.json

---
# A playbook that repairs what needs it:
#   - hosts: vdisk_needs_attention
#     gather_facts: false
#     tasks:
#       - name: Repair what is safe
#         vdisk.parallels.hdd_check:
#           paths: "{{ vdisk_disks | map(attribute='path') }}"
#           repair: safe
#         delegate_to: "{{ vdisk_host }}"
plugin: vdisk.parallels.machines
reports: [reports]
strict: true
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/vdisk
compose:
  gib_to_give_back: (vdisk_reclaimable / 2 ** 30) | round(1)
groups:
  deep: vdisk_disks | map(attribute='layers') | select | max | default(0) > 8
keyed_groups:
  - key: vdisk_attention
    prefix: found

---
# The disks of the machine that Ansible runs on.
plugin: vdisk.parallels.machines
paths:
  - ~/Parallels
check: true
entries: disks
"""

import hashlib
import json
import os

from ansible.errors import AnsibleParserError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.deps import has_lxml
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.plugin_utils._inventory.here import disks_here
from ansible_collections.vdisk.parallels.plugins.plugin_utils._inventory.machines import machines_of
from ansible_collections.vdisk.parallels.plugins.plugin_utils._inventory.names import group_name, host_names
from ansible_collections.vdisk.parallels.plugins.plugin_utils._inventory.reports import (
    BadReport,
    read_report,
    report_files,
)

ENDINGS = ("machines.yml", "machines.yaml")
KEPT_AS = 1
"""Number of the shape of what is in the cache; it grows when that changes."""


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The inventory plugin, see above."""

    NAME = "vdisk.parallels.machines"
    _sanitize_group_name = staticmethod(group_name)

    def verify_file(self, path):
        """Whether the name of the file says that it is for this plugin."""
        return super().verify_file(path) and path.endswith(ENDINGS)

    def parse(self, inventory, loader, path, cache=True):
        """Fill the inventory from the source at ``path``."""
        super().parse(inventory, loader, path, cache)
        self._read_options(path)
        machines = self._machines(path, cache)
        groups = {self._key(machine): self._groups(machine) for machine in machines}
        taken = {*inventory.hosts, *inventory.groups, *(group for some in groups.values() for group in some)}
        names = host_names([(self._key(one), one["name"]) for one in machines], taken.__contains__)
        for machine in machines:
            self._add(names[self._key(machine)], machine, groups[self._key(machine)])

    def _read_options(self, path):
        try:
            config = self._read_config_data(path)
        except (AttributeError, TypeError) as error:
            raise AnsibleParserError(f"{path}: this is not a dictionary of options.") from error
        unknown = sorted(str(key) for key in config if key not in self._options)
        if unknown:
            raise AnsibleParserError(f"{path}: there is no option {', '.join(unknown)}.")
        for option in ("recurse", "check"):
            # Ansible takes every word that it does not know for false.
            try:
                boolean(config.get(option, False))
            except TypeError as error:
                raise AnsibleParserError(f"{path}: {option} is neither true nor false.") from error
        if not self.get_option("reports") and not self.get_option("paths"):
            raise AnsibleParserError(f"{path}: one of the options reports and paths is required.")

    def _machines(self, path, cache):
        """The machines, from the cache where it has them from the same options and reports."""
        reports, paths = (self._absolute(path, option) for option in ("reports", "paths"))
        try:
            files = [file for report in reports for file in report_files(report)]
        except BadReport as error:
            raise AnsibleParserError(str(error)) from error
        if not self.get_option("cache"):
            return self._found(files, paths)
        key, made_of = self.get_cache_key(path), self._made_of(files, paths)
        kept = self._kept(key) if cache else None
        if isinstance(kept, dict) and kept.get("made_of") == made_of:
            return kept["machines"]
        machines = self._found(files, paths)
        self._cache[key] = {"made_of": made_of, "machines": machines}
        return machines

    def _kept(self, key):
        try:
            return self._cache[key]
        except KeyError:
            return None

    def _absolute(self, path, option):
        folder = os.path.dirname(os.path.abspath(path))
        given = self.get_option(option)
        if not all(isinstance(one, str) and one.strip() for one in given):
            raise AnsibleParserError(f"{path}: {option} has an entry that is no path.")
        return [os.path.join(folder, os.path.expanduser(os.path.expandvars(one))) for one in given]

    def _made_of(self, files, paths):
        """What the machines depend on, but for what is on the disks."""
        stats = [os.stat(file) for file in files if os.path.exists(file)]
        options = [self.get_option(option) for option in ("recurse", "check", "entries")]
        dates = [[one.st_size, one.st_mtime_ns] for one in stats]
        parts = json.dumps([KEPT_AS, files, dates, paths, options])
        return hashlib.sha256(parts.encode()).hexdigest()

    def _found(self, files, paths):
        """The machines that the reports and the disks of the controller tell of, each once."""
        told = []
        try:
            for file in files:
                for one in read_report(file):
                    told.append(one)
                    if one.message is not None:
                        self.display.warning(f"{file}: nothing is known of {one.host}: {_printable(one.message)}")
            if paths:
                told.append(self._found_here(paths))
        except BadReport as error:
            raise AnsibleParserError(str(error)) from error
        by_disk = self.get_option("entries") == "disks"
        machines = [one for each in told for one in machines_of(each.host, each.disks, each.failed, by_disk=by_disk)]
        return list({self._key(machine): machine for machine in machines}.values())

    def _found_here(self, paths):
        if not has_lxml():
            raise AnsibleParserError("The option paths needs lxml on the controller: pip install lxml")
        try:
            told = disks_here(paths, recurse=self.get_option("recurse"), check=self.get_option("check"))
        except DiskError as error:
            raise AnsibleParserError(_printable(str(error))) from error
        if told.message is not None:
            self.display.warning(_printable(told.message))
        return told

    @staticmethod
    def _key(machine):
        return machine["host"], machine["path"]

    def _groups(self, machine):
        prefix = self.get_option("group_prefix")
        parts = ["machines", f"state_{machine['state']}", f"on_{machine['host']}"]
        parts += [f"os_{machine['os']}"] if machine["os"] else []
        parts += ["needs_attention"] if machine["attention"] else []
        return [group_name(f"{prefix}{part}") for part in parts]

    def _add(self, name, machine, groups):
        self.inventory.add_host(name)
        for group in groups:
            self.inventory.add_group(group)
            self.inventory.add_child(group, name)
        variables = {f"vdisk_{key}": _never_a_template(value) for key, value in machine.items()}
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def _never_a_template(value):
    """The same, with every text that could be one marked."""
    if isinstance(value, dict):
        return {key: _never_a_template(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_never_a_template(one) for one in value]
    return wrap_var(value) if isinstance(value, str) and ("{" in value or "}" in value) else value


def _printable(text):
    """What a terminal shows as it is."""
    return "".join(character if character.isprintable() else "?" for character in text)
