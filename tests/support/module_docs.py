# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules document, and whether a result keeps to it.

Needs ansible-core and PyYAML; tests that ask for it are skipped without.
"""

from __future__ import annotations

import importlib
import os
import runpy
from typing import Any, Dict, List, Set
from unittest import mock

import pytest

from ansible_collections.vdisk.parallels.tests.support.module_runner import ANSIBLE_OWNS, MODULES

NAMES = (
    "hdd",
    "hdd_check",
    "hdd_compact",
    "hdd_convert",
    "hdd_info",
    "hdd_maintain",
    "hdd_merge",
    "hdd_nbd",
    "hdd_snapshot",
    "vagrant_box",
)
OWN = "vdisk.parallels."
NOT_IN_PREDICTIONS = {"partitions", "checksum", "filesystems"}
"""Facts that only hdd_info tells, because it reads guest data for them."""


class _Spec(Exception):
    """Carries the arguments of AnsibleModule out of main()."""


def parsed(name: str, constant: str) -> Any:
    """DOCUMENTATION, RETURN or EXAMPLES of a module as data."""
    yaml = pytest.importorskip("yaml", reason="reading the documentation needs PyYAML")
    return yaml.safe_load(getattr(importlib.import_module(f"{MODULES}.{name}"), constant))


def options(name: str) -> Dict[str, Dict[str, Any]]:
    """The documented options, those of fragments included; a module's own words go first."""
    documentation = parsed(name, "DOCUMENTATION")
    merged: Dict[str, Dict[str, Any]] = {}
    for part in [documentation, *(fragment(one) for one in documentation.get("extends_documentation_fragment", []))]:
        for option, fields in part.get("options", {}).items():
            merged[option] = {**fields, **merged.get(option, {})}
    return merged


def fragment(name: str) -> Dict[str, Any]:
    """A documentation fragment, ours or Ansible's."""
    yaml = pytest.importorskip("yaml", reason="reading the documentation needs PyYAML")
    if name.startswith(OWN):
        file, _dot, variant = name[len(OWN) :].partition(".")
        module = importlib.import_module(f"ansible_collections.vdisk.parallels.plugins.doc_fragments.{file}")
        text = getattr(module.ModuleDocFragment, variant.upper() or "DOCUMENTATION")
    else:
        text = _fragment_of_ansible(name.rpartition(".")[2])
    found: Dict[str, Any] = yaml.safe_load(text)
    return found


def _fragment_of_ansible(file: str) -> str:
    """The file is run without its package: importing that would make this process a controller, where warnings of
    modules go to the screen.
    """
    import ansible

    text: str = runpy.run_path(
        os.path.join(os.path.dirname(ansible.__file__), "plugins", "doc_fragments", f"{file}.py")
    )["ModuleDocFragment"].DOCUMENTATION
    return text


def spec_of(name: str) -> Dict[str, Any]:
    """The arguments that a module gives to AnsibleModule."""
    from ansible.module_utils import basic

    def leave(_self: Any, **arguments: Any) -> None:
        raise _Spec(arguments)

    with mock.patch.object(basic.AnsibleModule, "__init__", leave):
        try:
            importlib.import_module(f"{MODULES}.{name}").main()
        except _Spec as found:
            arguments: Dict[str, Any] = found.args[0]
            return arguments
    raise AssertionError(f"{name} does not make an AnsibleModule")


def assert_documented(name: str, result: Dict[str, Any]) -> None:
    """A successful result has all the keys that are promised, none that is not documented, and values of the
    documented types.
    """
    _check_keys(
        name,
        parsed(name, "RETURN"),
        {key: value for key, value in result.items() if key not in ANSIBLE_OWNS},
        {"always", "success"},
    )
    facts = result["disks"] if name == "hdd_info" else [result["disk"]] if "disk" in result else []
    for disk in facts:
        assert_disk_facts(disk, told_by=name)


def assert_disk_facts(facts: Dict[str, Any], *, told_by: str) -> None:
    """Disk facts are as hdd_info documents them, also when another module returns them."""
    promised = parsed("hdd_info", "RETURN")["disks"]["contains"]
    if told_by != "hdd_info":
        promised = {key: value for key, value in promised.items() if key not in NOT_IN_PREDICTIONS}
    levels = {"always", "success", "when it exists"} if facts["exists"] else {"always"}
    promised = {key: value for key, value in promised.items() if facts["exists"] or value["returned"] == "always"}
    _check_keys("disk facts", promised, facts, levels)


def _check_keys(where: str, promised: Dict[str, Any], found: Dict[str, Any], levels: Set[str]) -> None:
    assert not set(found) - set(promised), f"{where}: not documented"
    assert not {key for key, fields in promised.items() if fields["returned"] in levels} - set(found), (
        f"{where}: documented, not returned"
    )
    for key, value in found.items():
        fields = promised[key]
        _check_type(f"{where}.{key}", fields, value)
        if "contains" in fields and value is not None and not (where == "hdd_info" and key == "disks"):
            for one in value if isinstance(value, list) else [value]:
                _check_keys(f"{where}.{key}", fields["contains"], one, {"always", "success"})


def _check_type(where: str, fields: Dict[str, Any], value: Any) -> None:
    kinds = {"str": str, "int": int, "float": (float, int), "bool": bool, "dict": dict, "list": list}
    if value is None:
        told = fields["description"] if isinstance(fields["description"], str) else " ".join(fields["description"])
        assert "null" in told.lower(), f"{where} is null"
        return
    assert isinstance(value, kinds[fields["type"]]), f"{where} is a {type(value).__name__}"
    assert isinstance(value, bool) == (fields["type"] == "bool"), where
    if fields["type"] == "list":
        elements: List[Any] = value
        assert all(isinstance(one, kinds[fields["elements"]]) for one in elements), where
