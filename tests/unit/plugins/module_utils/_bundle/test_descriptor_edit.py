# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing a descriptor: only what must change changes, and what is foreign stays."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor import (
    Descriptor,
    ImageEntry,
    Shot,
    StorageEntry,
    validate,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor_edit import apply, new_descriptor
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor_xml import parse_descriptor
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.tree import build_tree
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, guid_of
from ansible_collections.vdisk.parallels.tests.support.descriptors import PATH, STYLES, document, parse

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 5))
SAMPLES = os.environ.get("VDISK_SAMPLES") or os.path.join(ROOT, os.pardir, "shared", "samples")
SAMPLE_FILES = ("desktop17-expanding.hdd/DiskDescriptor.xml", "desktop17-descriptor-only.xml")


def with_snapshot(facts: Descriptor, guid: str) -> Descriptor:
    """What taking a snapshot changes: the old top's file gets the snapshot's GUID and a new file the top's."""
    top = facts.declared_top or guids.TOP
    storages = []
    for part, storage in enumerate(facts.storages):
        kept = tuple(replace(image, guid=guid) if image.guid == top else image for image in storage.images)
        storages.append(replace(storage, images=(ImageEntry(top, "Compressed", f"new.{part}.hds"),) + kept))
    shots: List[Shot] = []
    for shot in facts.shots:
        shots += [Shot(top, guid), replace(shot, guid=guid)] if shot.guid == top else [shot]
    return replace(facts, storages=tuple(storages), shots=tuple(shots))


def test_a_snapshot_changes_only_the_lines_it_must() -> None:
    text = (
        document()
        .replace("<Type>Compressed</Type>", "<Type>Compressed</Type><!-- mine -->", 1)
        .replace("<Shot>", '<Shot Operation="">', 1)
    )
    changed = apply(text.encode(), with_snapshot(parse(text), guid_of(7)), path=PATH).decode()
    images = f"""            <Image>
                <GUID>{guids.TOP}</GUID>
                <Type>Compressed</Type>
                <File>new.0.hds</File>
            </Image>
            <Image>
                <GUID>{guid_of(7)}</GUID>
                <Type>Compressed</Type><!-- mine -->
"""
    shots = f"""        <Shot Operation="">
            <GUID>{guids.TOP}</GUID>
            <ParentGUID>{guid_of(7)}</ParentGUID>
        </Shot>
        <Shot>
            <GUID>{guid_of(7)}</GUID>
            <ParentGUID>{guid_of(1)}</ParentGUID>
        </Shot>
"""
    before, _mark, rest = text.partition("            <Image>\n")
    middle, _mark, end = rest.partition("<!-- mine -->\n")[2].partition('        <Shot Operation="">\n')
    expected = before + images + middle + shots + end.split("        </Shot>\n", 1)[1]
    assert changed == expected


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("style", STYLES)
def test_line_ends_marks_and_encodings_survive_a_change(style: str, encoding: str, mark: str, newline: str) -> None:
    text = mark + document(style).replace("\n", newline)
    if encoding != "utf-8":
        text = re.sub(r" encoding='[^']*'", "", text)
    xml = text.encode(encoding)
    facts = parse_descriptor(xml, path=PATH)
    changed = apply(xml, with_snapshot(facts, guid_of(7)), path=PATH)
    back = apply(changed, facts, path=PATH)
    assert changed.decode(encoding).count("\r") == (changed.decode(encoding).count("\n") if newline == "\r\n" else 0)
    assert parse_descriptor(changed, path=PATH) == with_snapshot(facts, guid_of(7))
    assert back == xml


def test_top_guid_is_changed_where_it_stands_added_in_front_and_removed() -> None:
    text = document("ploop")
    facts = parse(text)
    other = apply(text.encode(), replace(facts, declared_top=guid_of(1)), path=PATH).decode()
    assert other == text.replace(f"<TopGUID>{guids.TOP}", f"<TopGUID>{guid_of(1)}")
    without = apply(text.encode(), replace(facts, declared_top=None), path=PATH).decode()
    assert without == text.replace(f"\n    <TopGUID>{guids.TOP}</TopGUID>", "")
    assert apply(without.encode(), facts, path=PATH).decode() == text


def test_storages_come_and_go() -> None:
    split = document(ranges=((0, 4096), (4096, 8192)))
    whole = document(ranges=((0, 8192),))
    for before, after in ((split, whole), (whole, split)):
        assert apply(before.encode(), parse(after), path=PATH).decode() == after


def test_missing_elements_are_put_where_they_belong() -> None:
    text = document("ploop")
    facts = parse(text)
    storage = replace(facts.storages[0], preallocated=True)
    target = replace(facts, uid=guid_of(3), name="näme", physical_sector=512, suspended=True, storages=(storage,))
    changed = apply(text.encode(), target, path=PATH)
    order = re.findall(r"<(\w+)>", changed.decode())
    assert order[1:14] == [
        "Disk_Parameters",
        "Disk_size",
        "Cylinders",
        "PhysicalSectorSize",
        "Heads",
        "Sectors",
        "Padding",
        "UID",
        "Name",
        "Miscellaneous",
        "SuspendState",
        "StorageData",
        "Storage",
    ]
    assert order[14:18] == ["Start", "End", "Blocksize", "Preallocated"]
    assert parse_descriptor(changed, path=PATH) == target
    again = apply(changed, replace(target, suspended=False, uid=None), path=PATH)
    assert parse_descriptor(again, path=PATH) == replace(target, suspended=False, uid=None)


@pytest.mark.parametrize(
    "change",
    [
        {"root_name": "Virtuozzo_disk_image"},
        {"version": "2.0"},
        {"encrypted": True},
        {"name": ""},
        {"uid": "{0F6C1A52-7A1E-4C6B-9A53-3F3C3D6A1B01}"},
        {"storages": (StorageEntry(0, 8192, 2048, False, (ImageEntry("{x}", "Compressed", "f"),)),)},
    ],
)
def test_what_a_descriptor_cannot_say_is_refused(change: Dict[str, Any]) -> None:
    text = document()
    with pytest.raises(DiskError):
        apply(text.encode(), replace(parse(text), **change), path=PATH)


GUIDS = st.sampled_from([guid_of(number) for number in range(9)] + [guids.TOP])
FILES = st.sampled_from([f"f{number}.hds" for number in range(9)] + ["a & b <c>.hds", "ü.hds"])
NUMBER = st.integers(0, 2**63 - 1)
TEXT = st.text("ab &<>é\n\r\t'\"]", min_size=1, max_size=8)
IMAGES = st.lists(
    st.builds(ImageEntry, GUIDS, st.sampled_from(["Compressed", "Plain"]), FILES),
    max_size=6,
    unique_by=lambda i: i.guid,
).map(lambda images: tuple({image.file: image for image in images}.values()))
STORAGES = st.lists(st.builds(StorageEntry, NUMBER, NUMBER, NUMBER, st.booleans(), IMAGES), max_size=4).map(tuple)
SHOTS = st.lists(st.builds(Shot, GUIDS, GUIDS, st.booleans()), max_size=7, unique_by=lambda shot: shot.guid).map(tuple)
FACTS = st.builds(
    Descriptor,
    root_name=st.just("Parallels_disk_image"),
    version=st.just("1.0"),
    size_sectors=NUMBER,
    cylinders=NUMBER,
    heads=st.none() | NUMBER,
    sectors=st.none() | NUMBER,
    padding=st.integers(0, 1),
    encrypted=st.just(False),
    uid=st.none() | GUIDS,
    name=st.none() | TEXT,
    logical_sector=st.sampled_from([512, 4096]),
    physical_sector=st.none() | NUMBER,
    suspended=st.booleans(),
    storages=STORAGES,
    shots=SHOTS,
    declared_top=st.none() | GUIDS,
).filter(lambda facts: len(facts.shots) + 1 != len(facts.storages[0].images) if facts.storages else True)


def decorated(xml: bytes, seed: int) -> Tuple[bytes, List[str]]:
    """Foreign elements, comments and instructions in many places of the document, and the list of them in order."""
    marks: List[str] = []

    def put(match: re.Match[str]) -> str:
        number = len(marks)
        marks.append(
            [f"<!-- {number} <x> -->", f"<Foreign{number} a='>'><b/></Foreign{number}>", f"<?pi {number}?>"][
                (number + seed) % 3
            ]
        )
        return match.group() + ("\n\t" if (number + seed) % 2 else "") + marks[-1]

    text = re.sub(
        r"(<Disk_Parameters>|</Disk_size>|</Padding>|<StorageData>|</StorageData>|<Snapshots>|</Snapshots>|<Miscellaneous>)",
        put,
        xml.decode(),
    )
    return text.encode(), marks


@settings(max_examples=150)
@given(FACTS, FACTS, st.integers(0, 5))
def test_any_descriptor_can_be_turned_into_any_other_and_keeps_what_is_foreign(
    before: Descriptor, after: Descriptor, seed: int
) -> None:
    xml, marks = decorated(new_descriptor(before), seed)
    assert parse_descriptor(xml, path=PATH) == before
    changed = apply(xml, after, path=PATH)
    assert parse_descriptor(changed, path=PATH) == after
    assert apply(changed, after, path=PATH) == changed
    text = changed.decode()
    positions = [text.find(mark) for mark in marks]
    assert -1 not in positions and positions == sorted(positions)
    compact = re.sub(rb">\s+<", b"><", xml)
    assert parse_descriptor(apply(compact, after, path=PATH), path=PATH) == after


@settings(max_examples=60)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.sampled_from(STYLES), st.integers(1, 3))
def test_snapshots_of_random_trees_come_and_go_without_a_trace(parents: List[int], style: str, parts: int) -> None:
    layers = [Layer(guid_of(0))]
    for number, parent in enumerate(parents, 1):
        layers.append(Layer(guid_of(number), guid_of(parent % number)))
    layers[-1] = dataclasses.replace(layers[-1], guid=guids.TOP)
    ranges = tuple((part * 2048, (part + 1) * 2048) for part in range(parts))
    xml = document(style, layers, ranges).encode()
    facts = parse_descriptor(xml, path=PATH)
    validate(facts, path=PATH)
    target = with_snapshot(facts, guid_of(99))
    validate(target, path=PATH)
    changed = apply(xml, target, path=PATH)
    assert parse_descriptor(changed, path=PATH) == target
    assert apply(changed, facts, path=PATH) == xml


def test_a_new_descriptor_says_what_was_asked_for_and_has_the_parts_that_desktop_writes() -> None:
    facts = parse(document(ranges=((0, 4096), (4096, 8192))))
    xml = new_descriptor(facts, bootable=True)
    assert parse_descriptor(xml, path=PATH) == facts
    assert xml.startswith(
        b"<?xml version='1.0' encoding='UTF-8'?>\n<Parallels_disk_image Version=\"1.0\">\n"
        b"    <Disk_Parameters>\n        <Disk_size>8192</Disk_size>"
    )
    assert b"<CompatLevel>level2</CompatLevel>" in xml and b"<Bootable>1</Bootable>" in xml


@pytest.mark.parametrize(
    "change", [{"encrypted": True}, {"root_name": ""}, {"root_name": "a b"}, {"version": '"'}, {"name": "\0"}]
)
def test_a_new_descriptor_never_says_anything_else(change: Dict[str, Any]) -> None:
    with pytest.raises((BadRequest, Damaged, Unsupported)):
        new_descriptor(replace(parse(document()), **change))


def sample(name: str) -> bytes:
    path = os.path.join(SAMPLES, name)
    if not os.path.exists(path):
        pytest.skip(f"no sample {name} beside the project")
    with open(path, "rb") as stream:
        return stream.read()


@pytest.mark.parametrize("name", SAMPLE_FILES)
def test_samples_are_sound_and_survive_a_snapshot_and_its_removal(name: str) -> None:
    xml = sample(name)
    facts = parse_descriptor(xml, path=PATH)
    validate(facts, path=PATH)
    assert build_tree(facts.shots, declared_top=facts.declared_top, path=PATH).top == guids.TOP
    changed = apply(xml, with_snapshot(facts, guid_of(7)), path=PATH)
    assert apply(xml, facts, path=PATH) == xml == apply(changed, facts, path=PATH)


def test_a_new_descriptor_has_the_bytes_that_parallels_desktop_wrote() -> None:
    xml = sample(SAMPLE_FILES[0])
    assert new_descriptor(parse_descriptor(xml, path=PATH)) == xml


def test_a_new_descriptor_has_the_elements_of_the_other_sample() -> None:
    xml = sample(SAMPLE_FILES[1])
    made = new_descriptor(parse_descriptor(xml, path=PATH), bootable=True)
    assert sorted(made.split(b"\n")) == sorted(xml.split(b"\n"))
