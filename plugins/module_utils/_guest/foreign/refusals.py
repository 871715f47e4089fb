# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is added to the refusal of an image by its reader: the whole that it is a part of, or the next step."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import shlex

from ..._core.errors import Damaged, DiskError, NotABundle, NotAWholeDisk, Unsupported
from ..._formats.catalog import FORMATS
from ..._formats.detect import UNSTRUCTURED
from ..._formats.marks import mark_of
from ..._io.durable import read_start
from ..._io.port import DIRECTORY, FILE, Port
from .advice import complete, document_of, false_name, unread
from .series import piece_with_mark
from .whole import VMDK_PIECE, extent_of_vmdk, piece_of_vhd

_PREFIX = 4096
_MOST_NAMES = 1000
_DISKS = tuple(suffix for row in FORMATS.values() for suffix in row.suffixes if row.is_foreign) + (".img", ".raw")


def explain(port: Port, error: DiskError, format: str, *, is_guessed: bool) -> None:
    """Complete ``error`` of the image at its path, or raise one that says more.

    Where the format was guessed by the name alone, the file may be a piece, or what its name says only in part.
    """
    path = error.path or ""
    if isinstance(error, NotAWholeDisk) and path:
        error.hint = extent_of_vmdk(port, path).hint
    elif is_guessed and format == "vhd" and mark_of(port, path) == UNSTRUCTURED:
        raise _named_only(port, path) from error
    else:
        cut = piece_with_mark(port, path) if is_guessed else None
        if cut is not None:
            raise cut from error
        complete(error, format)


def refuse_nested(port: Port, path: str, kind: str) -> None:
    """Raise the refusal of a container that is a member of another one, or on a block device."""
    if getattr(port, "shows_members", False):
        raise unread(path, kind)
    stat = port.stat(path)
    if getattr(port, "shows_device", False) and stat is not None:
        hint = f"Copy it into a file and name that: head -c {stat.size} {shlex.quote(path)} > container.tar"
        raise Unsupported("A container on a block device is not read", path, found=kind, hint=hint)


def explain_member(error: DiskError, container: str) -> None:
    """Complete the refusal of a disk in a container: no command can open what has no path on the host."""
    if isinstance(error, Damaged) and error.hint in (None, error.usual_hint):
        error.hint = "Get the whole container anew."
    if container.lower().endswith(".ovf"):
        # Its members are the files beside it.
        error.hint = (error.hint or "").replace(f"{container}/", f"{posixpath.dirname(container)}/") or None
    elif f"{container}/" in (error.hint or ""):
        error.hint = f"Unpack the container and name the disk in it: tar -xf {shlex.quote(container)}"


def explain_choice(port: Port, error: DiskError, format: str) -> None:
    """Complete ``error`` where the user said of the image at its path that it is in a ``format``, and it is in none."""
    mark = mark_of(port, error.path or "") if isinstance(error, Damaged) else UNSTRUCTURED
    if mark not in (UNSTRUCTURED, FORMATS[format].detected_as):
        error.hint = f"Leave src_format out: the file has the mark of another kind, {mark}."


def explain_folder(port: Port, error: NotABundle, path: str) -> None:
    """Name the disk images in a folder that is no disk itself, such as one of a virtual machine."""
    found = []
    for folder in [path, *(posixpath.join(path, name) for name in port.list_directory(path)[:_MOST_NAMES])]:
        stat = port.lstat(folder)
        names = port.list_directory(folder)[:_MOST_NAMES] if stat is not None and stat.kind == DIRECTORY else []
        found += [posixpath.join(folder, name) for name in names if name.lower().endswith(_DISKS)]
    images = [one for one in found if getattr(port.lstat(one), "kind", None) == FILE and not VMDK_PIECE.fullmatch(one)]
    if images:
        several = len(images) > 1
        error.hint = f"Name {'one of the disk images' if several else 'the disk image'} in it: {', '.join(images[:5])}"


def _named_only(port: Port, path: str) -> DiskError:
    """The refusal of a file of which only the name says that it is a VHD."""
    stat, suffix = port.stat(path), posixpath.splitext(path)[1]
    document = document_of(read_start(port, path, _PREFIX), stat.size if stat is not None else 0)
    if document is not None:
        return unread(path, document)
    return false_name(path, suffix) if suffix.lower().endswith("vhd") else piece_of_vhd(port, path)
