# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deleting, merging and going back to snapshots: the engine and ploop on copies of one bundle that ploop made, in
turns.

    python tests/bench/merge_against_ploop.py [--rounds 3] [--folder DIRECTORY]

Each run is a process of its own, with its start and all its syncs. Bytes written are what the kernel counts for the
process, and for the engine also what its plan says. There are no thresholds: the table is for people. Needs root on
Linux, ploop, qemu-io.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import types
from typing import Dict, List, NamedTuple, Sequence, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
NAME = "ansible_collections.vdisk.parallels"
INSIDE = "VDISK_BENCH_INSIDE"
MIB = 1 << 20
BUNDLE = "ct.hdd"
# ploop of Debian makes format version 2 and switches only where it sees its kernel module; these processes see a fake
# of it.
FAKE_MODULE = (
    "mount --make-rprivate / && mount -t tmpfs tmpfs /sys/module && mkdir -p /sys/module/ploop/parameters "
    '&& echo 1 > /sys/module/ploop/parameters/large_disk_support && exec "$@"'
)
# The layers from the root up: (first MiB, number of MiB) that each of them holds, 224 MiB in all.
LAYERS: Tuple[Tuple[Tuple[int, int], ...], ...] = (
    ((0, 64), (300, 32)),
    ((32, 48), (500, 16)),
    ((16, 32), (300, 16), (900, 16)),
)


class Operation(NamedTuple):
    """One change, as ploop's arguments and as ours."""

    name: str
    ploop: Sequence[str]
    ours: Sequence[str]


class Cost(NamedTuple):
    """Seconds, and bytes that the kernel counted.

    ``planned`` is what the plan said; ``inside`` are the seconds without start and imports.
    """

    seconds: float
    written: int
    planned: int = 0
    inside: float = 0.0


def guid_of(number: int) -> str:
    return f"{{aaaaaaaa-0000-4000-8000-{number:012d}}}"


OPERATIONS = (
    Operation("delete a middle snapshot", ("snapshot-delete", "-u", guid_of(2)), ("delete", guid_of(2))),
    Operation("merge all", ("snapshot-merge", "-A"), ("merge",)),
    Operation("go back to a snapshot", ("snapshot-switch", "-u", guid_of(1)), ("revert", guid_of(1))),
)


# The engine's side, in a process of its own.


def _importable() -> None:
    for name, path in (("ansible_collections", ""), ("ansible_collections.vdisk", ""), (NAME, ROOT)):
        module = types.ModuleType(name)
        module.__path__ = [path] if path else []
        sys.modules[name] = module


def change(bundle: str, what: str, guid: str = "") -> Tuple[int, float]:
    """What the module does with the bundle; returns the bytes that the plan moves, and how long it took when all was
    loaded.
    """
    _importable()
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import observe
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
    from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
    from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import take_back
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import (
        choose_deletion,
        choose_removals,
    )
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.revert import plan_revert

    started = time.monotonic()
    port = OsPort()
    state = observe(port, locate(port, bundle))
    if what == "revert":
        plan = plan_revert(state, guid)
    else:
        plan = plan_merge(
            port, state, choose_removals(state, max_layers=1) if what == "merge" else choose_deletion(state, guid)
        )
    execute(port, plan, recover=lambda directory: take_back(port, directory))
    return plan.bytes_written, time.monotonic() - started


def views(bundle: str) -> Dict[str, str]:
    """A digest of the guest disk at each snapshot."""
    _importable()
    import hashlib

    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import observe
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
    from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_view
    from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

    port = OsPort()
    state = observe(port, locate(port, bundle))
    found = {}
    for guid in state.tree.shots:
        view = open_view(port, state, guid)
        digest, buffer = hashlib.sha256(), bytearray(MIB)
        for offset in range(0, view.size, MIB):
            view.pread_into(offset, buffer)
            digest.update(buffer)
        view.close()
        found[guid] = digest.hexdigest()
    return found


# Both sides.


def spent(command: Sequence[str], directory: str) -> Tuple[Cost, str]:
    """Run a command to its end; it must succeed."""
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}\n{text}")
    # The kernel counts blocks of 512 bytes when pages become dirty, as write_bytes of /proc/PID/io.
    return Cost(seconds, usage.ru_oublock * 512), text


def build(folder: str) -> str:
    """The bundle that both sides get copies of."""
    bundle = os.path.join(folder, BUNDLE)
    os.mkdir(bundle)
    spent(("ploop", "init", "-s", "1g", "-f", "ploop1", "-v", "2", "-t", "none", "root.hds"), bundle)
    for number, ranges in enumerate(LAYERS):
        if number:
            spent(("ploop", "snapshot", "-u", guid_of(number), "DiskDescriptor.xml"), bundle)
        image = spent(("ploop", "snapshot-list", "-H", "-o", "current,fname", "DiskDescriptor.xml"), bundle)[1]
        file = next(line.split()[-1] for line in image.splitlines() if "*" in line)
        writes = [
            ("-c", f"write -P {1 + (number * 83 + at) % 255} {at}M 1M")
            for first, count in ranges
            for at in range(first, first + count)
        ]
        spent(("qemu-io", "-f", "parallels", *[part for write in writes for part in write], file), bundle)
    return bundle


def fresh(bundle: str, folder: str, side: str) -> str:
    """A copy whose bytes are on the medium already."""
    copy = os.path.join(folder, side, BUNDLE)
    shutil.rmtree(os.path.dirname(copy), ignore_errors=True)
    os.mkdir(os.path.dirname(copy))
    # ploop 1.15 refuses holes, and shared blocks would help nobody alike.
    spent(("cp", "-r", "--sparse=never", "--reflink=never", bundle, copy), folder)
    spent(("sync",), folder)
    return copy


def compare(bundle: str, folder: str, operation: Operation, rounds: int) -> Tuple[Cost, Cost]:
    """The medians of ploop and of the engine; both must leave the same views."""
    theirs: List[Cost] = []
    ours: List[Cost] = []
    for number in range(rounds):
        left, right = fresh(bundle, folder, "ploop"), fresh(bundle, folder, "ours")
        sides = [0, 1] if number % 2 else [1, 0]
        for side in sides:
            if side:
                cost, text = spent(
                    (sys.executable, "-I", os.path.realpath(__file__), "--change", right, *operation.ours), folder
                )
                planned, inside = text.split()
                ours.append(cost._replace(planned=int(planned), inside=float(inside)))
            else:
                theirs.append(spent(("ploop", *operation.ploop, "DiskDescriptor.xml"), left)[0])
    if views(left) != views(right):
        raise SystemExit(f"{operation.name}: the two sides do not show the same")
    return _median(theirs), _median(ours)


def _median(costs: Sequence[Cost]) -> Cost:
    seconds, written, _planned, inside = (statistics.median(values) for values in zip(*costs))
    return Cost(seconds, int(written), costs[0].planned, inside)


def report(folder: str, rounds: int) -> None:
    bundle = build(folder)
    version = (
        spent((shutil.which("dpkg-query") or "true", "-W", "-f", "${Version}", "ploop"), folder)[1]
        or "of unknown version"
    )
    held = sum(count for layer in LAYERS for _first, count in layer)
    print(f"ploop {version}; 1 GiB virtual, format version 2, {len(LAYERS)} layers, {held} MiB of clusters")
    print(f"medians of {rounds}, in turns, with the start of each process and all syncs")
    print()
    print(
        "| operation | ours: moved by plan | ours: written | ploop: written | bytes, "
        "ours / ploop | ours (without start) | ploop | time, ours / ploop |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for operation in OPERATIONS:
        theirs, ours = compare(bundle, folder, operation, rounds)
        cells = [
            operation.name,
            f"{ours.planned / MIB:.1f} MiB",
            f"{ours.written / MIB:.2f} MiB",
            f"{theirs.written / MIB:.2f} MiB",
        ]
        cells += [_ratio(ours.written, theirs.written)]
        cells += [
            f"{ours.seconds * 1000:.0f} ms ({ours.inside * 1000:.0f})",
            f"{theirs.seconds * 1000:.0f} ms",
            _ratio(ours.seconds, theirs.seconds),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if other else "-"


def missing() -> str:
    """Why there is nothing to compare with here; empty when there is."""
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "ploop does this only for root on Linux"
    for program, package in (("ploop", "ploop"), ("qemu-io", "qemu-utils"), ("unshare", "util-linux")):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian package {package})"
    if subprocess.run(
        ("unshare", "-m", "bash", "-c", FAKE_MODULE, "_", "true"), stderr=subprocess.DEVNULL, check=False
    ).returncode:
        return "mount namespaces are not allowed here"
    return ""


def main() -> None:
    if sys.argv[1:2] == ["--change"]:
        print(*change(*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder",
        help=(
            "where the bundles are built: a file system that is no tmpfs (default: "
            "the system's place for temporary files)"
        ),
    )
    arguments = parser.parse_args()
    reason = missing()
    if reason:
        print(f"nothing compared: {reason}")
        return
    if not os.environ.get(INSIDE):
        # The Debian build of ploop may crash in a small environment.
        environment = {**os.environ, INSIDE: "1", "PLOOP_PAD": "x" * 8192}
        os.execvpe("unshare", ["unshare", "-m", "bash", "-c", FAKE_MODULE, "_", sys.executable, *sys.argv], environment)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        report(os.path.realpath(folder), arguments.rounds)


if __name__ == "__main__":
    main()
