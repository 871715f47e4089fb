# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd, called as Ansible calls it."""

from __future__ import annotations

import fcntl
import os
import stat
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import (
    refused,
    run,
    succeed,
    three_runs,
    tree,
    warnings,
)

MIB = 1 << 20
SHAPES = {
    "expanding": (
        {"size": "64M"},
        {"type": "expanding", "virtual_size": 64 * MIB, "format_version": 1, "cluster_size": MIB, "split": False},
    ),
    "small clusters": ({"size": "3M", "cluster_size": "32K"}, {"cluster_size": 32768, "virtual_size": 3 * MIB}),
    "version 2": ({"size": "64M", "format_version": "2"}, {"format_version": 2}),
    "large": ({"size": "16T"}, {"virtual_size": 16 << 40, "format_version": 2}),
    "plain": ({"size": "3M", "type": "plain"}, {"type": "plain", "format_version": None, "file_size": 3 * MIB}),
    "split": ({"size": "300M", "split_size": "200M"}, {"split": True, "virtual_size": 300 * MIB}),
    "split plain": ({"size": "5M", "type": "plain", "split_size": "102M"}, {"split": True, "file_size": 5 * MIB}),
    "preallocated": ({"size": "3M", "preallocate": True}, {"type": "expanding", "used_size": 3 * MIB}),
    "preallocated plain": ({"size": "3M", "type": "plain", "preallocate": True}, {"type": "plain"}),
    "named": ({"size": "3M", "name": "a <b> & \u00fc"}, {"name": "a <b> & \u00fc"}),
}


@pytest.fixture(name="disk")
def disk_fixture(path):
    succeed("hdd", path=path, size="3M")
    return path


def mark_in_use(image):
    with open(image, "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")


def image_of(disk):
    return f"{disk}/a.hdd.0.{TOP}.hds"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_disk_is_created_as_predicted_and_then_left_alone(root, path, shape):
    options, facts = SHAPES[shape]
    ended = three_runs("hdd", root, path=path, **options)
    assert ended.done["changed"]
    assert ended.predicted["disk"]["uid"] is None and ended.predicted["disk"]["allocated_size"] is None
    assert ended.done["disk"]["uid"] is not None and ended.done["disk"]["uid"] == ended.again["disk"]["uid"]
    assert {key: ended.done["disk"][key] for key in facts} == facts
    assert os.listdir(root) == ["a.hdd"]


@pytest.mark.parametrize("shape", ["expanding", "plain", "split"])
def test_a_creation_returns_what_is_documented(path, shape):
    for check in (True, False):
        module_docs.assert_documented("hdd", succeed("hdd", check=check, path=path, **SHAPES[shape][0]))
    module_docs.assert_documented("hdd", succeed("hdd", path=path))


def test_a_removal_returns_what_is_documented(disk):
    for check in (True, False, False):
        module_docs.assert_documented("hdd", succeed("hdd", check=check, path=disk, state="absent"))


def test_the_diff_of_a_creation_shows_the_new_disk(path):
    diff = succeed("hdd", check=True, path=path, size="64M")["diff"]
    assert diff["before"] == {}
    assert diff["after"]["virtual_size"] == 64 * MIB
    assert diff["after"]["files"] == [f"a.hdd.0.{TOP}.hds"]
    assert diff["before_header"] == diff["after_header"] == f"{path} (disk)"


def test_the_diff_of_a_removal_shows_the_old_disk(disk):
    diff = succeed("hdd", path=disk, state="absent")["diff"]
    assert diff["after"] == {} and diff["before"]["virtual_size"] == 3 * MIB


def test_the_diff_of_nothing_is_empty(disk):
    diff = succeed("hdd", path=disk, size="3M")["diff"]
    assert (diff["before"], diff["after"]) == ({}, {})


@pytest.mark.parametrize("size", ["64M", "64m", "64 MB", "64MiB", "65536K", "0.0625G", "67108864", 67108864, " 64M "])
def test_a_size_may_be_spelled_as_people_do(path, size):
    assert succeed("hdd", check=True, path=path, size=size)["disk"]["virtual_size"] == 64 * MIB


def test_an_odd_size_is_rounded_up_with_one_warning_and_stays(root, path):
    ended = three_runs("hdd", root, path=path, size="1.5M")
    assert ended.done["disk"]["virtual_size"] == 2 * MIB
    assert (
        warnings(ended.done) == warnings(ended.predicted) == ["size: 1572864 bytes were rounded up to 2097152 (2 MiB)."]
    )
    assert warnings(succeed("hdd", path=path, size="2M")) == []


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({}, "bad_request", "size is required"),
        ({"size": "64X"}, "bad_request", "size: '64X' is not a size"),
        ({"size": "-1"}, "bad_request", "size: '-1' is not a size"),
        ({"size": ""}, "bad_request", "size: '' is not a size"),
        ({"size": "0"}, "bad_request", "size: a disk of 0 bytes"),
        ({"size": "9999P"}, "bad_request", "larger clusters"),
        ({"size": "3T", "format_version": "1"}, "bad_request", "format_version: auto"),
        ({"size": "1M", "cluster_size": "3M"}, "bad_request", "cluster_size: "),
        ({"size": "1M", "cluster_size": "16K"}, "bad_request", "cluster_size: "),
        ({"size": "1M", "cluster_size": "128M"}, "bad_request", "cluster_size: "),
        ({"size": "1M", "cluster_size": "0"}, "bad_request", "cluster_size: "),
        ({"size": "1M", "split_size": "100M"}, "bad_request", "split_size: "),
        ({"size": "1M", "split_size": "0"}, "bad_request", "split_size: "),
        ({"size": "8G", "split_size": "102M"}, "bad_request", "split_size: "),
        ({"size": "1M", "name": " "}, "bad_request", "name: "),
        ({"size": "1M", "name": "a\x01b"}, "unsupported", "Choose a name"),
        ({"size": "8000P", "type": "plain", "preallocate": True}, "no_space", "Free some space"),
    ],
)
def test_what_no_disk_can_be_is_refused_with_advice(root, path, options, code, words):
    message = refused("hdd", root, code=code, path=path, **options)["msg"]
    assert words in message
    assert message.count(". ") == 1, "one sentence of what is wrong, one of what to do"


def test_a_refusal_names_the_path(root, path):
    result = refused("hdd", root, code="bad_request", path=path, size="nonsense")
    assert path in result["msg"] and result["error_context"]["path"] == path


@pytest.mark.parametrize("name", ["a", "a.HDD", "a.hds", "a.hdd.bak"])
def test_a_name_without_the_suffix_is_refused(root, name):
    assert "Add .hdd" in refused("hdd", root, code="bad_request", path=f"{root}/{name}", size="1M")["msg"]


@pytest.mark.parametrize("above", ["no", "no/such", "file"])
def test_a_missing_directory_is_refused_in_check_mode_as_well(root, above):
    open(f"{root}/file", "wb").close()
    result = refused("hdd", root, code="not_found", path=f"{root}/{above}/a.hdd", size="1M")
    assert "Create it first" in result["msg"] and f"{root}/{above}" in result["msg"]


def test_no_disk_is_made_in_another_one(root, disk):
    result = refused("hdd", root, code="exists", path=f"{disk}/inner.hdd", size="1M", force=True)
    assert f"Choose a place outside of {disk}" in result["msg"]


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("nothing", ["", " "])
def test_an_empty_path_does_not_mean_the_working_directory(disk, nothing, state, monkeypatch):
    monkeypatch.chdir(disk)
    assert "path is empty" in refused("hdd", disk, code="bad_request", path=nothing, state=state)["msg"]


@pytest.mark.parametrize(
    "change",
    [{}, {"size": "3M"}, {"type": "expanding", "cluster_size": "1M", "format_version": "1", "split_size": "2G"}],
)
def test_an_existing_disk_that_is_as_asked_is_not_touched(root, disk, change):
    assert not three_runs("hdd", root, path=disk, **change).done["changed"]


def test_another_name_is_written_into_the_descriptor(root, disk):
    ended = three_runs("hdd", root, path=disk, name="other")
    assert ended.done["changed"]
    assert ended.done["diff"]["before"] == {"name": "a"} and ended.done["diff"]["after"] == {"name": "other"}
    assert ended.done["disk"]["uid"] == ended.again["disk"]["uid"]


def test_mode_is_given_to_the_files_and_not_to_the_directory(root, disk):
    folder_mode = stat.S_IMODE(os.stat(disk).st_mode)
    assert three_runs("hdd", root, path=disk, mode="0600").done["changed"]
    assert {stat.S_IMODE(os.stat(f"{disk}/{name}").st_mode) for name in os.listdir(disk)} == {0o600}
    assert stat.S_IMODE(os.stat(disk).st_mode) == folder_mode


def test_a_new_disk_gets_the_mode_that_is_asked_for(root, path):
    three_runs("hdd", root, path=path, size="3M", mode="u=rw,g=r,o=")
    assert {stat.S_IMODE(os.stat(f"{path}/{name}").st_mode) for name in os.listdir(path)} == {0o640}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group_are_given_to_the_directory_as_well(root, path):
    three_runs("hdd", root, path=path, size="3M", owner="65534", group="65534")
    assert {(os.stat(one).st_uid, os.stat(one).st_gid) for one in tree(path)} == {(65534, 65534)}


def test_a_disk_goes_with_its_own_files_and_nothing_else(root, disk):
    open(f"{root}/neighbour", "wb").close()
    ended = three_runs("hdd", root, path=disk, state="absent")
    assert ended.done["changed"] and ended.done["disk"] == {"path": disk, "exists": False}
    assert os.listdir(root) == ["neighbour"]


def test_what_is_not_there_is_absent(root, path):
    assert not three_runs("hdd", root, path=path, state="absent").done["changed"]
    assert not three_runs("hdd", root, path=f"{root}/no/such.hdd", state="absent").done["changed"]


def test_a_bundle_with_foreign_files_is_not_removed(root, disk):
    open(f"{disk}/holiday.jpg", "wb").close()
    message = refused("hdd", root, code="unsupported", path=disk, state="absent")["msg"]
    assert "holiday.jpg" in message and "Move them away" in message


@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_is_no_disk_is_refused(root, state):
    os.mkdir(f"{root}/folder.hdd")
    with open(f"{root}/file.hdd", "wb") as stream:
        stream.write(b"text")
    os.mkfifo(f"{root}/fifo.hdd")
    for name in ("folder.hdd", "file.hdd", "fifo.hdd"):
        result = refused("hdd", root, code="not_a_bundle", path=f"{root}/{name}", state=state, size="1M")
        assert f"{root}/{name}" in result["msg"] and "Name the .hdd directory" in result["msg"]


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_layer_of_a_bundle_is_no_disk_of_its_own(root, disk, state):
    result = refused("hdd", root, code="not_a_whole_disk", path=image_of(disk), state=state)
    assert f"Name the bundle: {disk}" in result["msg"]


def test_an_image_by_itself_is_a_disk_that_can_go(root):
    image = f"{root}/single.hds"
    build_hds(image, size_sectors=2048 * 3, clusters={0: fill(0, MIB)})
    assert three_runs("hdd", root, path=image, size="3M").done["disk"]["format"] == "single_file"
    refused("hdd", root, code="unsupported", path=image, name="other")
    assert three_runs("hdd", root, path=image, state="absent").done["changed"]
    assert os.listdir(root) == []


def test_a_disk_with_snapshots_goes_as_a_whole(root, path):
    build_bundle(path, size_sectors=2048 * 3, layers=line_of_layers({0: fill(0, MIB)}, {1: fill(1, MIB)}))
    ended = three_runs("hdd", root, path=path, state="absent")
    assert ended.done["diff"]["before"]["snapshots"] == [f"{guid_of(1)} <- current"]


def test_a_dirty_disk_is_changed_only_with_force(root, path):
    built = build_bundle(path, size_sectors=2048 * 3, layers=[Layer(TOP)])
    mark_in_use(built.files[(0, TOP)])
    for options in ({"name": "other"}, {"state": "absent"}):
        message = refused("hdd", root, code="dirty", path=path, **options)["msg"]
        assert "force: true" in message and built.files[(0, TOP)] in message
    assert not three_runs("hdd", root, path=path).done["changed"]
    assert three_runs("hdd", root, path=path, name="other", force=True).done["changed"]
    assert three_runs("hdd", root, path=path, state="absent", force=True).done["changed"]


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
@pytest.mark.parametrize("held", ["directory", "image"])
@pytest.mark.parametrize("options", [{"name": "other"}, {"state": "absent"}])
def test_a_held_disk_is_refused_in_check_mode_as_well_and_with_force(root, disk, held, options):
    descriptor = os.open(disk if held == "directory" else image_of(disk), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        result = refused("hdd", root, code="in_use", path=disk, force=True, **options)
        assert str(os.getpid()) in result["msg"] and "run again" in result["msg"]
        assert not succeed("hdd", path=disk, size="3M")["changed"]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "spelling",
    [
        "{0}/",
        "{0}//",
        "{0}/DiskDescriptor.xml",
        "{0}/a.hdd",
        "a.hdd",
        "./a.hdd",
        "a.hdd/../a.hdd",
        "~/a.hdd",
        "$HOME/a.hdd",
        "link",
    ],
)
def test_a_disk_may_be_named_in_many_ways(root, disk, spelling, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", root)
    os.symlink("a.hdd", f"{root}/link")
    result = three_runs("hdd", root, path=spelling.format(disk), size="3M").done
    assert not result["changed"] and result["disk"]["path"] == disk


@pytest.mark.parametrize(
    "name",
    [
        "with space.hdd",
        "\u00fc \u78c1\u76d8.hdd",
        "quote'\".hdd",
        "-dash.hdd",
        ".hdd",
        "two\nlines.hdd",
        "a.hdd.hdd",
        "%41{{ b }}.hdd",
    ],
)
def test_a_disk_may_be_called_anything(root, name):
    ended = three_runs("hdd", root, path=f"{root}/{name}", size="1M")
    assert ended.done["disk"]["path"] == f"{root}/{name}"
    assert os.listdir(root) == [name]
    assert three_runs("hdd", root, path=f"{root}/{name}/", state="absent").done["changed"]
    assert os.listdir(root) == []


def test_a_link_is_followed_and_may_stay_behind(root, disk):
    os.symlink("a.hdd", f"{root}/link.hdd")
    ended = three_runs("hdd", root, path=f"{root}/link.hdd", state="absent")
    assert ended.done["changed"] and os.listdir(root) == ["link.hdd"]


def test_no_disk_is_created_where_a_link_leads_nowhere(root):
    os.symlink("nowhere", f"{root}/link.hdd")
    assert "A link leads nowhere" in refused("hdd", root, code="not_found", path=f"{root}/link.hdd", size="1M")["msg"]


def test_what_an_interrupted_run_left_is_cleared_by_the_next(root, path):
    os.mkdir(f"{root}/.a.hdd.vdisk-00c0ffee.tmp")
    result = succeed("hdd", path=path, size="1M")
    assert os.listdir(root) == ["a.hdd"]
    assert any("interrupted run" in text for text in warnings(result))


def test_a_choice_that_does_not_exist_fails_before_anything_is_done(root, path):
    for options in ({"state": "gone"}, {"type": "thin"}, {"format_version": "3"}):
        ended = run("hdd", path=path, size="1M", **options)
        assert ended.failed and os.listdir(root) == []


def test_allow_outside_lets_a_linked_clone_be_described(root, path):
    base = build_bundle(f"{root}/base.hdd", size_sectors=2048 * 3, layers=[Layer(TOP, clusters={0: fill(0, MIB)})])
    build_bundle(
        path,
        size_sectors=2048 * 3,
        layers=[Layer(guid_of(1), file=base.files[(0, TOP)]), Layer(TOP, parent=guid_of(1))],
        images=False,
    )
    build_hds(f"{path}/a.hdd.0.{TOP}.hds", size_sectors=2048 * 3, clusters={})
    assert "allow_outside" in refused("hdd", root, code="escape", path=path)["msg"]
    assert three_runs("hdd", root, path=path, allow_outside=True).done["disk"]["layers"][1]["outside"]
    before = tree(base.directory)
    assert three_runs("hdd", root, path=path, state="absent").done["changed"]
    assert tree(base.directory) == before
