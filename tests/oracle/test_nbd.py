# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other people's clients read what we serve: the same bytes and the same holes, at every snapshot; and QEMU's locks.

nbdinfo and nbdcopy are libnbd's, qemu-img and qemu-io QEMU's, and nbdkit is a client when it passes a disk on.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.oracle.test_locks import opened_by_qemu_io
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import (
    TrialDisk,
    create,
    import_raw,
    is_zero,
)
from ansible_collections.vdisk.parallels.tests.support import oracles
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, succeed, tree
from ansible_collections.vdisk.parallels.tests.support.served import run_folder, socket_of

MIB = 1 << 20
ODD = 9 * MIB + 333 * 512
SPLIT = 104 * MIB


@pytest.fixture(name="servers", autouse=True)
def servers_fixture() -> Iterator[str]:
    with run_folder() as folder:
        yield folder


def chain(folder: str, **shape: Any) -> TrialDisk:
    """Each layer adds, replaces and hides something."""
    oracles.require("qemu-io")
    disk = create(folder, ODD, **shape)
    last = (ODD - 1) // disk.layout.cluster_bytes
    disk.write(1, last)
    for number in range(3):
        disk.take(f"step {number}")
        disk.write(number, 4 + number)
        disk.write_zeros(2 + number)
    disk.write(last)
    return disk


SHAPES: Dict[str, Callable[[str], TrialDisk]] = {
    "v1": lambda folder: chain(folder, version=1),
    "v2": lambda folder: chain(folder, version=2),
    "split": lambda folder: chain(folder, split_size=SPLIT),
    "small clusters": lambda folder: import_raw(folder, ODD, cluster_bytes=64 << 10),
    "plain": lambda folder: import_raw(folder, ODD, kind="plain"),
    "layers on plain": lambda folder: chain(folder, kind="plain"),
}


def ended(*command: str) -> str:
    done = oracles.run(*command)
    assert done.code == 0, f"{' '.join(command)}: rc {done.code}\n{done.output}"
    return done.output


def copied(uri: str, path: Path, *options: str) -> bytes:
    ended("nbdcopy", *options, uri, str(path))
    return path.read_bytes()


def check_map(extents: List[Dict[str, Any]], content: bytes, start: str, is_hole: Callable[[Any], bool]) -> None:
    """Extents cover the disk, and their holes have no data."""
    position = 0
    for extent in extents:
        assert extent[start] == position
        position += extent["length"]
        assert not is_hole(extent) or is_zero(content[extent[start] : position])
    assert position == len(content)


@pytest.mark.parametrize("shape", SHAPES)
def test_clients_read_every_snapshot_as_it_was(tmp_path: Path, shape: str) -> None:
    oracles.require("nbdinfo", "nbdcopy", "qemu-img")
    disk = SHAPES[shape](str(tmp_path))
    before = tree(disk.bundle)
    for guid, content in disk.views.items():
        uri = succeed("hdd_nbd", path=disk.bundle, snapshot=guid)["uri"]
        facts = json.loads(ended("nbdinfo", "--json", uri))["exports"][0]
        assert (facts["export-size"], facts["is_read_only"], facts["can_multi_conn"]) == (len(content), True, True)
        assert copied(uri, tmp_path / "copy") == content
        raw = tmp_path / f"{guid}.raw"
        raw.write_bytes(content)
        assert "identical" in oracles.qemu_img("compare", "-f", "raw", "-F", "raw", uri, str(raw))
        oracles.qemu_img("convert", "-f", "raw", "-O", "raw", uri, str(tmp_path / "converted"))
        assert (tmp_path / "converted").read_bytes()[: len(content)] == content
        told = json.loads(ended("nbdinfo", "--map", "--json", uri))
        check_map(told, content, "offset", lambda extent: bool(extent["type"]))
        drawn = json.loads(oracles.qemu_img("map", "--output=json", "-f", "raw", uri))
        check_map(drawn, content, "start", lambda extent: bool(extent["zero"]))
        # Whole megabytes of zeros are told as such by both.
        assert {bool(extent["type"]) for extent in told} == {extent["zero"] for extent in drawn}
        oracles.compared("libnbd", 3)
        oracles.compared("qemu-img", 3)
    succeed("hdd_nbd", path=disk.bundle, state="stopped")
    assert tree(disk.bundle) == before


def test_clients_with_many_connections_and_requests(tmp_path: Path) -> None:
    oracles.require("nbdcopy")
    disk = chain(str(tmp_path))
    uri = succeed("hdd_nbd", path=disk.bundle)["uri"]
    for options in (
        ["--connections=8", "--requests=64"],
        ["--synchronous"],
        ["--no-extents", "--request-size=33554432"],
        ["--request-size=4096", "--requests=128"],
        ["--destination-is-zero", "--sparse=0"],
    ):
        assert copied(uri, tmp_path / "-".join(options)[:40], *options) == bytes(disk.now)
        oracles.compared("libnbd")


def test_sixty_four_clients_at_once(tmp_path: Path) -> None:
    oracles.require("nbdcopy")
    disk = chain(str(tmp_path))
    uri = succeed("hdd_nbd", path=disk.bundle)["uri"]
    assert copied(uri, tmp_path / "copy", "--connections=64", "--threads=64", "--request-size=4096") == bytes(disk.now)
    with open(log_of(uri), encoding="utf-8") as stream:
        assert stream.read().count(" came\n") >= 64
    oracles.compared("libnbd")


def log_of(uri: str) -> str:
    return os.path.join(os.path.dirname(socket_of({"uri": uri})), "log")


def test_nbdkit_passes_a_disk_on(tmp_path: Path) -> None:
    oracles.require("nbdkit", "nbdcopy")
    disk = chain(str(tmp_path))
    uri = succeed("hdd_nbd", path=disk.bundle)["uri"]
    target = tmp_path / "copy"
    script = f"nbdcopy \"$uri\" '{target}'"
    done = oracles.run("nbdkit", "-U", "-", "--readonly", "nbd", f"uri={uri}", "--run", script)
    assert done.code == 0, done.output
    assert target.read_bytes() == bytes(disk.now)
    oracles.compared("nbdkit")


def test_qemu_reads_single_bytes_and_cannot_write(tmp_path: Path) -> None:
    oracles.require("qemu-io")
    disk = chain(str(tmp_path))
    uri = succeed("hdd_nbd", path=disk.bundle)["uri"]
    for offset, length in ((0, 1), (MIB - 3, 3), (ODD - 1, 1), (5 * MIB + 77, 3)):
        # The clusters are of one byte each, so a pattern says it all.
        (byte,) = set(disk.now[offset : offset + length])
        done = oracles.run("qemu-io", "-r", "-f", "raw", "-c", f"read -P {byte} {offset} {length}", uri)
        assert done.code == 0 and "failed" not in done.output, done.output
    assert oracles.run("qemu-io", "-f", "raw", "-c", "write 0 512", uri).code != 0
    oracles.compared("qemu-io", 4)


def test_a_served_image_is_one_that_qemu_may_read_and_not_write(tmp_path: Path) -> None:
    oracles.require("qemu-io", "qemu-img")
    disk = chain(str(tmp_path))
    image = disk.layout.images[disk.layout.top][0].path
    succeed("hdd_nbd", path=disk.bundle)
    before = tree(disk.bundle)
    oracles.qemu_img("info", image)
    done = oracles.run("qemu-io", "-f", "parallels", "-c", "write 0 512", image)
    assert done.code != 0 and "lock" in done.output
    assert tree(disk.bundle) == before
    succeed("hdd_nbd", path=disk.bundle, state="stopped")
    oracles.qemu_io(image, "write 0 512")


def test_an_image_that_qemu_writes_is_refused_at_any_snapshot(tmp_path: Path) -> None:
    disk = chain(str(tmp_path))
    image = disk.layout.images[disk.layout.top][0].path
    with opened_by_qemu_io(image) as process:
        for guid in disk.views:
            for check in (True, False):
                options = {"path": disk.bundle, "snapshot": guid}
                found = refused("hdd_nbd", disk.bundle, code="in_use", check=check, **options)
                assert f"qemu-io (pid {process.pid})" in found["msg"]


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vhdx", "vpc", "vdi"])
def test_images_by_qemu_are_served_as_qemu_reads_them(tmp_path: Path, kind: str) -> None:
    oracles.require("qemu-img", "nbdcopy")
    disk = import_raw(str(tmp_path), 8 * MIB)
    (tmp_path / "source.raw").write_bytes(bytes(disk.now))
    image = str(tmp_path / f"image.{'vhd' if kind == 'vpc' else kind}")
    options = ["-o", "force_size=on"] if kind == "vpc" else []
    oracles.qemu_img("convert", "-f", "raw", "-O", kind, *options, str(tmp_path / "source.raw"), image)
    uri = succeed("hdd_nbd", path=image)["uri"]
    assert copied(uri, tmp_path / "copy") == bytes(disk.now)
    oracles.compared("libnbd")


def test_a_client_of_qemu_that_dies_leaves_the_others_alone(tmp_path: Path) -> None:
    oracles.require("qemu-io", "nbdcopy")
    disk = chain(str(tmp_path))
    started = succeed("hdd_nbd", path=disk.bundle)
    command = ["nbdcopy", "--connections=1", started["uri"], "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as stuck:
        # It has begun, and will not end: nobody takes what it writes.
        assert stuck.stdout is not None and stuck.stdout.read(1)
        assert copied(started["uri"], tmp_path / "copy") == bytes(disk.now)
        stuck.kill()
    assert copied(started["uri"], tmp_path / "copy") == bytes(disk.now)
    assert os.path.exists(socket_of(started))
