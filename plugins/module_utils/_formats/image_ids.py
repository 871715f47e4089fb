# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The UUIDs by which VirtualBox knows an image and the one below it, in VDI and in VMDK."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import NamedTuple, Optional


class ImageIds(NamedTuple):
    """GUIDs, None for what is not there: those of the image, and those that its parent must have.

    ``modification`` changes whenever the content of the image does.
    """

    image: Optional[str]
    modification: Optional[str]
    parent: Optional[str]
    parent_modification: Optional[str]


NO_IDS = ImageIds(None, None, None, None)
