# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What travels to a managed node with each module, and what it compiles there in every run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest

from ansible_collections.vdisk.parallels.tests.architecture import sources

MODULES = sources.files(".py", under=sources.MODULES)
# 100 kB of source cost 2 to 3 ms a task to ship and 10 ms to compile. A module ships what some run of it may need:
# those that compact or describe have the file systems of guests with them, those that convert or serve all formats.
MOST_SHIPPED_BYTES = {
    "hdd": 789_000,
    "hdd_check": 698_000,
    "hdd_compact": 831_000,
    "hdd_convert": 1_385_000,
    "hdd_info": 682_000,
    "hdd_maintain": 1_056_000,
    "hdd_merge": 559_000,
    "hdd_nbd": 967_000,
    "hdd_snapshot": 565_000,
    "vagrant_box": 391_000,
}
# What each run imports before it looks at its options: how many files, and how many bytes. Python compiles these in
# every run, 10 ms for 100 kB.
MOST_IMPORTED = {
    "hdd": (53, 296_000),
    "hdd_check": (58, 345_000),
    "hdd_compact": (62, 349_000),
    "hdd_convert": (60, 335_000),
    "hdd_info": (45, 261_000),
    "hdd_maintain": (69, 402_000),
    "hdd_merge": (55, 305_000),
    "hdd_nbd": (66, 387_000),
    "hdd_snapshot": (53, 288_000),
    "vagrant_box": (48, 270_000),
}
# Of the standard library what starts fast, or is there already because Python or Ansible's basic.py needs it.
LIBRARIES = frozenset(
    "__future__ array bisect collections errno fcntl importlib itertools operator os posixpath re stat struct sys time "
    "types typing zipimport heapq json".split()
)
MORE_LIBRARIES = {
    "hdd": {"uuid"},
    "hdd_convert": {"uuid"},
    "hdd_maintain": {"fnmatch"},
    "hdd_nbd": {"hashlib", "select", "signal", "threading", "urllib"},
    "vagrant_box": {"hashlib", "tarfile", "uuid", "zlib"},
}


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
    files, size = MOST_IMPORTED[os.path.basename(module)[: -len(".py")]]
    assert len(imported) <= files and sources.size_bytes(imported) < size, sorted(imported)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_loads_little_else_at_start(module: str) -> None:
    imported = [item for path in sources.closure(module, only_at_start=True) for item in sources.imports(path)]
    others = {item.name.split(".")[0] for item in imported if item.at_start and not sources.file_of(item.name)}
    more = MORE_LIBRARIES.get(os.path.basename(module)[: -len(".py")], set())
    assert others - LIBRARIES - {"ansible", "ansible_collections"} == more


RUNS = {
    "raw to raw": ("source.raw", "out.raw", {}),
    "raw to hdd": ("source.raw", "out.hdd", {}),
    "raw to qcow2": ("source.raw", "out.qcow2", {"format": "qcow2"}),
    "hdd to raw": ("source.hdd", "out.raw", {}),
}
# What such a run has no use for: XML where there is none, images of other products, containers, snapshots, threads that
# compress, and libraries that take long to load.
UNUSED = {
    "raw to raw": ("lxml", "_bundle.descriptor_edit", "_formats.codecs", "_guest.containers", "_guest.backing"),
    "raw to hdd": ("_formats.codecs", "_guest.containers.catalog", "_guest.backing", "_change.publish", "_io.journal"),
    "raw to qcow2": ("lxml", "_bundle.descriptor_edit", "_guest.containers", "_io.pipeline", "_formats.vmdk"),
    "hdd to raw": ("_bundle.descriptor_edit", "_bundle.xml_edit", "_formats.codecs", "_guest.containers.catalog"),
}
SLOW = set("uuid concurrent logging dataclasses subprocess socket ssl decimal tempfile argparse".split())
PROGRAM = """
import json, sys
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
source, dest, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
port = OsPort()
options = {"format": dest.rpartition(".")[2], **options}
execute(port, plan_convert(port, find_source(port, source), ConvertRequest(path=dest, **options), token="t"))
print(*sys.modules)
"""


@pytest.mark.parametrize("name", RUNS)
def test_a_run_loads_what_it_uses(name: str, tmp_path: Path) -> None:
    source, dest, options = RUNS[name]
    raw = tmp_path / "source.raw"
    raw.write_bytes(b"data" * 1000 + bytes(1 << 20))
    if source.endswith(".hdd"):
        _run(str(raw), str(tmp_path / source), {})
    loaded = _run(str(raw if source.endswith(".raw") else tmp_path / source), str(tmp_path / dest), options)
    assert {one.split(".")[0] for one in loaded} & SLOW == set()
    ours = f"{sources.COLLECTION}.plugins.module_utils."
    unused = tuple(f"{ours}{part}" if part.startswith("_") else part for part in UNUSED[name])
    assert [one for one in loaded if one.startswith(unused) and one != f"{ours}_guest.containers"] == []


def _run(source: str, dest: str, options: Dict[str, str]) -> List[str]:
    command = [sys.executable, "-c", PROGRAM, source, dest, json.dumps(options)]
    folder = os.path.join(os.path.dirname(dest), "link")
    place = os.path.join(folder, "ansible_collections", "vdisk")
    if not os.path.isdir(place):
        os.makedirs(place)
        os.symlink(sources.ROOT, os.path.join(place, "parallels"))
    found = os.pathsep.join([folder, *(path for path in sys.path if path)])
    environment = {**os.environ, "PYTHONPATH": found}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.split()


def test_every_file_of_the_engine_travels_with_some_module() -> None:
    if not MODULES:
        pytest.skip("there are no modules")
    shipped = set().union(*(sources.closure(module, only_at_start=False) for module in MODULES))
    assert sorted(set(sources.files(".py", under=sources.ENGINE)) - shipped) == []
