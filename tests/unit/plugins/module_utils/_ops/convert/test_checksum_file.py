# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file with checksums."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import AlreadyExists, BadRequest, NotFound
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.checksum_file import (
    content_of,
    is_present,
    refuse_own_file,
    refuse_place,
    write_checksums,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.output import OutputFile
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

ONE = guid_of(1)
SUM = "ab" * 32


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers("/vm/a.hdd", ONE)


@pytest.mark.parametrize("place", ["/vm/a.hdd/SUMS", "/vm/out.raw", "/vm/a.hdd"])
def test_no_part_of_source_or_destination_is_taken(port: MemoryPort, place: str) -> None:
    with pytest.raises(BadRequest):
        refuse_place(port, place, find_source(port, "/vm/a.hdd"), "/vm/out.raw")


@pytest.mark.parametrize("content", [b"precious\n", SUM.encode() + b"  a\nprecious\n", b"x" * (1 << 21)])
def test_what_holds_anything_else_is_not_replaced(port: MemoryPort, content: bytes) -> None:
    port.plant_file("/vm/SUMS", content)
    with pytest.raises(AlreadyExists):
        refuse_place(port, "/vm/SUMS", find_source(port, "/vm/a.hdd"), "/vm/out.raw")


@pytest.mark.parametrize("content", [b"", SUM.encode() + b"  a\n", b"\\" + SUM.encode() + b" *a\\nb\n"])
def test_what_holds_checksums_is(port: MemoryPort, content: bytes) -> None:
    port.plant_file("/vm/SUMS", content)
    refuse_place(port, "/vm/SUMS", find_source(port, "/vm/a.hdd"), "/vm/out.raw")


def test_there_must_be_a_directory_for_it(port: MemoryPort) -> None:
    port.plant_directory("/vm/folder")
    source = find_source(port, "/vm/a.hdd")
    with pytest.raises(NotFound):
        refuse_place(port, "/nowhere/SUMS", source, "/vm/out.raw")
    with pytest.raises(AlreadyExists):
        refuse_place(port, "/vm/folder", source, "/vm/out.raw")


def test_a_name_that_the_output_needs_is_refused(port: MemoryPort) -> None:
    plan: Any = disks.plan_of_convert(port, "/vm/a.hdd", "/vm/out.raw")
    refuse_own_file(port, "/vm/SUMS", plan)
    with pytest.raises(BadRequest):
        refuse_own_file(port, "/vm/out.raw", plan)


def test_lines_are_relative_to_the_file_and_names_are_escaped() -> None:
    files = [OutputFile("/vm/b.raw", 1, SUM), OutputFile("/other/c", 1, SUM), OutputFile("/vm/odd\n", 1, SUM)]
    assert content_of("/vm/SUMS", files) == f"{SUM}  b.raw\n{SUM}  /other/c\n\\{SUM}  odd\\n\n".encode()


def test_a_checksum_that_is_not_known_makes_no_content() -> None:
    assert content_of("/vm/SUMS", [OutputFile("/vm/b.raw", 1, SUM), OutputFile("/vm/c.raw", 1, None)]) is None


def test_what_is_written_is_present(port: MemoryPort) -> None:
    assert not is_present(port, "/vm/SUMS", b"one\n")
    write_checksums(port, "/vm/SUMS", b"one\n")
    assert is_present(port, "/vm/SUMS", b"one\n") and not is_present(port, "/vm/SUMS", b"two\n")
    assert [path for path in port.listing() if "vdisk" in path] == []
