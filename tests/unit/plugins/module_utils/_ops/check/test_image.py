# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examination import Expected, Named
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.image import examine_image
from ansible_collections.vdisk.parallels.tests.support.faults import CLUSTER, CLUSTER_SECTORS, SECTORS, held, put
from ansible_collections.vdisk.parallels.tests.support.images import build_hds

PORT = OsPort()


@pytest.fixture(name="path")
def path_fixture(tmp_path):
    return os.path.join(os.path.realpath(str(tmp_path)), "a.hds")


def build(path, **options):
    return build_hds(
        path, size_sectors=SECTORS, cluster_sectors=CLUSTER_SECTORS, **{"clusters": held(0, 1, 3), **options}
    )


def look(path, *, expected=None, **options):
    named = Named(
        0, "{g}", "a.hds", path, False, options.pop("is_plain", False), expected or Expected(SECTORS, CLUSTER_SECTORS)
    )
    return examine_image(PORT, named, **options)


def codes(path, **options):
    return [one.code for one in look(path, **options).findings]


@pytest.mark.parametrize("version", [1, 2])
def test_a_sound_image_is_understood(path, version):
    built = build(path, version=version)
    exam = look(path)
    assert exam.findings == () and exam.size == SECTORS * 512 and exam.used_end == built.file_size
    with open(path, "rb") as stream:
        assert exam.table.clusters_used == 3 and exam.raw == stream.read(64)


@pytest.mark.parametrize("length", range(0, 96, 8))
def test_a_file_that_ends_early_never_raises(path, length):
    build(path)
    os.truncate(path, length)
    assert codes(path) == ["image_truncated"]


@pytest.mark.parametrize("offset", range(0, 64, 4))
@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_any_field_of_the_header_may_hold_anything(path, offset, value):
    build(path)
    put(path, offset, struct.pack("<I", value))
    for expected in (None, Expected()):
        exam = look(path, expected=expected)
        assert all(one.message and one.where == path for one in exam.findings)


def test_a_table_of_a_size_that_cannot_be_costs_nothing(path):
    build(path)
    put(path, 28, struct.pack("<IIQ", 1, 0xFFFFFFFF, 0xFFFFFFFF))
    assert look(path, expected=Expected()).header is None


def test_the_version_of_an_empty_image_comes_from_its_siblings(path):
    build(path, clusters={}, version=2)
    put(path, 0, bytes(16))
    assert look(path).header is None
    assert look(path, version=2).header.version == 2


def test_slots_in_the_middle_that_nobody_uses_are_counted(path):
    build(path, gaps=(1, 2))
    (one,) = look(path).findings
    assert one.code == "leak_inside" and one.message.startswith("2 slots")


def test_an_image_that_is_not_there_has_no_inode(path):
    exam = look(path)
    assert [one.code for one in exam.findings] == ["image_missing"] and exam.stat.inode == 0


def test_a_plain_image_is_judged_by_its_length(path):
    with open(path, "wb") as stream:
        stream.truncate(SECTORS * 512)
    assert codes(path, is_plain=True) == []
    os.truncate(path, SECTORS * 512 + 512)
    assert codes(path, is_plain=True) == ["plain_size"]
    os.truncate(path, 0)
    assert codes(path, is_plain=True) == ["image_truncated"]


def test_what_lies_outside_is_never_repairable(path):
    build(path, flags=1, tail=b"x")
    exam = examine_image(PORT, Named(0, "{g}", "a.hds", path, True, False, Expected(SECTORS, CLUSTER_SECTORS)))
    assert {one.repairable for one in exam.findings} == {"no"} and len(exam.findings) == 2


def test_the_end_of_a_kept_extension_is_no_leak(path):
    from ansible_collections.vdisk.parallels.tests.support.images import pack_extension

    built = build(path)
    put(path, built.file_size, pack_extension([], cluster_bytes=CLUSTER))
    put(path, 44, b"v2.1")
    put(path, 56, struct.pack("<Q", built.file_size // 512))
    assert codes(path) == []
    put(path, 44, bytes(4))
    assert sorted(codes(path)) == ["extension_stale", "leak_tail"]
