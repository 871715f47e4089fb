# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guest file systems under test: files as disks, random bytes into what is free, bits and bytes that are damaged."""

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
Mask = Tuple[int, bytes]


class Bytes:
    """A disk in memory."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self.content = content

    def pread_into(self, offset: int, buffer: Any) -> None:
        assert offset >= 0 and offset + len(buffer) <= self.size
        buffer[:] = self.content[offset : offset + len(buffer)]


class ImageFile:
    """A file as a disk. It notes what is read; the bits of ``masks`` (offset, bits) read turned over."""

    def __init__(self, path: Path) -> None:
        self.size = os.path.getsize(path)
        self.reads: List[Tuple[int, int]] = []
        self.masks: Sequence[Mask] = ()
        self._descriptor = os.open(path, os.O_RDONLY)

    def pread_into(self, offset: int, buffer: Any) -> None:
        assert offset >= 0 and offset + len(buffer) <= self.size
        content = bytearray(os.pread(self._descriptor, len(buffer), offset).ljust(len(buffer), b"\0"))
        self.reads.append((offset, len(buffer)))
        for start, mask in self.masks:
            for place in range(max(start, offset), min(start + len(mask), offset + len(content))):
                content[place - offset] ^= mask[place - start]
        buffer[:] = content

    def bytes_at(self, offset: int, length: int) -> bytes:
        """What the file has there."""
        return os.pread(self._descriptor, length, offset).ljust(length, b"\0")

    def close(self) -> None:
        os.close(self._descriptor)


Place = Callable[[], Tuple[int, int]]
Damage = Callable[[ImageFile, Place, random.Random], List[Mask]]


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


def _one_bit(disk: ImageFile, place: Place, chosen: random.Random) -> List[Mask]:
    offset, length = place()
    return [(offset + chosen.randrange(length), bytes([1 << chosen.randrange(8)]))]


def _some_bits(disk: ImageFile, place: Place, chosen: random.Random) -> List[Mask]:
    if chosen.random() < 0.5:
        return [mask for _number in range(chosen.randrange(2, 9)) for mask in _one_bit(disk, place, chosen)]
    offset, length = place()
    start = offset + chosen.randrange(length)
    return [
        (min(start + chosen.randrange(64), offset + length - 1), bytes([1 << chosen.randrange(8)]))
        for _number in range(chosen.randrange(2, 9))
    ]


def _some_bytes(disk: ImageFile, place: Place, chosen: random.Random) -> List[Mask]:
    found = []
    for _number in range(chosen.choice((1, 1, 2, 3))):
        offset, length = place()
        width = min(length, chosen.randrange(2, 17))
        start = offset + chosen.randrange(length - width + 1)
        noise = chosen.getrandbits(8 * width).to_bytes(width, "little")
        new = chosen.choice((noise, bytes(width), b"\xff" * width))
        found.append((start, bytes(one ^ other for one, other in zip(disk.bytes_at(start, width), new))))
    return found


def _exchanged_bits(disk: ImageFile, place: Place, chosen: random.Random) -> List[Mask]:
    """A bit that is set and one that is not, in what is read at once: no count of bits can tell."""
    offset, length = place()
    # Of a long read a part, so that looking for the other bit ends soon.
    start = chosen.randrange(max(1, length - 256))
    offset, length = offset + start, min(length - start, 512)
    content = int.from_bytes(disk.bytes_at(offset, length), "little")
    first = chosen.randrange(8 * length)
    is_set = content >> first & 1
    # Near enough to be in the same map, and where the other kind begins.
    step = chosen.choice((1, -1))
    other = first + step
    while 0 <= other < 8 * length and content >> other & 1 == is_set:
        other += step
    if not 0 <= other < 8 * length:
        return _one_bit(disk, place, chosen)
    return [(offset + bit // 8, bytes([1 << bit % 8])) for bit in (first, other)]


DAMAGES: Dict[str, Damage] = {
    "a bit": _one_bit,
    "bits": _some_bits,
    "bytes": _some_bytes,
    "exchanged bits": _exchanged_bits,
}


def turn_bits(reader: Any, path: Path, count: int, seed: int = 5, damages: Sequence[str] = ()) -> Dict[str, int]:
    """Damage what ``reader`` reads, ``count`` times, in all ways or in those of ``damages``: what the free set was.

    ``larger`` counts sets with a byte that is not in the true set.
    """
    disk = ImageFile(path)
    true = reader.free_runs(whole(disk))
    reads = list(dict.fromkeys(one for one in disk.reads if one[1]))
    chosen = random.Random(seed)
    # Maps of what is free are read before everything else is looked up in them.
    early = reads[: max(16, len(reads) // 8)]
    results: Counter[str] = Counter()
    for number in range(count):
        name = (list(damages) or list(DAMAGES))[number % (len(damages) or len(DAMAGES))]
        disk.masks = ()
        disk.masks = DAMAGES[name](disk, lambda: chosen.choice(chosen.choice((early, reads))), chosen)
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
