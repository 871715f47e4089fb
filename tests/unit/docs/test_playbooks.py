# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every role has a playbook that is called by its full name."""

from __future__ import annotations

import fcntl
import json
import os
import tarfile
from pathlib import Path
from typing import Any, Dict, Sequence

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


def called(folder: Path, role: str, repository: str, hosts: Sequence[str] = ("localhost",), **variables: Any) -> str:
    """Play the playbook of a role by its full name, as the comment in it says; returns what was printed."""
    pytest.importorskip("jinja2", reason="playbooks need jinja2")
    if not os.access(PLAYBOOK, os.X_OK):
        pytest.skip("there is no ansible-playbook beside this Python")
    command = [PLAYBOOK, f"vdisk.parallels.{role}", "-c", "local", "-e", json.dumps(variables)]
    return run_ansible(str(folder / "run"), command, repository, hosts=hosts)


@pytest.mark.plays
def test_maintain_is_played_by_its_full_name(tmp_path: Path, repository: str) -> None:
    built = machine(str(tmp_path / "vms" / "a.pvm"))
    paths, most = [str(tmp_path / "vms")], 2
    text = called(
        tmp_path, "maintain", repository, maintain_paths=paths, maintain_max_layers=most, maintain_compact=False
    )
    assert "1 disk: 1 changed" in text
    assert succeed("hdd_info", path=built.directory)["disks"][0]["depth"] == 2


@pytest.mark.plays
def test_a_machine_that_does_not_start_again_is_told_and_is_the_last_that_is_stopped(
    tmp_path: Path, repository: str
) -> None:
    disks = [machine(str(tmp_path / "vms" / f"{name}.pvm")) for name in "ab"]
    (tmp_path / "stop.yml").write_text("- ansible.builtin.debug: {msg: 'stopping {{ maintain_machine.path }}'}\n")
    (tmp_path / "start.yml").write_text("- name: Press the button\n  ansible.builtin.fail: {msg: it is stuck}\n")
    hooks = {f"maintain_{what}": str(tmp_path / f"{what}.yml") for what in ("stop", "start")}
    with open(next(iter(disks[0].files.values())), "rb") as first, open(next(iter(disks[1].files.values())), "rb") as b:
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(b, fcntl.LOCK_EX)
        with pytest.raises(AssertionError) as caught:
            called(
                tmp_path, "maintain", repository, maintain_paths=[str(tmp_path / "vms")], maintain_max_layers=2, **hooks
            )
    text = str(caught.value)
    assert f"stopping {tmp_path}/vms/a.pvm" in text
    assert f"stopping {tmp_path}/vms/b.pvm" not in text
    assert f"failed    {tmp_path}/vms/a.pvm/a.hdd; Press the button: it is stuck" in text
    assert f"{tmp_path}/vms/a.pvm could not be started again by maintain_start." in text


@pytest.mark.plays
def test_audit_is_played_by_its_full_name(tmp_path: Path, repository: str) -> None:
    machine(str(tmp_path / "vms" / "a.pvm"))
    report = tmp_path / "a report"
    called(tmp_path, "audit", repository, audit_paths=[str(tmp_path / "vms")], audit_dest=str(report))
    assert json.loads((report / "audit.json").read_text())["totals"]["disks"] == 1
    assert (report / "audit.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.plays
def test_export_is_played_by_its_full_name(tmp_path: Path, repository: str) -> None:
    machine(str(tmp_path / "vms" / "a.pvm"))
    made = tmp_path / "an export"
    called(tmp_path, "export", repository, export_src=str(tmp_path / "vms" / "a.pvm"), export_dest=str(made))
    (image,) = made.glob("*.qcow2")
    assert image.read_bytes()[:4] == b"QFI\xfb"
    assert f"  {image.name}\n" in (made / "SHA256SUMS").read_text()


def same_folder(folder: Path, **variables: str) -> Dict[str, Any]:
    """Two hosts with a machine each that is called the same, and a folder of both for what is exported."""
    hosts = ("one", "two")
    for host in hosts:
        machine(str(folder / host / "a.pvm"))
    source = f"{folder}/{{{{ inventory_hostname }}}}/a.pvm"
    return {"hosts": hosts, "export_src": source, "export_dest": str(folder / "an export"), **variables}


@pytest.mark.plays
def test_hosts_that_export_to_one_folder_in_one_run_keep_what_the_others_write(tmp_path: Path, repository: str) -> None:
    called(tmp_path, "export", repository, **same_folder(tmp_path, export_name="{{ inventory_hostname }}"))
    made = tmp_path / "an export"
    assert list(json.loads((made / ".export.json").read_text())["sources"]) == ["one.qcow2", "two.qcow2"]
    assert [line[66:] for line in (made / "SHA256SUMS").read_text().splitlines()] == ["one.qcow2", "two.qcow2"]


@pytest.mark.plays
def test_hosts_that_export_the_same_name_to_one_folder_in_one_run_do_not_replace_each_other(
    tmp_path: Path, repository: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        called(tmp_path, "export", repository, **same_folder(tmp_path))
    record = json.loads((tmp_path / "an export" / ".export.json").read_text())
    (source,) = record["sources"].values()
    assert source in [f"{host}:{tmp_path}/{host}/a.pvm/a.hdd" for host in ("one", "two")]
    assert f"a.qcow2, which this run exports from {source} in " in str(caught.value)


@pytest.mark.plays
def test_build_box_is_played_by_its_full_name(tmp_path: Path, repository: str) -> None:
    image = tmp_path / "guest.raw"
    image.write_bytes(b"data".ljust(1 << 20, b"\0"))
    made = tmp_path / "boxes"
    variables = {"build_box_src": str(image), "build_box_dest": str(made), "build_box_name": "guest"}
    called(tmp_path, "build_box", repository, build_box_boot_check=False, build_box_src_format="raw", **variables)
    with tarfile.open(made / "guest.box") as box:
        assert {"metadata.json", "box.pvm/config.pvs"} <= set(box.getnames())


def test_every_playbook_is_played_here() -> None:
    played = {name.split("_is_played")[0][len("test_") :] for name in globals() if name.endswith("by_its_full_name")}
    assert played == set(ROLES)
