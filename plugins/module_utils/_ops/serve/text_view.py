# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VMDK that is nothing but text: its extents are in the files of the source, which are read in place.

Beside it there is a file of zeros, all of it a hole, for the parts of the disk that nothing is stored for: QEMU leaves
lines of the type ZERO out. Commit point: the replacement of the text.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..._bundle.guards import warnings_for_readers, warnings_of_flocks
from ..._bundle.naming import temporary_name
from ..._bundle.paths import refuse_in_a_bundle
from ..._core.errors import AlreadyExists, BadRequest, NotFound, Unsupported
from ..._core.extents import ZERO
from ..._core.guid import derive
from ..._core.plan import Cleanup, CreateFile, Plan, Rename, ReplaceFile, Step, Sync
from ..._core.records import dataclass
from ..._core.units import SECTOR
from ..._formats.image import GuestView
from ..._formats.vmdk.descriptor import SPLIT_FLAT, ExtentLine, NewDescriptor
from ..._guest.source import Source, open_source
from ..._io.durable import read_file
from ..._io.fingerprint import identity
from ..._io.port import DIRECTORY, FILE, Port, Stat
from ..convert.plan import refuse_source
from ..convert.reason import is_kept
from ..convert.request import ALWAYS, MISSING, ConvertRequest

MOST_EXTENTS = 1000
"""Readers open a file for each, and search them one after the other."""

SAME = "kept: the destination points to the same places"

_MARK = b"# An index of files elsewhere, by the Ansible collection vdisk.parallels\n"
_LONGEST_TEXT = 4 << 20
_LONGEST_ZEROS = 1 << 40
_HARDWARE_VERSION = 4


class TextView(NamedTuple):
    """What is written: the text, the length of the file of zeros beside it (0 for none), and why."""

    text: bytes
    zeros_path: str
    zeros: int
    size: int
    reason: str


@dataclass(frozen=True)
class _Run:
    """``length`` bytes of the guest disk from byte ``offset`` of ``path``; zeros without a path."""

    length: int
    path: Optional[str] = None
    offset: int = 0


def plan_text_view(port: Port, source: Source, request: ConvertRequest, *, token: str) -> Plan[TextView]:
    """Write the text, and the file of zeros where it is needed; or an empty plan when they are there.

    Raises Unsupported with the number of extents when there are too many, and for a source whose data are packed.
    """
    refuse_source(port, source, request)
    view = _described(port, source, request)
    present = port.stat(request.path)
    view = view._replace(reason=_reason(port, request, view, present))
    if is_kept(view.reason):
        return Plan("convert", warnings=_warnings(port, source), facts=view)
    _refuse_replacing(port, request, present)
    steps: List[Step] = []
    temporary = f"{request.path.rpartition('/')[0]}/{temporary_name(request.path.rpartition('/')[2], token)}"
    if view.zeros and not _has_zeros(port, view):
        steps = [CreateFile(temporary, view.zeros), Sync((temporary,)), Rename(temporary, view.zeros_path)]
    steps.append(ReplaceFile(request.path, view.text, temporary))
    return Plan(
        "convert",
        tuple(steps),
        fingerprint=source.fingerprint + ((request.path, identity(present)),),
        cleanup=Cleanup(remove=(temporary,)),
        warnings=_warnings(port, source),
        commit=len(steps) - 1,
        hidden=(view.zeros_path,),
        is_durable=request.durable or present is not None or port.lstat(view.zeros_path) is not None,
        facts=view,
    )


def _described(port: Port, source: Source, request: ConvertRequest) -> TextView:
    opened = open_source(port, source)
    try:
        runs = list(_joined(_runs(opened, request.path)))
    finally:
        opened.close()
    if len(runs) > MOST_EXTENTS:
        raise Unsupported(
            f"The disk is in {len(runs)} pieces, and an index of more than {MOST_EXTENTS} would be read slowly",
            path=source.path,
            expected=f"at most {MOST_EXTENTS}",
            found=len(runs),
            hint="Serve it with hdd_nbd, which reads in place as well, or convert it.",
        )
    stem = request.path[: -len(".vmdk")] if request.path.lower().endswith(".vmdk") else request.path
    zeros_path = f"{stem}-zeros.vmdk"
    name = zeros_path.rpartition("/")[2]
    lines = tuple(
        ExtentLine(run.length // SECTOR, "FLAT", run.path or name, run.offset // SECTOR, "RW") for run in runs
    )
    own = derive("text view", *(f"{line.sectors} {line.name} {line.offset}" for line in lines))
    text = NewDescriptor(SPLIT_FLAT, lines, request.adapter_type or "ide", _HARDWARE_VERSION).pack(own)
    first, _newline, rest = text.partition(b"\n")
    zeros = max((run.length for run in runs if run.path is None), default=0)
    return TextView(first + b"\n" + _MARK + rest, zeros_path, zeros, source.size, "")


def _runs(view: GuestView, path: str) -> Iterator[_Run]:
    """The disk in pieces: where its data are in files, and zeros. Raises Unsupported for data that are packed."""
    for extent in view.extents(0, view.size):
        if extent.kind == ZERO:
            for done in range(0, extent.length, _LONGEST_ZEROS):
                yield _Run(min(_LONGEST_ZEROS, extent.length - done))
            continue
        position = extent.start
        for place in view.places(extent.start, extent.length):
            if place.start != position or place.length % SECTOR or place.offset % SECTOR:
                break
            yield _Run(place.length, place.file.path, place.offset)
            position = place.end
        if position != extent.end:
            text = "Some data of the source are packed, or not in whole sectors, so that no text can point to them"
            raise Unsupported(text, path=path, found=f"byte {position} of the disk", hint="Convert it instead.")


def _joined(runs: Iterator[_Run]) -> Iterator[_Run]:
    """Neighbours that are neighbours in their file, too, as one."""
    last: Optional[_Run] = None
    for run in runs:
        is_stored = last is not None and run.path is not None and last.path == run.path
        if last is not None and is_stored and last.offset + last.length == run.offset:
            last = _Run(last.length + run.length, last.path, last.offset)
            continue
        if last is not None:
            yield last
        last = run
    if last is not None:
        yield last


def _reason(port: Port, request: ConvertRequest, view: TextView, present: Optional[Stat]) -> str:
    if present is None:
        return "written: there was no destination"
    if request.update == ALWAYS:
        return "written: update is always"
    if request.update == MISSING:
        return "kept: the destination exists"
    is_same = present.kind == FILE and _text_of(port, request.path, present) == view.text
    if is_same and (not view.zeros or _has_zeros(port, view)):
        return SAME
    return "written: the destination points elsewhere"


def _text_of(port: Port, path: str, present: Stat) -> bytes:
    return b"" if present.size > _LONGEST_TEXT else read_file(port, path, limit=_LONGEST_TEXT)


def _has_zeros(port: Port, view: TextView) -> bool:
    """Whether the file of zeros is there and long enough. Raises AlreadyExists for another one with its name."""
    stat = port.lstat(view.zeros_path)
    if stat is None:
        return False
    if stat.kind == FILE and _is_hole(port, view.zeros_path, stat.size):
        return stat.size >= view.zeros
    raise AlreadyExists(
        "Something else has the name of the file of zeros",
        path=view.zeros_path,
        expected="a file without data",
        found=stat.kind,
        hint="Move it away, or choose another dest.",
    )


def _is_hole(port: Port, path: str, size: int) -> bool:
    file = port.open_read(path)
    try:
        return next(file.data_ranges(0, size), None) is None
    finally:
        file.close()


def _refuse_replacing(port: Port, request: ConvertRequest, present: Optional[Stat]) -> None:
    """Raise AlreadyExists for what is not such a text: an image may have files that would be left over."""
    refuse_in_a_bundle(port, request.path)
    parent = request.path.rpartition("/")[0] or "/"
    folder = port.stat(parent)
    if folder is None or folder.kind != DIRECTORY:
        raise NotFound("The directory for the destination does not exist", path=parent, hint="Create it first.")
    if present is None and port.lstat(request.path) is None:
        return
    if present is not None and present.kind == FILE and _MARK in _text_of(port, request.path, present)[:200]:
        return
    raise AlreadyExists(
        "Something that is no index of files is at the destination",
        path=request.path,
        hint="Move it away, or choose another dest.",
    )


def _warnings(port: Port, source: Source) -> Tuple[str, ...]:
    found = () if source.state is None else warnings_for_readers(source.state)
    found += warnings_of_flocks(port, source.places)
    bound = f"The text is bound to the files of {source.path}: it shows what they hold, for as long as they stay where"
    return (*found, f"{bound} and as they are. Write nothing through it.")


def refuse_others(options: Mapping[str, Any]) -> None:
    """Raise BadRequest for options that an index of files cannot follow."""
    plain = {
        "chain": "flatten",
        "compression": "none",
        "compression_level": None,
        "cluster_size": None,
        "align": None,
        "sparse": True,
        "preallocate": False,
        "checksum": "none",
        "checksum_file": None,
        "free_space": "keep",
    }
    for option, value in plain.items():
        if options[option] != value:
            raise BadRequest(
                f"{option}: subformat view has no data of its own", found=options[option], hint="Leave it out."
            )
