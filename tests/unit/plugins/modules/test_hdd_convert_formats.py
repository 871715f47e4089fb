# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_convert from and to images of other products, called as Ansible calls it."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import zlib

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import (
    content,
    predictable,
    put,
    refused,
    run,
    succeed,
    three_runs,
    tree,
    warnings,
)

MIB = 1 << 20
SECTORS = 2048 * 8
LAYERS = line_of_layers(
    {0: fill(0, MIB), 1: fill(1, MIB), 5: fill(5, MIB)},
    {1: fill(1, MIB, 1), 5: bytes(MIB)},
    {1: bytes(4096) + fill(2, MIB - 4096), 7: fill(7, MIB)},
)
KINDS = {
    "qcow2": {"dest": "out.qcow2"},
    "qcow2 v2": {"dest": "out.qcow2", "format_version": "2"},
    "qcow2 zlib": {"dest": "out.qcow2", "compression": "zlib", "compression_level": 9},
    "qcow2 clusters": {"dest": "out.qcow2", "cluster_size": "4K"},
    "vmdk": {"dest": "out.vmdk"},
    "vmdk ide": {"dest": "out.vmdk", "adapter_type": "ide", "cluster_size": "32K"},
    "vmdk stream": {"dest": "out.vmdk", "subformat": "streamOptimized"},
    "vmdk flat": {"dest": "out.vmdk", "subformat": "monolithicFlat", "preallocate": True},
    "vmdk split": {"dest": "out.vmdk", "subformat": "twoGbMaxExtentSparse"},
    "vmdk split flat": {"dest": "out.vmdk", "subformat": "twoGbMaxExtentFlat"},
    "vhd": {"dest": "out.vhd"},
    "vhd fixed": {"dest": "out.vhd", "subformat": "fixed", "preallocate": True},
    "vhd azure": {"dest": "out.vhd", "azure": True},
    "vhd blocks": {"dest": "out.vhd", "cluster_size": "512K"},
    "vhdx": {"dest": "out.vhdx"},
    "vhdx fixed": {"dest": "out.vhdx", "subformat": "fixed"},
    "vdi": {"dest": "out.vdi"},
    "vdi fixed": {"dest": "out.vdi", "subformat": "fixed", "preallocate": True},
    "named by option": {"dest": "out.bin", "dest_format": "vdi"},
    "not sparse": {"dest": "out.qcow2", "sparse": False},
}
CHAINS = {
    "qcow2": {"dest": "out.qcow2"},
    "qcow2 v2": {"dest": "out.qcow2", "format_version": "2"},
    "qcow2 zlib": {"dest": "out.qcow2", "compression": "zlib"},
    "vmdk": {"dest": "out.vmdk"},
    "vhd": {"dest": "out.vhd"},
    "vhd said so": {"dest": "out.vhd", "subformat": "differencing"},
    "vhd fixed": {"dest": "out.vhd", "subformat": "fixed"},
    "vhdx": {"dest": "out.vhdx"},
    "hdd": {"dest": "out.hdd"},
    "hdd plain": {"dest": "out.hdd", "subformat": "plain"},
    "hdd split": {"dest": "out.hdd", "split_size": "102M"},
}


DISK = dict(size_sectors=SECTORS, layers=LAYERS)


def as_predicted(root, options):
    """Check mode changes nothing and foretells the run but for checksums of what is not written; another run changes
    nothing.
    """
    before = tree(root)
    predicted = succeed("hdd_convert", check=True, **options)
    assert tree(root) == before
    done = succeed("hdd_convert", **options)
    assert without_checksums(predicted) == without_checksums(done)
    return predicted, done, three_runs("hdd_convert", root, **options).done


def without_checksums(result):
    kept = {key: value for key, value in predictable(result).items() if key != "checksum"}
    return {**kept, "files": [(one["path"], one["size"]) for one in kept["files"]]}


def converted(root, options, **more):
    full = {"src": f"{root}/a.hdd", **options, **more}
    full["dest"] = f"{root}/{full['dest']}"
    return full


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_goes_to_every_format_and_back(root, built, kind):
    options = converted(root, KINDS[kind], checksum="sha256")
    predicted, done, again = as_predicted(root, options)
    assert predicted["changed"] and done["changed"] and not again["changed"]
    assert again["reason"] == "kept: shape and content are the same"
    assert predictable(predicted)["virtual_size"] == done["virtual_size"] == 8 * MIB
    assert [(one["path"], one["size"]) for one in predicted["files"]] == [
        (one["path"], one["size"]) for one in done["files"]
    ]
    for one in done["files"]:
        assert hashlib.sha256(content(one["path"])).hexdigest() == one["checksum"]
        assert os.stat(one["path"]).st_size == one["size"]
    assert {(one["path"], one["checksum"]) for one in done["files"]} == {
        (one["path"], one["checksum"]) for one in again["files"]
    }
    back = succeed("hdd_convert", src=options["dest"], dest=f"{root}/back.raw")
    assert back["changed"] and content(f"{root}/back.raw") == built.guest(TOP)
    # The other way round it is a source for bundles.
    succeed("hdd_convert", src=options["dest"], dest=f"{root}/back.hdd")
    assert "kept" in succeed("hdd_convert", src=f"{root}/back.hdd", dest=f"{root}/back.raw")["reason"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_content_and_options_give_the_same_bytes(root, built, kind):
    first = succeed("hdd_convert", **converted(root, KINDS[kind]))
    bytes_of_first = {os.path.basename(one["path"]): content(one["path"]) for one in first["files"]}
    for one in first["files"]:
        os.remove(one["path"])
    # The same disk, stored otherwise.
    succeed("hdd_convert", src=f"{root}/a.hdd", dest=f"{root}/b.hdd", cluster_size="64K", format_version="2")
    second = succeed("hdd_convert", **converted(root, KINDS[kind], src=f"{root}/b.hdd"))
    assert {os.path.basename(one["path"]): content(one["path"]) for one in second["files"]} == bytes_of_first


@pytest.mark.parametrize("kind", ["vmdk", "vhd", "vhdx", "vdi"])
def test_ids_are_drawn_when_asked_and_differ_between_disks(root, built, kind):
    name = f"out.{kind}"
    seen = []
    for options in ({}, {"reproducible": False}, {"reproducible": False}, {"snapshot": guid_of(1)}):
        succeed("hdd_convert", **converted(root, {"dest": name}, update="always", **options))
        seen.append(content(f"{root}/{name}"))
    assert len(set(seen)) == 4


def test_times_come_from_the_environment(root, built, monkeypatch):
    succeed("hdd_convert", **converted(root, {"dest": "out.vhd"}))
    assert struct.unpack(">I", content(f"{root}/out.vhd")[-512 + 24 : -512 + 28]) == (0,)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(946_684_800 + 5))
    succeed("hdd_convert", **converted(root, {"dest": "out.vhd"}, update="always"))
    assert struct.unpack(">I", content(f"{root}/out.vhd")[-512 + 24 : -512 + 28]) == (5,)


@pytest.mark.parametrize("kind", CHAINS)
def test_layers_are_kept_and_come_back(root, built, kind):
    options = converted(root, CHAINS[kind], chain="preserve")
    predicted, done, again = as_predicted(root, options)
    assert [(one["path"], one["size"]) for one in predicted["files"]] == [
        (one["path"], one["size"]) for one in done["files"]
    ]
    assert not again["changed"]
    views = [built.guest(guid) for guid in (TOP, guid_of(2), guid_of(1))]
    # Back into a bundle with snapshots, and from there each of them on its own.
    succeed("hdd_convert", src=options["dest"], dest=f"{root}/back.hdd", chain="preserve", backing=True)
    snapshots = succeed("hdd_info", path=f"{root}/back.hdd")["disks"][0]["snapshots"]
    layers = sorted((one for one in snapshots), key=lambda one: -one["depth"])
    # The top layer is no snapshot of its own; what is below it is.
    names = [None] + [one["guid"] for one in layers]
    assert len(names) == 3
    for name, expected in zip(names, views):
        chosen = {} if name is None else {"snapshot": name}
        succeed("hdd_convert", src=f"{root}/back.hdd", dest=f"{root}/view.raw", **chosen)
        assert content(f"{root}/view.raw") == expected


def test_snapshots_of_a_bundle_keep_their_guids(root, built):
    succeed("hdd_convert", src=f"{root}/a.hdd", dest=f"{root}/b.hdd", chain="preserve")
    one, other = (succeed("hdd_info", path=f"{root}/{name}.hdd")["disks"][0]["snapshots"] for name in "ab")
    assert [(snapshot["guid"], snapshot["parent"]) for snapshot in one] == [
        (snapshot["guid"], snapshot["parent"]) for snapshot in other
    ]


def test_a_snapshot_is_where_a_chain_may_start(root, built):
    succeed("hdd_convert", src=f"{root}/a.hdd", dest=f"{root}/out.qcow2", chain="preserve", snapshot=guid_of(2))
    assert sorted(os.listdir(root)) == ["a.hdd", "out.layer0.qcow2", "out.qcow2"]
    succeed("hdd_convert", src=f"{root}/out.qcow2", dest=f"{root}/view.raw", backing=True)
    assert content(f"{root}/view.raw") == built.guest(guid_of(2))


@pytest.mark.parametrize("kind", ["vmdk flat", "vmdk split"])
def test_pieces_of_a_replaced_image_go_with_it(root, built, kind):
    options = converted(root, KINDS[kind])
    first = succeed("hdd_convert", **options)
    changed = succeed("hdd_convert", **options, snapshot=guid_of(1))
    assert changed["reason"].startswith("written: the content differs at byte ")
    files = {os.path.basename(one["path"]) for one in changed["files"]}
    assert set(os.listdir(root)) == files | {"a.hdd"}
    assert not files & {os.path.basename(one["path"]) for one in first["files"]} - {"out.vmdk"}
    succeed("hdd_convert", src=options["dest"], dest=f"{root}/view.raw")
    assert content(f"{root}/view.raw") == built.guest(guid_of(1))
    # An image of one file that takes the place of several leaves none of them.
    succeed("hdd_convert", src=f"{root}/a.hdd", dest=options["dest"])
    assert set(os.listdir(root)) == {"a.hdd", "out.vmdk", "view.raw"}


def test_a_chain_is_replaced_only_with_force_and_takes_only_its_own_layers_along(root, built):
    options = converted(root, {"dest": "out.qcow2"}, chain="preserve")
    succeed("hdd_convert", **options)
    assert (
        "force: true"
        in refused("hdd_convert", root, code="has_snapshots", **{**options, "snapshot": guid_of(2)})["msg"]
    )
    put(f"{root}/out-of-the-way", b"not ours")
    succeed("hdd_convert", **{**options, "snapshot": guid_of(2)}, force=True)
    assert sorted(os.listdir(root)) == ["a.hdd", "out-of-the-way", "out.2.layer0.qcow2", "out.qcow2"]


def test_an_overlay_is_read_only_when_that_is_allowed(root, built):
    succeed("hdd_convert", **converted(root, {"dest": "out.qcow2"}, chain="preserve"))
    assert (
        "backing: true"
        in refused("hdd_convert", root, code="bad_request", src=f"{root}/out.qcow2", dest=f"{root}/x.raw")["msg"]
    )
    os.remove(f"{root}/out.layer0.qcow2")
    message = refused(
        "hdd_convert", root, code="missing_image", src=f"{root}/out.qcow2", dest=f"{root}/x.raw", backing=True
    )["msg"]
    assert "out.layer0.qcow2" in message


def test_a_changed_parent_is_noticed(root, built):
    succeed("hdd_convert", **converted(root, {"dest": "out.vhdx"}, chain="preserve"))
    succeed("hdd_convert", src=f"{root}/a.hdd", dest=f"{root}/out.layer0.vhdx", force=True, update="always")
    refused("hdd_convert", root, code="damaged", src=f"{root}/out.vhdx", dest=f"{root}/x.raw", backing=True)


def test_the_source_must_not_be_a_part_of_what_is_replaced(root, built):
    succeed("hdd_convert", **converted(root, {"dest": "out.qcow2"}, chain="preserve"))
    message = refused(
        "hdd_convert", root, code="bad_request", src=f"{root}/out.layer0.qcow2", dest=f"{root}/out.qcow2", force=True
    )["msg"]
    assert "files of the source" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dest": "o.qcow2", "subformat": "dynamic"}, "subformat: no option for qcow2"),
        ({"dest": "o.qcow2", "split_size": "1G"}, "split_size: no option for qcow2"),
        ({"dest": "o.qcow2", "format_version": "1"}, "format_version: qcow2 has no version 1"),
        ({"dest": "o.qcow2", "format_version": "2", "compression": "zstd"}, "zstd needs format_version 3"),
        ({"dest": "o.qcow2", "cluster_size": "3K"}, "cluster_size: qcow2 cannot have clusters"),
        ({"dest": "o.qcow2", "cluster_size": "4M"}, "cluster_size: qcow2 cannot have clusters"),
        ({"dest": "o.qcow2", "compression_level": 3}, "compression_level: nothing is compressed"),
        ({"dest": "o.qcow2", "compression": "zlib", "compression_level": 99}, "compression_level: "),
        ({"dest": "o.qcow2", "preallocate": True}, "preallocate: "),
        ({"dest": "o.qcow2", "azure": True}, "azure: no option for qcow2"),
        ({"dest": "o.vmdk", "subformat": "dynamic"}, "subformat: dynamic does not go with vmdk"),
        ({"dest": "o.vmdk", "compression": "zlib"}, "compression: zlib does not go with monolithicSparse"),
        (
            {"dest": "o.vmdk", "subformat": "streamOptimized", "compression": "zstd"},
            "compression: zstd does not go with streamOptimized",
        ),
        ({"dest": "o.vmdk", "subformat": "monolithicFlat", "cluster_size": "64K"}, "cluster_size: "),
        ({"dest": "o.vmdk", "subformat": "monolithicFlat", "chain": "preserve"}, "chain: only monolithicSparse"),
        ({"dest": "o.vhd", "subformat": "differencing"}, "Set chain: preserve"),
        ({"dest": "o.vhd", "azure": True, "align": "512"}, "Azure takes only whole mebibytes"),
        ({"dest": "o.vhd", "azure": True, "subformat": "dynamic"}, "Azure takes only fixed disks"),
        ({"dest": "o.vhd", "adapter_type": "ide"}, "adapter_type: no option for vhd"),
        ({"dest": "o.vhd", "align": "4T"}, "2040 GiB"),
        ({"dest": "o.vdi", "cluster_size": "1M"}, "cluster_size: no option for vdi"),
        ({"dest": "o.vdi", "chain": "preserve"}, "chain: vdi has no images on other images"),
        ({"dest": "o.raw", "chain": "preserve"}, "chain: a raw image holds no layers"),
        ({"dest": "o.hdd", "subformat": "fixed"}, "subformat: a bundle is expanding or plain"),
        ({"dest": "o.hdd", "format_version": "3"}, "format_version: hdd has no version 3"),
        ({"dest": "o.hdd", "compression": "zlib"}, "compression: no option for hdd"),
        ({"dest": "o.raw", "compression_level": 9}, "compression_level: no option for raw"),
        ({"dest": "o.vmdk", "subformat": "streamOptimized", "compression_level": 0}, "compression_level: "),
        ({"dest": "o.vmdk", "subformat": "streamOptimized", "sparse": False}, "sparse: "),
        ({"dest": "o.qcow2", "chain": "preserve", "sparse": False}, "sparse: "),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(root, built, options, words):
    assert words in refused("hdd_convert", root, code="bad_request", **converted(root, options))["msg"]


def test_a_file_of_another_kind_is_replaced_only_with_force(root, built):
    put(f"{root}/out.qcow2", b"something that somebody may need")
    assert (
        "force: true" in refused("hdd_convert", root, code="damaged", **converted(root, {"dest": "out.qcow2"}))["msg"]
    )
    assert (
        succeed("hdd_convert", **converted(root, {"dest": "out.qcow2"}, update="missing"))["reason"]
        == "kept: the destination exists"
    )
    assert (
        succeed("hdd_convert", **converted(root, {"dest": "out.qcow2"}, force=True))["reason"]
        == "written: the destination cannot be read"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cluster_size": "128K"}, "its cluster_size is 65536 instead of 131072"),
        ({"format_version": "2"}, "its format_version is 3 instead of 2"),
        ({"compression": "zlib"}, "its compression is none instead of zlib"),
        ({"align": "16M"}, "the destination's disk has 8388608 bytes instead of 16777216"),
        ({"chain": "preserve"}, "the destination consists of 1 layers instead of 3"),
    ],
    ids=str,
)
def test_the_reason_says_in_which_way_an_output_is_of_another_shape(root, built, options, words):
    succeed("hdd_convert", **converted(root, {"dest": "out.qcow2"}))
    assert succeed("hdd_convert", **converted(root, {"dest": "out.qcow2"}, **options))["reason"] == f"written: {words}"


def test_incompressible_data_are_not_written_anew_for_the_sake_of_compression(root):
    put(f"{root}/a.raw", os.urandom(MIB))
    options = {"src": f"{root}/a.raw", "dest": f"{root}/out.qcow2", "compression": "zlib"}
    succeed("hdd_convert", **options)
    assert not succeed("hdd_convert", **options)["changed"]


def test_a_checksum_file_lists_every_file(root, built):
    done = succeed(
        "hdd_convert",
        **converted(
            root, {"dest": "out.vmdk"}, subformat="monolithicFlat", checksum="sha256", checksum_file=f"{root}/SUMS"
        ),
    )
    assert content(f"{root}/SUMS").decode().splitlines() == [
        f"{one['checksum']}  {os.path.basename(one['path'])}" for one in done["files"]
    ]
    assert "checksum" not in done


def test_a_disk_that_grows_by_align_names_what_is_stranded(root, built):
    done = succeed("hdd_convert", **converted(root, {"dest": "out.vhd"}, align="16M"))
    assert any("grows from 8388608 to 16777216 bytes because of align" in text for text in warnings(done))


def test_a_disk_with_a_guid_partition_table_that_grows_is_told_where_its_backup_is_left(root):
    entries = bytes(128 * 128)
    header = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        b"EFI PART",
        0x10000,
        92,
        0,
        0,
        1,
        16383,
        34,
        16350,
        bytes(16),
        2,
        128,
        128,
        zlib.crc32(entries),
    )
    header = header[:16] + struct.pack("<I", zlib.crc32(header)) + header[20:]
    protective = (
        bytes(446) + struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xEE, 255, 255, 255, 1, 16383) + bytes(48) + b"\x55\xaa"
    )
    put(f"{root}/a.raw", (protective + header.ljust(512, b"\0") + entries).ljust(8 * MIB, b"\0"))
    done = succeed("hdd_convert", src=f"{root}/a.raw", dest=f"{root}/out.vhd", align="16M")
    assert any(f"the backup GPT header stays at byte {8 * MIB - 512}" in text for text in warnings(done))


def test_what_an_interrupted_run_left_of_several_files_is_cleared_by_the_next(root, built):
    options = converted(root, {"dest": "out.vmdk"}, subformat="monolithicFlat")
    staging = f"{root}/.out.vmdk.vdisk-00c0ffee.tmp"
    os.mkdir(staging)
    put(f"{staging}/out.vmdk", b"half")
    done = succeed("hdd_convert", **options)
    assert any("interrupted run" in text for text in warnings(done))
    assert sorted(os.listdir(root)) == ["a.hdd", "out-flat.vmdk", "out.vmdk"]


def test_what_lies_behind_a_link_is_somebody_elses(root, built):
    os.mkdir(f"{root}/store")
    succeed("hdd_convert", **converted(root, {"dest": "disk.layer0.qcow2"}))
    os.symlink("disk.layer0.qcow2", f"{root}/disk.qcow2")
    succeed("hdd_convert", **converted(root, {"dest": "disk.qcow2"}, snapshot=guid_of(1)))
    assert os.path.exists(f"{root}/disk.layer0.qcow2")


def test_an_image_with_snapshots_inside_is_replaced_only_with_force(root, built):
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img makes such snapshots (package qemu-utils)")
    succeed("hdd_convert", **converted(root, {"dest": "out.qcow2"}))
    subprocess.run(["qemu-img", "snapshot", "-c", "precious", f"{root}/out.qcow2"], check=True)
    options = converted(root, {"dest": "out.qcow2"}, snapshot=guid_of(1))
    assert "snapshots of its own" in refused("hdd_convert", root, code="has_snapshots", **options)["msg"]
    assert succeed("hdd_convert", **options, force=True)["changed"]


def test_the_checksum_file_never_takes_the_place_of_anything_else(root, built):
    succeed("hdd_convert", **converted(root, {"dest": "chain.qcow2"}, chain="preserve"))
    options = {
        "src": f"{root}/chain.qcow2",
        "dest": f"{root}/out.vmdk",
        "backing": True,
        "subformat": "monolithicFlat",
        "checksum": "sha256",
    }
    put(f"{root}/notes", b"not a checksum\n")
    for name, words in (
        ("chain.layer0.qcow2", "part of src or dest"),
        ("out-flat.vmdk", "a file of its own"),
        ("notes", "holds no checksums"),
    ):
        failed = run("hdd_convert", **options, checksum_file=f"{root}/{name}")
        assert failed.failed and words in failed.result["msg"]
    assert content(f"{root}/notes") == b"not a checksum\n"
    succeed("hdd_convert", **options, checksum_file=f"{root}/SUMS")
    assert not succeed("hdd_convert", **options, checksum_file=f"{root}/SUMS")["changed"]


def test_two_blank_disks_have_two_identities(root):
    succeed("hdd", path=f"{root}/a.hdd", size="8M")
    for kind in ("vdi", "vhd", "vhdx"):
        for name in ("one", "two"):
            succeed("hdd_convert", src=f"{root}/a.hdd", dest=f"{root}/{name}.{kind}")
        assert content(f"{root}/one.{kind}") != content(f"{root}/two.{kind}")


def test_check_mode_leaves_no_trace(root, built):
    before = tree(root)
    for options in CHAINS.values():
        succeed("hdd_convert", check=True, **converted(root, options, chain="preserve"))
    assert tree(root) == before
