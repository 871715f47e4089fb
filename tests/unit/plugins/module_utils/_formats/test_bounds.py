# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.bounds import check_next, check_range


@pytest.mark.parametrize("start, length", [(0, 0), (0, 10), (10, 0), (3, 7)])
def test_a_range_of_the_disk_is_fine(start: int, length: int) -> None:
    check_range("/d", 10, start, length)


@pytest.mark.parametrize("start, length", [(-1, 1), (0, 11), (10, 1), (11, 0), (5, -1)])
def test_a_range_that_leaves_the_disk_is_a_bad_request(start: int, length: int) -> None:
    with pytest.raises(BadRequest) as caught:
        check_range("/d", 10, start, length)
    assert (caught.value.path, caught.value.expected) == ("/d", "0..10")


def test_a_writer_goes_ahead_within_the_disk() -> None:
    for offset, length in ((4, 0), (4, 6), (10, 0)):
        check_next("/d", 4, 10, offset, length)
    for offset, length in ((3, 1), (3, 7), (4, 7), (5, -1), (11, 0)):
        with pytest.raises(BadRequest) as caught:
            check_next("/d", 4, 10, offset, length)
        assert (caught.value.path, caught.value.expected) == ("/d", "4..10")
