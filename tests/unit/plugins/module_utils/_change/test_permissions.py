# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which places a plan writes to, and that it is refused before its first step."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import check_preconditions, execute
from ansible_collections.vdisk.parallels.plugins.module_utils._change.permissions import (
    lost_names,
    refuse_content,
    refuse_place,
    refuse_unwritable,
    written_places,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import NoPermission, ReadOnly
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    CreateFile,
    MakeDirectory,
    Plan,
    Remove,
    Rename,
    ReplaceFile,
    Resize,
    WriteBytes,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

STEPS = (
    MakeDirectory("/a/new"),
    CreateFile("/a/new/x", 1),
    WriteBytes("/b/image", 0, b"x"),
    Resize("/b/image", 7),
    ReplaceFile("/c/doc", b"", "/c/.doc"),
    Rename("/d/.old", "/d/gone", displaced="/d/.kept"),
    Rename("/e/bundle", "/e/.hidden"),
    Remove(("/d/.kept", "/e/.hidden"), "/f"),
)


def test_the_places_of_a_plan() -> None:
    assert written_places(Plan("x", STEPS)) == ("/a", "/a/new", "/b/image", "/c", "/d", "/e", "/f")


@pytest.mark.parametrize("place", ["/a", "/b/image", "/c", "/d", "/e", "/f", "/e/bundle", "/d/gone"])
def test_each_of_them_may_be_refused(place: str) -> None:
    port = MemoryPort()
    for folder in ("/e/bundle", "/d/gone"):
        port.plant_directory(folder)
    refuse_unwritable(port, Plan("x", STEPS))
    port.plant_refusal(place, ReadOnly("no", path=place))
    with pytest.raises(ReadOnly):
        refuse_unwritable(port, Plan("x", STEPS))
    with pytest.raises(ReadOnly):
        refuse_place(port, place)


def test_the_names_that_a_plan_takes() -> None:
    expected = ("/c/doc", "/d/.old", "/d/gone", "/e/bundle", "/e/.hidden", "/d/.kept")
    assert lost_names(Plan("x", STEPS)) == expected


@pytest.mark.parametrize("name", ["/c/doc", "/e/bundle", "/d/gone", "/e/bundle/inner"])
def test_each_of_these_names_may_be_kept_by_the_host(name: str) -> None:
    port = MemoryPort()
    for folder in ("/e/bundle", "/d/gone"):
        port.plant_directory(folder)
    port.plant_file("/e/bundle/inner", b"x")
    refuse_unwritable(port, Plan("x", STEPS))
    port.plant_removal_refusal(name, NoPermission("no", path=name))
    with pytest.raises(NoPermission):
        refuse_unwritable(port, Plan("x", STEPS))
    with pytest.raises(NoPermission):
        refuse_content(port, name)


def test_a_plan_is_refused_in_check_mode_and_before_its_first_step() -> None:
    port = disks.two_layers("/vm/a.hdd", "{aaaaaaaa-0000-4000-8000-000000000001}")
    plan = disks.plan_of_merge(port, "/vm/a.hdd")
    port.plant_refusal("/vm/a.hdd", ReadOnly("no", path="/vm/a.hdd"))
    before = len(port.effects)
    for act in (check_preconditions, execute):
        with pytest.raises(ReadOnly):
            act(port, plan)
    assert len(port.effects) == before and not port.held
