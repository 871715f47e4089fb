# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Eyes that share nothing with the engine: what lies in a folder, and what a guest sees of a disk at each snapshot."""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from typing import Dict, List, NamedTuple, Optional, Tuple
from xml.etree import ElementTree

from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import DIRECTORY, FILE, Port
from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

Whole = Optional[Dict[str, Tuple[str, int, bytes]]]
HEADER = struct.Struct("<16sIIIIIQIIIQ")
MAGICS = (b"WithoutFreeSpace", b"WithouFreSpacExt")
IN_USE = 0x746F6E59


class Sight(NamedTuple):
    """What a disk shows: its name and the guest bytes of each snapshot, the current state included."""

    name: Optional[str]
    views: Dict[str, bytes]


class _Part(NamedTuple):
    start: int
    end: int
    files: Dict[str, Tuple[str, bool]]


class _Described(NamedTuple):
    name: Optional[str]
    parents: Dict[str, str]
    parts: Tuple[_Part, ...]


def content_of(port: Port, path: str) -> bytes:
    """All bytes of a file."""
    file = port.open_read(path)
    try:
        buffer = bytearray(file.size())
        file.pread_into(0, buffer)
        return bytes(buffer)
    finally:
        file.close()


def whole(port: Port, path: str) -> Whole:
    """Kind, mode and bytes of ``path`` and of all that lies below it, by relative name; None when there is nothing."""
    stat = port.lstat(path)
    if stat is None:
        return None
    found = {"": (stat.kind, stat.mode & 0o777, content_of(port, path) if stat.kind == FILE else b"")}
    if stat.kind == DIRECTORY:
        for name in port.list_directory(path):
            found.update({f"/{name}{inner}": what for inner, what in (whole(port, f"{path}/{name}") or {}).items()})
    return found


def print_of(port: Port, path: str) -> List[Tuple[object, ...]]:
    """Something that differs when anything below ``path`` was changed."""
    stat = port.lstat(path)
    assert stat is not None, path
    found: List[Tuple[object, ...]] = [(path, stat.inode, stat.size, stat.mtime_ns)]
    if stat.kind == DIRECTORY:
        for name in port.list_directory(path):
            found += print_of(port, f"{path}/{name}")
    return found


def likeness_of(port: MemoryPort) -> int:
    """Equal for ports with the same paths, contents and modes, whatever their inodes and times are."""
    nodes = port.tree.nodes
    return hash(
        frozenset(
            (path, nodes[inode].key() if nodes[inode].kind == FILE else nodes[inode].mode)
            for path, inode in port.tree.walk()
        )
    )


def is_image(content: bytes) -> bool:
    """Whether these bytes begin as an expanding image does."""
    return content[:16] in MAGICS and len(content) >= HEADER.size


def is_marked(content: bytes) -> bool:
    """Whether an expanding image carries the in-use mark."""
    return bool(HEADER.unpack_from(content)[7] == IN_USE)


def sight_of(port: Port, path: str) -> Sight:
    """The disk at ``path``, a bundle or a single expanding image."""
    stat = port.stat(path)
    if stat is not None and stat.kind != DIRECTORY:
        content = content_of(port, path)
        view = bytearray(_size(content))
        _lay_over(view, content)
        return Sight(None, {TOP: bytes(view)})
    described = _described(content_of(port, f"{path}/DiskDescriptor.xml"))
    contents = {
        file: content_of(port, f"{path}/{file}") for part in described.parts for file, _is_plain in part.files.values()
    }
    return Sight(described.name, {guid: _view(described, contents, guid) for guid in described.parents})


@lru_cache(maxsize=256)
def _described(xml: bytes) -> _Described:
    root = ElementTree.fromstring(xml)
    parents = {shot.findtext("GUID") or "": shot.findtext("ParentGUID") or "" for shot in root.iter("Shot")}
    assert len(parents) == len(list(root.iter("Shot"))), "a snapshot is listed twice"
    parts = []
    for storage in root.iter("Storage"):
        files = {}
        for image in storage.iter("Image"):
            guid = image.findtext("GUID") or ""
            files[guid] = (image.findtext("File") or "", image.findtext("Type") == "Plain" and parents[guid] == NONE)
        assert set(files) == set(parents) and len(files) == len(list(storage.iter("Image"))), (
            "snapshots and images do not match"
        )
        assert len({file for file, _is_plain in files.values()}) == len(files), "two layers have one file"
        parts.append(_Part(int(storage.findtext("Start") or 0) * 512, int(storage.findtext("End") or 0) * 512, files))
    return _Described(root.findtext("Disk_Parameters/Name"), parents, tuple(parts))


def _view(described: _Described, contents: Dict[str, bytes], guid: str) -> bytes:
    chain = [guid]
    while described.parents[chain[-1]] != NONE:
        chain.append(described.parents[chain[-1]])
    disk = bytearray()
    for part in described.parts:
        view = bytearray(part.end - part.start)
        for layer in reversed(chain):
            file, is_plain = part.files[layer]
            if is_plain:
                view[:] = contents[file][: len(view)].ljust(len(view), b"\0")
            else:
                _lay_over(view, contents[file])
        disk += view
    return bytes(disk)


def _size(content: bytes) -> int:
    assert is_image(content), "no expanding image"
    return int(HEADER.unpack_from(content)[6] & 0xFFFFFFFF) * 512


def _lay_over(view: bytearray, content: bytes) -> None:
    """Put what an image holds over ``view``.

    Each cluster must lie in the file, behind the table, and belong to one entry only.
    """
    size = min(_size(content), len(view))
    magic, _type, _heads, _cylinders, sectors, count, _size_field, _in_use, data_off, _flags, _extension = (
        HEADER.unpack_from(content)
    )
    cluster = sectors * 512
    unit = 512 if magic == MAGICS[0] else cluster
    view[size:] = bytes(len(view) - size)
    table = struct.unpack_from(f"<{count}I", content, HEADER.size)
    places = [entry * unit for entry in table if entry]
    assert len(places) == len(set(places)), "two entries lead to one cluster"
    for index, entry in enumerate(table[: -(-size // cluster)]):
        if entry:
            start, length = index * cluster, min(cluster, size - index * cluster)
            assert max(data_off * 512, HEADER.size + 4 * count) <= entry * unit <= len(content) - length, (
                "an entry leads out of the data"
            )
            view[start : start + length] = content[entry * unit : entry * unit + length]


def images_of(port: Port, path: str) -> Dict[str, bytes]:
    """The bytes of each expanding image of a bundle or of a single file, by name."""
    stat = port.lstat(path)
    assert stat is not None, path
    names = [f"{path}/{name}" for name in port.list_directory(path)] if stat.kind == DIRECTORY else [path]
    contents = {name.rsplit("/", 1)[-1]: content_of(port, name) for name in names}
    return {name: content for name, content in contents.items() if is_image(content)}


def journal_of(port: Port, path: str) -> Tuple[str, str]:
    """Operation and phase in the journal of the disk at ``path``, empty when there is none."""
    stat = port.lstat(path)
    folder, name = path.rsplit("/", 1)
    journal = (
        f"{path}/.vdisk-journal" if stat is not None and stat.kind == DIRECTORY else f"{folder}/.vdisk-journal-{name}"
    )
    if port.lstat(journal) is None:
        return "", ""
    record = json.loads(content_of(port, journal))
    return record["operation"], record["phase"]
