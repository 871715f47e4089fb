# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hdd on a disk that exists, called as Ansible calls it: larger, smaller, of another type, other parts, another
version.
"""

from __future__ import annotations

import itertools
import os
import stat

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_view
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks, gpt, module_docs
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, run, succeed, three_runs, warnings

MIB = 1 << 20
SHAPES = {
    "v1": {},
    "v2": {"format_version": "2"},
    "plain": {"type": "plain"},
    "split": {"split_size": "103M"},
    "plain split": {"type": "plain", "split_size": "103M"},
}


def new_disk(path, size="8M", **options):
    """A disk with some data, small clusters, and what the guest sees of it."""
    succeed("hdd", path=path, size=size, cluster_size="64K", **options)
    for offset, length in ((0, 5000), (3 * MIB - 100, 70000), (8 * MIB - 512, 512)):
        disks.write(OsPort(), path, offset, fill(offset, length))
    return disks.read_naively(OsPort(), path)


def seen(path, guid=None):
    port = OsPort()
    naive = disks.read_naively(port, path, guid)
    assert disks.read(port, path, guid) == naive
    return naive


def has_snapshot(path, number=1):
    succeed("hdd_snapshot", path=path, guid=guid_of(number))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("preallocate", [False, True])
def test_a_disk_grows_and_what_it_gains_is_zero(root, path, shape, preallocate):
    before = new_disk(path, **SHAPES[shape])
    ended = three_runs("hdd", root, path=path, size="21M", preallocate=preallocate)
    assert ended.done["changed"] and ended.done["disk"]["virtual_size"] == 21 * MIB
    assert ended.done["disk"]["geometry"] == {"cylinders": 84, "heads": 16, "sectors": 32}
    assert ended.done["diff"]["before"]["virtual_size"] == 8 * MIB
    assert seen(path) == before + bytes(13 * MIB)
    module_docs.assert_documented("hdd", ended.done)
    assert succeed("hdd_check", path=path)["healthy"]
    if "split" in shape:
        assert len(ended.done["disk"]["layers"][0]["files"]) == 7


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations(SHAPES, 2)))
def test_every_shape_becomes_every_other(root, path, old, new):
    before = new_disk(path, **SHAPES[old])
    request = {"type": "expanding", "split_size": "2G", **SHAPES[new]}
    if request["type"] == "expanding":
        request.setdefault("format_version", "1")
    ended = three_runs("hdd", root, path=path, **request)
    facts = ended.done["disk"]
    assert ended.done["changed"] and seen(path) == before
    assert facts["type"] == request["type"] and facts["split"] == ("split" in new) and facts["depth"] == 1
    assert facts["format_version"] == (int(request["format_version"]) if request["type"] == "expanding" else None)
    assert facts["uid"] == succeed("hdd_info", path=path)["disks"][0]["uid"] and not facts["orphan_files"]
    assert succeed("hdd_check", path=path)["healthy"]


@pytest.mark.parametrize("new", ["plain", "split", "v2"])
def test_size_and_shape_change_together(root, path, new):
    before = new_disk(path)
    assert three_runs("hdd", root, path=path, size="12M", name="other", **SHAPES[new]).done["disk"]["name"] == "other"
    assert seen(path) == before + bytes(4 * MIB)
    assert three_runs(
        "hdd", root, path=path, size="9M", shrink=True, type="expanding", split_size="2G", format_version="1"
    ).done["changed"]
    assert seen(path) == before + bytes(MIB)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_disk_shrinks_over_zeros(root, path, shape):
    before = new_disk(path, **SHAPES[shape])
    succeed("hdd", path=path, size="21M")
    ended = three_runs("hdd", root, path=path, size="9M", shrink=True)
    assert ended.done["disk"]["virtual_size"] == 9 * MIB and seen(path) == before + bytes(MIB)
    assert succeed("hdd_check", path=path)["healthy"]
    # What was cut off does not come back.
    three_runs("hdd", root, path=path, size="7M", shrink=True, force=True)
    three_runs("hdd", root, path=path, size="9M")
    assert seen(path) == before[: 7 * MIB] + bytes(2 * MIB)


def test_a_smaller_size_needs_shrink_and_zeros(root, path):
    new_disk(path)
    message = refused("hdd", root, code="bad_request", path=path, size="7M")["msg"]
    assert "shrink: true" in message
    result = refused("hdd", root, code="bad_request", path=path, size="7M", shrink=True)
    assert (
        "force: true" in result["msg"]
        and str(8 * MIB - 4096) in result["msg"]
        and result["error_context"]["found"] == 8 * MIB - 4096
    )
    refused("hdd", root, code="bad_request", path=path, size="0", shrink=True, force=True)


def test_snapshots_stand_in_the_way_of_every_change(root, path):
    new_disk(path)
    has_snapshot(path)
    for request in (
        {"size": "9M"},
        {"size": "7M", "shrink": True},
        {"type": "plain"},
        {"format_version": "2"},
        {"split_size": "103M"},
    ):
        message = refused("hdd", root, code="has_snapshots", path=path, **request)["msg"]
        assert "snapshots: merge" in message and ("top_only" in message) == (request == {"size": "9M"})
    refused("hdd", root, code="has_snapshots", path=path, size="7M", shrink=True, snapshots="top_only")
    assert "top_only" in refused("hdd", root, code="bad_request", path=path, type="plain", snapshots="top_only")["msg"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_current_state_alone_grows(root, path, shape):
    before = new_disk(path, **SHAPES[shape])
    has_snapshot(path)
    disks.write(OsPort(), path, 5 * MIB, b"later")
    now = disks.read_naively(OsPort(), path)
    three_runs("hdd", root, path=path, size="21M", snapshots="top_only")
    assert seen(path) == now + bytes(13 * MIB)
    assert seen(path, guid_of(1)) == before + bytes(13 * MIB)
    disks.write(OsPort(), path, 20 * MIB, b"latest")
    latest = disks.read_naively(OsPort(), path)
    three_runs("hdd_merge", root, path=path)
    assert seen(path) == latest


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "wanted",
    [
        {"size": "21M"},
        {"size": "5M", "shrink": True, "force": True},
        {"type": "plain", "size": "9M"},
        {"format_version": "2", "size": "9M"},
    ],
)
def test_snapshots_are_merged_first(root, path, shape, wanted):
    new_disk(path, **SHAPES[shape])
    has_snapshot(path, 1)
    disks.write(OsPort(), path, 5 * MIB, bytes(100000))
    disks.write(OsPort(), path, 3 * MIB, bytes(100))
    has_snapshot(path, 2)
    disks.write(OsPort(), path, 4 * MIB, fill(4, 100000))
    now = disks.read_naively(OsPort(), path)
    ended = three_runs("hdd", root, path=path, snapshots="merge", **wanted)
    size = ended.done["disk"]["virtual_size"]
    assert ended.done["disk"]["depth"] == 1 and seen(path) == now[:size].ljust(size, b"\0")
    assert succeed("hdd_check", path=path)["healthy"]


def test_branches_are_not_merged_away(root, path):
    layers = [Layer(guid_of(1), clusters={0: fill(0, MIB)}), Layer(guid_of(2), guid_of(1)), Layer(TOP, guid_of(1))]
    build_bundle(path, size_sectors=2048 * 3, layers=layers)
    for request in ({"size": "5M"}, {"type": "plain"}):
        assert (
            guid_of(2)
            in refused("hdd", root, code="has_snapshots", path=path, snapshots="merge", **request)["error_context"][
                "found"
            ]
        )
    three_runs("hdd", root, path=path, size="5M", snapshots="top_only")


def test_a_plain_root_below_a_plain_wish_is_merged_into_plain(root, path):
    new_disk(path, type="plain")
    has_snapshot(path)
    disks.write(OsPort(), path, 5 * MIB, b"later")
    now = disks.read_naively(OsPort(), path)
    done = three_runs("hdd", root, path=path, type="plain", size="9M", snapshots="merge").done
    assert done["disk"]["type"] == "plain" and seen(path) == now + bytes(MIB)


def test_version_1_ends_at_2_tib_and_version_2_goes_on(root, path):
    succeed("hdd", path=path, size="1T")
    disks.write(OsPort(), path, 700 << 30, b"far away")
    assert "format_version" in refused("hdd", root, code="bad_request", path=path, size="3T")["msg"]
    done = three_runs("hdd", root, path=path, size="3T", format_version="2").done
    assert done["disk"]["format_version"] == 2 and done["disk"]["virtual_size"] == 3 << 40


def test_a_table_without_room_takes_the_places_of_clusters(root, path):
    before = new_disk(path, "64M")
    ended = three_runs("hdd", root, path=path, size="8G")
    assert ended.done["bytes_written"] == ended.done["bytes_read"] == 5 * 65536
    port = OsPort()
    with open(disks.file_of(port, path), "rb") as stream:
        head = stream.read(64)
    assert int.from_bytes(head[48:52], "little") * 512 == 9 * 65536 >= 64 + 4 * int.from_bytes(head[32:36], "little")
    view = open_view(port, disks.state_of(port, path), TOP)
    buffer = bytearray(65 * MIB)
    view.pread_into(0, buffer)
    view.close()
    assert buffer == before + bytes(MIB)
    assert succeed("hdd_check", path=path)["healthy"]


def test_another_cluster_size_is_refused(root, path):
    new_disk(path)
    result = refused("hdd", root, code="unsupported", path=path, cluster_size="128K")
    assert result["msg"].startswith("cluster_size: ") and path in result["msg"] and "hdd_convert" in result["msg"]
    assert {"expected", "found", "path"} <= set(result["error_context"])


def test_a_plain_disk_becomes_one_of_the_clusters_that_are_asked_for(root, path):
    before = new_disk(path, type="plain")
    assert (
        three_runs("hdd", root, path=path, type="expanding", cluster_size="32K").done["disk"]["cluster_size"] == 32768
    )
    assert seen(path) == before
    three_runs("hdd", root, path=path, type="plain")
    assert (
        "cluster_size: "
        in refused("hdd", root, code="bad_request", path=path, type="expanding", cluster_size="3K")["msg"]
    )


def test_a_single_file_changes_its_size_and_nothing_else(root):
    image = f"{root}/single.hdd"
    build_hds(image, size_sectors=2048 * 3 - 5, clusters={0: fill(0, MIB), 2: fill(2, MIB)})
    before = disks.read(OsPort(), image)
    assert three_runs("hdd", root, path=image, size="5M").done["disk"]["virtual_size"] == 5 * MIB
    assert disks.read(OsPort(), image) == before.ljust(5 * MIB, b"\0")
    three_runs("hdd", root, path=image, size="3M", shrink=True)
    for request in (
        {"type": "plain"},
        {"format_version": "2"},
        {"split_size": "102M"},
        {"size": "9M", "type": "plain"},
    ):
        assert "hdd_convert" in refused("hdd", root, code="unsupported", path=image, **request)["msg"]
    three_runs("hdd", root, path=image, state="absent")


def test_a_single_raw_file_changes_its_size(root):
    image = f"{root}/raw.hdd"
    content = fill(1, 3 * MIB)
    with open(image, "wb") as stream:
        stream.write(content)
    three_runs("hdd", root, path=image, size="5M", preallocate=True)
    with open(image, "rb") as stream:
        assert stream.read() == content + bytes(2 * MIB)
    three_runs("hdd", root, path=image, size="2M", shrink=True, force=True)
    assert os.path.getsize(image) == 2 * MIB


def test_new_files_get_the_mode_of_the_old_ones(root, path):
    new_disk(path, mode="0640")
    three_runs("hdd", root, path=path, type="plain", split_size="103M")
    three_runs("hdd", root, path=path, size="21M")
    images = [name for name in os.listdir(path) if name.endswith(".hds")]
    assert len(images) == 7
    assert {stat.S_IMODE(os.stat(f"{path}/{name}").st_mode) for name in images} == {0o640}


CONFIG = (
    "<?xml version='1.0'?>\r\n<ParallelsVirtualMachine ours='\xe4'><Unknown/><!-- kept -->\n\t<Hardware><Hdd id='0'>"
    "<Index>0</Index><SystemName>{name}</SystemName><Size >{size}</Size><SizeOnDisk>3</SizeOnDisk>"
    "<DiskType>1</DiskType><Odd a='1'  b = '2'/></Hdd><Hdd><SystemName>b.hdd</SystemName><Size>77</Size></Hdd>"
    "</Hardware></ParallelsVirtualMachine>\n\n"
)


def in_machine(root, *, size=8, name="a.hdd"):
    """A disk in a machine; the path of the disk and of the machine's configuration."""
    os.mkdir(f"{root}/a.pvm")
    new_disk(f"{root}/a.pvm/a.hdd")
    config = f"{root}/a.pvm/config.pvs"
    put_config(config, size=size, name=name)
    return f"{root}/a.pvm/a.hdd", config


def put_config(config, **values):
    with open(config, "wb") as stream:
        stream.write(CONFIG.format(**{"name": "a.hdd", "size": 8, **values}).encode())


def config_is(config, **values):
    with open(config, "rb") as stream:
        return stream.read() == CONFIG.format(**{"name": "a.hdd", **values}).encode()


def test_a_machine_follows_its_disk_and_keeps_all_other_bytes(root):
    path, config = in_machine(root)
    os.chmod(config, 0o640)
    done = three_runs("hdd", root, path=path, size="9M").done
    assert config_is(config, size=9) and stat.S_IMODE(os.stat(config).st_mode) == 0o640
    assert done["machine_config"] == config and not done["disk"]["vm"]["size_mismatch"]
    assert not [text for text in warnings(done) if "config.pvs" in text]
    three_runs("hdd", root, path=path, size="7M", shrink=True, force=True)
    assert config_is(config, size=7)
    three_runs("hdd", root, path=path, type="plain")
    with open(config, "rb") as stream:
        assert stream.read() == CONFIG.format(name="a.hdd", size=7).replace("DiskType>1", "DiskType>0").encode()


def test_a_machine_is_left_alone_when_asked_and_told_otherwise(root):
    path, config = in_machine(root)
    done = three_runs("hdd", root, path=path, size="9M", machine="keep").done
    assert config_is(config, size=8) and done["machine_config"] is None and done["disk"]["vm"]["size_mismatch"]
    assert [text for text in warnings(done) if "8 MiB" in text and "9 MiB" in text]
    assert not succeed("hdd", path=path)["changed"]
    followed = three_runs("hdd", root, path=path, size="9M").done
    assert config_is(config, size=9) and followed["commits"] == [f"replace {config}"]


@pytest.mark.parametrize("name", ["/elsewhere/a.hdd", "./a.hdd", "a.hdd/"])
def test_a_machine_that_was_moved_still_has_its_disk(root, name):
    path, config = in_machine(root, name=name)
    three_runs("hdd", root, path=path, size="9M")
    assert config_is(config, size=9, name=name)


def test_a_configuration_of_another_machine_is_not_changed(root):
    path, config = in_machine(root, name="other.hdd")
    refused("hdd", root, code="unsupported", path=path, size="9M", machine="update")
    three_runs("hdd", root, path=path, size="9M")
    assert config_is(config, size=8, name="other.hdd")
    # Its name leads to a disk elsewhere, which is not this one.
    new_disk(f"{root}/a.hdd")
    put_config(config, name=f"{root}/a.hdd")
    three_runs("hdd", root, path=path, size="10M")
    assert config_is(config, size=8, name=f"{root}/a.hdd")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ("read-only", "permission"),
        ("link", "escape"),
        ("hard link", "shared_layer"),
        ("hostile", "damaged"),
        ("other", "damaged"),
    ],
)
def test_a_configuration_that_cannot_be_changed_is_refused_before_anything_is_done(root, spoil, code):
    path, config = in_machine(root)
    if spoil == "read-only":
        os.chmod(config, 0o444)
    elif spoil == "link":
        os.rename(config, f"{root}/real.pvs")
        os.symlink(f"{root}/real.pvs", config)
    elif spoil == "hard link":
        os.link(config, f"{root}/real.pvs")
    else:
        text = "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>" if spoil == "hostile" else "<Elephant/>"
        with open(config, "w", encoding="utf-8") as stream:
            stream.write(text)
    assert not three_runs("hdd", root, path=path, size="8M").done["changed"]
    message = refused("hdd", root, code=code, path=path, size="9M", name="other")["msg"]
    assert "machine: keep" in message and config in message
    three_runs("hdd", root, path=path, size="9M", machine="keep")


def test_a_suspended_machine_is_not_changed(root):
    path, config = in_machine(root, size=9)
    with open(f"{root}/a.pvm/{{0}}.mem", "w", encoding="utf-8"):
        pass
    refused("hdd", root, code="suspended", path=path, size="8M")
    assert not succeed("hdd", path=path, size="8M", machine="keep")["changed"]


def partitioned(path, size=8 * MIB, end=5 * MIB, **options):
    succeed("hdd", path=path, size=size, cluster_size="64K", **options)
    port = OsPort()
    table = gpt.with_gpt(bytes(size), [(2048, end // 512 - 1)])
    for offset in range(0, size, 4096):
        if any(table[offset : offset + 4096]):
            disks.write(port, path, offset, table[offset : offset + 4096])
    disks.write(port, path, MIB, fill(1, 100000))
    assert gpt.judge(seen(path)) == [(2048, end // 512 - 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_partition_table_follows_the_end_of_the_disk_when_asked(root, path, shape):
    partitioned(path, **SHAPES[shape])
    warned = [
        text for text in warnings(three_runs("hdd", root, path=path, size="9M").done) if "partition_table: fix" in text
    ]
    assert len(warned) == 1
    with pytest.raises(AssertionError):
        gpt.judge(seen(path))
    three_runs("hdd", root, path=path, partition_table="fix")
    assert gpt.judge(seen(path)) == [(2048, 10239)] and gpt.protected(seen(path)) == 9 * 2048 - 1
    done = three_runs("hdd", root, path=path, size="21M", partition_table="fix").done
    assert not [text for text in warnings(done) if "partition" in text]
    assert gpt.judge(seen(path)) == [(2048, 10239)]
    three_runs("hdd", root, path=path, size="6M", shrink=True, partition_table="fix", force=True)
    assert gpt.judge(seen(path)) == [(2048, 10239)] and gpt.protected(seen(path)) == 6 * 2048 - 1


def test_a_disk_shrinks_down_to_its_partitions(root, path):
    partitioned(path)
    assert "partition_table" not in refused("hdd", root, code="bad_request", path=path, size="7M", shrink=True)["msg"]
    three_runs("hdd", root, path=path, size="6M", shrink=True, partition_table="fix")
    assert gpt.judge(seen(path)) == [(2048, 10239)]
    for request in ({}, {"partition_table": "fix"}):
        assert (
            "partition 1"
            in refused("hdd", root, code="bad_request", path=path, size="4M", shrink=True, **request)["msg"]
        )
    message = refused(
        "hdd", root, code="bad_request", path=path, size="5M", shrink=True, partition_table="fix", force=True
    )["msg"]
    assert "last partition smaller" in message


@pytest.mark.parametrize("how", ["top_only", "merge"])
def test_the_partition_table_of_a_snapshot_stays_as_it_is(root, path, how):
    partitioned(path)
    before = seen(path)
    has_snapshot(path)
    three_runs("hdd", root, path=path, size="9M", partition_table="fix", snapshots=how)
    assert gpt.judge(seen(path)) == [(2048, 10239)] and seen(path)[MIB : MIB + 100000] == fill(1, 100000)
    if how == "top_only":
        assert seen(path, guid_of(1)) == before + bytes(MIB)


@pytest.mark.parametrize("wanted", [{"type": "plain"}, {"format_version": "2"}, {"split_size": "103M"}])
def test_shape_size_and_partition_table_change_in_one_task(root, path, wanted):
    partitioned(path)
    three_runs("hdd", root, path=path, size="9M", partition_table="fix", name="other", **wanted)
    assert gpt.judge(seen(path)) == [(2048, 10239)]


def test_a_damaged_partition_table_is_left_alone(root, path):
    partitioned(path)
    disks.write(OsPort(), path, 1024 + 56, b"x")
    assert not three_runs("hdd", root, path=path, partition_table="fix").done["changed"]


def test_everything_is_refused_before_anything_is_done(root, path):
    new_disk(path)
    has_snapshot(path)
    refused("hdd", root, code="bad_request", path=path, name="other", snapshots="merge", size="7M", shrink=True)
    refused("hdd", root, code="bad_request", path=path, name="other", snapshots="merge", size="9000P")
    refused(
        "hdd",
        root,
        code="bad_request",
        path=path,
        name="other",
        snapshots="merge",
        size="8G",
        split_size="101M",
        type="plain",
    )


def test_a_dirty_disk_is_changed_only_with_force(root, path):
    before = new_disk(path)
    disks.marked_in_use(OsPort(), path)
    for request in ({"size": "9M"}, {"type": "plain"}, {"size": "7M", "shrink": True}):
        assert run("hdd", path=path, **request).result["error_code"] in ("dirty", "bad_request")
    three_runs("hdd", root, path=path, size="9M", force=True)
    assert seen(path) == before + bytes(MIB)


def test_a_layer_that_holds_more_than_the_disk_does_not_show_it(root, path):
    built = build_bundle(path, size_sectors=2048 * 3, layers=line_of_layers({0: fill(0, MIB)}, {1: fill(1, MIB)}))
    os.unlink(built.files[(0, guid_of(1))])
    build_hds(built.files[(0, guid_of(1))], size_sectors=2048 * 6, clusters={0: fill(0, MIB), 5: fill(5, MIB)})
    now = seen(path)
    assert "merge" in refused("hdd", root, code="unsupported", path=path, size="6M", snapshots="top_only")["msg"]
    three_runs("hdd", root, path=path, size="6M", snapshots="merge")
    assert seen(path) == now + bytes(3 * MIB)


def with_recovery(path, size=4 * MIB, **options):
    """A data partition and a recovery partition behind it."""
    succeed("hdd", path=path, size=size, cluster_size="64K", **options)
    types = ["ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "de94bba4-06d1-4d40-a16a-bfd50179d6ac"]
    table = gpt.with_gpt(bytes(size), [(2048, 4095), (4096, 5000)], types=types)
    for offset in range(0, size, 4096):
        if any(table[offset : offset + 4096]):
            disks.write(OsPort(), path, offset, table[offset : offset + 4096])
    disks.write(OsPort(), path, MIB, b"\0" * 1080 + b"\x53\xef" + fill(1, 100000))
    disks.write(OsPort(), path, 2 * MIB, fill(2, 905 * 512))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_partition_grows_with_its_disk_and_recovery_goes_to_the_end(root, path, shape):
    with_recovery(path, **SHAPES[shape])
    runs = three_runs("hdd", root, path=path, size="9M", partition_table="grow")
    assert gpt.judge(seen(path)) == [(2048, 16383), (16384, 17288)]
    assert seen(path)[8 * MIB : 8 * MIB + 905 * 512] == fill(2, 905 * 512)
    grown = runs.done["grown_partition"]
    assert (grown["number"], grown["size_before"], grown["size"]) == (1, MIB, 7 * MIB)
    assert grown["guest_commands"][0].startswith("resize2fs /dev/disk/by-partuuid/")
    assert not [text for text in warnings(runs.done) if "partition" in text]
    again = succeed("hdd", path=path, size="9M", partition_table="grow", grow_partition="1")
    assert not again["changed"] and again["grown_partition"]["guest_commands"] == []


def test_a_partition_table_that_moves_alone_above_snapshots_is_predicted(root, path):
    with_recovery(path)
    has_snapshot(path)
    # The partition behind is the one that can grow.
    options = {"size": "9M", "partition_table": "grow", "grow_partition": "2", "snapshots": "top_only"}
    three_runs("hdd", root, path=path, **options)
    options.update(size="10M", grow_partition="1", snapshots="top_only")
    three_runs("hdd", root, path=path, **options)


@pytest.mark.parametrize("how", ["top_only", "merge"])
def test_a_partition_grows_above_snapshots(root, path, how):
    with_recovery(path)
    before = seen(path)
    has_snapshot(path)
    three_runs("hdd", root, path=path, size="9M", partition_table="grow", snapshots=how)
    assert gpt.judge(seen(path)) == [(2048, 16383), (16384, 17288)]
    if how == "top_only":
        assert seen(path, guid_of(1))[: 4 * MIB] == before


def test_growing_a_partition_is_refused_before_the_disk_grows(root, path):
    with_recovery(path)
    for request in ({"grow_partition": "5"}, {"grow_partition": "nobody"}):
        refused("hdd", root, code="bad_request", path=path, size="9M", partition_table="grow", **request)
    refused("hdd", root, code="bad_request", path=path, size="9M", grow_partition="1")
    refused("hdd", root, code="bad_request", path=path, size="3M", shrink=True, partition_table="grow")
    disks.write(OsPort(), path, 512 + 20, b"x")
    refused("hdd", root, code="damaged", path=path, size="9M", partition_table="grow")


def test_a_smaller_size_says_what_is_in_the_way(root, path):
    with_recovery(path)
    said = refused("hdd", root, code="bad_request", path=path, size="2M", shrink=True)["msg"]
    # The whole mebibyte that it has would have to go for the backup of the table.
    assert "move or remove partition 1" in said
    assert "move or remove partition 2 (Windows recovery" in said


# How a machine reaches a disk that is not in its folder, or not under that name.
REACHES = {
    "link": ("mac.hdd", "m.pvm/mac.hdd"),
    "link by its own path": ("{root}/m.pvm/mac.hdd", "m.pvm/mac.hdd"),
    "absolute": ("{root}/disks/a.hdd", "disks/a.hdd"),
    "relative": ("../disks/a.hdd", "disks/a.hdd"),
    "through a folder": ("{root}/short/a.hdd", "disks/a.hdd"),
}


def reached(root, how, *, machine="m.pvm", size=8):
    """A disk in one folder and its machine in another; the path that the user names, and the configuration."""
    name, given = REACHES[how]
    for folder in ("disks", machine):
        os.makedirs(f"{root}/{folder}")
    new_disk(f"{root}/disks/a.hdd")
    os.symlink(f"{root}/disks", f"{root}/short")
    if "link" in how:
        os.symlink(f"{root}/disks/a.hdd", f"{root}/{machine}/mac.hdd")
    config = f"{root}/{machine}/config.pvs"
    put_config(config, size=size, name=name.format(root=root))
    return f"{root}/{given}".replace("m.pvm", machine), config, name.format(root=root)


@pytest.mark.parametrize("machine", ["m.pvm", "m.macvm"])
@pytest.mark.parametrize("how", ["link", "link by its own path"])
def test_a_machine_follows_a_disk_that_it_reaches_by_a_link(root, how, machine):
    path, config, name = reached(root, how, machine=machine)
    name = name.replace("m.pvm", machine)
    put_config(config, size=8, name=name)
    done = three_runs("hdd", root, path=path, size="9M").done
    assert config_is(config, size=9, name=name) and done["machine_config"] == config
    assert done["disk"]["vm"]["config"] == config and not done["disk"]["vm"]["size_mismatch"]
    three_runs("hdd", root, path=path, size="7M", shrink=True, force=True)
    assert config_is(config, size=7, name=name)
    put_config(config, size=3, name=name)
    mended = three_runs("hdd_check", root, path=path, repair="safe").done
    assert [one["code"] for one in mended["findings"] if one["repaired"]] == ["vm_size"]
    assert config_is(config, size=7, name=name)


@pytest.mark.parametrize("how", REACHES)
def test_a_machine_beside_the_disk_follows_it(root, how):
    """The folders of the machine and of the disk are one folder apart, which is searched."""
    _path, config, name = reached(root, how)
    os.rename(f"{root}/disks/a.hdd", f"{root}/a.hdd")
    os.symlink(f"{root}/a.hdd", f"{root}/disks/a.hdd")
    done = three_runs("hdd", root, path=f"{root}/a.hdd", size="9M").done
    assert config_is(config, size=9, name=name) and done["disk"]["vm"]["config"] == config
    assert not [text for text in warnings(done) if "config.pvs" in text]


def test_all_machines_of_a_disk_follow_it(root):
    _path, config, name = reached(root, "link")
    os.rename(f"{root}/disks/a.hdd", f"{root}/a.hdd")
    os.symlink(f"{root}/a.hdd", f"{root}/disks/a.hdd")
    os.mkdir(f"{root}/second.pvm")
    second = f"{root}/second.pvm/config.pvs"
    put_config(second, name="../a.hdd")
    done = three_runs("hdd", root, path=f"{root}/a.hdd", size="9M").done
    assert config_is(config, size=9, name=name) and config_is(second, size=9, name="../a.hdd")
    assert not [text for text in warnings(done) if "config.pvs" in text]
    put_config(second, size=2, name="../a.hdd")
    os.chmod(second, 0o444)
    # What one machine cannot be told is refused before anything is done.
    refused("hdd", root, code="permission", path=f"{root}/a.hdd", size="10M")
    kept = succeed("hdd", path=f"{root}/a.hdd", size="10M", machine="keep")
    assert len([text for text in warnings(kept) if "set machine: update" in text]) == 2


def test_the_snapshots_that_a_machine_in_another_folder_lists_are_kept(root):
    path = f"{root}/a.hdd"
    new_disk(path)
    guid = succeed("hdd_snapshot", path=path, name="x")["snapshot"]["guid"]
    os.unlink(f"{path}/vdisk-snapshots.json")
    make_machine(f"{root}/m.pvm", disk="../a.hdd", size_mib=8, snapshots={guid: "of the machine"})
    assert not three_runs("hdd_merge", root, path=path, orphans=True).done["changed"]
    refused("hdd_merge", root, code="has_snapshots", path=path)


@pytest.mark.parametrize("how", ["link", "absolute"])
def test_what_spoils_a_machine_in_another_folder_is_refused(root, how):
    path, config, name = reached(root, how)
    os.rename(f"{root}/disks/a.hdd", f"{root}/a.hdd")
    os.symlink(f"{root}/a.hdd", f"{root}/disks/a.hdd")
    os.chmod(config, 0o444)
    refused("hdd", root, code="permission", path=f"{root}/a.hdd", size="9M")
    os.chmod(config, 0o644)
    with open(f"{root}/m.pvm/x.mem", "wb"):
        pass
    # The machine that sleeps is named: it need not be in the folder of the disk.
    assert config in refused("hdd", root, code="suspended", path=f"{root}/a.hdd", size="9M")["msg"]
    assert config_is(config, size=8, name=name) and path


def test_no_change_but_of_the_size_makes_a_machine_stale(root):
    """Snapshots are states of one disk, whose size is that of the disk."""
    path, config = in_machine(root)
    succeed("hdd_snapshot", path=path, name="small")
    three_runs("hdd", root, path=path, size="9M", snapshots="top_only")
    assert config_is(config, size=9)
    for module, options in (
        ("hdd_snapshot", {"name": "small", "state": "reverted"}),
        ("hdd_snapshot", {"name": "small", "state": "absent"}),
        ("hdd_merge", {}),
        ("hdd_compact", {}),
    ):
        done = succeed(module, path=path, **options)
        assert done["disk"]["virtual_size"] == 9 * MIB and config_is(config, size=9)
        assert not done["disk"]["vm"]["size_mismatch"]
    assert "vm_size" not in [one["code"] for one in succeed("hdd_check", path=path)["findings"]]
