# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merge: fewer layers, the same guest view for every snapshot that stays.

Commit point: the rename of the descriptor. Before it, a receiver gets clusters in places that no table refers to; then
the journal says ``apply``, and clusters and table entries change that are hidden, in every surviving view, by the
layers above. Only the views of the snapshots that are to vanish become unreliable then, and a run after a crash goes
forward. After the commit, files are only removed.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ..._bundle.bundle import EXPANDING, PLAIN, BundleState, ImageState, size_warnings
from ..._bundle.descriptor import Descriptor, ImageEntry
from ..._bundle.guards import Touches, check_guards
from ..._bundle.tree import build_tree
from ..._change.bundle_plan import BundleChange, ChangeFacts, bundle_plan, unchanged
from ..._change.image import (
    close_steps,
    entry_steps,
    header_rewrite_step,
    mark_steps,
    table_growth_steps,
    table_rewrite_steps,
)
from ..._change.journal import descriptor_step, journal_step
from ..._change.new_files import unused_names
from ..._change.slots import Slots, free_slots
from ..._core.errors import Damaged, Unsupported
from ..._core.extents import Extent
from ..._core.plan import CopyRanges, CreateFile, Plan, Resize, Step, Sync, WriteBytes
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR
from ..._formats.hds.bat import TableBuilder
from ..._formats.hds.extension import may_keep
from ..._formats.hds.header import HdsHeader, new_header, pack_header
from ..._guest.view import open_stack
from ..._io.journal import APPLY, PREPARE, ImageBefore, Journal
from ..._io.port import Port
from .placement import (
    Group,
    Placement,
    common_cluster_bytes,
    cost,
    grown_header,
    may_receive,
    place_in_expanding,
    place_in_plain,
    refuse_ragged,
    visible_extents,
)
from .removals import groups_of

AUTO = "auto"
IN_PLACE = "in_place"
COPY = "copy"


@dataclass(frozen=True)
class MergedImage:
    """How one group becomes one image in one storage: the receiver's file, or a new file like the receiver.

    ``grown`` is the header that a receiver gets which was shorter than the layer it becomes.
    """

    group: Group
    receiver: ImageState
    is_new: bool
    placement: Placement
    grown: Optional[HdsHeader] = None

    @property
    def moved(self) -> int:
        """Bytes of guest data written."""
        return sum(move.length for move in self.placement.fresh + self.placement.overwrites)

    @property
    def read(self) -> int:
        """Bytes of guest data read."""
        return sum(move.length for move in self.placement.fresh + self.placement.overwrites if move.source is not None)

    @property
    def growth(self) -> int:
        """Bytes by which the receiver's file becomes longer."""
        return self.placement.size_after - (0 if self.is_new else self.receiver.stat.size)

    @property
    def changes_file(self) -> bool:
        """Whether the receiver's file is written at all; one that is marked as in use is closed."""
        return (
            self.is_new
            or self.receiver.is_dirty
            or bool(self.moved or self.placement.entries or self.growth or self.grown)
        )


@dataclass(frozen=True)
class MergeFacts(ChangeFacts):
    """The GUIDs of the snapshots that go, names asked for that the disk does not have, the disk after the change."""

    merged: Tuple[str, ...] = ()
    unknown: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Repetition:
    """A merge that was cut off and is done once more.

    ``receivers`` are file names by "storage/survivor"; ``ours`` are the paths of the images that it has marked. Its
    journal stays in force, and what it has written is made durable.
    """

    receivers: Mapping[str, str]
    ours: Tuple[str, ...]


def plan_merge(
    port: Port,
    state: BundleState,
    removals: Sequence[str],
    *,
    strategy: str = AUTO,
    force: bool = False,
    repeats: Optional[Repetition] = None,
) -> Plan[MergeFacts]:
    """Merge the layers of ``removals`` into their children; an empty plan when there are none.

    Reads where files have holes, never guest data. Raises Encrypted, Dirty, Unsupported.
    """
    if not removals:
        return unchanged("merge", MergeFacts(state))
    groups = groups_of(state.tree, removals)
    ours = repeats.ours if repeats is not None else ()
    clearance = check_guards(state, Touches(data=bool(groups), ours=ours), force=force)
    receivers = repeats.receivers if repeats is not None else {}
    merged = [
        _plan_group(port, state, storage, groups, group, strategy, receivers)
        for group in groups
        for storage in range(len(state.descriptor.storages))
    ]
    target = _target(state, removals, merged)
    discarded = _discarded(state, removals, merged)
    journal = _journal(removals, merged, discarded, ours)
    growth = sum(image.growth for image in merged)
    needed = growth + sum(image.placement.filled for image in merged)
    change = BundleChange(
        "merge",
        # A repetition must not fall back to a phase in which recovery takes back.
        journal if repeats is None else None,
        before=tuple(_steps(port, state, merged, journal, repeats)),
        commit=descriptor_step(state, target),
        created=tuple(one.receiver.file for one in merged if one.is_new),
        discarded=tuple(image.path for image in discarded),
        hidden=tuple(one.receiver.path for one in merged if not one.is_new),
        needed=needed,
        bytes_read=sum(image.read for image in merged),
        bytes_written=sum(image.moved for image in merged),
        bytes_freed=sum(image.stat.allocated for image in discarded) - needed,
        warnings=tuple(_warnings(merged)),
    )
    return bundle_plan(clearance, change, MergeFacts(_after(state, target, merged), tuple(removals)))


def _plan_group(
    port: Port,
    state: BundleState,
    storage: int,
    groups: Sequence[Tuple[str, ...]],
    layers: Tuple[str, ...],
    strategy: str,
    receivers: Mapping[str, str],
) -> MergedImage:
    survivor = layers[0]
    chain = state.chain(survivor, storage)
    part = state.descriptor.storages[storage]
    stack = open_stack(port, chain, (part.end_sector - part.start_sector) * SECTOR)
    try:
        group = Group(storage, survivor, chain[: len(layers)], stack)
        extents = visible_extents(group)
        shared = [guid for guid in layers if sum(guid in other for other in groups) > 1]
        forced = receivers.get(f"{storage}/{survivor}")
        index = _choose_receiver(state, group, extents, shared, strategy, forced)
        if index is None:
            return _into_new_file(state, group, extents)
        image = group.images[index]
        if image.header is None:
            return MergedImage(group, image, False, place_in_plain(group, extents, index))
        step = common_cluster_bytes(group.images)
        refuse_ragged(group, extents, index, step)
        placement = place_in_expanding(
            group,
            extents,
            index,
            cluster_bytes=step,
            slots=free_slots(image, image.header),
            version=image.header.version,
        )
        if not placement.fresh and not placement.overwrites and not placement.entries:
            placement = placement._replace(size_after=image.stat.size)
        return MergedImage(group, image, False, placement, grown_header(image.header, group.images[0].size))
    finally:
        stack.close()


def _choose_receiver(
    state: BundleState,
    group: Group,
    extents: Sequence[Extent],
    shared: Sequence[str],
    strategy: str,
    forced: Optional[str],
) -> Optional[int]:
    """Index of the layer that takes the rest in, or None for a new file.

    A layer in ``shared`` serves other branches, too, and stays as it is. Equal prices go to the lowest layer, whose
    file is the longest-lived.
    """
    if strategy == COPY:
        return None
    allowed = [
        index
        for index, image in enumerate(group.images)
        if image.guid not in shared and image.stat.links == 1 and may_receive(image, group.images[0])
    ]
    if forced is not None:
        allowed = [index for index in allowed if group.images[index].file == forced]
        if not allowed:
            raise Damaged(
                "The file that an interrupted merge was changing cannot take the layers in",
                path=state.journal_path,
                found=str(forced)[:255],
            )
    if not allowed and strategy == IN_PLACE:
        raise Unsupported(
            "No layer of the disk may be changed in place", path=state.location.directory, hint="Use strategy: copy."
        )
    return min(allowed, key=lambda index: (cost(group, extents, index), -index)) if allowed else None


def _into_new_file(state: BundleState, group: Group, extents: Sequence[Extent]) -> MergedImage:
    """A fresh image with all visible_extents; it gets a name that is known before the run."""
    survivor = group.images[0]
    if any(image.kind == PLAIN for image in group.images):
        raise Unsupported(
            "A plain layer cannot be merged into a new file",
            path=survivor.path,
            hint="Use strategy: in_place, or convert the disk with hdd_convert.",
        )
    step = common_cluster_bytes(group.images)
    refuse_ragged(group, extents, None, step)
    version = max(image.header.version for image in group.images if image.header is not None)
    header = new_header(size_bytes=survivor.size, cluster_bytes=step, version=version)
    placement = place_in_expanding(
        group, extents, None, cluster_bytes=step, slots=Slots((), header.data_start), version=version
    )
    (name,) = unused_names(state, [group.storage], "merged", *(image.guid for image in group.images))
    stat = replace(survivor.stat, size=placement.size_after, allocated=-1)
    image = ImageState(
        group.storage,
        group.survivor,
        name,
        f"{state.location.directory}/{name}",
        False,
        EXPANDING,
        stat,
        survivor.size,
        header,
    )
    return MergedImage(group, image, True, placement)


def _target(state: BundleState, removals: Sequence[str], merged: Sequence[MergedImage]) -> Descriptor:
    """The descriptor afterwards: the survivor keeps its GUID and gets the receiver's file, the removed shots are
    bridged.
    """
    gone = set(removals)
    storages = []
    for number, storage in enumerate(state.descriptor.storages):
        taken = {image.group.survivor: image.receiver for image in merged if image.group.storage == number}
        storages.append(replace(storage, images=tuple(_entries(state, number, gone, taken))))
    parents = {shot.guid: shot.parent for shot in state.descriptor.shots}
    shots = []
    for shot in state.descriptor.shots:
        parent = shot.parent
        while parent in gone:
            parent = parents[parent]
        if shot.guid not in gone:
            shots.append(replace(shot, parent=parent))
    return replace(state.descriptor, storages=tuple(storages), shots=tuple(shots))


def _entries(state: BundleState, number: int, gone: Set[str], taken: Mapping[str, ImageState]) -> Iterator[ImageEntry]:
    """The images of a storage afterwards. ploop calls all layers above a plain root Plain, and takes that as said of
    the root; not without one.
    """
    kept = [entry for entry in state.descriptor.storages[number].images if entry.guid not in gone]
    now = {entry.guid: taken.get(entry.guid, state.images.get((number, entry.guid))) for entry in kept}
    has_plain = any(image is not None and image.kind == PLAIN for image in now.values())
    for entry in kept:
        image = now[entry.guid]
        if entry.guid in taken and image is not None:
            yield replace(entry, file=image.file, type="Plain" if image.kind == PLAIN else "Compressed")
        elif entry.type == "Plain" and image is not None and not has_plain:
            yield replace(entry, type="Compressed")
        else:
            yield entry


def _discarded(state: BundleState, removals: Sequence[str], merged: Sequence[MergedImage]) -> List[ImageState]:
    """Images that nobody names afterwards and that lie in the bundle."""
    used = {one.receiver.path for one in merged}
    touched = {*removals, *(one.group.survivor for one in merged)}
    return [
        image
        for (_storage, guid), image in state.images.items()
        if guid in touched and image.path not in used and not image.outside
    ]


def _journal(
    removals: Sequence[str], merged: Sequence[MergedImage], discarded: Sequence[ImageState], ours: Sequence[str]
) -> Journal:
    changed = _changed(merged, ours)
    return Journal(
        "merge",
        PREPARE,
        created=tuple(one.receiver.file for one in changed if one.is_new),
        discarded=tuple(image.path.rsplit("/", 1)[-1] for image in discarded),
        images=tuple(
            ImageBefore(image.path.rsplit("/", 1)[-1], image.stat.size, image.header.in_use)
            for image in (one.receiver for one in changed if not one.is_new)
            if image.header is not None
        ),
        request={
            "removals": list(removals),
            "receivers": {
                f"{one.group.storage}/{one.group.survivor}": one.receiver.file for one in merged if not one.is_new
            },
        },
    )


def _changed(merged: Sequence[MergedImage], ours: Sequence[str]) -> List[MergedImage]:
    """The images that are written. What a run that was cut off wrote may be seen by now without being on the medium."""
    return [one for one in merged if one.changes_file or one.receiver.path in ours]


def _steps(
    port: Port, state: BundleState, merged: Sequence[MergedImage], journal: Journal, repeats: Optional[Repetition]
) -> Iterator[Step]:
    changed = _changed(merged, repeats.ours if repeats is not None else ())
    in_place = [one for one in changed if not one.is_new]
    structured = [one.receiver for one in in_place if one.receiver.header is not None]
    yield from mark_steps(structured)
    for image in structured if repeats is not None else ():
        yield from table_rewrite_steps(port, image)
        yield header_rewrite_step(image)
    yield from _fresh_steps(state, changed)
    if in_place:
        if repeats is None:
            yield journal_step(state, replace(journal, phase=APPLY))
        yield from _in_place_steps(in_place)


def _fresh_steps(state: BundleState, changed: Sequence[MergedImage]) -> Iterator[Step]:
    """Everything that no reader can see yet, and one barrier behind it."""
    for one in changed:
        path, placement = one.receiver.path, one.placement
        if one.is_new:
            yield CreateFile(path, placement.size_after, like=one.group.images[0].path)
        elif one.growth and one.receiver.header is not None:
            yield Resize(path, placement.size_after)
        if placement.fresh:
            yield CopyRanges(path, placement.fresh)
        if one.is_new and one.receiver.header is not None:
            yield from entry_steps(path, one.receiver.header, placement.entries)
            yield WriteBytes(path, 0, pack_header(one.receiver.header))
    files = tuple(one.receiver.path for one in changed if one.is_new or one.placement.fresh or one.growth)
    if files:
        yield Sync(files=files, directories=(state.location.directory,))


def _in_place_steps(in_place: Sequence[MergedImage]) -> Iterator[Step]:
    """Clusters and entries that the surviving views do not see, then the end of the in-use mark, each behind a
    barrier.
    """
    for one in in_place:
        if one.receiver.header is None and one.growth:
            # Bytes behind the last whole sector belong to no disk and must not become part of this one.
            yield Resize(one.receiver.path, one.receiver.size)
            yield Resize(one.receiver.path, one.placement.size_after)
        if one.placement.overwrites:
            yield CopyRanges(one.receiver.path, one.placement.overwrites)
        if one.receiver.header is not None and one.grown is not None:
            yield from table_growth_steps(one.receiver.path, one.receiver.header, one.grown, one.placement.entries)
        elif one.receiver.header is not None:
            yield from entry_steps(one.receiver.path, one.receiver.header, one.placement.entries)
    files = tuple(one.receiver.path for one in in_place)
    yield Sync(files=files)
    structured = [one.receiver for one in in_place if one.receiver.header is not None]
    yield from close_steps(structured, keep_extension=False)


def _warnings(merged: Sequence[MergedImage]) -> Iterator[str]:
    for one in merged:
        if one.receiver.header is not None and one.group.images[-1].header is None:
            yield (
                f"{one.group.images[-1].path}: the plain image was merged into an expanding one, which moves fewer"
                " bytes; the disk is no longer plain."
            )
        for image in one.group.images:
            stays = image.outside or (image.path == one.receiver.path and not one.changes_file)
            if image.extension is not None and not stays:
                what = (
                    "the dirty bitmaps of backup software"
                    if may_keep(image.extension)
                    else "the contents of a format extension"
                )
                yield (
                    f"{image.path}: {what} are no longer true after the merge and are dropped; the next backup is a"
                    " full one."
                )


def _after(state: BundleState, target: Descriptor, merged: Sequence[MergedImage]) -> BundleState:
    """The disk as it will be, for predictions."""
    kept = {image.guid for storage in target.storages for image in storage.images}
    images: Dict[Tuple[int, str], ImageState] = {key: image for key, image in state.images.items() if key[1] in kept}
    for one in merged:
        images[(one.group.storage, one.group.survivor)] = _receiver_after(one)
    tree = build_tree(target.shots, declared_top=target.declared_top, path=state.location.descriptor)
    return replace(
        state, descriptor=target, tree=tree, images=images, warnings=tuple(size_warnings(target, tree, images))
    )


def _receiver_after(one: MergedImage) -> ImageState:
    image = replace(one.receiver, guid=one.group.survivor)
    if one.changes_file:
        image = replace(image, stat=replace(image.stat, size=one.placement.size_after, allocated=-1))
    if image.header is None:
        return replace(image, size=min(image.stat.size // SECTOR * SECTOR, one.group.stack.size))
    header = one.grown or image.header
    image = replace(image, size=min(header.size_bytes, one.group.stack.size))
    if not one.changes_file:
        return image
    # What is predicted of a table is looked at only when a further change follows.
    from ..._change.table import with_entries

    clusters = (0 if one.is_new else image.used_clusters) + len(one.placement.entries)
    table = with_entries(
        TableBuilder(header).build() if image.table is None else image.table, header, one.placement.entries
    )
    return replace(
        image, header=replace(header, in_use=0, flags=0, ext_off=0), used_clusters=clusters, table=table, extension=None
    )
