# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes when an image of another product is replaced, and what does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Optional, Set

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.writer import Qcow2Writer
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest

PORT = OsPort()
IDENTITY = "{11111111-2222-3333-4444-555555555555}"
SIZE = 1 << 20
FLAT: Dict[str, Any] = {"format": "vmdk", "subformat": "monolithicFlat"}


def qcow2(path: Path, parent: Optional[str] = None) -> None:
    file = PORT.create(str(path))
    writer = Qcow2Writer(file, size_bytes=SIZE, parent=ParentImage(parent, IDENTITY) if parent is not None else None)
    writer.write(0, b"o" * 65536)
    writer.finish(IDENTITY)
    file.close()


def replace_with(folder: Path, name: str, **wanted: Any) -> Set[str]:
    """Convert a new disk to ``name``, forced; what lies there then."""
    (folder / "new.raw").write_bytes(b"new".ljust(SIZE, b"\0"))
    plan = plan_convert(
        PORT,
        find_source(PORT, str(folder / "new.raw")),
        ConvertRequest(path=str(folder / name), force=True, **wanted),
        token="t",
    )
    execute(PORT, plan)
    return set(os.listdir(folder)) - {"new.raw"}


@pytest.mark.parametrize(
    "base",
    ["disk-base.qcow2", "disk.base.qcow2", "disk.qcow2.orig", "disk-flat.qcow2", "disk.layer.qcow2", "other.qcow2"],
)
def test_what_somebody_else_put_below_an_image_stays(tmp_path: Path, base: str) -> None:
    folder = Path(os.path.realpath(tmp_path))
    qcow2(folder / base)
    qcow2(folder / "disk.qcow2", base)
    before = (folder / base).read_bytes()
    assert replace_with(folder, "disk.qcow2", format="qcow2") == {"disk.qcow2", base}
    assert (folder / base).read_bytes() == before


@pytest.mark.parametrize("base", ["disk.layer0.qcow2", "disk.2.layer0.qcow2", "disk.12.layer3.qcow2"])
def test_layers_of_a_conversion_go_with_the_image(tmp_path: Path, base: str) -> None:
    folder = Path(os.path.realpath(tmp_path))
    qcow2(folder / base)
    qcow2(folder / "disk.qcow2", base)
    assert replace_with(folder, "disk.qcow2", format="qcow2") == {"disk.qcow2"}


@pytest.mark.parametrize("name", ["disk.vmdk", "disk.VMDK", "disk.bin", "disk", "a.b.vmdk"])
def test_pieces_go_with_the_image_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    folder = Path(os.path.realpath(tmp_path))
    for subformat in ("monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "monolithicFlat"):
        left = replace_with(folder, name, format="vmdk", subformat=subformat, update="always")
        assert len(left) == 2 and name in left
    assert replace_with(folder, name, format="vmdk", update="always") == {name}
