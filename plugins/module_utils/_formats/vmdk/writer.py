# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a VMDK: the choice of the writer and of the file names."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from ..._core.errors import BadRequest
from ..._core.units import SECTOR, ceil_div
from ..._io.port import File
from ..image import ForeignWriter, ParentImage
from .descriptor import (
    ADAPTER_TYPES,
    CREATE_TYPES,
    MONOLITHIC_FLAT,
    MONOLITHIC_SPARSE,
    SPLIT_FLAT,
    SPLIT_SPARSE,
    STREAM,
    ExtentLine,
    NewDescriptor,
    checked_name,
)
from .layout import DESCRIPTOR_SECTORS, MOST_EXTENTS, MOST_SECTORS

SPLIT_BYTES = 2047 << 20
"""The size of one piece of a split disk, as VMware cuts it."""

# The note of VMware, and libvmdk with it, wants more than 8 sectors.
_LEAST_GRAIN, _MOST_GRAIN = 8192, 2 << 20


def vmdk_files(base: str, subformat: str, size_bytes: int) -> Tuple[str, ...]:
    """The names of the files of a new image: first ``base``, which is the one to open, then its extents.

    Raises BadRequest for an unknown subformat, an impossible size, and a name that cannot be written into a descriptor.
    """
    _check_size(size_bytes)
    checked_name(base)
    stem = base[:-5] if base.lower().endswith(".vmdk") else base
    if subformat in (MONOLITHIC_SPARSE, STREAM):
        return (base,)
    if subformat == MONOLITHIC_FLAT:
        return (base, f"{stem}-flat.vmdk")
    if subformat not in CREATE_TYPES:
        raise BadRequest(
            f"There is no subformat {subformat!r} of VMDK", expected=", ".join(CREATE_TYPES), found=subformat
        )
    letter = "s" if subformat == SPLIT_SPARSE else "f"
    count = ceil_div(size_bytes, SPLIT_BYTES)
    if count > MOST_EXTENTS:
        raise BadRequest(
            "The disk would have too many files", expected=f"up to {MOST_EXTENTS * SPLIT_BYTES} bytes", found=size_bytes
        )
    return (base, *(f"{stem}-{letter}{number:03d}.vmdk" for number in range(1, count + 1)))


def new_vmdk_writer(
    files: Sequence[File],
    names: Sequence[str],
    *,
    subformat: str,
    size_bytes: int,
    grain_bytes: int = 65536,
    level: Optional[int] = None,
    adapter_type: str = "lsilogic",
    hardware_version: int = 4,
    parent: Optional[ParentImage] = None,
    timestamp: int = 0,
    workers: Optional[int] = None,
    logical_sector: int = SECTOR,
) -> ForeignWriter:
    """A writer for new, empty ``files``, whose final names are ``names``, in the order of ``vmdk_files``.

    ``level`` (0 to 9, by default 6) and ``workers`` (threads) concern streamOptimized alone, ``parent``
    monolithicSparse. ``timestamp`` is there because every format has it: no field of a VMDK holds a time. Raises
    BadRequest for what does not fit together.
    """
    del timestamp
    if len(files) != len(names) or len(names) != len(vmdk_files(names[0], subformat, size_bytes)):
        raise BadRequest(
            "The number of files does not fit the subformat",
            expected=len(vmdk_files(names[0], subformat, size_bytes)),
            found=len(files),
        )
    lines = _extent_lines(names, subformat, size_bytes)
    descriptor = NewDescriptor(subformat, lines, adapter_type, hardware_version, parent, logical_sector)
    _check_options(descriptor, grain_bytes, level)
    # A name that is too long or cannot be written shall not come out at the end.
    if len(descriptor.pack("")) > DESCRIPTOR_SECTORS * SECTOR and subformat in (MONOLITHIC_SPARSE, STREAM):
        raise BadRequest(
            "The file names are too long for a VMDK",
            files[0].path,
            expected=f"up to {DESCRIPTOR_SECTORS * SECTOR} bytes of descriptor",
        )
    if subformat == STREAM:
        from .stream_writer import StreamWriter

        return StreamWriter(
            files[0],
            descriptor,
            size_bytes=size_bytes,
            grain_bytes=grain_bytes,
            level=6 if level is None else level,
            workers=workers,
        )
    if subformat in (MONOLITHIC_FLAT, SPLIT_FLAT):
        from .flat_writer import FlatWriter

        return FlatWriter(files, descriptor, grain_bytes=grain_bytes)
    from .sparse_writer import SparseWriter

    return SparseWriter(files, descriptor, grain_bytes=grain_bytes)


def _check_size(size_bytes: int) -> None:
    if size_bytes <= 0 or size_bytes % SECTOR or size_bytes > MOST_SECTORS * SECTOR:
        raise BadRequest(
            "This is no possible size of a VMDK",
            expected=f"a multiple of {SECTOR} up to {MOST_SECTORS * SECTOR}",
            found=size_bytes,
        )


def _check_options(descriptor: NewDescriptor, grain_bytes: int, level: Optional[int]) -> None:
    subformat, adapter_type = descriptor.create_type, descriptor.adapter_type
    hardware_version, parent = descriptor.hardware_version, descriptor.parent
    if not _LEAST_GRAIN <= grain_bytes <= _MOST_GRAIN or grain_bytes & (grain_bytes - 1):
        raise BadRequest(
            "This is no possible grain size",
            expected=f"a power of two, {_LEAST_GRAIN}..{_MOST_GRAIN}",
            found=grain_bytes,
        )
    if adapter_type not in ADAPTER_TYPES:
        hint = (
            "The adapter of the virtual machine may be another one (pvscsi, sata, nvme): "
            "then lsilogic belongs into the image."
        )
        raise BadRequest(
            f"There is no adapter type {adapter_type!r}",
            expected=", ".join(ADAPTER_TYPES),
            found=adapter_type,
            hint=hint,
        )
    if not 1 <= hardware_version <= 99:
        raise BadRequest("This is no hardware version", expected="1..99", found=hardware_version)
    if level is not None and (subformat != STREAM or not 0 <= level <= 9):
        raise BadRequest(
            "compression_level: this level is not possible",
            expected=f"0..9, with {STREAM}",
            found=f"{level}, with {subformat}",
        )
    if parent is not None and subformat != MONOLITHIC_SPARSE:
        raise BadRequest("An image of this subformat has no parent", expected=MONOLITHIC_SPARSE, found=subformat)


def _extent_lines(names: Sequence[str], subformat: str, size_bytes: int) -> Tuple[ExtentLine, ...]:
    sectors = size_bytes // SECTOR
    if subformat in (MONOLITHIC_SPARSE, STREAM):
        return (ExtentLine(sectors, "SPARSE", names[0]),)
    if subformat == MONOLITHIC_FLAT:
        return (ExtentLine(sectors, "FLAT", names[1]),)
    kind = "SPARSE" if subformat == SPLIT_SPARSE else "FLAT"
    piece = SPLIT_BYTES // SECTOR
    return tuple(ExtentLine(min(piece, sectors - index * piece), kind, name) for index, name in enumerate(names[1:]))
