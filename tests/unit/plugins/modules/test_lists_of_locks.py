# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often a task reads the kernel's list of all locks, for which Linux waits about 10 ms: a few times, however many
layers a disk has.
"""

from __future__ import annotations

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._io.capabilities import detect
from ansible_collections.vdisk.parallels.plugins.module_utils._io.locking import owners
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.module_runner import run, succeed

pytestmark = pytest.mark.skipif(not detect().proc, reason="only Linux has this /proc")

LAYERS = 61
SHORT = 4


@pytest.fixture(name="reads")
def reads_fixture(monkeypatch):
    """The files of /proc in the order in which they are read."""
    asked = []
    read = owners._text
    monkeypatch.setattr(owners, "_text", lambda path: [asked.append(path), read(path)][1])
    return asked


def built(path, layers):
    return build_bundle(
        path,
        size_sectors=512,
        layers=line_of_layers(*[{number % 8: b"x"} for number in range(layers)]),
        cluster_sectors=64,
    ).directory


def marked(path, layers):
    for guid in [TOP, *map(guid_of, range(1, layers))]:
        disks.marked_in_use(OsPort(), path, guid)


@pytest.mark.parametrize("layers", [SHORT, LAYERS])
@pytest.mark.parametrize(
    "module, options, most",
    [
        # Facts of the disk.
        ("hdd_info", {}, 1),
        # The facts before, who is in the way, the facts after.
        ("hdd_merge", {"check": True}, 3),
        # One look.
        ("hdd_check", {}, 1),
        # One look, and who is in the way of a repair; there is none to make.
        ("hdd_check", {"check": True, "repair": "all"}, 1),
    ],
    ids=["info", "merge in check mode", "check", "repair in check mode"],
)
def test_the_list_is_read_a_few_times_for_any_number_of_layers(reads, tmp_path, module, options, most, layers):
    path = built(f"{tmp_path}/a.hdd", layers)
    result = succeed(module, path=path, **options)
    assert result["changed"] == (module == "hdd_merge")
    assert reads.count("/proc/locks") == most


@pytest.mark.parametrize("layers", [SHORT, LAYERS])
def test_the_list_is_read_once_more_for_all_marked_images(reads, tmp_path, layers):
    path = built(f"{tmp_path}/a.hdd", layers)
    marked(path, layers)
    reads.clear()
    assert succeed("hdd_info", path=path)["disks"][0]["state"] == "dirty"
    assert reads.count("/proc/locks") == 2


@pytest.mark.parametrize("layers", [SHORT, LAYERS])
def test_a_repair_reads_the_list_once_in_each_look(reads, tmp_path, layers):
    path = built(f"{tmp_path}/a.hdd", layers)
    marked(path, layers)
    reads.clear()
    ended = run("hdd_check", path=path, repair="safe", force=True, fail_on="never")
    assert ended.result["counts"]["repaired"] == layers
    # Before and after it.
    assert reads.count("/proc/locks") == 2
