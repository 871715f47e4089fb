# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a source is that cannot be read, and the one next step that helps, as a command where there is one.

To name another kind of file: its mark in ``_formats/detect.py`` or in ``_DOCUMENTS``, and a row in ``ADVICE``.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import shlex
from typing import Dict, NamedTuple, Optional, Tuple

from ..._core.errors import Damaged, DiskError, NotAWholeDisk, Unsupported
from ..._core.units import SECTOR
from ..._formats.catalog import FORMATS

_UNPACK = "Unpack it and name what comes out: "
_CONVERT = "Convert it and name the result: "
_AGAIN = "Download the image itself; the server gave a page instead of it."
_OPEN = "Unpack it and name the disk in it: "


class Advice(NamedTuple):
    """What a file is, and what to do with it. ``{file}`` is its path, ``{stem}`` that without the suffix, quoted.

    Without one of the ``suffixes``, if there are any, ``otherwise`` is what to do.
    """

    what: str
    next: str
    is_disk: bool = True
    suffixes: Tuple[str, ...] = ()
    otherwise: str = ""


def _packed(name: str, tool: str, keep: str, suffixes: Tuple[str, ...]) -> Advice:
    """Tools that unpack by the name alone leave others alone."""
    out = f"{_UNPACK}{tool} -c {{file}} > {{unpacked}}"
    return Advice(f"compressed with {name}", f"{_UNPACK}{keep} {{file}}", True, suffixes, out)


ADVICE: Dict[str, Advice] = {
    "gzip": _packed("gzip", "gunzip", "gunzip -k", (".gz", ".tgz")),
    "xz": _packed("xz", "unxz", "unxz -k", (".xz", ".txz")),
    "zstd": _packed("zstd", "unzstd", "unzstd", (".zst", ".tzst")),
    "bzip2": _packed("bzip2", "bunzip2", "bunzip2 -k", (".bz2", ".bz", ".tbz2", ".tbz")),
    # Into a pipe it writes to that, unless told where to.
    "lz4": _packed("lz4", "unlz4", "unlz4", (".lz4",))._replace(next=_UNPACK + "unlz4 {file} {stem}"),
    "lzip": _packed("lzip", "lzip -d", "lzip -dk", (".lz", ".tlz")),
    "compress": _packed("compress", "gunzip", "gunzip -k", (".z",)),
    "zip": Advice("a ZIP archive", _OPEN + "unzip {file}"),
    "7z": Advice("a 7z archive", _OPEN + "7z x {file}"),
    "rar": Advice("a RAR archive", _OPEN + "unrar x {file}"),
    "cab": Advice("a cabinet file", _OPEN + "7z x {file}"),
    "rpm": Advice("an RPM package", _OPEN + "7z x {file}"),
    "ar": Advice("an archive such as a Debian package", _OPEN + "ar x {file}"),
    "exe": Advice("a Windows program", _OPEN + "7z x {file}"),
    "elf": Advice("a program", "Name a disk image.", False),
    "tar": Advice("a tar archive", _OPEN + "tar -xf {file}"),
    "qcow": Advice("a qcow image of the first version", _CONVERT + "qemu-img convert -f qcow -O raw {file} {stem}.raw"),
    "qed": Advice("a QED image", _CONVERT + "qemu-img convert -f qed -O raw {file} {stem}.raw"),
    "bochs": Advice("a Bochs image", _CONVERT + "qemu-img convert -f bochs -O raw {file} {stem}.raw"),
    "dmg": Advice("a macOS disk image", _CONVERT + "hdiutil convert {file} -format UDTO -o {stem}"),
    "sparseimage": Advice("a macOS sparse image", _CONVERT + "hdiutil convert {file} -format UDTO -o {stem}"),
    "asif": Advice("a macOS sparse image (ASIF)", _CONVERT + "hdiutil convert {file} -format UDTO -o {stem}"),
    "ewf": Advice("a forensic image (EWF)", _CONVERT + "ewfexport -f raw -t {stem} {file}"),
    "vma": Advice("a backup of Proxmox (VMA)", _OPEN + "vma extract {file} {stem}"),
    "partclone": Advice(
        "a partition saved by partclone",
        "Restore it and name the result: partclone.restore -C -W -s {file} -O {stem}.raw",
    ),
    "ntfsclone": Advice(
        "a partition saved by ntfsclone", "Restore it and name the result: ntfsclone -r -o {stem}.raw {file}"
    ),
    "wim": Advice("a WIM archive of files", "Name the disk image that the files are to be on."),
    "luks": Advice("encrypted with LUKS", "Open it and name /dev/mapper/x: cryptsetup open --readonly {file} x"),
    "xml": Advice("an XML file", "Name the disk image that it describes."),
    "html": Advice("a web page", _AGAIN, False),
    "lfs": Advice("a pointer of Git LFS", "Fetch the file that it stands for: git lfs pull --include {name}", False),
    "json": Advice("a JSON document", _AGAIN, False),
    "pdf": Advice("a PDF document", "Name a disk image.", False),
    "torrent": Advice("a torrent", "Download the image that it stands for, and name that.", False),
    "text": Advice("a text", "Name a disk image.", False),
}

_DOCUMENTS = {
    "html": (b"<!doctype html", b"<html", b"<head"),
    "lfs": (b"version https://git-lfs.github.com/spec/",),
    "json": (b'{"', b"[{"),
    "pdf": (b"%pdf-",),
    "torrent": (b"d8:announce", b"d13:announce-list", b"d7:comment", b"d10:created by"),
    "rar": (b"rar!\x1a\x07",),
}
_DESCRIPTIONS = (".xml", ".ovf", ".vbox", ".vbox-prev", ".pvs", ".plist", ".vmcx", ".vmx", ".vmtx", ".vmsd", ".vmxf")
_LEAST_TEXT = 64
_BREAKS = b"\t\n\r\f"
# What reads images that this collection does not.
_OTHERS = {
    "qcow2": "qemu-img convert -f qcow2 -O raw {file} {stem}.raw",
    "vmdk": "vmkfstools -i {file} -d thin {stem}-copy.vmdk",
    "vhd": "Convert-VHD {file} {stem}.vhdx",
    "vhdx": "Convert-VHD {file} {stem}-copy.vhdx",
    "vdi": "VBoxManage clonemedium {file} {stem}-copy.vdi",
}


def document_of(prefix: bytes, size: int) -> Optional[str]:
    """What a file of ``size`` bytes without the mark of an image is, by its first ones; None for a plain image."""
    text = prefix[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"\0" in text.rstrip(b"\0") and not text.startswith(b"rar!"):
        return None
    found = next((kind for kind, marks in _DOCUMENTS.items() if text.startswith(marks)), None)
    return found or ("text" if size % SECTOR and _is_text(prefix) else None)


def _is_text(prefix: bytes) -> bool:
    """Whether there are lines of readable characters alone, as no boot sector and no file system begins."""
    text = prefix.strip()
    return len(text) >= _LEAST_TEXT and b"\n" in text and all(byte > 31 or byte in _BREAKS for byte in text)


def unread(path: str, kind: str) -> DiskError:
    """The refusal of a file that ``detect`` or ``document_of`` call so."""
    advice = ADVICE[kind]
    if kind == "xml" and not path.lower().endswith(_DESCRIPTIONS):
        # What a server answers instead of an image.
        advice = advice._replace(next=_AGAIN)
    elif kind == "text" and path.lower().endswith(_DESCRIPTIONS):
        advice = advice._replace(next=ADVICE["xml"].next)
    elif advice.suffixes and not path.lower().endswith(advice.suffixes):
        advice = advice._replace(next=advice.otherwise)
    error = Unsupported if advice.is_disk else NotAWholeDisk
    return error(
        f"The source is {advice.what}",
        path=path,
        found=kind,
        expected=", ".join(FORMATS),
        hint=_filled(advice.next, path),
    )


def false_name(path: str, suffix: str) -> DiskError:
    """The refusal of a file that is called as an image of a format, but has no mark of any."""
    return NotAWholeDisk(
        f"The name ends in {suffix}, but the file has no mark of such an image",
        path=path,
        expected=suffix.lstrip("."),
        found="no mark",
        hint="Get the file anew, or set src_format: raw if it is a plain image.",
    )


def unfinished(path: str) -> DiskError:
    """The refusal of a file that is called as what a browser has not got all of."""
    return NotAWholeDisk(
        "The file is a download that has not ended",
        path=path,
        hint="Wait for its end, or set src_format: raw if it is a whole plain image.",
    )


def complete(error: DiskError, format: str) -> None:
    """Give a refusal of an image its next step, where its reader has none."""
    if error.hint is None and error.path is not None:
        if isinstance(error, Unsupported) and format in _OTHERS:
            error.hint = in_other_words(format, error.path)
        elif isinstance(error, Damaged):
            error.hint = "Get the file anew, or restore it from a copy."


def in_other_words(format: str, path: str) -> str:
    """The step that lets another product read an image which this collection does not read."""
    return _filled(_CONVERT + _OTHERS[format], path)


def _filled(text: str, path: str) -> str:
    stem = posixpath.splitext(path)[0]
    quoted = {"file": path, "stem": stem, "name": posixpath.basename(path), "unpacked": f"{path}.unpacked"}
    return text.format(**{name: shlex.quote(value) for name, value in quoted.items()})
