# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor import (
    Descriptor,
    ImageEntry,
    Shot,
    StorageEntry,
    validate,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.tree import build_tree
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import ERROR
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.descriptor import examine_descriptor
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of

SHOTS = (Shot(guids.TOP, guid_of(2)), Shot(guid_of(2), guid_of(1)), Shot(guid_of(1), guids.NONE))
IMAGES = tuple(ImageEntry(shot.guid, "Compressed", f"{number}.hds") for number, shot in enumerate(SHOTS))
STORAGE = StorageEntry(0, 1024, 64, False, IMAGES)
GOOD = Descriptor(
    "Parallels_disk_image", "1.0", 1024, 2, 16, 32, 0, False, None, "a", 512, 4096, False, (STORAGE,), SHOTS, None
)


def codes(**changes):
    return [one.code for one in examine_descriptor(replace(GOOD, **changes), path="/d")]


def with_shots(*shots):
    images = tuple(ImageEntry(shot.guid, "Compressed", f"{number}.hds") for number, shot in enumerate(shots))
    return {"shots": shots, "storages": (replace(STORAGE, images=images),)}


def with_storage(**changes):
    return {"storages": (replace(STORAGE, **changes),)}


CASES = {
    "padding": ({"padding": 1}, ["descriptor_invalid"]),
    "no storage": ({"storages": ()}, ["descriptor_invalid"]),
    "size 0": ({"size_sectors": 0}, ["descriptor_size", "geometry"]),
    "another size": ({"size_sectors": 2048, "cylinders": 4}, ["descriptor_size"]),
    "an empty storage": (with_storage(end_sector=0), ["descriptor_invalid"]),
    "a gap": (with_storage(start_sector=64), ["descriptor_invalid"]),
    "clusters of 0": (with_storage(cluster_sectors=0), ["descriptor_invalid"]),
    "geometry": ({"cylinders": 3}, ["geometry"]),
    "no geometry": ({"cylinders": None}, []),
    "no shots": ({"shots": ()}, ["top_missing", "image_without_shot"]),
    "shot twice": ({"shots": (*SHOTS, SHOTS[0])}, ["shot_duplicate"]),
    "shot of none": (
        with_shots(*SHOTS, Shot(guids.NONE, guids.NONE)),
        ["shot_duplicate", "tree_loop", "tree_several_roots"],
    ),
    "temporary": ({"shots": (SHOTS[0], replace(SHOTS[1], temporary=True), SHOTS[2])}, ["shot_temporary"]),
    "image without name": (with_storage(images=(*IMAGES[:2], replace(IMAGES[2], file=""))), ["descriptor_invalid"]),
    "image twice": (with_storage(images=(*IMAGES, replace(IMAGES[0], file="x"))), ["descriptor_invalid"]),
    "file twice": (with_storage(images=(*IMAGES[:2], replace(IMAGES[2], file="0.hds"))), ["image_shared"]),
    "no image": (with_storage(images=IMAGES[:2]), ["shot_without_image"]),
    "no shot": ({"shots": SHOTS[:1] + SHOTS[2:]}, ["image_without_shot", "parent_missing"]),
    "loop": (with_shots(SHOTS[0], SHOTS[1], Shot(guid_of(1), guid_of(2))), ["tree_loop"]),
    "own parent": (with_shots(Shot(guids.TOP, guids.TOP)), ["tree_loop"]),
    "two roots": (with_shots(SHOTS[0], replace(SHOTS[1], parent=guids.NONE), SHOTS[2]), ["tree_several_roots"]),
    "no top": (with_shots(*SHOTS[1:]), ["top_missing"]),
    "a backup on top": ({**with_shots(Shot(guids.BACKUP, guids.NONE)), "declared_top": guids.BACKUP}, ["top_missing"]),
    "declared top": ({"declared_top": guid_of(2)}, []),
    "too deep": (
        with_shots(
            *(Shot(guids.TOP if not n else guid_of(n), guids.NONE if n == 600 else guid_of(n + 1)) for n in range(601))
        ),
        ["tree_too_deep"],
    ),
}


def test_a_sound_descriptor_has_no_findings():
    assert codes() == []


@pytest.mark.parametrize("case", CASES)
def test_each_rule_finds_its_fault(case):
    changes, expected = CASES[case]
    found = examine_descriptor(replace(GOOD, **changes), path="/d")
    assert [one.code for one in found] == expected
    # What the engine refuses is an error here, and nothing else is.
    try:
        target = replace(GOOD, **changes)
        validate(target, path="/d")
        build_tree(target.shots, declared_top=target.declared_top, path="/d")
        is_refused = False
    except DiskError:
        is_refused = True
    assert is_refused == any(one.severity == ERROR for one in found)


def test_many_faults_of_one_kind_are_one_finding():
    shots = tuple(Shot(guid_of(number), guid_of(9999)) for number in range(1, 100))
    (one,) = [
        one
        for one in examine_descriptor(replace(GOOD, **with_shots(SHOTS[2], *shots)), path="/d")
        if one.code == "parent_missing"
    ]
    assert "and 93 more" in one.message or "and 94 more" in one.message
