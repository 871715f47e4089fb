# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Internal snapshots of qcow2, in images that are put together by hand."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    NoSuchSnapshot,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import SUSPENDED, ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.reader import open_qcow2
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.writer import Qcow2Writer
from ansible_collections.vdisk.parallels.plugins.module_utils._guest import backing
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.backing import find_chain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.choose_source import choose_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest, SourceRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.free_space import _doubt
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.oracles import qemu_img, require

PORT = OsPort()
CLUSTER = 4096
SIZE = 16 * CLUSTER
ONE = "{11111111-1111-4111-8111-111111111111}"
THEN = fill(1, 2 * CLUSTER)


def entry(name: str, number: str, l1: Tuple[int, int], *, size: int = 0, extra: int = 0) -> bytes:
    more = (struct.pack(">QQ", 0, size) if size else b"").ljust(extra, b"\0")
    sizes = (len(number), len(name.encode()), 1, 2, 3, 0, len(more))
    raw = struct.pack(">QIHHIIQII", *l1, *sizes) + more + number.encode() + name.encode()
    return raw.ljust(-(-len(raw) // 8) * 8, b"\0")


def image(path: Path, names: List[Tuple[str, str]], parent: Any = None, **fields: int) -> str:
    """An image that is empty now, and held THEN at every one of its snapshots."""
    file = PORT.create(str(path))
    writer = Qcow2Writer(file, size_bytes=SIZE, cluster_bytes=CLUSTER, parent=parent)
    writer.write(CLUSTER, THEN)
    writer.finish(ONE)
    file.close()
    raw = bytearray(path.read_bytes())
    raw += bytes(-len(raw) % CLUSTER)
    count, offset = struct.unpack_from(">IQ", raw, 36)
    now, table = len(raw), len(raw) + CLUSTER
    raw += bytes(CLUSTER)
    raw += b"".join(entry(name, number, (offset, count), **fields) for name, number in names)
    struct.pack_into(">Q", raw, 40, now)
    struct.pack_into(">IQ", raw, 60, len(names), table)
    path.write_bytes(raw)
    return str(path)


def content(path: str, snapshot: Any = None) -> bytes:
    opened = open_qcow2(PORT, path, snapshot)
    buffer = bytearray(opened.size)
    opened.pread_into(0, buffer)
    opened.close()
    return bytes(buffer)


MODEL = (bytes(CLUSTER) + THEN).ljust(SIZE, b"\0")


def test_a_snapshot_is_read_by_its_name_or_its_id(tmp_path: Path) -> None:
    path = image(tmp_path / "a.qcow2", [("before", "1"), ("später", "2")], size=SIZE, extra=24)
    assert content(path) == bytes(SIZE)
    for wanted in ("before", "später", "1", "2"):
        assert content(path, wanted) == MODEL
    assert open_qcow2(PORT, path, "1").warnings == ()


def test_a_name_counts_more_than_an_id(tmp_path: Path) -> None:
    path = image(tmp_path / "a.qcow2", [("2", "1"), ("x", "2")])
    assert content(path, "2") == MODEL
    with pytest.raises(NoSuchSnapshot) as caught:
        content(image(tmp_path / "b.qcow2", [("x", "1"), ("x", "2")]), "x")
    assert "several" in caught.value.message and "'x' (id 1), 'x' (id 2)" in str(caught.value)


@pytest.mark.parametrize("names", [[], [("a", "1")]])
def test_a_snapshot_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, names: List[Tuple[str, str]]
) -> None:
    with pytest.raises(NoSuchSnapshot) as caught:
        content(image(tmp_path / "a.qcow2", names), "none")
    assert ("'a' (id 1)" if names else "no snapshots") in str(caught.value)


def test_a_disk_may_have_had_another_size(tmp_path: Path) -> None:
    path = image(tmp_path / "a.qcow2", [("small", "1")], size=2 * CLUSTER)
    assert content(path, "small") == MODEL[: 2 * CLUSTER] and len(content(path)) == SIZE


@pytest.mark.parametrize("cut", [1, 20, 45])
def test_a_table_that_is_cut_is_damaged(tmp_path: Path, cut: int) -> None:
    path = image(tmp_path / "a.qcow2", [("before", "1")])
    raw = Path(path).read_bytes()
    Path(path).write_bytes(raw[: -len(entry("before", "1", (0, 0))) + cut])
    with pytest.raises(Damaged):
        content(path, "before")


@pytest.mark.parametrize("fields", [{"extra": 2000}, {"size": 1 << 60}])
def test_what_cannot_be_is_damaged(tmp_path: Path, fields: Any) -> None:
    with pytest.raises(Damaged):
        content(image(tmp_path / "a.qcow2", [("a", "1")], **fields), "a")


def test_noise_in_the_table_ends_in_bytes_or_in_an_error_of_ours(tmp_path: Path) -> None:
    path = image(tmp_path / "a.qcow2", [("before", "1"), ("x", "2")], size=SIZE)
    good, chance = Path(path).read_bytes(), random.Random(7)
    start = len(good) - 2 * len(entry("x", "2", (0, 0), size=SIZE))
    for _index in range(300):
        raw = bytearray(good)
        at = chance.randrange(start, len(raw))
        raw[at] = chance.choice((0, 0xFF, chance.randrange(256)))
        Path(path).write_bytes(raw)
        try:
            content(path, "before")
        except DiskError:
            pass


def test_a_conversion_chooses_it_with_what_is_below(tmp_path: Path) -> None:
    base = PORT.create(str(tmp_path / "base.qcow2"))
    writer = Qcow2Writer(base, size_bytes=SIZE, cluster_bytes=CLUSTER)
    writer.write(0, b"b" * SIZE)
    writer.finish(ONE)
    base.close()
    path = image(tmp_path / "a.qcow2", [("before", "1")], parent=ParentImage("base.qcow2", ONE))
    source = choose_source(PORT, SourceRequest(path, snapshot="before", backing=True))
    view = open_source(PORT, source)
    buffer = bytearray(SIZE)
    view.pread_into(0, buffer)
    view.close()
    assert buffer == b"b" * CLUSTER + THEN + b"b" * (SIZE - 3 * CLUSTER)
    with pytest.raises(BadRequest):
        choose_source(PORT, SourceRequest(path, snapshot="before"))
    assert find_source(PORT, path, backing=True).chain is not None


def test_older_snapshots_are_layers_below(tmp_path: Path) -> None:
    path = image(tmp_path / "a.qcow2", [("first", "1"), ("second", "2")], size=SIZE)
    for name, count in ((None, 3), ("second", 2), ("2", 2), ("first", 1)):
        source = choose_source(PORT, SourceRequest(path, snapshot=name, keeps_layers=True))
        assert source.chain is not None and len(source.chain.layers) == count and source.chain.warnings == ()
    view = open_source(PORT, choose_source(PORT, SourceRequest(path, keeps_layers=True)))
    for depth, model in ((0, bytes(SIZE)), (1, MODEL), (2, MODEL)):
        buffer = bytearray(SIZE)
        view.below(depth).pread_into(0, buffer)
        assert buffer == model
    # The second holds nothing of its own, and the current state hides what both hold.
    assert [part.kind for part in view.own_extents(1)] == [ABSENT]
    assert [part.kind for part in view.own_extents(0)] == [ABSENT, ZERO, ABSENT]
    view.close()


@pytest.mark.parametrize("target", ["qcow2", "vhdx", "hdd"])
def test_snapshots_over_a_backing_file_are_layers_between_that_and_the_current_state(
    tmp_path: Path, target: str
) -> None:
    """Made by QEMU, which reads each layer of the output again."""
    require("qemu-io")
    base, path = str(tmp_path / "base.qcow2"), str(tmp_path / "a.qcow2")
    qemu_img("create", "-f", "qcow2", base, "8M")
    written(base, "write -P 1 0 1M", "write -P 2 4M 1M")
    qemu_img("create", "-f", "qcow2", "-b", base, "-F", "qcow2", path, "8M")
    states = []
    for name, commands in (
        ("one", ("write -P 3 512k 1M",)),
        ("two", ("write -P 4 4M 64k", "write -z 2M 64k")),
        (None, ("write -z 4M 128k", "discard 512k 64k", "write -P 5 6M 64k")),
    ):
        written(path, *commands)
        if name is not None:
            qemu_img("snapshot", "-c", name, path)
        qemu_img("convert", "-f", "qcow2", "-O", "raw", path, str(tmp_path / "state.raw"))
        states.append((tmp_path / "state.raw").read_bytes())
    request = SourceRequest(path, keeps_layers=True, backing=True)
    source = choose_source(PORT, request)
    assert source.chain is not None and [layer.is_inner for layer in source.chain.layers] == [True, True, False, False]
    view = open_source(PORT, source)
    for depth, model in enumerate([*reversed(states), Path(base_raw(tmp_path, base)).read_bytes()]):
        buffer = bytearray(view.size)
        view.below(depth).pread_into(0, buffer)
        assert buffer == model
    view.close()
    suffix = "." + target
    plan = plan_convert(
        PORT, source, ConvertRequest(target, str(tmp_path / f"out{suffix}"), keeps_layers=True), token="t"
    )
    execute(PORT, plan)
    for number, model in zip((None, 2, 1, 0), [*reversed(states), Path(tmp_path / "base.raw").read_bytes()]):
        if target == "qcow2":
            name = "out.qcow2" if number is None else f"out.layer{number}.qcow2"
            qemu_img("convert", "-f", "qcow2", "-O", "raw", str(tmp_path / name), str(tmp_path / "got.raw"))
            assert (tmp_path / "got.raw").read_bytes() == model
    found = open_source(PORT, find_source(PORT, str(tmp_path / f"out{suffix}"), backing=True))
    for depth, model in enumerate([*reversed(states), Path(tmp_path / "base.raw").read_bytes()]):
        buffer = bytearray(found.size)
        found.below(depth).pread_into(0, buffer)
        assert buffer == model
    found.close()


def written(path: str, *commands: str) -> None:
    subprocess.run(["qemu-io", "-f", "qcow2", *[f"-c{command}" for command in commands], path], check=True)


def base_raw(folder: Path, base: str) -> str:
    qemu_img("convert", "-f", "qcow2", "-O", "raw", base, str(folder / "base.raw"))
    return str(folder / "base.raw")


def test_too_many_snapshots_are_flattened_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "MOST_LAYERS", 2)
    path = image(tmp_path / "a.qcow2", [("first", "1"), ("second", "2")], size=SIZE)
    with pytest.raises(Unsupported) as caught:
        choose_source(PORT, SourceRequest(path, keeps_layers=True))
    assert "chain: flatten" in str(caught.value)


@pytest.mark.parametrize(("state", "extra", "is_saved"), [(0, 0, False), (7, 0, True), (0, 1, True)])
def test_a_saved_state_is_a_warning_of_what_the_guest_goes_on_from(
    tmp_path: Path, state: int, extra: int, is_saved: bool
) -> None:
    path = image(tmp_path / "a.qcow2", [("one", "1")], size=SIZE)
    raw = bytearray(Path(path).read_bytes())
    at = raw.index(b"1one") - 16 - 40
    struct.pack_into(">I", raw, at + 32, state)
    struct.pack_into(">Q", raw, at + 40, extra << 32)
    Path(path).write_bytes(raw)
    opened = open_qcow2(OsPort(), path, "one")
    assert (SUSPENDED in opened.warnings) is is_saved
    opened.close()
    chain = find_chain(OsPort(), path, format="qcow2", backing=False, snapshot="one")
    assert any(SUSPENDED in text for text in chain.warnings) is is_saved
    # Nothing of it is free then.
    source = replace(find_source(OsPort(), path, format="qcow2"), chain=chain)
    assert _doubt(source, 0) == ("suspended" if is_saved else None)
