# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Size, grammar and header of the files."""

from __future__ import annotations

import ast

import pytest

from ansible_collections.vdisk.parallels.tests.architecture import sources

ENGINE = sources.files(".py", under=sources.ENGINE)
PYTHON = sources.files(".py")
# What runs on managed nodes, and its unit tests. The rest runs where the tools do.
FOR_OLD_PYTHON = [
    path for path in PYTHON if path.startswith(("plugins/", "tests/unit/", "tests/support/", "tests/conftest.py"))
]
# REUSE.toml speaks for the files that a tool writes.
WITH_HEADER = [
    path
    for path in sources.files(".py", ".yml", ".yaml", ".sh", ".toml", "Makefile")
    if not path.startswith("changelogs/")
]
HEADER = (
    "# Copyright (c) 2026, The vdisk.parallels authors",
    "# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)",
    # In two parts, because reuse would take it for a statement about this file.
    "# SPDX-License-" + "Identifier: GPL-3.0-or-later",
)
PRIVATE = "# PRIVATE: only vdisk.parallels itself imports this file."
MOST_LINES_OF_A_FILE = 450
MOST_LINES_OF_A_FUNCTION = 60


@pytest.mark.parametrize("path", WITH_HEADER)
def test_a_file_begins_with_copyright_and_licence(path: str) -> None:
    lines = sources.read(path).split("\n")
    while lines[0].startswith("#!") or lines[0] == "---":
        del lines[0]
    # What travels to managed nodes names its licence in one line.
    assert tuple(lines[:3]) == HEADER or (path in ENGINE and tuple(lines[:2]) == HEADER[::2])


@pytest.mark.parametrize("path", ENGINE + sources.files(".py", under="plugins/doc_fragments"))
def test_a_file_of_the_engine_says_that_it_is_private(path: str) -> None:
    docstring = sources.parse(path).body[0].end_lineno or 0
    assert sources.read(path).split("\n")[docstring : docstring + 2] == ["", PRIVATE]


@pytest.mark.parametrize("path", ENGINE)
def test_a_file_of_the_engine_is_short(path: str) -> None:
    assert sources.read(path).count("\n") <= MOST_LINES_OF_A_FILE


@pytest.mark.parametrize("path", ENGINE)
def test_functions_of_the_engine_are_short(path: str) -> None:
    functions = [
        node for node in ast.walk(sources.parse(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    lengths = {f"{node.name} in line {node.lineno}": (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION}


@pytest.mark.parametrize("path", FOR_OLD_PYTHON)
def test_a_file_has_the_grammar_of_python_3_8(path: str) -> None:
    assert ast.parse(sources.read(path), filename=path, feature_version=(3, 8)).body


@pytest.mark.parametrize("path", FOR_OLD_PYTHON)
def test_annotations_are_never_evaluated(path: str) -> None:
    assert "from __future__ import annotations" in sources.read(path)


def test_packages_have_no_init_files() -> None:
    assert not [path for path in PYTHON if path.endswith("__init__.py") and path.startswith(("plugins/", "tests/"))]


def test_plugins_hold_nothing_but_python() -> None:
    assert not [path for path in sources.files("", under="plugins") if not path.endswith(".py")]
