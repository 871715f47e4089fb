# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds a lock, as far as /proc says.

Everything here is for messages: what cannot be found out is ``another process``.

Files are never touched through /proc, only what the kernel prints about them, so a dead network mount cannot make us
wait.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import os
from typing import FrozenSet, Iterator, List, Optional, Tuple

UNKNOWN = "another process"

FLOCK_IS_BYTE_LOCK = frozenset(("nfs", "nfs4"))
"""File systems whose flock conflicts with byte locks of the same process."""

MANDATORY_LOCKS = frozenset(("cifs", "smb3"))
"""File systems whose locks bind the other open files of the same process."""

_MOST_DESCRIPTORS = 50_000
_LONGEST_TEXT = 1 << 20


def describe(pid: int) -> str:
    """Name and number of a process."""
    name = _text(f"/proc/{pid}/comm").strip()
    if not name:
        return f"process {pid}" if pid > 0 else UNKNOWN
    return "".join(c if c.isprintable() else "?" for c in name) + f" (pid {pid})"


def file_system(descriptor: int) -> str:
    """The type of the file system, such as ext4; empty when unknown."""
    line = _mount(descriptor)
    return line.partition(" - ")[2].split(" ")[0]


class LockLists:
    """What the kernel lists of locks.

    Each list is read when it is first needed, and once: Linux waits about 10 ms before it gives that of all flocks.
    """

    def __init__(self) -> None:
        self._flocks: Optional[List[Tuple[str, int, bool]]] = None
        self._byte_locks: Optional[List[Tuple[str, str, str]]] = None

    def flocks(self, descriptor: int) -> Tuple[Tuple[int, bool], ...]:
        """The processes that hold a flock on the file, and whether it is shared; without those that wait for it."""
        if self._flocks is None:
            self._flocks = list(_listed_flocks())
        # Hardly a file has a lock, and its number says so for less than the names of its device.
        try:
            number = f":{os.fstat(descriptor).st_ino}"
        except OSError:
            return ()
        alike = [one for one in self._flocks if one[0].endswith(number)]
        keys = _keys(descriptor) if alike else ()
        return tuple(sorted({(pid, is_shared) for key, pid, is_shared in alike if key in keys}))

    def byte_lock_owners(self, descriptor: int) -> Tuple[str, ...]:
        """Who has byte locks on the file that /proc/locks gives no process for, apart from ``descriptor`` itself."""
        if self._byte_locks is None:
            self._byte_locks = list(_listed_byte_locks())
        keys, own = _keys(descriptor), (str(os.getpid()), str(descriptor))
        pids = {int(pid) for key, pid, number in self._byte_locks if key in keys and (pid, number) != own}
        return tuple(describe(pid) for pid in sorted(pids))


def _listed_flocks() -> Iterator[Tuple[str, int, bool]]:
    """File and process of all flocks of the host, and whether each is shared."""
    for line in _text("/proc/locks").splitlines():
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK":
            yield fields[5], int(fields[4]), fields[3] == "READ"


def _listed_byte_locks() -> Iterator[Tuple[str, str, str]]:
    """File, process and number of the open files of the host that carry byte locks."""
    for pid, number in _descriptors():
        # A line such as "lock:	1: OFDLCK ADVISORY READ -1 fe:00:2146344 100 101".
        for line in _text(f"/proc/{pid}/fdinfo/{number}").splitlines():
            fields = line.split()
            if len(fields) >= 7 and fields[0] == "lock:" and fields[2] == "OFDLCK":
                yield fields[6], pid, number


def _descriptors() -> Iterator[Tuple[str, str]]:
    """Process and number of the open files of the host, bounded."""
    left = _MOST_DESCRIPTORS
    for pid in _names("/proc"):
        if not pid.isdigit():
            continue
        for number in _names(f"/proc/{pid}/fdinfo"):
            if not left:
                return
            left -= 1
            yield pid, number


def _keys(descriptor: int) -> FrozenSet[str]:
    """How the kernel names the file in its lists of locks: major:minor:inode.

    The device number of the mount counts too: Btrfs and overlays show another one to ``fstat``.
    """
    try:
        facts = os.fstat(descriptor)
    except OSError:
        return frozenset()
    devices = {f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}"}
    mounted = _mount(descriptor).split(" ")
    if len(mounted) > 2 and ":" in mounted[2]:
        major, minor = mounted[2].split(":")
        devices.add(f"{int(major):02x}:{int(minor):02x}")
    return frozenset(f"{device}:{facts.st_ino}" for device in devices)


def _mount(descriptor: int) -> str:
    """The line of /proc/self/mountinfo for the mount of an open file; empty when unknown."""
    identifier: Optional[str] = None
    for line in _text(f"/proc/self/fdinfo/{descriptor}").splitlines():
        if line.startswith("mnt_id:"):
            identifier = line.split()[1]
    if identifier is None:
        return ""
    return next((line for line in _text("/proc/self/mountinfo").splitlines() if line.startswith(identifier + " ")), "")


def _names(path: str) -> List[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _text(path: str) -> str:
    """The beginning of a file of /proc; empty when it is gone or not ours to read."""
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST_TEXT).decode("utf-8", "replace")
    except OSError:
        return ""
