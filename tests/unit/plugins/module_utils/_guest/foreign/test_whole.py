# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is a disk by itself, and what is a part of something beside it."""

from __future__ import annotations

from typing import Any, Dict, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import NotAWholeDisk
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.whole import refuse_part
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
    "x.0000",
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


def test_no_link_leads_out_of_a_bundle() -> None:
    port = planted({"a.raw": b"x"})
    port.plant_file("/secret", b"y" * 512)
    port.plant_link("/vm/DiskDescriptor.xml", "/secret")
    refuse_part(port, "/vm/a.raw", b"")
