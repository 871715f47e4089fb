# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of other products as sources, beside qemu-img and 7-Zip."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from typing import Iterator

from ansible_collections.vdisk.parallels.tests.bench.cases import FORMATS, Bench, Case, Pair
from ansible_collections.vdisk.parallels.tests.bench.measure import Absent, Command

_READ_AS = {"qcow2": "qcow2", "vmdk": "vmdk", "vhdx": "vhdx"}


def cases(bench: Bench) -> Iterator[Case]:
    """The comparisons of this file, see ``run.CASE_FILES``."""
    convert, synced = "qemu-img convert", "qemu-img convert -t writeback"
    for format in _READ_AS:
        yield Case(f"{format} to raw", convert, 1.0, partial(_export, bench, format, "raw"))
        yield Case(f"{format} to raw, synced", synced, 0.5, partial(_export, bench, format, "raw", synced=True))
        yield Case(f"{format} to hdd", convert, 1.0, partial(_export, bench, format, "hdd"))
        yield Case(f"{format} to hdd, synced", synced, 0.9, partial(_export, bench, format, "hdd", synced=True))
        yield Case(f"{format} to raw", "7zz e", 0.8, partial(_unpack, bench, format))


def _source(bench: Bench, format: str) -> str:
    """The usual disk in another format, written by qemu-img."""
    path = bench.images.folder / f"source.{format}"
    if not path.exists():
        new = f"{path}.new"
        source = str(bench.images.raw())
        subprocess.run(["qemu-img", "convert", "-f", "raw", *FORMATS[format], source, new], check=True)
        shutil.move(new, path)
    return str(path)


def _export(bench: Bench, format: str, wanted: str, *, synced: bool = False) -> Pair:
    source, one = _source(bench, format), bench.path(f"ours.{wanted}")
    other, written = bench.path(f"theirs.{wanted}"), "raw" if wanted == "raw" else "parallels"
    ours = bench.ours("convert", source, one, wanted, prepare=bench.without(one), synced=synced)
    theirs = bench.qemu_convert(source, other, ["-f", format, "-O", written], synced=synced)

    def check() -> None:
        bench.images.engine("compare", one, other)

    return Pair(ours, theirs, check)


def _unpack(bench: Bench, format: str) -> Pair:
    """7-Zip gives the disk on its output; a file of it is full of zeros, where ours has holes."""
    program = shutil.which("7zz") or shutil.which("7z")
    if program is None:
        raise Absent("needs 7zz (Debian package 7zip)")
    source, one, other = _source(bench, format), bench.path("ours.raw"), bench.path("theirs.raw")
    script = 'exec "$1" e -so "$2" > "$3" 2>/dev/null'
    ours = bench.ours("convert", source, one, "raw", prepare=bench.without(one), synced=False)
    theirs = Command(["sh", "-c", script, "_", program, source, other], bench.without(other))
    return Pair(ours, theirs, lambda: bench.images.engine("compare", one, other))
