# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for one image (findings ``image_*``, ``plain_size``, ``flag_empty``), and what is known of it nevertheless."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..._bundle.bundle import EXPANDING, PLAIN
from ..._core.errors import CHECK_HINT, Damaged, DiskError
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
from .image_type import has_boot_sector, is_contradicted, judge_type
from .table import find_faults, read_surplus, surplus_findings, table_findings

_PREFIX = 512
_HIGH_HALF = slice(40, 44)
_DIRTY = (
    "The image is marked as in use, and nobody is seen to hold it. A repair clears the mark when nothing else is wrong "
    "(force: true is needed)."
)


class _Opened(NamedTuple):
    """An image that is being examined, and the start of its file."""

    file: File
    named: Named
    stat: Stat
    prefix: bytes


def examine_image(port: Port, named: Named, *, is_held: bool = False, version: Optional[int] = None) -> ImageExam:
    """Examine one image. ``is_held``: a process writes to it; ``version``: the format version of its siblings."""
    stat = port.stat(named.path)
    if stat is None:
        text = "The descriptor names this image, and it is not there. Restore it from a copy."
        return _exam(named, Stat(FILE, 0, 0, 0, 0, 0, 0, 0, 0), found("image_missing", named.path, text))
    if stat.kind != FILE:
        text = f"An image must be a regular file; this is a {stat.kind}."
        return _exam(named, stat, found("image_unreadable", named.path, text))
    try:
        file = port.open_read(named.path)
        try:
            buffer = bytearray(_PREFIX)
            opened = _Opened(file, named, stat, bytes(buffer[: file.pread_into(0, buffer)]))
            return _examine_opened(opened, is_held, version)
        finally:
            file.close()
    except DiskError as error:
        return _exam(
            named,
            stat,
            found("image_unreadable", named.path, str(error) if error.hint != CHECK_HINT else error.statement),
        )


def _examine_opened(opened: _Opened, is_held: bool, version: Optional[int]) -> ImageExam:
    named = opened.named
    if not named.is_plain and (is_hds(opened.prefix) or not _may_be_raw(opened)):
        exam = _examine_expanding(opened, is_held, version)
    elif named.is_plain or _guess(opened, version) is None:
        exam = _examine_plain(named, opened.stat)
    else:
        exam = _examine_expanding(opened, is_held, version)
    verdict = None
    if is_contradicted(named, opened.prefix, exam):
        # Hardly an image is not of its type.
        verdict = judge_type(opened.file, named, opened.prefix, exam)
    if verdict is None:
        return exam
    kept = [one for one in exam.findings if one.code not in verdict.replaces]
    return replace(exam, findings=(verdict.finding, *kept), right_type=verdict.right_type)


def _may_be_raw(opened: _Opened) -> bool:
    """Whether a root that is no expanding image is as long as its part of the disk, or begins with a boot sector."""
    named, length = opened.named, opened.named.expected.length_sectors
    if not named.type or not named.is_root or length is None:
        return False
    return opened.stat.size == length * SECTOR or has_boot_sector(opened.prefix)


def _exam(named: Named, stat: Stat, *findings: Finding) -> ImageExam:
    return ImageExam(named.storage, named.guid, named.file, named.path, named.outside, stat, EXPANDING, 0, findings)


def _examine_plain(named: Named, stat: Stat) -> ImageExam:
    length = (named.expected.length_sectors or 0) * SECTOR
    findings = []
    if stat.size < SECTOR <= length:
        text = f"The plain image is empty; {length} bytes are expected. Restore it from a copy."
        findings.append(found("image_truncated", named.path, text))
    elif length and stat.size != length:
        text = f"The plain image has {stat.size} bytes, the descriptor says {length}."
        findings.append(found("plain_size", named.path, text))
    size = min(stat.size // SECTOR * SECTOR, length or stat.size)
    return replace(_exam(named, stat, *findings), kind=PLAIN, size=size)


def _examine_expanding(opened: _Opened, is_held: bool, version: Optional[int]) -> ImageExam:
    named, stat, prefix = opened.named, opened.stat, opened.prefix
    if len(prefix) < HEADER_BYTES:
        text = f"The file of {stat.size} bytes ends within its header. Restore it from a copy."
        return _exam(named, stat, found("image_truncated", named.path, text))
    findings: Tuple[Finding, ...] = ()
    read = _read_header(prefix)
    if read is None:
        text = "The signature of the image is destroyed; all other fields and the table are as they must be."
        read, findings = _guess(opened, version), (found("image_signature", named.path, text),)
    if read is None:
        return _exam(named, stat, _unknown(prefix, named.path))
    understood = understand(*read, named.expected, path=named.path, file_size=stat.size)
    findings += understood.findings
    if understood.header is None:
        return replace(_exam(named, stat, *findings), raw=prefix[:HEADER_BYTES])
    return _examine_rest(opened, understood.header, findings, is_held=is_held)


def _read_header(prefix: bytes) -> Optional[Tuple[int, HdsHeader]]:
    if not is_hds(prefix):
        return None
    return unpack_header(prefix, version=1 if prefix.startswith(b"WithoutFree") else 2)


def _examine_rest(opened: _Opened, header: HdsHeader, findings: Tuple[Finding, ...], *, is_held: bool) -> ImageExam:
    exam = _examine_table(opened, header, is_held=is_held)
    findings += exam.findings
    findings += _mark_findings(exam, findings, is_held=is_held)
    if exam.is_frozen or opened.named.outside:
        findings = tuple(replace(one, repairable=NO) for one in findings)
    return replace(exam, findings=findings)


def _unknown(prefix: bytes, path: str) -> Finding:
    kind = detect(prefix, name=path)
    if kind in ("unstructured", "raw"):
        text = (
            f"The image begins with {prefix[:16].hex()}, which is no signature, and its header does not fit the disk."
        )
        text += " If it holds raw bytes, hdd_convert reads them with src_format: raw on the file; if not, restore it"
        return found("image_signature", path, f"{text} from a copy.", repairable=NO)
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
    try:
        check_table(table, header, path="", file_size=size)
    except Damaged:
        return []
    return [] if with_data_off(header, table, path="", file_size=size)[1] else [(disk_type, header)]


def _examine_table(opened: _Opened, header: HdsHeader, *, is_held: bool) -> ImageExam:
    """Everything from the start of the data area on; ``header`` is right but for that."""
    file, named, stat, prefix = opened
    path, table = named.path, read_table(file, header)
    header, corrections = with_data_off(header, table, path=path, file_size=stat.size)
    if corrections:
        table = replace(table, data_end=max(table.data_end, header.data_start) if len(table) else header.data_start)
    extension = examine_extension(file, header, table, file_size=stat.size)
    length = named.expected.length_sectors
    exam = replace(
        _exam(named, stat, *corrections),
        size=header.size_bytes if length is None else min(header.size_bytes, length * SECTOR),
        raw=prefix[:HEADER_BYTES],
        header=header,
        table=table,
        faults=find_faults(table, header, file_size=stat.size),
        extension=extension.extension,
        drops_extension=extension.is_dropped,
        surplus=read_surplus(file, header, file_size=stat.size),
        is_frozen=header.is_converting or not extension.is_known,
    )
    findings = [*table_findings(exam.faults, path), *extension.findings, *_field_findings(header, table, prefix, path)]
    findings += [*surplus_findings(exam.surplus, path), *examine_end(exam, header, table, is_held=is_held)]
    return replace(exam, findings=(*exam.findings, *findings))


def _field_findings(header: HdsHeader, table: RunTable, prefix: bytes, path: str) -> Iterator[Finding]:
    if header.version == 1 and any(prefix[_HIGH_HALF]):
        text = "Only 32 bits of the guest size count in version 1; some readers take the others, too."
        yield found("header_size_high", path, text)
    if header.flags != FLAGS_UNKNOWN and header.flags & FLAG_EMPTY and len(table):
        yield found("flag_empty", path, "The header says that nothing was ever written, and there are clusters.")


def _mark_findings(exam: ImageExam, before: Sequence[Finding], *, is_held: bool) -> Tuple[Finding, ...]:
    """What the marks of an image say, after all other findings ``before``."""
    findings: Tuple[Finding, ...] = ()
    if exam.header is not None and exam.header.is_converting:
        text = "ploop was changing the format version and was cut off. Finish it with ploop."
        findings = (found("image_converting", exam.path, text),)
    if exam.header is not None and exam.header.is_dirty and not is_held:
        degree = worst([one.repairable for one in (*before, *findings) if one.severity == ERROR])
        findings += (found("image_dirty", exam.path, _DIRTY, repairable=degree),)
    return findings
