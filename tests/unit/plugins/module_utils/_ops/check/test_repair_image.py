# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random tables of small images: a repair shows what a reader without any suspicion saw, and leaves nothing to be
found.
"""

from __future__ import annotations

import os
import struct
import tempfile

import pytest

pytest.importorskip("hypothesis", reason="properties need hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.repair import plan_repair
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill

PORT = OsPort()
SECTORS = 8
CLUSTER = SECTORS * 512
COUNT = 12


def seen_by_a_trusting_reader(path, version):
    """Each cluster, read where its entry leads; what is not in the file, and what would be the header or the table,
    is zero.
    """
    with open(path, "rb") as stream:
        content = stream.read()
    unit = 512 if version == 1 else CLUSTER
    table_end = 64 + 4 * COUNT
    disk = b""
    for entry in struct.unpack_from(f"<{COUNT}I", content, 64):
        place = entry * unit
        disk += (content[place : place + CLUSTER] if place >= table_end else b"").ljust(CLUSTER, b"\0")
    return disk


def entries(version):
    near = st.integers(0, (COUNT + 3) * (SECTORS if version == 1 else 1))
    return st.dictionaries(
        st.integers(0, COUNT - 1), st.one_of(near, st.just(0xFFFFFFFF), st.integers(0, 0xFFFFFFF)), max_size=6
    )


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    version=st.sampled_from([1, 2]),
    tail=st.integers(0, 9000),
    cut=st.integers(0, 9000),
    wrong=st.sampled_from([None, None, 0, 16, 13]),
)
def test_a_repair_shows_what_was_seen(data, version, tail, cut, wrong):
    # An entry that leads to nothing cannot be near 2^32 in version 1 without room behind it, so the file is small in
    # any case.
    planted = data.draw(entries(version))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(os.path.realpath(folder), "a.hds")
        clusters = {index: fill(index, CLUSTER) for index in data.draw(st.sets(st.integers(0, COUNT - 1)))}
        built = build_hds(
            path,
            size_sectors=COUNT * SECTORS,
            cluster_sectors=SECTORS,
            version=version,
            clusters=clusters,
            entries=planted,
            tail=b"t" * tail,
        )
        if wrong is not None:
            with open(path, "r+b") as stream:
                stream.seek(48)
                stream.write(struct.pack("<I", wrong))
        os.truncate(path, max(built.data_start, built.file_size - cut))
        before = seen_by_a_trusting_reader(path, version)
        size = os.path.getsize(path)
        for _round in range(2):
            plan = plan_repair(PORT, examine(PORT, locate_damaged(PORT, path)), level="all")
            if not plan.is_empty:
                execute(PORT, plan)
            left = examine(PORT, locate_damaged(PORT, path))
            assert not [one for one in left.findings if one.repairable != "no" or one.severity == "error"], (
                left.findings,
                planted,
                size,
            )
        assert plan.is_empty
        assert seen_by_a_trusting_reader(path, version) == before
