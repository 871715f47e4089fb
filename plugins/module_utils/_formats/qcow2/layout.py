# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The header of a qcow2 file and its extensions (docs/interop/qcow2.rst of QEMU).

All numbers are big-endian. The guest disk is cut into clusters of 512 bytes to 2 MiB. An L1 entry leads to an L2 table,
which is one cluster long, and an L2 entry to a cluster; see ``entries``.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from shlex import quote
from typing import Any, Iterator, Optional, Tuple

from ..._core.errors import BadRequest, Damaged, Encrypted, Unsupported
from ..._core.records import dataclass
from ..._core.units import MIB, ceil_div

MAGIC = b"QFI\xfb"
HEADER_BYTES = {2: 72, 3: 112}
ENTRY_BYTES = 8
LEAST_CLUSTER_BITS, MOST_CLUSTER_BITS = 9, 21
# The limits of QEMU: what is larger it does not open.
MOST_L1_BYTES = 32 * MIB
MOST_REFCOUNT_TABLE_BYTES = 8 * MIB
MOST_SNAPSHOTS = 65536
MOST_NAME_BYTES = 1023

DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION_TYPE, EXTENDED_L2 = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
COMPRESSIONS = ("zlib", "zstd")
_CRYPT_METHODS = {1: "AES", 2: "LUKS"}

_BACKING_FORMAT, _FEATURE_NAMES, _BITMAPS, _DATA_FILE = 0xE2792ACA, 0x6803F857, 0x23852875, 0x44415441
_RAW_DATA = 1 << 1
_FEATURE_BYTES = 48
_MOST_FORMAT_BYTES = 63
_MOST_PATH_BYTES = 4095

_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")


class DamagedTables(Damaged):
    """Damage that a check by QEMU may repair."""

    def __init__(self, message: str, path: str, *args: int, **fields: Any) -> None:
        fields.setdefault("hint", f"Keep a copy of the image and run: qemu-img check -r all {quote(path)}")
        super().__init__(message, path, *args, **fields)


@dataclass(frozen=True)
class Qcow2Header:
    """What the header and its extensions say, judged.

    Offsets and sizes are bytes; ``compression`` is what a compressed cluster would use. ``data_name`` is that of an
    external data file, which may be a whole raw image at all times (``is_raw_data``).
    """

    version: int
    cluster_bits: int
    size_bytes: int
    l1_offset: int
    l1_entries: int
    refcount_table_offset: int
    refcount_table_bytes: int
    snapshots: int = 0
    incompatible: int = 0
    compression: str = "zlib"
    backing_name: Optional[str] = None
    backing_format: Optional[str] = None
    has_bitmaps: bool = False
    has_saved_state: bool = False
    data_name: Optional[str] = None
    is_raw_data: bool = False

    @property
    def is_external(self) -> bool:
        """Whether the clusters of the guest are in another file."""
        return bool(self.incompatible & EXTERNAL_DATA)

    @property
    def cluster_bytes(self) -> int:
        """The size of a cluster."""
        return 1 << self.cluster_bits

    @property
    def is_extended(self) -> bool:
        """Whether L2 entries have two words."""
        return bool(self.incompatible & EXTENDED_L2)

    @property
    def l2_entry_bytes(self) -> int:
        """The size of an L2 entry."""
        return 2 * ENTRY_BYTES if self.is_extended else ENTRY_BYTES

    @property
    def table_span(self) -> int:
        """How many guest bytes one L2 table describes."""
        return self.cluster_bytes // self.l2_entry_bytes * self.cluster_bytes

    @property
    def used_l1_entries(self) -> int:
        """The L1 entries that the guest disk needs; more may follow, for the state of a machine."""
        return ceil_div(self.size_bytes, self.table_span)


def cluster_bits_of(raw: bytes, *, path: str) -> int:
    """The cluster size as a power of two, from the first 72 bytes: that much is needed to read the rest.

    Raises Damaged or Unsupported.
    """
    if len(raw) < HEADER_BYTES[2] or raw[:4] != MAGIC:
        raise Damaged("This is no qcow2 image", path, 0, expected=MAGIC.hex(), found=raw[:4].hex())
    version, bits = struct.unpack_from(">I", raw, 4)[0], struct.unpack_from(">I", raw, 20)[0]
    if version not in HEADER_BYTES:
        raise Unsupported("Only versions 2 and 3 of qcow2 can be read", path, 4, expected="2 or 3", found=version)
    if not LEAST_CLUSTER_BITS <= bits <= MOST_CLUSTER_BITS:
        raise Damaged("The cluster size is out of bounds", path, 20, expected="512 bytes to 2 MiB", found=f"2^{bits}")
    return bits


def parse_header(raw: bytes, *, path: str, file_size: int) -> Qcow2Header:
    """The header in ``raw``, which is the first cluster of a file of ``file_size`` bytes, or all of a shorter one.

    Raises Damaged, Unsupported or Encrypted for everything that cannot be read as it is meant.
    """
    bits = cluster_bits_of(raw, path=path)
    fields = _V2.unpack_from(raw)
    version, name_offset, name_bytes, size, crypt = fields[1], fields[2], fields[3], fields[5], fields[6]
    l1_entries, l1_offset, table_offset, table_clusters, snapshots, _snapshots_offset = fields[7:]
    incompatible, autoclear, end, kind = 0, 0, HEADER_BYTES[2], 0
    if version > 2:
        incompatible, autoclear, end, kind = _parse_v3(raw, bits, path)
    extensions = _Extensions(raw[: 1 << bits], end, name_offset or 1 << bits, path)
    _check_encryption(crypt, path)
    _check_features(incompatible, extensions, path)
    _check_kinds(incompatible, kind, bits, path)
    header = Qcow2Header(
        version=version,
        cluster_bits=bits,
        size_bytes=size,
        l1_offset=l1_offset,
        l1_entries=l1_entries,
        refcount_table_offset=table_offset,
        refcount_table_bytes=table_clusters << bits,
        snapshots=snapshots,
        incompatible=incompatible,
        compression=COMPRESSIONS[kind],
        backing_name=_backing_name(raw, name_offset, name_bytes, path),
        backing_format=extensions.backing_format,
        has_bitmaps=extensions.has_bitmaps,
        data_name=extensions.data_name,
        is_raw_data=bool(incompatible & EXTERNAL_DATA and autoclear & _RAW_DATA),
    )
    check_tables(header, path, file_size)
    return header


def _parse_v3(raw: bytes, bits: int, path: str) -> Tuple[int, int, int, int]:
    """The incompatible and autoclear features, the length and the compression's number of a version 3 header."""
    least = HEADER_BYTES[2] + _V3.size
    if len(raw) < least:
        raise Damaged("The file ends within its header", path, len(raw), expected=least, found=len(raw))
    incompatible, _compatible, autoclear, refcount_order, length = _V3.unpack_from(raw, HEADER_BYTES[2])
    if refcount_order > 6:
        raise Damaged(
            "The width of the reference counts is out of bounds", path, 96, expected="0..6", found=refcount_order
        )
    if not least <= length <= min(len(raw), 1 << bits) or length % 8:
        raise Damaged("The header length is out of bounds", path, 100, expected=f"{least} to one cluster", found=length)
    kind = raw[least] if length > least else 0
    if (kind != 0) != bool(incompatible & COMPRESSION_TYPE):
        raise Damaged("The header contradicts itself about the kind of compression", path, least, found=kind)
    return incompatible, autoclear, length, kind


def _listed(raw: bytes, start: int, path: str) -> Iterator[Tuple[int, int, bytes]]:
    """The header extensions from ``start`` to the end of ``raw``: kind, place and content."""
    while start + 8 <= len(raw):
        kind, length = struct.unpack_from(">II", raw, start)
        if kind == 0:
            return
        start += 8
        room = len(raw) - start
        if length > room:
            raise Damaged("A header extension is too long", path, start - 4, expected=f"at most {room}", found=length)
        yield kind, start, raw[start : start + length]
        start += ceil_div(length, 8) * 8


class _Extensions:
    """What the header extensions between ``start`` and ``end`` say; unknown ones are skipped."""

    def __init__(self, raw: bytes, start: int, end: int, path: str) -> None:
        self.backing_format: Optional[str] = None
        self.has_bitmaps = False
        self.data_name: Optional[str] = None
        self._features = b""
        for kind, place, content in _listed(raw[:end], start, path):
            if kind == _BACKING_FORMAT:
                if len(content) > _MOST_FORMAT_BYTES:
                    message, most = "The format of the backing file is too long", _MOST_FORMAT_BYTES
                    raise Damaged(message, path, place, expected=most, found=len(content))
                self.backing_format = content.decode("ascii", "backslashreplace") or None
            elif kind == _BITMAPS:
                self.has_bitmaps = True
            elif kind == _DATA_FILE:
                self.data_name = _data_name(content, place, path)
            elif kind == _FEATURE_NAMES:
                self._features = content

    def feature(self, bit: int) -> str:
        """What the image itself calls an incompatible feature."""
        for start in range(0, len(self._features) - _FEATURE_BYTES + 1, _FEATURE_BYTES):
            if self._features[start] == 0 and self._features[start + 1] == bit:
                name = self._features[start + 2 : start + _FEATURE_BYTES].partition(b"\0")[0]
                return f"{name.decode('ascii', 'backslashreplace')!r} (bit {bit})"
        return f"bit {bit}"


def _data_name(content: bytes, place: int, path: str) -> Optional[str]:
    if len(content) > _MOST_PATH_BYTES or b"\0" in content:
        message = "The name of the data file is too long, or has a zero byte"
        raise Damaged(message, path, place, expected=f"at most {_MOST_PATH_BYTES} bytes", found=len(content))
    return content.decode("utf-8", "surrogateescape") or None


def _check_encryption(crypt: int, path: str) -> None:
    if crypt:
        if crypt not in _CRYPT_METHODS:
            raise Unsupported(f"The image has an unknown encryption (method {crypt})", path, 32, found=crypt)
        options = quote(f"driver=qcow2,file.filename={path},encrypt.key-secret=s")
        secret = "--object secret,id=s,file=PASSPHRASE"
        hint = f"Decrypt it and name the result: qemu-img convert {secret} --image-opts {options} -O raw "
        hint += quote(f"{path}.decrypted")
        raise Encrypted(f"The image is encrypted ({_CRYPT_METHODS[crypt]})", path, 32, found=crypt, hint=hint)


def _check_features(incompatible: int, extensions: _Extensions, path: str) -> None:
    if incompatible & CORRUPT:
        raise DamagedTables("The image is marked as corrupt", path, 72, found=hex(incompatible))
    unknown = incompatible & ~(DIRTY | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2)
    if unknown:
        names = ", ".join(extensions.feature(bit) for bit in range(64) if unknown >> bit & 1)
        raise Unsupported(
            f"The image needs features that are not known here: {names}", path, 72, found=hex(incompatible)
        )


def _check_kinds(incompatible: int, kind: int, bits: int, path: str) -> None:
    if kind >= len(COMPRESSIONS):
        raise Unsupported(
            f"The image has an unknown kind of compression ({kind})", path, 104, expected="0 or 1", found=kind
        )
    if incompatible & EXTENDED_L2 and bits < 14:
        raise Damaged(
            "Clusters are too small for extended L2 tables", path, 20, expected="at least 16 KiB", found=1 << bits
        )


def _backing_name(raw: bytes, offset: int, length: int, path: str) -> Optional[str]:
    if not offset or not length:
        return None
    if length > MOST_NAME_BYTES or offset + length > len(raw):
        raise Damaged(
            "The name of the backing file is too long or misplaced", path, 8, found=f"{length} bytes at {offset}"
        )
    name = raw[offset : offset + length]
    if b"\0" in name:
        raise Damaged("The name of the backing file has a zero byte", path, offset + name.index(0))
    return name.decode("utf-8", "surrogateescape")


def check_tables(header: Qcow2Header, path: str, file_size: int) -> None:
    """Raise Damaged for tables that cannot be, or that are not within a file of ``file_size`` bytes."""
    _check_tables(header, path)
    _check_places(header, path, file_size)


def snapshots_offset(raw: bytes) -> int:
    """Where the table of internal snapshots is, from the first bytes of a header that was judged."""
    return int(_V2.unpack_from(raw)[12])


def _check_tables(header: Qcow2Header, path: str) -> None:
    if header.l1_entries * ENTRY_BYTES > MOST_L1_BYTES:
        raise Damaged(
            "The L1 table is too large", path, 36, expected=MOST_L1_BYTES // ENTRY_BYTES, found=header.l1_entries
        )
    if header.used_l1_entries > header.l1_entries:
        raise Damaged(
            "The L1 table is too small for the disk", path, 36, expected=header.used_l1_entries, found=header.l1_entries
        )
    if not 0 < header.refcount_table_bytes <= MOST_REFCOUNT_TABLE_BYTES:
        expected = f"1..{MOST_REFCOUNT_TABLE_BYTES >> header.cluster_bits} clusters"
        found = header.refcount_table_bytes >> header.cluster_bits
        raise DamagedTables(
            "The table of reference counts has an impossible size", path, 56, expected=expected, found=found
        )
    if header.snapshots > MOST_SNAPSHOTS:
        raise Damaged("The image has too many snapshots", path, 60, expected=MOST_SNAPSHOTS, found=header.snapshots)
    if header.is_external and header.snapshots:
        message = "An image with an external data file cannot hold snapshots"
        raise Damaged(message, path, 60, expected=0, found=header.snapshots)


def _check_places(header: Qcow2Header, path: str, file_size: int) -> None:
    # QEMU ends the file after the last entry, not after the last cluster of a table.
    places = [("L1 table", 40, header.l1_offset, header.l1_entries * ENTRY_BYTES)] if header.l1_entries else []
    places.append(("table of reference counts", 48, header.refcount_table_offset, 1))
    for name, field, offset, length in places:
        if offset % header.cluster_bytes or offset < header.cluster_bytes:
            raise Damaged(f"The {name} does not begin at a cluster after the header", path, field, found=offset)
        if offset + length > file_size:
            raise Damaged(
                f"The {name} lies beyond the end of the file", path, field, expected=f"below {file_size}", found=offset
            )


def named_data_file(raw: bytes) -> Optional[Tuple[str, bool]]:
    """The external data file that an image with these first bytes names, and whether that is a whole raw image."""
    try:
        bits = cluster_bits_of(raw, path="")
        incompatible, autoclear, end, _kind = _parse_v3(raw, bits, "") if raw[7] > 2 else (0, 0, 0, 0)
        extensions = _Extensions(raw[: 1 << bits], end, len(raw), "")
    except (Damaged, Unsupported):
        return None
    is_named = incompatible & EXTERNAL_DATA and extensions.data_name
    return (extensions.data_name or "", bool(autoclear & _RAW_DATA)) if is_named else None


def pack_header(header: Qcow2Header) -> bytes:
    """The bytes of a header with its extensions and the name of its backing file.

    Raises BadRequest when they do not fit into the first cluster. The reference counts have 16 bits.
    """
    name = (header.backing_name or "").encode("utf-8", "surrogateescape")
    extensions = bytes(8)
    if name:
        called = (header.backing_format or "").encode("ascii")
        extensions = struct.pack(">II", _BACKING_FORMAT, len(called)) + called + bytes(-len(called) % 8 + 8)
    length = HEADER_BYTES[header.version]
    name_offset = length + len(extensions) if name else 0
    most = min(MOST_NAME_BYTES, header.cluster_bytes - name_offset)
    if len(name) > most:
        message, hint = "The name of the parent image is too long for this image", "Choose larger clusters."
        raise BadRequest(message, expected=f"at most {most} bytes", found=len(name), hint=hint)
    l1 = (header.l1_entries, header.l1_offset)
    counts = (header.refcount_table_offset, header.refcount_table_bytes >> header.cluster_bits)
    raw = _V2.pack(
        MAGIC, header.version, name_offset, len(name), header.cluster_bits, header.size_bytes, 0, *l1, *counts, 0, 0
    )
    if header.version > 2:
        raw += _V3.pack(header.incompatible, 0, 0, 4, length)
        raw += bytes([COMPRESSIONS.index(header.compression)]) + bytes(7)
    return raw + extensions + name
