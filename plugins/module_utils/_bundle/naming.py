# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of files in a bundle: how they are made and what they say. Format reference, section 2.1.

A name never says which layer an image is; only the descriptor does.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from .._core.guid import is_guid

DESCRIPTOR = "DiskDescriptor.xml"
BACKUP = "DiskDescriptor.xml.Backup"
SUFFIX = ".hdd"
MACHINE_SUFFIXES = (".pvm", ".macvm")

JOURNAL = ".vdisk-journal"
"""The record of a change that is under way."""

NOTES = "vdisk-snapshots.json"
"""What users call the snapshots of the disk."""

TEMPORARY_MARK = ".vdisk-"
"""What marks an unfinished file as made by this collection."""

UNFINISHED_COPY = "compact"
"""The token of an image that will replace another; always the same, so that it is found beside a single-file disk."""

_TEMPORARY_END = ".tmp"

_KINDS = {
    DESCRIPTOR: "descriptor",
    BACKUP: "backup",
    NOTES: "notes",
    ".DS_Store": "companion",
    ".statfs": "ploop_leftover",
    "DiskDescriptor.xml.tmp": "ploop_leftover",
}


def without_suffix(bundle_base: str) -> str:
    """The name of a disk: ``bundle_base`` without ``.hdd``."""
    has_suffix = bundle_base.lower().endswith(SUFFIX) and len(bundle_base) > len(SUFFIX)
    return bundle_base[: -len(SUFFIX)] if has_suffix else bundle_base


def marker_name(bundle_base: str) -> str:
    """The empty file that lets a file dialog select the bundle: the directory's name, ending in ``.hdd``."""
    return bundle_base if bundle_base.lower().endswith(SUFFIX) else bundle_base + SUFFIX


def image_name(bundle_base: str, storage_index: int, guid: str) -> str:
    """The file of layer ``guid`` in storage ``storage_index``, as Parallels Desktop names it."""
    return f"{writable(marker_name(bundle_base))}.{storage_index}.{guid}.hds"


def writable(name: str) -> str:
    """A name that a descriptor can hold: what is not UTF-8 in it becomes ``_``."""
    return name.encode("utf-8", "replace").decode().replace("?", "_") if not _is_text(name) else name


def _is_text(name: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in name)


def temporary_name(final_name: str, token: str) -> str:
    """Where ``final_name`` is written before it is complete. ``token`` tells runs apart."""
    return f".{final_name}{TEMPORARY_MARK}{token}{_TEMPORARY_END}"


def is_temporary(name: str) -> bool:
    """Whether ``name`` is an unfinished file of this collection."""
    return name.startswith(".") and name.endswith(_TEMPORARY_END) and TEMPORARY_MARK in name[1:]


def is_temporary_of(name: str, final_name: str) -> bool:
    """Whether ``name`` is an unfinished ``final_name``."""
    start = f".{final_name}{TEMPORARY_MARK}"
    token = name[len(start) : -len(_TEMPORARY_END)]
    return name.startswith(start) and name.endswith(_TEMPORARY_END) and bool(token) and "." not in token


def classify(name: str) -> str:
    """The kind of an entry: descriptor, backup, notes, marker, image, companion, lock, ploop_leftover, ours or
    foreign."""
    if name in _KINDS:
        return _KINDS[name]
    if name == JOURNAL or name.startswith(JOURNAL + "-") or is_temporary(name):
        return "ours"
    # AppleDouble files carry the name of the file that they describe, so they come before images.
    if name.startswith("._") or name.endswith(".drh"):
        return "companion"
    if name.endswith((".idx", ".hds.mnt")):
        return "ploop_leftover"
    if name.endswith(".lck"):
        return "lock"
    if name.endswith(".hds") or _is_ploop_image(name):
        return "image"
    if name.lower().endswith(SUFFIX):
        return "marker"
    return "foreign"


def _is_ploop_image(name: str) -> bool:
    """Whether ``name`` is ``{base}.{GUID}`` with an image as the base, as ploop names layers."""
    base, _dot, guid = name.rpartition(".")
    return base.lower().endswith((".hds", SUFFIX)) and guid.startswith("{") and is_guid(guid)
