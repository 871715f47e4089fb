# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is a disk by itself, and what is a part of something beside it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, NotAWholeDisk
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.allowed import Reach
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.whole import (
    joinable,
    refuse_part,
    series_of,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


def planted(files: Dict[str, bytes]) -> MemoryPort:
    port = MemoryPort()
    for name, content in files.items():
        port.plant_file(f"/vm/{name}", content)
    return port


def content(port: MemoryPort, path: str, **options: Any) -> bytes:
    view = open_source(port, find_source(port, path, **options))
    buffer = bytearray(view.size)
    view.pread_into(0, buffer)
    view.close()
    return bytes(buffer)


WHOLE = [
    "a",
    "a.img",
    "a.raw",
    "a.iso",
    "a.001",
    "a.vm",
    "a.qcow2.raw",
    "vmdk",
    "backup.2024",
    "banana",
    "a-flat.img",
    "a.v1",
    "a.01",
]


@pytest.mark.parametrize("name", WHOLE)
def test_what_stands_alone_is_whole(name: str) -> None:
    port = planted({name: fill(1, 4096), "b.img": b"", "a.txt": b"x"})
    refuse_part(port, f"/vm/{name}", fill(1, 4096))
    assert content(port, f"/vm/{name}") == fill(1, 4096)


@pytest.mark.parametrize(
    "name", ["a.qcow2", "a.VDI", "a.vhdx", "a.avhdx", "a.vmdk", "a.ova", "a.vhd", "a.qcow", "a.hds", "a.img.gz"]
)
def test_a_false_name_is_refused_unless_the_user_says_raw(name: str) -> None:
    port = planted({name: fill(1, 4096)})
    with pytest.raises(NotAWholeDisk):
        find_source(port, f"/vm/{name}")
    assert content(port, f"/vm/{name}", format="raw") == fill(1, 4096)


def test_a_file_that_lies_in_a_bundle_and_is_none_of_it_is_whole() -> None:
    port = planted({"a.hdd/DiskDescriptor.xml": b"<File>b</File>", "a.hdd/c.raw": fill(1, 4096)})
    refuse_part(port, "/vm/a.hdd/c.raw", b"")
    assert content(port, "/vm/a.hdd/c.raw") == fill(1, 4096)


@pytest.mark.parametrize(
    "names, one, expected",
    [
        (["a.000", "a.001", "a.002"], "a.001", ["a.000", "a.001", "a.002"]),
        (["a.001", "a.002", "a.004"], "a.002", ["a.001", "a.002"]),
        (["a.999", "a.998"], "a.999", ["a.998", "a.999"]),
        (["x.aa", "x.ab", "x.ba"], "x.aa", ["x.aa", "x.ab"]),
        (["imgaa", "imgab"], "imgab", ["imgaa", "imgab"]),
        (["disk-final", "disk-x"], "disk-final", ["disk-final"]),
        (["a.01", "a.02"], "a.01", ["a.01"]),
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
        ({"d.000": b"QFI\xfb\0\0\0\3", "d.001": b"x"}, "auto", "no plain image"),
    ],
)
def test_only_what_is_beyond_doubt_is_joined(files: Dict[str, bytes], format: str, why: str) -> None:
    port = planted(files)
    with pytest.raises(BadRequest) as caught:
        joinable(port, f"/vm/{next(iter(files))}", format)
    assert why in caught.value.message


@pytest.mark.parametrize("whole", [None, "/vm/d.vmdk"])
def test_only_small_texts_that_name_an_extent_are_its_description(whole: Optional[str]) -> None:
    port = planted({"d-f001.vmdk": fill(1, 4096), "big.vmdk": b'"d-f001.vmdk"' + bytes(2 << 20), "c.vmdk": b"d-f001"})
    port.plant_other("/vm/b.vmdk")
    port.plant_link("/vm/e.vmdk", "/vm/nowhere")
    if whole:
        port.plant_file(whole, b'RW 8 FLAT "d-f001.vmdk" 0')
    with pytest.raises(NotAWholeDisk) as caught:
        refuse_part(port, "/vm/d-f001.vmdk", b"")
    assert caught.value.found == whole


def test_no_link_leads_out_of_a_series() -> None:
    port = planted({"d.000": b"x" * 512})
    port.plant_file("/secret", b"y" * 512)
    port.plant_link("/vm/d.001", "/secret")
    with pytest.raises(BadRequest):
        joinable(port, "/vm/d.000", "auto")
    port.plant_link("/vm/DiskDescriptor.xml", "/secret")
    refuse_part(port, "/vm/a.raw", b"")
