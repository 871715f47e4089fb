# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots become overlays of other products and the other way round: each shows what it showed, and holds its own
data only.
"""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Set, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.backing import open_foreign
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.reach import Roots
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.tests.support import conversions, foreign
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    TOP,
    BuiltBundle,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.conversions import PORT, Source
from ansible_collections.vdisk.parallels.tests.support.foreign import KIB, MIB, noise, text
from ansible_collections.vdisk.parallels.tests.support.oracles import compared, qemu_img, read_layout

LONG = bool(os.environ.get("VDISK_LONG"))
CLUSTER = 64 * KIB
SIZES = {"whole": 6 * MIB, "odd": 5 * MIB + 512, "4 KiB tail": 5 * MIB + 4 * KIB}
SEEDS = range(30 if LONG else 1)


def sized(kinds: Iterable[str]) -> List[Tuple[str, str]]:
    """Each kind with one size in turns, or with all of them."""
    if LONG:
        return [(kind, size) for kind in kinds for size in SIZES]
    return [(kind, list(SIZES)[number % len(SIZES)]) for number, kind in enumerate(kinds)]


class Chain(NamedTuple):
    """A bundle with snapshots.

    ``guids`` and the plain files ``raws`` that they show start with the lowest; ``own`` are the bytes each layer holds.
    """

    bundle: str
    guids: List[str]
    raws: List[str]
    own: List[List[Tuple[int, int]]]
    hides: bool


def make_chain(
    folder: Path, size: str, *, seed: int, hides: bool = True, layers: int = 4, cluster: int = CLUSTER
) -> Chain:
    """Layers of clusters as chance will have it: data, data equal to what lies below, and, if ``hides``, zeros over
    data.
    """
    draw = random.Random(f"chain {size} {seed}")
    length = SIZES[size]
    count = -(-length // cluster)
    drawn: List[Dict[int, bytes]] = []
    for number in range(layers):
        held: Dict[int, bytes] = {}
        for index in range(count):
            chance = draw.random()
            if chance < (0.6 if number == 0 else 0.25) or (number == 1 and index == count - 1):
                held[index] = (noise if draw.random() < 0.5 else text)(seed + 1000 * number + index, cluster)
            elif chance < 0.35 and number and hides:
                held[index] = (
                    bytes(cluster) if draw.random() < 0.7 else bytes(8 * KIB) + noise(index, cluster - 8 * KIB)
                )
            elif chance < 0.4 and number and index in drawn[-1]:
                held[index] = drawn[-1][index]
        drawn.append(held)
    built = build_bundle(
        str(folder / "chain.hdd"),
        size_sectors=length // 512,
        layers=line_of_layers(*drawn),
        cluster_sectors=cluster // 512,
    )
    guids = [guid_of(number + 1) for number in range(layers - 1)] + [TOP]
    raws = [write_view(folder, built, guid, number) for number, guid in enumerate(guids)]
    own = [joined([(index * cluster, min(length, (index + 1) * cluster)) for index in held]) for held in drawn]
    return Chain(built.directory, guids, raws, own, hides)


def write_view(folder: Path, built: BuiltBundle, guid: str, number: int) -> str:
    path = folder / f"view{number}.raw"
    path.write_bytes(built.guest(guid))
    return str(path)


def joined(ranges: List[Tuple[int, int]]) -> List[Tuple[int, int]]:
    found: List[Tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def rounded(ranges: List[Tuple[int, int]], grain: int, size: int) -> List[Tuple[int, int]]:
    return joined([(start // grain * grain, min(size, -(-end // grain) * grain)) for start, end in ranges])


def convert_chain(chain: Chain, dest: str, format: str, **wanted: Any) -> List[str]:
    """The files of the layers, lowest first."""
    files = conversions.convert(Source(chain.bundle), dest, format, keeps_layers=True, **wanted)
    return list(reversed(files))


CHAINS: Dict[str, Tuple[str, Dict[str, Any]]] = {
    "qcow2 v3": ("qcow2", {}),
    "qcow2 v2": ("qcow2", {"version": 2}),
    "qcow2 zlib": ("qcow2", {"compression": "zlib"}),
    "qcow2 4K clusters": ("qcow2", {"cluster_bytes": 4 * KIB}),
    "qcow2 2M clusters": ("qcow2", {"cluster_bytes": 2 * MIB}),
    "vmdk": ("vmdk", {}),
    "vmdk small grains": ("vmdk", {"cluster_bytes": 8 * KIB}),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind, size", sized(CHAINS))
def test_snapshots_become_overlays_that_qemu_follows(tmp_path: Path, kind: str, size: str, seed: int) -> None:
    chain = make_chain(tmp_path, size, seed=seed)
    format, options = CHAINS[kind]
    paths = convert_chain(chain, str(tmp_path / f"out.{format}"), format, **options)
    assert len(paths) == len(chain.raws) == 4
    for number, raw in enumerate(chain.raws):
        # Marks for zeros exist in version 3 of qcow2 and in vmdk only.
        trusted = foreign.compare_with_all(
            paths[: number + 1], format, raw, has_marks=kind != "qcow2 v2" and number > 0
        )
        assert "qemu" in trusted
        conversions.read_back(paths[number], raw, backing=True)
    named = json.loads(qemu_img("info", "--output=json", "--backing-chain", paths[-1]))
    assert [os.path.basename(one["filename"]) for one in named] == [os.path.basename(path) for path in reversed(paths)]
    assert all(one.get("full-backing-filename", paths[0]) in paths for one in named)
    compared("qemu-img info")
    grain = options.get("cluster_bytes", CLUSTER)
    for path, own in zip(paths[1:], chain.own[1:]):
        assert allocated_on_top(path, format) == rounded(own, grain, SIZES[size]), (
            f"{path} holds other clusters than its layer"
        )


def allocated_on_top(path: str, format: str) -> List[Tuple[int, int]]:
    """The ranges that an overlay answers by itself, as qemu-img sees it."""
    entries = json.loads(qemu_img("map", "--output=json", "-f", format, path))
    compared("qemu-img map")
    return joined([(one["start"], one["start"] + one["length"]) for one in entries if one["depth"] == 0])


VHD: Dict[str, Dict[str, Any]] = {
    "dynamic": {},
    "small blocks": {"cluster_bytes": 512 * KIB},
    "fixed root": {"subformat": "fixed"},
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind, size", sized(VHD))
def test_snapshots_become_differencing_vhd_disks(tmp_path: Path, kind: str, size: str, seed: int) -> None:
    chain = make_chain(tmp_path, size, seed=seed)
    paths = convert_chain(chain, str(tmp_path / "out.vhd"), "vhd", **VHD[kind])
    for number, raw in enumerate(chain.raws):
        foreign.compare_with_all(paths[: number + 1], "vhd", raw)
        conversions.read_back(paths[number], raw, backing=True)
    for path, own in zip(paths[1:], chain.own[1:]):
        found = sectors_of_vhd(path)
        assert found <= sectors_of(rounded(own, 4 * KIB, SIZES[size])), f"{path} holds sectors that its layer has not"
        assert found >= sectors_of(own)
        compared("vhd bitmaps")


def sectors_of(ranges: List[Tuple[int, int]]) -> Set[int]:
    return {sector for start, end in ranges for sector in range(start // 512, -(-end // 512))}


def sectors_of_vhd(path: str) -> Set[int]:
    """The sectors that the bitmaps of a differencing disk claim, read by the specification alone."""
    with open(path, "rb") as stream:
        content = stream.read()
    assert content[:8] == content[-512:-504] == b"conectix"
    assert struct.unpack_from(">I", content, 60) == (4,)
    header = struct.unpack_from(">Q", content, 16)[0]
    table, entries, block = (
        struct.unpack_from(">Q", content, header + 16)[0],
        *struct.unpack_from(">II", content, header + 28),
    )
    per_block = block // 512
    found: Set[int] = set()
    for index, place in enumerate(struct.unpack_from(f">{entries}I", content, table)):
        if place != 0xFFFFFFFF:
            bitmap = content[place * 512 : place * 512 + per_block // 8]
            found |= {index * per_block + bit for bit in range(per_block) if bitmap[bit // 8] >> (7 - bit % 8) & 1}
    return found


VHDX: Dict[str, Dict[str, Any]] = {
    "dynamic": {},
    "small blocks": {"cluster_bytes": MIB},
    "fixed root": {"subformat": "fixed"},
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("hides", [True, False], ids=["zeros over data", "data only"])
@pytest.mark.parametrize("kind, size", sized(VHDX))
def test_snapshots_become_differencing_vhdx_disks(tmp_path: Path, kind: str, size: str, seed: int, hides: bool) -> None:
    chain = make_chain(tmp_path, size, seed=seed, hides=hides)
    paths = convert_chain(chain, str(tmp_path / "out.vhdx"), "vhdx", **VHDX[kind])
    for number, raw in enumerate(chain.raws):
        if hides and number:
            # libvhdi looks through a block of zeros to what the parent has there.
            foreign.compare_with_dissect(paths[number], "vhdx", raw)
        else:
            foreign.compare_with_all(paths[: number + 1], "vhdx", raw)
        conversions.read_back(paths[number], raw, backing=True)
    for path, own in zip(paths[1:], chain.own[1:]):
        with_own = own_ranges(path, "vhdx", str(tmp_path))
        assert sectors_of(own) <= sectors_of(with_own) <= sectors_of(rounded(own, MIB, SIZES[size]))


def own_ranges(path: str, format: str, root: str) -> List[Tuple[int, int]]:
    """What an overlay answers by itself, as our reader sees it."""
    image = open_foreign(PORT, format, path, Roots((root,)))
    try:
        return joined([(extent.start, extent.end) for extent in image.extents(0, image.size) if extent.kind != ABSENT])
    finally:
        image.close()


HDD: Dict[str, Dict[str, Any]] = {
    "v1": {},
    "v2": {"version": 2},
    "plain": {"kind": "plain"},
    "split": {"split_size": 102 * MIB},
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind, size", sized(HDD))
def test_snapshots_stay_snapshots_of_a_bundle(tmp_path: Path, kind: str, size: str, seed: int) -> None:
    chain = make_chain(tmp_path, size, seed=seed)
    dest = str(tmp_path / "out.hdd")
    conversions.convert(Source(chain.bundle), dest, "hdd", keeps_layers=True, cluster_bytes=CLUSTER, **HDD[kind])
    assert read_layout(dest).chain(read_layout(dest).top) == chain.guids
    for guid, raw in zip(chain.guids, chain.raws):
        conversions.compare_bundle(dest, raw, guid)
    # Each layer has the clusters that it had, and no others.
    oracle = conversions.oracles
    for guid, own in zip(chain.guids[1:], chain.own[1:]):
        found = [
            (image.start + start, image.start + start + length)
            for image in read_layout(dest).images[guid]
            for start, length in oracle.allocated_by_qemu(image.path)
        ]
        assert joined(found) == own
        compared("qemu-img map")


@pytest.mark.parametrize("number", range(4) if LONG else (0, 2))
@pytest.mark.parametrize("target", ["qcow2 v3", "vmdk streamOptimized", "vhd dynamic", "vhdx dynamic", "hdd", "raw"])
def test_any_snapshot_is_flattened(tmp_path: Path, target: str, number: int) -> None:
    chain = make_chain(tmp_path, "odd", seed=9)
    chosen = conversions.TARGETS[target]
    dest = str(tmp_path / f"out{chosen.suffix}")
    conversions.convert(Source(chain.bundle, chain.guids[number]), dest, chosen.format)
    if chosen.format == "raw":
        conversions.compare_plain(dest, chain.raws[number])
    elif chosen.format == "hdd":
        conversions.compare_bundle(dest, chain.raws[number])
    else:
        foreign.compare_with_all([dest], chosen.format, chain.raws[number])


# Chains that others have made.

WRITES = (
    [(0, 4 * KIB, 0), (300 * KIB, 70 * KIB, 7), (12 * MIB + 64 * KIB, 64 * KIB, 0), (23 * MIB, 512, 9)],
    [(8 * MIB, MIB, 3), (12 * MIB + 100 * KIB, 8 * KIB, 5), (12 * MIB + 256 * KIB, 64 * KIB, 0)],
    [(MIB, 512, 1), (24 * MIB - 512, 512, 2), (8 * MIB + 512 * KIB, 128 * KIB, 0)],
)
MADE_BY_QEMU = {
    "qcow2 v3": ("qcow2", "qcow2 v3", ()),
    "qcow2 v2": ("qcow2", "qcow2 v2", ("-o", "compat=0.10")),
    "qcow2 small clusters": ("qcow2", "qcow2 4K clusters", ("-o", "cluster_size=4096")),
    "qcow2 on zlib": ("qcow2", "qcow2 zlib", ()),
    "vmdk": ("vmdk", "vmdk monolithicSparse", ()),
}


def make_qemu_chain(folder: Path, kind: str) -> Tuple[List[str], List[str]]:
    """Paths and plain files, lowest first."""
    format, base_kind, options = MADE_BY_QEMU[kind]
    raws = [foreign.make_raw(folder / "disk.raw", "sparse")]
    paths = [foreign.make_foreign(folder / f"base.{format}", base_kind, raws[0])]
    for number, writes in enumerate(WRITES):
        raws.append(foreign.copy_sparse(raws[-1], str(folder / f"view{number}.raw")))
        paths.append(
            foreign.make_overlay(folder / f"layer{number}.{format}", format, paths[-1], writes, raws[-1], *options)
        )
    return paths, raws


@pytest.mark.parametrize("kind", list(MADE_BY_QEMU))
def test_chains_of_qemu_become_bundles_with_snapshots(tmp_path: Path, kind: str) -> None:
    paths, raws = make_qemu_chain(tmp_path, kind)
    dest = str(tmp_path / "out.hdd")
    conversions.convert(Source(paths[-1]), dest, "hdd", backing=True, keeps_layers=True, cluster_bytes=CLUSTER)
    layout = read_layout(dest)
    guids = layout.chain(layout.top)
    assert len(guids) == len(raws)
    for guid, raw in zip(guids, raws):
        conversions.compare_bundle(dest, raw, guid)
    # In whole clusters each layer has what its overlay had.
    for number, guid in enumerate(guids[1:], 1):
        held = [
            (start, start + length)
            for start, length in conversions.oracles.allocated_by_qemu(layout.images[guid][0].path)
        ]
        assert joined(held) == rounded(
            allocated_on_top(paths[number], MADE_BY_QEMU[kind][0]), CLUSTER, os.path.getsize(raws[0])
        )


@pytest.mark.parametrize("kind", list(MADE_BY_QEMU))
@pytest.mark.parametrize("target", ["hdd", "raw", "vhdx dynamic"])
def test_chains_of_qemu_are_flattened(tmp_path: Path, kind: str, target: str) -> None:
    paths, raws = make_qemu_chain(tmp_path, kind)
    chosen = conversions.TARGETS[target]
    for number, (path, raw) in enumerate(zip(paths, raws)):
        dest = str(tmp_path / f"out{number}{chosen.suffix}")
        conversions.convert(Source(path), dest, chosen.format, backing=True)
        if target == "raw":
            conversions.compare_plain(dest, raw)
        elif target == "hdd":
            conversions.compare_bundle(dest, raw)
        else:
            foreign.compare_with_all([dest], chosen.format, raw)


@pytest.mark.parametrize("kind", list(MADE_BY_QEMU) if LONG else ["qcow2 v3", "vmdk"])
@pytest.mark.parametrize("format", ["qcow2", "vmdk", "vhd", "vhdx"])
def test_chains_go_from_one_product_to_another(tmp_path: Path, kind: str, format: str) -> None:
    paths, raws = make_qemu_chain(tmp_path, kind)
    dest = str(tmp_path / f"out.{format}")
    made = conversions.convert(Source(paths[-1]), dest, format, backing=True, keeps_layers=True)
    layers = list(reversed(made))
    for number, raw in enumerate(raws):
        foreign.compare_with_all(layers[: number + 1], format, raw, has_marks=number > 0)
    view = open_source(PORT, find_source(PORT, dest, backing=True))
    try:
        for depth, raw in enumerate(reversed(raws)):
            conversions.compare_view(view.below(depth), raw)
    finally:
        view.close()
