# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What many disks cost: the role audit and the module hdd_maintain on one host with 205 disks of 20 layers, and on 8
hosts with 25 disks each.

    PYTHONPATH=... python -m ansible_collections.vdisk.parallels.tests.bench.fleet [--profile] [--folder FOLDER]

All hosts are this machine, so what they do at the same time shares its cores. Prints a table: wall time, processor time
and the most memory that a process has taken, and the goals. With --profile, where hdd_maintain spends its time.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, NamedTuple, Sequence

from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
GIB = 64
DISKS, LAYERS, SCATTERED = 205, 20, 3000
HOSTS, EACH = 8, 25
POLICY: Dict[str, Any] = {"recurse": True, "threshold": "100G", "max_layers": LAYERS + 1}


class Cost(NamedTuple):
    """Seconds by the clock and of processors, the most memory of one process in MiB, and the seconds that the module
    took on the slowest host, 0 when nobody told.
    """

    wall: float
    processor: float
    memory: int
    slowest: float = 0


def make_host(folder: str, disks: int, layers: int = LAYERS) -> None:
    """Machines with one disk each, whose tables have thousands of runs, and holes where the data would be."""
    os.makedirs(folder)
    chance = random.Random(disks * layers)
    model = f"{folder}/machine 0.pvm"
    guids = [guid_of(number + 1) for number in range(layers - 1)]
    chain = []
    for depth, guid in enumerate([*guids, TOP]):
        held = dict.fromkeys(chance.sample(range(GIB << 10), SCATTERED), b"")
        chain.append(Layer(guid, guids[depth - 1] if depth else NONE, held))
    named = {guid: f"Nightly build {number}" for number, guid in enumerate(guids)}
    make_machine(model, name="machine", disk="disk.hdd", size_mib=GIB << 10, snapshots=named)
    build_bundle(f"{model}/disk.hdd", size_sectors=GIB * (2 << 20), layers=chain)
    for number in range(1, disks):
        subprocess.run(["cp", "-a", "--sparse=always", model, f"{folder}/machine {number}.pvm"], check=True)


def measured(command: Sequence[str], environment: Dict[str, str]) -> Cost:
    """Run a program to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = [float(seconds) for seconds in re.findall(rb'"told.elapsed": ([0-9.]+)', done.stdout)]
    return Cost(wall, processor, after.ru_maxrss >> 10, max(told, default=0))


class Bench:
    """Plays on hosts that are folders of this machine."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.makedirs(f"{folder}/collections/ansible_collections/vdisk")
        os.symlink(ROOT, f"{folder}/collections/ansible_collections/vdisk/parallels")

    def play(self, name: str, hosts: Sequence[str], tasks: List[Dict[str, Any]], *, forks: int = 5) -> Cost:
        """One play on some hosts, in a process of its own, so that the memory is that of this play."""
        play = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
        with open(f"{self.folder}/{name}.json", "w", encoding="utf-8") as stream:
            json.dump(play, stream)
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": f"{self.folder}/collections",
            "ANSIBLE_HOME": f"{self.folder}/home",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "HOME": self.folder,
        }
        variables = json.dumps({"ansible_connection": "local", "ansible_python_interpreter": sys.executable})
        program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
        command = [
            program,
            "-i",
            ",".join(hosts) + ",",
            "-f",
            str(forks),
            "-e",
            variables,
            f"{self.folder}/{name}.json",
        ]
        # The most memory of all children of this process is that of the hungriest: each play has one for itself.
        code = (
            "import json, sys; from ansible_collections.vdisk.parallels.tests.bench.fleet import measured; import os;"
            "print(json.dumps(measured(sys.argv[1:], dict(os.environ))))"
        )
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        told = subprocess.run([sys.executable, "-c", code, *command], env=environment, check=True, capture_output=True)
        return Cost(*json.loads(told.stdout))

    def audit(self, hosts: Sequence[str], *, forks: int = 5) -> Cost:
        """The role audit, which reads ``hosts/NAME``."""
        variables = {
            "audit_paths": [f"{self.folder}/hosts/{{{{ inventory_hostname }}}}"],
            "audit_dest": f"{self.folder}/report",
        }
        task = {"name": "Audit", "ansible.builtin.include_role": {"name": "vdisk.parallels.audit"}, "vars": variables}
        return self.play("audit", hosts, [task], forks=forks)

    def maintain(self, hosts: Sequence[str], *, forks: int = 5) -> Cost:
        """The module hdd_maintain, which finds nothing to do."""
        paths = [f"{self.folder}/hosts/{{{{ inventory_hostname }}}}"]
        options = {"paths": paths, "scan": "metadata", **POLICY}
        tasks = [
            {"name": "Maintain", "vdisk.parallels.hdd_maintain": options, "register": "told"},
            {"name": "Tell how long it took", "ansible.builtin.debug": {"var": "told.elapsed"}},
        ]
        return self.play("maintain", hosts, tasks, forks=forks)


def row(name: str, cost: Cost, goal: str) -> str:
    """A line of the table."""
    return f"| {name} | {cost.wall:.1f} s | {cost.processor:.1f} s | {cost.memory} MiB | {goal} |"


def compare(bench: Bench) -> None:
    """Print the table."""
    hosts = [f"h{number}" for number in range(HOSTS)]
    make_host(f"{bench.folder}/hosts/one", DISKS)
    for host in hosts:
        make_host(f"{bench.folder}/hosts/{host}", EACH)
    print("| what | wall time | processor time | most memory of a process | goal |\n|---|---|---|---|---|", flush=True)
    goal = "30 s, 200 MiB"
    print(row(f"audit, {DISKS} disks of {LAYERS} layers on one host", bench.audit(["one"]), goal), flush=True)
    goal = "15 s, 200 MiB"
    print(row("hdd_maintain with nothing to do, the same disks", bench.maintain(["one"]), goal), flush=True)
    slowest = max((bench.maintain([host]) for host in hosts[:3]), key=lambda cost: cost.wall)
    print(row(f"hdd_maintain, {EACH} disks on one host", slowest, "the measure for the next line"), flush=True)
    cost = bench.maintain(hosts, forks=HOSTS)
    goal = (
        f"1.5 times the slowest host, which took {cost.slowest:.1f} s: {cost.wall / cost.slowest:.2f};"
        f" {cost.wall / slowest.wall:.1f} times one alone, since all share {os.cpu_count()} cores"
    )
    print(row(f"hdd_maintain, {HOSTS} hosts with {EACH} disks each, forks: {HOSTS}", cost, goal), flush=True)
    page = os.path.getsize(f"{bench.folder}/report/audit.html")
    print(f"\nThe page of the first line has {page / 1e6:.2f} MB (goal: less than 1.5 MB for 200 disks).")


def profile(folder: str) -> None:
    """Where the processor time of hdd_maintain and hdd_info goes."""
    make_host(f"{folder}/hosts/one", DISKS)
    for module, options in (
        ("hdd_maintain", {**POLICY, "scan": "metadata"}),
        ("hdd_info", {"recurse": True, "map": 120}),
    ):
        profiler = cProfile.Profile(time.process_time)
        profiler.runcall(succeed, module, paths=[f"{folder}/hosts/one"], **options)
        print(f"\n{module}")
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Measure in a new folder, which is removed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where the disks are made; a file system with holes")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="vdisk-fleet-", dir=options.folder)
    try:
        if options.profile:
            profile(folder)
        else:
            compare(Bench(folder))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
