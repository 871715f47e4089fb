# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One image, looked at without trust: whatever is wrong becomes a finding, and what can still be told is told."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import List, Optional, Tuple

from ..._bundle.bundle import EXPANDING, PLAIN
from ..._core.errors import Damaged, DiskError, Unsupported
from ..._core.findings import ERROR, LOSSY, NO, SAFE, Finding, found, worst
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR, ceil_div, round_up
from ..._formats.detect import detect
from ..._formats.hds.bat import RunTable, read_table
from ..._formats.hds.bat_check import check_table
from ..._formats.hds.extension import Extension, may_keep, read_extension
from ..._formats.hds.header import (
    ENTRY_BYTES,
    FLAG_EMPTY,
    FLAGS_UNKNOWN,
    HEADER_BYTES,
    HdsHeader,
    is_hds,
    unpack_header,
)
from ..._io.port import FILE, File, Port, Stat
from .header import Place, understand, with_data_off
from .table import Faults, find_faults, meets

_PREFIX = 512
_PIECE = 256 << 10
_MOST_SURPLUS_PIECES = 64
_HIGH_HALF = slice(40, 44)


@dataclass(frozen=True)
class ImageExam:
    """What is known of one image.

    ``raw`` are its first 64 bytes, ``header`` is how they must be understood, None when that cannot be told.

    ``size`` is what it holds of the guest disk, in bytes. ``extension`` counts and stays unless it ``drops_extension``.
    ``surplus`` are byte ranges behind the used table that are not zero. One that is ``is_frozen`` must not be changed.
    """

    storage: int
    guid: str
    file: str
    path: str
    outside: bool
    stat: Stat
    kind: str
    size: int
    findings: Tuple[Finding, ...]
    raw: bytes = b""
    header: Optional[HdsHeader] = None
    table: Optional[RunTable] = None
    faults: Optional[Faults] = None
    extension: Optional[Extension] = None
    drops_extension: bool = False
    surplus: Tuple[Tuple[int, int], ...] = ()
    is_frozen: bool = False

    @property
    def used_end(self) -> int:
        """The file offset behind the last place for clusters that is in use, on the grid."""
        return self.end_of_use(with_extension=True)

    def end_of_use(self, *, with_extension: bool) -> int:
        """The same, also for when the extension will have gone."""
        if self.header is None or self.table is None:
            return self.stat.size
        pinned = (
            max((end for _start, end in self.extension.pinned), default=0)
            if with_extension and self.extension is not None
            else 0
        )
        end = max(self.table.data_end if self.faults is None else self.faults.used_end, pinned, self.header.data_start)
        return self.header.data_start + round_up(end - self.header.data_start, self.header.cluster_bytes)


@dataclass(frozen=True)
class Named:
    """An image as the descriptor names it."""

    storage: int
    guid: str
    file: str
    path: str
    outside: bool
    is_plain: bool
    place: Place


def examine_image(port: Port, named: Named, *, is_held: bool = False, version: Optional[int] = None) -> ImageExam:
    """Look at one image.

    ``is_held`` tells that a process writes to it; ``version`` is the format version of its kin, where known.
    """
    stat = port.stat(named.path)
    if stat is None:
        stat = Stat(FILE, 0, 0, 0, 0, 0, 0, 0, 0)
        return _exam(
            named,
            stat,
            [
                found(
                    "image_missing",
                    named.path,
                    "The descriptor names this image, and it is not there. Restore it from a copy.",
                )
            ],
        )
    if stat.kind != FILE:
        return _exam(
            named,
            stat,
            [found("image_unreadable", named.path, f"An image must be a regular file; this is a {stat.kind}.")],
        )
    try:
        file = port.open_read(named.path)
        try:
            return _examine_open(file, named, stat, is_held, version)
        finally:
            file.close()
    except DiskError as error:
        return _exam(named, stat, [found("image_unreadable", named.path, str(error))])


def _exam(named: Named, stat: Stat, findings: List[Finding], kind: str = EXPANDING, size: int = 0) -> ImageExam:
    return ImageExam(
        named.storage, named.guid, named.file, named.path, named.outside, stat, kind, size, tuple(findings)
    )


def _examine_open(file: File, named: Named, stat: Stat, is_held: bool, version: Optional[int]) -> ImageExam:
    buffer = bytearray(_PREFIX)
    prefix = bytes(buffer[: file.pread_into(0, buffer)])
    if named.is_plain:
        return _examine_plain(named, stat)
    path = named.path
    findings: List[Finding] = []
    if len(prefix) < HEADER_BYTES:
        findings.append(
            found(
                "image_truncated",
                path,
                f"The file of {stat.size} bytes ends within its header. Restore it from a copy.",
            )
        )
        return _exam(named, stat, findings)
    if is_hds(prefix):
        disk_type, header = unpack_header(prefix, version=1 if prefix.startswith(b"WithoutFree") else 2)
    else:
        guessed = _guess(file, prefix, named, stat.size, version)
        if guessed is None:
            return _exam(named, stat, [_unknown(prefix, path)])
        disk_type, header = guessed[0], guessed[1]
        findings.append(
            found(
                "image_signature",
                path,
                "The signature of the image is destroyed; all other fields and the table are as they must be.",
            )
        )
    understood = understand(disk_type, header, named.place, path=path, file_size=stat.size)
    findings += understood.findings
    if understood.header is None:
        return replace(_exam(named, stat, findings), raw=prefix[:HEADER_BYTES])
    return _examine_table(file, understood.header, named, stat, prefix, findings, is_held)


def _examine_plain(named: Named, stat: Stat) -> ImageExam:
    length = (named.place.length_sectors or 0) * SECTOR
    findings = []
    if stat.size < SECTOR <= length:
        findings.append(
            found(
                "image_truncated",
                named.path,
                f"The plain image is empty; {length} bytes are expected. Restore it from a copy.",
            )
        )
    elif length and stat.size != length:
        findings.append(
            found("plain_size", named.path, f"The plain image has {stat.size} bytes, the descriptor says {length}.")
        )
    return _exam(named, stat, findings, PLAIN, min(stat.size // SECTOR * SECTOR, length or stat.size))


def _unknown(prefix: bytes, path: str) -> Finding:
    kind = detect(prefix, name=path)
    if kind in ("unstructured", "raw"):
        message = f"The image begins with {prefix[:16].hex()}, which is no signature, and its header does not fit the disk. Restore it from a copy."
        return found("image_signature", path, message, repairable=NO)
    return found("image_foreign", path, f"The image is of the format {kind}.")


def _guess(
    file: File, prefix: bytes, named: Named, file_size: int, version: Optional[int]
) -> Optional[Tuple[int, HdsHeader]]:
    """The header of an image whose signature alone is destroyed, if only one version makes sense of it."""
    fitting = []
    for candidate in (1, 2):
        disk_type, header = unpack_header(prefix, version=candidate)
        place = named.place
        if (header.size_sectors, header.cluster_sectors) != (place.length_sectors, place.cluster_sectors):
            continue
        understood = understand(disk_type, header, place, path="", file_size=file_size)
        if understood.header is None or understood.findings:
            continue
        table = read_table(file, header)
        if with_data_off(header, table, path="", file_size=file_size)[1]:
            continue
        try:
            check_table(table, header, path="", file_size=file_size)
        except Damaged:
            continue
        fitting.append((disk_type, header))
    chosen = [one for one in fitting if one[1].version == version] if len(fitting) > 1 else fitting
    return chosen[0] if chosen else None


def _examine_table(
    file: File, header: HdsHeader, named: Named, stat: Stat, prefix: bytes, findings: List[Finding], is_held: bool
) -> ImageExam:
    path = named.path
    table = read_table(file, header)
    header, corrections = with_data_off(header, table, path=path, file_size=stat.size)
    findings += corrections
    if corrections:
        table = replace(table, data_end=max(table.data_end, header.data_start) if len(table) else header.data_start)
    faults = find_faults(table, header, file_size=stat.size)
    findings += _table_findings(faults, path)
    extension, drops, is_known = _examine_extension(file, header, table, path, stat.size, findings)
    length = named.place.length_sectors
    exam = replace(
        _exam(
            named, stat, [], EXPANDING, header.size_bytes if length is None else min(header.size_bytes, length * SECTOR)
        ),
        raw=prefix[:HEADER_BYTES],
        header=header,
        table=table,
        faults=faults,
        extension=extension,
        drops_extension=drops,
        surplus=_surplus(file, header, stat.size),
        is_frozen=header.is_converting or not is_known,
    )
    findings += _field_findings(exam, header, prefix)
    findings += _end_findings(exam, header, table, is_held)
    if header.is_converting:
        findings.append(
            found(
                "image_converting", path, "ploop was changing the format version and was cut off. Finish it with ploop."
            )
        )
    if header.is_dirty and not is_held:
        degree = worst([one.repairable for one in findings if one.severity == ERROR])
        message = "The image is marked as in use, and nobody is seen to hold it. A repair clears the mark when nothing else is wrong (force: true is needed)."
        findings.append(found("image_dirty", path, message, repairable=degree))
    if exam.is_frozen or named.outside:
        findings = [replace(one, repairable=NO) for one in findings]
    return replace(exam, findings=tuple(findings))


def _table_findings(faults: Optional[Faults], path: str) -> List[Finding]:
    if faults is None:
        return []
    texts = {
        "entry_low": "The table leads to places before the data area for {}. A repair keeps what lies behind the table, forgets the other entries.",
        "entry_out_of_file": "The table leads behind the end of the file for {}. Their data are lost; a repair forgets the entries.",
        "entry_cut": "The file ends within {}. A repair keeps what is there; the rest becomes zeros.",
        "entry_off_grid": "The table leads between two places for {}. A repair gives each a place of its own with what is read there now.",
        "entry_duplicate": "Another guest cluster has the same place in the file as {}. A repair gives each a copy; one of two had its data overwritten.",
    }
    return [found(code, path, texts[code].format(seen)) for code, seen in faults.seen.items()]


def _examine_extension(
    file: File, header: HdsHeader, table: RunTable, path: str, file_size: int, findings: List[Finding]
) -> Tuple[Optional[Extension], bool, bool]:
    """The extension that counts, whether the header must forget one, and whether all that it needs is known."""
    if not header.ext_off:
        return None, False, True
    try:
        extension = read_extension(file, header, path=path, file_size=file_size)
    except Unsupported as error:
        findings.append(found("extension_unknown", path, str(error)))
        return None, False, False
    except Damaged as error:
        findings.append(
            found("extension_damaged", path, f"{error} It tells nothing of the guest's data; a repair drops it.")
        )
        return None, True, True
    if extension is None:
        message = f"The header names a format extension at sector {header.ext_off}, but was closed by software that does not keep one. A repair drops it."
        findings.append(found("extension_stale", path, message))
        return None, True, True
    if meets(table, extension.pinned):
        findings.append(
            found(
                "extension_overlaps",
                path,
                "A guest cluster lies where the format extension lies. A repair drops the extension.",
            )
        )
        return None, True, True
    return extension, False, may_keep(extension)


def _field_findings(exam: ImageExam, header: HdsHeader, prefix: bytes) -> List[Finding]:
    findings = []
    if header.version == 1 and any(prefix[_HIGH_HALF]):
        findings.append(
            found(
                "header_size_high",
                exam.path,
                "Only 32 bits of the guest size count in version 1; some readers take the others, too.",
            )
        )
    if header.flags != FLAGS_UNKNOWN and header.flags & FLAG_EMPTY and exam.table is not None and len(exam.table):
        findings.append(
            found("flag_empty", exam.path, "The header says that nothing was ever written, and there are clusters.")
        )
    if exam.surplus:
        # They may be live, and the size what is wrong.
        degree = LOSSY if len(exam.surplus) < _MOST_SURPLUS_PIECES else NO
        findings.append(
            found(
                "entry_surplus",
                exam.path,
                "The table has entries behind the end of the disk, which nobody reads.",
                repairable=degree,
            )
        )
    return findings


def _end_findings(exam: ImageExam, header: HdsHeader, table: RunTable, is_held: bool) -> List[Finding]:
    """How the end of the file fits its clusters. While a process writes, it may have reserved more."""
    path, size, faults, step = exam.path, exam.stat.size, exam.faults, header.cluster_bytes
    if exam.is_frozen:
        return []
    findings = []
    keeps_extension = exam.extension is not None and not (faults is not None and faults.loses)
    end = exam.end_of_use(with_extension=keeps_extension)
    if faults is not None and faults.copied:
        # Copies go behind everything, so that nothing is overwritten that an entry may have lost.
        end = max(end, header.data_start + round_up(max(0, size - header.data_start), step))
    if size > end and not is_held:
        text, degree = f"The last {size - end} bytes of the file belong to no cluster.", SAFE
        if faults is None and (exam.surplus or not len(table)):
            # Nothing proves that nobody needs them.
            text, degree = f"{text} They may belong to entries that the table has lost.", LOSSY
        if faults is not None:
            text, degree = f"{text} They may be what a wrong entry of the table has lost.", LOSSY
        findings.append(found("leak_tail", path, text, repairable=degree))
    elif size < header.data_start and not len(table):
        findings.append(
            found(
                "image_too_short",
                path,
                f"The file ends at byte {size}, before its data area begins at {header.data_start}.",
            )
        )
    elif header.data_start < size < end and faults is None:
        findings.append(
            found("tail_unaligned", path, f"The file ends at byte {size}; ploop wants whole clusters, up to {end}.")
        )
    pinned = (
        sum(ceil_div(stop - start, step) for start, stop in exam.extension.pinned)
        if exam.extension is not None and keeps_extension
        else 0
    )
    used = table.clusters_used if faults is None else faults.kept
    unused = (min(end, max(size, header.data_start)) - header.data_start + step - 1) // step - used - pinned
    if unused > 0:
        findings.append(
            found(
                "leak_inside",
                path,
                f"{unused} places for clusters within the file are unused; hdd_compact gives them back.",
            )
        )
    return findings


def _surplus(file: File, header: HdsHeader, file_size: int) -> Tuple[Tuple[int, int], ...]:
    """Byte ranges of the table behind its used part that hold something."""
    first = HEADER_BYTES + ENTRY_BYTES * header.used_entries
    pieces: List[Tuple[int, int]] = []
    buffer = bytearray(_PIECE)
    for start, end in file.data_ranges(first, min(header.table_end, file_size)):
        for offset in range(start, end, _PIECE):
            got = file.pread_into(offset, memoryview(buffer)[: min(_PIECE, end - offset)])
            if buffer.count(0, 0, got) < got and len(pieces) < _MOST_SURPLUS_PIECES:
                pieces.append((offset, offset + got))
    return tuple(pieces)
