# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any image in, any image out: whatever a guest disk was and becomes, every other reader sees the same bytes.

By default each target meets each guest disk, and each source both of them; with VDISK_LONG everything meets everything.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.tests.support import conversions, foreign
from ansible_collections.vdisk.parallels.tests.support.conversions import SOURCES, TARGETS, Source
from ansible_collections.vdisk.parallels.tests.support.oracles import qemu_img, require, require_library

LONG = bool(os.environ.get("VDISK_LONG"))


def exports() -> Iterator[Tuple[str, str, str]]:
    """Target, guest disk and source."""
    if LONG:
        found = ((target, guest, source) for target in TARGETS for guest in foreign.GUESTS for source in SOURCES)
    else:
        found = conversions.pairs(list(TARGETS), list(foreign.GUESTS), SOURCES)
    return ((target, guest, source) for target, guest, source in found if TARGETS[target].can_hold(guest))


def imports() -> Iterator[Tuple[str, str, str]]:
    """Kind of image, guest disk and what becomes of it."""
    targets = ("hdd", "raw", "hdd v2", "hdd split", "hdd plain")
    kinds = foreign.KINDS
    if LONG:
        found = ((kind, guest, target) for kind in kinds for guest in foreign.GUESTS for target in targets)
    else:
        found = conversions.pairs(list(kinds), list(foreign.GUESTS), targets)
    return (
        (kind, guest, target)
        for kind, guest, target in found
        if kinds[kind].can_hold(guest) and TARGETS[target].can_hold(guest)
    )


def needs(target: str) -> None:
    if "zstd" in target:
        require_library("zstandard")


def judge(path: str, target: str, raw: str) -> None:
    """Whoever can reads the same bytes, and we do so too."""
    format = TARGETS[target].format
    if format == "raw":
        conversions.compare_plain(path, raw)
    elif format == "hdd":
        conversions.compare_bundle(path, raw)
    else:
        foreign.compare_with_all([path], format, raw)
    conversions.read_back(path, raw, format=format)


@pytest.mark.parametrize("target, guest, source", list(exports()))
def test_everybody_reads_what_a_disk_was_converted_to(tmp_path: Path, target: str, guest: str, source: str) -> None:
    needs(target)
    raw = foreign.make_raw(tmp_path / "disk.raw", guest)
    disk = conversions.make_source(str(tmp_path), source, raw, guest)
    chosen = TARGETS[target]
    dest = str(tmp_path / f"out{chosen.suffix}")
    files = conversions.convert(disk, dest, chosen.format, **conversions.options_for(chosen, guest))
    assert all(os.path.exists(file) for file in files)
    # What is not data takes no room.
    room = sum(os.stat(file).st_blocks * 512 for file in files)
    assert room <= os.stat(raw).st_blocks * 512 + 64 * foreign.MIB
    judge(dest, target, raw)
    assert not [name for name in os.listdir(tmp_path) if ".vdisk-" in name]


@pytest.mark.parametrize("kind, guest, target", list(imports()))
def test_what_qemu_wrote_is_converted_to_the_same_bytes(tmp_path: Path, kind: str, guest: str, target: str) -> None:
    needs(kind)
    raw = foreign.make_raw(tmp_path / "disk.raw", guest)
    format = foreign.KINDS[kind].format
    image = foreign.make_foreign(tmp_path / f"disk.{format}", kind, raw)
    chosen = TARGETS[target]
    dest = str(tmp_path / f"out{chosen.suffix}")
    conversions.convert(Source(image), dest, chosen.format, **conversions.options_for(chosen, guest))
    judge(dest, target, raw)


@pytest.mark.parametrize(
    "kind", [kind for kind in foreign.KINDS if foreign.KINDS[kind].format in ("qcow2", "vmdk", "vhd", "vhdx", "vdi")]
)
def test_between_other_products_nothing_is_lost_either(tmp_path: Path, kind: str) -> None:
    """What QEMU wrote goes to each of the other formats in turn, and back to a plain file."""
    needs(kind)
    raw = foreign.make_raw(tmp_path / "disk.raw", "odd size")
    image = foreign.make_foreign(tmp_path / "disk.img", kind, raw)
    for number, target in enumerate(
        ("vmdk streamOptimized", "vhd dynamic", "qcow2 zlib", "vhdx small blocks", "vdi dynamic", "raw")
    ):
        chosen = TARGETS[target]
        dest = str(tmp_path / f"step{number}{chosen.suffix}")
        conversions.convert(Source(image), dest, chosen.format, **chosen.options)
        judge(dest, target, raw)
        image = dest


@pytest.mark.parametrize("target", [target for target in TARGETS if TARGETS[target].is_too_small_for_huge])
def test_a_disk_that_a_format_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path, target: str) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", "beyond 2 TiB")
    chosen = TARGETS[target]
    with pytest.raises(BadRequest) as caught:
        conversions.convert(
            Source(raw),
            str(tmp_path / f"out{chosen.suffix}"),
            chosen.format,
            **conversions.options_for(chosen, "empty"),
        )
    assert caught.value.hint
    assert os.listdir(tmp_path) == ["disk.raw"]


def test_a_fixed_vhd_that_qemu_takes_for_raw_is_still_its_disk(tmp_path: Path) -> None:
    require("qemu-img")
    raw = foreign.make_raw(tmp_path / "disk.raw", "sparse")
    dest = str(tmp_path / "out.vhd")
    conversions.convert(Source(raw), dest, "vhd", subformat="fixed")
    qemu_img("compare", "-f", "vpc", "-F", "raw", dest, raw)
    assert os.path.getsize(dest) == os.path.getsize(raw) + 512
