# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converting: from any readable disk to a bundle or a raw image, and only when something would change."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    DiskError,
    Encrypted,
    InUse,
    NoSpace,
    StalePlan,
    VerifyFailed,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.output import predicted_facts
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH, RAW, DEST = "/vm/a.hdd", "/vm/a.raw", "/vm/b.hdd"
CLUSTER = disks.SMALL_CLUSTER
ONE = guid_of(1)
SIZE = 8 * CLUSTER


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return scene()


def scene(**options: Any) -> MemoryPort:
    return disks.two_layers(PATH, ONE, **options)


# What comes out


@pytest.mark.parametrize("snapshot", [None, ONE])
@pytest.mark.parametrize("sparse", [True, False])
def test_an_export_has_the_bytes_of_the_snapshot(port: MemoryPort, snapshot: Any, sparse: bool) -> None:
    disks.convert(port, PATH, RAW, snapshot=snapshot, sparse=sparse)
    assert port.content(RAW) == disks.read_naively(port, PATH, snapshot)


def test_a_sparse_export_leaves_zeros_out(port: MemoryPort) -> None:
    disks.convert(port, PATH, RAW)
    stat = port.stat(RAW)
    assert stat is not None and stat.size == SIZE and stat.allocated < SIZE // 2


OUTPUTS = [
    {},
    {"kind": "plain"},
    {"version": 2},
    {"cluster_bytes": 65536},
    {"preallocate": True},
    {"preallocate": True, "kind": "plain"},
    {"sparse": False},
    {"name": "another"},
    {"reproducible": False},
]


@pytest.mark.parametrize("options", OUTPUTS, ids=repr)
def test_an_import_has_the_bytes_and_the_shape_that_were_asked_for(port: MemoryPort, options: Dict[str, Any]) -> None:
    content = os.urandom(3 * CLUSTER) + bytes(5 * CLUSTER) + os.urandom(CLUSTER + 512)
    port.plant_file(RAW, content)
    disks.convert(port, RAW, DEST, **options)
    state = disks.state_of(port, DEST)
    image = state.layer(TOP)[0]
    assert disks.read(port, DEST) == disks.read_naively(port, DEST) == content
    assert image.kind == options.get("kind", "expanding")
    if image.header is not None:
        assert image.header.version == options.get("version", 1)
        assert image.header.cluster_bytes == options.get("cluster_bytes", CLUSTER)
        assert (
            image.used_clusters * image.header.cluster_bytes < len(content)
            or not options.get("sparse", True)
            or "preallocate" in options
        )
    assert state.descriptor.name == options.get("name", "b")
    assert disks.plan_of_convert(port, RAW, DEST, **options).is_empty


@pytest.mark.parametrize("options", OUTPUTS, ids=repr)
def test_what_check_mode_foretells_comes_true(tmp_path: Path, options: Dict[str, Any]) -> None:
    port, raw, dest = OsPort(), str(tmp_path / "a.raw"), str(tmp_path / "b.hdd")
    with open(raw, "wb") as stream:
        stream.truncate(9 * CLUSTER + 512)
        for offset in (5, 3 * CLUSTER - 1, 7 * CLUSTER):
            stream.seek(offset)
            stream.write(b"data")
    plan = disks.plan_of_convert(port, raw, dest, predict=True, **options)
    predicted = disks.without_blocks(predicted_facts(port, ConvertRequest("hdd", dest), plan))
    assert os.listdir(tmp_path) == ["a.raw"]
    outcome = disks.apply(port, disks.plan_of_convert(port, raw, dest, **options))
    found = disks.facts_of(port, disks.state_of(port, dest))
    assert (outcome.bytes_read, outcome.bytes_written) == (plan.bytes_read, plan.bytes_written)
    for facts in (found, predicted):
        facts.pop("uid")
    assert found == predicted


@pytest.mark.parametrize("align", [512, 4096, 65536, 1 << 20])
@pytest.mark.parametrize("dest", ["/vm/out.raw", "/vm/out.hdd"])
def test_the_output_is_rounded_up_to_the_alignment(port: MemoryPort, align: int, dest: str) -> None:
    port.plant_file(RAW, b"x" * 1536)
    plan = disks.convert(port, RAW, dest, align=align)
    size = -(-1536 // align) * align
    expected = b"x" * 1536 + bytes(size - 1536)
    assert plan.facts.shape.size == size
    assert (port.content(dest) if dest.endswith(".raw") else disks.read_naively(port, dest)) == expected
    assert bool(plan.warnings) == (size != 1536)
    assert disks.plan_of_convert(port, RAW, dest, align=align).is_empty


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5", "sha512"])
@pytest.mark.parametrize("sparse", [True, False])
def test_the_checksum_is_that_of_the_finished_file(port: MemoryPort, algorithm: str, sparse: bool) -> None:
    outcome = disks.apply(port, disks.plan_of_convert(port, PATH, RAW, checksum=algorithm, sparse=sparse))
    report: Any = outcome.reports["transfer"]
    assert tuple(report.checksums.values()) == (hashlib.new(algorithm, port.content(RAW)).hexdigest(),)
    assert report.verified


# Reproducible outputs


def test_the_same_request_gives_the_same_bytes(port: MemoryPort) -> None:
    disks.convert(port, PATH, DEST)
    first = port.listing()
    disks.apply(port, replace(disks.plan_of_convert(port, PATH, DEST, update="always")))
    assert port.listing() == first
    assert disks.state_of(port, DEST).descriptor.uid is not None


def test_how_the_source_is_stored_does_not_matter(port: MemoryPort) -> None:
    disks.convert(port, PATH, RAW)
    port.plant_directory("/one")
    port.plant_directory("/two")
    disks.convert(port, PATH, "/one/b.hdd")
    disks.convert(port, RAW, "/two/b.hdd", sparse=False, verify=False)
    one, two = disks.state_of(port, "/one/b.hdd"), disks.state_of(port, "/two/b.hdd")
    assert one.descriptor.uid == two.descriptor.uid


DIFFERENCES: List[Dict[str, Any]] = [
    {"name": "other"},
    {"kind": "plain"},
    {"version": 2},
    {"cluster_bytes": 65536},
    {"align": 1 << 20},
]


def test_different_disks_never_share_a_uid(port: MemoryPort) -> None:
    port.plant_file(RAW, bytes(SIZE))
    port.plant_file("/vm/c.raw", bytes(SIZE - 1) + b"\1")
    port.plant_file("/vm/d.raw", b"\1" + bytes(SIZE - 1))
    port.plant_file("/vm/e.raw", bytes(SIZE - 512))
    uids = []
    requests = [
        (PATH, {}),
        (PATH, {"snapshot": ONE}),
        (RAW, {}),
        ("/vm/c.raw", {}),
        ("/vm/d.raw", {}),
        ("/vm/e.raw", {}),
        *((PATH, one) for one in DIFFERENCES),
    ]
    for number, (source, options) in enumerate(requests):
        port.plant_directory(f"/{number}")
        disks.convert(port, source, f"/{number}/same.hdd", **options)
        uids.append(disks.state_of(port, f"/{number}/same.hdd").descriptor.uid)
    assert len(set(uids)) == len(uids)
    drawn = set()
    for _number in range(3):
        disks.apply(port, disks.plan_of_convert(port, PATH, DEST, update="always", reproducible=False))
        drawn.add(disks.state_of(port, DEST).descriptor.uid)
    assert len(drawn) == 3 and not drawn & set(uids)


# When to write


def test_a_kept_output_is_not_touched(port: MemoryPort) -> None:
    disks.convert(port, PATH, DEST)
    before = len(port.effects)
    for options in ({}, {"update": "missing"}):
        assert disks.convert(port, PATH, DEST, **options).is_empty
    assert len(port.effects) == before


def test_an_update_replaces_the_old_output_and_leaves_nothing_beside_it(port: MemoryPort) -> None:
    disks.convert(port, PATH, DEST)
    disks.convert(port, PATH, DEST, snapshot=ONE)
    assert disks.read_naively(port, DEST) == disks.read_naively(port, PATH, ONE)
    assert [path for path in port.listing() if "vdisk" in path] == []


def test_without_an_exchange_of_names_an_update_works_all_the_same() -> None:
    port = scene(exchanges=False)
    disks.convert(port, PATH, DEST)
    disks.convert(port, PATH, DEST, snapshot=ONE)
    assert disks.read_naively(port, DEST) == disks.read_naively(port, PATH, ONE)
    assert [path for path in port.listing() if "vdisk" in path] == []


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_failure_at_any_call_leaves_the_old_output_or_the_new_one(exchanges: bool) -> None:
    start = scene(exchanges=exchanges)
    disks.convert(start, PATH, DEST)
    old, new = disks.read_naively(start, DEST), disks.read_naively(start, PATH, ONE)
    failures = number = 0
    while True:
        number += 1
        port = MemoryPort(start.tree.fork(), exchanges=exchanges)
        plan = disks.plan_of_convert(port, PATH, DEST, snapshot=ONE)
        calls = len(port.calls)
        port.fail_call(number, "ENOSPC")
        try:
            disks.apply(port, plan)
        except DiskError:
            failures += 1
        is_complete = len(port.calls) - calls < number
        port.fail_call(1 << 30)
        assert disks.read_naively(port, DEST) in (old, new), number
        assert not [path for path in port.listing() if "vdisk-dest" in path], number
        if is_complete:
            break
    assert failures > 50
    assert disks.read_naively(port, DEST) == new


# Refusals


@pytest.mark.parametrize(
    "dest",
    [
        PATH,
        "/vm/../vm/a.hdd",
        f"{PATH}/DiskDescriptor.xml",
        f"{PATH}/out.raw",
        f"{PATH}/inner.hdd",
        f"{PATH}/sub/out.raw",
    ],
)
def test_the_source_is_never_written_over_or_into(port: MemoryPort, dest: str) -> None:
    before = port.listing()
    for options in ({}, {"force": True, "update": "always"}):
        with pytest.raises(BadRequest):
            disks.convert(port, PATH, dest, format="hdd" if dest.endswith(".hdd") else "raw", **options)
    assert port.listing() == before


def test_a_source_reached_by_a_link_is_recognised(port: MemoryPort) -> None:
    disks.convert(port, PATH, RAW)
    port.plant_link("/vm/link.raw", RAW)
    port.plant_link("/vm/link.hdd", PATH)
    for source, dest in (
        (RAW, "/vm/link.raw"),
        ("/vm/link.raw", RAW),
        (PATH, "/vm/link.hdd"),
        ("/vm/link.hdd", PATH),
        (f"{PATH}/DiskDescriptor.xml", PATH),
    ):
        with pytest.raises(BadRequest):
            disks.convert(port, source, dest, update="always", force=True)


def test_a_raw_source_inside_the_bundle_that_would_be_replaced_is_refused(port: MemoryPort) -> None:
    port.plant_file(f"{PATH}/backup.raw", b"x" * 512)
    with pytest.raises(BadRequest):
        disks.convert(port, f"{PATH}/backup.raw", PATH, update="always", force=True)


def test_a_source_that_is_being_written_is_refused_and_one_that_is_read_is_not(port: MemoryPort) -> None:
    port.plant_holder(disks.file_of(port, PATH, ONE), Holder("read", "qemu-img"))
    disks.convert(port, PATH, RAW)
    port.plant_holder(disks.file_of(port, PATH, ONE), Holder("write", "qemu (7)"))
    with pytest.raises(InUse, match="written"):
        disks.convert(port, PATH, RAW, update="always")


def test_a_destination_that_somebody_holds_is_refused(port: MemoryPort) -> None:
    disks.convert(port, PATH, DEST)
    disks.convert(port, PATH, RAW)
    for dest, held in ((DEST, disks.file_of(port, DEST)), (RAW, RAW)):
        port.plant_holder(held, Holder("write", "qemu (7)"))
        before = port.listing()
        with pytest.raises(InUse):
            disks.convert(port, PATH, dest, snapshot=ONE)
        assert port.listing() == before


def test_the_name_of_a_bundle_ends_in_hdd(port: MemoryPort) -> None:
    with pytest.raises(BadRequest):
        disks.convert(port, PATH, "/vm/out.img", format="hdd")


def test_cipher_text_is_not_exported(tmp_path: Path) -> None:
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=1024, cluster_sectors=128)
    with open(built.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(built.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace("<Engine>{00000000", "<Engine>{00000001"))
    with pytest.raises(Encrypted):
        disks.convert(OsPort(), built.directory, str(tmp_path / "a.raw"))
    assert os.listdir(tmp_path) == ["a.hdd"]


def test_a_source_that_changes_meanwhile_spoils_nothing(port: MemoryPort) -> None:
    disks.convert(port, PATH, RAW)
    before = port.listing()
    plan = disks.plan_of_convert(port, PATH, RAW, snapshot=ONE)
    disks.write(port, PATH, 0, b"changed")
    with pytest.raises(StalePlan):
        disks.apply(port, plan)
    assert port.listing()[RAW] == before[RAW]


def test_a_source_that_changes_while_it_is_read_spoils_nothing(port: MemoryPort) -> None:
    from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute

    plan = disks.plan_of_convert(port, PATH, RAW)
    with pytest.raises(StalePlan):
        execute(port, plan, on_progress=lambda _done, _all: disks.write(port, PATH, 0, b"changed"))
    assert not [path for path in port.listing() if path.startswith("/vm/") and not path.startswith(PATH)]


def test_an_output_that_reads_back_wrong_is_not_put_in_place(port: MemoryPort) -> None:
    class Forgetful:
        """A port whose new files lose a byte of data."""

        def __getattr__(self, name: str) -> Any:
            return getattr(port, name)

        def open_write(self, path: str) -> Any:
            return _Losing(port.open_write(path))

        def create(self, path: str, mode: int = 0o666) -> Any:
            return _Losing(port.create(path, mode))

    plan = disks.plan_of_convert(port, PATH, RAW)
    with pytest.raises(VerifyFailed) as caught:
        disks.apply(Forgetful(), plan)  # type: ignore[arg-type]
    assert caught.value.offset is not None
    assert port.stat(RAW) is None
    assert [path for path in port.listing() if "vdisk" in path] == []
    disks.apply(Forgetful(), disks.plan_of_convert(port, PATH, RAW, verify=False))  # type: ignore[arg-type]
    assert port.content(RAW) != disks.read_naively(port, PATH)


class _Losing:
    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def pwrite(self, offset: int, buffer: Any) -> None:
        content = bytearray(buffer)
        if len(content) > 4096:
            content[len(content) // 2] ^= 0xFF
        self._file.pwrite(offset, content)


@pytest.mark.parametrize(
    "dest, options", [(RAW, {"sparse": False}), (RAW, {"preallocate": True}), (DEST, {"preallocate": True})]
)
def test_room_that_is_known_to_be_needed_is_checked_first(port: MemoryPort, dest: str, options: Dict[str, Any]) -> None:
    port.set_free_space(SIZE - 4096)
    before = len(port.effects)
    with pytest.raises(NoSpace):
        disks.convert(port, PATH, dest, **options)
    assert len(port.effects) == before
