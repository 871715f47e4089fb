# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.place import Place
from ansible_collections.vdisk.parallels.plugins.module_utils._io.counting import CountingFile


@pytest.mark.parametrize("start, length, end", [(0, 0, 0), (0, 7, 7), (4096, 512, 4608), (1 << 62, 1 << 62, 1 << 63)])
def test_the_end_is_counted_in_the_guest_and_not_in_the_file(start: int, length: int, end: int) -> None:
    assert Place(start, length, CountingFile("/disk"), 1 << 20).end == end


def test_a_place_unpacks_as_start_length_file_and_offset() -> None:
    file = CountingFile("/disk")
    start, length, found, offset = Place(4096, 512, file, 65536)
    assert (start, length, found, offset) == (4096, 512, file, 65536)


def test_places_are_the_same_only_in_one_file() -> None:
    one, other = CountingFile("/disk"), CountingFile("/disk")
    assert Place(0, 512, one, 0) == Place(0, 512, one, 0)
    assert Place(0, 512, one, 0) != Place(0, 512, other, 0)
