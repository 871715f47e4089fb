# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers, descriptions and overlays that were tampered with end in bytes or in an error of ours, in bounded work.

By default a few hundred inputs for each reader, with VDISK_LONG a million; VDISK_MUTANTS says how many. What bounds the
work is counted, not measured: calls and bytes of the port, and lines of code where an input takes long.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import resource
import signal
import struct
import sys
import tarfile
import zlib
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.detect import MARKS
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.reader import open_vdi
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.reader import ids_of, open_vmdk
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.inflated import InflatedFile
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.ovf import parse_manifest, parse_ovf
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.segments import SegmentedFile
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.tar import read_entries
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.allowed import Reach
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.choose_source import choose_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import SourceRequest
from ansible_collections.vdisk.parallels.tests.support import vdi_images, vmdk_files
from ansible_collections.vdisk.parallels.tests.support.flat_port import FlatPort
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.qcow2.test_external import external
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.qcow2.test_reader import (
    COPIED,
    ZERO_BIT,
    Builder,
)
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.qcow2.test_snapshots import entry
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.vmdk.test_reader import haiku
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_ovf import described
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_sparse import (
    version_0,
    version_1,
)
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_tar import (
    FILES,
    archive,
)

INPUTS = int(os.environ.get("VDISK_MUTANTS") or (1_000_000 if os.environ.get("VDISK_LONG") else 200))
MOST_READ = 64 << 10
MOST_CALLS = 20_000
MOST_BYTES = 64 << 20
SLOW_SECONDS = 1.0
MOST_LINES = 3_000_000
MOST_KIB = 256 << 10
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)
CONTENT = b"guest data".ljust(512, b"\0")
STREAM = bytes(
    vmdk_files.stream(
        capacity=8,
        grains={0: CONTENT.ljust(4096, b"\0")},
        descriptor=vmdk_files.text("streamOptimized", ['RW 8 SPARSE "x.vmdk"']),
    ).raw
)
PARENT_ID = b"\1" * 16


def port_of(files: Dict[str, bytes]) -> FlatPort:
    """The files below ``/v``, and others that nobody may open."""
    held = {f"/v/{name}": raw for name, raw in files.items()}
    return FlatPort({**held, "/secret": CONTENT, "/v2/a.vmdk": STREAM}, most_calls=MOST_CALLS, most_bytes=MOST_BYTES)


def read(image: Any) -> None:
    """The start and the end of a disk, and what it is made of."""
    try:
        for number, _extent in enumerate(image.extents(0, min(image.size, 4 << 20))):
            assert number < MOST_CALLS, "endless extents"
        length = min(image.size, MOST_READ)
        image.pread_into(0, bytearray(length))
        image.pread_into(image.size - min(image.size, 512), bytearray(min(image.size, 512)))
    finally:
        image.close()


def try_source(files: Dict[str, bytes], name: str, **options: Any) -> None:
    """Find and read a source as a conversion does."""
    port: Any = port_of(files)
    try:
        request = SourceRequest(f"/v/{name}", backing=True, **options)
        read(open_source(port, choose_source(port, request)))
    except DiskError as error:
        assert error.hint, f"no advice: {error}"
        raise
    finally:
        assert not port.opened, "a file is still open"
        assert all(path.startswith("/v/") for path in port.seen), f"opened {port.seen}"


def try_tar(raw: bytes) -> None:
    port: Any = port_of({"x": raw})
    for one in read_entries(port.open_read("/v/x")):
        SegmentedFile("/x", port.open_read("/v/x"), one.stretches, one.size).pread_into(
            0, bytearray(min(one.size, 4096))
        )


def try_gzip(raw: bytes) -> None:
    port: Any = port_of({"x": raw})
    file = InflatedFile(port.open_read("/v/x"))
    for start in (file.size() // 2, 0, file.size()):
        file.pread_into(start, bytearray(1000))


def try_ovf(raw: bytes) -> None:
    parse_ovf(raw, path="/x")


def try_manifest(raw: bytes) -> None:
    parse_manifest(raw, path="/x")


def try_vdi(raw: bytes) -> None:
    read(open_vdi(port_of({"x.vdi": raw}), "/v/x.vdi"))  # type: ignore[arg-type]


def try_vmdk(raw: bytes) -> None:
    port: Any = port_of({"x.vmdk": raw})
    ids_of(port.open_read("/v/x.vmdk"))
    read(open_vmdk(port, "/v/x.vmdk", lambda name: port.open_read(f"/v/{name}")))


SE_TEXT = vmdk_files.text("seSparse", ['RW 80 SESPARSE "x-sesparse.vmdk"'])


def try_sesparse(raw: bytes) -> None:
    try_source({"x.vmdk": SE_TEXT, "x-sesparse.vmdk": raw}, "x.vmdk")


def try_ova(raw: bytes) -> None:
    try_source({"x.ova": raw}, "x.ova", disk="0")


def try_box(raw: bytes) -> None:
    try_source({"x.box": raw}, "x.box")


def try_description(raw: bytes) -> None:
    pieces = {
        f"a.vmdk.{number:09d}": STREAM[start : start + 1024] for number, start in enumerate(range(0, len(STREAM), 1024))
    }
    try_source({"x.ovf": raw, "b.vmdk": gzip.compress(STREAM, 1), **pieces}, "x.ovf", disk="0")


def try_external(raw: bytes) -> None:
    try_source({"a.qcow2": raw, "a.data": CONTENT * 10, "base.raw": CONTENT * 4}, "a.qcow2", reach=Reach((), "raw"))


def try_snapshots(raw: bytes) -> None:
    files = {"a.qcow2": raw, "base.raw": CONTENT * 4}
    # One of three, whatever the input.
    snapshot = (None, "one", "2")[zlib.crc32(raw) % 3]
    try_source(files, "a.qcow2", keeps_layers=True, snapshot=snapshot)


def try_series(raw: bytes) -> None:
    """Each line of the input is a name, the length of the file and its content."""
    files: Dict[str, bytes] = {}
    for line in raw.split(b"\n")[:8]:
        name, _space, more = line.partition(b" ")
        text = name.replace(b"/", b"").replace(b"\0", b"").decode("utf-8", "surrogateescape")
        if text not in ("", ".", ".."):
            files[text] = more * 512
    chosen = zlib.crc32(raw)
    if files:
        name = list(files)[chosen // 2 % len(files)]
        try_source(files, name, reach=Reach(joins=chosen % 2 == 0))


def try_document(raw: bytes) -> None:
    first, rest = raw[:1] or b"x", raw[1:]
    names = ("x.img", "x.vhd", "x.qcow2", "x", "x.ovf", "x.v01", "x-flat.vmdk", "x.hdd")
    name = names[first[0] % len(names)]
    start = first[0] // len(names) * 64 % max(len(rest), 1)
    rest = (rest[start:] + rest[:start]).ljust(600, b" ")
    try_source({name: rest, "y.qcow2": external("x.img").header()}, name)


def vdi(tmp: str) -> bytes:
    path = os.path.join(tmp, "x.vdi")
    held = {number: CONTENT.ljust(4096, b"\0") for number in (1, 4)}
    made = {"type": 4, "linkage": PARENT_ID, "parent_modified": b"\2" * 16}
    vdi_images.build_vdi(path, size=8 * 4096, block=4096, contents=held, entries={2: vdi_images.ZERO}, **made)  # type: ignore[arg-type]
    with open(path, "rb") as stream:
        return stream.read()


def virtualbox() -> bytes:
    more = [f'ddb.uuid.{name}="920eaa6b-da5f-4608-a547-e8938db453e6"' for name in ("image", "parent")]
    descriptor = vmdk_files.text("monolithicSparse", ['RW 80 SPARSE ""'], more=more)
    return bytes(vmdk_files.sparse(capacity=80, grains={3: CONTENT.ljust(4096, b"\0")}, descriptor=descriptor).raw)


ONE = ('<File ovf:id="f1" ovf:href="a.vmdk"{}/>', '<Disk ovf:diskId="d1" ovf:fileRef="f1"/>')
CHUNKS = f' ovf:chunkSize="1024" ovf:size="{len(STREAM)}"'
SECOND = '<File ovf:id="f2" ovf:href="b%2Evmdk" ovf:compression="gzip"/>', '<Disk ovf:diskId="d2" ovf:fileRef="f2"/>'


def signed() -> Dict[str, bytes]:
    files = {"x.ovf": described(ONE[0].format(""), ONE[1]), "a.vmdk": STREAM}
    lines = [f"SHA256({name})= {hashlib.sha256(raw).hexdigest()}\n" for name, raw in files.items()]
    return {**files, "x.mf": "".join(lines).encode()}


def outside(**fields: int) -> Builder:
    """A small image with an external data file; some of its clusters are stored there, some are zero."""
    builder = Builder(bits=9, size=10 * 512)
    builder.fields.update(incompatible=4, **fields)
    builder.extension(0x44415441, b"a.data")
    for guest in (0, 3, 4, 9):
        builder.entry(guest, COPIED | guest * 512)
    builder.entry(5, ZERO_BIT)
    return builder


def with_snapshots(parent: bytes = b"") -> Builder:
    """A small image with two snapshots, of which the newer one has no clusters of its own."""
    builder = Builder(bits=9, size=10 * 512)
    builder.name = parent
    if parent:
        builder.extension(0xE2792ACA, b"raw")
    builder.store(0, 6, CONTENT)
    builder.pack(4, 7 * 512 + 100, CONTENT)
    builder.entry(2, ZERO_BIT)
    then = struct.pack(">64Q", *([COPIED | 8 * 512, 0, 0, COPIED | 6 * 512] + [0] * 60))
    builder.data.update({8 * 512: CONTENT, 9 * 512: then, 10 * 512: struct.pack(">2Q", COPIED | 9 * 512, 0)})
    table = entry("one", "1", (10 * 512, 2), size=8 * 512, extra=24) + entry("two", "2", (10 * 512, 2))
    builder.data[11 * 512] = table
    builder.fields.update(snapshots=2, snapshots_offset=11 * 512)
    return builder


def written(builder: Builder, tmp: str) -> bytes:
    from pathlib import Path

    path = builder.write(Path(tmp) / "x.qcow2")
    with open(path, "rb") as stream:
        return stream.read()


def sealed(content: bytes) -> Callable[[bytearray], None]:
    """Gives the headers of a tar archive their checksums again."""
    places = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]

    def seal(raw: bytearray) -> None:
        for at in places:
            if at + 512 <= len(raw):
                raw[at + 148 : at + 156] = b" " * 8
                raw[at + 148 : at + 156] = b"%06o\0 " % sum(raw[at : at + 512])

    return seal


class Reader(NamedTuple):
    """What is tried, what is tampered with, and whether half of the inputs get right checksums again."""

    attempt: Callable[[bytes], None]
    make: Callable[[str], bytes]
    is_tar: bool = False


SMALL = {"./box.ovf": b"<x/>", "dir/disk.vmdk": CONTENT, "empty": b"", next(reversed(FILES)): b"x"}
READERS: Dict[str, Reader] = {
    "tar": Reader(try_tar, lambda _tmp: archive(SMALL), True),
    "pax": Reader(try_tar, lambda _tmp: archive(SMALL, tarfile.PAX_FORMAT), True),
    "pax sparse 1.0": Reader(try_tar, lambda _tmp: version_1("3\n512\n512\n3072\n512\n8192\n0\n"), True),
    "pax sparse 0.1": Reader(try_tar, lambda _tmp: version_0("512,512,3072,512,8192,0"), True),
    "gzip": Reader(
        try_gzip, lambda _tmp: gzip.compress(CONTENT + bytes(20_000), mtime=0) + gzip.compress(b"more", mtime=0)
    ),
    "ovf": Reader(try_ovf, lambda _tmp: described(ONE[0].format(CHUNKS) + SECOND[0], ONE[1] + SECOND[1])),
    "manifest": Reader(try_manifest, lambda _tmp: signed()["x.mf"]),
    "ovf in chunks": Reader(
        try_description, lambda _tmp: described(ONE[0].format(CHUNKS) + SECOND[0], ONE[1] + SECOND[1])
    ),
    "differencing vdi": Reader(try_vdi, vdi),
    "vmdk of virtualbox": Reader(try_vmdk, lambda _tmp: virtualbox()),
    "vmdk of haiku": Reader(try_vmdk, lambda _tmp: haiku()),
    "ova": Reader(try_ova, lambda _tmp: archive(signed()), True),
    "plain box": Reader(try_box, lambda _tmp: archive({"d/box.img": CONTENT, "metadata.json": b"{}"}), True),
    "box": Reader(try_box, lambda _tmp: gzip.compress(archive({"box.img": CONTENT, "metadata.json": b"{}"}), mtime=0)),
    "sesparse": Reader(
        try_sesparse,
        lambda _tmp: bytes(vmdk_files.sesparse(capacity=80, grains={1: CONTENT.ljust(4096, b"\0")}).raw),
    ),
    "external data": Reader(try_external, lambda tmp: written(outside(), tmp)),
    "internal snapshots": Reader(try_snapshots, lambda tmp: written(with_snapshots(), tmp)),
    "internal snapshots over a backing file": Reader(
        try_snapshots, lambda tmp: written(with_snapshots(b"base.raw"), tmp)
    ),
    "series": Reader(
        try_series, lambda _tmp: b"d.000 xx\nd.001 yy\nd.002 z\nd.part1 a\nd.part2 b\nx.aa 1\nx.ab 2\ndisk-f001.vmdk x"
    ),
    "documents": Reader(
        try_document,
        lambda _tmp: b"\0" + b"".join(mark.ljust(64, b"\0") for _offset, mark in sum(MARKS.values(), ())),
    ),
}


def mutated(
    content: bytes,
    weighty: Sequence[int],
    chance: random.Random,
    seal: Optional[Callable[[bytearray], None]] = None,
) -> bytes:
    """The content with one or two changes, and with checksums that are right again where something can seal it."""
    raw = bytearray(content)
    for _index in range(chance.choice((1, 1, 2))):
        kind, at = chance.randrange(8), chance.choice(weighty) if chance.random() < 0.7 else chance.randrange(len(raw))
        at, length = min(at, len(raw) - 1), chance.choice((1, 4, 8))
        if kind < 2:
            raw[at] = chance.choice((0, 0xFF, raw[at] ^ 1 << chance.randrange(8), ord(" "), ord("9")))
        elif kind == 2:
            value = chance.choice(_NUMBERS) & ((1 << 8 * length) - 1)
            raw[at : at + length] = value.to_bytes(length, chance.choice(("little", "big")))
        elif kind == 3:
            raw[at : at + length] = chance.getrandbits(8 * length).to_bytes(length, "little")
        elif kind == 4:
            other = min(chance.choice(weighty), len(raw) - 1)
            raw[at : at + length] = raw[other : other + length]
        elif kind == 5:
            del raw[at : at + chance.choice((1, 7, 512))]
        elif kind == 6:
            raw[at:at] = chance.getrandbits(64).to_bytes(8, "little")
        else:
            del raw[at:]
        if not raw:
            return b""
    if seal is not None:
        seal(raw)
    return bytes(raw)


class TooSlow(BaseException):
    """An input takes long; how long must be counted."""


def _too_slow(_signal: int, _frame: Any) -> None:
    raise TooSlow


def counted(attempt: Callable[[bytes], None], raw: bytes) -> str:
    """The same again, with every line of code counted."""
    lines = 0

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        assert lines < MOST_LINES, (
            f"more than {MOST_LINES} lines of code; the input, packed: {gzip.compress(raw).hex()}"
        )
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return attempt_or_error(attempt, raw)
    finally:
        sys.settrace(before)


def campaign(name: str, tmp: str, inputs: int, part: int = 0) -> Dict[str, int]:
    """Try so many inputs; how often they ended in what. Another ``part`` has other inputs."""
    attempt, make, is_tar = READERS[name]
    content = make(tmp)
    attempt_or_error(attempt, content)
    chance = random.Random(f"noise {name} {part}")
    weighty = [index for index, byte in enumerate(content[: 64 << 10]) if byte]
    seal = sealed(content) if is_tar else None
    outcomes: Dict[str, int] = {}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = signal.signal(signal.SIGPROF, _too_slow)
    try:
        for number in range(inputs):
            raw = mutated(content, weighty, chance, seal if number % 2 else None)
            try:
                signal.setitimer(signal.ITIMER_PROF, SLOW_SECONDS)
                outcome = attempt_or_error(attempt, raw)
                signal.setitimer(signal.ITIMER_PROF, 0)
            except TooSlow:
                outcome = counted(attempt, raw)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < MOST_KIB, f"{name}: {grown} KiB more memory"
    return outcomes


@pytest.mark.parametrize("name", READERS)
def test_what_was_tampered_with_ends_in_bytes_or_in_an_error_of_ours(
    name: str, tmp_path: Any, record_property: Any
) -> None:
    outcomes = campaign(name, str(tmp_path), INPUTS)
    assert len(outcomes) > 1, f"the inputs are all alike: {outcomes}"
    record_property("outcomes", outcomes)
    print(name, outcomes)


def test_more_work_than_allowed_is_noticed() -> None:
    def endless(_raw: bytes) -> None:
        while True:
            pass

    with pytest.raises(AssertionError, match="lines of code"):
        counted(endless, b"")
    for length, what in ((11, "bytes"), (0, "calls")):
        port = FlatPort({"/v/x": b"x"}, most_calls=3, most_bytes=10)
        file = port.open_read("/v/x")
        with pytest.raises(AssertionError, match=what):
            for _number in range(3):
                file.pread_into(0, bytearray(length))


def attempt_or_error(attempt: Callable[[bytes], None], raw: bytes) -> str:
    """``bytes``, or the code of our error; anything else is a failure with the input."""
    try:
        attempt(raw)
    except DiskError as error:
        assert str(error)
        return error.code
    except Exception as error:
        raise AssertionError(
            f"{type(error).__name__}: {error}; the input, packed: {gzip.compress(raw).hex()}"
        ) from error
    return "bytes"
