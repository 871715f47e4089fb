# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible import deps
from ansible_collections.vdisk.parallels.tests.support.tasks import Failed, Task


def test_with_lxml_nothing_happens() -> None:
    deps.require_lxml(Task())  # type: ignore[arg-type]


def test_without_lxml_the_task_fails_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lxml", None)  # type: ignore[arg-type]
    with pytest.raises(Failed) as caught:
        deps.require_lxml(Task())  # type: ignore[arg-type]
    assert "lxml >= 4.6" in caught.value.result["msg"]
    assert caught.value.result["error_code"] == "missing_library"
