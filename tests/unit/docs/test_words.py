# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read: the words of docs/architecture.md, and names of files that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ENGINE = ROOT / "plugins" / "module_utils"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("docs/docsite/rst/*.rst")),
    *sorted(ROOT.glob("roles/*/README.md")),
    *sorted(ROOT.glob("roles/*/meta/argument_specs.yml")),
]
PLUGINS = [
    path
    for folder in ("modules", "filter", "inventory", "doc_fragments")
    for path in sorted(ROOT.glob(f"plugins/{folder}/*.py"))
]
DOCUMENTED = ("DOCUMENTATION", "EXAMPLES", "RETURN", "INFO_MODULE")
# Each has a plain word: predict, repair, report, after or past or beyond, is.
AVOIDED = re.compile(r"\b(foretells?|foretold|foresees?|mend(s|ed|ing)?|tells|told|behind|lies|lay)\b", re.IGNORECASE)
_BLOCK = re.compile(r"^```.*?^```$|^ *\.\. code-block::.*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`([\w.\-/]+/[\w.\-/*]*)`")
_ROOMS = re.compile(r"_(core|io|formats|bundle|guest|change|ops|ansible)/")
_FOLDERS = ("plugins/", "tests/", "docs/", "roles/", "examples/", "extensions/", "changelogs/", ".ci/")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """The text of a page without its blocks of code and output, or what a plugin documents."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return _BLOCK.sub("", text)
    nodes = ast.walk(ast.parse(text))
    return "\n".join(
        str(ast.literal_eval(node.value))
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in DOCUMENTED
    )


def missing_files(text: str) -> list:
    """Names of files and folders of the repository in ``text`` at which there is nothing; rooms are in the engine."""
    named = {name for name in _NAMED.findall(text) if name.startswith(_FOLDERS) or _ROOMS.match(name)}
    return sorted(
        name
        for name in named
        if not any((ENGINE if _ROOMS.match(name) else ROOT).glob(name.rstrip("/")))
        and "/X/" not in name
        and not re.search(r"[A-Z]{3,}", name)
    )


@pytest.mark.parametrize("path", PAGES + PLUGINS, ids=relative)
def test_the_words_are_those_of_the_field(path) -> None:
    assert [match[0] for match in AVOIDED.finditer(prose(path))] == []


@pytest.mark.parametrize("path", [path for path in PLUGINS if path.parent.name == "filter"], ids=relative)
def test_examples_of_filters_are_tasks(path) -> None:
    yaml = pytest.importorskip("yaml", reason="playbooks need PyYAML")
    found = re.search(r'^EXAMPLES = r"""\n(.*?)"""', path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    assert all(isinstance(task, dict) and task["name"] for task in yaml.safe_load(found[1]))


@pytest.mark.parametrize("path", [path for path in PAGES if path.suffix == ".md"], ids=relative)
def test_named_files_exist(path) -> None:
    assert missing_files(path.read_text(encoding="utf-8")) == []


def test_what_is_wrong_is_seen() -> None:
    assert AVOIDED.search("Data that lie behind the end.") and AVOIDED.search("It tells why.")
    assert missing_files("`_core/plan.py` `_core/none.py` `tests/none/` `docs/use.md`") == [
        "_core/none.py",
        "tests/none/",
    ]
    assert prose(ROOT / "plugins" / "modules" / "hdd.py").count("short_description") == 1
