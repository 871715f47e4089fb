# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Store a guest disk by sharing blocks alone: nothing is read, so the cost follows the extents of the source and not
its bytes.

::

    source    | data  | hole | zeros | data  |        what is stored as data is shared as data, zeros too: they take no
    output    | shared| hole | shared| shared|        space as long as the source is there
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Any, Callable, Iterator, Optional, Tuple

from ..._bundle.shape import PLAIN, Shape
from ..._core.extents import DATA
from ..._core.units import SECTOR
from ..._formats.image import GuestView
from ..._guest.source import RAW, Source
from ..._io.buffers import new_buffer
from ..._io.copy import WINDOW
from ..._io.port import Port
from ..._io.sparse import data_parts
from ..copy.sharing import BLOCK, LONGEST, BlockSharing, Place, SharedRanges, common
from ..copy.stream import Flow


def first_stored(view: GuestView) -> Optional[Place]:
    """The first range of the disk that lies in a file as it is: ``(guest offset, length, file, file offset)``.

    None when there is no data, and when that lies nowhere as it is, or not on whole blocks.
    """
    for extent in view.extents(0, view.size):
        if extent.kind == DATA:
            place = next(_stored(view, extent.start, extent.length), None)
            is_usable = place is not None and place[0] == extent.start and place[1] >= BLOCK and place[3] % BLOCK == 0
            return place if is_usable else None
    return None


def whole_files(port: Port, source: Source, shape: Shape, depth: int) -> Tuple[str, ...]:
    """The files of the source that are, byte for byte, the files of a plain output, one for each part; empty when they
    are not.

    The output shows what lies ``depth`` layers below the top of the source.
    """
    if shape.kind != PLAIN or shape.size != source.size:
        # What a file holds behind the end of the disk is no part of it.
        return ()
    if source.state is None or source.guid is None:
        files = [(0, source.path)] if source.format == RAW else []
    else:
        state = source.state
        chains = [state.chain(source.guid, number)[depth:] for number in range(len(state.descriptor.storages))]
        if any(len(chain) != 1 or chain[0].kind != PLAIN for chain in chains):
            return ()
        files = [
            (storage.start_sector * SECTOR, chain[0].path) for storage, chain in zip(state.descriptor.storages, chains)
        ]
    stats = [(start, port.stat(path)) for start, path in files]
    found = tuple((start, stat.size) for start, stat in stats if stat is not None)
    return tuple(path for _start, path in files) if found == shape.parts else ()


def note_clones(
    view: GuestView, writer: Any, shared: SharedRanges, on_progress: Optional[Callable[[int], None]] = None
) -> Flow:
    """Note what the files of the output have because they are clones of the source's."""
    flow = Flow()
    for extent in view.extents(0, view.size):
        if extent.kind == DATA:
            for place in _stored(view, extent.start, extent.length):
                for _guest, length, file, offset, target, target_offset in common(
                    iter((place,)), iter(writer.place(place[0], place[1]))
                ):
                    shared.add(file, offset, target, target_offset, length)
                    flow.written += length
    if on_progress is not None:
        on_progress(view.size)
    return flow


def share_disk(
    view: GuestView, writer: Any, sharing: BlockSharing, on_progress: Optional[Callable[[int], None]] = None
) -> Flow:
    """Store the whole disk; zeros that the source stores as data are data here, too.

    What lies nowhere as it is, such as compressed clusters, or not on whole blocks, is read; what the host refuses to
    share is copied. Of both zeros are left out.
    """
    flow = Flow()
    for extent in view.extents(0, view.size):
        if extent.kind != DATA:
            continue
        position = extent.start
        for guest, length, file, offset in _whole_blocks(_stored(view, extent.start, extent.length)):
            _store_read(view, writer, position, guest, flow)
            sharing.put_unread(guest, length, file, offset)
            flow.written += length
            position = guest + length
            if on_progress is not None:
                on_progress(position)
        _store_read(view, writer, position, extent.end, flow)
    sharing.flush()
    flow.read += sharing.bytes_read
    return flow


def _stored(view: Any, start: int, length: int) -> Iterator[Place]:
    return iter(view.sources(start, length) if hasattr(view, "sources") else ())


def _whole_blocks(places: Iterator[Place]) -> Iterator[Place]:
    """Of each place the part that consists of whole blocks, in pieces that the host shares in a moment."""
    for guest, length, file, offset in places:
        if guest % BLOCK == 0 and offset % BLOCK == 0:
            for done in range(0, length - length % BLOCK, LONGEST):
                yield guest + done, min(LONGEST, length - length % BLOCK - done), file, offset + done


def _store_read(view: GuestView, writer: Any, start: int, end: int, flow: Flow) -> None:
    """Store a range by reading and writing it, without its zeros."""
    if start == end:
        return
    buffer = new_buffer(min(WINDOW, end - start))
    for offset in range(start, end, WINDOW):
        window = buffer[: end - offset]
        view.pread_into(offset, window)
        flow.read += len(window)
        for first, last in data_parts(window, len(window)):
            writer.write(offset + first, window[first:last])
            flow.written += last - first
