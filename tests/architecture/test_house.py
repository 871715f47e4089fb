# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The house: a test for every file, rooms of a size that can be overlooked, functions that can be read at a glance."""

from __future__ import annotations

import ast
import os
import statistics
from collections import Counter
from typing import List

import pytest

from ansible_collections.vdisk.parallels.tests.architecture import sources

ENGINE = sources.files(".py", under=sources.ENGINE)
# Fragments of documentation are no code; tests/unit/plugins/modules reads them with their modules.
PLUGINS = [path for path in sources.files(".py", under="plugins") if not path.startswith("plugins/doc_fragments/")]
MOST_FILES_OF_A_FOLDER = 18
SHORT_LINES, MEDIAN_LINES = 19, 7
MOST_PARAMETERS, SHARE_WITH_MORE = 4, 0.04


def functions(path: str) -> List[ast.FunctionDef]:
    return [node for node in ast.walk(sources.parse(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]  # type: ignore[misc]


def parameters(function: ast.FunctionDef) -> int:
    """How many there are, self and cls aside."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if one]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def mirror(path: str) -> str:
    """Where the tests of a file stand: plugins/X/y.py has tests/unit/plugins/X/test_y.py."""
    folder, name = os.path.split(path)
    return f"tests/unit/{folder}/test_{name}"


@pytest.mark.parametrize("path", PLUGINS)
def test_a_file_has_its_test_at_the_mirrored_path(path: str) -> None:
    assert os.path.isfile(os.path.join(sources.ROOT, mirror(path))), f"{mirror(path)} is missing"
    names = [one.name for one in functions(mirror(path))]
    assert [name for name in names if name.startswith("test_")], f"{mirror(path)} tests nothing"


def test_no_folder_holds_more_files_than_can_be_overlooked() -> None:
    held = Counter(os.path.dirname(path) for path in ENGINE)
    assert not {folder: count for folder, count in held.items() if count > MOST_FILES_OF_A_FOLDER}


def test_functions_are_short_by_far_most() -> None:
    lengths = sorted((one.end_lineno or 0) - one.lineno + 1 for path in ENGINE for one in functions(path))
    assert statistics.median(lengths) <= MEDIAN_LINES
    assert lengths[int(len(lengths) * 0.9)] <= SHORT_LINES


def test_few_functions_take_many_parameters() -> None:
    counts = [(parameters(one), f"{path}: {one.name}") for path in ENGINE for one in functions(path)]
    many = sorted(name for count, name in counts if count > MOST_PARAMETERS)
    assert len(many) < SHARE_WITH_MORE * len(counts), f"{len(many)} of {len(counts)}: {many}"


def test_unix_sockets_are_made_where_their_paths_are_short() -> None:
    makers = [path for path in sources.files(".py", under="tests") if "socket.AF" + "_UNIX" in sources.read(path)]
    assert makers == ["tests/support/sockets.py"]
    servers = [path for path in sources.files(".py", under="tests") if '"-k"' in sources.read(path)]
    short = ("short_folder() as", "(short_folder())")
    assert not [path for path in servers if not any(word in sources.read(path) for word in short)]
