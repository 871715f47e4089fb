# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible.errors import AnsibleFilterError

from ansible_collections.vdisk.parallels.plugins.filter.human_size import human_size


def test_sizes_are_for_people() -> None:
    assert [human_size(one) for one in (0, "1536", 3 << 30, -(5 << 20))] == ["0 B", "1.5 KiB", "3 GiB", "-5 MiB"]
    for wrong in ("many", None, [1]):
        with pytest.raises(AnsibleFilterError):
            human_size(wrong)
