# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The writer of each kind of output, behind one face."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Any, Optional, Sequence

from ..._bundle.shape import Shape
from ..._formats.image import ForeignWriter, ParentImage
from ..._io.port import File
from ..copy.parts_writer import parts_writer
from .options import AnyShape, ForeignShape


def new_writer(
    shape: AnyShape,
    files: Sequence[File],
    names: Sequence[str],
    *,
    parent: Optional[ParentImage] = None,
    is_overlay: bool = False,
    disk_identity: Optional[str] = None,
) -> ForeignWriter:
    """A writer that fills ``files``, which will be called ``names``. ``disk_identity`` is that of the lowest layer.

    Raises BadRequest when the format cannot hold such a disk.
    """
    if isinstance(shape, Shape):
        return parts_writer(shape, files, is_overlay=is_overlay)
    return _foreign_writer(shape, files, names, parent, disk_identity)


def _foreign_writer(
    shape: ForeignShape,
    files: Sequence[File],
    names: Sequence[str],
    parent: Optional[ParentImage],
    disk_identity: Optional[str],
) -> Any:
    # Only the writer that is asked for is loaded.
    size = shape.size
    if shape.format == "qcow2":
        from ..._formats.qcow2.writer import Qcow2Writer

        return Qcow2Writer(
            files[0],
            size_bytes=size,
            cluster_bytes=shape.cluster_bytes or 1 << 16,
            version=shape.version or 3,
            compression=shape.compression,
            level=shape.level,
            parent=parent,
        )
    if shape.format == "vmdk":
        from ..._formats.vmdk.writer import SPLIT_BYTES, new_vmdk_writer

        if shape.preallocate:
            piece = size if shape.subformat == "monolithicFlat" else SPLIT_BYTES
            for file, start in zip(files[1:], range(0, size, piece)):
                file.allocate(0, min(piece, size - start))
        return new_vmdk_writer(
            files,
            names,
            subformat=shape.subformat or "",
            size_bytes=size,
            grain_bytes=shape.cluster_bytes or 1 << 16,
            level=shape.level,
            adapter_type=shape.adapter_type or "lsilogic",
            parent=parent,
        )
    subformat = "differencing" if parent is not None else shape.subformat or "dynamic"
    if shape.format == "vhd":
        from ..._formats.vhd.writer import VhdWriter

        return VhdWriter(
            files[0],
            subformat=subformat,
            size_bytes=size,
            block_bytes=shape.cluster_bytes or 1 << 21,
            parent=parent,
            timestamp=shape.timestamp,
            preallocate=shape.preallocate,
        )
    if shape.format == "vhdx":
        from ..._formats.vhdx.writer import VhdxWriter

        return VhdxWriter(
            files[0],
            subformat=subformat,
            size_bytes=size,
            block_bytes=shape.cluster_bytes,
            parent=parent,
            preallocate=shape.preallocate,
            disk_identity=disk_identity,
        )
    from ..._formats.vdi.writer import VdiWriter

    return VdiWriter(files[0], subformat=subformat, size_bytes=size, preallocate=shape.preallocate)
