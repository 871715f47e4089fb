# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Owner, permissions, access control lists and extended attributes of open files.

By descriptor alone, so that nothing can be put in their place. With a list, the group bits of a file's mode are its
mask: more than the group may do. Where a list cannot be taken over, the group gets what it had, not what the mask says.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import os
import stat as modes
import struct
from typing import List, Optional

from .. import kernel
from ..failures import REFUSED
from ..kernel import repeated

_ACL = "system.posix_acl_access"
# What the kernel says of the content or of its own, and a right that no disk needs.
_NOT_TAKEN = ("security.ima", "security.evm", "security.capability", "trusted.overlay.")
_ENTRY = struct.Struct("<HHI")
_GROUP, _MASK = 4, 16
_ABSENT = REFUSED | {getattr(errno, "ENODATA", errno.EPERM), errno.EPERM, errno.EACCES}


def take_over(source: int, target: int) -> None:
    """Give ``target`` the owner (where the process may), permissions, list and attributes of ``source``."""
    model = os.fstat(source)
    give_owner(target, model.st_uid, model.st_gid)
    has_list = _take_list(source, target)
    for name in _names(source):
        if name != _ACL and not name.startswith(_NOT_TAKEN):
            _copy(source, target, name)
    now = os.fstat(target)
    mode = modes.S_IMODE(model.st_mode if has_list else permissions(source, model))
    if now.st_gid != model.st_gid:
        # Another group gets no more than everybody.
        mode = without_group(mode)
    if modes.S_IMODE(now.st_mode) != mode:
        repeated(os.fchmod, target, mode)


def permissions(descriptor: int, facts: os.stat_result) -> int:
    """The permission bits of a file, with those of its group as they are without the mask of a list."""
    mode, access = modes.S_IMODE(facts.st_mode), _value(descriptor, _ACL)
    if access is None or len(access) < 4 + _ENTRY.size:
        return mode
    entries = dict(_ENTRY.unpack_from(access, at)[:2] for at in range(4, len(access) - 7, _ENTRY.size))
    return mode & ~0o070 | (entries.get(_GROUP, 0) & entries.get(_MASK, 7) & 7) << 3


def drop_list(descriptor: int, mode: int) -> None:
    """Remove an access control list that the file has from its folder, and give it these permission bits then."""
    if _value(descriptor, _ACL) is not None:
        repeated(os.removexattr, descriptor, _ACL)
        repeated(os.fchmod, descriptor, mode)


def without_group(mode: int) -> int:
    """The mode with no more for the group than for everybody."""
    return mode & (~0o070 | mode << 3)


def give_owner(descriptor: int, uid: int, gid: int) -> None:
    """Both owners, else the group alone, else nothing: only root may give files away."""
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) == (uid, gid):
        return
    for owner in (uid, -1):
        try:
            repeated(os.fchown, descriptor, owner, gid)
            return
        except OSError as error:
            # EINVAL: the number has no meaning in this user namespace.
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise


def _take_list(source: int, target: int) -> bool:
    """Whether the target has the access control list of the source; one that it has from its folder goes."""
    if not hasattr(os, "getxattr"):
        return kernel.copy_attributes(source, target)
    access = _value(source, _ACL)
    if access is not None:
        return _put(target, _ACL, access)
    if _value(target, _ACL) is not None:
        repeated(os.removexattr, target, _ACL)
    return True


def _names(descriptor: int) -> List[str]:
    try:
        return repeated(os.listxattr, descriptor) if hasattr(os, "listxattr") else []
    except OSError as error:
        if error.errno in REFUSED:
            return []
        raise


def _value(descriptor: int, name: str) -> Optional[bytes]:
    """None for an attribute that the file does not have, or may not be seen by us."""
    try:
        return repeated(os.getxattr, descriptor, name) if hasattr(os, "getxattr") else None
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _copy(source: int, target: int, name: str) -> None:
    value = _value(source, name)
    if value is not None and value != _value(target, name):
        _put(target, name, value)


def _put(descriptor: int, name: str, value: bytes) -> bool:
    """False where the file system or the host's policy refuses."""
    try:
        repeated(os.setxattr, descriptor, name, value)
    except OSError:
        return False
    return True
