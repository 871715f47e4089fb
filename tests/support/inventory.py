# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the inventory plugin in this process, with its options taken from its documentation."""

from __future__ import annotations

from typing import Any, Dict, List

NAME = "vdisk.parallels.machines"


class Ran:
    """What a run of the plugin made, and its warnings."""

    def __init__(self, inventory: Any, warnings: List[str]) -> None:
        self.inventory = inventory
        self.warnings = warnings

    @property
    def hosts(self) -> List[str]:
        return sorted(self.inventory.hosts)

    @property
    def groups(self) -> Dict[str, List[str]]:
        """Groups with their hosts, without those that Ansible always has."""
        found = self.inventory.get_groups_dict()
        return {name: sorted(hosts) for name, hosts in found.items() if name not in ("all", "ungrouped")}

    def variables(self, host: str) -> Dict[str, Any]:
        found: Dict[str, Any] = self.inventory.get_host(host).get_vars()
        return {name: value for name, value in found.items() if not name.startswith("inventory_")}


def run(path: str, *, cache: bool = True, inventory: Any = None) -> Ran:
    """Parse the source at ``path`` as Ansible does. Raises AnsibleParserError for a bad one."""
    import yaml
    from ansible import constants
    from ansible.inventory.data import InventoryData
    from ansible.parsing.dataloader import DataLoader

    from ansible_collections.vdisk.parallels.plugins.inventory import machines
    from ansible_collections.vdisk.parallels.tests.support.module_docs import fragment

    documentation = yaml.safe_load(machines.DOCUMENTATION)
    options = dict(documentation["options"])
    for name in documentation["extends_documentation_fragment"]:
        options.update(fragment(name)["options"])
    constants.config.initialize_plugin_configuration_definitions("inventory", NAME, options)
    plugin = machines.InventoryModule()
    plugin._load_name = plugin._original_path = plugin.ansible_name = NAME
    plugin._redirected_names = [NAME]
    warnings: List[str] = []

    class Quiet:
        """A display that keeps what is to be shown."""

        def warning(self, message: str, *_rest: Any, **_options: Any) -> None:
            warnings.append(message)

        def __getattr__(self, name: str) -> Any:
            return lambda *_rest, **_options: None

    plugin.display = Quiet()
    inventory = InventoryData() if inventory is None else inventory
    assert plugin.verify_file(path), path
    plugin.parse(inventory, DataLoader(), path, cache=cache)
    if plugin.get_option("cache"):
        plugin.update_cache_if_changed()
    inventory.reconcile_inventory()
    return Ran(inventory, warnings)
