# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conversions to try: sources of every kind made without the engine, the engine's conversion, and what it must give.

The expected content is a sparse plain file, as in ``foreign``, whose comparisons this module adds to those of bundles.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import ComposedView
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Port
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.tests.support import oracles
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    NONE,
    TOP,
    Layer,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.foreign import HUGE, KIB, MIB, TIB, noise, windows
from ansible_collections.vdisk.parallels.tests.support.oracles import compared

PORT = OsPort()
Clusters = Dict[int, bytes]

SNAPSHOT = guid_of(2)
"""The snapshot that a source of the kind "snapshot" shows."""


def cluster_of(guest: str) -> int:
    """Cluster size of bundles that hold a guest disk, in bytes; dissect reads the tables of large disks entry by
    entry.
    """
    return 8 * MIB if guest in HUGE else MIB


def clusters_of(raw: str, cluster: int) -> Clusters:
    """The clusters of a plain file that hold anything but zeros."""
    found: Dict[int, bytearray] = {}
    with open(raw, "rb") as stream:
        for offset, length in windows(raw):
            stream.seek(offset)
            content = stream.read(length)
            if content.strip(b"\0"):
                whole = found.setdefault(offset // cluster, bytearray(cluster))
                whole[offset % cluster : offset % cluster + length] = content
    return {index: bytes(content) for index, content in found.items()}


class Source(NamedTuple):
    """Where a source lies, and which of its snapshots is meant."""

    path: str
    guid: Optional[str] = None


SOURCES = ("expanding", "plain", "split", "v2", "snapshot", "raw")


def make_source(folder: str, kind: str, raw: str, guest: str) -> Source:
    """The guest disk of ``raw`` as a source of one kind, built in ``folder`` by code of its own."""
    if kind == "raw":
        return Source(raw)
    cluster, size = cluster_of(guest), os.path.getsize(raw)
    held = clusters_of(raw, cluster)
    options: Dict[str, Any] = {
        "size_sectors": size // 512,
        "cluster_sectors": cluster // 512,
        "version": 2 if kind == "v2" or guest in HUGE else 1,
    }
    path = os.path.join(folder, f"{kind}.hdd")
    if kind == "split":
        first = (size // cluster + 1) // 2 * cluster // 512
        build_bundle(path, layers=[Layer(TOP, NONE, held)], split=[first, size // 512 - first], **options)
    elif kind == "snapshot":
        build_bundle(path, layers=_around(held, cluster, size), **options)
        return Source(path, SNAPSHOT)
    else:
        build_bundle(path, layers=[Layer(TOP, NONE, held, "Plain" if kind == "plain" else "Compressed")], **options)
    return Source(path)


def _around(held: Clusters, cluster: int, size: int) -> List[Layer]:
    """Three layers, the second of which shows ``held``: half of it lies in the first, which holds other things as
    well; the third hides all.
    """
    first = {
        index: content if number % 2 else noise(index, cluster)
        for number, (index, content) in enumerate(sorted(held.items()))
    }
    # A cluster of zeros hides what lies below it.
    unused = next((index for index in range(1, size // cluster) if index not in held), None)
    second = {index: content for number, (index, content) in enumerate(sorted(held.items())) if not number % 2}
    if unused is not None:
        first[unused], second[unused] = noise(3, cluster), bytes(cluster)
    third = {index: noise(index + 7, cluster) for index in list(held)[:3]}
    return line_of_layers(first, second, third)


class Target(NamedTuple):
    """What a conversion is to make, in the words of ``ConvertRequest``, and the end of its name."""

    format: str
    suffix: str
    options: Mapping[str, Any] = {}

    @property
    def is_fixed(self) -> bool:
        """Whether the whole of a disk has its place in the files."""
        return self.options.get("subformat") in ("fixed", "monolithicFlat", "twoGbMaxExtentFlat")

    def can_hold(self, guest: str) -> bool:
        """Whether the format has room for the guest disk, and the host for a test with it: split images of a large
        one would fill a folder.
        """
        return guest not in HUGE or not (
            self.is_too_small_for_huge or self.is_fixed or self.options.get("subformat") == "twoGbMaxExtentSparse"
        )

    @property
    def is_too_small_for_huge(self) -> bool:
        """Whether the format ends below 2 TiB and a bit: vhd at 2040 GiB, sparse extents of vmdk and version 1 of
        hdd at 2 TiB.
        """
        is_sparse_extent = (
            self.format == "vmdk" and self.options.get("subformat", "monolithicSparse") == "monolithicSparse"
        )
        return self.format == "vhd" or is_sparse_extent or (self.format, self.options.get("version")) == ("hdd", 1)


TARGETS: Dict[str, Target] = {
    "qcow2 v3": Target("qcow2", ".qcow2"),
    "qcow2 v2": Target("qcow2", ".qcow2", {"version": 2}),
    "qcow2 zlib": Target("qcow2", ".qcow2", {"compression": "zlib"}),
    "qcow2 v2 zlib": Target("qcow2", ".qcow2", {"compression": "zlib", "version": 2, "level": 9}),
    "qcow2 zstd": Target("qcow2", ".qcow2", {"compression": "zstd"}),
    "qcow2 4K clusters": Target("qcow2", ".qcow2", {"cluster_bytes": 4 * KIB}),
    "vmdk monolithicSparse": Target("vmdk", ".vmdk", {"subformat": "monolithicSparse"}),
    "vmdk small grains": Target("vmdk", ".vmdk", {"cluster_bytes": 8 * KIB}),
    "vmdk streamOptimized": Target("vmdk", ".vmdk", {"subformat": "streamOptimized"}),
    "vmdk monolithicFlat": Target("vmdk", ".vmdk", {"subformat": "monolithicFlat"}),
    "vmdk twoGbMaxExtentSparse": Target("vmdk", ".vmdk", {"subformat": "twoGbMaxExtentSparse"}),
    "vmdk twoGbMaxExtentFlat": Target("vmdk", ".vmdk", {"subformat": "twoGbMaxExtentFlat"}),
    "vhd dynamic": Target("vhd", ".vhd"),
    "vhd small blocks": Target("vhd", ".vhd", {"cluster_bytes": 512 * KIB}),
    "vhd fixed": Target("vhd", ".vhd", {"subformat": "fixed"}),
    "vhdx dynamic": Target("vhdx", ".vhdx"),
    "vhdx small blocks": Target("vhdx", ".vhdx", {"cluster_bytes": MIB}),
    "vhdx fixed": Target("vhdx", ".vhdx", {"subformat": "fixed"}),
    "vdi dynamic": Target("vdi", ".vdi"),
    "vdi fixed": Target("vdi", ".vdi", {"subformat": "fixed"}),
    "hdd": Target("hdd", ".hdd"),
    "hdd small clusters": Target("hdd", ".hdd", {"version": 1, "cluster_bytes": 64 * KIB}),
    "hdd v2": Target("hdd", ".hdd", {"version": 2}),
    "hdd plain": Target("hdd", ".hdd", {"kind": "plain"}),
    "hdd split": Target("hdd", ".hdd", {"split_size": 102 * MIB}),
    "raw": Target("raw", ".raw"),
}


def split_for(guest: str) -> int:
    """A ``split_size`` that cuts the guest disk into a few parts."""
    return 100 * MIB + (TIB if guest in HUGE else 2 * MIB)


def options_for(target: Target, guest: str) -> Dict[str, Any]:
    """The options of ``target``, with sizes that suit the guest disk."""
    chosen = dict(target.options)
    if "split_size" in chosen:
        chosen["split_size"] = split_for(guest)
    if target.format == "hdd":
        chosen.setdefault("cluster_bytes", cluster_of(guest))
    return chosen


def convert(
    source: Source,
    dest: str,
    format: str,
    *,
    port: Port = PORT,
    src_format: str = "auto",
    backing: bool = False,
    **wanted: Any,
) -> Tuple[str, ...]:
    """Convert as the module does, and return the files of the output: for an image itself first, then its pieces,
    then what it lies on.
    """
    found = find_source(port, source.path, format=src_format, backing=backing)
    if source.guid is not None:
        found = replace(found, guid=source.guid)
    plan = plan_convert(port, found, ConvertRequest(format, dest, **wanted), token="trial")
    assert not plan.is_empty
    execute(port, plan)
    return plan.facts.files


def compare_plain(path: str, raw: str) -> None:
    """A plain file has the same size and content; beyond the windows that are compared it is a hole, or small."""
    assert os.path.getsize(path) == os.path.getsize(raw)
    with open(path, "rb") as one, open(raw, "rb") as other:
        for offset, length in windows(raw):
            one.seek(offset)
            other.seek(offset)
            assert one.read(length) == other.read(length), f"{path} differs in {offset}..{offset + length}"
    compared("plain file")


def compare_view(view: ComposedView, raw: str) -> None:
    """The engine's own view has the same size and content."""
    assert view.size == os.path.getsize(raw)
    buffer = bytearray(64 * KIB)
    with open(raw, "rb") as stream:
        for offset, length in windows(raw):
            part = memoryview(buffer)[:length]
            view.pread_into(offset, part)
            stream.seek(offset)
            assert part == stream.read(length), f"another content in {offset}..{offset + length}"


def read_back(path: str, raw: str, *, format: str = "auto", backing: bool = False) -> None:
    """The engine reads the same size and content from an image."""
    view = open_source(PORT, find_source(PORT, path, format=format, backing=backing))
    try:
        compare_view(view, raw)
    finally:
        view.close()


def compare_bundle(bundle: str, raw: str, guid: str = TOP) -> None:
    """Everybody who can reads the same bytes from a bundle at one snapshot, and qemu-img finds its images clean."""
    layout = oracles.read_layout(bundle)
    size = os.path.getsize(raw)
    assert layout.size == size
    # qemu-img fails an assertion of its own when it maps a large disk as a whole.
    if size < TIB:
        oracles.assert_qemu_finds_clean(layout.expanding)
        with open(raw, "rb") as expected:
            assert oracles.ChainOracle(bundle).guest(guid) == expected.read()
        compared("qemu-img chain")
    _compare_with_dissect(bundle, raw, guid)
    if _phdi_can(layout):
        _compare_with_phdi(bundle, raw)


def _compare_with_dissect(bundle: str, raw: str, guid: str) -> None:
    stream = oracles.open_with_dissect(bundle, guid)
    assert stream.size == os.path.getsize(raw)
    with open(raw, "rb") as expected:
        for offset, length in windows(raw):
            stream.seek(offset)
            expected.seek(offset)
            assert stream.read(length) == expected.read(length), (
                f"dissect reads something else in {offset}..{offset + length}"
            )
    compared("dissect hdd")


def _phdi_can(layout: oracles.Layout) -> bool:
    """libphdi reads format version 1 with clusters of 1 MiB, and its binding no split disks; a chain it begins with
    the first snapshot listed.
    """
    if (
        len(layout.images) > 1
        or any(len(images) > 1 for images in layout.images.values())
        or layout.cluster_bytes != MIB
    ):
        return False
    with open(layout.images[layout.top][0].path, "rb") as stream:
        return layout.images[layout.top][0].is_plain or stream.read(16) == b"WithoutFreeSpace"


def _compare_with_phdi(bundle: str, raw: str) -> None:
    library = oracles.require_library("pyphdi")
    handle = library.handle()
    handle.open(os.path.join(bundle, "DiskDescriptor.xml"))
    try:
        handle.open_extent_data_files()
        with open(raw, "rb") as expected:
            for offset, length in windows(raw):
                expected.seek(offset)
                assert handle.read_buffer_at_offset(length, offset) == expected.read(length), (
                    f"libphdi reads something else at {offset}"
                )
    finally:
        handle.close()
    compared("libyal hdd")


def pairs(rows: Sequence[str], columns: Sequence[str], fillers: Sequence[str]) -> Iterator[Tuple[str, str, str]]:
    """Every row with every column, and a filler for each such pair in turns, so that it meets every row and every
    column as well.
    """
    for number, row in enumerate(rows):
        for place, column in enumerate(columns):
            yield row, column, fillers[(number + place) % len(fillers)]
