# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules return for a disk that the role maintain looks after."""

from __future__ import annotations

from typing import Any, Dict

GIB = 1 << 30


BEFORE: Dict[str, Any] = {
    "path": "/a.hdd",
    "name": "a",
    "depth": 4,
    "file_size": 10 * GIB,
    "state": "clean",
    "locks": [],
}


HELD = {**BEFORE, "state": "in_use", "locks": [{"kind": "flock", "owner": "prl_vm_app (pid 7)"}] * 2}


HEALTHY = {"findings": [], "healthy": True}


SKIPPED = {"skipped": True, "changed": False}


def merged(**others: Any) -> Dict[str, Any]:
    return {
        "changed": True,
        "merged": ["{a}", "{b}"],
        "bytes_written": 3,
        "disk": {**BEFORE, "depth": 2, "file_size": 8 * GIB},
        **others,
    }


def compacted(**others: Any) -> Dict[str, Any]:
    return {
        "changed": True,
        "reclaimed": GIB,
        "bytes_written": 4,
        "disk": {**BEFORE, "depth": 2, "file_size": 7 * GIB},
        **others,
    }
