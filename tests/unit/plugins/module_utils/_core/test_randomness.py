# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Telling what will not shrink."""

from __future__ import annotations

import random

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.randomness import looks_random


@pytest.mark.parametrize("length", [16 << 10, 64 << 10, (64 << 10) + 7, 2 << 20])
def test_random_bytes_are_told_from_others(length: int) -> None:
    noise = random.Random(length).getrandbits(8 * length).to_bytes(length, "little")
    assert looks_random(noise)
    assert not looks_random(bytes(length))
    assert not looks_random((b"some text " * length)[:length])
    # A half that shrinks is worth the try.
    assert not looks_random(noise[: length // 2] + bytes(length - length // 2))


@pytest.mark.parametrize("length", [0, 1, 512, 4096, 9215])
def test_little_is_always_tried(length: int) -> None:
    assert not looks_random(random.Random(1).getrandbits(8 * length + 1).to_bytes(length + 1, "little")[:length])
