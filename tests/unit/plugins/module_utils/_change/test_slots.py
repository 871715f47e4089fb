# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import tempfile
from typing import Dict

from ansible_collections.vdisk.parallels.plugins.module_utils._change.slots import free_slots
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.groups import CLUSTER, COUNT, PORT, SECTORS
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill


def filled(*indexes: int) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER) for index in indexes}


def test_only_whole_unused_clusters_are_room() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "old.hdd")
        build_hds(
            path,
            size_sectors=COUNT * SECTORS,
            clusters=filled(0, 1),
            cluster_sectors=SECTORS,
            gaps=[0, 2],
            tail=b"x" * (CLUSTER + 100),
        )
        image = disks.state_of(PORT, path).layer(disks.TOP)[0]
        assert image.header is not None
        start = image.header.data_start
        slots = free_slots(image, image.header)
        assert slots.reusable == (
            (start, start + CLUSTER),
            (start + 2 * CLUSTER, start + 3 * CLUSTER),
            (start + 4 * CLUSTER, start + 5 * CLUSTER),
        )
        assert slots.append_at == start + 6 * CLUSTER
