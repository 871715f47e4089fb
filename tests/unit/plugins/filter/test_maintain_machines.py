# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of maintenance tells."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible_collections.vdisk.parallels.plugins.filter.maintain_machines import FilterModule, maintain_machines


def test_a_disk_that_waits_names_its_machine() -> None:
    machine = {"name": "b", "uuid": None, "path": "/b.pvm"}
    result = {"disks": [{"path": "/b.pvm/b.hdd", "worthwhile": True, "machine": machine}]}
    assert maintain_machines(result) == [{**machine, "disks": ["/b.pvm/b.hdd"]}]
    assert FilterModule().filters() == {"maintain_machines": maintain_machines}
