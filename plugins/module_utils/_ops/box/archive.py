# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Vagrant boxes of virtual machines: a tar archive, compressed by gzip.

::

    metadata.json     {"architecture": "arm64", "provider": "parallels"}
    Vagrantfile       only when there is one
    box.pvm/          the machine: config.pvs, and its disks as they are

Nothing in the archive depends on the machine that packs it: entries are sorted, owner and modes are the same for all,
and the header of the compressed stream names neither a file nor a system.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import hashlib
import posixpath
import struct
import tarfile
import zlib
from typing import Iterator, List, Optional, Tuple

from ..._bundle.naming import is_temporary
from ..._bundle.pvm import CONFIG
from ..._bundle.xml_input import MAX_DOCUMENT_BYTES, parse_xml
from ..._core import guid as guids
from ..._core.errors import Damaged, DiskError, InUse, NotABundle, NotFound, StalePlan, Unsupported
from ..._core.records import dataclass
from ..._io.durable import make_like, mode_like, read_file
from ..._io.port import DIRECTORY, FILE, File, Port

MACHINE = "box.pvm"
_MAC_SUFFIX = ".macvm"
METADATA = "metadata.json"
VAGRANTFILE = "Vagrantfile"

_UUID = "Identification/VmUuid"
_PIECE = 1 << 18
_BLOCK = 512
_MOST_ENTRIES = 100_000
_UINT32 = 0xFFFFFFFF
_NOT_PACKED = (".lck", ".lock", ".log")
# Magic, deflate, no name; then the time. No hint of the level, and "unknown" for the system: both would differ from
# machine to machine.
_GZIP_HEADER = struct.Struct("<4sIBB")


@dataclass(frozen=True)
class Entry:
    """One entry: a directory, the file at ``path``, or a small file with this ``content``. ``size`` is in bytes."""

    name: str
    mtime: int
    size: int = 0
    path: Optional[str] = None
    content: Optional[bytes] = None

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.path is None and self.content is None


@dataclass(frozen=True)
class Packed:
    """A packed box: length and SHA-256 of the compressed file."""

    size: int
    checksum: str


def machine_uuid(port: Port, machine: str) -> str:
    """The UUID by which Vagrant finds the registered machine. Raises NotABundle for no machine, Damaged without one."""
    config = posixpath.join(machine, CONFIG)
    stat = port.stat(config)
    if stat is None or stat.kind != FILE:
        text = "The directory is no virtual machine: it has no config.pvs"
        raise NotABundle(text, path=machine, hint="Name the .pvm directory.")
    try:
        root = parse_xml(read_file(port, config, limit=MAX_DOCUMENT_BYTES), path=config).root
    except Damaged as error:
        error.hint = error.hint or "Restore the file; Parallels Desktop keeps config.pvs.backup beside it."
        raise
    found = root.find(_UUID)
    text = "" if found is None else (found.text or "").strip()
    if not text:
        hint = "Vagrant cannot register such a machine."
        raise Damaged("The virtual machine has no UUID", path=config, expected=_UUID, hint=hint)
    return guids.normalise(text, path=config, what="VmUuid")


def packed_name(machine: str) -> str:
    """What the machine is called in the box: Vagrant's plug-in goes by the suffix."""
    return f"box{_MAC_SUFFIX}" if machine.lower().endswith(_MAC_SUFFIX) else MACHINE


def machine_entries(port: Port, machine: str, *, mtime: Optional[int]) -> Tuple[Entry, ...]:
    """The entries of the machine, sorted by name. ``mtime`` is theirs, in seconds; None keeps that of each file.

    Left out are hidden files, locks and logs. Raises InUse when another process writes one of the files, Unsupported
    for links and devices.
    """
    stat = port.stat(machine)
    if stat is None or stat.kind != DIRECTORY:
        raise NotFound("There is no virtual machine", path=machine, hint="Name the .pvm directory.")
    top = packed_name(machine)
    found: List[Entry] = [Entry(top, _time(stat.mtime_ns, mtime))]
    pending = [(machine, top)]
    while pending:
        folder, name = pending.pop()
        for base in _packed_names(port, folder):
            path, entry_name = posixpath.join(folder, base), f"{name}/{base}"
            found.append(_entry(port, path, entry_name, mtime))
            if found[-1].is_directory:
                pending.append((path, entry_name))
        if len(found) > _MOST_ENTRIES:
            text = "The directory holds too many files for a virtual machine"
            raise Unsupported(text, path=machine, expected=f"at most {_MOST_ENTRIES}")
    return tuple(sorted(found, key=lambda entry: entry.name))


def _packed_names(port: Port, folder: str) -> List[str]:
    names = port.list_directory(folder)
    return [name for name in names if not (name.startswith(".") or name.endswith(_NOT_PACKED) or is_temporary(name))]


def _entry(port: Port, path: str, name: str, mtime: Optional[int]) -> Entry:
    stat = port.lstat(path)
    if stat is None:
        raise StalePlan("A file vanished while the machine was examined", path=path, hint="Run again.")
    if stat.kind == DIRECTORY:
        return Entry(name, _time(stat.mtime_ns, mtime))
    if stat.kind != FILE:
        text, hint = "A box holds files and directories only", "Replace it with its target, or remove it."
        raise Unsupported(text, path=path, found=stat.kind, hint=hint)
    writers = port.writers(path) if path.endswith(".hds") else ()
    if writers:
        text, hint = f"The disk is in use by {writers[0].owner}", "Stop the virtual machine, and run again."
        raise InUse(text, path=path, hint=hint)
    return Entry(name, _time(stat.mtime_ns, mtime), stat.size, path)


def _time(own_ns: int, fixed: Optional[int]) -> int:
    return own_ns // 1_000_000_000 if fixed is None else fixed


def small_file(name: str, content: bytes, *, mtime: int) -> Entry:
    """An entry with this content."""
    return Entry(name, mtime, len(content), None, content)


def archive(port: Port, entries: Tuple[Entry, ...]) -> Iterator[bytes]:
    """The bytes of the tar archive, in pieces of at most 256 KiB. Raises StalePlan when a file has become shorter."""
    length = 0
    for entry in entries:
        header, rest = _header(entry), -entry.size % _BLOCK
        yield header
        if entry.content is not None:
            yield entry.content
        elif entry.path is not None:
            yield from _file(port, entry)
        yield bytes(rest)
        length += len(header) + entry.size + rest
    # Two empty blocks, then filled up to a record as every tar does.
    yield bytes(-(length + 2 * _BLOCK) % tarfile.RECORDSIZE + 2 * _BLOCK)


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.name)
    info.size = entry.size
    info.mtime = entry.mtime
    info.mode = 0o755 if entry.is_directory else 0o644
    info.type = tarfile.DIRTYPE if entry.is_directory else tarfile.REGTYPE
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _file(port: Port, entry: Entry) -> Iterator[bytes]:
    file = port.open_read(entry.path or "")
    try:
        offset = 0
        while offset < entry.size:
            piece = bytearray(min(_PIECE, entry.size - offset))
            if file.pread_into(offset, piece) < len(piece):
                text, hint = "A file became shorter while it was packed", "Stop what changes it, and run again."
                raise StalePlan(text, path=entry.path, offset=offset, hint=hint)
            yield bytes(piece)
            offset += len(piece)
    finally:
        file.close()


def box_if_same(port: Port, box: str, content: Iterator[bytes]) -> Optional[Packed]:
    """The box at ``box``, if it is an archive of exactly ``content``, however compressed; else None."""
    file = port.open_read(box)
    try:
        digest = hashlib.sha256()
        is_same = _is_same(_unpacked(file, digest), content)
        return Packed(file.size(), digest.hexdigest()) if is_same else None
    except zlib.error:
        return None
    finally:
        file.close()


def _is_same(present: Iterator[bytes], content: Iterator[bytes]) -> bool:
    """Whether two streams that are cut into different pieces are the same."""
    held = b""
    for piece in content:
        while len(held) < len(piece):
            more = next(present, None)
            if more is None:
                return False
            held += more
        if held[: len(piece)] != piece:
            return False
        held = held[len(piece) :]
    return not held and next(present, None) is None


def _unpacked(file: File, digest: hashlib._Hash) -> Iterator[bytes]:
    """What one gzip member holds, in pieces of bounded size. Raises ``zlib.error`` for less or more than that."""
    unpacker = zlib.decompressobj(31)
    size, offset = file.size(), 0
    while offset < size:
        piece = bytearray(min(_PIECE, size - offset))
        if file.pread_into(offset, piece) < len(piece):
            raise zlib.error("the file became shorter")
        offset += len(piece)
        digest.update(piece)
        rest = bytes(piece)
        while rest and not unpacker.eof:
            found = unpacker.decompress(rest, _PIECE)
            rest = unpacker.unconsumed_tail
            if found:
                yield found
        if unpacker.eof and (unpacker.unused_data or offset < size):
            raise zlib.error("more follows")
    if not unpacker.eof:
        raise zlib.error("cut off")


def write_box(
    port: Port, box: str, content: Iterator[bytes], *, level: int, mtime: int, temporary: str, is_new: bool = False
) -> Packed:
    """Compress ``content`` into ``box``, replacing what is there in one step. ``mtime`` is that in the stream's header.

    With ``is_new`` nothing is replaced: AlreadyExists for a name that somebody has by now.

    ::

        create temporary, hold it - write - attributes - sync - RENAME - sync of the directory
    """
    file = port.create(temporary, mode_like(port, box))
    lock = None
    try:
        try:
            # Held, so that another run does not take it for a leftover.
            lock = port.lock((), (temporary,))
            packed = _compress(file, content, level, mtime)
            make_like(port, file, box)
            file.sync()
        finally:
            file.close()
        port.rename(temporary, box, replace=not is_new)
    except BaseException:
        _remove_quietly(port, temporary)
        raise
    finally:
        if lock is not None:
            lock.release()
    port.sync_directory(posixpath.dirname(box))
    return packed


def _compress(file: File, content: Iterator[bytes], level: int, mtime: int) -> Packed:
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    digest = hashlib.sha256()
    offset = _put(file, 0, _GZIP_HEADER.pack(b"\x1f\x8b\x08\0", mtime & _UINT32, 0, 255), digest)
    crc = length = 0
    for piece in content:
        crc = zlib.crc32(piece, crc)
        length += len(piece)
        offset = _put(file, offset, packer.compress(piece), digest)
    end = packer.flush() + struct.pack("<II", crc, length & _UINT32)
    return Packed(_put(file, offset, end, digest), digest.hexdigest())


def _put(file: File, offset: int, piece: bytes, digest: hashlib._Hash) -> int:
    if piece:
        file.pwrite(offset, piece)
        digest.update(piece)
    return offset + len(piece)


def _remove_quietly(port: Port, path: str) -> None:
    """Remove what may also stay; the error that led here is the one to report."""
    try:
        port.remove(path)
    except DiskError:
        pass
