# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With ``durable: false`` a power failure may take the new output, and nothing else; what replaces an output is as
durable as ever; and a process that dies leaves what it leaves with all syncs.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.remove import remove_tree
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import FOLDER, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.sight import whole
from ansible_collections.vdisk.parallels.tests.crash.test_convert import (
    FLAT,
    HDD,
    QCOW2,
    RAW,
    STREAM,
    Count,
    after,
    chain,
    converts,
    plain,
    trial_of,
)
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support.crash import crash_states
from ansible_collections.vdisk.parallels.tests.support.memory_file import SYNC, SYNCDIR
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))

NEW = (
    converts("unsynced-flat", chain, "out.vmdk", durable=False, **FLAT),
    converts("unsynced-stream", chain, "out.vmdk", durable=False, **STREAM),
    converts("unsynced-qcow2-chain", chain, "out.qcow2", durable=False, **QCOW2),
    converts("unsynced-hdd-chain", chain, "out.hdd", durable=False, **HDD),
    converts("unsynced-shared", chain, "out.raw", shares=True, durable=False, **RAW),
    converts("unsynced-cloned", plain, "out.raw", clones=True, durable=False, **RAW),
)
REPLACED: Dict[str, Dict[str, Any]] = {"out.vmdk": FLAT, "out.qcow2": QCOW2, "out.hdd": HDD, "out.raw": RAW}


def syncs(port: MemoryPort) -> List[str]:
    """What was synced since the recording began."""
    return [str(effect) for effect in port.effects if effect.kind in (SYNC, SYNCDIR)]


def content_of(port: MemoryPort, path: str) -> str:
    """A digest of what the guest sees."""
    view = open_source(port, find_source(port, path, backing=True))
    try:
        buffer = bytearray(view.size)
        view.pread_into(0, buffer)
        return hashlib.sha256(buffer).hexdigest()
    finally:
        view.close()


@pytest.mark.parametrize("operation", NEW, ids=lambda operation: operation.name)
def test_nothing_of_a_new_output_is_synced(operation: Operation) -> None:
    port = operation.scene()
    port.record()
    operation.run(Run(port, FOLDER))
    assert syncs(port) == [] and port.stat(f"{FOLDER}/{operation.disk}") is not None


@pytest.mark.parametrize("operation", NEW, ids=lambda operation: operation.name)
def test_a_power_failure_takes_only_the_new_output(operation: Operation) -> None:
    trial = Trial(operation)
    expected = content_of(trial.start(), f"{FOLDER}/source.hdd")
    taken = 0
    for state in crash_states(trial.recording, limit=None if LONG else 60, seed=1):
        trial.adopt(state)
        there = set(state.list_directory(FOLDER))
        for name, content in trial.before.names.items():
            assert whole(state, f"{FOLDER}/{name}") == content, f"{name} was changed: {state.origin}"
        strangers = there - set(trial.before.names) - set(trial.after.names)
        assert all(".vdisk-" in name for name in strangers), f"{strangers}: {state.origin}"
        taken += operation.disk not in there
        # What is there of the output is made anew, or refused until somebody removes it.
        try:
            operation.run(Run(state, FOLDER, token="2"))
        except DiskError as error:
            assert error.path is not None and error.path.startswith(f"{FOLDER}/out"), str(error)
            remove_tree(state, f"{FOLDER}/{operation.disk}")
            operation.run(Run(state, FOLDER, token="3"))
        assert content_of(state, f"{FOLDER}/{operation.disk}") == expected, str(state.origin)
        assert [name for name in state.list_directory(FOLDER) if ".vdisk-" in name] == [], str(state.origin)
    assert taken


@pytest.mark.parametrize("operation", NEW, ids=lambda operation: operation.name)
def test_a_process_that_dies_leaves_what_it_leaves_with_syncs(operation: Operation) -> None:
    trial = trial_of(operation)
    deaths = 0
    for heir in Explorer(trial).deaths(len(trial.effects)):
        trial.check(heir, first_run=True)
        trial.finish(heir)
        deaths += 1
    assert deaths > 3


@pytest.mark.parametrize("dest", REPLACED)
def test_what_replaces_an_output_is_synced_as_ever(dest: str) -> None:
    wanted = REPLACED[dest]
    prepare = after(chain, "ZY.X", dest, **wanted)
    runs = []
    for options in ({}, {"durable": False}):
        operation = converts("replacing", prepare, dest, **{**wanted, **options})
        port = operation.scene()
        port.record()
        operation.run(Run(port, FOLDER))
        runs.append(port.effects)
    assert runs[0] == runs[1] and any(effect.kind == SYNCDIR for effect in runs[1])


def test_a_power_failure_leaves_the_replaced_output_or_the_new_one(count: Count) -> None:
    operation = converts(
        "replacing-unsynced", after(chain, "", "out.qcow2", **QCOW2), "out.qcow2", **{**QCOW2, "durable": False}
    )
    explorer = Explorer(trial_of(operation), limit=None if LONG else 60)
    explorer.power_failures()
    count(explorer)


def test_somebody_who_has_the_name_by_then_keeps_it() -> None:
    operation = converts("late", chain, "out.raw", durable=False, **RAW)
    port = operation.scene()

    class Late(MemoryPort):
        def rename(self, old: str, new: str, *, replace: bool = True) -> None:
            if new.endswith("out.raw") and self.lstat(new) is None:
                self.plant_file(new, b"of somebody else")
            super().rename(old, new, replace=replace)

    late = Late(port.tree)
    with pytest.raises(DiskError) as caught:
        operation.run(Run(late, FOLDER))
    assert caught.value.code == "exists"
    assert late.content(f"{FOLDER}/out.raw") == b"of somebody else"
