# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.registry import READERS, readers_for
from ansible_collections.vdisk.parallels.tests.support.filesystems import Bytes, whole


def test_every_reader_offers_both_functions() -> None:
    for row in READERS:
        reader = row.load()
        assert callable(reader.recognise) and callable(reader.free_runs)


def test_a_reader_is_loaded_where_its_magic_is() -> None:
    content = bytearray(1 << 17)
    assert list(readers_for(whole(Bytes(bytes(content))))) == []
    for row in READERS:
        offset, magic = row.magics[0]
        marked = bytearray(content)
        marked[offset : offset + len(magic)] = magic
        assert list(readers_for(whole(Bytes(bytes(marked))))) == [row.load()]


def test_readers_recognise_nothing_in_noise() -> None:
    import random

    noise = bytearray(random.Random(3).getrandbits(8 << 17).to_bytes(1 << 17, "little"))
    for row in READERS:
        volume = whole(Bytes(bytes(noise)))
        assert row.load().recognise(volume) is None
