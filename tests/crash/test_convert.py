# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A conversion to images of other products that is cut off anywhere leaves the old output or the new one, with all
of its files and no others.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Callable, Dict, Sequence

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Port
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import FOLDER, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.scenes import line, plant, plant_raw
from ansible_collections.vdisk.parallels.tests.crash.sight import Whole, whole
from ansible_collections.vdisk.parallels.tests.crash.test_faults import FAULTS, check_taken_back, judge
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))
KIB = 1 << 10
Prepare = Callable[[MemoryPort, str], None]
Count = Callable[[Explorer], None]

OTHERS = {"out.txt": b"not ours", "out-of-the-way.vmdk": b"nor this"}
"""Files that are called nearly as an output is, and belong to somebody else."""


def chain(port: MemoryPort, folder: str) -> None:
    """A disk with two snapshots, the second of which is hidden in part by zeros."""
    plant(port, f"{folder}/source.hdd", line("AB0.", ".C.D", "0..E"))
    for name, content in OTHERS.items():
        port.plant_file(f"{folder}/{name}", content)


def wide(port: MemoryPort, folder: str) -> None:
    """A disk of a bit more than 2 GiB, which a split image holds in two pieces, with data on both sides."""
    cluster, sectors = 256 * KIB, (1 << 22) + 4096
    with tempfile.TemporaryDirectory() as scratch:
        held = {
            0: fill(0, 4096).ljust(cluster, b"\0"),
            sectors * 512 // cluster - 1: fill(1, 4096).ljust(cluster, b"\0"),
        }
        built = build_hds(
            os.path.join(scratch, "image"), size_sectors=sectors, clusters=held, cluster_sectors=cluster // 512
        )
        with open(built.path, "rb") as stream:
            port.plant_file(f"{folder}/source.hdd", stream.read())


def after(prepare: Prepare, name: str, dest: str, **wanted: Any) -> Prepare:
    """``prepare``, and then an older disk converted to ``dest``."""

    def prepare_both(port: MemoryPort, folder: str) -> None:
        prepare(port, folder)
        if wanted.get("keeps_layers"):
            plant(port, f"{folder}/old.hdd", line("Z.Y.", "..X."))
            old = f"{folder}/old.hdd"
        else:
            plant_raw(port, f"{folder}/old.raw", name)
            old = f"{folder}/old.raw"
        execute(
            port,
            plan_convert(port, find_source(port, old), ConvertRequest(path=f"{folder}/{dest}", **wanted), token="0"),
        )

    return prepare_both


def plain(port: MemoryPort, folder: str) -> None:
    """A plain disk of one part."""
    plant(port, f"{folder}/source.hdd", line("AB0.C", plain=True))


def converts(
    name: str, prepare: Prepare, dest: str, *, shares: bool = False, clones: bool = False, **wanted: Any
) -> Operation:
    """Convert ``source.hdd``; with ``force`` as well, which a chain that is replaced needs.

    ``shares``: on a file system that shares blocks, ``clones``: on one that clones whole files.
    """

    def run(one: Run) -> None:
        if isinstance(one.port, MemoryPort):
            one.port.kernel_shares, one.port.kernel_clones = shares, clones
        found = find_source(one.port, f"{one.folder}/source.hdd")
        path = one.clear(dest)
        one.apply(plan_convert(one.port, found, ConvertRequest(path=path, force=True, **wanted), token=one.token))

    return Operation(f"convert-{name}", prepare, run, disk=dest, inside=False)


FLAT: Dict[str, Any] = {"format": "vmdk", "subformat": "monolithicFlat"}
SPLIT: Dict[str, Any] = {"format": "vmdk", "subformat": "twoGbMaxExtentSparse"}
STREAM: Dict[str, Any] = {"format": "vmdk", "subformat": "streamOptimized"}
QCOW2: Dict[str, Any] = {"format": "qcow2", "cluster_bytes": 4 * KIB, "keeps_layers": True}
DELTAS: Dict[str, Any] = {"format": "vmdk", "cluster_bytes": 8 * KIB, "keeps_layers": True}
HDD: Dict[str, Any] = {"format": "hdd", "cluster_bytes": 32 * KIB, "keeps_layers": True}
RAW: Dict[str, Any] = {"format": "raw"}

CONVERSIONS = (
    converts("flat", chain, "out.vmdk", **FLAT),
    converts("flat-replaced", after(chain, "ZY.X", "out.vmdk", **FLAT), "out.vmdk", **FLAT),
    converts("flat-by-a-single-file", after(chain, "ZY.X", "out.vmdk", **FLAT), "out.vmdk", **STREAM),
    converts("single-file-by-flat", after(chain, "ZY.X", "out.vmdk", **STREAM), "out.vmdk", **FLAT),
    converts("split", wide, "out.vmdk", verify=False, **SPLIT),
    converts("split-replaced", after(chain, "ZY.X", "out.vmdk", **SPLIT), "out.vmdk", **SPLIT),
    converts("qcow2-chain", chain, "out.qcow2", **QCOW2),
    converts("qcow2-chain-replaced", after(chain, "", "out.qcow2", **QCOW2), "out.qcow2", **QCOW2),
    converts("vmdk-deltas", chain, "out.vmdk", **DELTAS),
    converts("hdd-chain", chain, "out.hdd", **HDD),
    converts("hdd-chain-replaced", after(chain, "", "out.hdd", **HDD), "out.hdd", **HDD),
    converts("shared", chain, "out.raw", shares=True, **RAW),
    converts("shared-replaced", after(chain, "ZY.X", "out.raw", **RAW), "out.raw", shares=True, **RAW),
    converts("cloned", plain, "out.raw", clones=True, **RAW),
    converts("cloned-replaced", after(plain, "ZY.X", "out.raw", **RAW), "out.raw", clones=True, **RAW),
    converts("stream", chain, "out.vmdk", **STREAM),
    converts("stream-replaced", after(chain, "ZY.X", "out.vmdk", **STREAM), "out.vmdk", **STREAM),
)


class SetTrial(Trial):
    """A trial whose output may be several files: those that only the folder before, or only the one after, has."""

    def check(self, port: Port, *, first_run: bool = False) -> None:
        """The image is the old one or the new one, and each has all of its files; what belongs to neither is as it
        was.
        """
        for name in set(self.before.names) & set(self.after.names) - {self.operation.disk}:
            assert whole(port, f"{self.folder}/{name}") == self.before.names[name], f"{name} was changed"
        self._check_built(port)
        for name in self._expected(port):
            if name != self.operation.disk:
                assert whole(port, f"{self.folder}/{name}") == self._expected(port)[name], (
                    f"{name}, a file of the output, is missing or another one"
                )

    def _expected(self, port: Port) -> Dict[str, Whole]:
        return self.after.names if self.is_new(port) else self.before.names

    def traces(self, port: Port) -> Sequence[str]:  # type: ignore[override]
        """Whatever lies there and belongs neither to the output that its image says, nor to somebody else."""
        return [name for name in port.list_directory(self.folder) if name not in self._expected(port)]


def trial_of(operation: Operation) -> SetTrial:
    """The trial, of whose outputs none shares a file but the image with the one that it replaces."""
    trial = SetTrial(operation)
    assert set(trial.before.names) - set(trial.after.names) == trial_pieces(trial.before.names) - trial_pieces(
        trial.after.names
    )
    return trial


def trial_pieces(names: Dict[str, Whole]) -> set[str]:
    """The names of the pieces and layers of an output."""
    return {
        name
        for name in names
        if name.startswith(("out-", "out.")) and name not in OTHERS and name not in ("out.vmdk", "out.qcow2", "out.hdd")
    }


@pytest.mark.parametrize("operation", CONVERSIONS, ids=lambda operation: operation.name)
def test_a_conversion_that_is_cut_off_anywhere_leaves_the_old_output_or_the_new_one(
    operation: Operation, count: Count
) -> None:
    trial = trial_of(operation)
    explorer = Explorer(trial)
    explorer.finished_states()
    explorer.power_failures()
    count(explorer)
    second = Explorer(trial, limit=None if LONG else 30)
    second.power_failures_while_recovering(40 if LONG else 4)
    second.kills(60 if LONG else 4)
    count(second)


@pytest.mark.parametrize("operation", CONVERSIONS, ids=lambda operation: operation.name)
def test_a_call_that_fails_leaves_the_old_output_or_the_new_one(operation: Operation) -> None:
    trial = trial_of(operation)
    # Every call of those that replace several files, and a part of the others.
    step = 1 if LONG or operation.name in ("convert-flat-replaced", "convert-qcow2-chain-replaced") else 5
    for number in range(1, Explorer(trial).calls() + 1, step):
        for name in list(FAULTS) if LONG else [list(FAULTS)[number % len(FAULTS)]]:
            judge(trial, number, FAULTS[name])


@pytest.mark.parametrize("operation", CONVERSIONS, ids=lambda operation: operation.name)
def test_a_power_failure_after_an_error_leaves_the_old_output_or_the_new_one(
    operation: Operation, count: Count
) -> None:
    explorer = Explorer(trial_of(operation), limit=None if LONG else 30)
    calls = explorer.calls()
    explorer.errors(range(calls, 0, -1 if LONG else -max(1, calls // 3)), "EIO")
    count(explorer)


@pytest.mark.parametrize("operation", CONVERSIONS, ids=lambda operation: operation.name)
def test_a_file_system_that_fills_up_is_told_and_leaves_the_old_output(operation: Operation) -> None:
    trial = trial_of(operation)
    for free in (0, 1, 4096, 16384, 40960, 131072, 1 << 20):
        port = trial.start()
        port.set_free_space(free)
        try:
            operation.run(Run(port, FOLDER))
        except DiskError as error:
            assert error.code == "no_space" and error.hint, str(error)
            trial.check(port)
            check_taken_back(trial, port, error)
        port.set_free_space(None)
        trial.finish(port)
