# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The composed view: what the guest sees at one snapshot, as a fold over the layers of each storage.

A layer that ends early reads as zeros beyond its end, whatever lies below it (format reference, section 2.2).
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Generic, Iterator, List, Sequence, Tuple, TypeVar, Union

from .._bundle.bundle import EXPANDING, BundleState, ImageState
from .._bundle.guards import refuse_encrypted
from .._core.errors import BadRequest
from .._core.extents import DATA, ZERO, Extent, coalesce, overlay_all, shifted, zero_absent
from .._core.units import SECTOR
from .._formats.hds.reader import HdsImage
from .._formats.place import Place
from .._formats.raw.reader import open_raw
from .._io.buffers import clear
from .._io.port import Port

if TYPE_CHECKING:
    from .._formats.image import ImageReader

_REGION_BYTES = 32 << 20

Reader = TypeVar("Reader", bound="ImageReader")


class LayerStack(Generic[Reader]):
    """The layers of one storage, topmost first, read as one image of ``size`` bytes without ABSENT parts."""

    def __init__(self, layers: Sequence[Reader], sizes: Sequence[int], size: int) -> None:
        self.layers = tuple(layers)
        self.sizes = tuple(sizes)
        self.size = size
        self._near: Tuple[int, Sequence[int]] = (-1, ())

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What each part is made of; ``layer`` is the index of the layer that answers."""
        answering = self._answering(start, length)
        if not answering:
            return iter((Extent(start, length, ZERO),) if length else ())
        found = [self._layer_extents(index, start, length) for index in answering]
        return zero_absent(found[0] if len(found) == 1 else overlay_all(found))

    def _answering(self, start: int, length: int) -> Sequence[int]:
        """The layers that may have something in the range: of many layers few do in a short one.

        Those of the region last read are remembered.
        """
        region = start // _REGION_BYTES
        if (start + length - 1) // _REGION_BYTES != region:
            return self._among(range(len(self.layers)), start, length)
        near = self._near
        if near[0] != region:
            base = region * _REGION_BYTES
            near = (region, self._among(range(len(self.layers)), base, min(_REGION_BYTES, self.size - base)))
            # In one step, since threads share it.
            self._near = near
        return self._among(near[1], start, length)

    def _among(self, indexes: Sequence[int], start: int, length: int) -> List[int]:
        return [index for index in indexes if not self._is_absent(index, start, length)]

    def _is_absent(self, index: int, start: int, length: int) -> bool:
        """Whether a layer is known to leave all of the range to those below it."""
        layer = self.layers[index]
        return isinstance(layer, HdsImage) and start + length <= self.sizes[index] and not layer.has_any(start, length)

    def below(self, depth: int) -> LayerStack[Reader]:
        """The same stack without its topmost ``depth`` layers; it shares the readers, which this stack closes."""
        return LayerStack(self.layers[depth:], self.sizes[depth:], self.size)

    def own_extents(self, depth: int, start: int, length: int) -> Iterator[Extent]:
        """What the one layer ``depth`` below the top says of the range: ABSENT where those below it answer."""
        return (Extent(e.start, e.length, e.kind) for e in self._layer_extents(depth, start, length))

    def _layer_extents(self, index: int, start: int, length: int) -> Iterator[Extent]:
        return layer_extents(self.layers[index], self.sizes[index], start, length, index)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` with guest bytes from ``offset``."""
        view = memoryview(buffer)
        if len(self.layers) == 1 and offset + len(view) <= self.sizes[0]:
            self.layers[0].pread_into(offset, view)
            return
        for extent in self.extents(offset, len(view)):
            part = view[extent.start - offset : extent.end - offset]
            if extent.kind == DATA:
                self.layers[extent.layer].pread_into(extent.start, part)
            else:
                clear(part)

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The parts of the range that lie in a file as they are and hold data, each in the layer that answers."""
        for extent in self.extents(start, length):
            if extent.kind == DATA:
                yield from self.layers[extent.layer].places(extent.start, extent.length)

    def close(self) -> None:
        """Close every layer."""
        for layer in self.layers:
            layer.close()


def layer_extents(layer: ImageReader, size: int, start: int, length: int, index: int) -> Iterator[Extent]:
    """The extents of one layer that holds ``size`` bytes, marked with its index; beyond its end it is ZERO."""
    inside = max(0, min(start + length, size) - start)
    if inside:
        extents = layer.extents(start, inside)
        yield from (Extent(e.start, e.length, e.kind, index) for e in extents) if index else extents
    if inside < length:
        yield Extent(start + inside, length - inside, ZERO, index)


class ComposedView:
    """A whole guest disk at one snapshot. Never ABSENT; positional, so threads may share it."""

    def __init__(self, size: int, parts: Sequence[Tuple[int, LayerStack[Any]]]) -> None:
        self.size = size
        self._starts = [start for start, _stack in parts]
        self._stacks = [stack for _start, stack in parts]

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """DATA and ZERO parts of the range, ascending and gap-free. Layers are not distinguished."""
        check_range(start, length, self.size)
        if self.depth == len(self._stacks) == 1:
            return self._stacks[0].extents(start, length)
        return coalesce(Extent(e.start, e.length, e.kind) if e.layer else e for e in self._extents(start, length))

    def _extents(self, start: int, length: int) -> Iterator[Extent]:
        for base, stack, inner, part in self._parts(start, length):
            yield from shifted(stack.extents(inner, part), base)

    @property
    def parts(self) -> Sequence[Tuple[int, LayerStack[Any]]]:
        """Where each storage begins in the guest disk, and its layers."""
        return list(zip(self._starts, self._stacks))

    @property
    def depth(self) -> int:
        """How many layers lie on each other."""
        return max(len(stack.layers) for stack in self._stacks)

    def below(self, depth: int) -> ComposedView:
        """The view without its topmost ``depth`` layers; it shares the images, which stay this view's to close."""
        return ComposedView(
            self.size, [(start, stack.below(depth)) for start, stack in zip(self._starts, self._stacks)]
        )

    def own_extents(self, depth: int) -> Iterator[Extent]:
        """What the one layer ``depth`` below the top says: DATA, ZERO, and ABSENT where those below it answer."""
        for base, stack, inner, part in self._parts(0, self.size):
            yield from shifted(stack.own_extents(depth, inner, part), base)

    def grown(self, size: int) -> ComposedView:
        """The same disk with zeros after its end, up to ``size``; it shares the images, and closes them."""
        last = self._stacks[-1]
        tail = LayerStack(last.layers, last.sizes, last.size + size - self.size)
        return ComposedView(size, list(zip(self._starts, self._stacks[:-1] + [tail])))

    def _parts(self, start: int, length: int) -> Iterator[Tuple[int, LayerStack[Any], int, int]]:
        end = start + length
        index = max(0, bisect_right(self._starts, start) - 1)
        while start < end:
            base, stack = self._starts[index], self._stacks[index]
            part = min(end, base + stack.size) - start
            yield base, stack, start - base, part
            start += part
            index += 1

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` with guest bytes from ``offset``."""
        view = memoryview(buffer)
        check_range(offset, len(view), self.size)
        done = 0
        for _base, stack, inner, part in self._parts(offset, len(view)):
            stack.pread_into(inner, view[done : done + part])
            done += part

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The parts of the range that lie in a file as they are and hold data, ascending."""
        for base, stack, inner, part in self._parts(start, length):
            for guest, count, file, offset in stack.places(inner, part):
                yield Place(base + guest, count, file, offset)

    def close(self) -> None:
        """Close every image."""
        for stack in self._stacks:
            stack.close()


def check_range(start: int, length: int, size: int) -> None:
    """Raise BadRequest when the range does not lie within ``size`` bytes."""
    if start < 0 or length < 0 or start + length > size:
        raise BadRequest(f"bytes {start} to {start + length} lie outside a disk of {size} bytes")


def open_image(port: Port, image: ImageState) -> ImageReader:
    """Open one image for reading, with the tables that were read when it was observed."""
    if image.kind == EXPANDING and image.header is not None and image.table is not None:
        return HdsImage(port.open_read(image.path), image.header, image.table, image.extension)
    return open_raw(port, image.path, size=image.size)


def open_stack(port: Port, images: Sequence[ImageState], size: int) -> LayerStack[ImageReader]:
    """Open the images of one storage, topmost first, closing all again when one fails."""
    opened: List[ImageReader] = []
    try:
        for image in images:
            opened.append(open_image(port, image))
    except BaseException:
        for reader in opened:
            reader.close()
        raise
    return LayerStack(opened, [image.size for image in images], size)


def open_view(port: Port, state: BundleState, guid: str) -> ComposedView:
    """The guest disk as it is at snapshot ``guid``. Raises Encrypted when the bytes would be cipher text."""
    refuse_encrypted(state)
    parts: List[Tuple[int, LayerStack[ImageReader]]] = []
    try:
        for number, storage in enumerate(state.descriptor.storages):
            size = (storage.end_sector - storage.start_sector) * SECTOR
            parts.append((storage.start_sector * SECTOR, open_stack(port, state.chain(guid, number), size)))
    except BaseException:
        for _start, stack in parts:
            stack.close()
        raise
    return ComposedView(state.descriptor.size_bytes, parts)
