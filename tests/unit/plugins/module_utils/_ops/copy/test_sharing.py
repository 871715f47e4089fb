# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the host shares blocks, an output has the same bytes as where it does not, and less is written."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import Place
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.sharing import BlockSharing
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.retype import plan_retype
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.shared_blocks import refuse_without_sharing, shared_bytes

CLUSTER = 65536
SIZE = 40 * CLUSTER
LAYERS = "/vm/layers.hdd"

TARGETS: Dict[str, Dict[str, Any]] = {
    "raw": {},
    "raw with zeros": {"sparse": False},
    "expanding": {"cluster_bytes": CLUSTER},
    "version 2": {"cluster_bytes": 2 * CLUSTER, "version": 2},
    "plain": {"kind": "plain"},
    "reserved": {"cluster_bytes": CLUSTER, "preallocate": True},
    "qcow2": {"format": "qcow2"},
}


FOREIGN: Dict[str, Dict[str, Any]] = {
    "qcow2": {"format": "qcow2"},
    "qcow2 with a snapshot": {"format": "qcow2", "keeps_layers": True},
    "vhd": {"format": "vhd"},
    "fixed vhd": {"format": "vhd", "subformat": "fixed"},
    "vhd with a snapshot": {"format": "vhd", "keeps_layers": True},
    "vhdx": {"format": "vhdx"},
    "vhdx with a snapshot": {"format": "vhdx", "keeps_layers": True},
    "vmdk": {"format": "vmdk"},
    "flat vmdk": {"format": "vmdk", "subformat": "monolithicFlat"},
    "vmdk with a snapshot": {"format": "vmdk", "keeps_layers": True},
    "vdi": {"format": "vdi"},
}
FOREIGN_NAMES = {f"foreign.{options['format']}" for options in FOREIGN.values()}


def noise(chance: random.Random, length: int) -> bytes:
    return chance.getrandbits(8 * length).to_bytes(length, "little")


def content(size: int = SIZE) -> bytes:
    """Data, zeros of whole clusters, of pages and of parts of pages."""
    chance = random.Random(size)
    made = bytearray(noise(chance, size))
    for _number in range(30):
        start, length = chance.randrange(size), chance.choice([512, 4096, 10_000, CLUSTER, 3 * CLUSTER])
        made[start : start + length] = bytes(len(made[start : start + length]))
    return bytes(made)


def scene(kind: str, *, shares: bool) -> MemoryPort:
    """A raw file, a disk with a snapshot, or either as images of another product."""
    port = MemoryPort()
    port.plant_directory("/vm")
    if kind in FOREIGN:
        options = dict(FOREIGN[kind])
        source = LAYERS if options.get("keeps_layers") else "/vm/source"
        port = scene("layers" if source == LAYERS else "raw", shares=False)
        disks.convert(port, source, "/vm/foreign." + str(options["format"]), **options)
        port.calls.clear()
    port.kernel_shares = shares
    if kind in FOREIGN:
        return port
    if kind == "layers":
        disks.new_disk(port, LAYERS, size=SIZE, cluster_bytes=CLUSTER)
        disks.write(port, LAYERS, 0, content())
        disks.take(port, LAYERS, guid_of(1))
        disks.write(port, LAYERS, 4 * CLUSTER + 1, b"top" * CLUSTER)
    else:
        port.plant_file("/vm/source", content(SIZE + 512 if kind == "odd" else SIZE))
    return port


def converted(port: MemoryPort, target: str) -> Dict[str, Any]:
    options = dict(TARGETS[target])
    name = "/vm/out.qcow2" if target == "qcow2" else "/vm/out.raw" if target.startswith("raw") else "/vm/out.hdd"
    foreign = [name for name in port.list_directory("/vm") if name in FOREIGN_NAMES]
    source = f"/vm/{foreign[0]}" if foreign else "/vm/source" if port.stat("/vm/source") else LAYERS
    disks.convert(port, source, name, **options)
    return port.listing()


def shared(port: MemoryPort) -> int:
    return sum(name == "share_from" for name, _path in port.calls)


def tried(port: MemoryPort) -> int:
    return sum(name == "shares_blocks" for name, _path in port.calls)


@pytest.mark.parametrize("kind", ["raw", "odd", "layers", *FOREIGN])
@pytest.mark.parametrize("target", TARGETS)
def test_the_output_does_not_depend_on_what_the_host_can_do(kind: str, target: str) -> None:
    copying, sharing = scene(kind, shares=False), scene(kind, shares=True)
    assert converted(copying, target) == converted(sharing, target)
    # A host that cannot is asked once. A format with its own idea of clusters asks for nothing, nor does what has its
    # blocks for itself.
    asks = target not in ("qcow2", "reserved", "raw with zeros")
    assert (shared(copying) + tried(copying) > 0) == asks
    assert shared(copying) <= 1
    assert (shared(sharing) > 0) == asks


def copied_by_a_server(port: MemoryPort) -> int:
    return sum(name == "copy_on_server" for name, _path in port.calls)


@pytest.mark.parametrize("most", [1 << 30, CLUSTER], ids=["everything", "short ranges"])
@pytest.mark.parametrize("kind", ["raw", "odd", "layers", "qcow2", "vmdk with a snapshot"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_output_does_not_depend_on_what_a_server_can_do(kind: str, target: str, most: int) -> None:
    copying, served = scene(kind, shares=False), scene(kind, shares=False)
    served.server_copies = most
    assert converted(copying, target) == converted(served, target)
    asks = target not in ("qcow2", "reserved", "raw with zeros")
    assert (copied_by_a_server(served) > 0) == asks
    # Where none copies, none is asked again.
    assert copied_by_a_server(copying) == asks


def test_what_a_server_copies_is_not_written() -> None:
    port = scene("raw", shares=False)
    port.server_copies = 1 << 30
    port.plant_file("/vm/source", noise(random.Random(1), SIZE))
    disks.convert(port, "/vm/source", "/vm/out.raw", verify=False)
    assert port.content("/vm/out.raw") == port.content("/vm/source")
    assert copied_by_a_server(port) == 2
    assert not [path for name, path in port.calls if name == "pwrite" and path.startswith("/vm")]


def test_a_disk_whose_blocks_are_reserved_keeps_them_to_itself() -> None:
    port = scene("layers", shares=True)
    disks.convert(port, LAYERS, "/vm/reserved.hdd", preallocate=True)
    port.calls.clear()
    disks.convert(port, "/vm/reserved.hdd", "/vm/out.raw")
    assert not shared(port)


def test_neighbours_are_shared_in_one_call() -> None:
    port = scene("raw", shares=True)
    port.plant_file("/vm/source", noise(random.Random(1), SIZE))
    disks.convert(port, "/vm/source", "/vm/out.hdd", verify=False)
    assert disks.read(port, "/vm/out.hdd") == port.content("/vm/source")
    # The first call tells whether the host can.
    assert shared(port) == 2


def test_parts_of_a_split_disk_and_runs_of_the_source_are_cut_at_each_others_borders() -> None:
    port = MemoryPort()
    for name in ("/one", "/two", "/first", "/second"):
        port.plant_file(name, noise(random.Random(name), 8 * 4096))
    one, two = port.open_read("/one"), port.open_read("/two")
    first, second = port.open_write("/first"), port.open_write("/second")
    before = port.content("/one")[4096 : 4 * 4096] + port.content("/two")[: 3 * 4096]

    class View:
        def places(self, start: int, length: int) -> Any:
            assert (start, length) == (4096, 6 * 4096)
            return iter([Place(4096, 3 * 4096, one, 4096), Place(4 * 4096, 3 * 4096, two, 0)])

    class Writer:
        def places(self, offset: int, length: int) -> Any:
            assert (offset, length) == (4096, 6 * 4096)
            return (Place(4096, 4096, first, 7 * 4096), Place(2 * 4096, 5 * 4096, second, 4096))

    port.kernel_shares = True
    sharing = BlockSharing(View(), Writer())
    assert sharing.put(4096, memoryview(before))
    sharing.flush()
    assert port.content("/first")[7 * 4096 :] + port.content("/second")[4096 : 6 * 4096] == before
    assert shared(port) == 3


@pytest.mark.parametrize(
    ("places", "stored"),
    [
        ([(0, 4, 0), (4, 4, 8)], 8),
        # Some lies nowhere as it is, some begins or ends within a block.
        ([(0, 4, 0)], 0),
        ([(0, 4, 0), (4, 4, 8.125)], 0),
        ([(0, 4.5, 0), (4.5, 3.5, 8.5)], 0),
        ([], 0),
    ],
)
def test_a_range_is_stored_unread_when_all_of_it_lies_on_whole_blocks(places: Any, stored: int) -> None:
    port = MemoryPort()
    port.kernel_shares = True
    port.plant_file("/source", noise(random.Random(2), 16 * 4096))
    source, target = port.open_read("/source"), port.create("/target")

    class View:
        def extents(self, start: int, length: int) -> Any:
            return iter([Extent(start, 8 * 4096, DATA), Extent(start + 8 * 4096, length - 8 * 4096, ZERO)])

        def places(self, start: int, length: int) -> Any:
            return iter(
                Place(int(guest * 4096), int(count * 4096), source, int(at * 4096)) for guest, count, at in places
            )

    class Writer:
        def places(self, offset: int, length: int) -> Any:
            return (Place(offset, length, target, offset),)

    sharing = BlockSharing(View(), Writer())
    assert sharing.put_range_unread(0, 12 * 4096) == stored * 4096
    sharing.flush()
    content = port.content("/source")
    assert port.content("/target") == (content[: 4 * 4096] + content[8 * 4096 : 12 * 4096] if stored else b"")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("call", ["share_from", "copy_on_server"])
def test_a_host_that_fails_while_it_shares_leaves_nothing_behind(call: str, number: int) -> None:
    port, calls = (scene("raw", shares=call == "share_from") for _number in range(2))
    port.server_copies = calls.server_copies = 1 << 30
    converted(calls, "expanding")
    places = [index for index, (name, _path) in enumerate(calls.calls, 1) if name == call]
    port.calls.clear()
    port.fail_call(places[number - 1], "ENOSPC")
    with pytest.raises(DiskError):
        converted(port, "expanding")
    assert list(port.listing()) == ["/vm", "/vm/source"]


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "qcow2"])
def test_on_a_file_system_that_shares_blocks_nothing_is_written_twice(tmp_path: Any, target: str) -> None:
    (tmp_path / "source").write_bytes(content())
    probe = ["cp", "--reflink=always", str(tmp_path / "source"), str(tmp_path / "probe")]
    if shutil.which("cp") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("the folder for temporary files lies on a file system that shares no blocks")
    port = OsPort()
    name = "out.raw" if target.startswith("raw") else "out.hdd"
    disks.convert(port, str(tmp_path / "source"), str(tmp_path / name), **TARGETS[target])
    if name == "out.raw":
        assert (tmp_path / name).read_bytes() == content()
    else:
        assert disks.read(port, str(tmp_path / name)) == content()


def _planted_disk(folder: Any, **wanted: Any) -> str:
    """A disk on the host that holds ``content``; skipped where no blocks are shared."""
    refuse_without_sharing(folder)
    (folder / "source").write_bytes(content())
    path = str(folder / "disk.hdd")
    # Written, so that the source itself shares nothing.
    disks.convert(OsPort(), str(folder / "source"), path, cluster_bytes=CLUSTER, **wanted)
    (folder / "source").unlink()
    return path


def _images(folder: str) -> List[Path]:
    return list(Path(folder).glob("*.hds"))


@pytest.mark.parametrize("kind", ["plain", "expanding"])
@pytest.mark.parametrize("preallocate", [False, True], ids=["shared", "reserved"])
def test_a_disk_gets_another_shape_from_the_blocks_that_it_has(tmp_path: Any, kind: str, preallocate: bool) -> None:
    path = _planted_disk(tmp_path)
    port = OsPort()
    # Another name keeps the blocks of the old image in use, which are freed otherwise.
    kept = tmp_path / "kept"
    subprocess.run(["cp", "--reflink=always", str(_images(path)[0]), str(kept)], check=True)
    shape = disks.shape(SIZE, kind=kind, cluster_bytes=CLUSTER, version=2, preallocate=preallocate)
    disks.apply(port, plan_retype(port, disks.state_of(port, path), shape))
    assert disks.read(port, path) == content()
    shared = sum(map(shared_bytes, _images(path)))
    assert shared == 0 if preallocate else shared >= SIZE // 3


def test_a_host_that_shares_makes_the_same_disk_of_another_shape() -> None:
    seen = []
    for shares in (False, True):
        port = scene("raw", shares=shares)
        disks.convert(port, "/vm/source", "/vm/disk.hdd", cluster_bytes=CLUSTER)
        port.calls.clear()
        plan = plan_retype(port, disks.state_of(port, "/vm/disk.hdd"), disks.shape(SIZE, kind="plain"), predict=True)
        outcome = disks.apply(port, plan)
        asked = any(name == "share_from" for name, _path in port.calls)
        seen.append((disks.read(port, "/vm/disk.hdd"), outcome.bytes_read, outcome.bytes_written))
        assert asked and (outcome.bytes_read, outcome.bytes_written) == (plan.bytes_read, plan.bytes_written)
    assert seen[0] == seen[1] and seen[0][0] == content()


def test_a_compaction_that_copies_shares_what_stays(tmp_path: Any) -> None:
    path = _planted_disk(tmp_path, sparse=False)
    port = OsPort()
    kept = tmp_path / "kept"
    subprocess.run(["cp", "--reflink=always", str(_images(path)[0]), str(kept)], check=True)
    before = kept.read_bytes()
    disks.compact(port, path, strategy="copy")
    assert disks.read(port, path) == content() and kept.read_bytes() == before
    image = _images(path)[0]
    assert image.stat().st_size < kept.stat().st_size and shared_bytes(image) >= SIZE // 3
