# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A task as the code below the modules sees it: options, check mode, and how it ends. Needs no Ansible run."""

from __future__ import annotations

from typing import Any, Dict, List


class Failed(Exception):
    """What ``fail_json`` was called with."""

    def __init__(self, result: Dict[str, Any]) -> None:
        super().__init__(str(result.get("msg")))
        self.result = result


class Task:
    """Stands where an ``AnsibleModule`` does. Options that are not given are None."""

    def __init__(self, *, check: bool = False, **options: Any) -> None:
        self.params: Dict[str, Any] = _Options(options)
        self.check_mode = check
        self.progress: Any = None
        self.warnings: List[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def fail_json(self, **result: Any) -> None:
        raise Failed(result)

    def load_file_common_arguments(self, params: Dict[str, Any], path: str) -> Dict[str, Any]:
        return {**{key: params[key] for key in ("owner", "group", "mode", "attributes")}, "path": path}

    def set_fs_attributes_if_different(self, arguments: Dict[str, Any], changed: bool, *, expand: bool = True) -> bool:
        return changed or any(value is not None for key, value in arguments.items() if key != "path")


class _Options(Dict[str, Any]):
    def __missing__(self, key: str) -> None:
        return None


_HDD = dict(
    state="present",
    format_version="auto",
    preallocate=False,
    shrink=False,
    snapshots="refuse",
    partition_table="keep",
    force=False,
)


def hdd_task(path: str, *, check: bool = False, **options: Any) -> Task:
    """A task of the module hdd, with its defaults."""
    return Task(path=path, check=check, **{**_HDD, **options})
