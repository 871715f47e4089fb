# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merge: fewer layers, the same guest view for every snapshot that stays.

Commit point: the rename of the descriptor. Before it, a receiver gets clusters in slots that no table refers to; then
the journal says ``apply``, and clusters and table entries change that are hidden, in every surviving view, by the
layers above. Only the views of the snapshots that are to vanish become unreliable then, and a run after a crash goes
forward. After the commit, files are only removed.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ..._bundle.bundle import PLAIN, BundleState, ImageState, size_warnings
from ..._bundle.descriptor import Descriptor, ImageEntry
from ..._bundle.guards import Touches, check_guards, refuse_hidden_ends
from ..._bundle.tree import build_tree
from ..._change.after import forgotten_paths, forgotten_steps, remembered
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
from ..._core.plan import CopyRanges, CreateFile, Plan, Resize, Step, Sync, WriteBytes
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR
from ..._formats.hds.header import pack_header
from ..._io.journal import APPLY, PREPARE, ImageBefore, Journal
from ..._io.port import Port
from .removals import groups_of

if TYPE_CHECKING:
    from .merged_image import MergedImage

AUTO = "auto"


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


@dataclass(frozen=True)
class _Merge:
    """One merge: the snapshots that go, and what becomes of their layers."""

    state: BundleState
    removals: Tuple[str, ...]
    merged: Sequence[MergedImage]
    repeats: Optional[Repetition]

    @property
    def changed(self) -> List[MergedImage]:
        """The images that are written. What a cut-off run wrote may be seen now without being on the medium."""
        ours = self.repeats.ours if self.repeats is not None else ()
        return [one for one in self.merged if one.changes_file or one.receiver.path in ours]

    @property
    def discarded(self) -> List[ImageState]:
        """Images in the bundle that nobody names afterwards."""
        used = {one.receiver.path for one in self.merged}
        touched = {*self.removals, *(one.group.survivor for one in self.merged)}
        return [
            image
            for (_storage, guid), image in self.state.images.items()
            if guid in touched and image.path not in used and not image.outside
        ]


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
    given = repeats or Repetition({}, ())
    clearance = check_guards(state, Touches(data=bool(groups), ours=given.ours), force=force)
    # A disk that is short enough needs nobody who plans this.
    from .merged_image import Choice, merged_images

    merged = merged_images(port, Choice(state, groups, strategy, given.receivers))
    merge = _Merge(state, tuple(removals), merged, repeats)
    if repeats is None:
        refuse_hidden_ends(state, merge.discarded, force=force)
    target = _target(merge)
    change = _change(port, merge, target)
    return bundle_plan(clearance, change, MergeFacts(remembered(_after(merge, target), target), merge.removals))


def _change(port: Port, merge: _Merge, target: Descriptor) -> BundleChange:
    journal, discarded = _journal(merge), merge.discarded
    moves = [move for one in merge.merged for move in one.moves]
    needed = sum(one.growth + one.placement.filled for one in merge.merged)
    return BundleChange(
        "merge",
        # A repetition must not fall back to a phase in which recovery takes back.
        journal if merge.repeats is None else None,
        before=tuple(_steps(port, merge, journal)),
        commit=descriptor_step(merge.state, target),
        after=forgotten_steps(merge.state, target),
        settled=forgotten_paths(merge.state),
        created=tuple(one.receiver.file for one in merge.merged if one.is_new),
        discarded=tuple(image.path for image in discarded),
        hidden=tuple(one.receiver.path for one in merge.merged if not one.is_new),
        needed=needed,
        bytes_read=sum(move.length for move in moves if move.source is not None),
        bytes_written=sum(move.length for move in moves),
        bytes_freed=sum(image.stat.allocated for image in discarded) - needed,
        warnings=tuple(_warnings(merge.merged)),
    )


def _target(merge: _Merge) -> Descriptor:
    """The descriptor afterwards: survivors keep their GUID and get the receiver's file, removed shots are bridged."""
    descriptor, gone = merge.state.descriptor, set(merge.removals)
    storages = []
    for number, storage in enumerate(descriptor.storages):
        taken = {one.group.survivor: one.receiver for one in merge.merged if one.group.storage == number}
        storages.append(replace(storage, images=tuple(_entries(merge.state, number, gone, taken))))
    parents = {shot.guid: shot.parent for shot in descriptor.shots}
    shots = []
    for shot in descriptor.shots:
        parent = shot.parent
        while parent in gone:
            parent = parents[parent]
        if shot.guid not in gone:
            shots.append(replace(shot, parent=parent))
    return replace(descriptor, storages=tuple(storages), shots=tuple(shots))


def _entries(state: BundleState, number: int, gone: Set[str], taken: Mapping[str, ImageState]) -> Iterator[ImageEntry]:
    """The images of a storage afterwards. ploop calls the layers above a plain root Plain, too; not without one."""
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


def _journal(merge: _Merge) -> Journal:
    changed = merge.changed
    kept = [one for one in merge.merged if not one.is_new]
    receivers = {f"{one.group.storage}/{one.group.survivor}": one.receiver.file for one in kept}
    return Journal(
        "merge",
        PREPARE,
        created=tuple(one.receiver.file for one in changed if one.is_new),
        discarded=tuple(image.path.rsplit("/", 1)[-1] for image in merge.discarded),
        images=tuple(
            ImageBefore(image.path.rsplit("/", 1)[-1], image.stat.size, image.header.in_use)
            for image in (one.receiver for one in changed if not one.is_new)
            if image.header is not None
        ),
        request={"removals": list(merge.removals), "receivers": receivers},
    )


def _steps(port: Port, merge: _Merge, journal: Journal) -> Iterator[Step]:
    changed = merge.changed
    in_place = [one for one in changed if not one.is_new]
    structured = [one.receiver for one in in_place if one.receiver.header is not None]
    yield from mark_steps(structured)
    for image in structured if merge.repeats is not None else ():
        yield from table_rewrite_steps(port, image)
        yield header_rewrite_step(image)
    yield from _fresh_steps(merge.state, changed)
    if in_place:
        if merge.repeats is None:
            yield journal_step(merge.state, replace(journal, phase=APPLY))
        yield from _in_place_steps(in_place)


def _fresh_steps(state: BundleState, changed: Sequence[MergedImage]) -> Iterator[Step]:
    """Everything that no reader can see yet, and one barrier after it."""
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
    """Clusters and entries that the surviving views do not see, a barrier, then the end of the in-use mark."""
    for one in in_place:
        path, header, placement = one.receiver.path, one.receiver.header, one.placement
        if header is None and one.growth:
            # Bytes past the last whole sector belong to no disk and must not become part of this one.
            yield Resize(path, one.receiver.size)
            yield Resize(path, placement.size_after)
        if placement.overwrites:
            yield CopyRanges(path, placement.overwrites)
        if header is not None and one.grown is not None:
            yield from table_growth_steps(path, header, one.grown, placement.entries)
        elif header is not None:
            yield from entry_steps(path, header, placement.entries)
    yield Sync(files=tuple(one.receiver.path for one in in_place))
    structured = [one.receiver for one in in_place if one.receiver.header is not None]
    yield from close_steps(structured, keep_extension=False)


def _warnings(merged: Sequence[MergedImage]) -> Iterator[str]:
    for one in merged:
        lowest = one.group.images[-1]
        if one.receiver.header is not None and lowest.header is None:
            what = "was merged into an expanding one, which moves fewer bytes; the disk is no longer plain"
            yield f"{lowest.path}: the plain image {what}."
        for image in one.group.images:
            stays = image.outside or (image.path == one.receiver.path and not one.changes_file)
            if image.extension is not None and not stays:
                from ..._formats.hds.extension import may_keep

                kept = may_keep(image.extension)
                what = "the dirty bitmaps of backup software" if kept else "the contents of a format extension"
                end = "are no longer true after the merge and are dropped; the next backup is a full one."
                yield f"{image.path}: {what} {end}"


def _after(merge: _Merge, target: Descriptor) -> BundleState:
    """The disk as it will be, for predictions."""
    state = merge.state
    kept = {image.guid for storage in target.storages for image in storage.images}
    images: Dict[Tuple[int, str], ImageState] = {key: image for key, image in state.images.items() if key[1] in kept}
    for one in merge.merged:
        images[(one.group.storage, one.group.survivor)] = _receiver_after(one)
    tree = build_tree(target.shots, declared_top=target.declared_top, path=state.location.descriptor)
    warnings = tuple(size_warnings(target, tree, images))
    return replace(state, descriptor=target, tree=tree, images=images, warnings=warnings)


def _receiver_after(one: MergedImage) -> ImageState:
    image, visible = replace(one.receiver, guid=one.group.survivor), one.group.stack.size
    if one.changes_file:
        image = replace(image, stat=replace(image.stat, size=one.placement.size_after, allocated=-1))
    if image.header is None:
        return replace(image, size=min(image.stat.size // SECTOR * SECTOR, visible))
    header = one.grown or image.header
    image = replace(image, size=min(header.size_bytes, visible))
    if not one.changes_file:
        return image
    # What is predicted of a table is looked at only when a further change follows.
    from ..._change.table import table_of, with_entries

    entries, closed = one.placement.entries, replace(header, in_use=0, flags=0, ext_off=0)
    table = with_entries(table_of(image, header), header, entries)
    used = len(entries) if one.is_new else image.used_clusters + len(entries)
    return replace(image, header=closed, used_clusters=used, table=table, extension=None)
