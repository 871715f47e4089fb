# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bundle on trial: changed by the engine's plans or by ploop, written to by qemu-io, with a model of what every
snapshot must read as.
"""

from __future__ import annotations

import os
import random
from typing import Dict, List, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState, observe
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import shape_of
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_view
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import take_back
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.create import plan_create
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import AUTO, plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.names import snapshot_guid
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import choose_removals
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.support import oracles

PORT = OsPort()
MIB = 1 << 20


def is_zero(content: bytes | bytearray) -> bool:
    """Whether there is nothing but zeros."""
    return content.count(0) == len(content)


def apply_plan(plan: Plan) -> None:
    """Execute a plan as the modules do."""
    execute(PORT, plan, recover=lambda path: take_back(PORT, path))


def observed(path: str) -> BundleState:
    """The disk at ``path``."""
    return observe(PORT, locate(PORT, path))


def bytes_of(path: str, guid: Optional[str] = None) -> bytes:
    """The guest disk at ``guid`` (the current state when left out) as the engine reads it. Holes must read as zeros."""
    state = observed(path)
    view = open_view(PORT, state, guid or state.tree.top)
    try:
        content = bytearray(view.size)
        view.pread_into(0, content)
        position = 0
        for extent in view.extents(0, view.size):
            assert extent.start == position
            assert extent.kind != ZERO or is_zero(content[extent.start : extent.end])
            position = extent.end
        assert position == view.size
        return bytes(content)
    finally:
        view.close()


class TrialDisk:
    """``now`` is what the current state must read as, ``frozen`` the same for every snapshot."""

    def __init__(self, bundle: str, content: bytes) -> None:
        self.bundle = bundle
        self.now = bytearray(content)
        self.frozen: Dict[str, bytes] = {}
        self._seed = 0

    @property
    def state(self) -> BundleState:
        """The disk as it is."""
        return observed(self.bundle)

    @property
    def layout(self) -> oracles.Layout:
        """The descriptor as the standard library reads it."""
        return oracles.read_layout(self.bundle)

    @property
    def views(self) -> Dict[str, bytes]:
        """What every snapshot, the current state among them, must read as."""
        return {**self.frozen, self.layout.top: bytes(self.now)}

    def write(self, *clusters: int) -> None:
        """Let qemu-io fill whole clusters of the disk in the top layer with new data."""
        self._seed += 1
        self._write(oracles.patterned_writes([self._range(cluster) for cluster in clusters], self._seed))

    def write_zeros(self, *clusters: int) -> None:
        """Let qemu-io fill whole clusters with zeros. Parallels has no mark for that, so the clusters are there."""
        self._write([self._range(cluster) + (0,) for cluster in clusters])

    def _range(self, cluster: int) -> Tuple[int, int]:
        step = self.layout.cluster_bytes
        return cluster * step, min(step, len(self.now) - cluster * step)

    def _write(self, writes: Sequence[Tuple[int, int, int]]) -> None:
        layout = self.layout
        for image in layout.images[layout.top]:
            commands = []
            for start, length, byte in writes:
                low, high = max(start, image.start), min(start + length, image.start + image.length)
                if low < high:
                    commands.append(f"write -P {byte} {low - image.start} {high - low}")
                    self.now[low:high] = bytes([byte]) * (high - low)
            if commands:
                oracles.qemu_io(image.path, *commands, format="raw" if image.is_plain else "parallels")

    def take(self, name: str) -> str:
        """Take a snapshot with the engine."""
        state = self.state
        guid = snapshot_guid(state, name)
        apply_plan(plan_snapshot_take(state, guid))
        self.frozen[guid] = bytes(self.now)
        return guid

    def merge(self, *removals: str, strategy: str = AUTO) -> None:
        """Let the engine merge these snapshots, or all of the current chain."""
        state = self.state
        chosen = removals or choose_removals(state, max_layers=1)
        apply_plan(plan_merge(PORT, state, chosen, strategy=strategy))
        for guid in chosen:
            del self.frozen[guid]

    def compact(self) -> None:
        """Let the engine give back what is not needed; there must be something."""
        plan = plan_compact(PORT, self.state)
        assert not plan.is_empty
        apply_plan(plan)

    def top_files(self) -> List[str]:
        """The names of the images of the current chain in the first storage, the root first."""
        layout = self.layout
        return [os.path.basename(layout.images[guid][0].path) for guid in layout.chain(layout.top)]


def create(folder: str, size: int, **shape: object) -> TrialDisk:
    """A new, empty bundle made by the engine."""
    path = os.path.join(os.path.realpath(folder), "mac.hdd")
    apply_plan(plan_create(path, shape_of(size=size, **shape), name="mac", uid=guids.draw(), token="trial"))  # type: ignore[arg-type]
    return TrialDisk(path, bytes(size))


def raw_content(size: int) -> bytes:
    """A guest disk with data, zeros and parts that only touch a cluster."""
    draw = random.Random(size)
    content = bytearray(size)
    for start in range(0, size, 320 * 1024):
        length = min(draw.choice((0, 0, 1, 4096, 70_000, 320 * 1024)), size - start)
        content[start : start + length] = draw.getrandbits(8 * length).to_bytes(length, "little") if length else b""
    content[-1:] = b"\x77"
    return bytes(content)


def sparse_file(path: str, content: bytes) -> None:
    """Write a file with holes where there are zeros."""
    with open(path, "wb") as stream:
        for start in range(0, len(content), 4096):
            part = content[start : start + 4096]
            if not is_zero(part):
                stream.seek(start)
                stream.write(part)
        stream.truncate(len(content))


def import_raw(folder: str, size: int, **wanted: object) -> TrialDisk:
    """A bundle that the engine made from a raw image with holes."""
    folder = os.path.realpath(folder)
    content = raw_content(size)
    raw, path = os.path.join(folder, "source.raw"), os.path.join(folder, "mac.hdd")
    sparse_file(raw, content)
    apply_plan(plan_convert(PORT, find_source(PORT, raw), ConvertRequest("hdd", path, **wanted), token="trial"))  # type: ignore[arg-type]
    os.unlink(raw)
    return TrialDisk(path, content)
