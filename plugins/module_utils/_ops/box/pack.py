# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pack: the Vagrant box of a virtual machine, written anew only when it does not hold the machine as it is now.

Commit point: the rename of the finished archive, see ``write_box``.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
from typing import Any, Iterator, Mapping, Optional, Tuple

from ..._bundle.naming import temporary_name
from ..._bundle.paths import is_inside, refuse_in_a_bundle
from ..._change.permissions import refuse_content
from ..._core.errors import AlreadyExists, BadRequest, NotFound
from ..._core.records import dataclass, replace
from ..._io.fingerprint import refuse_changed
from ..._io.port import DIRECTORY, FILE, Port
from .archive import (
    METADATA,
    VAGRANTFILE,
    Entry,
    Packed,
    archive,
    box_if_same,
    machine_entries,
    machine_uuid,
    small_file,
    write_box,
)
from .disks import MachineDisks, examine_disks

ABSENT = "absent"
OTHER = "other content"
PACKED = "packed"

_PROVIDER = "parallels"
_MARKS = ("gzip", "tar")


@dataclass(frozen=True)
class BoxRequest:
    """The box to make at ``path``, of the machine at ``machine``.

    ``epoch`` is the time, in seconds, of what has none of its own, and with ``reproducible`` of all; ``now`` that of
    the archive without. Without ``durable`` a power failure may take the box, unless it replaces one.
    """

    machine: str
    path: str
    architecture: str
    epoch: int
    now: int
    level: int = 6
    reproducible: bool = True
    metadata: Optional[Mapping[str, Any]] = None
    vagrantfile: Optional[str] = None
    force: bool = False
    durable: bool = True


@dataclass(frozen=True)
class Box:
    """A box: the machine's UUID, its entries, what was there ``before``, the file, None when it is not written, and the
    disks of the machine.
    """

    uuid: str
    entries: Tuple[Entry, ...]
    before: str
    packed: Optional[Packed]
    disks: MachineDisks = MachineDisks((), ())


def refuse_request(request: BoxRequest) -> None:
    """Raise BadRequest for an impossible level, and for a box inside the machine."""
    if not 0 <= request.level <= 9:
        hint = "Use 0 to 9."
        raise BadRequest(
            "compression_level: not a level", path=request.path, expected="0 to 9", found=request.level, hint=hint
        )
    if is_inside(request.path, request.machine):
        text = "dest: a box cannot be inside the machine that it holds"
        raise BadRequest(text, path=request.path, hint="Choose another directory.")


def find_machine(port: Port, request: BoxRequest) -> str:
    """The UUID of the machine. Raises when there is no machine, or its box cannot be where it is to be."""
    refuse_request(request)
    _is_present(port, request)
    return machine_uuid(port, request.machine)


def find_box(port: Port, request: BoxRequest, uuid: str) -> Box:
    """The box of the machine with this UUID, ``packed`` when the file that is there holds just that."""
    disks = examine_disks(port, request.machine, force=request.force)
    entries = _entries(port, request)
    is_present = _is_present(port, request)
    packed = box_if_same(port, port.real_path(request.path), archive(port, entries)) if is_present else None
    if packed is None:
        refuse_content(port, request.path)
    if not is_present:
        return Box(uuid, entries, ABSENT, None, disks)
    return Box(uuid, entries, OTHER if packed is None else PACKED, packed, disks)


def pack(port: Port, request: BoxRequest, box: Box, *, token: str) -> Box:
    """Write the box that ``find_box`` found missing; ``token`` goes into the temporary name."""
    directory, base = request.path.rsplit("/", 1)
    temporary = f"{directory}/{temporary_name(base, token)}"
    mtime = request.epoch if request.reproducible else request.now
    content = _unchanged(port, box)
    # What a box replaces must not be lost before the box is on the medium.
    may_vanish = box.before == ABSENT and not request.durable
    if may_vanish:
        from ..._io.unsynced import unsynced

        port = unsynced(port)
    packed = write_box(
        port, request.path, content, level=request.level, mtime=mtime, temporary=temporary, is_new=may_vanish
    )
    return replace(box, packed=packed)


def _unchanged(port: Port, box: Box) -> Iterator[bytes]:
    """The archive; before its end is reached, the disks must still be what they were. Raises StalePlan."""
    yield from archive(port, box.entries)
    refuse_changed(port, box.disks.fingerprint)


def _is_present(port: Port, request: BoxRequest) -> bool:
    """Whether there is a file already. Raises when there can be none, and for one that is no box."""
    path = request.path
    refuse_in_a_bundle(port, path)
    directory = port.stat(path.rsplit("/", 1)[0] or "/")
    if directory is None or directory.kind != DIRECTORY:
        hint = "Create it first, for example with ansible.builtin.file."
        raise NotFound("The directory for the box does not exist", path=path, hint=hint)
    present = port.stat(path)
    if present is not None and present.kind != FILE:
        text, hint = "dest: there is something that is no file", "Choose another name."
        raise AlreadyExists(text, path=path, found=present.kind, hint=hint)
    if present is not None and not request.force:
        # Most boxes are new.
        from ..._formats.marks import refuse_other_marks

        refuse_other_marks(port, path, _MARKS, what="box")
    return present is not None


def _entries(port: Port, request: BoxRequest) -> Tuple[Entry, ...]:
    metadata = {**(request.metadata or {}), "architecture": request.architecture, "provider": _PROVIDER}
    text = json.dumps(metadata, sort_keys=True, indent=2) + "\n"
    machine = machine_entries(port, request.machine, mtime=request.epoch if request.reproducible else None)
    # These two have no time of their own, and a second run must make them the same.
    start = [small_file(METADATA, text.encode(), mtime=request.epoch)]
    if request.vagrantfile is not None:
        start.append(small_file(VAGRANTFILE, request.vagrantfile.encode(), mtime=request.epoch))
    return tuple(start) + machine
