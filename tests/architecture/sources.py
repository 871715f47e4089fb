# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source files of the collection and what they import, read without running anything."""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Iterator, List, Set, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
COLLECTION = "ansible_collections.vdisk.parallels"
ENGINE = "plugins/module_utils"
MODULES = "plugins/modules"
NOT_OURS = {".git", ".venv", ".build", ".ansible", "__pycache__", "output", "collections"}


@dataclass(frozen=True)
class Import:
    """One name that a file imports. ``at_start`` tells whether it happens as soon as the file itself is imported."""

    name: str
    line: int
    at_start: bool


def files(*endings: str, under: str = "") -> List[str]:
    """Paths of the repository, relative and sorted, of the files with one of these endings."""
    found = []
    for folder, folders, names in os.walk(os.path.join(ROOT, under)):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        found += [
            os.path.relpath(os.path.join(folder, name), ROOT).replace(os.sep, "/")
            for name in names
            if name.endswith(endings)
        ]
    return sorted(found)


def read(path: str) -> str:
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def size_bytes(paths: Set[str]) -> int:
    return sum(os.path.getsize(os.path.join(ROOT, path)) for path in paths)


@lru_cache(maxsize=None)
def parse(path: str) -> ast.Module:
    return ast.parse(read(path), filename=path)


def layer_of(path: str) -> str:
    """The room of a file: ``_core``, ``_io`` and so on, ``modules`` for a module."""
    return path[len(ENGINE) + 1 :].partition("/")[0] if path.startswith(ENGINE + "/") else "modules"


@lru_cache(maxsize=None)
def imports(path: str) -> List[Import]:
    """Every import statement of a file with absolute names; ``from a import b`` counts as ``a.b``, which may be a
    name inside of ``a``.
    """
    package = [*COLLECTION.split("."), *path.split("/")[:-1]]
    return [
        Import(name, node.lineno, at_start)
        for node, at_start in _statements(parse(path), True)
        for name in _names(node, package)
    ]


def _statements(node: ast.AST, at_start: bool) -> Iterator[Tuple[ast.stmt, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, at_start
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for part in child.body:
                yield from _statements(ast.Module([part], []), False)
            for part in child.orelse:
                yield from _statements(ast.Module([part], []), at_start)
        else:
            yield from _statements(
                child, at_start and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            )


def _names(node: ast.stmt, package: List[str]) -> List[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert isinstance(node, ast.ImportFrom)
    start = node.module or ""
    if node.level:
        start = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
    return [f"{start}.{alias.name}" for alias in node.names]


@lru_cache(maxsize=None)
def file_of(name: str) -> str:
    """The file of this collection that an imported name leads to; empty when it leads elsewhere."""
    if not name.startswith(COLLECTION + ".plugins."):
        return ""
    path = name[len(COLLECTION) + 1 :].replace(".", "/")
    for candidate in (path + ".py", os.path.dirname(path) + ".py"):
        if os.path.isfile(os.path.join(ROOT, candidate)):
            return candidate
    return ""


def closure(path: str, *, only_at_start: bool, with_start: bool = True) -> Set[str]:
    """The files of this collection that travel with a module, or with ``only_at_start`` those that it imports in every
    run.

    Without ``with_start`` the file itself is among them only when one of the others imports it.
    """
    found: Set[str] = set()
    waiting = [path] if with_start else list(_direct(path, only_at_start))
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += _direct(current, only_at_start)
    return found


@lru_cache(maxsize=None)
def _direct(path: str, only_at_start: bool) -> List[str]:
    return [file_of(item.name) for item in imports(path) if (item.at_start or not only_at_start) and file_of(item.name)]
