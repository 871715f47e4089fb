# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a source is that cannot be read, and the one next step that helps, as a command where there is one.

To name another kind of file: its mark in ``_formats/detect.py`` or in ``_DOCUMENTS``, and a row in ``ADVICE``.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import shlex
from typing import Dict, NamedTuple, Optional

from ..._core.errors import Damaged, DiskError, NotAWholeDisk, Unsupported
from ..._formats.catalog import FORMATS

_UNPACK = "Unpack it and name what comes out: "
_CONVERT = "Convert it and name the result: "
_AGAIN = "Download the image itself; the server gave a page instead of it."
_OPEN = "Unpack it and name the disk in it: "


class Advice(NamedTuple):
    """What a file is, and what to do with it. ``{file}`` is its path, ``{stem}`` that without the suffix, quoted."""

    what: str
    next: str
    is_disk: bool = True


ADVICE: Dict[str, Advice] = {
    "gzip": Advice("compressed with gzip", _UNPACK + "gunzip -k {file}"),
    "xz": Advice("compressed with xz", _UNPACK + "unxz -k {file}"),
    "zstd": Advice("compressed with zstd", _UNPACK + "unzstd {file}"),
    "bzip2": Advice("compressed with bzip2", _UNPACK + "bunzip2 -k {file}"),
    "lz4": Advice("compressed with lz4", _UNPACK + "unlz4 {file}"),
    "zip": Advice("a ZIP archive", _OPEN + "unzip {file}"),
    "7z": Advice("a 7z archive", _OPEN + "7z x {file}"),
    "rar": Advice("a RAR archive", _OPEN + "unrar x {file}"),
    "tar": Advice("a tar archive", _OPEN + "tar -xf {file}"),
    "qcow": Advice("a qcow image of the first version", _CONVERT + "qemu-img convert -f qcow -O raw {file} {stem}.raw"),
    "qed": Advice("a QED image", _CONVERT + "qemu-img convert -f qed -O raw {file} {stem}.raw"),
    "bochs": Advice("a Bochs image", _CONVERT + "qemu-img convert -f bochs -O raw {file} {stem}.raw"),
    "dmg": Advice("a macOS disk image", _CONVERT + "hdiutil convert {file} -format UDTO -o {stem}"),
    "sparseimage": Advice("a macOS sparse image", _CONVERT + "hdiutil convert {file} -format UDTO -o {stem}"),
    "asif": Advice("a macOS sparse image (ASIF)", _CONVERT + "hdiutil convert {file} -format UDTO -o {stem}"),
    "ewf": Advice("a forensic image (EWF)", _CONVERT + "ewfexport -f raw -t {stem} {file}"),
    "wim": Advice("a WIM archive of files", "Name the disk image that the files are to be on."),
    "luks": Advice("encrypted with LUKS", "Open it and name /dev/mapper/x: cryptsetup open --readonly {file} x"),
    "xml": Advice("an XML file", "Name the disk image that it describes."),
    "html": Advice("a web page", _AGAIN, False),
    "lfs": Advice("a pointer of Git LFS", "Fetch the file that it stands for: git lfs pull --include {name}", False),
    "json": Advice("a JSON document", _AGAIN, False),
    "pdf": Advice("a PDF document", "Name a disk image.", False),
}

_DOCUMENTS = {
    "html": (b"<!doctype html", b"<html", b"<head"),
    "lfs": (b"version https://git-lfs.github.com/spec/",),
    "json": (b'{"', b"[{"),
    "pdf": (b"%pdf-",),
    "rar": (b"rar!\x1a\x07",),
}
_DESCRIPTIONS = (".xml", ".ovf", ".vbox", ".vbox-prev", ".pvs", ".plist", ".vmcx")
# What reads images that this collection does not.
_OTHERS = {
    "qcow2": "qemu-img convert -f qcow2 -O raw {file} {stem}.raw",
    "vmdk": "vmkfstools -i {file} -d thin {stem}-copy.vmdk",
    "vhd": "Convert-VHD {file} {stem}.vhdx",
    "vhdx": "Convert-VHD {file} {stem}-copy.vhdx",
    "vdi": "VBoxManage clonemedium {file} {stem}-copy.vdi",
}


def document_of(prefix: bytes) -> Optional[str]:
    """What a file without the mark of an image is, by its first bytes; None for what may be a plain image."""
    text = prefix[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"\0" in text.rstrip(b"\0") and not text.startswith(b"rar!"):
        return None
    return next((kind for kind, marks in _DOCUMENTS.items() if text.startswith(marks)), None)


def unread(path: str, kind: str) -> DiskError:
    """The refusal of a file that ``detect`` or ``document_of`` call so."""
    advice = ADVICE[kind]
    if kind == "xml" and not path.lower().endswith(_DESCRIPTIONS):
        # What a server answers instead of an image.
        advice = advice._replace(next=_AGAIN)
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


def complete(error: DiskError, format: str) -> None:
    """Give a refusal of an image its next step, where its reader has none."""
    if error.hint is None and error.path is not None:
        if isinstance(error, Unsupported) and format in _OTHERS:
            error.hint = _filled(_CONVERT + _OTHERS[format], error.path)
        elif isinstance(error, Damaged):
            error.hint = "Get the file anew, or restore it from a copy."


def _filled(text: str, path: str) -> str:
    stem = posixpath.splitext(path)[0]
    quoted = {"file": path, "stem": stem, "name": posixpath.basename(path)}
    return text.format(**{name: shlex.quote(value) for name, value in quoted.items()})
