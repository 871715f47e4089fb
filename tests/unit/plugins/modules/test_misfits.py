# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks whose parts do not fit each other: nothing that may be all that somebody has goes without a word."""

from __future__ import annotations

import os
import re
import struct

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, run, succeed, tree

CLUSTER = 64
BYTES = CLUSTER * 512
MIB = 1 << 20


def bundle(root, *, held, clusters, described=32, **options):
    """A disk of ``described`` clusters whose one image is made for ``held`` of them."""
    built = build_bundle(
        f"{root}/a.hdd", size_sectors=described * CLUSTER, layers=[Layer(TOP)], cluster_sectors=CLUSTER
    )
    image = built.files[(0, TOP)]
    os.unlink(image)
    build_hds(
        image,
        size_sectors=held * CLUSTER,
        clusters={number: fill(number, BYTES) for number in clusters},
        cluster_sectors=CLUSTER,
        **options,
    )
    return built, image


def stored(image):
    """The clusters that the table names, by number, with their bytes."""
    with open(image, "rb") as stream:
        content = stream.read()
    (count,) = struct.unpack_from("<I", content, 32)
    unit = 512 if content.startswith(b"WithoutFreeSpace") else BYTES
    entries = struct.unpack_from(f"<{count}I", content, 64)
    return {number: content[entry * unit : entry * unit + BYTES] for number, entry in enumerate(entries) if entry}


@pytest.mark.parametrize("strategy", ["in_place", "copy"])
def test_compaction_keeps_what_lies_behind_the_end_of_the_disk_in_a_longer_image(root, strategy):
    built, image = bundle(root, held=48, clusters=[0, 10, 40])
    before = stored(image)
    run("hdd_compact", path=built.directory, strategy=strategy)
    assert stored(image) == before


@pytest.mark.parametrize(
    "wish",
    [
        {"size": "3M"},
        {"size": "1M", "shrink": True},
        {"size": "2M", "force": True},
        {"type": "plain"},
        {"size": "1536K"},
    ],
    ids=str,
)
def test_a_disk_whose_image_is_longer_is_not_resized_or_retyped(root, wish):
    built, image = bundle(root, held=96, clusters=[0, 10, 80], described=48)
    before = tree(root)
    result = run("hdd", path=built.directory, **wish)
    if wish.get("size") == "1536K":
        assert not result.result["changed"]
    else:
        assert result.failed and "hdd_check" in result.result["msg"]
    assert tree(root) == before and set(stored(image)) == {0, 10, 80}


def test_a_plain_image_that_is_longer_is_not_cut_by_growing(root):
    built = build_bundle(f"{root}/a.hdd", size_sectors=2048, layers=[Layer(TOP, type="Plain")])
    with open(built.files[(0, TOP)], "wb") as stream:
        stream.write(fill(1, 2 * MIB))
    refused("hdd", root, code="misfit", path=built.directory, size="4M")


@pytest.mark.parametrize("version", [1, 2])
def test_a_shorter_image_is_not_shrunk_into_a_longer_one(root, version):
    built, _image = bundle(root, held=48, clusters=[0, 40], described=96, version=version)
    refused("hdd", root, code="misfit", path=built.directory, size="2M", shrink=True)


@pytest.mark.parametrize("wish", [{"size": "4M"}, {"size": "1M", "shrink": True}], ids=str)
def test_the_disk_of_a_suspended_machine_is_resized_only_with_force(root, wish):
    built = build_bundle(
        f"{root}/a.hdd", size_sectors=4096, layers=[Layer(TOP)], extra="<SuspendState>1</SuspendState>"
    )
    assert "suspended" in refused("hdd", root, code="suspended", path=built.directory, **wish)["msg"]
    assert succeed("hdd", path=built.directory, force=True, **wish)["changed"]


def damage(path, *changes):
    """Cut the last tag off a descriptor, after these replacements."""
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text[:-20])


NO_ENGINE = "<Engine>{00000000-0000-0000-0000-000000000000}</Engine>"


@pytest.mark.parametrize(
    "change",
    [
        (NO_ENGINE, "<Engine>{1d0b5b2e-0000-4000-8000-000000000001}</Engine>"),
        ("<Type>Compressed</Type>", "<Type>Compressed</Type><File>/elsewhere/parent.hds</File>"),
        ("<Snapshots>", "<Snapshots><TopGUID>{aaaaaaaa-0000-4000-8000-000000000009}</TopGUID>"),
    ],
    ids=["encryption", "another file", "another top"],
)
def test_remains_of_a_descriptor_that_say_more_are_not_replaced_by_a_safe_repair(root, change):
    built = build_bundle(
        f"{root}/a.hdd",
        size_sectors=32 * CLUSTER,
        layers=[Layer(TOP, clusters={0: fill(0, BYTES)})],
        cluster_sectors=CLUSTER,
    )
    damage(built.descriptor, change)
    before = tree(f"{root}/a.hdd")
    done = succeed("hdd_check", path=built.directory, repair="safe", fail_on="never")
    assert not done["changed"] and not done["healthy"]
    assert [one["repairable"] for one in done["findings"] if one["code"] == "descriptor_unreadable"] == ["lossy"]
    assert tree(f"{root}/a.hdd") == before


def test_the_text_of_a_descriptor_that_is_replaced_is_kept(root):
    built = build_bundle(
        f"{root}/a.hdd",
        size_sectors=32 * CLUSTER,
        layers=[Layer(TOP, clusters={0: fill(0, BYTES)})],
        cluster_sectors=CLUSTER,
    )
    damage(built.descriptor)
    with open(built.descriptor, "rb") as stream:
        remains = stream.read()
    done = succeed("hdd_check", path=built.directory, repair="safe", fail_on="never")
    assert done["changed"] and done["backup"]
    kept = b""
    for folder, _folders, names in os.walk(
        done["backup"] if os.path.isdir(done["backup"]) else os.path.dirname(done["backup"])
    ):
        for name in names:
            with open(os.path.join(folder, name), "rb") as stream:
                kept += stream.read()
    assert remains in kept or remains.hex().encode() in kept


def test_a_size_that_only_some_layers_have_is_not_taken_for_certain(root):
    layers = [Layer(guid_of(1)), Layer(TOP, guid_of(1), clusters={40: fill(40, BYTES)})]
    built = build_bundle(f"{root}/a.hdd", size_sectors=48 * CLUSTER, layers=layers, cluster_sectors=CLUSTER)
    os.unlink(built.files[(0, guid_of(1))])
    build_hds(built.files[(0, guid_of(1))], size_sectors=32 * CLUSTER, clusters={}, cluster_sectors=CLUSTER)
    with open(built.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(built.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(f"<End>{48 * CLUSTER}</End>", f"<End>{32 * CLUSTER}</End>"))
    succeed("hdd_check", path=built.directory, repair="safe", fail_on="never")
    with open(built.descriptor, encoding="utf-8") as stream:
        assert f"<Disk_size>{48 * CLUSTER}</Disk_size>" in stream.read()


def test_a_safe_repair_does_not_cut_what_a_damaged_size_or_table_has_lost(root):
    image = f"{root}/single.hds"
    build_hds(
        image,
        size_sectors=16 * CLUSTER,
        clusters={number: fill(number, BYTES) for number in (0, 10, 12)},
        cluster_sectors=CLUSTER,
    )
    with open(image, "r+b") as stream:
        stream.seek(36)
        stream.write(struct.pack("<Q", 5 * CLUSTER))
    before = tree(root)
    succeed("hdd_check", path=image, repair="safe", fail_on="never")
    assert tree(root) == before
    with open(image, "r+b") as stream:
        stream.seek(36)
        stream.write(struct.pack("<Q", 16 * CLUSTER))
        stream.seek(64)
        stream.write(bytes(64))
    before = tree(root)
    succeed("hdd_check", path=image, repair="safe", fail_on="never")
    assert tree(root) == before


def test_a_top_that_has_lost_its_parent_is_not_read_without_it(root):
    layers = [Layer(guid_of(1), clusters={0: fill(1, BYTES)}), Layer(TOP, guid_of(1), clusters={0: bytes(BYTES)})]
    built = build_bundle(f"{root}/a.hdd", size_sectors=4096, cluster_sectors=CLUSTER, layers=layers)
    with open(built.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    shots = re.findall(r"\s*<Shot>.*?</Shot>", text, re.DOTALL)
    lost = next(shot for shot in shots if f"<GUID>{TOP}" in shot)
    with open(built.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(lost, ""))
    for module, options in (
        ("hdd_compact", {"path": built.directory}),
        ("hdd_convert", {"src": built.directory, "dest": f"{root}/out.raw"}),
    ):
        assert "hdd_check" in refused(module, root, code="damaged", **options)["msg"]
    assert run("hdd_check", path=built.directory).failed


def test_the_snapshot_of_a_plain_disk_that_has_grown_can_be_read_as_the_message_says(root):
    layers = [Layer(TOP, type="Plain", clusters={0: fill(1, MIB)})]
    built = build_bundle(f"{root}/a.hdd", size_sectors=2048, layers=layers)
    succeed("hdd_snapshot", path=built.directory, name="before")
    succeed("hdd", path=built.directory, size="2M", snapshots="top_only")
    options = {"src": built.directory, "dest": f"{root}/out.raw", "snapshot": "before"}
    message = refused("hdd_convert", root, code="misfit", **options)["msg"]
    assert "became larger after the snapshot was taken, nothing is missing: set force: true" in message
    succeed("hdd_convert", **options, force=True)
    with open(f"{root}/out.raw", "rb") as stream:
        assert stream.read() == fill(1, MIB) + bytes(MIB)
