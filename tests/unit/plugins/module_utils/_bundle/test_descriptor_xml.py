# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DiskDescriptor.xml: read, changed and written."""

from __future__ import annotations

import re
import time
from typing import Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor import (
    Descriptor,
    ImageEntry,
    Shot,
    StorageEntry,
    validate,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor_edit import apply
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor_xml import parse_descriptor
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.tree import build_tree
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
    DiskError,
    NotABundle,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.descriptors import PATH, STYLES, document, parse


def test_every_fact_of_a_desktop_descriptor_is_read() -> None:
    top, base = guids.TOP, guid_of(1)
    assert parse(document()) == Descriptor(
        root_name="Parallels_disk_image",
        version="1.0",
        size_sectors=8192,
        cylinders=16,
        heads=16,
        sectors=32,
        padding=0,
        encrypted=False,
        uid="{0f6c1a52-7a1e-4c6b-9a53-3f3c3d6a1b01}",
        name="mac",
        logical_sector=512,
        physical_sector=4096,
        suspended=False,
        storages=(
            StorageEntry(
                0,
                8192,
                2048,
                False,
                (
                    ImageEntry(top, "Compressed", f"mac.hdd.0.{top}.hds"),
                    ImageEntry(base, "Compressed", f"mac.hdd.0.{base}.hds"),
                ),
            ),
        ),
        shots=(Shot(top, base), Shot(base, guids.NONE)),
        declared_top=None,
    )


def test_what_ploop_leaves_out_is_not_needed() -> None:
    found = parse(document("ploop"))
    assert (found.version, found.uid, found.name, found.physical_sector, found.logical_sector) == (
        None,
        None,
        None,
        None,
        512,
    )
    assert found.declared_top == guids.TOP
    validate(found, path=PATH)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("ranges", [((0, 8192),), ((0, 4096), (4096, 8192), (8192, 9000))], ids=["whole", "split"])
def test_every_style_is_sound_and_unchanged_when_nothing_is_asked(
    style: str, ranges: Tuple[Tuple[int, int], ...]
) -> None:
    xml = document(style, line_of_layers({}, {}, {}), ranges).encode()
    facts = parse_descriptor(xml, path=PATH)
    validate(facts, path=PATH)
    assert build_tree(facts.shots, declared_top=facts.declared_top, path=PATH).current_chain == (
        guids.TOP,
        guid_of(2),
        guid_of(1),
    )
    assert apply(xml, facts, path=PATH) == xml


@pytest.mark.parametrize(
    ("old", "new", "field", "value"),
    [
        ("<Name>mac</Name>", "", "name", None),
        ("<Name>mac</Name>", "<Name></Name>", "name", None),
        ("<Name>mac</Name>", "<Name> a &amp; b<!-- c --> </Name>", "name", " a & b "),
        (
            "<UID>{0f6c1a52-7a1e-4c6b-9a53-3f3c3d6a1b01}",
            "<UID>0F6C1A52-7A1E-4C6B-9A53-3F3C3D6A1B01",
            "uid",
            "{0f6c1a52-7a1e-4c6b-9a53-3f3c3d6a1b01}",
        ),
        ("<UID>{0f6c1a52-7a1e-4c6b-9a53-3f3c3d6a1b01}", "<UID>mine", "uid", "mine"),
        ("<PhysicalSectorSize>4096</PhysicalSectorSize>", "", "physical_sector", None),
        ("<Heads>16</Heads>", "", "heads", None),
        ("<Padding>0</Padding>", "<Padding>1</Padding>", "padding", 1),
        ("<Padding>0</Padding>", "", "padding", 0),
        ("<Disk_size>8192<", "<Disk_size>\n 008192 <", "size_sectors", 8192),
        ("<Engine>{00000000-", "<Engine>{10000000-", "encrypted", True),
        ("<Engine>{00000000-0000-0000-0000-000000000000}", "<Engine>aes", "encrypted", True),
        ("<Engine>{00000000-0000-0000-0000-000000000000}", "<Engine>", "encrypted", False),
        ("<Salt></Salt>", "<KeyId>key</KeyId>", "encrypted", True),
        ("<Salt></Salt>", "<KeyId></KeyId>", "encrypted", False),
        ("<Bootable>1</Bootable>", "<SuspendState>1</SuspendState>", "suspended", True),
        ("<Bootable>1</Bootable>", "<SuspendState>0</SuspendState>", "suspended", False),
        (' Version="1.0"', "", "version", None),
        (
            "<Snapshots>",
            "<Snapshots><TopGUID>{AAAAAAAA-0000-4000-8000-000000000001}</TopGUID>",
            "declared_top",
            guid_of(1),
        ),
    ],
)
def test_variants_are_understood(old: str, new: str, field: str, value: object) -> None:
    text = document()
    assert old in text
    assert getattr(parse(text.replace(old, new)), field) == value


def test_both_spellings_of_the_cluster_size_are_read_and_kept() -> None:
    text = document(cluster_sectors=504).replace("Blocksize", "BlockSize")
    facts = parse(text)
    assert facts.storages[0].cluster_sectors == 504
    target = replace(facts, storages=(replace(facts.storages[0], cluster_sectors=64),))
    assert apply(text.encode(), target, path=PATH).decode() == text.replace(">504<", ">64<")


def test_marks_of_unfinished_work_are_read() -> None:
    for mark in ("Temporary", "TemporaryZero", "TemporaryZeroSwap"):
        text = document(layers=[Layer(guids.TOP, guid_of(1)), Layer(guid_of(1), temporary=True)]).replace(
            "Temporary", mark
        )
        assert [shot.temporary for shot in parse(text).shots] == [False, True]


def test_an_image_without_a_shot_is_the_top_as_ploop_reads_it() -> None:
    text = re.sub(
        r"<Snapshots>.*</Snapshots>", "<Snapshots></Snapshots>", document(layers=[Layer(guids.TOP)]), flags=re.DOTALL
    )
    for variant in (text, text.replace("<Snapshots></Snapshots>", "")):
        facts = parse(variant)
        assert facts.shots == (Shot(guids.TOP, guids.NONE),)
        validate(facts, path=PATH)
        target = replace(facts, shots=(Shot(guids.TOP, guids.NONE, True),))
        assert parse_descriptor(apply(variant.encode(), target, path=PATH), path=PATH) == target


NUMBERS = ["", "-1", "+1", "1.0", "0x10", "1e3", "9223372036854775808", "9" * 5000, "１２", "1 2", "NaN", "1<b/>2"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "tag", ["Disk_size", "Cylinders", "Heads", "LogicSectorSize", "Padding", "Start", "End", "Blocksize"]
)
def test_what_is_no_number_is_damaged(tag: str, number: str) -> None:
    text = re.sub(rf"<{tag}>\d+</{tag}>", f"<{tag}>{number}</{tag}>", document(), count=1)
    with pytest.raises(Damaged) as caught:
        parse(text)
    assert caught.value.path == PATH


@pytest.mark.parametrize(
    ("pattern", "new"),
    [
        (r"<Disk_size>\d+</Disk_size>", ""),
        (r"<Disk_Parameters>.*</Disk_Parameters>", ""),
        (r"<StorageData>.*</StorageData>", ""),
        (r"<Start>0</Start>", ""),
        (r"<End>8192</End>", ""),
        (r"<GUID>[^<]*</GUID>", ""),
        (r"<GUID>[^<]*</GUID>", "<GUID>{1}</GUID>"),
        (r"<ParentGUID>[^<]*</ParentGUID>", ""),
        (r"<Disk_size>8192</Disk_size>", "<Disk_size>8192</Disk_size><Disk_size>16384</Disk_size>"),
        (r"<Snapshots>", "<Snapshots></Snapshots><Snapshots>"),
        (r"<File>", "<File>a</File><File>"),
        (r"<Blocksize>", "<BlockSize>2048</BlockSize><Blocksize>"),
        (r"<File>[^<]*</File>", "<File><a/></File>"),
    ],
)
def test_missing_doubled_and_malformed_elements_are_damaged(pattern: str, new: str) -> None:
    text, count = re.subn(pattern, new, document(), count=1, flags=re.DOTALL)
    assert count == 1
    with pytest.raises(Damaged):
        parse(text)


@pytest.mark.parametrize("pattern", [r"<File>[^<]*</File>", r"<Image>.*</Image>", r"<Storage>.*</Storage>"])
def test_what_has_no_image_is_found_by_the_rules(pattern: str) -> None:
    with pytest.raises(Damaged):
        validate(parse(re.sub(pattern, "", document(), count=1, flags=re.DOTALL)), path=PATH)


def test_another_kind_of_document_is_no_bundle() -> None:
    for text in ("<html/>", "<x:Parallels_disk_image xmlns:x='u'/>", "<ParallelsVirtualMachine/>"):
        with pytest.raises(NotABundle):
            parse(text)


def test_hordes_of_shots_and_storages_are_refused_in_a_moment() -> None:
    shot = (
        "<Shot><GUID>{aaaaaaaa-0000-4000-8000-%012d}</GUID><ParentGUID>"
        "{aaaaaaaa-0000-4000-8000-%012d}</ParentGUID></Shot>"
    )
    for count in (4097, 30_000, 100_000):
        shots = "".join(shot % (number, number + 1) for number in range(count))
        storages = "".join(
            f"<Storage><Start>{number}</Start><End>{number + 1}</End></Storage>" for number in range(count)
        )
        for old, new in (("<Snapshots>", f"<Snapshots>{shots}"), ("<StorageData>", f"<StorageData>{storages}")):
            started = time.process_time()
            with pytest.raises(Unsupported):
                parse(document().replace(old, new))
            assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "root", [("Start", "StorageData", "Storage"), ("Shot", "Snapshots", "Shot"), ("Image", "Storage", "Image")]
)
def test_deeply_nested_descriptors_are_refused(root: Tuple[str, str, str]) -> None:
    inner, outer, tag = root
    text = document().replace(f"<{outer}>", f"<{outer}>" + f"<{tag}>" * 20_000 + f"</{tag}>" * 20_000, 1)
    with pytest.raises(DiskError):
        parse(text)


@given(st.data())
def test_damaged_descriptors_end_in_one_of_our_errors(data: st.DataObject) -> None:
    text = document(data.draw(st.sampled_from(STYLES)))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 60)))
    broken = text[:start] + data.draw(st.text("<>/0-9{}ab&;", max_size=6)) + text[end:]
    try:
        facts = parse(broken)
        validate(facts, path=PATH)
        build_tree(facts.shots, declared_top=facts.declared_top, path=PATH)
        grown = replace(facts, cylinders=77)
        assert parse_descriptor(apply(broken.encode(), grown, path=PATH), path=PATH) == grown
    except DiskError as error:
        assert error.path == PATH
