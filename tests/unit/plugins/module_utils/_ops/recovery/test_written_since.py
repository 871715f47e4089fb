# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every operation, killed after every step; then another program works with the disk; then recovery."""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Dirty
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import PREPARE, ImageBefore, Journal
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import recover
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.resize import resize_end_steps
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.written_since import was_written_since
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.retype import plan_retype
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.shrink import plan_shrink
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.revert import plan_revert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.images import fill, pack_bitmap, pack_extension
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
STEP = disks.SMALL_CLUSTER
ONE = guid_of(1)
BITMAP = 0x20385FAE252CB34A
CLOSED_WITH_EXTENSION = 0x312E3276


def scene(layers: int) -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, PATH, size=8 * STEP)
    disks.write(port, PATH, 0, fill(1, 3 * STEP))
    if layers > 1:
        disks.take(port, PATH, ONE)
        disks.write(port, PATH, 2 * STEP, fill(2, 2 * STEP))
    disks.leak(port, PATH, index=2)
    return port


OPERATIONS: Dict[str, Tuple[int, Callable[[Any, Any], Any]]] = {
    "take": (2, lambda port, state: plan_snapshot_take(state, guid_of(9))),
    "revert": (2, lambda port, state: plan_revert(state, ONE)),
    "merge in place": (2, lambda port, state: plan_merge(port, state, [ONE], strategy="in_place")),
    "merge by copy": (2, lambda port, state: plan_merge(port, state, [ONE], strategy="copy")),
    "compact": (1, disks.plan_compact),
    "compact by copy": (1, lambda port, state: disks.plan_compact(port, state, strategy="copy")),
    "grow": (1, lambda port, state: disks.plan_of_grow(state, 12 * STEP)),
    "grow much": (1, lambda port, state: disks.plan_of_grow(state, 8300 * STEP)),
    "grow in full": (1, lambda port, state: disks.plan_of_grow(state, 12 * STEP, reserve=True)),
    "shrink": (1, lambda port, state: plan_shrink(state, 5 * STEP)),
    "retype": (1, lambda port, state: plan_retype(port, state, disks.shape(8 * STEP, kind="plain"))),
}


def images_of(port: MemoryPort) -> List[str]:
    return [image.path for image in disks.state_of(port, PATH).images.values() if image.header is not None]


def closed(port: MemoryPort, path: str, in_use: int = 0) -> None:
    disks.patch(port, path, 44, struct.pack("<I", in_use))


def extend(port: MemoryPort, path: str, in_use: int = CLOSED_WITH_EXTENSION) -> Tuple[int, bytes]:
    """Append a dirty bitmap and its extension after all that is in the file; where it begins, and its bytes."""
    header = port.content(path)[:64]
    size = struct.unpack_from("<I", header, 36)[0]
    end = -(-len(port.content(path)) // STEP) * STEP
    data = pack_bitmap(size_sectors=size, granularity=64, clusters=[end // 512])
    content = b"\x5a" * STEP + pack_extension([(BITMAP, 0, data)], cluster_bytes=STEP)
    disks.patch(port, path, end, content)
    disks.patch(port, path, 56, struct.pack("<Q", (end + STEP) // 512))
    closed(port, path, in_use)
    return end, content


def nothing(port: MemoryPort) -> Dict[str, Tuple[int, bytes]]:
    return {}


def guest(port: MemoryPort) -> Dict[str, Tuple[int, bytes]]:
    """A virtual machine that writes two clusters, one of them new, and shuts down."""
    disks.write(port, PATH, 3 * STEP + 5, b"after the crash" * 3000)
    if disks.file_of(port, PATH) in images_of(port):
        closed(port, disks.file_of(port, PATH))
    return {}


def backup(port: MemoryPort) -> Dict[str, Tuple[int, bytes]]:
    """A program with change tracking that closes the current image with its extension."""
    path = disks.file_of(port, PATH)
    return {path: extend(port, path)} if path in images_of(port) else {}


def both(port: MemoryPort) -> Dict[str, Tuple[int, bytes]]:
    guest(port)
    return backup(port)


def crashed(port: MemoryPort) -> Dict[str, Tuple[int, bytes]]:
    """The same program, which dies with the image open."""
    path = disks.file_of(port, PATH)
    return {path: extend(port, path, 0x746F6E59)} if path in images_of(port) else {}


# A table that needs the room of clusters is long, so less is tried with it.
TRIALS = [
    (operation, act)
    for operation in OPERATIONS
    for act in (nothing, guest, backup, both, crashed)
    if operation != "grow much" or act in (both, crashed)
]


@pytest.mark.parametrize(("operation", "act"), TRIALS)
def test_what_was_written_after_the_crash_stays(operation: str, act: Callable[[Any], Any]) -> None:
    layers, planner = OPERATIONS[operation]
    built = scene(layers)
    count = len(planner(built, disks.state_of(built, PATH)).steps)
    assert count > 2
    for after in range(1, count):
        port = MemoryPort(built.tree.fork())
        plan = planner(port, disks.state_of(port, PATH))
        execute(port, replace(plan, steps=plan.steps[:after]))
        written = act(port)
        before = {guid: disks.read_naively(port, PATH, guid) for guid in disks.guids_of(port, PATH)}
        try:
            recover(port, locate(port, PATH))
        except Dirty:
            # To go forward means to read an image that somebody did not close.
            assert act is crashed and operation == "merge in place"
            recover(port, locate(port, PATH), force=True)
        assert disks.read_naively(port, PATH) == before[TOP], (operation, after)
        state = disks.state_of(port, PATH)
        assert state.journal is None
        found = [one.code for one in examine(port, locate(port, PATH)).findings if one.severity == "error"]
        assert found == [], (operation, after)
        for path, (offset, content) in written.items():
            kept = port.content(path)[offset : offset + len(content)] if port.lstat(path) is not None else None
            # What goes forward to its end changes what a bitmap describes, and drops it by the rules of a merge or a
            # shrink; what is taken back keeps it.
            if plan.operation in ("snapshot", "grow") or (plan.operation == "compact" and "copy" in operation):
                assert kept == content, (operation, after)


@pytest.mark.parametrize("layers", [2])
def test_a_merge_that_is_taken_back_keeps_a_later_extension_as_valid(layers: int) -> None:
    """The reproduced case: killed before the second note, then closed with an extension behind the recorded end."""
    built = scene(layers)
    plan = plan_merge(built, disks.state_of(built, PATH), [ONE], strategy="in_place")
    for after in range(1, 6):
        port = MemoryPort(built.tree.fork())
        execute(port, replace(plan_merge(port, disks.state_of(port, PATH), [ONE]), steps=plan.steps[:after]))
        journal = disks.state_of(port, PATH).journal
        if journal is None or journal.phase != PREPARE:
            continue
        written = {path: extend(port, path) for path in images_of(port)}
        recover(port, locate(port, PATH))
        for image in disks.state_of(port, PATH).images.values():
            offset, content = written[image.path]
            assert port.content(image.path)[offset : offset + len(content)] == content
            assert image.extension is not None


def test_an_image_in_which_nothing_was_added_is_not_taken_for_written() -> None:
    port = scene(1)
    (image,) = disks.state_of(port, PATH).images.values()
    assert not was_written_since(image, image.stat.size)
    # The end of the last cluster may have been missing.
    assert not was_written_since(image, image.stat.size - 512)
    assert was_written_since(image, image.stat.size - 2 * STEP)


def test_a_mark_that_others_left_is_not_cleared_with_ours() -> None:
    port = scene(2)
    plan = plan_merge(port, disks.state_of(port, PATH), [ONE], strategy="in_place")
    receiver = plan.steps[1].path
    execute(port, replace(plan, steps=plan.steps[:3]))
    extend(port, receiver, 0x746F6E59)
    recover(port, locate(port, PATH))
    assert [image.is_dirty for image in disks.state_of(port, PATH).images.values() if image.path == receiver] == [True]


def test_a_larger_image_that_others_took_for_true_is_not_made_smaller() -> None:
    port = scene(1)
    state = disks.state_of(port, PATH)
    plan = disks.plan_of_grow(state, 12 * STEP)
    execute(port, replace(plan, steps=plan.steps[: plan.commit]))
    path = disks.file_of(port, PATH)
    end = len(port.content(path))
    disks.patch(port, path, end, b"past the old end".ljust(STEP, b"."))
    disks.patch(port, path, 64 + 4 * 11, struct.pack("<I", end // 512))
    recover(port, locate(port, PATH))
    assert port.content(path)[end : end + 16] == b"past the old end"
    assert next(iter(disks.state_of(port, PATH).images.values())).header.size_bytes == 12 * STEP


def test_a_journal_of_a_grow_that_does_not_say_what_was_reserved_is_believed() -> None:
    """Journals of the first release have no such word; what lies past the old end may be theirs."""
    port = scene(1)
    state = disks.state_of(port, PATH)
    (image,) = state.images.values()
    request = {"sectors": 1, "headers": {image.path.rsplit("/", 1)[-1]: port.content(image.path)[:64].hex()}}
    before = ImageBefore(image.path.rsplit("/", 1)[-1], image.stat.size, 0)
    steps = list(resize_end_steps(state, Journal("grow", PREPARE, images=(before,), request=request)))
    assert [type(step).__name__ for step in steps] == ["WriteBytes", "Sync", "Sync"]
