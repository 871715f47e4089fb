# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small disks drawn as text, built without the engine and put into a ``MemoryPort`` or a folder of the host.

Each layer is a line with one sign per cluster::

    AB..0x        A B any letter: data that no other layer and no other cluster has
                  .        not allocated          0        allocated, all zeros
                  x        a place in the file that the table has forgotten; the guest sees through
"""

from __future__ import annotations

import os
import random
import struct
import tempfile
from dataclasses import dataclass
from typing import List, Optional, Tuple

from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill, pack_bitmap, pack_extension
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

# Smaller than writers make them, so that tens of thousands of states take no time.
CLUSTER_SECTORS = 16
CLUSTER = CLUSTER_SECTORS * 512
# The last cluster is not whole.
MISSING_SECTORS = 5


@dataclass(frozen=True)
class Drawing:
    """A disk: names of layers with their parents and clusters, parents first; the layer called ``top`` is the current
    one.

    A layer with fewer clusters than another is shorter than the disk. ``split`` counts the clusters of the parts.
    ``plain`` makes the root a raw file, ``bitmap`` gives the image of that layer a format extension. Another
    ``top_guid`` than the usual one is declared in the descriptor.
    """

    layers: Tuple[Tuple[str, Optional[str], str], ...]
    version: int = 1
    style: str = "desktop"
    split: Tuple[int, ...] = ()
    plain: bool = False
    bitmap: Optional[str] = None
    top_guid: str = TOP

    @property
    def size_sectors(self) -> int:
        """The guest disk."""
        return self.width * CLUSTER_SECTORS - MISSING_SECTORS

    @property
    def width(self) -> int:
        """The guest disk in clusters."""
        return max(len(clusters) for _name, _parent, clusters in self.layers)

    def guid(self, name: str) -> str:
        """The GUID of a layer."""
        return (
            self.top_guid
            if name == "top"
            else guid_of([layer for layer, _parent, _clusters in self.layers].index(name) + 1)
        )


def line(*clusters: str, **options: object) -> Drawing:
    """A chain: ``base``, ``s1``, ``s2`` and so on up to ``top``."""
    names = (
        ["base"] + [f"s{number}" for number in range(1, len(clusters) - 1)] + ["top"] if len(clusters) > 1 else ["top"]
    )
    parents: List[Optional[str]] = [None, *names[:-1]]
    return Drawing(tuple(zip(names, parents, clusters)), **options)  # type: ignore[arg-type]


def tree(*layers: str, **options: object) -> Drawing:
    """Layers as ``"name parent clusters"``; the root has the parent ``-``."""
    split = [layer.split() for layer in layers]
    return Drawing(
        tuple((name, None if parent == "-" else parent, clusters) for name, parent, clusters in split), **options
    )  # type: ignore[arg-type]


def plant(port: MemoryPort, path: str, drawing: Drawing) -> None:
    """Put the bundle that ``drawing`` shows into ``port``."""
    with tempfile.TemporaryDirectory() as scratch:
        built = os.path.join(scratch, os.path.basename(path))
        _build(built, drawing)
        _load(port, built, path)
    for name, _parent, clusters in drawing.layers:
        for index in [index for index, sign in enumerate(clusters) if sign == "x"]:
            disks.leak(port, path, guid=drawing.guid(name), index=index)
    if drawing.bitmap is not None:
        _add_bitmap(port, disks.file_of(port, path, drawing.guid(drawing.bitmap)), drawing.size_sectors)
        if drawing.bitmap == "top":
            # A cluster behind the bitmap, without which nothing could be cut off.
            disks.write(port, path, drawing.layers[-1][2].index(".") * CLUSTER, fill(99, CLUSTER))


def _build(directory: str, drawing: Drawing) -> None:
    layers = []
    for number, (name, parent, clusters) in enumerate(drawing.layers):
        held = {index: _cluster(index, sign, number) for index, sign in enumerate(clusters) if sign != "."}
        kind = "Plain" if drawing.plain and parent is None else "Compressed"
        short = len(clusters) * CLUSTER_SECTORS if len(clusters) < drawing.width else None
        layers.append(
            Layer(drawing.guid(name), NONE if parent is None else drawing.guid(parent), held, kind, size_sectors=short)
        )
    size = drawing.size_sectors
    split = [count * CLUSTER_SECTORS for count in drawing.split]
    if split:
        split[-1] = size - sum(split[:-1])
    build_bundle(
        directory,
        size_sectors=size,
        layers=layers,
        style=drawing.style,
        split=split or None,
        top_guid=drawing.top_guid if drawing.top_guid != TOP else None,
        cluster_sectors=CLUSTER_SECTORS,
        version=drawing.version,
    )


def _cluster(index: int, sign: str, layer: int) -> bytes:
    return bytes(CLUSTER) if sign == "0" else fill(index, CLUSTER, seed=layer * 1000 + ord(sign))


def _load(port: MemoryPort, folder: str, path: str) -> None:
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as stream:
            port.plant_file(f"{path}/{name}", stream.read())


def _add_bitmap(port: MemoryPort, path: str, size_sectors: int) -> None:
    """Append a cluster of bits and a format extension that names it, as a writer does that keeps dirty bitmaps."""
    image = port.content(path)
    bits = -(-len(image) // CLUSTER) * CLUSTER
    bitmap = pack_bitmap(size_sectors=size_sectors, granularity=128, clusters=[bits // 512])
    extension = pack_extension([(0x20385FAE252CB34A, 0, bitmap)], cluster_bytes=CLUSTER)
    image = image.ljust(bits, b"\0") + b"\x5a" * CLUSTER + extension
    head = bytearray(image[:64])
    head[44:48] = b"v2.1"
    struct.pack_into("<Q", head, 56, (bits + CLUSTER) // 512)
    port.plant_file(path, bytes(head) + image[64:])


def plant_single(port: MemoryPort, path: str, clusters: str) -> None:
    """A disk that is one expanding image and no bundle."""
    held = {index: _cluster(index, sign, 0) for index, sign in enumerate(clusters) if sign not in ".x"}
    gaps = [index for index, sign in enumerate(clusters) if sign == "x"]
    with tempfile.TemporaryDirectory() as scratch:
        built = build_hds(
            os.path.join(scratch, "image"),
            size_sectors=len(clusters) * CLUSTER_SECTORS - MISSING_SECTORS,
            clusters=held,
            cluster_sectors=CLUSTER_SECTORS,
            gaps=gaps,
        )
        with open(built.path, "rb") as stream:
            port.plant_file(path, stream.read())


def plant_raw(port: MemoryPort, path: str, clusters: str, *, seed: int = 77, mode: int = 0o644) -> None:
    """A raw image."""
    whole = b"".join(
        bytes(CLUSTER) if sign in ".0" else _cluster(index, sign, seed) for index, sign in enumerate(clusters)
    )
    port.plant_file(path, whole[: len(whole) - MISSING_SECTORS * 512], mode)


def random_drawing(seed: object) -> Drawing:
    """A tree of layers as chance will have it."""
    chance = random.Random(f"drawing {seed}")
    width = chance.choice((3, 5, 8))
    version = chance.choice((1, 2))
    style = chance.choice(("desktop", "desktop", "ploop", "virtuozzo"))
    split = (2, width - 2) if style != "ploop" and chance.random() < 0.3 else ()
    plain = chance.random() < 0.2
    layers: List[Tuple[str, Optional[str], str]] = []
    chain: List[str] = []
    for number in range(chance.randint(2, 5)):
        name = f"s{number}"
        clusters = _random_clusters(chance, width, split)
        layers.append(
            (name, chain[-1] if chain else None, clusters.replace("x", ".") if plain and not chain else clusters)
        )
        if chain and chance.random() < 0.3:
            layers.append((f"side{number}", chance.choice(chain), _random_clusters(chance, width, split)))
        chain.append(name)
    layers.append(("top", chain[-1], _random_clusters(chance, width, split)))
    return Drawing(tuple(layers), version, style, split, plain)


def _random_clusters(chance: random.Random, width: int, split: Tuple[int, ...]) -> str:
    signs = "".join(chance.choice("...ABC0x") for _index in range(width))
    end = split[0] if split else width
    # Only images of the first part forget clusters.
    return signs[:end] + signs[end:].replace("x", ".")


def pour(port: MemoryPort, folder: str, target: str) -> None:
    """Write all that lies below ``folder`` of ``port`` to the directory ``target`` of the host.

    Zeros stay data, as they are in the port.
    """
    for path, content in sorted(port.listing().items()):
        if path.startswith(folder + "/"):
            real = target + path[len(folder) :]
            if content is None:
                os.mkdir(real)
            else:
                with open(real, "wb") as stream:
                    stream.write(content)
            os.chmod(real, port.tree.nodes[port.tree.find(path).inode or 0].mode)
