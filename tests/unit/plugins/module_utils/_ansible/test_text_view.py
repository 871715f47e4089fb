# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_convert with subformat view, called as Ansible calls it."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, succeed, three_runs, warnings

MIB = 1 << 20


@pytest.fixture(name="disk")
def disk_fixture(tmp_path):
    layers = [Layer(TOP, clusters={1: fill(3, MIB), 3: fill(4, MIB)})]
    return build_bundle(str(tmp_path / "mac.hdd"), size_sectors=2048 * 8, layers=layers)


def test_a_text_is_predicted_written_and_kept(disk, tmp_path):
    dest = str(tmp_path / "view.vmdk")
    runs = three_runs("hdd_convert", str(tmp_path), src=disk.directory, dest=dest, subformat="view", mode="0640")
    assert runs.done["changed"] and runs.done["commits"] == [f"replace {dest}"]
    module_docs.assert_documented("hdd_convert", runs.done)
    assert [file["path"] for file in runs.done["files"]] == [dest, str(tmp_path / "view-zeros.vmdk")]
    assert runs.done["files"][0]["size"] == os.path.getsize(dest)
    assert (runs.done["virtual_size"], runs.done["verified"]) == (8 * MIB, False)
    assert any("bound to the files" in text for text in warnings(runs.done))
    assert (runs.again["reason"], runs.again["verified"]) == ("kept: the destination points to the same places", True)
    assert os.stat(dest).st_mode & 0o777 == 0o640


def test_one_that_is_kept_because_it_is_there_has_its_own_length(disk, tmp_path):
    (tmp_path / "view.vmdk").write_bytes(b"what it is")
    options = {"src": disk.directory, "dest": str(tmp_path / "view.vmdk"), "subformat": "view"}
    kept = succeed("hdd_convert", update="missing", **options)
    assert not kept["changed"] and kept["files"][0]["size"] == 10
    refused("hdd_convert", str(tmp_path), code="exists", **options)


def test_other_formats_have_no_such_kind(disk, tmp_path):
    options = {"src": disk.directory, "subformat": "view"}
    for suffix in ("qcow2", "vhd", "hdd"):
        refused("hdd_convert", str(tmp_path), code="bad_request", dest=str(tmp_path / f"x.{suffix}"), **options)
    dest = str(tmp_path / "x.vmdk")
    refused("hdd_convert", str(tmp_path), code="bad_request", dest=dest, compression="zlib", **options)
