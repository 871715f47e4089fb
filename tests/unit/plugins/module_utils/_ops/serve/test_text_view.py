# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A VMDK that is text: where each part of a disk is, and what is refused. QEMU reads it in tests/oracle."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    BadRequest,
    InUse,
    NotFound,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import text_view
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.text_view import (
    plan_text_view,
    refuse_others,
)
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import tree
from ansible_collections.vdisk.parallels.tests.support.nbd import TrialView

MIB = 1 << 20
ONE = guid_of(1)
LINE = re.compile(r'^RW (\d+) FLAT "([^"]+)" (\d+)$', re.MULTILINE)


@pytest.fixture(name="disk")
def disk_fixture(tmp_path):
    layers = [
        Layer(ONE, clusters={0: fill(0, MIB), 1: fill(1, MIB), 2: fill(2, MIB)}),
        Layer(TOP, ONE, clusters={1: fill(3, MIB), 6: fill(4, MIB)}),
    ]
    return build_bundle(str(tmp_path / "mac.hdd"), size_sectors=2048 * 8 + 7, layers=layers)


def plan(source, dest, **options):
    request = ConvertRequest("vmdk", dest, subformat="view", **options)
    return plan_text_view(OsPort(), find_source(OsPort(), source), request, token="trial")


def write(source, dest, **options):
    made = plan(source, dest, **options)
    execute(OsPort(), made)
    return made.facts


def read(dest):
    """The disk as the lines of the text put it together."""
    content = b""
    with open(dest, encoding="utf-8") as stream:
        lines = LINE.findall(stream.read())
    for sectors, name, offset in lines:
        with open(os.path.join(os.path.dirname(dest), name), "rb") as stream:
            stream.seek(int(offset) * 512)
            part = stream.read(int(sectors) * 512)
        assert len(part) == int(sectors) * 512
        content += part
    return content


def test_the_text_puts_the_disk_together(disk, tmp_path):
    before = tree(disk.directory)
    dest = str(tmp_path / "view.vmdk")
    facts = write(disk.directory, dest)
    assert read(dest) == disk.guest(TOP)
    assert os.path.getsize(dest) == len(facts.text) < 4096
    assert os.path.getsize(tmp_path / "view-zeros.vmdk") == facts.zeros == 3 * MIB
    assert os.stat(tmp_path / "view-zeros.vmdk").st_blocks == 0
    assert tree(disk.directory) == before
    assert sorted(os.listdir(tmp_path)) == ["mac.hdd", "view-zeros.vmdk", "view.vmdk"]


def test_a_second_plan_is_empty_until_the_disk_or_a_file_changes(disk, tmp_path):
    dest = str(tmp_path / "view.vmdk")
    write(disk.directory, dest)
    assert plan(disk.directory, dest).is_empty
    assert not plan(disk.directory, dest, update="always").is_empty
    os.truncate(tmp_path / "view-zeros.vmdk", MIB)
    write(disk.directory, dest)
    assert read(dest) == disk.guest(TOP)
    other = build_bundle(str(tmp_path / "other.hdd"), size_sectors=2048 * 64, layers=[Layer(TOP)])
    assert plan(other.directory, dest, update="missing").is_empty
    write(other.directory, dest)
    assert read(dest) == bytes(64 * MIB)


def test_a_disk_without_zeros_needs_no_file_of_them(tmp_path):
    (tmp_path / "disk.raw").write_bytes(fill(1, MIB))
    write(str(tmp_path / "disk.raw"), str(tmp_path / "view.vmdk"))
    assert read(str(tmp_path / "view.vmdk")) == fill(1, MIB)
    assert not os.path.exists(tmp_path / "view-zeros.vmdk")


def test_the_same_places_give_the_same_text(disk, tmp_path):
    facts = [plan(disk.directory, str(tmp_path / "view.vmdk")).facts for _turn in range(2)]
    assert facts[0].text == facts[1].text
    assert b"vdisk.parallels" in facts[0].text


def test_neighbours_in_disk_and_file_are_one_piece(tmp_path):
    layers = [Layer(TOP, clusters={number: fill(number, MIB) for number in range(8)})]
    disk = build_bundle(str(tmp_path / "mac.hdd"), size_sectors=2048 * 8, layers=layers)
    assert len(LINE.findall(plan(disk.directory, str(tmp_path / "view.vmdk")).facts.text.decode())) == 1


def test_a_disk_in_too_many_pieces_is_refused_with_their_number(disk, tmp_path, monkeypatch):
    monkeypatch.setattr(text_view, "MOST_EXTENTS", 6)
    assert plan(disk.directory, str(tmp_path / "view.vmdk"))
    monkeypatch.setattr(text_view, "MOST_EXTENTS", 5)
    with pytest.raises(Unsupported) as caught:
        plan(disk.directory, str(tmp_path / "view.vmdk"))
    assert caught.value.found == 6


@pytest.mark.parametrize("stored", [[], [(0, MIB - 512)], [(512, MIB)], [(0, 100), (100, MIB)]], ids=str)
def test_data_that_no_text_can_point_to_are_refused(stored):
    view = TrialView(bytes(MIB), stored=stored, file=SimpleNamespace(path="/x"))
    with pytest.raises(Unsupported):
        list(text_view._runs(view, "/dest"))


def test_zeros_longer_than_a_file_are_in_pieces():
    view = TrialView(b"", zeros=[(0, 5 << 40)])
    view.size = 5 << 40
    assert [run.length for run in text_view._joined(text_view._runs(view, "/dest"))] == [1 << 40] * 5


@pytest.mark.parametrize("kind", ["image", "directory", "link"])
def test_what_is_no_such_text_is_not_replaced(disk, tmp_path, kind):
    dest = tmp_path / "view.vmdk"
    if kind == "image":
        dest.write_bytes(b"an image")
    elif kind == "directory":
        dest.mkdir()
    else:
        dest.symlink_to("/no/where")
    before = tree(str(tmp_path))
    with pytest.raises(AlreadyExists):
        plan(disk.directory, str(dest), force=True)
    assert tree(str(tmp_path)) == before


def test_a_file_with_data_is_not_taken_for_zeros(disk, tmp_path):
    (tmp_path / "view-zeros.vmdk").write_bytes(b"data")
    with pytest.raises(AlreadyExists):
        plan(disk.directory, str(tmp_path / "view.vmdk"))


def test_places_that_cannot_be_are_refused(disk, tmp_path):
    with pytest.raises(NotFound):
        plan(disk.directory, str(tmp_path / "no" / "view.vmdk"))
    with pytest.raises(BadRequest):
        plan(disk.directory, f"{disk.directory}/view.vmdk")
    os.rename(disk.directory, tmp_path / 'a "quoted" one.hdd')
    with pytest.raises(BadRequest):
        plan(str(tmp_path / 'a "quoted" one.hdd'), str(tmp_path / "view.vmdk"))


def test_a_source_that_changes_meanwhile_is_refused(disk, tmp_path):
    made = plan(disk.directory, str(tmp_path / "view.vmdk"))
    with open(disk.files[(0, TOP)], "ab") as stream:
        stream.write(bytes(512))
    with pytest.raises(StalePlan):
        execute(OsPort(), made)
    assert os.listdir(tmp_path) == ["mac.hdd"]


def test_a_source_that_somebody_writes_is_refused(disk, tmp_path):
    held = OsPort().lock((), (disk.files[(0, TOP)],))
    with pytest.raises(InUse):
        plan(disk.directory, str(tmp_path / "view.vmdk"))
    held.release()


GIVEN = {
    "chain": "flatten",
    "compression": "none",
    "compression_level": None,
    "cluster_size": None,
    "align": None,
    "sparse": True,
    "preallocate": False,
    "checksum": "none",
    "checksum_file": None,
    "free_space": "keep",
}


@pytest.mark.parametrize("option", GIVEN)
def test_options_that_shape_data_are_refused(option):
    refuse_others(GIVEN)
    with pytest.raises(BadRequest) as caught:
        refuse_others({**GIVEN, option: "other"})
    assert caught.value.message.startswith(option)
