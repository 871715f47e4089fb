# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers, descriptions and overlays that were tampered with end in bytes or in an error of ours, in bounded time.

By default a few hundred inputs for each reader, with VDISK_LONG 200 000: more than a million together.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import signal
from typing import Any, Callable, Dict, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.reader import open_vdi
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.reader import ids_of, open_vmdk
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.inflated import InflatedFile
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.ovf import parse_manifest, parse_ovf
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.segments import SegmentedFile
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.tar import read_entries
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.tests.support import vdi_images, vmdk_files
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.vmdk.test_reader import haiku
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_catalog import (
    GUEST,
    TWO,
    appliance,
)
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_tar import (
    FILES,
    archive,
)

INPUTS = int(os.environ.get("VDISK_MUTANTS") or (200_000 if os.environ.get("VDISK_LONG") else 250))
SECONDS = 20
MOST_READ = 1 << 20
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)


class Bytes:
    """A source of bytes in memory."""

    path = "/x"

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def size(self) -> int:
        return len(self.raw)

    def pread_into(self, offset: int, buffer: Any) -> int:
        part = self.raw[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def data_ranges(self, start: int, end: int) -> Any:
        end = min(end, len(self.raw))
        return iter(((start, end),) if start < end else ())

    def close(self) -> None:
        pass


def try_tar(raw: bytes) -> None:
    for entry in read_entries(Bytes(raw)):
        SegmentedFile("/x", Bytes(raw), entry.stretches, entry.size).pread_into(0, bytearray(min(entry.size, 4096)))


def try_gzip(raw: bytes) -> None:
    file = InflatedFile(Bytes(raw))
    for start in (file.size() // 2, 0, file.size()):
        file.pread_into(start, bytearray(1000))


def try_ovf(raw: bytes) -> None:
    parse_ovf(raw, path="/x")


def try_manifest(raw: bytes) -> None:
    parse_manifest(raw, path="/x")


def _read(image: Any) -> None:
    try:
        for _extent in image.extents(0, min(image.size, 64 * MOST_READ)):
            pass
        image.pread_into(0, bytearray(min(image.size, MOST_READ)))
    finally:
        image.close()


def try_vdi(raw: bytes) -> None:
    port = MemoryPort()
    port.plant_file("/x.vdi", raw)
    _read(open_vdi(port, "/x.vdi"))


def try_vmdk(raw: bytes) -> None:
    port = MemoryPort()
    port.plant_file("/x.vmdk", raw)

    def beside(name: str) -> Any:
        return port.open_read(f"/{name}")

    ids_of(port.open_read("/x.vmdk"))
    _read(open_vmdk(port, "/x.vmdk", beside))


def try_sesparse(raw: bytes) -> None:
    port = MemoryPort()
    port.plant_file("/x-sesparse.vmdk", raw)
    port.plant_file("/x.vmdk", vmdk_files.text("seSparse", ['RW 80 SESPARSE "x-sesparse.vmdk"']))
    _read(open_vmdk(port, "/x.vmdk", lambda name: port.open_read(f"/{name}")))


def try_source(name: str) -> Callable[[bytes], None]:
    def attempt(raw: bytes) -> None:
        port = MemoryPort()
        port.plant_file(f"/{name}", raw)
        port.plant_file("/a.vmdk", b"x")
        try:
            view = open_source(port, find_source(port, f"/{name}", backing=True, disk="0"))
            buffer = bytearray(min(view.size, MOST_READ))
            try:
                view.pread_into(0, buffer)
            finally:
                view.close()
        finally:
            assert not any(port.opened.values()), "a file is still open"

    return attempt


def vdi(tmp: str) -> bytes:
    path = os.path.join(tmp, "x.vdi")
    held = {number: fill(number, 4096) for number in (1, 4)}
    made = {"type": 4, "linkage": b"\1" * 16, "parent_modified": b"\2" * 16}
    vdi_images.build_vdi(path, size=8 * 4096, block=4096, contents=held, entries={2: vdi_images.ZERO}, **made)  # type: ignore[arg-type]
    with open(path, "rb") as stream:
        return stream.read()


def virtualbox() -> bytes:
    more = [f'ddb.uuid.{name}="920eaa6b-da5f-4608-a547-e8938db453e6"' for name in ("image", "parent")]
    descriptor = vmdk_files.text("monolithicSparse", ['RW 80 SPARSE ""'], more=more)
    return bytes(vmdk_files.sparse(capacity=80, grains={3: fill(3, 4096)}, descriptor=descriptor).raw)


def signed() -> Dict[str, bytes]:
    files = appliance(TWO)
    lines = [f"SHA256({name})= {hashlib.sha256(raw).hexdigest()}\n" for name, raw in files.items()]
    return {**files, "x.mf": "".join(lines).encode()}


READERS: Dict[str, Tuple[Callable[[bytes], None], Callable[[str], bytes]]] = {
    "tar": (try_tar, lambda _tmp: archive(FILES)),
    "gzip": (
        try_gzip,
        lambda _tmp: gzip.compress(fill(1, 20_000) + bytes(20_000), mtime=0) + gzip.compress(b"more", mtime=0),
    ),
    "ovf": (try_ovf, lambda _tmp: appliance(TWO)["x.ovf"]),
    "manifest": (try_manifest, lambda _tmp: signed()["x.mf"]),
    "differencing vdi": (try_vdi, vdi),
    "vmdk of virtualbox": (try_vmdk, lambda _tmp: virtualbox()),
    "vmdk of haiku": (try_vmdk, lambda _tmp: haiku()),
    "ova": (try_source("x.ova"), lambda _tmp: archive(signed())),
    "plain box": (try_source("x.box"), lambda _tmp: archive({"d/box.img": GUEST, "metadata.json": b"{}"})),
    "sesparse": (try_sesparse, lambda _tmp: bytes(vmdk_files.sesparse(capacity=80, grains={1: fill(1, 4096)}).raw)),
    "box": (
        try_source("x.box"),
        lambda _tmp: gzip.compress(archive({"box.img": GUEST, "metadata.json": b"{}"}), mtime=0),
    ),
}


def mutated(content: bytes, weighty: List[int], chance: random.Random) -> bytes:
    """The content with one or two changes."""
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
    return bytes(raw)


def _too_long(_signal: int, _frame: Any) -> None:
    raise AssertionError(f"one input took more than {SECONDS} seconds of the processor")


@pytest.mark.parametrize("name", READERS)
def test_what_was_tampered_with_ends_in_bytes_or_in_an_error_of_ours(
    name: str, tmp_path: Any, record_property: Any
) -> None:
    attempt, make = READERS[name]
    content = make(str(tmp_path))
    attempt_or_error(attempt, content)
    chance = random.Random(f"noise {name}")
    weighty = [index for index, byte in enumerate(content[: 64 << 10]) if byte]
    outcomes: Dict[str, int] = {}
    before = signal.signal(signal.SIGPROF, _too_long)
    try:
        for _number in range(INPUTS):
            raw = mutated(content, weighty, chance)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            outcome = attempt_or_error(attempt, raw)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert len(outcomes) > 1, f"the inputs are all alike: {outcomes}"
    record_property("outcomes", outcomes)
    print(name, outcomes)


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
