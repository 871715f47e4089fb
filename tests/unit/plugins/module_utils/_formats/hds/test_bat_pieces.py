# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import bat_pieces
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat import Run, pack_entries
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import new_header


@pytest.mark.parametrize("version", [1, 2])
def test_pieces_of_a_table_are_what_the_whole_table_says_there(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bat_pieces, "_WRITE_ENTRIES", 4)
    header = new_header(size_bytes=40 * 65536, cluster_bytes=65536, version=version)
    step = header.cluster_bytes
    runs = [Run(2, 5, 3 * step), Run(9, 1, 40 * step), Run(10, 12, 8 * step)]
    offsets = [0] * 40
    for run in runs:
        for index in range(run.count):
            offsets[run.cluster + index] = run.offset + index * step
    whole = pack_entries(header, offsets)
    for spans in ([(0, 40)], [(0, 1), (3, 4), (6, 9), (9, 10), (15, 30)], [(39, 40)], []):
        pieces = list(bat_pieces.entry_pieces(header, spans, iter(runs)))
        assert all(len(piece) <= 16 for _offset, piece in pieces)
        assert sum(len(piece) for _offset, piece in pieces) == 4 * sum(end - start for start, end in spans)
        for offset, piece in pieces:
            assert whole[offset - 64 : offset - 64 + len(piece)] == piece
