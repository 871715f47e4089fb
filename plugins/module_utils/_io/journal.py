# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: a small file beside a disk that says which change is under way and how to finish it or take it back.

It is written durably before the first change and removed, durably, after the last. Its phases:

``prepare``
    Nothing that a reader sees has changed. Recovery cuts the images back to the recorded length, gives their in-use
    field its recorded value and removes what was created; an image that others have written to since stays as it is.
``apply``
    Images change in place, in an order in which each state is a valid disk with the same surviving views. Recovery
    goes forward: it repeats the operation, or just ends it when the descriptor already shows the result.

Only file names inside the disk's own directory are recorded and believed.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, Optional, Tuple

from .._core.errors import Damaged, Escape, NotFound
from .._core.records import dataclass
from .durable import read_file
from .port import Port

PREPARE = "prepare"
APPLY = "apply"
_LIMIT = 4 << 20
_VERSION = 1


@dataclass(frozen=True)
class ImageBefore:
    """How an image was before the operation: file name, length in bytes and in-use field."""

    name: str
    size: int
    in_use: int


@dataclass(frozen=True)
class Journal:
    """One operation under way. ``created`` and ``discarded`` are file names; ``request`` is what a repetition needs."""

    operation: str
    phase: str
    created: Tuple[str, ...] = ()
    discarded: Tuple[str, ...] = ()
    images: Tuple[ImageBefore, ...] = ()
    request: Mapping[str, Any] = None  # type: ignore[assignment]


def pack_journal(journal: Journal) -> bytes:
    """The journal as it is stored: one JSON object that a person can read, too."""
    record = {
        "what": "an unfinished change of this virtual disk by the Ansible collection vdisk.parallels; "
        "run its module again to finish it",
        "version": _VERSION,
        "operation": journal.operation,
        "phase": journal.phase,
        "created": list(journal.created),
        "discarded": list(journal.discarded),
        "images": [{"name": image.name, "size": image.size, "in_use": image.in_use} for image in journal.images],
        "request": dict(journal.request or {}),
    }
    return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()


def read_journal(port: Port, path: str) -> Optional[Journal]:
    """The journal at ``path``, or None when there is none. Raises Damaged when it is not one of ours."""
    try:
        raw = read_file(port, path, limit=_LIMIT)
    except NotFound:
        return None
    except Escape as error:
        hint = "Nothing of this collection makes links: find out who did, and remove it."
        raise Damaged("The journal of an unfinished change is a link", path=path, found="a link", hint=hint) from error
    try:
        return _parse(json.loads(raw.decode()))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(
            "The journal of an unfinished change cannot be read",
            path=path,
            found=str(error)[:100],
            hint="Run hdd_check on the disk; repair: all puts the journal aside when the disk is in order without it.",
        ) from error


def _parse(record: Dict[str, Any]) -> Journal:
    if record["version"] != _VERSION or record["phase"] not in (PREPARE, APPLY):
        raise ValueError("unknown version or phase")
    images = tuple(ImageBefore(_name(i["name"]), _number(i["size"]), _number(i["in_use"])) for i in record["images"])
    created = tuple(_name(n) for n in record["created"])
    discarded = tuple(_name(n) for n in record["discarded"])
    request = record["request"]
    if not isinstance(request, dict):
        raise ValueError("request is no object")
    return Journal(str(record["operation"]), record["phase"], created, discarded, images, request)


def _name(value: object) -> str:
    if not isinstance(value, str) or not value or "/" in value or "\0" in value or value in (".", ".."):
        raise ValueError(f"{value!r} is not a file name")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} is not a length")
    return value
