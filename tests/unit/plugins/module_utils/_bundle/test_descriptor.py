# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules that a descriptor must keep."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor import (
    MAX_CLUSTER_SECTORS,
    MAX_SHOTS,
    MAX_SIZE_SECTORS,
    MAX_STORAGES,
    Descriptor,
    ImageEntry,
    Shot,
    StorageEntry,
    validate,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, DiskError, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace

PATH = "/disk.hdd/DiskDescriptor.xml"
BASE = "{aaaaaaaa-0000-4000-8000-000000000001}"


def storage(start: int, end: int, index: int = 0, *shots: str) -> StorageEntry:
    return StorageEntry(
        start,
        end,
        2048,
        False,
        tuple(ImageEntry(guid, "Compressed", f"{index}.{guid}.hds") for guid in shots or (guids.TOP, BASE)),
    )


def descriptor(**changes: Any) -> Descriptor:
    sound = Descriptor(
        root_name="Parallels_disk_image",
        version="1.0",
        size_sectors=8192,
        cylinders=16,
        heads=16,
        sectors=32,
        padding=0,
        encrypted=False,
        uid=None,
        name="disk",
        logical_sector=512,
        physical_sector=4096,
        suspended=False,
        storages=(storage(0, 4096, 0), storage(4096, 8192, 1)),
        shots=(Shot(guids.TOP, BASE), Shot(BASE, guids.NONE)),
        declared_top=None,
    )
    return replace(sound, **changes)


def with_images(*images: ImageEntry) -> Descriptor:
    return descriptor(size_sectors=4096, storages=(StorageEntry(0, 4096, 2048, False, images),))


def test_a_sound_descriptor_passes_and_answers_questions() -> None:
    sound = descriptor()
    validate(sound, path=PATH)
    assert sound.size_bytes == 8192 * 512
    assert sound.is_split
    assert sound.image(1, BASE) == ImageEntry(BASE, "Compressed", f"1.{BASE}.hds")
    assert sound.image(0, guids.BACKUP) is None


def test_the_largest_disk_and_clusters_pass() -> None:
    largest = replace(storage(0, MAX_SIZE_SECTORS), cluster_sectors=MAX_CLUSTER_SECTORS)
    validate(descriptor(size_sectors=MAX_SIZE_SECTORS, storages=(largest,)), path=PATH)


TOP_IMAGE = ImageEntry(guids.TOP, "Compressed", "top.hds")
BASE_IMAGE = ImageEntry(BASE, "Compressed", "base.hds")


@pytest.mark.parametrize(
    "broken",
    [
        lambda: descriptor(size_sectors=0, storages=(storage(0, 0),)),
        lambda: descriptor(size_sectors=MAX_SIZE_SECTORS + 1, storages=(storage(0, MAX_SIZE_SECTORS + 1),)),
        lambda: descriptor(storages=()),
        lambda: descriptor(size_sectors=8193),
        lambda: descriptor(storages=(storage(1, 8192),)),
        lambda: descriptor(storages=(storage(0, 4096, 0), storage(4097, 8192, 1))),
        lambda: descriptor(storages=(storage(0, 4096, 0), storage(4095, 8192, 1))),
        lambda: descriptor(storages=(storage(4096, 8192, 0), storage(0, 4096, 1))),
        lambda: descriptor(storages=(storage(0, 8192, 0), storage(8192, 8192, 1))),
        lambda: descriptor(size_sectors=4096, storages=(replace(storage(0, 4096), cluster_sectors=0),)),
        lambda: descriptor(
            size_sectors=4096, storages=(replace(storage(0, 4096), cluster_sectors=MAX_CLUSTER_SECTORS + 1),)
        ),
        lambda: descriptor(shots=()),
        lambda: descriptor(shots=(Shot(guids.TOP, guids.NONE), Shot(guids.TOP, guids.NONE))),
        lambda: descriptor(shots=(Shot(guids.NONE, guids.NONE),)),
        lambda: with_images(TOP_IMAGE),
        lambda: with_images(TOP_IMAGE, BASE_IMAGE, ImageEntry(guids.BACKUP, "Compressed", "x.hds")),
        lambda: with_images(TOP_IMAGE, BASE_IMAGE, replace(BASE_IMAGE, file="x.hds")),
        lambda: with_images(TOP_IMAGE, replace(BASE_IMAGE, file="top.hds")),
        lambda: descriptor(storages=(storage(0, 4096, 0), storage(4096, 8192, 0))),
        lambda: with_images(TOP_IMAGE, replace(BASE_IMAGE, file="")),
        lambda: with_images(TOP_IMAGE, replace(BASE_IMAGE, file="a\0b")),
    ],
    ids=[
        "empty disk",
        "disk of 2^63 bytes",
        "no storage",
        "end is not the size",
        "does not begin at 0",
        "gap",
        "overlap",
        "wrong order",
        "empty storage",
        "cluster 0",
        "cluster of 2 GiB",
        "no shots",
        "shot twice",
        "null shot",
        "image missing",
        "image without shot",
        "layer twice",
        "file twice in a storage",
        "file twice in two storages",
        "no file",
        "NUL in a file",
    ],
)
def test_a_descriptor_that_contradicts_itself_is_damaged(broken: Callable[[], Descriptor]) -> None:
    with pytest.raises(Damaged) as caught:
        validate(broken(), path=PATH)
    assert caught.value.path == PATH


def test_padded_images_are_not_supported() -> None:
    with pytest.raises(Unsupported):
        validate(descriptor(padding=1), path=PATH)


@pytest.mark.parametrize(
    "crowded",
    [
        lambda: descriptor(
            storages=tuple(storage(i, i + 1, i) for i in range(MAX_STORAGES + 1)), size_sectors=MAX_STORAGES + 1
        ),
        lambda: descriptor(
            shots=tuple(Shot(f"{{aaaaaaaa-0000-4000-8000-{i:012d}}}", guids.NONE) for i in range(MAX_SHOTS + 1))
        ),
    ],
    ids=["storages", "shots"],
)
def test_counts_are_bounded(crowded: Callable[[], Descriptor]) -> None:
    with pytest.raises(DiskError) as caught:
        validate(crowded(), path=PATH)
    assert caught.value.code == "unsupported"
