# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An enemy between two system calls: just before ``_io`` asks for a name, something else has that name.

The names are those that ``os`` and the C library are asked for, so a swap comes between every look and every use, also
within one call of the port, and in processes that the run starts. What is planted leads to a victim: files that the
run's user may read and write, and the owner of the disk may not. A victim is a copy of the file that it stands for,
with other data, so that who follows it is fooled. Or it is something that keeps who opens it waiting for ever.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import stat
import struct
import sys
import zlib
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._io import kernel
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host.names import Names, Pins
from ansible_collections.vdisk.parallels.tests.support.sockets import make_socket

LINK, LINKED_FOLDER, OTHER_FILE = "link", "linked folder", "other file"
"""A link has the name; a link has the name of the folder around it; another file, which is the victim itself under a
second name, has the name once it was seen.
"""
KINDS = (LINK, LINKED_FOLDER, OTHER_FILE)
FIFO, SOCKET, DEVICE = "FIFO", "socket", "device"
"""What has no end, or no beginning, for whoever opens it."""
STRANGE = (FIFO, SOCKET, DEVICE)

SECRET = b"only root may know this. "
_NAMED = ("open", "stat", "mkdir", "rename", "unlink", "rmdir")
_IO = os.path.dirname(kernel.__file__) + os.sep
_MODE = 0o640
_MOST_FRAMES = 7

Facts = Tuple[Any, ...]


class Asked(NamedTuple):
    """A name that was asked for, and by what code, as the names of its functions say."""

    path: str
    site: str


class Swapper:
    """While it is entered, what name number ``number`` (from 1; 0 for none) stands for is swapped before it is used.

    ``folder`` is the enemy's; victims and what was swapped away lie beside it. ``named`` are the paths that the user
    names; left out, all that lies in ``folder`` itself.
    """

    def __init__(
        self, folder: str, number: int = 0, kind: str = LINK, *, named: Optional[Sequence[str]] = None
    ) -> None:
        self.asked: List[str] = []
        self._names: List[Names] = []
        self._folder = folder
        self._number = number
        self._kind = kind
        self._named = named
        base = os.path.dirname(folder)
        self._victims, self._attic, self._note, self._record = (
            f"{base}/{name}" for name in ("victims", "attic", "before", "asked")
        )
        # Shared with the processes that the run starts.
        self._count = mmap.mmap(-1, 9)
        self._saved: List[Tuple[Any, str, Any]] = []
        self._busy = False
        os.mkdir(self._victims)
        os.mkdir(self._attic)

    def __enter__(self) -> Swapper:
        for name in _NAMED:
            self._wrap(name)
        self._wrap_binding()
        self._wrap_making()
        library = kernel._libc()  # pylint: disable=protected-access
        self._saved.append((kernel, "_library", library))
        kernel._library = _Library(library, self._renaming)  # pylint: disable=protected-access
        return self

    @property
    def count(self) -> int:
        """How many names were asked for, by all processes."""
        return int(struct.unpack("<Q", self._count[:8])[0])

    @property
    def has_swapped(self) -> bool:
        """Whether something was swapped."""
        return os.path.exists(self._note)

    @property
    def is_second_name_seen_first(self) -> bool:
        """Whether somebody has looked anew since a victim got its second name: it is the file of that name then."""
        return self._kind == OTHER_FILE and self._count[8:9] == b"\1"

    def sites(self) -> List[Asked]:
        """What all processes asked for, if nothing was to be swapped."""
        with open(self._record, encoding="utf-8", errors="surrogateescape") as stream:
            return [Asked(*line.rstrip("\n").split("\t")) for line in stream]

    def __exit__(self, *error: object) -> None:
        for module, name, original in reversed(self._saved):
            setattr(module, name, original)

    def _wrap(self, name: str) -> None:
        original = getattr(os, name)
        self._saved.append((os, name, original))

        def wrapper(path: Any, *arguments: Any, **options: Any) -> Any:
            # pylint: disable-next=protected-access
            if not self._busy and sys._getframe(1).f_code.co_filename.startswith(_IO):
                handle = options.get("dir_fd", options.get("src_dir_fd"))
                self._ask(path, handle, original=original)
                if name == "rename":
                    self._ask(arguments[0], options.get("dst_dir_fd"), original=original)
            return original(path, *arguments, **options)

        setattr(os, name, wrapper)

    def _wrap_binding(self) -> None:
        """A name that a socket gets is a name, too."""
        original = socket.socket.bind
        self._saved.append((socket.socket, "bind", original))
        swapper = self

        def bind(self: socket.socket, address: Any) -> None:
            if isinstance(address, str) and not swapper._busy:
                # pylint: disable-next=protected-access
                swapper._ask(os.path.join(os.getcwd(), address), None)
            original(self, address)

        socket.socket.bind = bind  # type: ignore[method-assign,assignment]

    def _wrap_making(self) -> None:
        """Whoever looks at names tells which ones it has seen."""
        original = Names.__init__
        self._saved.append((Names, "__init__", original))
        known = self._names

        def made(self: Names) -> None:
            original(self)
            known.append(self)

        Names.__init__ = made  # type: ignore[method-assign]
        forget = Pins.forget
        self._saved.append((Pins, "forget", forget))
        swapper = self

        def forgotten(self: Pins, directory: str) -> None:
            forget(self, directory)
            if swapper.has_swapped:
                swapper._count[8:] = b"\1"

        Pins.forget = forgotten  # type: ignore[method-assign]

    def _renaming(self, above: int, old: bytes, folder: int, new: bytes) -> None:
        self._ask(os.fsdecode(old), above)
        self._ask(os.fsdecode(new), folder)

    def _ask(self, path: Any, handle: Optional[int], original: Optional[Callable[..., Any]] = None) -> None:
        if not isinstance(path, str) or (handle is None and not path.startswith("/")):
            return
        self._busy = True
        try:
            whole = path if handle is None else os.path.join(os.readlink(f"/proc/self/fd/{handle}"), path)
            whole = os.path.normpath(whole)
            if whole.startswith((f"{self._folder}/", self._attic)) and not whole.endswith(" (deleted)"):
                self.asked.append(whole)
                number = self.count + 1
                self._count[:8] = struct.pack("<Q", number)
                if number == self._number:
                    self._swap(whole)
                elif not self._number:
                    self._tell(whole)
        finally:
            self._busy = False

    def _tell(self, path: str) -> None:
        frame, functions = sys._getframe(3), []  # pylint: disable=protected-access
        while frame is not None and len(functions) < _MOST_FRAMES:
            code = frame.f_code
            functions.append(f"{os.path.basename(code.co_filename)}:{code.co_name}")
            frame = frame.f_back  # type: ignore[assignment]
        with open(self._record, "a", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(f"{path}\t{' '.join(functions)}\n")

    # What the enemy does.

    def _swap(self, path: str) -> None:
        if self._kind == LINKED_FOLDER:
            path = os.path.dirname(path)
            if not path.startswith(f"{self._folder}/"):
                return
        elif self._kind == LINK and self._is_named(path) and not any(one.pins.led(path) for one in self._names):
            # A link that is there before the path of the user is resolved is what the user named.
            return
        entry = os.lstat(path) if os.path.lexists(path) else None
        if self._kind == OTHER_FILE:
            # What it never saw it cannot know.
            if entry is None or not stat.S_ISREG(entry.st_mode) or not any(one.pins.knows(path) for one in self._names):
                return
        self.plant(path)

    def _is_named(self, path: str) -> bool:
        return os.path.dirname(path) == self._folder if self._named is None else path in self._named

    def plant(self, path: str) -> None:
        """Put what is of the kind under a name; what has it goes to the attic."""
        victim = f"{self._victims}/{os.path.basename(path)}"
        _make_victim(path, victim)
        if os.path.lexists(path):
            os.rename(path, f"{self._attic}/{os.path.basename(path)}")
        if self._kind in STRANGE:
            _make_strange(path, self._kind)
        elif self._kind == OTHER_FILE:
            os.link(victim, path)
        else:
            os.symlink(victim, path)
        with open(self._note, "wb") as stream:
            pickle.dump(observed(self._victims), stream)

    def check(self) -> None:
        """The victims are as they were, and nothing of them is anywhere else."""
        self.check_victims()
        if not self.is_second_name_seen_first:
            self.check_elsewhere()

    def check_elsewhere(self) -> None:
        """Nothing of the victims is anywhere else."""
        own = {os.lstat(path).st_ino for path in observed(self._victims)}
        for top in (self._folder, self._attic):
            for path in _files(top):
                facts = os.lstat(path)
                if stat.S_ISREG(facts.st_mode) and facts.st_ino not in own:
                    assert SECRET not in _content(path), f"{path} holds what only root may know"

    def check_victims(self) -> None:
        """Content, owner, mode, attributes and times of the victims are as they were, and nothing is beside them."""
        with open(self._note, "rb") as stream:
            before = pickle.load(stream)
        now = observed(self._victims)
        if self._kind == OTHER_FILE:
            # The removal of its second name is a change of the file, for the kernel.
            before, now = ({path: facts[:-1] for path, facts in one.items()} for one in (before, now))
        changed = sorted({path for path, _facts in now.items() ^ before.items()})
        assert not changed, f"changed: {changed}"


def observed(top: str) -> Dict[str, Facts]:
    """Everything below a folder: kind and mode, owners, time of the last change of content, content, attributes, and
    time of the last change of anything.
    """
    found = {}
    for path in _files(top):
        facts = os.lstat(path)
        content = b""
        if stat.S_ISREG(facts.st_mode):
            with open(path, "rb") as stream:
                content = stream.read()
        own = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, content)
        found[path] = (*own, _attributes(path), facts.st_ctime_ns)
    return found


def _attributes(path: str) -> Tuple[Tuple[str, bytes], ...]:
    names = os.listxattr(path, follow_symlinks=False) if hasattr(os, "listxattr") else []
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)


def _content(path: str) -> bytes:
    """What a file says, unpacked where it is packed."""
    with open(path, "rb") as stream:
        content = stream.read()
    if content[:3] != b"\x1f\x8b\x08":
        return content
    unpacker = zlib.decompressobj(31)
    try:
        return unpacker.decompress(content)
    except zlib.error:
        return content


def _files(top: str) -> List[str]:
    return [top] + [os.path.join(at, name) for at, folders, files in os.walk(top) for name in folders + files]


def _make_strange(path: str, kind: str) -> None:
    if kind == DEVICE:
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
            return
        except OSError:
            # Only root makes devices, and not in every container.
            pass
    if kind == SOCKET:
        make_socket(path)
    else:
        os.mkfifo(path, 0o666)


def _make_victim(path: str, victim: str) -> None:
    """A file or folder as there is at ``path``, of root's own: names, headers and tables are the same, data are not."""
    if os.path.isdir(path) and not os.path.islink(path):
        os.mkdir(victim, 0o700)
        for name in os.listdir(path):
            _make_victim(f"{path}/{name}", f"{victim}/{name}")
        return
    content = b""
    if os.path.isfile(path):
        with open(path, "rb") as stream:
            content = stream.read()
    with open(victim, "wb") as stream:
        stream.write(_told(content))
    os.chmod(victim, _MODE)


def _told(content: bytes) -> bytes:
    if content[:4] == b"With":
        (start,) = struct.unpack_from("<I", content, 48)
        start = start * 512 or 4096
        return content[:start] + _repeated(len(content) - start)
    if content[:1] in (b"<", b"{"):
        return content + b"\n<!-- " + SECRET + b" -->" if content[:1] == b"<" else content + SECRET
    return _repeated(len(content) or 8192)


def _repeated(length: int) -> bytes:
    return (SECRET * (length // len(SECRET) + 1))[: max(0, length)]


class _Library:
    """The C library; who renames by it is told on before."""

    def __init__(self, library: Any, before: Callable[[int, bytes, int, bytes], None]) -> None:
        self._library = library
        self._before = before

    def __getattr__(self, name: str) -> Any:
        original = getattr(self._library, name)
        if name != "renameat2":
            return original

        def renaming(above: int, old: bytes, folder: int, new: bytes, flags: int) -> int:
            self._before(above, old, folder, new)
            return int(original(above, old, folder, new, flags))

        return renaming
