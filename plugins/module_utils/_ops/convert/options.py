# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an image of another product is to be like: its options, judged before anything is written, and the names of
its files.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import posixpath
from typing import Dict, NamedTuple, Optional, Tuple, Union

from ..._bundle.shape import Shape
from ..._core.errors import BadRequest
from ..._core.records import dataclass, replace
from ..._core.units import KIB, MIB

NONE = "none"
ZLIB = "zlib"
ZSTD = "zstd"


class FormatFacts(NamedTuple):
    """What a format offers: its kinds, the first being the one when none is named; compressions; whether it has ids,
    clusters, overlays.
    """

    subformats: Tuple[str, ...] = ()
    compressions: Tuple[str, ...] = (NONE,)
    has_ids: bool = True
    cluster_bytes: Optional[int] = None
    smallest_cluster: int = 0
    largest_cluster: int = 0
    overlays: bool = True


FORMATS: Dict[str, FormatFacts] = {
    "qcow2": FormatFacts(
        compressions=(NONE, ZLIB, ZSTD),
        has_ids=False,
        cluster_bytes=64 * KIB,
        smallest_cluster=512,
        largest_cluster=2 * MIB,
    ),
    "vmdk": FormatFacts(
        ("monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"),
        compressions=(NONE, ZLIB),
        cluster_bytes=64 * KIB,
        # VMware, and libvmdk with it, wants grains of more than 8 sectors.
        smallest_cluster=8 * KIB,
        largest_cluster=64 * KIB,
    ),
    "vhd": FormatFacts(
        ("dynamic", "fixed", "differencing"),
        cluster_bytes=2 * MIB,
        smallest_cluster=512 * KIB,
        largest_cluster=256 * MIB,
    ),
    "vhdx": FormatFacts(
        ("dynamic", "fixed", "differencing"), cluster_bytes=None, smallest_cluster=MIB, largest_cluster=256 * MIB
    ),
    "vdi": FormatFacts(
        ("dynamic", "fixed"), cluster_bytes=MIB, smallest_cluster=MIB, largest_cluster=MIB, overlays=False
    ),
}

_FLAT = ("monolithicFlat", "twoGbMaxExtentFlat")


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

    @property
    def is_fixed(self) -> bool:
        """Whether all of the disk has its place in the files from the start."""
        return self.subformat == "fixed" or self.subformat in _FLAT


AnyShape = Union[Shape, ForeignShape]


def foreign_shape(shape: ForeignShape, *, layers: int) -> ForeignShape:
    """``shape`` with everything chosen that it leaves open. Raises BadRequest for options that do not go together."""
    facts = FORMATS[shape.format]
    subformat = shape.subformat or (facts.subformats[0] if facts.subformats else None)
    if subformat is not None and subformat not in facts.subformats:
        raise _wrong("subformat", subformat, shape.format, ", ".join(facts.subformats) or "none")
    _refuse_overlays(shape.format, subformat, layers)
    if subformat == "differencing":
        subformat = "dynamic"
    shape = replace(shape, subformat=subformat, compression=_compression(shape, facts, subformat))
    if shape.level is not None and shape.compression == NONE:
        raise BadRequest(
            "compression_level: nothing is compressed",
            found=shape.level,
            hint="Set compression, or leave compression_level out.",
        )
    if shape.adapter_type is not None and shape.format != "vmdk":
        raise _wrong("adapter_type", shape.adapter_type, shape.format, "nothing")
    if shape.version is not None and shape.format != "qcow2":
        raise _wrong("format_version", shape.version, shape.format, "auto")
    if shape.preallocate and not shape.is_fixed:
        raise BadRequest(
            "preallocate: only an image with a place for everything can be reserved",
            found=subformat,
            hint="Choose a fixed or flat subformat.",
        )
    return replace(shape, cluster_bytes=_cluster_bytes(shape, facts))


def _wrong(option: str, found: object, format: str, expected: str) -> BadRequest:
    return BadRequest(
        f"{option}: {found} does not go with {format}",
        found=found,
        expected=expected,
        hint=f"Choose another {option} or leave it out.",
    )


def _refuse_overlays(format: str, subformat: Optional[str], layers: int) -> None:
    if layers > 1 and not FORMATS[format].overlays:
        raise BadRequest(
            f"chain: {format} has no images on other images that could be moved",
            hint="Choose chain: flatten, or another dest_format.",
        )
    if layers > 1 and format == "vmdk" and subformat != "monolithicSparse":
        raise BadRequest(
            "chain: only monolithicSparse images lie on each other", found=subformat, hint="Leave subformat out."
        )
    if subformat == "differencing" and layers < 2:
        raise BadRequest(
            "subformat: a differencing disk needs another one below it",
            found=subformat,
            hint="Set chain: preserve with a source that has snapshots, or choose another subformat.",
        )


def _compression(shape: ForeignShape, facts: FormatFacts, subformat: Optional[str]) -> str:
    chosen = shape.compression
    if subformat == "streamOptimized":
        if chosen == ZSTD:
            raise _wrong("compression", chosen, "streamOptimized", ZLIB)
        return ZLIB
    if chosen not in facts.compressions or (shape.format == "vmdk" and chosen != NONE):
        raise _wrong("compression", chosen, subformat or shape.format, NONE)
    if chosen == ZSTD and shape.version == 2:
        raise BadRequest(
            "compression: zstd needs format_version 3", found=chosen, hint="Leave format_version out, or choose zlib."
        )
    return chosen


def _cluster_bytes(shape: ForeignShape, facts: FormatFacts) -> Optional[int]:
    chosen = shape.cluster_bytes
    if chosen is None:
        return facts.cluster_bytes
    if shape.is_fixed and shape.format != "vhdx":
        raise _wrong("cluster_size", chosen, f"{shape.subformat} images", "nothing")
    if chosen & (chosen - 1) or not facts.smallest_cluster <= chosen <= facts.largest_cluster:
        raise BadRequest(
            f"cluster_size: {shape.format} cannot have clusters of {chosen} bytes",
            found=chosen,
            expected=f"a power of two from {facts.smallest_cluster} to {facts.largest_cluster}",
            hint="Leave cluster_size out for what suits every reader.",
        )
    return chosen


def file_names(shape: ForeignShape, base: str) -> Tuple[str, ...]:
    """What the files of an image called ``base`` are called; the first one is the image itself."""
    if shape.format == "vmdk":
        from ..._formats.vmdk.writer import vmdk_files

        return vmdk_files(base, shape.subformat or "", shape.size)
    return (base,)


def layer_files(shape: ForeignShape, base: str, *, layers: int, generation: int) -> Tuple[Tuple[str, ...], ...]:
    """The files of each layer of an output called ``base``, lowest layer first.

    All but the image ``base`` itself carry the number of the ``generation``, from the second on, so that a new output
    never needs the names of the one that it replaces.
    """
    stem, suffix = posixpath.splitext(base)
    mark = "" if generation == 1 else f".{generation}"
    found = [file_names(shape, f"{stem}{mark}.layer{number}{suffix}") for number in range(layers - 1)]
    return tuple(found) + ((base,) + file_names(shape, f"{stem}{mark}{suffix}")[1:],)
