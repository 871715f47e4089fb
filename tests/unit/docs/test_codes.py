# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Codes are the same everywhere: in the engine, on the pages, in what the modules say that they return."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, List, Set

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._core import errors
from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import RULES
from ansible_collections.vdisk.parallels.tests.support import module_docs

ROOT = Path(__file__).resolve().parents[3]
GUIDE = "ansible_collections.vdisk.parallels.docsite.codes"
WITH_CHECKS = ("hdd_check", "hdd_maintain")
_ROW = re.compile(r"^   \* - (.+)\n     - (.+)\n     - (.+)\n(?:     - (.+)\n)?", re.MULTILINE)


def known() -> Set[str]:
    """The codes that a failed task can have; the glue adds the one of a missing library."""
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.DiskError)]
    return {one.code for one in classes} - {errors.DiskError.code} | {"missing_library"}


def told(description: Any) -> List[str]:
    text = " ".join([description] if isinstance(description, str) else description)
    return re.findall(r"V\((\w+)\)", text[text.index("The codes are") :])


def tables() -> List[List[tuple]]:
    """The rows of both tables on the page of the guide, without their headings."""
    text = (ROOT / "docs" / "docsite" / "rst" / "codes.rst").read_text(encoding="utf-8")
    return [_ROW.findall(part)[1:] for part in text.split("\nFinding codes\n")]


def rows(page: str, cells: int) -> List[List[str]]:
    """The rows of a table of Markdown that begin with a code, written as the guide writes them."""
    lines = re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
    found = [[f"`{code}`", *rest.split(" | ")][:cells] for code, rest in lines if code != "error_code"]
    linkless = [[re.sub(r"\[(.+?)\]\(.+?\)", r"\1", cell).replace("`", "``") for cell in row] for row in found]
    return [row for row in linkless if len(row) == cells]


@pytest.mark.parametrize("name", module_docs.NAMES)
def test_every_module_documents_its_error_codes(name: str) -> None:
    returned = module_docs.parsed(name, "RETURN")
    assert set(told(returned["error_code"]["description"])) == known() | _more(name)
    assert GUIDE in str(returned["error_code"]["description"])
    assert returned["error_code"]["sample"] in known() and set(returned["error_context"]["sample"]) <= _context()


def _more(name: str) -> Set[str]:
    return {"unhealthy"} if name in WITH_CHECKS else set()


def _context() -> Set[str]:
    return set(errors.DiskError("x", "/p", 0, expected=1, found=2).context)


def test_the_check_documents_its_finding_codes() -> None:
    description = module_docs.parsed("hdd_check", "RETURN")["findings"]["contains"]["code"]["description"]
    assert told(description) == sorted(RULES)


def test_the_guide_has_the_tables_of_the_pages() -> None:
    error_rows, finding_rows = tables()
    assert [list(row[:3]) for row in error_rows] == rows("errors.md", 3)
    assert [list(row) for row in finding_rows] == rows("findings.md", 4)
    assert {row[0].strip("`") for row in error_rows} == known() | {"unhealthy"}
    assert [row[0].strip("`") for row in finding_rows] == list(RULES)


def test_the_sample_of_facts_is_whole() -> None:
    returned = module_docs.parsed("hdd_info", "RETURN")
    result = {key: fields["sample"] for key, fields in returned.items() if key in ("disks", "failed_disks", "totals")}
    module_docs.assert_documented("hdd_info", result)
    (disk,) = result["disks"]
    assert disk["file_size"] == sum(file["size"] for layer in disk["layers"] for file in layer["files"])
    assert result["totals"]["file_size"] == disk["file_size"] and disk["depth"] == len(disk["layers"])
    assert {one["error_code"] for one in result["failed_disks"]} <= known()


def test_the_sample_has_the_keys_of_a_real_disk(root: str) -> None:
    from ansible_collections.vdisk.parallels.tests.support.farm import machine
    from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed

    real = succeed("hdd_info", path=machine(f"{root}/mac.pvm").directory)
    (disk,), (sample,) = real["disks"], module_docs.parsed("hdd_info", "RETURN")["disks"]["sample"]
    assert sorted(sample) == sorted(disk)
    for key in ("vm", "reclaimable", "geometry"):
        assert set(sample[key]) == set(disk[key])
    for key in ("snapshots", "layers"):
        assert set(sample[key][0]) == set(disk[key][0])
    assert set(sample["layers"][0]["files"][0]) == set(disk["layers"][0]["files"][0])
    assert set(module_docs.parsed("hdd_info", "RETURN")["totals"]["sample"]) == set(real["totals"])
