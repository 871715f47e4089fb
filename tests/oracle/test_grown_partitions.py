# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partitions that grew with their disk, in the eyes of sgdisk, sfdisk, parted and gdisk; and what is in them, in those
of e2fsck, resize2fs and ntfsresize.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.grow_partition import (
    GrowthRequest,
    plan_partition_growth,
)
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT
from ansible_collections.vdisk.parallels.tests.support import disks, layouts, oracles
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.layouts import MIB, SECTOR

GAIN = 48 * MIB
TOOLS = ("sgdisk", "sfdisk", "parted", "mkfs.fat", "mkfs.ext4", "mkfs.ntfs", "ntfsresize", "e2fsck", "resize2fs")
# Which partition grows, to how many MiB, and which ones move. None: the disk is refused.
EXPECTED: Dict[str, Optional[Dict[str, Any]]] = {
    "windows": {"number": 3, "mib": 132, "moved": [4], "content": "ntfs"},
    "macos": {"number": 2, "mib": None, "moved": [3], "content": "apfs"},
    "linux-swap": {"number": 2, "mib": 88, "moved": [3], "content": "ext"},
    "lvm": {"number": 2, "mib": 109, "moved": [], "content": "lvm2"},
    "mbr-extended": {"number": 1, "mib": 88, "moved": [2], "content": "ext"},
    "mbr-logical": {"number": 5, "mib": 102, "moved": [6, 7], "content": "ext"},
    "mbr-windows": {"number": 2, "mib": 128, "moved": [3], "content": "ntfs"},
    "bitlocker": {"number": 3, "mib": 80, "moved": [4], "content": "bitlocker"},
    "hybrid": None,
}


def planned(path: str, **options: Any) -> Plan:
    state = disks.state_of(PORT, path)
    return plan_partition_growth(PORT, state, GrowthRequest(**options), actual=state)


def grown_disk(folder: Path, name: str, *, with_snapshot: bool) -> str:
    """The layout in an expanding disk that has become larger."""
    oracles.require(*TOOLS)
    raw, path = folder / "before.img", str(folder / "a.hdd")
    layouts.MAKERS[name](raw)
    disks.convert(PORT, str(raw), path)
    if with_snapshot:
        disks.take(PORT, path, guid_of(1))
    disks.apply(PORT, disks.plan_of_grow(disks.state_of(PORT, path), raw.stat().st_size + GAIN, top_only=with_snapshot))
    return path


def tables_are_sound(image: Path) -> None:
    assert "No errors detected" in layouts.run("sfdisk", "--verify", str(image))
    scheme = "gpt" if layouts.get(image, SECTOR, 8) == b"EFI PART" else "msdos"
    said = layouts.run("parted", "-s", str(image), "unit", "s", "print")
    assert f"Partition Table: {scheme}" in said and "Error" not in said and "Warning" not in said
    if scheme == "gpt":
        assert "No problems found" in layouts.run("sgdisk", "-v", str(image))
        said = layouts.run("gdisk", "-l", str(image))
        assert "GPT: present" in said and "MBR: protective" in said and "Caution!" not in said
    oracles.compared("partition tables")


@pytest.mark.parametrize(
    ("name", "with_snapshot"),
    [
        *((name, False) for name, wanted in EXPECTED.items() if wanted is not None),
        ("windows", True),
        ("mbr-logical", True),
    ],
)
def test_tools_agree_with_the_partitions_of_a_grown_disk(tmp_path: Path, name: str, with_snapshot: bool) -> None:
    wanted = EXPECTED[name]
    assert wanted is not None
    path = grown_disk(tmp_path, name, with_snapshot=with_snapshot)
    plan = planned(path)
    grown = plan.facts.grown
    assert (grown["number"], grown["content"]) == (wanted["number"], wanted["content"]) and grown["guest_commands"]
    assert [one["number"] for one in grown["moved"]] == wanted["moved"]
    assert wanted["mib"] is None or grown["size"] == wanted["mib"] * MIB
    disks.apply(PORT, plan)
    assert planned(path).is_empty
    after = tmp_path / "after.img"
    after.write_bytes(disks.read_naively(PORT, path))
    tables_are_sound(after)
    contents_are_whole(tmp_path / "before.img", after, grown)


def contents_are_whole(before: Path, after: Path, grown: Dict[str, Any]) -> None:
    """Every partition is there under its GUID, with its bytes, and file systems are sound and grow."""
    found = {one.number: one for one in layouts.partitions_of(after)}
    old = {one.number: one for one in layouts.partitions_of(before)}
    assert {number: (one.type, one.guid) for number, one in old.items()} == {
        number: (one.type, one.guid) for number, one in found.items()
    }
    moved = {one["number"]: one["start"] // SECTOR for one in grown["moved"]}
    for number, one in old.items():
        now = found[number]
        assert now.size == (grown["size"] // SECTOR if number == grown["number"] else now.size)
        if old[number].type in ("5", "f"):
            continue
        assert number in moved or now.start == one.start or 2 in moved
        was, is_now = (
            layouts.get(disk, part.start * SECTOR, one.size * SECTOR) for disk, part in ((before, one), (after, now))
        )
        if was[3:11] == b"NTFS    " and now.start != one.start:
            # It says where it lies, twice.
            for at in (28, len(was) - SECTOR + 28):
                assert is_now[at : at + 4] == now.start.to_bytes(4, "little")
                is_now = is_now[:at] + was[at : at + 4] + is_now[at + 4 :]
        assert was == is_now, f"partition {number}"
        file_system_is_sound(after, now, grows=number == grown["number"] and now.size > one.size)


def file_system_is_sound(image: Path, one: layouts.Found, *, grows: bool) -> None:
    part = layouts.taken_out(image, one)
    if layouts.get(part, 1024 + 56, 2) == b"\x53\xef":
        layouts.run("e2fsck", "-fn", str(part))
        if grows:
            layouts.run("resize2fs", str(part))
            layouts.run("e2fsck", "-fn", str(part))
            said = layouts.run("dumpe2fs", "-h", str(part))
            assert f"Block count:              {one.size * SECTOR // 1024}" in said
        oracles.compared("e2fsck")
    elif layouts.get(part, 3, 8) == b"NTFS    ":
        assert "NTFS volume version" in layouts.run("ntfsresize", "-i", "-f", str(part))
        if grows:
            layouts.run("ntfsresize", "-f", "-f", str(part), feed="y\n")
        oracles.compared("ntfsresize")
    part.unlink()


def test_a_hybrid_boot_record_is_refused_when_it_names_what_changes(tmp_path: Path) -> None:
    path = grown_disk(tmp_path, "hybrid", with_snapshot=False)
    with pytest.raises(DiskError) as caught:
        planned(path)
    assert (caught.value.code, caught.value.found, caught.value.path) == ("unsupported", "hybrid", path)
    assert "gdisk" in str(caught.value)


def test_a_hybrid_boot_record_that_names_what_stays_stays(tmp_path: Path) -> None:
    oracles.require(*TOOLS)
    raw, path, after = tmp_path / "before.img", str(tmp_path / "a.hdd"), tmp_path / "after.img"
    layouts.by_sgdisk(raw, 64 * MIB, [("+4M", layouts.ESP), ("+40M", layouts.LINUX)])
    layouts.run("sgdisk", "-h", "1", str(raw))
    disks.convert(PORT, str(raw), path)
    disks.apply(PORT, disks.plan_of_grow(disks.state_of(PORT, path), 112 * MIB))
    disks.apply(PORT, planned(path))
    after.write_bytes(disks.read_naively(PORT, path))
    assert layouts.get(after, 0, SECTOR) == layouts.get(raw, 0, SECTOR)
    assert "No problems found" in layouts.run("sgdisk", "-v", str(after))
    assert layouts.partitions_of(after)[1].size == 106 * 2048


def test_a_disk_without_a_table_leaves_everything_to_the_guest(tmp_path: Path) -> None:
    path = grown_disk(tmp_path, "superfloppy", with_snapshot=False)
    plan = planned(path)
    assert plan.is_empty and plan.facts.grown["number"] is None
    assert plan.facts.grown["guest_commands"] == ["resize2fs /dev/sdX"]


@pytest.mark.parametrize("wanted", ["2", "part 2", "guid"])
def test_a_partition_is_named_by_number_label_or_guid(tmp_path: Path, wanted: str) -> None:
    path = grown_disk(tmp_path, "linux-swap", with_snapshot=False)
    guid = layouts.partitions_of(tmp_path / "before.img")[1].guid
    grown = planned(path, wanted="{" + guid.upper() + "}" if wanted == "guid" else wanted).facts.grown
    assert (grown["number"], grown["guid"]) == (2, guid)


# What the guide calls the layouts, and the partitions in them by number.
SHOWN = {
    "windows": ("Windows with WinRE", {1: "EFI", 2: "reserved", 3: "C:", 4: "WinRE"}),
    "macos": ("macOS on Intel", {1: "EFI", 2: "APFS", 3: "recovery"}),
    "linux-swap": ("Linux with swap at the end", {1: "EFI", 2: "ext4", 3: "swap"}),
    "lvm": ("Linux with LVM", {1: "BIOS boot", 2: "LVM"}),
    "mbr-extended": ("MBR with an extended partition", {1: "ext4", 2: "extended", 5: "swap"}),
    "hybrid": ("hybrid boot record", {1: "EFI", 2: "ext4", 3: "swap"}),
    "superfloppy": ("no table", {}),
    "bitlocker": ("BitLocker with WinRE", {1: "EFI", 2: "reserved", 3: "C:", 4: "WinRE"}),
}
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "docsite" / "rst" / "guide_bigger.rst"


def picture(parts: Sequence[layouts.Found], names: Mapping[int, str], moved: Sequence[int] = ()) -> str:
    """Partitions in their order with sizes in MiB; those that have moved are in brackets."""
    told: List[str] = []
    end = 2048
    for one in sorted(parts, key=lambda one: one.start):
        if one.start - end > 2 * 2048:
            told.append(f"free {(one.start - end) // 2048}")
        end = max(end, one.start + one.size)
        text = f"{names[one.number]} {round(one.size * SECTOR / MIB, 1):g}"
        told.append(f"[{text}]" if one.number in moved else text)
    return " | ".join(told)


def row_of(folder: Path, name: str) -> str:
    """The row of the guide about a layout, made of what really happens."""
    title, names = SHOWN[name]
    path = grown_disk(folder, name, with_snapshot=False)
    before, after = folder / "before.img", folder / "after.img"
    if name == "superfloppy":
        commands = planned(path).facts.grown["guest_commands"]
        size = before.stat().st_size // MIB
        return _row(title, f"ext4 {size}", f"ext4 {size} | free {GAIN // MIB}", commands)
    drawn = picture(layouts.partitions_of(before), names)
    try:
        plan = planned(path)
    except DiskError as error:
        return _row(title, drawn, f"refused: {error.statement.split(': ', 1)[1].split(' (/')[0]}", [])
    disks.apply(PORT, plan)
    after.write_bytes(disks.read_naively(PORT, path))
    moved = [one["number"] for one in plan.facts.grown["moved"]]
    if 2 in moved and name == "mbr-extended":
        moved.append(5)
    named = re.compile(r"(by-partuuid/|PARTUUID=)[0-9a-f-]+")
    commands = [named.sub(r"\1...", one) for one in plan.facts.grown["guest_commands"]]
    return _row(title, drawn, picture(layouts.partitions_of(after), names, moved), commands)


def _row(title: str, before: str, after: str, commands: Sequence[str]) -> str:
    told = "; ".join(f"``{one}``" for one in commands) or "as the refusal says"
    return f"   * - {title}\n     - ``{before}``\n     - ``{after}``\n     - {told}\n"


@pytest.mark.parametrize("name", SHOWN)
def test_the_guide_shows_what_happens(tmp_path: Path, name: str) -> None:
    row = row_of(tmp_path, name)
    assert row in GUIDE.read_text(encoding="utf-8"), row
