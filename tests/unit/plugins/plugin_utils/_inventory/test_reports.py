# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files with reports: what is understood, and what is refused with its place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.plugin_utils._inventory import reports
from ansible_collections.vdisk.parallels.plugins.plugin_utils._inventory.reports import (
    BadReport,
    read_report,
    report_files,
)
from ansible_collections.vdisk.parallels.tests.support.reports import disk, fleet_report, info


def written(folder: Path, content: Any, name: str = "mac07.example.com.json") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(path)


def test_a_result_is_of_the_host_that_the_file_is_named_after(tmp_path: Path) -> None:
    failed = [{"path": "/b.hdd", "error_code": "damaged", "msg": "m"}]
    (told,) = read_report(written(tmp_path, info(disk("/a.hdd"), failed=failed)))
    assert (told.host, told.message, told.failed) == ("mac07.example.com", None, failed)
    assert [one["path"] for one in told.disks] == ["/a.hdd"]


def test_an_audit_has_many_hosts(tmp_path: Path) -> None:
    audit = fleet_report(["a", "b"], [info(disk("/1.hdd")), {}])
    told = read_report(written(tmp_path, audit))
    assert [(one.host, len(one.disks)) for one in told] == [("a", 1), ("b", 0)]
    assert told[0].message is None and "no answer" in str(told[1].message)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        ([], "neither"),
        ({"disks": 5}, "neither"),
        ({"hosts": 5}, "neither"),
        ({"hosts": [], "format": 99}, "the format of the report is 99"),
        ({"hosts": []}, "the format of the report is None"),
        ({"format": 1, "hosts": [5]}, "hosts[0] has no name"),
        ({"format": 1, "hosts": [{"name": ""}]}, "hosts[0] has no name"),
        (
            {"format": 1, "hosts": [{"name": "a", "disks": {}}, {"name": "b", "disks": {"x": 1}}]},
            "hosts[1].disks is not",
        ),
        ({"disks": [], "failed_disks": 7}, "failed_disks is not a list"),
        ({"disks": [5]}, "disks[0] has no path"),
        ({"disks": [{"path": "/a"}, {"path": ["x"]}]}, "disks[1] has no path"),
        ({"disks": [disk("/a", vm=5)]}, "disks[0].vm is a int"),
        ({"disks": [disk("/a", vm={"name": {}})]}, "disks[0].vm.name is a dict"),
        ({"disks": [disk("/a", file_size="7")]}, "disks[0].file_size is a str"),
        ({"disks": [disk("/a", file_size=True)]}, "disks[0].file_size is a bool"),
        ({"disks": [disk("/a", snapshots=[7])]}, "snapshots has an entry that is a int"),
        ({"disks": [disk("/a", check={"findings": [[]]})]}, "findings has an entry that is a list"),
        ({"disks": [disk("/a", check={"findings": "x"})]}, "check.findings is a str"),
        ({"disks": [disk("/a", reclaimable={"zero": "much"})]}, "reclaimable has a str"),
        ({"disks": [], "failed_disks": [{"path": "/a", "findings": [1]}]}, "failed_disks[0]: findings"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: Any, why: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(BadReport) as caught:
        read_report(path)
    assert str(caught.value).startswith(f"{path}: ") and why in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("pipe.json", "none.json", "."):
        with pytest.raises(BadReport, match=str(tmp_path)):
            read_report(str(tmp_path / name))


def test_a_file_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MOST_BYTES", 1 << 20)
    path = tmp_path / "a.json"
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(BadReport, match="more than 1 MiB"):
        read_report(str(path))


def test_halves_of_characters_become_readable(tmp_path: Path) -> None:
    (told,) = read_report(written(tmp_path, {"disks": [disk("/a", name="x\udcff")]}))
    assert told.disks[0]["name"] == "x\\xff"


def test_a_folder_is_all_its_json_files(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "note.txt"):
        (tmp_path / name).write_text("")
    assert report_files(str(tmp_path)) == [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert report_files(str(tmp_path / "none.json")) == [str(tmp_path / "none.json")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadReport, match="ends in .json"):
        report_files(str(tmp_path / "empty"))
