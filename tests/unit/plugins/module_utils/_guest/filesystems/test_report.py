# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Answer
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.report import described, doubt_of
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.runs import Runs
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of


class View:
    size = 100

    def extents(self, start, length):
        return iter((Extent(0, 40, DATA), Extent(40, 20, ZERO), Extent(60, 40, DATA)))


def test_what_is_stored_of_what_is_free_is_droppable() -> None:
    found = described(View(), Answer(2, 10, "ext4", "root", 80, Runs([(20, 70), (85, 90)])))  # type: ignore[arg-type]
    assert found == {
        "partition": 2,
        "offset": 10,
        "type": "ext4",
        "label": "root",
        "size": 80,
        "used": 25,
        "free": 55,
        "droppable": 20 + 10 + 5,
        "certain": True,
        "reason": None,
    }


def test_nothing_is_known_of_what_is_not_certain() -> None:
    found = described(View(), Answer(2, 10, "ext4", None, 80, Runs(), "unclean"))  # type: ignore[arg-type]
    assert (found["used"], found["free"], found["droppable"], found["certain"]) == (None, None, 0, False)


def test_a_disk_without_a_machine_leaves_no_doubt() -> None:
    port = disks.two_layers("/vm/a.hdd", guid_of(1))
    state = disks.state_of(port, "/vm/a.hdd")
    assert [doubt_of(state, guid) for guid in state.tree.shots] == [None, None]
    disks.patch(port, disks.file_of(port, "/vm/a.hdd"), 44, b"\x59\x6e\x6f\x74")
    state = disks.state_of(port, "/vm/a.hdd")
    assert [doubt_of(state, guid) for guid in state.tree.chain(state.tree.top)] == ["unclean", None]
