# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of files on the host, for a run that somebody may try to mislead while it works.

::

    /vms/mac.hdd/disk.hds      the folder is opened once, part by part, links refused, and its handle is kept;
    `----------' `------'      the name is looked up in that handle, links refused,
       handle      name        and what is opened must be the file that the name stood for at first

What a name stood for (device and inode) is pinned at first sight. What this run itself creates, renames, exchanges or
removes moves the pins. Paths are absolute and without links; who is given others resolves them once, before.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import os
import stat as modes
from collections import OrderedDict
from typing import Dict, Iterable, List, Optional, Tuple

from ..._core.errors import Escape, StalePlan
from .. import kernel
from ..kernel import release, repeated

# O_PATH and O_SEARCH ask for no more than a path does: the right to pass through.
_PASS = getattr(os, "O_PATH", getattr(os, "O_SEARCH", os.O_RDONLY))
_FOLDER = _PASS | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
# O_NONBLOCK: a FIFO, or a device without a medium, must not make us wait.
_FILE = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
_LINKED = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)
_MOST_HANDLES = 24
_NOTHING = (-1, -1)

Identity = Tuple[int, int]


class Pins:
    """Which file each name stands for, and where paths with links lead, by folder."""

    def __init__(self) -> None:
        self._seen: Dict[str, Dict[str, Identity]] = {}
        self._leads: Dict[str, Dict[str, str]] = {}

    def lead(self, path: str, to: str) -> str:
        """Where a path leads; StalePlan when it led elsewhere before."""
        if self._leads.setdefault(path.rpartition("/")[0], {}).setdefault(path, to) != to:
            hint = "Find out who changes the folder, and run again."
            raise StalePlan("Somebody changed where a path leads while this run was at work", path=path, hint=hint)
        self._leads.setdefault(to.rpartition("/")[0], {}).setdefault(to, to)
        return to

    def led(self, path: str) -> Optional[str]:
        """Where a path led; None for one that was not resolved yet."""
        return self._leads.get(path.rpartition("/")[0], {}).get(path)

    def see(self, path: str, found: Identity) -> bool:
        """Pin a name at first sight; whether it stands for the same file as then."""
        return self._names(path).setdefault(path, found) == found

    def check(self, path: str, found: Identity) -> None:
        """The same, but raise StalePlan when it does not."""
        if not self.see(path, found):
            raise StalePlan(
                "Somebody put another file under a name while this run was at work; it was not touched",
                path=path,
                hint="Find out who changes the folder, and run again.",
            )

    def knows(self, path: str) -> bool:
        """Whether a name is pinned."""
        return path in self._names(path)

    def drop(self, path: str) -> None:
        """The name is gone."""
        self._names(path).pop(path, None)
        self._leads.get(path.rpartition("/")[0], {}).pop(path, None)

    def forget(self, directory: str) -> None:
        """Forget all names in a folder and below."""
        for folder in _at_or_below(self._seen, directory):
            del self._seen[folder]
        for folder in _at_or_below(self._leads, directory):
            del self._leads[folder]

    def move(self, old: str, new: str) -> None:
        """A file or folder has another name."""
        self._move_all([(old, new)])

    def exchange(self, one: str, other: str) -> None:
        """Two files or folders have changed their names."""
        self._move_all([(one, other), (other, one)])

    def _names(self, path: str) -> Dict[str, Identity]:
        folder = path.rpartition("/")[0]
        names = self._seen.get(folder)
        if names is None:
            names = self._seen[folder] = {}
        return names

    def _move_all(self, renamed: List[Tuple[str, str]]) -> None:
        moved = {}
        for old, new in renamed:
            below = [path for folder in _at_or_below(self._seen, old) for path in self._seen[folder]]
            for path in [*below, *([old] if self.knows(old) else [])]:
                moved[new + path[len(old) :]] = self._names(path).pop(path)
        for path in dict.fromkeys(one for both in renamed for one in both):
            self.drop(path)
            self.forget(path)
        for path, found in moved.items():
            self._names(path)[path] = found


def _at_or_below(folders: Iterable[str], directory: str) -> List[str]:
    start = directory.rstrip("/")
    return [one for one in folders if one == start or one.startswith(start + "/")]


class Names:
    """The names of the host as one run sees them. Methods raise OSError, or Escape and StalePlan."""

    def __init__(self) -> None:
        self.pins = Pins()
        self._handles: OrderedDict[str, int] = OrderedDict()

    def __del__(self) -> None:
        try:
            self.close()
        except (AttributeError, TypeError):
            # The interpreter is ending, and with it all descriptors.
            pass

    def close(self) -> None:
        """Close all handles; they are opened again when they are needed."""
        while self._handles:
            release(self._handles.popitem()[1])

    def folder(self, path: str) -> int:
        """The handle of a folder; it is good until the next but one is asked for."""
        handle = self._handles.get(path)
        if handle is not None:
            self._handles.move_to_end(path)
            return handle
        whole = _absolute(path)
        if whole != path:
            return self.folder(whole)
        handle = self._walk(path)
        try:
            self.pins.check(path, identity(os.fstat(handle)))
        except BaseException:
            release(handle)
            raise
        self._handles[path] = handle
        if len(self._handles) > _MOST_HANDLES:
            release(self._handles.popitem(last=False)[1])
        return handle

    def _walk(self, path: str) -> int:
        """Open a folder from the deepest one above it that is open."""
        start, parts = path, []
        while start != "/" and start not in self._handles:
            start, _slash, name = start.rpartition("/")
            start = start or "/"
            parts.append(name)
        kept = self._handles.get(start)
        handle = os.open("/", _FOLDER) if kept is None else kept
        while parts:
            above = handle
            try:
                handle = _stepped(above, parts.pop(), path)
            finally:
                if above != kept:
                    release(above)
        return handle

    def place(self, path: str) -> Tuple[int, str, str]:
        """The handle of the folder that ``path`` is in, its name there, and the path as pins know it."""
        directory, _slash, name = path.rpartition("/")
        if name in ("", ".", "..") or directory not in self._handles:
            path = _absolute(path)
            directory, _slash, name = path.rpartition("/")
        return self.folder(directory or "/"), name or ".", path

    def look(self, path: str) -> Optional[os.stat_result]:
        """What lies under a name, links not followed; None for nothing. It is pinned."""
        try:
            folder, name, path = self.place(path)
            facts = repeated(os.stat, name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        self.pins.see(path, identity(facts))
        return facts

    def resolve(self, path: str) -> str:
        """Where a path leads; its folders lead where they led before, whatever they are now."""
        names: List[str] = []
        known = path
        while known and (not names or self.pins.led(known) is None):
            known, _slash, name = known.rpartition("/")
            names.append(name)
        if not known or any(name in ("", ".", "..") for name in names):
            return self.pins.lead(path, os.path.realpath(path))
        here = self.pins.led(known) or known
        while names:
            here = self._step(f"{here.rstrip('/')}/{names.pop()}")
        return self.pins.lead(path, here)

    def _step(self, path: str) -> str:
        facts = self.look(path)
        if facts is None or not modes.S_ISLNK(facts.st_mode):
            return path
        self.pins.check(path, identity(facts))
        folder, name, _path = self.place(path)
        return os.path.realpath(os.path.join(path.rpartition("/")[0], os.readlink(name, dir_fd=folder)))

    def open(self, path: str, flags: int) -> Tuple[int, os.stat_result]:
        """Open what a name stands for."""
        folder, name, path = self.place(path)
        try:
            descriptor = os.open(name, flags | _FILE, dir_fd=folder)
        except OSError as error:
            if error.errno in _LINKED and _is_link(folder, name):
                raise _link(path) from error
            raise
        return descriptor, self._checked(path, descriptor)

    def _checked(self, path: str, descriptor: int) -> os.stat_result:
        try:
            facts = os.fstat(descriptor)
            self.pins.check(path, identity(facts))
        except BaseException:
            release(descriptor)
            raise
        return facts

    def open_folder(self, path: str) -> int:
        """A descriptor of a folder to list, sync or lock."""
        return os.open(".", _LISTED, dir_fd=self.folder(path))

    def create(self, path: str, mode: int) -> Tuple[int, os.stat_result]:
        """A new file, for reading and writing."""
        folder, name, path = self.place(path)
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE, mode, dir_fd=folder)
        self.pins.drop(path)
        return descriptor, self._checked(path, descriptor)

    def open_nameless(self, directory: str, flags: int) -> int:
        """A new file without a name."""
        return os.open(".", flags | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=self.folder(directory))

    def make_folder(self, path: str) -> None:
        """A new folder; StalePlan when somebody puts another in its place, unless that is empty, too."""
        folder, name, path = self.place(path)
        os.mkdir(name, dir_fd=folder)
        self._drop_handles(path)
        self.pins.drop(path)
        if self.list(path):
            self.pins.check(path, _NOTHING)

    def list(self, path: str) -> List[str]:
        """The names in a folder."""
        descriptor = self.open_folder(path)
        try:
            return repeated(os.listdir, descriptor)
        finally:
            release(descriptor)

    def rename(self, old: str, new: str, *, replace: bool, in_one_step: bool) -> None:
        """Rename; without ``replace`` FileExistsError where something is, in one step where the host can."""
        self._check(old)
        above, first, old = self.place(old)
        folder, last, new = self.place(new)
        if not replace and not (in_one_step and kernel.rename_new(above, first, folder, last)):
            # Where the host cannot do it in one step, somebody may still come between.
            if self.look(new) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
            replace = True
        if replace:
            os.rename(first, last, src_dir_fd=above, dst_dir_fd=folder)
        self._drop_handles(new)
        self.pins.move(old, new)
        self._move_handles({old: new})

    def exchange(self, one: str, other: str) -> bool:
        """Swap two names; False, with nothing done, where the host cannot."""
        self._check(one)
        self._check(other)
        above, first, one = self.place(one)
        folder, last, other = self.place(other)
        if not kernel.exchange(above, first, folder, last):
            return False
        self.pins.exchange(one, other)
        self._move_handles({one: other, other: one})
        return True

    def _check(self, path: str) -> None:
        facts = self.look(path)
        if facts is not None:
            self.pins.check(_absolute(path), identity(facts))

    def remove(self, path: str) -> None:
        """Remove a name that is no folder's; its absence is no error."""
        try:
            folder, name, path = self.place(path)
            repeated(os.unlink, name, dir_fd=folder)
        except FileNotFoundError:
            pass
        self.pins.drop(path)

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder; its absence is no error."""
        try:
            folder, name, path = self.place(path)
            repeated(os.rmdir, name, dir_fd=folder)
        except FileNotFoundError:
            pass
        self._drop_handles(path)
        self.pins.drop(path)

    def _drop_handles(self, path: str) -> None:
        for one in self._handles_at(path):
            release(self._handles.pop(one))

    def _move_handles(self, renamed: Dict[str, str]) -> None:
        moved = [(new + one[len(old) :], one) for old, new in renamed.items() for one in self._handles_at(old)]
        self._handles.update([(new, self._handles.pop(one)) for new, one in moved])

    def _handles_at(self, path: str) -> List[str]:
        return [one for one in self._handles if one == path or one.startswith(path + "/")]


def identity(facts: os.stat_result) -> Identity:
    """What tells a file from all others."""
    return facts.st_dev, facts.st_ino


def _absolute(path: str) -> str:
    whole = os.path.normpath(path if path.startswith("/") else os.path.join(os.getcwd(), path or "."))
    return "/" + whole.lstrip("/") if whole.startswith("//") else whole


def _stepped(above: int, name: str, path: str) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except OSError as error:
        if error.errno in _LINKED and _is_link(above, name):
            raise _link(path) from error
        raise


def _is_link(folder: int, name: str) -> bool:
    try:
        return modes.S_ISLNK(repeated(os.stat, name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _link(path: str) -> Escape:
    return Escape(
        "There is a link where a file or folder should be; it was not followed",
        path=path,
        hint="Remove the link, or name the place that it leads to.",
    )
