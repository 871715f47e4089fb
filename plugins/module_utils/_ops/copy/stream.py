# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stream a guest disk, or one layer of it, into a writer in one ascending pass, leaving zeros out."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Callable, Dict, Iterable, Iterator, Optional, Sequence, Tuple

from ..._core.extents import ZERO, Extent
from ..._core.records import dataclass
from ..._formats.image import ForeignWriter, GuestView
from ..._guest.digests import ContentDigest, LayerDigest
from ..._guest.read_ahead import read_ahead
from ..._guest.slices import data_slices, layer_slices
from ..._guest.windows import Windows
from ..._io.buffers import new_buffer
from ..._io.copy import SLICE, WINDOW, Writeback
from ..._io.port import File
from ..._io.sparse import GRAIN, data_parts
from .digest_thread import DigestThread
from .parts_writer import PartsWriter
from .sharing import BlockSharing

Progress = Callable[[int], None]

_SHARED_AT_ONCE = 64 << 20


@dataclass
class Flow:
    """How much guest data went through: bytes read and bytes written."""

    read: int = 0
    written: int = 0


def stream_disk(
    view: GuestView,
    writer: ForeignWriter,
    files: Sequence[File],
    *,
    sparse: bool,
    digest: Optional[ContentDigest],
    shares: bool = False,
    on_progress: Optional[Progress] = None,
) -> Flow:
    """Write the whole disk.

    With ``sparse`` zeros are neither read where that is known nor written; with ``shares`` the host may share blocks.

    ``on_progress`` is called with how far it is.
    """
    flow, writeback = Flow(), Writeback(files)
    sharing = BlockSharing(view, writer) if shares and isinstance(writer, PartsWriter) else None
    slices = read_ahead(view, _disk_slices(view, sparse))
    with Windows(view, slices) as windows, DigestThread(digest, windows.release) as digesting:
        for offset, window in windows:
            length = len(window)
            flow.read += length
            parts = tuple(data_parts(window, length)) if sparse else ((0, length),)
            for start, end in parts:
                if sharing is None or not sharing.put(offset + start, window[start:end]):
                    writer.write(offset + start, window[start:end])
                flow.written += end - start
            digesting.add(
                offset,
                window,
                _digested(window, parts if sparse else tuple(data_parts(window, length))) if digest is not None else (),
            )
            writeback.reached(flow.written)
            if on_progress is not None:
                on_progress(offset + length)
    if sharing is not None:
        sharing.flush()
    return flow


def _digested(window: memoryview, parts: Sequence[Tuple[int, int]]) -> Sequence[Tuple[int, int]]:
    """The slices (start, end) of the window, on the grid of the digest, that are not all zero, as ``parts`` say."""
    numbers: Dict[int, None] = {}
    for start, end in parts:
        numbers.update(dict.fromkeys(range(start // SLICE, -(-end // SLICE))))
    return [(number * SLICE, min(number * SLICE + SLICE, len(window))) for number in numbers]


def _disk_slices(view: GuestView, sparse: bool) -> Iterable[Tuple[int, int]]:
    if sparse:
        return data_slices(view.extents(0, view.size), view.size)
    return ((offset, min(SLICE, view.size - offset)) for offset in range(0, view.size, SLICE))


def stream_layer(
    view: GuestView,
    own: Iterable[Extent],
    writer: ForeignWriter,
    files: Sequence[File],
    *,
    digest: Optional[LayerDigest],
    sharing: Optional[BlockSharing] = None,
    on_progress: Optional[Progress] = None,
) -> Flow:
    """Write an overlay: whatever ``own``, the layer's extents, touches, in whole grains, with the bytes of ``view``,
    the disk seen through it.

    Zeros are stored as such, since they may hide what lies below. With ``sharing`` nothing is read where the host
    shares blocks.
    """
    flow, writeback = Flow(), Writeback(files)
    buffer = new_buffer(max(WINDOW, writer.grain))
    slices = (
        layer_slices(view, own, writer.grain) if sharing is None else _unshared(view, own, writer.grain, sharing, flow)
    )
    for offset, length, kind in slices:
        parts: Iterator[Tuple[int, int]] = iter(())
        window = memoryview(b"")
        if kind != ZERO:
            window = buffer[:length]
            view.pread_into(offset, window)
            flow.read += length
            parts = data_parts(window, length, max(GRAIN, writer.grain))
        done = 0
        for start, end in parts:
            _zeros(writer, digest, offset + done, start - done)
            writer.write(offset + start, window[start:end])
            if digest is not None:
                digest.add(offset + start, window[start:end])
            flow.written += end - start
            done = end
        _zeros(writer, digest, offset + done, length - done)
        writeback.reached(flow.written)
        if on_progress is not None:
            on_progress(offset + length)
    if sharing is not None:
        sharing.flush()
        flow.read += sharing.bytes_read
    return flow


def _unshared(
    view: GuestView, own: Iterable[Extent], grain: int, sharing: BlockSharing, flow: Flow
) -> Iterator[Tuple[int, int, str]]:
    """The slices of a layer that the host does not share; the others are stored on the way."""
    step = max(WINDOW // grain * grain, grain)
    for offset, length, kind in layer_slices(view, own, grain, _SHARED_AT_ONCE):
        if kind == ZERO:
            yield offset, length, kind
            continue
        stored = sharing.put_range_unread(offset, length)
        flow.written += stored
        for done in range(0, 0 if stored else length, step):
            yield offset + done, min(step, length - done), kind


def _zeros(writer: ForeignWriter, digest: Optional[LayerDigest], offset: int, length: int) -> None:
    if length > 0:
        writer.write_zeros(offset, length)
        if digest is not None:
            digest.add_zeros(offset, length)
