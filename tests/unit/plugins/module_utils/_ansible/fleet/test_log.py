# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.fleet.log import Log
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.maintain.record import open_record


def test_without_a_record_nothing_is_written_or_known() -> None:
    log = Log()
    log.turn("/a")
    log.done({"path": "/a", "outcome": "changed"})
    log.end([])
    log.close()
    assert log.earlier is None and "/a" not in log.reached


def test_what_was_done_before_a_cut_is_told_by_the_next_run(root: str) -> None:
    first = Log(open_record(OsPort(), f"{root}/record"))
    first.turn("/a")
    first.done({"path": "/a", "outcome": "unchanged"})
    first.turn("/b")
    first.close()
    second = Log(open_record(OsPort(), f"{root}/record"))
    assert "/a" in second.reached and "/b" not in second.reached
    assert second.earlier is not None
    assert (second.earlier["disks"], second.earlier["cut_at"]) == ([{"path": "/a", "outcome": "unchanged"}], "/b")
