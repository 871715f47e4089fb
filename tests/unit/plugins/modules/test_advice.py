# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every fault that a safe repair ends: who refuses the disk leads there, and who follows the advice loses nothing."""

from __future__ import annotations

import json
import os
import struct
from typing import Any, Callable, Dict, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, BuiltBundle, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.faults import FAULTS, Fault
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import run, succeed

CLUSTER = 64 << 10
SAFE = [fault for fault in FAULTS if fault.level == "safe" and fault.keeps]
COPY = ("from a copy", "from a backup", "estore the image", "estore it")


def refusals(root: str, path: str) -> List[Dict[str, Any]]:
    tasks: List[Tuple[str, Dict[str, Any]]] = [
        ("hdd_info", {"path": path}),
        ("hdd_merge", {"path": path}),
        ("hdd_snapshot", {"path": path, "name": "x"}),
        ("hdd_compact", {"path": path}),
        ("hdd", {"path": path, "size": "64M"}),
        ("hdd_convert", {"src": path, "dest": f"{root}/out.raw"}),
    ]
    ended = [run(module, check=True, **options) for module, options in tasks]
    return [one.result for one in ended if one.failed]


@pytest.mark.parametrize("fault", SAFE, ids=lambda fault: fault.name.replace(" ", "-"))
def test_who_follows_the_advice_has_a_disk_without_a_loss(root: str, fault: Fault) -> None:
    built = fault.build(f"{root}/a.hdd")
    wanted = built.guest(TOP) if any(layer.guid == TOP for layer in built.layers) else None
    for result in refusals(root, built.directory):
        if result["error_code"] in ("dirty", "in_use", "suspended", "has_snapshots", "unsupported", "bad_request"):
            continue
        assert "hdd_check" in result["msg"], result["msg"]
        assert not any(word in result["msg"] for word in COPY), result["msg"]
        assert "<string>" not in result["msg"]
    found = succeed("hdd_check", path=built.directory, repair="safe", force=True, fail_on="never")
    for one in found["findings"]:
        if one["repairable"] == "safe":
            assert not any(word in one["message"] for word in COPY), one["message"]
            assert "hdd_check" not in one["message"] or "hdd_compact" in one["message"], one["message"]
    assert not [one for one in found["findings"] if one["severity"] == "error" and not one["repaired"]]
    succeed("hdd_info", path=built.directory)
    if wanted is not None:
        assert disks.read(OsPort(), built.directory) == wanted


def built(root: str, guid: str = TOP) -> BuiltBundle:
    layers = [Layer(guid, clusters={0: fill(0, CLUSTER), 3: fill(3, CLUSTER)})]
    return build_bundle(f"{root}/a.hdd", size_sectors=8192, cluster_sectors=128, layers=layers)


def poke(path: str, offset: int, content: bytes) -> None:
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(content)


def overwrite(path: str, content: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(content)


SCENES: Dict[str, Callable[[BuiltBundle], Any]] = {
    "table length": lambda disk: poke(next(iter(disk.files.values())), 32, b"\xff\xff\xff\xff"),
    "start of the data": lambda disk: poke(next(iter(disk.files.values())), 48, b"\xff\xff\xff\xff"),
    "guest size": lambda disk: poke(next(iter(disk.files.values())), 36, struct.pack("<Q", 8192 + 128)),
    "kind of disk": lambda disk: poke(next(iter(disk.files.values())), 16, b"\7\0\0\0"),
    "cluster size": lambda disk: poke(next(iter(disk.files.values())), 28, b"\0\0\0\0"),
    "no XML": lambda disk: overwrite(disk.descriptor, bytes(900)),
    "empty": lambda disk: overwrite(disk.descriptor, b""),
    "cut": lambda disk: overwrite(disk.descriptor, b"<Parallels_disk_image><Disk_Parameters>\n"),
    "a document type": lambda disk: overwrite(disk.descriptor, b'<!DOCTYPE x [<!ENTITY a "b">]><a/>'),
    "another document": lambda disk: overwrite(disk.descriptor, b"<plist/>"),
    "gone": lambda disk: os.remove(disk.descriptor),
}


@pytest.mark.parametrize("form", ["bundle", "descriptor"])
@pytest.mark.parametrize("scene", SCENES)
def test_a_message_leads_to_the_repair(root: str, scene: str, form: str) -> None:
    disk = built(root)
    wanted = disk.guest(TOP)
    SCENES[scene](disk)
    ended = run("hdd_info", path=disk.directory if form == "bundle" else disk.descriptor)
    if form == "descriptor" and scene == "gone":
        # A path at which nothing is describes a disk that does not exist.
        assert not ended.failed and not ended.result["disks"][0]["exists"]
    else:
        assert ended.failed and "hdd_check" in ended.result["msg"] and "repair: safe" in ended.result["msg"]
    done = succeed("hdd_check", path=disk.directory, repair="safe")
    text = json.dumps(done["findings"])
    assert "<string>" not in text and "backup." not in text and "from a copy" not in text, text
    assert disks.read(OsPort(), disk.directory) == wanted


@pytest.mark.parametrize("guid", [guid_of(1), guid_of(7)])
@pytest.mark.parametrize("top", [None, guid_of(9)])
def test_the_only_layer_becomes_the_current_one_whatever_it_is_called(root: str, guid: str, top: Any) -> None:
    disk = built(root, guid)
    wanted = disk.guest(guid)
    if top is not None:
        with open(disk.descriptor, encoding="utf-8") as stream:
            text = stream.read()
        with open(disk.descriptor, "w", encoding="utf-8") as stream:
            stream.write(text.replace("<Shot>", f"<TopGUID>{top}</TopGUID><Shot>", 1))
    ended = run("hdd_info", path=disk.directory)
    assert ended.failed and "hdd_check" in ended.result["msg"]
    succeed("hdd_check", path=disk.directory, repair="safe")
    assert disks.read(OsPort(), disk.directory) == wanted


def test_a_lone_snapshot_without_a_descriptor_is_taken_for_the_disk_only_when_that_is_asked_for(root: str) -> None:
    disk = built(root, guid_of(1))
    os.remove(disk.descriptor)
    left = run("hdd_check", path=disk.directory, repair="safe")
    assert left.failed and "repair: all" in left.result["msg"]
    succeed("hdd_check", path=disk.directory, repair="all")
    assert disks.read(OsPort(), disk.directory) == disk.guest(guid_of(1))


def test_a_journal_that_cannot_be_read_leads_to_the_repair_that_keeps_a_copy_of_it(root: str) -> None:
    disk = built(root)
    wanted = disk.guest(TOP)
    overwrite(f"{disk.directory}/.vdisk-journal", b'{"ver')
    for result in refusals(root, disk.directory):
        assert "hdd_check" in result["msg"] and "repair: all" in result["msg"] and "hdd_info" not in result["msg"]
    succeed("hdd_check", path=disk.directory, repair="all")
    assert disks.read(OsPort(), disk.directory) == wanted
    (record,) = os.listdir(f"{disk.directory}.repair")
    assert b'{"ver'.hex() in read(f"{disk.directory}.repair/{record}").decode()


def read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def test_nobody_is_told_to_remove_what_may_be_all_there_is(root: str) -> None:
    disk = built(root)
    source = f"{root}/source.raw"
    overwrite(source, fill(1, CLUSTER))
    os.mkdir(f"{root}/folder.hdd")
    overwrite(f"{root}/single.hdd", fill(2, CLUSTER))
    for dest, form in ((disk.directory, "raw"), (f"{root}/folder.hdd", "hdd"), (f"{root}/single.hdd", "hdd")):
        ended = run("hdd_convert", src=source, dest=dest, dest_format=form)
        assert ended.result["error_code"] == "exists" and "Move it away" in ended.result["msg"], ended.result
    overwrite(f"{disk.directory}/a.hdd.0.{guid_of(3)}.hds", read(next(iter(disk.files.values()))))
    (orphan,) = [one for one in succeed("hdd_check", path=disk.directory)["findings"] if one["code"] == "orphan_file"]
    assert "layer that the descriptor has lost" in orphan["message"] and "move it away" in orphan["message"]
