# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An enemy between two system calls: just before ``_io`` asks for a name, something else has that name.

The names are those that ``os`` and the C library are asked for, so a swap comes between every look and every use, also
within one call of the port. What is planted leads to a victim: files that the run's user may read and write, and the
owner of the disk may not. A victim is a copy of the file that it stands for, with other data, so that who follows it
is fooled.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._io import kernel
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

LINK, LINKED_FOLDER, OTHER_FILE = "link", "linked folder", "other file"
"""A link has the name; a link has the name of the folder around it; another file has the name, once it was seen."""
KINDS = (LINK, LINKED_FOLDER, OTHER_FILE)

SECRET = b"only root may know this. "
_NAMED = ("open", "stat", "mkdir", "rename", "unlink", "rmdir")
_IO = os.path.dirname(kernel.__file__) + os.sep
_MODE = 0o640

Facts = Tuple[int, int, int, int, bytes]


class Swapper:
    """While it is entered, what name number ``number`` (from 1; 0 for none) stands for is swapped before it is used.

    ``folder`` is the enemy's; victims and what was swapped away lie beside it.
    """

    def __init__(self, port: OsPort, folder: str, number: int = 0, kind: str = LINK) -> None:
        self.asked: List[str] = []
        self.has_swapped = False
        self._port = port
        self._folder = folder
        self._number = number
        self._kind = kind
        self._victims = f"{os.path.dirname(folder)}/victims"
        self._attic = f"{os.path.dirname(folder)}/attic"
        self._before: Dict[str, Facts] = {}
        self._saved: List[Tuple[Any, str, Any]] = []
        self._busy = False
        os.mkdir(self._victims)
        os.mkdir(self._attic)

    def __enter__(self) -> Swapper:
        for name in _NAMED:
            self._wrap(name)
        library = kernel._libc()  # pylint: disable=protected-access
        self._saved.append((kernel, "_library", library))
        kernel._library = _Library(library, self._renaming)  # pylint: disable=protected-access
        return self

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
                if len(self.asked) == self._number:
                    self._swap(whole)
        finally:
            self._busy = False

    # What the enemy does.

    def _swap(self, path: str) -> None:
        if self._kind == LINKED_FOLDER:
            path = os.path.dirname(path)
            if not path.startswith(f"{self._folder}/"):
                return
        elif os.path.dirname(path) == self._folder and self.asked.count(path) == 1:
            # A link that is there when the run begins is what the user named.
            return
        victim = f"{self._victims}/{os.path.basename(path)}"
        entry = os.lstat(path) if os.path.lexists(path) else None
        if self._kind == OTHER_FILE:
            # What it never saw it cannot know.
            if entry is None or not stat.S_ISREG(entry.st_mode) or not self._port.names.pins.knows(path):
                return
        _make_victim(path, victim)
        self._before = observed(self._victims)
        if entry is not None:
            os.rename(path, f"{self._attic}/{os.path.basename(path)}")
        if self._kind == OTHER_FILE:
            os.link(victim, path)
        else:
            os.symlink(victim, path)
        self.has_swapped = True

    def check(self) -> None:
        """The victims are as they were, and nothing of them is anywhere else."""
        now = observed(self._victims)
        assert now == self._before, sorted(set(now.items()) ^ set(self._before.items()))[:4]
        own = {os.lstat(path).st_ino for path in now}
        for top in (self._folder, self._attic):
            for path in _files(top):
                facts = os.lstat(path)
                if stat.S_ISREG(facts.st_mode) and facts.st_ino not in own:
                    with open(path, "rb") as stream:
                        assert SECRET not in stream.read(), f"{path} holds what only root may know"


def observed(top: str) -> Dict[str, Facts]:
    """Everything below a folder: kind and mode, owners, time of the last change of content, and content."""
    found = {}
    for path in _files(top):
        facts = os.lstat(path)
        content = b""
        if stat.S_ISREG(facts.st_mode):
            with open(path, "rb") as stream:
                content = stream.read()
        found[path] = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, content)
    return found


def _files(top: str) -> List[str]:
    return [top] + [os.path.join(at, name) for at, folders, files in os.walk(top) for name in folders + files]


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
