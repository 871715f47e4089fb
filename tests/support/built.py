# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bundle built and observed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle


def built(
    tmp_path: Path,
    layers: List[Layer],
    *,
    size_sectors: int = 8,
    cluster_sectors: int = 1,
    name: str = "a.hdd",
    **options: Any,
) -> BundleState:
    path = build_bundle(
        str(tmp_path / name), size_sectors=size_sectors, cluster_sectors=cluster_sectors, layers=layers, **options
    ).directory
    return disks.state_of(OsPort(), path)
