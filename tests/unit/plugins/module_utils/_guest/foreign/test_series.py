# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pieces that were cut by size: known by their names, joined when the user says so, else with the command for it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, NotAWholeDisk
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign import series
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.allowed import Reach
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.series import joinable, series_of
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.foreign.test_whole import (
    content,
    planted,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "names, one, expected",
    [
        (["a.000", "a.001", "a.002"], "a.001", ["a.000", "a.001", "a.002"]),
        (["a.001", "a.002", "a.004"], "a.002", ["a.001", "a.002"]),
        (["a.999", "a.998"], "a.999", ["a.998", "a.999"]),
        (["x.aa", "x.ab", "x.ba"], "x.aa", ["x.aa", "x.ab"]),
        (["imgaa", "imgab"], "imgab", ["imgaa", "imgab"]),
        ([f"x{a}{b}" for a in "ab" for b in LETTERS], "xba", [f"x{a}{b}" for a in "ab" for b in LETTERS]),
        (["vm-web", "vm-wec"], "vm-wec", ["vm-wec"]),
        (["disk-final", "disk-x"], "disk-final", ["disk-final"]),
        (["a.01", "a.02"], "a.01", ["a.01"]),
        (["a.00", "a.01", "a.02"], "a.01", ["a.00", "a.01", "a.02"]),
        (["a.2023", "a.2024"], "a.2024", ["a.2024"]),
        (["a.0001", "a.0002"], "a.0002", ["a.0001", "a.0002"]),
        (["a.part1", "a.part2"], "a.part2", ["a.part1", "a.part2"]),
        (["a.part09", "a.part10"], "a.part10", ["a.part09", "a.part10"]),
        ([f"a.part{n}" for n in range(1, 12)], "a.part10", [f"a.part{n}" for n in range(1, 12)]),
        (["a_part_1", "a_part_2"], "a_part_1", ["a_part_1", "a_part_2"]),
        (["disk1", "disk2"], "disk1", ["disk1"]),
        (["web.1", "web.2"], "web.1", ["web.1"]),
    ],
)
def test_a_series_goes_to_the_next_gap(names: List[str], one: str, expected: List[str]) -> None:
    port = planted(dict.fromkeys(names, b"x"))
    assert series_of(port, f"/vm/{one}") == tuple(f"/vm/{name}" for name in expected)


def test_pieces_are_joined_when_the_user_says_so() -> None:
    files = {"d.000": fill(1, 4096), "d.001": fill(2, 4096), "d.002": fill(3, 700)}
    port = planted(files)
    whole = b"".join(files.values())
    assert content(port, "/vm/d.000", reach=Reach(joins=True)) == whole.ljust(9216, b"\0")
    source = find_source(port, "/vm/d.000", reach=Reach(joins=True))
    assert [path for path, _seen in source.fingerprint] == ["/vm/d.000", "/vm/d.001", "/vm/d.002"]


@pytest.mark.parametrize(
    "files, format, why",
    [
        ({"d.000": b"x"}, "auto", "no second piece"),
        ({"d.001": b"x", "d.002": b"x", "d.000": b"x"}, "auto", "the first piece is /vm/d.000"),
        ({"d.002": b"x", "d.003": b"x"}, "auto", "the first piece is /vm/d.002"),
        ({"d.000": b"xx", "d.001": b"x", "d.002": b"x"}, "auto", "not all of one length"),
        ({"d.000": b"x", "d.001": b"xx"}, "auto", "not all of one length"),
        ({"d.000": b"x", "d.001": b""}, "auto", "not all of one length"),
        ({"d.000": b"x", "d.001": b"x"}, "qcow2", "qcow2 images are not joined"),
        ({"d.000": b"QFI\xfb\0\0\0\3", "d.001": b"x"}, "auto", "no plain image (qcow2)"),
        ({"d.000": b"x" * 512, "d.001": b"conectix".ljust(512)}, "auto", "no plain image (vhd)"),
        ({"d.000": b"x", "d.001": b"x", "d.003": b"x"}, "auto", "between /vm/d.001 and /vm/d.003"),
        ({"d.00": b"x", "d.01": b"x", "d.9000": b"x"}, "auto", "between /vm/d.01 and /vm/d.9000"),
        ({"d.part1": b"x", "d.part2": b"x", "d.part10": b"x"}, "auto", "between /vm/d.part2 and /vm/d.part10"),
        ({"daa": b"x", "dab": b"x", "dba": b"x"}, "auto", "between /vm/dab and /vm/dba"),
    ],
)
def test_only_what_is_beyond_doubt_is_joined(files: Dict[str, bytes], format: str, why: str) -> None:
    port = planted(files)
    with pytest.raises(BadRequest) as caught:
        joinable(port, f"/vm/{next(iter(files))}", format)
    assert why in caught.value.message


def test_what_has_other_endings_is_no_piece() -> None:
    port = planted({"d.aa": b"x" * 512, "d.ab": b"y" * 512, "d.md": b"z", "d.raw": b"z"})
    assert [path for path, _seen in joinable(port, "/vm/d.aa", "auto")] == ["/vm/d.aa", "/vm/d.ab"]


@pytest.mark.parametrize("one", ["d.000", "d.002", "d.003"])
def test_a_piece_beside_a_gap_is_no_whole_disk(one: str) -> None:
    port = planted(dict.fromkeys(["d.000", "d.002", "d.003"], b"x" * 512))
    with pytest.raises(NotAWholeDisk) as caught:
        find_source(port, f"/vm/{one}")
    assert "others are missing" in caught.value.message and "Copy all pieces" in (caught.value.hint or "")


def test_no_link_leads_out_of_a_series() -> None:
    port = planted({"d.000": b"x" * 512})
    port.plant_file("/secret", b"y" * 512)
    port.plant_link("/vm/d.001", "/secret")
    with pytest.raises(BadRequest):
        joinable(port, "/vm/d.000", "auto")


def test_too_many_pieces_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MOST_PIECES", 3)
    port: MemoryPort = planted({f"d.00{number}": b"x" for number in range(4)})
    with pytest.raises(BadRequest) as caught:
        joinable(port, "/vm/d.000", "auto")
    assert "more than 3 pieces" in caught.value.message


@pytest.mark.parametrize(
    "names",
    [
        ["d.qcow2.001", "d.qcow2.002", "d.qcow2.003"],
        [f"d.qcow2.{number:03d}" for number in range(12)],
        [f"d.qcow2.part{number}" for number in range(1, 12)],
        ["d.qcow2aa", "d.qcow2ab"],
        ["x y.00", "x y.01"],
    ],
)
def test_the_command_joins_all_pieces_in_order_and_nothing_else(tmp_path: Path, names: List[str]) -> None:
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes((b"QFI\xfb\0\0\0\3" if not number else b"") + fill(number, 600))
    stem = names[0].rstrip("0123456789")
    (tmp_path / f"{stem}bak").write_bytes(b"no piece")
    (tmp_path / "d.qcow2").write_bytes(b"another disk")
    with pytest.raises(NotAWholeDisk) as caught:
        find_source(OsPort(), str(tmp_path / names[0]))
    command = (caught.value.hint or "").partition("result: ")[2]
    subprocess.run(command, shell=True, check=True)
    made = command.rpartition(" > ")[2].strip("'")
    assert Path(made).read_bytes() == b"".join((tmp_path / name).read_bytes() for name in names)
    assert (tmp_path / "d.qcow2").read_bytes() == b"another disk"
