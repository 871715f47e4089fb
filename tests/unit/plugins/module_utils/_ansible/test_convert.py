# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a conversion is decided by the task alone: the other tests are those of the module."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, succeed


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> str:
    (tmp_path / "a.raw").write_bytes(b"x" * 1024)
    return str(tmp_path)


def test_a_result_describes_the_output(root: str) -> None:
    result = succeed("hdd_convert", src=f"{root}/a.raw", dest=f"{root}/b.raw", checksum="md5")
    (file,) = result["files"]
    assert (file["path"], file["size"], file["checksum"]) == (f"{root}/b.raw", 1024, result["checksum"])
    assert (result["dest"], result["dest_size"], result["virtual_size"]) == (f"{root}/b.raw", 1024, 1024)
    assert result["diff"]["after"] == {"size": 1024, "content": result["reason"]}


def test_a_disk_that_azure_finds_too_small_is_written_with_a_warning(root: str) -> None:
    result = succeed("hdd_convert", src=f"{root}/a.raw", dest=f"{root}/b.vhd", azure=True)
    assert [text for text in result["warnings"] if "20 MiB" in str(text)]


def test_a_checksum_file_without_checksums_is_refused(root: str) -> None:
    options = {"src": f"{root}/a.raw", "dest": f"{root}/b.raw", "checksum_file": f"{root}/SUMS"}
    assert "checksum_file" in refused("hdd_convert", root, code="bad_request", **options)["msg"]
    assert os.listdir(root) == ["a.raw"]
