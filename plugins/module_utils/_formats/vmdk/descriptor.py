# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text that describes a VMDK: what it is, which files it consists of, and how a virtual machine sees it.

Reading is liberal (any case, CRLF, unknown keys); writing keeps to the exact words that the strictest readers ask for.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import Dict, List, Optional, Tuple, Union

from ..._core.errors import BadRequest, Encrypted, Unsupported
from ..._core.guid import derive
from ..._core.records import dataclass
from ..._core.units import SECTOR
from ..damage import DamagedSource
from ..image import ParentImage
from ..image_ids import NO_IDS, ImageIds
from .layout import MOST_EXTENTS, MOST_SECTORS

MOST_TEXT_BYTES = 1 << 20
NO_PARENT = "ffffffff"

MONOLITHIC_SPARSE = "monolithicSparse"
MONOLITHIC_FLAT = "monolithicFlat"
SPLIT_SPARSE = "twoGbMaxExtentSparse"
SPLIT_FLAT = "twoGbMaxExtentFlat"
STREAM = "streamOptimized"
CREATE_TYPES = (MONOLITHIC_SPARSE, MONOLITHIC_FLAT, SPLIT_SPARSE, SPLIT_FLAT, STREAM)
_READ_TYPES = {
    name.lower(): name
    for name in (
        *CREATE_TYPES,
        "vmfs",
        "vmfsThin",
        "vmfsSparse",
        "seSparse",
        "vmfsPreallocated",
        "vmfsEagerZeroedThick",
        "vmfsZeroedThick",
        "2GbMaxExtentSparse",
        "2GbMaxExtentFlat",
    )
}
ADAPTER_TYPES = ("ide", "buslogic", "lsilogic", "legacyESX")
FLAT_KINDS = ("FLAT", "VMFS")
SPARSE_KINDS = ("SPARSE", "VMFSSPARSE", "SESPARSE")
ZERO_KIND = "ZERO"

_EXTENT_START = re.compile(r"(RW|RDONLY|NOACCESS)\s", re.IGNORECASE)
_EXTENT = re.compile(
    r'(RW|RDONLY|NOACCESS)\s+(\d{1,19})\s+(\w{1,32})(?:\s+"([^"]{0,4096})"(?:\s+(\d{1,19}))?)?\s*',
    re.IGNORECASE | re.ASCII,
)
_SETTING = re.compile(r'([\w.]{1,128})\s*=\s*(?:"([^"]*)"|(.*))', re.ASCII)
_UUIDS = ("image", "modification", "parent", "parentmodification")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CID = re.compile(r"(?:0x)?([0-9a-f]{1,8})", re.IGNORECASE)
# Only codecs that decode in linear time and are no trap.
_ENCODINGS = re.compile(
    r"utf-?8|us-ascii|windows-\d{3,4}|iso-?8859-\d{1,2}|gbk|gb2312|gb18030|big5|shift_?jis|euc-?(?:jp|kr)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ExtentLine:
    """``sectors`` of the disk, of ``kind``, in the file ``name`` (None for ZERO) from sector ``offset`` on."""

    sectors: int
    kind: str
    name: Optional[str] = None
    offset: int = 0
    access: str = "RW"


@dataclass(frozen=True)
class Descriptor:
    """What a descriptor says.

    ``cid`` and ``parent_cid`` are eight hex digits; ``parent_cid`` is None without a parent of VMware's kind. ``ids``
    are those of VirtualBox, ``logical_sector`` the bytes of a sector as the guest sees it.
    """

    create_type: str
    cid: Optional[str]
    parent_cid: Optional[str]
    parent_hint: Optional[str]
    adapter_type: Optional[str]
    extents: Tuple[ExtentLine, ...]
    ids: ImageIds = NO_IDS
    logical_sector: int = SECTOR

    @property
    def sectors(self) -> int:
        """The size of the disk."""
        return sum(extent.sectors for extent in self.extents)


def parse_descriptor(raw: bytes, *, path: str, offset: int = 0) -> Descriptor:
    """The descriptor in ``raw``, which ends at its first NUL. ``offset`` is where it lies, for errors.

    Raises Damaged, Unsupported with the type of disk that is not read, or Encrypted.
    """
    text = _decode(raw.partition(b"\0")[0], path, offset)
    settings: Dict[str, str] = {}
    extents: List[ExtentLine] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if _EXTENT_START.match(line):
            extents.append(_parse_extent(line, number, path))
            if len(extents) > MOST_EXTENTS:
                raise Unsupported(
                    "The disk has too many extents",
                    path,
                    expected=f"up to {MOST_EXTENTS}",
                    found=f"more, in line {number}",
                )
        elif line and not line.startswith("#"):
            _parse_setting(line, number, settings, path)
    return _understood(settings, extents, path, offset)


def _decode(raw: bytes, path: str, offset: int) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        pass
    named = re.search(rb'^[ \t]*encoding[ \t]*=[ \t]*"?([\w-]{1,32})"?[ \t\r]*$', raw, re.IGNORECASE | re.MULTILINE)
    encoding = named.group(1).decode("ascii", "replace") if named else "utf-8"
    if _ENCODINGS.fullmatch(encoding):
        try:
            return raw.decode(encoding)
        except (LookupError, UnicodeDecodeError):
            pass
    raise DamagedSource("The descriptor is no text in its encoding", path, offset, expected=encoding)


def _parse_extent(line: str, number: int, path: str) -> ExtentLine:
    words = line.split(None, 3)
    kind = words[2].upper() if len(words) > 2 else ""
    match = _EXTENT.fullmatch(line)
    if kind.isalnum() and kind not in (*FLAT_KINDS, *SPARSE_KINDS, ZERO_KIND):
        raise Unsupported(f"Extents of type {kind[:32]} are not read", path, found=f"line {number}: {line[:80]}")
    if match is None or int(match.group(2)) == 0 or (match.group(4) is None) != (kind == ZERO_KIND):
        raise DamagedSource(
            f"Line {number} describes no extent", path, expected='RW sectors type "file"', found=line[:80]
        )
    access, sectors, _kind, name, start = match.groups()
    extent = ExtentLine(int(sectors), kind, name, int(start or 0), access.upper())
    if extent.sectors > MOST_SECTORS or extent.offset > MOST_SECTORS or (extent.offset and kind in SPARSE_KINDS):
        raise DamagedSource(
            f"Line {number} describes an impossible extent",
            path,
            expected=f"up to {MOST_SECTORS} sectors",
            found=line[:80],
        )
    if extent.access == "NOACCESS" and kind != ZERO_KIND:
        raise Unsupported("Extents without access are not read", path, found=f"line {number}: {line[:80]}")
    return extent


def _parse_setting(line: str, number: int, settings: Dict[str, str], path: str) -> None:
    match = _SETTING.fullmatch(line)
    if match is None:
        # Tools add lines of their own; none of them says what the disk holds.
        return
    key = match.group(1).lower()
    value = match.group(2) if match.group(2) is not None else match.group(3).strip()
    if key.startswith("encryption") or (key == "ddb.iofilters" and "crypt" in value.lower()):
        raise Encrypted(
            "The disk is encrypted", path, found=key, hint="Let the product that made it remove the encryption first."
        )
    if settings.setdefault(key, value) != value and not key.startswith("ddb."):
        raise DamagedSource(
            f"Line {number} contradicts an earlier line", path, expected=f"{key}={settings[key][:80]}", found=line[:80]
        )


def _understood(settings: Dict[str, str], extents: List[ExtentLine], path: str, offset: int) -> Descriptor:
    kind = _create_type(settings, path, offset)
    version = settings.get("version", "1")
    if version not in ("1", "2", "3", "4"):
        raise Unsupported("The version of the descriptor is not known", path, expected="1 to 4", found=version[:20])
    if not extents:
        raise DamagedSource("The descriptor names no extent", path, offset, expected="at least one", found=0)
    if sum(extent.sectors for extent in extents) > MOST_SECTORS:
        message, expected = "The extents make an impossible disk", f"up to {MOST_SECTORS} sectors"
        raise DamagedSource(message, path, offset, expected=expected, found="more")
    parent = _parent(settings, path)
    return Descriptor(
        kind,
        _cid(settings, "cid", path),
        *parent,
        settings.get("ddb.adaptertype"),
        tuple(extents),
        ImageIds(*(_uuid(settings, f"ddb.uuid.{name}", path) for name in _UUIDS)),
        4096 if settings.get("ddb.logicalsectorsize") == "4096" else SECTOR,
    )


def _uuid(settings: Dict[str, str], key: str, path: str) -> Optional[str]:
    """A UUID as a GUID; None for zeros and for none. Raises Damaged for another text."""
    text = settings.get(key, "").strip("{}")
    if text and not _UUID.fullmatch(text):
        raise DamagedSource(f"The {key} of the descriptor is no UUID", path, expected="a UUID", found=text[:80])
    return "{" + text.lower() + "}" if text.strip("0-") else None


def _create_type(settings: Dict[str, str], path: str, offset: int) -> str:
    kind = settings.get("createtype")
    if kind is None:
        message = "This is neither a descriptor of a VMDK nor a sparse extent with one"
        raise DamagedSource(message, path, offset, expected="createType=")
    if kind.lower() not in _READ_TYPES:
        message, expected = f"Disks of type {kind[:40]!r} are not read", ", ".join(_READ_TYPES.values())
        raise Unsupported(message, path, expected=expected, found=kind[:80])
    return _READ_TYPES[kind.lower()]


def _parent(settings: Dict[str, str], path: str) -> Tuple[Optional[str], Optional[str]]:
    """The content id and the name of the parent; None and None without one."""
    cid, name = _cid(settings, "parentcid", path), settings.get("parentfilenamehint") or None
    if cid == NO_PARENT:
        cid = None
    if (cid is None) != (name is None):
        message = "The descriptor says two things of its parent"
        expected = "parentCID and parentFileNameHint, or neither"
        raise DamagedSource(message, path, expected=expected, found=(cid, name))
    return cid, name


def _cid(settings: Dict[str, str], key: str, path: str) -> Optional[str]:
    value = settings.get(key)
    if value is None:
        return None
    match = _CID.fullmatch(value.strip())
    if match is None:
        raise DamagedSource(
            f"The {key} of the descriptor is no number", path, expected="eight hex digits", found=value[:40]
        )
    return match.group(1).lower().rjust(8, "0")


def cid_of(identity: str) -> str:
    """The content id of every image with this GUID: eight hex digits, none with a meaning of its own."""
    text = identity
    while True:
        text = derive(text, "vmdk", "CID")
        cid = text[1:9]
        if cid not in ("00000000", "fffffffe", NO_PARENT):
            return cid


@dataclass(frozen=True)
class NewDescriptor:
    """The descriptor of a new image, complete but for the ids. ``extents`` carry the final names of the files."""

    create_type: str
    extents: Tuple[ExtentLine, ...]
    adapter_type: str
    hardware_version: int
    parent: Optional[ParentImage] = None
    logical_sector: int = SECTOR

    def pack(self, identity: str) -> bytes:
        """The text. All ids come from ``identity`` and from that of the parent.

        Raises BadRequest for a name that cannot be written.
        """
        parent_cid = NO_PARENT if self.parent is None else cid_of(self.parent.identity)
        lines = [
            "# Disk DescriptorFile",
            "version=1",
            'encoding="UTF-8"',
            f"CID={cid_of(identity)}",
            f"parentCID={parent_cid}",
            f'createType="{self.create_type}"',
            *([] if self.parent is None else [f'parentFileNameHint="{checked_name(self.parent.name)}"']),
            "",
            "# Extent description",
            *(_extent_text(extent) for extent in self.extents),
            "",
            "# The Disk Data Base",
            "#DDB",
            "",
            *(f'{key} = "{value}"' for key, value in self._data_base(identity)),
            "",
        ]
        return "\n".join(lines).encode("utf-8")

    def _data_base(self, identity: str) -> List[Tuple[str, Union[int, str]]]:
        cylinders, heads, sectors = geometry(sum(extent.sectors for extent in self.extents), self.adapter_type)
        long_id = derive(identity, "vmdk", "longContentID").replace("-", "")[1:25] + cid_of(identity)
        # VirtualBox finds images and their parents by these; without them it invents its own and wants to write them
        # down.
        none = "00000000-0000-0000-0000-000000000000"
        parent = (none, none) if self.parent is None else _image_ids(self.parent.identity)
        image = _image_ids(identity)
        return [
            ("ddb.virtualHWVersion", self.hardware_version),
            ("ddb.longContentID", long_id),
            ("ddb.uuid.image", image[0]),
            ("ddb.uuid.modification", image[1]),
            ("ddb.uuid.parent", parent[0]),
            ("ddb.uuid.parentmodification", parent[1]),
            ("ddb.geometry.cylinders", cylinders),
            ("ddb.geometry.heads", heads),
            ("ddb.geometry.sectors", sectors),
            ("ddb.adapterType", self.adapter_type),
            # "Provided by the host": without it vSphere does not customise the guest.
            ("ddb.toolsVersion", "2147483647"),
            *([] if self.logical_sector == SECTOR else [("ddb.logicalSectorSize", self.logical_sector)]),
        ]


def _image_ids(identity: str) -> Tuple[str, str]:
    return derive(identity, "vmdk", "image").strip("{}"), derive(identity, "vmdk", "modification").strip("{}")


def _extent_text(extent: ExtentLine) -> str:
    start = f" {extent.offset}" if extent.kind == "FLAT" else ""
    return f'{extent.access} {extent.sectors} {extent.kind} "{checked_name(extent.name or "")}"{start}'


def checked_name(name: str) -> str:
    """``name``, if it can stand between the quotes of a descriptor. Raises BadRequest."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        name = ""
    if not name or any(character == '"' or character < " " for character in name):
        raise BadRequest(
            "The file name cannot be written into a VMDK",
            expected="UTF-8 without quotes and control characters",
            found=ascii(name)[:80],
        )
    return name


def geometry(sectors: int, adapter_type: str) -> Tuple[int, int, int]:
    """Cylinders, heads and sectors of a track as VMware gives them at this adapter; no size is derived from them."""
    heads, most = (16, 16383) if adapter_type == "ide" else (255, 65535)
    return max(1, min(sectors // (heads * 63), most)), heads, 63
