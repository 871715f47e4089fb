# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vagrant_box, called as Ansible calls it; the boxes are read by Python's own tarfile."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import UUID, make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import (
    content,
    put,
    refused,
    run,
    succeed,
    three_runs,
    warnings,
)

MIB = 1 << 20
IMAGE = f"box.pvm/mac.hdd/mac.hdd.0.{TOP}.hds"


@pytest.fixture(name="root")
def root_fixture(tmp_path):
    make(str(tmp_path / "one" / "mac.pvm"))
    (tmp_path / "out").mkdir()
    return str(tmp_path)


def make(machine):
    make_machine(machine, size_mib=4)
    build_bundle(
        f"{machine}/mac.hdd", size_sectors=2048 * 4, layers=[Layer(TOP, clusters={0: fill(0, MIB), 2: fill(2, MIB)})]
    )


def image_of(machine):
    (name,) = [name for name in os.listdir(f"{machine}/mac.hdd") if name.endswith(".hds")]
    return f"{machine}/mac.hdd/{name}"


def options(root, **more):
    return {"src": f"{root}/one/mac.pvm", "dest": f"{root}/out/mac.box", "architecture": "arm64", **more}


def members(box):
    with tarfile.open(box, "r:gz") as archive:
        return {
            member.name: (member, None if member.isdir() else archive.extractfile(member).read()) for member in archive
        }


def test_a_machine_is_packed_once_as_predicted(root):
    runs = three_runs_of(root)
    found = members(f"{root}/out/mac.box")
    assert list(found) == ["metadata.json", *sorted(name for name in found if name.startswith("box.pvm"))]
    assert runs.done["files"] == [name for name, (member, _content) in found.items() if member.isfile()]
    assert json.loads(found["metadata.json"][1]) == {"provider": "parallels", "architecture": "arm64"}
    machine = f"{root}/one/mac.pvm"
    for name, (member, inside) in found.items():
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
        assert member.mode == (0o755 if member.isdir() else 0o644)
        if inside is not None and name != "metadata.json":
            assert inside == content(f"{machine}/{name[len('box.pvm/') :]}")
    assert found["box.pvm"][0].isdir()
    assert runs.done["uuid"] == UUID
    assert runs.done["checksum"] == runs.again["checksum"] == hashlib.sha256(content(f"{root}/out/mac.box")).hexdigest()
    assert runs.done["size"] == os.path.getsize(f"{root}/out/mac.box")
    assert runs.done["diff"]["before"] == {"box": "absent", "files": []}
    assert runs.again["diff"]["before"] == runs.again["diff"]["after"]


def three_runs_of(root, **more):
    before = options(root, **more)
    predicted = succeed("vagrant_box", check=True, **before)
    assert predicted["changed"] and predicted["size"] is None and predicted["checksum"] is None
    assert not os.path.lexists(f"{root}/out/mac.box")
    done = succeed("vagrant_box", **before)
    runs = three_runs("vagrant_box", root, **before)
    assert done["changed"] and not runs.done["changed"]
    assert {**predicted, "size": 0, "checksum": 0, "elapsed": 0, "invocation": 0} == {
        **done,
        "size": 0,
        "checksum": 0,
        "elapsed": 0,
        "invocation": 0,
    }
    module_docs.assert_documented("vagrant_box", done)
    return runs._replace(done=done)


def test_the_same_machine_gives_the_same_bytes_wherever_and_whenever_it_is_packed(root):
    shutil.copytree(f"{root}/one/mac.pvm", f"{root}/elsewhere.pvm")
    os.chmod(f"{root}/elsewhere.pvm/config.pvs", 0o600)
    os.utime(f"{root}/elsewhere.pvm/config.pvs", (5, 5))
    succeed("vagrant_box", **options(root))
    succeed("vagrant_box", **options(root, src=f"{root}/elsewhere.pvm", dest=f"{root}/out/other.box"))
    assert content(f"{root}/out/mac.box") == content(f"{root}/out/other.box")


def test_times_are_those_of_the_files_when_they_may_be(root):
    os.utime(f"{root}/one/mac.pvm/config.pvs", (1234567, 1234567))
    succeed("vagrant_box", **options(root, reproducible=False))
    assert members(f"{root}/out/mac.box")["box.pvm/config.pvs"][0].mtime == 1234567
    assert not succeed("vagrant_box", **options(root, reproducible=False))["changed"]
    assert succeed("vagrant_box", **options(root))["changed"]


def test_the_time_of_the_build_is_taken_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    succeed("vagrant_box", **options(root))
    assert {member.mtime for member, _content in members(f"{root}/out/mac.box").values()} == {1700000000}


def test_a_vagrantfile_and_more_metadata_go_in(root):
    succeed("vagrant_box", **options(root, vagrantfile="# ü\n", metadata={"version": "1", "provider": "nobody"}))
    found = members(f"{root}/out/mac.box")
    assert found["Vagrantfile"][1] == "# ü\n".encode()
    assert json.loads(found["metadata.json"][1]) == {"provider": "parallels", "architecture": "arm64", "version": "1"}


def test_locks_logs_and_hidden_files_stay_out(root):
    for name in ("vm.lock", "parallels.log", ".DS_Store", "mac.hdd/DiskDescriptor.xml.lck", "mac.hdd/.x.vdisk-1.tmp"):
        open(f"{root}/one/mac.pvm/{name}", "wb").close()
    packed = succeed("vagrant_box", **options(root))["files"]
    assert packed == [
        "metadata.json",
        "box.pvm/config.pvs",
        "box.pvm/mac.hdd/DiskDescriptor.xml",
        "box.pvm/mac.hdd/mac.hdd",
        IMAGE,
    ]


@pytest.mark.parametrize("spoil", ["cut", "longer", "another", "not a box", "empty", "bit"])
def test_a_box_that_holds_something_else_is_replaced(root, spoil):
    box = f"{root}/out/mac.box"
    good = succeed("vagrant_box", **options(root))
    data = content(box)
    plain = gzip.decompress(data)
    bad = {
        "cut": data[: len(data) // 2],
        "longer": data + b"more",
        "another": gzip.compress(plain[:-1] + b"x"),
        "not a box": b"# notes\n" * 100,
        "empty": b"",
        "bit": data[:-8] + bytes([data[-8] ^ 1]) + data[-7:],
    }[spoil]
    with open(box, "wb") as stream:
        stream.write(bad)
    os.chmod(box, 0o640)
    assert succeed("vagrant_box", check=True, **options(root))["changed"]
    assert content(box) == bad
    again = succeed("vagrant_box", **options(root))
    assert again["changed"] and again["checksum"] == good["checksum"]
    assert content(box) == data and os.stat(box).st_mode & 0o777 == 0o640
    assert again["diff"]["before"] == {"box": "other content", "files": []}
    assert os.listdir(f"{root}/out") == ["mac.box"]


def test_a_box_of_the_same_content_is_kept_however_it_was_compressed(root):
    succeed("vagrant_box", **options(root))
    data = gzip.compress(gzip.decompress(content(f"{root}/out/mac.box")), 1)
    with open(f"{root}/out/mac.box", "wb") as stream:
        stream.write(data)
    assert not succeed("vagrant_box", **options(root, compression_level=9))["changed"]
    assert content(f"{root}/out/mac.box") == data


def test_a_change_of_the_machine_changes_the_box(root):
    first = succeed("vagrant_box", **options(root))
    with open(image_of(f"{root}/one/mac.pvm"), "r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"!")
    second = succeed("vagrant_box", **options(root))
    assert second["changed"] and second["checksum"] != first["checksum"]


def test_a_bomb_in_place_of_the_box_costs_no_memory(root):
    with gzip.open(f"{root}/out/mac.box", "wb", 9) as stream:
        for _count in range(64):
            stream.write(bytes(MIB))
    assert succeed("vagrant_box", check=True, **options(root))["changed"]


def test_what_a_killed_run_left_is_cleared(root):
    succeed("vagrant_box", **options(root))
    open(f"{root}/out/.mac.box.vdisk-00000000.tmp", "wb").close()
    ended = succeed("vagrant_box", **options(root))
    assert ended["changed"] and os.listdir(f"{root}/out") == ["mac.box"]
    assert not succeed("vagrant_box", **options(root))["changed"]


def test_the_mode_of_the_box_is_kept_true(root):
    assert succeed("vagrant_box", **options(root, mode="0600"))["changed"]
    assert os.stat(f"{root}/out/mac.box").st_mode & 0o777 == 0o600
    assert not succeed("vagrant_box", **options(root, mode="0600"))["changed"]
    assert succeed("vagrant_box", **options(root, mode="0644"))["changed"]


def test_no_machine_is_refused(root):
    refused("vagrant_box", root, code="not_a_bundle", **options(root, src=f"{root}/one"))
    refused("vagrant_box", root, code="not_a_bundle", **options(root, src=f"{root}/none.pvm"))


def test_a_machine_without_a_uuid_is_refused(root):
    with open(f"{root}/one/mac.pvm/config.pvs", "w", encoding="utf-8") as stream:
        stream.write("<ParallelsVirtualMachine><Identification/></ParallelsVirtualMachine>")
    refused("vagrant_box", root, code="damaged", **options(root))


def test_places_that_cannot_hold_a_box_are_refused(root):
    refused("vagrant_box", root, code="bad_request", **options(root, dest=f"{root}/one/mac.pvm/mac.box"))
    refused("vagrant_box", root, code="not_found", **options(root, dest=f"{root}/none/mac.box"))
    refused("vagrant_box", root, code="exists", **options(root, dest=f"{root}/out"))
    refused("vagrant_box", root, code="bad_request", **options(root, compression_level=10))


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_links_and_devices_are_refused(root, kind):
    place = f"{root}/one/mac.pvm/odd"
    os.symlink("/etc/passwd", place) if kind == "link" else os.mkfifo(place)
    ended = run("vagrant_box", **options(root))
    assert ended.failed and ended.result["error_code"] == "unsupported"
    assert os.listdir(f"{root}/out") == []


@pytest.mark.skipif(sys.platform != "linux", reason="QEMU's locks are of Linux")
def test_a_machine_that_runs_is_refused(root):
    script = (
        "import fcntl as k,struct,sys,time as t\nf=open(sys.argv[1],'r+b')\n"
        "k.fcntl(f,38,struct.pack('hhqqi4x',0,0,101,1,0))\nprint(1,flush=True)\nt.sleep(60)"
    )
    assert fcntl.F_RDLCK == 0
    with subprocess.Popen(
        [sys.executable, "-c", script, image_of(f"{root}/one/mac.pvm")], stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        try:
            refused("vagrant_box", root, code="in_use", **options(root))
        finally:
            process.kill()


@pytest.mark.parametrize("form", ["link", "link to the folder around", "link with a name of its own"])
@pytest.mark.parametrize("named", ["mac.hdd", "real", "link"])
def test_a_machine_that_the_task_names_by_a_link_is_packed_as_by_its_own_name(root, form, named):
    machine = f"{root}/one/mac.pvm"
    links = {
        "link": f"{root}/mac.pvm",
        "link to the folder around": f"{root}/two",
        "link with a name of its own": f"{root}/x",
    }
    link = links[form]
    os.symlink(f"{root}/one" if form == "link to the folder around" else machine, link)
    src = f"{link}/mac.pvm" if form == "link to the folder around" else link
    disk = {"mac.hdd": "mac.hdd", "real": f"{machine}/mac.hdd", "link": f"{src}/mac.hdd"}[named]
    make_machine(machine, size_mib=4, disk=disk)
    expected = succeed("vagrant_box", **options(root))
    found = succeed("vagrant_box", src=src, dest=f"{root}/out/link.box", architecture="arm64")
    assert found["checksum"] == expected["checksum"]


def test_a_link_inside_a_machine_still_leads_nowhere(root):
    machine = f"{root}/one/mac.pvm"
    os.rename(f"{machine}/mac.hdd", f"{root}/elsewhere.hdd")
    os.symlink(f"{root}/elsewhere.hdd", f"{machine}/mac.hdd")
    os.symlink(machine, f"{root}/mac.pvm")
    refused("vagrant_box", root, code="unsupported", src=f"{root}/mac.pvm", dest=f"{root}/b.box", architecture="arm64")


@pytest.mark.parametrize("sign", ["descriptor", "saved state"])
def test_a_suspended_machine_is_packed_but_not_with_a_disk_that_is_marked_as_in_use(root, sign):
    machine = f"{root}/one/mac.pvm"
    if sign == "saved state":
        put(f"{machine}/mac.mem", b"memory")
    else:
        path = f"{machine}/mac.hdd/DiskDescriptor.xml"
        put(path, content(path).replace(b"</Miscellaneous>", b"<SuspendState>1</SuspendState></Miscellaneous>"))
    assert succeed("vagrant_box", check=True, **options(root))["changed"]
    image = bytearray(content(image_of(machine)))
    image[44:48] = b"Ynot"
    put(image_of(machine), bytes(image))
    refused("vagrant_box", root, code="dirty", **options(root))
    with open(image_of(machine), "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if sys.platform == "linux":
            refused("vagrant_box", root, code="in_use", **options(root))
    assert succeed("vagrant_box", **options(root, force=True))["changed"]


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_a_disk_that_somebody_keeps_by_a_flock_is_packed_with_a_warning(root):
    with open(image_of(f"{root}/one/mac.pvm"), "rb") as stream:
        for kind, is_told in ((fcntl.LOCK_SH, False), (fcntl.LOCK_EX, True)):
            fcntl.flock(stream, kind)
            told = warnings(succeed("vagrant_box", check=True, **options(root)))
            assert any(f"pid {os.getpid()}" in text and "by a flock" in text for text in told) is is_told


def test_a_box_takes_the_place_of_no_part_of_a_disk(root):
    make(f"{root}/two/mac.pvm")
    other = f"{root}/two/mac.pvm/mac.hdd"
    os.makedirs(f"{other}/deep/er")
    new = (f"{other}/new.box", f"{other}/deep/new.box", f"{other}/deep/er/new.box")
    for dest in (image_of(f"{root}/two/mac.pvm"), f"{other}/DiskDescriptor.xml", *new):
        for force in (False, True):
            refused("vagrant_box", root, code="exists", **options(root, dest=dest, force=force))


@pytest.mark.parametrize("mark", [b"QFI\xfb\0\0\0\3", b"WithoutFreeSpace", b"<?xml version='1.0'?>"], ids=repr)
def test_a_box_takes_the_place_of_no_file_of_another_kind_unless_forced(root, mark):
    put(f"{root}/out/mac.box", mark.ljust(4096, b"\0"))
    assert "force: true" in refused("vagrant_box", root, code="exists", **options(root))["msg"]
    assert succeed("vagrant_box", **options(root, force=True))["changed"]
    assert "metadata.json" in members(f"{root}/out/mac.box")
