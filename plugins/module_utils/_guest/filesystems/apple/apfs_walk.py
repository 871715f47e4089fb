# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A walk over what an APFS container knows to be in use, from the Apple File System Reference.

::

    superblock -> object map -> volumes -> object map: nodes of the file tree, at every snapshot
                                        -> extents that files have
                                        -> snapshots -> extents that files had
    space manager -> queue of blocks that older checkpoints need

All of it is plain where files are encrypted. Bitmaps have no checksum; that none of these blocks is free proves them.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Dict, Iterator, List, Tuple

from ..answer import refuse_if
from ..runs import Runs
from ..volume import Volume
from .apfs_checkpoint import Checkpoint, SpaceManager, has_checksum, kind, transaction
from .apfs_tree import Tree, items_of

_QUEUE, _OBJECT_MAP, _VOLUME, _EXTENTS, _SNAPSHOTS, _SNAPSHOT_LIST = 9, 0xB, 0xD, 0xF, 0x10, 0x13
_VOLUMES, _MOST_VOLUMES = 0xB8, 100
_STORAGE, _PHYSICAL = 0xC0000000, 0x40000000
_DELETED = 1
_SNAPSHOT_RECORD, _EXTENT_RECORD = 1, 2
_LENGTH = (1 << 60) - 1
_DEAD = 3


class Walk:
    """A look at everything that has blocks. Raises Uncertain where one of ``runs`` is among them."""

    def __init__(self, volume: Volume, checkpoint: Checkpoint, space: SpaceManager, runs: Runs) -> None:
        self._volume = volume
        self._checkpoint = checkpoint
        self._space = space
        self._runs = runs

    def run(self) -> None:
        """Visit the queue and all volumes."""
        self._visit_queue()
        named = [oid for oid in struct.unpack_from(f"<{_MOST_VOLUMES}Q", self._checkpoint.raw, _VOLUMES) if oid]
        found: Dict[int, Tuple[int, int]] = {}
        for oid, written, place in self._mapped(struct.unpack_from("<Q", self._checkpoint.raw, 0xA0)[0]):
            found[oid] = max(found.get(oid, (0, 0)), (written, place))
        for oid in named:
            refuse_if(oid not in found)
            self._visit_volume(self._object(found[oid][1], (oid, _VOLUME)))

    def _visit_queue(self) -> None:
        """Blocks that were freed since the oldest checkpoint that is kept: they are not free yet."""
        if self._space.queue:
            for key, value in self._items(self._space.queue, _QUEUE, is_physical=False):
                refuse_if(len(key) < 16 or len(value) not in (0, 8))
                self._use(struct.unpack_from("<Q", key, 8)[0], struct.unpack("<Q", value)[0] if value else 1)

    def _visit_volume(self, raw: bytes) -> None:
        refuse_if(raw[32:36] != b"APSB")
        extents_type, snapshots_type = struct.unpack_from("<II", raw, 120)
        objects, _root, extents, snapshots = struct.unpack_from("<QQQQ", raw, 128)
        for _mapping in self._mapped(objects):
            pass
        self._visit_extents(extents, extents_type)
        if not snapshots or snapshots_type & _STORAGE != _PHYSICAL:
            return
        for key, value in self._items(snapshots, _SNAPSHOTS):
            refuse_if(len(key) < 8)
            if key[7] >> 4 == _SNAPSHOT_RECORD:
                refuse_if(len(value) < 48)
                extents, superblock, extents_type = struct.unpack_from("<QQ24xI", value)
                self._use(superblock, 1)
                self._visit_extents(extents, extents_type)

    def _visit_extents(self, root: int, type: int) -> None:
        """The extents that files have; those of a snapshot are not in the tree of the volume."""
        if not root or type & _STORAGE != _PHYSICAL:
            return
        for key, value in self._items(root, _EXTENTS):
            refuse_if(len(key) < 8 or len(value) < 20 or key[7] >> 4 != _EXTENT_RECORD)
            if value[7] >> 4 != _DEAD:
                self._use(*(struct.unpack_from("<Q", raw)[0] & _LENGTH for raw in (key, value)))

    def _mapped(self, place: int) -> Iterator[Tuple[int, int, int]]:
        """Object, transaction and place of what an object map has, all of it in use."""
        if not place:
            return
        raw = self._object(place, (place, _OBJECT_MAP))
        root, snapshots = struct.unpack_from("<QQ", raw, 48)
        if snapshots:
            for _item in self._items(snapshots, _SNAPSHOT_LIST):
                pass
        for key, value in self._items(root, _OBJECT_MAP):
            refuse_if(len(key) < 16 or len(value) < 16)
            oid, written = struct.unpack_from("<QQ", key)
            flags, size, at = struct.unpack_from("<IIQ", value)
            if not flags & _DELETED:
                refuse_if(not size or size % self._checkpoint.block)
                self._use(at, size // self._checkpoint.block)
                yield oid, written, at

    def _items(self, root: int, subtype: int, *, is_physical: bool = True) -> Iterator[Tuple[bytes, bytes]]:
        tree = Tree(root, subtype, self._used if is_physical else self._ephemeral)
        return items_of(self._volume, self._checkpoint, tree)

    def _used(self, place: int) -> int:
        self._use(place, 1)
        return place

    def _ephemeral(self, oid: int) -> int:
        found: List[int] = [place for one, place in self._space.ephemeral if one == oid]
        refuse_if(len(found) != 1)
        return found[0]

    def _object(self, place: int, expected: Tuple[int, int]) -> bytes:
        self._use(place, 1)
        raw = self._volume.read(place * self._checkpoint.block, self._checkpoint.block)
        refuse_if((struct.unpack_from("<Q", raw, 8)[0], kind(raw)) != expected or not has_checksum(raw))
        refuse_if(transaction(raw) > self._checkpoint.transaction)
        return raw

    def _use(self, place: int, blocks: int) -> None:
        block = self._checkpoint.block
        refuse_if(
            place + blocks > self._checkpoint.blocks or self._runs.within(place * block, (place + blocks) * block)
        )
