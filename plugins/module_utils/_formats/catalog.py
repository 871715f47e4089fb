# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image formats, one row each: what a format is called and known by, and what it offers.

To add a format: a folder beside this file, a row in ``FORMATS``, its opener and writer in ``codecs``, its marks in
``detect``, its tests. Whatever else lists formats is derived from the rows or tested against them.

The rows are facts and load no reader or writer, so any module may ask them; ``codecs`` is for hdd_convert alone.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Dict, NamedTuple, Optional, Tuple

from .._core.records import dataclass
from .._core.units import KIB, MIB
from .detect import UNSTRUCTURED

HDD = "hdd"
RAW = "raw"

NONE = "none"
ZLIB = "zlib"
ZSTD = "zstd"

VIEW = "view"


class Clusters(NamedTuple):
    """Allocation units in bytes: default (None: the writer's), smallest, largest; whether fixed images have them."""

    default: Optional[int]
    smallest: int
    largest: int
    in_fixed: bool = False


@dataclass(frozen=True)
class Format:
    """One format.

    ``suffixes`` of a destination name it, ``detected_as`` is what ``detect`` calls it, ``aliases`` are other names that
    overlays give it. ``options`` are those of hdd_convert that only some formats know.

    ``kinds`` can be written, the first one when none is named. ``fixed_kinds`` have a place for all of the disk from
    the start, ``packed_kinds`` are always compressed, by zlib. ``text_kinds`` have no data: they point into the source.
    ``has_layers`` says whether images may be on others:
    those of ``chain_kinds``, all when it is empty; ``overlay_kind`` is what they are then called, if that is a kind.

    ``has_ids`` says whether images carry identifiers, ``is_foreign`` whether they are of another product: those have an
    opener and a writer in ``codecs``. A bundle is more than an image, so it is no ``parent`` of one. ``keeps_sectors``
    says whether images note that the guest sees sectors of 4 KiB.
    """

    name: str
    suffixes: Tuple[str, ...]
    detected_as: str
    options: Tuple[str, ...] = ()
    kinds: Tuple[str, ...] = ()
    fixed_kinds: Tuple[str, ...] = ()
    packed_kinds: Tuple[str, ...] = ()
    text_kinds: Tuple[str, ...] = ()
    has_layers: bool = True
    chain_kinds: Tuple[str, ...] = ()
    overlay_kind: Optional[str] = None
    versions: Tuple[int, ...] = ()
    compressions: Tuple[str, ...] = (NONE,)
    clusters: Optional[Clusters] = None
    has_ids: bool = True
    aliases: Tuple[str, ...] = ()
    is_foreign: bool = True
    is_parent: bool = True
    keeps_sectors: bool = False


@dataclass(frozen=True)
class ForeignShape:
    """What an image of another product is like apart from its content.

    Sizes are bytes; None leaves the choice to the format.
    """

    format: str
    size: int
    subformat: Optional[str] = None
    cluster_bytes: Optional[int] = None
    version: Optional[int] = None
    compression: str = NONE
    level: Optional[int] = None
    adapter_type: Optional[str] = None
    preallocate: bool = False
    timestamp: int = 0
    logical_sector: int = 512

    @property
    def is_fixed(self) -> bool:
        """Whether all of the disk has its place in the files from the start."""
        return self.subformat in FORMATS[self.format].fixed_kinds


_ROWS = (
    Format(
        HDD,
        (".hdd",),
        detected_as="hds",
        options=("subformat", "cluster_size", "split_size", "name", "format_version"),
        kinds=("expanding", "plain"),
        versions=(1, 2),
        clusters=Clusters(MIB, 32 * KIB, 64 * MIB),
        is_foreign=False,
        is_parent=False,
    ),
    Format(
        RAW,
        (".raw", ".img", ".dd", ".bin"),
        detected_as=UNSTRUCTURED,
        has_layers=False,
        has_ids=False,
        is_foreign=False,
    ),
    Format(
        "qcow2",
        (".qcow2",),
        detected_as="qcow2",
        options=("cluster_size", "format_version", "compression", "compression_level"),
        versions=(2, 3),
        compressions=(NONE, ZLIB, ZSTD),
        clusters=Clusters(64 * KIB, 512, 2 * MIB),
        has_ids=False,
    ),
    Format(
        "vmdk",
        (".vmdk",),
        detected_as="vmdk",
        options=("subformat", "cluster_size", "adapter_type", "compression", "compression_level"),
        kinds=("monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"),
        fixed_kinds=("monolithicFlat", "twoGbMaxExtentFlat"),
        packed_kinds=("streamOptimized",),
        text_kinds=(VIEW,),
        chain_kinds=("monolithicSparse",),
        # VMware, and libvmdk with it, wants grains of more than 8 sectors.
        clusters=Clusters(64 * KIB, 8 * KIB, 64 * KIB),
        keeps_sectors=True,
    ),
    Format(
        "vhd",
        (".vhd",),
        detected_as="vhd",
        options=("subformat", "cluster_size", "azure"),
        kinds=("dynamic", "fixed", "differencing"),
        fixed_kinds=("fixed",),
        overlay_kind="differencing",
        clusters=Clusters(2 * MIB, 512 * KIB, 256 * MIB),
        aliases=("vpc",),
    ),
    Format(
        "vhdx",
        (".vhdx",),
        detected_as="vhdx",
        options=("subformat", "cluster_size"),
        kinds=("dynamic", "fixed", "differencing"),
        fixed_kinds=("fixed",),
        overlay_kind="differencing",
        clusters=Clusters(None, MIB, 256 * MIB, in_fixed=True),
        keeps_sectors=True,
    ),
    Format(
        "vdi",
        (".vdi",),
        detected_as="vdi",
        options=("subformat",),
        kinds=("dynamic", "fixed"),
        fixed_kinds=("fixed",),
        # Which image is below another one is known to VirtualBox's registry only.
        has_layers=False,
        clusters=Clusters(MIB, MIB, MIB),
    ),
)

FORMATS: Dict[str, Format] = {row.name: row for row in _ROWS}
"""The rows by the name of the format."""


def format_of_name(path: str) -> Optional[str]:
    """The format that the end of a file's name stands for, None when it stands for none."""
    suffix = posixpath.splitext(path)[1].lower()
    return next((row.name for row in _ROWS if suffix in row.suffixes), None)


def format_detected_as(found: str) -> Optional[str]:
    """The format that ``detect`` calls so, None for one that cannot be read."""
    return next((row.name for row in _ROWS if row.detected_as == found), None)


def format_of_parent(called: str) -> Optional[str]:
    """The format that an overlay calls so for the image below it, None for one that cannot be read there."""
    called = called.lower()
    return next((row.name for row in _ROWS if row.is_parent and called in (row.name, *row.aliases)), None)
