# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.neighbours import with_surroundings
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.notes import Note
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.pvm import VmReport
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.surroundings import Clone, Surroundings
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Dirty,
    HasSnapshots,
    SharedLayer,
    Suspended,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.maintain.policy import (
    Policy,
    plan_compaction_by,
    plan_merge_by,
    refuse_bad_policy,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine

PORT = OsPort()
MIB = 1 << 20
ONE, TWO, THREE = guid_of(1), guid_of(2), guid_of(3)
LAYERS = line_of_layers(*({number: fill(number, MIB)} for number in range(3)), {3: bytes(MIB)})
FORCED = Policy(orphans=True, force=True)


@pytest.fixture(name="state")
def _state(tmp_path) -> Any:
    """A disk of three snapshots, the second of which its machine lists."""
    folder = os.path.realpath(tmp_path) + "/a.pvm"
    make_machine(folder, disk="a.hdd", size_mib=4, snapshots={TWO: "kept"})
    path = build_bundle(f"{folder}/a.hdd", size_sectors=8192, layers=LAYERS).directory
    return with_surroundings(PORT, disks.state_of(PORT, path), path)[0]


def merged(policy: Policy, state: Any) -> tuple:
    return plan_merge_by(policy, PORT, state, state.surroundings.machine).facts.merged


def test_nothing_is_merged_without_a_policy() -> None:
    assert not Policy().merges and Policy(orphans=True).merges and Policy(max_layers=3).merges


@pytest.mark.parametrize("force", [False, True])
def test_what_the_machine_lists_stays_whatever_is_forced(state: Any, force: bool) -> None:
    assert merged(Policy(orphans=True, force=force), state) == (ONE, THREE)
    assert merged(Policy(max_layers=3, force=force), state) == (ONE,)
    with pytest.raises(HasSnapshots):
        merged(Policy(max_layers=1, force=force), state)


def test_what_has_a_name_is_no_orphan_and_counts_as_a_layer(state: Any) -> None:
    named = replace(state, notes={ONE: Note("one")})
    assert plan_merge_by(Policy(max_layers=2, force=True), PORT, named, VmReport()).facts.merged == (ONE, TWO)
    assert plan_merge_by(Policy(orphans=True), PORT, named, VmReport()).facts.merged == (TWO, THREE)
    assert merged(Policy(max_layers=3, orphans=True), named) == (THREE,)
    unread = replace(state, notes_unread="nobody knows")
    assert merged(Policy(max_layers=4, orphans=True), unread) == ()
    with pytest.raises(HasSnapshots):
        merged(Policy(max_layers=3, orphans=True), unread)


def test_force_passes_over_marks_alone(state: Any) -> None:
    disks.marked_in_use(PORT, state.location.directory)
    marked = replace(disks.state_of(PORT, state.location.directory), surroundings=state.surroundings)
    with pytest.raises(Dirty):
        merged(Policy(orphans=True), marked)
    with pytest.raises(Dirty):
        plan_compaction_by(Policy(), PORT, marked)
    assert merged(FORCED, marked) == (ONE, THREE)
    assert not plan_compaction_by(FORCED, PORT, marked).is_empty
    clone = Surroundings(state.surroundings.machine, (Clone("/c.hdd", state.images[(0, ONE)].path),))
    suspended = replace(marked, descriptor=replace(marked.descriptor, suspended=True))
    for around, error in ((replace(marked, surroundings=clone), SharedLayer), (suspended, Suspended)):
        with pytest.raises(error):
            merged(FORCED, around)
        with pytest.raises(error):
            plan_compaction_by(FORCED, PORT, around)


def test_scan_and_threshold_are_those_of_the_compaction(state: Any) -> None:
    assert plan_compaction_by(Policy(), PORT, state).facts.reclaimable == MIB
    assert plan_compaction_by(Policy(threshold=2 * MIB), PORT, state).is_empty
    assert plan_compaction_by(Policy(scan="metadata"), PORT, state).is_empty


@pytest.mark.parametrize("max_layers", [0, -1])
def test_a_disk_without_layers_is_refused(max_layers: int) -> None:
    with pytest.raises(BadRequest):
        refuse_bad_policy(Policy(max_layers=max_layers))
    refuse_bad_policy(Policy(max_layers=1))
