# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Stream a guest disk into new images in one ascending pass, leaving zeros out, and check what was written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from .._bundle.bundle import identity
from .._bundle.descriptor import Descriptor
from .._bundle.descriptor_edit import new_descriptor
from .._core import guid as guids
from .._core.errors import StalePlan, VerifyFailed
from .._core.extents import DATA, Extent
from .._formats.hds_writer import HdsWriter, ReservedHdsWriter
from .._formats.raw_writer import RawWriter
from .._formats.reader import ImageWriter
from .._io.copy import SLICE
from .._io.port import File, Port
from .._io.sparse import data_parts, is_zero
from .compare import first_difference
from .layout import PLAIN, Shape
from .views import HDD, RAW, GuestView, PaddedView, Source, find_source, open_source

Progress = Callable[[int, int], None]
_WRITEBACK = 8 << 20
_ZEROS = bytes(SLICE)


@dataclass(frozen=True)
class TransferJob:
    """One conversion. ``paths`` are the files of the parts, created and empty; ``size`` is the output's guest size in bytes.

    ``descriptor`` belongs to a bundle at ``directory`` and gets a UID from the content when it has none.
    """

    source: Source
    size: int
    paths: Tuple[str, ...]
    shape: Shape
    sparse: bool
    preallocate: bool
    verify: bool
    checksum: Optional[str]
    directory: Optional[str] = None
    descriptor: Optional[Descriptor] = None


@dataclass(frozen=True)
class TransferReport:
    """What a transfer did. ``checksums`` are those of the files at ``paths``, in their order."""

    bytes_read: int
    bytes_written: int
    lengths: Tuple[int, ...]
    checksums: Tuple[str, ...]
    verified: bool
    uid: Optional[str]


def data_slices(extents: Iterable[Extent], size: int) -> Iterator[Tuple[int, int]]:
    """Slices (offset, length) on a fixed grid that touch data, ascending, each once."""
    done = 0
    for extent in extents:
        if extent.kind != DATA:
            continue
        start = max(done, extent.start // SLICE * SLICE)
        for offset in range(start, extent.end, SLICE):
            yield offset, min(SLICE, size - offset)
            done = offset + SLICE


class ContentDigest:
    """A digest of guest content that does not depend on how it is stored: non-zero slices and where they lie."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, offset: int, content: memoryview) -> None:
        """Take in a slice of the grid that is not zero."""
        self._hash.update(offset.to_bytes(8, "little"))
        self._hash.update(content)

    def value(self, size: int) -> str:
        """The digest of a disk of ``size`` bytes."""
        self._hash.update(size.to_bytes(8, "little"))
        return self._hash.hexdigest()


class FileDigest:
    """The checksum of a plain file that is written in ascending order; what is skipped counts as zeros."""

    def __init__(self, algorithm: str) -> None:
        self._hash = hashlib.new(algorithm)
        self._position = 0

    def add(self, offset: int, content: memoryview) -> None:
        """Take in what lies at ``offset``."""
        self.skip_to(offset)
        self._hash.update(content)
        self._position += len(content)

    def skip_to(self, offset: int) -> None:
        """Take in zeros up to ``offset``."""
        while self._position < offset:
            part = min(SLICE, offset - self._position)
            self._hash.update(_ZEROS if part == SLICE else _ZEROS[:part])
            self._position += part

    def hexdigest(self) -> str:
        """The checksum of everything so far."""
        return self._hash.hexdigest()


class PartsWriter:
    """Spreads one ascending stream over the parts of a split disk."""

    def __init__(self, parts: Sequence[Tuple[int, int]], writers: Sequence[ImageWriter]) -> None:
        self._parts = list(zip(parts, writers))

    def write(self, offset: int, buffer: memoryview) -> None:
        """Store ``buffer`` at guest byte ``offset``, cut at the borders of parts."""
        end = offset + len(buffer)
        for (start, length), writer in self._parts:
            low, high = max(offset, start), min(end, start + length)
            if low < high:
                writer.write(low - start, buffer[low - offset : high - offset])

    def finish(self) -> None:
        """Finish every part."""
        for _part, writer in self._parts:
            writer.finish()


def run_transfer(port: Port, job: TransferJob, *, on_progress: Optional[Progress] = None) -> TransferReport:
    """Fill the files of ``job``, sync them, and read them back when asked. Raises StalePlan when the source changed meanwhile, VerifyFailed."""
    view = PaddedView(open_source(port, job.source), job.size)
    files: List[File] = []
    try:
        files += [port.open_write(path) for path in job.paths]
        content = ContentDigest() if job.descriptor is not None and job.descriptor.uid is None else None
        plain = FileDigest(job.checksum) if job.checksum and job.directory is None else None
        read, written = _stream(view, files, job, content, plain, on_progress)
        uid = _finish_bundle(port, job, content)
        for file in files:
            file.sync()
        _refuse_changed_source(port, job.source)
        if job.verify:
            _verify(port, view, job)
        checksums = (plain.hexdigest(),) if plain is not None else tuple(_checksum_of(file, job.checksum) for file in files if job.checksum)
        return TransferReport(read, written, tuple(file.size() for file in files), checksums, job.verify, uid)
    finally:
        view.close()
        for file in files:
            file.close()


def _stream(
    view: GuestView, files: Sequence[File], job: TransferJob, content: Optional[ContentDigest], plain: Optional[FileDigest], on_progress: Optional[Progress]
) -> Tuple[int, int]:
    writer = PartsWriter(job.shape.parts, [_writer(file, length, job) for file, (_start, length) in zip(files, job.shape.parts)])
    buffer = bytearray(SLICE)
    window = memoryview(buffer)
    read = written = flushed = 0
    for offset, length in _wanted_slices(view, job):
        view.pread_into(offset, window[:length])
        read += length
        for start, end in _parts_to_write(buffer, length, job):
            writer.write(offset + start, window[start:end])
            written += end - start
        if (content is not None or plain is not None) and not is_zero(buffer if length == SLICE else buffer[:length]):
            for digest in (content, plain):
                if digest is not None:
                    digest.add(offset, window[:length])
        if written - flushed >= _WRITEBACK:
            flushed = written
            _start_writeback(files)
        if on_progress is not None:
            on_progress(offset + length, job.size)
    writer.finish()
    if plain is not None:
        plain.skip_to(job.size)
    return read, written


def _start_writeback(files: Sequence[File]) -> None:
    for file in files:
        file.start_writeback(0, 0)


def _wanted_slices(view: GuestView, job: TransferJob) -> Iterator[Tuple[int, int]]:
    if job.sparse:
        return data_slices(view.extents(0, view.size), view.size)
    return ((offset, min(SLICE, view.size - offset)) for offset in range(0, view.size, SLICE))


def _parts_to_write(buffer: bytearray, length: int, job: TransferJob) -> Iterable[Tuple[int, int]]:
    return data_parts(buffer, length) if job.sparse else ((0, length),)


def _writer(file: File, length: int, job: TransferJob) -> ImageWriter:
    if job.preallocate and job.shape.kind == PLAIN:
        file.allocate(0, length)
    if job.shape.kind == PLAIN:
        return RawWriter(file, size_bytes=length)
    if job.preallocate:
        return ReservedHdsWriter(file, size_bytes=length, cluster_bytes=job.shape.cluster_bytes, version=job.shape.version)
    return HdsWriter(file, size_bytes=length, cluster_bytes=job.shape.cluster_bytes, version=job.shape.version)


def _finish_bundle(port: Port, job: TransferJob, content: Optional[ContentDigest]) -> Optional[str]:
    """Write the descriptor; its UID comes from the content, the shape and the name, so that equal requests give equal bytes."""
    if job.descriptor is None or job.directory is None:
        return None
    descriptor = job.descriptor
    if content is not None:
        shape = job.shape
        seed = (content.value(job.size), descriptor.name or "", shape.kind, str(shape.cluster_bytes), str(shape.version), str(shape.part_size))
        descriptor = replace(descriptor, uid=guids.derive("content", *seed))
    file = port.open_write(f"{job.directory}/DiskDescriptor.xml")
    try:
        file.pwrite(0, new_descriptor(descriptor))
        file.sync()
    finally:
        file.close()
    return descriptor.uid


def _refuse_changed_source(port: Port, source: Source) -> None:
    for path, seen in source.fingerprint:
        if identity(port.stat(path)) != seen:
            raise StalePlan("The source changed while it was read", path=path, hint="Stop what writes to it and run again; nothing was replaced.")


def _verify(port: Port, view: GuestView, job: TransferJob) -> None:
    """Read the output back through its own reader and compare it with the source."""
    path = job.directory or job.paths[0]
    output = open_source(port, find_source(port, path, format=HDD if job.directory else RAW))
    try:
        difference = first_difference(view, output)
    finally:
        output.close()
    if difference is not None:
        raise VerifyFailed(
            "The output does not read back as the source",
            path=path,
            offset=difference,
            hint="Check the disks and the memory of this machine; nothing was replaced.",
        )


def file_checksum(port: Port, path: str, algorithm: str) -> str:
    """The checksum of a whole file; its holes are not read."""
    file = port.open_read(path)
    try:
        return _checksum_of(file, algorithm)
    finally:
        file.close()


def _checksum_of(file: File, algorithm: str) -> str:
    digest = FileDigest(algorithm)
    buffer = bytearray(SLICE)
    window = memoryview(buffer)
    size = file.size()
    for start, end in file.data_ranges(0, size):
        for offset in range(start, end, SLICE):
            part = window[: min(SLICE, end - offset)]
            file.pread_into(offset, part)
            digest.add(offset, part)
    digest.skip_to(size)
    return digest.hexdigest()


@dataclass(frozen=True)
class Measure:
    """What a transfer would do: bytes read and written, and how many clusters each part would get, by its number."""

    bytes_read: int
    bytes_written: int
    clusters: Dict[int, int]


def measure(view: GuestView, shape: Shape, *, sparse: bool) -> Measure:
    """Foretell a transfer exactly, by reading what is not known to be zero."""
    clusters: Dict[int, int] = {}
    last: Dict[int, int] = {}
    written = 0
    for start, end in _data_ranges(view) if sparse else ((0, view.size),):
        written += end - start
        for number, (base, length) in enumerate(shape.parts):
            low, high = max(start, base) - base, min(end, base + length) - base
            if low >= high:
                continue
            first = max(low // shape.cluster_bytes, last.get(number, -1) + 1)
            final = (high - 1) // shape.cluster_bytes
            clusters[number] = clusters.get(number, 0) + max(0, final - first + 1)
            last[number] = max(final, last.get(number, -1))
    read = sum(length for _offset, length in data_slices(view.extents(0, view.size), view.size)) if sparse else view.size
    return Measure(read, written, clusters)


def _data_ranges(view: GuestView) -> Iterator[Tuple[int, int]]:
    buffer = bytearray(SLICE)
    for offset, length in data_slices(view.extents(0, view.size), view.size):
        view.pread_into(offset, memoryview(buffer)[:length])
        for start, end in data_parts(buffer, length):
            yield offset + start, offset + end


def guest_checksum(view: GuestView, algorithm: str) -> str:
    """The checksum of the whole guest disk, zeros included."""
    digest = FileDigest(algorithm)
    buffer = bytearray(SLICE)
    window = memoryview(buffer)
    for offset, length in data_slices(view.extents(0, view.size), view.size):
        view.pread_into(offset, window[:length])
        digest.add(offset, window[:length])
    digest.skip_to(view.size)
    return digest.hexdigest()
