# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.tests.support.filesystems import Bytes

DISK = Bytes(bytes(range(256)))


def test_a_volume_reads_its_pieces_in_their_order() -> None:
    volume = Volume(DISK, [(100, 10), (20, 5), (200, 50)])
    assert volume.size == 65
    assert volume.read(8, 8) == bytes([108, 109, 20, 21, 22, 23, 24, 200])
    assert list(volume.on_disk(8, 16)) == [(108, 2), (20, 5), (200, 1)]


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (60, 6), (0, -1), (1 << 70, 1)])
def test_nothing_is_read_outside(offset: int, length: int) -> None:
    with pytest.raises(Uncertain) as error:
        Volume(DISK, [(100, 65)]).read(offset, length)
    assert error.value.code == "damaged"


def test_endless_reading_ends() -> None:
    volume = Volume(Bytes(bytes(4 << 20)), [(0, 4 << 20)])
    with pytest.raises(Uncertain) as error:
        for _time in range(18):
            volume.read(0, 4 << 20)
    assert error.value.code == "costly"
