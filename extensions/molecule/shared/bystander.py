# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens beside a run of Ansible: somebody holds a disk, or kills or stops the process that works on it.

Usage: bystander.py hold BUNDLE PIDFILE           hold its first image, as a hypervisor does, until the process is
killed or PIDFILE goes
       bystander.py kill|stop FOLDER TOLD [WORD]  end the process that writes there, or let it stand still for some
       seconds, and write its number to
                                                  TOLD: with a WORD when a journal in FOLDER has it, else when 4 MiB of
                                                  a temporary file are written
       bystander.py damage BUNDLE                 let the last image say that its first cluster lies far behind its end

The first two go on in the background and end by themselves after ten minutes.
"""

from __future__ import annotations

import fcntl
import glob
import os
import signal
import sys
import time

LIMIT = 600
STANDSTILL = 8
ENOUGH = 4 << 20


def detach() -> None:
    """Leave the session and the streams of the caller, who waits for neither."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)


def tell(path: str, number: int) -> None:
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(str(number))
    os.replace(path + ".new", path)


def hold(bundle: str, pidfile: str) -> None:
    with open(sorted(glob.glob(os.path.join(glob.escape(bundle), "*.hds")))[0], "rb") as image:
        fcntl.flock(image, fcntl.LOCK_EX)
        tell(pidfile, os.getpid())
        end = time.monotonic() + LIMIT
        while os.path.exists(pidfile) and time.monotonic() < end:
            time.sleep(0.1)


def damage(bundle: str) -> None:
    with open(sorted(glob.glob(os.path.join(glob.escape(bundle), "*.hds")))[-1], "r+b") as image:
        image.seek(64)
        image.write(b"\x00\x00\x00\x7f")


def is_told(folder: str, word: str) -> bool:
    for path in glob.glob(os.path.join(glob.escape(folder), ".vdisk-journal*")):
        try:
            with open(path, encoding="utf-8", errors="replace") as journal:
                if word in journal.read():
                    return True
        except OSError:
            pass
    return False


def open_for_writing(process: str) -> list[str]:
    """The files that a process has open for writing."""
    found = []
    try:
        for number in os.listdir(f"/proc/{process}/fd"):
            try:
                with open(f"/proc/{process}/fdinfo/{number}", encoding="ascii") as info:
                    flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags"))
                if flags & os.O_ACCMODE:
                    found.append(os.readlink(f"/proc/{process}/fd/{number}"))
            except (OSError, StopIteration):
                pass
    except OSError:
        pass
    return found


def is_enough(path: str) -> bool:
    try:
        return os.stat(path).st_blocks * 512 >= ENOUGH
    except OSError:
        return False


def writers(folder: str) -> list[str]:
    """The processes that write below a folder, this one aside."""
    others = [process for process in os.listdir("/proc") if process.isdigit() and int(process) != os.getpid()]
    return [process for process in others if any(path.startswith(folder + "/") for path in open_for_writing(process))]


def is_there_yet(process: str, folder: str, word: str) -> bool:
    """Whether a process is where it is to be met."""
    if word:
        return is_told(folder, word)
    return any(
        path.startswith(folder + "/") and ".tmp" in path and is_enough(path) for path in open_for_writing(process)
    )


def catch(signal_number: int, folder: str, told: str, word: str) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        # The process is looked for once: what it does next may take no longer than another look at all processes.
        for process in writers(folder):
            while os.path.exists(f"/proc/{process}") and not is_there_yet(process, folder, word):
                time.sleep(0.0002)
            if is_there_yet(process, folder, word):
                os.kill(int(process), signal_number)
                tell(told, int(process))
                if signal_number == signal.SIGSTOP:
                    time.sleep(STANDSTILL)
                    os.kill(int(process), signal.SIGCONT)
                return
        time.sleep(0.01)


def main() -> None:
    what, place = sys.argv[1], os.path.realpath(sys.argv[2])
    if what == "damage":
        damage(place)
        return
    file, word = sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else ""
    detach()
    if what == "hold":
        hold(place, file)
    else:
        catch(signal.SIGKILL if what == "kill" else signal.SIGSTOP, place, file, word)


if __name__ == "__main__":
    main()
