# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What travels to a managed node with each module, and what it compiles there in every run."""

from __future__ import annotations

import os

import pytest

from ansible_collections.vdisk.parallels.tests.architecture import sources

MODULES = sources.files(".py", under=sources.MODULES)
# 100 kB of source cost 2 to 3 ms a task to ship and 10 ms to compile. A module ships what some run of it may need:
# those that compact or describe have the file systems of guests with them, those that convert or serve all formats.
MOST_SHIPPED_BYTES = {
    "hdd": 751_000,
    "hdd_check": 664_000,
    "hdd_compact": 800_000,
    "hdd_convert": 1_322_000,
    "hdd_info": 655_000,
    "hdd_maintain": 980_000,
    "hdd_merge": 527_000,
    "hdd_nbd": 926_000,
    "hdd_snapshot": 535_000,
    "vagrant_box": 377_000,
}
MOST_IMPORTED_BYTES = 400_000


def test_imports_are_found_wherever_they_stand(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "plugins" / "module_utils" / "_core"
    folder.mkdir(parents=True)
    for name in ("early", "late", "typed", "guarded", "deep"):
        (folder / f"{name}.py").write_text("")
    (folder / "guarded.py").write_text("def f():\n    from .deep import anything\n")
    (folder / "start.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from . import early\n"
        "if TYPE_CHECKING:\n    from .typed import T\n"
        "try:\n    from ansible_collections.vdisk.parallels.plugins.module_utils._core import guarded\n"
        "except ImportError:\n    pass\n"
        "class C:\n    def f(self):\n        from ..._none import x\n        from .late import y\n"
    )
    monkeypatch.setattr(sources, "ROOT", str(tmp_path))
    start = "plugins/module_utils/_core/start.py"

    def names(only_at_start: bool) -> set:
        return {os.path.basename(path)[:-3] for path in sources.closure(start, only_at_start=only_at_start)}

    assert names(True) == {"start", "early", "guarded"}
    assert names(False) == {"start", "early", "guarded", "typed", "late", "deep"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_ships_little(module: str) -> None:
    shipped = sources.closure(module, only_at_start=False)
    most = MOST_SHIPPED_BYTES[os.path.basename(module)[: -len(".py")]]
    assert sources.size_bytes(shipped) < most, sorted(shipped)


def test_only_who_reads_images_of_other_products_ships_their_formats() -> None:
    carriers = [
        module
        for module in MODULES
        if any(path.endswith("/qcow2/reader.py") for path in sources.closure(module, only_at_start=False))
    ]
    assert [os.path.basename(module) for module in carriers] == ["hdd_convert.py", "hdd_nbd.py"]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_little_at_start(module: str) -> None:
    imported = sources.closure(module, only_at_start=True)
    assert sources.size_bytes(imported) < MOST_IMPORTED_BYTES, sorted(imported)


def test_every_file_of_the_engine_travels_with_some_module() -> None:
    if not MODULES:
        pytest.skip("there are no modules")
    shipped = set().union(*(sources.closure(module, only_at_start=False) for module in MODULES))
    assert sorted(set(sources.files(".py", under=sources.ENGINE)) - shipped) == []
