# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is at the destination before a conversion."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ..._bundle.bundle import BundleState, observe
from ..._bundle.paths import locate, lost_descriptor, refuse_in_a_bundle
from ..._core.errors import AlreadyExists, BadRequest, DiskError, IoFailure, NoSpace, NotABundle
from ..._core.records import dataclass
from ..._formats.catalog import HDD, RAW
from ..._guest.source import Source
from ..._io.port import DIRECTORY, FILE, SYMLINK, Port, Stat
from .request import MISSING, ConvertRequest

if TYPE_CHECKING:
    from ..._guest.backing import ForeignChain

_ON_DISKS = ("luks", "tar")
"""Marks that guests put at the start of their disks."""


@dataclass(frozen=True)
class Destination:
    """What is at the destination: its entry, and the disk when it is one of the format that is asked for.

    A link leads to somebody else's file.
    """

    stat: Optional[Stat]
    state: Optional[BundleState] = None
    chain: Optional[ForeignChain] = None
    is_link: bool = False


def find_destination(port: Port, request: ConvertRequest) -> Destination:
    """Look at the destination. Raises AlreadyExists for what cannot be an output, and what a damaged one raises."""
    stat = port.stat(request.path)
    if stat is None and port.lstat(request.path) is not None:
        raise AlreadyExists(
            "The destination is a link that leads nowhere", path=request.path, hint="Remove it or choose another dest."
        )
    refuse_in_a_bundle(port, request.path)
    if stat is None:
        return Destination(stat)
    if request.format == RAW:
        return _raw(port, request, stat)
    return _bundle(port, request, stat) if request.format == HDD else _image(port, request, stat)


def _raw(port: Port, request: ConvertRequest, stat: Stat) -> Destination:
    """A raw image has no mark; what has one is something else, which may be needed."""
    if stat.kind == FILE and not request.force and request.update != MISSING:
        # Most raw images are new.
        from ..._formats.marks import refuse_other_marks

        refuse_other_marks(port, request.path, _ON_DISKS, what="raw image")
    return Destination(stat)


def _bundle(port: Port, request: ConvertRequest, stat: Stat) -> Destination:
    if stat.kind != DIRECTORY:
        raise AlreadyExists(
            "There is a file where the bundle should go", path=request.path, hint="Move it away or choose another dest."
        )
    try:
        # Images of other products have no neighbours.
        from ..._bundle.neighbours import with_surroundings

        state, _around = with_surroundings(port, observe(port, locate(port, request.path)), request.path)
        return Destination(stat, state)
    except NotABundle as error:
        # The images of a bundle that only lost its descriptor are all there.
        is_lost = lost_descriptor(port, port.real_path(request.path))
        raise AlreadyExists(
            "There is a directory that is no bundle where the bundle should go",
            path=request.path,
            hint=f"{error.hint} Or choose another dest." if is_lost else "Move it away or choose another dest.",
        ) from error
    except DiskError as error:
        return _unreadable(request, stat, error)


def _image(port: Port, request: ConvertRequest, stat: Stat) -> Destination:
    if stat.kind != FILE:
        # What is no file is refused where replacing is judged.
        return Destination(stat)
    from ..._guest.backing import find_chain

    try:
        chain = find_chain(port, request.path, format=request.format, backing=True, with_properties=True)
        return Destination(stat, chain=chain, is_link=_is_link(port, request.path))
    except DiskError as error:
        return _unreadable(request, stat, error)


def _is_link(port: Port, path: str) -> bool:
    entry = port.lstat(path)
    return entry is not None and entry.kind == SYMLINK


def _unreadable(request: ConvertRequest, stat: Stat, error: DiskError) -> Destination:
    """What is damaged, or only not understood, may still be all that somebody has.

    A call that the operating system refused says nothing of the image; replaced unseen, it would leave its pieces over.
    """
    is_refused = isinstance(error, (IoFailure, NoSpace))
    if request.update == MISSING or (request.force and not is_refused):
        return Destination(stat)
    if is_refused:
        raise error
    # The source is good: what helps is to replace the destination, not to mend it.
    error.hint = "Set force: true to replace the destination all the same."
    raise error


def refuse_needed(source: Source, destination: Destination) -> None:
    """Raise BadRequest when the source is a part of what would be replaced."""
    if destination.chain is None:
        return
    files = {path for path, _seen in destination.chain.fingerprint}
    for path, _seen in source.fingerprint:
        if path in files:
            raise BadRequest("The destination consists of files of the source", path=path, hint="Choose another dest.")
