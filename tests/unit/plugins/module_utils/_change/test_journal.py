# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps around every change inside a disk."""

from __future__ import annotations

import json

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.naming import classify
from ansible_collections.vdisk.parallels.plugins.module_utils._change.journal import (
    descriptor_step,
    journal_end_steps,
    journal_step,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import PREPARE, Journal
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    disks.new_disk(port, PATH)
    return port


def test_a_journal_is_written_in_one_step_beside_the_disk(port: MemoryPort) -> None:
    step = journal_step(disks.state_of(port, PATH), Journal("merge", PREPARE, created=("x.hds",)))
    assert step.path == f"{PATH}/.vdisk-journal"
    assert classify(step.temporary.rsplit("/", 1)[-1]) == "ours"
    assert json.loads(step.content)["created"] == ["x.hds"]


def test_a_descriptor_that_says_the_same_keeps_its_bytes(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    step = descriptor_step(state, state.descriptor)
    assert (step.path, step.content) == (f"{PATH}/DiskDescriptor.xml", state.xml)
    assert classify(step.temporary.rsplit("/", 1)[-1]) == "ours"


def test_the_journal_goes_behind_what_it_speaks_of(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    assert [step.paths for step in journal_end_steps(state, ["/vm/a.hdd/x.hds"])] == [
        ("/vm/a.hdd/x.hds",),
        (f"{PATH}/.vdisk-journal",),
    ]
    assert [step.paths for step in journal_end_steps(state)] == [(f"{PATH}/.vdisk-journal",)]
