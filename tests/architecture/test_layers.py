# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
import os
from typing import Iterator, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.tests.architecture import sources

LAYERS = ("_core", "_io", "_formats", "_bundle", "_guest", "_change", "_ops", "_ansible", "modules")
ENGINE_FILES = sources.files(".py", under=sources.ENGINE)
MODULE_FILES = sources.files(".py", under=sources.MODULES)
FILES = ENGINE_FILES + MODULE_FILES

# What reaches the operating system; only _io may. os.path is allowed elsewhere for what it computes from the text of a
# path.
SYSTEM = frozenset(
    "os posix fcntl ctypes mmap tempfile shutil socket select signal io glob pathlib subprocess multiprocessing".split()
)
PURE_PATH = {"path", "fspath", "fsencode", "fsdecode", "PathLike"}
PURE_OS_PATH = {"basename", "commonpath", "dirname", "isabs", "join", "normpath", "relpath", "sep", "split", "splitext"}


def _own(path: str) -> Iterator[Tuple[int, str]]:
    """Lines and files of this collection that a file imports."""
    for item in sources.imports(path):
        target = sources.file_of(item.name)
        if target:
            yield item.line, target


def test_there_is_an_engine_to_look_at() -> None:
    assert {sources.layer_of(path) for path in ENGINE_FILES} == set(LAYERS) - {"modules"}


@pytest.mark.parametrize("path", FILES)
def test_imports_lead_to_the_same_layer_or_down(path: str) -> None:
    own = LAYERS.index(sources.layer_of(path))
    wrong = [f"line {line}: {target}" for line, target in _own(path) if LAYERS.index(sources.layer_of(target)) > own]
    assert not wrong


@pytest.mark.parametrize("path", FILES)
def test_every_import_of_the_collection_leads_to_a_file(path: str) -> None:
    names = [item for item in sources.imports(path) if item.name.startswith("ansible_collections.")]
    assert not [f"line {item.line}: {item.name}" for item in names if not sources.file_of(item.name)]


@pytest.mark.parametrize("path", MODULE_FILES)
def test_modules_do_not_import_each_other(path: str) -> None:
    assert not [f"line {line}: {target}" for line, target in _own(path) if sources.layer_of(target) == "modules"]


@pytest.mark.parametrize("path", [path for path in ENGINE_FILES if sources.layer_of(path) != "_ansible"])
def test_the_engine_does_not_know_ansible(path: str) -> None:
    assert not [
        f"line {item.line}: {item.name}" for item in sources.imports(path) if item.name.partition(".")[0] == "ansible"
    ]


def _family(path: str) -> str:
    """The format that a file belongs to, empty for what all formats share."""
    return os.path.dirname(path)[len(f"{sources.ENGINE}/_formats") :].strip("/")


@pytest.mark.parametrize(
    "path", [path for path in ENGINE_FILES if sources.layer_of(path) == "_formats" and _family(path)]
)
def test_formats_do_not_know_each_other(path: str) -> None:
    formats = [(line, target) for line, target in _own(path) if sources.layer_of(target) == "_formats"]
    assert not [f"line {line}: {target}" for line, target in formats if _family(target) not in ("", _family(path))]


@pytest.mark.parametrize("path", ENGINE_FILES)
def test_no_files_import_each_other_in_a_circle(path: str) -> None:
    assert path not in sources.closure(path, only_at_start=False, with_start=False)


@pytest.mark.parametrize("path", [path for path in FILES if sources.layer_of(path) != "_io"])
def test_only_the_port_reaches_the_operating_system(path: str) -> None:
    wrong = [f"line {item.line}: {item.name}" for item in sources.imports(path) if not _is_pure(item.name)]
    assert wrong + _uses(sources.parse(path)) == []


def _is_pure(name: str) -> bool:
    first, _dot, rest = name.partition(".")
    if first != "os":
        return first not in SYSTEM or name in ("io.BytesIO", "io.StringIO")
    function = rest.partition(".")[2]
    return rest.partition(".")[0] in PURE_PATH and (not function or function in PURE_OS_PATH)


def _uses(tree: ast.Module) -> List[str]:
    """Calls of ``open``, and parts of ``os`` and ``os.path`` that look at the disk; ``import os.path`` gives all of
    them a name.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            found.append(f"line {node.lineno}: open()")
        if not isinstance(node, ast.Attribute):
            continue
        text = ast.unparse(node)
        if isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr not in PURE_PATH:
            found.append(f"line {node.lineno}: {text}")
        if ast.unparse(node.value) in ("os.path", "posixpath") and node.attr not in PURE_OS_PATH:
            found.append(f"line {node.lineno}: {text}")
    return found
