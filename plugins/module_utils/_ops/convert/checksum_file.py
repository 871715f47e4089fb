# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file with the checksums of an output, in the form that ``sha256sum -c`` reads."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import Optional, Sequence

from ..._bundle.paths import is_inside, refuse_in_a_bundle
from ..._core.errors import AlreadyExists, BadRequest, NotFound
from ..._core.plan import Plan
from ..._guest.source import Source
from ..._io.durable import read_file, replace_file
from ..._io.port import DIRECTORY, FILE, Port
from .conversion import ConvertFacts
from .output import OutputFile

_LIMIT = 1 << 20
_LINE = re.compile(rb"\\?[0-9a-fA-F]{32,128} [ *].+")


def refuse_place(port: Port, path: str, source: Source, dest: str) -> None:
    """Raise when checksums must not go to ``path``: a part of source or output, a file of value, or no directory."""
    real = port.real_path(path)
    taken = [dest, source.path] + [one for one, _seen in source.fingerprint]
    for place in [port.real_path(one) for one in taken]:
        if real == place or is_inside(real, place):
            raise BadRequest(
                "checksum_file: the file is a part of src or dest",
                path=path,
                hint="Choose another name, such as that of dest with .sha256.",
            )
    refuse_in_a_bundle(port, path, "checksum_file")
    _refuse_present(port, path)
    _refuse_no_directory(port, path)


def _refuse_no_directory(port: Port, path: str) -> None:
    directory = port.stat(path.rsplit("/", 1)[0] or "/")
    if directory is None or directory.kind != DIRECTORY:
        raise NotFound(
            "checksum_file: its directory does not exist",
            path=path,
            hint="Create it first, for example with ansible.builtin.file.",
        )


def _refuse_present(port: Port, path: str) -> None:
    present = port.stat(path)
    if present is None:
        return
    if present.kind != FILE:
        raise AlreadyExists(
            "checksum_file: there is something that is no file",
            path=path,
            found=present.kind,
            hint="Choose another name.",
        )
    if present.size and not _holds_checksums(port, path, present.size):
        raise AlreadyExists(
            "checksum_file: the file that is there holds no checksums",
            path=path,
            hint="Choose another name, or remove the file.",
        )


def _holds_checksums(port: Port, path: str, size: int) -> bool:
    if size > _LIMIT:
        return False
    lines = read_file(port, port.real_path(path), limit=_LIMIT).splitlines()
    return all(_LINE.fullmatch(line) for line in lines)


def refuse_own_file(port: Port, path: str, plan: Plan[ConvertFacts]) -> None:
    """Raise BadRequest when the output needs this name for a file of its own."""
    if port.real_path(path) in [port.real_path(file) for file in plan.facts.files]:
        raise BadRequest(
            "checksum_file: the output needs this name for a file of its own", path=path, hint="Choose another name."
        )


def content_of(path: str, files: Sequence[OutputFile]) -> Optional[bytes]:
    """What the checksum file at ``path`` holds for these files; None when a checksum is not known yet."""
    if any(file.checksum is None for file in files):
        return None
    lines = [_line(file.checksum or "", _relative(file.path, path)) for file in files]
    return "".join(lines).encode(errors="surrogateescape")


def is_present(port: Port, path: str, content: bytes) -> bool:
    """Whether the file already holds this content."""
    stat = port.stat(path)
    if stat is None or stat.size != len(content):
        return False
    return read_file(port, port.real_path(path), limit=_LIMIT) == content


def write_checksums(port: Port, path: str, content: bytes, *, is_durable: bool = True) -> None:
    """Replace the file in one step, and durably; a new one may be left to the host's own time."""
    if not is_durable:
        from ..._io.unsynced import unsynced

        port = unsynced(port)
    directory, name = path.rsplit("/", 1)
    temporary = f"{directory}/.{name}.vdisk-new.tmp"
    port.remove(temporary)
    replace_file(port, path, content, temporary=temporary)


def _line(checksum: str, name: str) -> str:
    """A line as sha256sum writes it; a backslash at the start says that backslashes and newlines are escaped."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{checksum}  {escaped}\n"


def _relative(path: str, checksum_file: str) -> str:
    directory = checksum_file.rsplit("/", 1)[0] + "/"
    return path[len(directory) :] if path.startswith(directory) else path
