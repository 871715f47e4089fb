# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether what is at the destination may be replaced, and which files go with it."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.guards import Touches, check_guards, refuse_standing, refuse_strangers
from ..._bundle.naming import classify
from ..._core.errors import AlreadyExists, HasSnapshots, NotFound, Unsupported
from ..._core.plan import Fingerprint
from ..._formats.catalog import HDD
from ..._io.fingerprint import identity
from ..._io.port import DIRECTORY, FILE, Port, Stat
from .destination import Destination
from .request import ConvertRequest

if TYPE_CHECKING:
    from ..._guest.backing import ForeignChain


def refuse_replacing(port: Port, request: ConvertRequest, destination: Destination) -> None:
    """Raise when what is at the destination must not be replaced, or the directory around it does not exist."""
    if destination.state is not None:
        _refuse_bundle(request, destination.state)
    elif destination.chain is not None:
        _refuse_chain(request, destination.chain)
    elif destination.stat is not None and request.format == HDD:
        _refuse_other_files(port, request)
    elif destination.stat is not None and destination.stat.kind != FILE:
        _refuse_kind(request, destination.stat)
    directory = request.path.rsplit("/", 1)[0] or "/"
    parent = port.stat(directory)
    if parent is None or parent.kind != DIRECTORY:
        raise NotFound(
            "The directory for the destination does not exist",
            path=directory,
            hint="Create it first, for example with ansible.builtin.file.",
        )


def _refuse_bundle(request: ConvertRequest, state: BundleState) -> None:
    if len(state.tree.shots) > 1 and not request.force:
        raise HasSnapshots(
            "The destination has snapshots, which would be lost",
            path=request.path,
            hint="Set force: true to replace it with all of them.",
        )
    from ..._change.bundle_plan import own_images

    check_guards(state, Touches(images=False), force=request.force)
    refuse_standing(state, own_images(state), force=request.force)
    refuse_strangers(state, force=request.force)


def _refuse_chain(request: ConvertRequest, chain: ForeignChain) -> None:
    if any(layer.snapshots for layer in chain.layers) and not request.force:
        raise HasSnapshots(
            "The destination holds snapshots of its own, which would be lost",
            path=request.path,
            hint="Set force: true to replace it with them.",
        )
    if len(chain.layers) > 1 and not request.force:
        raise HasSnapshots(
            "The destination is an overlay on other images, which would be lost with it",
            path=request.path,
            hint="Set force: true to replace it and its own layers.",
        )


def _refuse_kind(request: ConvertRequest, stat: Stat) -> None:
    if stat.kind != DIRECTORY:
        raise AlreadyExists(
            "The destination is neither a file nor a bundle",
            path=request.path,
            found=stat.kind,
            hint="Choose another dest.",
        )
    raise AlreadyExists(
        "There is a directory where the file should go", path=request.path, hint="Move it away or choose another dest."
    )


def _refuse_other_files(port: Port, request: ConvertRequest) -> None:
    """A bundle is replaced as a whole, so it must not hold what belongs to no disk, such as another bundle."""
    directory = port.real_path(request.path)
    names = port.list_directory(directory)
    others = [name for name in names if classify(name) == "foreign" or _kind(port, directory, name) == DIRECTORY]
    if others:
        raise Unsupported(
            f"The destination holds files that are no part of a disk: {', '.join(others[:5])}",
            path=request.path,
            found=others[:20],
            hint="Move them away, then run again; nothing was replaced.",
        )


def bundle_locks(port: Port, directory: str) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """What to hold of a bundle that cannot be read: the directory, and the files in it that are called like images."""
    called = [name for name in port.list_directory(directory) if classify(name) in ("image", "marker")]
    return (directory,), tuple(f"{directory}/{name}" for name in called if _kind(port, directory, name) == FILE)


def _kind(port: Port, directory: str, name: str) -> Optional[str]:
    stat = port.lstat(f"{directory}/{name}")
    return None if stat is None else stat.kind


def destination_fingerprint(request: ConvertRequest, destination: Destination) -> Fingerprint:
    """The files that the output replaces, as they were looked at."""
    if destination.state is not None:
        return destination.state.fingerprint
    own = ((request.path, identity(destination.stat)),)
    return own + (destination.chain.fingerprint if destination.chain is not None else ())
