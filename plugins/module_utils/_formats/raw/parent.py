# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A raw image below an overlay of another product, with the face of the images it is read together with."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Mapping, Optional, Tuple

from ..._io.port import Port
from ..image import ParentLink
from .reader import open_raw


class PlainParent:
    """A raw image: no image below it, nothing that identifies it, nothing to say of it."""

    parent: Optional[ParentLink] = None
    identity: Optional[str] = None
    properties: Mapping[str, object] = {}
    warnings: Tuple[str, ...] = ()

    def __init__(self, port: Port, path: str) -> None:
        self._image = open_raw(port, path)
        self.path = path
        self.files = (path,)
        self.size = self._image.size
        self.extents = self._image.extents
        self.pread_into = self._image.pread_into
        self.places = self._image.places
        self.close = self._image.close
