# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a box is written, and what goes into it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import AlreadyExists, BadRequest, NotFound
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.box.pack import (
    Box,
    BoxRequest,
    find_box,
    find_machine,
    pack,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

UUID = "{9c27ae79-fbe5-4c84-9cdc-e1459f642b91}"
CONFIG = f"<ParallelsVirtualMachine><Identification><VmUuid>{UUID}</VmUuid></Identification></ParallelsVirtualMachine>"


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_file("/vm/a.pvm/config.pvs", CONFIG.encode())
    port.plant_file("/vm/a.pvm/nvram/machine.bin", b"disk" * 1000)
    port.plant_file("/vm/a.pvm/.hidden", b"")
    port.plant_file("/vm/a.pvm/parallels.log", b"")
    return port


def request(**options: Any) -> BoxRequest:
    chosen = {"machine": "/vm/a.pvm", "path": "/vm/a.box", "architecture": "arm64", "epoch": 0, "now": 99, **options}
    return BoxRequest(**chosen)


def found(port: MemoryPort, **options: Any) -> Box:
    return find_box(port, request(**options), UUID)


def test_a_box_is_written_once_and_again_when_the_machine_changes(port: MemoryPort) -> None:
    assert find_machine(port, request()) == UUID
    box = found(port)
    assert (box.before, box.packed) == ("absent", None)
    written = pack(port, request(), box, token="t")
    assert written.packed is not None
    assert (found(port).before, found(port).packed) == ("packed", written.packed)
    port.plant_file("/vm/a.pvm/nvram/machine.bin", b"changed")
    assert (found(port).before, found(port).packed) == ("other content", None)
    assert [path for path in port.listing() if "vdisk" in path] == []


def test_metadata_say_provider_and_architecture_whatever_else_they_hold(port: MemoryPort) -> None:
    entry = found(port, metadata={"provider": "x", "more": 1}).entries[0]
    assert entry.name == "metadata.json"
    assert json.loads(entry.content or b"") == {"provider": "parallels", "architecture": "arm64", "more": 1}


def test_a_vagrantfile_goes_in_when_there_is_one(port: MemoryPort) -> None:
    assert "Vagrantfile" not in [entry.name for entry in found(port).entries]
    assert found(port, vagrantfile="text").entries[1].content == b"text"


def test_times_are_fixed_only_when_the_box_is_to_be_reproducible(port: MemoryPort) -> None:
    assert {entry.mtime for entry in found(port, epoch=5).entries} == {5}
    own = {entry.name: entry.mtime for entry in found(port, epoch=5, reproducible=False).entries}
    assert own["metadata.json"] == 5
    assert own["box.pvm/config.pvs"] == port.stat("/vm/a.pvm/config.pvs").mtime_ns // 10**9  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "options, error",
    [
        ({"level": 10}, BadRequest),
        ({"path": "/vm/a.pvm/a.box"}, BadRequest),
        ({"path": "/nowhere/a.box"}, NotFound),
        ({"path": "/vm/folder"}, AlreadyExists),
    ],
    ids=str,
)
def test_places_that_cannot_hold_a_box_are_refused(port: MemoryPort, options: Any, error: Any) -> None:
    port.plant_directory("/vm/folder")
    with pytest.raises(error):
        find_machine(port, request(**options))


def test_a_new_box_is_not_synced_when_it_need_not_be_durable_but_one_that_replaces_another_is(port: MemoryPort) -> None:
    lazy = request(durable=False)
    port.record()
    assert pack(port, lazy, found(port), token="t").packed is not None
    assert [effect for effect in port.effects if effect.kind in ("sync", "syncdir")] == []
    port.plant_file("/vm/a.pvm/nvram/machine.bin", b"changed")
    port.record()
    pack(port, lazy, found(port), token="t")
    assert [effect.kind for effect in port.effects if effect.kind in ("sync", "syncdir")] == ["sync", "syncdir"]


def test_a_box_that_somebody_put_there_meanwhile_is_not_replaced_unsynced(port: MemoryPort) -> None:
    box = found(port)
    port.plant_file("/vm/a.box", b"of somebody else")
    with pytest.raises(AlreadyExists):
        pack(port, request(durable=False), box, token="t")
    assert port.content("/vm/a.box") == b"of somebody else"
    assert [path for path in port.listing() if "vdisk" in path] == []
