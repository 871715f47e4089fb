# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disk that is meant in a container or a machine, read in place."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any, Dict, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    MissingImage,
    NotAWholeDisk,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.catalog import chosen
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.choose_source import choose_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import SourceRequest
from ansible_collections.vdisk.parallels.tests.support import disks, vmdk_files
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_ovf import described
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.containers.test_tar import archive

GUEST = fill(3, 4096).ljust(80 * 512, b"\0")
OTHER = fill(4, 4096).ljust(80 * 512, b"\0")


def stream(content: bytes) -> bytes:
    descriptor = vmdk_files.text("streamOptimized", ['RW 80 SPARSE "x.vmdk"'])
    return bytes(vmdk_files.stream(capacity=80, grains={0: content[:4096]}, descriptor=descriptor).raw)


ONE = ('<File ovf:id="f1" ovf:href="a.vmdk"/>', '<Disk ovf:diskId="d1" ovf:fileRef="f1"/>')
TWO = (
    ONE[0] + '<File ovf:id="f2" ovf:href="b.vmdk" ovf:compression="gzip"/>',
    ONE[1] + '<Disk ovf:diskId="d2" ovf:fileRef="f2"/><Disk ovf:diskId="d3"/>',
)


def appliance(description: Tuple[str, str] = ONE, **changes: Optional[bytes]) -> Dict[str, bytes]:
    """The files of an appliance; ``changes`` add some, or take them away."""
    files: Dict[str, bytes] = {"x.ovf": described(*description), "a.vmdk": stream(GUEST)}
    if description is TWO:
        files["b.vmdk"] = gzip.compress(stream(OTHER))
    for name, content in changes.items():
        files.pop(name.replace("_", "."), None)
        if content is not None:
            files[name.replace("_", ".")] = content
    return files


def planted(files: Dict[str, bytes], form: str) -> Tuple[MemoryPort, str]:
    """An appliance as one archive or as files beside each other."""
    port = MemoryPort()
    if form == "ova":
        port.plant_file("/srv/x.ova", archive(files))
        return port, "/srv/x.ova"
    for name, content in files.items():
        port.plant_file(f"/srv/{name}", content)
    return port, "/srv/x.ovf"


def content(port: MemoryPort, path: str, **options: Any) -> bytes:
    view = open_source(port, find_source(port, path, **options))
    buffer = bytearray(view.size)
    view.pread_into(0, buffer)
    view.close()
    assert not any(port.opened.values())
    return bytes(buffer)


def refused(port: MemoryPort, path: str, error: type, **options: Any) -> DiskError:
    with pytest.raises(error) as caught:
        find_source(port, path, **options)
    assert not any(port.opened.values())
    found: DiskError = caught.value
    return found


FORMS = pytest.mark.parametrize("form", ["ova", "ovf"])


@FORMS
def test_the_disk_of_an_appliance_is_read_in_place(form: str) -> None:
    port, path = planted(appliance(), form)
    assert content(port, path) == GUEST
    source = find_source(port, path)
    assert source.format == "vmdk" and source.warnings == ()
    # The plan watches files of the host, and nothing that is only in the container.
    files = [file for file, _seen in source.fingerprint]
    assert files == ([path] if form == "ova" else ["/srv/x.ovf", "/srv/a.vmdk"])
    assert all(seen is not None for _file, seen in source.fingerprint)


@FORMS
@pytest.mark.parametrize("name, expected", [("d1", GUEST), ("0", GUEST), ("a.vmdk", GUEST), ("a", GUEST)])
def test_one_of_several_disks_is_named(form: str, name: str, expected: bytes) -> None:
    port, path = planted(appliance(TWO), form)
    assert content(port, path, disk=name) == expected


@FORMS
@pytest.mark.parametrize("name", ["d2", "1", "b.vmdk"])
def test_a_packed_disk_is_inflated_on_the_way(form: str, name: str) -> None:
    port, path = planted(appliance(TWO), form)
    assert content(port, path, disk=name) == OTHER


@FORMS
def test_which_of_several_disks_must_be_said(form: str) -> None:
    port, path = planted(appliance(TWO), form)
    error = refused(port, path, BadRequest)
    assert error.found == ["d1", "d2"] and "src_disk, for example to d1" in str(error)
    assert "d1, d2" in str(refused(port, path, BadRequest, disk="d9"))


def manifest(files: Dict[str, bytes], algorithm: str) -> bytes:
    lines = [f"{algorithm.upper()}({name})= {hashlib.new(algorithm, raw).hexdigest()}\n" for name, raw in files.items()]
    return "".join(lines).encode()


@FORMS
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("disk", ["d1", "d2"])
def test_a_manifest_is_checked(form: str, algorithm: str, disk: str) -> None:
    files = appliance(TWO)
    good = {**files, "x.mf": manifest(files, algorithm), "x.cert": b"signature"}
    port, path = planted(good, form)
    assert content(port, path, disk=disk) == (GUEST if disk == "d1" else OTHER)
    assert find_source(port, path, disk=disk).warnings == (f"{path}: it is signed; the signature was not checked.",)
    name = "a.vmdk" if disk == "d1" else "b.vmdk"
    bad = {**good, name: good[name][:-1] + b"?"}
    error = refused(*planted(bad, form), Damaged, disk=disk)
    assert error.expected == hashlib.new(algorithm, good[name]).hexdigest()
    assert error.found == hashlib.new(algorithm, bad[name]).hexdigest()


@pytest.mark.parametrize("called", ["x.MF", "before-it-was-renamed.mf"])
def test_the_only_manifest_of_an_archive_counts_whatever_it_is_called(called: str) -> None:
    files = appliance()
    port, path = planted({**files, called: manifest(files, "sha256")}, "ova")
    assert content(port, path) == GUEST
    bad = {**files, called: manifest({**files, "a.vmdk": b"another"}, "sha256")}
    refused(*planted(bad, "ova"), Damaged)
    port, path = planted({**bad, "other.mf": b"hello"}, "ova")
    assert content(port, path) == GUEST


@FORMS
def test_a_file_that_the_manifest_does_not_know_is_told(form: str) -> None:
    files = appliance()
    port, path = planted({**files, "x.mf": manifest({"x.ovf": files["x.ovf"]}, "sha256")}, form)
    assert find_source(port, path).warnings == (f"{path}: its manifest has no checksum of a.vmdk.",)


@FORMS
@pytest.mark.parametrize(
    "files, error",
    [
        (appliance(a_vmdk=None), MissingImage),
        (appliance(x_mf=b"hello"), Damaged),
        (appliance((ONE[0], "")), NotAWholeDisk),
        (appliance((ONE[0].replace("/>", ' ovf:chunkSize="x"/>'), ONE[1])), Damaged),
        (appliance((ONE[0].replace("/>", ' ovf:chunkSize="9"/>'), ONE[1]), a_vmdk=None), MissingImage),
        (appliance((ONE[0].replace("/>", ' ovf:compression="bzip2"/>'), ONE[1])), Unsupported),
        (appliance((ONE[0].replace("/>", ' ovf:compression="gzip"/>'), ONE[1])), Damaged),
        (appliance((ONE[0], ONE[1].replace("/>", ' ovf:parentRef="d0"/>'))), Unsupported),
        (appliance(x_ovf=b"<Envelope"), Damaged),
    ],
)
def test_what_is_not_whole_is_refused(form: str, files: Dict[str, bytes], error: type) -> None:
    refused(*planted(files, form), error)


def test_a_description_leads_to_no_other_folder() -> None:
    port, path = planted(appliance((ONE[0].replace("a.vmdk", "../secret.vmdk"), ONE[1])), "ovf")
    port.plant_file("/secret.vmdk", stream(OTHER))
    refused(port, path, Unsupported)
    port, path = planted(appliance(a_vmdk=None), "ovf")
    port.plant_file("/secret.vmdk", stream(OTHER))
    port.plant_link("/srv/a.vmdk", "/secret.vmdk")
    refused(port, path, MissingImage)


def chunked(content: bytes, chunk: int, packing: str = "", size: Optional[int] = None) -> Dict[str, bytes]:
    """An appliance whose disk is cut into chunks."""
    noted = "" if size is None else f' ovf:size="{size}"'
    file = ONE[0].replace("/>", f' ovf:chunkSize="{chunk}"{noted}{packing}/>')
    pieces = [content[start : start + chunk] for start in range(0, len(content), chunk)]
    files = {"x.ovf": described(file, ONE[1])}
    return {**files, **{f"a.vmdk.{number:09d}": piece for number, piece in enumerate(pieces)}}


@FORMS
@pytest.mark.parametrize("chunk", [1000, 4096, 1 << 20])
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_disk_in_chunks_is_read_as_one(form: str, chunk: int, is_packed: bool) -> None:
    disk = gzip.compress(stream(GUEST)) if is_packed else stream(GUEST)
    files = chunked(disk, chunk, ' ovf:compression="gzip"' if is_packed else "", len(disk))
    for more in ({}, {"x.mf": manifest(files, "sha256")}):
        port, path = planted({**files, **more}, form)
        assert content(port, path, disk="a.vmdk") == GUEST
        watched = {file for file, _seen in find_source(port, path).fingerprint}
        assert watched == ({path} if form == "ova" else {f"/srv/{name}" for name in (*files, *more)})


@FORMS
def test_chunks_that_do_not_fit_are_damaged_and_others_not_read(form: str) -> None:
    disk = stream(GUEST)
    files = chunked(disk, 1000, size=len(disk))
    last = max(name for name in files if name.startswith("a."))
    for bad in (
        {name: raw for name, raw in files.items() if name != last},
        {**files, last: files[last] + b"x"},
        {**files, last: b""},
        {**files, "a.vmdk.000000001": b"x" * 999},
    ):
        error = refused(*planted(bad, form), Damaged)
        assert "bytes in" in str(error.expected) and "chunks" in str(error.found)
    changed = {**files, "a.vmdk.000000001": b"x" * 1000, "x.mf": manifest(files, "sha1")}
    assert "a.vmdk.000000001" in refused(*planted(changed, form), Damaged).message
    # A whole file counts where there are no chunks.
    whole = {"x.ovf": files["x.ovf"], "a.vmdk": disk}
    assert content(*planted(whole, form)) == GUEST


@FORMS
def test_names_may_be_written_as_in_addresses_and_packed_ones_lose_their_suffix(form: str) -> None:
    files = {"x.ovf": described(ONE[0].replace("a.vmdk", "a%20b.vmdk"), ONE[1]), "a b.vmdk": stream(GUEST)}
    port, path = planted(files, form)
    assert content(port, path) == content(port, path, disk="a b") == GUEST
    raw = ONE[0].replace("a.vmdk", "a.img.gz").replace("/>", ' ovf:compression="gzip"/>')
    files = {"x.ovf": described(raw, ONE[1]), "a.img.gz": gzip.compress(GUEST)}
    port, path = planted(files, form)
    assert content(port, path) == GUEST
    escaping = {"x.ovf": described(ONE[0].replace("a.vmdk", "..%2Fsecret.vmdk"), ONE[1])}
    port, path = planted(escaping, form)
    port.plant_file("/secret.vmdk", stream(OTHER))
    refused(port, path, MissingImage)


def test_shadows_that_macos_makes_are_no_disks() -> None:
    port = MemoryPort()
    port.plant_file("/srv/x.box", archive({"./._box.img": b"shadow", "./box.img": GUEST}))
    assert content(port, "/srv/x.box") == GUEST


BOXES: Dict[str, Dict[str, bytes]] = {
    "libvirt": {"metadata.json": b"{}", "Vagrantfile": b"#", "box.img": GUEST},
    "virtualbox": {"box.ovf": described(*ONE), "a.vmdk": stream(GUEST), "metadata.json": b"{}"},
    "vmware": {
        "disk.vmdk": vmdk_files.text(
            "twoGbMaxExtentFlat", ['RW 40 FLAT "disk-f001.vmdk" 0', 'RW 40 FLAT "disk-f002.vmdk" 0']
        ),
        "disk-f001.vmdk": GUEST[: 40 * 512],
        "disk-f002.vmdk": GUEST[40 * 512 :],
        "box.vmx": b"x",
    },
}


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("provider", BOXES)
def test_a_box_of_any_provider_is_read_in_place(provider: str, is_packed: bool) -> None:
    port, raw = MemoryPort(), archive(BOXES[provider])
    port.plant_file("/srv/x.box", gzip.compress(raw) if is_packed else raw)
    assert content(port, "/srv/x.box") == GUEST
    assert [file for file, _seen in find_source(port, "/srv/x.box").fingerprint] == ["/srv/x.box"]


def test_a_box_with_several_disks_asks_which() -> None:
    port = MemoryPort()
    port.plant_file("/srv/x.box", archive({"box_1.img": GUEST, "box_2.img": OTHER}))
    assert "box_1.img, box_2.img" in refused(port, "/srv/x.box", BadRequest).message
    assert content(port, "/srv/x.box", disk="box_2.img") == OTHER
    assert content(port, "/srv/x.box", disk="0") == GUEST


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_box_for_parallels_holds_a_bundle(port: MemoryPort, is_packed: bool) -> None:
    port.plant_directory("/vm/m.pvm")
    disks.new_disk(port, "/vm/m.pvm/a.hdd")
    disks.write(port, "/vm/m.pvm/a.hdd", 5000, b"guest data")
    model = disks.read_naively(port, "/vm/m.pvm/a.hdd")
    files = {name[len("/vm/") :]: raw for name, raw in port.listing().items() if raw is not None}
    raw = archive({name: raw for name, raw in files.items() if name.startswith("m.pvm/")})
    port.plant_file("/srv/x.box", gzip.compress(raw) if is_packed else raw)
    source = choose_source(port, SourceRequest("/srv/x.box"))
    view = open_source(port, source)
    buffer = bytearray(view.size)
    view.pread_into(0, buffer)
    view.close()
    assert buffer == model and not any(port.opened.values())


def test_other_archives_are_named_for_what_they_are() -> None:
    port = MemoryPort()
    port.plant_file("/srv/x.tar", archive({"readme": b"x"}))
    port.plant_file("/srv/x.tar.gz", gzip.compress(archive({"box.img": GUEST})))
    port.plant_file("/srv/x.xml", b"<?xml version='1.0'?><a/>")
    assert "tar -xf /srv/x.tar" in str(refused(port, "/srv/x.tar", Unsupported))
    assert "gunzip -k /srv/x.tar.gz" in str(refused(port, "/srv/x.tar.gz", Unsupported))
    refused(port, "/srv/x.xml", Unsupported)
    assert content(port, "/srv/x.tar", format="raw")


def test_advice_for_what_is_in_a_container_names_only_what_is_on_the_host() -> None:
    inner = gzip.compress(GUEST)
    for form, step in (("ova", "tar -xf /srv/x.ova"), ("ovf", "gunzip -k /srv/b.gz")):
        files = appliance((ONE[0].replace("a.vmdk", "b.gz"), ONE[1]), **{"b.gz": inner})
        error = refused(*planted(files, form), Unsupported)
        assert (error.hint or "").endswith(f": {step}")
    damaged = appliance((ONE[0].replace("/>", ' ovf:compression="gzip"/>'), ONE[1]))
    assert refused(*planted(damaged, "ova"), Damaged).hint == "Get the whole container anew."


def test_a_container_in_a_container_is_to_be_unpacked() -> None:
    files = appliance((ONE[0].replace("a.vmdk", "in.ova"), ONE[1]), **{"in.ova": archive(appliance())})
    assert (refused(*planted(files, "ova"), Unsupported).hint or "").endswith(": tar -xf /srv/x.ova")


def test_an_export_of_xenserver_and_its_pieces_come_with_the_command_that_joins_them() -> None:
    port = MemoryPort()
    pieces = {"ova.xml": b"<value/>", "Ref:5/00000000": b"x" * 512, "Ref:5/00000002": b"y" * 512}
    port.plant_file("/srv/x.xva", archive(pieces))
    for name, content in pieces.items():
        port.plant_file(f"/srv/{name}", content)
    whole = refused(port, "/srv/x.xva", Unsupported)
    assert (whole.hint or "").endswith(": tar -xf /srv/x.xva && xva-img -p disk-export Ref:5/ disk.raw")
    piece = refused(port, "/srv/Ref:5/00000002", NotAWholeDisk)
    assert (piece.hint or "").endswith(": xva-img -p disk-export /srv/Ref:5/ /srv/Ref:5.raw")


def test_a_disk_is_no_container() -> None:
    port = MemoryPort()
    port.plant_file("/srv/x.raw", GUEST)
    assert "src_disk" in refused(port, "/srv/x.raw", BadRequest, disk="0").message


@pytest.mark.parametrize(
    "names, wanted, expected",
    [
        ([("a",)], None, 0),
        ([("a", "x"), ("b", "x")], "b", 1),
        ([("a",), ("b",)], "1", 1),
        ([("1",), ("0",)], "1", 0),
        ([("a", "x"), ("b", "x")], "x", None),
        ([("a",), ("b",)], "2", None),
        ([("a",), ("b",)], None, None),
        ([("a",)], "c", None),
    ],
)
def test_a_name_counts_more_than_a_number(names: List[Any], wanted: Optional[str], expected: Optional[int]) -> None:
    if expected is not None:
        assert chosen("/x", names, wanted) == expected
    else:
        with pytest.raises(BadRequest):
            chosen("/x", names, wanted)
