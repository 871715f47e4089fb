# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change of size, shape or partition table that is cut off anywhere, by the power, by a kill, or by a call that
fails, loses nothing.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Port
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.partition_table import plan_partition_fix
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.retype import plan_retype
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.shrink import plan_shrink
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import DISK, FOLDER, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.scenes import CLUSTER, Drawing, line, plant, plant_single, tree
from ansible_collections.vdisk.parallels.tests.crash.sight import Sight, sight_of
from ansible_collections.vdisk.parallels.tests.crash.test_faults import FAULTS, judge
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support import disks, gpt
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))
SECTOR = 512
Prepare = Callable[[MemoryPort, str], None]


def _plants(drawing: Drawing) -> Prepare:
    return lambda port, folder: plant(port, f"{folder}/{DISK}", drawing)


def _operation(name: str, prepare: Prepare, planner: Callable[[Port, BundleState], Plan]) -> Operation:
    return Operation(name, prepare, lambda run: run.change(DISK, planner))


def _unless(state: BundleState, size: int, plan: Callable[[], Plan]) -> Plan:
    return Plan("nothing") if state.descriptor.size_bytes == size else plan()


def grows(name: str, prepare: Prepare, size: int, **options: Any) -> Operation:
    """The disk gets ``size`` bytes, more than it has."""
    return _operation(
        f"grow-{name}",
        prepare,
        lambda port, state: _unless(state, size, lambda: disks.plan_of_grow(state, size, **options)),
    )


def shrinks(name: str, prepare: Prepare, size: int) -> Operation:
    """The disk gets ``size`` bytes, less than it has."""
    return _operation(
        f"shrink-{name}", prepare, lambda port, state: _unless(state, size, lambda: plan_shrink(state, size))
    )


def retypes(name: str, prepare: Prepare, shape: Shape) -> Operation:
    """The disk is written anew in a shape."""

    def is_so(state: BundleState) -> bool:
        kinds = {
            (image.kind, None if image.header is None else image.header.version) for image in state.images.values()
        }
        wanted = {(shape.kind, None if shape.kind == "plain" else shape.version)}
        return (len(state.tree.shots), len(state.descriptor.storages), kinds) == (1, len(shape.parts), wanted)

    return _operation(
        f"retype-{name}",
        prepare,
        lambda port, state: Plan("nothing") if is_so(state) else plan_retype(port, state, shape),
    )


def _tiny(
    *clusters: Mapping[int, bytes], size_sectors: int = 100, version: int = 1, image: Optional[Dict[str, Any]] = None
) -> Prepare:
    """A disk with clusters of one sector, whose table has no room left for a disk of much more sectors.

    ``image`` are options of its one image.
    """

    def prepare(port: MemoryPort, folder: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            built = os.path.join(scratch, DISK)
            one = build_bundle(
                built, size_sectors=size_sectors, layers=line_of_layers(*clusters), cluster_sectors=1, version=version
            )
            if image is not None:
                build_hds(
                    one.files[(0, TOP)],
                    size_sectors=size_sectors,
                    clusters=clusters[-1],
                    cluster_sectors=1,
                    version=version,
                    **image,
                )
            for name in sorted(os.listdir(built)):
                with open(os.path.join(built, name), "rb") as stream:
                    port.plant_file(f"{folder}/{DISK}/{name}", stream.read())

    return prepare


def _held(*numbers: int, seed: int = 0) -> Dict[int, bytes]:
    return {number: fill(number, SECTOR, seed=seed) for number in numbers}


def _single(port: MemoryPort, folder: str) -> None:
    plant_single(port, f"{folder}/{DISK}", "A0xBx0CD")


def _dirty_last_cluster(port: MemoryPort, folder: str) -> None:
    """Behind the end of the disk its last cluster holds bytes that the guest has never seen."""
    plant(port, f"{folder}/{DISK}", line("A.BC"))
    path = disks.file_of(port, f"{folder}/{DISK}", TOP)
    content = port.content(path)
    end = len(content) // CLUSTER * CLUSTER
    port.plant_file(path, content[: end - 5 * SECTOR] + b"\x77" * (5 * SECTOR))


GROWS = (
    grows("room-in-the-table", _plants(line("A0xBx0CD")), 11 * CLUSTER),
    grows("v2", _plants(line("A0xBx0CD", version=2)), 11 * CLUSTER),
    grows("last-cluster", _dirty_last_cluster, 6 * CLUSTER),
    grows("moves-clusters", _tiny(_held(0, 3, 4, 7, 50, 99)), 300 * SECTOR),
    grows("moves-clusters-v2", _tiny(_held(0, 3, 4, 7, 50, 99), version=2), 300 * SECTOR),
    grows("moves-into-holes", _tiny(_held(0, 3, 4, 7), image={"gaps": [3, 5]}), 300 * SECTOR),
    grows("moves-without-data-off", _tiny(_held(0, 3, 4, 7), image={"data_off": 0}), 300 * SECTOR),
    grows("empty", _tiny({}), 300 * SECTOR),
    grows("reserved", _tiny(_held(0, 3)), 120 * SECTOR, reserve=True),
    grows("bitmap", _plants(line("A0BxDC0.", bitmap="top")), 11 * CLUSTER),
    grows("top-only", _plants(line("AB.C", ".D..", "..E.")), 6 * CLUSTER, top_only=True),
    grows("top-only-moves", _tiny(_held(0, 1, 99), _held(1, 2, 99, seed=1)), 300 * SECTOR, top_only=True),
    grows(
        "top-only-branched", _plants(tree("base - AB.C", "side base .D..", "top base ..E.")), 6 * CLUSTER, top_only=True
    ),
    grows("top-only-plain", _plants(line("ABC.", ".D.E", plain=True)), 6 * CLUSTER, top_only=True),
    grows("split", _plants(line("AB.C.D", split=(2, 2, 2))), 6 * CLUSTER),
    grows("split-new-parts", _plants(line("AB.C", split=(3, 1))), 8 * CLUSTER),
    grows("split-top-only", _plants(line("AB.C", ".D.E", split=(3, 1))), 8 * CLUSTER, top_only=True),
    grows("ploop", _plants(line("AB.C", style="ploop", version=2)), 6 * CLUSTER),
    grows("plain", _plants(line("A.BC", plain=True)), 6 * CLUSTER),
    grows("plain-reserved", _plants(line("A.BC", plain=True)), 6 * CLUSTER, reserve=True),
    grows("plain-split", _plants(line("AB.C", plain=True, split=(3, 1))), 8 * CLUSTER),
    grows("single-file", _single, 11 * CLUSTER),
)
SHRINKS = (
    shrinks("free-tail", _plants(line("AB.C....")), 5 * CLUSTER),
    shrinks("cuts-data", _plants(line("ABxC0DEF", version=2)), 5 * CLUSTER - SECTOR),
    shrinks("split", _plants(line("AB.CD.EF", split=(2, 2, 2, 2))), 3 * CLUSTER),
    shrinks("plain", _plants(line("ABCD", plain=True)), 2 * CLUSTER),
    shrinks("plain-split", _plants(line("ABCD", plain=True, split=(2, 2))), 1 * CLUSTER),
    shrinks("bitmap", _plants(line("A0BxDC0.", bitmap="top")), 3 * CLUSTER),
    shrinks("without-data-off", _tiny(_held(0, 3, 4, 7, 90), image={"data_off": 0}), 20 * SECTOR),
    shrinks("single-file", _single, 5 * CLUSTER),
)
SIZE = line("AB0C..xD").size_sectors * SECTOR
RETYPES = (
    retypes("to-plain", _plants(line("AB0C..xD")), Shape(SIZE, "plain")),
    retypes("to-expanding", _plants(line("AB0C..D.", plain=True)), Shape(SIZE, cluster_bytes=CLUSTER)),
    retypes("to-version-2", _plants(line("AB0C..xD")), Shape(SIZE, cluster_bytes=CLUSTER, version=2)),
    retypes("to-version-1", _plants(line("AB0C..xD", version=2, style="ploop")), Shape(SIZE, cluster_bytes=CLUSTER)),
    retypes("to-parts", _plants(line("AB0C..xD")), Shape(SIZE, cluster_bytes=CLUSTER, part_size=3 * CLUSTER)),
    retypes("to-one-part", _plants(line("AB0C...D", split=(3, 3, 2))), Shape(SIZE, cluster_bytes=CLUSTER)),
    retypes("larger", _plants(line("AB0C..xD")), Shape(12 * CLUSTER, "plain", part_size=5 * CLUSTER)),
    retypes("reserved", _plants(line("AB..", plain=True)), Shape(4 * CLUSTER, cluster_bytes=CLUSTER, preallocate=True)),
    retypes("merged", _plants(line("AB0C..xD", ".0E....A", "B.....0.")), Shape(SIZE, "plain")),
    retypes(
        "branches-lost",
        _plants(tree("base - AB.C", "side base .D..", "top base ..E.")),
        Shape(4 * CLUSTER, cluster_bytes=CLUSTER, version=2),
    ),
)
OPERATIONS = GROWS + SHRINKS + RETYPES


def _explore(explorer: Explorer, count: Callable[[Explorer], None]) -> None:
    explorer.finished_states()
    explorer.power_failures()
    explorer.power_failures_while_recovering(40 if LONG else 5)
    explorer.kills(60 if LONG else 6)
    count(explorer)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_that_is_cut_off_anywhere_loses_nothing(
    operation: Operation, count: Callable[[Explorer], None]
) -> None:
    _explore(Explorer(Trial(operation)), count)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_call_that_fails_loses_nothing_and_leaves_nothing_behind(operation: Operation) -> None:
    trial = Trial(operation)
    for number in range(1, Explorer(trial).calls() + 1):
        for name in list(FAULTS) if LONG else [list(FAULTS)[number % len(FAULTS)]]:
            judge(trial, number, FAULTS[name])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_power_failure_after_an_error_loses_nothing(operation: Operation, count: Callable[[Explorer], None]) -> None:
    explorer = Explorer(Trial(operation), limit=None if LONG else 40)
    calls = explorer.calls()
    explorer.errors(range(calls, 0, -1 if LONG else -max(1, calls // 3)), "EIO")
    count(explorer)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_file_system_that_fills_up_is_told_and_loses_nothing(operation: Operation) -> None:
    trial = Trial(operation)
    refused = False
    for free in [0, 1, 1000, 4096, 8192, 16384, 24576, 40960, 65536, 80000, 131072]:
        for is_foreseen in (True, False):
            port = trial.start()
            port.set_free_space(free)
            if not is_foreseen:
                port.free_space = lambda path: 1 << 40  # type: ignore[method-assign]
            try:
                trial.operation.run(Run(port, FOLDER))
            except DiskError as error:
                refused = True
                assert error.code == "no_space" and error.hint, str(error)
                trial.check(port)
            port.set_free_space(None)
            trial.finish(port)
    assert refused


# The partition table: its steps are seen one after the other, so what lies in the new backup and the boot record is
# left out of account.


class TableTrial(Trial):
    """A trial that looks past what no guest relies on before the primary header names it."""

    first_unseen = 0

    def _check_views(self, port: Port, *, unreliable: Tuple[str, ...] = ()) -> None:
        shown = sight_of(port, self.path)
        assert self._masked(shown) in (self._masked(self.before.sight), self._masked(self.after.sight))
        view, after = shown.views[TOP], self.after.sight.views[TOP] if self.after.sight is not None else b""
        if view[SECTOR : 2 * SECTOR] == after[SECTOR : 2 * SECTOR]:
            assert view == after, "the primary header names a backup that is not there"

    def _masked(self, sight: Optional[Sight]) -> Optional[Sight]:
        if sight is None:
            return None
        end = self.first_unseen
        views = {
            guid: bytes(SECTOR) + view[SECTOR:end] + bytes(len(view) - end) if guid == TOP else view
            for guid, view in sight.views.items()
        }
        return sight._replace(views=views)


def _table_on(prepare: Prepare, size: int) -> Prepare:
    """The scene with a partition table for a disk of ``size`` bytes on the current state, as if the disk had become
    larger since.
    """

    def with_table(port: MemoryPort, folder: str) -> None:
        prepare(port, folder)
        path = f"{folder}/{DISK}"
        before = disks.read_naively(port, path)
        table = gpt.with_gpt(before[:size], [(10, 20)], entries=4)
        for offset in range(0, size, SECTOR):
            if table[offset : offset + SECTOR] != before[offset : offset + SECTOR]:
                disks.write(port, path, offset, table[offset : offset + SECTOR])

    return with_table


def fixes(name: str, prepare: Prepare, size: int) -> Operation:
    """The table belongs to a disk of ``size`` bytes and comes to fit the whole disk."""

    def planner(port: Port, state: BundleState) -> Plan:
        return plan_partition_fix(port, state, state.descriptor.size_bytes, actual=state)

    return _operation(f"fix-{name}", _table_on(prepare, size), planner)


def _below(prepare: Prepare) -> Prepare:
    """The scene frozen, with an empty current layer on it."""

    def with_snapshot(port: MemoryPort, folder: str) -> None:
        prepare(port, folder)
        disks.take(port, f"{folder}/{DISK}", guid_of(7))

    return with_snapshot


FIXES = (
    fixes("expanding", _plants(line("A.....")), 4 * CLUSTER),
    fixes("v2", _plants(line("A..x.B", version=2)), 4 * CLUSTER),
    fixes("plain", _plants(line("A.....", plain=True)), 4 * CLUSTER),
    fixes("split", _plants(line("A.....", split=(3, 3))), 4 * CLUSTER),
    fixes("under-snapshots", _below(_table_on(_plants(line("A.....")), 4 * CLUSTER)), 4 * CLUSTER),
    fixes("many-clusters", _tiny(_held(5), size_sectors=110), 80 * SECTOR),
)


@pytest.mark.parametrize("operation", FIXES, ids=lambda operation: operation.name)
def test_a_partition_table_that_is_being_mended_is_always_sound_in_front(
    operation: Operation, count: Callable[[Explorer], None]
) -> None:
    trial = TableTrial(operation)
    assert trial.after.sight is not None
    view = trial.after.sight.views[TOP]
    trial.first_unseen = len(view) - 2 * SECTOR
    assert gpt.judge(view) == [(10, 20)]
    _explore(Explorer(trial), count)
    for number in range(1, Explorer(trial).calls() + 1):
        judge(trial, number, FAULTS[list(FAULTS)[number % len(FAULTS)]])
