# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual machine around a disk: ``config.pvs`` and ``Snapshots.xml`` of its ``.pvm``.

Here it is only read, and only to report: a machine that cannot be understood is a warning, never a reason not to open
the disk. What changes it is in ``machine/edit.py``. Format reference, section 2.5.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._core import guid as guids
from .._core.errors import Damaged, DiskError
from .._core.records import dataclass, replace
from .._io.durable import read_file
from .._io.port import FILE, Port
from .paths import Location
from .xml_input import MAX_DOCUMENT_BYTES, etree, leaf_text, parse_xml

CONFIG = "config.pvs"
SNAPSHOTS = "Snapshots.xml"

_SNAPSHOT_ROOTS = ("ParallelsSavedStates", "VirtuozzoSavedStates")
_INTERFACES = {"0": "ide", "1": "scsi", "2": "sata", "3": "nvme"}
_KINDS = {"0": "plain", "1": "expanding"}
# The types of guests in PrlOses.h of OpenVZ's libprlsdk.
_GUESTS = "macos windows linux freebsd os2 msdos netware solaris chromeos android".split()
_GUEST_TYPES = {7 + place: name for place, name in enumerate(_GUESTS)}
_MAX_NUMBER = 1 << 53
_MOST_DISKS = 256
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class VmSnapshot:
    """A snapshot of the machine. ``state`` is poweroff, poweron, pause or suspend; ``date`` is as written."""

    name: str
    state: str
    current: bool
    date: str


@dataclass(frozen=True)
class VmFacts:
    """What a virtual machine says of one of its disks. ``snapshots`` are those of the machine, by GUID.

    None is what it does not say; ``config_kind`` is plain or expanding.
    """

    name: Optional[str]
    uuid: Optional[str]
    config: str
    disk_index: Optional[int]
    config_size_mib: Optional[int]
    interface: Optional[str]
    suspended: bool
    snapshots: Mapping[str, VmSnapshot]
    snapshots_known: bool = True
    config_kind: Optional[str] = None
    os: Optional[str] = None


class VmReport(NamedTuple):
    """The machine, if there is one that can be understood, and what is odd about it.

    ``configs`` are the configurations that were looked at, ``others`` what further machines say of the same disk.
    """

    facts: Optional[VmFacts] = None
    warnings: Tuple[str, ...] = ()
    configs: Tuple[str, ...] = ()
    others: Tuple[VmFacts, ...] = ()

    @property
    def is_doubtful(self) -> bool:
        """Whether there is a machine whose snapshots, and so its needs, are not known."""
        return bool(self.warnings) if self.facts is None else not self.facts.snapshots_known

    @property
    def needed(self) -> Tuple[str, ...]:
        """The GUIDs of the snapshots that the machine lists."""
        return () if self.facts is None else tuple(self.facts.snapshots)

    @property
    def snapshot_names(self) -> Mapping[str, str]:
        """Names that the machine gives to snapshots, by GUID."""
        snapshots = self.facts.snapshots if self.facts is not None else {}
        return {guid: snapshot.name for guid, snapshot in snapshots.items() if snapshot.name}


def find_vm(port: Port, location: Location, *, at: Optional[str] = None, folder: Optional[str] = None) -> VmReport:
    """The virtual machine in whose ``folder`` the disk, or a link to it ``at`` a path, is. Never raises for its
    content.
    """
    own = at or (location.directory if location.kind == "bundle" else location.descriptor)
    folder = folder or posixpath.dirname(own)
    config = posixpath.join(folder, CONFIG)
    try:
        stat = port.stat(config)
        if stat is None and port.stat(posixpath.join(folder, SNAPSHOTS)) is None:
            return VmReport()
        if stat is None:
            return VmReport(None, (f"{config} is missing, although the machine has snapshots.",), (config,))
        if stat.kind != FILE:
            return VmReport(None, (f"{config} is not a regular file.",), (config,))
        return _read_vm(port, config, own)
    except DiskError as exc:
        return VmReport(None, (f"The virtual machine around the disk is not understood: {exc}",), (config,))


def joined_reports(reports: Sequence[VmReport]) -> VmReport:
    """What several machines say of one disk: the facts of the first that names it, the snapshots of all."""
    warnings = tuple(dict.fromkeys(warning for report in reports for warning in report.warnings))
    configs = tuple(dict.fromkeys(config for report in reports for config in report.configs))
    facts = [report.facts for report in reports if report.facts is not None]
    if not facts:
        return VmReport(None, warnings, configs)
    first = next((one for one in facts if one.disk_index is not None), facts[0])
    snapshots = {guid: snapshot for one in reversed(facts) for guid, snapshot in one.snapshots.items()}
    joined = replace(
        first,
        suspended=any(one.suspended for one in facts),
        snapshots=snapshots,
        snapshots_known=all(one.snapshots_known for one in facts)
        and not any(report.is_doubtful for report in reports if report.facts is None),
    )
    return VmReport(joined, warnings, configs, tuple(one for one in facts if one.config != first.config))


def _read_vm(port: Port, config: str, own: str) -> VmReport:
    folder = posixpath.dirname(config)
    root = parse_xml(read_file(port, config, limit=MAX_DOCUMENT_BYTES), path=config).root
    tag = str(root.tag)
    if not tag.endswith("VirtualMachine"):
        expected = "ParallelsVirtualMachine"
        raise Damaged("The document is no virtual machine", path=config, expected=expected, found=tag[:80])
    disk = _own_disk(port, root, folder, own)
    warnings = [f"{config} does not name this disk."] if disk is None else []
    snapshots = _snapshots_or_warning(port, folder, warnings)
    facts = VmFacts(
        name=_value(root, "Identification/VmName"),
        uuid=_guid(_value(root, "Identification/VmUuid")),
        config=config,
        disk_index=_number(_value(disk, "Index")),
        config_size_mib=_number(_value(disk, "Size")),
        interface=_interface(_value(disk, "InterfaceType"), tag),
        suspended=_has_saved_state(port, folder) or any(_is_suspended(one) for one in (snapshots or {}).values()),
        snapshots=snapshots or {},
        snapshots_known=snapshots is not None,
        config_kind=_KINDS.get(_value(disk, "DiskType") or ""),
        os=_guest(_number(_value(root, "Settings/General/OsType"))),
    )
    return VmReport(facts, tuple(warnings), (config,))


def _interface(number: Optional[str], root_tag: str) -> Optional[str]:
    if number == "3" and root_tag.startswith("Virtuozzo"):
        return "virtio"
    return _INTERFACES.get(number, number) if number is not None else None


def _guest(number: Optional[int]) -> Optional[str]:
    """A word for the type of the guest system."""
    return None if number is None else _GUEST_TYPES.get(number, "other")


def disks_of(port: Port, machine: str) -> Tuple[str, ...]:
    """The image files that the configuration of the machine in this folder names, as it writes them.

    Raises Damaged for a document that cannot be parsed.
    """
    config = posixpath.join(machine, CONFIG)
    root = parse_xml(read_file(port, config, limit=MAX_DOCUMENT_BYTES), path=config).root
    files = [disk for disk in root.findall("Hardware/Hdd") if _value(disk, "EmulatedType") in (None, "1")]
    names = [(_value(disk, "SystemName") or "").rstrip("/") for disk in files if _value(disk, "Connected") != "0"]
    return tuple(name for name in names if name)


def _own_disk(port: Port, root: etree._Element, folder: str, own: str) -> Optional[etree._Element]:
    """The Hdd element whose SystemName leads to the disk, else (machines get moved) one with its base name."""
    real, base = port.real_path(own), posixpath.basename(own)
    by_name = None
    for disk, path in named_disks(root):
        named = posixpath.normpath(posixpath.join(folder, path))
        if named == own or port.real_path(named) == real:
            return disk
        if by_name is None and posixpath.basename(path) == base:
            by_name = disk
    return by_name


def named_disks(root: etree._Element) -> Iterator[Tuple[etree._Element, str]]:
    """The Hdd elements of a configuration that name a path, each with it."""
    for disk in root.findall("Hardware/Hdd")[:_MOST_DISKS]:
        path = (_value(disk, "SystemName") or "").rstrip("/")
        if path and "\0" not in path and len(path) <= _LONGEST_PATH:
            yield disk, path


def _has_saved_state(port: Port, folder: str) -> bool:
    return any(name.endswith((".mem", ".sav")) for name in port.list_directory(folder))


def _is_suspended(snapshot: VmSnapshot) -> bool:
    """Whether the machine goes on from a snapshot that has its memory."""
    return snapshot.current and snapshot.state in ("suspend", "pause")


def _value(element: Optional[etree._Element], tag: str) -> Optional[str]:
    """The text of the first descendant at ``tag``, without white space around it; None for nothing."""
    found = None if element is None else element.find(tag)
    return None if found is None else (found.text or "").strip() or None


def _guid(text: Optional[str]) -> Optional[str]:
    """An identifier, None for what is no GUID: it is written into documents of others."""
    return text if text is not None and guids.is_guid(text) else None


def _number(text: Optional[str]) -> Optional[int]:
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 16):
        return None
    number = int(text)
    return number if number <= _MAX_NUMBER else None


def _snapshots_or_warning(port: Port, folder: str, warnings: List[str]) -> Optional[Mapping[str, VmSnapshot]]:
    path = posixpath.join(folder, SNAPSHOTS)
    try:
        if port.stat(path) is None:
            return {}
        return parse_vm_snapshots(read_file(port, path, limit=MAX_DOCUMENT_BYTES), path=path)
    except DiskError as exc:
        warnings.append(f"The snapshots of the virtual machine are not understood: {exc}")
        return None


def parse_vm_snapshots(xml: bytes, *, path: str) -> Mapping[str, VmSnapshot]:
    """The snapshots in a ``Snapshots.xml`` by GUID, parents before their children.

    The head item has no GUID and is none.
    """
    root = parse_xml(xml, path=path).root
    if root.tag not in _SNAPSHOT_ROOTS:
        text, possible = "The document is no list of snapshots", " or ".join(_SNAPSHOT_ROOTS)
        raise Damaged(text, path=path, expected=possible, found=str(root.tag)[:80])
    items = [(item, (item.get("guid") or "").strip()) for item in root.iter("SavedStateItem")]
    return {guids.normalise(guid, path=path): _vm_snapshot(item, path) for item, guid in items if guid}


def _vm_snapshot(item: etree._Element, path: str) -> VmSnapshot:
    is_current = item.get("current") == "yes"
    return VmSnapshot(_line(item, "Name", path), item.get("state") or "", is_current, _line(item, "DateTime", path))


def _line(item: etree._Element, tag: str, path: str) -> str:
    child = item.find(tag)
    return "" if child is None else leaf_text(child, path=path).strip()
