# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a file is by its marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import AlreadyExists
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.marks import mark_of, refuse_other_marks
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

CASES = {
    "unstructured": b"notes",
    "qcow2": b"QFI\xfb\0\0\0\3".ljust(4096, b"\0"),
    "gzip": b"\x1f\x8b\x08",
    "vhd": bytes(1024) + b"conectix".ljust(512, b"\0"),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_marks_count_and_not_the_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.vmdk"
    path.write_bytes(CASES[kind])
    assert mark_of(OsPort(), str(path)) == kind
    refuse_other_marks(OsPort(), str(path), (kind,), what="box")
    if kind != "unstructured":
        with pytest.raises(AlreadyExists) as caught:
            refuse_other_marks(OsPort(), str(path), ("tar",), what="box")
        assert caught.value.context["found"] == kind and "force: true" in str(caught.value)


def test_an_empty_file_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert mark_of(OsPort(), str(tmp_path / "empty")) == "unstructured"
