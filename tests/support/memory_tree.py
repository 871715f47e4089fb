# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tree of files in memory whose copies cost next to nothing.

Content lies in pages of immutable bytes. ``Tree.fork`` shares all inodes; whoever changes one first copies it (the
table of its pages, never the pages). So a crash explorer can hold tens of thousands of trees.
"""

from __future__ import annotations

import errno
import os
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import DIRECTORY, FILE, SYMLINK

PAGE = 4096
ZERO_PAGE = bytes(PAGE)
ROOT = 1
_MOST_LINKS = 40


class Patch(NamedTuple):
    """Bytes that go into one page, from ``within`` on."""

    index: int
    within: int
    content: bytes

    @property
    def start(self) -> int:
        """The offset in the file."""
        return self.index * PAGE + self.within


def patches(offset: int, content: bytes) -> List[Patch]:
    """A write, cut at page boundaries."""
    result = []
    position = 0
    while position < len(content):
        index, within = divmod(offset + position, PAGE)
        part = content[position : position + PAGE - within]
        result.append(Patch(index, within, ZERO_PAGE if part == ZERO_PAGE else part))
        position += len(part)
    return result


class Node:
    """A file, directory, link or something else.

    ``reserved`` are allocated ranges, which read as zeros and count as holes.
    """

    __slots__ = (
        "kind",
        "mode",
        "uid",
        "gid",
        "mtime_ns",
        "size",
        "pages",
        "reserved",
        "entries",
        "target",
        "owner",
        "_key",
    )

    def __init__(
        self, kind: str, *, mode: int, uid: int, gid: int, mtime_ns: int, owner: object, target: str = ""
    ) -> None:
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime_ns = mtime_ns
        self.size = len(target)
        self.pages: Dict[int, bytes] = {}
        self.reserved: Tuple[Tuple[int, int], ...] = ()
        self.entries: Dict[str, int] = {}
        self.target = target
        self.owner = owner
        self._key: Optional[int] = None

    def copy(self, owner: object) -> Node:
        """The same, to be changed by ``owner``."""
        node = Node(
            self.kind,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime_ns=self.mtime_ns,
            owner=owner,
            target=self.target,
        )
        node.size = self.size
        node.pages = dict(self.pages)
        node.reserved = self.reserved
        node.entries = dict(self.entries)
        return node

    def changed(self) -> None:
        """Forget what is derived from the content."""
        self._key = None

    def key(self) -> int:
        """Equal for equal content and attributes; the time does not count."""
        if self._key is None:
            pages = frozenset(self.pages.items())
            self._key = hash(
                (
                    self.kind,
                    self.mode,
                    self.uid,
                    self.gid,
                    self.size,
                    pages,
                    self.reserved,
                    frozenset(self.entries.items()),
                    self.target,
                )
            )
        return self._key

    def apply(self, parts: Iterable[Patch]) -> None:
        """Put bytes into pages; the size stays."""
        for index, within, content in parts:
            if len(content) != PAGE:
                old = self.pages.get(index, ZERO_PAGE)
                content = old[:within] + content + old[within + len(content) :]
            self.pages[index] = content

    def cut(self) -> None:
        """Drop what lies behind the end, so that it reads as zeros if the file grows again."""
        last, within = divmod(self.size, PAGE)
        if within and last in self.pages:
            self.pages[last] = self.pages[last][:within] + bytes(PAGE - within)
            last += 1
        elif within:
            last += 1
        behind = [index for index in self.pages if index >= last]
        for index in behind:
            del self.pages[index]
        end = last * PAGE
        self.reserved = tuple((begin, min(stop, end)) for begin, stop in self.reserved if begin < end)

    def punch(self, start: int, end: int) -> None:
        """Drop the whole pages of a range, reserved ones among them, and put zeros into the rest of it."""
        end = min(end, -(-self.size // PAGE) * PAGE)
        first, last = -(-start // PAGE), end // PAGE
        for index in [index for index in self.pages if start < (index + 1) * PAGE and index * PAGE < end]:
            if first <= index < last:
                del self.pages[index]
            else:
                low, high = max(start - index * PAGE, 0), min(end - index * PAGE, PAGE)
                self.pages[index] = self.pages[index][:low] + bytes(high - low) + self.pages[index][high:]
        low, high = first * PAGE, last * PAGE
        if low < high:
            parts = [(begin, min(stop, low)) for begin, stop in self.reserved] + [
                (max(begin, high), stop) for begin, stop in self.reserved
            ]
            self.reserved = tuple(sorted(part for part in parts if part[0] < part[1]))

    def reserve(self, start: int, end: int) -> None:
        """Allocate whole pages around the range."""
        start, end = start // PAGE * PAGE, -(-end // PAGE) * PAGE
        apart = [(begin, stop) for begin, stop in self.reserved if stop < start or begin > end]
        joined = [(begin, stop) for begin, stop in self.reserved if not (stop < start or begin > end)]
        start = min([start] + [begin for begin, _stop in joined])
        end = max([end] + [stop for _begin, stop in joined])
        self.reserved = tuple(sorted(apart + [(start, end)]))

    def allocated(self) -> int:
        """Bytes of the pages that are written or reserved."""
        outside = sum(1 for index in self.pages if not self._is_reserved(index))
        return outside * PAGE + sum(stop - begin for begin, stop in self.reserved)

    def is_backed(self, index: int) -> bool:
        """Whether a page needs no more space to be written."""
        return index in self.pages or self._is_reserved(index)

    def _is_reserved(self, index: int) -> bool:
        return any(begin <= index * PAGE < stop for begin, stop in self.reserved)

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes; fewer only at the end of the file."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first = offset // PAGE
        whole = b"".join([self.pages.get(index, ZERO_PAGE) for index in range(first, -(-end // PAGE))])
        return whole[offset - first * PAGE : end - first * PAGE]


class Entry(NamedTuple):
    """Where a path leads: the directory, the name in it, and the inode if there is one. The root has no name."""

    directory: int
    name: str
    inode: Optional[int]


class Tree:
    """Inodes by number, the root being 1."""

    def __init__(self) -> None:
        self.token = object()
        self.next_inode = ROOT + 1
        self.nodes: Dict[int, Node] = {ROOT: Node(DIRECTORY, mode=0o755, uid=0, gid=0, mtime_ns=0, owner=self.token)}

    def fork(self) -> Tree:
        """An independent tree with the same content."""
        other = Tree.__new__(Tree)
        other.token = object()
        other.next_inode = self.next_inode
        other.nodes = dict(self.nodes)
        # From now on nobody owns the shared nodes.
        self.token = object()
        return other

    def own(self, inode: int) -> Node:
        """The node, ours to change."""
        node = self.nodes[inode]
        if node.owner is not self.token:
            node = self.nodes[inode] = node.copy(self.token)
        node.changed()
        return node

    def add(
        self, node_kind: str, *, mode: int, mtime_ns: int = 0, target: str = "", inode: Optional[int] = None
    ) -> int:
        """A new inode without a name."""
        if inode is None:
            inode = self.next_inode
        self.next_inode = max(self.next_inode, inode + 1)
        self.nodes[inode] = Node(node_kind, mode=mode, uid=0, gid=0, mtime_ns=mtime_ns, owner=self.token, target=target)
        return inode

    def find(self, path: str, *, follow: bool = True) -> Entry:
        """Follow ``path`` from the root. OSError (ENOENT, ENOTDIR, ELOOP) when the way to the last name is barred."""
        return self._find([part for part in path.split("/") if part not in ("", ".")], follow, _MOST_LINKS)

    def _find(self, parts: List[str], follow: bool, links: int) -> Entry:
        trail = [Entry(ROOT, "", ROOT)]
        while parts:
            part = parts.pop(0)
            inode = trail[-1].inode
            if inode is None:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            node = self.nodes[inode]
            if node.kind != DIRECTORY:
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if part == "..":
                trail = trail[:-1] or trail
                continue
            found = Entry(inode, part, node.entries.get(part))
            target = self.nodes[found.inode] if found.inode is not None else None
            if target is None or target.kind != SYMLINK or (not parts and not follow):
                trail.append(found)
                continue
            links -= 1
            if not links:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if target.target.startswith("/"):
                trail = trail[:1]
            parts = [step for step in target.target.split("/") if step not in ("", ".")] + parts
        return trail[-1]

    def path_of(self, inode: int) -> str:
        """The path of a directory."""
        for path, found in self.walk():
            if found == inode:
                return path or "/"
        raise KeyError(inode)

    def walk(self, inode: int = ROOT, path: str = "") -> Iterator[Tuple[str, int]]:
        """Every path that the names make, with its inode; directories before what they hold.

        The root is the empty path.
        """
        yield path, inode
        node = self.nodes[inode]
        if node.kind == DIRECTORY:
            for name, child in sorted(node.entries.items()):
                yield from self.walk(child, f"{path}/{name}")

    def settle(self) -> None:
        """What a mount after a crash does: forget inodes without a name and bytes behind the end of a file."""
        reached = set()
        open_ends = [ROOT]
        while open_ends:
            inode = open_ends.pop()
            if inode not in reached:
                reached.add(inode)
                open_ends.extend(self.nodes[inode].entries.values())
        for inode in [inode for inode in self.nodes if inode not in reached]:
            del self.nodes[inode]
        for node in self.nodes.values():
            if node.owner is self.token and node.kind == FILE:
                node.cut()

    def key(self) -> int:
        """Equal for trees with the same content, names and attributes."""
        return hash(frozenset((inode, node.key()) for inode, node in self.nodes.items()))
