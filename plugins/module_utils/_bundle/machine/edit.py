# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``config.pvs`` of the virtual machine says of a disk that changes (format reference, section 2.5).

Only values that are there and differ are changed; all else keeps its bytes. A file that cannot be changed safely is
refused, never worked around.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Dict, List, NamedTuple, NoReturn, Optional, Sequence

from ..._core.errors import Damaged, DiskError, NoPermission, SharedLayer, Unsupported
from ..._core.records import dataclass
from ..._core.units import MIB
from ..._io.durable import read_file
from ..._io.fingerprint import identity
from ..._io.port import FILE, SYMLINK, Port, Stat
from ..naming import temporary_name
from ..paths import BUNDLE, Location
from ..pvm import CONFIG, named_disks
from ..shape import PLAIN
from ..xml_edit import Editor
from ..xml_input import MAX_DOCUMENT_BYTES, etree, leaf_text, parse_xml

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
    """The new ``content`` of a configuration whose identity was ``before``, and the values that it then has.

    One that is not ``is_beside`` the disk is that of a machine that reaches it by a link or a path.
    """

    config: str
    content: bytes
    before: Fingerprint
    values: DiskValues
    is_beside: bool = True

    @property
    def temporary(self) -> str:
        """Where the new content is written first."""
        folder, name = posixpath.split(self.config)
        return posixpath.join(folder, temporary_name(name, "new"))


def config_of(location: Location) -> str:
    """Where the configuration of the machine is in whose folder the disk lies, if it lies in one."""
    return posixpath.join(posixpath.dirname(_own_path(location)), CONFIG)


def machine_edit(
    port: Port,
    location: Location,
    values: DiskValues,
    *,
    configs: Sequence[str] = (),
    is_asked_for: bool = False,
) -> Optional[MachineEdit]:
    """What is to be changed, None for nothing: in the first of ``configs`` that must; without any, in that beside the
    disk.

    Raises an error for a file that is a link, may not be written, is no sound configuration, or, when the user
    ``is_asked_for`` it, where none names the disk.
    """
    looked = [(config, _looked_at(port, location, config, values)) for config in configs or (config_of(location),)]
    found = [one for _config, one in looked if one is not None and one.is_named]
    strangers = [config for config, one in looked if one is not None and not one.is_named]
    if strangers and is_asked_for and not found:
        _refuse_unnamed(strangers[0])
    return next((one.edit for one in found if one.edit is not None), None)


class _Looked(NamedTuple):
    """Whether a configuration names the disk, and what is to be changed in it."""

    is_named: bool
    edit: Optional[MachineEdit] = None


def _looked_at(port: Port, location: Location, config: str, values: DiskValues) -> Optional[_Looked]:
    stat = port.lstat(config)
    if stat is None:
        return None
    try:
        _refuse_no_file(config, stat)
        before = ((config, identity(stat)),)
        xml = read_file(port, config, limit=MAX_DOCUMENT_BYTES)
        content = _edited(port, location, config, xml, values)
        if content is not None and content != xml:
            _refuse_file(config, stat)
    except DiskError as error:
        error.hint = f"{error.hint} {_KEEP}" if error.hint and _KEEP not in error.hint else _KEEP
        raise
    if content is None or content == xml:
        return _Looked(content is not None)
    return _Looked(True, MachineEdit(config, content, before, values, config == config_of(location)))


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


def _edited(port: Port, location: Location, config: str, xml: bytes, values: DiskValues) -> Optional[bytes]:
    """The new content; None for the configuration of a machine that does not have this disk."""
    document = parse_xml(xml, path=config)
    tag = str(document.root.tag)
    if not tag.endswith("VirtualMachine"):
        text = "The document is no virtual machine"
        raise Damaged(text, path=config, expected="ParallelsVirtualMachine", found=tag[:80])
    own = _own_disks(port, document.root, posixpath.dirname(config), _own_path(location))
    if not own:
        return None
    editor = Editor(document, path=config)
    for disk in own:
        for name, value in _wanted(values).items():
            child = disk.find(name)
            if child is not None and not any(isinstance(one.tag, str) for one in child):
                if leaf_text(child, path=config).strip() != value:
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


def _own_disks(port: Port, root: etree._Element, folder: str, own: str) -> List[etree._Element]:
    """The disks whose path leads to this one; of a machine that was moved, the one of this name whose path leads
    nowhere.
    """
    exact, moved = [], []
    for disk, path in named_disks(root):
        named = posixpath.normpath(posixpath.join(folder, path))
        if named == own or port.real_path(named) == own:
            exact.append(disk)
        elif port.lstat(named) is None and _leads_to(port, folder, path, own):
            moved.append(disk)
    return exact or (moved if len(moved) == 1 else [])


def _leads_to(port: Port, folder: str, path: str, own: str) -> bool:
    return port.real_path(posixpath.join(folder, posixpath.basename(path))) == own
