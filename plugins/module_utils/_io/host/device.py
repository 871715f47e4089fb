# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A block device of Linux shown as a file, for reading: a port that is like another one but for this device."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import fcntl
import os
import stat as modes
import struct
import sys
from typing import Any, Iterator, Optional, Tuple

from ..._core.errors import DiskError, InUse, StalePlan
from ..._core.records import dataclass
from ..._core.units import SECTOR
from ..capabilities import detect
from ..failures import HOST_ERRORS, translated
from ..kernel import release
from ..port import FILE, File, Port, Stat
from .file import OsFile
from .names import Names

# Asks a device for the bytes of its logical sector: _IO(0x12, 104) of the kernel, where _IO has no bits of its own.
_BLKSSZGET = 0x1268


class OsDevice(OsFile):
    """An open block device. All of it is data."""

    def size(self) -> int:
        """The length of the device in bytes."""
        try:
            return os.lseek(self._descriptor, 0, os.SEEK_END)
        except HOST_ERRORS as error:
            raise translated(error, "look at", self.path) from error

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """All of the range that there is."""
        end = min(end, self.size())
        return iter(((start, end),) if start < end else ())


@dataclass(frozen=True)
class BlockDevice:
    """The block device at ``path``, without links; ``number`` is the host's for it."""

    path: str
    number: int

    @property
    def logical_sector(self) -> int:
        """The bytes of a sector as the host shows it, and a guest that is given the device; 512 where it is unknown."""
        place = f"/sys/dev/block/{os.major(self.number)}:{os.minor(self.number)}"
        # A partition has that of its disk.
        for folder in (place, f"{place}/.."):
            try:
                with open(f"{folder}/queue/logical_block_size", encoding="ascii") as stream:
                    return int(stream.read(20))
            except (*HOST_ERRORS, ValueError):
                continue
        return self._asked()

    def _asked(self) -> int:
        """The answer of the device itself, where the host shows nothing, as in a root file system without ``/sys``."""
        try:
            descriptor = _opened(self, os.O_RDONLY)
        except (*HOST_ERRORS, DiskError):
            return SECTOR
        try:
            sector: int = struct.unpack("i", fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4)))[0]
            return sector
        except HOST_ERRORS:
            return SECTOR
        finally:
            release(descriptor)

    def port(self, port: Port) -> Port:
        """``port`` with the device as a file."""
        shown: Any = DevicePort(port, self)
        return shown


class DevicePort:
    """``Port`` with one block device as a file; all else is left to the real one."""

    shows_device = True

    def __init__(self, port: Port, device: BlockDevice) -> None:
        self._port = port
        self._device = device
        self._path = device.path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def open_read(self, path: str) -> File:
        """Open the device so that nobody can mount it meanwhile. Raises InUse for one that is mounted or claimed."""
        if self._port.real_path(path) != self._path:
            return self._port.open_read(path)
        try:
            # Where the path leads now may be elsewhere; what it led to has no link in it.
            return OsDevice(path, _opened(self._device, os.O_RDONLY | os.O_EXCL), detect())
        except HOST_ERRORS as error:
            if isinstance(error, OSError) and error.errno == errno.EBUSY:
                hint = "Unmount it, or take a snapshot of it and name that."
                raise InUse(f"The device {path} is mounted or in use", path=path, found="EBUSY", hint=hint) from error
            raise translated(error, "open", path) from error

    def stat(self, path: str) -> Optional[Stat]:
        """Facts of the device as of a file, or of a file of the host."""
        found = self._port.stat(path)
        if found is None or self._port.real_path(path) != self._path:
            return found
        file = self.open_read(path)
        size = file.size()
        file.close()
        fields = {name: getattr(found, name) for name in Stat.__fields__}  # type: ignore[attr-defined]
        fields.update(kind=FILE, size=size, allocated=size)
        return Stat(**fields)


def _opened(device: BlockDevice, flags: int) -> int:
    names = Names()
    try:
        descriptor, facts = names.open(device.path, flags)
    finally:
        names.close()
    if not modes.S_ISBLK(facts.st_mode) or facts.st_rdev != device.number:
        release(descriptor)
        raise StalePlan("Somebody put something else in the place of a device", path=device.path, hint="Run again.")
    return descriptor


def block_device(port: Port, path: str) -> Optional[BlockDevice]:
    """The block device that ``path`` leads to; None for anything else, and where the host is not Linux."""
    real = port.real_path(path)
    try:
        facts = os.stat(real)
    except HOST_ERRORS:
        return None
    is_block = modes.S_ISBLK(facts.st_mode) and sys.platform.startswith("linux")
    return BlockDevice(real, facts.st_rdev) if is_block else None
