# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where each byte of a disk comes from, found once and remembered."""

from __future__ import annotations

import random

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import pieces
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.pieces import (
    PACKED,
    STORED,
    ZEROS,
    GuestMap,
    Piece,
)
from ansible_collections.vdisk.parallels.tests.support.nbd import TrialView

MIB = 1 << 20
FILE = object()


def view_of(size, zeros=(), stored=()):
    return TrialView(bytes(size), zeros=zeros, stored=stored, file=FILE)


def test_zeros_files_and_the_rest_are_told_apart():
    found = list(GuestMap(view_of(100, [(10, 20)], [(20, 50), (60, 70)])).pieces(5, 95))
    assert found == [
        Piece(5, 10, PACKED),
        Piece(10, 20, ZEROS),
        Piece(20, 50, STORED, FILE, 20),
        Piece(50, 60, PACKED),
        Piece(60, 70, STORED, FILE, 60),
        Piece(70, 95, PACKED),
    ]


def test_a_range_inside_of_a_piece_is_cut_out_with_its_offset():
    assert list(GuestMap(view_of(100, stored=[(20, 50)])).pieces(30, 40)) == [Piece(30, 40, STORED, FILE, 30)]


def test_nothing_is_found_twice():
    view = view_of(3 * MIB)
    found = GuestMap(view)
    assert list(found.pieces(0, MIB)) and list(found.pieces(MIB, 2 * MIB))
    assert view.asked == 1


def test_any_range_is_covered_without_gaps_across_regions(monkeypatch):
    monkeypatch.setattr(pieces, "_REGION", 64)
    monkeypatch.setattr(pieces, "_MOST_PIECES", 40)
    chance = random.Random(20)
    zeros = [(start, start + 7) for start in range(3, 1000, 31)]
    stored = [(start, start + 11) for start in range(10, 1000, 31)]
    view = view_of(1000, zeros, stored)
    guest = GuestMap(view)
    expected = {byte: ZEROS for low, high in zeros for byte in range(low, high)}
    expected.update({byte: STORED for low, high in stored for byte in range(low, high)})
    for _turn in range(300):
        start, end = sorted(chance.sample(range(1001), 2))
        position = start
        for piece in guest.pieces(start, end):
            assert piece.start == position < piece.end <= end
            assert {expected.get(byte, PACKED) for byte in range(piece.start, piece.end)} == {piece.kind}
            assert piece.kind != STORED or piece.offset == piece.start
            position = piece.end
        assert position == end
    assert guest._held <= 40 + 30
    assert guest._held == sum(8 + len(starts) for starts, _pieces in guest._regions.values())
