# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server from its start to its end, without the module around it."""

from __future__ import annotations

import os
import sys

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core import errors
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import SourceRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import registry, start
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.choose import choose_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.request import Endpoint, ServeRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.server import Limits
from ansible_collections.vdisk.parallels.tests.support import oracles
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.nbd import Client
from ansible_collections.vdisk.parallels.tests.support.served import run_folder
from ansible_collections.vdisk.parallels.tests.support.sockets import connected

MIB = 1 << 20


@pytest.fixture(name="run")
def run_fixture():
    with run_folder() as folder:
        registry.make_folder(OsPort(), folder)
        yield folder


ANYWHERE = Endpoint()


def request_for(path, endpoint=ANYWHERE, **options):
    return ServeRequest(choose_disk(OsPort(), SourceRequest(path, **options)), endpoint, Limits(0, 4), "a name")


@pytest.fixture(name="raw")
def raw_fixture(tmp_path):
    (tmp_path / "disk.raw").write_bytes(fill(1, MIB))
    return str(tmp_path / "disk.raw")


def test_who_starts_it_knows_what_others_find(raw, run):
    served = start.start_server(OsPort(), request_for(raw), run, OsPort)
    assert registry.running(OsPort(), run) == [served]
    assert (served.path, served.name, served.size, served.idle_timeout, served.max_clients) == (
        raw,
        "a name",
        MIB,
        0,
        4,
    )
    assert served.socket == f"{served.folder}/socket"
    with connected(served.socket) as connection:
        client = Client(connection)
        client.begin(structured=True)
        assert client.read(0, MIB) == fill(1, MIB)
    registry.end_server(OsPort(), served)
    assert os.listdir(run) == []


def test_an_error_of_the_new_process_is_raised_here_with_all_it_says(raw, run):
    request = request_for(raw)
    held = OsPort().lock((), (raw,))
    with pytest.raises(errors.InUse) as caught:
        start.start_server(OsPort(), request, run, OsPort)
    held.release()
    assert caught.value.path == raw and caught.value.hint and "flock" in str(caught.value.found)
    assert os.listdir(run) == []


def test_a_place_that_is_taken_is_refused_by_the_new_process(raw, run):
    with pytest.raises(errors.AlreadyExists):
        start.start_server(OsPort(), request_for(raw, Endpoint(socket=raw)), run, OsPort)
    assert os.listdir(run) == []


def test_a_process_that_ends_without_a_word_is_an_error(raw, run):
    def broken():
        raise RuntimeError("no port")

    with pytest.raises(errors.IoFailure):
        start.start_server(OsPort(), request_for(raw), run, broken)


@pytest.mark.parametrize("code", ["in_use", "damaged", "io_error", "of another version"])
def test_errors_keep_their_kind(code):
    told = {"code": code, "message": "m", "path": "/p", "offset": 7, "expected": "e", "found": "f", "hint": "h"}
    error = start._error(told)
    assert error.code == (code if " " not in code else "io_error")
    assert (error.path, error.offset, error.expected, error.found, error.hint) == ("/p", 7, "e", "f", "h")


def test_a_name_that_is_no_text_is_shown_as_far_as_it_goes():
    assert start._printable("a\udcff") == "a?"


@pytest.mark.parametrize("kind", ["qcow2", "vmdk"])
def test_no_read_imports_what_the_program_takes_with_it(tmp_path, kind):
    """Ansible removes the module's files as soon as the task is over."""
    oracles.require("qemu-img")
    (tmp_path / "disk.raw").write_bytes(fill(1, MIB))
    image = str(tmp_path / f"disk.{kind}")
    options = ["-o", "subformat=streamOptimized"] if kind == "vmdk" else ["-c"]
    oracles.qemu_img("convert", "-f", "raw", "-O", kind, *options, str(tmp_path / "disk.raw"), image)
    request = request_for(image)
    for name in [name for name in sys.modules if name.endswith("_formats.qcow2.codec")]:
        del sys.modules[name]
    view = open_source(OsPort(), request.source)
    start._load(request.source)
    before = set(sys.modules)
    content = bytearray(MIB)
    view.pread_into(0, content)
    list(view.places(0, MIB))
    assert content == fill(1, MIB)
    assert not [name for name in set(sys.modules) - before if name.startswith("ansible_collections.")]
    view.close()
