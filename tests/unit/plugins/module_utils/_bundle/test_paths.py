# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From paths to disks and images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import (
    Location,
    ResolvedImage,
    locate,
    refuse_in_a_bundle,
    resolve_image,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    BadRequest,
    Damaged,
    DiskError,
    Escape,
    MissingImage,
    NotABundle,
    NotFound,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle

MAGICS = (b"WithoutFreeSpace", b"WithouFreSpacExt")


class NoOpening(OsPort):
    """A port on which opening anything fails the test."""

    def open_read(self, path: str) -> object:  # type: ignore[override]
        raise AssertionError(f"{path} was opened")


@pytest.fixture(name="bundle")
def _bundle(tmp_path: Path) -> Path:
    directory = tmp_path / "mac.hdd"
    build_bundle(str(directory), size_sectors=2048, images=False)
    return directory


def location_of(bundle: Path) -> Location:
    return locate(OsPort(), str(bundle))


@pytest.mark.parametrize("entry", ["", "DiskDescriptor.xml", "mac.hdd", "../mac.hdd/", "./DiskDescriptor.xml"])
def test_a_bundle_is_found_by_its_directory_its_descriptor_and_its_inner_file(bundle: Path, entry: str) -> None:
    real = os.path.realpath(bundle)
    assert locate(NoOpening(), os.path.join(bundle, entry)) == Location(
        "bundle", real, real + "/DiskDescriptor.xml", None, "mac.hdd", "mac"
    )


def test_a_bundle_is_found_by_a_relative_path(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle)
    assert location_of(Path(".")) == location_of(Path("mac.hdd")) == location_of(bundle)


def test_links_to_a_bundle_lead_to_the_bundle(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "link.hdd").symlink_to(bundle)
    (tmp_path / "link.xml").symlink_to(bundle / "DiskDescriptor.xml")
    assert location_of(tmp_path / "link.hdd") == location_of(tmp_path / "link.xml") == location_of(bundle)


def test_a_directory_without_the_ending_is_a_bundle_too(tmp_path: Path) -> None:
    build_bundle(str(tmp_path / "ploop"), size_sectors=2048, style="ploop", images=False)
    assert location_of(tmp_path / "ploop").name == location_of(tmp_path / "ploop").base == "ploop"


@pytest.mark.parametrize("name", ["old.hdd", "disk.hds", "disk"])
@pytest.mark.parametrize("magic", MAGICS)
def test_an_expanding_image_by_itself_is_a_single_file(tmp_path: Path, magic: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(magic + bytes(49))
    real = os.path.realpath(path)
    stem = "old" if name == "old.hdd" else name
    assert location_of(path) == Location("single_file", os.path.dirname(real), real, real, name, stem)


def test_an_image_in_a_bundle_is_a_single_file_when_it_is_named(bundle: Path) -> None:
    image = bundle / "mac.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds"
    image.write_bytes(MAGICS[0] + bytes(496))
    assert location_of(image).kind == "single_file"


def test_a_raw_file_is_a_single_file_only_when_it_is_named_hdd_and_whole_sectors(tmp_path: Path) -> None:
    (tmp_path / "raw.HDD").write_bytes(bytes(1024))
    assert location_of(tmp_path / "raw.HDD").kind == "single_file"
    for name, size in (("a.hdd", 1023), ("b.hdd", 0), ("c.img", 1024), ("d.hds", 512), ("e.hds", 0)):
        (tmp_path / name).write_bytes(bytes(size))
        with pytest.raises(NotABundle) as caught:
            location_of(tmp_path / name)
        assert caught.value.hint


def test_a_directory_without_a_descriptor_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(NotABundle):
        location_of(tmp_path)


def test_a_descriptor_that_is_a_directory_or_a_fifo_makes_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "a" / "DiskDescriptor.xml").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b" / "DiskDescriptor.xml")
    for path in (tmp_path / "a", tmp_path / "b", tmp_path / "b" / "DiskDescriptor.xml"):
        with pytest.raises(NotABundle):
            locate(NoOpening(), str(path))


@pytest.mark.parametrize("name", ["pipe", "pipe.hdd"])
def test_a_fifo_is_refused_without_opening_it(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(NotABundle):
        locate(NoOpening(), str(tmp_path / name))


def test_a_device_is_refused_without_opening_it() -> None:
    with pytest.raises(NotABundle):
        locate(NoOpening(), "/dev/null")


def test_nothing_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for name in ("gone.hdd", "gone/DiskDescriptor.xml", "dangling"):
        with pytest.raises(NotFound):
            location_of(tmp_path / name)


@pytest.mark.parametrize("path", ["", "a\0b", "\0"])
def test_what_cannot_be_a_path_is_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        locate(OsPort(), path)


def test_a_loop_of_links_ends_in_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DiskError):
        location_of(tmp_path / "loop")


def test_a_descriptor_that_leads_out_of_the_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    os.rename(bundle / "DiskDescriptor.xml", tmp_path / "elsewhere.xml")
    (bundle / "DiskDescriptor.xml").symlink_to(tmp_path / "elsewhere.xml")
    with pytest.raises(Escape):
        location_of(bundle)


def image_in(bundle: Path, name: str) -> str:
    path = bundle / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    return os.path.realpath(path)


def resolved(bundle: Path, file: str, *, allow_outside: bool = False) -> ResolvedImage:
    return resolve_image(NoOpening(), location_of(bundle), file, allow_outside=allow_outside)


@pytest.mark.parametrize(
    "name", ["a.hds", "a b.hds", "C:\\Users\\a.hds", "..\\a.hds", "sub/a.hds", "...", "..a", "%2e%2e", "ü\n.hds"]
)
@pytest.mark.parametrize("spelling", ["{}", "./{}", "../mac.hdd/{}", ".//{}"])
def test_a_relative_name_that_stays_inside_is_inside(bundle: Path, spelling: str, name: str) -> None:
    real = image_in(bundle, name)
    assert resolved(bundle, spelling.format(name)) == ResolvedImage(real, False)


def test_an_absolute_path_into_the_bundle_is_inside(bundle: Path, tmp_path: Path) -> None:
    real = image_in(bundle, "a.hds")
    (tmp_path / "link.hdd").symlink_to(bundle)
    assert (
        resolved(bundle, real) == resolved(bundle, str(tmp_path / "link.hdd" / "a.hds")) == ResolvedImage(real, False)
    )


def test_a_link_within_the_bundle_is_inside(bundle: Path) -> None:
    real = image_in(bundle, "a.hds")
    (bundle / "link.hds").symlink_to("a.hds")
    assert resolved(bundle, "link.hds") == ResolvedImage(real, False)


def test_a_moved_bundle_is_recognised_by_base_names(bundle: Path) -> None:
    real = image_in(bundle, "a.hds")
    assert resolved(bundle, "/where/it/was/mac.hdd/a.hds") == ResolvedImage(real, False)


def by_parent(bundle: Path, outside: Path) -> str:
    return "../outside.hds"


def by_absolute_path(bundle: Path, outside: Path) -> str:
    return str(outside)


def by_link(bundle: Path, outside: Path) -> str:
    (bundle / "link.hds").symlink_to(outside)
    return "link.hds"


def by_linked_directory(bundle: Path, outside: Path) -> str:
    (bundle / "sub").symlink_to(outside.parent)
    return "sub/outside.hds"


def by_chain_of_links(bundle: Path, outside: Path) -> str:
    (bundle / "one").symlink_to("two")
    (bundle / "two").symlink_to("../outside.hds")
    return "one"


def by_moved_link(bundle: Path, outside: Path) -> str:
    (bundle / "link.hds").symlink_to(outside)
    return "/where/it/was/link.hds"


def by_sibling_with_the_same_beginning(bundle: Path, outside: Path) -> str:
    sibling = bundle.parent / "mac.hdd2"
    sibling.mkdir()
    os.rename(outside, sibling / "outside.hds")
    outside.symlink_to(sibling / "outside.hds")
    return "../mac.hdd2/outside.hds"


@pytest.mark.parametrize(
    "way",
    [
        by_parent,
        by_absolute_path,
        by_link,
        by_linked_directory,
        by_chain_of_links,
        by_moved_link,
        by_sibling_with_the_same_beginning,
    ],
)
def test_every_way_out_is_an_escape_unless_it_is_allowed(
    bundle: Path, tmp_path: Path, way: Callable[[Path, Path], str]
) -> None:
    outside = tmp_path / "outside.hds"
    outside.write_bytes(b"x")
    file = way(bundle, outside)
    with pytest.raises(Escape) as caught:
        resolved(bundle, file)
    assert "allow_outside" in (caught.value.hint or "")
    assert resolved(bundle, file, allow_outside=True) == ResolvedImage(os.path.realpath(outside), True)


@pytest.mark.parametrize(
    "file", ["../gone.hds", "/gone/gone.hds", "dangling.hds", "/etc/passwd", "../../../../../../../etc/passwd"]
)
def test_it_is_an_escape_whether_or_not_something_is_there(bundle: Path, file: str) -> None:
    (bundle / "dangling.hds").symlink_to("/gone/gone.hds")
    with pytest.raises(Escape):
        resolved(bundle, file)


@pytest.mark.parametrize("file", ["gone.hds", "sub/gone.hds", "inner.hds"])
def test_an_image_that_is_not_there_is_missing(bundle: Path, file: str) -> None:
    (bundle / "inner.hds").symlink_to("gone.hds")
    with pytest.raises(MissingImage):
        resolved(bundle, file)


def test_an_image_that_is_not_there_is_missing_outside_too(bundle: Path) -> None:
    with pytest.raises(MissingImage):
        resolved(bundle, "../gone.hds", allow_outside=True)


@pytest.mark.parametrize("file", ["", ".", "..", "/", "./", "sub/", "sub/..", "a\0b", "/a/../", "x" * 5000])
@pytest.mark.parametrize("allow_outside", [False, True])
def test_what_names_no_file_is_damaged(bundle: Path, file: str, allow_outside: bool) -> None:
    (bundle / "sub").mkdir()
    with pytest.raises(Damaged):
        resolved(bundle, file, allow_outside=allow_outside)


@pytest.mark.parametrize("where", ["pipe", "directory", "link"])
def test_what_is_no_regular_file_is_damaged_and_never_opened(bundle: Path, tmp_path: Path, where: str) -> None:
    os.mkfifo(bundle / "pipe")
    (bundle / "directory").mkdir()
    (bundle / "link").symlink_to("pipe")
    with pytest.raises(Damaged):
        resolved(bundle, where)
    os.mkfifo(tmp_path / "outside")
    with pytest.raises(Damaged):
        resolved(bundle, "../outside", allow_outside=True)


@pytest.mark.parametrize("allow_outside", [False, True])
def test_loops_of_links_end_in_an_error(bundle: Path, allow_outside: bool) -> None:
    (bundle / "one.hds").symlink_to("two.hds")
    (bundle / "two.hds").symlink_to("one.hds")
    for file in ("one.hds", "one.hds/x", "/where/one.hds"):
        with pytest.raises(DiskError):
            resolved(bundle, file, allow_outside=allow_outside)


def test_a_name_longer_than_the_host_allows_ends_in_an_error(bundle: Path) -> None:
    with pytest.raises(DiskError):
        resolved(bundle, "x" * 300)


def test_who_names_the_folder_of_disks_is_told_which_are_in_it(tmp_path: Path) -> None:
    folder = Path(os.path.realpath(tmp_path)) / "vms"
    (folder / "deep").mkdir(parents=True)
    for made, path, told in (
        ("deep/c.hdd", folder, "Name the .hdd directory itself"),
        ("b.pvm/b.hdd", folder, f"Name a disk in it, such as {folder}/b.pvm/b.hdd; "),
        ("b.pvm/a.hdd", folder / "b.pvm", f"Name a disk in it, such as {folder}/b.pvm/a.hdd; hdd_info"),
    ):
        (folder / made).parent.mkdir(exist_ok=True)
        build_bundle(str(folder / made), size_sectors=64, cluster_sectors=8)
        with pytest.raises(NotABundle) as caught:
            locate(OsPort(), str(path))
        assert told in str(caught.value)


def test_the_advice_names_what_is_a_disk(tmp_path: Path) -> None:
    folder = Path(os.path.realpath(tmp_path)) / "vms"
    for name in ("empty.pvm", "x.hdd", "m.pvm/loop.pvm", "m.pvm"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "m.pvm" / "again.pvm").symlink_to(folder / "m.pvm")
    for made in ("m.pvm/a.hdd", "z.hdd"):
        build_bundle(str(folder / made), size_sectors=64, cluster_sectors=8)
        with pytest.raises(NotABundle) as caught:
            locate(OsPort(), str(folder))
        assert f"such as {folder}/{made};" in str(caught.value)


def test_an_output_is_refused_however_deep_below_a_bundle_it_lies(tmp_path: Path) -> None:
    bundle = Path(os.path.realpath(tmp_path)) / "a.hdd"
    build_bundle(str(bundle), size_sectors=64, cluster_sectors=8)
    for below in ("x.raw", "b/x.raw", "b/c/d/x.raw"):
        with pytest.raises(AlreadyExists):
            refuse_in_a_bundle(OsPort(), str(bundle / below))
    refuse_in_a_bundle(OsPort(), str(bundle.parent / "x.raw"))
