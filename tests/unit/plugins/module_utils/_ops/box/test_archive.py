# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive of a box."""

from __future__ import annotations

import io
import tarfile

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
    InUse,
    NotABundle,
    NotFound,
    StalePlan,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.box.archive import (
    archive,
    box_if_same,
    machine_entries,
    machine_uuid,
    small_file,
    write_box,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

UUID = "{9c27ae79-fbe5-4c84-9cdc-e1459f642b91}"
CONFIG = f"<ParallelsVirtualMachine><Identification><VmUuid>{UUID}</VmUuid></Identification></ParallelsVirtualMachine>"


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_file("/vm/a.pvm/config.pvs", CONFIG.encode())
    port.plant_file("/vm/a.pvm/a.hdd/a.hds", b"disk" * 1000)
    port.plant_file("/vm/a.pvm/.hidden", b"")
    port.plant_file("/vm/a.pvm/parallels.log", b"")
    return port


def test_entries_are_sorted_and_leave_out_what_no_machine_needs(port: MemoryPort) -> None:
    names = [entry.name for entry in machine_entries(port, "/vm/a.pvm", mtime=0)]
    assert names == ["box.pvm", "box.pvm/a.hdd", "box.pvm/a.hdd/a.hds", "box.pvm/config.pvs"]


def test_tar_reads_the_archive(port: MemoryPort) -> None:
    entries = (small_file("metadata.json", b"{}", mtime=7), *machine_entries(port, "/vm/a.pvm", mtime=7))
    content = b"".join(archive(port, entries))
    assert len(content) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getnames() == [entry.name for entry in entries]
        assert {member.mtime for member in tar} == {7}
        stream = tar.extractfile("box.pvm/a.hdd/a.hds")
        assert stream is not None and stream.read() == b"disk" * 1000


def test_a_box_is_the_same_as_long_as_its_content_is(port: MemoryPort) -> None:
    entries = machine_entries(port, "/vm/a.pvm", mtime=0)
    packed = write_box(port, "/vm/a.box", archive(port, entries), level=9, mtime=0, temporary="/vm/.a.tmp")
    assert box_if_same(port, "/vm/a.box", archive(port, entries)) == packed
    assert box_if_same(port, "/vm/a.box", archive(port, entries[:-1])) is None
    port.plant_file("/vm/a.box", port.content("/vm/a.box")[:-1])
    assert box_if_same(port, "/vm/a.box", archive(port, entries)) is None


def test_a_file_that_becomes_shorter_is_noticed(port: MemoryPort) -> None:
    entries = machine_entries(port, "/vm/a.pvm", mtime=0)
    port.plant_file("/vm/a.pvm/a.hdd/a.hds", b"disk")
    with pytest.raises(StalePlan):
        b"".join(archive(port, entries))


def test_what_is_no_machine_or_is_in_use_is_refused(port: MemoryPort) -> None:
    assert machine_uuid(port, "/vm/a.pvm") == UUID
    with pytest.raises(NotABundle):
        machine_uuid(port, "/vm")
    with pytest.raises(NotFound):
        machine_entries(port, "/vm/b.pvm", mtime=0)
    port.plant_holder("/vm/a.pvm/a.hdd/a.hds", Holder("write", "qemu (7)"))
    with pytest.raises(InUse):
        machine_entries(port, "/vm/a.pvm", mtime=0)
    port.plant_file("/vm/a.pvm/config.pvs", b"<a/>")
    with pytest.raises(Damaged):
        machine_uuid(port, "/vm/a.pvm")
