# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that the engine runs in, and its environment."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import os
from typing import Optional


def setting(name: str) -> Optional[str]:
    """An environment variable; None when it is not set or empty."""
    return os.environ.get(name) or None


def source_date_epoch() -> int:
    """The time that goes into files: SOURCE_DATE_EPOCH, in seconds since 1970; 0 when it is not set or no number."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def expand_home(path: str) -> str:
    """The path with a leading ``~`` resolved, as the programs of this user resolve it."""
    return os.path.expanduser(path)


def process_id() -> int:
    """The number of this process."""
    return os.getpid()


def own_user_id() -> int:
    """The number of the user that this process acts for."""
    return os.geteuid()


def umask() -> int:
    """The permission bits that new files of this process do not get. To ask is to set them for a moment."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def use_umask(mask: int) -> None:
    """Withhold these permission bits from new files of this process."""
    os.umask(mask)


def user_id(name: str) -> Optional[int]:
    """The number of a user; None when there is none of that name."""
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def group_id(name: str) -> Optional[int]:
    """The number of a group; None when there is none of that name."""
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
