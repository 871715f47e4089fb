# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exports without what the guest has deleted, beside those of others, who trim a mounted copy and convert it."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Iterator

from ansible_collections.vdisk.parallels.tests.bench.cases import Bench, Case, Pair
from ansible_collections.vdisk.parallels.tests.bench.images import MIB
from ansible_collections.vdisk.parallels.tests.bench.measure import Absent, Command, Different

_FILE = 16 * MIB
_MOST = 1.02
"""Ours may be so much larger than what a kernel has trimmed."""


def cases(bench: Bench) -> Iterator[Case]:
    """The lines of exports with ``free_space: drop``, of a guest that has deleted half of its files."""
    trimmed = _Trimmed(bench)
    for format in ("raw", "qcow2"):
        yield Case(
            f"hdd to {format} without free space",
            "qemu-img convert, fstrim in a mount, qemu-img convert",
            1.0,
            lambda format=format: trimmed.by_mounting(format),
        )
    yield Case("hdd to qcow2 without free space", "virt-sparsify --convert", 1.0, trimmed.by_virt_sparsify)


class _Trimmed:
    """Pairs that write a disk without its free space."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._images = bench.images
        self._work = bench.work

    def by_mounting(self, format: str) -> Pair:
        """The other side copies the disk to a raw image, mounts and trims that, and converts it."""
        if os.geteuid() != 0:
            raise Absent("mounting needs root")
        for program in ("mke2fs", "debugfs", "fstrim", "mount"):
            if shutil.which(program) is None:
                raise Absent(f"needs {program}")
        ours, theirs, copy, place = (self._work / name for name in ("ours.free", "theirs.free", "copy.raw", "mounted"))
        place.mkdir(exist_ok=True)
        bundle = self._bundle()
        image = next(bundle.glob("*.hds"))
        commands = [
            ["qemu-img", "convert", "-f", "parallels", "-O", "raw", str(image), str(copy)],
            ["mount", "-o", "loop,noatime", str(copy), str(place)],
            ["fstrim", str(place)],
            ["umount", str(place)],
            ["qemu-img", "convert", "-f", "raw", "-O", format, str(copy), str(theirs)],
        ]
        script = " && ".join(shlex.join(command) for command in commands)
        return Pair(
            self._ours(format, ours),
            Command(["sh", "-c", script], lambda: self._remove(theirs, copy)),
            lambda: self._check(format, ours, theirs),
        )

    def by_virt_sparsify(self) -> Pair:
        """The other side is the tool that people use for that, where it is installed."""
        if shutil.which("virt-sparsify") is None:
            raise Absent("needs virt-sparsify (Debian package guestfs-tools)")
        ours, theirs, copy = (self._work / name for name in ("ours.free", "theirs.free", "copy.raw"))
        image = next(self._bundle().glob("*.hds"))
        commands = [
            ["qemu-img", "convert", "-f", "parallels", "-O", "raw", str(image), str(copy)],
            ["virt-sparsify", "--quiet", "--format", "raw", "--convert", "qcow2", str(copy), str(theirs)],
        ]
        script = " && ".join(shlex.join(command) for command in commands)
        return Pair(
            self._ours("qcow2", ours),
            Command(["sh", "-c", script], lambda: self._remove(theirs, copy)),
            lambda: self._check("qcow2", ours, theirs),
        )

    def _ours(self, format: str, dest: Path) -> Command:
        options = json.dumps({"drops_free": True, "reproducible": False})
        arguments = ("convert", str(self._bundle()), str(dest), format, options)
        return self._bench.ours(*arguments, prepare=self._bench.without(str(dest)), synced=False)

    def _remove(self, *paths: Path) -> None:
        for path in paths:
            self._bench.without(str(path))()

    def _bundle(self) -> Path:
        """An expanding disk with an ext4 of which every other file was removed; its bytes are still there."""
        path = self._images.folder / "deleted.hdd"
        if not path.exists():
            raw = self._images.folder / "deleted.raw"
            self._write_guest(raw)
            self._images.engine("convert", str(raw), str(path), "hdd")
            raw.unlink()
        return path

    def _write_guest(self, raw: Path) -> None:
        source = self._work / "source"
        source.mkdir()
        chance = random.Random("free space")
        count = max(2, self._images.allocated // _FILE)
        for number in range(count):
            (source / f"file{number}").write_bytes(chance.getrandbits(8 * _FILE).to_bytes(_FILE, "little"))
        with open(raw, "wb") as stream:
            stream.truncate(self._images.virtual)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", source, raw], check=True, capture_output=True)
        gone = "".join(f"rm file{number}\n" for number in range(0, count, 2))
        subprocess.run(["debugfs", "-w", "-f", "-", raw], input=gone.encode(), check=True, capture_output=True)
        shutil.rmtree(source)

    def _check(self, format: str, ours: Path, theirs: Path) -> None:
        """The file system is whole on both sides, with the same files, and ours takes no more space."""
        sizes = []
        for path in (ours, theirs):
            raw = self._work / f"{path.name}.raw"
            subprocess.run(["qemu-img", "convert", "-f", format, "-O", "raw", path, raw], check=True)
            subprocess.run(["e2fsck", "-fn", raw], check=True, capture_output=True)
            subprocess.run(["debugfs", "-R", f"dump file1 {raw}.file", raw], check=True, capture_output=True)
            raw.unlink()
            sizes.append(os.stat(path).st_blocks * 512 if format == "raw" else os.stat(path).st_size)
        ours_file, theirs_file = (self._work / f"{path.name}.raw.file" for path in (ours, theirs))
        if ours_file.read_bytes() != theirs_file.read_bytes():
            raise Different("a file of the guest differs")
        if sizes[0] > _MOST * sizes[1]:
            raise Different(f"ours takes {sizes[0]} bytes, theirs {sizes[1]}")
        self._remove(self._work / "copy.raw", ours_file, theirs_file)
        print(f"without free space, {format}: ours {sizes[0]} bytes, theirs {sizes[1]}", flush=True)
