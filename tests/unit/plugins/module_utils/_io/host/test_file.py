# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``test_real`` and ``test_port`` look at open files through the port; here is what concerns two of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import IoFailure
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host import attributes
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort


def test_a_file_gets_the_permissions_of_another_without_a_name(tmp_path: Path) -> None:
    port = OsPort()
    (tmp_path / "model").touch()
    (tmp_path / "model").chmod(0o640)
    model = port.open_read(str(tmp_path / "model"))
    file = port.create(str(tmp_path / "file"), 0o600)
    os.rename(tmp_path / "file", tmp_path / "moved")
    os.symlink("model", tmp_path / "file")
    file.take_attributes(model)
    assert (tmp_path / "moved").stat().st_mode & 0o777 == 0o640
    file.close()
    model.close()


def test_a_refusal_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_arguments: int) -> None:
        raise OSError(errno.EIO, "broken")

    port = OsPort()
    file = port.create(str(tmp_path / "file"), 0o600)
    monkeypatch.setattr(attributes, "take_over", failing)
    with pytest.raises(IoFailure) as caught:
        file.take_attributes(file)
    assert caught.value.path == str(tmp_path / "file")
    file.close()
