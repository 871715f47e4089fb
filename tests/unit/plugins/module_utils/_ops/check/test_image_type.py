# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The word ``Type`` against the file: found, repaired where that is safe, and readable then; no image changes."""

from __future__ import annotations

import os
import struct
from typing import Any, Callable, Dict, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, BuiltBundle, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import run, succeed

from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort  # isort: skip

CLUSTER = 64 << 10
SIZE = 32 * CLUSTER
ONE = guid_of(1)


def built(root: str, clusters: int = 3) -> BuiltBundle:
    layers = [Layer(TOP, clusters={number: fill(number, CLUSTER) for number in range(clusters)})]
    return build_bundle(f"{root}/a.hdd", size_sectors=SIZE // 512, cluster_sectors=CLUSTER // 512, layers=layers)


def call(disk: BuiltBundle, word: str, old: str = "Compressed") -> None:
    with open(disk.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(disk.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(f"<Type>{old}</Type>", f"<Type>{word}</Type>"))


def raw(disk: BuiltBundle, *, boot: bool = True, size: int = SIZE, start: bytes = b"") -> None:
    content = bytearray(fill(9, size)[:size])
    content[: len(start)] = start
    content[510:512] = b"\x55\xaa" if boot else b"xx"
    with open(disk.files[(0, TOP)], "wb") as stream:
        stream.write(content)


def damaged(disk: BuiltBundle) -> None:
    with open(disk.files[(0, TOP)], "r+b") as stream:
        stream.seek(64)
        stream.write(struct.pack("<I", 0xFFFFFF00))


def full(disk: BuiltBundle) -> None:
    """An expanding image of a small disk that is as long as the disk is said to be."""
    os.truncate(disk.files[(0, TOP)], SIZE)


def longer(disk: BuiltBundle) -> None:
    os.truncate(disk.files[(0, TOP)], SIZE + 3 * CLUSTER)


def cut_image(disk: BuiltBundle) -> None:
    os.truncate(disk.files[(0, TOP)], 2 * CLUSTER + 512)


CASES: Dict[str, Tuple[Callable[[BuiltBundle], Any], str]] = {
    "Sparse": (lambda disk: call(disk, "Sparse"), "safe"),
    "compressed": (lambda disk: call(disk, "compressed"), "safe"),
    "Sparse, and damaged": (lambda disk: (call(disk, "Sparse"), damaged(disk)), "lossy"),
    "Sparse, and raw": (lambda disk: (call(disk, "Sparse"), raw(disk)), "safe"),
    "Raw": (lambda disk: (call(disk, "Raw"), raw(disk, boot=False)), "lossy"),
    "raw under Compressed": (raw, "safe"),
    "raw without a boot sector": (lambda disk: raw(disk, boot=False), "lossy"),
    "raw, and longer": (lambda disk: raw(disk, size=SIZE + CLUSTER), "lossy"),
    "raw, and cut": (lambda disk: raw(disk, size=SIZE // 2 + 512), "lossy"),
    "a foreign image of that length": (lambda disk: raw(disk, boot=False, start=b"QFI\xfb\0\0\0\3"), "no"),
    "expanding under Plain": (lambda disk: call(disk, "Plain"), "safe"),
    "expanding under Plain, of that length": (lambda disk: (full(disk), call(disk, "Plain")), "lossy"),
    "expanding under Plain, and longer": (lambda disk: (longer(disk), call(disk, "Plain")), "safe"),
    "expanding under Plain, and cut": (lambda disk: (cut_image(disk), call(disk, "Plain")), "no"),
    "a raw disk that begins so": (
        lambda disk: (call(disk, "Plain"), raw(disk, boot=False, start=b"WithoutFreeSpace" + b"\xff" * 48)),
        "no",
    ),
}


def of_type(result: Dict[str, Any]) -> List[Tuple[str, bool]]:
    return [(one["repairable"], one["repaired"]) for one in result["findings"] if one["code"] == "image_type"]


@pytest.mark.parametrize("case", CASES)
def test_the_word_is_judged_and_a_repair_changes_the_descriptor_alone(root: str, case: str) -> None:
    plant, degree = CASES[case]
    disk = built(root)
    wanted = disk.guest(TOP)
    plant(disk)
    with open(disk.files[(0, TOP)], "rb") as stream:
        content = stream.read()
    found = succeed("hdd_check", path=disk.directory, fail_on="never")
    assert of_type(found) == [(degree, False)] and not found["healthy"]
    for level in ("safe", "all"):
        done = succeed("hdd_check", path=disk.directory, fail_on="never", repair=level)
        is_allowed = degree == "safe" or (degree == "lossy" and level == "all")
        if "damaged" not in case:
            with open(disk.files[(0, TOP)], "rb") as stream:
                assert stream.read().startswith(content) or len(content) >= SIZE
        if is_allowed:
            assert of_type(done) in ([(degree, True)], [])
            again = succeed("hdd_check", path=disk.directory, fail_on="never")
            assert not of_type(again)
            seen = disks.read(OsPort(), disk.directory)
            if "aw" in case and "begins" not in case:
                assert seen == content[:SIZE].ljust(SIZE, b"\0")
            elif "damaged" not in case:
                assert seen == wanted
        else:
            assert of_type(done) == [(degree, False)]


@pytest.mark.parametrize("case", [case for case in CASES if "Plain" not in case and "begins" not in case])
def test_who_looks_and_who_checks_agree_about_what_can_be_read(root: str, case: str) -> None:
    """What is refused is an error that a check finds, and the message leads to it."""
    disk = built(root)
    CASES[case][0](disk)
    looked = run("hdd_info", path=disk.directory)
    assert looked.failed and "hdd_check" in looked.result["msg"], looked.result
    assert run("hdd_check", path=disk.directory).failed


@pytest.mark.parametrize("case", [case for case in CASES if "Plain" in case])
def test_what_is_read_by_its_word_although_it_begins_otherwise_is_told(root: str, case: str) -> None:
    disk = built(root)
    CASES[case][0](disk)
    facts = succeed("hdd_info", path=disk.directory)["disks"][0]
    assert any("begins as an expanding image" in text for text in facts["warnings"])
    done = succeed("hdd_convert", src=disk.directory, dest=f"{root}/o.raw")
    assert any("begins as an expanding image" in str(text) for text in done["warnings"])
    with open(f"{root}/o.raw", "rb") as stream:
        assert stream.read(16) == b"WithoutFreeSpace"
    for module, options in (("hdd_compact", {}), ("hdd", {"type": "expanding"}), ("hdd", {"size": "8M"})):
        refused = run(module, path=disk.directory, **options)
        assert refused.failed and refused.result["error_code"] == "misfit" and "hdd_check" in refused.result["msg"]


def test_layers_above_a_root_that_ploop_calls_plain_are_right(root: str) -> None:
    layers = [Layer(ONE, clusters={0: fill(0, CLUSTER)}), Layer(TOP, ONE, {1: fill(1, CLUSTER)})]
    disk = build_bundle(f"{root}/a.hdd", size_sectors=SIZE // 512, cluster_sectors=CLUSTER // 512, layers=layers)
    with open(disk.descriptor, encoding="utf-8") as stream:
        head, _type, rest = stream.read().partition(f"<GUID>{TOP}</GUID>")
    assert _type and "<Image>" in head
    with open(disk.descriptor, "w", encoding="utf-8") as stream:
        stream.write(head + _type + rest.replace("<Type>Compressed</Type>", "<Type>Plain</Type>", 1))
    assert succeed("hdd_check", path=disk.directory)["findings"] == []
