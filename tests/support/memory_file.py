# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open files of a ``MemoryPort`` and the effects that it records."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Iterator, NamedTuple, Optional, Tuple, Union

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._io.failures import translated
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Buffer, File
from ansible_collections.vdisk.parallels.tests.support.memory_tree import PAGE, Node, patches

if TYPE_CHECKING:
    from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

MKDIR, CREATE, RENAME, EXCHANGE, UNLINK, RMDIR = "mkdir", "create", "rename", "exchange", "unlink", "rmdir"
WRITE, TRUNCATE, ALLOCATE, PUNCH, SET_ATTRIBUTES = "write", "truncate", "allocate", "punch", "set_attributes"
SYNC, SYNCDIR, SYNC_FAILED = "sync", "syncdir", "failed sync"


class Effect(NamedTuple):
    """Something that reaches the disk sooner or later, or a barrier (sync, syncdir), or a sync that failed and so was
    none.

    ``entries`` are the names it sets, as (directory, name, inode or None); ``directories`` all directories it has to do
    with. ``size`` is the new size (truncate), or the length (allocate, punch). ``attributes`` are mode, uid, gid.
    """

    kind: str
    inode: int
    path: str = ""
    offset: int = 0
    data: bytes = b""
    size: int = 0
    attributes: Tuple[int, int, int] = (0, 0, 0)
    entries: Tuple[Tuple[int, str, Optional[int]], ...] = ()
    directories: Tuple[int, ...] = ()

    def __str__(self) -> str:
        extent = {
            WRITE: f" {self.offset}+{len(self.data)}",
            TRUNCATE: f" {self.size}",
            ALLOCATE: f" {self.offset}+{self.size}",
        }
        extent[PUNCH] = extent[ALLOCATE]
        return f"{self.kind} {self.path}{extent.get(self.kind, '')}"


class MemoryFile:
    """An open file of a MemoryPort. Implements ``File``."""

    def __init__(self, port: MemoryPort, path: str, inode: int, writable: bool) -> None:
        self.path = path
        self.inode = inode
        self._port = port
        self._writable = writable
        self._open = True
        port.opened[inode] = port.opened.get(inode, 0) + 1

    def _node(self) -> Node:
        if not self._open:
            raise refused(errno.EBADF, "use", self.path)
        return self._port.tree.nodes[self.inode]

    def _own(self) -> Node:
        self._node()
        if not self._writable:
            raise refused(errno.EBADF, "write", self.path)
        return self._port.own(self.inode)

    def size(self) -> int:
        return self._node().size

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        self._port.called("pread_into", self.path)
        content = self._node().read(checked(offset, self.path), len(buffer))
        memoryview(buffer)[: len(content)] = content
        return len(content)

    def pwrite(self, offset: int, buffer: Buffer) -> None:
        content = bytes(buffer)
        with self._port.mutex:
            self._own()
            try:
                self._port.called("pwrite", self.path)
            except DiskError:
                self._put(offset, content[: self._port.partial_write(len(content))])
                raise
            self._put(checked(offset, self.path), content)

    def _put(self, offset: int, content: bytes) -> None:
        if not content:
            return
        node = self._own()
        parts = patches(offset, content)
        self._port.need_space(sum(1 for part in parts if not node.is_backed(part.index)) * PAGE, "write", self.path)
        node.apply(parts)
        node.size = max(node.size, offset + len(content))
        self._port.did(Effect(WRITE, self.inode, self.path, offset=offset, data=content))

    def truncate(self, size: int) -> None:
        self._port.called("truncate", self.path)
        with self._port.mutex:
            node = self._own()
            node.size = checked(size, self.path)
            node.cut()
            self._port.did(Effect(TRUNCATE, self.inode, self.path, size=size))

    def allocate(self, offset: int, length: int) -> None:
        self._port.called("allocate", self.path)
        if not length:
            return
        with self._port.mutex:
            node = self._own()
            planned = node.copy(object())
            planned.reserve(checked(offset, self.path), offset + length)
            self._port.need_space(planned.allocated() - node.allocated(), "reserve blocks of", self.path)
            node.reserved = planned.reserved
            node.size = max(node.size, offset + length)
            self._port.did(Effect(ALLOCATE, self.inode, self.path, offset=offset, size=length))

    def punch_hole(self, offset: int, length: int) -> bool:
        self._port.called("punch_hole", self.path)
        if length <= 0:
            return True
        if not self._port.punches:
            return False
        with self._port.mutex:
            node = self._own()
            node.punch(checked(offset, self.path), offset + length)
            self._port.did(Effect(PUNCH, self.inode, self.path, offset=offset, size=length))
        return True

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        self._port.called("data_ranges", self.path)
        node = self._node()
        end = min(end, node.size)
        begin = stop = start
        for index in sorted(index for index in node.pages if index * PAGE < end and (index + 1) * PAGE > start):
            if index * PAGE > stop:
                if begin < stop:
                    yield begin, stop
                begin = index * PAGE
            stop = min((index + 1) * PAGE, end)
        if begin < stop:
            yield begin, stop

    def copy_from(self, source: File, source_offset: int, offset: int, length: int) -> int:
        self._port.called("copy_from", self.path)
        if not self._port.kernel_copies or not isinstance(source, MemoryFile):
            return 0
        with self._port.mutex:
            content = source._node().read(source_offset, length)  # pylint: disable=protected-access
            self._put(offset, content)
        return len(content)

    def share_from(self, source: File, source_offset: int, offset: int, length: int) -> bool:
        self._port.called("share_from", self.path)
        if not self._port.kernel_shares or not isinstance(source, MemoryFile):
            return False
        assert not any(number % 4096 for number in (source_offset, offset, length))
        with self._port.mutex:
            content = source._node().read(source_offset, length)  # pylint: disable=protected-access
            assert len(content) == length, "the source ends within the range"
            self._put(offset, content)
        return True

    def copy_on_server(self, source: File, source_offset: int, offset: int, length: int) -> bool:
        self._port.called("copy_on_server", self.path)
        most = self._port.server_copies
        if not most or not isinstance(source, MemoryFile):
            return False
        with self._port.mutex:
            content = source._node().read(source_offset, min(length, most))  # pylint: disable=protected-access
            self._put(offset, content)
        return len(content) == length

    def take_all(self, source: MemoryFile) -> None:
        """Have what another file has, holes for holes, in steps that a crash may tear."""
        node = source._node()  # pylint: disable=protected-access
        for start, end in source.data_ranges(0, node.size):
            with self._port.mutex:
                self._put(start, node.read(start, end - start))
        self.truncate(node.size)

    def take_attributes(self, source: File) -> None:
        self._port.called("take_attributes", self.path)
        node = self._own()
        # Its file may be wrapped.
        model = self._port.tree.nodes[self._port.tree.find(source.path).inode or 0]
        node.mode, node.uid, node.gid = model.mode, model.uid, model.gid
        self._port.did(Effect(SET_ATTRIBUTES, self.inode, self.path, attributes=(model.mode, model.uid, model.gid)))

    def sync(self) -> None:
        self._node()
        try:
            self._port.called("sync", self.path)
        except DiskError:
            self._port.did(Effect(SYNC_FAILED, self.inode, self.path))
            raise
        self._port.did(Effect(SYNC, self.inode, self.path))

    def start_writeback(self, offset: int, length: int) -> None:
        self._node()

    def will_need(self, offset: int, length: int) -> None:
        self._node()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._port.closed(self.inode)


def checked(number: int, path: str) -> int:
    if not 0 <= number < 1 << 63:
        raise refused(errno.EINVAL, "use an offset of", path)
    return number


def refused(number: int, operation: str, path: str) -> DiskError:
    return translated(OSError(number, os.strerror(number)), operation, path)
