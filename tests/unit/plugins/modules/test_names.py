# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every module with names that are not UTF-8: of the disk, of a file in it, of its machine, of an output."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Iterator, List

import pytest

from ansible_collections.vdisk.parallels.tests.conftest import ROOT
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, BuiltBundle, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import run, succeed
from ansible_collections.vdisk.parallels.tests.support.served import run_folder

CLUSTER = 64 << 10
ONE = guid_of(1)
ODD = b"b\xff\xe9".decode("utf-8", "surrogateescape")
SHOWN = r"b\xff\xe9"


def scene(root: str, where: str) -> BuiltBundle:
    folder = f"{root}/{ODD if where == 'machine' else 'a'}.pvm"
    os.mkdir(folder)
    if where != "machine":
        make_machine(folder, disk="a.hdd", size_mib=4)
    path = f"{folder}/a.hdd"
    layers = [
        Layer(ONE, clusters={0: fill(0, CLUSTER), 1: fill(1, CLUSTER)}),
        Layer(TOP, ONE, {5: bytes(CLUSTER), 6: fill(2, CLUSTER)}),
    ]
    built = build_bundle(path, size_sectors=8192, cluster_sectors=CLUSTER // 512, layers=layers)
    if where == "disk":
        os.rename(path, f"{folder}/{ODD}.hdd")
        os.rename(f"{folder}/{ODD}.hdd/a.hdd", f"{folder}/{ODD}.hdd/{ODD}.hdd")
    if where == "stray":
        with open(f"{path}/{ODD}.hds", "wb") as stream:
            stream.write(b"x")
    return built


def shown(root: str, where: str) -> str:
    machine, disk = (SHOWN if where == "machine" else "a"), (SHOWN if where == "disk" else "a")
    return f"{root}/{machine}.pvm/{disk}.hdd"


def tasks(root: str, path: str) -> List[Any]:
    return [
        ("hdd_info", {"paths": [root], "recurse": True, "scan": "zeros", "map": 8}),
        ("hdd_info", {"path": path, "checksum": "md5"}),
        ("hdd_check", {"path": path, "data": True, "fail_on": "never"}),
        ("hdd_check", {"path": path, "repair": "all", "fail_on": "never"}),
        ("hdd_check", {"paths": [root], "recurse": True, "fail_on": "never"}),
        ("hdd_check", {"path": path, "repair": "safe", "backup_dir": f"{root}/old", "fail_on": "never"}),
        ("hdd_snapshot", {"path": path, "name": "x"}),
        ("hdd_snapshot", {"path": path, "name": "x", "state": "reverted"}),
        ("hdd_snapshot", {"path": path, "name": "x", "state": "absent"}),
        ("hdd_compact", {"path": path}),
        ("hdd_compact", {"path": path, "strategy": "copy"}),
        ("hdd_merge", {"path": path, "strategy": "copy"}),
        ("hdd", {"path": path, "size": "8M"}),
        ("hdd", {"path": path, "name": "other"}),
        ("hdd", {"path": path, "type": "plain"}),
        ("hdd", {"path": path, "split_size": "4G", "type": "expanding"}),
        ("hdd_convert", {"src": path, "dest": f"{root}/out.raw"}),
        ("hdd_convert", {"src": path, "dest": f"{root}/out.hdd"}),
        ("hdd_convert", {"src": path, "dest": f"{root}/kept.hdd", "chain": "preserve"}),
        ("hdd_convert", {"src": path, "dest": f"{root}/chain.qcow2", "chain": "preserve", "checksum": "md5"}),
        ("hdd_maintain", {"paths": [root], "recurse": True, "max_layers": 1, "threshold": "0", "fail_on": "never"}),
        ("hdd_maintain", {"paths": [path], "orphans": True, "check_data": True, "fail_on": "never"}),
        ("hdd_nbd", {"path": path}),
        ("hdd_nbd", {"path": path, "state": "stopped"}),
        ("hdd_convert", {"src": f"{root}/out.raw", "dest": path, "force": True}),
        ("vagrant_box", {"src": os.path.dirname(path), "dest": f"{root}/a.box", "architecture": "amd64"}),
        ("hdd", {"path": path, "state": "absent"}),
    ]


def utf8(result: Dict[str, Any]) -> str:
    """The result as JSON without escapes, which only UTF-8 can be."""
    text = json.dumps(result, ensure_ascii=False)
    text.encode()
    return text


@pytest.fixture(autouse=True)
def servers() -> Iterator[str]:
    with run_folder() as folder:
        yield folder


def test_every_module_has_a_task() -> None:
    modules = {name[: -len(".py")] for name in os.listdir(os.path.join(ROOT, "plugins", "modules"))}
    assert {module for module, _options in tasks("/r", "/p")} == {one for one in modules if one[0] not in "_."}


@pytest.mark.parametrize("where", ["disk", "stray", "machine"])
def test_every_module_ends_with_a_result_and_takes_the_names_that_it_shows(root: str, where: str) -> None:
    scene(root, where)
    path = shown(root, where)
    for module, options in tasks(root, path):
        predicted, ended = run(module, check=True, **options), run(module, **options)
        assert "Traceback" not in utf8(predicted.result) + utf8(ended.result)
        assert predicted.failed == ended.failed
        if module == "vagrant_box" and where != "stray":
            # A configuration is UTF-8 and cannot name the disk; or there is none at all.
            assert ended.result["error_code"]
        else:
            assert not ended.failed, (module, options, ended.result)
    assert not os.path.lexists(path.replace(SHOWN, ODD))


def test_a_refusal_shows_the_name(root: str) -> None:
    scene(root, "stray")
    ended = run("hdd", path=shown(root, "stray"), state="absent")
    assert ended.result["error_code"] == "unsupported"
    assert f"{SHOWN}.hds" in ended.result["msg"]
    assert ended.result["error_context"]["found"] == [f"{SHOWN}.hds"]


@pytest.mark.parametrize("form", ["x.raw", "x.hdd", "x.vmdk twoGbMaxExtentFlat"])
def test_an_output_in_such_a_folder(root: str, form: str) -> None:
    scene(root, "machine")
    name, *subformat = form.split()
    source = shown(root, "machine")
    options: Dict[str, Any] = {"src": source, "dest": f"{os.path.dirname(source)}/{name}"}
    options.update({"subformat": subformat[0]} if subformat else {})
    done = succeed("hdd_convert", **options)
    assert utf8(done) and SHOWN in done["dest"]
    assert not succeed("hdd_convert", **options)["changed"]


def test_a_name_as_it_is_shown_goes_before_the_one_that_it_stands_for(root: str) -> None:
    scene(root, "disk")
    folder = f"{root}/a.pvm"
    build_bundle(f"{folder}/{SHOWN}.hdd", size_sectors=4096, cluster_sectors=128)
    assert succeed("hdd_info", path=f"{folder}/{SHOWN}.hdd")["disks"][0]["virtual_size"] == 4096 * 512
