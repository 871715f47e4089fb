# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules say of themselves is what they take; whether it is what they return is tested with each of them."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs

each_module = pytest.mark.parametrize("name", module_docs.NAMES)


def test_every_module_is_looked_at(repository):
    folder = os.path.join(repository, "plugins", "modules")
    assert sorted(file[:-3] for file in os.listdir(folder) if file.endswith(".py")) == sorted(module_docs.NAMES)


@each_module
def test_every_option_is_documented_and_no_other(name):
    arguments = module_docs.spec_of(name)
    taken = set(arguments["argument_spec"])
    if arguments.get("add_file_common_args"):
        taken |= set(module_docs.fragment("ansible.builtin.files")["options"])
    assert set(module_docs.options(name)) == taken


@each_module
def test_type_default_choices_and_aliases_are_documented_as_they_are(name):
    documented = module_docs.options(name)
    for option, spec in module_docs.spec_of(name)["argument_spec"].items():
        fields = documented[option]
        for aspect in ("type", "default", "choices", "aliases", "elements", "required"):
            assert fields.get(aspect) == spec.get(aspect), (option, aspect)


@each_module
def test_every_option_and_return_value_is_described(name):
    documented = module_docs.options(name)
    assert [option for option, fields in documented.items() if not fields.get("description")] == []
    for key, fields in module_docs.parsed(name, "RETURN").items():
        assert {"description", "returned", "type"} <= set(fields), key
        assert fields["type"] != "list" or "elements" in fields, key


@each_module
def test_every_module_supports_check_mode(name):
    assert module_docs.spec_of(name)["supports_check_mode"] is True


@each_module
def test_each_exclusion_and_requirement_of_the_spec_is_told(name):
    arguments = module_docs.spec_of(name)
    documented = module_docs.options(name)
    for one, other in arguments.get("mutually_exclusive", []):
        for option, rival in ((one, other), (other, one)):
            assert any(f"Mutually exclusive with O({rival})" in line for line in documented[option]["description"])
