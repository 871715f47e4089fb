# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.hdd import ensure_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, HasSnapshots, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import predictable, tree
from ansible_collections.vdisk.parallels.tests.support.tasks import hdd_task

MIB = 1 << 20
DISK = dict(size_sectors=2048 * 4, layers=[Layer(TOP, clusters={0: fill(0, MIB), 2: fill(2, MIB)})])


def asked(path: str, **options: Any) -> dict:
    return ensure_disk(hdd_task(path, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options, size",
    [
        (dict(size="6M", name="other"), 6),
        (dict(size="6M", type="plain"), 6),
        (dict(split_size="2G", format_version="2"), 4),
        (dict(size="3M", shrink=True, name="other"), 3),
    ],
)
def test_several_changes_of_one_task_are_predicted_and_made_once(
    root: str, path: str, built: Any, options: dict, size: int
) -> None:
    before = tree(root)
    predicted = asked(path, check=True, **options)
    assert tree(root) == before and predicted["changed"]
    done = asked(path, **options)
    assert predictable(predicted) == predictable(done)
    assert disks.read_naively(OsPort(), path) == built.guest(TOP)[: size * MIB].ljust(size * MIB, b"\0")
    after = tree(root)
    assert not asked(path, **options)["changed"] and tree(root) == after


@pytest.mark.parametrize(
    "options", [dict(size="2M"), dict(size="2M", shrink=True), dict(cluster_size="64K"), dict(size="0", shrink=True)]
)
def test_what_would_lose_data_or_cannot_be_is_refused_before_anything_changes(
    root: str, path: str, built: object, options: dict
) -> None:
    before = tree(root)
    with pytest.raises((BadRequest, Unsupported)):
        asked(path, name="other", **options)
    assert tree(root) == before


def test_snapshots_are_refused_unless_they_are_given_up(root: str, path: str) -> None:
    layers = line_of_layers({0: fill(0, MIB)}, {1: fill(1, MIB)})
    guest = build_bundle(path, size_sectors=2048 * 4, layers=layers).guest(TOP)
    before = tree(root)
    with pytest.raises(HasSnapshots):
        asked(path, size="6M", name="other")
    assert tree(root) == before
    assert asked(path, size="6M", snapshots="merge")["disk"]["depth"] == 1
    assert disks.read_naively(OsPort(), path) == guest.ljust(6 * MIB, b"\0")
