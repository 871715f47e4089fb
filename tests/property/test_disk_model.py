# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk against a model that is a dictionary: whatever is done to it, every snapshot shows the bytes that it must
show.

The guest writes through code that shares nothing with the engine. All operations run as in a task: observe, plan,
compare the facts that check mode would show, apply, look again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any, Dict, List, Optional

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.leftovers import leftovers, orphans
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import choose_removals
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import KIB, TOP
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))
SECTOR = 512

SHAPES = st.fixed_dictionaries(
    {
        "size": st.integers(1, 640).map(lambda sectors: sectors * SECTOR),
        "cluster_bytes": st.sampled_from([32 * KIB, 64 * KIB]),
        "version": st.sampled_from([1, 2]),
        "kind": st.sampled_from(["expanding", "expanding", "plain"]),
        "parts": st.sampled_from([None, None, 1, 2]),
        "maker": st.sampled_from(["engine", "desktop", "ploop"]),
    }
)


class DiskMachine(RuleBasedStateMachine):
    """One disk in one folder. ``views`` maps every snapshot, the current state included, to its guest bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.port: Any = None
        self.folder = ""
        self.path = ""
        self.views: Dict[str, bytearray] = {}
        self.parents: Dict[str, Optional[str]] = {}
        self.counter = 0

    def open_port(self) -> None:
        """Make ``port`` and ``folder``."""
        self.port, self.folder = MemoryPort(), "/vm"
        self.port.plant_directory(self.folder)

    def plant_bundle(self, directory: str) -> None:
        """Bring a bundle made on the host into the port."""
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), "rb") as stream:
                self.port.plant_file(f"{self.path}/{name}", stream.read())

    @initialize(shape=SHAPES)
    def create(self, shape: Dict[str, Any]) -> None:
        self.open_port()
        self.path = f"{self.folder}/disk.hdd"
        size, cluster, parts = shape["size"], shape["cluster_bytes"], shape["parts"]
        part = cluster * parts if parts and shape["maker"] != "ploop" else None
        if shape["maker"] == "engine":
            disks.new_disk(
                self.port,
                self.path,
                size=size,
                cluster_bytes=cluster,
                version=shape["version"],
                kind=shape["kind"],
                part_size=part,
            )
        else:
            self._build(shape, part)
        self.views = {TOP: bytearray(size)}
        self.parents = {TOP: None}

    def _build(self, shape: Dict[str, Any], part: Optional[int]) -> None:
        size = shape["size"] // SECTOR
        split = (
            None if part is None else [min(part // SECTOR, size - start) for start in range(0, size, part // SECTOR)]
        )
        root = Layer(TOP, type="Plain" if shape["kind"] == "plain" else "Compressed")
        with tempfile.TemporaryDirectory() as scratch:
            built = os.path.join(scratch, "disk.hdd")
            build_bundle(
                built,
                size_sectors=size,
                layers=[root],
                style=shape["maker"],
                split=split,
                version=shape["version"],
                cluster_sectors=shape["cluster_bytes"] // SECTOR,
            )
            self.plant_bundle(built)

    # What happens to a disk.

    @rule(
        where=st.integers(0, 1 << 20), length=st.integers(1, 100 * KIB), byte=st.integers(0, 255), aligned=st.booleans()
    )
    def guest_writes(self, where: int, length: int, byte: int, aligned: bool) -> None:
        view = self.views[TOP]
        offset = where % len(view)
        if aligned:
            offset = offset // (32 * KIB) * (32 * KIB)
        content = (bytes([byte]) * length)[: len(view) - offset]
        disks.write(self.port, self.path, offset, content)
        view[offset : offset + len(content)] = content

    @rule()
    def guest_zeroes_everything(self) -> None:
        size = len(self.views[TOP])
        disks.write(self.port, self.path, 0, bytes(size))
        self.views[TOP] = bytearray(size)

    @rule()
    def take(self) -> None:
        self.counter += 1
        guid = guid_of(self.counter)
        self.run(lambda: plan_snapshot_take(self.state(), guid))
        self.views[guid] = bytearray(self.views[TOP])
        self.parents[guid] = self.parents[TOP]
        self.parents[TOP] = guid

    @precondition(lambda self: self.parents.get(TOP))
    @rule(number=st.integers(0, 20))
    def switch(self, number: int) -> None:
        """Somebody else lets the disk go on from another snapshot and keeps the present state as a branch."""
        target = sorted(guid for guid in self.views if guid != TOP)[number % (len(self.views) - 1)]
        self.counter += 1
        kept = guid_of(self.counter)
        disks.switch(self.port, self.path, target, kept_as=kept)
        self.views[kept], self.parents[kept] = self.views[TOP], self.parents[TOP]
        self.views[TOP], self.parents[TOP] = bytearray(self.views[target]), target

    @rule(
        chosen=st.one_of(st.none(), st.lists(st.integers(0, 9), max_size=4)),
        max_layers=st.integers(1, 4),
        strategy=st.sampled_from(["auto", "in_place", "copy"]),
    )
    def merge(self, chosen: Optional[List[int]], max_layers: int, strategy: str) -> None:
        chain = self._mergeable()
        snapshots = chain if chosen is None else [chain[number % len(chain)] for number in chosen if chain]
        has_plain_root = any(
            is_plain for part in disks.parts_of(self.port, self.path) for _file, is_plain in part.chain
        )
        if strategy == "copy" and has_plain_root:
            strategy = "auto"

        def planned() -> Plan:
            state = self.state()
            return plan_merge(
                self.port, state, choose_removals(state, max_layers=max_layers, snapshots=snapshots), strategy=strategy
            )

        for guid in self.run(planned).facts.merged:
            del self.views[guid]
            gone_parent = self.parents.pop(guid)
            self.parents = {child: gone_parent if parent == guid else parent for child, parent in self.parents.items()}

    def _mergeable(self) -> List[str]:
        """The snapshots below the current state where no branches part."""
        chain, guid = [], self.parents[TOP]
        while guid is not None:
            if list(self.parents.values()).count(guid) == 1:
                chain.append(guid)
            guid = self.parents[guid]
        return chain

    @rule(scan=st.sampled_from(["zeros", "metadata"]))
    def compact(self, scan: str) -> None:
        self.run(lambda: plan_compact(self.port, self.state(), scan=scan))

    @rule(
        number=st.integers(0, 20),
        sparse=st.booleans(),
        split=st.booleans(),
        kind=st.sampled_from(["expanding", "plain"]),
    )
    def export_and_import(self, number: int, sparse: bool, split: bool, kind: str) -> None:
        guid = sorted(self.views)[number % len(self.views)]
        raw, back = f"{self.folder}/export.raw", f"{self.folder}/back.hdd"
        self._convert(self.path, raw, snapshot=guid, sparse=sparse, checksum="sha256")
        assert self.bytes_of(raw) == self.views[guid]
        self._convert(raw, back, sparse=sparse, kind=kind, format="hdd")
        assert disks.read_naively(self.port, back) == self.views[guid]
        assert disks.plan_of_convert(self.port, self.path, back, snapshot=guid, kind=kind).is_empty

    def _convert(self, source: str, dest: str, **options: Any) -> None:
        predicted = disks.plan_of_convert(self.port, source, dest, predict=True, **options)
        outcome = (
            disks.apply(self.port, disks.plan_of_convert(self.port, source, dest, **options))
            if not predicted.is_empty
            else None
        )
        if outcome is not None:
            report: Any = outcome.reports["transfer"]
            assert (outcome.bytes_read, outcome.bytes_written) == (predicted.bytes_read, predicted.bytes_written)
            facts = predicted.facts
            assert tuple(report.lengths[path] for path in facts.built) == facts.lengths
        assert disks.plan_of_convert(self.port, source, dest, **options).is_empty

    # How an operation runs.

    def run(self, planned: Any) -> Plan:
        """Plan twice (planning changes nothing), apply, compare with what was predicted, plan again."""
        before = self.snapshot_of_folder()
        plan: Plan = planned()
        predicted = disks.facts_of(self.port, plan.facts.after)
        assert self.snapshot_of_folder() == before
        if not plan.is_empty:
            outcome = disks.apply(self.port, plan)
            assert outcome.bytes_written == plan.bytes_written
            assert outcome.bytes_read + plan.bytes_scanned == plan.bytes_read
        found = disks.facts_of(self.port, self.state())
        assert found == predicted
        again = planned()
        assert again.is_empty, again.steps
        return plan

    def state(self) -> Any:
        return disks.state_of(self.port, self.path)

    def snapshot_of_folder(self) -> object:
        """Something that differs when anything was changed."""
        return len(self.port.effects)

    def bytes_of(self, path: str) -> bytes:
        return self.port.content(path)

    # What always holds.

    @invariant()
    def every_snapshot_shows_its_bytes(self) -> None:
        if self.views:
            assert set(disks.guids_of(self.port, self.path)) == set(self.views)
        for guid, content in self.views.items():
            assert disks.read_naively(self.port, self.path, guid) == content, guid
            assert disks.read(self.port, self.path, guid) == content, guid

    @invariant()
    def nothing_is_left_over(self) -> None:
        if self.views:
            state = self.state()
            assert (state.journal, leftovers(state), orphans(state)) == (None, (), ())
            assert not [name for name in self.port.list_directory(self.folder) if name.startswith(".")]
            assert not any(image.is_dirty for image in state.images.values())

    @invariant()
    def nothing_is_held(self) -> None:
        if isinstance(self.port, MemoryPort):
            assert not self.port.held
            assert not any(self.port.opened.values())


class RealDiskMachine(DiskMachine):
    """The same on the files of the host, with their holes and kernel copies."""

    def open_port(self) -> None:
        self.port = OsPort()
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="vdisk-model-"))

    def plant_bundle(self, directory: str) -> None:
        shutil.copytree(directory, self.path)

    def snapshot_of_folder(self) -> object:
        found = {}
        for folder, _folders, names in os.walk(self.folder):
            for path in [folder] + [os.path.join(folder, name) for name in names]:
                facts = os.lstat(path)
                found[path] = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        return found

    def bytes_of(self, path: str) -> bytes:
        with open(path, "rb") as stream:
            return stream.read()

    def teardown(self) -> None:
        if self.folder:
            shutil.rmtree(self.folder)


@pytest.mark.parametrize("machine, examples", [(DiskMachine, 40), (RealDiskMachine, 10)], ids=["memory", "host"])
def test_a_disk_shows_what_the_model_shows(machine: type, examples: int) -> None:
    chosen = settings(max_examples=examples * 6 if LONG else examples, stateful_step_count=40 if LONG else 20)
    run_state_machine_as_test(machine, settings=chosen)
