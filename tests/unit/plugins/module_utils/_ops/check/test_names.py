# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.notes import Note, pack_notes
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.names import examine_notes, read_notes_of
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
FILE = f"{PATH}/vdisk-snapshots.json"


def test_a_name_needs_its_snapshot(port: MemoryPort) -> None:
    disks.new_disk(port, PATH)
    disks.take(port, PATH, guid_of(1))
    port.plant_file(FILE, pack_notes({guid_of(1): Note("one"), guid_of(2): Note("two"), guid_of(3): Note()}))
    state = disks.state_of(port, PATH)
    notes, unreadable = read_notes_of(port, state.location)
    assert not unreadable
    (finding,) = examine_notes(state.location, state.tree, notes)
    assert (finding.code, finding.where, finding.severity) == ("name_without_snapshot", FILE, "info")
    assert f"{guid_of(2)} (two)" in finding.message and guid_of(1) not in finding.message
    assert not list(examine_notes(state.location, None, notes))


def test_a_damaged_file_is_a_finding_of_its_own(port: MemoryPort) -> None:
    disks.new_disk(port, PATH)
    port.plant_file(FILE, b"{")
    notes, (finding,) = read_notes_of(port, disks.state_of(port, PATH).location)
    assert notes == {} and (finding.code, finding.where) == ("names_unreadable", FILE)
