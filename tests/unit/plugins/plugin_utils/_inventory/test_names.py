# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of inventory hosts: safe whatever a machine is called, and one for each."""

from __future__ import annotations

import re

import pytest

from ansible_collections.vdisk.parallels.plugins.plugin_utils._inventory.names import (
    group_name,
    host_name,
    host_names,
)

FREE = frozenset().__contains__
HOSTILE = [
    "{{ lookup('pipe', 'touch /tmp/x') }}",
    "{% for x in y %}",
    "../../../etc/shadow",
    "/chroot",
    "all",
    "localhost",
    "127.0.0.1",
    "a:b,c&!d[0:9]",
    "-oProxyCommand=touch x",
    "user@victim",
    "",
    "\x1b[2Jx\n",
    "...",
    "\u202egnp",
    "b\\xff",
    "\udcff",
    "x" * 5000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_can_be_nothing_but_a_name(name: str) -> None:
    made = host_name(name, name)
    assert re.fullmatch(r"[\w][\w.\-]*_on_[\w][\w.\-]*", made) and len(made) < 130
    assert "/" not in made and "@" not in made and made not in ("all", "localhost", "ungrouped", "127.0.0.1")
    made.encode()


def test_usual_names_are_kept() -> None:
    assert host_name("Mac-1.2", "mac07.example.com") == "Mac-1.2_on_mac07.example.com"
    assert host_name("Größe", "mac07") == "Größe_on_mac07"
    assert host_name("Windows 11 (2)", "mac07") == "Windows_11__2_on_mac07"


def test_each_machine_has_a_name_of_its_own() -> None:
    called = [(("h", "/a"), "mac"), (("h", "/b"), "MAC"), (("h", "/c"), "other"), (("i", "/a"), "mac")]
    names = host_names(called, FREE)
    assert names[("h", "/c")] == "other_on_h" and names[("i", "/a")] == "mac_on_i"
    assert re.fullmatch("mac_on_h_[0-9a-f]{8}", names[("h", "/a")])
    assert re.fullmatch("MAC_on_h_[0-9a-f]{8}", names[("h", "/b")])
    assert len({name.lower() for name in names.values()}) == 4


def test_such_a_name_does_not_depend_on_the_others() -> None:
    first = host_names([(("h", "/a"), "mac"), (("h", "/b"), "mac")], FREE)
    more = host_names([(("h", "/0"), "mac"), (("h", "/b"), "mac"), (("h", "/a"), "mac")], FREE)
    assert first[("h", "/a")] == more[("h", "/a")] and first[("h", "/b")] == more[("h", "/b")]


def test_a_name_that_others_have_is_left_to_them() -> None:
    names = host_names([(("h", "/a"), "mac")], {"mac_on_h"}.__contains__)
    assert re.fullmatch("mac_on_h_[0-9a-f]{8}", names[("h", "/a")])


@pytest.mark.parametrize(
    ("given", "made"),
    [("vdisk_on_a-b.c", "vdisk_on_a_b_c"), ("7x", "_7x"), ("", "_"), ("{{x}}", "__x__"), ("é", "_"), ("a b", "a_b")],
)
def test_a_group_is_one_that_ansible_takes(given: str, made: str) -> None:
    assert group_name(given) == made
