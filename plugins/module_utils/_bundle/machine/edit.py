# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``config.pvs`` of the virtual machine says of a disk that changes (format reference, section 2.5).

Only values that are there and differ are changed; all else keeps its bytes. A file that cannot be changed safely is
refused, never worked around.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Dict, List, NoReturn, Optional

from ..._core.errors import Damaged, DiskError, NoPermission, SharedLayer, Unsupported
from ..._core.records import dataclass
from ..._core.units import MIB
from ..._io.durable import read_file
from ..._io.fingerprint import identity
from ..._io.port import FILE, SYMLINK, Port, Stat
from ..naming import temporary_name
from ..paths import BUNDLE, Location
from ..pvm import CONFIG
from ..shape import PLAIN
from ..xml_edit import Editor
from ..xml_input import MAX_DOCUMENT_BYTES, etree, parse_xml

if TYPE_CHECKING:
    from ..._core.plan import Fingerprint

_KEEP = "Set machine: keep to leave the file as it is, and let the product write the size."


@dataclass(frozen=True)
class DiskValues:
    """What the machine must say of its disk: its size in bytes, and its kind and parts where they change."""

    size: int
    kind: Optional[str] = None
    is_split: Optional[bool] = None


@dataclass(frozen=True)
class MachineEdit:
    """The new ``content`` of a configuration whose identity was ``before``, and the values that it then has."""

    config: str
    content: bytes
    before: Fingerprint
    values: DiskValues

    @property
    def temporary(self) -> str:
        """Where the new content is written first."""
        folder, name = posixpath.split(self.config)
        return posixpath.join(folder, temporary_name(name, "new"))


def config_of(location: Location) -> str:
    """Where the configuration of the machine of a disk is, if it has one."""
    return posixpath.join(posixpath.dirname(_own_path(location)), CONFIG)


def machine_edit(
    port: Port, location: Location, values: DiskValues, *, is_asked_for: bool = False
) -> Optional[MachineEdit]:
    """What is to be changed, None for nothing.

    Raises an error for a file that is a link, may not be written, is no sound configuration, or, when the user
    ``is_asked_for`` it, does not name the disk.
    """
    config = config_of(location)
    stat = port.lstat(config)
    if stat is None:
        return None
    try:
        _refuse_no_file(config, stat)
        before = ((config, identity(stat)),)
        xml = read_file(port, config, limit=MAX_DOCUMENT_BYTES)
        content = _edited(port, location, config, xml, values, is_asked_for)
        if content != xml:
            _refuse_file(config, stat)
    except DiskError as error:
        error.hint = f"{error.hint} {_KEEP}" if error.hint and _KEEP not in error.hint else _KEEP
        raise
    return None if content == xml else MachineEdit(config, content, before, values)


def _own_path(location: Location) -> str:
    return location.directory if location.kind == BUNDLE else location.descriptor


def _refuse_no_file(config: str, stat: Stat) -> None:
    if stat.kind not in (FILE, SYMLINK):
        text = "The configuration of the virtual machine is no regular file"
        raise Unsupported(text, path=config, found=stat.kind, expected="a file", hint=_KEEP)


def _refuse_file(config: str, stat: Stat) -> None:
    if stat.kind != FILE:
        text = "The configuration of the virtual machine is a link, and may be that of another"
        raise Unsupported(text, path=config, found=stat.kind, expected="a file", hint=_KEEP)
    if stat.links > 1:
        text = f"The configuration of the virtual machine has {stat.links} names (hard links)"
        raise SharedLayer(text, path=config, found=stat.links, expected=1, hint=_KEEP)
    if not stat.mode & 0o222:
        text = "The configuration of the virtual machine is read-only"
        raise NoPermission(text, path=config, found=f"{stat.mode & 0o777:04o}", hint=_KEEP)


def _edited(port: Port, location: Location, config: str, xml: bytes, values: DiskValues, is_asked_for: bool) -> bytes:
    document = parse_xml(xml, path=config)
    tag = str(document.root.tag)
    if not tag.endswith("VirtualMachine"):
        text = "The document is no virtual machine"
        raise Damaged(text, path=config, expected="ParallelsVirtualMachine", found=tag[:80])
    own = _own_disks(port, document.root, _own_path(location))
    if not own:
        return _refuse_unnamed(config) if is_asked_for else xml
    editor = Editor(document, path=config)
    for disk in own:
        for name, value in _wanted(values).items():
            child = disk.find(name)
            if child is not None and not len(child) and (child.text or "").strip() != value:
                editor.set_text(child, value)
    return editor.to_bytes()


def _refuse_unnamed(config: str) -> NoReturn:
    raise Unsupported("The configuration is that of a machine that does not have this disk", path=config, hint=_KEEP)


def _wanted(values: DiskValues) -> Dict[str, str]:
    wanted = {"Size": str(values.size // MIB), "SizeInBytes": str(values.size)}
    if values.kind is not None:
        wanted["DiskType"] = "0" if values.kind == PLAIN else "1"
    if values.is_split is not None:
        wanted["Splitted"] = "1" if values.is_split else "0"
    return wanted


def _own_disks(port: Port, root: etree._Element, own: str) -> List[etree._Element]:
    """The disks whose path is this one; of a machine that was moved, those of this name whose path leads nowhere."""
    folder, base = posixpath.split(own)
    exact, moved = [], []
    for disk in root.findall("Hardware/Hdd"):
        name = disk.find("SystemName")
        path = "" if name is None else (name.text or "").strip().rstrip("/")
        if not path or "\0" in path:
            continue
        named = posixpath.normpath(posixpath.join(folder, path))
        if named == own:
            exact.append(disk)
        elif posixpath.basename(path) == base and port.lstat(named) is None:
            moved.append(disk)
    return exact or (moved if len(moved) == 1 else [])
