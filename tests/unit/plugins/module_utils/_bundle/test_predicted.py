# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a disk that does not exist yet. That it comes true is tested where disks are made."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.predicted import predicted_bundle, unwritten
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape, descriptor_of
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB
from ansible_collections.vdisk.parallels.tests.support.disks import TOP


@pytest.mark.parametrize("kind, used", [("expanding", 3), ("plain", 0)])
def test_clusters_in_use_follow_from_the_length_of_the_file(kind: str, used: int) -> None:
    shape = Shape(256 * KIB, kind, 32 * KIB)
    descriptor = descriptor_of(shape, name="a", base="a.hdd", uid=None)
    file = descriptor.storages[0].images[0].file
    length = 4 * 32 * KIB if kind == "expanding" else 256 * KIB
    state = predicted_bundle("/vm/a.hdd", shape, descriptor, {file: length})
    image = state.layer(TOP)[0]
    assert (image.used_clusters, image.stat.size, image.path) == (used, length, f"/vm/a.hdd/{file}")
    assert state.others == ("DiskDescriptor.xml", "a.hdd")
    assert state.is_bundle and state.journal is None


def test_blocks_of_a_file_that_is_not_there_are_not_known() -> None:
    assert unwritten(512).allocated < 0
