# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.guards import Touches, check_guards
from ansible_collections.vdisk.parallels.plugins.module_utils._change.bundle_plan import (
    BundleChange,
    ChangeFacts,
    bundle_plan,
    own_images,
    unchanged,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._change.journal import descriptor_step
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    CreateFile,
    PunchHoles,
    Remove,
    ReplaceFile,
    Sync,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import PREPARE, Journal
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
JOURNAL = f"{PATH}/.vdisk-journal"


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, PATH)
    disks.take(port, PATH, guid_of(1))
    return port


def plan_of(port: MemoryPort, path: str = PATH, **fields: Any) -> Any:
    state = disks.state_of(port, path)
    clearance = check_guards(state, Touches())
    return bundle_plan(clearance, BundleChange("test", **fields), ChangeFacts(state))


def test_the_envelope_stands_around_the_steps_in_its_order(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    before, after, apart = CreateFile(f"{PATH}/x", 1), Sync(), PunchHoles("/y", ())
    commit = descriptor_step(state, replace(state.descriptor, name="other"))
    plan = plan_of(
        port,
        journal=Journal("test", PREPARE, created=("x",)),
        before=(before,),
        commit=commit,
        after=(after,),
        apart=(apart,),
        discarded=(f"{PATH}/old",),
    )
    first, *middle, removal, end, last = plan.steps
    assert isinstance(first, ReplaceFile) and first.path == JOURNAL
    assert middle == [before, commit, after]
    assert (removal, end, last) == (Remove((f"{PATH}/old",), PATH), Remove((JOURNAL,), PATH), apart)
    assert plan.steps[plan.commit] is commit


def test_a_change_without_a_commit_has_none_and_one_without_a_journal_ends_none(port: MemoryPort) -> None:
    plan = plan_of(port, ends_journal=False, before=(Sync(),))
    assert (plan.commit, plan.steps) == (None, (Sync(),))


def test_every_image_is_locked_and_nothing_may_have_changed(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    plan = plan_of(port, before=(Sync(),), created=("new.hds",), temporaries=(f"{PATH}/.t.tmp",))
    assert plan.lock_directories == (PATH,)
    assert len(plan.lock_files) == 2 and set(plan.lock_files) == set(own_images(state))
    assert plan.fingerprint == (*state.fingerprint, (f"{PATH}/new.hds", None), (f"{PATH}/.t.tmp", None))
    assert plan.cleanup.remove == (f"{PATH}/.t.tmp",) and plan.cleanup.disk == PATH


def test_a_new_descriptor_needs_room_beside_the_old_one(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    commit = descriptor_step(state, replace(state.descriptor, name="other"))
    assert plan_of(port, commit=commit, needed=5).space == ((PATH, 5 + 2 * len(state.xml)),)
    assert plan_of(port, before=(Sync(),), needed=5).space == ((PATH, 5),)


def test_a_disk_that_is_one_file_is_recovered_by_its_file(port: MemoryPort) -> None:
    path = "/vm/b.hdd"
    port.plant_file(path, port.content(disks.file_of(port, PATH, guid_of(1))))
    plan = plan_of(port, path, before=(Sync(),))
    assert (plan.lock_directories, plan.lock_files, plan.cleanup.disk) == ((), (path,), path)


def test_images_outside_are_neither_locked_nor_ours(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    key = next(key for key in state.images if key[1] == guid_of(1))
    outside = replace(state, images={**state.images, key: replace(state.images[key], outside=True)})
    assert own_images(outside) == tuple(path for path in own_images(state) if path != state.images[key].path)


def test_nothing_to_do_is_an_empty_plan_with_its_facts(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    plan = unchanged("test", ChangeFacts(state))
    assert plan.is_empty and plan.commit is None and plan.facts.after is state
