# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
import sys

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor_xml import parse_descriptor
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import IoFailure, MissingLibrary
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.choose_descriptor import choose_descriptor
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import locate_damaged
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle
from ansible_collections.vdisk.parallels.tests.support.faults import CHAIN, ONE, beside, held, text

PORT = OsPort()


class UnreadablePort(OsPort):
    """A port to which one kind of file is not given."""

    ending = ""

    def open_read(self, path):
        if path.endswith(self.ending):
            raise IoFailure("Cannot read", path=path, found="EIO")
        return super().open_read(path)


def built_at(path, layers=tuple(ONE), **options):
    return build_bundle(path, size_sectors=512, layers=list(layers), cluster_sectors=64, **options)


def chosen(path, port=PORT):
    return choose_descriptor(port, locate_damaged(port, path), port.list_directory(path))


def backed_up(built):
    shutil.copyfile(built.descriptor, built.descriptor + ".Backup")


def test_a_sound_descriptor_stays(path):
    built_at(path)
    choice = chosen(path)
    assert choice.is_sound and choice.content is None and parse_descriptor(choice.xml, path="") == choice.descriptor


def test_what_lxml_cannot_read_without_being_there_is_no_damage(path, monkeypatch):
    built_at(path)
    for name in ("lxml", "lxml.etree"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingLibrary):
        chosen(path)


def test_a_descriptor_from_the_images_says_what_they_hold(path):
    built = built_at(path)
    before = chosen(path).descriptor
    os.remove(built.descriptor)
    choice = chosen(path)
    assert choice.degree == "safe" and choice.content is not None
    assert (choice.descriptor.storages, choice.descriptor.shots, choice.descriptor.size_sectors) == (
        before.storages,
        before.shots,
        before.size_sectors,
    )
    assert chosen(path).content == choice.content


def test_a_lone_layer_without_the_first_cluster_may_stand_on_another(path):
    os.remove(built_at(path, [Layer(TOP, clusters=held(3))]).descriptor)
    assert chosen(path).degree == "lossy"


def test_a_linked_clone_is_not_taken_for_a_whole_disk(path):
    os.remove(built_at(path).descriptor)
    config = os.path.join(os.path.dirname(path), "config.pvs")
    with open(config, "w", encoding="utf-8") as stream:
        stream.write(
            "<ParallelsVirtualMachine><Identification><LinkedVmUuid>{1}</LinkedVmUuid></Identification></ParallelsVirtualMachine>"
        )
    assert chosen(path).degree == "lossy"


@pytest.mark.parametrize(
    ("name", "degree"),
    [
        # ploop calls upper layers so, and never the root.
        ("root.hds.{bbbbbbbb-0000-4000-8000-000000000001}", "no"),
        ("a.hdd.0.{bbbbbbbb-0000-4000-8000-000000000001}.hds", "lossy"),
    ],
)
def test_a_lone_layer_that_was_not_the_current_one_is_taken_for_it_only_on_request(path, name, degree):
    built = built_at(path)
    os.remove(built.descriptor)
    os.rename(built.files[(0, TOP)], os.path.join(path, name))
    choice = chosen(path)
    assert (choice.descriptor is None, choice.degree) == (degree == "no", degree)


def test_a_backup_that_misses_an_image_is_not_taken(path):
    built = built_at(path, tuple(CHAIN))
    backed_up(built)
    beside("a.hdd.0.{11111111-0000-4000-8000-000000000001}.hds", b"x")(built)
    os.remove(built.descriptor)
    assert chosen(path).descriptor is None


def test_a_backup_of_another_size_is_not_taken(path):
    built = built_at(path)
    text(r"<Disk_size>\d+", "<Disk_size>1024")(built)
    text(r"<End>\d+", "<End>1024")(built)
    backed_up(built)
    os.remove(built.descriptor)
    assert chosen(path).descriptor is None


def test_what_is_left_of_a_descriptor_may_speak_against_its_backup(path):
    built = built_at(path, tuple(CHAIN))
    backed_up(built)
    text(r"(<ParentGUID>)\{00000000", r"\1{0000000f")(built)
    text(r"</Parallels_disk_image>", "")(built)
    assert chosen(path).degree == "lossy"


def test_a_backup_that_is_garbage_makes_the_images_uncertain(path):
    built = built_at(path)
    beside("DiskDescriptor.xml.Backup", b"<")(built)
    os.remove(built.descriptor)
    assert chosen(path).degree == "lossy"


@pytest.mark.parametrize("ending", ["DiskDescriptor.xml", ".Backup"])
def test_what_the_medium_does_not_give_back_is_not_replaced(path, ending):
    built = built_at(path)
    backed_up(built)
    if ending == ".Backup":
        os.remove(built.descriptor)
    port = UnreadablePort()
    port.ending = ending
    choice = chosen(path, port)
    assert choice.content is None and {one.repairable for one in choice.findings} == {"no"}


def test_of_three_sizes_two_must_agree(path):
    built = built_at(path)
    text(r"<Disk_size>\d+", "<Disk_size>600")(built)
    assert chosen(path).descriptor.size_sectors == 512
    text(r"<End>\d+", "<End>700")(built)
    assert not chosen(path).is_sound
