# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Grow: the guest disk becomes longer, in place; what it gains reads as zeros.

Commit point: the rename of the descriptor (of a disk that is a single file: its header, one sector, or for a plain one
its length). Before it the images come to hold more than the descriptor counts, which no reader sees: clusters in the
way of a longer table are copied to places that no entry names and only then pointed at, the new part of the table is
cleared, and the header comes last, each behind a barrier. A run that is cut off before the commit is taken back: the
journal has the headers as they were.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Dict, Iterator, Optional, Sequence, Tuple, Union

from ..._bundle.bundle import BundleState, ImageState
from ..._bundle.descriptor import Descriptor, ImageEntry
from ..._bundle.guards import ANY, EXACT, Touches, check_guards, refuse_snapshots
from ..._bundle.naming import image_name
from ..._bundle.predicted import unwritten
from ..._bundle.shape import PLAIN, Parts, Shape, header_of_part, resized
from ..._change.after import as_described, dropped_extensions
from ..._change.bundle_plan import SMALL_CHANGES, BundleChange, ChangeFacts, bundle_plan
from ..._change.image import clear_steps, close_steps, entry_steps, mark_steps
from ..._change.journal import descriptor_step
from ..._change.new_files import unused_names
from ..._change.new_image import empty_image_steps
from ..._core import guid as guids
from ..._core.errors import Unsupported
from ..._core.plan import CopyRanges, Plan, Resize, Step, Sync, WriteBytes
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR, round_up
from ..._formats.hds.bat import RunTable, TableBuilder, sequential_entries
from ..._formats.hds.header import ENTRY_BYTES, EXTENSION_OFFSET, HEADER_BYTES, IN_USE, HdsHeader, pack_header
from ..._io.journal import PREPARE, ImageBefore, Journal
from .grow_image import GrownImage, grow_image

if TYPE_CHECKING:
    from ..._bundle.machine_edit import MachineEdit

_PIECE_ENTRIES = 1 << 16


@dataclass(frozen=True)
class GrownPlain:
    """A plain image that is to hold ``size_after`` bytes."""

    image: ImageState
    size_after: int
    reserve: bool

    @property
    def needed(self) -> int:
        """Bytes that the file system must have."""
        return self.size_after - self.image.size if self.reserve else 0


@dataclass(frozen=True)
class NewPart:
    """The image of one layer in a part that did not exist."""

    state: ImageState
    entry: ImageEntry
    shape: Shape
    like: str


@dataclass(frozen=True)
class Growth:
    """How a disk becomes longer: to ``size`` bytes in ``parts``. ``reserve`` takes the host's blocks for what it gains.

    With ``top_only`` snapshots stay as short as they are and show zeros past their end. A layer that was just merged
    (``is_merged``) may be longer than the disk: what it hides there was a snapshot's, and goes. ``machine`` is what the
    configuration of the virtual machine becomes with it.
    """

    size: int
    parts: Parts
    reserve: bool = False
    top_only: bool = False
    is_merged: bool = False
    machine: Optional[MachineEdit] = None


@dataclass(frozen=True)
class _Grown:
    """A disk that becomes longer: its last image (None: it stays as it is), and the parts that are ``added``."""

    state: BundleState
    growth: Growth
    last: Union[GrownImage, GrownPlain, None]
    added: Tuple[NewPart, ...]


def plan_grow(state: BundleState, growth: Growth, *, force: bool = False) -> Plan[ChangeFacts]:
    """Make the disk longer.

    Raises HasSnapshots without ``top_only``, Dirty, Encrypted, BadRequest for a size that the format cannot hold,
    Unsupported for images that are not the disk's own or longer than the disk.
    """
    lengths = ANY if growth.is_merged else EXACT
    clearance = check_guards(state, Touches(data=True, lengths=lengths), force=force)
    _refuse(state, top_only=growth.top_only)
    number = len(state.parts) - 1
    image, length = state.images[(number, state.tree.top)], growth.parts[number][1]
    last = _last(state, image, length, growth.reserve) if length > state.parts[number][1] else None
    grown = _Grown(state, growth, last, tuple(_new_parts(state, growth)))
    target = _target(grown)
    plan = bundle_plan(clearance, _change(grown, image, target), ChangeFacts(state))
    return plan.with_facts(ChangeFacts(_after(grown, target, plan.steps)))


def _change(grown: _Grown, image: ImageState, target: Descriptor) -> BundleChange:
    state, last = grown.state, grown.last
    paths = (image.path,) if last is not None else ()
    steps = list(_steps(grown))
    at = len(steps) if state.is_bundle else _commit_of_single_file(steps)
    needed = sum(part.state.stat.size for part in grown.added if part.shape.preallocate)
    return BundleChange(
        "grow",
        _journal(grown),
        before=tuple(steps[:at]),
        commit=descriptor_step(state, target) if state.is_bundle else steps[at],
        after=tuple(steps[at + 1 :]),
        created=tuple(part.state.file for part in grown.added),
        hidden=paths,
        settled=() if state.is_bundle else paths,
        needed=SMALL_CHANGES + needed + (last.needed if last is not None else 0),
        bytes_read=last.read if isinstance(last, GrownImage) else 0,
        bytes_written=last.written if isinstance(last, GrownImage) else 0,
        warnings=tuple(dropped_extensions([image] if isinstance(last, GrownImage) else [])),
        machine=grown.growth.machine,
    )


def _commit_of_single_file(steps: Sequence[Step]) -> int:
    """Which step lets a disk that is one file hold more: its whole header, for a plain one its length."""
    headers = [
        at
        for at, step in enumerate(steps)
        if isinstance(step, WriteBytes) and not step.offset and len(step.content) == HEADER_BYTES
    ]
    return headers[0] if headers else max(at for at, step in enumerate(steps) if isinstance(step, Resize))


def _refuse(state: BundleState, *, top_only: bool) -> None:
    if len(state.tree.shots) > 1 and not top_only:
        refuse_snapshots(state, "grow")
    number = len(state.parts) - 1
    top = state.images[(number, state.tree.top)]
    if top.outside:
        raise Unsupported(
            "The current layer lies outside of the bundle and is not changed",
            path=top.path,
            hint="Take a snapshot first, or use hdd_convert.",
        )
    for (storage, guid), image in state.images.items():
        if storage == number and guid != state.tree.top:
            _refuse_long(image, state.parts[number][1])


def _refuse_long(image: ImageState, length: int) -> None:
    whole = image.header.size_bytes if image.header is not None else image.stat.size
    if whole > length:
        raise Unsupported(
            "The image of a snapshot is longer than the disk; in a larger disk it would show what is hidden now",
            path=image.path,
            expected=f"at most {length}",
            found=whole,
            hint="Set snapshots: merge, or make a new disk with hdd_convert.",
        )


def _last(state: BundleState, image: ImageState, length: int, reserve: bool) -> Union[GrownImage, GrownPlain]:
    if image.header is None:
        return GrownPlain(image, length, reserve)
    preallocated = state.descriptor.storages[image.storage].preallocated
    return grow_image(image, image.header, length, reserve=reserve or preallocated)


def _new_parts(state: BundleState, growth: Growth) -> Iterator[NewPart]:
    """Every layer has an image in every part; where nothing was ever written they are all empty."""
    taken = {*state.others, *(image.file for image in state.images.values())}
    for number in range(len(state.parts), len(growth.parts)):
        for entry in state.descriptor.storages[0].images:
            model = state.images.get((0, entry.guid))
            if model is None:
                continue
            name = image_name(state.location.base, number, entry.guid)
            if name in taken:
                (name,) = unused_names(state, [number], "part of", entry.guid)
            shape = _shape_like(state, model, growth.parts[number][1], growth.reserve)
            path = f"{state.location.directory}/{name}"
            image = ImageState(number, entry.guid, name, path, False, shape.kind, unwritten(shape.size), shape.size)
            yield NewPart(_empty_image(image, shape), replace(entry, file=name), shape, model.path)


def _empty_image(image: ImageState, shape: Shape) -> ImageState:
    if shape.kind == PLAIN:
        return image
    header = header_of_part(shape, shape.size)
    reserved = round_up(shape.size, shape.cluster_bytes) if shape.preallocate else 0
    return replace(
        image,
        stat=unwritten(header.data_start + reserved),
        header=header,
        table=_table_of_new(header, shape.preallocate),
        used_clusters=header.used_entries if shape.preallocate else 0,
    )


def _table_of_new(header: HdsHeader, is_reserved: bool) -> RunTable:
    builder = TableBuilder(header)
    if is_reserved:
        builder.add(0, header.used_entries, header.data_start // header.entry_bytes)
    return builder.build()


def _shape_like(state: BundleState, model: ImageState, length: int, reserve: bool) -> Shape:
    if model.header is None:
        return Shape(length, PLAIN, preallocate=reserve)
    is_root = state.tree.shots[model.guid].parent == guids.NONE
    return Shape(
        length, cluster_bytes=model.header.cluster_bytes, version=model.header.version, preallocate=reserve and is_root
    )


def _target(grown: _Grown) -> Descriptor:
    descriptor, parts = grown.state.descriptor, grown.growth.parts
    storages = list(descriptor.storages)
    storages[-1] = replace(storages[-1], end_sector=sum(parts[len(storages) - 1]) // SECTOR)
    for number in range(len(storages), len(parts)):
        start, length = parts[number]
        entries = tuple(part.entry for part in grown.added if part.state.storage == number)
        end = (start + length) // SECTOR
        storages.append(replace(storages[0], start_sector=start // SECTOR, end_sector=end, images=entries))
    return resized(descriptor, grown.growth.size, storages)


def _steps(grown: _Grown) -> Iterator[Step]:
    """The images come to hold more than the descriptor counts."""
    last, added = grown.last, grown.added
    for part in added:
        yield from empty_image_steps(part.state.path, part.shape, part.state.size, like=part.like)
    if added:
        yield Sync(files=tuple(part.state.path for part in added), directories=(grown.state.location.directory,))
    if isinstance(last, GrownPlain):
        # Bytes past the end of the disk belong to nobody and must not become a part of it.
        yield Resize(last.image.path, last.image.size)
        yield Resize(last.image.path, last.size_after, reserve=last.reserve)
        yield Sync(files=(last.image.path,))
    elif last is not None:
        yield from _image_steps(last)


def _journal(grown: _Grown) -> Journal:
    images: Tuple[ImageBefore, ...] = ()
    headers: Dict[str, str] = {}
    if grown.last is not None:
        image = grown.last.image
        name = image.path.rsplit("/", 1)[-1]
        images = (ImageBefore(name, image.stat.size, image.header.in_use if image.header is not None else 0),)
        if image.header is not None:
            headers[name] = pack_header(image.header).hex()
    is_reserved = isinstance(grown.last, GrownImage) and grown.last.reserved_at is not None
    request = {"sectors": grown.growth.size // SECTOR, "headers": headers, "reserved": is_reserved}
    created = tuple(part.state.file for part in grown.added)
    return Journal("grow", PREPARE, created=created, images=images, request=request)


def _image_steps(grown: GrownImage) -> Iterator[Step]:
    image, old, path = grown.image, grown.image.header, grown.image.path
    if old is None:
        return
    barrier = Sync(files=(path,))
    yield from mark_steps([image])
    if old.ext_off:
        # From here on nobody may look for an extension in places that are about to be used.
        yield WriteBytes(path, EXTENSION_OFFSET, struct.pack("<Q", 0))
        yield barrier
    yield from _data_steps(grown)
    if grown.relocated:
        yield barrier
        yield from entry_steps(path, old, grown.relocated)
        # The room of the table is free only when no durable entry leads there.
        yield barrier
    yield from _new_entries(grown)
    yield barrier
    yield WriteBytes(path, 0, pack_header(replace(grown.header, in_use=IN_USE)))
    yield barrier
    yield from close_steps([image], keep_extension=False)


def _data_steps(grown: GrownImage) -> Iterator[Step]:
    if grown.size_after > grown.image.stat.size:
        yield Resize(grown.image.path, grown.size_after, reserve=grown.reserved_at is not None)
    if grown.moves or grown.zeroed:
        yield CopyRanges(grown.image.path, grown.moves + grown.zeroed)


def _new_entries(grown: GrownImage) -> Iterator[Step]:
    """What the table says of the clusters that are new, in pieces that share one block of zeros.

    Where clusters made room, nothing of them is left: ploop takes all that lies before the data for entries.
    """
    header, path = grown.header, grown.image.path
    first, end = grown.first_new, header.bat_entries
    if grown.reserved_at is not None:
        # The places follow one another from ``reserved_at`` on, as if an image began there.
        before = (grown.reserved_at - header.data_start) // header.cluster_bytes
        for start in range(first, end, _PIECE_ENTRIES):
            content = sequential_entries(header, before + start - first, min(_PIECE_ENTRIES, end - start))
            yield WriteBytes(path, HEADER_BYTES + ENTRY_BYTES * start, content)
        first = end
    has_moved = grown.image.header is not None and header.data_start > grown.image.header.data_start
    yield from clear_steps(
        path, HEADER_BYTES + ENTRY_BYTES * first, header.data_start if has_moved else header.table_end
    )


def _after(grown: _Grown, target: Descriptor, steps: Sequence[Step]) -> BundleState:
    """The disk as it will be, for predictions."""
    state, last = grown.state, grown.last
    images = dict(state.images)
    number = len(state.parts) - 1
    if last is not None:
        stat = replace(last.image.stat, size=last.size_after, allocated=-1)
        image = replace(last.image, stat=stat, size=grown.growth.parts[number][1])
        if isinstance(last, GrownImage):
            used = last.table.clusters_used
            image = replace(image, header=last.header, table=last.table, extension=None, used_clusters=used)
        images[(number, image.guid)] = image
    for part in grown.added:
        images[(part.state.storage, part.state.guid)] = part.state
    return as_described(state, target, steps, images)
