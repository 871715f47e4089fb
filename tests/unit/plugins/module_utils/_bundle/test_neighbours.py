# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.neighbours import (
    Standing,
    Vicinity,
    surroundings_of,
    with_surroundings,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import bundle_location
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.surroundings import Surroundings
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, BuiltBundle, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine

PORT = OsPort()
ONE = guid_of(1)


def machine(folder: Path, **options: Any) -> BuiltBundle:
    make_machine(str(folder), disk="a.hdd", **options)
    return build_bundle(str(folder / "a.hdd"), size_sectors=64, layers=[Layer(ONE), Layer(TOP, ONE)], cluster_sectors=8)


def clone_of(built: BuiltBundle, folder: Path, name: str) -> str:
    """A disk at ``folder`` whose descriptor calls the first layer of ``built`` by ``name``."""
    folder.parent.mkdir(exist_ok=True)
    made = build_bundle(str(folder), size_sectors=64, layers=[Layer(ONE), Layer(TOP, ONE)], cluster_sectors=8)
    path = Path(made.directory, "DiskDescriptor.xml")
    path.write_text(path.read_text().replace(os.path.basename(made.files[(0, ONE)]), name))
    return made.directory


def around(path: str) -> Surroundings:
    return with_surroundings(PORT, disks.state_of(PORT, path), path)[1]


@pytest.fixture(name="vms")
def _vms(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


@pytest.mark.parametrize("place", ["b.pvm/b.hdd", "b.macvm/b.hdd", "b.hdd", "a.pvm/b.hdd"])
@pytest.mark.parametrize("is_absolute", [False, True])
def test_a_clone_beside_the_machine_is_found_by_either_spelling(vms: Path, place: str, is_absolute: bool) -> None:
    built = machine(vms / "a.pvm")
    image = built.files[(0, ONE)]
    name = image if is_absolute else os.path.relpath(image, vms / place)
    clone = clone_of(built, vms / place, name)
    (found,) = around(built.directory).clones
    assert found == (clone, image)


def test_disks_that_stand_on_themselves_or_on_others_are_no_clones(vms: Path) -> None:
    built, other = machine(vms / "a.pvm"), machine(vms / "c.pvm")
    clone_of(other, vms / "b.pvm" / "b.hdd", other.files[(0, ONE)])
    assert around(built.directory).clones == ()
    assert around(built.directory).unknown == ()


def test_a_neighbour_that_cannot_be_understood_is_passed_over(vms: Path) -> None:
    built = machine(vms / "a.pvm")
    (vms / "b.hdd").mkdir()
    (vms / "b.hdd" / "DiskDescriptor.xml").write_bytes(b"<File>/x</File><broken")
    (vms / "c.hdd").write_bytes(b"a file")
    (vms / "d.hdd").symlink_to("/nowhere")
    assert around(built.directory).clones == ()


def test_a_disk_that_is_reached_by_a_link_belongs_to_the_machine_of_the_link(vms: Path) -> None:
    built = machine(vms / "fast", snapshots={ONE: "kept"})
    (vms / "fast" / "config.pvs").unlink()
    (vms / "fast" / "Snapshots.xml").unlink()
    make_machine(str(vms / "m.pvm"), disk="mac.hdd", snapshots={ONE: "kept"})
    link = vms / "m.pvm" / "mac.hdd"
    link.symlink_to(built.directory)
    found = around(str(link)).machine
    assert found.needed == (ONE,) and found.facts is not None and found.facts.disk_index == 0
    assert around(built.directory).machine.needed == ()


def test_a_link_in_a_machine_beside_the_disk_is_found_by_itself(vms: Path) -> None:
    built = build_bundle(str(vms / "a.hdd"), size_sectors=64, layers=[Layer(ONE), Layer(TOP, ONE)], cluster_sectors=8)
    make_machine(str(vms / "m.pvm"), disk="a.hdd", snapshots={ONE: "kept"})
    (vms / "m.pvm" / "a.hdd").symlink_to(built.directory)
    assert around(built.directory).machine.needed == (ONE,)


def test_more_neighbours_than_can_be_searched_are_reported(vms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle import neighbours

    monkeypatch.setattr(neighbours, "_MOST_NEIGHBOURS", 2)
    built = machine(vms / "a.pvm")
    for number in range(4):
        (vms / f"{number}.hdd").mkdir()
    (told,) = around(built.directory).unknown
    assert "more than 2 disks" in told


def test_who_looks_at_several_disks_knows_a_clone_in_any_of_their_folders(vms: Path) -> None:
    (vms / "one").mkdir()
    (vms / "two").mkdir()
    built = machine(vms / "one" / "a.pvm")
    clone = clone_of(built, vms / "two" / "b.hdd", built.files[(0, ONE)])
    assert around(built.directory).clones == ()
    standing = Standing(PORT)
    standing.look_at(clone)
    standing.look_at(clone)
    found = with_surroundings(PORT, disks.state_of(PORT, built.directory), standing=standing)[1]
    assert found.clones == ((clone, built.files[(0, ONE)]),)


SPELLINGS = {
    "entity": lambda name: name.replace("/", "&#47;"),
    "character data": lambda name: f"<![CDATA[{name}]]>",
    "absolute": lambda name: name,
    "white space": lambda name: f"\n    {name}\t\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_clone_is_found_however_its_descriptor_is_written(vms: Path, spelling: str, encoding: str) -> None:
    built = machine(vms / "a.pvm")
    image = built.files[(0, ONE)]
    clone = clone_of(built, vms / "b.hdd", SPELLINGS[spelling](image))
    path = Path(clone, "DiskDescriptor.xml")
    path.write_bytes(path.read_text().replace("UTF-8", encoding.upper()).encode(encoding))
    (found,) = around(built.directory).clones
    assert found == (clone, image)


@pytest.mark.parametrize("name", ["base.hds", " base.hds\n"])
def test_a_clone_that_stands_on_an_image_by_a_link_is_found(vms: Path, name: str) -> None:
    built = machine(vms / "a.pvm")
    image = built.files[(0, ONE)]
    clone = clone_of(built, vms / "b.hdd", name)
    Path(clone, "base.hds").symlink_to(image)
    (found,) = around(built.directory).clones
    assert found == (clone, image)


@pytest.mark.parametrize("content", [b"", bytes(900), b"<Parallels_disk_image><File>x.hds</File>", None])
def test_a_neighbour_that_might_be_a_clone_and_cannot_be_read_is_told(vms: Path, content: Any) -> None:
    built = machine(vms / "a.pvm")
    other = machine(vms / "b.pvm")
    path = Path(other.descriptor)
    if content is None:
        path.rename(f"{path}.Backup")
    else:
        path.write_bytes(content)
    (told,) = around(built.directory).unknown
    assert told.startswith(f"{other.directory} cannot be read") and "repair" not in told
    # It says nothing of itself.
    assert (
        surroundings_of(PORT, bundle_location(other.directory), (), Vicinity(other.directory, Standing(PORT))).unknown
        == ()
    )


def test_files_that_no_descriptor_names_may_be_what_a_clone_stands_on(vms: Path) -> None:
    built = machine(vms / "a.pvm")
    left = Path(built.directory, "left.hds")
    left.write_bytes(b"x")
    clone = clone_of(built, vms / "b.hdd", str(left))
    assert (clone, str(left)) in around(built.directory).clones
