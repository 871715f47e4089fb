# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which disk is served, and that it is held while it is."""

from __future__ import annotations

import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    BadRequest,
    Encrypted,
    InUse,
    IoFailure,
    StalePlan,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.sockets import listen_tcp
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import SourceRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.choose import (
    choose_disk,
    hold,
    refuse_place,
    refuse_unservable,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.request import Endpoint
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import tree
from ansible_collections.vdisk.parallels.tests.support.sockets import short_folder

MIB = 1 << 20


@pytest.fixture(name="disk")
def disk_fixture(tmp_path):
    layers = [Layer(guid_of(1), clusters={0: fill(0, MIB)}), Layer(TOP, guid_of(1), clusters={1: fill(1, MIB)})]
    layers.append(Layer(guid_of(2), guid_of(1)))
    return build_bundle(str(tmp_path / "mac.hdd"), size_sectors=2048 * 4, layers=layers)


def chosen(disk, **options):
    return choose_disk(OsPort(), SourceRequest(disk.directory, **options))


def test_the_current_state_or_a_snapshot(disk):
    assert chosen(disk).guid == TOP
    assert chosen(disk, snapshot=guid_of(1)).guid == guid_of(1)


def test_an_encrypted_disk_is_refused_at_once(disk):
    with open(disk.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(disk.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace("<Engine>{00000000", "<Engine>{00000001"))
    with pytest.raises(Encrypted):
        chosen(disk)


def test_every_image_is_held_those_of_other_branches_too(disk):
    held = hold(OsPort(), chosen(disk, snapshot=guid_of(1)))
    for path in disk.files.values():
        with pytest.raises(InUse):
            OsPort().lock((), (path,))
    with pytest.raises(InUse):
        OsPort().lock((disk.directory,), ())
    held.release()
    OsPort().lock((disk.directory,), tuple(disk.files.values())).release()


def test_a_single_image_and_one_of_another_product_are_held(disk, tmp_path):
    (tmp_path / "disk.raw").write_bytes(bytes(MIB))
    for path in (disk.files[(0, guid_of(1))], str(tmp_path / "disk.raw")):
        if path.endswith(".hds"):
            os.rename(path, tmp_path / "one.hds")
            path = str(tmp_path / "one.hds")
        held = hold(OsPort(), choose_disk(OsPort(), SourceRequest(path)))
        with pytest.raises(InUse):
            OsPort().lock((), (path,))
        held.release()


def test_a_disk_that_has_changed_since_is_refused_and_let_go(disk):
    source = chosen(disk)
    with open(disk.files[(0, TOP)], "ab") as stream:
        stream.write(bytes(MIB))
    with pytest.raises(StalePlan):
        hold(OsPort(), source)
    OsPort().lock((disk.directory,), ()).release()


def test_looking_whether_a_disk_can_be_served_leaves_nothing(disk):
    before = tree(disk.directory)
    refuse_unservable(OsPort(), chosen(disk))
    assert tree(disk.directory) == before
    OsPort().lock((disk.directory,), tuple(disk.files.values())).release()
    held = OsPort().lock((disk.directory,), ())
    with pytest.raises(InUse):
        refuse_unservable(OsPort(), chosen(disk))
    held.release()


def test_places():
    with short_folder() as folder:
        refuse_place(OsPort(), Endpoint(socket=f"{folder}/socket"))
        for path, error in {folder: AlreadyExists, f"{folder}/a/b": IoFailure, "/" + "x" * 104: BadRequest}.items():
            with pytest.raises(error):
                refuse_place(OsPort(), Endpoint(socket=path))
        assert os.listdir(folder) == []
    listener = listen_tcp("127.0.0.1", 0, -1)
    with pytest.raises(AlreadyExists):
        refuse_place(OsPort(), Endpoint(address="127.0.0.1", port=listener.port_number))
    listener.close()
