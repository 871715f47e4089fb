# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.machine_edit import (
    DiskValues,
    MachineEdit,
    machine_edit,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH, CONFIG = "/vms/a.pvm/a.hdd", "/vms/a.pvm/config.pvs"
MIB = 1 << 20
NEW = DiskValues(9 * MIB, "plain", True)


def host(disk: str, *, root: str = "ParallelsVirtualMachine") -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vms/a.pvm")
    disks.new_disk(port, PATH)
    port.plant_file(CONFIG, f"<?xml version='1.0'?><{root}><Hardware>{disk}</Hardware></{root}>".encode())
    return port


def edited(port: MemoryPort, values: DiskValues = NEW, **options: bool) -> Optional[MachineEdit]:
    return machine_edit(port, locate(port, PATH), values, **options)


def test_values_that_are_there_and_differ_change_and_nothing_else_does() -> None:
    before = (
        "<Hdd>\n <SystemName>a.hdd</SystemName><Size> 8 </Size><SizeInBytes>8388608</SizeInBytes>"
        "<SizeOnDisk>1</SizeOnDisk><DiskType>1</DiskType><Splitted>0</Splitted><New x='&gt;'/></Hdd>"
        "<Hdd><SystemName>b.hdd</SystemName><Size>8</Size></Hdd>"
    )
    port = host(before)
    edit = edited(port)
    assert edit is not None and edit.temporary == "/vms/a.pvm/.config.pvs.vdisk-new.tmp"
    after = before.replace("> 8 <", ">9<").replace("8388608", "9437184").replace("DiskType>1", "DiskType>0")
    after = after.replace("Splitted>0", "Splitted>1")
    assert edit.content == port.content(CONFIG).replace(before.encode(), after.encode())
    port.plant_file(CONFIG, edit.content)
    assert edited(port) is None


def test_what_the_file_does_not_say_is_not_added() -> None:
    assert edited(host("<Hdd><SystemName>a.hdd</SystemName></Hdd>")) is None
    port = host("<Hdd><SystemName>a.hdd</SystemName><Size/><DiskType>1</DiskType></Hdd>")
    edit = edited(port, DiskValues(9 * MIB))
    assert edit is not None and b"<Size>9</Size><DiskType>1<" in edit.content


def test_without_a_machine_there_is_nothing_to_change() -> None:
    port = MemoryPort()
    port.plant_directory("/vms/a.pvm")
    disks.new_disk(port, PATH)
    assert edited(port) is None and edited(port, is_asked_for=True) is None


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("a.hdd", True),
        ("./a.hdd/", True),
        (PATH, True),
        ("/gone/a.hdd", True),
        ("/vms/b.pvm/a.hdd", False),
        ("../b.pvm/a.hdd", False),
        ("b.hdd", False),
        ("", False),
    ],
)
def test_only_the_disk_itself_is_meant(name: str, is_ours: bool) -> None:
    port = host(f"<Hdd><SystemName>{name}</SystemName><Size>8</Size></Hdd>")
    port.plant_directory("/vms/b.pvm/a.hdd")
    assert (edited(port) is not None) == is_ours
    if not is_ours:
        with pytest.raises(DiskError) as caught:
            edited(port, is_asked_for=True)
        assert caught.value.code == "unsupported" and caught.value.path == CONFIG


def test_two_disks_that_lead_nowhere_are_not_guessed_between() -> None:
    disk = "<Hdd><SystemName>/gone/{}/a.hdd</SystemName><Size>8</Size></Hdd>"
    assert edited(host(disk.format(1) + disk.format(2))) is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"<", "damaged"),
        (b"", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"<Elephant/>", "damaged"),
        (b"<!DOCTYPE a><a/>", "damaged"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "unsupported"),
        (b"<a>" + b"<b/>" * (1 << 18) + b"</a>", "unsupported"),
    ],
)
def test_a_hostile_file_is_refused_with_the_way_out(content: bytes, code: str) -> None:
    port = host("")
    port.plant_file(CONFIG, content)
    with pytest.raises(DiskError) as caught:
        edited(port)
    assert caught.value.code == code and "machine: keep" in str(caught.value)


@given(st.text(alphabet="<>&;'\"= \n\tabHddSize/-!?[]", max_size=60))
def test_whatever_stands_in_the_file_only_the_values_change(noise: str) -> None:
    disk = f"<Hdd>{noise}<SystemName>a.hdd</SystemName><Size>8</Size>{noise}</Hdd>"
    port = host(disk)
    try:
        edit = edited(port, DiskValues(9 * MIB))
    except DiskError as error:
        assert error.code in ("damaged", "unsupported") and error.hint
        return
    before = port.content(CONFIG).decode()
    assert edit is None or edit.content.decode() in (
        before.replace("<Size>8<", "<Size>9<"),
        before.replace("<Size>8<", "<Size>9<", 1),
    )
