# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same disk served twice: by the engine from its bundle, by qemu-nbd from a raw copy; and what reads from them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Dict, List, Tuple

from ansible_collections.vdisk.parallels.tests.bench.images import Images, engine_command
from ansible_collections.vdisk.parallels.tests.bench.measure import Absent, Different
from ansible_collections.vdisk.parallels.tests.support.nbd import READ, Client
from ansible_collections.vdisk.parallels.tests.support.sockets import connected, short_folder

_READS = 20_000


class Servers:
    """Both servers, until ``close``."""

    def __init__(self, images: Images, environment: Dict[str, str]) -> None:
        for program, package in (("qemu-nbd", "qemu-utils"), ("nbdcopy", "libnbd-bin")):
            if shutil.which(program) is None:
                raise Absent(f"needs {program} (Debian package {package})")
        self._running: List[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()
        folder = self._stack.enter_context(short_folder())
        ours, theirs = f"{folder}/ours", f"{folder}/theirs"
        self._start(engine_command("serve", str(images.bundle()), ours), ours, environment)
        raw = str(images.raw())
        self._start(("qemu-nbd", "-f", "raw", "-r", "-t", "-e", "64", "-k", theirs, raw), theirs, environment)
        self.sockets = ours, theirs

    @property
    def uris(self) -> Tuple[str, str]:
        """Ours and theirs."""
        ours, theirs = self.sockets
        return f"nbd+unix:///?socket={ours}", f"nbd+unix:///?socket={theirs}"

    def _start(self, command: Tuple[str, ...], socket: str, environment: Dict[str, str]) -> None:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._running.append(process)
        deadline = time.monotonic() + 60
        while not os.path.exists(socket):
            if process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise Different(f"{command[0]} does not serve")
            time.sleep(0.02)

    def check(self) -> None:
        """Raise Different when they do not serve the same bytes."""
        ours, theirs = self.uris
        command = ["qemu-img", "compare", "-f", "raw", "-F", "raw", ours, theirs]
        if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
            raise Different("what is served is not the same")

    def close(self) -> None:
        """End both."""
        for process in self._running:
            process.terminate()
            process.wait(timeout=60)
        self._running = []
        self._stack.close()


def read_at_random(socket: str) -> None:
    """Read blocks of 4 KiB, one after the other."""
    with connected(socket) as connection:
        client = Client(connection)
        blocks = client.begin(structured=True) // 4096
        chance = random.Random(20)
        for _number in range(_READS):
            client.ask(READ, chance.randrange(blocks) * 4096, 4096)


def random_reader(socket: str) -> Tuple[str, ...]:
    """The command that does so."""
    return (sys.executable, "-m", "ansible_collections.vdisk.parallels.tests.bench.servers", socket)


if __name__ == "__main__":
    read_at_random(sys.argv[1])
