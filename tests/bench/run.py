# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparisons, printed as a table and written to docs/performance.md on request.

make bench                          4 GiB virtual, 1.4 GiB of data, three rounds, within half an hour
make bench ARGS="--allocated 512M --only merge"
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB, format_size, parse_size
from ansible_collections.vdisk.parallels.tests.bench.cases import Bench, Case
from ansible_collections.vdisk.parallels.tests.bench.images import Images
from ansible_collections.vdisk.parallels.tests.bench.measure import Absent, Different, Result, side_by_side
from ansible_collections.vdisk.parallels.tests.bench.memory import Memory

ROOT = Path(__file__).resolve().parents[2]
# The files beside this one that have comparisons, in the order of the table: each has ``cases(bench)``, which yields
# Case. To add comparisons, add a file and its name here.
CASE_FILES = ("cases", "foreign", "free_space")


class Line(NamedTuple):
    """One finished comparison."""

    case: Case
    result: Result


def main() -> int:
    """Run what was asked for.

    Timings never decide whether it succeeds; a command that fails and different outputs do, after all the rest.
    """
    options = _options()
    if shutil.which("qemu-img") is None or shutil.which("qemu-io") is None:
        print(
            "qemu-img and qemu-io are not installed (Debian package qemu-utils), so there is nothing to compare with."
        )
        return 0
    virtual, allocated = parse_size(options.virtual), parse_size(options.allocated)
    # A folder of our own, which can be removed whole, and where nothing lies that was made for other sizes.
    folder = Path(options.folder) / f"vdisk-bench-{allocated}-of-{virtual}"
    lines: List[Line] = []
    failed = 1
    try:
        failed = _compare_all(folder, virtual, allocated, options, lines)
    finally:
        # What a failure or an interruption left half made is not kept.
        if failed or not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if options.write and failed:
        print(f"{options.write} keeps its table, because of what failed.")
    elif options.write:
        _write(ROOT / options.write, options, lines)
    return 1 if failed else 0


def _compare_all(folder: Path, virtual: int, allocated: int, options: argparse.Namespace, lines: List[Line]) -> int:
    """Add the lines to ``lines``, and tell how many failed."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    # A program that is installed is compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    images = Images(folder / "images", virtual=virtual, allocated=allocated, environment=environment)
    most = allocated * 9 // 8 + (1 << 28)
    failed = 0
    with sharing_folder(folder, 3 * most) as sharing, Memory(most) as memory:
        bench = Bench(images, folder / "work", environment, memory, sharing)
        for case in _cases(bench):
            if options.only and not any(word in f"{case.name} {case.peer}" for word in options.only):
                continue
            try:
                pair = case.make()
                result = side_by_side(
                    pair.ours, pair.theirs, rounds=options.rounds, memory=memory, seconds=options.seconds
                )
                pair.check()
            except Absent as missing:
                print(f"left out: {case}: {missing}", flush=True)
            except (subprocess.SubprocessError, OSError, Different) as error:
                failed += 1
                said = (getattr(error, "stderr", None) or b"").decode("utf-8", "replace").strip()
                print(f"failed: {case}: {error}\n{said}".rstrip(), flush=True)
            else:
                lines.append(Line(case, result))
                print(_row(lines[-1]), flush=True)
            finally:
                bench.clear()
    return failed


def _cases(bench: Bench) -> Iterator[Case]:
    """The comparisons of all files; a name whose file is not there has none."""
    for name in CASE_FILES:
        module = f"{__package__}.{name}"
        if find_spec(module) is not None:
            yield from import_module(module).cases(bench)


@contextmanager
def sharing_folder(folder: Path, size: int) -> Iterator[Optional[Path]]:
    """A folder on an XFS of ``size`` bytes that shares blocks, or None where only root could make one or a program
    is missing.
    """
    image, place = folder / "xfs.img", folder / "xfs"
    if os.geteuid() != 0 or any(shutil.which(program) is None for program in ("mkfs.xfs", "mount", "umount")):
        print(
            "nothing is compared on a file system that shares blocks: "
            "that needs root and mkfs.xfs (Debian package xfsprogs)"
        )
        yield None
        return
    place.mkdir(parents=True, exist_ok=True)
    with open(image, "wb") as stream:
        stream.truncate(size)
    steps = (["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], ["mount", "-o", "loop", str(image), str(place)])
    if any(subprocess.run(step, capture_output=True, check=False).returncode for step in steps):
        print("nothing is compared on a file system that shares blocks: it could not be made or mounted")
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        image.unlink()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--virtual", default="4G", help="size of the guest disks")
    parser.add_argument("--allocated", default="1408M", help="how much of them holds data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=20, help="no further round of a line begins after so many seconds"
    )
    parser.add_argument("--only", nargs="*", help="only lines that hold one of these words")
    parser.add_argument(
        "--folder", default=str(ROOT / ".build" / "bench"), help="where the images lie; put it on the disk that matters"
    )
    parser.add_argument("--keep", action="store_true", help="keep the images for the next run")
    parser.add_argument(
        "--write", metavar="FILE", help="write the table into this file, named from the root of the collection"
    )
    return parser.parse_args()


def _row(line: Line) -> str:
    case, result = line
    ours, theirs = result.ours, result.theirs
    ratio = f"**{result.ratio:.2f}** ({result.lowest:.2f} to {result.highest:.2f})"
    peaks = f"{ours.peak // MIB} / {theirs.peak // MIB}"
    return (
        f"| {case.name} | {case.peer} | {ours.wall:.2f} s | {theirs.wall:.2f} s | {ratio} | {case.goal} | "
        f"{ours.cpu / theirs.cpu:.2f} | {peaks} |"
    )


def _write(path: Path, options: argparse.Namespace, lines: List[Line]) -> None:
    """Replace the table between its marks."""
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- table -->\n", "<!-- end of table -->"
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    version = subprocess.run(["qemu-img", "--version"], check=True, capture_output=True, text=True).stdout.split()[2]
    about = (
        f"Disks of {format_size(parse_size(options.virtual))} with "
        f"{format_size(parse_size(options.allocated))} of data, {options.rounds} rounds, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, qemu-img {version}.\n\n"
    )
    head = (
        "| operation | against | ours | theirs | ratio of wall time | goal | ratio of CPU | peak MiB |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    path.write_text(
        before + begin + about + head + "".join(_row(line) + "\n" for line in lines) + end + after, encoding="utf-8"
    )


if __name__ == "__main__":
    sys.exit(main())
