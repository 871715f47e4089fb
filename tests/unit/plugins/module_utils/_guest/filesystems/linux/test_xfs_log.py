# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux.xfs_log import refuse_unclean_log
from ansible_collections.vdisk.parallels.tests.support.filesystems import Bytes, whole

BLOCKS = 300


def log(
    head: int, cycle: int = 3, *, operations: int = 1, flags: int = 0x20, body: int = 1, rest: int = -1
) -> bytearray:
    """A log whose last record, with ``body`` blocks, ends at ``head``; after it the cycle before, or ``rest``."""
    after = cycle - 1 if rest < 0 else rest
    raw = bytearray()
    for number in range(BLOCKS):
        raw += struct.pack(">I", cycle if number < head else after) + bytes(508)
    at = (head - body - 1) * 512
    struct.pack_into(">IIII", raw, at, 0xFEEDBABE, cycle, 2, body * 512)
    struct.pack_into(">I", raw, at + 40, operations)
    struct.pack_into(">I", raw, at + 320, 32768)
    raw[at + 512 + 9] = flags
    return raw


def is_clean(raw: bytes) -> bool:
    try:
        refuse_unclean_log(whole(Bytes(bytes(1024) + bytes(raw))), 1024, 1024 + len(raw))
    except Uncertain as uncertain:
        assert uncertain.code == "unclean"
        return False
    return True


@pytest.mark.parametrize("head", [2, 3, 150, 299, 300])
def test_a_log_that_ends_with_an_unmount_is_clean(head: int) -> None:
    assert is_clean(log(head))


def test_a_log_that_was_never_full_is_clean() -> None:
    assert is_clean(log(20, 1, rest=0))
    assert is_clean(log(20, 7, rest=0))


def test_a_record_may_be_padded() -> None:
    assert is_clean(log(150, body=64))


@pytest.mark.parametrize(
    "raw",
    [log(150, operations=2), log(150, flags=0), bytearray(BLOCKS * 512), log(150, rest=1), log(150, cycle=1, rest=5)],
    ids=["two operations", "no unmount", "zeros", "cycles apart", "a later cycle"],
)
def test_all_others_are_unclean(raw: bytearray) -> None:
    assert not is_clean(raw)


def test_what_was_written_after_the_unmount_counts() -> None:
    raw = log(150)
    raw[150 * 512 : 150 * 512 + 4] = struct.pack(">I", 3)
    assert not is_clean(raw)
    raw = log(150)
    raw[160 * 512 : 160 * 512 + 4] = struct.pack(">I", 3)
    assert not is_clean(raw)
