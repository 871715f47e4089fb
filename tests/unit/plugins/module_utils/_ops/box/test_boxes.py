# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import io
import tarfile
from typing import Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
    InUse,
    NoSpace,
    NotABundle,
    NotFound,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.box.archive import (
    Entry,
    Packed,
    archive,
    box_if_same,
    machine_entries,
    machine_uuid,
    small_file,
    write_box,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

MACHINE = "/vm/mac.pvm"
BOX = "/vm/mac.box"
CONFIG = "<ParallelsVirtualMachine><Identification><VmUuid>{%s}</VmUuid></Identification></ParallelsVirtualMachine>"
UUID = "9c27ae79-fbe5-4c84-9cdc-e1459f642b91"


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    """A machine with a disk, and with what no box holds."""
    port.plant_file(f"{MACHINE}/config.pvs", (CONFIG % UUID.upper()).encode())
    port.plant_file(f"{MACHINE}/a.hdd/a.hds", b"x" * 300_000)
    port.plant_file(f"{MACHINE}/a.hdd/DiskDescriptor.xml", b"<a/>")
    for name in (".hidden", "a.lck", "a.lock", "parallels.log", ".x.vdisk-1.tmp"):
        port.plant_file(f"{MACHINE}/{name}", b"no")
    return port


def entries_of(port: MemoryPort, *, mtime: Optional[int] = 7) -> Tuple[Entry, ...]:
    return machine_entries(port, MACHINE, mtime=mtime)


def written(port: MemoryPort, *, level: int = 6) -> Packed:
    content = archive(port, entries_of(port))
    return write_box(port, BOX, content, level=level, mtime=0, temporary="/vm/.mac.box.vdisk-1.tmp")


def test_an_archive_holds_the_machine_and_nothing_else(port: MemoryPort) -> None:
    raw = b"".join(archive(port, (small_file("metadata.json", b"{}", mtime=3), *entries_of(port))))
    assert len(raw) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(raw)) as found:
        members = {one.name: one for one in found}
        assert list(members) == [
            "metadata.json",
            "box.pvm",
            "box.pvm/a.hdd",
            "box.pvm/a.hdd/DiskDescriptor.xml",
            "box.pvm/a.hdd/a.hds",
            "box.pvm/config.pvs",
        ]
        assert [one.mtime for one in members.values()] == [3] + [7] * 5
        assert {one.mode for one in members.values()} == {0o755, 0o644}
        inside = found.extractfile("box.pvm/a.hdd/a.hds")
        assert inside is not None and inside.read() == b"x" * 300_000


def test_every_file_keeps_its_own_time_unless_one_is_given(port: MemoryPort) -> None:
    times = {entry.name: entry.mtime for entry in entries_of(port, mtime=None)}
    for name in ("config.pvs", "a.hdd/a.hds"):
        facts = port.stat(f"{MACHINE}/{name}")
        assert facts is not None and times[f"box.pvm/{name}"] == facts.mtime_ns // 10**9


def test_the_uuid_is_that_of_the_configuration(port: MemoryPort) -> None:
    assert machine_uuid(port, MACHINE) == "{" + UUID + "}"
    with pytest.raises(NotABundle):
        machine_uuid(port, "/vm")
    port.plant_file("/vm/b.pvm/config.pvs", b"<ParallelsVirtualMachine/>")
    with pytest.raises(Damaged):
        machine_uuid(port, "/vm/b.pvm")


def test_links_and_disks_in_use_are_refused(port: MemoryPort) -> None:
    port.plant_link(f"{MACHINE}/link", "/etc")
    with pytest.raises(Unsupported):
        entries_of(port)
    port.remove(f"{MACHINE}/link")
    port.plant_holder(f"{MACHINE}/a.hdd/a.hds", Holder("write", "prl_vm_app"))
    with pytest.raises(InUse):
        entries_of(port)
    with pytest.raises(NotFound):
        machine_entries(port, "/vm/none.pvm", mtime=0)


def test_a_box_is_a_gzip_file_of_the_archive(port: MemoryPort) -> None:
    packed = written(port)
    raw = port.content(BOX)
    assert gzip.decompress(raw) == b"".join(archive(port, entries_of(port)))
    assert packed.size == len(raw) < 20_000
    assert [name for name in port.listing() if "vdisk-1" in name and MACHINE not in name] == []


def test_a_box_is_the_same_however_it_was_compressed(port: MemoryPort) -> None:
    for level in (0, 9):
        packed = written(port, level=level)
        assert box_if_same(port, BOX, archive(port, entries_of(port))) == packed


@pytest.mark.parametrize("damage", ["cut", "longer", "other", "no-gzip", "two-members", "empty"])
def test_anything_else_is_another_box(port: MemoryPort, damage: str) -> None:
    written(port)
    raw, content = port.content(BOX), b"".join(archive(port, entries_of(port)))
    port.plant_file(
        BOX,
        {
            "cut": raw[:-9],
            "longer": gzip.compress(content + bytes(512)),
            "other": gzip.compress(content[:-1] + b"x"),
            "no-gzip": content,
            "two-members": raw + gzip.compress(b""),
            "empty": b"",
        }[damage],
    )
    assert box_if_same(port, BOX, archive(port, entries_of(port))) is None


def test_a_file_that_became_shorter_ends_the_archive(port: MemoryPort) -> None:
    entries = entries_of(port)
    port.plant_file(f"{MACHINE}/a.hdd/a.hds", b"x")
    with pytest.raises(StalePlan):
        b"".join(archive(port, entries))


def test_a_box_that_cannot_be_written_leaves_the_old_one(port: MemoryPort) -> None:
    port.plant_file(BOX, b"old")
    port.set_free_space(100)
    with pytest.raises(NoSpace):
        written(port)
    assert port.content(BOX) == b"old" and not [name for name in port.listing() if "mac.box.vdisk" in name]
