# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bundles made with nothing but text templates, in the habits of each writer. Shares no code with the engine.

A disk is a list of layers, each with the guest clusters that it holds; what the guest must see follows from that alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Sequence, Tuple
from xml.sax.saxutils import escape

TOP = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
NONE = "{00000000-0000-0000-0000-000000000000}"
UID = "{0f6c1a52-7a1e-4c6b-9a53-3f3c3d6a1b01}"


@dataclass(frozen=True)
class Layer:
    """One layer: ``clusters`` maps guest cluster numbers of the whole disk to their bytes.

    ``file`` replaces the file name that the style gives it (unsplit disks only); ``size_sectors`` makes its image
    smaller than the disk.
    """

    guid: str
    parent: str = NONE
    clusters: Mapping[int, bytes] = field(default_factory=dict)
    type: str = "Compressed"
    file: Optional[str] = None
    size_sectors: Optional[int] = None
    temporary: bool = False


@dataclass(frozen=True)
class BuiltBundle:
    """What was written: ``files`` maps (storage number, GUID) to paths, ``ranges`` are the storages in sectors."""

    directory: str
    descriptor: str
    layers: Tuple[Layer, ...]
    files: Mapping[Tuple[int, str], str]
    ranges: Tuple[Tuple[int, int], ...]
    size_sectors: int
    cluster_sectors: int

    def guest(self, guid: str) -> bytes:
        """The whole guest disk as it is at ``guid``; meant for small disks."""
        size = self.size_sectors * 512
        cluster = self.cluster_sectors * 512
        content = bytearray(size)
        for number, data in visible_clusters(self.layers, guid).items():
            start = number * cluster
            content[start : start + cluster] = data.ljust(cluster, b"\0")[: max(0, size - start)]
        return bytes(content)


def guid_of(number: int) -> str:
    """A GUID that a reader of a failing test recognises."""
    return f"{{aaaaaaaa-0000-4000-8000-{number:012d}}}"


def line_of_layers(*clusters: Mapping[int, bytes]) -> List[Layer]:
    """A chain without branches, the root first; the last one is the top."""
    layers = []
    parent = NONE
    for number, held in enumerate(clusters, 1):
        guid = TOP if number == len(clusters) else guid_of(number)
        layers.append(Layer(guid, parent, held))
        parent = guid
    return layers


def visible_clusters(layers: Sequence[Layer], guid: str) -> Dict[int, bytes]:
    """Guest clusters seen at ``guid``. Layers smaller than the disk are not considered."""
    by_guid = {layer.guid: layer for layer in layers}
    chain = [by_guid[guid]]
    while chain[-1].parent != NONE:
        chain.append(by_guid[chain[-1].parent])
    seen: Dict[int, bytes] = {}
    for layer in reversed(chain):
        seen.update(layer.clusters)
    return seen


def build_bundle(
    directory: str,
    *,
    size_sectors: int,
    layers: Sequence[Layer] = (Layer(TOP),),
    name: Optional[str] = None,
    style: str = "desktop",
    split: Optional[Sequence[int]] = None,
    top_guid: Optional[str] = None,
    cluster_sectors: int = 2048,
    version: int = 1,
    extra: str = "",
    images: bool = True,
) -> BuiltBundle:
    """Write a bundle. ``directory`` must not exist; ``name`` (``mac``) comes from it when left out.

    ``style`` is desktop, virtuozzo or ploop (which declares its top whenever ``top_guid`` is left out). ``split`` lists
    the lengths of the parts in sectors (never for ploop). ``extra`` is put into Miscellaneous, or for ploop behind
    Padding. With ``images`` false only the descriptor is written.
    """
    base = os.path.basename(str(directory))
    name = name if name is not None else (base[:-4] if base.endswith(".hdd") else base)
    ranges = _ranges(size_sectors, split)
    if style == "ploop" and len(ranges) > 1:
        raise ValueError("ploop has no split disks")
    os.mkdir(directory)
    names = {
        (part, layer.guid): _file_name(style, name, part, layer, layers)
        for part in range(len(ranges))
        for layer in layers
    }
    text = descriptor_text(
        name=name,
        ranges=ranges,
        layers=layers,
        names=names,
        style=style,
        cluster_sectors=cluster_sectors,
        top_guid=top_guid,
        extra=extra,
    )
    descriptor = os.path.join(directory, "DiskDescriptor.xml")
    with open(descriptor, "w", encoding="utf-8", newline="") as stream:
        stream.write(text)
    if style != "ploop":
        open(os.path.join(directory, name + ".hdd"), "wb").close()
    files = {key: os.path.join(directory, file) for key, file in names.items()}
    if images:
        for part, (start, end) in enumerate(ranges):
            for layer in layers:
                _write_image(files[(part, layer.guid)], layer, start, end, cluster_sectors, version)
    return BuiltBundle(str(directory), descriptor, tuple(layers), files, ranges, size_sectors, cluster_sectors)


def _ranges(size_sectors: int, split: Optional[Sequence[int]]) -> Tuple[Tuple[int, int], ...]:
    lengths = [size_sectors] if split is None else list(split)
    if sum(lengths) != size_sectors:
        raise ValueError("the parts do not add up to the disk")
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    return tuple((start, start + length) for start, length in zip(starts, lengths))


def _file_name(style: str, name: str, part: int, layer: Layer, layers: Sequence[Layer]) -> str:
    if layer.file is not None:
        return layer.file
    if style != "ploop":
        return f"{name}.hdd.{part}.{layer.guid}.hds"
    # ploop's file names are unrelated to the GUIDs of the layers.
    number = [other.guid for other in layers].index(layer.guid)
    return "root.hds" if layer.parent == NONE else f"root.hds.{{bbbbbbbb-0000-4000-8000-{number:012d}}}"


def _write_image(path: str, layer: Layer, start: int, end: int, cluster_sectors: int, version: int) -> None:
    clusters = {}
    for number, data in layer.clusters.items():
        first = number * cluster_sectors
        if start <= first < end:
            if (first - start) % cluster_sectors:
                raise ValueError("a part must begin on a cluster")
            clusters[(first - start) // cluster_sectors] = data
    length = end - start if layer.size_sectors is None else min(layer.size_sectors, end) - start
    if layer.type == "Plain":
        _write_plain(path, length * 512, clusters, cluster_sectors * 512)
        return
    from ansible_collections.vdisk.parallels.tests.support.images import build_hds

    build_hds(path, size_sectors=length, clusters=clusters, cluster_sectors=cluster_sectors, version=version)


def _write_plain(path: str, size: int, clusters: Mapping[int, bytes], cluster: int) -> None:
    with open(path, "wb") as stream:
        stream.truncate(size)
        for number, data in clusters.items():
            stream.seek(number * cluster)
            stream.write(data[: size - number * cluster])


def descriptor_text(
    *,
    name: str,
    ranges: Sequence[Tuple[int, int]],
    layers: Sequence[Layer],
    names: Mapping[Tuple[int, str], str],
    style: str = "desktop",
    cluster_sectors: int = 2048,
    top_guid: Optional[str] = None,
    extra: str = "",
) -> str:
    """A descriptor as the writer named by ``style`` would lay it out."""
    ploop = style == "ploop"
    if ploop and top_guid is None:
        top_guid = TOP
    size = ranges[-1][1]
    head = _PLOOP_HEAD if ploop else _DESKTOP_HEAD
    root = "Virtuozzo_disk_image" if style == "virtuozzo" else "Parallels_disk_image"
    parts = [head.format(root=root, size=size, cylinders=size // 512, uid=UID, name=escape(name), extra=extra)]
    parts.append("  <StorageData>\n")
    # ploop lists the oldest layer first, Parallels Desktop the top.
    listed = list(layers) if ploop else sorted(layers, key=lambda layer: layer.guid != (top_guid or TOP))
    for part, (start, end) in enumerate(ranges):
        parts.append(
            f"    <Storage>\n      <Start>{start}</Start>\n      <End>{end}</End>\n"
            f"      <Blocksize>{cluster_sectors}</Blocksize>\n"
        )
        parts += [
            _IMAGE.format(guid=layer.guid, type=layer.type, file=escape(names[(part, layer.guid)])) for layer in listed
        ]
        parts.append("    </Storage>\n")
    parts.append("  </StorageData>\n  <Snapshots>\n")
    if top_guid is not None:
        parts.append(f"    <TopGUID>{top_guid}</TopGUID>\n")
    for layer in listed:
        mark = "      <Temporary/>\n" if layer.temporary else ""
        parts.append(_SHOT.format(guid=layer.guid, parent=layer.parent, mark=mark))
    parts.append(f"  </Snapshots>\n</{root}>\n")
    text = "".join(parts)
    return text if ploop else _twice_indented(text)


def _twice_indented(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(" " * (len(line) - len(line.lstrip(" "))) + line for line in lines)


_DESKTOP_HEAD = """<?xml version='1.0' encoding='UTF-8'?>
<{root} Version="1.0">
  <Disk_Parameters>
    <Disk_size>{size}</Disk_size>
    <Cylinders>{cylinders}</Cylinders>
    <PhysicalSectorSize>4096</PhysicalSectorSize>
    <LogicSectorSize>512</LogicSectorSize>
    <Heads>16</Heads>
    <Sectors>32</Sectors>
    <Padding>0</Padding>
    <Encryption>
      <Engine>{{00000000-0000-0000-0000-000000000000}}</Engine>
      <Data></Data>
      <Salt></Salt>
    </Encryption>
    <UID>{uid}</UID>
    <Name>{name}</Name>
    <Miscellaneous>
      <CompatLevel>level2</CompatLevel>
      <Bootable>1</Bootable>{extra}
    </Miscellaneous>
  </Disk_Parameters>
"""

_PLOOP_HEAD = """<?xml version="1.0"?>
<{root}>
  <Disk_Parameters>
    <Disk_size>{size}</Disk_size>
    <Cylinders>{cylinders}</Cylinders>
    <Heads>16</Heads>
    <Sectors>32</Sectors>
    <Padding>0</Padding>{extra}
  </Disk_Parameters>
"""

_IMAGE = """      <Image>
        <GUID>{guid}</GUID>
        <Type>{type}</Type>
        <File>{file}</File>
      </Image>
"""

_SHOT = """    <Shot>
      <GUID>{guid}</GUID>
      <ParentGUID>{parent}</ParentGUID>
{mark}    </Shot>
"""
