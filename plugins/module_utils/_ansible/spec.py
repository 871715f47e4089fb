# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Argument specs that modules share, and the parsing of options that are more than their Ansible type."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from .._core.errors import BadRequest
from .._core.units import parse_size

Spec = Dict[str, Dict[str, Any]]


def bundle_spec() -> Spec:
    """The disk to work on."""
    return {
        "path": {"type": "path", "required": True, "aliases": ["hdd"]},
        "allow_outside": {"type": "bool", "default": False},
    }


def fleet_spec() -> Spec:
    """One disk, or all disks at some paths; to be used with ``ONE_OR_MANY``."""
    one = bundle_spec()
    del one["path"]["required"]
    return {
        **one,
        "paths": {"type": "list", "elements": "path"},
        "recurse": {"type": "bool", "default": False},
    }


ONE_OR_MANY: Dict[str, Any] = {"mutually_exclusive": [("path", "paths")], "required_one_of": [("path", "paths")]}


def safety_spec() -> Spec:
    """How far a change may go."""
    return {"force": {"type": "bool", "default": False}}


_IDLE: Dict[str, Spec] = {
    "force": safety_spec(),
    "recurse": {"recurse": {"type": "bool", "default": False}},
    "scan": {"scan": {"type": "str", "choices": ["metadata", "zeros", "filesystem"]}},
    "swap": {"swap": {"type": "str", "choices": ["keep", "drop"]}},
    "files": {
        "mode": {"type": "raw"},
        **{name: {"type": "str"} for name in ("owner", "group", "seuser", "serole", "setype", "selevel")},
        "attributes": {"type": "str", "aliases": ["attr"]},
        "unsafe_writes": {"type": "bool", "default": False},
    },
}


def idle_spec(*names: str) -> Spec:
    """Options of other modules that have no effect in this one, so that a default of the action group breaks none."""
    return {option: dict(fields) for name in names for option, fields in _IDLE[name].items()}


def size_option(value: Optional[str], option: str) -> Optional[int]:
    """Bytes meant by a size option, None when it was left out. Raises BadRequest."""
    return None if value is None else parse_size(value, option=option)


def size_or(value: Optional[str], option: str, default: int) -> int:
    """Bytes meant by a size option, ``default`` when it was left out; 0 is a value. Raises BadRequest."""
    size = size_option(value, option)
    return default if size is None else size


def version_option(params: Mapping[str, Any]) -> Optional[int]:
    """The format version that a task asks for, None for any."""
    return None if params["format_version"] == "auto" else int(params["format_version"])


def drops_swap(params: Mapping[str, Any]) -> bool:
    """Whether pages of swap count as free. Raises BadRequest where nobody looks for them."""
    if params["swap"] == "drop" and params["scan"] != "filesystem":
        raise BadRequest("swap: pages of swap are found with scan: filesystem only", hint="Set scan: filesystem.")
    return bool(params["swap"] == "drop")


def disk_name(value: Optional[str]) -> Optional[str]:
    """The name for the descriptor, None when it was left out. Raises BadRequest for one that says nothing."""
    if value is not None and not value.strip():
        hint = "Leave the option out to call it like its directory."
        raise BadRequest("name: the name of a disk must not be empty", hint=hint)
    return value
