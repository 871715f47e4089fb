# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The place where a server is, as users and clients write it."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.request import Endpoint


@pytest.mark.parametrize(
    ("endpoint", "uri"),
    [
        (Endpoint(socket="/run/a.sock"), "nbd+unix:///?socket=/run/a.sock"),
        (Endpoint(socket="/run/a b&c?#%.sock"), "nbd+unix:///?socket=/run/a%20b%26c%3F%23%25.sock"),
        (Endpoint(address="127.0.0.1", port=10809), "nbd://127.0.0.1:10809"),
        (Endpoint(address="::1", port=1), "nbd://[::1]:1"),
    ],
)
def test_the_uri_of_a_place(endpoint, uri):
    assert endpoint.uri() == uri
    assert not endpoint.wants_nothing


def test_the_port_that_the_host_has_chosen_is_in_the_uri():
    assert Endpoint(address="127.0.0.1", port=0).uri(4711) == "nbd://127.0.0.1:4711"


def test_any_place_will_do():
    assert Endpoint().wants_nothing
