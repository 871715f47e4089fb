# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of containers that a disk may be in, one row each, and which disk of one is meant.

To add a container: a row in ``_KINDS`` with a function that lists its disks, a file for its structure, its tests.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from shlex import quote
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..._bundle.naming import DESCRIPTOR
from ..._core.errors import BadRequest, Damaged, DiskError, MissingImage, NotAWholeDisk, Unsupported
from ..._core.records import replace
from ..._formats.pieces import MOST_PIECES
from ..._io.port import FILE, Port
from ..checksums import checksum_of
from ..foreign.advice import unread
from ..foreign.whole import VMDK_PIECE, XEN_PIECE
from .inflated import Index
from .member_port import Container, Member, inflated, joined
from .ovf import OvfDisk, chunk_name, parse_manifest, parse_ovf
from .tar import read_entries

_OVF, _MANIFEST, _CERTIFICATE = ".ovf", ".mf", ".cert"
_DISKS = (".vmdk", ".qcow2", ".img", ".raw", ".vhd", ".vhdx", ".avhdx", ".vdi")
_MOST_TEXT = 4 << 20


class Choice(NamedTuple):
    """A disk in a container: its path there. ``warnings`` are of the container."""

    path: str
    container: Container
    warnings: Tuple[str, ...] = ()


def _tar(port: Port, path: str, *, is_packed: bool) -> Container:
    indexes: Dict[str, Index] = {}
    file = port.open_read(path)
    source = inflated(file, indexes, "") if is_packed else file
    try:
        members = [Member(entry.name, path, entry.stretches, entry.size) for entry in read_entries(source)]
    finally:
        source.close()
    return Container(path, tuple(members), indexes, is_packed)


def _in_tar(port: Port, path: str, wanted: Optional[str]) -> Choice:
    return _in_archive(port, path, _tar(port, path, is_packed=False), "tar", wanted)


def _in_gzip(port: Port, path: str, wanted: Optional[str]) -> Choice:
    # Only boxes are tar archives as a whole; to look into others would mean to inflate all of them.
    if not path.lower().endswith(".box"):
        raise unread(path, "gzip")
    return _in_archive(port, path, _tar(port, path, is_packed=True), "tar", wanted)


def _in_archive(port: Port, path: str, container: Container, kind: str, wanted: Optional[str]) -> Choice:
    # Archives that macOS made have a shadow of each file.
    names = [member.name for member in container.members if not posixpath.basename(member.name).startswith("._")]
    described = [name for name in names if name.lower().endswith(_OVF)]
    if described:
        return _in_ovf(port, container, described[0], wanted)
    bundles = [posixpath.dirname(name) for name in names if posixpath.basename(name) == DESCRIPTOR]
    if bundles:
        found = bundles
    else:
        found = [name for name in names if name.lower().endswith(_DISKS) and not VMDK_PIECE.fullmatch(name)]
    if not found:
        raise _without_disk(path, kind, names)
    name = found[chosen(path, [(posixpath.basename(one), one) for one in found], wanted)]
    return Choice(f"{path}/{name}", container)


def _without_disk(path: str, kind: str, names: Sequence[str]) -> DiskError:
    """The refusal of an archive in which no file is a disk."""
    error = unread(path, kind)
    pieces = next((match.group(1) for match in map(XEN_PIECE.fullmatch, names) if match), None)
    if pieces is not None:
        unpacked = f"tar -xf {quote(path)} && xva-img -p disk-export {quote(pieces + '/')} disk.raw"
        error = Unsupported(
            "The source is an export of XenServer (XVA)",
            path,
            found=kind,
            hint=f"Unpack it and name disk.raw: {unpacked}",
        )
    return error


def _in_xml(port: Port, path: str, wanted: Optional[str]) -> Choice:
    """A description beside its files: a container of those that it names, and of no others."""
    folder, name = posixpath.split(path)
    if not name.lower().endswith(_OVF):
        raise unread(path, "xml")
    disks = parse_ovf(_text(port, path), path=path)
    stem = name[: -len(_OVF)]
    whole = [one for disk in disks if disk.file for one in disk.names]
    names = [name, *whole, stem + _MANIFEST, stem + _CERTIFICATE]
    found = [_beside(port, folder, one) for one in dict.fromkeys(names)]
    for disk in disks:
        found += _chunks_beside(port, folder, disk)
    members = tuple(dict.fromkeys(one for one in found if one is not None))
    return _in_ovf(port, Container(path, members, {}), name, wanted)


def _beside(port: Port, folder: str, name: str) -> Optional[Member]:
    """A file beside a description, as a member; None for what is not there, and for links."""
    place = posixpath.join(folder, name)
    stat = port.lstat(place)
    is_file = stat is not None and stat.kind == FILE
    return Member(name, place, ((0, stat.size, 0),), stat.size) if stat is not None and is_file else None


def _chunks_beside(port: Port, folder: str, disk: OvfDisk) -> Iterator[Member]:
    for name in disk.names if disk.file and disk.chunk_bytes is not None else ():
        for number in range(MOST_PIECES + 1):
            one = _beside(port, folder, chunk_name(name, number))
            if one is None:
                break
            yield one


def _in_ovf(port: Port, container: Container, name: str, wanted: Optional[str]) -> Choice:
    shown = container.port(port)
    place = f"{container.path}/{name}"
    disks = [disk for disk in parse_ovf(_text(shown, place), path=place) if disk.file is not None]
    if not disks:
        raise NotAWholeDisk("The appliance has no disk with a file", path=container.path, hint="Name another source.")
    disk = disks[chosen(container.path, [(one.id, *_calls(one)) for one in disks], wanted)]
    _refuse_disk(container, disk)
    pieces = _pieces(container, disk, posixpath.dirname(name))
    warnings = _verified(shown, container, name, [piece.name for piece in pieces])
    file = posixpath.join(posixpath.dirname(name), disk.file or "")
    if disk.packing == "gzip" and file.lower().endswith(".gz"):
        # What comes out of it is no gzip file.
        file = file[: -len(".gz")]
    whole = joined(file, pieces)._replace(is_packed=disk.packing == "gzip")
    members = (*(one for one in container.members if one.name != file), whole)
    return Choice(f"{container.path}/{file}", replace(container, members=members), warnings)


def _calls(disk: OvfDisk) -> Tuple[str, ...]:
    names = [name for file in disk.names for name in (file, posixpath.splitext(file)[0])]
    return tuple(dict.fromkeys(names))


def _refuse_disk(container: Container, disk: OvfDisk) -> None:
    hint = None
    if disk.parent is not None:
        hint = "Export the appliance anew, without snapshots."
    elif disk.packing not in ("identity", "gzip"):
        hint = f"Unpack the container, then the file with {disk.packing}."
    if hint is not None:
        raise Unsupported(f"The disk {disk.id[:80]!r} is stored in a way that is not read", container.path, hint=hint)


def _pieces(container: Container, disk: OvfDisk, folder: str) -> Sequence[Member]:
    """The member that holds a disk, or its chunks. Raises MissingImage, and Damaged for chunks that do not fit."""
    members = {member.name: member for member in container.members}
    names = [posixpath.join(folder, name) for name in disk.names]
    found: List[Member] = []
    for name in names if disk.chunk_bytes is not None else ():
        while chunk_name(name, len(found)) in members:
            found.append(members[chunk_name(name, len(found))])
        if found:
            break
    whole = next((members[name] for name in names if name in members), None)
    if not found and whole is None:
        raise MissingImage(
            f"The file {names[0][:200]!r} of the disk {disk.id[:80]!r} is missing",
            container.path,
            expected=names[0][:200],
            hint="Get the whole container anew.",
        )
    if not found and whole is not None:
        return (whole,)
    _refuse_misfits(container, disk, [member.size for member in found])
    return found


def _refuse_misfits(container: Container, disk: OvfDisk, sizes: Sequence[int]) -> None:
    """Raise Damaged for chunks that are not all of one length but for the last, or not all there."""
    chunk = disk.chunk_bytes or 0
    if set(sizes[:-1]) - {chunk} or not 0 < sizes[-1] <= chunk or disk.size not in (None, sum(sizes)):
        raise Damaged(
            f"The chunks of the disk {disk.id[:80]!r} are not all there, or of another length",
            container.path,
            expected=f"{disk.size or 'any number of'} bytes in chunks of {chunk}",
            found=f"{sum(sizes)} bytes in {len(sizes)} chunks",
            hint="Get the whole container anew.",
        )


def _verified(shown: Port, container: Container, ovf: str, files: Sequence[str]) -> Tuple[str, ...]:
    """Compare description and disk with the manifest, if there is one. Raises Damaged with both values."""
    stem = ovf[: -len(_OVF)]
    names = [member.name for member in container.members]
    warnings = []
    if stem + _CERTIFICATE in names:
        warnings.append(f"{container.path}: it is signed; the signature was not checked.")
    manifest = _manifest(names, stem)
    if manifest is None:
        return tuple(warnings)
    place = f"{container.path}/{manifest}"
    listed = parse_manifest(_text(shown, place), path=place)
    for name in (ovf, *files):
        entry = listed.get(posixpath.basename(name))
        if entry is None:
            warnings.append(f"{container.path}: its manifest has no checksum of {name}.")
            continue
        stored = shown.open_read(f"{container.path}/{name}")
        try:
            found = checksum_of(stored, entry[0])
        finally:
            stored.close()
        if found != entry[1]:
            raise Damaged(
                f"The file {name[:200]!r} is not what the manifest says",
                container.path,
                expected=entry[1],
                found=found,
                hint="Get the container anew.",
            )
    return tuple(warnings)


def _manifest(names: Sequence[str], stem: str) -> Optional[str]:
    """The manifest of a description: that of its name, else the only one beside it, as of a container renamed."""
    folder = posixpath.dirname(stem)
    beside = [name for name in names if name.lower().endswith(_MANIFEST) and posixpath.dirname(name) == folder]
    if stem + _MANIFEST in beside:
        return stem + _MANIFEST
    return beside[0] if len(beside) == 1 else None


def _text(port: Port, path: str) -> bytes:
    file = port.open_read(path)
    try:
        if file.size() > _MOST_TEXT:
            raise Unsupported("The description is too large", path, expected=_MOST_TEXT, found=file.size())
        raw = bytearray(file.size())
        return bytes(raw[: file.pread_into(0, raw)])
    finally:
        file.close()


def chosen(path: str, choices: Sequence[Tuple[str, ...]], wanted: Optional[str]) -> int:
    """Which of the disks, by their names, ``wanted`` (a name or an index) means, else the only one.

    Raises BadRequest.
    """
    firsts = [names[0] for names in choices]
    if wanted is None and len(choices) > 1:
        raise BadRequest(
            f"The source holds {len(choices)} disks: {', '.join(firsts[:20])}",
            path=path,
            found=firsts[:20],
            hint=f"Set src_disk, for example to {firsts[0]}.",
        )
    named = [number for number, names in enumerate(choices) if wanted is None or wanted in names]
    if len(named) == 1:
        return named[0]
    if not named and wanted is not None and wanted.isdigit() and int(wanted) < len(choices):
        return int(wanted)
    raise BadRequest(
        f"src_disk: {'several disks are' if named else 'no disk of the source is'} called {(wanted or '')[:80]!r}",
        path=path,
        found=firsts[:20],
        hint=f"Choose one of these: {', '.join(firsts[:20])}",
    )


_KINDS: Dict[str, Callable[[Port, str, Optional[str]], Choice]] = {"tar": _in_tar, "gzip": _in_gzip, "xml": _in_xml}
"""By what ``detect`` calls the file. Each raises the usual refusal for a file of the kind that is no container."""


def disk_in(port: Port, path: str, kind: str, wanted: Optional[str]) -> Choice:
    """The disk that is meant in the container at ``path``. Raises the refusal of the file where it is none."""
    if kind not in _KINDS:
        raise unread(path, kind)
    try:
        return _KINDS[kind](port, path, wanted)
    except Damaged as error:
        if error.hint in (None, error.usual_hint):
            error.hint = "Get the whole container anew."
        raise
    except Unsupported as error:
        error.hint = error.hint or unread(path, kind).hint
        raise
