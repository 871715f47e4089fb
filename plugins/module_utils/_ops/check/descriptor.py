# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for what a descriptor says: its sizes, its images and its tree of snapshots.

Findings ``descriptor_*``, ``geometry``, ``shot_*``, ``tree_*``, ``top_missing``, ``parent_missing``, ``image_shared``,
``image_without_shot``. Pure; each rule yields findings and none of them raises.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from collections import Counter
from typing import Dict, Iterator, List, Optional, Sequence, Set

from ..._bundle.descriptor import MAX_CLUSTER_SECTORS, MAX_SIZE_SECTORS, Descriptor, StorageEntry, validate
from ..._bundle.tree import MAX_DEPTH, build_tree
from ..._core import guid as guids
from ..._core.errors import DiskError
from ..._core.findings import ERROR, NO, Finding, found

_SHOWN = 5


def examine_descriptor(descriptor: Descriptor, *, path: str) -> List[Finding]:
    """Everything that is wrong with, or odd about, a descriptor."""
    findings = [
        *_sizes(descriptor, path),
        *_shots(descriptor, path),
        *_images(descriptor, path),
        *_tree(descriptor, path),
    ]
    if not any(one.severity == ERROR for one in findings):
        findings += _rest(descriptor, path)
    return findings


def _rest(descriptor: Descriptor, path: str) -> Iterator[Finding]:
    """What no rule of its own has found."""
    try:
        validate(descriptor, path=path)
        build_tree(descriptor.shots, declared_top=descriptor.declared_top, path=path)
    except DiskError as error:
        yield found("descriptor_invalid", path, error.statement, repairable=NO)


def _sizes(descriptor: Descriptor, path: str) -> Iterator[Finding]:
    if descriptor.padding:
        yield found("descriptor_invalid", path, "The images are padded, which nobody supports.", repairable=NO)
    if not 0 < descriptor.size_sectors <= MAX_SIZE_SECTORS:
        yield found("descriptor_size", path, f"Disk_size is {descriptor.size_sectors} sectors, which is impossible.")
    if not descriptor.storages:
        yield found("descriptor_invalid", path, "The descriptor names no storage.")
        return
    yield from _storages(descriptor, path)


def _storages(descriptor: Descriptor, path: str) -> Iterator[Finding]:
    position, size = 0, descriptor.size_sectors
    for number, storage in enumerate(descriptor.storages):
        if storage.start_sector != position or storage.length_sectors <= 0:
            sectors = f"{storage.start_sector} to {storage.end_sector}"
            text = f"Storage {number} covers the sectors {sectors}; it must begin at {position}."
            yield found("descriptor_invalid", path, text)
            return
        if not 0 < storage.cluster_sectors <= MAX_CLUSTER_SECTORS:
            text = f"Storage {number} has clusters of {storage.cluster_sectors} sectors, which is impossible."
            yield found("descriptor_invalid", path, text)
        position = storage.end_sector
    if position != size and 0 < size <= MAX_SIZE_SECTORS:
        yield found("descriptor_size", path, f"Disk_size is {size} sectors, the storages end at {position}.")
    yield from _geometry(descriptor, path)


def _geometry(descriptor: Descriptor, path: str) -> Iterator[Finding]:
    cylinders, heads, sectors = descriptor.cylinders, descriptor.heads, descriptor.sectors
    if cylinders is None or heads is None or sectors is None:
        return
    product, size = cylinders * heads * sectors, descriptor.size_sectors
    if product != size:
        text = f"{cylinders} x {heads} x {sectors} are {product} sectors, Disk_size is {size}; readers go by Disk_size."
        yield found("geometry", path, text)


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _shots(descriptor: Descriptor, path: str) -> Iterator[Finding]:
    numbers = Counter(shot.guid for shot in descriptor.shots)
    if not numbers:
        yield found("top_missing", path, "The descriptor names no snapshot, not even the current state.")
    twice = [guid for guid, number in numbers.items() if number > 1 or guid == guids.NONE]
    if twice:
        yield found("shot_duplicate", path, f"Several snapshots have one GUID, or that of none: {listed(twice)}.")
    temporary = [shot.guid for shot in descriptor.shots if shot.temporary]
    if temporary:
        text = "Other software was interrupted in deleting or merging these; hdd_snapshot and hdd_merge can remove them"
        yield found("shot_temporary", path, f"{text}: {listed(temporary)}.")


def _images(descriptor: Descriptor, path: str) -> Iterator[Finding]:
    shots = {shot.guid for shot in descriptor.shots}
    files: Counter[str] = Counter()
    for number, storage in enumerate(descriptor.storages):
        files.update(image.file for image in storage.images)
        yield from _images_of(number, storage, shots, path)
    twice = [file for file, number in files.items() if number > 1]
    if twice:
        yield found("image_shared", path, f"A file is named for more than one image: {listed(twice)}.")


def _images_of(number: int, storage: StorageEntry, shots: Set[str], path: str) -> Iterator[Finding]:
    held = Counter(image.guid for image in storage.images)
    if any(not image.file or "\0" in image.file for image in storage.images):
        yield found("descriptor_invalid", path, f"An image of storage {number} has no file name.")
    twice = [guid for guid, count in held.items() if count > 1]
    if twice:
        yield found("descriptor_invalid", path, f"Several images of storage {number} have one GUID: {listed(twice)}.")
    without = [guid for guid in held if guid not in shots]
    if without:
        yield found("image_without_shot", path, f"Images of storage {number} belong to no snapshot: {listed(without)}.")
    missing = sorted(shots - set(held))
    if missing:
        yield found("shot_without_image", path, f"Storage {number} has no image for {listed(missing)}.")


def _tree(descriptor: Descriptor, path: str) -> Iterator[Finding]:
    parents: Dict[str, str] = {shot.guid: shot.parent for shot in descriptor.shots}
    if not parents:
        return
    strangers = [guid for guid, parent in parents.items() if parent != guids.NONE and parent not in parents]
    if strangers:
        yield found("parent_missing", path, f"The parent of these snapshots does not exist: {listed(strangers)}.")
    yield from _chains(parents, path)
    roots = [guid for guid, parent in parents.items() if parent == guids.NONE]
    if len(roots) > 1:
        yield found("tree_several_roots", path, f"Several layers have no parent: {listed(roots)}.")
    top = descriptor.declared_top if descriptor.declared_top is not None else guids.TOP
    if top not in parents or top == guids.BACKUP:
        what = "TopGUID names" if descriptor.declared_top is not None else "The predefined GUID of the current state is"
        yield found("top_missing", path, f"{what} {top}, which is no layer that can be current.")


def _chains(parents: Dict[str, str], path: str) -> Iterator[Finding]:
    depths = _depths(parents)
    looped = [guid for guid, depth in depths.items() if depth is None]
    if looped:
        yield found("tree_loop", path, f"These snapshots lead to no root: {listed(looped)}.")
    deepest = max((depth for depth in depths.values() if depth is not None), default=0)
    if deepest > MAX_DEPTH:
        yield found("tree_too_deep", path, f"A chain has {deepest} layers; {MAX_DEPTH} can be opened.")


def _depths(parents: Dict[str, str]) -> Dict[str, Optional[int]]:
    """How many layers each chain has, as far as it can be followed; None for one that comes back to itself."""
    depths: Dict[str, Optional[int]] = {}
    for guid in parents:
        trail: List[str] = []
        on_trail: Set[str] = set()
        while guid in parents and guid not in depths and guid not in on_trail:
            trail.append(guid)
            on_trail.add(guid)
            guid = parents[guid]
        depth = None if guid in on_trail else depths.get(guid, 0)
        for one in reversed(trail):
            depth = None if depth is None else depth + 1
            depths[one] = depth
    return depths
