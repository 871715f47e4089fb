# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container as a folder: its members are the files below its own path, where no file system has any.

::

    /srv/web.ova                       the container
    /srv/web.ova/web-disk001.vmdk      its member, as ``MemberPort`` shows it
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..._core.errors import NotFound
from ..._core.records import dataclass
from ..._formats.mapping import ByteSource
from ..._io.port import DIRECTORY, FILE, File, Holder, Port, Stat
from .inflated import Index, InflatedFile
from .segments import SegmentedFile, Stretch


class Member(NamedTuple):
    """A file in a container: ``size`` bytes at ``stretches`` of the ``file`` that holds them.

    Where ``is_packed``, these are gzip, and what is shown is inflated. The stretches may go on in ``more`` files, as if
    these followed.
    """

    name: str
    file: str
    stretches: Tuple[Stretch, ...]
    size: int
    is_packed: bool = False
    more: Tuple[str, ...] = ()


def joined(name: str, members: Sequence[Member]) -> Member:
    """The members of one container, one after the other, as one."""
    files = tuple(dict.fromkeys(member.file for member in members))
    stretches: List[Stretch] = []
    size = 0
    for member in members:
        # Either all are in one file, or each is one.
        base = size if len(files) > 1 else 0
        stretches += [(size + start, length, base + place) for start, length, place in member.stretches]
        size += member.size
    return Member(name, files[0], tuple(stretches), size, more=files[1:])


@dataclass(frozen=True)
class Container:
    """What is at ``path`` with its members. Where ``is_packed``, all of the file is gzip; ``indexes`` are kept for all
    who open it.
    """

    path: str
    members: Tuple[Member, ...]
    indexes: Dict[str, Index]
    is_packed: bool = False

    def port(self, port: Port) -> Port:
        """The port that shows the members."""
        shown: Any = MemberPort(port, self)
        return shown


def inflated(file: ByteSource, indexes: Dict[str, Index], name: str) -> InflatedFile:
    """``file`` inflated, by the index that is kept under ``name``; it is closed when that fails."""
    try:
        shown = InflatedFile(file, indexes.get(name))
    except BaseException:
        file.close()
        raise
    indexes[name] = shown.index
    return shown


class MemberPort:
    """``Port`` for what is in a container; all else is left to the real one. Nothing in a container is changed."""

    shows_members = True

    def __init__(self, port: Port, container: Container) -> None:
        self._port = port
        self._container = container
        self._files = {f"{container.path}/{member.name}": member for member in container.members}
        self._folders: Set[str] = {container.path}
        for path in self._files:
            while len(path) > len(container.path):
                path = posixpath.dirname(path)
                self._folders.add(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def _is_inside(self, path: str) -> bool:
        return path == self._container.path or path.startswith(self._container.path + "/")

    def open_read(self, path: str) -> File:
        """Open a member, or a file of the host."""
        real = self.real_path(path)
        member = self._files.get(real)
        if member is None:
            if self._is_inside(real) and real != self._container.path:
                raise NotFound(f"There is no {path} in the container", path=path)
            return self._port.open_read(path)
        source: ByteSource = self._port.open_read(member.file) if not member.more else self._joined(real, member)
        if self._container.is_packed:
            source = inflated(source, self._container.indexes, "")
        shown = SegmentedFile(real, source, member.stretches, member.size)
        if not member.is_packed:
            return shown
        whole = inflated(shown, self._container.indexes, member.name)
        return SegmentedFile(real, whole, ((0, whole.size(), 0),), whole.size())

    def _joined(self, path: str, member: Member) -> ByteSource:
        from ..._formats.pieces import open_pieces

        return open_pieces(self._port, path, (member.file, *member.more))

    def real_path(self, path: str) -> str:
        """The path without links; there are none in a container."""
        clean = posixpath.normpath(path) if self._is_inside(path) else path
        return clean if self._is_inside(clean) else self._port.real_path(clean)

    def stat(self, path: str) -> Optional[Stat]:
        """Facts of a member or of a file of the host. The container itself is a folder."""
        real = self.real_path(path)
        if not self._is_inside(real):
            return self._port.stat(path)
        whole = self._port.stat(self._container.path)
        if whole is None or not (real in self._files or real in self._folders):
            return None
        number = 1 + sorted([*self._files, *self._folders]).index(real)
        kind = FILE if real in self._files else DIRECTORY
        fields = {name: getattr(whole, name) for name in Stat.__fields__}  # type: ignore[attr-defined]
        # Members are told apart by numbers that no inode has.
        fields.update(kind=kind, size=self._size(real), inode=-(whole.inode * 100_000 + number), links=1)
        return Stat(**fields)

    lstat = stat

    def _size(self, path: str) -> int:
        member = self._files.get(path)
        if member is None or not member.is_packed:
            return 0 if member is None else member.size
        self.open_read(path).close()
        return self._container.indexes[member.name].size

    def list_directory(self, path: str) -> List[str]:
        """The names in a folder, sorted."""
        real = self.real_path(path)
        if not self._is_inside(real):
            return self._port.list_directory(path)
        known = [*self._files, *self._folders]
        return sorted({posixpath.basename(one) for one in known if posixpath.dirname(one) == real})

    def writers(self, path: str) -> Tuple[Holder, ...]:
        """Who writes the container, or a file of the host."""
        return () if self._is_inside(path) else self._port.writers(path)

    def holders(self, paths: Any) -> Tuple[Tuple[str, Holder], ...]:
        """Who holds files of the host; a member is held by nobody."""
        return self._port.holders([path for path in paths if not self._is_inside(path)])
