# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Escape, NotABundle, NotFound
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examination import has_errors
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.faults import CHAIN, FAULTS, ONE, cut, put, text, top_of

PORT = OsPort()


class HeldPort(OsPort):
    """A port that sees a process write to every image."""

    def holders(self, paths):
        return tuple((path, Holder("write", "qemu-system (4711)")) for path in paths if path.endswith(".hds"))


class ChangingPort(OsPort):
    """A port under which an image changes whenever it is looked at."""

    def open_read(self, path):
        if path.endswith(".hds"):
            os.utime(path, ns=(1, os.stat(path).st_mtime_ns + 1000))
        return super().open_read(path)


def built_at(path, layers=tuple(ONE)):
    return build_bundle(path, size_sectors=512, layers=list(layers), cluster_sectors=64)


def codes(port, path, **options):
    return [one.code for one in examine(port, locate_damaged(port, path), **options).findings]


def test_a_sound_disk_is_understood(path):
    built = built_at(path, tuple(CHAIN))
    examined = examine(PORT, locate_damaged(PORT, path))
    assert examined.findings == () or [one.code for one in examined.findings] == ["geometry"]
    assert not has_errors(examined) and examined.size_bytes == 512 * 512 and examined.tree.top == TOP
    assert sorted(image.path for image in examined.images) == sorted(built.files.values())


@pytest.mark.parametrize("name", ["", "/DiskDescriptor.xml", "/a.hdd"])
def test_a_bundle_without_descriptor_is_found_by_any_of_its_names(path, name):
    os.remove(built_at(path).descriptor)
    assert locate_damaged(PORT, path + name).directory == path


def test_what_is_no_bundle_is_none(tmp_path):
    with pytest.raises(NotABundle):
        locate_damaged(PORT, str(tmp_path))
    with pytest.raises(NotFound):
        locate_damaged(PORT, str(tmp_path / "none.hdd"))
    os.symlink("/etc/hostname", tmp_path / "DiskDescriptor.xml")
    (tmp_path / "x.hds").write_bytes(b"")
    with pytest.raises(Escape):
        locate_damaged(PORT, str(tmp_path))


def test_while_a_process_writes_its_mark_and_its_reserve_are_no_faults(path):
    built = built_at(path)
    put(top_of(built), 44, b"Ynot")
    cut(-100000)(built)
    assert set(codes(PORT, path)) >= {"image_dirty", "leak_tail"}
    found = codes(HeldPort(), path)
    assert "in_use" in found and not {"image_dirty", "leak_tail"} & set(found)


def test_a_disk_that_changes_meanwhile_is_reported(path):
    built = built_at(path)
    put(top_of(built), 52, struct.pack("<I", 1))
    assert codes(ChangingPort(), path)[-1] == "changing"


def test_an_image_outside_is_looked_at_only_when_allowed_and_never_repairable(path):
    built = built_at(path)
    outside = os.path.join(os.path.dirname(path), "elsewhere.hds")
    os.rename(top_of(built), outside)
    text(r"<File>[^<]*", f"<File>{outside}")(built)
    put(outside, 52, struct.pack("<I", 1))
    assert "flag_empty" not in codes(PORT, path) and "image_outside" in codes(PORT, path)
    examined = examine(PORT, locate_damaged(PORT, path), allow_outside=True)
    assert {one.code: one.repairable for one in examined.findings if one.code != "geometry"} == {
        "image_outside": "no",
        "flag_empty": "no",
    }


def test_two_names_of_one_file_are_one_file(path):
    built = built_at(path, tuple(CHAIN))
    os.remove(built.files[(0, guid_of(1))])
    os.link(built.files[(0, guid_of(2))], built.files[(0, guid_of(1))])
    assert "image_shared" in codes(PORT, path)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_examination_never_raises(path, fault):
    fault.build(path)
    assert fault.code in codes(PORT, path)
    for name in os.listdir(path):
        if os.path.isfile(os.path.join(path, name)):
            os.truncate(os.path.join(path, name), os.path.getsize(os.path.join(path, name)) // 2)
    examine(PORT, locate_damaged(PORT, path))
