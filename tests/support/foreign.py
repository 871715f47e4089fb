# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guest disks to try formats with, images of other formats that QEMU makes of them, and comparisons by everybody who
can read them.

Nothing in here uses the engine. The expected content is always a sparse plain file. What an oracle is known to read
wrongly is left out here, in one place, so that a test may ask for a comparison with all of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import random
import shutil
import struct
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import pytest

from ansible_collections.vdisk.parallels.tests.support.oracles import compared, qemu_img, qemu_io, require, run

KIB = 1 << 10
MIB = 1 << 20
TIB = 1 << 40
PAGE = 4 * KIB

_STEP = 64 * KIB
_WHOLE = 64 * MIB
_QEMU_NAMES = {"vhd": "vpc"}
# qemu-img check has nothing to say about vhd, and refuses to look at plain extents of vmdk.
_NO_CHECKER = 63
_LIBRARIES = {
    "pyqcow": "libqcow-python",
    "pyvmdk": "libvmdk-python",
    "pyvhdi": "libvhdi-python",
    "dissect": "dissect.hypervisor",
}
Piece = Tuple[int, bytes]


def noise(seed: int, length: int) -> bytes:
    """``length`` bytes without order and without a page of zeros; the same for the same seed."""
    return random.Random(seed).getrandbits(8 * length).to_bytes(length, "little") if length else b""


def text(seed: int, length: int) -> bytes:
    """``length`` bytes that compress well, none of them zero."""
    line = b"%08x the quick brown fox jumps over the lazy dog\n" % (seed & 0xFFFFFFFF)
    return (line * (length // len(line) + 1))[:length]


def _dense(size: int, seed: int) -> Iterator[Piece]:
    for start in range(0, size, _STEP):
        kind = text if start // _STEP % 3 == 1 else noise
        yield start, kind(seed + start, min(_STEP, size - start))


def _sparse(size: int, seed: int) -> Iterator[Piece]:
    yield 0, noise(seed, 512)
    yield 3 * MIB - PAGE, text(seed, 2 * PAGE)
    yield size // 2, noise(seed + 1, 300 * KIB)
    yield size - 70 * KIB, noise(seed + 2, PAGE)


def _fragmented(size: int, seed: int) -> Iterator[Piece]:
    draw = random.Random(seed)
    for start in range(0, size, 32 * KIB):
        if draw.random() < 0.4:
            length = PAGE * draw.randint(1, 8)
            yield start, (text if draw.random() < 0.5 else noise)(seed + start, length)


def _with_tail(size: int, seed: int) -> Iterator[Piece]:
    yield MIB, text(seed, MIB + PAGE)
    yield size // PAGE * PAGE - PAGE, noise(seed, PAGE + size % PAGE)


def _islands(size: int, seed: int) -> Iterator[Piece]:
    yield 0, noise(seed, MIB)
    yield 1_500_000 * MIB + PAGE, text(seed, 200 * KIB)
    yield size - 3 * PAGE, noise(seed + 1, 3 * PAGE)


def _nothing(_size: int, _seed: int) -> Iterator[Piece]:
    return iter(())


class Guest(NamedTuple):
    """A kind of guest disk: its size in bytes and what makes its content."""

    size: int
    pieces: Callable[[int, int], Iterator[Piece]]


GUESTS: Dict[str, Guest] = {
    "empty": Guest(4 * MIB, _nothing),
    "dense": Guest(3 * MIB, _dense),
    "sparse": Guest(24 * MIB, _sparse),
    "fragmented": Guest(8 * MIB, _fragmented),
    "odd size": Guest(5 * MIB + 512, _with_tail),
    "4 KiB tail": Guest(6 * MIB + PAGE, _with_tail),
    "beyond 2 TiB": Guest(2 * TIB + 5 * MIB, _islands),
}
"""All sizes are multiples of 512, as QEMU wants them."""

HUGE = ("beyond 2 TiB",)
"""The guests that not every kind of image can hold, see ``Kind.can_hold``."""


def make_raw(path: Path, guest: str, *, seed: int = 1) -> str:
    """Write guest disk ``guest`` to a new sparse file, and return its path."""
    size, pieces = GUESTS[guest]
    with open(path, "wb") as stream:
        stream.truncate(size)
        for offset, content in pieces(size, seed):
            assert offset + len(content) <= size
            stream.seek(offset)
            stream.write(content)
    return str(path)


class Kind(NamedTuple):
    """A format with the options that make one flavour of it.

    ``format`` is our name, ``options`` are those of ``qemu-img convert``.
    """

    format: str
    options: Tuple[str, ...] = ()
    is_fixed: bool = False

    def can_hold(self, guest: str) -> bool:
        """Whether a test may try the guest disk in this kind: vhd ends at 2040 GiB, fixed images would fill the
        host, split ones its folder.
        """
        return guest not in HUGE or not (
            self.format == "vhd" or self.is_fixed or "subformat=twoGbMaxExtentSparse" in self.options
        )


KINDS: Dict[str, Kind] = {
    "qcow2 v2": Kind("qcow2", ("-o", "compat=0.10")),
    "qcow2 v3": Kind("qcow2"),
    "qcow2 zlib": Kind("qcow2", ("-c",)),
    "qcow2 zstd": Kind("qcow2", ("-c", "-o", "compression_type=zstd")),
    "qcow2 4K clusters": Kind("qcow2", ("-o", "cluster_size=4096")),
    "vmdk monolithicSparse": Kind("vmdk", ("-o", "subformat=monolithicSparse")),
    "vmdk monolithicFlat": Kind("vmdk", ("-o", "subformat=monolithicFlat"), is_fixed=True),
    "vmdk twoGbMaxExtentSparse": Kind("vmdk", ("-o", "subformat=twoGbMaxExtentSparse")),
    "vmdk twoGbMaxExtentFlat": Kind("vmdk", ("-o", "subformat=twoGbMaxExtentFlat"), is_fixed=True),
    "vmdk streamOptimized": Kind("vmdk", ("-o", "subformat=streamOptimized")),
    "vhd dynamic": Kind("vhd", ("-o", "subformat=dynamic,force_size=on")),
    "vhd fixed": Kind("vhd", ("-o", "subformat=fixed,force_size=on"), is_fixed=True),
    "vhdx dynamic": Kind("vhdx", ("-o", "subformat=dynamic")),
    "vhdx fixed": Kind("vhdx", ("-o", "subformat=fixed"), is_fixed=True),
    "vdi dynamic": Kind("vdi", ("-o", "static=off")),
    "vdi fixed": Kind("vdi", ("-o", "static=on"), is_fixed=True),
}


def qemu_name(format: str) -> str:
    """What QEMU calls one of our formats."""
    return _QEMU_NAMES.get(format, format)


def make_foreign(path: Path, kind: str, raw: str) -> str:
    """Let qemu-img make an image of the plain file ``raw``, and return its path."""
    qemu_img("convert", "-f", "raw", "-O", qemu_name(KINDS[kind].format), *KINDS[kind].options, raw, str(path))
    return str(path)


def write_both(path: str, format: str, raw: str, writes: Sequence[Tuple[int, int, int]]) -> None:
    """Write ``(offset, length, byte)`` with qemu-io to an image and, by ourselves, to the plain file that it is
    compared with.

    The byte 0 becomes a write of zeros in the words of the format (``write -z``).
    """
    commands = [f"write {'-z' if not byte else f'-P {byte}'} {offset} {length}" for offset, length, byte in writes]
    qemu_io(path, *commands, format=qemu_name(format))
    with open(raw, "r+b") as stream:
        for offset, length, byte in writes:
            stream.seek(offset)
            stream.write(bytes([byte]) * length)


def make_overlay(
    path: Path, format: str, parent: str, writes: Sequence[Tuple[int, int, int]], raw: str, *options: str
) -> str:
    """Let QEMU put a qcow2 or vmdk overlay on ``parent`` (in the same directory) and write to it, and to ``raw``
    alike.
    """
    assert os.path.dirname(parent) == str(path.parent)
    require("qemu-img")
    arguments = ("create", "-q", "-f", format, "-b", os.path.basename(parent), "-F", format, *options, path.name)
    ended = run("qemu-img", *arguments, directory=str(path.parent))
    assert ended.code == 0, ended.output
    write_both(str(path), format, raw, writes)
    return str(path)


def copy_sparse(source: str, target: str) -> str:
    """A copy of a plain file that has its holes, too."""
    with open(source, "rb") as reading, open(target, "wb") as writing:
        writing.truncate(os.path.getsize(source))
        for start, end in _data_ranges(source):
            reading.seek(start)
            writing.seek(start)
            while writing.tell() < end:
                writing.write(reading.read(min(MIB, end - writing.tell())))
    return target


def _data_ranges(path: str) -> List[Tuple[int, int]]:
    """The parts of a file that are no holes."""
    found: List[Tuple[int, int]] = []
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        position = 0
        while position < size:
            try:
                start = os.lseek(stream.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            position = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
            found.append((start, position))
    return found


def windows(raw: str) -> Iterator[Tuple[int, int]]:
    """Offset and length of the parts that are compared, none of which crosses a multiple of 64 KiB.

    Of a large disk these are all data, what is around it, and some of the rest.
    """
    size = os.path.getsize(raw)
    last = (size - 1) // _STEP
    if size <= _WHOLE:
        numbers = set(range(last + 1))
    else:
        numbers = {last * index // 16 for index in range(17)}
        for start, end in _data_ranges(raw):
            numbers.update(range(max(0, start // _STEP - 1), min(last, end // _STEP + 1) + 1))
    for number in sorted(numbers):
        yield number * _STEP, min(_STEP, size - number * _STEP)


def _library(name: str) -> Any:
    """A module of one of the libraries; skip the test when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(
            f"{name} is not installed (package {_LIBRARIES[name.partition('.')[0]]} of the Python package index)"
        )


def _assert_same(
    read: Callable[[int, int], bytes], raw: str, oracle: str, *, grid: int = _STEP, unread: int = 0
) -> None:
    """Compare what ``read(offset, length)`` gives with the plain file, but for the last ``unread`` bytes.

    No read crosses a multiple of ``grid`` bytes.
    """
    end = os.path.getsize(raw) - unread
    with open(raw, "rb") as stream:
        for offset, length in windows(raw):
            length = min(length, end - offset)
            stream.seek(offset)
            expected = stream.read(length)
            parts = [
                read(start, min(grid, offset + length - start))
                for start in range(offset, offset + length, min(grid, _STEP))
            ]
            assert b"".join(parts) == expected, f"{oracle} reads something else at {offset}..{offset + length}"
    compared(oracle)


def compare_with_qemu(path: str, format: str, raw: str) -> None:
    """qemu-img sees the same size and the same content; it follows the chains of qcow2 and vmdk by itself."""
    facts = json.loads(qemu_img("info", "--output=json", "-f", qemu_name(format), path))
    assert facts["virtual-size"] == os.path.getsize(raw)
    if os.path.getsize(raw) > _WHOLE:
        _compare_parts_with_qemu(path, format, raw)
    else:
        qemu_img("compare", "-f", "raw", "-F", qemu_name(format), raw, path)
    compared("qemu-img compare")


def _compare_parts_with_qemu(path: str, format: str, raw: str) -> None:
    """Compare windows alone: over the whole of a large disk qemu-img compare asks for every cluster, which takes
    minutes.
    """
    for start, end in _joined(windows(raw)):
        window = f"driver=raw,offset={start},size={end - start}"
        plain = f"{window},file.driver=file,file.filename={raw}"
        image = f"{window},file.driver={qemu_name(format)},file.file.driver=file,file.file.filename={path}"
        qemu_img("compare", "--image-opts", plain, image)


def _joined(parts: Iterable[Tuple[int, int]]) -> Iterator[Tuple[int, int]]:
    """Start and end of the stretches that ascending ``(offset, length)`` make up."""
    start = end = 0
    for offset, length in parts:
        if offset != end:
            if end > start:
                yield start, end
            start = offset
        end = offset + length
    if end > start:
        yield start, end


def check_with_qemu(path: str, format: str) -> bool:
    """qemu-img check finds neither errors nor leaks; False where it has no checker, or one that looks at every grain
    of a large disk.
    """
    require("qemu-img")
    if format == "vmdk" and json.loads(qemu_img("info", "--output=json", "-f", format, path))["virtual-size"] > TIB:
        return False
    ended = run("qemu-img", "check", "-f", qemu_name(format), path)
    if ended.code == _NO_CHECKER:
        return False
    assert ended.code == 0, f"{path}: rc {ended.code}\n{ended.output}"
    compared("qemu-img check")
    return True


def compare_with_dissect(path: str, format: str, raw: str) -> None:
    """dissect.hypervisor reads the same bytes; of the formats with overlays it finds the parents of qcow2, vmdk and
    vhdx by itself.
    """
    name = {"qcow2": "QCow2", "vmdk": "VMDK", "vhd": "VHD", "vhdx": "VHDX", "vdi": "VDI"}[format]
    library = _library(f"dissect.hypervisor.disk.{format}")
    with open(path, "rb") as file:
        # Vhd and vdi have no parents, so only the others need to know where they lie.
        image = getattr(library, name)(file if format in ("vhd", "vdi") else Path(path))
        stream = image if format in ("vmdk", "vhd", "vhdx") else image.open()

        def read(offset: int, length: int) -> bytes:
            stream.seek(offset)
            return stream.read(length)

        # Its reads go wrong where they cross from one block of vhdx or vdi to the next.
        block = getattr(image, "block_size", _STEP)
        # It stumbles over the end of a vmdk disk that ends within a buffer of the stream.
        unread = os.path.getsize(raw) % stream.align if format == "vmdk" else 0
        _assert_same(read, raw, f"dissect {format}", grid=min(_STEP, block), unread=unread)


def compare_with_libyal(paths: Sequence[str], format: str, raw: str) -> None:
    """libqcow, libvmdk or libvhdi reads the same bytes from a chain, given the root first, and sees the same size."""
    handles: List[Any] = []
    try:
        for path in paths:
            handle = _open_with_libyal(path, format)
            if handles:
                handle.set_parent(handles[-1])
            handles.append(handle)
        top = handles[-1]
        assert top.get_media_size() == os.path.getsize(raw)
        _assert_same(lambda offset, length: top.read_buffer_at_offset(length, offset), raw, f"libyal {format}")
    finally:
        for handle in reversed(handles):
            handle.close()


def _open_with_libyal(path: str, format: str) -> Any:
    if format == "vmdk":
        handle = _library("pyvmdk").handle()
        handle.open(path)
        handle.open_extent_data_files()
        return handle
    file = _library({"qcow2": "pyqcow", "vhd": "pyvhdi", "vhdx": "pyvhdi"}[format]).file()
    file.open(path)
    return file


def readers(path: str, format: str, *, is_overlay: bool = False, has_marks: bool = False) -> Tuple[str, ...]:
    """Who can be trusted with an image: of qemu, dissect and libyal, those that are installed and not known to read it
    wrongly.

    ``has_marks`` says that an overlay hides data of its parent by marks in its tables, not by stored zeros.
    """
    found = []
    if shutil.which("qemu-img") and not (is_overlay and format in ("vhd", "vhdx")):
        found.append("qemu")
    if _is_installed("dissect.hypervisor") and _dissect_can(path, format, is_overlay=is_overlay):
        found.append("dissect")
    module = {"qcow2": "pyqcow", "vmdk": "pyvmdk", "vhd": "pyvhdi", "vhdx": "pyvhdi"}.get(format)
    if module and _is_installed(module) and _libyal_can(path, format, hides=is_overlay and has_marks):
        found.append("libyal")
    return tuple(found)


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def _libyal_can(path: str, format: str, *, hides: bool) -> bool:
    """libqcow knows no zstd and takes compressed clusters at odd offsets for zeros; libqcow and libvmdk pass over
    marks of zeros.
    """
    if format == "qcow2" and (_has_zstd(path, format) or _has_odd_clusters(path)):
        return False
    return not (hides and format in ("qcow2", "vmdk"))


def _has_odd_clusters(path: str) -> bool:
    """Whether a qcow2 image of version 3 has a compressed cluster that starts at an odd byte of its file."""
    with open(path, "rb") as stream:
        head = stream.read(112)
        version, bits, entries, offset = (
            struct.unpack_from(form, head, at)[0] for form, at in ((">I", 4), (">I", 20), (">I", 36), (">Q", 40))
        )
        stream.seek(offset)
        for first in struct.unpack(f">{entries}Q", stream.read(8 * entries)):
            place = first & 0x00FFFFFFFFFFFE00
            if version == 3 and place:
                stream.seek(place)
                if any(
                    entry >> 62 & 1 and entry & 1
                    for entry in struct.unpack(f">{1 << bits >> 3}Q", stream.read(1 << bits))
                ):
                    return True
    return False


def _dissect_can(path: str, format: str, *, is_overlay: bool) -> bool:
    if _has_zstd(path, format):
        return _is_installed("compression.zstd") or _is_installed("backports.zstd")
    if format == "qcow2" and is_overlay:
        # It takes the extensions of version 2 for fields of version 3.
        return _qcow2_field(path, 4) == 3
    return not (format == "vhd" and is_overlay)


def _qcow2_field(path: str, offset: int) -> int:
    with open(path, "rb") as stream:
        return int.from_bytes(stream.read(112)[offset : offset + 4], "big")


def _has_zstd(path: str, format: str) -> bool:
    """Whether the fourth incompatible feature, another compression, is set."""
    return format == "qcow2" and _qcow2_field(path, 4) == 3 and bool(_qcow2_field(path, 76) & 8)


def compare_with_all(paths: Sequence[str], format: str, raw: str, *, has_marks: bool = False) -> Tuple[str, ...]:
    """Compare the top of a chain, given the root first, with a plain file by every reader that can, and check all of
    its files.

    Returns who has compared; skips the test when there is nobody.
    """
    trusted = readers(paths[-1], format, is_overlay=len(paths) > 1, has_marks=has_marks)
    if not trusted:
        pytest.skip("no other reader of this format is installed")
    if "qemu" in trusted:
        for path in paths:
            check_with_qemu(path, format)
        compare_with_qemu(paths[-1], format, raw)
    if "dissect" in trusted:
        compare_with_dissect(paths[-1], format, raw)
    if "libyal" in trusted:
        compare_with_libyal(paths, format, raw)
    return trusted
