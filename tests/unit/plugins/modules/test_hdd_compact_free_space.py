# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_compact and hdd_info with scan: filesystem, called as Ansible calls them."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP, Layer, build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import MIB, ext, swap
from ansible_collections.vdisk.parallels.tests.support.filesystems import tool
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, run, succeed, three_runs, tree

CLUSTER = 64 << 10
SIZE = 24 * MIB


@pytest.fixture(name="image", scope="module")
def image_fixture(tmp_path_factory):
    return ext(tmp_path_factory.mktemp("guest") / "disk.raw", "-t", "ext4", size=SIZE)


@pytest.fixture(name="disk", params=["one layer", "two layers", "plain"])
def disk_fixture(root, image, request):
    """The image as a disk; with two layers, the upper one has half of the clusters, the lower one noise there."""
    content = image.read_bytes()
    held = {n: content[n * CLUSTER : (n + 1) * CLUSTER] for n in range(SIZE // CLUSTER)}
    held = {n: piece for n, piece in held.items() if piece.strip(b"\0")}
    layers = line_of_layers(held)
    if request.param == "two layers":
        upper = {n: piece for n, piece in held.items() if n % 2}
        layers = line_of_layers({n: b"n" * CLUSTER if n in upper else piece for n, piece in held.items()}, upper)
    if request.param == "plain":
        layers = [Layer(TOP, NONE, held, "Plain")]
    path = f"{root}/a.hdd"
    build_bundle(path, size_sectors=SIZE // 512, cluster_sectors=CLUSTER // 512, layers=layers)
    return path


@pytest.mark.parametrize("strategy", ["in_place", "copy", "punch"])
def test_what_the_guest_deleted_goes_and_all_files_stay(root, disk, image, strategy, tmp_path) -> None:
    known = succeed("hdd_info", path=disk, scan="filesystem")
    module_docs.assert_documented("hdd_info", known)
    (found,) = known["disks"][0]["filesystems"]
    assert (found["type"], found["certain"]) == ("ext4", True) and found["droppable"] > MIB
    runs = three_runs("hdd_compact", root, path=disk, scan="filesystem", strategy=strategy)
    module_docs.assert_documented("hdd_compact", runs.done)
    assert runs.done["by_reason"]["free_in_filesystem"] > MIB // 2
    assert runs.done["filesystems"][0]["free"] == found["free"]
    out = tmp_path / "out.raw"
    succeed("hdd_convert", src=disk, dest=str(out))
    tool("e2fsck", "-fn", out)
    for number in range(5):
        for source in (image, out):
            tool("debugfs", "-R", f"dump kept{number} {tmp_path}/{source.stem}{number}", source)
        assert (tmp_path / f"{image.stem}{number}").read_bytes() == (tmp_path / f"out{number}").read_bytes() != b""


def test_other_scans_do_not_look(root, disk) -> None:
    before = tree(root)
    done = succeed("hdd_compact", check=True, path=disk, scan="zeros")
    assert "filesystems" not in done and done["by_reason"]["free_in_filesystem"] is None and tree(root) == before
    assert "filesystems" not in succeed("hdd_info", path=disk, scan="zeros")["disks"][0]


def test_swap_needs_a_look_at_file_systems(root, disk) -> None:
    before = tree(root)
    assert run("hdd_compact", path=disk, swap="drop").result["error_code"] == "bad_request" and tree(root) == before
    assert run("hdd_info", path=disk, swap="drop").result["error_code"] == "bad_request"
    assert run("hdd_maintain", paths=[disk], swap="drop").result["error_code"] == "bad_request" and tree(root) == before


@pytest.mark.parametrize("strategy", ["in_place", "copy", "punch"])
def test_what_a_clone_may_use_stays_whatever_takes_the_name_of_the_image(root, image, strategy) -> None:
    """What is free in every view of the disk need not be free in that of the clone."""
    content = image.read_bytes()
    held = {n: content[n * CLUSTER : (n + 1) * CLUSTER] for n in range(SIZE // CLUSTER)}
    layers = line_of_layers({n: piece for n, piece in held.items() if piece.strip(b"\0")}, {})
    built = build_bundle(f"{root}/a.hdd", size_sectors=SIZE // 512, cluster_sectors=CLUSTER // 512, layers=layers)
    (base,) = [guid for _storage, guid in built.files if guid != TOP]
    layers = [Layer(base), Layer(TOP, base)]
    clone = build_bundle(f"{root}/b.hdd", size_sectors=SIZE // 512, cluster_sectors=CLUSTER // 512, layers=layers)
    with open(clone.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(clone.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(clone.files[(0, base)].rsplit("/", 1)[-1], built.files[(0, base)]))
    task = {"path": built.directory, "scan": "filesystem", "strategy": strategy}
    assert clone.directory in refused("hdd_compact", root, code="shared_layer", **task)["msg"]
    assert succeed("hdd_compact", **task, force=True)["changed"]


def test_info_tells_of_swap(root, disk, tmp_path) -> None:
    pages = swap(tmp_path / "swap", size=SIZE)
    with open(pages, "r+b") as stream:
        stream.seek(CLUSTER)
        stream.write(b"page" * (CLUSTER // 2))
    content = pages.read_bytes()
    path = f"{root}/swap.hdd"
    held = {n: content[n * CLUSTER : (n + 1) * CLUSTER] for n in range(3)}
    build_bundle(path, size_sectors=SIZE // 512, cluster_sectors=CLUSTER // 512, layers=line_of_layers(held))
    kept, dropped = (
        succeed("hdd_info", path=path, scan="filesystem", swap=word)["disks"][0] for word in ("keep", "drop")
    )
    assert kept["reclaimable"]["free_in_filesystem"] == 0 and kept["filesystems"][0]["free"] == 0
    assert dropped["reclaimable"]["free_in_filesystem"] == 2 * CLUSTER
    assert dropped["filesystems"][0]["free"] == SIZE - 4096


@pytest.mark.parametrize("strategy", ["in_place", "copy", "punch"])
def test_what_is_read_to_find_free_space_is_counted(root, disk, strategy) -> None:
    plain = succeed("hdd_compact", check=True, path=disk, scan="metadata", strategy=strategy)
    predicted = succeed("hdd_compact", check=True, path=disk, scan="filesystem", strategy=strategy)
    done = succeed("hdd_compact", path=disk, scan="filesystem", strategy=strategy)
    again = succeed("hdd_compact", path=disk, scan="filesystem", strategy=strategy)
    assert predicted["bytes_read"] == done["bytes_read"] > plain["bytes_read"]
    assert again["bytes_read"] > 20_000 and not again["changed"]
