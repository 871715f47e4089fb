# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One operation of the engine in a process of its own: ``python -m ...tests.bench.engine OPERATION ARGUMENTS``.

With VDISK_BENCH_NOSYNC new outputs need not be durable, to compare with programs that sync nothing either.
"""

from __future__ import annotations

import os
import sys
from typing import List

from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort


def convert(port: OsPort, source: str, dest: str, format: str, options: str = "{}") -> None:
    """Write anew, whatever is there; not read back unless asked."""
    import json

    from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
    from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest

    durable = not os.environ.get("VDISK_BENCH_NOSYNC")
    wanted = {"verify": False, "update": "always", "force": True, "durable": durable, **json.loads(options)}
    execute(
        port,
        plan_convert(
            port, find_source(port, source, backing=True), ConvertRequest(format, dest, **wanted), token="bench"
        ),
    )


def compare(port: OsPort, one: str, other: str) -> None:
    """End with 1 when the guest disks differ."""
    from ansible_collections.vdisk.parallels.plugins.module_utils._guest.compare import first_difference
    from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source

    views = [open_source(port, find_source(port, path, backing=True)) for path in (one, other)]
    sys.exit(first_difference(*views) is not None)


def merge(port: OsPort, path: str) -> None:
    """Everything into one layer."""
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import observe
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
    from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge

    state = observe(port, locate(port, path))
    execute(port, plan_merge(port, state, state.tree.current_chain[1:]))


def compact(port: OsPort, path: str) -> None:
    """Give back zero clusters, in place."""
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import observe
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
    from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact

    execute(port, plan_compact(port, observe(port, locate(port, path))))


def check(port: OsPort, path: str) -> None:
    """Judge the metadata; end with 1 when there is a finding."""
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged

    sys.exit(bool(examine(port, locate_damaged(port, path)).findings))


def map_extents(port: OsPort, path: str) -> None:
    """Print the allocation map as JSON."""
    import json

    from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source

    view = open_source(port, find_source(port, path, backing=True))
    sys.stdout.write(json.dumps([(extent.start, extent.length, extent.kind) for extent in view.extents(0, view.size)]))


def read(port: OsPort, path: str, digested: str = "") -> None:
    """Read every byte of the guest disk; print a digest of them when ``digested`` is not empty."""
    from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
    from ansible_collections.vdisk.parallels.plugins.module_utils._io.buffers import new_buffer

    view = open_source(port, find_source(port, path, backing=True))
    buffer, digest = new_buffer(1 << 20), None
    if digested:
        import hashlib

        digest = hashlib.sha1()
    for offset in range(0, view.size, len(buffer)):
        piece = buffer[: view.size - offset]
        view.pread_into(offset, piece)
        if digest is not None:
            digest.update(piece)
    if digest is not None:
        print(digest.hexdigest())


def facts(port: OsPort, *paths: str) -> None:
    """The facts of many disks."""
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import observe
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.report.facts import disk_facts

    for path in paths:
        disk_facts(port, observe(port, locate(port, path)))


def serve(port: OsPort, path: str, socket: str) -> None:
    """Serve a disk until the end of the process."""
    from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
    from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.detached import Stopping
    from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.sockets import listen_unix
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.negotiation import Export
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.pieces import GuestMap
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.replies import Source
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.server import Limits, Server

    view = open_source(port, find_source(port, path))
    stopping = Stopping()
    listener = listen_unix(socket, stopping.descriptor)
    export = Export("disk", path, view.size)
    Server(listener, export, Source(view, GuestMap(view)), Limits(0, 64)).run(stopping.is_wanted)


OPERATIONS = {
    "convert": convert,
    "compare": compare,
    "merge": merge,
    "compact": compact,
    "check": check,
    "map": map_extents,
    "read": read,
    "facts": facts,
    "serve": serve,
}


def main(arguments: List[str]) -> None:
    """Do what the command line says."""
    OPERATIONS[arguments[0]](OsPort(), *arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
