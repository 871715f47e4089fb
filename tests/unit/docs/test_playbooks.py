# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every role has a playbook that is called by its full name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.farm import machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed
from ansible_collections.vdisk.parallels.tests.support.plays import PLAYBOOK, run_ansible

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(one.name for one in (ROOT / "roles").iterdir())


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_playbook_with_its_variables(role: str) -> None:
    yaml: Any = pytest.importorskip("yaml")
    (play,) = yaml.safe_load((ROOT / "playbooks" / f"{role}.yml").read_text())
    assert play["roles"] == [{"role": f"vdisk.parallels.{role}"}]
    assert (play["hosts"], play["become"]) == (
        f"{{{{ {role}_hosts | default('all') }}}}",
        f"{{{{ {role}_become | default(false) }}}}",
    )
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())
    wanted = [name for name, one in specs["argument_specs"]["main"]["options"].items() if one.get("required")]
    text = (ROOT / "playbooks" / f"{role}.yml").read_text()
    assert [name for name in wanted if name not in text.partition("---\n")[0]] == []


@pytest.mark.plays
@pytest.mark.skipif(not os.access(PLAYBOOK, os.X_OK), reason="there is no ansible-playbook beside this Python")
def test_a_playbook_is_played_by_its_full_name(tmp_path: Path, repository: str) -> None:
    pytest.importorskip("jinja2", reason="playbooks need jinja2")
    built = machine(str(tmp_path / "vms" / "a.pvm"))
    variables = f'{{"maintain_paths": ["{tmp_path}/vms"], "maintain_max_layers": 2, "maintain_compact": false}}'
    command = [PLAYBOOK, "vdisk.parallels.maintain", "-c", "local", "-e", variables]
    assert "1 disk: 1 changed" in run_ansible(str(tmp_path / "run"), command, repository)
    assert succeed("hdd_info", path=built.directory)["disks"][0]["depth"] == 2
