# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd_nbd, called as Ansible calls it; the servers are real ones."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.naming import JOURNAL
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import Journal, pack_journal
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import registry
from ansible_collections.vdisk.parallels.tests.conftest import ROOT
from ansible_collections.vdisk.parallels.tests.support import module_docs
from ansible_collections.vdisk.parallels.tests.support import nbd as protocol
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, run, succeed, tree, warnings
from ansible_collections.vdisk.parallels.tests.support.served import (
    client_of,
    content_of,
    run_folder,
    socket_of,
    wait_until,
)

MIB = 1 << 20
ONE, TWO = guid_of(1), guid_of(2)


@pytest.fixture(name="servers", autouse=True)
def servers_fixture():
    with run_folder() as folder:
        yield folder


def build(path, **options):
    layers = [
        Layer(ONE, clusters={0: fill(0, MIB), 1: fill(1, MIB)}),
        Layer(TWO, ONE, clusters={1: fill(2, MIB), 3: bytes(MIB)}),
        Layer(TOP, TWO, clusters={5: fill(3, MIB)}),
    ]
    return build_bundle(path, size_sectors=2048 * 8, layers=layers, **options)


@pytest.fixture(name="disk")
def disk_fixture(tmp_path):
    return build(str(tmp_path / "mac.hdd"))


def stop(path, **options):
    return succeed("hdd_nbd", path=path, state="stopped", **options)


def mark(path):
    with open(path, "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")


def access_times(root):
    return {name: os.stat(os.path.join(root, name)).st_atime_ns for name in os.listdir(root)}


def test_a_disk_is_served_until_it_is_stopped_and_nothing_of_it_changes(disk, servers):
    for name in os.listdir(disk.directory):
        # Long ago, so that reading would be seen whatever the mount says of access times.
        os.utime(os.path.join(disk.directory, name), (1_000_000_000, 1_500_000_000))
    before, read = tree(disk.directory), access_times(disk.directory)
    predicted = succeed("hdd_nbd", check=True, path=disk.directory)
    assert predicted["changed"] and predicted["pid"] is None
    assert not os.path.exists(servers)
    started = succeed("hdd_nbd", path=disk.directory)
    for key in ("changed", "uri", "size", "snapshot", "log", "diff"):
        assert predicted[key] == started[key], key
    module_docs.assert_documented("hdd_nbd", started)
    assert (started["size"], started["snapshot"]) == (8 * MIB, TOP)
    assert content_of(started) == disk.guest(TOP)
    again = succeed("hdd_nbd", path=disk.descriptor)
    assert not again["changed"] and (again["pid"], again["uri"]) == (started["pid"], started["uri"])
    assert not succeed("hdd_nbd", check=True, path=disk.directory)["changed"]
    assert stop(disk.directory, check=True)["changed"]
    assert content_of(started) == disk.guest(TOP)
    assert stop(disk.directory)["changed"]
    assert not stop(disk.directory)["changed"] and not stop(disk.directory, check=True)["changed"]
    assert os.listdir(servers) == []
    assert tree(disk.directory) == before
    if hasattr(os, "O_NOATIME"):
        assert access_times(disk.directory) == read


def test_only_the_owner_reaches_the_server(disk, servers):
    started = succeed("hdd_nbd", path=disk.directory)
    folder = os.path.dirname(started["log"])
    assert [stat.S_IMODE(os.lstat(path).st_mode) for path in (servers, folder)] == [0o700, 0o700]
    for name in os.listdir(folder):
        assert stat.S_IMODE(os.lstat(os.path.join(folder, name)).st_mode) == 0o600, name
    assert stat.S_ISSOCK(os.lstat(socket_of(started)).st_mode)


@pytest.mark.parametrize(
    "shape",
    [{}, {"version": 2}, {"split": [2048 * 3, 2048 * 5]}, {"style": "ploop"}, {"cluster_sectors": 2048}],
    ids=["v1", "v2", "split", "ploop", "clusters"],
)
def test_every_snapshot_reads_as_it_should(tmp_path, shape):
    disk = build(str(tmp_path / "mac.hdd"), **shape)
    for guid in (ONE, TWO, TOP):
        started = succeed("hdd_nbd", path=disk.directory, snapshot=guid)
        assert started["snapshot"] == guid
        assert content_of(started) == disk.guest(guid)


def test_two_snapshots_are_two_servers(disk):
    one = succeed("hdd_nbd", path=disk.directory, snapshot=ONE)
    top = succeed("hdd_nbd", path=disk.directory)
    assert one["pid"] != top["pid"]
    assert stop(disk.directory, snapshot=ONE)["changed"]
    assert not stop(disk.directory, snapshot=ONE)["changed"]
    assert content_of(top) == disk.guest(TOP)
    succeed("hdd_nbd", path=disk.directory, snapshot=ONE)
    assert stop(disk.directory)["changed"]
    assert registry.running(OsPort(), registry.run_folder(OsPort())) == []


def test_an_unknown_snapshot_is_refused(disk, tmp_path):
    refused("hdd_nbd", str(tmp_path), code="no_such_snapshot", path=disk.directory, snapshot="other")


def test_a_served_disk_is_refused_for_changes_and_still_read(disk, tmp_path):
    pid = succeed("hdd_nbd", path=disk.directory)["pid"]
    for module, options in {
        "hdd_merge": {"path": disk.directory},
        "hdd_compact": {"path": disk.directory},
        "hdd_snapshot": {"path": disk.directory, "name": "new"},
        "hdd": {"path": disk.directory, "size": "16M", "snapshots": "top_only"},
    }.items():
        found = refused(module, disk.directory, code="in_use", **options)
        if sys.platform.startswith("linux"):
            assert f"hdd_nbd (pid {pid})" in found["msg"], module
    refused("hdd", disk.directory, code="in_use", check=False, path=disk.directory, state="absent")
    (facts,) = succeed("hdd_info", path=disk.directory)["disks"]
    assert facts["state"] == "in_use"
    assert succeed("hdd_check", path=disk.directory)["healthy"]
    succeed("hdd_convert", src=disk.directory, dest=str(tmp_path / "copy.raw"))
    assert (tmp_path / "copy.raw").read_bytes() == disk.guest(TOP)
    stop(disk.directory)
    assert succeed("hdd_merge", path=disk.directory)["changed"]


def test_a_disk_that_somebody_holds_for_a_change_is_refused(disk, tmp_path):
    lock = OsPort().lock((disk.directory,), tuple(disk.files.values()))
    try:
        refused("hdd_nbd", str(tmp_path), code="in_use", path=disk.directory)
        refused("hdd_nbd", str(tmp_path), code="in_use", path=disk.directory, snapshot=ONE)
    finally:
        lock.release()
    assert succeed("hdd_nbd", path=disk.directory)["changed"]


def test_a_disk_that_was_not_closed_is_served_with_a_warning(disk):
    mark(disk.files[(0, TOP)])
    started = succeed("hdd_nbd", path=disk.directory)
    assert any("not closed cleanly" in text for text in warnings(started))
    assert content_of(started) == disk.guest(TOP)


def test_an_encrypted_disk_is_refused(disk, tmp_path):
    with open(disk.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(disk.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace("<Engine>{00000000", "<Engine>{00000001"))
    refused("hdd_nbd", str(tmp_path), code="encrypted", path=disk.directory)


def test_of_an_interrupted_merge_only_what_is_whole_is_served(disk, tmp_path):
    journal = Journal("merge", "apply", request={"removals": [TWO]})
    with open(f"{disk.directory}/{JOURNAL}", "wb") as stream:
        stream.write(pack_journal(journal))
    refused("hdd_nbd", str(tmp_path), code="interrupted", path=disk.directory, snapshot=TWO)
    started = succeed("hdd_nbd", path=disk.directory)
    assert any("interrupted" in text for text in warnings(started))
    assert content_of(started) == disk.guest(TOP)
    # The next change would end the merge first, under the eyes of the client.
    refused("hdd_snapshot", str(tmp_path), code="in_use", check=False, path=disk.directory, name="new")


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"])
def test_images_of_other_products_are_served(disk, tmp_path, kind):
    image = str(tmp_path / f"copy.{kind}")
    succeed("hdd_convert", src=disk.directory, dest=image, **({"compression": "zlib"} if kind == "qcow2" else {}))
    started = succeed("hdd_nbd", path=image, src_format="raw" if kind == "raw" else "auto")
    assert started["snapshot"] is None
    assert content_of(started) == disk.guest(TOP)
    assert not succeed("hdd_nbd", path=image)["changed"]
    assert stop(image)["changed"]


def test_a_chain_of_another_product_is_served_on_request(disk, tmp_path):
    image = str(tmp_path / "copy.qcow2")
    succeed("hdd_convert", src=disk.directory, dest=image, chain="preserve")
    refused("hdd_nbd", str(tmp_path), code="bad_request", path=image)
    assert content_of(succeed("hdd_nbd", path=image, backing=True)) == disk.guest(TOP)


def test_a_server_at_a_socket_of_ones_own(disk, servers):
    path = f"{os.path.dirname(servers)}/own"
    predicted = succeed("hdd_nbd", check=True, path=disk.directory, socket=path)
    started = succeed("hdd_nbd", path=disk.directory, socket=path)
    assert predicted["uri"] == started["uri"] == f"nbd+unix:///?socket={path}"
    assert content_of(started) == disk.guest(TOP)
    assert not succeed("hdd_nbd", path=disk.directory)["changed"]
    assert not stop(disk.directory, socket=path + "2")["changed"]
    assert stop(disk.directory, socket=path)["changed"]
    assert not os.path.lexists(path)


def test_places_where_no_socket_can_be_are_refused(disk, servers, tmp_path):
    taken = f"{os.path.dirname(servers)}/taken"
    open(taken, "wb").close()
    refused("hdd_nbd", str(tmp_path), code="exists", path=disk.directory, socket=taken)
    refused("hdd_nbd", str(tmp_path), code="bad_request", path=disk.directory, socket="/tmp/" + "x" * 99)
    nowhere = f"{os.path.dirname(servers)}/no/where"
    refused("hdd_nbd", str(tmp_path), code="io_error", path=disk.directory, socket=nowhere)
    assert os.path.isfile(taken)
    assert not os.path.exists(servers) or os.listdir(servers) == []


@pytest.mark.parametrize(
    "options",
    [
        {"address": "0.0.0.0"},
        {"address": "::"},
        {"address": "192.0.2.1", "port": 10809},
        {"address": "example.org"},
        {"port": 65536},
        {"port": -1},
        {"max_clients": 0},
        {"idle_timeout": -1},
        {"socket": " "},
    ],
    ids=str,
)
def test_what_is_no_place_to_serve_at_is_refused(disk, tmp_path, options):
    refused("hdd_nbd", str(tmp_path), code="bad_request", path=disk.directory, **options)


def test_a_server_on_a_port_of_this_host(disk):
    assert succeed("hdd_nbd", check=True, path=disk.directory, port=0)["uri"] is None
    started = succeed("hdd_nbd", path=disk.directory, port=0)
    assert started["uri"].startswith("nbd://127.0.0.1:")
    assert any("Every user of this host" in text for text in warnings(started))
    number = int(started["uri"].rpartition(":")[2])
    again = succeed("hdd_nbd", path=disk.directory, address="localhost", port=number)
    assert (again["changed"], again["pid"]) == (False, started["pid"])
    taken = build(os.path.dirname(disk.directory) + "/other.hdd")
    refused("hdd_nbd", taken.directory, code="exists", check=False, path=taken.directory, port=number)
    assert stop(disk.directory, port=number)["changed"]


def test_a_server_that_was_killed_leaves_nothing_in_the_way(disk, servers):
    path = f"{os.path.dirname(servers)}/own"
    first = succeed("hdd_nbd", path=disk.directory, socket=path)
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: not registry.is_alive(OsPort(), os.path.dirname(first["log"])))
    assert os.path.exists(path)
    assert not stop(disk.directory)["changed"]
    second = succeed("hdd_nbd", path=disk.directory, socket=path)
    assert second["changed"] and second["pid"] != first["pid"]
    assert content_of(second) == disk.guest(TOP)


def test_a_process_that_has_got_the_number_of_a_dead_server_is_left_alone(disk, servers):
    first = succeed("hdd_nbd", path=disk.directory)
    with open(os.path.dirname(first["log"]) + "/server.json", encoding="utf-8") as stream:
        facts = stream.read()
    stop(disk.directory)
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        os.mkdir(os.path.dirname(first["log"]), 0o700)
        with open(os.path.dirname(first["log"]) + "/server.json", "w", encoding="utf-8") as stream:
            stream.write(facts.replace(f'"pid": {first["pid"]}', f'"pid": {bystander.pid}'))
        assert not stop(disk.directory)["changed"]
        assert succeed("hdd_nbd", path=disk.directory)["changed"]
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_whose_socket_is_gone_is_replaced(disk):
    first = succeed("hdd_nbd", path=disk.directory)
    os.unlink(socket_of(first))
    assert succeed("hdd_nbd", check=True, path=disk.directory)["changed"]
    second = succeed("hdd_nbd", path=disk.directory)
    assert second["changed"] and second["pid"] != first["pid"]
    assert content_of(second) == disk.guest(TOP)


def test_the_server_of_a_disk_that_is_gone_can_be_stopped(disk, tmp_path):
    succeed("hdd_nbd", path=disk.directory)
    os.rename(disk.directory, tmp_path / "elsewhere")
    assert stop(disk.directory)["changed"]


def test_a_layer_that_is_cut_while_it_is_served_is_no_hole(disk):
    """Somebody who takes no notice of locks."""
    started = succeed("hdd_nbd", path=disk.directory)
    path = disk.files[(0, ONE)]
    os.truncate(path, os.path.getsize(path) - MIB)
    with client_of(started) as client:
        client.begin(structured=True, context=True)
        found = client.ask(protocol.READ, 0, 8 * MIB)
        assert found.error == protocol.EIO and "changed by somebody else" in found.message
        assert client.ask(protocol.BLOCK_STATUS, 0, 8 * MIB).error == protocol.EIO
    assert stop(disk.directory)["changed"]


def test_many_tasks_at_once_start_one_server(disk):
    code = (
        "import json, sys; sys.path[:0] = json.loads(sys.argv[1]); import importlib.util as u\n"
        "spec = u.spec_from_file_location('conftest', sys.argv[2]); spec.loader.exec_module(u.module_from_spec(spec))\n"
        "from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed\n"
        "found = succeed('hdd_nbd', path=sys.argv[3]); print(json.dumps([found['changed'], found['pid']]))"
    )
    conftest = os.path.join(ROOT, "tests", "conftest.py")
    command = [sys.executable, "-c", code, json.dumps([path for path in sys.path if path]), conftest, disk.directory]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _number in range(2)]
    found = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert sum(changed for changed, _pid in found) == 1
    assert len({pid for _changed, pid in found}) == 1


def test_a_server_ends_by_itself_when_nobody_comes(disk, servers):
    started = succeed("hdd_nbd", path=disk.directory, idle_timeout=1)
    wait_until(lambda: os.listdir(servers) == [])
    assert not stop(disk.directory)["changed"]
    assert not os.path.lexists(socket_of(started))


def test_a_client_too_many_is_turned_away_and_limits_are_compared(disk):
    started = succeed("hdd_nbd", path=disk.directory, max_clients=1)
    with client_of(started) as first:
        first.begin(structured=True)
        with client_of(started) as second:
            assert second.is_closed()
        assert first.read(0, MIB) == disk.guest(TOP)[:MIB]
    again = succeed("hdd_nbd", path=disk.directory)
    assert any("max_clients 1" in text for text in warnings(again))


def test_sixty_four_clients_at_once(disk):
    started = succeed("hdd_nbd", path=disk.directory)
    content = disk.guest(TOP)
    entered = [client_of(started) for _number in range(64)]
    clients = [one.__enter__() for one in entered]
    try:
        for client in clients:
            client.begin(structured=True)
        for client in clients:
            client.socket.sendall(protocol.request(protocol.READ, MIB // 2, MIB))
        for client in reversed(clients):
            asked = {7: (protocol.READ, MIB // 2, MIB)}
            found = protocol.reply(client.receive, structured=True, asked=asked)
            assert found.content == content[MIB // 2 : MIB // 2 + MIB]
    finally:
        for one in entered:
            one.__exit__(None, None, None)


@pytest.mark.parametrize("kind", ["mode", "file"])
def test_a_run_folder_that_others_can_reach_is_refused(disk, servers, tmp_path, kind):
    if kind == "mode":
        os.mkdir(servers)
        os.chmod(servers, 0o755)
    else:
        open(servers, "wb").close()
    refused("hdd_nbd", str(tmp_path), code="io_error", path=disk.directory)
    assert not os.path.isdir(servers) or os.listdir(servers) == []


def test_what_is_no_disk_is_refused(tmp_path):
    refused("hdd_nbd", str(tmp_path), code="not_found", path=str(tmp_path / "none.hdd"))
    os.mkdir(tmp_path / "empty.hdd")
    refused("hdd_nbd", str(tmp_path), code="not_a_bundle", path=str(tmp_path / "empty.hdd"))


def test_socket_and_port_exclude_each_other(disk):
    assert run("hdd_nbd", path=disk.directory, socket="/tmp/x", port=1).failed
