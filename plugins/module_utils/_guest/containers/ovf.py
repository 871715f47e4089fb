# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The description of an appliance (OVF): which disks it has, in which files, and what their checksums are.

DSP0243, sections 7.1, 7.2 and 9.2; the manifest is that of section 6.2.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple
from urllib.parse import unquote

from ..._bundle.xml_input import parse_xml
from ..._core.errors import Damaged, Unsupported

_LINE = re.compile(r"(SHA1|SHA256|SHA384|SHA512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)\s*", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{1,18}")
_LEGAL = {"sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}


class OvfDisk(NamedTuple):
    """A disk: its id, and the file that holds it, None for an empty one. ``packing`` is identity, gzip or another.

    The file is cut into chunks of ``chunk_bytes``, if any; it has ``size`` bytes in the container, if that is noted.
    """

    id: str
    file: Optional[str]
    packing: str = "identity"
    parent: Optional[str] = None
    chunk_bytes: Optional[int] = None
    size: Optional[int] = None

    @property
    def names(self) -> Tuple[str, ...]:
        """What the file may be called: as it is written, or with the escapes of an address resolved."""
        plain = unquote(self.file or "", errors="surrogateescape")
        is_name = "/" not in plain and "\0" not in plain and plain not in ("", ".", "..")
        return tuple(dict.fromkeys((self.file or "", *((plain,) if is_name else ()))))


def chunk_name(file: str, number: int) -> str:
    """What a chunk of a file is called."""
    return f"{file}.{number:09d}"


def _tag(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _value(element: Any, name: str) -> Optional[str]:
    """An attribute, whatever its name space."""
    return next((text for key, text in element.attrib.items() if key.rpartition("}")[2] == name), None)


def parse_ovf(xml: bytes, *, path: str) -> Tuple[OvfDisk, ...]:
    """The disks of a description, in its order. Raises Damaged for what is none, Unsupported beyond the limits."""
    root = parse_xml(xml, path=path).root
    if _tag(root) != "Envelope":
        raise Damaged("This is no description of an appliance", path, expected="<Envelope>", found=f"<{_tag(root)}>")
    files: Dict[str, Any] = {}
    disks: List[Any] = []
    for element in root.iter():
        if _tag(element) == "File":
            files[_value(element, "id") or ""] = element
        elif _tag(element) == "Disk" and _value(element, "diskId") is not None:
            disks.append(element)
    return tuple(_disk(element, files, path) for element in disks)


def _disk(element: Any, files: Dict[str, Any], path: str) -> OvfDisk:
    name, reference = _value(element, "diskId") or "", _value(element, "fileRef")
    if not reference:
        return OvfDisk(name, None, parent=_value(element, "parentRef"))
    file = files.get(reference)
    if file is None:
        message = f"The disk {name[:80]!r} has a file that is not among the references"
        raise Damaged(message, path, expected="a File with this id", found=reference[:80])
    href = _value(file, "href") or ""
    if not href or "\0" in href or "/" in posixpath.normpath(href) or href in (".", "..") or "://" in href:
        raise Unsupported(
            "The description names a file that is not beside it",
            path,
            found=href[:200],
            hint="Put the file beside the description, and let that name it by its name.",
        )
    packing = (_value(file, "compression") or "identity").lower()
    sizes = (_number(file, "chunkSize", path), _number(file, "size", path))
    return OvfDisk(name, posixpath.normpath(href), packing or "identity", _value(element, "parentRef"), *sizes)


def _number(element: Any, name: str, path: str) -> Optional[int]:
    text = (_value(element, name) or "").strip()
    if text and not _DIGITS.fullmatch(text):
        raise Damaged(f"The {name} of a file is no number of bytes", path, expected="digits", found=text[:40])
    return int(text) if text else None


def parse_manifest(raw: bytes, *, path: str) -> Dict[str, Tuple[str, str]]:
    """The algorithm and the checksum of each file that a manifest names. Raises Damaged for a line that is none."""
    found: Dict[str, Tuple[str, str]] = {}
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or len(match.group(3)) != _LEGAL[match.group(1).lower()]:
            message = f"Line {number} of the manifest is no checksum"
            raise Damaged(message, path, expected="SHA256(file)= hex digits", found=line[:80])
        found[match.group(2)] = (match.group(1).lower(), match.group(3).lower())
    return found
