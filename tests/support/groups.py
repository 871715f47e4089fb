# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Groups of layers that become one, on disks of ``COUNT`` clusters of 64 KiB."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from typing import Dict, Iterator, Sequence

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_stack
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.placement import Group
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, line_of_layers

PORT = OsPort()
CLUSTER = 64 << 10
SECTORS = CLUSTER // 512
COUNT = 6


@contextmanager
def group_of(*held: Dict[int, bytes], below: int = 0, layers: Sequence[Layer] = ()) -> Iterator[Group]:
    """All layers from the root up but the ``below`` lowest ones."""
    with tempfile.TemporaryDirectory() as scratch:
        chain = list(layers) or line_of_layers(*held)
        built = build_bundle(f"{scratch}/a.hdd", size_sectors=COUNT * SECTORS, layers=chain, cluster_sectors=SECTORS)
        images = disks.state_of(PORT, built.directory).chain(disks.TOP, 0)
        stack = open_stack(PORT, images, COUNT * CLUSTER)
        try:
            yield Group(0, disks.TOP, images[: len(images) - below], stack)
        finally:
            stack.close()
