# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Pythons that are promised are those that are tested, and none that this ansible-core knows is left out."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import List, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[3]
Version = Tuple[int, int]


def version(text: str) -> Version:
    major, minor = text.split(".")
    return int(major), int(minor)


def promised() -> Tuple[Version, Version]:
    """The oldest and the newest Python of managed nodes, as the README says."""
    found = re.search(
        r"^\| Python on the managed node \| (3\.\d+) to (3\.\d+) ", (ROOT / "README.md").read_text(), re.M
    )
    assert found is not None
    return version(found.group(1)), version(found.group(2))


def covered_by(path: str) -> List[Version]:
    """The Pythons that a script of the tests goes through."""
    found = re.search(r"for _?minor in ((?:3\.\d+ ?)+); do", (ROOT / path).read_text())
    assert found is not None, path
    return [version(one) for one in found.group(1).split()]


def known_to_ansible() -> List[Version]:
    """The Pythons of managed nodes and controllers that the ansible-test beside this Python lists."""
    found = importlib.util.find_spec("ansible_test")
    if found is None or not found.submodule_search_locations:
        pytest.skip("there is no ansible-test beside this Python")
    path = Path(found.submodule_search_locations[0], "_util", "target", "common", "constants.py")
    names = re.findall(r"^[A-Z_]*PYTHON_VERSIONS = \(\n(.*?)^\)", path.read_text(), re.M | re.S)
    assert names, path
    return [version(one) for block in names for one in re.findall(r"3\.\d+", block)]


@pytest.mark.parametrize("path", ["tests/utils/common.sh", "tests/utils/ansible_test.sh"])
def test_every_promised_python_is_tested(path: str) -> None:
    oldest, newest = promised()
    assert covered_by(path) == [(3, minor) for minor in range(oldest[1], newest[1] + 1)]


def test_no_python_that_ansible_runs_on_is_left_out() -> None:
    assert max(known_to_ansible()) <= promised()[1], "say so in the README, in tests/utils and in docs/testing.md"


def test_this_very_python_is_promised() -> None:
    oldest, newest = promised()
    assert oldest <= sys.version_info[:2] <= newest
    assert f"3.{oldest[1]} to 3.{newest[1]}" in (ROOT / "docs/testing.md").read_text()
