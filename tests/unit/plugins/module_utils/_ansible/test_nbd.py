# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hdd_nbd makes of its options; what it does with them is tested with the module."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible import nbd
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.request import Endpoint

NOTHING = {"socket": None, "address": None, "port": None, "allow_remote": False}


@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        ({}, Endpoint()),
        ({"socket": "/run/x.sock"}, Endpoint(socket="/run/x.sock")),
        ({"port": 0}, Endpoint(address="127.0.0.1", port=0)),
        ({"address": "localhost"}, Endpoint(address="127.0.0.1", port=10809)),
        ({"address": "::1", "port": 5}, Endpoint(address="::1", port=5)),
        ({"address": "0.0.0.0", "allow_remote": True}, Endpoint(address="0.0.0.0", port=10809)),
    ],
    ids=str,
)
def test_the_place(options, endpoint):
    assert nbd._endpoint(OsPort(), {**NOTHING, **options}) == endpoint


@pytest.mark.parametrize("options", [{"address": "0.0.0.0"}, {"address": "a.example"}, {"port": 70000}, {"socket": ""}])
def test_no_place(options):
    with pytest.raises(BadRequest):
        nbd._endpoint(OsPort(), {**NOTHING, **options})


def test_a_disk_that_is_gone_is_known_by_its_path(tmp_path):
    assert nbd._disk_of(OsPort(), str(tmp_path / "gone.hdd")) == str(tmp_path / "gone.hdd")
    (tmp_path / "plain").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    assert nbd._disk_of(OsPort(), str(tmp_path / "link")) == str(tmp_path / "plain")
