# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.maintain.exclude import excluded_by

DISK = "/vms/ci/mac-golden.pvm/a.hdd"


@pytest.mark.parametrize(
    "pattern",
    [
        DISK,
        f"{DISK}/",
        "/vms",
        "/vms/ci/",
        "/vms/*/mac-golden.pvm",
        "/v?s/ci",
        "ci",
        "*-golden.pvm",
        "a.hdd",
        "[ab].hdd",
        "ci/*.pvm",
        "golden.pvm/a.hdd",
        "*",
    ],
)
def test_paths_folders_and_patterns_that_apply(pattern: str) -> None:
    # A pattern from anywhere begins at a name.
    assert excluded_by(DISK, ["/none", pattern]) == (None if pattern == "golden.pvm/a.hdd" else pattern)


@pytest.mark.parametrize(
    "pattern", ["/vms/c", "/ci", "c", "golden", "/vms/ci/mac", "A.hdd", "a.hdd/x", "", "/", "b/a.hdd"]
)
def test_what_only_looks_alike_does_not(pattern: str) -> None:
    assert excluded_by(DISK, [pattern]) is None


def test_a_path_with_the_signs_of_patterns_is_still_a_path() -> None:
    assert excluded_by("/vms/[old]/a.hdd", ["/vms/[old]"]) == "/vms/[old]"
    assert excluded_by("/vms/o/a.hdd", ["/vms/[old]"]) == "/vms/[old]"
    assert excluded_by("/vms/x/a.hdd", ["/vms/[old]"]) is None
