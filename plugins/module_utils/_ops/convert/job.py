# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stream a guest disk into new images, layer by layer when its snapshots are kept, and check what was written."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from ..._bundle.descriptor import Descriptor
from ..._bundle.shape import Shape
from ..._core import guid as guids
from ..._core.errors import StalePlan, VerifyFailed
from ..._core.records import dataclass, replace
from ..._formats.catalog import FORMATS, HDD, RAW
from ..._formats.image import ForeignWriter, ParentImage
from ..._guest.checksums import checksum_of
from ..._guest.compare import chain_difference
from ..._guest.digests import ContentDigest, LayerDigest
from ..._guest.places import SharedRanges
from ..._guest.source import Source, find_source, open_source
from ..._guest.view import ComposedView
from ..._io.fingerprint import identity as identity_of_file
from ..._io.port import File, Port
from ..copy.parts_writer import PartsWriter
from ..copy.sharing import BlockSharing
from ..copy.stream import Flow, Sink, stream_disk, stream_layer
from .request import AnyShape
from .writers import new_writer

if TYPE_CHECKING:
    from ..copy.free_space import DroppedSpace

Progress = Callable[[int, int], None]
LayerProgress = Optional[Callable[[int], None]]
Digest = Union[ContentDigest, LayerDigest]


@dataclass(frozen=True)
class LayerJob:
    """One layer to write: the one ``depth`` layers below the top of the source.

    ``paths`` are its files, created, empty or cloned; ``names`` are final.
    """

    depth: int
    paths: Tuple[str, ...]
    names: Tuple[str, ...]


@dataclass(frozen=True)
class TransferJob:
    """One conversion. ``layers`` start with the lowest; a flattened disk has one.

    ``descriptor`` belongs to a bundle at ``directory`` and gets a UID from the content when it has none.
    """

    source: Source
    shape: AnyShape
    layers: Tuple[LayerJob, ...]
    sparse: bool
    verify: bool
    checksum: Optional[str]
    reproducible: bool
    directory: Optional[str] = None
    descriptor: Optional[Descriptor] = None
    clones: Tuple[str, ...] = ()
    """The files of the source that those of the one layer are clones of; where the host could not, those are empty."""
    dropped: Optional[DroppedSpace] = None
    """The free space of the source that is not copied."""

    @property
    def size(self) -> int:
        """The guest disk of the output, in bytes."""
        return self.shape.size

    @property
    def needs_digest(self) -> bool:
        """Whether the output carries ids that come from the content."""
        if isinstance(self.shape, Shape):
            return self.descriptor is not None and self.descriptor.uid is None
        return self.reproducible and FORMATS[self.shape.format].has_ids

    @property
    def shares(self) -> bool:
        """Whether source and output may share blocks: not where one has reserved them, so that no write fails."""
        storages = self.source.state.descriptor.storages if self.source.state is not None else ()
        is_reserved = self.shape.preallocate or any(storage.preallocated for storage in storages)
        return self.sparse and not is_reserved

    def with_clones(self, port: Port) -> TransferJob:
        """The same with ``clones``, where each file of the output is one of the source, and the host can clone."""
        if not self.shares or self.needs_digest or not isinstance(self.shape, Shape) or len(self.layers) != 1:
            return self
        if self.dropped is not None:
            return self
        if not port.clones_files(self.source.path, self.output_directory):
            # Most hosts are none of those.
            return self
        from .share_disk import whole_files

        files = whole_files(port, self.source, self.shape, self.layers[0].depth)
        is_possible = all(port.clones_files(path, self.output_directory) for path in files)
        return replace(self, clones=files) if is_possible else self

    @property
    def output_directory(self) -> str:
        """What is to hold the output; the bundle's own directory may not be there yet."""
        return posixpath.dirname(self.directory or self.layers[0].paths[0])

    def is_unread(self, port: Port, view: ComposedView) -> bool:
        """Whether the output gets the source's blocks unread: nothing depends on the content, and the host can."""
        if not self.shares or self.needs_digest or self.checksum is not None or not isinstance(self.shape, Shape):
            return False
        from .share_disk import first_place

        stats = [port.stat(path) for path, _seen in self.source.fingerprint]
        if len({stat.device for stat in stats if stat is not None}) != 1:
            # What the first file can, files on other file systems cannot.
            return False
        place = first_place(view.below(self.layers[-1].depth))
        return place is not None and port.shares_blocks(place.file, place.offset, self.output_directory)

    def run(self, port: Port, on_progress: Optional[Progress] = None) -> TransferReport:
        """Fill the files, sync them, and read them back when asked.

        Raises StalePlan when the source changed meanwhile, VerifyFailed.
        """
        return _run(port, self, on_progress)


@dataclass(frozen=True)
class TransferReport:
    """What a transfer did. ``lengths`` and ``checksums`` are those of the files by their path."""

    bytes_read: int
    bytes_written: int
    lengths: Dict[str, int]
    checksums: Dict[str, str]
    verified: bool
    uid: Optional[str]


def _run(port: Port, job: TransferJob, on_progress: Optional[Progress]) -> TransferReport:
    view = open_wanted(port, job.source, job.size, job.dropped)
    lengths: Dict[str, int] = {}
    checksums: Dict[str, str] = {}
    try:
        output = _Output(job, view, shared=SharedRanges() if job.is_unread(port, view) else None)
        for number, layer in enumerate(job.layers):
            files = _open_files(port, job, layer)
            try:
                output.write_layer(number, files, on_progress)
                lengths.update(_synced(files))
                if job.checksum is not None:
                    checksums.update((file.path, _checksum(file, job.checksum)) for file in files)
            finally:
                for file in files:
                    file.close()
        uid = _finish_bundle(port, job, output.digests)
        _refuse_changed_source(port, job.source)
        if job.verify:
            _verify(port, view, job, output.shared)
        return TransferReport(output.flow.read, output.flow.written, lengths, checksums, job.verify, uid)
    finally:
        view.close()


def open_wanted(port: Port, source: Source, size: int, dropped: Optional[DroppedSpace]) -> ComposedView:
    """The guest disk that the output is to hold: that of the source, without what is dropped of it."""
    view = open_source(port, source, size)
    if dropped is None:
        return view
    from ..._guest.filesystems.freed_view import FreedView

    return FreedView(view, dropped.ranges)


def _synced(files: Sequence[File]) -> Iterator[Tuple[str, int]]:
    """Bring the files to the medium; their lengths by path."""
    for file in files:
        file.sync()
        yield file.path, file.size()


def _open_files(port: Port, job: TransferJob, layer: LayerJob) -> List[File]:
    opened: List[File] = []
    try:
        for path in layer.paths:
            file = port.open_write(path)
            opened.append(file)
            if job.checksum is not None:
                from ..._io.digesting import DigestingFile

                opened[-1] = DigestingFile(file, job.checksum)
    except BaseException:
        for file in opened:
            file.close()
        raise
    return opened


def _checksum(file: File, algorithm: str) -> str:
    """The checksum that came with the writing where that was in order, else by reading the file."""
    return getattr(file, "hexdigest", _unknown)() or checksum_of(file, algorithm)


def _unknown() -> Optional[str]:
    return None


class _Output:
    """The layers written so far: what the next one refers to, and with ``with_ids`` what the ids come from.

    ``shared`` are the blocks that the output has from a source that is not read, else None.
    """

    def __init__(
        self, job: TransferJob, view: ComposedView, *, shared: Optional[SharedRanges], with_ids: bool = True
    ) -> None:
        self._job = job
        self._view = view
        self._needs_digest = with_ids and job.needs_digest
        self._parent: Optional[ParentImage] = None
        self._lowest: Optional[str] = None
        self.digests: List[str] = []
        self.shared = shared
        self.flow = Flow()

    def write_layer(self, number: int, files: Sequence[File], on_progress: Optional[Progress] = None) -> None:
        """Fill the files of one layer, the lowest first."""
        layer = self._job.layers[number]
        writer = new_writer(self._job.shape, files, layer.names, parent=self._parent, disk_identity=self._lowest)
        on_layer = _part_of_all(on_progress, number, len(self._job.layers), self._job.size)
        part, digest = (self._overlay if number else self._whole_disk)(layer, writer, files, on_layer)
        identity = self._identity(digest, writer)
        writer.finish(identity)
        self._lowest = self._lowest or identity
        self._parent = ParentImage(layer.names[0], identity)
        self.flow.add(part)

    def _overlay(
        self, layer: LayerJob, writer: ForeignWriter, files: Sequence[File], on_layer: LayerProgress
    ) -> Tuple[Flow, Optional[Digest]]:
        view = self._view_of(layer)
        sink = Sink(writer, files, LayerDigest() if self._needs_digest else None, on_layer)
        extents = self._view.own_extents(layer.depth)
        return stream_layer(view, extents, sink, sharing=self._sharing(view, writer)), sink.digest

    def _sharing(self, view: ComposedView, writer: ForeignWriter) -> Optional[BlockSharing]:
        """How blocks of the source come into the output; None where they do not."""
        if self.shared is None or not isinstance(writer, PartsWriter):
            return None
        return BlockSharing(view, writer, self.shared)

    def _whole_disk(
        self, layer: LayerJob, writer: ForeignWriter, files: Sequence[File], on_layer: LayerProgress
    ) -> Tuple[Flow, Optional[Digest]]:
        job, view = self._job, self._view_of(layer)
        # Few hosts can share blocks or clone files.
        if isinstance(writer, PartsWriter) and _are_cloned(job, files):
            from .share_disk import note_clones

            self.shared = self.shared or SharedRanges()
            return note_clones(view, writer, self.shared, on_layer), None
        sharing = self._sharing(view, writer)
        if isinstance(writer, PartsWriter) and sharing is not None:
            from .share_disk import share_disk

            return share_disk(view, writer, sharing, on_layer), None
        sink = Sink(writer, files, ContentDigest() if self._needs_digest else None, on_layer)
        return stream_disk(view, sink, sparse=job.sparse, shares=job.shares), sink.digest

    def _view_of(self, layer: LayerJob) -> ComposedView:
        return self._view.below(layer.depth) if layer.depth else self._view

    def _identity(self, digest: Optional[Digest], writer: ForeignWriter) -> str:
        """The GUID that all ids of a layer come from: by its content, shape, what is below it and the name; or random.

        The name counts because two blank disks are two disks, and VirtualBox takes each identifier only once.
        """
        job = self._job
        if digest is not None:
            self.digests.append(digest.value(job.size))
        if isinstance(job.shape, Shape) or not FORMATS[job.shape.format].has_ids:
            return guids.NONE
        if digest is None:
            return guids.draw()
        below = self._parent.identity if self._parent is not None else ""
        name, properties = job.layers[-1].names[0], repr(sorted(writer.properties.items()))
        return guids.derive("content", self.digests[-1], job.shape.format, properties, below, name)


def _are_cloned(job: TransferJob, files: Sequence[File]) -> bool:
    """Whether the files have all that they are to have. Where the host could clone only some, these are emptied."""
    if not job.clones or not isinstance(job.shape, Shape):
        return False
    if all(file.size() == length for file, (_start, length) in zip(files, job.shape.parts)):
        return True
    for file in files:
        file.truncate(0)
    return False


def _part_of_all(on_progress: Optional[Progress], number: int, count: int, size: int) -> LayerProgress:
    if on_progress is None:
        return None
    report = on_progress
    return lambda done: report(number * size + done, count * size)


def _finish_bundle(port: Port, job: TransferJob, digests: Sequence[str]) -> Optional[str]:
    """Write the descriptor of a bundle, and return its UID."""
    if job.descriptor is None or job.directory is None or not isinstance(job.shape, Shape):
        return None
    from ..._bundle.descriptor_edit import new_descriptor

    descriptor = _with_uid(job.descriptor, job.shape, digests) if digests else job.descriptor
    file = port.open_write(f"{job.directory}/DiskDescriptor.xml")
    try:
        file.pwrite(0, new_descriptor(descriptor))
        file.sync()
    finally:
        file.close()
    return descriptor.uid


def _with_uid(descriptor: Descriptor, shape: Shape, digests: Sequence[str]) -> Descriptor:
    """A UID from the content, the name and the shape, so that equal requests give equal bytes."""
    what = (shape.kind, str(shape.cluster_bytes), str(shape.version), str(shape.part_size))
    return replace(descriptor, uid=guids.derive("content", "/".join(digests), descriptor.name or "", *what))


def _refuse_changed_source(port: Port, source: Source) -> None:
    for path, seen in source.fingerprint:
        if identity_of_file(port.stat(path)) != seen:
            raise StalePlan(
                "The source changed while it was read",
                path=path,
                hint="Stop what writes to it and run again; nothing was replaced.",
            )


def _verify(port: Port, view: ComposedView, job: TransferJob, shared: Optional[SharedRanges]) -> None:
    """Read the output back through its own reader and compare it with the source, layer by layer.

    Blocks that both share are the same.
    """
    path = job.directory if isinstance(job.shape, Shape) and job.directory is not None else job.layers[-1].paths[0]
    format = job.shape.format if not isinstance(job.shape, Shape) else HDD if job.directory is not None else RAW
    output = open_source(port, find_source(port, path, format=format, backing=True))
    try:
        known = shared.resolved(port.real_path) if shared is not None else None
        difference = chain_difference(view, output, [layer.depth for layer in reversed(job.layers)], known)
    finally:
        output.close()
    if difference is not None:
        raise VerifyFailed(
            "The output does not read back as the source",
            path=job.layers[-1 - difference[0]].names[0],
            offset=difference[1],
            hint="Check the disks and the memory of this machine; nothing was replaced.",
        )


@dataclass(frozen=True)
class Prediction:
    """What a transfer would do: bytes read and written, and how long each file would get, by its path."""

    bytes_read: int
    bytes_written: int
    lengths: Dict[str, int]


def predict_transfer(port: Port, job: TransferJob) -> Prediction:
    """Predict a transfer exactly, by doing all of it but the writing."""
    from ..._io.counting import CountingFile

    view = open_wanted(port, job.source, job.size, job.dropped)
    lengths: Dict[str, int] = {}
    try:
        output = _Output(job, view, shared=SharedRanges() if job.is_unread(port, view) else None, with_ids=False)
        for number, layer in enumerate(job.layers):
            files = [CountingFile(path) for path in layer.paths]
            if job.clones and isinstance(job.shape, Shape):
                for file, (_start, length) in zip(files, job.shape.parts):
                    file.truncate(length)
            output.write_layer(number, files)
            lengths.update((file.path, file.size()) for file in files)
    finally:
        view.close()
    return Prediction(output.flow.read, output.flow.written, lengths)
