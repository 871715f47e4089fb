# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_convert, called as Ansible calls it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
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
ENGINE = "<Engine>{00000000-0000-0000-0000-000000000000}"
LAYERS = line_of_layers({0: fill(0, MIB), 1: fill(1, MIB)}, {1: fill(1, MIB, 1), 4: bytes(MIB), 7: fill(7, MIB, 1)})
RAW = fill(0, MIB) + bytes(MIB) + fill(2, 3 * MIB)
BUNDLES = {
    "expanding": {},
    "small clusters": {"cluster_size": "32K"},
    "version 2": {"format_version": "2"},
    "plain": {"subformat": "plain"},
    "split": {"split_size": "102M", "align": "1M"},
    "preallocated": {"preallocate": True},
    "preallocated plain": {"subformat": "plain", "preallocate": True},
    "not sparse": {"sparse": False},
    "not verified": {"verify": False},
    "named": {"name": "another name"},
    "aligned": {"align": "64M"},
    "with checksums": {"checksum": "sha256"},
}


DISK = dict(size_sectors=SECTORS, layers=LAYERS)


@pytest.fixture(name="raw")
def raw_fixture(root):
    put(f"{root}/a.raw", RAW)
    return f"{root}/a.raw"


def as_predicted(root, **options):
    """Three runs; checksums of a file that is not written yet cannot be predicted, so they are compared here and not
    by the helper.
    """
    before = tree(root)
    predicted = succeed("hdd_convert", check=True, **options)
    assert tree(root) == before
    done = succeed("hdd_convert", **options)
    assert without_checksums(predicted) == without_checksums(done)
    after = tree(root)
    again = three_runs("hdd_convert", root, **options).done
    assert not again["changed"] and tree(root) == after
    return done, again


def without_checksums(result):
    kept = {key: value for key, value in predictable(result).items() if key != "checksum"}
    return {**kept, "files": [{**file, "checksum": None} for file in kept["files"]]}


@pytest.mark.parametrize(
    "options",
    [{}, {"sparse": False}, {"verify": False}, {"preallocate": True}, {"checksum": "sha256"}, {"dest_format": "raw"}],
    ids=str,
)
def test_a_bundle_is_exported_as_predicted_and_only_once(root, built, options):
    done, again = as_predicted(root, src=f"{root}/a.hdd", dest=f"{root}/out.raw", **options)
    assert content(f"{root}/out.raw") == built.guest(TOP)
    assert (done["virtual_size"], done["dest_size"], done["dest"]) == (8 * MIB, 8 * MIB, f"{root}/out.raw")
    assert done["reason"].startswith("written") and again["reason"].startswith("kept")
    assert done["verified"] == options.get("verify", True)
    assert sorted(os.listdir(root)) == ["a.hdd", "out.raw"]


@pytest.mark.parametrize("shape", BUNDLES)
def test_a_raw_image_is_imported_as_predicted_and_only_once(root, raw, shape):
    done, _again = as_predicted(root, src=raw, dest=f"{root}/out.hdd", **BUNDLES[shape])
    assert done["changed"] and done["disk"]["path"] == f"{root}/out.hdd"
    succeed("hdd_convert", src=f"{root}/out.hdd", dest=f"{root}/back.raw")
    assert content(f"{root}/back.raw").rstrip(b"\0") == RAW.rstrip(b"\0")
    assert sorted(os.listdir(root)) == ["a.raw", "back.raw", "out.hdd"]


@pytest.mark.parametrize("shape", BUNDLES)
def test_an_import_returns_what_is_documented(root, raw, shape):
    for check in (True, False, False, True):
        module_docs.assert_documented(
            "hdd_convert", succeed("hdd_convert", check=check, src=raw, dest=f"{root}/out.hdd", **BUNDLES[shape])
        )


@pytest.mark.parametrize("options", [{}, {"checksum": "md5"}, {"update": "always"}, {"update": "missing"}], ids=str)
def test_an_export_returns_what_is_documented(root, built, options):
    for check in (True, False, False, True):
        module_docs.assert_documented(
            "hdd_convert", succeed("hdd_convert", check=check, src=f"{root}/a.hdd", dest=f"{root}/out.raw", **options)
        )


def test_the_source_is_never_changed(root, built):
    before = tree(f"{root}/a.hdd")
    for dest in ("out.raw", "out.hdd"):
        succeed("hdd_convert", src=f"{root}/a.hdd", dest=f"{root}/{dest}")
    assert tree(f"{root}/a.hdd") == before


def test_a_chain_becomes_one_layer(root, built):
    done, _again = as_predicted(root, src=f"{root}/a.hdd", dest=f"{root}/out.hdd")
    assert done["disk"]["depth"] == 1 and done["disk"]["used_size"] == 3 * MIB


@pytest.mark.parametrize("wanted", [guid_of(1), guid_of(1).upper(), guid_of(1).strip("{}")])
def test_a_snapshot_is_exported_by_its_guid(root, built, wanted):
    as_predicted(root, src=f"{root}/a.hdd", dest=f"{root}/out.raw", snapshot=wanted)
    assert content(f"{root}/out.raw") == built.guest(guid_of(1))


def test_a_snapshot_is_exported_by_the_name_that_it_was_taken_with(root, built):
    succeed("hdd_snapshot", path=f"{root}/a.hdd", name="before")
    as_predicted(root, src=f"{root}/a.hdd", dest=f"{root}/out.raw", snapshot="before")
    assert content(f"{root}/out.raw") == built.guest(TOP)


def test_a_snapshot_is_exported_by_the_name_that_the_machine_gives_to_it(root):
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=8, snapshots={guid_of(1): "fresh"})
    built = build_bundle(f"{root}/a.pvm/a.hdd", size_sectors=SECTORS, layers=LAYERS)
    as_predicted(root, src=f"{root}/a.pvm/a.hdd", dest=f"{root}/out.raw", snapshot="fresh")
    assert content(f"{root}/out.raw") == built.guest(guid_of(1))


@pytest.mark.parametrize("wanted", ["gone", "", "{aaaaaaaa-0000-4000-8000-000000000099}"])
def test_a_snapshot_that_the_disk_does_not_have_is_refused_with_those_that_it_has(root, built, wanted):
    result = refused(
        "hdd_convert", root, code="no_such_snapshot", src=f"{root}/a.hdd", dest=f"{root}/out.raw", snapshot=wanted
    )
    assert guid_of(1) in result["msg"] and f"{root}/a.hdd" in result["msg"]


def test_another_content_is_written_anew(root, raw):
    out = f"{root}/out.hdd"
    succeed("hdd_convert", src=raw, dest=out)
    put(raw, RAW[:-1] + b"!")
    done, _again = as_predicted(root, src=raw, dest=out)
    assert done["changed"] and done["reason"] == f"written: the content differs at byte {len(RAW) - 1}"


@pytest.mark.parametrize(
    "shape", [{"subformat": "plain"}, {"cluster_size": "64K"}, {"format_version": "2"}, {"align": "8M"}], ids=str
)
def test_another_shape_is_written_anew(root, raw, shape):
    succeed("hdd_convert", src=raw, dest=f"{root}/out.hdd")
    done, _again = as_predicted(root, src=raw, dest=f"{root}/out.hdd", **shape)
    assert done["changed"] and done["reason"].startswith("written: it")


def test_an_output_that_exists_is_enough_when_only_a_missing_one_is_written(root, raw):
    put(f"{root}/out.raw", b"anything")
    ended = three_runs("hdd_convert", root, src=raw, dest=f"{root}/out.raw", update="missing", dest_format="raw")
    assert not ended.done["changed"] and not ended.done["verified"] and ended.done["dest_size"] == 8


def test_an_output_may_be_written_each_time(root, raw):
    for _run in range(2):
        for check in (True, False):
            assert succeed("hdd_convert", check=check, src=raw, dest=f"{root}/out.hdd", update="always")["changed"]


def test_the_same_content_gives_the_same_bytes(root, raw):
    for name in ("one", "two"):
        os.mkdir(f"{root}/{name}")
        succeed("hdd_convert", src=raw, dest=f"{root}/{name}/out.hdd")
    one, two = (
        {name: content(f"{root}/{folder}/out.hdd/{name}") for name in os.listdir(f"{root}/{folder}/out.hdd")}
        for folder in ("one", "two")
    )
    assert one == two
    drawn = succeed("hdd_convert", src=raw, dest=f"{root}/out.hdd", reproducible=False)["disk"]["uid"]
    assert drawn != succeed("hdd_info", path=f"{root}/one/out.hdd")["disks"][0]["uid"]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_the_checksum_is_that_of_the_file(root, built, algorithm):
    options = {
        "src": f"{root}/a.hdd",
        "dest": f"{root}/out.raw",
        "checksum": algorithm,
        "checksum_file": f"{root}/SUMS",
    }
    done, again = as_predicted(root, **options)
    expected = hashlib.new(algorithm, built.guest(TOP)).hexdigest()
    assert done["checksum"] == again["checksum"] == done["files"][0]["checksum"] == expected
    assert content(f"{root}/SUMS").decode() == f"{expected}  out.raw\n"


def test_a_checksum_file_lists_every_part_and_is_kept_true(root, raw):
    os.mkdir(f"{root}/sums")
    put(raw, RAW[:MIB])
    os.truncate(raw, 4 * MIB)
    options = {
        "src": raw,
        "dest": f"{root}/out.hdd",
        "split_size": "102M",
        "checksum": "md5",
        "checksum_file": f"{root}/sums/list",
    }
    done, _again = as_predicted(root, **options)
    assert len(done["files"]) == 2 and "checksum" not in done
    assert content(f"{root}/sums/list").decode() == "".join(
        f"{hashlib.md5(content(file['path'])).hexdigest()}  {file['path']}\n" for file in done["files"]
    )
    put(f"{root}/sums/list", b"0123456789abcdef0123456789abcdef  another file\n")
    assert three_runs("hdd_convert", root, **options).done["changed"]


@pytest.mark.parametrize("place", ["out.raw", "a.hdd/DiskDescriptor.xml", "a.hdd/new", "link/new"])
def test_a_checksum_file_is_never_written_into_source_or_destination(root, built, place):
    os.symlink("a.hdd", f"{root}/link")
    options = {"src": f"{root}/a.hdd", "dest": f"{root}/out.raw", "checksum": "md5", "checksum_file": f"{root}/{place}"}
    assert "checksum_file: " in refused("hdd_convert", root, code="bad_request", **options)["msg"]


@pytest.mark.parametrize(("place", "code"), [("no/SUMS", "not_found"), ("a.hdd/..", "exists"), ("", "bad_request")])
def test_a_checksum_file_that_cannot_be_written_is_refused_before_the_work(root, built, place, code, monkeypatch):
    monkeypatch.chdir(root)
    options = {"src": f"{root}/a.hdd", "dest": f"{root}/out.raw", "checksum": "md5", "checksum_file": place}
    assert "checksum_file: " in refused("hdd_convert", root, code=code, **options)["msg"]


def test_the_diff_of_an_export_shows_the_sizes_and_why(root, built):
    options = {"src": f"{root}/a.hdd", "dest": f"{root}/out.raw"}
    diff = succeed("hdd_convert", check=True, **options)["diff"]
    assert diff["before"] == {} and diff["after"] == {"size": 8 * MIB, "content": "written: there was no destination"}
    assert diff["after_header"] == f"{root}/out.raw (image)"
    succeed("hdd_convert", **options)
    same = succeed("hdd_convert", **options)["diff"]
    assert same["before"] == same["after"]


def test_the_diff_of_an_import_shows_the_new_disk(root, raw):
    diff = succeed("hdd_convert", check=True, src=raw, dest=f"{root}/out.hdd")["diff"]
    assert (
        diff["before"] == {}
        and diff["after"]["virtual_size"] == 5 * MIB
        and diff["after_header"] == f"{root}/out.hdd (disk)"
    )


def test_a_raw_image_with_half_a_sector_is_filled_up_with_a_warning(root):
    put(f"{root}/odd.raw", b"x" * 700)
    done, _again = as_predicted(root, src=f"{root}/odd.raw", dest=f"{root}/out.hdd")
    assert done["virtual_size"] == 1024 and "no whole number of sectors" in warnings(done)[0]


def test_a_grown_disk_warns_of_the_backup_gpt(root, raw):
    assert (
        "because of align"
        in warnings(succeed("hdd_convert", check=True, src=raw, dest=f"{root}/out.hdd", align="64M"))[0]
    )


def test_mode_is_given_to_the_output(root, raw):
    for dest in ("out.raw", "out.hdd"):
        assert as_predicted(root, src=raw, dest=f"{root}/{dest}", mode="0600")[0]["changed"]
        assert three_runs("hdd_convert", root, src=raw, dest=f"{root}/{dest}", mode="0640").done["changed"]
    names = [f"{root}/out.raw", *(f"{root}/out.hdd/{name}" for name in os.listdir(f"{root}/out.hdd"))]
    assert {stat.S_IMODE(os.stat(name).st_mode) for name in names} == {0o640}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group_are_given_to_the_directory_as_well(root, raw):
    as_predicted(root, src=raw, dest=f"{root}/out.hdd", owner="65534", group="65534")
    assert {(os.stat(one).st_uid, os.stat(one).st_gid) for one in tree(f"{root}/out.hdd")} == {(65534, 65534)}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"src": "gone.hdd"}, "not_found", "Check the path"),
        ({"src": "empty.raw"}, "bad_request", "is empty"),
        ({"src": "fifo"}, "bad_request", "block device"),
        ({"src": "fifo", "src_format": "hdd"}, "not_a_bundle", "Name the .hdd directory"),
        ({"src": "image.qcow2"}, "damaged", "Get the file anew, or restore it from a copy."),
        ({"src": "image.gz"}, "unsupported", "gzip"),
        ({"src": "a.raw", "src_format": "hdd"}, "not_a_bundle", "Name the .hdd directory"),
        ({"src": "folder"}, "not_a_bundle", "Name the .hdd directory"),
        ({"src": ""}, "bad_request", "src: the path is empty"),
        ({"dest": ""}, "bad_request", "dest: the path is empty"),
        ({"dest": "out"}, "bad_request", "Set dest_format"),
        ({"dest": "out", "dest_format": "hdd"}, "bad_request", "Add .hdd"),
        ({"dest": "out.HDD"}, "bad_request", "Add .hdd"),
        ({"dest": "no/out.raw"}, "not_found", "Create it first"),
        ({"dest": "folder", "dest_format": "raw"}, "exists", "choose another dest"),
        ({"dest": "folder.hdd"}, "exists", "choose another dest"),
        ({"dest": "file.hdd"}, "exists", "choose another dest"),
        ({"dest": "fifo", "dest_format": "raw"}, "exists", "Choose another dest"),
        ({"dest": "broken.hdd"}, "exists", "leads nowhere"),
        ({"dest": "broken.raw"}, "exists", "leads nowhere"),
        ({"dest": "a.hdd"}, "bad_request", "Choose another dest"),
        ({"dest": "link.hdd"}, "bad_request", "Choose another dest"),
        ({"dest": ".", "dest_format": "raw"}, "bad_request", "Choose another dest"),
        ({"dest": "a.hdd/out.raw"}, "bad_request", "outside of it"),
        ({"src": "a.raw", "dest": "a.raw"}, "bad_request", "Choose another dest"),
        ({"subformat": "plain"}, "bad_request", "subformat: no option for raw"),
        (
            {"name": "b", "cluster_size": "1M", "split_size": "2G"},
            "bad_request",
            "cluster_size, split_size, name: no option for raw",
        ),
        ({"format_version": "2"}, "bad_request", "format_version: "),
        ({"src": "a.raw", "snapshot": "before"}, "bad_request", "has no snapshots"),
        ({"align": "100"}, "bad_request", "align: "),
        ({"align": "0"}, "bad_request", "align: "),
        ({"checksum_file": "SUMS"}, "bad_request", "Set checksum"),
        ({"dest": "out.hdd", "cluster_size": "3M"}, "bad_request", "cluster_size: "),
        ({"dest": "out.hdd", "cluster_size": "0"}, "bad_request", "cluster_size: "),
        ({"dest": "out.hdd", "split_size": "1M"}, "bad_request", "split_size: "),
        ({"dest": "out.hdd", "name": ""}, "bad_request", "name: "),
        ({"dest": "out.hdd", "align": "8E"}, "bad_request", "align: "),
        ({"dest": "out.hdd", "align": "4096T"}, "bad_request", "larger clusters"),
        ({"dest": "out.raw", "align": "4096T", "preallocate": True}, "no_space", "Free some space"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_with_advice(root, built, raw, options, code, words, monkeypatch):
    monkeypatch.chdir(root)
    open("empty.raw", "wb").close()
    os.mkfifo("fifo")
    os.mkdir("folder")
    os.mkdir("folder.hdd")
    put("file.hdd", b"text")
    put("image.gz", b"\x1f\x8b\x08".ljust(1024, b"x"))
    put("image.qcow2", b"QFI\xfb\0\0\0\3".ljust(1024, b"x"))
    os.symlink("a.hdd", "link.hdd")
    os.symlink("nowhere", "broken.hdd")
    os.symlink("nowhere", "broken.raw")
    result = refused("hdd_convert", root, code=code, **{"src": "a.hdd", "dest": "out.raw", **options})
    assert words in result["msg"]
    assert "" in options.values() or root in result["msg"] or f"({options.get('dest', 'out.raw')})" in result["msg"]


def test_a_layer_of_a_bundle_is_no_disk_of_its_own(root, built):
    message = refused("hdd_convert", root, code="not_a_whole_disk", src=built.files[(0, TOP)], dest=f"{root}/out.raw")[
        "msg"
    ]
    assert f"Name the bundle: {root}/a.hdd" in message


def test_an_image_by_itself_is_a_source(root):
    build_hds(f"{root}/single.hds", size_sectors=SECTORS, clusters={3: fill(3, MIB)})
    as_predicted(root, src=f"{root}/single.hds", dest=f"{root}/out.raw")
    assert content(f"{root}/out.raw") == bytes(3 * MIB) + fill(3, MIB) + bytes(4 * MIB)


def test_what_looks_like_another_format_is_raw_only_when_that_is_said(root):
    put(f"{root}/image", b"QFI\xfb\0\0\0\3".ljust(1024, b"x"))
    message = refused("hdd_convert", root, code="damaged", src=f"{root}/image", dest=f"{root}/out.hdd")["msg"]
    assert message.endswith("Get the file anew, or restore it from a copy.")
    assert as_predicted(root, src=f"{root}/image", dest=f"{root}/out.hdd", src_format="raw")[0]["changed"]


def test_an_output_with_snapshots_is_replaced_only_with_force(root, built, raw):
    assert "force: true" in refused("hdd_convert", root, code="has_snapshots", src=raw, dest=f"{root}/a.hdd")["msg"]
    done, _again = as_predicted(root, src=raw, dest=f"{root}/a.hdd", force=True)
    assert done["disk"]["snapshots"] == [] and done["diff"]["before"]["snapshots"] == [f"{guid_of(1)} <- current"]


def test_a_dirty_output_is_replaced_only_with_force(root, raw):
    image = build_bundle(f"{root}/out.hdd", size_sectors=SECTORS, layers=[Layer(TOP)]).files[(0, TOP)]
    with open(image, "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
    assert "force: true" in refused("hdd_convert", root, code="dirty", src=raw, dest=f"{root}/out.hdd")["msg"]
    assert as_predicted(root, src=raw, dest=f"{root}/out.hdd", force=True)[0]["changed"]


def test_a_damaged_output_is_replaced_by_force_only(root, raw):
    succeed("hdd_convert", src=raw, dest=f"{root}/out.hdd")
    put(f"{root}/out.hdd/DiskDescriptor.xml", b"<")
    assert "force: true" in refused("hdd_convert", root, code="damaged", src=raw, dest=f"{root}/out.hdd")["msg"]
    done, _again = as_predicted(root, src=raw, dest=f"{root}/out.hdd", force=True)
    assert done["changed"] and done["reason"] == "written: the destination is damaged"


def test_an_encrypted_source_is_refused(root, built):
    text = content(built.descriptor).decode()
    put(built.descriptor, text.replace(ENGINE, ENGINE.replace("00000000-", "2df8d6f2-")).encode())
    refused("hdd_convert", root, code="encrypted", src=f"{root}/a.hdd", dest=f"{root}/out.raw")


def test_an_image_outside_of_the_bundle_is_read_only_when_that_is_allowed(root, built):
    outside = built.files[(0, guid_of(1))]
    build_bundle(f"{root}/clone.hdd", size_sectors=SECTORS, layers=[Layer(TOP, file=outside)], images=False)
    assert (
        "allow_outside"
        in refused("hdd_convert", root, code="escape", src=f"{root}/clone.hdd", dest=f"{root}/out.raw")["msg"]
    )
    as_predicted(root, src=f"{root}/clone.hdd", dest=f"{root}/out.raw", allow_outside=True)
    assert content(f"{root}/out.raw") == built.guest(guid_of(1))


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_a_held_output_is_refused_in_check_mode_as_well(root, built, raw):
    put(f"{root}/out.raw", b"old")
    for held, options in (
        (f"{root}/out.raw", {"src": f"{root}/a.hdd", "dest": f"{root}/out.raw"}),
        (f"{root}/a.hdd", {"src": raw, "dest": f"{root}/a.hdd"}),
    ):
        descriptor = os.open(held, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            assert str(os.getpid()) in refused("hdd_convert", root, code="in_use", force=True, **options)["msg"]
        finally:
            os.close(descriptor)


@pytest.mark.parametrize("spelling", ["{0}/", "{0}/DiskDescriptor.xml", "{0}/a.hdd", "a.hdd", "~/a.hdd"])
def test_a_source_may_be_named_in_many_ways(root, built, spelling, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", root)
    as_predicted(root, src=spelling.format(f"{root}/a.hdd"), dest="out \u00fc.raw")
    assert content(f"{root}/out \u00fc.raw") == built.guest(TOP)


@pytest.mark.parametrize(
    "options", [{"src_format": "qed"}, {"dest_format": "ova"}, {"update": "never"}, {"checksum": "crc"}], ids=str
)
def test_what_is_not_built_is_not_offered(root, raw, options):
    before = tree(root)
    assert run("hdd_convert", src=raw, dest=f"{root}/out.hdd", **options).failed
    assert tree(root) == before


def test_what_an_interrupted_run_left_is_cleared_by_the_next(root, raw):
    put(f"{root}/.out.raw.vdisk-00c0ffee.tmp", b"half")
    result = succeed("hdd_convert", src=raw, dest=f"{root}/out.raw")
    assert sorted(os.listdir(root)) == ["a.raw", "out.raw"] and any(
        "interrupted run" in text for text in warnings(result)
    )


def names(disk):
    ordered = sorted(disk["snapshots"], key=lambda one: one["depth"])
    return [(one["guid"], one["name"], one["description"]) for one in ordered]


def test_a_chain_keeps_the_names_of_its_snapshots(root):
    path, out = f"{root}/a.hdd", f"{root}/out.hdd"
    succeed("hdd", path=path, size="8M")
    succeed("hdd_snapshot", path=path, name="clean", description="as \u00fc shipped")
    succeed("hdd_snapshot", path=path, name="before-upgrade")
    had = names(succeed("hdd_info", path=path)["disks"][0])
    done, again = as_predicted(root, src=path, dest=out, chain="preserve")
    assert names(done["disk"]) == had and [one[1] for one in had] == ["clean", "before-upgrade"]
    assert not again["changed"] and not warnings(again)
    first = content(f"{out}/vdisk-snapshots.json")
    succeed("hdd_snapshot", path=out, name="clean", state="reverted")
    # The same names and content, the same bytes.
    succeed("hdd_convert", src=path, dest=f"{root}/second.hdd", chain="preserve", name="out")
    assert content(f"{root}/second.hdd/vdisk-snapshots.json") == first
    done = succeed("hdd_convert", src=path, dest=f"{root}/flat.hdd")
    assert done["disk"]["snapshots"] == [] and not os.path.exists(f"{root}/flat.hdd/vdisk-snapshots.json")


def test_a_chain_that_stays_tells_of_names_that_it_lacks(root):
    path, out = f"{root}/a.hdd", f"{root}/out.hdd"
    succeed("hdd", path=path, size="8M")
    succeed("hdd_snapshot", path=path, name="clean")
    succeed("hdd_convert", src=path, dest=out, chain="preserve")
    os.unlink(f"{out}/vdisk-snapshots.json")
    kept = succeed("hdd_convert", src=path, dest=out, chain="preserve")
    assert not kept["changed"] and [text for text in warnings(kept) if "other names" in text]
    done = succeed("hdd_convert", src=path, dest=out, chain="preserve", update="always", force=True)
    assert [one["name"] for one in done["disk"]["snapshots"]] == ["clean"] and not warnings(done)


def test_a_machine_whose_disk_is_replaced_by_a_larger_one_is_told_of(root):
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=8)
    path = f"{root}/a.pvm/a.hdd"
    put(f"{root}/small.raw", RAW)
    done = succeed("hdd_convert", src=f"{root}/small.raw", dest=path)
    (told,) = [text for text in warnings(done) if "config.pvs" in text]
    assert "8 MiB" in told and "5 MiB" in told and "repair: safe" in told
    mended = three_runs("hdd_check", root, path=path, repair="safe").done
    assert [one["code"] for one in mended["findings"] if one["repaired"]] == ["vm_size"]
    assert not [text for text in warnings(succeed("hdd_convert", src=f"{root}/small.raw", dest=path)) if text]


@pytest.fixture(name="damaged")
def damaged_fixture(root):
    """A bundle whose descriptor was cut: nobody can read it, and all of it may be needed."""
    made = build_bundle(f"{root}/cut.hdd", **DISK)
    os.truncate(made.descriptor, 300)
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_a_damaged_destination_that_somebody_holds_stays_whatever_is_forced(root, raw, damaged):
    for held in (damaged.directory, damaged.files[(0, TOP)]):
        descriptor = os.open(held, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            refused("hdd_convert", root, code="in_use", src=raw, dest=damaged.directory, force=True)
        finally:
            os.close(descriptor)
    assert succeed("hdd_convert", src=raw, dest=damaged.directory, force=True)["changed"]


@pytest.mark.parametrize("name", ["other.hdd", "keep.hds", ".vdisk-journal-x"])
def test_what_was_moved_into_a_damaged_destination_stays_whatever_is_forced(root, raw, damaged, name):
    build_bundle(f"{damaged.directory}/{name}", **DISK)
    result = refused("hdd_convert", root, code="unsupported", src=raw, dest=damaged.directory, force=True)
    assert name in result["msg"] and "Move them away" in result["msg"]


@pytest.mark.parametrize("format", ["raw", "qcow2", "hdd"])
@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
def test_nothing_is_written_into_a_bundle(root, built, raw, format, force):
    places = [f"{built.directory}/new.hdd"] if format == "hdd" else [*built.files.values(), built.descriptor, "new"]
    for place in places:
        dest = os.path.join(built.directory, place)
        result = refused("hdd_convert", root, code="exists", src=raw, dest=dest, dest_format=format, force=force)
        assert f"Choose a place outside of {built.directory}" in result["msg"]


def test_neither_a_view_nor_checksums_are_written_into_a_bundle(root, built, raw):
    other = build_bundle(f"{root}/b.hdd", **DISK)
    for dest in (other.files[(0, TOP)], other.descriptor, f"{other.directory}/new"):
        for options in (
            {"src": built.directory, "dest": dest, "dest_format": "vmdk", "subformat": "view"},
            {"src": raw, "dest": f"{root}/out.raw", "checksum": "md5", "checksum_file": dest},
        ):
            message = refused("hdd_convert", root, code="exists", **options)["msg"]
            assert f"Choose a place outside of {other.directory}" in message and "emove" not in message


@pytest.mark.parametrize("mark", [b"QFI\xfb\0\0\0\3", b"WithoutFreeSpace", b"<?xml version='1.0'?>", b"KDMV"], ids=repr)
def test_a_raw_image_takes_the_place_of_no_other_file_unless_forced(root, raw, mark):
    put(f"{root}/out.raw", mark.ljust(4096, b"\0"))
    options = {"src": raw, "dest": f"{root}/out.raw"}
    assert "force: true" in refused("hdd_convert", root, code="exists", **options)["msg"]
    assert not succeed("hdd_convert", **options, update="missing")["changed"]
    assert succeed("hdd_convert", **options, force=True)["changed"] and content(f"{root}/out.raw") == RAW


def test_a_link_in_the_place_of_a_bundle_gives_way_as_predicted_and_what_it_leads_to_stays(root, built, raw):
    os.symlink(built.directory, f"{root}/link.hdd")
    before = tree(built.directory)
    as_predicted(root, src=raw, dest=f"{root}/link.hdd", force=True)
    assert tree(built.directory) == before and not os.path.islink(f"{root}/link.hdd")


def test_a_link_to_a_bundle_that_is_good_is_kept(root, raw):
    succeed("hdd_convert", src=raw, dest=f"{root}/out.hdd")
    os.symlink("out.hdd", f"{root}/link.hdd")
    ended = three_runs("hdd_convert", root, src=raw, dest=f"{root}/link.hdd")
    assert not ended.done["changed"] and os.path.islink(f"{root}/link.hdd")


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
@pytest.mark.parametrize(
    "options",
    [
        {"dest_format": "raw"},
        {"dest_format": "qcow2"},
        {"dest_format": "vmdk", "subformat": "view"},
        {"dest_format": "raw", "snapshot": guid_of(1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("held", ["a.hdd", "image"])
def test_a_source_that_somebody_keeps_by_a_flock_is_read_with_a_warning(root, built, options, held):
    descriptor = os.open(f"{root}/a.hdd" if held == "a.hdd" else built.files[(0, guid_of(1))], os.O_RDONLY)
    try:
        for kind, is_told in ((fcntl.LOCK_SH, False), (fcntl.LOCK_EX, True)):
            fcntl.flock(descriptor, kind)
            for check in (True, False):
                dest = f"{root}/out {kind}"
                result = succeed("hdd_convert", check=check, src=f"{root}/a.hdd", dest=dest, **options)
                assert any(f"pid {os.getpid()}" in text for text in warnings(result)) is is_told
    finally:
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
def test_a_foreign_source_that_somebody_keeps_by_a_flock_is_read_with_a_warning(root, raw):
    with open(raw, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert "by a flock" in " ".join(warnings(succeed("hdd_convert", src=raw, dest=f"{root}/out.hdd")))
    assert "by a flock" not in " ".join(warnings(succeed("hdd_convert", src=raw, dest=f"{root}/two.hdd")))
