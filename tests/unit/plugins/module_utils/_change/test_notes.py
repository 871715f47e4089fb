# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.notes import Note, pack_notes, parse_notes
from ansible_collections.vdisk.parallels.plugins.module_utils._change.notes import (
    note_request,
    notes_after,
    notes_end_steps,
    notes_path,
    notes_steps,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Remove, ReplaceFile
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import PREPARE, Journal, pack_journal
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
ONE, TWO, GONE = guid_of(1), guid_of(2), guid_of(3)


def host() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, PATH)
    for guid in (ONE, TWO):
        disks.take(port, PATH, guid)
    port.plant_file(f"{PATH}/vdisk-snapshots.json", pack_notes({ONE: Note("one"), GONE: Note("gone")}))
    return port


def test_names_stay_with_their_snapshots() -> None:
    state = disks.state_of(host(), PATH)
    assert notes_after(state, [ONE, TWO], {TWO: Note("two")}) == {ONE: Note("one"), TWO: Note("two")}
    assert notes_path(state) == f"{PATH}/vdisk-snapshots.json"
    assert notes_steps(state, state.notes) == ()
    assert notes_steps(state, {}) == (Remove((notes_path(state),), PATH),)


def with_journal(request: object) -> MemoryPort:
    port = host()
    port.plant_file(f"{PATH}/.vdisk-journal", pack_journal(Journal("snapshot", PREPARE, request=request)))  # type: ignore[arg-type]
    return port


def test_the_end_of_an_interrupted_change_gives_the_name_and_forgets_what_is_gone() -> None:
    state = disks.state_of(with_journal(note_request(TWO, Note("two", "now", "why"))), PATH)
    assert state.notes_waiting and state.notes[TWO] == Note("two", "now", "why")
    (step,) = notes_end_steps(state)
    assert isinstance(step, ReplaceFile)
    assert parse_notes(step.content) == {ONE: Note("one"), TWO: Note("two", "now", "why")}


def test_names_that_cannot_be_read_are_not_replaced_at_the_end() -> None:
    port = with_journal(note_request(TWO, Note("two")))
    port.plant_file(f"{PATH}/vdisk-snapshots.json", b"{")
    assert list(notes_end_steps(disks.state_of(port, PATH))) == []


@pytest.mark.parametrize("note", [None, [], {}, {"guid": 1}, {"guid": "x"}, {"guid": TWO, "name": 7}, {"guid": GONE}])
def test_a_journal_that_says_nonsense_gives_no_name(note: object) -> None:
    state = disks.state_of(with_journal({"note": note}), PATH)
    assert not state.notes_waiting and list(notes_end_steps(state)) == []


def test_more_than_the_file_may_hold_is_refused_and_less_never() -> None:
    port = host()
    state = disks.state_of(port, PATH)
    long = Note("x", None, "\U0001f4be" * 10000)
    with pytest.raises(BadRequest):
        notes_steps(state, {guid_of(number): long for number in range(40)})
    crowded = replace(state, notes={guid_of(number): long for number in range(40)})
    assert notes_steps(crowded, {guid_of(number): long for number in range(39)})
