# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every kind of image that is written, in one table: how its writer is made and how it is read back."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import MissingImage
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import open_hds
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.writer import HdsWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.reader import open_qcow2
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.writer import Qcow2Writer
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.reader import open_raw
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.writer import RawWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.reader import open_vdi
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.writer import VdiWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.reader import open_vhd
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.writer import VhdWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.reader import open_vhdx
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.writer import VhdxWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.reader import open_vmdk
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.writer import new_vmdk_writer, vmdk_files
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images

PORT = OsPort()
IDENTITY = "{11111111-2222-4333-8444-555555555555}"
BASE = ParentImage("base", "{99999999-2222-4333-8444-555555555555}")
HAS_ZSTD = importlib.util.find_spec("zstandard") is not None or sys.version_info >= (3, 14)


class Recorder:
    """A file that remembers what was done to it: write, truncate or allocate, where, and how much."""

    def __init__(self, path: str = "/disk") -> None:
        self.path = path
        self.calls: List[Tuple[str, int, int]] = []
        self.length = 0

    def pwrite(self, offset: int, buffer: Any) -> None:
        length = memoryview(buffer).nbytes
        self.calls.append(("write", offset, length))
        self.length = max(self.length, offset + length)

    def truncate(self, size: int) -> None:
        self.calls.append(("truncate", size, 0))
        self.length = size

    def allocate(self, offset: int, length: int) -> None:
        self.calls.append(("allocate", offset, length))


class Kind(NamedTuple):
    """How images of one kind are made of ``names(size)`` files, ``writer(files, size)``, and read back."""

    writer: Callable[[Sequence[Any], int], Any]
    read: Callable[[str], Any]
    names: Callable[[int], Sequence[str]] = lambda size: ("disk",)
    is_foreign: bool = True
    is_overlay: bool = False


def _nobody(name: str) -> Any:
    raise MissingImage(name)


def _one_file(kind: Any, **options: Any) -> Callable[[Sequence[Any], int], Any]:
    return lambda files, size: kind(files[0], size_bytes=size, **options)


def _vmdk(subformat: str) -> Kind:
    def names(size: int) -> Sequence[str]:
        return vmdk_files("disk", subformat, size)

    def writer(files: Sequence[Any], size: int) -> Any:
        return new_vmdk_writer(files, names(size), subformat=subformat, size_bytes=size, workers=1)

    def read(path: str) -> Any:
        return open_vmdk(PORT, path, lambda name: PORT.open_read(os.path.join(os.path.dirname(path), name)))

    return Kind(writer, read, names)


def _of(format: str, writer: Any, read: Callable[[str], Any], subformats: Sequence[str]) -> Dict[str, Kind]:
    """Those of a format that are told apart by their subformat; overlays among them are differencing."""
    kinds = {}
    for subformat in subformats:
        is_overlay = subformat == "differencing"
        options = {"subformat": subformat, **({"parent": BASE} if is_overlay else {})}
        kinds[f"{format} {subformat}"] = Kind(_one_file(writer, **options), read, is_overlay=is_overlay)
    return kinds


def _qcow2(**options: Any) -> Kind:
    return Kind(_one_file(Qcow2Writer, **options), lambda path: open_qcow2(PORT, path))


def _hds(version: int) -> Kind:
    writer = _one_file(HdsWriter, cluster_bytes=MIB, version=version)
    return Kind(writer, lambda path: open_hds(PORT, path), is_foreign=False)


KINDS: Dict[str, Kind] = {
    "hds 1": _hds(1),
    "hds 2": _hds(2),
    "raw": Kind(_one_file(RawWriter), lambda path: open_raw(PORT, path, size=os.path.getsize(path)), is_foreign=False),
    "qcow2 none": _qcow2(),
    "qcow2 version 2": _qcow2(version=2),
    "qcow2 zlib": _qcow2(compression="zlib"),
    **({"qcow2 zstd": _qcow2(compression="zstd")} if HAS_ZSTD else {}),
    **_of("vdi", VdiWriter, lambda path: open_vdi(PORT, path), ["dynamic", "fixed"]),
    **_of("vhd", VhdWriter, lambda path: open_vhd(PORT, path, _nobody), ["fixed", "dynamic", "differencing"]),
    **_of("vhdx", VhdxWriter, lambda path: open_vhdx(PORT, path), ["dynamic", "fixed", "differencing"]),
    **{
        f"vmdk {name}": _vmdk(name)
        for name in (
            "monolithicSparse",
            "streamOptimized",
            "monolithicFlat",
            "twoGbMaxExtentSparse",
            "twoGbMaxExtentFlat",
        )
    },
}
KINDS["vdi small blocks"] = KINDS["vdi dynamic"]._replace(
    writer=_one_file(VdiWriter, subformat="dynamic", block_bytes=64 << 10)
)
KINDS["vhd small blocks"] = KINDS["vhd dynamic"]._replace(
    writer=_one_file(VhdWriter, subformat="dynamic", block_bytes=512 << 10)
)
KINDS["vhdx large blocks"] = KINDS["vhdx dynamic"]._replace(
    writer=_one_file(VhdxWriter, subformat="dynamic", block_bytes=2 * MIB)
)
FOREIGN = [name for name, kind in KINDS.items() if kind.is_foreign]
WITHOUT_PARENT = [name for name in FOREIGN if not KINDS[name].is_overlay]


class Writing(NamedTuple):
    """A writer at work, and the files that it writes."""

    writer: Any
    files: Sequence[Any]

    @property
    def path(self) -> str:
        """The file that is opened to read the image."""
        return str(self.files[0].path)

    def finish(self, *, is_foreign: bool = True) -> str:
        """Complete the image; returns its path."""
        self.writer.finish(*([IDENTITY] if is_foreign else []))
        for file in self.files:
            file.close()
        return self.path


def create(name: str, folder: Path, size: int) -> Writing:
    """A writer of the kind ``name`` on new files in ``folder``."""
    kind = KINDS[name]
    folder.mkdir(exist_ok=True)
    files = [PORT.create(str(folder / file)) for file in kind.names(size)]
    return Writing(kind.writer(files, size), files)


def recorded(name: str, size: int) -> Writing:
    """A writer of the kind ``name`` on files that only remember."""
    kind = KINDS[name]
    files = [Recorder("/" + file) for file in kind.names(size)]
    return Writing(kind.writer(files, size), files)


@st.composite
def ascending_writes(draw: st.DrawFn, units: Sequence[int]) -> Tuple[int, int, List[Tuple[int, bytes]]]:
    """Size, one of ``units`` and ascending writes of any alignment, a few units long."""
    unit = draw(st.sampled_from(units))
    size = draw(st.integers(1, 12)) * unit - draw(st.integers(0, 511))
    position, pieces = 0, []
    for _index in range(draw(st.integers(0, 8))):
        start = position + draw(st.one_of(st.just(0), st.integers(0, 3 * unit)))
        length = draw(st.integers(0, 3 * unit))
        if start + length > size:
            break
        pieces.append((start, images.fill(len(pieces), length)))
        position = start + length
    return size, unit, pieces
