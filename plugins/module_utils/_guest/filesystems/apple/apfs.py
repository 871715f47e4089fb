# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free blocks of an APFS container: the bitmaps of its space manager, as of the newest checkpoint.

Encryption does not matter: it belongs to volumes, the space manager to the container. Blocks of APFS snapshots and of
older checkpoints are marked used. There is no mark of an unclean end: who asks knows that the machine is off.
Bitmaps have no checksum, but each chunk has a count of its free blocks in a block that has one, and all that volumes
and snapshots have is looked up in them.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterator, List, Optional, Tuple

from ..answer import Identity, refuse_if
from ..bits import zero_runs
from ..runs import Runs
from ..volume import Volume
from .apfs_checkpoint import (
    ADDRESS_BLOCK,
    CHUNK_BLOCK,
    LIST,
    Checkpoint,
    SpaceManager,
    has_checksum,
    kind,
    read_checkpoint,
    read_first,
    read_space_manager,
    transaction,
)
from .apfs_walk import Walk

_COUNT = 0xFFFFF


def recognise(volume: Volume) -> Optional[Identity]:
    """A container, by the superblock in its first block. Volumes in it have labels, it has none."""
    found = read_first(volume)
    if found is None:
        return None
    size = found[1] * found[2]
    return Identity("apfs", None, volume.size if 0 < size - volume.size < found[1] else size)


def free_runs(volume: Volume) -> Runs:
    """The free blocks of the whole container. Raises Uncertain."""
    checkpoint = read_checkpoint(volume)
    space = read_space_manager(volume, checkpoint)
    infos, parents = _info_blocks(volume, checkpoint, space)
    runs, start = Runs(), 0
    for index, address in enumerate(infos):
        for chunk in _chunks(_object(volume, checkpoint, address, (CHUNK_BLOCK, index)), checkpoint):
            refuse_if(chunk[:2] != (start, min(space.chunk_blocks, checkpoint.blocks - start)))
            _add_chunk(volume, checkpoint, space, runs, chunk)
            start += chunk[1]
    refuse_if(start != checkpoint.blocks or runs.total != space.free * checkpoint.block)
    _refuse_free_metadata(checkpoint, space, runs, infos + parents)
    Walk(volume, checkpoint, space, runs).run()
    if checkpoint.blocks * checkpoint.block > volume.size:
        return Runs((low, min(high, volume.size // checkpoint.block * checkpoint.block)) for low, high in runs)
    return runs


def _info_blocks(volume: Volume, checkpoint: Checkpoint, space: SpaceManager) -> Tuple[List[int], List[int]]:
    """The addresses of all blocks with chunk infos, and of those that list them."""
    if not space.is_deep:
        return list(space.addresses), []
    found: List[int] = []
    for index, address in enumerate(space.addresses):
        raw = _object(volume, checkpoint, address, (ADDRESS_BLOCK, index))
        count = struct.unpack_from("<I", raw, 36)[0]
        refuse_if(LIST + 8 * count > len(raw))
        found += struct.unpack_from(f"<{count}Q", raw, LIST)
    refuse_if(len(found) != space.info_blocks)
    return found, list(space.addresses)


def _object(volume: Volume, checkpoint: Checkpoint, address: int, expected: Tuple[int, int]) -> bytes:
    """A block that lies where its id says, of this type and index."""
    raw = volume.read(address * checkpoint.block, checkpoint.block)
    place, index = struct.unpack_from("<Q", raw, 8)[0], struct.unpack_from("<I", raw, 32)[0]
    refuse_if((kind(raw), index) != expected or place != address or transaction(raw) > checkpoint.transaction)
    refuse_if(not has_checksum(raw))
    return raw


def _chunks(raw: bytes, checkpoint: Checkpoint) -> Iterator[Tuple[int, int, int, int]]:
    """First block, blocks, free blocks and address of the bitmap of each chunk."""
    count = struct.unpack_from("<I", raw, 36)[0]
    refuse_if(LIST + 32 * count > len(raw))
    for offset in range(LIST, LIST + 32 * count, 32):
        written, first, blocks, free, bitmap = struct.unpack_from("<QQIIQ", raw, offset)
        refuse_if(written > checkpoint.transaction)
        yield first, blocks & _COUNT, free & _COUNT, bitmap


def _add_chunk(
    volume: Volume, checkpoint: Checkpoint, space: SpaceManager, runs: Runs, chunk: Tuple[int, int, int, int]
) -> None:
    """Add what is free in a chunk. One without a bitmap is free as a whole."""
    first, blocks, free, bitmap = chunk
    block, before = checkpoint.block, runs.total
    if not bitmap:
        runs.add(first * block, (first + blocks) * block)
    else:
        refuse_if(not space.pool[0] <= bitmap < space.pool[1])
        bits = zero_runs(volume.read(bitmap * block, block), blocks)
        runs.extend(((first + low) * block, (first + high) * block) for low, high in bits)
    refuse_if(runs.total - before != free * block)


def _refuse_free_metadata(checkpoint: Checkpoint, space: SpaceManager, runs: Runs, blocks: List[int]) -> None:
    for start, end in (*checkpoint.fixed, space.pool, space.pool_bitmaps, *((one, one + 1) for one in blocks)):
        refuse_if(runs.within(start * checkpoint.block, end * checkpoint.block))
