# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the host shares blocks and nothing comes of the content, an output costs what its extents cost: no byte of
data is read.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import VerifyFailed
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan, Transfer
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.writer import HdsWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import Place
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.writer import RawWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._guest import places
from ansible_collections.vdisk.parallels.plugins.module_utils._io import kernel
from ansible_collections.vdisk.parallels.plugins.module_utils._io.capabilities import Capabilities
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Stat
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert import share_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy import sharing, stream
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.darwin_library import DarwinLibrary
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.memory_file import MemoryFile
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.shared_blocks import refuse_without_sharing, shared_bytes

CLUSTER = 65536
SIZE = 40 * CLUSTER
DISK = "/vm/layers.hdd"

# What the output is to be like, and what nothing comes of the content in.
TARGETS: Dict[str, Tuple[str, Dict[str, Any]]] = {
    "raw": ("/vm/out.raw", {}),
    "expanding": ("/vm/out.hdd", {"cluster_bytes": CLUSTER, "reproducible": False}),
    "larger clusters": ("/vm/out.hdd", {"cluster_bytes": 4 * CLUSTER, "reproducible": False}),
    "plain": ("/vm/out.hdd", {"kind": "plain", "reproducible": False}),
    "with snapshots": ("/vm/out.hdd", {"cluster_bytes": CLUSTER, "keeps_layers": True, "reproducible": False}),
    "with snapshots in larger clusters": (
        "/vm/out.hdd",
        {"cluster_bytes": 4 * CLUSTER, "keeps_layers": True, "reproducible": False},
    ),
    "version 2": ("/vm/out.hdd", {"cluster_bytes": CLUSTER, "version": 2, "reproducible": False}),
}


class Watched(MemoryPort):
    """Counts the bytes that are read of images."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel_shares = True
        self.bytes_read = 0

    def open_read(self, path: str) -> MemoryFile:
        file = super().open_read(path)
        read = file.pread_into

        def pread_into(offset: int, buffer: Any) -> int:
            self.bytes_read += len(buffer)
            return read(offset, buffer)

        file.pread_into = pread_into  # type: ignore[method-assign]
        return file


def layers(port: MemoryPort, seed: int = 1, *, size: int = SIZE) -> bytes:
    """A disk with two snapshots, of stored zeros and holes and data at odd places; returns what the guest sees."""
    port.plant_directory("/vm")
    chance = random.Random(seed)
    disks.new_disk(port, DISK, size=size, cluster_bytes=CLUSTER)
    guest = bytearray(size)
    for number in range(3):
        for _write in range(12):
            start, length = chance.randrange(size), chance.choice([1, 700, 4096, CLUSTER, 3 * CLUSTER])
            data = bytes(length) if chance.random() < 0.3 else chance.getrandbits(8 * length).to_bytes(length, "little")
            data = data[: size - start]
            guest[start : start + len(data)] = data
            disks.write(port, DISK, start, data)
        if number < 2:
            disks.take(port, DISK, guid_of(number + 1))
    return bytes(guest)


def punch_clusters(port: MemoryPort, seed: int) -> None:
    """Make holes of some clusters: zeros that hide what lies below, and are no data."""
    chance = random.Random(seed)
    for name in port.list_directory(DISK):
        if name.endswith(".hds"):
            file = port.open_write(f"{DISK}/{name}")
            for offset in range(CLUSTER, file.size(), CLUSTER):
                if chance.random() < 0.3:
                    file.punch_hole(offset, CLUSTER)
            file.close()


def seen(port: Any, path: str) -> bytes:
    return port.content(path) if path.endswith(".raw") else disks.read(port, path)


def done(port: Any, source: str, target: str, **more: Any) -> Any:
    path, options = TARGETS[target]
    plan = disks.plan_of_convert(port, source, path, **{**options, **more})
    return execute(port, plan)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(5))
def test_the_guest_sees_the_same_and_no_data_is_read(target: str, seed: int) -> None:
    port = Watched()
    guest = layers(port, seed)
    port.bytes_read = 0
    # Verification, too, knows shared blocks for the same.
    outcome = done(port, DISK, target)
    assert outcome.bytes_read == 0
    # Headers, tables and descriptors are read.
    assert port.bytes_read < 100_000
    path = TARGETS[target][0]
    assert seen(port, path) == guest
    if path.endswith(".hdd"):
        assert examine(port, locate_damaged(port, path)).findings == ()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_foretold_is_what_happens(target: str, shares: bool, seed: int) -> None:
    port = Watched()
    port.kernel_shares = shares
    layers(port, seed)
    path, options = TARGETS[target]
    predicted = disks.plan_of_convert(port, DISK, path, predict=True, **options)
    outcome = execute(port, disks.plan_of_convert(port, DISK, path, **options))
    assert (predicted.bytes_read, predicted.bytes_written) == (outcome.bytes_read, outcome.bytes_written)
    facts = predicted.facts
    assert facts.lengths == tuple(port.stat(file).size for file in facts.files)  # type: ignore[union-attr]


def test_a_host_that_changes_its_mind_gets_copies() -> None:
    port = Watched()
    guest = layers(port)
    give_up = MemoryFile.share_from
    answers = iter([True, False])

    def share_from(self: MemoryFile, *where: Any) -> bool:
        return give_up(self, *where) if next(answers, False) else False

    for target, (path, _options) in TARGETS.items():
        answers = iter([True, False])
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(MemoryFile, "share_from", share_from)
            outcome = done(port, DISK, target, force=True)
        assert seen(port, path) == guest
        # What was copied counts, and of that no zeros were stored.
        assert outcome.bytes_read > 0
        if target == "raw":
            held = port.open_read(path)
            assert sum(end - start for start, end in held.data_ranges(0, SIZE)) < SIZE


@pytest.mark.parametrize("target", ["raw", "expanding", "with snapshots"])
@pytest.mark.parametrize("is_right", [True, False])
def test_what_a_server_copied_is_verified(monkeypatch: pytest.MonkeyPatch, target: str, is_right: bool) -> None:
    """Shared blocks are the same blocks; a copy is one only when it has been read."""
    port = Watched()
    layers(port)
    punch_clusters(port, 1)
    guest = disks.read(port, DISK)
    share, answers = MemoryFile.share_from, iter([True])
    monkeypatch.setattr(MemoryFile, "share_from", lambda self, *where: next(answers, False) and share(self, *where))
    copied: List[int] = []

    def copy_on_server(self: MemoryFile, source: MemoryFile, source_offset: int, offset: int, length: int) -> bool:
        content = bytearray(length)
        source.pread_into(source_offset, content)
        self.pwrite(offset, content if is_right else bytes(byte ^ 1 for byte in content))
        copied.append(length)
        return True

    monkeypatch.setattr(MemoryFile, "copy_on_server", copy_on_server)
    if not is_right:
        with pytest.raises(VerifyFailed):
            done(port, DISK, target)
    else:
        done(port, DISK, target)
        assert seen(port, TARGETS[target][0]) == guest
    assert copied


def test_what_waits_for_a_server_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 8 << 20
    monkeypatch.setattr(sharing, "WRITEBACK_STEP", size // 4)
    port = MemoryPort()
    port.server_copies = size
    port.plant_file("/vm/source", random.Random(1).getrandbits(8 * size).to_bytes(size, "little"))
    lengths: List[int] = []
    copy = MemoryFile.copy_on_server

    def watched(self: MemoryFile, *where: Any) -> bool:
        lengths.append(where[-1])
        return copy(self, *where)

    monkeypatch.setattr(MemoryFile, "copy_on_server", watched)
    disks.convert(port, "/vm/source", "/vm/out.raw")
    assert sum(lengths) == size and max(lengths) <= size // 4


@pytest.mark.parametrize("clusters", [1, 4])
@pytest.mark.parametrize("answers", [None, 0, 1, 3])
@pytest.mark.parametrize("at_once", [CLUSTER, 64 << 20])
@pytest.mark.parametrize("seed", range(4))
def test_every_snapshot_of_a_copy_is_that_of_the_source(
    monkeypatch: pytest.MonkeyPatch, clusters: int, answers: Optional[int], at_once: int, seed: int
) -> None:
    """``answers``: how often the host shares before it refuses."""
    share = MemoryFile.share_from
    left = [answers]

    def share_from(self: MemoryFile, *where: Any) -> bool:
        if left[0] is not None:
            left[0] -= 1
        return share(self, *where) if left[0] is None or left[0] >= 0 else False

    monkeypatch.setattr(MemoryFile, "share_from", share_from)
    monkeypatch.setattr(stream, "_SHARED_AT_ONCE", at_once)
    port = Watched()
    layers(port, seed)
    punch_clusters(port, seed)
    outcome = execute(
        port,
        disks.plan_of_convert(
            port, DISK, "/vm/out.hdd", keeps_layers=True, reproducible=False, cluster_bytes=clusters * CLUSTER
        ),
    )
    assert (outcome.bytes_read == 0) == (answers is None)
    assert examine(port, locate_damaged(port, "/vm/out.hdd")).findings == ()
    guids = disks.guids_of(port, DISK)
    assert sorted(disks.guids_of(port, "/vm/out.hdd")) == sorted(guids)
    for guid in guids:
        assert disks.read_naively(port, "/vm/out.hdd", guid) == disks.read_naively(port, DISK, guid)


def test_of_a_source_that_ends_within_a_block_only_the_end_is_read() -> None:
    port = Watched()
    content = random.Random(3).getrandbits(8 * (SIZE + 512)).to_bytes(SIZE + 512, "little")
    port.plant_file("/vm/source", content)
    for target, (path, options) in TARGETS.items():
        if "keeps_layers" in options:
            continue
        port.bytes_read = 0
        assert done(port, "/vm/source", target, force=True).bytes_read == 512
        assert port.bytes_read < 200_000
        assert seen(port, path)[: len(content)] == content


def test_no_call_shares_more_than_a_moment_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: List[int] = []
    share = MemoryFile.share_from

    def share_from(self: MemoryFile, source: Any, source_offset: int, offset: int, length: int) -> bool:
        lengths.append(length)
        return share(self, source, source_offset, offset, length)

    monkeypatch.setattr(MemoryFile, "share_from", share_from)
    for module in (places, sharing):
        monkeypatch.setattr(module, "LONGEST", 3 * CLUSTER)
    port = Watched()
    port.plant_file("/vm/source", random.Random(3).getrandbits(8 * SIZE).to_bytes(SIZE, "little"))
    told: List[int] = []
    execute(
        port, disks.plan_of_convert(port, "/vm/source", "/vm/out.raw"), on_progress=lambda now, _all: told.append(now)
    )
    assert max(lengths) == 3 * CLUSTER
    assert sum(lengths) == SIZE
    assert len(told) >= SIZE // (3 * CLUSTER)


@pytest.mark.parametrize("shift", [0, 512, 4096])
def test_what_lies_between_blocks_is_read_and_its_zeros_are_left_out(shift: int) -> None:
    port = Watched()
    content = random.Random(4).getrandbits(8 * 16 * 4096).to_bytes(16 * 4096, "little")
    port.plant_file("/vm/even", content[: 8 * 4096])
    port.plant_file("/vm/odd", bytes(shift) + content[8 * 4096 : 10 * 4096] + bytes(4 * 4096) + content[14 * 4096 :])
    even, odd, output = port.open_read("/vm/even"), port.open_read("/vm/odd"), port.create("/vm/out")

    class View:
        size = 16 * 4096

        def extents(self, start: int, length: int) -> Any:
            return iter([Extent(start, length, DATA)])

        def places(self, start: int, length: int) -> Any:
            return iter([Place(0, 8 * 4096, even, 0), Place(8 * 4096, 8 * 4096, odd, shift)])

        def pread_into(self, offset: int, buffer: Any) -> None:
            odd.pread_into(shift + offset - 8 * 4096, buffer)

        def close(self) -> None:
            """Nothing."""

    writer = RawWriter(output, size_bytes=View.size)

    class Placing:
        def places(self, offset: int, length: int) -> Any:
            return (Place(offset, length, output, writer.place(offset, length)),)

        def write(self, offset: int, buffer: Any) -> None:
            writer.write(offset, buffer)

    known = places.SharedRanges()
    flow = share_disk.share_disk(View(), Placing(), sharing.BlockSharing(View(), Placing(), known))
    writer.finish()
    is_read = shift == 512
    assert flow.read == (8 * 4096 if is_read else 0)
    assert flow.written == (12 * 4096 if is_read else 16 * 4096)
    assert port.content("/vm/out") == port.content("/vm/even") + port.content("/vm/odd")[shift:]
    assert list(output.data_ranges(0, View.size)) == (
        [(0, 10 * 4096), (14 * 4096, 16 * 4096)] if is_read else [(0, 16 * 4096)]
    )
    assert known.held(odd, shift, output, 8 * 4096, 8 * 4096) == (0 if is_read else 8 * 4096)


def test_layers_on_several_file_systems_are_read() -> None:
    port = Watched()
    guest = layers(port)
    stat = port.stat

    def elsewhere(path: str) -> Optional[Stat]:
        found = stat(path)
        return replace(found, device=2) if found and path.endswith(".hds") and TOP in path else found

    port.stat = elsewhere  # type: ignore[method-assign]
    assert done(port, DISK, "raw").bytes_read > 0
    assert port.content("/vm/out.raw") == guest


# How a source is written, and what of it: its current state, or all its layers.
FOREIGN: Dict[str, Dict[str, Any]] = {
    "qcow2": {"format": "qcow2", "keeps_layers": True},
    "qcow2 of one file": {"format": "qcow2"},
    "vhd": {"format": "vhd", "keeps_layers": True},
    "fixed vhd": {"format": "vhd", "subformat": "fixed"},
    "vhdx": {"format": "vhdx", "keeps_layers": True},
    "fixed vhdx": {"format": "vhdx", "subformat": "fixed"},
    "vmdk": {"format": "vmdk", "keeps_layers": True},
    "flat vmdk": {"format": "vmdk", "subformat": "monolithicFlat"},
    "vdi": {"format": "vdi"},
}


def foreign(port: Any, kind: str) -> str:
    """The disk as images of another product; returns the uppermost."""
    path = f"/vm/foreign.{FOREIGN[kind]['format']}"
    disks.convert(port, DISK, path, **FOREIGN[kind])
    return path


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("target", ["raw", "larger clusters", "plain"])
@pytest.mark.parametrize("seed", range(3))
def test_images_of_other_products_are_shared_as_well(kind: str, target: str, seed: int) -> None:
    port = Watched()
    port.kernel_shares = False
    guest = layers(port, seed)
    source = foreign(port, kind)
    port.kernel_shares = True
    path, options = TARGETS[target]
    predicted = disks.plan_of_convert(port, source, path, predict=True, **options)
    port.calls.clear()
    outcome = done(port, source, target)
    assert (predicted.bytes_read, predicted.bytes_written) == (outcome.bytes_read, outcome.bytes_written)
    assert seen(port, path) == guest
    assert [name for name, _path in port.calls if name == "share_from"]
    # Sectors of an overlay that begin within a block are read.
    assert outcome.bytes_read < outcome.bytes_written / 2
    if path.endswith(".hdd"):
        assert examine(port, locate_damaged(port, path)).findings == ()


@pytest.mark.parametrize("kind", ["qcow2", "vhd", "vhdx", "vmdk"])
def test_layers_of_other_products_are_shared_layer_by_layer(kind: str) -> None:
    port = Watched()
    port.kernel_shares = False
    guest = layers(port)
    source = foreign(port, kind)
    port.kernel_shares = True
    port.calls.clear()
    done(port, source, "with snapshots")
    assert seen(port, "/vm/out.hdd") == guest
    assert [name for name, _path in port.calls if name == "share_from"]


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("target", ["raw", "expanding", "plain", "streamed"])
def test_a_file_system_that_shares_blocks_gives_those_of_other_products(tmp_path: Path, kind: str, target: str) -> None:
    refuse_without_sharing(tmp_path)
    chance = random.Random(7)
    content = bytearray(chance.getrandbits(8 * SIZE).to_bytes(SIZE, "little"))
    for start in range(0, SIZE, 5 * CLUSTER):
        content[start : start + CLUSTER] = bytes(CLUSTER)
    (tmp_path / "source").write_bytes(content)
    port = OsPort()
    options = {name: value for name, value in FOREIGN[kind].items() if name != "keeps_layers"}
    source = str(tmp_path / f"foreign.{options['format']}")
    disks.convert(port, str(tmp_path / "source"), source, **options)
    (tmp_path / "source").unlink()
    name, wanted = TARGETS["expanding" if target == "streamed" else target]
    # What the identity comes of is read, and shared all the same.
    wanted = {**wanted, "reproducible": True} if target == "streamed" else wanted
    dest = str(tmp_path / name.rsplit("/", 1)[1])
    disks.convert(port, source, dest, **wanted)
    assert (disks.read(port, dest) if dest.endswith(".hdd") else Path(dest).read_bytes()) == content
    files = [Path(dest)] if dest.endswith(".raw") else list(Path(dest).glob("*.hds"))
    assert sum(shared_bytes(file) for file in files) >= SIZE * 7 // 10


def test_what_has_no_place_is_read() -> None:
    port = Watched()
    guest = layers(port)
    disks.convert(port, DISK, "/vm/packed.qcow2", format="qcow2", compression="zlib")
    for target, (path, _options) in TARGETS.items():
        done(port, "/vm/packed.qcow2", target, force=True)
        assert seen(port, path) == guest


@pytest.mark.parametrize("packed, is_tried", [(3, True), (6, False)])
def test_an_image_that_is_packed_for_the_most_part_is_streamed(packed: int, is_tried: bool) -> None:
    port = Watched()
    chance = random.Random(5)
    guest = chance.getrandbits(8 * (9 - packed) * CLUSTER).to_bytes((9 - packed) * CLUSTER, "little")
    guest += b"easily packed" * (packed * CLUSTER // 13) + bytes(packed * CLUSTER % 13)
    port.plant_file("/vm/source", guest)
    # Clusters that hardly become smaller are stored as they are.
    disks.convert(port, "/vm/source", "/vm/packed.qcow2", format="qcow2", compression="zlib")
    port.calls.clear()
    execute(port, disks.plan_of_convert(port, "/vm/packed.qcow2", "/vm/out.raw"))
    assert ("shares_blocks" in [name for name, _path in port.calls]) == is_tried
    assert port.content("/vm/out.raw") == guest


@pytest.mark.parametrize("wanted", [{"checksum": "sha256"}, {"sparse": False}])
def test_what_the_content_is_asked_for_is_read(wanted: Dict[str, Any]) -> None:
    port = Watched()
    guest = layers(port)
    assert done(port, DISK, "raw", **wanted).bytes_read > 0
    assert port.content("/vm/out.raw") == guest


def test_an_output_whose_table_is_wrong_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    port = Watched()
    layers(port)
    place = HdsWriter.place

    def displaced(self: HdsWriter, offset: int, length: int) -> int:
        right = place(self, offset, length)
        return right + CLUSTER if offset >= 30 * CLUSTER else right

    monkeypatch.setattr(HdsWriter, "place", displaced)
    with pytest.raises(VerifyFailed):
        done(port, DISK, "expanding")
    assert port.stat("/vm/out.hdd") is None


def test_another_snapshot_is_shared_from_its_own_layers() -> None:
    port = Watched()
    layers(port)
    plan: Plan = disks.plan_of_convert(port, DISK, "/vm/out.raw", snapshot=guid_of(1))
    assert any(isinstance(step, Transfer) for step in plan.steps)
    execute(port, plan)
    assert port.content("/vm/out.raw") == disks.read(port, DISK, guid_of(1))


def test_a_real_file_system_that_shares_blocks(tmp_path: Path) -> None:
    (tmp_path / "probe").write_bytes(b"x" * 8192)
    probe = ["cp", "--reflink=always", str(tmp_path / "probe"), str(tmp_path / "probe2")]
    can = shutil.which("cp") is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    port = OsPort()
    file = port.open_read(str(tmp_path / "probe"))
    before: List[Tuple[str, int]] = [
        (path.name, path.stat().st_mtime_ns) for path in [tmp_path, *sorted(tmp_path.iterdir())]
    ]
    try:
        assert port.shares_blocks(file, 4096, str(tmp_path)) == can
        assert not port.shares_blocks(file, 4096, str(tmp_path / "missing"))
        assert not port.shares_blocks(file, 4096, "/proc")
    finally:
        file.close()
    assert before == [(path.name, path.stat().st_mtime_ns) for path in [tmp_path, *sorted(tmp_path.iterdir())]]
    if not can:
        pytest.skip("the folder for temporary files lies on a file system that shares no blocks")
    content = random.Random(3).getrandbits(8 * SIZE).to_bytes(SIZE, "little")
    (tmp_path / "source").write_bytes(content)
    for target, (path, options) in TARGETS.items():
        name = str(tmp_path / Path(path).name)
        outcome = execute(
            port, disks.plan_of_convert(port, str(tmp_path / "source"), name, **{**options, "force": True})
        )
        assert outcome.bytes_read == 0, target
        assert (Path(name).read_bytes() if name.endswith(".raw") else disks.read(port, name)) == content


# Clones of whole files


def cloning() -> Watched:
    """A file system that clones whole files, with a raw disk and plain ones of one part and of three."""
    port = Watched()
    port.kernel_shares, port.kernel_clones = False, True
    port.plant_file(
        "/vm/disk",
        bytes(CLUSTER)
        + random.Random(5).getrandbits(8 * 22 * CLUSTER).to_bytes(22 * CLUSTER, "little")
        + bytes(CLUSTER),
    )
    file = port.open_write("/vm/disk")
    file.punch_hole(4 * CLUSTER, 2 * CLUSTER)
    file.close()
    disks.convert(port, "/vm/disk", "/vm/plain.hdd", kind="plain")
    disks.convert(port, "/vm/disk", "/vm/halves.hdd", kind="plain", split_size=(100 << 20) + 10 * CLUSTER)
    return port


HALVES = {"kind": "plain", "reproducible": False, "split_size": (100 << 20) + 10 * CLUSTER}
CLONED: Dict[str, Tuple[str, str, Dict[str, Any]]] = {
    "raw": ("/vm/disk", "/vm/out.raw", {}),
    "raw with a checksum": ("/vm/disk", "/vm/out.raw", {"checksum": "sha256"}),
    "raw to plain": ("/vm/disk", "/vm/out.hdd", {"kind": "plain", "reproducible": False}),
    "plain to raw": ("/vm/plain.hdd", "/vm/out.raw", {}),
    "plain": ("/vm/plain.hdd", "/vm/out.hdd", {"kind": "plain", "reproducible": False}),
    "plain in parts": ("/vm/halves.hdd", "/vm/out.hdd", HALVES),
}


def data_of(port: MemoryPort, path: str) -> List[Tuple[int, int]]:
    file = port.open_read(path)
    try:
        return list(file.data_ranges(0, file.size()))
    finally:
        file.close()


@pytest.mark.parametrize("case", CLONED)
def test_files_that_are_whole_files_of_the_source_are_clones(case: str) -> None:
    source, dest, wanted = CLONED[case]
    port = cloning()
    predicted = disks.plan_of_convert(port, source, dest, predict=True, **wanted)
    told: List[Tuple[int, int]] = []
    plan = disks.plan_of_convert(port, source, dest, **wanted)
    port.bytes_read = 0
    outcome = execute(port, plan, on_progress=lambda now, whole: told.append((now, whole)))
    assert port.bytes_read < 100_000, "verification knows clones for the same"
    assert (outcome.bytes_read, outcome.bytes_written) == (predicted.bytes_read, predicted.bytes_written)
    assert outcome.bytes_read == 0
    assert told == [(24 * CLUSTER, 24 * CLUSTER)]
    facts = predicted.facts
    assert facts.lengths == tuple(port.stat(file).size for file in facts.files)  # type: ignore[union-attr]
    assert seen(port, dest) == seen(port, source if source.endswith(".hdd") else "/vm/plain.hdd")
    if dest.endswith(".hdd"):
        assert examine(port, locate_damaged(port, dest)).findings == ()
    else:
        assert outcome.bytes_written == sum(end - start for start, end in data_of(port, dest)) < 24 * CLUSTER
        if wanted:
            checksum = outcome.reports["transfer"].checksums  # type: ignore[attr-defined]
            assert list(checksum.values()) == [hashlib.sha256(port.content(dest)).hexdigest()]


@pytest.mark.parametrize(
    "source, dest, wanted",
    [
        ("/vm/disk", "/vm/out.raw", {"sparse": False}),
        ("/vm/disk", "/vm/out.raw", {"preallocate": True}),
        ("/vm/disk", "/vm/out.raw", {"align": 30 * CLUSTER}),
        ("/vm/disk", "/vm/out.hdd", {"kind": "plain"}),
        ("/vm/disk", "/vm/out.hdd", {"reproducible": False}),
        ("/vm/disk", "/vm/out.hdd", HALVES),
        ("/vm/halves.hdd", "/vm/out.raw", {}),
        ("/vm/plain.hdd", "/vm/out.hdd", HALVES),
        ("/vm/halves.hdd", "/vm/out.hdd", {**HALVES, "split_size": (100 << 20) + 9 * CLUSTER}),
        ("/vm/disk", "/vm/out.qcow2", {"format": "qcow2"}),
    ],
)
def test_what_is_no_whole_file_or_is_to_be_looked_at_is_read(source: str, dest: str, wanted: Dict[str, Any]) -> None:
    port = cloning()
    guest = disks.read(port, "/vm/plain.hdd")
    assert execute(port, disks.plan_of_convert(port, source, dest, **wanted)).bytes_read > 0
    assert not [name for name, _path in port.calls if name == "clone"]
    if not dest.endswith("qcow2"):
        assert seen(port, dest)[: len(guest)] == guest


def test_the_snapshot_of_a_plain_disk_is_cloned_but_not_what_was_written_since() -> None:
    port = cloning()
    before = disks.read(port, "/vm/plain.hdd")
    disks.take(port, "/vm/plain.hdd", guid_of(1))
    disks.write(port, "/vm/plain.hdd", 3 * CLUSTER, b"since")
    assert (
        execute(port, disks.plan_of_convert(port, "/vm/plain.hdd", "/vm/then.raw", snapshot=guid_of(1))).bytes_read == 0
    )
    assert execute(port, disks.plan_of_convert(port, "/vm/plain.hdd", "/vm/now.raw")).bytes_read > 0
    assert port.content("/vm/then.raw") == before
    assert port.content("/vm/now.raw") == before[: 3 * CLUSTER] + b"since" + before[3 * CLUSTER + 5 :]
    # A copy that keeps the snapshot is streamed.
    execute(
        port,
        disks.plan_of_convert(
            port, "/vm/plain.hdd", "/vm/out.hdd", kind="plain", keeps_layers=True, reproducible=False
        ),
    )
    assert disks.read(port, "/vm/out.hdd") == port.content("/vm/now.raw")
    assert disks.read(port, "/vm/out.hdd", guid_of(1)) == before


@pytest.mark.parametrize("clones", [0, 1])
@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("case", CLONED)
def test_a_host_that_clones_less_than_it_promised(
    monkeypatch: pytest.MonkeyPatch, case: str, shares: bool, clones: int
) -> None:
    source, dest, wanted = CLONED[case]
    port = cloning()
    port.kernel_shares = shares
    guest = seen(port, source) if source.endswith(".hdd") else port.content(source)
    clone, left = port.clone, [clones]

    def sometimes(file: Any, path: str, mode: int) -> Any:
        left[0] -= 1
        return clone(file, path, mode) if left[0] >= 0 else None

    monkeypatch.setattr(port, "clone", sometimes)
    outcome = execute(port, disks.plan_of_convert(port, source, dest, **wanted))
    assert (outcome.bytes_read == 0) == (
        clones == 1 and case != "plain in parts" or (shares and case != "raw with a checksum")
    )
    assert seen(port, dest) == guest


@pytest.mark.parametrize(
    "dest, wanted", [("/vm/out.raw", {}), ("/vm/out.hdd", {"kind": "plain", "reproducible": False})]
)
def test_what_a_file_holds_behind_the_disk_is_not_cloned(dest: str, wanted: Dict[str, Any]) -> None:
    port = cloning()
    guest = disks.read(port, "/vm/plain.hdd")
    (image,) = [name for name in port.list_directory("/vm/plain.hdd") if name.endswith(".hds")]
    file = port.open_write(f"/vm/plain.hdd/{image}")
    file.pwrite(file.size(), b"x" * CLUSTER)
    file.close()
    execute(port, disks.plan_of_convert(port, "/vm/plain.hdd", dest, align=25 * CLUSTER, **wanted))
    assert seen(port, dest) == guest + bytes(CLUSTER)


def test_the_files_of_many_parts_are_not_open_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    port = cloning()
    clone, opened = port.clone, []

    def counting(file: Any, path: str, mode: int) -> Any:
        opened.append(sum(port.opened.values()))
        return clone(file, path, mode)

    monkeypatch.setattr(port, "clone", counting)
    execute(port, disks.plan_of_convert(port, "/vm/halves.hdd", "/vm/out.hdd", **HALVES))
    assert opened == [1, 1, 1]


def test_a_clone_takes_the_mode_of_what_it_replaces_and_is_held() -> None:
    port = cloning()
    port.plant_file("/vm/out.raw", b"old", mode=0o640)
    plan = disks.plan_of_convert(port, "/vm/disk", "/vm/out.raw", force=True)
    held: List[bool] = []
    sync = MemoryFile.sync

    def looking(self: MemoryFile) -> None:
        held.append(self.inode in port.held)
        sync(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MemoryFile, "sync", looking)
        execute(port, plan)
    assert held == [True]
    assert port.stat("/vm/out.raw").mode == 0o640  # type: ignore[union-attr]
    assert port.content("/vm/out.raw") == port.content("/vm/disk")
    assert port.held == {}


@pytest.mark.parametrize("case", CLONED)
def test_files_of_the_host_are_cloned_where_the_library_of_macos_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    source, dest, wanted = CLONED[case]
    memory = cloning()
    for path, content in memory.listing().items():
        if content is None:
            (tmp_path / path[1:]).mkdir()
        else:
            (tmp_path / path[1:]).write_bytes(content)
    library = DarwinLibrary()
    monkeypatch.setattr(kernel, "_library", library)
    port = OsPort(Capabilities(clone_file=True, seek_hole=True, vectored=True))
    outcome = execute(port, disks.plan_of_convert(port, f"{tmp_path}{source}", f"{tmp_path}{dest}", **wanted))
    assert outcome.bytes_read == 0
    assert len(library.cloned) == (3 if case == "plain in parts" else 1)
    if dest.endswith(".hdd"):
        assert disks.read(port, f"{tmp_path}{dest}") == disks.read(memory, "/vm/plain.hdd")
    else:
        assert Path(f"{tmp_path}{dest}").read_bytes() == disks.read(memory, "/vm/plain.hdd")
    assert not [name for name in os.listdir(tmp_path / "vm") if "vdisk" in name]
