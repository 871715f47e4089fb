# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat import read_table
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import unpack_header
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.extension import examine_extension
from ansible_collections.vdisk.parallels.tests.support.faults import (
    BITMAP,
    CLUSTER,
    CLUSTER_SECTORS,
    SECTORS,
    held,
    put,
)
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, pack_bitmap, pack_extension

PORT = OsPort()


@pytest.fixture(name="path")
def path_fixture(tmp_path):
    return os.path.join(os.path.realpath(str(tmp_path)), "a.hds")


def examined(path, *, features=(), at=None, mark=b"v2.1", damage=b""):
    """The extension of an image with these features, at its end unless told otherwise."""
    built = build_hds(path, size_sectors=SECTORS, cluster_sectors=CLUSTER_SECTORS, clusters=held(0, 1))
    at = built.file_size if at is None else at
    if at:
        put(path, at, pack_extension(list(features), cluster_bytes=CLUSTER))
        put(path, at + 40, damage)
    put(path, 44, mark)
    put(path, 56, struct.pack("<Q", at // 512))
    file = PORT.open_read(path)
    try:
        prefix = bytearray(64)
        file.pread_into(0, prefix)
        header = unpack_header(bytes(prefix), version=1)[1]
        return examine_extension(file, header, read_table(file, header), file_size=file.size())
    finally:
        file.close()


def judged(exam):
    return [one.code for one in exam.findings], exam.extension is not None, exam.is_dropped, exam.is_known


def test_an_extension_that_counts_stays(path):
    bitmap = pack_bitmap(size_sectors=SECTORS, granularity=64, clusters=[0])
    assert judged(examined(path, features=[(BITMAP, 0, bitmap)])) == ([], True, False, True)


def test_an_image_without_one_has_nothing_to_judge(path):
    assert judged(examined(path, at=0, mark=bytes(4))) == ([], False, False, True)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"mark": bytes(4)}, "extension_stale"),
        ({"damage": b"x"}, "extension_damaged"),
        ({"at": 2 * CLUSTER}, "extension_overlaps"),
    ],
)
def test_one_that_does_not_count_is_dropped(path, options, code):
    assert judged(examined(path, **options)) == ([code], False, True, True)


def test_one_that_needs_what_is_unknown_freezes_the_image(path):
    exam = examined(path, features=[(0x1234, 1, b"")])
    assert judged(exam) == (["extension_unknown"], False, False, False)
