# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples in the documentation run as they stand, on disks in a temporary folder."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.plays import PLAYBOOK, furnish, moved, place_for, play, small


@pytest.mark.plays
@pytest.mark.skipif(not os.access(PLAYBOOK, os.X_OK), reason="there is no ansible-playbook beside this Python")
@pytest.mark.parametrize("name", module_docs.NAMES)
def test_the_examples_of_the_documentation_run(tmp_path, name, repository):
    pytest.importorskip("jinja2", reason="playbooks need jinja2")
    with place_for(name, str(tmp_path)) as root:
        furnish(root, name)
        tasks = [small(moved(task, root)) for task in module_docs.parsed(name, "EXAMPLES")]
        text = play(str(tmp_path), tasks, repository)
    assert "changed=" in text and "failed=0" in text
    assert ("changed=0" in text) == name.endswith("_info")
    # One after the other, the examples of hdd_merge leave nothing for the last of them; our disk is too small for
    # Azure; a port is for every user; and
    # nothing is called as those are that hdd_maintain leaves alone.
    assert ("[WARNING]" in text) == (name in ("hdd_convert", "hdd_maintain", "hdd_merge", "hdd_nbd"))
