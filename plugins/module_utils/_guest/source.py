# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sources of guest data: which disk a path names, opened as one view of the whole guest disk."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, Union

from .._bundle.bundle import BundleState, observe
from .._bundle.naming import SUFFIX
from .._bundle.paths import Location, locate
from .._core.errors import BadRequest, Damaged, DiskError, NotABundle, NotAWholeDisk, NotFound, Unsupported
from .._core.records import dataclass, replace
from .._core.units import SECTOR, round_up
from .._formats.catalog import FORMATS, HDD, RAW, format_detected_as
from .._formats.detect import detect
from .._formats.raw.reader import RawImage
from .._io.fingerprint import identity
from .._io.port import DIRECTORY, FILE, OTHER, Port, Stat
from .foreign.allowed import NEARBY, Reach
from .view import ComposedView, LayerStack, open_view

if TYPE_CHECKING:
    from .._core.plan import Fingerprint
    from .._formats.image import ImageReader
    from .._io.host.device import BlockDevice
    from .backing import ForeignChain
    from .containers.member_port import Container

AUTO = "auto"

_PREFIX = 4096
_SUFFIX = 512


@dataclass(frozen=True)
class Source:
    """The disk that guest data comes from. ``size`` is the guest disk in bytes, a multiple of 512.

    A bundle has its ``state`` and the ``guid`` of the snapshot to read, an image of another product its ``chain``, a
    plain image that was cut by size its ``pieces``. What is in a ``container``, or on a block device, is only
    seen through its port, and ``fingerprint`` is that of the files of the host.
    """

    format: str
    path: str
    size: int
    fingerprint: Fingerprint
    state: Optional[BundleState] = None
    guid: Optional[str] = None
    chain: Optional[ForeignChain] = None
    pieces: Tuple[str, ...] = ()
    container: Optional[Union[Container, BlockDevice]] = None
    warnings: Tuple[str, ...] = ()

    @property
    def logical_sector(self) -> int:
        """The bytes of a sector as the guest sees it; partition tables count in these."""
        if self.chain is not None:
            return self.chain.layers[0].logical_sector
        if self.state is not None:
            return self.state.descriptor.logical_sector
        # Of what is on a block device, where that is not an image of a format, which says so itself.
        return getattr(self.container, "logical_sector", SECTOR)

    @property
    def places(self) -> List[str]:
        """Its files, and its folder if it is a bundle."""
        folder = [self.state.location.directory] if self.state is not None and self.state.is_bundle else []
        return [*folder, *(path for path, _seen in self.fingerprint)]

    def port(self, port: Port) -> Port:
        """The port that shows the files of the source."""
        return port if self.container is None else self.container.port(port)


def find_source(
    port: Port,
    path: str,
    *,
    format: str = AUTO,
    allow_outside: bool = False,
    backing: bool = False,
    reach: Reach = NEARBY,
    disk: Optional[str] = None,
) -> Source:
    """The source at ``path``.

    ``auto`` takes for raw only what looks like no other format; ``backing`` follows images below a foreign one, as far
    as ``reach`` says; ``disk`` is the one that is meant of several in a container or a machine, by name or index.

    Raises NotFound, Unsupported for a format that cannot be read, BadRequest for an empty file, and what a foreign
    image's reader raises.
    """
    stat = port.stat(path)
    if stat is None:
        raise NotFound("There is no source", path=path, hint="Check the path.")
    # A link is resolved once: what it leads to now is the source.
    real = port.real_path(path)
    if reach.joins:
        return _joined(port, real, format)
    if stat.kind == OTHER:
        from .._io.host.device import block_device

        device = block_device(port, path)
        if device is not None:
            return _on_device(port, device, format, backing, reach)
    options: Dict[str, Any] = {"allow_outside": allow_outside, "backing": backing, "reach": reach}
    if stat.kind == DIRECTORY and format in (AUTO, HDD):
        from .containers.machine import disk_of_machine, is_machine

        if is_machine(port, path):
            return find_source(port, disk_of_machine(port, path, disk), format=format, **options)
    chosen = _detected(port, path, real, stat) if format == AUTO else format
    if chosen not in FORMATS and format == AUTO:
        return _inside(port, real, (chosen, disk), options)
    if disk is not None:
        raise BadRequest("src_disk: the source is one disk", path=path, found=disk, hint="Leave src_disk out.")
    if chosen == HDD:
        return _bundle(path, observe(port, _located(port, path, stat), allow_outside=allow_outside))
    if stat.kind != FILE:
        hint = "Name an image file, or a block device (Linux)."
        raise BadRequest("A source is a file, a folder or a block device", path, found=stat.kind, hint=hint)
    if stat.size == 0:
        raise BadRequest("The source is empty", path, found=0, hint="Get the file anew.")
    if chosen == RAW:
        return Source(RAW, real, round_up(stat.size, SECTOR), ((real, identity(stat)),))
    try:
        return _foreign(port, real, chosen, backing, reach)
    except (Damaged, Unsupported, NotAWholeDisk) as error:
        from .foreign.refusals import explain, explain_choice

        explain(port, error, chosen, is_guessed=format == AUTO and error.path == real)
        if format != AUTO and error.path == real:
            explain_choice(port, error, chosen)
        raise


def _located(port: Port, path: str, stat: Stat) -> Location:
    try:
        return locate(port, path)
    except NotABundle as error:
        if stat.kind == DIRECTORY:
            from .foreign.refusals import explain_folder

            explain_folder(port, error, path)
        raise


def _bundle(path: str, state: BundleState) -> Source:
    place = state.location.directory if state.is_bundle else path
    return Source(HDD, place, state.descriptor.size_bytes, state.fingerprint, state, state.tree.top)


def _inside(port: Port, path: str, wanted: Tuple[str, Optional[str]], options: Dict[str, Any]) -> Source:
    """The disk in what is no image itself, such as an OVA. Raises the refusal of the file where there is none."""
    from .containers.catalog import disk_in
    from .foreign.refusals import explain_member, refuse_nested

    refuse_nested(port, path, wanted[0])
    choice = disk_in(port, path, *wanted)
    files = dict.fromkeys([path, *(file for one in choice.container.members for file in (one.file, *one.more))])
    try:
        found = find_source(choice.container.port(port), choice.path, **options)
    except DiskError as error:
        explain_member(error, path)
        raise
    fingerprint = tuple((file, identity(port.stat(file))) for file in files)
    return replace(found, fingerprint=fingerprint, container=choice.container, warnings=choice.warnings)


def _on_device(port: Port, device: BlockDevice, format: str, backing: bool, reach: Reach) -> Source:
    found = find_source(device.port(port), device.path, format=format, backing=backing, reach=reach)
    return replace(found, fingerprint=((device.path, identity(port.stat(device.path))),), container=device)


def _joined(port: Port, path: str, format: str) -> Source:
    from .foreign.series import joinable

    files = joinable(port, path, format)
    size = sum(found[2] for _path, found in files if found is not None)
    return Source(RAW, path, round_up(size, SECTOR), files, pieces=tuple(piece for piece, _found in files))


def _foreign(port: Port, path: str, format: str, backing: bool, reach: Reach) -> Source:
    # Only those who read images of other products load what that takes.
    from .backing import find_chain

    chain = find_chain(port, path, format=format, backing=backing, reach=reach)
    if chain.size == 0:
        raise BadRequest("The source is a disk without any sector", path, found=0, hint="Choose another one.")
    return Source(format, path, chain.size, chain.fingerprint, chain=chain)


def _detected(port: Port, path: str, real: str, stat: Stat) -> str:
    if stat.kind == DIRECTORY or (stat.size == 0 and path.lower().endswith(SUFFIX)):
        return HDD
    if stat.kind != FILE or stat.size == 0:
        return RAW
    prefix, suffix = _ends(port, real, stat.size)
    found = detect(prefix, suffix_bytes=suffix, name=path)
    format = HDD if path.endswith("/DiskDescriptor.xml") else format_detected_as(found)
    if format == RAW and path.lower().endswith(".ovf"):
        # It need not begin as XML files do.
        return "xml"
    if format == RAW:
        from .foreign.whole import refuse_part

        refuse_part(port, real, prefix)
    return format or found


def _ends(port: Port, path: str, size: int) -> Tuple[bytes, bytes]:
    stream = port.open_read(path)
    try:
        head, tail = bytearray(min(size, _PREFIX)), bytearray(min(size, _SUFFIX))
        stream.pread_into(0, head)
        stream.pread_into(size - len(tail), tail)
        return bytes(head), bytes(tail)
    finally:
        stream.close()


def open_source(port: Port, source: Source, size: Optional[int] = None) -> ComposedView:
    """Open what ``find_source`` found, with zeros after its end up to ``size`` bytes."""
    view = _opened(source.port(port), source)
    return view if size is None or size == view.size else view.grown(size)


def _opened(port: Port, source: Source) -> ComposedView:
    if source.state is not None and source.guid is not None:
        return open_view(port, source.state, source.guid)
    if source.chain is not None:
        from .backing import open_chain

        return open_chain(port, source.chain)
    image = _opened_raw(port, source)
    return ComposedView(source.size, [(0, LayerStack([image], [image.size], source.size))])


def _opened_raw(port: Port, source: Source) -> ImageReader:
    if source.pieces:
        from .._formats.raw.joined import open_joined

        return open_joined(port, source.pieces)
    stream = port.open_read(source.path)
    return RawImage(stream, stream.size())
