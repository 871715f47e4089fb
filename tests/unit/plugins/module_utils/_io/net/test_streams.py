# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a connection promises: sockets of the host and the double that tests use keep to one contract."""

from __future__ import annotations

import inspect

from ansible_collections.vdisk.parallels.plugins.module_utils._io.net import sockets, streams
from ansible_collections.vdisk.parallels.tests.support.nbd import MemoryStream


def _methods(kind):
    return {name for name, _method in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_the_real_stream_and_its_double_do_all_that_is_promised():
    promised = _methods(streams.Stream)
    for kind in (sockets.SocketStream, MemoryStream):
        assert promised <= _methods(kind)
        for name in promised:
            wanted, found = (inspect.signature(getattr(one, name)).parameters for one in (streams.Stream, kind))
            assert [(one.name, one.kind) for one in wanted.values()] == [(one.name, one.kind) for one in found.values()]


def test_the_real_listener_does_all_that_is_promised():
    assert _methods(streams.Listener) <= _methods(sockets.SocketListener)
