# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks with sectors of 4 KiB: their partition tables count in these, so the output must say so, or a user must know.

::

    sectors of 512 bytes     | MBR | GPT |  ...           the table of a guest lies in sector 1:
    sectors of 4 KiB         | MBR            | GPT ...   byte 512 or byte 4096
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Tuple

from ..._core.records import replace
from ..._core.units import SECTOR
from ..._formats.catalog import FORMATS, ForeignShape
from ..._guest.source import Source
from .request import AnyShape


def sector_of(source: Source) -> int:
    """The bytes of a sector as the guest sees it."""
    if source.chain is not None:
        return source.chain.layers[0].logical_sector
    return source.state.descriptor.logical_sector if source.state is not None else SECTOR


def with_sectors(source: Source, shape: AnyShape) -> AnyShape:
    """``shape`` with the sectors of the source, where its format can note them."""
    sector = sector_of(source)
    if not isinstance(shape, ForeignShape) or not FORMATS[shape.format].keeps_sectors or shape.size % sector:
        return shape
    return replace(shape, logical_sector=sector)


def sector_warnings(source: Source, shape: AnyShape) -> Tuple[str, ...]:
    """What becomes of the partition table of a disk whose sectors the output does not note."""
    sector = sector_of(source)
    if sector == SECTOR or (isinstance(shape, ForeignShape) and shape.logical_sector == sector):
        return ()
    text = (
        f"{source.path}: the guest sees sectors of {sector} bytes, and its partition table counts in these. The output"
        f" does not say so: give the disk sectors of {sector} bytes in the machine (QEMU: logical_block_size={sector}),"
        " or the guest finds no partition."
    )
    return (text,)
