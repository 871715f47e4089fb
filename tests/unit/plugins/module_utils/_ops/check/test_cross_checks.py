# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.cross_checks import cross_checks
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle
from ansible_collections.vdisk.parallels.tests.support.faults import CHAIN, CLUSTER_SECTORS, SECTORS, TOP

PORT = OsPort()


@pytest.fixture(name="examined")
def examined_fixture(tmp_path):
    path = os.path.join(os.path.realpath(str(tmp_path)), "a.hdd")
    build_bundle(path, size_sectors=SECTORS, layers=list(CHAIN), cluster_sectors=CLUSTER_SECTORS)
    return examine(PORT, locate_damaged(PORT, path))


def found(examined, *, chosen=..., **changes):
    """What is found when one image, the top or that of ``guid``, is another one than it is."""
    guid = changes.pop("guid", TOP)
    images = [replace(image, **changes) if image.guid == guid else image for image in examined.images]
    chosen = examined.chosen if chosen is ... else chosen
    findings = cross_checks(images, chosen, examined.location, examined.tree)
    return [(one.code, one.repairable) for one in findings]


def header_of(examined, guid=TOP):
    (image,) = [image for image in examined.images if image.guid == guid]
    return image.header


def test_images_that_fit_are_no_finding(examined):
    assert found(examined) == []


def test_one_file_under_two_names_is_found_where_the_descriptor_is_sound(examined):
    other = next(image.stat for image in examined.images if image.guid != TOP)
    assert found(examined, stat=other) == [("image_shared", "no")]
    assert found(examined, stat=other, chosen=None) == [("image_shared", "no")]
    assert found(examined, stat=other, chosen=replace(examined.chosen, is_sound=False)) == []
    # What is not there has no number of its own.
    absent = [replace(image, stat=replace(other, inode=0), header=None) for image in examined.images]
    assert not list(cross_checks(absent, examined.chosen, examined.location, examined.tree))


def test_layers_of_two_kinds_are_mixed(examined):
    header = header_of(examined)
    assert found(examined, header=replace(header, version=2)) == [("image_mixed", "no")]
    assert found(examined, header=replace(header, cluster_sectors=8)) == [("image_mixed", "no")]


@pytest.mark.parametrize(("is_sound", "degree"), [(True, "safe"), (False, "no")])
def test_another_cluster_size_in_the_descriptor_is_repaired_when_it_is_sound(examined, is_sound, degree):
    chosen = replace(examined.chosen, is_sound=is_sound)
    (storage,) = chosen.descriptor.storages
    wrong = replace(chosen.descriptor, storages=(replace(storage, cluster_sectors=8),))
    assert found(examined, chosen=replace(chosen, descriptor=wrong)) == [("descriptor_cluster_size", degree)]


def test_a_lower_layer_may_be_shorter_than_the_disk_and_none_longer(examined):
    lower = CHAIN[0].guid
    header = header_of(examined, lower)
    assert found(examined, guid=lower, header=replace(header, size_sectors=SECTORS - 1)) == []
    assert found(examined, guid=lower, header=replace(header, size_sectors=SECTORS + 1)) == [("image_size", "no")]
    assert found(examined, header=replace(header, size_sectors=SECTORS - 1)) == [("image_size", "no")]


def test_without_a_descriptor_only_names_are_compared(examined):
    assert found(examined, header=replace(header_of(examined), version=2), chosen=None) == []
