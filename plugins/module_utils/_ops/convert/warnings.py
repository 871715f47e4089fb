# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user should know of an output that is written all the same."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Tuple

from ..._bundle.guards import warnings_for_readers, warnings_of_flocks
from ..._core.units import SECTOR
from ..._formats.catalog import RAW, ForeignShape
from ..._guest.source import Source, open_source
from ..._io.port import Port
from .conversion import Conversion
from .reason import is_kept
from .request import AnyShape


def warnings_of(port: Port, conversion: Conversion) -> Tuple[str, ...]:
    """What a user should know of the source, and of a size that is not that of the source."""
    source, size = conversion.source, conversion.shape.size
    found = [*source.warnings, *(source.chain.warnings if source.chain is not None else ())]
    if source.state is not None:
        found += warnings_for_readers(source.state)
    found += warnings_of_flocks(port, source.places)
    replaced = conversion.destination.state
    if replaced is not None and not is_kept(conversion.reason):
        # What goes with it must have been told once.
        found += replaced.warnings
        if replaced.surroundings is not None:
            found += [*replaced.surroundings.machine.warnings, *replaced.surroundings.unknown]
    if source.state is not None and source.state.notes_unread is not None:
        from ..copy.names import unread_names

        found += unread_names(conversion)
    found += _sector_warnings(source, conversion.shape)
    exact = _exact_size(source)
    if exact != source.size:
        found.append(
            f"{source.path}: {exact} bytes are no whole number of sectors; the output ends with {source.size - exact}"
            " zero bytes more."
        )
    if size != source.size:
        found.append(
            f"The guest disk grows from {source.size} to {size} bytes because of align; {_stranded(port, source)}."
        )
    return tuple(found)


def _sector_warnings(source: Source, shape: AnyShape) -> Tuple[str, ...]:
    """What becomes of the partition table of a disk whose sectors the output does not note."""
    sector = source.logical_sector
    if sector == SECTOR or (isinstance(shape, ForeignShape) and shape.logical_sector == sector):
        return ()
    text = (
        f"{source.path}: the guest sees sectors of {sector} bytes, and its partition table counts in these. The output"
        f" does not say so: give the disk sectors of {sector} bytes in the machine (QEMU: logical_block_size={sector}),"
        " or the guest finds no partition."
    )
    return (text,)


def _exact_size(source: Source) -> int:
    if source.chain is not None:
        return source.chain.layers[0].size
    is_raw = source.format == RAW and source.container is None
    return sum(found[2] for _path, found in source.fingerprint if found is not None) if is_raw else source.size


def _stranded(port: Port, source: Source) -> str:
    """What a larger disk means for the partition table."""
    from ..._guest.partitions import read_partitions

    view = open_source(port, source)
    try:
        table = read_partitions(view)
    finally:
        view.close()
    if table is None or table["scheme"] != "gpt":
        return "no GUID partition table is affected"
    return (
        f"the backup GPT header stays at byte {source.size - SECTOR} instead of the end "
        "(repair it in the guest with sgdisk -e)"
    )
