# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tables of images are read, by whomever."""

from __future__ import annotations

import os
from typing import Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import bat, reader
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check import image


def noted_reads(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """A list to which the name of each image is added whose table is read from now on."""
    reads: List[str] = []

    def read_table(file: Any, header: Any) -> Any:
        reads.append(os.path.basename(file.path))
        return bat.read_table(file, header)

    monkeypatch.setattr(image, "read_table", read_table)
    monkeypatch.setattr(reader, "read_table", read_table)
    return reads


def settled_images(bundle: str) -> List[str]:
    """The names of the images of a bundle, which look as if they had not been written for long."""
    names = sorted(name for name in os.listdir(bundle) if name.endswith(".hds"))
    for name in names:
        os.utime(f"{bundle}/{name}", (1e9, 1e9))
    return names
