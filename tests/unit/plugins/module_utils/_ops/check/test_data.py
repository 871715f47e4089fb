# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import IoFailure
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.data import read_clusters
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle
from ansible_collections.vdisk.parallels.tests.support.faults import CHAIN, CLUSTER, held


class BadFile:
    """A file of which one place cannot be read."""

    def __init__(self, file, bad):
        self._file = file
        self._bad = bad

    def __getattr__(self, name):
        return getattr(self._file, name)

    def pread_into(self, offset, buffer):
        if offset <= self._bad < offset + len(buffer):
            raise IoFailure("Cannot read", path=self._file.path, offset=self._bad)
        return self._file.pread_into(offset, buffer)


class BadPort(OsPort):
    """A port whose images have a bad place."""

    bad = -1

    def open_read(self, path):
        return BadFile(super().open_read(path), self.bad)


def test_every_allocated_cluster_is_read_once(path):
    build_bundle(path, size_sectors=512, layers=CHAIN, cluster_sectors=64)
    port = OsPort()
    assert read_clusters(port, examine(port, locate_damaged(port, path))) == ([], 8 * CLUSTER)


@pytest.mark.parametrize("kind", ["Compressed", "Plain"])
def test_what_the_medium_does_not_give_back_is_told(path, kind):
    build_bundle(path, size_sectors=512, layers=[Layer(TOP, type=kind, clusters=held(0, 1, 2))], cluster_sectors=64)
    port = BadPort()
    examined = examine(port, locate_damaged(port, path))
    port.bad = 2 * CLUSTER + 5
    (one,), _read = read_clusters(port, examined)
    assert (one.code, one.repairable) == ("data_unreadable", "no") and "1 place " in one.message
