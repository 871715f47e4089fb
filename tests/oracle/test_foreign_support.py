# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The helpers for foreign images themselves: they must notice what is different, and trust nobody who is known to be
wrong.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.tests.support import foreign
from ansible_collections.vdisk.parallels.tests.support.oracles import require


def test_pieces_of_noise_and_text_are_full_and_repeatable() -> None:
    assert foreign.noise(7, 70_000) == foreign.noise(7, 70_000) != foreign.noise(8, 70_000)
    assert len(foreign.noise(7, 5)) == 5 and foreign.noise(7, 0) == b""
    assert b"\0" not in foreign.text(1, 10_000) and len(foreign.text(1, 10_000)) == 10_000


@pytest.mark.parametrize("guest", list(foreign.GUESTS))
def test_guest_disks_have_their_size_and_are_repeatable(tmp_path: Path, guest: str) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", guest)
    size = foreign.GUESTS[guest].size
    assert os.path.getsize(raw) == size and size % 512 == 0
    assert os.stat(raw).st_blocks * 512 < 16 * foreign.MIB
    other = foreign.make_raw(tmp_path / "other.raw", guest, seed=2)
    copy = foreign.copy_sparse(raw, str(tmp_path / "copy.raw"))
    again = foreign.make_raw(tmp_path / "again.raw", guest)
    parts = list(foreign.windows(raw))
    assert parts[0][0] == 0 and parts[-1][0] + parts[-1][1] == size
    with open(raw, "rb") as one, open(other, "rb") as two, open(copy, "rb") as three, open(again, "rb") as four:
        contents = []
        for stream in (one, two, three, four):
            contents.append([(stream.seek(offset), stream.read(length)) for offset, length in parts])
    assert contents[0] == contents[2] == contents[3]
    assert (contents[0] == contents[1]) == (guest == "empty")
    assert any(any(content) for _offset, content in contents[0]) == (guest != "empty")


@pytest.mark.parametrize("kind", list(foreign.KINDS))
@pytest.mark.parametrize("guest", ["fragmented", "odd size"])
def test_everybody_reads_what_qemu_made(tmp_path: Path, guest: str, kind: str) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", guest)
    path = foreign.make_foreign(tmp_path / "disk.img", kind, raw)
    assert "qemu" in foreign.compare_with_all([path], foreign.KINDS[kind].format, raw)


@pytest.mark.parametrize("kind", [name for name, kind in foreign.KINDS.items() if kind.can_hold("beyond 2 TiB")])
def test_large_disks_are_compared_in_parts(tmp_path: Path, kind: str) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", "beyond 2 TiB")
    path = foreign.make_foreign(tmp_path / "disk.img", kind, raw)
    format = foreign.KINDS[kind].format
    foreign.compare_with_all([path], format, raw)
    with open(raw, "r+b") as stream:
        stream.seek(1_500_000 * foreign.MIB + 100 * foreign.KIB)
        stream.write(b"\0")
    assert_nobody_agrees(path, format, raw)


def assert_nobody_agrees(path: str, format: str, raw: str) -> None:
    """Every reader that is there must notice that the plain file is another one."""
    trusted = foreign.readers(path, format)
    assert trusted
    if "qemu" in trusted:
        with pytest.raises(AssertionError):
            foreign.compare_with_qemu(path, format, raw)
    if "dissect" in trusted:
        with pytest.raises(AssertionError):
            foreign.compare_with_dissect(path, format, raw)
    if "libyal" in trusted:
        with pytest.raises(AssertionError):
            foreign.compare_with_libyal([path], format, raw)


@pytest.mark.parametrize(
    "kind", ["qcow2 v3", "vmdk monolithicSparse", "vhd dynamic", "vhd fixed", "vhdx dynamic", "vdi dynamic"]
)
def test_one_wrong_byte_is_noticed(tmp_path: Path, kind: str) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", "sparse")
    path = foreign.make_foreign(tmp_path / "disk.img", kind, raw)
    with open(raw, "r+b") as stream:
        stream.seek(12 * foreign.MIB + 5000)
        byte = stream.read(1)[0]
        stream.seek(12 * foreign.MIB + 5000)
        stream.write(bytes([byte ^ 1]))
    assert_nobody_agrees(path, foreign.KINDS[kind].format, raw)


def test_a_damaged_image_is_noticed_by_the_checker(tmp_path: Path) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", "sparse")
    path = foreign.make_foreign(tmp_path / "disk.vdi", "vdi dynamic", raw)
    with open(path, "r+b") as stream:
        stream.seek(388)
        stream.write(b"\1")
    with pytest.raises(AssertionError):
        foreign.check_with_qemu(path, "vdi")


def test_formats_without_a_checker_are_not_counted(tmp_path: Path) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", "empty")
    assert foreign.check_with_qemu(foreign.make_foreign(tmp_path / "disk.vhd", "vhd dynamic", raw), "vhd") is False
    assert foreign.check_with_qemu(foreign.make_foreign(tmp_path / "disk.vdi", "vdi dynamic", raw), "vdi") is True


WRITES = [
    (0, 4096, 0),
    (300 * foreign.KIB, 70 * foreign.KIB, 7),
    (12 * foreign.MIB + 64 * foreign.KIB, 64 * foreign.KIB, 0),
    (23 * foreign.MIB, 512, 9),
]


@pytest.mark.parametrize(
    "format, kind, options",
    [("qcow2", "qcow2 v3", ()), ("qcow2", "qcow2 v2", ("-o", "compat=0.10")), ("vmdk", "vmdk monolithicSparse", ())],
)
def test_chains_that_qemu_made(tmp_path: Path, format: str, kind: str, options: tuple) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", "sparse")
    base = foreign.make_foreign(tmp_path / "base.img", kind, raw)
    middle_raw = foreign.copy_sparse(raw, str(tmp_path / "middle.raw"))
    middle = foreign.make_overlay(tmp_path / "middle.img", format, base, WRITES, middle_raw, *options)
    top_raw = foreign.copy_sparse(middle_raw, str(tmp_path / "top.raw"))
    top = foreign.make_overlay(
        tmp_path / "top.img", format, middle, [(8 * foreign.MIB, foreign.MIB, 3)], top_raw, *options
    )
    marks = kind == "qcow2 v3"
    for paths, expected in (([base], raw), ([base, middle], middle_raw), ([base, middle, top], top_raw)):
        assert "qemu" in foreign.compare_with_all(paths, format, expected, has_marks=marks and len(paths) > 1)
    with pytest.raises(AssertionError):
        foreign.compare_with_qemu(top, format, middle_raw)


def test_nobody_is_trusted_with_what_they_read_wrongly(tmp_path: Path) -> None:
    require("qemu-img")
    raw = foreign.make_raw(tmp_path / "disk.raw", "fragmented")
    paths = {
        name: foreign.make_foreign(tmp_path / name.replace(" ", "-"), name, raw)
        for name in ("qcow2 v2", "qcow2 v3", "qcow2 zlib", "qcow2 zstd", "vhd fixed")
    }
    assert "libyal" not in foreign.readers(paths["qcow2 zlib"], "qcow2")
    assert "libyal" not in foreign.readers(paths["qcow2 zstd"], "qcow2")
    assert "libyal" not in foreign.readers(paths["qcow2 v3"], "qcow2", is_overlay=True, has_marks=True)
    assert "dissect" not in foreign.readers(paths["qcow2 v2"], "qcow2", is_overlay=True)
    assert set(foreign.readers(paths["vhd fixed"], "vhd", is_overlay=True)) <= {"libyal"}
    assert set(foreign.readers(paths["vhd fixed"], "vhdx", is_overlay=True)) <= {"libyal", "dissect"}
