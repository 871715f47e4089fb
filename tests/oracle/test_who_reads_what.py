# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every kind of image that we write, and what each other reader makes of it: the table in docs/conversion.md, tried.

A reader that is known to be wrong stays in the table, so that nobody trusts it there, and so that it is noticed when
that changes.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.tests.support import conversions, foreign, virtualbox
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.conversions import Source
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.oracles import compared, require, require_library

MIB = 1 << 20
SAME, WRONG, REFUSED, NONE = "same", "wrong bytes", "refused", "no reader"
CHAINS = ("qcow2 overlay", "qcow2 v2 overlay", "vmdk delta", "vhd differencing", "vhdx differencing")
ALONE = tuple(name for name, target in conversions.TARGETS.items() if target.format not in ("hdd", "raw"))
ROWS = (*ALONE, *CHAINS)
CELLS = [(row, tool) for row in ROWS for tool in ("QEMU", "7-Zip", "dissect", "libyal", "VirtualBox")]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "conversion.md"


def written_table() -> Dict[Tuple[str, str], str]:
    """The table of the documentation by row and column."""
    lines = DOCS.read_text(encoding="utf-8").split("## Who reads what we write")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    head = rows[0]
    return {(row[0], tool): cell for row in rows[2:] for tool, cell in zip(head[1:], row[1:])}


class Image:
    """An image to try: its files, the root of a chain first, and what it must show."""

    def __init__(self, folder: Path, row: str) -> None:
        self.folder = folder
        self.row = row
        if row in CHAINS:
            self.format, self.files, self.expected = _chain(folder, row)
        else:
            target = conversions.TARGETS[row]
            raw = foreign.make_raw(folder / "disk.raw", "fragmented")
            self.format, self.expected = target.format, Path(raw).read_bytes()
            path = str(folder / f"out.{target.format}")
            conversions.convert(Source(raw), path, target.format, **target.options)
            self.files = [path]

    @property
    def top(self) -> str:
        return self.files[-1]


def _chain(folder: Path, row: str) -> Tuple[str, List[str], bytes]:
    format = row.split()[0]
    layers = line_of_layers(
        {0: fill(0, MIB), 1: fill(1, MIB), 5: fill(5, MIB)}, {1: fill(1, MIB, 1), 3: fill(3, MIB), 5: bytes(MIB)}
    )
    build_bundle(str(folder / "disk.hdd"), size_sectors=8 * 2048, layers=layers)
    path = str(folder / f"out.{format}")
    options = {"version": 2} if " v2 " in row else {}
    files = conversions.convert(Source(str(folder / "disk.hdd")), path, format, keeps_layers=True, **options)
    expected = fill(0, MIB) + fill(1, MIB, 1) + bytes(MIB) + fill(3, MIB) + bytes(4 * MIB)
    return format, sorted(files, key=lambda file: (file == path, file)), expected


def ended(*command: str) -> Optional[bytes]:
    """What a program prints, None when it fails."""
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    return done.stdout if done.returncode == 0 else None


def by_qemu(image: Image) -> Optional[bytes]:
    require("qemu-img")
    out = image.folder / "qemu.raw"
    name = foreign.qemu_name(image.format)
    done = ended("qemu-img", "convert", "-f", name, "-O", "raw", image.top, str(out))
    return None if done is None else out.read_bytes()


SEVEN = {"qcow2": "QCOW", "vmdk": "VMDK", "vhd": "VHD", "vhdx": "VHDX", "vdi": "VDI"}


def by_seven_zip(image: Image) -> Optional[bytes]:
    require("7zz")
    return ended("7zz", "e", f"-t{SEVEN[image.format]}", "-so", image.top)


def by_dissect(image: Image) -> Optional[bytes]:
    name = {"qcow2": "QCow2", "vmdk": "VMDK", "vhd": "VHD", "vhdx": "VHDX", "vdi": "VDI"}[image.format]
    library = require_library(f"dissect.hypervisor.disk.{image.format}")
    with open(image.top, "rb") as file:
        opened = getattr(library, name)(file if image.format in ("vhd", "vdi") else Path(image.top))
        stream = opened if image.format in ("vmdk", "vhd", "vhdx") else opened.open()
        found = bytearray()
        # Its reads go wrong where they cross from one block of vhdx or vdi to the next.
        step = min(MIB, getattr(opened, "block_size", MIB))
        for start in range(0, len(image.expected), step):
            stream.seek(start)
            found += stream.read(min(step, len(image.expected) - start))
        return bytes(found)


def by_libyal(image: Image) -> Optional[bytes]:
    handles: List[Any] = []
    if image.format == "vdi":
        return None
    require_library({"qcow2": "pyqcow", "vmdk": "pyvmdk", "vhd": "pyvhdi", "vhdx": "pyvhdi"}[image.format])
    try:
        for path in image.files:
            handle = foreign._open_with_libyal(path, image.format)
            if handles:
                handle.set_parent(handles[-1])
            handles.append(handle)
        size = handles[-1].get_media_size()
        return b"".join(
            handles[-1].read_buffer_at_offset(min(MIB, size - start), start) for start in range(0, size, MIB)
        )
    finally:
        for handle in reversed(handles):
            handle.close()


def by_virtualbox(image: Image) -> Optional[bytes]:
    return virtualbox.read(image.folder, image.top, image.format)


READERS: Dict[str, Callable[[Image], Optional[bytes]]] = {
    "QEMU": by_qemu,
    "7-Zip": by_seven_zip,
    "dissect": by_dissect,
    "libyal": by_libyal,
    "VirtualBox": by_virtualbox,
}


def verdict(image: Image, tool: str) -> str:
    try:
        found = READERS[tool](image)
    except (
        OSError,
        ValueError,
        RuntimeError,
        MemoryError,
        NotImplementedError,
        IndexError,
        EOFError,
        KeyError,
        TypeError,
    ) as error:
        print(f"{tool}: {error}")
        return REFUSED
    except Exception as error:
        if type(error).__module__.startswith(("dissect", "zlib")):
            return REFUSED
        raise
    if found is None:
        return REFUSED
    # Some end at the last whole block.
    return SAME if found == image.expected else WRONG


@pytest.mark.parametrize("row", ROWS)
def test_the_table_of_readers_is_true(tmp_path: Path, row: str) -> None:
    if "zstd" in row:
        require_library("zstandard")
    table, image = written_table(), Image(tmp_path, row)
    tried = 0
    for tool in READERS:
        said = table[row, tool]
        if said == NONE:
            continue
        try:
            found = verdict(image, tool)
        except pytest.skip.Exception:
            continue
        assert found == said, f"{row} by {tool}: {found}, not {said}"
        tried += 1
        compared(tool)
    if not tried:
        pytest.skip("no other reader of this format is installed")


def test_the_table_names_every_kind_that_is_written() -> None:
    assert set(written_table()) == set(CELLS)
    assert set(written_table().values()) <= {SAME, WRONG, REFUSED, NONE}
