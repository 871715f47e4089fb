# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared with what, and how far ahead we mean to be.

Both sides do the same work on the same bytes and sync alike.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Union

from ansible_collections.vdisk.parallels.tests.bench.images import MIB, Images, engine_command
from ansible_collections.vdisk.parallels.tests.bench.measure import Absent, Command, Different, forget
from ansible_collections.vdisk.parallels.tests.bench.memory import Memory
from ansible_collections.vdisk.parallels.tests.bench.servers import Servers, random_reader


class Pair(NamedTuple):
    """Both sides of a comparison. ``check`` raises when they did not do the same."""

    ours: Command
    theirs: Command
    check: Callable[[], None]


class Case(NamedTuple):
    """One line of the table. ``goal`` is a ratio of wall times, or what it is in words.

    ``make`` makes the images, too, or raises Absent.
    """

    name: str
    peer: str
    goal: Union[float, str]
    make: Callable[[], Pair]

    def __str__(self) -> str:
        return f"{self.name}, against {self.peer}"


class Bench:
    """Makes the cases for a set of images.

    What both sides write goes to ``work``; ``sharing`` is a folder whose file system shares blocks.
    """

    def __init__(
        self, images: Images, work: Path, environment: Dict[str, str], memory: Memory, sharing: Optional[Path] = None
    ) -> None:
        self.images = images
        self.work = work
        self.environment = environment
        self._memory = memory
        self._sharing = sharing
        self._servers: Optional[Servers] = None
        work.mkdir(parents=True, exist_ok=True)

    def cases(self) -> Iterator[Case]:
        """Conversions, changes and reads. Nothing is made before its turn."""
        convert, synced = "qemu-img convert", "qemu-img convert -t writeback"
        yield Case("hdd to raw", convert, 1.0, lambda: self._raw(False))
        yield Case("hdd to raw, synced", synced, 0.35, lambda: self._raw(True))
        yield Case("hdd to raw", "cp --sparse=always", 1.1, self._copy)
        yield Case("hdd to raw, cold cache", convert, 0.9, lambda: self._raw(False, cold=True))
        name = "hdd of 64 KiB clusters in random order to raw"
        yield Case(name, convert, 0.9, lambda: self._fragmented(False))
        yield Case(f"{name}, synced", synced, 0.7, lambda: self._fragmented(True))
        yield Case(f"{name}, cold cache", convert, 0.7, lambda: self._fragmented(False, cold=True))
        yield Case("raw to hdd, random ids", convert, 1.0, lambda: self._import({"reproducible": False}))
        yield Case("raw to hdd", convert, 1.0, lambda: self._import({}))
        yield Case("raw to hdd, synced", synced, 0.9, lambda: self._import({}, synced=True))
        for format, peer in FORMATS.items():
            best, best_synced = (0.9, 0.7) if format == "qcow2" else (1.0, 0.5)
            yield Case(f"hdd to {format}", convert, best, partial(self._format, format, {}, peer))
            yield Case(f"hdd to {format}, synced", synced, best_synced, partial(self._format, format, {}, peer, True))
        packed = ["-c", "-O", "qcow2"]
        yield Case(
            "hdd to qcow2 zlib", f"{convert} -c", 0.35, lambda: self._format("qcow2", {"compression": "zlib"}, packed)
        )
        yield Case(
            "hdd to qcow2 zlib",
            f"{convert} -c -W",
            0.6,
            lambda: self._format("qcow2", {"compression": "zlib"}, ["-W", *packed]),
        )
        stream = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
        yield Case(
            "hdd to vmdk streamOptimized",
            convert,
            0.4,
            lambda: self._format("vmdk", {"subformat": "streamOptimized"}, stream),
        )
        yield Case("merge of an overlay, synced", "qemu-img commit -d", 0.9, self._merge)
        yield Case("merge of an overlay, synced", "qemu-img commit -d, rm", 0.9, lambda: self._merge(removes=True))
        yield Case("merge of an overlay, synced", "ploop snapshot-merge", 0.75, self._merge_by_ploop)
        yield Case("compact in place, a quarter zero, synced", synced, 0.4, self._compact)
        yield Case("content compare", "qemu-img compare", 0.8, self._compare)
        yield Case("64 layers to raw", "qemu-img convert of 64 overlays", 0.6, self._layers)
        yield Case("64 layers to raw", "ours, of one layer", 1.5, self._one_layer)
        yield Case("16 TiB virtual, 1 GiB data to qcow2", convert, 0.4, self._huge)
        yield Case("check, 16 TiB virtual", "qemu-img check", 3.5, self._check_huge)
        random_order = "clusters in random order"
        yield Case(
            f"check, 200,000 {random_order}", "qemu-img check", 3.5, lambda: self._scattered(200_000, MIB, 1 << 40)
        )
        yield Case(f"check, 10,000,000 {random_order}", "qemu-img check", 3.5, self._check_millions)
        yield Case("map of a fragmented image", "qemu-img map", 1.0, self._map)
        yield Case("facts of 200 disks", "200 x qemu-img info", 1.5, self._facts)
        for name in READERS:
            yield Case("reading all guest bytes", name, 0.8, lambda name=name: self._read(name))
        for name, goal in (("nbdcopy", 1.67), ("qemu-img convert", 1.67), ("20,000 random reads of 4 KiB", 2.0)):
            yield Case(f"a served hdd, {name}", "qemu-nbd of a raw copy", goal, lambda name=name: self._served(name))
        yield Case("hdd to raw, synced, as an Ansible command", synced, 1.0, self._task)
        for name, path in (("an absent disk", "absent.hdd"), ("one disk", "blank.hdd")):
            yield Case(
                f"hdd_info of {name}, on a node",
                "ping, which does nothing",
                "60 ms more",
                lambda path=path: self._start(path),
            )
        # What nobody can be faster than on this machine: the mere copy of the image, and the mere digest of it.
        yield Case("hdd to raw", "dd bs=1M of the image", "the floor", lambda: self._floor(self._raw(False)))
        yield Case(
            "hdd to raw, synced",
            "dd bs=1M conv=fsync of the image",
            "the floor",
            lambda: self._floor(self._raw(True), "conv=fsync"),
        )
        yield Case("raw to hdd", "CRC-32 of the image", "the floor", self._digest)
        if self._sharing is not None:
            sharing = self._sharing
            yield Case("hdd to raw, shared blocks (XFS)", convert, 0.25, lambda: self._shared(sharing, "raw", {}))
            yield Case(
                "copy of a disk, shared blocks (XFS), random ids",
                convert,
                0.25,
                lambda: self._shared(sharing, "hdd", {"reproducible": False}),
            )
            yield Case("copy of a disk, shared blocks (XFS)", convert, 0.7, lambda: self._shared(sharing, "hdd", {}))

    def clear(self) -> None:
        """Remove what both sides wrote, so that it does not fill the memory that caches the sources."""
        if self._servers is not None:
            self._servers.close()
            self._servers = None
        for folder in filter(None, (self.work, self._sharing)):
            for path in (*folder.glob("ours.*"), *folder.glob("theirs*")):
                self._memory.remove(str(path))

    def ours(self, *arguments: str, prepare: Optional[Callable[[], None]] = None, synced: bool = True) -> Command:
        """One operation of ``engine.py`` as our side; ``prepare`` runs before each round and is not measured."""
        environment = self.environment if synced else {**self.environment, "VDISK_BENCH_NOSYNC": "1"}
        return Command(engine_command(*arguments), prepare or _nothing, environment=environment)

    def without(self, path: str) -> Callable[[], None]:
        """What removes an output before a round."""
        return lambda: self._memory.remove(path)

    def path(self, name: str) -> str:
        """A file in the folder of this run. What begins with ``ours.`` or ``theirs`` is removed after its case."""
        return str(self.work / name)

    def _raw(self, synced: bool, source: Optional[str] = None, *, cold: bool = False) -> Pair:
        image = source or str(self.images.image())
        one, other = self.path("ours.raw"), self.path("theirs.raw")

        def prepare(path: str) -> Callable[[], None]:
            return _both(self.without(path), forget(image)) if cold else self.without(path)

        ours = self.ours(
            "convert", source or str(self.images.bundle()), one, "raw", prepare=prepare(one), synced=synced
        )
        cache = ["-t", "writeback"] if synced else []
        command = ["qemu-img", "convert", *cache, "-f", "parallels", "-O", "raw", image, other]
        return Pair(ours, Command(command, prepare(other), (other,) if synced else ()), lambda: _same_files(one, other))

    def _fragmented(self, synced: bool, *, cold: bool = False) -> Pair:
        return self._raw(synced, str(self.images.shuffled()), cold=cold)

    def _copy(self) -> Pair:
        one, other = self.path("ours.raw"), self.path("theirs.raw")
        raw = str(self.images.raw())
        ours = self.ours("convert", str(self.images.bundle()), one, "raw", prepare=self.without(one), synced=False)
        return Pair(
            ours, Command(["cp", "--sparse=always", raw, other], self.without(other)), lambda: _same_files(one, other)
        )

    def _import(self, options: Dict[str, Any], *, synced: bool = False) -> Pair:
        raw, one, other = str(self.images.raw()), self.path("ours.hdd"), self.path("theirs.hds")
        ours = self.ours("convert", raw, one, "hdd", json.dumps(options), prepare=self.without(one), synced=synced)
        theirs = self.qemu_convert(raw, other, ["-f", "raw", "-O", "parallels"], synced=synced)
        return Pair(ours, theirs, lambda: _compare(["-f", "parallels", "-F", "parallels"], _image(one), other))

    def qemu_convert(self, source: str, dest: str, options: Sequence[str], *, synced: bool = False) -> Command:
        """qemu-img as the other side: as people type it, or with all of it on the disk in the end."""
        cache = ["-t", "writeback"] if synced else []
        command = ["qemu-img", "convert", *cache, *options, source, dest]
        return Command(command, self.without(dest), (dest,) if synced else ())

    def _format(self, format: str, options: Dict[str, Any], peer: Sequence[str], synced: bool = False) -> Pair:
        one, other = self.path(f"ours.{format}"), self.path(f"theirs.{format}")
        ours = self.ours(
            "convert",
            str(self.images.bundle()),
            one,
            format,
            json.dumps(options),
            prepare=self.without(one),
            synced=synced,
        )
        theirs = self.qemu_convert(str(self.images.image()), other, ["-f", "parallels", *peer], synced=synced)
        called = "vpc" if format == "vhd" else format
        return Pair(ours, theirs, lambda: _compare(["-f", called, "-F", called], one, other))

    def _merge(self, *, removes: bool = False) -> Pair:
        """A quarter of the clusters of a disk lie in an overlay; ours goes into the parent, as theirs does.

        Ours removes the overlay; with ``removes`` so do they.
        """
        master, mine = self.path("master.hdd"), self.path("ours.hdd")
        base, top = self.path("base.qcow2"), self.path("top.qcow2")
        work = [self.path("theirs-base.qcow2"), self.path("theirs-top.qcow2")]
        self._make_overlay(master, base, top)

        def fresh() -> None:
            self._memory.remove(mine)
            subprocess.run(["cp", "-r", "--sparse=always", master, mine], check=True)

        def fresh_theirs() -> None:
            for source, target in zip((base, top), work):
                subprocess.run(["cp", "--sparse=always", source, target], check=True)
            subprocess.run(
                ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", work[0], work[1]],
                check=True,
                stdout=subprocess.DEVNULL,
            )

        commit = ["qemu-img", "commit", "-d", "-t", "writeback", "-f", "qcow2", work[1]]
        with_removal = ["sh", "-c", '"$@" && rm "$0"', work[1], *commit]
        theirs = Command(with_removal if removes else commit, fresh_theirs, (work[0],))

        def check() -> None:
            _compare(["-f", "parallels", "-F", "qcow2"], _image(mine), work[0])

        return Pair(self.ours("merge", mine, prepare=fresh), theirs, check)

    def _make_overlay(self, master: str, base: str, top: str) -> None:
        if os.path.exists(master):
            return
        source = str(self.images.image("random"))
        subprocess.run(["qemu-img", "convert", "-f", "parallels", "-O", "qcow2", source, base], check=True)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, top], check=True)
        step = self.images.virtual // (self.images.allocated // (4 * MIB))
        writes: List[str] = []
        for number in range(self.images.allocated // (4 * MIB)):
            writes += ["-c", f"write -q -P {number % 250 + 1} {number * step // MIB * MIB} 1M"]
        for start in range(0, len(writes), 400):
            subprocess.run(
                ["qemu-io", "-f", "qcow2", *writes[start : start + 400], top], check=True, stdout=subprocess.DEVNULL
            )
        self.images.engine("convert", top, master, "hdd", '{"keeps_layers": true}')

    def _merge_by_ploop(self) -> Pair:
        """The same overlay; ploop takes only images without holes, so both get such copies."""
        if os.geteuid() != 0 or shutil.which("ploop") is None:
            raise Absent("needs root and ploop (Debian package ploop)")
        master, mine, other = self.path("master.hdd"), self.path("ours.hdd"), self.path("theirs.hdd")
        self._make_overlay(master, self.path("base.qcow2"), self.path("top.qcow2"))

        def fresh(target: str) -> Callable[[], None]:
            return _both(
                self.without(target),
                lambda: subprocess.run(["cp", "-r", "--sparse=never", master, target], check=True) and None,
            )

        # ploop of Debian sees its kernel module in a name space of its own, and may crash in a small environment.
        command = [
            "unshare",
            "-m",
            "sh",
            "-c",
            f'cd "$1" && {FAKE_MODULE} && exec ploop snapshot-merge -A DiskDescriptor.xml',
            "_",
            other,
        ]
        theirs = Command(command, fresh(other), (), {**self.environment, "PLOOP_PAD": "x" * 8192})
        return Pair(self.ours("merge", mine, prepare=fresh(mine)), theirs, lambda: self._same_disks(mine, other))

    def _same_disks(self, one: str, other: str) -> None:
        self.images.engine("compare", one, other)

    def _compact(self) -> Pair:
        master, mine, other = self.path("full.hdd"), self.path("ours.hdd"), self.path("theirs.hds")
        if not os.path.exists(master):
            shutil.copytree(self.images.bundle("random"), f"{master}.new")
            _store_zeros(_image(f"{master}.new"), self.images.places("random")[::4])
            os.rename(f"{master}.new", master)

        def fresh() -> None:
            self._memory.remove(mine)
            subprocess.run(["cp", "-r", "--sparse=never", master, mine], check=True)

        command = [
            "qemu-img",
            "convert",
            "-t",
            "writeback",
            "-f",
            "parallels",
            "-O",
            "parallels",
            _image(master),
            other,
        ]
        theirs = Command(command, self.without(other), (other,))

        def check() -> None:
            _compare(["-f", "parallels", "-F", "parallels"], _image(mine), other)

        return Pair(self.ours("compact", mine, prepare=fresh), theirs, check)

    def _compare(self) -> Pair:
        raw, bundle = str(self.images.raw()), str(self.images.bundle())
        theirs = Command(
            ["qemu-img", "compare", "-f", "raw", "-F", "parallels", raw, str(self.images.image())], _nothing
        )
        return Pair(self.ours("compare", raw, bundle), theirs, _nothing)

    def _layers(self) -> Pair:
        """64 layers of 1/64 of the data each, against 64 overlays."""
        bundle, top = self.path("layers.hdd"), self.path("overlay63.qcow2")
        one, other = self.path("ours.raw"), self.path("theirs.raw")
        if not os.path.exists(bundle):
            _make_overlays(self.work, self.images)
            self.images.engine("convert", top, bundle, "hdd", '{"keeps_layers": true}')
        ours = self.ours("convert", bundle, one, "raw", prepare=self.without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", top, other], self.without(other))
        return Pair(ours, theirs, lambda: _same_files(one, other))

    def _one_layer(self) -> Pair:
        """What 64 layers cost beside one with the same bytes; both sides are ours."""
        layers = self._layers()
        bundle, one, other = self.path("flat.hdd"), self.path("ours.raw"), self.path("theirs.raw")
        if not os.path.exists(bundle):
            self.images.engine("convert", self.path("layers.hdd"), bundle, "hdd")
        theirs = self.ours("convert", bundle, other, "raw", prepare=self.without(other), synced=False)
        return Pair(layers.ours, theirs, lambda: _same_files(one, other))

    def _huge_image(self) -> str:
        bundle = self.path("huge.hdd")
        if not os.path.exists(bundle):
            raw = self.path("huge.raw")
            with open(raw, "wb") as stream:
                # A file system rarely holds files of 16 TiB, so the last TiB is left to the table.
                stream.truncate(15 << 40)
                for number in range(1024):
                    stream.seek(number * (15 << 30))
                    stream.write(bytes([number % 255 + 1]) * MIB)
            self.images.engine("convert", raw, bundle, "hdd", json.dumps({"align": 16 << 40}))
            os.remove(raw)
        return _image(bundle)

    def _huge(self) -> Pair:
        image, one, other = self._huge_image(), self.path("ours.qcow2"), self.path("theirs.qcow2")
        ours = self.ours("convert", image, one, "qcow2", prepare=self.without(one), synced=False)
        theirs = Command(["qemu-img", "convert", "-f", "parallels", "-O", "qcow2", image, other], self.without(other))
        return Pair(ours, theirs, _nothing)

    def _check(self, bundle: str) -> Pair:
        theirs = Command(["qemu-img", "check", "-q", "-f", "parallels", _image(bundle)], _nothing)
        return Pair(self.ours("check", bundle), theirs, _nothing)

    def _check_huge(self) -> Pair:
        self._huge_image()
        return self._check(self.path("huge.hdd"))

    def _check_millions(self) -> Pair:
        return self._scattered(10_000_000, MIB // 32, 352 << 30)

    def _scattered(self, clusters: int, cluster: int, virtual: int) -> Pair:
        """So many clusters of so many bytes in random order, in a file of holes."""
        bundle, new = self.path(f"scattered-{clusters}.hdd"), self.path("new-scattered.hdd")
        raw = self.path("empty.raw")
        if not os.path.exists(bundle):
            with open(raw, "wb") as stream:
                stream.truncate(virtual)
            self.images.engine("convert", raw, new, "hdd", json.dumps({"cluster_bytes": cluster}))
            os.remove(raw)
            self.images.make("scattered", _image(new), str(clusters), str(cluster), str(virtual))
            os.rename(new, bundle)
        return self._check(bundle)

    def _map(self) -> Pair:
        theirs = Command(["qemu-img", "map", "--output=json", "-f", "parallels", str(self.images.shuffled())], _nothing)
        return Pair(self.ours("map", str(self.images.shuffled())), theirs, _nothing)

    def _read(self, name: str) -> Pair:
        """Every byte of the guest disk, a MiB at a time.

        That both read the same is checked by runs that print a digest.
        """
        module, program = READERS[name]
        if subprocess.run(
            [sys.executable, "-c", f"import {module}"], capture_output=True, env=self.environment, check=False
        ).returncode:
            raise Absent(f"needs the Python module {module}")
        bundle = str(self.images.bundle())
        ours, theirs = self.ours("read", bundle), Command([sys.executable, "-c", program, bundle], _nothing)

        def check() -> None:
            digests = {
                subprocess.check_output([*command.arguments, "digest"], env=self.environment)
                for command in (ours, theirs)
            }
            if len(digests) != 1:
                raise Different(f"{name} and we do not read the same: {digests}")

        return Pair(ours, theirs, check)

    def _served(self, name: str) -> Pair:
        """What a client does with a disk that either serves; the servers are started before, and their CPU is not in
        the table.
        """
        self._servers = servers = Servers(self.images, self.environment)
        if name == "nbdcopy":
            commands = [["nbdcopy", uri, "null:"] for uri in servers.uris]
        elif name == "qemu-img convert":
            target = self.path("theirs.raw")
            commands = [["qemu-img", "convert", "-f", "raw", "-O", "raw", uri, target] for uri in servers.uris]
        else:
            commands = [list(random_reader(socket)) for socket in servers.sockets]
        ours, theirs = (Command(command, _nothing, environment=self.environment) for command in commands)
        return Pair(ours, theirs, servers.check)

    def _task(self) -> Pair:
        """The same export as a whole task of Ansible, beside the bare program."""
        image, one, other = str(self.images.image()), self.path("ours.raw"), self.path("theirs.raw")
        arguments = json.dumps({"src": str(self.images.bundle()), "dest": one, "dest_format": "raw", "verify": False})
        command = [
            "ansible",
            "localhost",
            "-i",
            "localhost,",
            "-c",
            "local",
            "-m",
            "vdisk.parallels.hdd_convert",
            "-a",
            arguments,
        ]
        ours = Command(
            command, self.without(one), (), {**self.environment, "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
        )
        theirs = Command(
            ["qemu-img", "convert", "-t", "writeback", "-f", "parallels", "-O", "raw", image, other],
            self.without(other),
            (other,),
        )
        return Pair(ours, theirs, lambda: _same_files(one, other))

    def _floor(self, pair: Pair, *options: str) -> Pair:
        image, other = str(self.images.image()), self.path("theirs.raw")
        command = ["dd", f"if={image}", f"of={other}", "bs=1M", "status=none", *options]
        return Pair(pair.ours, Command(command, self.without(other)), _nothing)

    def _digest(self) -> Pair:
        return Pair(
            self._import({}).ours,
            Command([sys.executable, "-c", _DIGEST, str(self.images.image())], _nothing),
            _nothing,
        )

    def _start(self, name: str) -> Pair:
        """What a module costs a node when it has nothing or next to nothing to do, beside one that does nothing:
        both as Ansible sends them.
        """
        blank = self.path("blank.hdd")
        if not os.path.exists(blank):
            (self.work / "blank.raw").write_bytes(bytes(MIB))
            self.images.engine("convert", self.path("blank.raw"), blank, "hdd")
        return Pair(
            self._sent("vdisk.parallels.hdd_info", {"path": self.path(name)}),
            self._sent("ansible.builtin.ping", {}),
            _nothing,
        )

    def _sent(self, module: str, arguments: Dict[str, Any]) -> Command:
        """The run of what Ansible sends to a node."""
        name = "-".join([module, *(os.path.basename(value) for value in arguments.values())])
        sent, folder = self.work / f"{name}.py", self.work / name
        if sent.exists():
            # Of a run before this one, maybe with another engine.
            sent.unlink()

        def send() -> None:
            if sent.exists():
                return
            kept = {
                "ANSIBLE_KEEP_REMOTE_FILES": "1",
                "ANSIBLE_REMOTE_TMP": str(folder),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            }
            given = ["-a", json.dumps(arguments)] if arguments else []
            command = ["ansible", "localhost", "-i", "localhost,", "-c", "local", "-m", module, *given]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**self.environment, **kept})
            next(folder.glob("*/AnsiballZ_*.py")).rename(sent)

        return Command([sys.executable, str(sent)], send, environment=self.environment)

    def _shared(self, folder: Path, format: str, options: Dict[str, Any]) -> Pair:
        """Source and output lie on a file system that shares blocks."""
        bundle, one, other = folder / "source.hdd", str(folder / f"ours.{format}"), str(folder / "theirs")
        if not bundle.exists():
            shutil.copytree(self.images.bundle("random"), bundle)
        ours = self.ours(
            "convert", str(bundle), one, format, json.dumps(options), prepare=self.without(one), synced=False
        )
        theirs = Command(
            [
                "qemu-img",
                "convert",
                "-f",
                "parallels",
                "-O",
                "parallels" if format == "hdd" else "raw",
                _image(str(bundle)),
                other,
            ],
            self.without(other),
        )
        check = (
            (lambda: _same_files(one, other))
            if format == "raw"
            else (lambda: _compare(["-f", "parallels", "-F", "parallels"], _image(one), other))
        )
        return Pair(ours, theirs, check)

    def _facts(self) -> Pair:
        folder = self.work / "many"
        paths = [str(folder / f"{number}.hdd") for number in range(200)]
        if not folder.exists():
            new = self.work / "many.new"
            new.mkdir()
            small = self.work / "small.raw"
            small.write_bytes(b"x" * MIB)
            self.images.engine("convert", str(small), str(new / "0.hdd"), "hdd")
            for path in paths[1:]:
                shutil.copytree(new / "0.hdd", new / os.path.basename(path))
            new.rename(folder)
        script = "".join(f"qemu-img info -f parallels '{_image(path)}'\n" for path in paths)
        return Pair(self.ours("facts", *paths), Command(["sh", "-ec", script], _nothing), _nothing)


def cases(bench: Bench) -> Iterator[Case]:
    """The comparisons of this file, see ``run.CASE_FILES``."""
    return bench.cases()


# How qemu-img is asked for each format.
FORMATS = {
    "qcow2": ["-O", "qcow2"],
    "vdi": ["-O", "vdi"],
    "vhd": ["-O", "vpc", "-o", "force_size=on"],
    "vhdx": ["-O", "vhdx"],
    "vmdk": ["-O", "vmdk"],
}

_DIGEST = """
import sys, zlib
with open(sys.argv[1], "rb") as stream:
    for piece in iter(lambda: stream.read(1 << 18), b""):
        zlib.crc32(piece)
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
        "dissect.hypervisor.disk.hdd",
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
        subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", f"write -q -P {number + 1} {start} {max(step, MIB)}", str(path)],
            check=True,
        )


def _store_zeros(image: str, places: Sequence[int]) -> None:
    """Overwrite MiBs of an image with zeros; QEMU does it, for we would not store them."""
    writes: List[str] = []
    for place in places:
        writes += ["-c", f"write -q -P 0 {place} 1M"]
    for start in range(0, len(writes), 400):
        subprocess.run(
            ["qemu-io", "-f", "parallels", *writes[start : start + 400], image], check=True, stdout=subprocess.DEVNULL
        )
