# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other people's readers and writers of virtual disks: running them, reading with them, and counting what was compared.

Nothing in here uses the engine: descriptors are read with the standard library alone. What is not installed skips the
test that asks for it, with the name of the package to install.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple
from xml.etree import ElementTree

import pytest

TOP = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
NONE = "{00000000-0000-0000-0000-000000000000}"
SECTOR = 512
MIB = 1 << 20

_PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "nbdinfo": "libnbd-bin",
    "nbdcopy": "libnbd-bin",
    "nbdkit": "nbdkit",
    "ploop": "ploop",
    "fallocate": "util-linux",
    "losetup": "util-linux",
    "tar": "tar",
    "7zz": "7zip",
    "sgdisk": "gdisk",
    "sfdisk": "fdisk",
    "parted": "parted",
    "mkfs.ext4": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "resize2fs": "e2fsprogs",
    "mkfs.fat": "dosfstools",
    "mkfs.ntfs": "ntfs-3g",
    "ntfsresize": "ntfs-3g",
    "mkswap": "util-linux",
}
_LIBRARIES = {
    "backports.zstd": "backports.zstd",
    "dissect.hypervisor.disk.hdd": "dissect.hypervisor",
    "dissect.hypervisor.disk.qcow2": "dissect.hypervisor",
    "dissect.hypervisor.disk.vdi": "dissect.hypervisor",
    "dissect.hypervisor.disk.vhd": "dissect.hypervisor",
    "dissect.hypervisor.disk.vhdx": "dissect.hypervisor",
    "dissect.hypervisor.disk.vmdk": "dissect.hypervisor",
    "pyphdi": "libphdi-python",
    "pyqcow": "libqcow-python",
    "pyvhdi": "libvhdi-python",
    "pyvmdk": "libvmdk-python",
    "zstandard": "zstandard",
}
_TIMEOUT = 120
_MAP_PIECE = 1 << 39
_ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("VDISK_SAMPLES") or _ROOT.parent / "shared" / "samples")
# Without its kernel module ploop makes only v1 disks and cannot switch; it looks for the module under /sys, which only
# this process sees changed.
_FAKE_MODULE = (
    "mount --make-rprivate / && mount -t tmpfs tmpfs /sys/module && mkdir -p /sys/module/ploop/parameters "
    '&& echo 1 > /sys/module/ploop/parameters/large_disk_support && exec "$@"'
)

_PLOOP_LOCKS = "/var/lock/ploop"

COMPARISONS: Counter[str] = Counter()


def compared(oracle: str, number: int = 1) -> None:
    """Count comparisons with an oracle that have held."""
    COMPARISONS[oracle] += number


def summary(comparisons: Dict[str, int]) -> str:
    """The counts in one line."""
    return "oracle comparisons: " + (
        ", ".join(f"{name} {number}" for name, number in sorted(comparisons.items())) or "none"
    )


def require(*programs: str) -> None:
    """Skip the test unless all programs are installed."""
    for program in programs:
        if shutil.which(program, path=search_path()) is None:
            pytest.skip(f"{program} is not installed (Debian package {_PACKAGES[program]})")
    locks = _PLOOP_LOCKS if os.path.lexists(_PLOOP_LOCKS) else os.path.dirname(_PLOOP_LOCKS)
    if "ploop" in programs and not os.access(locks, os.W_OK):
        pytest.skip(f"ploop has its locks in {_PLOOP_LOCKS}, where this user may not write")


def require_library(name: str) -> Any:
    """The Python library ``name``; skip the test when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed (package {_LIBRARIES[name]} of the Python package index)")


def require_fake_module() -> None:
    """Skip the test unless ploop can be given a fake kernel module parameter in a mount namespace of its own."""
    require("ploop")
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("ploop does this only for root (mount namespace with a fake module parameter)")
    if not _can_fake_module():
        pytest.skip("ploop does this only where mount namespaces are allowed (unshare -m, package util-linux)")


@lru_cache(maxsize=None)
def _can_fake_module() -> bool:
    return (
        shutil.which("unshare") is not None and run("unshare", "-m", "bash", "-c", _FAKE_MODULE, "_", "true").code == 0
    )


def search_path() -> str:
    """Where programs are, those of administrators included."""
    return os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"


class Ended(NamedTuple):
    """A program that has ended; ``output`` is what it wrote on both streams."""

    code: int
    output: str


def run(*command: str, environment: Optional[Dict[str, str]] = None, directory: Optional[str] = None) -> Ended:
    """Run a program to its end."""
    variables = {**os.environ, "PATH": search_path(), "LC_ALL": "C", **(environment or {})}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_TIMEOUT,
        env=variables,
        cwd=directory,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(errors="replace"))


def qemu_img(*arguments: str) -> str:
    """Run qemu-img; it must succeed."""
    require("qemu-img")
    ended = run("qemu-img", *arguments)
    assert ended.code == 0, f"qemu-img {' '.join(arguments)}: rc {ended.code}\n{ended.output}"
    return ended.output


def qemu_io(path: str, *commands: str, format: str = "parallels") -> str:
    """Open ``path`` with qemu-io and run commands such as ``write -P 0x5a 1M 64k``; all must succeed.

    A command cannot quote a space, so a file that one names is named from the folder of ``path``.
    """
    require("qemu-io")
    parts = [part for command in commands for part in ("-c", command)]
    folder, name = os.path.split(os.path.abspath(path))
    # What begins like the name of a protocol would be taken for one.
    ended = run("qemu-io", "-f", format, *parts, os.path.join(".", name), directory=folder)
    failed = ended.code != 0 or "failed" in ended.output
    assert not failed, f"qemu-io {path}: rc {ended.code}\n{ended.output}"
    return ended.output


def ploop(*arguments: str, directory: str, fake_module: bool = False) -> Ended:
    """Run ploop in ``directory``.

    ``fake_module`` (root only) makes it believe in its kernel module, for v2, raw and switching.
    """
    require("ploop")
    # The Debian build may crash in a small environment.
    environment = {"PLOOP_PAD": "x" * 8192}
    if not fake_module:
        return run("ploop", *arguments, environment=environment, directory=directory)
    require_fake_module()
    return run(
        "unshare",
        "-m",
        "bash",
        "-c",
        _FAKE_MODULE,
        "_",
        "ploop",
        *arguments,
        environment=environment,
        directory=directory,
    )


class Image(NamedTuple):
    """One image of a layer: ``length`` bytes of the disk from ``start``."""

    path: str
    is_plain: bool
    start: int
    length: int


class Layout(NamedTuple):
    """What a descriptor says.

    ``images`` lists for each layer its images in the order of the disk; ``parents`` has no entry for a root.
    """

    size: int
    cluster_bytes: int
    images: Dict[str, List[Image]]
    parents: Dict[str, str]
    top: str

    def chain(self, guid: str) -> List[str]:
        """The layers of ``guid``, the root first."""
        found = [guid]
        while found[-1] in self.parents:
            found.append(self.parents[found[-1]])
        return found[::-1]

    @property
    def expanding(self) -> List[str]:
        """All expanding images."""
        return [image.path for images in self.images.values() for image in images if not image.is_plain]


def read_layout(bundle: str) -> Layout:
    """The descriptor of ``bundle``, read with the standard library."""
    root = ElementTree.parse(os.path.join(bundle, "DiskDescriptor.xml")).getroot()
    shots = {_text(shot, "GUID").lower(): _text(shot, "ParentGUID").lower() for shot in root.iterfind("Snapshots/Shot")}
    images: Dict[str, List[Image]] = {guid: [] for guid in shots}
    storages = sorted(root.iterfind("StorageData/Storage"), key=lambda storage: int(_text(storage, "Start")))
    for storage in storages:
        start, end = int(_text(storage, "Start")) * SECTOR, int(_text(storage, "End")) * SECTOR
        for entry in storage.iterfind("Image"):
            guid = _text(entry, "GUID").lower()
            # ploop calls the overlays of a raw disk Plain, too.
            is_plain = _text(entry, "Type") == "Plain" and shots[guid] == NONE
            images[guid].append(Image(os.path.join(bundle, _text(entry, "File")), is_plain, start, end - start))
    top = root.findtext("Snapshots/TopGUID") or TOP
    size = int(_text(root, "Disk_Parameters/Disk_size")) * SECTOR
    cluster_bytes = int(_text(storages[0], "Blocksize")) * SECTOR
    return Layout(
        size, cluster_bytes, images, {guid: parent for guid, parent in shots.items() if parent != NONE}, top.lower()
    )


def _text(element: ElementTree.Element, path: str) -> str:
    found = element.findtext(path)
    assert found is not None, f"no element {path}"
    return found.strip()


class Part(NamedTuple):
    """``length`` bytes of the guest disk from ``start``; ``offset`` is their place in the image's file, None when
    they have none.
    """

    start: int
    length: int
    offset: Optional[int]


class ChainOracle:
    """Guest bytes of every snapshot from qemu-img alone: for each cluster the topmost layer of which qemu-img says
    where it lies.
    """

    def __init__(self, bundle: str) -> None:
        self.layout = read_layout(bundle)
        self._maps: Dict[str, List[Part]] = {}

    def guest(self, guid: str) -> bytes:
        """The whole guest disk at ``guid``; for small disks."""
        disk = bytearray(self.layout.size)
        for layer in self.layout.chain(guid):
            for image in self.layout.images[layer]:
                self._put(disk, image)
        return bytes(disk)

    def _put(self, disk: bytearray, image: Image) -> None:
        end = image.start + image.length
        position = image.start
        with open(image.path, "rb") as stream:
            for start, length, offset in self._map(image):
                position = image.start + start
                length = min(length, end - position)
                if offset is not None and length > 0:
                    stream.seek(offset)
                    # Where the file ends, the rest of a cluster is zeros.
                    disk[position : position + length] = stream.read(length).ljust(length, b"\0")
                position += length
        # Beyond the end of a layer there are zeros, whatever lies below it.
        disk[position:end] = bytes(end - position)

    def _map(self, image: Image) -> List[Part]:
        if image.is_plain:
            return [Part(0, min(image.length, os.path.getsize(image.path)), 0)]
        if image.path not in self._maps:
            self._maps[image.path] = map_of(image.path)
        return self._maps[image.path]


def map_of(path: str, *, size: int = 0) -> List[Part]:
    """What qemu-img says of an expanding image, from its beginning to its end.

    ``size``, that of the guest disk, is needed beyond 1 TiB: QEMU 7.2 fails an assertion there unless it is asked piece
    by piece.
    """
    parts = []
    for start in range(0, size or 1, _MAP_PIECE):
        window = [f"--start-offset={start}", f"--max-length={min(_MAP_PIECE, size - start)}"] if size else []
        for entry in json.loads(qemu_img("map", "--output=json", "-f", "parallels", *window, path)):
            parts.append(Part(entry["start"], entry["length"], entry.get("offset")))
    return parts


def allocated_by_qemu(path: str, *, size: int = 0) -> List[Tuple[int, int]]:
    """Offset and length of the parts of an expanding image that have a place in its file. ``size`` as in ``map_of``."""
    return [(part.start, part.length) for part in map_of(path, size=size) if part.offset is not None]


def assert_qemu_finds_clean(paths: Iterable[str]) -> None:
    """qemu-img check finds neither errors nor leaks in any of these expanding images."""
    for path in paths:
        require("qemu-img")
        ended = run("qemu-img", "check", "-f", "parallels", path)
        assert ended.code == 0, f"{path}: rc {ended.code}\n{ended.output}"
        compared("qemu-img check")


def open_with_dissect(bundle: str, guid: Optional[str] = None) -> Any:
    """A stream of the guest disk at ``guid``."""
    library = require_library("dissect.hypervisor.disk.hdd")
    return library.HDD(Path(bundle)).open(guid)


def read_with_dissect(bundle: str, guid: Optional[str] = None) -> bytes:
    """The guest disk at ``guid``, read cluster by cluster.

    In longer reads dissect.hypervisor 3.21 takes data for a hole when the length of the hole before it happens to be
    its offset in the file.
    """
    layout = read_layout(bundle)
    stream = open_with_dissect(bundle, guid)
    parts = []
    for start in range(0, layout.size, layout.cluster_bytes):
        stream.seek(start)
        parts.append(stream.read(min(layout.cluster_bytes, layout.size - start)))
    return b"".join(parts)


def read_with_pyphdi(bundle: str, guid: str, scratch: str) -> bytes:
    """The guest disk at ``guid``. libphdi opens the first Shot of a descriptor, so a copy with that order is made in
    ``scratch``.
    """
    library = require_library("pyphdi")
    layout = read_layout(bundle)
    folder = os.path.join(scratch, f"phdi-{guid[1:9]}.hdd")
    os.makedirs(folder)
    text = Path(bundle, "DiskDescriptor.xml").read_text(encoding="utf-8")
    shots = re.findall(r"<Shot>.*?</Shot>", text, re.DOTALL)
    first = [shot for shot in shots if guid in shot.split("<ParentGUID>")[0]]
    assert len(first) == 1, text
    for shot in shots:
        text = text.replace(shot, "@", 1)
    for shot in first + [shot for shot in shots if shot not in first]:
        text = text.replace("@", shot, 1)
    Path(folder, "DiskDescriptor.xml").write_text(text, encoding="utf-8")
    for images in layout.images.values():
        for image in images:
            os.link(image.path, os.path.join(folder, os.path.basename(image.path)))
    handle = library.handle()
    handle.open(os.path.join(folder, "DiskDescriptor.xml"))
    try:
        handle.open_extent_data_files()
        size = handle.get_media_size()
        parts = [handle.read_buffer_at_offset(min(MIB, size - start), start) for start in range(0, size, MIB)]
        return b"".join(parts)
    finally:
        handle.close()


def dig_holes(paths: Iterable[str]) -> None:
    """Let the host forget the zeros in files; their bytes stay."""
    require("fallocate")
    for path in paths:
        ended = run("fallocate", "--dig-holes", path)
        if ended.code != 0:
            pytest.skip(f"no holes in files here: {ended.output.strip()}")


def make_dense(paths: Iterable[str]) -> None:
    """Rewrite files without holes or reserved blocks, which ploop 1.15 refuses; their bytes stay."""
    for path in paths:
        content = Path(path).read_bytes()
        Path(path).write_bytes(content)


def assert_ploop_accepts(bundle: str) -> None:
    """ploop check finds nothing in any image of a bundle, and ploop sees the same tree of snapshots.

    Images lose their holes for that.
    """
    layout = read_layout(bundle)
    make_dense(layout.expanding)
    _skip_where_ploop_cannot_look(bundle)
    checked = ploop("check", "DiskDescriptor.xml", directory=bundle)
    assert checked.code == 0, f"ploop check: rc {checked.code}\n{checked.output}"
    for path in layout.expanding:
        forced = ploop("check", "-f", "-c", path, directory=bundle)
        assert forced.code == 0, f"ploop check {path}: rc {forced.code}\n{forced.output}"
    listed = ploop(
        "snapshot-list", "-H", "-o", "uuid,parent_uuid,current,fname", "DiskDescriptor.xml", directory=bundle
    )
    assert listed.code == 0, listed.output
    rows = [line.split() for line in listed.output.splitlines() if line.startswith("{")]
    assert {row[0]: row[1] for row in rows} == {guid: layout.parents.get(guid, NONE) for guid in layout.images}, (
        listed.output
    )
    assert [row[0] for row in rows if "*" in row] == [layout.top], listed.output
    assert {row[0]: os.path.basename(row[-1]) for row in rows} == {
        guid: os.path.basename(images[0].path) for guid, images in layout.images.items()
    }
    compared("ploop", 1 + len(layout.expanding))


def _skip_where_ploop_cannot_look(bundle: str) -> None:
    if _file_system(bundle) == "tmpfs":
        pytest.skip("ploop cannot look for holes on a tmpfs; choose another place with --basetemp")


def _file_system(path: str) -> str:
    """The type of the file system of ``path``; empty where the kernel does not tell."""
    device = os.stat(path).st_dev
    mounts = Path("/proc/self/mountinfo")
    lines = mounts.read_text(encoding="utf-8").splitlines() if mounts.exists() else []
    number = f"{os.major(device)}:{os.minor(device)}"
    return next((line.partition(" - ")[2].split()[0] for line in lines if line.split()[2] == number), "")


def succeeded(ended: Ended) -> None:
    """Fail the test unless the program has succeeded."""
    assert ended.code == 0, f"rc {ended.code}\n{ended.output}"


def require_sample(name: str) -> Path:
    """A file or folder of the samples made by Parallels Desktop; skip the test when they are not there."""
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"no sample {name} of Parallels Desktop in {SAMPLES}; VDISK_SAMPLES may name their folder")
    return path


def unpack_sample(name: str, bundle: str) -> None:
    """Copy the bundle ``name`` of the samples to ``bundle``, which must not exist, and unpack its images."""
    source = require_sample(name)
    os.makedirs(bundle)
    for entry in sorted(os.listdir(source)):
        packed = (source / entry).read_bytes()
        content = gzip.decompress(packed) if entry.endswith(".gz") else packed
        Path(bundle, entry[: -len(".gz")] if entry.endswith(".gz") else entry).write_bytes(content)


def patterned_writes(ranges: Sequence[Tuple[int, int]], seed: int) -> List[Tuple[int, int, int]]:
    """Offset, length and byte of the writes that fill ``ranges``, a different byte (never zero) for each 64 KiB and
    each ``seed``.
    """
    writes = []
    for start, length in ranges:
        position = start
        while position < start + length:
            end = min(start + length, (position // 65536 + 1) * 65536)
            writes.append((position, end - position, 1 + (seed * 101 + position // 65536) % 255))
            position = end
    return writes
