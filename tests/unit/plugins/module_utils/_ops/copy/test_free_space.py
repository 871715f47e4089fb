# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Dict, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.runs import Runs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.scan import find_free_space
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.choose_source import choose_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest, SourceRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.free_space import find_dropped
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.conversions import PORT, TARGETS, Source, convert, make_source
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import MIB, ext
from ansible_collections.vdisk.parallels.tests.support.filesystems import tool
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.writers import HAS_ZSTD

SIZE = 24 * MIB
CLUSTER = 64 << 10


@pytest.fixture(name="image", scope="module")
def image_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ext4 whose removed files are still there in its free blocks."""
    return ext(tmp_path_factory.mktemp("guest") / "disk.raw", "-t", "ext4", size=SIZE)


def free_of(path: str, guid: Optional[str] = None) -> Runs:
    source = find_source(PORT, path, backing=True)
    view = open_source(PORT, source if guid is None else replace(source, guid=guid))
    try:
        return find_free_space(view).free
    finally:
        view.close()


def content(path: str, guid: Optional[str] = None) -> bytes:
    source = find_source(PORT, path, backing=True)
    view = open_source(PORT, source if guid is None else replace(source, guid=guid))
    buffer = bytearray(view.size)
    view.pread_into(0, buffer)
    view.close()
    return bytes(buffer)


def without(content_of_disk: bytes, free: Runs) -> bytes:
    """The content with zeros where it is free."""
    cleaned = bytearray(content_of_disk)
    for start, end in free:
        cleaned[start:end] = bytes(end - start)
    return bytes(cleaned)


@pytest.mark.parametrize("name", [name for name in TARGETS if HAS_ZSTD or "zstd" not in name])
def test_the_output_has_zeros_where_the_guest_has_nothing(tmp_path: Path, image: Path, name: str) -> None:
    target = TARGETS[name]
    dest = f"{tmp_path}/out{target.suffix}"
    convert(Source(str(image)), dest, target.format, drops_free=True, **target.options)
    expected = without(image.read_bytes(), free_of(str(image)))
    assert expected != image.read_bytes()
    assert content(dest)[:SIZE] == expected
    request = ConvertRequest(target.format, dest, drops_free=True, **target.options)
    assert plan_convert(PORT, find_source(PORT, str(image)), request, token="again").is_empty
    # Without the option the same output is not what is asked for.
    request = replace(request, drops_free=False)
    assert not plan_convert(PORT, find_source(PORT, str(image)), request, token="other").is_empty


@pytest.mark.parametrize("kind", ["expanding", "plain", "split", "v2", "snapshot", "raw"])
def test_every_kind_of_source_gives_the_same(tmp_path: Path, image: Path, kind: str) -> None:
    source = make_source(str(tmp_path), kind, str(image), "small")
    convert(source, f"{tmp_path}/out.raw", "raw", drops_free=True)
    assert (tmp_path / "out.raw").read_bytes() == without(image.read_bytes(), free_of(str(image)))


def test_equal_requests_give_equal_bytes(tmp_path: Path, image: Path) -> None:
    made = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        convert(Source(str(image)), f"{folder}/out.vdi", "vdi", drops_free=True)
        made.append((folder / "out.vdi").read_bytes())
    assert made[0] == made[1]


def test_ids_follow_what_is_written_and_not_what_was_dropped(tmp_path: Path, image: Path) -> None:
    other = tmp_path / "scribbled.raw"
    content_of_disk = bytearray(image.read_bytes())
    for start, end in free_of(str(image)):
        content_of_disk[start:end] = b"x" * (end - start)
    other.write_bytes(content_of_disk)
    made = []
    for source in (image, other):
        folder = tmp_path / source.stem
        folder.mkdir()
        convert(Source(str(source)), f"{folder}/out.vdi", "vdi", drops_free=True)
        made.append((folder / "out.vdi").read_bytes())
    assert made[0] == made[1]


def history(image: Path, folder: Path) -> List[bytes]:
    """Four states of a guest disk: files come and go, and blocks are used again."""
    work = folder / "work.raw"
    shutil.copy(image, work)
    states = [work.read_bytes()]
    for number in range(3):
        for command in (f"rm kept{4 - number}", f"write {folder}/new{number} new{number}"):
            (folder / f"new{number}").write_bytes(bytes([number + 1]) * 700_000)
            tool("debugfs", "-w", "-R", command, work)
        states.append(work.read_bytes())
    assert tool("e2fsck", "-fn", work)
    return states


def layers_of(states: List[bytes]) -> List[Dict[int, bytes]]:
    """What changes from state to state, in clusters."""
    layers: List[Dict[int, bytes]] = []
    before = bytes(SIZE)
    for state in states:
        pairs = ((n, state[n * CLUSTER : (n + 1) * CLUSTER]) for n in range(SIZE // CLUSTER))
        layers.append({n: piece for n, piece in pairs if piece != before[n * CLUSTER : (n + 1) * CLUSTER]})
        before = state
    return layers


@pytest.mark.parametrize(("format", "options"), [("hdd", {"cluster_bytes": 4 * CLUSTER}), ("qcow2", {}), ("vhdx", {})])
def test_chains_keep_every_byte_of_every_snapshot_that_is_not_free(
    tmp_path: Path, image: Path, format: str, options
) -> None:
    states = history(image, tmp_path)
    path = f"{tmp_path}/source.hdd"
    layers = line_of_layers(*layers_of(states))
    build_bundle(path, size_sectors=SIZE // 512, cluster_sectors=CLUSTER // 512, layers=layers)
    source = Source(path)
    dest = f"{tmp_path}/out.{format}"
    convert(source, dest, format, keeps_layers=True, drops_free=True, **options)
    convert(source, f"{tmp_path}/whole.{format}", format, keeps_layers=True, **options)
    chain = find_source(PORT, dest, backing=True)
    view = open_source(PORT, chain)
    for depth, state in enumerate(reversed(states)):
        (tmp_path / "state.raw").write_bytes(state)
        free = free_of(str(tmp_path / "state.raw"))
        found = bytearray(SIZE)
        view.below(depth).pread_into(0, memoryview(found))
        assert without(bytes(found), free) == without(state, free)
        (tmp_path / "state.raw").write_bytes(found)
        tool("e2fsck", "-fn", tmp_path / "state.raw")
    view.close()
    request = ConvertRequest(format, dest, keeps_layers=True, drops_free=True, **options)
    assert plan_convert(PORT, find_source(PORT, path), request, token="again").is_empty
    assert length_of(dest) < length_of(f"{tmp_path}/whole.{format}")


def length_of(path: str) -> int:
    return sum(Path(file).stat().st_size for file, _seen in find_source(PORT, path, backing=True).fingerprint)


def test_what_is_dropped_is_described(image: Path) -> None:
    dropped = find_dropped(PORT, find_source(PORT, str(image)), (0,))
    (found,) = dropped.filesystems
    assert found["type"] == "ext4" and found["certain"] and found["reason"] is None
    assert found["used"] + found["free"] == found["size"] == SIZE
    assert 1_875_010 < found["droppable"] < found["free"]
    assert dropped.ranges == (free_of(str(image)),)


def machine_with(tmp_path: Path, image: Path) -> str:
    """The disk of a machine with one snapshot: the image, and nothing in the layer above it."""
    path = f"{tmp_path}/mac.pvm/mac.hdd"
    make_machine(f"{tmp_path}/mac.pvm", snapshots={guid_of(1): "before"})
    layers = line_of_layers(*layers_of([image.read_bytes()]), {})
    build_bundle(path, size_sectors=SIZE // 512, cluster_sectors=CLUSTER // 512, layers=layers)
    return path


def reasons(path: str, snapshot: Optional[str] = None) -> List[Optional[str]]:
    source = choose_source(PORT, SourceRequest(path, snapshot=snapshot))
    dropped = find_dropped(PORT, source, (0,))
    assert all(found["type"] == "ext4" for found in dropped.filesystems)
    assert bool(len(dropped.ranges[0])) == all(found["certain"] for found in dropped.filesystems)
    return [found["reason"] for found in dropped.filesystems]


def test_a_suspended_machine_has_nothing_free_but_in_its_snapshots(tmp_path: Path, image: Path) -> None:
    path = machine_with(tmp_path, image)
    assert reasons(path) == [None]
    (tmp_path / "mac.pvm" / "{00000000-0000-4000-8000-000000000009}.sav").write_bytes(b"memory")
    assert reasons(path) == ["suspended"]
    assert reasons(path, "before") == [None]


def test_a_snapshot_with_memory_has_nothing_free(tmp_path: Path, image: Path) -> None:
    path = machine_with(tmp_path, image)
    listing = tmp_path / "mac.pvm" / "Snapshots.xml"
    listing.write_text(listing.read_text().replace('state="poweroff"', 'state="poweron"'))
    assert (reasons(path), reasons(path, "before")) == ([None], ["suspended"])


def test_a_machine_that_is_not_understood_has_nothing_free(tmp_path: Path, image: Path) -> None:
    path = machine_with(tmp_path, image)
    (tmp_path / "mac.pvm" / "Snapshots.xml").write_text("<torn")
    assert reasons(path) == ["suspended"]


def test_a_disk_that_was_not_closed_has_nothing_free(tmp_path: Path, image: Path) -> None:
    path = machine_with(tmp_path, image)
    state = choose_source(PORT, SourceRequest(path)).state
    assert state is not None
    with open(state.layer(state.tree.top)[0].path, "r+b") as stream:
        stream.seek(44)
        stream.write(b"\x59\x6e\x6f\x74")
    assert reasons(path) == ["unclean"]
