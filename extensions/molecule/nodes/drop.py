# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take the connection from a node while its module stands still, as bystander.py on the node tells by writing a file.

Usage: drop.py cut|kill NODES_SH FOLDER NAME TOLD DONE
  cut: the network is away for 15 seconds; kill: the ssh clients of the controller end.
  FOLDER is the folder of the nodes, TOLD the file on the node. DONE is written when it is over, with the time of the
  loss and of the return.

Goes on in the background.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

AWAY = 15
LIMIT = 120


def detach() -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)


def clients(name: str) -> list[int]:
    """The ssh clients that are connected to a node of ours: its address is in their arguments."""
    address = f"10.99.7.{name[1:]}"
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                words = os.fsdecode(file.read()).split("\0")
        except OSError:
            continue
        if os.path.basename(words[0]) == "ssh" and address in words:
            found.append(int(process))
    return found


def main() -> None:
    what, script, folder, name, told, done = sys.argv[1:]
    # The upper layer of its root file system shows what a node writes.
    seen = os.path.join(folder, "run", name, "up", told.lstrip("/"))
    detach()
    end = time.monotonic() + LIMIT
    while not os.path.exists(seen):
        if time.monotonic() > end:
            return
        time.sleep(0.05)
    lost = time.time()
    if what == "cut":
        subprocess.run(["sh", script, "cut", name], check=True)
        time.sleep(AWAY)
        subprocess.run(["sh", script, "join", name], check=True)
    else:
        for process in clients(name):
            os.kill(process, signal.SIGTERM)
    with open(done + ".new", "w", encoding="ascii") as file:
        file.write(f"{lost} {time.time()}")
    os.replace(done + ".new", done)


if __name__ == "__main__":
    main()
