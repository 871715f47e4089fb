# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.extension import Extension
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examination import (
    expanding_images,
    has_errors,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.faults import CLUSTER, CLUSTER_SECTORS, SECTORS, TOP, held, put

PORT = OsPort()
LAYERS = [Layer(guid_of(1), type="Plain", clusters=held(0)), Layer(TOP, guid_of(1), held(0, 1, 3))]


@pytest.fixture(name="examined")
def examined_fixture(tmp_path):
    path = os.path.join(os.path.realpath(str(tmp_path)), "a.hdd")
    build_bundle(path, size_sectors=SECTORS, layers=LAYERS, cluster_sectors=CLUSTER_SECTORS)
    return examine(PORT, locate_damaged(PORT, path))


def test_expanding_images_are_those_that_a_repair_may_change(examined):
    (top,) = expanding_images(examined)
    assert top.guid == TOP
    outside = replace(examined, images=tuple(replace(image, outside=True) for image in examined.images))
    assert expanding_images(outside) == []


def test_the_size_comes_from_the_descriptor_or_the_only_image(examined):
    assert examined.size_bytes == SECTORS * 512
    assert replace(examined, chosen=None, images=examined.images[1:]).size_bytes == SECTORS * 512
    assert replace(examined, chosen=replace(examined.chosen, descriptor=None)).size_bytes is None


def test_what_is_in_use_ends_after_the_extension_while_it_stays(examined):
    (top,) = expanding_images(examined)
    end = top.used_end
    assert end == top.stat.size
    far = Extension(0, (), ((end + CLUSTER, end + CLUSTER + 10),))
    kept = replace(top, extension=far)
    assert kept.used_end == end + 2 * CLUSTER
    assert kept.end_of_use(with_extension=False) == end
    assert replace(top, header=None).used_end == top.stat.size


def test_only_errors_keep_others_from_working(examined):
    assert not has_errors(examined)
    (top,) = expanding_images(examined)
    put(top.path, 0, bytes(16))
    assert has_errors(examine(PORT, examined.location))
