# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual machine around a disk, and the disks in a directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.pvm import (
    VmFacts,
    VmReport,
    VmSnapshot,
    find_vm,
    parse_vm_snapshots,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, guid_of

CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<{root} schemaVersion="1.0" dyn_lists="VirtualAppliance 0">
   <Identification dyn_lists="">
      <VmUuid>{{9c27ae79-fbe5-4c84-9cdc-e1459f642b91}}</VmUuid>
      <VmName>Mac &amp; more</VmName>
   </Identification>
   <Hardware>
{disks}
   </Hardware>
</{root}>
"""
DISK = """<Hdd dyn_lists="Partition 0" id="{index}">
   <Index>{index}</Index>
   <SystemName>{name}</SystemName>
   <InterfaceType>{interface}</InterfaceType>
   <Size>{size}</Size>
</Hdd>"""
SNAPSHOTS = """<?xml version="1.0" encoding="UTF-8"?>
<{root}>
  <SavedStateItem guid="">
    <SavedStateItem guid="{one}" state="poweroff">
      <Name>before</Name>
      <DateTime>2024-11-15 10:30:00</DateTime>
      <Description><![CDATA[why & what]]></Description>
      <SavedStateItem guid="{two}" state="suspend" current="yes">
        <Name><![CDATA[after <it>]]></Name>
      </SavedStateItem>
    </SavedStateItem>
  </SavedStateItem>
</{root}>
"""


def disk(name: str, index: int = 0, size: str = "1", interface: str = "2") -> str:
    return DISK.format(name=name, index=index, size=size, interface=interface)


def config(*disks: str, root: str = "ParallelsVirtualMachine") -> str:
    return CONFIG.format(disks="\n".join(disks), root=root)


def snapshots(root: str = "ParallelsSavedStates") -> str:
    return SNAPSHOTS.format(root=root, one=guid_of(1).upper(), two=guid_of(2))


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Path:
    """A .pvm with one bundle and nothing else."""
    machine = tmp_path / "mac.pvm"
    machine.mkdir()
    build_bundle(str(machine / "mac.hdd"), size_sectors=2048, images=False)
    return machine


def report(machine: Path) -> VmReport:
    return find_vm(OsPort(), locate(OsPort(), str(machine / "mac.hdd")))


def facts(machine: Path) -> VmFacts:
    found = report(machine)
    assert found.facts is not None and found.warnings == ()
    return found.facts


def test_a_disk_without_a_machine_has_none(machine: Path) -> None:
    assert report(machine) == VmReport(None, ())


def test_everything_a_machine_says_is_found(machine: Path) -> None:
    (machine / "config.pvs").write_text(config(disk("other.hdd", 0, "7", "0"), disk("mac.hdd", 3, "65536")))
    (machine / "Snapshots.xml").write_text(snapshots())
    assert facts(machine) == VmFacts(
        name="Mac & more",
        uuid="{9c27ae79-fbe5-4c84-9cdc-e1459f642b91}",
        config=os.path.realpath(machine / "config.pvs"),
        disk_index=3,
        config_size_mib=65536,
        interface="sata",
        suspended=True,
        snapshots={
            guid_of(1): VmSnapshot("before", "poweroff", False, "2024-11-15 10:30:00"),
            guid_of(2): VmSnapshot("after <it>", "suspend", True, ""),
        },
    )


@pytest.mark.parametrize(
    "name", ["mac.hdd", "./mac.hdd/", "{machine}/mac.hdd", "../mac.pvm/mac.hdd", "/Users/me/Parallels/mac.pvm/mac.hdd"]
)
def test_the_disk_is_found_by_every_spelling_of_its_path(machine: Path, name: str) -> None:
    (machine / "config.pvs").write_text(
        config(disk("nomac.hdd", 1), disk(name.format(machine=os.path.realpath(machine)), 2))
    )
    assert facts(machine).disk_index == 2


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("7", "macos"),
        ("8", "windows"),
        ("9", "linux"),
        ("10", "freebsd"),
        ("14", "solaris"),
        ("16", "android"),
        ("255", "other"),
        ("6", "other"),
        ("", None),
        ("-1", None),
        ("linux", None),
        ("9" * 20, None),
    ],
)
def test_the_type_of_the_guest_is_a_word(machine: Path, written: str, word: Optional[str]) -> None:
    settings = f"<Settings><General><OsType>{written}</OsType></General></Settings><Hardware>"
    (machine / "config.pvs").write_text(config(disk("mac.hdd")).replace("<Hardware>", settings))
    assert facts(machine).os == word


@pytest.mark.parametrize("order", [1, -1])
def test_a_path_that_fits_wins_over_a_name_that_fits(machine: Path, order: int) -> None:
    disks = [disk("/elsewhere/mac.hdd", 1), disk("mac.hdd", 2), disk("/other/mac.hdd", 3)]
    (machine / "config.pvs").write_text(config(*disks[::order]))
    assert facts(machine).disk_index == 2


@pytest.mark.parametrize(
    ("number", "root", "interface"),
    [
        ("0", "ParallelsVirtualMachine", "ide"),
        ("3", "ParallelsVirtualMachine", "nvme"),
        ("3", "VirtuozzoVirtualMachine", "virtio"),
        ("9", "ParallelsVirtualMachine", "9"),
    ],
)
def test_interfaces_have_names(machine: Path, number: str, root: str, interface: str) -> None:
    (machine / "config.pvs").write_text(config(disk("mac.hdd", interface=number), root=root))
    assert facts(machine).interface == interface


@pytest.mark.parametrize("size", ["", "-5", "1e9", "9" * 17, "²"])
def test_a_size_that_is_no_number_is_not_known(machine: Path, size: str) -> None:
    (machine / "config.pvs").write_text(config(disk("mac.hdd", size=size)), encoding="utf-8")
    assert facts(machine).config_size_mib is None


@pytest.mark.parametrize("name", ["{9c27}.mem", "suspended.sav"])
def test_saved_memory_means_suspended(machine: Path, name: str) -> None:
    (machine / "config.pvs").write_text(config(disk("mac.hdd")))
    (machine / name).write_bytes(b"")
    assert facts(machine).suspended


def test_a_machine_that_does_not_name_the_disk_is_reported_with_a_warning(machine: Path) -> None:
    (machine / "config.pvs").write_text(config(disk("other.hdd"), disk("")))
    found = report(machine)
    assert found.facts is not None and found.facts.name == "Mac & more" and found.facts.disk_index is None
    assert len(found.warnings) == 1


BROKEN: Dict[str, bytes] = {
    "not well-formed": b"<ParallelsVirtualMachine>",
    "another document": b"<html/>",
    "empty": b"",
    "entities": b'<!DOCTYPE a [<!ENTITY e "x">]><ParallelsVirtualMachine>&e;</ParallelsVirtualMachine>',
    "too large": b" " * ((16 << 20) + 1),
    "nested": b"<ParallelsVirtualMachine>" + b"<a>" * 50_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_configuration_is_a_warning_only(machine: Path, content: bytes) -> None:
    (machine / "config.pvs").write_bytes(content)
    found = report(machine)
    assert found.facts is None
    assert len(found.warnings) == 1 and "config.pvs" in found.warnings[0]


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_snapshots_are_a_warning_only(machine: Path, content: bytes) -> None:
    (machine / "config.pvs").write_text(config(disk("mac.hdd", 4)))
    (machine / "Snapshots.xml").write_bytes(content)
    found = report(machine)
    assert found.facts is not None and found.facts.disk_index == 4 and found.facts.snapshots == {}
    assert len(found.warnings) == 1 and "Snapshots.xml" in found.warnings[0]


@pytest.mark.parametrize("name", ["config.pvs", "Snapshots.xml"])
def test_a_fifo_in_place_of_a_document_is_a_warning_only(machine: Path, name: str) -> None:
    (machine / "config.pvs").write_text(config(disk("mac.hdd")))
    if (machine / name).exists():
        (machine / name).unlink()
    os.mkfifo(machine / name)
    assert len(report(machine).warnings) == 1


@pytest.mark.parametrize("root", ["ParallelsSavedStates", "VirtuozzoSavedStates"])
def test_snapshots_are_listed_parents_first(root: str) -> None:
    assert list(parse_vm_snapshots(snapshots(root).encode(), path="/s")) == [guid_of(1), guid_of(2)]


def test_a_snapshot_with_a_malformed_guid_is_damaged() -> None:
    with pytest.raises(Damaged):
        parse_vm_snapshots(b'<ParallelsSavedStates><SavedStateItem guid="1"/></ParallelsSavedStates>', path="/s")
