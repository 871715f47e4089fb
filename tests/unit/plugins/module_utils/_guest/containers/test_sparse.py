# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files with holes in pax archives: as GNU tar makes them, and with maps that cannot be."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.sparse import decimal, placed
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.oracles import require
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_tar import entries

STORED = fill(1, 1024)


def member(headers: Dict[str, str], content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as writing:
        info = tarfile.TarInfo("GNUSparseFile.7/disk.img")
        info.size, info.pax_headers = len(content), headers
        writing.addfile(info, io.BytesIO(content))
        after = tarfile.TarInfo("after")
        after.size = 5
        writing.addfile(after, io.BytesIO(b"after"))
    return stream.getvalue()


def version_1(text: str, real: str = "8192", stored: bytes = STORED) -> bytes:
    headers = {"major": "1", "minor": "0", "name": "disk.img", "realsize": real}
    table = text.encode().ljust(-(-len(text) // 512) * 512, b"\0")
    return member({f"GNU.sparse.{key}": value for key, value in headers.items()}, table + stored)


def version_0(text: str, real: str = "8192", stored: bytes = STORED) -> bytes:
    return member({"GNU.sparse.size": real, "GNU.sparse.map": text, "GNU.sparse.name": "disk.img"}, stored)


WHOLE = (bytes(512) + STORED[:512] + bytes(2048) + STORED[512:]).ljust(8192, b"\0")


@pytest.mark.parametrize(
    "raw",
    [
        version_1("3\n512\n512\n3072\n512\n8192\n0\n"),
        version_0("512,512,3072,512,8192,0"),
        version_0("512,512,3072,512"),
    ],
)
def test_the_holes_are_where_the_map_has_them(raw: bytes) -> None:
    assert entries(raw) == {"disk.img": WHOLE, "after": b"after"}


def test_a_map_may_be_longer_than_a_block() -> None:
    pairs = [(number * 16, 8) for number in range(300)]
    stored = fill(2, 2400)
    expected = b"".join(stored[number * 8 : number * 8 + 8] + bytes(8) for number in range(300))
    text = "".join(f"{start}\n{length}\n" for start, length in pairs)
    assert entries(version_1(f"300\n{text}", "4800", stored))["disk.img"] == expected
    joined = ",".join(f"{start},{length}" for start, length in pairs)
    assert entries(version_0(joined, "4800", stored))["disk.img"] == expected


@pytest.mark.parametrize("version", ["old", "0.0", "0.1", "1.0"])
def test_what_gnu_tar_packs_is_what_was_there(tmp_path: Path, version: str) -> None:
    require("tar")
    with open(tmp_path / "disk.img", "wb") as stream:
        for number in range(40):
            stream.seek(number << 20)
            stream.write(fill(number, 4096))
        stream.truncate(41 << 20)
    form = ["--format=gnu"] if version == "old" else ["--format=posix", f"--sparse-version={version}"]
    command = ["tar", "-C", str(tmp_path), *form, "-cSf", str(tmp_path / "a.tar"), "disk.img"]
    subprocess.run(command, check=True)
    if os.path.getsize(tmp_path / "a.tar") > 20 << 20:
        pytest.skip("the file system of the test keeps no holes")
    assert entries((tmp_path / "a.tar").read_bytes()) == {"disk.img": (tmp_path / "disk.img").read_bytes()}


WRONG = [
    version_1("x\n"),
    version_1("2\n0\n512\n"),
    version_1("1\n0\n1025\n"),
    version_1("1\n8000\n512\n"),
    version_1("2\n512\n512\n0\n512\n"),
    version_1(str(10**17) + "\n"),
    version_1("9" * 600 + "\n"),
    version_1("²\n"),
    version_1("1\n0\n512\n", real="-1"),
    version_1("1\n0\n512\n", real="9" * 5000),
    version_1("1\n0\n512\n", real="²"),
    version_0("0"),
    version_0("0,512,x,1"),
    version_0("0,512,100,512"),
    member({"GNU.sparse.map": "0,512"}, STORED),
    member({"size": "²"}, STORED),
]


@pytest.mark.parametrize("raw", WRONG)
def test_a_map_that_cannot_be_is_damaged(raw: bytes) -> None:
    with pytest.raises(Damaged) as caught:
        entries(raw)
    assert caught.value.path == "/a.tar" and caught.value.hint


def test_holes_of_solaris_are_not_guessed() -> None:
    with pytest.raises(Unsupported) as caught:
        entries(member({"SUN.holesdata": " 0 512 4096"}, STORED))
    assert str(caught.value).endswith("tar -xf /a.tar")


@pytest.mark.parametrize("text, expected", [("0", 0), ("0012", 12), ("9" * 18, 10**18 - 1)])
def test_numbers_are_digits(text: str, expected: int) -> None:
    assert decimal(text, "/x", 0) == expected


@pytest.mark.parametrize(
    "pairs, place, real, expected",
    [
        ([], (100, 0), 10, ()),
        ([(0, 4), (6, 2)], (100, 6), 10, ((0, 4, 100), (6, 2, 104))),
        ([(0, 4), (10, 0)], (100, 4), 10, ((0, 4, 100),)),
    ],
)
def test_stretches_follow_each_other_in_the_archive(
    pairs: List[Tuple[int, int]], place: Tuple[int, int], real: int, expected: Any
) -> None:
    assert placed(pairs, place, real, "/x") == expected
