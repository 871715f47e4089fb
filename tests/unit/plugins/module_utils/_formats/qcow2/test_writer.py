# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage, ParentLink
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2 import store
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.reader import open_qcow2
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.writer import Qcow2Writer
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.writers import HAS_ZSTD, Recorder

PORT = OsPort()
IDENTITY = "{11111111-2222-3333-4444-555555555555}"
PARENT = ParentImage("base.qcow2", IDENTITY)
COMPRESSIONS = ["none", "zlib"] + (["zstd"] if HAS_ZSTD else [])
TEXT = b"".join(b"line %d of a text\n" % number for number in range(300_000))
NOISE = random.Random(1).getrandbits(8 << 20).to_bytes(1 << 20, "big")
MIB = 1 << 20


class Step(NamedTuple):
    """One call of a writer: bytes, or with None so many zeros."""

    offset: int
    content: Optional[bytes]
    length: int


class Plan(NamedTuple):
    size: int
    cluster: int
    version: int
    compression: str
    steps: List[Step]


def filled(number: int, length: int) -> bytes:
    """Bytes that pack well, badly or hardly, by turns."""
    if number % 3 == 0:
        return images.fill(number, length)
    return TEXT[number * 1000 :][:length] if number % 3 == 1 else NOISE[number * 1000 :][:length]


def apply(writer: Qcow2Writer, steps: List[Step]) -> None:
    for offset, content, length in steps:
        if content is None:
            writer.write_zeros(offset, length)
        else:
            writer.write(offset, content)


def write_file(path: str, steps: List[Step], *, size: int, **options: Any) -> Qcow2Writer:
    file = PORT.create(path)
    writer = Qcow2Writer(file, size_bytes=size, **options)
    apply(writer, steps)
    writer.finish(IDENTITY)
    file.close()
    return writer


def refcount_errors(path: str) -> List[str]:
    """What is wrong with the reference counts, found with ``struct`` alone from the format description."""
    raw = Path(path).read_bytes()
    fields = struct.unpack_from(">IIQIIQIIQQI", raw)
    bits, size, l1_entries, l1_offset, table_offset, table_clusters = (
        fields[4],
        fields[5],
        fields[7],
        fields[8],
        fields[9],
        fields[10],
    )
    cluster = 1 << bits
    uses: Dict[int, int] = {}

    def use(offset: int, length: int) -> None:
        for host in range(offset >> bits, (offset + length - 1 >> bits) + 1):
            uses[host] = uses.get(host, 0) + 1

    use(0, cluster)
    use(l1_offset, l1_entries * 8)
    use(table_offset, table_clusters * cluster)
    errors = []
    for entry in struct.unpack_from(f">{l1_entries}Q", raw, l1_offset):
        if not entry:
            continue
        assert entry >> 63
        table = entry & (1 << 56) - 512
        use(table, cluster)
        for mapped in struct.unpack_from(f">{cluster // 8}Q", raw, table):
            if mapped >> 62 == 1:
                shift = 70 - bits
                offset, sectors = mapped & (1 << shift) - 1, (mapped & (1 << 62) - 1) >> shift
                if offset % 2:
                    errors.append(f"odd offset {offset}")
                use(offset // 512 * 512, (sectors + 1) * 512)
            elif mapped > 1:
                use(mapped & (1 << 56) - 512, cluster)
                if not mapped >> 63:
                    errors.append("no bit 63")
    counts: List[int] = []
    for block in struct.unpack_from(f">{table_clusters * cluster // 8}Q", raw, table_offset):
        if not block:
            break
        use(block, cluster)
        counts += struct.unpack_from(f">{cluster // 2}H", raw, block)
    total = len(raw) // cluster
    if len(raw) % cluster or any(counts[total:]) or len(counts) < total:
        errors.append(f"{len(raw)} bytes, {len(counts)} counts")
    errors += [
        f"cluster {host}: {counts[host]} instead of {uses.get(host, 0)}"
        for host in range(total)
        if counts[host] != uses.get(host, 0)
    ]
    return errors + ([] if size % 512 == 0 else ["size"])


@st.composite
def plans(draw: st.DrawFn, *, overlay: bool = False) -> Plan:
    cluster = draw(st.sampled_from([512, 1024, 4096]))
    version = draw(st.sampled_from([2, 3]))
    compression = draw(st.sampled_from(COMPRESSIONS if version > 2 else ["none", "zlib"]))
    clusters = draw(st.integers(1, 200))
    size = clusters * cluster - draw(st.sampled_from([0, 0, 512])) * (cluster > 512)
    unit = cluster if overlay else 1
    position, steps = 0, []
    for number in range(draw(st.integers(0, 12))):
        start = position + draw(st.one_of(st.just(0), st.integers(0, 70 * cluster // unit))) * unit
        length = draw(st.one_of(st.integers(0, 90 * cluster // unit), st.integers(0, 3 * cluster // unit))) * unit
        if start >= size:
            break
        length = min(length, size - start)
        is_zero = draw(st.integers(0, 2)) == 0
        steps.append(Step(start, None if is_zero else filled(number, length), length))
        position = start + length
    return Plan(size, cluster, version, compression, steps)


def model_of(plan: Plan, below: bytes) -> bytes:
    model = bytearray(below)
    for offset, content, length in plan.steps:
        model[offset : offset + length] = bytes(length) if content is None else content
    return bytes(model)


def split(steps: List[Step], *, step: int) -> List[Step]:
    """The same in calls of ``step`` bytes at most."""
    parts = []
    for offset, content, length in steps:
        for begin in range(0, max(length, 1), step):
            count = min(step, length - begin)
            parts.append(Step(offset + begin, None if content is None else content[begin : begin + count], count))
    return parts


@given(plans())
def test_what_is_written_is_read_and_the_rest_is_zero(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> None:
    path = str(tmp_path_factory.mktemp("image") / "disk.qcow2")
    options = dict(cluster_bytes=plan.cluster, version=plan.version, compression=plan.compression)
    writer = write_file(path, plan.steps, size=plan.size, **options)
    image = open_qcow2(PORT, path)
    content = bytearray(plan.size)
    image.pread_into(0, content)
    properties = image.properties
    assert image.size == plan.size and image.parent is None
    assert {extent.kind for extent in image.extents(0, image.size)} <= {DATA, ZERO}
    image.close()
    assert content == model_of(plan, bytes(plan.size))
    assert properties == writer.properties
    assert refcount_errors(path) == []
    # The same in other portions gives the same file, and so does a dry run its length.
    for number, portion in enumerate((plan.cluster, 700)):
        again = f"{path}.{number}"
        write_file(again, split(plan.steps, step=portion), size=plan.size, workers=number + 1, **options)
        assert Path(again).read_bytes() == Path(path).read_bytes()
    recorder = Recorder()
    dry = Qcow2Writer(recorder, size_bytes=plan.size, **options)  # type: ignore[arg-type]
    apply(dry, plan.steps)
    dry.finish(IDENTITY)
    assert recorder.length == Path(path).stat().st_size


@given(plans(overlay=True))
def test_an_overlay_hides_what_is_written_and_shows_the_rest(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan
) -> None:
    path = str(tmp_path_factory.mktemp("image") / "disk.qcow2")
    write_file(
        path,
        split(plan.steps, step=max(512, plan.cluster // 3)),
        size=plan.size,
        cluster_bytes=plan.cluster,
        version=plan.version,
        compression=plan.compression,
        parent=PARENT,
    )
    below = images.fill(77, plan.size)
    image = open_qcow2(PORT, path)
    assert image.parent == ParentLink(("base.qcow2",), "qcow2")
    found = bytearray(plan.size)
    image.pread_into(0, found)
    for extent in image.extents(0, plan.size):
        if extent.kind == ABSENT:
            assert not any(found[extent.start : extent.end])
            found[extent.start : extent.end] = below[extent.start : extent.end]
    image.close()
    assert found == model_of(plan, below)
    assert refcount_errors(path) == []


@pytest.mark.parametrize("compression", COMPRESSIONS[1:])
def test_the_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path, compression: str) -> None:
    steps = [Step(index * 131072, filled(index, 100_000), 100_000) for index in range(30)]
    made = set()
    for workers in (1, 2, 7, None):
        path = tmp_path / f"{workers}.qcow2"
        write_file(str(path), steps, size=4 * MIB, compression=compression, workers=workers)
        made.add(path.read_bytes())
    assert len(made) == 1


def test_compression_makes_it_small_and_noise_stays_as_it_is(tmp_path: Path) -> None:
    sizes = {}
    for compression in COMPRESSIONS:
        path = tmp_path / f"{compression}.qcow2"
        writer = write_file(str(path), [Step(0, TEXT[:MIB], MIB)], size=2 * MIB, compression=compression)
        assert writer.properties["compression"] == compression
        sizes[compression] = path.stat().st_size
    assert sizes["none"] > MIB and all(sizes[name] < MIB // 2 for name in COMPRESSIONS[1:])
    path = tmp_path / "noise.qcow2"
    writer = write_file(str(path), [Step(0, NOISE, MIB)], size=2 * MIB, compression="zlib")
    assert writer.properties["compression"] == "none"
    assert path.stat().st_size == sizes["none"]


def test_an_empty_image_is_its_header_and_tables(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    write_file(str(path), [], size=1 << 30)
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, 16, 1 << 30, 0, 2, 0x10000, 0x30000, 1, 0, 0)
    header += struct.pack(">QQQII8s", 0, 0, 0, 4, 112, b"")
    blocks = b"\0\1" * 4
    assert path.read_bytes() == header.ljust(0x20000, b"\0") + blocks.ljust(0x10000, b"\0") + struct.pack(
        ">Q", 0x20000
    ).ljust(0x10000, b"\0")


def test_data_ascends_and_the_header_comes_last() -> None:
    file = Recorder()
    writer = Qcow2Writer(file, size_bytes=4 << 30)  # type: ignore[arg-type]
    cluster, span = 65536, 512 * MIB
    writer.write(5, b"12")
    writer.write(cluster - 1, bytes(3 * cluster))
    writer.write(span - 4096, bytes(8192))
    writer.write(3 * span, b"x")
    writer.finish(IDENTITY)
    at = [number * cluster for number in range(20)]
    assert file.calls == [
        ("write", at[3] + 5, 2),
        ("write", at[4] - 1, 3 * cluster),
        ("write", at[8] - 4096, 4096),
        ("write", at[2], cluster),
        ("write", at[9], 4096),
        ("write", at[8], cluster),
        ("write", at[11], 1),
        ("write", at[10], cluster),
        ("truncate", at[14], 0),
        ("write", at[12], 28),
        ("write", at[13], 8),
        ("write", at[1], 64),
        ("write", 0, 120),
    ]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_huge_sparse_disk_costs_what_is_allocated(tmp_path: Path, compression: str) -> None:
    size = 16 << 40
    places = [3 << 16, 2 << 40, (9 << 40) + 65536, size - 4096]
    path = str(tmp_path / "disk.qcow2")
    write_file(path, [Step(place, TEXT[:4096], 4096) for place in places], size=size, compression=compression)
    assert Path(path).stat().st_size < 2 * MIB
    image = open_qcow2(PORT, path)
    for place in places:
        buffer = bytearray(4096)
        image.pread_into(place, buffer)
        assert buffer == TEXT[:4096]
    data = [extent.start // 65536 for extent in image.extents(0, size) if extent.kind == DATA]
    assert data == [place // 65536 for place in places]
    image.close()


def test_zeros_of_an_overlay_take_a_bit_in_version_3_and_a_hole_in_version_2(tmp_path: Path) -> None:
    lengths = {}
    for version in (2, 3):
        path = str(tmp_path / f"{version}.qcow2")
        steps = [Step(65536, None, 600 * MIB)]
        write_file(path, steps, size=1 << 30, version=version, parent=PARENT, parent_format="raw")
        lengths[version] = Path(path).stat().st_size
        assert Path(path).stat().st_blocks * 512 < MIB
        image = open_qcow2(PORT, path)
        assert image.parent == ParentLink(("base.qcow2",), "raw")
        found = [(extent.start, extent.length, extent.kind) for extent in image.extents(0, image.size)]
        assert found == [(0, 65536, ABSENT), (65536, 600 * MIB, ZERO), (65536 + 600 * MIB, 424 * MIB - 65536, ABSENT)]
        image.close()
    assert lengths[2] > 600 * MIB > MIB > lengths[3]


def test_a_name_with_a_colon_is_kept_from_being_a_protocol(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.qcow2")
    write_file(path, [], size=MIB, parent=ParentImage("json:x.qcow2", IDENTITY))
    image = open_qcow2(PORT, path)
    assert image.parent == ParentLink(("./json:x.qcow2",), "qcow2")
    image.close()


@pytest.mark.parametrize("size, seen", [(0, 0), (1, 512), (1000, 1024), (65537, 66048)])
def test_the_size_is_whole_sectors(tmp_path: Path, size: int, seen: int) -> None:
    path = str(tmp_path / "disk.qcow2")
    write_file(path, [Step(0, b"\1" * size, size)], size=size, parent=PARENT)
    image = open_qcow2(PORT, path)
    content = bytearray(image.size)
    image.pread_into(0, content)
    assert content == (b"\1" * size).ljust(seen, b"\0")
    image.close()
    assert refcount_errors(path) == []


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    "steps",
    [[Step(4096, b"x", 1)], [Step(0, b"x", 1), Step(65536, b"x", 1)], [Step(0, None, 4096), Step(65536, None, 65536)]],
)
def test_an_overlay_that_tears_a_cluster_is_a_bad_request(compression: str, steps: List[Step]) -> None:
    writer = Qcow2Writer(Recorder(), size_bytes=MIB, compression=compression, parent=PARENT)  # type: ignore[arg-type]
    with pytest.raises(BadRequest):
        apply(writer, steps)


def test_an_overlay_must_not_end_within_a_cluster() -> None:
    writer = Qcow2Writer(Recorder(), size_bytes=MIB, parent=PARENT)  # type: ignore[arg-type]
    writer.write(0, bytes(4096))
    with pytest.raises(BadRequest):
        writer.finish(IDENTITY)


BAD_OPTIONS: Dict[str, Dict[str, Any]] = {
    "format_version": dict(version=1),
    "format_version 4": dict(version=4),
    "cluster_size": dict(cluster_bytes=256),
    "cluster_size 4 MiB": dict(cluster_bytes=4 << 20),
    "cluster_size odd": dict(cluster_bytes=65535),
    "cluster_size 0": dict(cluster_bytes=0),
    "cluster_size for the disk": dict(cluster_bytes=512, size_bytes=(128 << 30) + 512),
    "cluster_size usual": dict(size_bytes=(2 << 50) + 512),
    "compression": dict(compression="lzo"),
    "compression zstd in version 2": dict(compression="zstd", version=2),
    "compression_level": dict(level=3),
    "compression_level 10": dict(compression="zlib", level=10),
    "size": dict(size_bytes=-1),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_options_that_do_not_go_together_are_a_bad_request(name: str) -> None:
    recorder = Recorder()
    with pytest.raises(BadRequest) as caught:
        Qcow2Writer(recorder, **{"size_bytes": MIB, **BAD_OPTIONS[name]})  # type: ignore[arg-type]
    assert caught.value.message.startswith(name.partition(" ")[0] + ":")
    assert recorder.calls == []


def test_the_largest_disk_of_small_clusters_is_refused_when_it_fills_up() -> None:
    writer = Qcow2Writer(Recorder(), size_bytes=128 << 30, cluster_bytes=512, version=2, parent=PARENT)  # type: ignore[arg-type]
    writer.write_zeros(0, 512)
    writer._store._next_host = writer._store._most_hosts - 2
    writer.write_zeros(512, 512)
    with pytest.raises(BadRequest):
        writer.write_zeros(1024, 1024)


def test_many_packed_clusters_are_counted_past_one_piece_of_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_COUNTS_PER_PIECE", 64)
    path = str(tmp_path / "disk.qcow2")
    steps = [Step(index * 8192, filled(index, 8192), 8192) for index in range(200)]
    write_file(path, steps, size=2 * MIB, cluster_bytes=1024, compression="zlib")
    assert refcount_errors(path) == []


def test_a_failure_of_the_file_reaches_the_caller() -> None:
    class Full(Recorder):
        def pwrite(self, offset: int, buffer: Any) -> None:
            if offset > 300_000:
                raise OSError("full")
            super().pwrite(offset, buffer)

    writer = Qcow2Writer(Full(), size_bytes=64 * MIB, compression="zlib", workers=2)  # type: ignore[arg-type]
    with pytest.raises(OSError):
        for index in range(40):
            writer.write(index * MIB, NOISE)
        writer.finish(IDENTITY)
