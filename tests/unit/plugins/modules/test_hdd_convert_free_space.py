# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_convert with free_space: drop, called as Ansible calls it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import MIB, ext, swap, with_partitions
from ansible_collections.vdisk.parallels.tests.support.module_runner import run, succeed, three_runs, tree

SCRIPT = "label: dos\nstart=2048, size=24M, type=83\nsize=2M, type=82\nsize=2M, type=83\n"


@pytest.fixture(name="disk", scope="module")
def disk_fixture(tmp_path_factory):
    """A disk with ext4, swap, and a partition without a file system."""
    folder = tmp_path_factory.mktemp("guest")
    parts = [(MIB, ext(folder / "ext4", "-t", "ext4", "-L", "root")), (25 * MIB, swap(folder / "swap", size=2 * MIB))]
    path = with_partitions(folder / "disk.raw", SCRIPT, 32 * MIB, parts)
    with open(path, "r+b") as stream:
        stream.seek(27 * MIB)
        stream.write(b"something" * 1000)
    return str(path)


@pytest.mark.parametrize("dest", ["out.raw", "out.hdd", "out.qcow2", "out.vhdx"])
def test_what_is_dropped_is_told_and_predicted(root, disk, dest) -> None:
    options = dict(src=disk, dest=f"{root}/{dest}", free_space="drop")
    runs = three_runs("hdd_convert", root, **options)
    module_docs.assert_documented("hdd_convert", runs.done)
    root_fs, pages, none = runs.done["filesystems"]
    assert (root_fs["partition"], root_fs["offset"], root_fs["type"], root_fs["label"]) == (1, MIB, "ext4", "root")
    assert root_fs["certain"] and root_fs["used"] + root_fs["free"] == root_fs["size"] == 24 * MIB
    assert MIB < root_fs["droppable"] <= root_fs["free"]
    assert (pages["type"], pages["free"], pages["droppable"], pages["reason"]) == ("swap", 0, 0, None)
    assert (none["type"], none["free"], none["used"], none["certain"], none["reason"]) == (
        None,
        None,
        None,
        False,
        "unrecognised",
    )
    whole = succeed("hdd_convert", src=disk, dest=f"{root}/whole-{dest}")
    assert "filesystems" not in whole
    assert whole["bytes_written"] - runs.done["bytes_written"] > MIB
    assert len(Path(disk).read_bytes()) == 32 * MIB


@pytest.mark.parametrize("dest", ["out.raw", "out.hdd"])
def test_pages_of_swap_go_when_asked_for(root, disk, dest) -> None:
    with open(disk, "r+b") as stream:
        stream.seek(25 * MIB + 8192)
        stream.write(b"page" * 1024)
    runs = three_runs("hdd_convert", root, src=disk, dest=f"{root}/{dest}", free_space="drop", swap="drop")
    pages = runs.done["filesystems"][1]
    assert (pages["type"], pages["free"], pages["used"]) == ("swap", 2 * MIB - 4096, 4096)
    assert pages["droppable"] >= 4096
    succeed("hdd_convert", src=f"{root}/{dest}", dest=f"{root}/flat.raw")
    kept = Path(f"{root}/flat.raw").read_bytes()
    assert kept[25 * MIB : 25 * MIB + 4096] == Path(disk).read_bytes()[25 * MIB : 25 * MIB + 4096]
    assert not kept[25 * MIB + 4096 : 27 * MIB].strip(b"\0")
    # With pages it is another output.
    again = succeed("hdd_convert", src=disk, dest=f"{root}/{dest}", free_space="drop")
    assert again["changed"] and again["filesystems"][1]["free"] == 0


def test_swap_needs_free_space(root, disk) -> None:
    before = tree(root)
    ended = run("hdd_convert", src=disk, dest=f"{root}/out.raw", swap="drop")
    assert ended.result["error_code"] == "bad_request" and "swap" in ended.result["msg"] and tree(root) == before


def test_a_view_of_text_leaves_nothing_out(root, disk) -> None:
    ended = run("hdd_convert", src=disk, dest=f"{root}/out.vmdk", subformat="view", free_space="drop")
    assert ended.result["error_code"] == "bad_request" and "free_space" in ended.result["msg"]


def test_what_is_read_to_find_free_space_is_counted(root, disk) -> None:
    dest = f"{root}/out.raw"
    kept = succeed("hdd_convert", src=disk, dest=f"{root}/whole.raw")
    predicted = succeed("hdd_convert", check=True, src=disk, dest=dest, free_space="drop")
    done = succeed("hdd_convert", src=disk, dest=dest, free_space="drop")
    again = succeed("hdd_convert", src=disk, dest=dest, free_space="drop")
    assert predicted["bytes_read"] == done["bytes_read"]
    # The second run writes nothing, and reads as much to know what is free.
    scanned = again["bytes_read"]
    assert 0 < scanned < 4 * MIB and not again["changed"]
    dropped = sum(one["droppable"] for one in done["filesystems"])
    assert done["bytes_read"] - scanned < kept["bytes_read"] - dropped + MIB


def test_keeping_is_the_default_and_changes_an_output_without_free_space(root, disk) -> None:
    dest = f"{root}/out.raw"
    succeed("hdd_convert", src=disk, dest=dest, free_space="drop")
    assert Path(dest).read_bytes() != Path(disk).read_bytes()
    assert succeed("hdd_convert", src=disk, dest=dest)["changed"]
    assert Path(dest).read_bytes() == Path(disk).read_bytes()
    assert succeed("hdd_convert", src=disk, dest=dest, free_space="drop")["changed"]


def test_the_checksum_is_that_of_the_file(root, disk) -> None:
    dest = f"{root}/out.raw"
    done = succeed("hdd_convert", src=disk, dest=dest, free_space="drop", checksum="sha256")
    assert done["checksum"] == hashlib.sha256(Path(dest).read_bytes()).hexdigest()


def test_an_output_that_is_there_is_not_looked_at_when_only_a_missing_one_is_written(root, disk) -> None:
    succeed("hdd_convert", src=disk, dest=f"{root}/out.raw")
    before = tree(root)
    kept = succeed("hdd_convert", src=disk, dest=f"{root}/out.raw", free_space="drop", update="missing")
    assert not kept["changed"] and "filesystems" not in kept and tree(root) == before


def test_other_words_are_refused(root, disk) -> None:
    before = tree(root)
    ended = run("hdd_convert", src=disk, dest=f"{root}/out.raw", free_space="zero")
    assert ended.failed and "free_space" in ended.result["msg"] and tree(root) == before


@pytest.mark.parametrize(("drops", "expected"), [("False", "none"), ("True", "some")])
def test_nothing_of_it_is_loaded_without_the_option(tmp_path, disk, drops, expected) -> None:
    (tmp_path / "ansible_collections" / "vdisk").mkdir(parents=True)
    (tmp_path / "ansible_collections" / "vdisk" / "parallels").symlink_to(Path(__file__).resolve().parents[4])
    code = (
        "import sys\n"
        "from ansible_collections.vdisk.parallels.tests.support.conversions import Source, convert\n"
        f"convert(Source({disk!r}), {str(tmp_path / 'out.raw')!r}, 'raw', drops_free={drops})\n"
        "print('some' if [name for name in sys.modules if '_guest.filesystems' in name] else 'none')\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}", "PATH": os.defpath}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == expected, done.stderr
