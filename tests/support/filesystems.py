# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guest file systems under test: files as disks, random bytes into what is free, single bits turned over."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.runs import Runs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume

_LONG_RUN, _ENDS = 32 << 20, 4 << 20


class Bytes:
    """A disk in memory."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self.content = content

    def pread_into(self, offset: int, buffer: Any) -> None:
        assert offset >= 0 and offset + len(buffer) <= self.size
        buffer[:] = self.content[offset : offset + len(buffer)]


class ImageFile:
    """A file as a disk. It notes what is read; the bits of ``mask`` in the byte at ``turned`` read turned over."""

    def __init__(self, path: Path) -> None:
        self.size = os.path.getsize(path)
        self.reads: List[Tuple[int, int]] = []
        self.turned, self.mask = -1, 0
        self._descriptor = os.open(path, os.O_RDONLY)

    def pread_into(self, offset: int, buffer: Any) -> None:
        assert offset >= 0 and offset + len(buffer) <= self.size
        content = bytearray(os.pread(self._descriptor, len(buffer), offset).ljust(len(buffer), b"\0"))
        self.reads.append((offset, len(buffer)))
        if 0 <= self.turned - offset < len(content):
            content[self.turned - offset] ^= self.mask
        buffer[:] = content

    def close(self) -> None:
        os.close(self._descriptor)


def whole(disk: Any) -> Volume:
    """A disk that is one volume."""
    return Volume(disk, [(0, disk.size)])


def free_of(reader: Any, path: Path) -> Runs:
    """What ``reader`` calls free of the file at ``path``."""
    disk = ImageFile(path)
    try:
        assert reader.recognise(whole(disk)) is not None
        return reader.free_runs(whole(disk))
    finally:
        disk.close()


def reason_of(reader: Any, path: Path) -> Optional[str]:
    """Why ``reader`` calls nothing free, None when it does."""
    try:
        free_of(reader, path)
    except Uncertain as uncertain:
        return uncertain.code
    return None


def scribbled(path: Path, runs: Runs) -> Path:
    """A copy of a file with random bytes in all ranges, of long ones at both ends."""
    copy = path.with_name(path.name + ".scribbled")
    subprocess.run(["cp", "--sparse=always", path, copy], check=True)
    noise = random.Random(len(runs)).getrandbits(8 << 16).to_bytes(1 << 16, "little")
    with open(copy, "r+b") as stream:
        for start, end in runs:
            is_long = end - start > _LONG_RUN
            for low, high in ((start, start + _ENDS), (end - _ENDS, end)) if is_long else ((start, end),):
                stream.seek(low)
                for offset in range(low, high, len(noise)):
                    stream.write(noise[: min(len(noise), high - offset)])
    return copy


def turn_bits(reader: Any, path: Path, count: int, seed: int = 5) -> Dict[str, int]:
    """Turn over one bit after the other in the bytes that ``reader`` reads: how often the free set was what.

    ``larger`` counts sets with a byte that is not in the true set.
    """
    disk = ImageFile(path)
    true = reader.free_runs(whole(disk))
    places = sorted(set(disk.reads))
    chosen = random.Random(seed)
    results: Counter[str] = Counter()
    for _time in range(count):
        offset, length = chosen.choice(places)
        disk.turned, disk.mask = offset + chosen.randrange(length), 1 << chosen.randrange(8)
        results[_compared(reader, disk, true)] += 1
    disk.close()
    return dict(results)


def _compared(reader: Any, disk: ImageFile, true: Runs) -> str:
    disk.reads.clear()
    try:
        if reader.recognise(whole(disk)) is None:
            return "not recognised"
        found = reader.free_runs(whole(disk))
    except Uncertain as uncertain:
        return uncertain.code
    if found == true:
        return "same"
    return "smaller" if is_within(found, true) else "larger"


def is_within(inner: Runs, outer: Runs) -> bool:
    """Whether all of ``inner`` is in ``outer``."""
    return all(outer.within(start, end) == [(start, end)] for start, end in inner)


def tool(*command: Any, fails: bool = False, stdin: Optional[str] = None) -> str:
    """Run a tool of a file system, skipping where it is not installed. It must succeed, with ``fails`` it may not."""
    path = shutil.which(str(command[0]), path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [path, *map(str, command[1:])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        input=stdin,
        encoding="utf-8",
        errors="replace",
        timeout=120,
        check=False,
    )
    assert fails or done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


def sparse(path: Path, size: int) -> Path:
    """A file of ``size`` bytes without content."""
    with open(path, "wb") as stream:
        stream.truncate(size)
    return path


def sources(folder: Path, seed: int = 1) -> Path:
    """A folder of files: small and large ones, some to be removed again (names with ``gone``)."""
    chosen = random.Random(seed)
    folder.mkdir()
    for number, size in enumerate((10, 5_000, 70_000, 300_000, 1_500_000)):
        for name in ("kept", "gone"):
            content = chosen.getrandbits(8 * size).to_bytes(size, "little")
            (folder / f"{name}{number}").write_bytes(content)
    (folder / "deep").mkdir()
    for number in range(40):
        (folder / "deep" / f"kept{number}").write_bytes(bytes([number]) * (number * 700))
    return folder


Maker = Callable[[Path, Path], None]
Variants = Sequence[Tuple[str, Maker]]
