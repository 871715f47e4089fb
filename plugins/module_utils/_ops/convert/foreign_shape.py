# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an image of another product is to be like: its options, judged before the first write, and its file names."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Optional, Tuple

from ..._core.errors import BadRequest
from ..._core.records import replace
from ..._formats.catalog import FORMATS, NONE, ZLIB, ZSTD, Clusters, ForeignShape, Format
from ..._formats.codecs import file_names


def settled(shape: ForeignShape, *, layers: int) -> ForeignShape:
    """``shape`` with everything chosen that it leaves open. Raises BadRequest for options that do not go together."""
    row = FORMATS[shape.format]
    kind = _kind(shape, row, layers)
    shape = replace(shape, subformat=kind, compression=_compression(shape, row, kind))
    _refuse_misfits(shape, row)
    return replace(shape, cluster_bytes=_cluster_bytes(shape, row.clusters))


def _refuse_misfits(shape: ForeignShape, row: Format) -> None:
    if shape.level is not None and shape.compression == NONE:
        raise BadRequest(
            "compression_level: nothing is compressed",
            found=shape.level,
            hint="Set compression, or leave compression_level out.",
        )
    if shape.adapter_type is not None and "adapter_type" not in row.options:
        raise _wrong("adapter_type", shape.adapter_type, shape.format, "nothing")
    if shape.version is not None and not row.versions:
        raise _wrong("format_version", shape.version, shape.format, "auto")
    if shape.preallocate and not shape.is_fixed:
        raise BadRequest(
            "preallocate: only an image with a place for everything can be reserved",
            found=shape.subformat,
            hint="Choose a fixed or flat subformat.",
        )


def _wrong(option: str, found: object, format: str, expected: str) -> BadRequest:
    return BadRequest(
        f"{option}: {found} does not go with {format}",
        found=found,
        expected=expected,
        hint=f"Choose another {option} or leave it out.",
    )


def _kind(shape: ForeignShape, row: Format, layers: int) -> Optional[str]:
    """The kind of the lowest layer; those on it have a parent."""
    kind = shape.subformat or (row.kinds[0] if row.kinds else None)
    if kind is not None and kind not in row.kinds:
        raise _wrong("subformat", kind, shape.format, ", ".join(row.kinds) or "none")
    if layers > 1:
        _refuse_chain(row, kind)
    if kind != row.overlay_kind or kind is None:
        return kind
    if layers < 2:
        raise BadRequest(
            f"subformat: a {kind} disk needs another one below it",
            found=kind,
            hint="Set chain: preserve with a source that has snapshots, or choose another subformat.",
        )
    return row.kinds[0]


def _refuse_chain(row: Format, kind: Optional[str]) -> None:
    if not row.has_layers:
        raise BadRequest(
            f"chain: {row.name} has no images on other images that could be moved",
            hint="Choose chain: flatten, or another dest_format.",
        )
    if row.chain_kinds and kind not in row.chain_kinds:
        raise BadRequest(
            f"chain: only {' and '.join(row.chain_kinds)} images can be below each other",
            found=kind,
            hint="Leave subformat out.",
        )


def _compression(shape: ForeignShape, row: Format, kind: Optional[str]) -> str:
    chosen = shape.compression
    if kind in row.packed_kinds:
        if chosen not in (NONE, ZLIB):
            raise _wrong("compression", chosen, str(kind), ZLIB)
        return ZLIB
    if chosen not in row.compressions:
        raise _wrong("compression", chosen, kind or shape.format, NONE)
    if chosen == ZSTD and shape.version == 2:
        raise BadRequest(
            "compression: zstd needs format_version 3", found=chosen, hint="Leave format_version out, or choose zlib."
        )
    return chosen


def _cluster_bytes(shape: ForeignShape, clusters: Optional[Clusters]) -> Optional[int]:
    chosen = shape.cluster_bytes
    if chosen is None:
        return None if clusters is None else clusters.default
    if clusters is None or (shape.is_fixed and not clusters.in_fixed):
        raise _wrong("cluster_size", chosen, f"{shape.subformat} images", "nothing")
    if chosen & (chosen - 1) or not clusters.smallest <= chosen <= clusters.largest:
        raise BadRequest(
            f"cluster_size: {shape.format} cannot have clusters of {chosen} bytes",
            found=chosen,
            expected=f"a power of two from {clusters.smallest} to {clusters.largest}",
            hint="Leave cluster_size out for what suits every reader.",
        )
    return chosen


def with_sectors(shape: ForeignShape, logical_sector: int) -> ForeignShape:
    """``shape`` with the sectors of the source, where its format can note them and the disk is whole ones long."""
    if not FORMATS[shape.format].keeps_sectors or shape.size % logical_sector:
        return shape
    return replace(shape, logical_sector=logical_sector)


def layer_files(shape: ForeignShape, base: str, *, layers: int, generation: int) -> Tuple[Tuple[str, ...], ...]:
    """The files of each layer of an output called ``base``, lowest layer first.

    All but the image ``base`` itself carry the number of the ``generation``, from the second on, so that a new output
    never needs the names of the one that it replaces.
    """
    stem, suffix = posixpath.splitext(base)
    mark = "" if generation == 1 else f".{generation}"
    found = [file_names(shape, f"{stem}{mark}.layer{number}{suffix}") for number in range(layers - 1)]
    return tuple(found) + ((base,) + file_names(shape, f"{stem}{mark}{suffix}")[1:],)
