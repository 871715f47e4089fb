# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of inventory hosts and groups, made of what strangers call their machines.

Ansible evaluates templates in names, takes them apart at ``:`` and ``,``, opens ``host_vars/NAME``, and connects to
them. So a name has letters, digits, ``.``, ``-`` and ``_`` alone, and never is that of another host.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Callable, Dict, List, Sequence, Tuple

_MOST_CHARACTERS = 60
_NOT_IN_GROUPS = re.compile(r"[^A-Za-z0-9_]")

Key = Tuple[str, str]
"""What a machine is known by: the host that holds it, and its path there."""


def host_name(name: str, host: str) -> str:
    """The inventory name of a machine: what it is called, and where it is."""
    return f"{_part(name, 'machine')}_on_{_part(host, 'host')}"


def host_names(called: Sequence[Tuple[Key, str]], is_taken: Callable[[str], bool]) -> Dict[Key, str]:
    """A name of its own for each machine. One that several would have, or that ``is_taken``, ends in a digest of the
    path, so that it stays the same whatever else there is.
    """
    wanted: List[Tuple[Key, str]] = [(key, host_name(name, key[0])) for key, name in called]
    # Some file systems, and people, do not see the difference of upper and lower case.
    counts = Counter(name.lower() for _key, name in wanted)
    return {
        key: name if counts[name.lower()] == 1 and not is_taken(name) else f"{name}_{_digest(key)}"
        for key, name in wanted
    }


def group_name(name: str) -> str:
    """A group that Ansible takes without a warning: ASCII letters, digits and underscores, no digit in front."""
    safe = _NOT_IN_GROUPS.sub("_", name)
    return f"_{safe}" if not safe or safe[0].isdigit() else safe


def _part(text: str, default: str) -> str:
    safe = "".join(character if character.isalnum() or character in "._-" else "_" for character in text)
    return safe[:_MOST_CHARACTERS].strip("._-") or default


def _digest(key: Key) -> str:
    return hashlib.sha256("\0".join(key).encode("utf-8", "surrogateescape")).hexdigest()[:8]
