# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The writer of each kind of output, with one face for all."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Sequence

from ..._bundle.shape import Shape
from ..._formats.image import ForeignWriter, ParentImage
from ..._io.port import File
from ..copy.parts_writer import parts_writer
from .request import AnyShape


def new_writer(
    shape: AnyShape,
    files: Sequence[File],
    names: Sequence[str],
    *,
    parent: Optional[ParentImage] = None,
    disk_identity: Optional[str] = None,
) -> ForeignWriter:
    """A writer that fills ``files``, which will be called ``names``, for the lowest layer or one on ``parent``.

    ``disk_identity`` is that of the lowest layer. Raises BadRequest when the format cannot hold such a disk.
    """
    if isinstance(shape, Shape):
        return parts_writer(shape, files, is_overlay=parent is not None)
    from ..._formats.codecs import NewImage, new_image_writer

    return new_image_writer(NewImage(shape, files, names, parent, disk_identity))
