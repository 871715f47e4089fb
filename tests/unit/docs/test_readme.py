# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README and the pages beside it: tables name what there is, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core import errors

ROOT = Path(__file__).resolve().parents[3]
_ROW = re.compile(r"^\| (.+?) \|", re.MULTILINE)
_CODE = re.compile(r"`(\w+)`")


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def table(text: str, heading: str) -> list:
    """The names in the first column of the table that begins with ``heading``."""
    rows = text[text.index(f"\n| {heading} |") + 1 :].partition("\n\n")[0]
    return [name for row in _ROW.findall(rows)[1:] for name in _CODE.findall(row)]


def stems(folder: str) -> list:
    return sorted(path.stem for path in (ROOT / folder).glob("*.py"))


def test_the_tables_name_what_there_is() -> None:
    text = readme()
    assert sorted(table(text, "module")) == stems("plugins/modules")
    assert sorted(table(text, "filter")) == stems("plugins/filter")
    assert sorted(table(text, "inventory")) == stems("plugins/inventory")
    assert sorted(table(text, "role")) == sorted(path.name for path in (ROOT / "roles").iterdir())


def test_the_error_codes_are_those_of_the_code() -> None:
    known = {
        one.code for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.DiskError)
    } - {errors.DiskError.code}
    listed = table((ROOT / "docs" / "errors.md").read_text(encoding="utf-8"), "`error_code`")
    # The glue adds these two: a check that found something, and a missing lxml.
    assert sorted(listed) == sorted(known | {"unhealthy", "missing_library"})


PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("roles/*/README.md")),
]
_LINK = re.compile(r"\]\(([^)]+)\)|(?:srcset|src)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set:
    """What links into a page may name, as GitHub makes it of the headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(page.read_text(encoding="utf-8"))
    }


def is_dead(page: Path, link: str) -> bool:
    name, _hash, anchor = link.partition("#")
    target = page.parent / name if name else page
    return not target.exists() or bool(anchor) and anchor not in anchors(target)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page) -> None:
    links = [one or other for one, other in _LINK.findall(page.read_text(encoding="utf-8"))]
    assert [link for link in links if "://" not in link and is_dead(page, link)] == []


def test_a_dead_link_is_seen() -> None:
    page = ROOT / "README.md"
    assert is_dead(page, "docs/none.md") and is_dead(page, "docs/promises.md#none") and is_dead(page, "#none")
    assert not is_dead(page, "docs/promises.md#limits") and not is_dead(page, "#quick-start")


def test_the_readme_leads_to_every_page_of_documentation() -> None:
    text = readme()
    assert [page.name for page in sorted(ROOT.glob("docs/*.md")) if f"](docs/{page.name})" not in text] == []


def test_the_readme_is_short() -> None:
    assert len(readme().splitlines()) <= 140


def test_the_version_is_that_of_the_collection() -> None:
    yaml = pytest.importorskip("yaml", reason="playbooks need PyYAML")
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    assert f"/vdisk-parallels-{version}.tar.gz" in readme()
    assert f"version: {version} " in readme()
