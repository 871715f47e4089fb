# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stream a guest disk, or one layer of it, into a writer in one ascending pass, leaving zeros out."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Callable, Dict, Generic, Iterable, Iterator, Optional, Sequence, Tuple, TypeVar

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
Digest = TypeVar("Digest", ContentDigest, LayerDigest)

_SHARED_AT_ONCE = 64 << 20


@dataclass
class Flow:
    """How much guest data went through: bytes read and bytes written."""

    read: int = 0
    written: int = 0

    def add(self, other: Flow) -> None:
        """Count what went through elsewhere, too."""
        self.read += other.read
        self.written += other.written


@dataclass(frozen=True)
class Sink(Generic[Digest]):
    """What takes guest data in: a writer and its files, a digest, and who is called with how far it is."""

    writer: ForeignWriter
    files: Sequence[File]
    digest: Optional[Digest] = None
    on_progress: Optional[Progress] = None

    def reached(self, offset: int) -> None:
        """The guest disk is stored up to ``offset``."""
        if self.on_progress is not None:
            self.on_progress(offset)


def stream_disk(view: GuestView, sink: Sink[ContentDigest], *, sparse: bool, shares: bool = False) -> Flow:
    """Write the whole disk.

    With ``sparse`` zeros are neither read where that is known nor written; with ``shares`` the host may share blocks.
    """
    flow, writeback, writer = Flow(), Writeback(sink.files), sink.writer
    sharing = BlockSharing(view, writer) if shares and isinstance(writer, PartsWriter) else None
    store = writer.write if sharing is None else sharing.write
    slices = read_ahead(view, _disk_slices(view, sparse))
    with Windows(view, slices) as windows, DigestThread(sink.digest, windows.release) as digesting:
        for offset, window in windows:
            length = len(window)
            flow.read += length
            data = tuple(data_parts(window, length)) if sparse or sink.digest is not None else ()
            for start, end in data if sparse else ((0, length),):
                store(offset + start, window[start:end])
                flow.written += end - start
            digesting.add(offset, window, _digested(window, data) if sink.digest is not None else ())
            writeback.reached(flow.written)
            sink.reached(offset + length)
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
    view: GuestView, own: Iterable[Extent], sink: Sink[LayerDigest], *, sharing: Optional[BlockSharing] = None
) -> Flow:
    """Write an overlay: whatever ``own``, the layer's extents, touches, in whole grains, as ``view`` shows it.

    Zeros are stored as such, since they may hide what is below. With ``sharing``, of ``view``, nothing is read where
    the host shares blocks.
    """
    flow, writeback, grain = Flow(), Writeback(sink.files), sink.writer.grain
    buffer = new_buffer(max(WINDOW, grain))
    slices = layer_slices(view, own, grain) if sharing is None else _unshared(own, grain, sharing, flow)
    for offset, length, kind in slices:
        if kind == ZERO:
            _zeros(sink, offset, length)
        else:
            view.pread_into(offset, buffer[:length])
            flow.read += length
            flow.written += _store(sink, offset, buffer[:length])
        writeback.reached(flow.written)
        sink.reached(offset + length)
    if sharing is not None:
        sharing.flush()
        flow.read += sharing.bytes_read
    return flow


def _unshared(own: Iterable[Extent], grain: int, sharing: BlockSharing, flow: Flow) -> Iterator[Tuple[int, int, str]]:
    """The slices of a layer that the host does not share; the others are stored on the way."""
    step = max(WINDOW // grain * grain, grain)
    for offset, length, kind in layer_slices(sharing.view, own, grain, _SHARED_AT_ONCE):
        if kind == ZERO:
            yield offset, length, kind
            continue
        stored = sharing.put_range_unread(offset, length)
        flow.written += stored
        for done in range(0, 0 if stored else length, step):
            yield offset + done, min(step, length - done), kind


def _store(sink: Sink[LayerDigest], offset: int, window: memoryview) -> int:
    """Store a window of a layer, zeros as such, and return how many bytes are none."""
    done = stored = 0
    for start, end in data_parts(window, len(window), max(GRAIN, sink.writer.grain)):
        _zeros(sink, offset + done, start - done)
        sink.writer.write(offset + start, window[start:end])
        if sink.digest is not None:
            sink.digest.add(offset + start, window[start:end])
        stored += end - start
        done = end
    _zeros(sink, offset + done, len(window) - done)
    return stored


def _zeros(sink: Sink[LayerDigest], offset: int, length: int) -> None:
    if length > 0:
        sink.writer.write_zeros(offset, length)
        if sink.digest is not None:
            sink.digest.add_zeros(offset, length)
