# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``MemoryPort``: the whole port in memory, honest enough for every test, recording all effects and failing on demand.

::

    port = MemoryPort()
    port.plant_file("/vm/disk.hdd/DiskDescriptor.xml", b"...")     set a scene; not recorded, never fails
    recording = port.record()                                      from here on effects are kept
    port.fail_call(7, "ENOSPC", partial=100)                       the seventh call fails, a write after 100 bytes
    port.plant_holder("/vm/disk.hdd", Holder("write", "qemu"))     somebody else holds it
    port.set_free_space(1 << 20)                                   writing more than this raises NoSpace

The clock is a counter that moves only when something is written, so equal times prove that nothing was. Names and sizes
follow the rules of Linux; an unlinked file lives on while it is open; a reserved range counts as allocated, but not as
data.
"""

from __future__ import annotations

import errno
import posixpath
import threading
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError, Escape, InUse
from ansible_collections.vdisk.parallels.plugins.module_utils._io.failures import not_regular, translated
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host.names import Pins
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import (
    DIRECTORY,
    FILE,
    OTHER,
    SYMLINK,
    File,
    Holder,
    Stat,
)
from ansible_collections.vdisk.parallels.tests.support.memory_file import (
    CREATE,
    EXCHANGE,
    MKDIR,
    RENAME,
    RMDIR,
    SET_ATTRIBUTES,
    SYNCDIR,
    UNLINK,
    Effect,
    MemoryFile,
    refused,
)
from ansible_collections.vdisk.parallels.tests.support.memory_tree import PAGE, ROOT, Entry, Node, Tree, patches

_UNLIMITED = 1 << 50


class Recording(NamedTuple):
    """A tree, all of it on the medium, and what was done to it since."""

    initial: Tree
    effects: List[Effect]


class _Fault(NamedTuple):
    call: int
    errno_name: str
    partial: Optional[int]
    sticky: bool


class MemoryLock:
    """A hold on inodes of a MemoryPort."""

    def __init__(self, held: Dict[int, str], inodes: Dict[int, str]) -> None:
        self.warnings: Tuple[str, ...] = ()
        self._held = held
        self._inodes = inodes
        held.update(inodes)

    def release(self) -> None:
        for inode in self._inodes:
            self._held.pop(inode, None)
        self._inodes = {}


class MemoryPort:
    """A file system in memory. Implements ``Port``."""

    def __init__(
        self, tree: Optional[Tree] = None, *, exchanges: bool = True, kernel_copies: bool = True, punches: bool = True
    ) -> None:
        self.tree = Tree() if tree is None else tree
        self.exchanges = exchanges
        self.kernel_copies = kernel_copies
        self.kernel_shares = False
        # How much a server copies in one call; a longer range is not finished.
        self.server_copies = 0
        self.kernel_clones = False
        self.punches = punches
        self.effects: List[Effect] = []
        self.calls: List[Tuple[str, str]] = []
        self.opened: Dict[int, int] = {}
        self.held: Dict[int, str] = {}
        self._refusals: Dict[str, DiskError] = {}
        self._removal_refusals: Dict[str, DiskError] = {}
        self.mutex = threading.RLock()
        self.origin: object = None
        self._clock = max(node.mtime_ns for node in self.tree.nodes.values())
        self._capacity: Optional[int] = None
        self._fault: Optional[_Fault] = None
        self._foreign: Dict[int, Tuple[Holder, ...]] = {}
        self._pins = Pins()
        self._most = 0o777

    # Setting a scene and looking at the outcome: none of this is recorded or counted.

    def record(self) -> Recording:
        """Forget earlier effects; the recording grows from now on."""
        self.effects = []
        return Recording(self.tree.fork(), self.effects)

    def fail_call(
        self, number: int, errno_name: str = "EIO", *, partial: Optional[int] = None, sticky: bool = False
    ) -> None:
        """Let the ``number``-th call from now on (counted from 1) fail; with ``sticky`` also all behind it.

        A write first puts ``partial`` bytes. ENOSPC and EDQUOT become NoSpace, most others IoFailure, as on the real
        port.
        """
        self._fault = _Fault(len(self.calls) + number, errno_name, partial, sticky)

    def set_free_space(self, size: Optional[int]) -> None:
        """So much may still be written; None for no limit."""
        self._capacity = None if size is None else self._used() + size

    def plant_directory(self, path: str) -> None:
        """Make a directory with all that lead to it."""
        whole = ""
        for part in _absolute(path).split("/")[1:]:
            whole += "/" + part
            if part and self.tree.find(whole).inode is None:
                self._plant(whole, DIRECTORY, 0o755)

    def plant_file(self, path: str, content: bytes = b"", mode: int = 0o644) -> None:
        """Put a file, with the directories that lead to it, in place of what is there."""
        self.plant_directory(posixpath.dirname(_absolute(path)))
        node = self.tree.own(self._plant(path, FILE, mode))
        node.apply(patches(0, content))
        node.size = len(content)

    def plant_link(self, path: str, target: str) -> None:
        """Put a symbolic link."""
        self._plant(path, SYMLINK, 0o777, target)

    def plant_other(self, path: str) -> None:
        """Put something that is neither file nor directory, such as a FIFO."""
        self._plant(path, OTHER, 0o644)

    def plant_holder(self, path: str, *holders: Holder) -> None:
        """Let somebody else hold a path; without ``holders`` nobody does any more."""
        self._foreign[self._existing(path, "hold").inode or ROOT] = holders

    def content(self, path: str) -> bytes:
        """All bytes of a file."""
        node = self.tree.nodes[self._existing(path, "read").inode or ROOT]
        return node.read(0, node.size)

    def listing(self) -> Dict[str, Optional[bytes]]:
        """Every path but the root, with the content of files and None for the rest."""
        nodes = self.tree.nodes
        return {
            path: nodes[i].read(0, nodes[i].size) if nodes[i].kind == FILE else None
            for path, i in self.tree.walk()
            if path
        }

    def _plant(self, path: str, kind: str, mode: int, target: str = "") -> int:
        entry = self.tree.find(_absolute(path), follow=False)
        self._pins.drop(posixpath.normpath(path))
        inode = self.tree.add(kind, mode=mode, mtime_ns=self._tick(), target=target)
        self.tree.own(entry.directory).entries[entry.name] = inode
        return inode

    # What the files of this port use.

    def called(self, name: str, path: str) -> None:
        """Count a call that may fail."""
        self.calls.append((name, path))
        fault = self._fault
        if fault is not None and (len(self.calls) == fault.call or (fault.sticky and len(self.calls) > fault.call)):
            raise refused(getattr(errno, fault.errno_name), name, path)

    def partial_write(self, length: int) -> int:
        """How much of a failing write arrives all the same."""
        return min(length, self._fault.partial or 0) if self._fault is not None else 0

    def own(self, inode: int) -> Node:
        """The node, to be changed now."""
        node = self.tree.own(inode)
        node.mtime_ns = self._tick()
        return node

    def did(self, effect: Effect) -> None:
        """Record."""
        self.effects.append(effect)

    def need_space(self, size: int, operation: str, path: str) -> None:
        """Raise NoSpace when ``size`` more bytes do not fit."""
        if self._capacity is not None and size > 0 and self._used() + size > self._capacity:
            raise refused(errno.ENOSPC, operation, path)

    def closed(self, inode: int) -> None:
        """One file less is open."""
        self.opened[inode] -= 1
        self._forget(inode)

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _used(self) -> int:
        return sum(node.allocated() for node in self.tree.nodes.values())

    def _forget(self, inode: Optional[int]) -> None:
        """Drop an inode that has neither a name nor an open file."""
        if inode is None or self.opened.get(inode):
            return
        if (
            not any(inode in node.entries.values() for node in self.tree.nodes.values() if node.kind == DIRECTORY)
            and inode != ROOT
        ):
            self.tree.nodes.pop(inode, None)

    def _find(self, path: str, operation: str, *, follow: bool = True) -> Entry:
        try:
            if "\0" in path:
                raise ValueError("embedded null byte")
            return self.tree.find(_absolute(path), follow=follow)
        except (OSError, ValueError) as error:
            raise translated(error, operation, path) from error

    def _existing(self, path: str, operation: str, *, follow: bool = True) -> Entry:
        entry = self._find(path, operation, follow=follow)
        if entry.inode is None:
            raise refused(errno.ENOENT, operation, path)
        return entry

    def _set(
        self,
        kind: str,
        inode: int,
        path: str,
        *entries: Tuple[Entry, Optional[int]],
        attributes: Tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        """Point names at inodes and record it as one effect."""
        directories = {entry.directory for entry, _inode in entries}
        for entry, target in entries:
            names = self.own(entry.directory).entries
            if target is None:
                names.pop(entry.name, None)
            else:
                names[entry.name] = target
        # A directory that comes or goes orders what happens in it before and after; one that only moves does not.
        replaced = [entry.inode for entry, _inode in entries if kind == RENAME and entry.inode not in (None, inode)]
        for number in ([inode] if kind in (MKDIR, RMDIR) else []) + replaced:
            if self.tree.nodes[number].kind == DIRECTORY:
                directories.add(number)
        changes = tuple((entry.directory, entry.name, target) for entry, target in entries)
        self.did(
            Effect(kind, inode, path, entries=changes, directories=tuple(sorted(directories)), attributes=attributes)
        )
        for entry, _inode in entries:
            self._forget(entry.inode)

    # The port.

    def open_read(self, path: str) -> MemoryFile:
        return self._opened("open_read", path, False)

    def open_write(self, path: str) -> MemoryFile:
        return self._opened("open_write", path, True)

    def _opened(self, name: str, path: str, writable: bool) -> MemoryFile:
        self.called(name, path)
        inode = self._existing(path, "open").inode or ROOT
        self._refuse_links(path)
        self._pins.check(posixpath.normpath(path), (1, inode))
        kind = self.tree.nodes[inode].kind
        if kind != FILE:
            raise not_regular(path, kind)
        return MemoryFile(self, path, inode, writable)

    def _refuse_links(self, path: str) -> None:
        """As the host's handles do: no link on the way, and none at the end."""
        whole = posixpath.normpath(_absolute(path))
        if self.real_path(whole) != whole:
            raise Escape("There is a link where a file or folder should be", path=path, hint="Remove the link.")

    def cover(self, mode: int = 0o777, like: Sequence[str] = ()) -> None:
        self._most &= mode
        for path in like:
            self._most &= self.tree.nodes[self._existing(path, "look at").inode or ROOT].mode | 0o600

    def forget(self, directory: str) -> None:
        self._pins.forget(directory)

    def create(self, path: str, mode: int = 0o666) -> MemoryFile:
        self.called("create", path)
        entry = self._absent(path, "create")
        mode &= ~0o022 & self._most
        self._pins.drop(posixpath.normpath(path))
        inode = self.tree.add(FILE, mode=mode, mtime_ns=self._tick())
        self._set(CREATE, inode, path, (entry, inode), attributes=(mode, 0, 0))
        return MemoryFile(self, path, inode, True)

    def clone(self, source: File, path: str, mode: int = 0o666) -> Optional[MemoryFile]:
        self.called("clone", path)
        self._absent(path, f"clone {source.path} to")
        if not self.kernel_clones or not isinstance(source, MemoryFile):
            return None
        file = self.create(path, mode)
        try:
            file.take_all(source)
        except DiskError:
            file.close()
            self.remove(path)
            raise
        return file

    def _absent(self, path: str, operation: str) -> Entry:
        entry = self._find(path, operation, follow=False)
        if entry.inode is not None:
            raise refused(errno.EEXIST, operation, path)
        if self.tree.nodes[entry.directory].kind != DIRECTORY:
            raise refused(errno.ENOTDIR, operation, path)
        return entry

    def stat(self, path: str) -> Optional[Stat]:
        return self._stat("stat", path, True)

    def lstat(self, path: str) -> Optional[Stat]:
        return self._stat("lstat", path, False)

    def _stat(self, name: str, path: str, follow: bool) -> Optional[Stat]:
        self.called(name, path)
        try:
            inode = self.tree.find(_absolute(path), follow=follow).inode
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise translated(error, "look at", path) from error
        if inode is None:
            return None
        node = self.tree.nodes[inode]
        if not follow:
            self._pins.see(posixpath.normpath(path), (1, inode))
        size, allocated = (node.size, node.allocated()) if node.kind != DIRECTORY else (PAGE, PAGE)
        return Stat(node.kind, size, allocated, 1, inode, node.mtime_ns, node.mode, node.uid, node.gid)

    def list_directory(self, path: str) -> List[str]:
        self.called("list_directory", path)
        node = self.tree.nodes[self._existing(path, "list").inode or ROOT]
        if node.kind != DIRECTORY:
            raise refused(errno.ENOTDIR, "list", path)
        return sorted(node.entries)

    def real_path(self, path: str) -> str:
        path = posixpath.normpath(_absolute(path)) if ".." not in path.split("/") else _absolute(path)
        missing: List[str] = []
        while True:
            try:
                entry = self.tree.find(path)
            except OSError:
                entry = None
            if entry is not None and entry.inode is not None:
                found = posixpath.join(self.tree.path_of(entry.directory), entry.name) if entry.name else "/"
                return posixpath.join(found, *missing)
            path, name = posixpath.split(path.rstrip("/"))
            missing.insert(0, name)

    def make_directory(self, path: str) -> None:
        self.called("make_directory", path)
        entry = self._absent(path, "create the directory")
        inode = self.tree.add(DIRECTORY, mode=0o755, mtime_ns=self._tick())
        self._set(MKDIR, inode, path, (entry, inode), attributes=(0o755, 0, 0))

    def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        self.called("rename", new)
        operation = f"rename {old} to"
        source = self._existing(old, operation, follow=False)
        target = self._find(new, operation, follow=False)
        moved = source.inode or ROOT
        if target.inode is not None and not replace:
            raise refused(errno.EEXIST, operation, new)
        if target.inode == moved:
            return
        if target.inode is not None:
            self._check_replaceable(self.tree.nodes[moved], self.tree.nodes[target.inode], operation, new)
        inside = posixpath.normpath(_absolute(new)).startswith(posixpath.normpath(_absolute(old)) + "/")
        if inside and self.tree.nodes[moved].kind == DIRECTORY:
            raise refused(errno.EINVAL, operation, new)
        self._check(old, moved)
        self._set(RENAME, moved, f"{old} -> {new}", (source, None), (target, moved))
        self._pins.move(posixpath.normpath(old), posixpath.normpath(new))

    def _check(self, path: str, inode: Optional[int]) -> None:
        self._refuse_links(posixpath.dirname(path))
        self._pins.check(posixpath.normpath(path), (1, inode or ROOT))

    @staticmethod
    def _check_replaceable(moved: Node, there: Node, operation: str, path: str) -> None:
        if there.kind == DIRECTORY and moved.kind != DIRECTORY:
            raise refused(errno.EISDIR, operation, path)
        if there.kind != DIRECTORY and moved.kind == DIRECTORY:
            raise refused(errno.ENOTDIR, operation, path)
        if there.entries:
            raise refused(errno.ENOTEMPTY, operation, path)

    def exchange(self, one: str, other: str) -> bool:
        self.called("exchange", other)
        if not self.exchanges:
            return False
        first, second = (self._existing(path, f"exchange {one} with", follow=False) for path in (one, other))
        self._check(one, first.inode)
        self._check(other, second.inode)
        self._pins.exchange(posixpath.normpath(one), posixpath.normpath(other))
        self._set(EXCHANGE, first.inode or ROOT, f"{one} <> {other}", (first, second.inode), (second, first.inode))
        return True

    def remove(self, path: str) -> None:
        self.called("remove", path)
        entry = self._find(path, "remove", follow=False)
        if entry.inode is None:
            return
        if self.tree.nodes[entry.inode].kind == DIRECTORY:
            raise refused(errno.EISDIR, "remove", path)
        self._pins.drop(posixpath.normpath(path))
        self._set(UNLINK, entry.inode, path, (entry, None))

    def remove_directory(self, path: str) -> None:
        self.called("remove_directory", path)
        entry = self._find(path, "remove the directory", follow=False)
        if entry.inode is None:
            return
        node = self.tree.nodes[entry.inode]
        if node.kind != DIRECTORY or node.entries:
            raise refused(errno.ENOTDIR if node.kind != DIRECTORY else errno.ENOTEMPTY, "remove the directory", path)
        self._pins.drop(posixpath.normpath(path))
        self._set(RMDIR, entry.inode, path, (entry, None))

    def sync_directory(self, path: str) -> None:
        self.called("sync_directory", path)
        inode = self._existing(path, "sync the directory").inode or ROOT
        if self.tree.nodes[inode].kind != DIRECTORY:
            raise refused(errno.ENOTDIR, "sync the directory", path)
        self.did(Effect(SYNCDIR, inode, path))

    def set_attributes(self, path: str, *, mode: int, uid: int, gid: int) -> None:
        self.called("set_attributes", path)
        inode = self._existing(path, "set the owner and mode of").inode or ROOT
        node = self.tree.own(inode)
        node.mode, node.uid, node.gid = mode, uid, gid
        self.did(Effect(SET_ATTRIBUTES, inode, path, attributes=(mode, uid, gid)))

    def shares_blocks(self, source: File, offset: int, directory: str) -> bool:
        assert offset % 4096 == 0
        try:
            self.called("shares_blocks", directory)
            self._existing(directory, "look at")
        except DiskError:
            return False
        return self.kernel_shares and isinstance(source, MemoryFile)

    def clones_files(self, path: str, directory: str) -> bool:
        self.called("clones_files", directory)
        return self.kernel_clones and None not in (self.stat(path), self.stat(directory))

    def free_space(self, path: str) -> int:
        self.called("free_space", path)
        self._existing(path, "measure the free space at")
        return _UNLIMITED if self._capacity is None else max(0, self._capacity - self._used())

    def write_refusal(self, path: str) -> Optional[DiskError]:
        return self._refusals.get(path)

    def removal_refusal(self, path: str) -> Optional[DiskError]:
        return self._removal_refusals.get(path)

    def plant_removal_refusal(self, path: str, error: DiskError) -> None:
        """Let the host say that it would not let this name go."""
        self._removal_refusals[path] = error

    def plant_refusal(self, path: str, error: DiskError) -> None:
        """Let the host say that it would refuse to write there."""
        self._refusals[path] = error

    def holders(self, paths: Sequence[str]) -> Tuple[Tuple[str, Holder], ...]:
        self.called("holders", next(iter(paths), "nothing"))
        return tuple((path, holder) for path in paths for holder in self._holders(path))

    def writers(self, path: str) -> Tuple[Holder, ...]:
        self.called("writers", path)
        return tuple(holder for holder in self._holders(path) if holder.kind == "write")

    def _holders(self, path: str) -> Tuple[Holder, ...]:
        inode = self._find(path, "look at").inode
        return self._foreign.get(inode, ()) if inode is not None else ()

    def lock(self, directories: Tuple[str, ...], files: Tuple[str, ...], *, for_reading: bool = False) -> MemoryLock:
        if for_reading:
            raise NotImplementedError("nobody is kept from reading in memory")
        self.called("lock", (directories + files + ("nothing",))[0])
        inodes = {}
        for path in directories + files:
            inode = self._existing(path, "lock").inode or ROOT
            foreign = self._foreign.get(inode, ()) or ((Holder("flock", "this process"),) if inode in self.held else ())
            if foreign:
                owner = foreign[0].owner
                raise InUse(
                    f"{path} is in use by {owner}",
                    path=path,
                    found=f"{foreign[0].kind}: {owner}",
                    hint=f"Stop {owner} or wait, then run again.",
                )
            inodes[inode] = path
        return MemoryLock(self.held, inodes)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else "/" + path
