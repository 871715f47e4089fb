# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for one image (findings ``image_*``, ``plain_size``, ``flag_empty``): whatever is wrong becomes a finding, and
what can still be known is.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..._bundle.bundle import EXPANDING, PLAIN
from ..._core.errors import Damaged, DiskError
from ..._core.findings import ERROR, NO, Finding, found, worst
from ..._core.records import replace
from ..._core.units import SECTOR
from ..._formats.detect import detect
from ..._formats.hds.bat import RunTable, read_table
from ..._formats.hds.bat_check import check_table
from ..._formats.hds.header import FLAG_EMPTY, FLAGS_UNKNOWN, HEADER_BYTES, HdsHeader, is_hds, unpack_header
from ..._io.port import FILE, File, Port, Stat
from .examination import ImageExam, Named
from .extension import examine_extension
from .file_end import examine_end
from .header import understand, with_data_off
from .table import find_faults, read_surplus, surplus_findings, table_findings

_PREFIX = 512
_HIGH_HALF = slice(40, 44)


class _Opened(NamedTuple):
    """An image that is being looked at, and the beginning of its file."""

    file: File
    named: Named
    stat: Stat
    prefix: bytes


def examine_image(port: Port, named: Named, *, is_held: bool = False, version: Optional[int] = None) -> ImageExam:
    """Look at one image.

    ``is_held`` says that a process writes to it; ``version`` is the format version of its siblings, where known.
    """
    stat = port.stat(named.path)
    if stat is None:
        stat = Stat(FILE, 0, 0, 0, 0, 0, 0, 0, 0)
        text = "The descriptor names this image, and it is not there. Restore it from a copy."
        return _exam(named, stat, [found("image_missing", named.path, text)])
    if stat.kind != FILE:
        text = f"An image must be a regular file; this is a {stat.kind}."
        return _exam(named, stat, [found("image_unreadable", named.path, text)])
    try:
        file = port.open_read(named.path)
        try:
            buffer = bytearray(_PREFIX)
            opened = _Opened(file, named, stat, bytes(buffer[: file.pread_into(0, buffer)]))
            return _examine_plain(named, stat) if named.is_plain else _examine_expanding(opened, is_held, version)
        finally:
            file.close()
    except DiskError as error:
        return _exam(named, stat, [found("image_unreadable", named.path, str(error))])


def _exam(named: Named, stat: Stat, findings: Sequence[Finding], kind: str = EXPANDING, size: int = 0) -> ImageExam:
    return ImageExam(
        named.storage, named.guid, named.file, named.path, named.outside, stat, kind, size, tuple(findings)
    )


def _examine_plain(named: Named, stat: Stat) -> ImageExam:
    length = (named.expected.length_sectors or 0) * SECTOR
    findings = []
    if stat.size < SECTOR <= length:
        text = f"The plain image is empty; {length} bytes are expected. Restore it from a copy."
        findings.append(found("image_truncated", named.path, text))
    elif length and stat.size != length:
        text = f"The plain image has {stat.size} bytes, the descriptor says {length}."
        findings.append(found("plain_size", named.path, text))
    return _exam(named, stat, findings, PLAIN, min(stat.size // SECTOR * SECTOR, length or stat.size))


def _examine_expanding(opened: _Opened, is_held: bool, version: Optional[int]) -> ImageExam:
    named, stat, prefix = opened.named, opened.stat, opened.prefix
    if len(prefix) < HEADER_BYTES:
        text = f"The file of {stat.size} bytes ends within its header. Restore it from a copy."
        return _exam(named, stat, [found("image_truncated", named.path, text)])
    findings: Tuple[Finding, ...] = ()
    read: Optional[Tuple[int, HdsHeader]]
    if is_hds(prefix):
        read = unpack_header(prefix, version=1 if prefix.startswith(b"WithoutFree") else 2)
    else:
        read = _guess(opened, version)
        text = "The signature of the image is destroyed; all other fields and the table are as they must be."
        findings = (found("image_signature", named.path, text),)
    if read is None:
        return _exam(named, stat, [_unknown(prefix, named.path)])
    disk_type, header = read
    understood = understand(disk_type, header, named.expected, path=named.path, file_size=stat.size)
    findings += understood.findings
    if understood.header is None:
        return replace(_exam(named, stat, findings), raw=prefix[:HEADER_BYTES])
    exam = _examine_table(opened, understood.header, is_held=is_held)
    findings += exam.findings
    findings += _mark_findings(exam, findings, is_held=is_held)
    if exam.is_frozen or named.outside:
        findings = tuple(replace(one, repairable=NO) for one in findings)
    return replace(exam, findings=findings)


def _unknown(prefix: bytes, path: str) -> Finding:
    kind = detect(prefix, name=path)
    if kind in ("unstructured", "raw"):
        text = (
            f"The image begins with {prefix[:16].hex()}, which is no signature, and its header does not fit the disk. "
            "Restore it from a copy."
        )
        return found("image_signature", path, text, repairable=NO)
    return found("image_foreign", path, f"The image is of the format {kind}.")


def _guess(opened: _Opened, version: Optional[int]) -> Optional[Tuple[int, HdsHeader]]:
    """The header of an image whose signature alone is destroyed, if only one version makes sense of it."""
    fitting = [one for candidate in (1, 2) for one in _sound_header(opened, candidate)]
    chosen = [one for one in fitting if one[1].version == version] if len(fitting) > 1 else fitting
    return chosen[0] if chosen else None


def _sound_header(opened: _Opened, version: int) -> List[Tuple[int, HdsHeader]]:
    """The header as one of ``version``, if it and its table are sound."""
    expected, size = opened.named.expected, opened.stat.size
    disk_type, header = unpack_header(opened.prefix, version=version)
    if (header.size_sectors, header.cluster_sectors) != (expected.length_sectors, expected.cluster_sectors):
        return []
    understood = understand(disk_type, header, expected, path="", file_size=size)
    if understood.header is None or understood.findings:
        return []
    table = read_table(opened.file, header)
    if with_data_off(header, table, path="", file_size=size)[1]:
        return []
    try:
        check_table(table, header, path="", file_size=size)
    except Damaged:
        return []
    return [(disk_type, header)]


def _examine_table(opened: _Opened, header: HdsHeader, *, is_held: bool) -> ImageExam:
    """Everything from the start of the data area on; ``header`` is right but for that."""
    file, named, stat, prefix = opened
    table = read_table(file, header)
    header, corrections = with_data_off(header, table, path=named.path, file_size=stat.size)
    if corrections:
        table = replace(table, data_end=max(table.data_end, header.data_start) if len(table) else header.data_start)
    faults = find_faults(table, header, file_size=stat.size)
    extension = examine_extension(file, header, table, file_size=stat.size)
    length = named.expected.length_sectors
    size = header.size_bytes if length is None else min(header.size_bytes, length * SECTOR)
    exam = replace(
        _exam(named, stat, (), EXPANDING, size),
        raw=prefix[:HEADER_BYTES],
        header=header,
        table=table,
        faults=faults,
        extension=extension.extension,
        drops_extension=extension.is_dropped,
        surplus=read_surplus(file, header, file_size=stat.size),
        is_frozen=header.is_converting or not extension.is_known,
    )
    findings = [
        *corrections,
        *table_findings(faults, named.path),
        *extension.findings,
        *_field_findings(header, table, prefix, named.path),
        *surplus_findings(exam.surplus, named.path),
        *examine_end(exam, header, table, is_held=is_held),
    ]
    return replace(exam, findings=tuple(findings))


def _field_findings(header: HdsHeader, table: RunTable, prefix: bytes, path: str) -> Iterator[Finding]:
    if header.version == 1 and any(prefix[_HIGH_HALF]):
        text = "Only 32 bits of the guest size count in version 1; some readers take the others, too."
        yield found("header_size_high", path, text)
    if header.flags != FLAGS_UNKNOWN and header.flags & FLAG_EMPTY and len(table):
        yield found("flag_empty", path, "The header says that nothing was ever written, and there are clusters.")


def _mark_findings(exam: ImageExam, before: Sequence[Finding], *, is_held: bool) -> Tuple[Finding, ...]:
    """What the marks of an image say, after everything else that was found in it."""
    findings: Tuple[Finding, ...] = ()
    if exam.header is not None and exam.header.is_converting:
        text = "ploop was changing the format version and was cut off. Finish it with ploop."
        findings = (found("image_converting", exam.path, text),)
    if exam.header is not None and exam.header.is_dirty and not is_held:
        degree = worst([one.repairable for one in (*before, *findings) if one.severity == ERROR])
        text = (
            "The image is marked as in use, and nobody is seen to hold it. A repair clears the mark when nothing else "
            "is wrong (force: true is needed)."
        )
        findings += (found("image_dirty", exam.path, text, repairable=degree),)
    return findings
