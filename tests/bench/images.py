# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images for the comparisons: seeded, the same on every machine, in a folder that may be kept between runs."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Tuple

MIB = 1 << 20
GIB = 1 << 30
_PIECE = MIB


class Images:
    """Makes what is asked for once. ``virtual`` and ``allocated`` are bytes."""

    def __init__(self, folder: Path, *, virtual: int, allocated: int, environment: Dict[str, str]) -> None:
        self.folder = folder
        self.virtual = virtual
        self.allocated = allocated
        self._environment = environment
        folder.mkdir(parents=True, exist_ok=True)

    def raw(self, kind: str = "mixed") -> Path:
        """A sparse raw file: ``mixed`` (text and random bytes) or ``random``."""
        path = self.folder / f"{kind}.raw"
        if not path.exists():
            chance = random.Random(kind)
            with open(f"{path}.new", "wb") as stream:
                stream.truncate(self.virtual)
                for place in self.places(kind):
                    stream.seek(place)
                    stream.write(_content(kind, chance))
            os.rename(f"{path}.new", path)
        return path

    def places(self, kind: str) -> List[int]:
        """Where the MiBs lie that hold something."""
        pieces = self.virtual // _PIECE
        return [
            number * _PIECE
            for number in sorted(
                random.Random(f"places of {kind}").sample(range(pieces), min(pieces, self.allocated // _PIECE))
            )
        ]

    def bundle(self, kind: str = "mixed") -> Path:
        """The same as an expanding bundle."""
        path = self.folder / f"{kind}.hdd"
        if not path.exists():
            self.engine("convert", str(self.raw(kind)), str(path), "hdd")
        return path

    def image(self, kind: str = "mixed") -> Path:
        """The one image file of the bundle."""
        return next(self.bundle(kind).glob("*.hds"))

    def shuffled(self) -> Path:
        """An expanding image with clusters of 64 KiB in random order."""
        path = self.folder / "shuffled.hds"
        if not path.exists():
            self.make("shuffled", str(self.raw()), str(path))
        return path

    def make(self, *arguments: str) -> None:
        """Make an image in a process of its own: what this process holds at most would count as the peak of every
        command that it starts.
        """
        command = (sys.executable, "-m", "ansible_collections.vdisk.parallels.tests.bench.images", *arguments)
        subprocess.run(command, check=True, env=self._environment)

    def engine(self, *arguments: str) -> None:
        """Run the engine in a process of its own."""
        subprocess.run(engine_command(*arguments), check=True, env=self._environment)


def engine_command(*arguments: str) -> Tuple[str, ...]:
    """The command line of one operation of the engine."""
    return (sys.executable, "-m", "ansible_collections.vdisk.parallels.tests.bench.engine", *arguments)


def _content(kind: str, chance: random.Random) -> bytes:
    if kind == "random" or (kind == "mixed" and chance.random() < 0.4):
        return chance.randbytes(_PIECE)
    line = b"%d the quick brown fox jumps over the lazy dog %d\n" % (
        chance.randrange(1 << 40),
        chance.randrange(1 << 40),
    )
    noise = chance.randbytes(_PIECE // 8)
    text = line * (4096 // len(line))
    return b"".join(text + noise[start : start + 512] for start in range(0, len(noise), 512))[:_PIECE].ljust(
        _PIECE, b"x"
    )


def _write_shuffled(raw: Path, path: Path) -> None:
    """By hand, so that no writer of ours decides how it lies in the file."""
    cluster = 65536
    size = raw.stat().st_size
    entries = -(-size // cluster)
    data_start = -(-(64 + 4 * entries) // cluster) * cluster
    with open(raw, "rb") as source, open(f"{path}.new", "wb") as target:
        used = [number for number in range(entries) if any(_read(source, number * cluster, 4096))]
        places = list(range(len(used)))
        random.Random(1).shuffle(places)
        table = bytearray(4 * entries)
        for number, place in zip(used, places):
            struct.pack_into("<I", table, 4 * number, data_start // cluster + place)
            target.seek(data_start + place * cluster)
            target.write(_read(source, number * cluster, cluster).ljust(cluster, b"\0"))
        header = _header(size, cluster, data_start)
        target.seek(0)
        target.write(header + table)
    os.rename(f"{path}.new", path)


def _write_scattered(path: Path, *numbers: str) -> None:
    """An image of so many clusters, of so many bytes, in random order, whose data is one big hole."""
    clusters, cluster, virtual = map(int, numbers)
    entries = virtual // cluster
    data_start = -(-(64 + 4 * entries) // cluster) * cluster
    places = list(range(clusters))
    random.Random(2).shuffle(places)
    table = bytearray(4 * entries)
    for number, place in zip(sorted(random.Random(3).sample(range(entries), clusters)), places):
        struct.pack_into("<I", table, 4 * number, data_start // cluster + place)
    with open(path, "wb") as target:
        target.write(_header(virtual, cluster, data_start) + table)
        target.truncate(data_start + clusters * cluster)


def _header(size: int, cluster: int, data_start: int) -> bytes:
    sizes = (cluster // 512, -(-size // cluster), size // 512)
    return struct.pack(
        "<16sIIIIIQIIIQ", b"WithouFreSpacExt", 2, 16, size // 512 // 512, *sizes, 0, data_start // 512, 0, 0
    )


def _read(stream: object, offset: int, length: int) -> bytes:
    stream.seek(offset)  # type: ignore[attr-defined]
    return stream.read(length)  # type: ignore[attr-defined]


if __name__ == "__main__":
    if sys.argv[1] == "shuffled":
        _write_shuffled(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        _write_scattered(Path(sys.argv[2]), *sys.argv[3:])
