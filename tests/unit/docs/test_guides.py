# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guides: each task in them runs as it stands, one after the other, on disks in a temporary folder."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.plays import PLAYBOOK, furnish, moved, place_for, play, small

RST = Path(__file__).resolve().parents[3] / "docs" / "docsite" / "rst"
GUIDES = sorted(path.stem for path in RST.glob("guide_*.rst"))
_BLOCK = re.compile(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", re.MULTILINE)


def tasks_of(guide: str) -> list:
    yaml = pytest.importorskip("yaml", reason="playbooks need PyYAML")
    text = (RST / f"{guide}.rst").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(textwrap.dedent(block)) for block in _BLOCK.findall(text)]
    assert text.count("code-block:: yaml") == len(blocks)
    return [task for block in blocks for task in block]


def test_there_are_guides_and_all_are_in_the_table_of_contents() -> None:
    contents = (RST.parent / "extra-docs.yml").read_text(encoding="utf-8")
    assert GUIDES and [guide for guide in GUIDES if f"- {guide}\n" not in contents] == []


@pytest.mark.plays
@pytest.mark.skipif(not os.access(PLAYBOOK, os.X_OK), reason="there is no ansible-playbook beside this Python")
@pytest.mark.parametrize("guide", GUIDES)
def test_the_tasks_of_a_guide_run(tmp_path, guide, repository) -> None:
    pytest.importorskip("jinja2", reason="playbooks need jinja2")
    with place_for(guide, str(tmp_path)) as root:
        furnish(root, guide)
        text = play(str(tmp_path), [small(moved(task, root)) for task in tasks_of(guide)], repository)
    assert "failed=0" in text and "changed=0" not in text
