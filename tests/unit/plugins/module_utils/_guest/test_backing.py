# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files an image of another product may lead to, and which not."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    Escape,
    MissingImage,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.writer import Qcow2Writer
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.writer import VhdxWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._guest import backing as foreign
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.backing import find_chain, open_chain
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

SIZE = 1 << 20
ONE, TWO = "{11111111-1111-4111-8111-111111111111}", "{22222222-2222-4222-8222-222222222222}"


class WatchfulPort(OsPort):
    """Knows every file that was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: List[str] = []

    def open_read(self, path: str) -> File:
        self.opened.append(path)
        return super().open_read(path)


@pytest.fixture(name="port")
def _port() -> WatchfulPort:
    return WatchfulPort()


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "vm" / "deep").mkdir(parents=True)
    return tmp_path / "vm"


def qcow2(
    path: Path, parent: Optional[str] = None, *, format: str = "qcow2", size: int = SIZE, marks: bytes = b""
) -> Path:
    """A small image; ``marks`` are written to the cluster of each byte's position."""
    file = OsPort().create(str(path))
    writer = Qcow2Writer(
        file, size_bytes=size, parent=ParentImage(parent, ONE) if parent is not None else None, parent_format=format
    )
    for number, mark in enumerate(marks):
        if mark != ord("."):
            writer.write(number * 65536, bytes([mark]) * 65536)
    writer.finish(ONE)
    file.close()
    return path


def look(port: OsPort, path: Path, **options: Any) -> Any:
    return find_chain(port, str(path), format="qcow2", **{"backing": True, **options})


def test_a_chain_is_read_through_with_every_file_it_consists_of(port: WatchfulPort, folder: Path) -> None:
    qcow2(folder / "deep" / "base.qcow2", marks=b"aaaa")
    qcow2(folder / "mid.qcow2", "deep/base.qcow2", marks=b".bb.")
    top = qcow2(folder / "top.qcow2", str(folder / "mid.qcow2"), marks=b"..c.")
    chain = look(port, top)
    assert [layer.path for layer in chain.layers] == [
        str(folder / name) for name in ("top.qcow2", "mid.qcow2", "deep/base.qcow2")
    ]
    assert {path for path, _seen in chain.fingerprint} == {layer.path for layer in chain.layers}
    view = open_chain(port, chain)
    buffer = bytearray(SIZE)
    view.pread_into(0, buffer)
    view.close()
    assert bytes(buffer[::65536]) == b"abca" + bytes(12)


def test_the_files_are_closed_again(port: WatchfulPort, folder: Path) -> None:
    qcow2(folder / "base.qcow2")
    top = qcow2(folder / "top.qcow2", "base.qcow2")
    gc.collect()
    before = sorted(os.listdir("/dev/fd"))
    look(port, top)
    with pytest.raises(BadRequest):
        look(port, top, backing=False)
    port.names.close()
    assert sorted(os.listdir("/dev/fd")) == before


def test_without_leave_nothing_below_is_opened(port: WatchfulPort, folder: Path) -> None:
    qcow2(folder / "base.qcow2")
    top = qcow2(folder / "top.qcow2", "base.qcow2")
    with pytest.raises(BadRequest) as caught:
        look(port, top, backing=False)
    assert "base.qcow2" in caught.value.message and "backing: true" in str(caught.value)
    assert port.opened == [str(top)]


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "deep/../../secret",
        "/etc/hostname",
        "deep/link",
        'json:{"driver":"raw","file":{"filename":"/etc/hostname"}}',
        "nbd://localhost/x",
        "http://localhost/x",
        "fd:3",
        "C:/windows/x",
        "//server/share/x",
    ],
)
def test_names_that_lead_out_are_never_opened(port: WatchfulPort, folder: Path, tmp_path: Path, name: str) -> None:
    qcow2(tmp_path / "secret")
    os.symlink(tmp_path / "secret", folder / "deep" / "link")
    # A careful writer would not let such a name through, so it is planted.
    top = qcow2(folder / "top.qcow2", "n" * len(name))
    top.write_bytes(top.read_bytes().replace(b"n" * len(name), name.encode(), 1))
    with pytest.raises(Escape) as caught:
        look(port, top)
    assert caught.value.path == str(top)
    assert port.opened == [str(top)]


def test_a_missing_image_is_named(port: WatchfulPort, folder: Path) -> None:
    top = qcow2(folder / "top.qcow2", "gone.qcow2")
    with pytest.raises(MissingImage) as caught:
        look(port, top)
    assert "gone.qcow2" in str(caught.value)


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_what_is_no_file_is_not_opened(port: WatchfulPort, folder: Path, kind: str) -> None:
    (os.mkfifo if kind == "fifo" else os.mkdir)(folder / "base.qcow2")
    with pytest.raises(Unsupported):
        look(port, qcow2(folder / "top.qcow2", "base.qcow2"))
    assert port.opened == [str(folder / "top.qcow2")]


def test_circles_end(port: WatchfulPort, folder: Path) -> None:
    qcow2(folder / "a.qcow2", "b.qcow2")
    qcow2(folder / "b.qcow2", "c.qcow2")
    qcow2(folder / "c.qcow2", "a.qcow2")
    itself = qcow2(folder / "self.qcow2", "self.qcow2")
    for start in (folder / "a.qcow2", itself):
        with pytest.raises(Damaged) as caught:
            look(port, start)
        assert "circle" in str(caught.value)
    os.link(folder / "self.qcow2", folder / "twin.qcow2")
    with pytest.raises(Damaged):
        look(port, qcow2(folder / "above.qcow2", "twin.qcow2"))


def test_chains_have_an_end(port: WatchfulPort, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "MOST_LAYERS", 3)
    qcow2(folder / "0.qcow2")
    for number in range(1, 4):
        qcow2(folder / f"{number}.qcow2", f"{number - 1}.qcow2")
    assert len(look(port, folder / "2.qcow2").layers) == 3
    with pytest.raises(Unsupported):
        look(port, folder / "3.qcow2")


def test_the_format_below_is_never_guessed(port: WatchfulPort, folder: Path) -> None:
    qcow2(folder / "base.qcow2", marks=b"a")
    top = qcow2(folder / "top.qcow2", "base.qcow2", format="raw")
    view = open_chain(port, look(port, top))
    buffer = bytearray(4)
    view.pread_into(0, buffer)
    view.close()
    assert buffer == b"QFI\xfb"
    with pytest.raises(Unsupported) as caught:
        look(port, qcow2(folder / "odd.qcow2", "base.qcow2", format="luks"))
    assert "luks" in str(caught.value)


def test_a_smaller_image_below_reads_as_zeros_behind_its_end_and_a_larger_one_is_cut_with_a_warning(
    port: WatchfulPort, folder: Path
) -> None:
    qcow2(folder / "small.qcow2", size=2 * 65536, marks=b"ss")
    chain = look(port, qcow2(folder / "top.qcow2", "small.qcow2", marks=b".t"))
    view = open_chain(port, chain)
    buffer = bytearray(SIZE)
    view.pread_into(0, buffer)
    view.close()
    assert bytes(buffer[::65536]) == b"st" + bytes(14) and chain.warnings == ()
    qcow2(folder / "large.qcow2", size=4 * SIZE, marks=b"l")
    cut = look(port, qcow2(folder / "over.qcow2", "large.qcow2"))
    assert cut.size == SIZE and any("larger" in warning for warning in cut.warnings)


def vhdx(path: Path, identity: str, parent: Optional[ParentImage] = None) -> Path:
    file = OsPort().create(str(path))
    writer = VhdxWriter(
        file, subformat="differencing" if parent else "dynamic", size_bytes=4 << 20, parent=parent, disk_identity=ONE
    )
    writer.finish(identity)
    file.close()
    return path


def test_a_parent_is_known_by_its_identity(port: WatchfulPort, folder: Path) -> None:
    vhdx(folder / "base.vhdx", ONE)
    child = vhdx(folder / "child.vhdx", TWO, ParentImage("base.vhdx", ONE))
    assert len(find_chain(port, str(child), format="vhdx", backing=True).layers) == 2
    (folder / "base.vhdx").unlink()
    vhdx(folder / "base.vhdx", TWO)
    port.forget(str(folder))
    with pytest.raises(Damaged) as caught:
        find_chain(port, str(child), format="vhdx", backing=True)
    assert "not the one" in str(caught.value)


def test_unknown_formats_are_refused(port: WatchfulPort, folder: Path) -> None:
    with pytest.raises(DiskError):
        find_chain(port, str(qcow2(folder / "x")), format="qed", backing=False)
