# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Let every test import ``ansible_collections.vdisk.parallels`` from this checkout, wherever it lies, and set up
what all tests share.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import sys
import types
from pathlib import Path
from typing import Callable

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
NAME = "ansible_collections.vdisk.parallels"
LONG = "VDISK_LONG"
FEW = "VDISK_FEW"
SHARE = "VDISK_SHARE"
EVERY = "VDISK_EVERY"


def _package(name: str, folders: list) -> None:
    """Make ``name`` an imported package that looks into ``folders`` before the places it knows already."""
    module = sys.modules.get(name)
    if module is None:
        module = types.ModuleType(name)
        module.__path__ = []
        sys.modules[name] = module
        parent, _dot, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    module.__path__ = folders + [entry for entry in module.__path__ if entry not in folders]


def _is_this_checkout_importable() -> bool:
    """Whether the name leads here already, as it does under ansible-test; an installed copy of another version does
    not count.
    """
    try:
        spec = importlib.util.find_spec(NAME)
    except (ImportError, ValueError):
        return False
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    return bool(folders) and os.path.realpath(folders[0]) == ROOT


if not _is_this_checkout_importable():
    _package("ansible_collections", [])
    _package("ansible_collections.vdisk", [])
    _package(NAME, [ROOT])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"long: runs for minutes; only with {LONG}=1 (make test-long)")
    config.addinivalue_line("markers", "plays: runs playbooks for tens of seconds; of its examples make test plays one")
    config.addinivalue_line("markers", "plays_all: plays whole pages; only make test-all plays it")
    if importlib.util.find_spec("hypothesis") is None:
        return
    from hypothesis import HealthCheck, settings

    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings.register_profile("short", deadline=None, derandomize=True, database=None, suppress_health_check=slow)
    settings.register_profile("long", deadline=None, max_examples=2000, suppress_health_check=slow)
    settings.register_profile(
        "few", deadline=None, derandomize=True, database=None, max_examples=10, suppress_health_check=slow
    )
    settings.load_profile("long" if os.environ.get(LONG) else "few" if os.environ.get(FEW) else "short")


LEAST = 2
"""How many examples of a test are played at the least, if it has them."""


def pytest_collection_modifyitems(config: pytest.Config, items: list) -> None:
    if os.environ.get(FEW):
        slow = [item for item in items if item.get_closest_marker("plays") is not None]
        quick = [item for item in items if item.get_closest_marker("plays") is None]
        _thin_out(config, items, slow, lambda count: 1)
        _thin_out(config, items, quick, lambda count: LEAST)
        _drop(config, items, {id(item) for item in items if item.get_closest_marker("plays_all") is not None})
    elif os.environ.get(SHARE):
        # Unit tests are quick, but for those that play playbooks.
        slow = [
            item
            for item in items
            if not item.nodeid.startswith("tests/unit/") or item.get_closest_marker("plays") is not None
        ]
        _thin_out(config, items, slow, lambda count: max(LEAST, count // int(os.environ[SHARE])))
    if os.environ.get(EVERY):
        _drop(config, items, {id(item) for number, item in enumerate(items) if number % int(os.environ[EVERY])})
    if os.environ.get(LONG):
        return
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.skip(reason=f"long: runs with {LONG}=1 (make test-long)"))


def _thin_out(config: pytest.Config, items: list, slow: list, wanted: Callable[[int], int]) -> None:
    """Of each test in ``slow`` leave as many examples as ``wanted`` says of their number, evenly spread, other ones
    on each Python.
    """
    by_test: dict = {}
    for item in slow:
        by_test.setdefault(item.nodeid.partition("[")[0], []).append(item)
    dropped = {id(item) for item in slow}
    for examples in by_test.values():
        most = min(len(examples), wanted(len(examples)))
        step = len(examples) / most
        dropped.difference_update(
            id(examples[(int(number * step) + sys.version_info[1]) % len(examples)]) for number in range(most)
        )
    _drop(config, items, dropped)


def _drop(config: pytest.Config, items: list, dropped: set) -> None:
    config.hook.pytest_deselected(items=[item for item in items if id(item) in dropped])
    items[:] = [item for item in items if id(item) not in dropped]


@pytest.fixture(scope="session")
def repository() -> str:
    """The folder of this checkout."""
    return ROOT


_NUMBERS = itertools.count()
_FOLDERS: dict = {}
_FAILED: set = set()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """The folder of a test that passed goes when its last fixture has ended."""
    outcome = yield
    if outcome.get_result().failed:
        _FAILED.add(item.nodeid)
    folder = _FOLDERS.pop(item.nodeid, None) if call.when == "teardown" else None
    if folder is not None and item.nodeid not in _FAILED:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(name="tmp_path")
def tmp_path_fixture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test alone, which goes when the test passed: the tests write gigabytes in all.

    Its name is given once in a process, as who still has the folder of an earlier test open must not take it for this
    one.
    """
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)[:30]
    folder = tmp_path_factory.mktemp(f"{name}-{next(_NUMBERS)}", numbered=False)
    _FOLDERS[request.node.nodeid] = folder
    return folder


@pytest.fixture(name="root")
def root_fixture(tmp_path) -> str:
    """The folder of a test."""
    return os.path.realpath(str(tmp_path))


@pytest.fixture(name="path")
def path_fixture(root: str) -> str:
    """Where a test has its disk."""
    return f"{root}/a.hdd"


@pytest.fixture(name="built")
def built_fixture(request: pytest.FixtureRequest, path: str):
    """That disk, made as ``DISK`` of the test's file describes it."""
    from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle

    return build_bundle(path, **request.module.DISK)


@pytest.fixture(name="port")
def port_fixture():
    """A machine in memory with an empty folder, ``/vm``."""
    from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

    port = MemoryPort()
    port.plant_directory("/vm")
    return port
