# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process of its own that outlives the one that starts it, and how others end it."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import os
import select
import signal
import sys
from typing import Callable, Optional

from ..failures import HOST_ERRORS, reported
from ..host.names import Names

_LONGEST_WORD = 1 << 20

Tell = Callable[[bytes], None]


def start_detached(work: Callable[[Tell], None], *, patience: float) -> bytes:
    """Do ``work`` in a new process, and return what it tells with its one call of ``tell``.

    Nothing when the process ends before, or after ``patience`` seconds. The process is in a session of its own, has no
    descriptor of this one and no output, so nobody waits for it; it works in / and gives new files to its owner alone.
    It ends with ``work``, and nothing that this process has planned for its own end happens there.

    All that is imported here is there, too: it needs no file of the program that started it.
    """
    reading, writing = os.pipe()
    with reported("start a process", "/"):
        child = os.fork()
    if not child:
        _become_detached(work, writing)
    os.close(writing)
    os.waitpid(child, 0)
    try:
        return _all_of(reading, patience)
    finally:
        os.close(reading)


def _all_of(descriptor: int, patience: float) -> bytes:
    told = b""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    while len(told) < _LONGEST_WORD and waiting.poll(patience * 1000):
        part = os.read(descriptor, 65536)
        if not part:
            break
        told += part
    return told


def _become_detached(work: Callable[[Tell], None], writing: int) -> None:
    """The child, which never returns."""
    code = 1
    try:
        os.setsid()
        # The grandchild leads no session, so no terminal can become its own.
        if os.fork():
            code = 0
            return
        _leave_all_behind(writing)
        work(lambda word: _tell(writing, word))
        code = 0
    except BaseException:  # pylint: disable=broad-exception-caught
        # Not to the caller: it is the program that started this.
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _leave_all_behind(writing: int) -> None:
    os.chdir("/")
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for name in os.listdir("/dev/fd"):
        if int(name) > 2 and int(name) != writing:
            try:
                os.close(int(name))
            except OSError:
                # The one that listed them is closed already.
                pass
    _allow_many_files()


def _allow_many_files() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 65536)) if hard > 0 else soft, hard))
    except HOST_ERRORS:
        pass


def _tell(writing: int, word: bytes) -> None:
    while word:
        word = word[os.write(writing, word) :]
    os.close(writing)


class Stopping:
    """Knows from the moment on at which it is made whether somebody wants this process to end.

    ``descriptor`` is readable then.
    """

    def __init__(self) -> None:
        self.descriptor, writing = os.pipe()
        for descriptor in (self.descriptor, writing):
            os.set_blocking(descriptor, False)
        # Written by the signal itself: a handler in Python would come too late for a wait that begins just then.
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)

    def is_wanted(self) -> bool:
        """Whether it is time to end."""
        waiting = select.poll()
        waiting.register(self.descriptor, select.POLLIN)
        return bool(waiting.poll(0))


def call_process(name: str) -> None:
    """Let lists of processes call this one ``name``, where the host allows that."""
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write(name[:15])
    except OSError:
        pass


def print_to(path: str) -> None:
    """Let this process's output and errors go to a new file."""
    names = Names()
    with reported("create", path):
        descriptor, _facts = names.create(path, 0o600)
        names.close()
        for standard in (1, 2):
            os.dup2(descriptor, standard)
        os.close(descriptor)
        # Whoever started this may have put something else in their place.
        lines = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
        sys.stdout = sys.stderr = lines


def start_time(pid: int) -> Optional[str]:
    """When a process began, in the kernel's own words; None when it has ended or the host does not say.

    With the number it names one process for as long as the host runs.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before it may hold spaces and brackets.
            facts = file.read(4096).rpartition(b")")[2].split()
        # One that nobody has waited for yet holds nothing any more.
        return None if facts[0] in (b"Z", b"X") else facts[19].decode("ascii")
    except (OSError, IndexError, ValueError):
        return None


def end_process(pid: int, started: Optional[str], *, at_once: bool = False) -> None:
    """Ask the process that began at this time to end, or end it; that it is gone already is no error.

    Another one that has its number meanwhile gets no signal, where the host tells when processes began.
    """
    number = signal.SIGKILL if at_once else signal.SIGTERM
    with reported("end process", str(pid)):
        try:
            handle = _handle_of(pid)
            try:
                if start_time(pid) != started:
                    return
                if handle is None:
                    os.kill(pid, number)
                else:
                    signal.pidfd_send_signal(handle, number)
            finally:
                if handle is not None:
                    os.close(handle)
        except ProcessLookupError:
            pass


def _handle_of(pid: int) -> Optional[int]:
    """A descriptor of a process, which no other one gets with its number; None where the host has none."""
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        # An old kernel, or a container that does not let it through.
        return None
