# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examination import Expected, Named
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.file_end import examine_end
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.image import examine_image
from ansible_collections.vdisk.parallels.tests.support.faults import (
    CLUSTER,
    CLUSTER_SECTORS,
    SECTORS,
    held,
    put,
)
from ansible_collections.vdisk.parallels.tests.support.images import build_hds

PORT = OsPort()


@pytest.fixture(name="path")
def path_fixture(tmp_path):
    return os.path.join(os.path.realpath(str(tmp_path)), "a.hds")


def build(path, clusters=(0, 1, 3), **options):
    return build_hds(path, size_sectors=SECTORS, cluster_sectors=CLUSTER_SECTORS, clusters=held(*clusters), **options)


def found(path, *, is_held=False, **changes):
    exam = examine_image(PORT, Named(0, "{g}", "a.hds", path, False, False, Expected(SECTORS, CLUSTER_SECTORS)))
    findings = examine_end(replace(exam, **changes), exam.header, exam.table, is_held=is_held)
    return [(one.code, one.repairable) for one in findings]


def test_a_file_that_ends_with_its_last_cluster_is_sound(path):
    build(path)
    assert found(path) == []


def test_bytes_after_the_last_cluster_are_a_leak_unless_somebody_writes(path):
    build(path, tail=b"x")
    assert found(path) == [("leak_tail", "safe")]
    assert found(path, is_held=True) == []


def test_bytes_that_the_table_may_have_lost_are_not_cut_lightly(path):
    build(path, tail=b"x")
    assert found(path, surplus=((64, 68),)) == [("leak_tail", "lossy")]
    build(path, clusters=(), tail=b"x")
    assert found(path) == [("leak_tail", "lossy")]
    built = build(path, tail=bytes(CLUSTER))
    put(path, 64 + 4 * 5, ((built.file_size + CLUSTER) // 512).to_bytes(4, "little"))
    assert found(path) == [("leak_tail", "lossy")]


def test_a_file_may_end_early_without_harm(path):
    build(path, clusters=())
    os.truncate(path, 600)
    assert found(path) == [("image_too_short", "safe")]
    build_hds(path, size_sectors=SECTORS - 8, cluster_sectors=CLUSTER_SECTORS, clusters=held(0, 7))
    os.truncate(path, os.path.getsize(path) - 4096)
    assert found(path) == [("tail_unaligned", "safe")]


def test_slots_that_nobody_uses_are_counted_with_what_is_pinned(path):
    build(path, gaps=(1,))
    assert found(path) == [("leak_inside", "no")]


def test_an_image_that_must_not_be_changed_is_not_judged(path):
    build(path, tail=b"x", gaps=(1,))
    assert found(path, is_frozen=True) == []
