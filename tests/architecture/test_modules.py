# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all modules have in common: the action group, the fragments, what they say of themselves."""

from __future__ import annotations

import ast
import os
from typing import Any, Dict, List

import pytest
import yaml

from ansible_collections.vdisk.parallels.tests.architecture import sources

MODULES = sources.files(".py", under=sources.MODULES)
FRAGMENT = "vdisk.parallels._attributes"
GROUP = "vdisk.parallels.hdd"
NOT_ACTIONS = {"vars", "module_defaults", "loop_control", "environment", "args"}


def _constant(path: str, name: str) -> str:
    for node in ast.walk(sources.parse(path)):
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{path} has no {name}")


def _fragments(path: str) -> List[str]:
    named = yaml.safe_load(_constant(path, "DOCUMENTATION")).get("extends_documentation_fragment", [])
    return [named] if isinstance(named, str) else list(named)


def _attributes(path: str) -> Dict[str, Any]:
    """The attributes of a module as ansible-doc shows them: its own, and beneath them those of its fragments."""
    merged: Dict[str, Any] = {}
    own = yaml.safe_load(_constant(path, "DOCUMENTATION")).get("attributes", {})
    parts = [own]
    for name in _fragments(path):
        if name.startswith("vdisk.parallels."):
            file, _dot, variant = name[len("vdisk.parallels.") :].partition(".")
            parts.append(
                yaml.safe_load(_constant(f"plugins/doc_fragments/{file}.py", variant.upper() or "DOCUMENTATION")).get(
                    "attributes", {}
                )
            )
    for part in parts:
        for name, fields in part.items():
            merged[name] = {**fields, **merged.get(name, {})}
    return merged


def test_the_action_group_lists_every_module() -> None:
    if not MODULES:
        pytest.skip("there are no modules")
    group = yaml.safe_load(sources.read("meta/runtime.yml"))["action_groups"]["hdd"]
    assert group == sorted("vdisk.parallels." + os.path.basename(path)[:-3] for path in MODULES)


@pytest.mark.parametrize("path", MODULES)
def test_a_module_extends_the_fragment_of_the_action_group(path: str) -> None:
    assert [name for name in _fragments(path) if name == FRAGMENT or name.startswith(FRAGMENT + ".")]
    assert _attributes(path)["action_group"]["membership"] == [GROUP]


@pytest.mark.parametrize("path", MODULES)
def test_a_module_says_what_it_does_in_check_and_diff_mode(path: str) -> None:
    attributes = _attributes(path)
    is_reading = path.endswith("_info.py")
    assert attributes["check_mode"]["support"] == "full"
    assert attributes["diff_mode"]["support"] == ("N/A" if is_reading else "full")
    assert attributes["idempotent"]["support"] in ("full", "partial")
    assert attributes["platform"]["platforms"] == "posix"


@pytest.mark.parametrize("path", MODULES)
def test_a_module_supports_check_mode(path: str) -> None:
    assert "supports_check_mode=True" in "".join(
        sources.read(file) for file in sources.closure(path, only_at_start=False)
    )


@pytest.mark.parametrize("path", MODULES)
def test_examples_use_full_names(path: str) -> None:
    own = "vdisk.parallels." + os.path.basename(path)[:-3]
    tasks = yaml.safe_load(_constant(path, "EXAMPLES"))
    assert any(own in task for task in tasks)
    actions = {key for task in tasks for key in task if isinstance(task[key], dict) and key not in NOT_ACTIONS}
    assert not {action for action in actions if action.count(".") < 2}


@pytest.mark.parametrize("path", MODULES)
def test_a_module_begins_and_ends_as_ansible_wants(path: str) -> None:
    text = sources.read(path)
    assert text.startswith("#!/usr/bin/python\n")
    assert text.endswith('if __name__ == "__main__":\n    main()\n')
    assert not os.access(os.path.join(sources.ROOT, path), os.X_OK)


@pytest.mark.parametrize("path", MODULES)
def test_a_module_begins_with_what_lets_the_rest_be_compiled_once(path: str) -> None:
    own = [
        node.module or ""
        for node in sources.parse(path).body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
    ]
    assert own[0].endswith("._ansible.run")
    early = [item.name for item in sources.imports("plugins/module_utils/_ansible/run.py") if item.at_start]
    engine = [name for name in early if "._io." in name or "._core." in name or "._ops." in name or "._bundle." in name]
    assert len(engine) <= 3, engine


def test_what_three_modules_say_is_in_a_fragment() -> None:
    said: Dict[str, List[str]] = {}
    for path in MODULES:
        own = yaml.safe_load(_constant(path, "DOCUMENTATION"))
        descriptions = [option["description"] for option in own.get("options", {}).values() if "description" in option]
        for line in own.get("requirements", []) + [line for one in descriptions for line in _lines(one)]:
            said.setdefault(line, []).append(os.path.basename(path))
    assert not {line: names for line, names in said.items() if len(set(names)) > 2}


def _lines(description: Any) -> List[str]:
    return [description] if isinstance(description, str) else list(description)
