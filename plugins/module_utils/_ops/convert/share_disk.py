# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Store a guest disk by sharing blocks alone: nothing is read, so the cost follows the extents of the source.

::

    source    | data  | hole | zeros | data  |        what is stored as data is shared as data, zeros too: they take no
    output    | shared| hole | shared| shared|        space as long as the source is there
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, Optional, Tuple

from ..._bundle.shape import PLAIN, Shape
from ..._core.extents import DATA
from ..._formats.image import GuestView, Place
from ..._guest.places import SharedRanges, common, whole_blocks
from ..._guest.source import RAW, Source
from ..._io.buffers import new_buffer
from ..._io.copy import WINDOW
from ..._io.port import Port
from ..._io.sparse import data_parts
from ..copy.parts_writer import PartsWriter
from ..copy.sharing import BlockSharing
from ..copy.stream import Flow, Progress

_SAMPLE = 64 << 20
"""So much of the data shows how it is stored."""


def first_place(view: GuestView) -> Optional[Place]:
    """The place of the first data of the disk, when a host may share it and most of what follows; else None.

    Where much is packed or lies on no whole blocks, streaming is faster than to read and write in turns.
    """
    first: Optional[Place] = None
    data = placed = 0
    for extent in view.extents(0, view.size):
        if extent.kind == DATA:
            length = min(extent.length, _SAMPLE - data)
            for place in whole_blocks(view.places(extent.start, length)):
                first = first or place
                placed += place.length
            if first is None or (not data and first.start != extent.start):
                return None
            data += length
            if data == _SAMPLE:
                break
    return first if 2 * placed >= data else None


def whole_files(port: Port, source: Source, shape: Shape, depth: int) -> Tuple[str, ...]:
    """The files of the source that are, byte for byte, those of a plain output, one for each part; else none.

    The output shows what is ``depth`` layers below the top of the source.
    """
    if shape.kind != PLAIN or shape.size != source.size:
        # What a file holds past the end of the disk is no part of it.
        return ()
    files = _plain_files(source, depth)
    stats = [(start, port.stat(path)) for start, path in files]
    found = tuple((start, stat.size) for start, stat in stats if stat is not None)
    return tuple(path for _start, path in files) if found == shape.parts else ()


def _plain_files(source: Source, depth: int) -> List[Tuple[int, str]]:
    """The plain image of each part, with its start; empty when not all are plain and alone."""
    state, guid = source.state, source.guid
    if state is None or guid is None:
        return [(0, source.path)] if source.format == RAW and not source.pieces else []
    chains = [state.chain(guid, number)[depth:] for number in range(len(state.parts))]
    if any(len(chain) != 1 or chain[0].kind != PLAIN for chain in chains):
        return []
    return [(start, chain[0].path) for (start, _length), chain in zip(state.parts, chains)]


def note_clones(
    view: GuestView, writer: PartsWriter, shared: SharedRanges, on_progress: Optional[Progress] = None
) -> Flow:
    """Note what the files of the output have because they are clones of the source's."""
    flow = Flow()
    for extent in view.extents(0, view.size):
        if extent.kind == DATA:
            for place in view.places(extent.start, extent.length):
                targets = writer.places(place.start, place.length)
                for _guest, length, file, offset, target, target_offset in common((place,), targets):
                    shared.add(file, offset, target, target_offset, length)
                    flow.written += length
    if on_progress is not None:
        on_progress(view.size)
    return flow


def share_disk(
    view: GuestView, writer: PartsWriter, sharing: BlockSharing, on_progress: Optional[Progress] = None
) -> Flow:
    """Store the whole disk; zeros that the source stores as data are data here, too.

    What has no place, such as compressed clusters, or not on whole blocks, is read; what the host refuses to share is
    copied. Of both zeros are left out.
    """
    flow = Flow()
    for extent in view.extents(0, view.size):
        if extent.kind != DATA:
            continue
        position = extent.start
        for place in whole_blocks(view.places(extent.start, extent.length)):
            flow.add(_store_read(view, writer, position, place.start))
            sharing.put_unread(place)
            flow.written += place.length
            position = place.end
            if on_progress is not None:
                on_progress(position)
        flow.add(_store_read(view, writer, position, extent.end))
    sharing.flush()
    flow.read += sharing.bytes_read
    return flow


def _store_read(view: GuestView, writer: PartsWriter, start: int, end: int) -> Flow:
    """Store a range by reading and writing it, without its zeros."""
    flow = Flow()
    buffer = new_buffer(min(WINDOW, end - start)) if start < end else memoryview(b"")
    for offset in range(start, end, WINDOW):
        window = buffer[: end - offset]
        view.pread_into(offset, window)
        flow.read += len(window)
        for first, last in data_parts(window, len(window)):
            writer.write(offset + first, window[first:last])
            flow.written += last - first
    return flow
