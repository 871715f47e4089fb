# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Outputs of several files: published in one step, ended by the next run wherever they were cut off."""

from __future__ import annotations

from typing import Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.aside import clear_siblings
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._change.publish import publish_steps, settle
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import AlreadyExists
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    CreateFile,
    MakeDirectory,
    Plan,
    Step,
    Sync,
    WriteBytes,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import PREPARE, Journal, pack_journal
from ansible_collections.vdisk.parallels.tests.support.crash import crash_states
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

STAGING = "/vm/.d.vmdk.vdisk-t.tmp"
OLD = {"d.vmdk": b"old", "d-flat.vmdk": b"old data", "other": b"not ours"}
NEW = {"d.vmdk": b"new", "d.2-flat.vmdk": b"new data", "other": b"not ours"}


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    for name, content in OLD.items():
        port.plant_file(f"/vm/{name}", content)
    return port


def publish(port: MemoryPort) -> None:
    files = [(f"{STAGING}/{name}", NEW[name]) for name in ("d.vmdk", "d.2-flat.vmdk")]
    steps: List[Step] = [MakeDirectory(STAGING)]
    for path, content in files:
        steps += [CreateFile(path, 0), WriteBytes(path, 0, content)]
    steps.append(Sync(tuple(path for path, _content in files), (STAGING,)))
    execute(
        port,
        Plan(
            "convert",
            (*steps, *publish_steps(STAGING, ("d.vmdk", "d.2-flat.vmdk"), ("d-flat.vmdk",), is_new=False)),
        ),
    )


def found(port: MemoryPort) -> Dict[str, bytes]:
    return {name: port.content(f"/vm/{name}") for name in port.list_directory("/vm")}


def test_a_set_takes_the_place_of_another(port: MemoryPort) -> None:
    publish(port)
    assert found(port) == NEW


def test_wherever_it_is_cut_off_the_next_run_leaves_the_old_set_or_the_new_one(port: MemoryPort) -> None:
    recording = port.record()
    publish(port)
    seen = []
    for state in crash_states(recording):
        clear_siblings(state, "/vm/d.vmdk")
        left = found(state)
        assert left in (OLD, NEW), state.origin
        seen.append(left == NEW)
        assert clear_siblings(state, "/vm/d.vmdk") == ()
    assert len(seen) >= 15 and set(seen) == {True, False}


def test_a_second_cut_while_clearing_up_does_no_harm_either(port: MemoryPort) -> None:
    recording = port.record()
    publish(port)
    count = 0
    for state in list(crash_states(recording)):
        again = state.record()
        clear_siblings(state, "/vm/d.vmdk")
        for second in crash_states(again):
            clear_siblings(second, "/vm/d.vmdk")
            assert found(second) in (OLD, NEW), f"{state.origin}; then {second.origin}"
            count += 1
    assert count >= 50


@pytest.mark.parametrize("number", range(1, 60))
def test_a_call_that_fails_leaves_the_old_set_or_the_new_one_and_the_next_run_clears_up(
    port: MemoryPort, number: int
) -> None:
    port.fail_call(number, "EIO")
    try:
        publish(port)
    except Exception:
        pass
    assert port.content("/vm/d.vmdk") in (b"old", b"new")
    fresh = MemoryPort(port.tree)
    clear_siblings(fresh, "/vm/d.vmdk")
    assert found(fresh) in (OLD, NEW)


def test_what_another_run_has_published_meanwhile_is_left_alone(port: MemoryPort) -> None:
    port.plant_file("/vm/d.2-flat.vmdk", b"of another run")
    with pytest.raises(AlreadyExists):
        publish(port)
    settle(port, STAGING)
    assert found(port) == {**OLD, "d.2-flat.vmdk": b"of another run"}


@pytest.mark.parametrize("entry", ["", "other", "e.vmdk"])
def test_a_journal_speaks_only_of_the_output_that_its_directory_is_named_after(port: MemoryPort, entry: str) -> None:
    port.plant_directory(STAGING)
    for name in ("e-flat.vmdk", ".secret"):
        port.plant_file(f"/vm/{name}", b"of somebody else")
    created = ("e-flat.vmdk", ".secret", "d-flat.vmdk")
    port.plant_file(
        f"{STAGING}/.vdisk-journal", pack_journal(Journal("publish", PREPARE, created, created, (), {"entry": entry}))
    )
    settle(port, STAGING)
    assert found(port) == {**OLD, "e-flat.vmdk": b"of somebody else", ".secret": b"of somebody else"}


def test_a_link_with_the_name_of_a_temporary_goes_and_what_it_leads_to_stays(port: MemoryPort) -> None:
    port.plant_directory("/elsewhere")
    port.plant_file(
        "/elsewhere/.vdisk-journal",
        pack_journal(Journal("publish", PREPARE, ("d-flat.vmdk",), (), (), {"entry": "d.vmdk"})),
    )
    port.plant_link(STAGING, "/elsewhere")
    assert len(clear_siblings(port, "/vm/d.vmdk")) == 1
    assert found(port) == OLD and port.list_directory("/elsewhere") == [".vdisk-journal"]


@pytest.mark.parametrize("name", ["other", "d.vmdk", "../x", "e-flat.vmdk"])
def test_a_journal_makes_nobody_remove_what_cannot_belong_to_the_output(port: MemoryPort, name: str) -> None:
    port.plant_directory(STAGING)
    port.plant_file(f"{STAGING}/d.vmdk", b"x")
    port.plant_file("/vm/e-flat.vmdk", b"of another disk")
    port.plant_file(
        f"{STAGING}/.vdisk-journal", pack_journal(Journal("publish", PREPARE, (name,), (), (), {"entry": "d.vmdk"}))
    )
    settle(port, STAGING)
    assert found(port) == {**OLD, "e-flat.vmdk": b"of another disk"}


def test_a_journal_that_cannot_be_read_means_that_nothing_was_published(port: MemoryPort) -> None:
    port.plant_directory(STAGING)
    port.plant_file(f"{STAGING}/.vdisk-journal", b"{")
    settle(port, STAGING)
    assert found(port) == OLD
