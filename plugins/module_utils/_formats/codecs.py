# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reads and writes each format of the catalog: its opener and its writer, and the names of its files.

Only the one that is asked for is loaded, but those of all formats travel with whoever imports this file.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from .._core.errors import Unsupported
from .._core.records import dataclass
from .._core.units import KIB, MIB
from .._io.port import File, Port
from .catalog import FORMATS, RAW, ForeignShape
from .image import ForeignImage, ForeignWriter, GuestView, OpenBeside, ParentImage
from .image_ids import ImageIds


@dataclass(frozen=True)
class NewImage:
    """An image to write: its shape, empty files and their final names, its parent, the identity of the lowest image."""

    shape: ForeignShape
    files: Sequence[File]
    names: Sequence[str]
    parent: Optional[ParentImage] = None
    disk_identity: Optional[str] = None

    @property
    def kind(self) -> str:
        """The kind of the image; one on another image may be of a kind of its own."""
        row = FORMATS[self.shape.format]
        own = self.shape.subformat or row.kinds[0]
        return own if self.parent is None or row.overlay_kind is None else row.overlay_kind


def _open_raw(port: Port, path: str, _open_beside: OpenBeside) -> Any:
    from .raw.parent import PlainParent

    return PlainParent(port, path)


def _open_qcow2(port: Port, path: str, open_beside: OpenBeside) -> Any:
    from .qcow2.reader import open_qcow2

    return open_qcow2(port, path, open_beside=open_beside)


def _new_qcow2(image: NewImage) -> Any:
    from .qcow2.writer import Qcow2Writer

    shape = image.shape
    return Qcow2Writer(
        image.files[0],
        size_bytes=shape.size,
        cluster_bytes=shape.cluster_bytes or 64 * KIB,
        version=shape.version or 3,
        compression=shape.compression,
        level=shape.level,
        parent=image.parent,
    )


def _open_vmdk(port: Port, path: str, open_beside: OpenBeside) -> Any:
    from .vmdk.reader import open_vmdk

    return open_vmdk(port, path, open_beside)


def _new_vmdk(image: NewImage) -> Any:
    from .vmdk.writer import SPLIT_BYTES, new_vmdk_writer

    shape = image.shape
    if shape.preallocate:
        piece = shape.size if shape.subformat == "monolithicFlat" else SPLIT_BYTES
        for file, start in zip(image.files[1:], range(0, shape.size, piece)):
            file.allocate(0, min(piece, shape.size - start))
    return new_vmdk_writer(
        image.files,
        image.names,
        subformat=shape.subformat or "",
        size_bytes=shape.size,
        grain_bytes=shape.cluster_bytes or 64 * KIB,
        level=shape.level,
        adapter_type=shape.adapter_type or "lsilogic",
        parent=image.parent,
        logical_sector=shape.logical_sector,
    )


def _vmdk_files(shape: ForeignShape, base: str) -> Tuple[str, ...]:
    from .vmdk.writer import vmdk_files

    return vmdk_files(base, shape.subformat or "", shape.size)


def _open_vhd(port: Port, path: str, open_beside: OpenBeside) -> Any:
    from .vhd.reader import open_vhd

    return open_vhd(port, path, open_beside)


def _new_vhd(image: NewImage) -> Any:
    from .vhd.writer import VhdWriter

    return VhdWriter(
        image.files[0],
        subformat=image.kind,
        size_bytes=image.shape.size,
        block_bytes=image.shape.cluster_bytes or 2 * MIB,
        parent=image.parent,
        timestamp=image.shape.timestamp,
        preallocate=image.shape.preallocate,
    )


def _open_vhdx(port: Port, path: str, _open_beside: OpenBeside) -> Any:
    from .vhdx.reader import open_vhdx

    return open_vhdx(port, path)


def _new_vhdx(image: NewImage) -> Any:
    from .vhdx.writer import VhdxWriter

    return VhdxWriter(
        image.files[0],
        subformat=image.kind,
        size_bytes=image.shape.size,
        block_bytes=image.shape.cluster_bytes,
        logical_sector=image.shape.logical_sector,
        parent=image.parent,
        preallocate=image.shape.preallocate,
        disk_identity=image.disk_identity,
    )


def _open_vdi(port: Port, path: str, _open_beside: OpenBeside) -> Any:
    from .vdi.reader import open_vdi

    return open_vdi(port, path)


def _new_vdi(image: NewImage) -> Any:
    from .vdi.writer import VdiWriter

    return VdiWriter(
        image.files[0], subformat=image.kind, size_bytes=image.shape.size, preallocate=image.shape.preallocate
    )


OPENERS: Dict[str, Callable[[Port, str, OpenBeside], ForeignImage]] = {
    RAW: _open_raw,
    "qcow2": _open_qcow2,
    "vmdk": _open_vmdk,
    "vhd": _open_vhd,
    "vhdx": _open_vhdx,
    "vdi": _open_vdi,
}
WRITERS: Dict[str, Callable[[NewImage], ForeignWriter]] = {
    "qcow2": _new_qcow2,
    "vmdk": _new_vmdk,
    "vhd": _new_vhd,
    "vhdx": _new_vhdx,
    "vdi": _new_vdi,
}


def _vdi_ids(file: File) -> ImageIds:
    from .vdi.reader import ids_of

    return ids_of(file)


def _vmdk_ids(file: File) -> ImageIds:
    from .vmdk.reader import ids_of

    return ids_of(file)


IDS: Dict[str, Callable[[File], ImageIds]] = {"vdi": _vdi_ids, "vmdk": _vmdk_ids}
"""How to find the UUIDs by which VirtualBox knows an image, of formats that have them. They raise as openers do."""


def _open_qcow2_at(port: Port, path: str, snapshot: str) -> Any:
    from .qcow2.reader import open_qcow2

    return open_qcow2(port, path, snapshot)


SNAPSHOT_OPENERS: Dict[str, Callable[[Port, str, str], ForeignImage]] = {"qcow2": _open_qcow2_at}
"""Of formats whose images may hold snapshots. Each raises NoSuchSnapshot, and what opening raises."""


def snapshots_below(port: Port, path: str, at: Optional[str]) -> Tuple[str, ...]:
    """The snapshots in a qcow2 image that are older than the one called ``at``, all when it is None, the newest first.

    They are what an opener takes for them. Raises what opening the image raises.
    """
    from .qcow2.snapshots import BY_ID, held_in

    held = held_in(port, path)
    named = [one for one in held if one.name == at] or [one for one in held if one.id == at]
    older = held if at is None else held[: held.index(named[0])]
    return tuple(BY_ID + one.id for one in reversed(older))


def snapshot_layers(images: Sequence[Any], below: Optional[GuestView]) -> Tuple[Any, ...]:
    """Open images of one qcow2 file at its snapshots, topmost first, each but the lowest as a layer on the next one.

    ``below`` is what is seen of its backing file, for whoever reads; the lowest image is a layer on that.
    """
    from .qcow2.delta import SnapshotDelta

    return (*(SnapshotDelta(one, lower, below) for one, lower in zip(images, images[1:])), *images[-1:])


# Of formats whose images may consist of several files.
_FILES: Dict[str, Callable[[ForeignShape, str], Tuple[str, ...]]] = {"vmdk": _vmdk_files}


def open_image(
    port: Port, format: str, path: str, open_beside: OpenBeside, snapshot: Optional[str] = None
) -> ForeignImage:
    """Open the image at ``path``, at a ``snapshot`` that it holds; ``open_beside`` opens the files that it names.

    Raises Unsupported for a format that is not read so, and what the reader raises.
    """
    if snapshot is not None:
        return SNAPSHOT_OPENERS[format](port, path, snapshot)
    if format not in OPENERS:
        raise Unsupported(f"{format} is no format that can be read", None, found=format)
    return OPENERS[format](port, path, open_beside)


def new_image_writer(image: NewImage) -> ForeignWriter:
    """The writer that fills the files of ``image``. Raises BadRequest when the format cannot hold such a disk."""
    return WRITERS[image.shape.format](image)


def file_names(shape: ForeignShape, base: str) -> Tuple[str, ...]:
    """What the files of an image called ``base`` are called; the first one is the image itself."""
    return _FILES[shape.format](shape, base) if shape.format in _FILES else (base,)
