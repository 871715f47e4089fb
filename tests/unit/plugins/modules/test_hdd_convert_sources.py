# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_convert from what is not simply one image, called as Ansible calls it."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import vdi_images, vmdk_files
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, succeed, warnings
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_catalog import (
    GUEST,
    OTHER,
    TWO,
    appliance,
)
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_tar import archive

BLOCK = 4096


def read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def test_the_parent_of_an_overlay_may_be_in_a_folder_that_the_user_names(tmp_path) -> None:
    root = str(tmp_path / "vm")
    os.makedirs(f"{root}/store")
    os.makedirs(f"{root}/web")
    made = {"size": 4 * BLOCK, "block": BLOCK}
    vdi_images.build_vdi(f"{root}/store/base.vdi", contents={0: fill(0, BLOCK), 1: fill(1, BLOCK)}, **made)
    identity = vdi_images.CREATED.bytes_le
    changed = vdi_images.MODIFIED.bytes_le
    vdi_images.build_vdi(
        f"{root}/web/diff.vdi",
        contents={1: fill(9, BLOCK)},
        type=4,
        created=b"\1" * 16,
        linkage=identity,
        parent_modified=changed,
        **made,
    )
    options = {"src": f"{root}/web/diff.vdi", "dest": f"{root}/out.raw"}
    refused("hdd_convert", root, code="bad_request", **options)
    refused("hdd_convert", root, code="missing_image", backing=True, **options)
    refused("hdd_convert", root, code="bad_request", backing_paths=[f"{root}/store"], **options)
    refused("hdd_convert", root, code="bad_request", backing=True, backing_paths=[f"{root}/gone"], **options)
    succeed("hdd_convert", backing=True, backing_paths=[f"{root}/store"], **options)
    assert read(f"{root}/out.raw") == fill(0, BLOCK) + fill(9, BLOCK) + bytes(2 * BLOCK)


def test_a_disk_of_an_appliance_is_chosen_and_kept(tmp_path) -> None:
    root = str(tmp_path / "vm")
    os.makedirs(root)
    (tmp_path / "vm" / "x.ova").write_bytes(archive(appliance(TWO)))
    options = {"src": f"{root}/x.ova", "dest": f"{root}/out.raw"}
    refused("hdd_convert", root, code="bad_request", **options)
    for disk, expected in (("d1", GUEST), ("1", OTHER)):
        checked = succeed("hdd_convert", check=True, src_disk=disk, **options)
        done = succeed("hdd_convert", src_disk=disk, **options)
        assert checked["files"][0]["size"] == done["files"][0]["size"] and done["changed"]
        assert read(f"{root}/out.raw") == expected
        assert not succeed("hdd_convert", src_disk=disk, **options)["changed"]


def test_a_changed_appliance_and_one_that_is_the_destination_are_seen(tmp_path) -> None:
    root = str(tmp_path / "vm")
    os.makedirs(root)
    (tmp_path / "vm" / "x.ova").write_bytes(archive(appliance()))
    refused("hdd_convert", root, code="bad_request", src=f"{root}/x.ova", dest=f"{root}/x.ova", dest_format="raw")


def test_pieces_are_joined(tmp_path) -> None:
    root = str(tmp_path / "vm")
    os.makedirs(root)
    for number in range(3):
        (tmp_path / "vm" / f"d.00{number}").write_bytes(fill(number, 8192 if number < 2 else 1000))
    options = {"src": f"{root}/d.000", "dest": f"{root}/out.raw"}
    refused("hdd_convert", root, code="not_a_whole_disk", **options)
    done = succeed("hdd_convert", join_pieces=True, **options)
    assert any("17384 bytes are no whole number of sectors" in text for text in warnings(done))
    assert read(f"{root}/out.raw") == (fill(0, 8192) + fill(1, 8192) + fill(2, 1000)).ljust(17408, b"\0")


def test_an_overlay_without_a_format_takes_the_one_that_is_said(tmp_path) -> None:
    root = str(tmp_path / "vm")
    os.makedirs(root)
    descriptor = vmdk_files.text("monolithicSparse", ['RW 80 SPARSE "x"'], parent="1a2b3c4d", hint="base.vmdk")
    (tmp_path / "vm" / "x.vmdk").write_bytes(vmdk_files.sparse(capacity=80, grains={}, descriptor=descriptor).raw)
    refused("hdd_convert", root, code="bad_request", src=f"{root}/x.vmdk", dest=f"{root}/o.raw", backing_format="vmdk")
