# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.machine.edit import DiskValues, machine_edit
from ansible_collections.vdisk.parallels.plugins.module_utils._change.machine import (
    changes_machine,
    finish_step,
    machine_end_steps,
    machine_request,
    prepare_steps,
    replace_step,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan, Remove, ReplaceFile, Sync
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH, CONFIG = "/vm/a.hdd", "/vm/config.pvs"
SIZE = 2 << 20
SETTLED = Sync(directories=("/vm",))
XML = (
    b"<ParallelsVirtualMachine><Hardware><Hdd><SystemName>a.hdd</SystemName><Size>1</Size></Hdd></Hardware>"
    b"</ParallelsVirtualMachine>"
)


def host() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, PATH, size=SIZE)
    port.plant_file(CONFIG, XML)
    return port


def test_the_new_file_is_complete_before_it_gets_its_name() -> None:
    port = host()
    edit = machine_edit(port, disks.state_of(port, PATH).location, DiskValues(SIZE))
    assert edit is not None
    disks.apply(port, Plan("test", prepare_steps(edit)))
    assert port.content(CONFIG) == XML and port.content(edit.temporary) == edit.content
    disks.apply(port, Plan("test", (finish_step(edit),)))
    assert port.content(CONFIG) == XML.replace(b">1<", b">2<") and port.lstat(edit.temporary) is None
    assert changes_machine(Plan("x", (finish_step(edit),)), CONFIG) and changes_machine(
        Plan("x", (replace_step(edit),)), CONFIG
    )
    assert not changes_machine(Plan("x", prepare_steps(edit)), CONFIG)


def test_an_interrupted_change_ends_by_what_the_disk_is() -> None:
    port = host()
    state = disks.state_of(port, PATH)
    edit = machine_edit(port, state.location, DiskValues(SIZE))
    assert edit is not None
    _sync, step = machine_end_steps(port, state, machine_request(edit)["machine"])
    assert isinstance(step, ReplaceFile) and step.content == edit.content
    port.plant_file(edit.temporary, b"half")
    other = {"size": 3 * SIZE, "kind": None, "split": None}
    assert list(machine_end_steps(port, state, other)) == [SETTLED, Remove((edit.temporary,), "/vm")]


@pytest.mark.parametrize(
    "request_", [None, [], {}, {"size": "x"}, {"size": -1}, {"size": SIZE, "kind": "odd"}, {"size": SIZE, "split": 7}]
)
def test_a_journal_that_says_nonsense_changes_nothing(request_: object) -> None:
    port = host()
    assert list(machine_end_steps(port, disks.state_of(port, PATH), request_)) == [SETTLED]


def test_a_file_that_cannot_be_changed_any_more_does_not_stop_the_recovery() -> None:
    port = host()
    port.plant_file(CONFIG, b"<")
    request = {"size": SIZE, "kind": None, "split": None}
    assert list(machine_end_steps(port, disks.state_of(port, PATH), request)) == [SETTLED]


def far_host() -> MemoryPort:
    """The same disk; its machine is in another folder and names it by its path."""
    port = host()
    port.plant_directory("/far")
    port.plant_file("/far/config.pvs", XML.replace(b"a.hdd", PATH.encode()))
    return port


def test_the_journal_has_the_path_of_a_machine_in_another_folder_alone() -> None:
    port = far_host()
    state = disks.state_of(port, PATH)
    near = machine_edit(port, state.location, DiskValues(SIZE))
    far = machine_edit(port, state.location, DiskValues(SIZE), configs=("/far/config.pvs",))
    assert near is not None and far is not None
    assert "config" not in machine_request(near)["machine"]
    _sync, step = machine_end_steps(port, state, machine_request(far)["machine"])
    assert isinstance(step, ReplaceFile) and (step.path, step.content) == ("/far/config.pvs", far.content)


@pytest.mark.parametrize(
    "path", ["/far/passwd", "config.pvs", "/none/config.pvs", "/far/\0/config.pvs", 7, ["/far/config.pvs"], ""]
)
def test_a_journal_that_names_another_file_reaches_nothing(path: object) -> None:
    port = far_host()
    port.plant_file("/far/passwd", XML.replace(b"a.hdd", PATH.encode()))
    before = {name: port.content(name) for name in ("/far/passwd", "/far/config.pvs")}
    state = disks.state_of(port, PATH)
    steps = list(machine_end_steps(port, state, {"size": SIZE, "kind": None, "split": None, "config": path}))
    disks.apply(port, Plan("test", tuple(steps)))
    assert {name: port.content(name) for name in before} == before


def test_a_machine_that_a_journal_names_and_that_has_another_disk_stays() -> None:
    port = far_host()
    port.plant_file("/far/config.pvs", XML.replace(b"a.hdd", b"/other/a.hdd"))
    state = disks.state_of(port, PATH)
    request = {"size": SIZE, "kind": None, "split": None, "config": "/far/config.pvs"}
    assert list(machine_end_steps(port, state, request)) == [Sync(directories=("/far",))]
