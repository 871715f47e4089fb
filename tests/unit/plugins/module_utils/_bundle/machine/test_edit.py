# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.machine.edit import (
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


# Machine files as others write them: what comes before and after the value, and how it is encoded.
_PLAIN = "<ParallelsVirtualMachine><Hardware>{}</Hardware></ParallelsVirtualMachine>"
_DISK = "<Hdd><SystemName>a.hdd</SystemName><Size>8</Size></Hdd>"
FILES = {
    "no final newline": ("<?xml version='1.0'?>" + _PLAIN.format(_DISK), "utf-8"),
    "single quotes": ("<?xml version='1.0' encoding='UTF-8'?>\n" + _PLAIN.format(_DISK) + "\n", "utf-8"),
    "carriage returns": (_PLAIN.format(f"\r\n\t{_DISK}\r\n").replace("><", ">\r\n<") + "\r\n", "utf-8"),
    "byte order mark": ("\ufeff<?xml version='1.0'?>" + _PLAIN.format(_DISK), "utf-8"),
    "utf-16": ("\ufeff<?xml version='1.0' encoding='UTF-16'?>" + _PLAIN.format(_DISK), "utf-16-le"),
    "utf-16 of Macs": ("\ufeff<?xml version='1.0' encoding='UTF-16'?>" + _PLAIN.format(_DISK), "utf-16-be"),
    "latin 1": ("<?xml version='1.0' encoding='iso-8859-1'?>" + _PLAIN.format(f"<V>\xfc</V>{_DISK}"), "latin-1"),
    "comments": (_PLAIN.format(f"<!-- <Size>8</Size> -->{_DISK}<!--x-->") + "<!-- <Hdd> -->", "utf-8"),
    "sections": (_PLAIN.format(f"<Note><![CDATA[<Size>8</Size> ]]></Note>{_DISK}"), "utf-8"),
    "instructions": (_PLAIN.format(f"<?odd <Size>8</Size>?>{_DISK}"), "utf-8"),
    "entities": (_PLAIN.format(f"<V a='&#x41;&quot;'>&amp;&lt;&#228;</V>{_DISK}"), "utf-8"),
    "another disk of this size": (_PLAIN.format(f"<Hdd><SystemName>b.hdd</SystemName>{{}}</Hdd>{_DISK}"), "utf-8"),
    "a size elsewhere": (_PLAIN.format(f"<Video><Size>8</Size></Video>{_DISK}<Size>7</Size>"), "utf-8"),
    "attributes with signs": (_PLAIN.format(f"<V a='>' b=\"&lt;/Hdd>\"/>{_DISK}"), "utf-8"),
    "signs of other planes": (_PLAIN.format(f"<V>\U0001f4be\u00e9e\u0301</V>{_DISK}"), "utf-8"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_others_keep_every_other_byte(name: str) -> None:
    text, codec = FILES[name]
    port = host("")
    port.plant_file(CONFIG, text.encode(codec))
    edit = edited(port, DiskValues(9 * MIB))
    wanted = text.replace(_DISK, _DISK.replace(">8<", ">9<"))
    if "\r\n" in text:
        wanted = text.replace("<Size>8<", "<Size>9<").replace("<Size>\r\n8<", "<Size>\r\n9<")
    assert edit is not None and edit.content.decode(codec) == wanted


@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("<Size>8</Size>", "<Size>9</Size>"),
        ("<Size> \n8 </Size >", "<Size>9</Size >"),
        ("<Size a='1'  >8<!-- in MiB --></Size>", "<Size a='1'  >9<!-- in MiB --></Size>"),
        ("<Size><![CDATA[8]]></Size>", "<Size>9</Size>"),
        ("<Size>&#56;</Size>", "<Size>9</Size>"),
        ("<Size/>", "<Size>9</Size>"),
        ("<Size />", "<Size>9</Size>"),
        ("<Size></Size>", "<Size>9</Size>"),
        ("<Size>much</Size>", "<Size>9</Size>"),
        ("<Size>9</Size>", None),
        ("<Size><![CDATA[9]]></Size>", None),
        ("<Size> 9\r\n</Size>", None),
        ("<Size><Deep>8</Deep></Size>", None),
        ("<size>8</size>", None),
    ],
)
def test_a_value_is_understood_however_it_is_written(value: str, after: Optional[str]) -> None:
    disk = f"<Hdd><SystemName><![CDATA[a.hdd]]></SystemName>{value}</Hdd>"
    port = host(disk)
    edit = edited(port, DiskValues(9 * MIB))
    assert (edit is not None) == (after is not None)
    if edit is not None and after is not None:
        assert edit.content == port.content(CONFIG).replace(value.encode(), after.encode())


def linked_host(kind: str) -> MemoryPort:
    """A disk that a machine reaches otherwise than by its name in the folder of the machine."""
    port = MemoryPort()
    for folder in ("/vms", "/vms/m.macvm", "/disks"):
        port.plant_directory(folder)
    disks.new_disk(port, "/disks/a.hdd")
    port.plant_link("/short", "/disks")
    name = {"link": "mac.hdd", "absolute": "/disks/a.hdd", "relative": "../../disks/a.hdd", "through": "/short/a.hdd"}
    if kind == "link":
        port.plant_link("/vms/m.macvm/mac.hdd", "/disks/a.hdd")
    disk = f"<Hdd><SystemName>{name[kind]}</SystemName><Size>8</Size></Hdd>"
    port.plant_file("/vms/m.macvm/config.pvs", _PLAIN.format(disk).encode())
    return port


@pytest.mark.parametrize("kind", ["link", "absolute", "relative", "through"])
def test_a_disk_is_known_however_its_machine_reaches_it(kind: str) -> None:
    port = linked_host(kind)
    location, config = locate(port, "/disks/a.hdd"), "/vms/m.macvm/config.pvs"
    edit = machine_edit(port, location, DiskValues(9 * MIB), configs=(config,), is_asked_for=True)
    assert edit is not None and (edit.config, edit.is_beside) == (config, False)
    assert edit.content == port.content(config).replace(b">8<", b">9<")
    assert machine_edit(port, location, DiskValues(9 * MIB)) is None


def test_of_several_machines_the_first_that_differs_is_meant_and_all_are_looked_at() -> None:
    port = linked_host("absolute")
    location, far, near = locate(port, "/disks/a.hdd"), "/vms/m.macvm/config.pvs", "/disks/config.pvs"
    port.plant_file(near, _PLAIN.format(_DISK.replace(">8<", ">9<")).encode())
    edit = machine_edit(port, location, DiskValues(9 * MIB), configs=(near, far))
    assert edit is not None and edit.config == far
    port.plant_file(near, _PLAIN.format("<Hdd><SystemName>b.hdd</SystemName><Size>8</Size></Hdd>").encode())
    assert machine_edit(port, location, DiskValues(9 * MIB), configs=(near, far), is_asked_for=True) == edit
    port.plant_file(near, _PLAIN.format(_DISK).encode())
    port.plant_file(far, b"<broken")
    with pytest.raises(DiskError) as caught:
        machine_edit(port, location, DiskValues(9 * MIB), configs=(near, far))
    assert (caught.value.code, caught.value.path) == ("damaged", far)
