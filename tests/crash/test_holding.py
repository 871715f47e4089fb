# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whoever changes a disk, or ends what a killed run left of one, holds it: its directory, its current images and
whatever is written or removed.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from typing import List, Set, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import DIRECTORY
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer, Killed, MortalPort
from ansible_collections.vdisk.parallels.tests.crash.operations import FOLDER, OPERATIONS, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_file import SYNCDIR, Effect
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.memory_tree import Tree

INSIDE = [operation for operation in OPERATIONS if operation.inside]
BUILDERS = [operation for operation in OPERATIONS if not operation.inside]


class WatchingPort(MortalPort):
    """A port that notes which inodes are held at each effect. Barriers change nothing and may come without."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.seen: List[Tuple[Effect, Set[int]]] = []
        self._is_looking = True

    def did(self, effect: Effect) -> None:
        super().did(effect)
        if self._is_looking and effect.kind != SYNCDIR:
            self.seen.append((effect, set(self.held)))

    def look_away(self) -> None:
        """What follows a recovery is a change like any other, of a disk that may have other images by then."""
        self._is_looking = False


def inode_of(port: MemoryPort, path: str) -> int:
    found = port.tree.find(path).inode
    assert found is not None, path
    return found


def wanted(port: MemoryPort, path: str) -> Set[int]:
    """What must be held of a disk whenever it is changed."""
    if port.tree.nodes[inode_of(port, path)].kind != DIRECTORY:
        return {inode_of(port, path)}
    files = [chain[0][0] for _start, _end, chain in disks.parts_of(port, path)]
    return {inode_of(port, path), *(inode_of(port, file) for file in files if "/../" not in file)}


def images(port: MemoryPort, path: str) -> Set[int]:
    """The images of a disk, as far as it is its own to change."""
    if port.tree.nodes[inode_of(port, path)].kind != DIRECTORY:
        return {inode_of(port, path)}
    chains = [part.chain for guid in disks.guids_of(port, path) for part in disks.parts_of(port, path, guid)]
    return {inode_of(port, file) for chain in chains for file, _is_plain in chain if "/../" not in file}


def check(operation: Operation, port: WatchingPort, current: Set[int], old: Set[int]) -> None:
    for effect, held in port.seen:
        assert current <= held, f"{operation.name}: {effect} while {sorted(current - held)} are not held"
        touched = {effect.inode} & old
        assert touched <= held, f"{operation.name}: {effect} of an image that is not held"


@pytest.mark.parametrize("operation", INSIDE, ids=lambda operation: operation.name)
def test_a_change_holds_what_it_changes(operation: Operation) -> None:
    trial = Trial(operation)
    port = trial.adopt(WatchingPort(trial.start().tree))
    current, old = wanted(port, trial.path), images(port, trial.path)
    operation.run(Run(port, FOLDER))
    assert port.seen
    check(operation, port, current, old)


@pytest.mark.parametrize("operation", INSIDE, ids=lambda operation: operation.name)
def test_the_end_of_an_interrupted_change_holds_what_it_changes(operation: Operation) -> None:
    trial = Trial(operation)
    named, others = Explorer(trial).moments()
    for number in named + others[::5]:
        port = trial.adopt(WatchingPort(trial.start().tree))
        port.dies_at = number
        with pytest.raises(Killed):
            operation.run(Run(port, FOLDER))
        heir = trial.adopt(WatchingPort(port.tree))
        current, old = wanted(heir, trial.path), images(heir, trial.path)
        operation.run(Run(heir, FOLDER, token="2", between=heir.look_away))
        check(operation, heir, current, old)


@pytest.mark.parametrize("operation", INSIDE, ids=lambda operation: operation.name)
def test_what_a_failed_change_takes_back_it_still_holds(operation: Operation) -> None:
    trial = Trial(operation)
    named, others = Explorer(trial).moments()
    for number in named + others[::3]:
        port = trial.adopt(WatchingPort(trial.start().tree))
        current, old = wanted(port, trial.path), images(port, trial.path)
        port.fail_call(number, "EIO")
        try:
            operation.run(Run(port, FOLDER))
        except DiskError:
            check(operation, port, current, old)


@pytest.mark.parametrize("operation", BUILDERS, ids=lambda operation: operation.name)
def test_what_is_built_is_held_until_it_has_its_name(operation: Operation) -> None:
    trial = Trial(operation)
    port = trial.adopt(WatchingPort(trial.start().tree))
    replaced = (
        wanted(port, trial.path) if operation.disk in trial.before.names and operation.disk.endswith(".hdd") else set()
    )
    operation.run(Run(port, FOLDER))
    begun = next(
        (
            index
            for index, (effect, _held) in enumerate(port.seen)
            if effect.path == f"{FOLDER}/.{operation.disk}.vdisk-1.tmp"
        ),
        None,
    )
    if not operation.name.startswith("remove"):
        assert begun is not None
        built = port.seen[begun][0].inode
        for effect, held in port.seen[begun + 1 :]:
            assert built in held, f"{operation.name}: {effect} while nothing says that somebody is at work"
    for effect, held in port.seen:
        assert replaced <= held, f"{operation.name}: {effect} while the old disk is not held"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for locks as Linux does")
def test_a_lock_is_seen_on_every_byte_that_qemu_asks_for(tmp_path: object) -> None:
    """101 and 103 say that somebody writes and resizes, 201 and 203 that nobody else may, 100 that data are read
    (format reference, 3.5).
    """
    path = os.path.join(str(tmp_path), "image.hds")
    with open(path, "wb") as stream:
        stream.write(bytes(1024))
    port = OsPort()
    lock = port.lock((), (path,))
    descriptor = os.open(path, os.O_RDWR)
    try:
        if lock.warnings:
            pytest.skip(lock.warnings[0])
        taken = [byte for base in (100, 200, 300) for byte in range(base, base + 5) if _is_locked(descriptor, byte)]
        assert taken == [100, 101, 103, 201, 203]
    finally:
        lock.release()
    assert not any(_is_locked(descriptor, byte) for byte in range(100, 305))
    os.close(descriptor)


def _is_locked(descriptor: int, byte: int) -> bool:
    """Whether an exclusive lock on the byte would meet one of somebody else (F_OFD_GETLK)."""
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    return bool(struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, 36, asked))[0] != fcntl.F_UNLCK)
