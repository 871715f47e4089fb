# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image below an overlay, as VirtualBox, libvirt and Hyper-V link it: found, and known to be the right one."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any, Optional

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
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.writer import VhdWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.backing import find_chain, open_chain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign import parents
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.allowed import Reach
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import vmdk_files
from ansible_collections.vdisk.parallels.tests.support.vdi_images import ZERO, build_vdi

BLOCK = 4096
SIZE = 8 * BLOCK
BASE, CHANGE, CHILD, OTHER = (uuid.UUID(int=(0x11111111 * number) << 96 | number) for number in range(1, 5))
ONE = "{11111111-1111-4111-8111-111111111111}"


class WatchfulPort(OsPort):
    """Opens nothing outside of one folder, whatever way the name takes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = str(folder)

    def open_read(self, path: str) -> File:
        assert os.path.realpath(path).startswith(self.folder + "/"), f"opened {path}"
        return super().open_read(path)


def block(mark: str) -> bytes:
    return mark.encode() * BLOCK


def base_vdi(path: Path, *, image: uuid.UUID = BASE, modified: uuid.UUID = CHANGE) -> Path:
    contents = {0: block("a"), 1: block("b"), 2: block("c")}
    build_vdi(str(path), size=SIZE, block=BLOCK, contents=contents, created=image.bytes_le, modified=modified.bytes_le)
    return path


def child_vdi(path: Path, *, modified: uuid.UUID = CHANGE) -> Path:
    build_vdi(
        str(path),
        size=SIZE,
        block=BLOCK,
        contents={1: block("B")},
        entries={2: ZERO},
        type=4,
        created=CHILD.bytes_le,
        linkage=BASE.bytes_le,
        parent_modified=modified.bytes_le,
    )
    return path


def vmdk(path: Path, marks: str, *, image: uuid.UUID, parent: Optional[uuid.UUID] = None) -> Path:
    more = [f'ddb.uuid.image="{image}"', f'ddb.uuid.parent="{parent or uuid.UUID(int=0)}"']
    more += [f'ddb.uuid.{name}="{uuid.UUID(int=0)}"' for name in ("modification", "parentmodification")]
    descriptor = vmdk_files.text("monolithicSparse", [f'RW {SIZE // 512} SPARSE "{path.name}"'], more=more)
    grains = {number: block(mark) for number, mark in enumerate(marks) if mark != "."}
    path.write_bytes(vmdk_files.sparse(capacity=SIZE // 512, grains=grains, descriptor=descriptor).raw)
    return path


def seen(port: OsPort, path: Path, **options: Any) -> str:
    """The first byte of each block of the guest disk, with a dot for zeros."""
    format = path.suffix.lstrip(".")
    chain = find_chain(port, str(path), format=format, **{"backing": True, **options})
    view = open_chain(port, chain)
    content = bytearray(SIZE)
    view.pread_into(0, content)
    view.close()
    return bytes(content[::BLOCK]).replace(b"\0", b".").decode("latin-1")


def refused(port: OsPort, path: Path, error: type, **options: Any) -> DiskError:
    with pytest.raises(error) as caught:
        seen(port, path, **options)
    found: DiskError = caught.value
    return found


def folders(tmp_path: Path) -> Path:
    (tmp_path / "web" / "Snapshots").mkdir(parents=True)
    (tmp_path / "store" / "deep").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("place", ["web/Snapshots/base.vdi", "web/x.vdi"])
def test_a_vdi_finds_its_parent_beside_it_or_above_snapshots(tmp_path: Path, place: str) -> None:
    base_vdi(folders(tmp_path) / place)
    base_vdi(tmp_path / "web" / "another.vdi", image=OTHER)
    child = child_vdi(tmp_path / "web" / "Snapshots" / "{1}.vdi")
    assert seen(WatchfulPort(tmp_path / "web"), child) == "aB......"


def test_a_vmdk_of_virtualbox_finds_its_parent_by_its_uuid_alone(tmp_path: Path) -> None:
    port = WatchfulPort(folders(tmp_path) / "web")
    vmdk(tmp_path / "web" / "base.vmdk", "abc.....", image=BASE)
    child = vmdk(tmp_path / "web" / "diff.vmdk", ".B.D....", image=CHILD, parent=BASE)
    assert seen(port, child) == "aBcD...."
    above = vmdk(tmp_path / "web" / "Snapshots" / "more.vmdk", "......Z.", image=OTHER, parent=CHILD)
    assert seen(port, above) == "aBcD..Z."


def test_a_linked_clone_is_on_a_snapshot_in_a_folder_that_the_user_names(tmp_path: Path) -> None:
    (folders(tmp_path) / "store" / "Snapshots").mkdir()
    base_vdi(tmp_path / "store" / "Snapshots" / "{1}.vdi")
    child = child_vdi(tmp_path / "web" / "clone.vdi")
    refused(WatchfulPort(tmp_path / "web"), child, MissingImage)
    assert seen(WatchfulPort(tmp_path), child, reach=Reach((str(tmp_path / "store"),))) == "aB......"


def test_parents_may_be_of_another_format_of_virtualbox(tmp_path: Path) -> None:
    vmdk(tmp_path / "base.vmdk", "xyz.....", image=BASE)
    assert seen(WatchfulPort(tmp_path), child_vdi(tmp_path / "child.vdi")) == "xB......"


def test_a_differencing_image_is_never_a_whole_disk(tmp_path: Path) -> None:
    port = WatchfulPort(folders(tmp_path) / "web")
    base_vdi(tmp_path / "base.vdi")
    base_vdi(tmp_path / "store" / "deep" / "base.vdi")
    for child in (
        child_vdi(tmp_path / "web" / "child.vdi"),
        vmdk(tmp_path / "web" / "child.vmdk", "B.......", image=CHILD, parent=BASE),
    ):
        alone = refused(port, child, BadRequest, backing=False)
        assert str(BASE) in alone.message and "backing: true" in str(alone)
        missing = refused(port, child, MissingImage)
        assert str(BASE) in missing.message and "backing_paths" in str(missing)


def test_backing_paths_are_looked_into(tmp_path: Path) -> None:
    base_vdi(folders(tmp_path) / "store" / "deep" / "base.vdi")
    child = child_vdi(tmp_path / "web" / "child.vdi")
    port = WatchfulPort(tmp_path)
    assert seen(port, child, reach=Reach((str(tmp_path / "store" / "deep"),))) == "aB......"
    # Only names reach deeper; nobody wants to search all of a store.
    refused(port, child, MissingImage, reach=Reach((str(tmp_path / "store"),)))


def test_a_parent_that_was_changed_is_refused_with_both_values(tmp_path: Path) -> None:
    base_vdi(tmp_path / "base.vdi", modified=OTHER)
    child = child_vdi(tmp_path / "child.vdi")
    error = refused(WatchfulPort(tmp_path), child, Damaged)
    assert str(CHANGE) in str(error.expected) and str(OTHER) in str(error.found) and error.path == str(child)
    # A copy as it was is better than the changed one.
    base_vdi(tmp_path / "copy.vdi")
    assert seen(WatchfulPort(tmp_path), child) == "aB......"


def test_what_stands_beside_and_is_no_image_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.vdi").write_bytes(b"<<<")
    (tmp_path / "b.vmdk").write_bytes(b"KDMV" + bytes(2000))
    (tmp_path / "c.vdi").mkdir()
    os.mkfifo(tmp_path / "d.vmdk")
    (tmp_path / "e.vmdk").write_text("x" * 100)
    os.symlink("/etc/hostname", tmp_path / "f.vdi")
    os.symlink("nowhere", tmp_path / "g.vdi")
    base_vdi(tmp_path / "z.vdi")
    assert seen(WatchfulPort(tmp_path), child_vdi(tmp_path / "child.vdi")) == "aB......"


def test_a_link_that_leads_out_is_no_parent(tmp_path: Path) -> None:
    base_vdi(folders(tmp_path) / "base.vdi")
    os.symlink("../base.vdi", tmp_path / "web" / "base.vdi")
    refused(WatchfulPort(tmp_path / "web"), child_vdi(tmp_path / "web" / "child.vdi"), MissingImage)


def test_images_that_name_each_other_by_uuid_end(tmp_path: Path) -> None:
    vmdk(tmp_path / "a.vmdk", "a.......", image=BASE, parent=CHILD)
    error = refused(WatchfulPort(tmp_path), vmdk(tmp_path / "b.vmdk", "........", image=CHILD, parent=BASE), Damaged)
    assert "circle" in error.message


def test_only_so_many_images_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parents, "MOST_CANDIDATES", 2)
    base_vdi(tmp_path / "z.vdi")
    child = child_vdi(tmp_path / "b.vdi")
    assert seen(WatchfulPort(tmp_path), child) == "aB......"
    base_vdi(tmp_path / "a.vdi", image=OTHER)
    refused(WatchfulPort(tmp_path), child, MissingImage)


def qcow2(path: Path, marks: str, parent: Optional[str] = None, *, format: Optional[str] = "qcow2") -> Path:
    file = OsPort().create(str(path))
    below = ParentImage(parent, ONE) if parent is not None else None
    writer = Qcow2Writer(
        file, size_bytes=SIZE, cluster_bytes=BLOCK, parent=below, parent_format=format or "none of them"
    )
    for number, mark in enumerate(marks):
        if mark != ".":
            writer.write(number * BLOCK, block(mark))
    writer.finish(ONE)
    file.close()
    if format is None:
        # The header extension with the format becomes one that nobody knows.
        path.write_bytes(path.read_bytes().replace(b"\xe2\x79\x2a\xca", b"\x12\x34\x56\x78", 1))
    return path


@pytest.mark.parametrize("name", ["/var/lib/images/base.qcow2", "../images/base.qcow2", "gone/base.qcow2"])
def test_files_that_were_moved_together_are_found_by_their_bare_names_with_a_warning(tmp_path: Path, name: str) -> None:
    base = qcow2(tmp_path / "base.qcow2", "abc.....")
    top = qcow2(tmp_path / "top.qcow2", ".B......", name)
    port = WatchfulPort(tmp_path)
    assert seen(port, top) == "aBc....."
    chain = find_chain(port, str(top), format="qcow2", backing=True)
    assert chain.warnings == (f"{top}: it names {name}; {base} was read instead.",)


def test_a_name_that_is_right_is_preferred_to_a_bare_one(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    qcow2(tmp_path / "base.qcow2", "x.......")
    qcow2(tmp_path / "deep" / "base.qcow2", "abc.....")
    top = qcow2(tmp_path / "top.qcow2", ".B......", "deep/base.qcow2")
    assert seen(WatchfulPort(tmp_path), top) == "aBc....."
    assert find_chain(OsPort(), str(top), format="qcow2", backing=True).warnings == ()


@pytest.mark.parametrize("name", ["nbd://host/base.qcow2", "json:/base.qcow2"])
def test_protocols_have_no_bare_names(tmp_path: Path, name: str) -> None:
    qcow2(tmp_path / "base.qcow2", "abc.....")
    # A careful writer would not let such a name through, so it is planted.
    top = qcow2(tmp_path / "top.qcow2", "........", "n" * len(name))
    top.write_bytes(top.read_bytes().replace(b"n" * len(name), name.encode(), 1))
    error = refused(WatchfulPort(tmp_path), top, Escape)
    step = f"qemu-img convert -f qcow2 -O raw {top} {top.with_suffix('.raw')}"
    assert error.hint == f"Convert it and name the result: {step}"


def test_a_backing_path_allows_an_absolute_name(tmp_path: Path) -> None:
    base = qcow2(folders(tmp_path) / "store" / "deep" / "base.qcow2", "abc.....")
    top = qcow2(tmp_path / "web" / "top.qcow2", ".B......", str(base))
    error = refused(WatchfulPort(tmp_path / "web"), top, Escape)
    assert f"backing_paths: [{base.parent}]" in str(error)
    assert seen(WatchfulPort(tmp_path), top, reach=Reach((str(tmp_path / "store"),))) == "aBc....."


def test_a_format_that_is_not_recorded_is_named_by_the_user_and_never_guessed(tmp_path: Path) -> None:
    qcow2(tmp_path / "base.qcow2", "abc.....")
    top = qcow2(tmp_path / "top.qcow2", ".B......", "base.qcow2", format=None)
    port = WatchfulPort(tmp_path)
    assert "backing_format" in str(refused(port, top, Unsupported))
    assert seen(port, top, reach=Reach(format="qcow2")) == "aBc....."
    assert seen(port, top, reach=Reach(format="raw"))[0] == "Q"
    # What the overlay says counts more.
    known = qcow2(tmp_path / "known.qcow2", ".B......", "base.qcow2")
    assert seen(port, known, reach=Reach(format="raw")) == "aBc....."


def vhd(path: Path, *, time: int, parent: Optional[ParentImage] = None) -> Path:
    file = OsPort().create(str(path))
    kind = "differencing" if parent else "dynamic"
    VhdWriter(file, subformat=kind, size_bytes=4 << 20, parent=parent, timestamp=time).finish(ONE)
    file.close()
    return path


def test_a_vhd_parent_that_was_written_later_is_told(tmp_path: Path) -> None:
    made = 1_700_000_000
    base = vhd(tmp_path / "base.vhd", time=made - 500)
    child = vhd(tmp_path / "child.vhd", time=made, parent=ParentImage("base.vhd", ONE))

    def warnings(changed: int) -> str:
        os.utime(base, (changed, changed))
        return " ".join(find_chain(OsPort(), str(child), format="vhd", backing=True).warnings)

    assert warnings(made) == "" and warnings(made + 2) == "" and warnings(made - 9) == ""
    assert str(made) in warnings(made + 60) and str(made + 60) in warnings(made + 60)
