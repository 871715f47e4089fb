# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.request import ReshapeRequest
from ansible_collections.vdisk.parallels.tests.support import disks


def test_a_request_cannot_be_changed_and_leaves_alone_what_it_does_not_name() -> None:
    request = disks.reshape_request(size=1)
    assert isinstance(request, ReshapeRequest)
    assert (request.size, request.exact, request.kind, request.name) == (1, 1, None, None)
    with pytest.raises(AttributeError):
        request.size = 2  # type: ignore[misc]
