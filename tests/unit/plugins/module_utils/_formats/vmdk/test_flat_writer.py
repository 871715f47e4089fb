# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ForeignWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.writer import (
    SPLIT_BYTES,
    new_vmdk_writer,
    vmdk_files,
)

IDENTITY = "{11111111-2222-4333-8444-555555555555}"


class Recorder:
    """A file that puts down in a common list what was done to it."""

    def __init__(self, path: str, calls: List[Tuple[str, str, int, bytes]]) -> None:
        self.path = path
        self._calls = calls

    def pwrite(self, offset: int, buffer: bytes) -> None:
        self._calls.append((self.path, "write", offset, bytes(buffer)))

    def truncate(self, size: int) -> None:
        self._calls.append((self.path, "truncate", size, b""))


def recorded(subformat: str, size_bytes: int) -> Tuple[ForeignWriter, List[Tuple[str, str, int, bytes]]]:
    calls: List[Tuple[str, str, int, bytes]] = []
    names = vmdk_files("d.vmdk", subformat, size_bytes)
    files = [Recorder(name, calls) for name in names]
    return new_vmdk_writer(files, names, subformat=subformat, size_bytes=size_bytes, adapter_type="ide"), calls  # type: ignore[arg-type]


def test_bytes_go_where_they_are_on_the_disk_and_the_text_comes_last() -> None:
    writer, calls = recorded("monolithicFlat", MIB + 512)
    writer.write(5, b"abc")
    writer.write_zeros(8, 100)
    writer.write(MIB, bytearray(b"d" * 512))
    writer.finish(IDENTITY)
    assert calls[:3] == [
        ("d-flat.vmdk", "write", 5, b"abc"),
        ("d-flat.vmdk", "write", MIB, b"d" * 512),
        ("d-flat.vmdk", "truncate", MIB + 512, b""),
    ]
    assert len(calls) == 4 and calls[3][:3] == ("d.vmdk", "write", 0)
    assert b'\nRW 2049 FLAT "d-flat.vmdk" 0\n' in calls[3][3] and b"\0" not in calls[3][3]
    assert writer.properties == {"subformat": "monolithicFlat", "compression": "none", "adapter_type": "ide"}


def test_a_write_across_pieces_is_divided() -> None:
    writer, calls = recorded("twoGbMaxExtentFlat", 3 * SPLIT_BYTES)
    writer.write(SPLIT_BYTES - 2, b"abcd")
    writer.write(3 * SPLIT_BYTES - 1, b"z")
    writer.finish(IDENTITY)
    assert calls[:3] == [
        ("d-f001.vmdk", "write", SPLIT_BYTES - 2, b"ab"),
        ("d-f002.vmdk", "write", 0, b"cd"),
        ("d-f003.vmdk", "write", SPLIT_BYTES - 1, b"z"),
    ]
    assert calls[3:6] == [(f"d-f00{number}.vmdk", "truncate", SPLIT_BYTES, b"") for number in (1, 2, 3)]
    assert calls[6][:3] == ("d.vmdk", "write", 0)
