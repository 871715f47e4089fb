# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared with what, and how far ahead we mean to be. Both sides do the same work on the same bytes and sync alike."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Union

from ansible_collections.vdisk.parallels.tests.bench.images import MIB, Images, engine_command
from ansible_collections.vdisk.parallels.tests.bench.measure import Absent, Command, Different, forget
from ansible_collections.vdisk.parallels.tests.bench.memory import Memory


class Case(NamedTuple):
    """One line of the table. ``goal`` is a ratio of wall times, or what it is in words. ``check`` raises when the two sides did not do the same."""

    name: str
    peer: str
    goal: Union[float, str]
    ours: Command
    theirs: Command
    check: Callable[[], None]


class Bench:
    """Makes the cases for a set of images. What both sides write goes to ``work``; ``sharing`` is a folder whose file system shares blocks."""

    def __init__(self, images: Images, work: Path, environment: Dict[str, str], memory: Memory, sharing: Optional[Path] = None) -> None:
        self.images = images
        self.work = work
        self._environment = environment
        self._memory = memory
        self._sharing = sharing
        work.mkdir(parents=True, exist_ok=True)

    def cases(self) -> Iterator[Callable[[], Case]]:
        """Functions that make a case, with its images, when it is its turn."""
        yield lambda: self._raw("hdd to raw", "qemu-img convert", 0.65, synced=False)
        yield lambda: self._copy("hdd to raw", 1.1)
        yield lambda: self._raw("hdd to raw, synced", "qemu-img convert -t writeback", 0.45, synced=True)
        yield lambda: self._raw("hdd to raw, cold cache", "qemu-img convert", 0.85, synced=False, cold=True)
        yield lambda: self._raw("fragmented hdd to raw, cold cache", "qemu-img convert", 0.7, synced=False, cold=True, source=str(self.images.shuffled()))
        yield lambda: self._import("raw to hdd, drawn ids", {"reproducible": False})
        yield lambda: self._import("raw to hdd", {})
        for name, options, peer in FORMATS:
            yield lambda name=name, options=options, peer=peer: self._format(name, options, peer, 0.8)
        yield lambda: self._format("qcow2", {"compression": "zlib"}, ["-c", "-O", "qcow2"], 0.35, label="hdd to qcow2 zlib")
        yield lambda: self._format("qcow2", {"compression": "zlib"}, ["-c", "-W", "-O", "qcow2"], 0.6, label="hdd to qcow2 zlib")
        stream = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
        yield lambda: self._format("vmdk", {"subformat": "streamOptimized"}, stream, 0.4, label="hdd to vmdk streamOptimized")
        yield self._merge
        yield self._merge_by_ploop
        yield self._compact
        yield self._compare
        yield self._layers
        yield self._one_layer
        yield self._huge
        yield self._check_huge
        yield self._check_fragmented
        yield self._map
        yield self._facts
        yield from (lambda name=name: self._read(name) for name in READERS)
        yield self._task
        yield lambda: self._start("an absent disk", self._path("absent.hdd"))
        yield lambda: self._start("one disk", self._blank())
        yield from (lambda name=name: self._floor(name) for name in FLOORS)
        if self._sharing is not None:
            yield lambda: self._shared("hdd to raw, shared blocks (XFS)", "raw")
            yield lambda: self._shared("copy of a disk, shared blocks (XFS), drawn ids", "hdd", {"reproducible": False})
            yield lambda: self._shared("copy of a disk, shared blocks (XFS)", "hdd")

    def clear(self) -> None:
        """Remove what both sides wrote, so that it does not fill the memory that caches the sources."""
        for folder in filter(None, (self.work, self._sharing)):
            for path in (*folder.glob("ours.*"), *folder.glob("theirs*")):
                self._memory.remove(str(path))

    def _ours(self, *arguments: str, prepare: Optional[Callable[[], None]] = None, synced: bool = True) -> Command:
        environment = self._environment if synced else {**self._environment, "VDISK_BENCH_NOSYNC": "1"}
        return Command(engine_command(*arguments), prepare or _nothing, environment=environment)

    def _without(self, path: str) -> Callable[[], None]:
        return lambda: self._memory.remove(path)

    def _path(self, name: str) -> str:
        return str(self.work / name)

    def _raw(self, name: str, peer: str, goal: float, *, synced: bool, cold: bool = False, source: Optional[str] = None) -> Case:
        image = source or str(self.images.image())
        one, other = self._path("ours.raw"), self._path("theirs.raw")

        def prepare(path: str) -> Callable[[], None]:
            return _both(self._without(path), forget(image)) if cold else self._without(path)

        ours = self._ours("convert", source or str(self.images.bundle()), one, "raw", prepare=prepare(one), synced=synced)
        cache = ["-t", "writeback"] if synced else []
        command = ["qemu-img", "convert", *cache, "-f", "parallels", "-O", "raw", image, other]
        return Case(name, peer, goal, ours, Command(command, prepare(other), (other,) if synced else ()), lambda: _same_files(one, other))

    def _copy(self, name: str, goal: float) -> Case:
        one, other = self._path("ours.raw"), self._path("theirs.raw")
        raw = str(self.images.raw())
        ours = self._ours("convert", str(self.images.bundle()), one, "raw", prepare=self._without(one), synced=False)
        return Case(
            name, "cp --sparse=always", goal, ours, Command(["cp", "--sparse=always", raw, other], self._without(other)), lambda: _same_files(one, other)
        )

    def _import(self, name: str, options: Dict[str, Any]) -> Case:
        raw, one, other = str(self.images.raw()), self._path("ours.hdd"), self._path("theirs.hds")
        ours = self._ours("convert", raw, one, "hdd", json.dumps(options), prepare=self._without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "raw", "-O", "parallels", raw, other], self._without(other))
        return Case(name, "qemu-img convert", 0.5, ours, theirs, lambda: _compare(["-f", "parallels", "-F", "parallels"], _image(one), other))

    def _format(self, format: str, options: Dict[str, Any], peer: Sequence[str], goal: float, *, label: Optional[str] = None) -> Case:
        one, other = self._path(f"ours.{format}"), self._path(f"theirs.{format}")
        ours = self._ours("convert", str(self.images.bundle()), one, format, json.dumps(options), prepare=self._without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "parallels", *peer, str(self.images.image()), other], self._without(other))
        called = "vpc" if format == "vhd" else format
        shown = "qemu-img convert" + "".join(f" {word}" for word in peer if word in ("-c", "-W"))
        return Case(label or f"hdd to {format}", shown, goal, ours, theirs, lambda: _compare(["-f", called, "-F", called], one, other))

    def _merge(self) -> Case:
        """A quarter of the clusters of a disk lie in an overlay; ours goes into the parent, as theirs does."""
        master, mine = self._path("master.hdd"), self._path("ours.hdd")
        base, top = self._path("base.qcow2"), self._path("top.qcow2")
        work = [self._path("theirs-base.qcow2"), self._path("theirs-top.qcow2")]
        self._make_overlay(master, base, top)

        def fresh() -> None:
            self._memory.remove(mine)
            subprocess.run(["cp", "-r", "--sparse=always", master, mine], check=True)

        def fresh_theirs() -> None:
            for source, target in zip((base, top), work):
                subprocess.run(["cp", "--sparse=always", source, target], check=True)
            subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", work[0], work[1]], check=True, stdout=subprocess.DEVNULL)

        theirs = Command(["qemu-img", "commit", "-d", "-t", "writeback", "-f", "qcow2", work[1]], fresh_theirs, (work[0],))

        def check() -> None:
            _compare(["-f", "parallels", "-F", "qcow2"], _image(mine), work[0])

        return Case("merge of an overlay, synced", "qemu-img commit -d", 0.8, self._ours("merge", mine, prepare=fresh), theirs, check)

    def _make_overlay(self, master: str, base: str, top: str) -> None:
        if os.path.exists(top):
            return
        shutil.rmtree(master, ignore_errors=True)
        source = str(self.images.image("random"))
        subprocess.run(["qemu-img", "convert", "-f", "parallels", "-O", "qcow2", source, base], check=True)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, top], check=True)
        step = self.images.virtual // (self.images.allocated // (4 * MIB))
        writes: List[str] = []
        for number in range(self.images.allocated // (4 * MIB)):
            writes += ["-c", f"write -q -P {number % 250 + 1} {number * step // MIB * MIB} 1M"]
        for start in range(0, len(writes), 400):
            subprocess.run(["qemu-io", "-f", "qcow2", *writes[start : start + 400], top], check=True, stdout=subprocess.DEVNULL)
        self.images.engine("convert", top, master, "hdd", '{"keeps_layers": true}')

    def _merge_by_ploop(self) -> Case:
        """The same overlay; ploop takes only images without holes, so both get such copies."""
        if os.geteuid() != 0 or shutil.which("ploop") is None:
            raise Absent("merge of an overlay, synced, against ploop snapshot-merge: that needs root and ploop (Debian package ploop)")
        master, mine, other = self._path("master.hdd"), self._path("ours.hdd"), self._path("theirs.hdd")
        self._make_overlay(master, self._path("base.qcow2"), self._path("top.qcow2"))

        def fresh(target: str) -> Callable[[], None]:
            return _both(self._without(target), lambda: subprocess.run(["cp", "-r", "--sparse=never", master, target], check=True) and None)

        # ploop of Debian sees its kernel module in a name space of its own, and may crash in a small environment.
        command = ["unshare", "-m", "sh", "-c", f'cd "$1" && {FAKE_MODULE} && exec ploop snapshot-merge -A DiskDescriptor.xml', "_", other]
        theirs = Command(command, fresh(other), (), {**self._environment, "PLOOP_PAD": "x" * 8192})
        return Case(
            "merge of an overlay, synced",
            "ploop snapshot-merge",
            0.8,
            self._ours("merge", mine, prepare=fresh(mine)),
            theirs,
            lambda: self._same_disks(mine, other),
        )

    def _same_disks(self, one: str, other: str) -> None:
        self.images.engine("compare", one, other)

    def _compact(self) -> Case:
        master, mine, other = self._path("full.hdd"), self._path("ours.hdd"), self._path("theirs.hds")
        if not os.path.exists(master):
            shutil.copytree(self.images.bundle("random"), master)
            _store_zeros(_image(master), self.images.places("random")[::4])

        def fresh() -> None:
            self._memory.remove(mine)
            subprocess.run(["cp", "-r", "--sparse=never", master, mine], check=True)

        command = ["qemu-img", "convert", "-t", "writeback", "-f", "parallels", "-O", "parallels", _image(master), other]
        theirs = Command(command, self._without(other), (other,))

        def check() -> None:
            _compare(["-f", "parallels", "-F", "parallels"], _image(mine), other)

        return Case("compact in place, a quarter zero, synced", "qemu-img convert -t writeback", 0.4, self._ours("compact", mine, prepare=fresh), theirs, check)

    def _compare(self) -> Case:
        raw, bundle = str(self.images.raw()), str(self.images.bundle())
        theirs = Command(["qemu-img", "compare", "-f", "raw", "-F", "parallels", raw, str(self.images.image())], _nothing)
        return Case("content compare", "qemu-img compare", 0.8, self._ours("compare", raw, bundle), theirs, _nothing)

    def _layers(self) -> Case:
        """64 layers of 1/64 of the data each, against 64 overlays."""
        bundle, top = self._path("layers.hdd"), self._path("overlay63.qcow2")
        one, other = self._path("ours.raw"), self._path("theirs.raw")
        if not os.path.exists(bundle):
            _make_overlays(self.work, self.images)
            self.images.engine("convert", top, bundle, "hdd", '{"keeps_layers": true}')
        ours = self._ours("convert", bundle, one, "raw", prepare=self._without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", top, other], self._without(other))
        return Case("64 layers to raw", "qemu-img convert of 64 overlays", 0.6, ours, theirs, lambda: _same_files(one, other))

    def _one_layer(self) -> Case:
        """What 64 layers cost beside one with the same bytes; both sides are ours."""
        layers = self._layers()
        bundle, one, other = self._path("flat.hdd"), self._path("ours.raw"), self._path("theirs.raw")
        if not os.path.exists(bundle):
            self.images.engine("convert", self._path("layers.hdd"), bundle, "hdd")
        theirs = self._ours("convert", bundle, other, "raw", prepare=self._without(other), synced=False)
        return Case("64 layers to raw", "ours, of one layer", 1.5, layers.ours, theirs, lambda: _same_files(one, other))

    def _huge_image(self) -> str:
        bundle = self._path("huge.hdd")
        if not os.path.exists(bundle):
            raw = self._path("huge.raw")
            with open(raw, "wb") as stream:
                # A file system rarely holds files of 16 TiB, so the last TiB is left to the table.
                stream.truncate(15 << 40)
                for number in range(1024):
                    stream.seek(number * (15 << 30))
                    stream.write(bytes([number % 255 + 1]) * MIB)
            self.images.engine("convert", raw, bundle, "hdd", json.dumps({"align": 16 << 40}))
            os.remove(raw)
        return _image(bundle)

    def _huge(self) -> Case:
        image, one, other = self._huge_image(), self._path("ours.qcow2"), self._path("theirs.qcow2")
        ours = self._ours("convert", image, one, "qcow2", prepare=self._without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "parallels", "-O", "qcow2", image, other], self._without(other))
        return Case("16 TiB virtual, 1 GiB data to qcow2", "qemu-img convert", 0.4, ours, theirs, _nothing)

    def _check(self, name: str, bundle: str) -> Case:
        theirs = Command(["qemu-img", "check", "-q", "-f", "parallels", _image(bundle)], _nothing)
        return Case(name, "qemu-img check", 3.5, self._ours("check", bundle), theirs, _nothing)

    def _check_huge(self) -> Case:
        self._huge_image()
        return self._check("check, 16 TiB virtual", self._path("huge.hdd"))

    def _check_fragmented(self) -> Case:
        """200,000 clusters in random order, in a file of holes."""
        bundle, raw, virtual = self._path("scattered.hdd"), self._path("blank.raw"), 1 << 40
        if not os.path.exists(bundle):
            with open(raw, "wb") as stream:
                stream.truncate(virtual)
            self.images.engine("convert", raw, bundle, "hdd")
            os.remove(raw)
            self.images.make("scattered", _image(bundle))
        return self._check("check, 200,000 clusters in random order", bundle)

    def _map(self) -> Case:
        theirs = Command(["qemu-img", "map", "--output=json", "-f", "parallels", str(self.images.shuffled())], _nothing)
        return Case("map of a fragmented image", "qemu-img map", 1.0, self._ours("map", str(self.images.shuffled())), theirs, _nothing)

    def _read(self, name: str) -> Case:
        """Every byte of the guest disk, a MiB at a time. That both read the same is checked by runs that print a digest."""
        module, program = READERS[name]
        if importlib.util.find_spec(module) is None:
            raise Absent(f"reading all guest bytes against {name}: the Python module {module} is not installed")
        bundle = str(self.images.bundle())
        ours, theirs = self._ours("read", bundle), Command([sys.executable, "-c", program, bundle], _nothing)

        def check() -> None:
            digests = {subprocess.check_output([*command.arguments, "digest"], env=self._environment) for command in (ours, theirs)}
            if len(digests) != 1:
                raise Different(f"{name} and we do not read the same: {digests}")

        return Case("reading all guest bytes", name, 0.8, ours, theirs, check)

    def _task(self) -> Case:
        """The same export as a whole task of Ansible, beside the bare program."""
        image, one, other = str(self.images.image()), self._path("ours.raw"), self._path("theirs.raw")
        arguments = json.dumps({"src": str(self.images.bundle()), "dest": one, "dest_format": "raw", "verify": False})
        command = ["ansible", "localhost", "-i", "localhost,", "-c", "local", "-m", "vdisk.parallels.hdd_convert", "-a", arguments]
        ours = Command(command, self._without(one), (), {**self._environment, "ANSIBLE_PYTHON_INTERPRETER": sys.executable})
        theirs = Command(["qemu-img", "convert", "-t", "writeback", "-f", "parallels", "-O", "raw", image, other], self._without(other), (other,))
        return Case("hdd to raw, synced, as an Ansible command", "qemu-img convert -t writeback", 1.0, ours, theirs, lambda: _same_files(one, other))

    def _floor(self, name: str) -> Case:
        """What nobody can be faster than on this machine: the mere copy of the image, or the mere digest of it."""
        image, other = str(self.images.image()), self._path("theirs.raw")
        if name == "raw to hdd":
            ours, command = self._import(name, {}).ours, [sys.executable, "-c", _DIGEST, image]
        else:
            synced = name.endswith("synced")
            ours = self._raw(name, "", 0, synced=synced).ours
            command = ["dd", f"if={image}", f"of={other}", "bs=1M", "status=none", *(["conv=fsync"] if synced else [])]
        return Case(name, FLOORS[name], "the floor", ours, Command(command, self._without(other)), _nothing)

    def _start(self, what: str, path: str) -> Case:
        """What a module costs a node when it has nothing or next to nothing to do, beside one that does nothing: both as Ansible sends them."""
        commands = [self._sent("vdisk.parallels.hdd_info", {"path": path}), self._sent("ansible.builtin.ping", {})]
        return Case(f"hdd_info of {what}, on a node", "ping, which does nothing", "60 ms more", *commands, _nothing)

    def _blank(self) -> str:
        """The path of a disk that is small and empty."""
        path = self._path("blank.hdd")
        if not os.path.exists(path):
            (self.work / "blank.raw").write_bytes(bytes(MIB))
            self.images.engine("convert", self._path("blank.raw"), path, "hdd")
        return path

    def _sent(self, module: str, arguments: Dict[str, Any]) -> Command:
        """The run of what Ansible sends to a node."""
        name = "-".join([module, *(os.path.basename(value) for value in arguments.values())])
        sent, folder = self.work / f"{name}.py", self.work / name

        def send() -> None:
            if sent.exists():
                return
            kept = {"ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TMP": str(folder), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
            given = ["-a", json.dumps(arguments)] if arguments else []
            command = ["ansible", "localhost", "-i", "localhost,", "-c", "local", "-m", module, *given]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**self._environment, **kept})
            next(folder.glob("*/AnsiballZ_*.py")).rename(sent)

        return Command([sys.executable, str(sent)], send, environment=self._environment)

    def _shared(self, name: str, format: str, options: Optional[Dict[str, Any]] = None) -> Case:
        """Source and output lie on a file system that shares blocks."""
        folder = self._sharing or self.work
        bundle, one, other = folder / "source.hdd", str(folder / f"ours.{format}"), str(folder / "theirs")
        if not bundle.exists():
            shutil.copytree(self.images.bundle("random"), bundle)
        ours = self._ours("convert", str(bundle), one, format, json.dumps(options or {}), prepare=self._without(one), synced=False)
        theirs = Command(
            ["qemu-img", "convert", "-f", "parallels", "-O", "parallels" if format == "hdd" else "raw", _image(str(bundle)), other], self._without(other)
        )
        check = (lambda: _same_files(one, other)) if format == "raw" else (lambda: _compare(["-f", "parallels", "-F", "parallels"], _image(one), other))
        return Case(name, "qemu-img convert", 0.25, ours, theirs, check)

    def _facts(self) -> Case:
        folder = self.work / "many"
        paths = [str(folder / f"{number}.hdd") for number in range(200)]
        if not folder.exists():
            folder.mkdir()
            small = self.work / "small.raw"
            small.write_bytes(b"x" * MIB)
            self.images.engine("convert", str(small), paths[0], "hdd")
            for path in paths[1:]:
                shutil.copytree(paths[0], path)
        script = "".join(f"qemu-img info -f parallels '{_image(path)}'\n" for path in paths)
        return Case("facts of 200 disks", "200 x qemu-img info", 1.5, self._ours("facts", *paths), Command(["sh", "-ec", script], _nothing), _nothing)


FORMATS = (
    ("qcow2", {}, ["-O", "qcow2"]),
    ("vdi", {}, ["-O", "vdi"]),
    ("vhd", {}, ["-O", "vpc", "-o", "force_size=on"]),
    ("vhdx", {}, ["-O", "vhdx"]),
    ("vmdk", {}, ["-O", "vmdk"]),
)

# What limits an operation, by itself.
FLOORS = {
    "hdd to raw": "dd bs=1M of the image",
    "hdd to raw, synced": "dd bs=1M conv=fsync of the image",
    "raw to hdd": "SHA-256 of the image",
}
_DIGEST = """
import hashlib, sys
digest = hashlib.sha256()
with open(sys.argv[1], "rb") as stream:
    for piece in iter(lambda: stream.read(1 << 18), b""):
        digest.update(piece)
"""

# ploop of Debian makes format version 2 only where it sees its kernel module.
FAKE_MODULE = (
    "mount --make-rprivate / && mount -t tmpfs tmpfs /sys/module && mkdir -p /sys/module/ploop/parameters "
    "&& echo 1 > /sys/module/ploop/parameters/large_disk_support"
)

# Modules of other people, and programs that read all of a disk with them, as their documentation shows.
READERS = {
    "libphdi": (
        "pyphdi",
        """
import sys, pyphdi, hashlib
image = pyphdi.handle()
image.open(sys.argv[1] + "/DiskDescriptor.xml")
image.open_extent_data_files()
size, digest = image.get_media_size(), hashlib.sha1() if sys.argv[2:] else None
for offset in range(0, size, 1 << 20):
    piece = image.read_buffer_at_offset(min(1 << 20, size - offset), offset)
    if digest:
        digest.update(piece)
if digest:
    print(digest.hexdigest())
""",
    ),
    "dissect.hypervisor": (
        "dissect",
        """
import sys, hashlib
from pathlib import Path
from dissect.hypervisor.disk.hdd import HDD
stream, digest = HDD(Path(sys.argv[1])).open(), hashlib.sha1() if sys.argv[2:] else None
while True:
    piece = stream.read(1 << 20)
    if not piece:
        break
    if digest:
        digest.update(piece)
if digest:
    print(digest.hexdigest())
""",
    ),
}


def _nothing() -> None:
    """Nothing to prepare, or nothing to compare that the commands did not compare themselves."""


def _both(*steps: Callable[[], None]) -> Callable[[], None]:
    return lambda: [step() for step in steps] and None


def _image(bundle: str) -> str:
    return str(next(Path(bundle).glob("*.hds")))


def _same_files(one: str, other: str) -> None:
    subprocess.run(["cmp", one, other], check=True)


def _compare(formats: Sequence[str], one: str, other: str) -> None:
    subprocess.run(["qemu-img", "compare", *formats, one, other], check=True, stdout=subprocess.DEVNULL)


def _make_overlays(work: Path, images: Images) -> None:
    step = images.allocated // 64 // MIB * MIB
    for number in range(64):
        path = work / f"overlay{number}.qcow2"
        below = ["-F", "qcow2", "-b", str(work / f"overlay{number - 1}.qcow2")] if number else []
        size = [] if number else [str(images.virtual)]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *below, str(path), *size], check=True)
        start = number * (images.virtual // 64) // MIB * MIB
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q -P {number + 1} {start} {max(step, MIB)}", str(path)], check=True)


def _store_zeros(image: str, places: Sequence[int]) -> None:
    """Overwrite MiBs of an image with zeros; QEMU does it, for we would not store them."""
    writes: List[str] = []
    for place in places:
        writes += ["-c", f"write -q -P 0 {place} 1M"]
    for start in range(0, len(writes), 400):
        subprocess.run(["qemu-io", "-f", "parallels", *writes[start : start + 400], image], check=True, stdout=subprocess.DEVNULL)
