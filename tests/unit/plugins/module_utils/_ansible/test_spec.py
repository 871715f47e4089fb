# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import (
    bundle_spec,
    disk_name,
    drops_swap,
    idle_spec,
    safety_spec,
    size_option,
    size_or,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest


def test_the_parts_of_a_specification_do_not_share_their_dictionaries() -> None:
    bundle_spec()["path"]["required"] = False
    safety_spec()["force"]["default"] = True
    assert bundle_spec()["path"]["required"] is True and safety_spec()["force"]["default"] is False


def test_options_without_effect_are_those_of_others_and_shared_by_nobody() -> None:
    taken = idle_spec("recurse", "files")
    assert set(taken) == {
        *("recurse", "mode", "owner", "group", "seuser", "serole", "setype", "selevel", "attributes", "unsafe_writes")
    }
    assert not any(fields.get("required") for fields in taken.values())
    taken["recurse"]["default"] = True
    assert idle_spec("recurse") == {"recurse": {"type": "bool", "default": False}} and idle_spec() == {}


def test_a_size_that_is_left_out_is_none_or_the_default_and_0_is_a_size() -> None:
    assert (size_option(None, "size"), size_option("1K", "size"), size_option("0", "size")) == (None, 1024, 0)
    assert (size_or(None, "size", 7), size_or("0", "size", 7), size_or("2M", "size", 7)) == (7, 0, 2 << 20)


@pytest.mark.parametrize("text", ["many", "-1", "1X", ""])
def test_a_wrong_size_names_its_option(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        size_option(text, "threshold")
    assert "threshold" in str(caught.value)


def test_a_name_says_something() -> None:
    assert (disk_name(None), disk_name(" a b ")) == (None, " a b ")
    for text in ("", " ", "\t\n"):
        with pytest.raises(BadRequest):
            disk_name(text)


def test_swap_is_dropped_only_where_it_is_looked_for() -> None:
    assert not drops_swap({"swap": "keep", "scan": "zeros"}) and drops_swap({"swap": "drop", "scan": "filesystem"})
    for scan in ("metadata", "zeros"):
        with pytest.raises(BadRequest, match="swap"):
            drops_swap({"swap": "drop", "scan": scan})
