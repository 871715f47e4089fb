# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory plugin, from a source to hosts, groups and variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

if sys.version_info < (3, 10):
    pytest.skip("controllers run on newer Pythons", allow_module_level=True)
pytest.importorskip("jinja2")
pytest.importorskip("yaml")

from ansible.errors import AnsibleParserError

from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle
from ansible_collections.vdisk.parallels.tests.support.farm import break_down, machine
from ansible_collections.vdisk.parallels.tests.support.inventory import NAME, Ran, run
from ansible_collections.vdisk.parallels.tests.support.reports import disk, fleet_report, info

VM = {"name": "Mac", "uuid": "{u}", "os": "macos", "config": "/v/mac.pvm/config.pvs", "suspended": False}
EVIL = "{{ lookup('pipe', 'touch PLACE') }}"


def source(folder: Path, **options: Any) -> str:
    path = folder / "farm.machines.yml"
    path.write_text(json.dumps({"plugin": NAME, **options}))
    return str(path)


def told(folder: Path, content: Dict[str, Any], name: str = "mac07.json", **options: Any) -> Ran:
    (folder / name).write_text(json.dumps(content))
    return run(source(folder, reports=[name], **options))


def test_a_report_becomes_hosts_groups_and_variables(tmp_path: Path) -> None:
    failed = [{"path": "/v/bad.pvm/a.hdd", "error_code": "damaged", "msg": "m", "findings": []}]
    ran = told(tmp_path, info(disk("/v/mac.pvm/a.hdd", vm=VM), disk("/alone.hdd", state="dirty"), failed=failed))
    assert ran.hosts == ["Mac_on_mac07", "alone_on_mac07", "bad_on_mac07"]
    assert ran.groups == {
        "vdisk_machines": ran.hosts,
        "vdisk_on_mac07": ran.hosts,
        "vdisk_os_macos": ["Mac_on_mac07"],
        "vdisk_state_clean": ["Mac_on_mac07"],
        "vdisk_state_dirty": ["alone_on_mac07"],
        "vdisk_state_unreadable": ["bad_on_mac07"],
        "vdisk_needs_attention": ["alone_on_mac07", "bad_on_mac07"],
    }
    variables = ran.variables("Mac_on_mac07")
    assert (variables["vdisk_host"], variables["vdisk_path"], variables["vdisk_os"]) == ("mac07", "/v/mac.pvm", "macos")
    assert variables["vdisk_disks"][0]["path"] == "/v/mac.pvm/a.hdd"
    assert ran.variables("bad_on_mac07")["vdisk_attention"] == ["damaged"]
    assert ran.warnings == []


def test_a_folder_of_reports_and_the_last_word_on_a_machine(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    for name, content in {
        "a.json": fleet_report(["mac07", "mac08"], [info(disk("/1.hdd", state="dirty")), {}]),
        "mac07.json": info(disk("/1.hdd")),
    }.items():
        (tmp_path / "reports" / name).write_text(json.dumps(content))
    ran = run(source(tmp_path, reports=["reports"]))
    assert ran.hosts == ["1_on_mac07"] and ran.variables("1_on_mac07")["vdisk_state"] == "clean"
    assert len(ran.warnings) == 1 and "mac08" in ran.warnings[0]


def test_the_disks_of_the_controller(tmp_path: Path) -> None:
    built = machine(str(tmp_path / "vms" / "mac.pvm"))
    break_down(machine(str(tmp_path / "vms" / "bad.pvm")))
    ran = run(source(tmp_path, paths=["vms"], check=True))
    assert ran.hosts == ["Mac_on_localhost", "bad_on_localhost"]
    assert ran.variables("Mac_on_localhost")["vdisk_disks"][0]["path"] == built.directory
    assert ran.variables("bad_on_localhost")["vdisk_attention"] == ["damaged", "descriptor_unreadable"]
    assert run(source(tmp_path, paths=["vms"], entries="disks")).hosts == ["Mac_a_on_localhost", "a_on_localhost"]
    with_recursion = run(source(tmp_path, paths=["."], recurse=True)).hosts
    assert with_recursion == ran.hosts and run(source(tmp_path, paths=["."], recurse=False)).hosts == []


def test_a_folder_without_disks_is_a_warning(tmp_path: Path) -> None:
    ran = run(source(tmp_path, paths=[str(tmp_path)]))
    assert ran.hosts == [] and len(ran.warnings) == 1 and str(tmp_path) in ran.warnings[0]


def test_what_ansible_constructs(tmp_path: Path) -> None:
    ran = told(
        tmp_path,
        info(disk("/v/mac.pvm/a.hdd", vm=VM, depth=9), disk("/b.hdd", state="dirty")),
        compose={"gib": "(vdisk_reclaimable / 2 ** 30) | int", "where": "vdisk_host"},
        groups={"deep": "vdisk_disks | map(attribute='layers') | max > 8"},
        keyed_groups=[{"key": "vdisk_attention", "prefix": "found"}, {"key": "vdisk_name", "prefix": "n"}],
        group_prefix="p_",
        strict=True,
    )
    assert ran.variables("Mac_on_mac07")["gib"] == 1 and ran.variables("b_on_mac07")["where"] == "mac07"
    assert ran.groups["deep"] == ["Mac_on_mac07"] and ran.groups["found_image_dirty"] == ["b_on_mac07"]
    assert ran.groups["n_Mac"] == ["Mac_on_mac07"] and ran.groups["p_needs_attention"] == ["b_on_mac07"]


def test_what_is_wrong_in_it_counts_when_it_is_strict(tmp_path: Path) -> None:
    options = {"compose": {"x": "nothing.there"}}
    assert "x" not in told(tmp_path, info(disk("/a.hdd")), **options).variables("a_on_mac07")
    with pytest.raises(Exception, match="Could not set x"):
        told(tmp_path, info(disk("/a.hdd")), strict=True, **options)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "one of the options"),
        ({"reports": []}, "one of the options"),
        ({"reports": ["none.json"]}, "none.json: No such file"),
        ({"reports": ["."]}, "ends in .json"),
        ({"reports": ["farm.machines.yml"]}, "neither"),
        ({"reports": [" "]}, "no path"),
        ({"paths": ["none"]}, "There is nothing"),
        ({"paths": [5]}, "no path|There is nothing"),
        ({"path": ["."], "paths": ["."]}, "there is no option path"),
        ({"paths": ["."], "entries": "layers"}, "entries"),
        ({"paths": ["."], "recurse": "perhaps"}, "recurse"),
    ],
)
def test_a_source_with_a_mistake_is_refused(tmp_path: Path, options: Dict[str, Any], why: str) -> None:
    with pytest.raises(Exception, match=why) as caught:
        run(source(tmp_path, **options))
    assert type(caught.value).__name__.startswith("Ansible")


@pytest.mark.parametrize("text", ["", "[]", "- a", "5", "{}", "plugin: other", "plugin: [", "\x00"])
def test_a_source_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "farm.machines.yml"
    path.write_text(text)
    with pytest.raises(AnsibleParserError):
        run(str(path))


def test_only_files_of_its_name_are_its_own(tmp_path: Path) -> None:
    for name in ("farm.yml", "machines.yml.bak", "machines.json"):
        (tmp_path / name).write_text(f"plugin: {NAME}")
        with pytest.raises(AssertionError):
            run(str(tmp_path / name))
    with pytest.raises(AssertionError):
        run(str(tmp_path / "none.machines.yml"))


def test_names_are_never_evaluated(tmp_path: Path) -> None:
    evil = EVIL.replace("PLACE", str(tmp_path / "touched"))
    vm = {**VM, "name": evil, "uuid": evil, "os": evil, "config": f"/v/{evil}.pvm/config.pvs"}
    bad = [{"path": f"/{evil}.hdd", "error_code": evil, "msg": evil}]
    (tmp_path / "all.json").write_text(
        json.dumps(info(disk(f"/v/{evil}.pvm/{evil}.hdd", name=evil, vm=vm), failed=bad))
    )
    options = {"compose": {"again": "vdisk_name"}, "keyed_groups": [{"key": "vdisk_name"}, {"key": "vdisk_attention"}]}
    path = source(tmp_path, reports=["all.json"], strict=True, **options)
    ran = run(path)
    assert all("{" not in name and "'" not in name for name in [*ran.hosts, *ran.groups])
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar

    for host in ran.hosts:
        variables = ran.variables(host)
        templar = Templar(loader=DataLoader(), variables={**variables, "inventory_hostname": host})
        for value in (dict(variables), *variables.values()):
            assert json.dumps(templar.template(value)) == json.dumps(value)
        template = _trusted("{{ vdisk_name }}/{{ vdisk_disks }}/{{ vdisk_path }}/{{ inventory_hostname }}")
        templar.template(template)
    assert not (tmp_path / "touched").exists()


def _trusted(text: str) -> str:
    """A template as a playbook has it."""
    try:
        from ansible.template import trust_as_template
    except ImportError:
        return text
    trusted: str = trust_as_template(text)
    return trusted


def test_no_machine_takes_the_name_of_another_host_or_group(tmp_path: Path) -> None:
    from ansible.inventory.data import InventoryData

    inventory = InventoryData()
    inventory.add_host("mac_on_mac07")
    (tmp_path / "mac07.json").write_text(json.dumps(info(disk("/mac.hdd"), disk("/vdisk.hdd"), disk("/all.hdd"))))
    ran = run(source(tmp_path, reports=["mac07.json"]), inventory=inventory)
    assert not [name for name in ran.variables("mac_on_mac07") if name.startswith("vdisk")]
    assert len(ran.hosts) == 4 and not set(ran.hosts) & set(ran.groups)
    assert "all" not in ran.hosts and "all_on_mac07" in ran.hosts


def test_the_cache_is_used_until_something_else_is_asked_for(tmp_path: Path) -> None:
    cached = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "cache")}
    (tmp_path / "vms").mkdir()
    build_bundle(str(tmp_path / "vms" / "a.hdd"), size_sectors=2048)
    path = source(tmp_path, paths=["vms"], **cached)
    assert run(path).hosts == ["a_on_localhost"]
    build_bundle(str(tmp_path / "vms" / "b.hdd"), size_sectors=2048)
    assert run(path).hosts == ["a_on_localhost"]
    assert run(path, cache=False).hosts == ["a_on_localhost", "b_on_localhost"]
    assert run(path).hosts == ["a_on_localhost", "b_on_localhost"]
    build_bundle(str(tmp_path / "vms" / "c.hdd"), size_sectors=2048)
    assert len(run(source(tmp_path, paths=["vms"], entries="disks", **cached)).hosts) == 3


def test_a_new_report_counts_although_there_is_a_cache(tmp_path: Path) -> None:
    cached = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "cache")}
    assert told(tmp_path, info(disk("/a.hdd")), **cached).hosts == ["a_on_mac07"]
    assert told(tmp_path, info(disk("/a.hdd"), disk("/b.hdd")), **cached).hosts == ["a_on_mac07", "b_on_mac07"]


def test_what_is_cached_is_as_unsafe_as_before(tmp_path: Path) -> None:
    cached = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "cache")}
    content = info(disk("/a.hdd", vm={**VM, "name": "{{ 1 + 1 }}"}))
    for _time in range(2):
        ran = told(tmp_path, content, **cached)
        (host,) = ran.hosts
        from ansible.parsing.dataloader import DataLoader
        from ansible.template import Templar

        value = Templar(loader=DataLoader(), variables=ran.variables(host)).template(_trusted("{{ vdisk_name }}"))
        assert value == "{{ 1 + 1 }}"


def test_ansible_itself_finds_the_plugin_and_its_documentation(tmp_path: Path, repository: str) -> None:
    folder = tmp_path / "collections" / "ansible_collections" / "vdisk"
    folder.mkdir(parents=True)
    (folder / "parallels").symlink_to(repository)
    machine(str(tmp_path / "vms" / "mac.pvm"))
    path = source(tmp_path, paths=["vms"])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment.update(
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "collections"),
        ANSIBLE_HOME=str(tmp_path / "home"),
        ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="true",
        LC_ALL="en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
    )
    program = os.path.join(os.path.dirname(sys.executable), "ansible-inventory")
    if not os.access(program, os.X_OK):
        pytest.skip("there is no ansible-inventory beside this Python")
    ended = subprocess.run(
        [program, "-i", path, "--list"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()
    found = json.loads(ended.stdout)
    assert found["vdisk_state_clean"]["hosts"] == ["Mac_on_localhost"]
    # From 2.19 on every text that is no template is printed as one that must not become one.
    state = found["_meta"]["hostvars"]["Mac_on_localhost"]["vdisk_state"]
    assert state in ("clean", {"__ansible_unsafe": "clean"})
