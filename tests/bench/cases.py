# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared with what, and how far ahead we mean to be. Both sides do the same work on the same bytes and sync alike."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ansible_collections.vdisk.parallels.tests.bench.images import MIB, Images, engine_command
from ansible_collections.vdisk.parallels.tests.bench.measure import Command, forget


class Case(NamedTuple):
    """One line of the table. ``check`` raises when the two sides did not do the same."""

    name: str
    peer: str
    goal: float
    ours: Command
    theirs: Command
    check: Callable[[], None]


class Bench:
    """Makes the cases for a set of images. What both sides write goes to ``work``."""

    def __init__(self, images: Images, work: Path, environment: Dict[str, str]) -> None:
        self.images = images
        self.work = work
        self._environment = environment
        work.mkdir(parents=True, exist_ok=True)

    def cases(self) -> Iterator[Callable[[], Case]]:
        """Functions that make a case, with its images, when it is its turn."""
        yield lambda: self._raw("hdd to raw", "qemu-img convert", 0.65, synced=False)
        yield lambda: self._copy("hdd to raw", 1.1)
        yield lambda: self._raw("hdd to raw, synced", "qemu-img convert -t writeback", 0.45, synced=True)
        yield lambda: self._raw("hdd to raw, cold cache", "qemu-img convert", 0.85, synced=False, cold=True)
        yield lambda: self._raw("fragmented hdd to raw, cold cache", "qemu-img convert", 0.7, synced=False, cold=True, source=str(self.images.shuffled()))
        yield self._import
        for name, options, peer in FORMATS:
            yield lambda name=name, options=options, peer=peer: self._format(name, options, peer, 0.8)
        yield lambda: self._format("qcow2", {"compression": "zlib"}, ["-c", "-O", "qcow2"], 0.35, label="hdd to qcow2 zlib")
        yield lambda: self._format("qcow2", {"compression": "zlib"}, ["-c", "-W", "-O", "qcow2"], 0.6, label="hdd to qcow2 zlib")
        stream = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
        yield lambda: self._format("vmdk", {"subformat": "streamOptimized"}, stream, 0.4, label="hdd to vmdk streamOptimized")
        yield self._merge
        yield self._compact
        yield self._compare
        yield self._layers
        yield self._huge
        yield self._facts

    def _ours(self, *arguments: str, prepare: Optional[Callable[[], None]] = None, synced: bool = True) -> Command:
        environment = self._environment if synced else {**self._environment, "VDISK_BENCH_NOSYNC": "1"}
        return Command(engine_command(*arguments), prepare or _nothing, environment=environment)

    def _path(self, name: str) -> str:
        return str(self.work / name)

    def _raw(self, name: str, peer: str, goal: float, *, synced: bool, cold: bool = False, source: Optional[str] = None) -> Case:
        image = source or str(self.images.image())
        one, other = self._path("ours.raw"), self._path("theirs.raw")

        def prepare(path: str) -> Callable[[], None]:
            return _both(_without(path), forget(image)) if cold else _without(path)

        ours = self._ours("convert", source or str(self.images.bundle()), one, "raw", prepare=prepare(one), synced=synced)
        cache = ["-t", "writeback"] if synced else []
        command = ["qemu-img", "convert", *cache, "-f", "parallels", "-O", "raw", image, other]
        return Case(name, peer, goal, ours, Command(command, prepare(other), (other,) if synced else ()), lambda: _same_files(one, other))

    def _copy(self, name: str, goal: float) -> Case:
        one, other = self._path("ours.raw"), self._path("theirs.raw")
        raw = str(self.images.raw())
        ours = self._ours("convert", str(self.images.bundle()), one, "raw", prepare=_without(one), synced=False)
        return Case(name, "cp --sparse=always", goal, ours, Command(["cp", "--sparse=always", raw, other], _without(other)), lambda: _same_files(one, other))

    def _import(self) -> Case:
        raw, one, other = str(self.images.raw()), self._path("ours.hdd"), self._path("theirs.hds")
        ours = self._ours("convert", raw, one, "hdd", prepare=_without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "raw", "-O", "parallels", raw, other], _without(other))
        return Case("raw to hdd", "qemu-img convert", 0.5, ours, theirs, lambda: _compare(["-f", "parallels", "-F", "parallels"], _image(one), other))

    def _format(self, format: str, options: Dict[str, Any], peer: Sequence[str], goal: float, *, label: Optional[str] = None) -> Case:
        one, other = self._path(f"ours.{format}"), self._path(f"theirs.{format}")
        ours = self._ours("convert", str(self.images.bundle()), one, format, json.dumps(options), prepare=_without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "parallels", *peer, str(self.images.image()), other], _without(other))
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
            shutil.rmtree(mine, ignore_errors=True)
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

    def _compact(self) -> Case:
        master, mine, other = self._path("full.hdd"), self._path("ours.hdd"), self._path("theirs.hds")
        if not os.path.exists(master):
            shutil.copytree(self.images.bundle("random"), master)
            _store_zeros(_image(master), self.images.places("random")[::4])

        def fresh() -> None:
            shutil.rmtree(mine, ignore_errors=True)
            subprocess.run(["cp", "-r", "--sparse=never", master, mine], check=True)

        command = ["qemu-img", "convert", "-t", "writeback", "-f", "parallels", "-O", "parallels", _image(master), other]
        theirs = Command(command, _without(other), (other,))

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
        ours = self._ours("convert", bundle, one, "raw", prepare=_without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", top, other], _without(other))
        return Case("64 layers to raw", "qemu-img convert of 64 overlays", 0.6, ours, theirs, lambda: _same_files(one, other))

    def _huge(self) -> Case:
        image, one, other = self._path("huge.hds"), self._path("ours.raw"), self._path("theirs.raw")
        size = 16 << 40
        if not os.path.exists(image):
            raw = self._path("huge.raw")
            with open(raw, "wb") as stream:
                # A file system rarely holds files of 16 TiB, so the last TiB is left to the table.
                stream.truncate(15 << 40)
                for number in range(1024):
                    stream.seek(number * (15 << 30))
                    stream.write(bytes([number % 255 + 1]) * MIB)
            self.images.engine("convert", raw, self._path("huge.hdd"), "hdd", json.dumps({"align": size}))
            os.replace(_image(self._path("huge.hdd")), image)
            os.remove(raw)
        ours = self._ours("convert", image, one, "qcow2", prepare=_without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "parallels", "-O", "qcow2", image, other], _without(other))
        return Case("16 TiB virtual, 1 GiB data to qcow2", "qemu-img convert", 0.4, ours, theirs, _nothing)

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


def _nothing() -> None:
    """Nothing to prepare, or nothing to compare that the commands did not compare themselves."""


def _both(*steps: Callable[[], None]) -> Callable[[], None]:
    return lambda: [step() for step in steps] and None


def _without(path: str) -> Callable[[], None]:
    def remove() -> None:
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.remove(path)

    return remove


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
