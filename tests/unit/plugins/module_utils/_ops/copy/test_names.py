# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.naming import NOTES
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.notes import Note, pack_notes, parse_notes
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.choose_source import choose_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.conversion import Conversion
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.destination import Destination
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import (
    ConvertRequest,
    SourceRequest,
    layer_depths,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.names import (
    carried_notes,
    notes_file_steps,
    other_names,
    unread_names,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

ONE, TWO, THREE = guid_of(1), guid_of(2), guid_of(3)
DISK = "/vm/a.pvm/a.hdd"
NAMED = {ONE: Note("first", "2026-01-01T00:00:00Z", "as \U0001f4be shipped"), TWO: Note(description="no name")}
SNAPSHOTS = (
    f'<ParallelsSavedStates><SavedStateItem guid="{TWO}"><Name>of the machine</Name>'
    "<DateTime>2024-11-15 10:30:00</DateTime></SavedStateItem></ParallelsSavedStates>"
)


def host(notes: Dict[str, Note], *, is_listed: bool = False) -> MemoryPort:
    """A disk of four layers, whose second snapshot the machine may list, too."""
    port = MemoryPort()
    for folder in ("/vm", "/vm/a.pvm"):
        port.plant_directory(folder)
    disks.new_disk(port, DISK, size=8 * disks.SMALL_CLUSTER)
    for number, guid in enumerate((ONE, TWO, THREE)):
        disks.write(port, DISK, number * disks.SMALL_CLUSTER, b"data of a layer")
        disks.take(port, DISK, guid)
    if notes:
        port.plant_file(f"{DISK}/{NOTES}", pack_notes(notes))
    if is_listed:
        xml = b"<ParallelsVirtualMachine><Hardware><Hdd><SystemName>a.hdd</SystemName></Hdd></Hardware>"
        port.plant_file("/vm/a.pvm/config.pvs", xml + b"</ParallelsVirtualMachine>")
        port.plant_file("/vm/a.pvm/Snapshots.xml", SNAPSHOTS.encode())
    return port


def conversion(port: MemoryPort, dest: str = "/vm/b.hdd", **options: Any) -> Conversion:
    source = choose_source(port, SourceRequest(DISK, keeps_layers=True, **options))
    request = ConvertRequest("hdd", dest, keeps_layers=True)
    depths = layer_depths(source, request)
    destination = Destination(None)
    if port.stat(dest) is not None:
        destination = Destination(port.stat(dest), disks.state_of(port, dest))
    return Conversion(source, request, disks.state_of(port, DISK), destination, depths)  # type: ignore[arg-type]


def test_names_go_with_the_guids_that_the_output_has() -> None:
    port = host(NAMED, is_listed=True)
    guids = [TOP, guid_of(9), guid_of(8), guid_of(7)]
    assert carried_notes(conversion(port), guids) == {
        guid_of(8): Note("of the machine", "2024-11-15 10:30:00", "no name"),
        guid_of(7): NAMED[ONE],
    }
    assert carried_notes(conversion(port, snapshot="of the machine"), guids[:2]) == {guid_of(9): NAMED[ONE]}


def test_a_disk_without_names_has_no_file_of_them() -> None:
    assert carried_notes(conversion(host({})), [TOP, THREE, TWO, ONE]) == {}
    assert list(notes_file_steps("/vm", {})) == []


def test_the_file_is_what_a_snapshot_writes() -> None:
    port = host({})
    disks.apply(port, Plan("test", tuple(notes_file_steps("/vm", NAMED))))
    assert parse_notes(port.content(f"/vm/{NOTES}")) == NAMED


def test_names_that_cannot_be_read_are_told() -> None:
    port = host({})
    assert unread_names(conversion(port)) == ()
    port.plant_file(f"{DISK}/{NOTES}", b"{")
    (told,) = unread_names(conversion(port))
    assert f"{DISK}/{NOTES}" in told and "no names" in told


@pytest.mark.parametrize(
    ("there", "is_told"),
    [(NAMED, False), ({}, True), ({**NAMED, ONE: Note("other")}, True), ({**NAMED, THREE: Note("more")}, False)],
)
def test_an_output_that_stays_is_compared(there: Dict[str, Note], is_told: bool) -> None:
    port = host(NAMED)
    disks.apply(port, disks.plan_of_convert(port, DISK, "/vm/b.hdd", keeps_layers=True))
    assert parse_notes(port.content(f"/vm/b.hdd/{NOTES}")) == NAMED
    port.plant_file(f"/vm/b.hdd/{NOTES}", pack_notes(there))
    told = other_names(conversion(port))
    assert bool(told) == is_told and all("/vm/b.hdd" in text for text in told)
