# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shrink: the guest disk becomes shorter, in place.

Commit point: the rename of the descriptor (of a disk that is a single file: its header, one sector, or for a plain one
its length). Until then nothing has changed. After it the images still hold more than the descriptor counts, which no
reader sees: headers are made to say less, so that the entries past the end do not count, those are cleared, the free
end of each file is cut off, and parts past the end are removed. A run that is cut off after the commit goes forward.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState, ImageState
from ..._bundle.descriptor import Descriptor
from ..._bundle.guards import EXACT, Touches, check_guards, refuse_snapshots
from ..._bundle.shape import resized, wanted_parts
from ..._change.after import as_described, dropped_extensions
from ..._change.bundle_plan import SMALL_CHANGES, BundleChange, ChangeFacts, bundle_plan
from ..._change.journal import descriptor_step
from ..._change.table import clipped, table_of
from ..._core.errors import BadRequest, Unsupported
from ..._core.extents import DATA
from ..._core.plan import Plan
from ..._core.records import replace
from ..._core.units import SECTOR, format_size
from ..._formats.image import GuestView
from ..._guest.view import open_view
from ..._io.buffers import new_buffer
from ..._io.copy import SLICE
from ..._io.journal import APPLY, ImageBefore, Journal
from ..._io.port import Port
from ..._io.sparse import GRAIN, data_parts
from .shrink_image import CutImage, commit_of_cut, cut_image, cut_steps

if TYPE_CHECKING:
    from ..._bundle.machine_edit import MachineEdit

Ranges = Sequence[Tuple[int, int]]


def plan_shrink(
    state: BundleState, size: int, *, force: bool = False, machine: Optional[MachineEdit] = None
) -> Plan[ChangeFacts]:
    """Make the disk hold ``size`` bytes, which is less than now.

    What is past the new end is not looked at here: see ``refuse_loss``. Raises HasSnapshots, Dirty, Encrypted,
    Unsupported for an image that is not the disk's own.
    """
    clearance = check_guards(state, Touches(data=True, lengths=EXACT), force=force)
    images = _own_images(state)
    wanted = wanted_parts(state, size)
    number = len(wanted) - 1
    cuts = [cut_image(images[number], wanted[number][1])] if wanted[number][1] < state.parts[number][1] else []
    target = _target(state, size, len(wanted))
    kept = {key: image for key, image in state.images.items() if key[0] < len(wanted)}
    for cut in cuts:
        kept[(cut.image.storage, cut.image.guid)] = _cut_state(cut)
    freed = sum(image.stat.size for image in images) - sum(image.stat.size for image in kept.values())
    change = replace(_change(state, target, cuts, images[len(wanted) :]), bytes_freed=freed, machine=machine)
    plan = bundle_plan(clearance, change, ChangeFacts(state))
    return plan.with_facts(ChangeFacts(as_described(state, target, plan.steps, kept)))


def _change(
    state: BundleState, target: Descriptor, cuts: Sequence[CutImage], gone: Sequence[ImageState]
) -> BundleChange:
    steps = [step for cut in cuts for step in cut_steps(cut)]
    at = None if state.is_bundle else commit_of_cut(steps)
    paths = tuple(cut.image.path for cut in cuts)
    return BundleChange(
        "shrink",
        _journal(target.size_bytes, cuts, gone),
        before=tuple(steps[:at]) if at is not None else (),
        commit=descriptor_step(state, target) if at is None else steps[at],
        after=tuple(steps if at is None else steps[at + 1 :]),
        discarded=tuple(image.path for image in gone),
        hidden=() if state.is_bundle else paths,
        settled=paths,
        needed=SMALL_CHANGES,
        warnings=tuple(dropped_extensions([cut.image for cut in cuts])),
    )


def _own_images(state: BundleState) -> List[ImageState]:
    """The images of the one layer. Raises HasSnapshots for more layers, Unsupported for an image outside."""
    if len(state.tree.shots) > 1:
        refuse_snapshots(state, "shrink")
    images = [state.images[(number, state.tree.top)] for number in range(len(state.descriptor.storages))]
    for image in images:
        if image.outside:
            raise Unsupported(
                "An image lies outside of the bundle and is not changed",
                path=image.path,
                hint="Make a new disk with hdd_convert.",
            )
    return images


def _target(state: BundleState, size: int, parts: int) -> Descriptor:
    storages = list(state.descriptor.storages[:parts])
    storages[-1] = replace(storages[-1], end_sector=size // SECTOR)
    return resized(state.descriptor, size, storages)


def _journal(size: int, cuts: Sequence[CutImage], gone: Sequence[ImageState]) -> Journal:
    return Journal(
        "shrink",
        APPLY,
        discarded=tuple(image.path.rsplit("/", 1)[-1] for image in gone),
        images=tuple(ImageBefore(cut.image.path.rsplit("/", 1)[-1], cut.image.stat.size, 0) for cut in cuts),
        request={
            "sectors": size // SECTOR,
            "entries": max([cut.image.header.bat_entries for cut in cuts if cut.image.header is not None], default=0),
        },
    )


def _cut_state(cut: CutImage) -> ImageState:
    image = replace(cut.image, stat=replace(cut.image.stat, size=cut.size_after, allocated=-1), size=cut.length)
    if cut.header is None:
        return image
    table = clipped(table_of(image, cut.header), cut.header, cut.header.bat_entries)
    return replace(image, header=cut.header, table=table, extension=None, used_clusters=table.clusters_used)


def refuse_loss(
    port: Port,
    state: BundleState,
    size: int,
    *,
    partitions: Sequence[Tuple[str, int, int]] = (),
    spared: Ranges = (),
    advice: Sequence[str] = (),
) -> None:
    """Raise BadRequest when the guest disk has data or a part of a partition past ``size`` bytes.

    ``partitions`` are names with start and end; ``spared`` are ranges whose content is worth nothing; ``advice`` says
    what the guest can do.
    """
    cut = [f"{name} (bytes {start} to {end})" for name, start, end in partitions if end > size]
    view = open_view(port, state, state.tree.top)
    try:
        offset = first_data(view, size, spared)
    finally:
        view.close()
    if offset is None and not cut:
        return
    what = ", ".join(cut[:5]) or "data of the guest"
    where = "" if offset is None else f"; the first data past its end is at byte {offset}"
    raise BadRequest(
        f"size: a disk of {format_size(size)} would cut off {what}{where}",
        path=state.location.directory if state.is_bundle else state.location.image,
        expected=f"nothing but zeros from byte {size} on",
        found=cut or offset,
        hint=f"{_first(advice)}, or set force: true to give up what lies there.",
    )


def _first(advice: Sequence[str]) -> str:
    return f"In the guest first: {'; '.join(advice[:5])}" if advice else "Make room in the guest first"


def first_data(view: GuestView, start: int, spared: Ranges = ()) -> Optional[int]:
    """The first guest offset from ``start`` on that holds something, to the grain of 4 KiB; None when all is zeros.

    ``spared`` ranges do not count.
    """
    buffer = new_buffer(SLICE)
    for offset, length in _slices(view, start):
        part = buffer[:length]
        view.pread_into(offset, part)
        for low, high in spared:
            begin, end = max(low, offset), min(high, offset + length)
            if begin < end:
                part[begin - offset : end - offset] = bytes(end - begin)
        found = next(data_parts(part, length, GRAIN), None)
        if found is not None:
            return offset + found[0]
    return None


def _slices(view: GuestView, start: int) -> Iterator[Tuple[int, int]]:
    for extent in view.extents(start, view.size - start):
        for offset in range(extent.start, extent.end, SLICE) if extent.kind == DATA else ():
            yield offset, min(SLICE, extent.end - offset)
