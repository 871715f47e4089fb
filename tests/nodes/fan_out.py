# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure one task and one role on 64 disks of 8 nodes; called by fan_out.sh in a session of nodes.sh.

Usage: fan_out.py REPOSITORY FOLDER
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time

import yaml

NODES = 8
DISKS = 8
SUITES = ("bullseye", "bookworm", "trixie")
RUNS = 3
FORKS = (1, 8)
LIMIT = 300
SSH = (
    "ControlMaster=no",
    "ControlPath=none",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
)
DISKS_OF_A_NODE = "/var/tmp/farm"

PREPARE = [
    {
        "name": "Make the disks",
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Make a folder",
                "ansible.builtin.file": {"path": DISKS_OF_A_NODE, "state": "directory", "mode": "0755"},
            },
            {"name": "Create a disk", "vdisk.parallels.hdd": {"path": f"{DISKS_OF_A_NODE}/1.hdd", "size": "64M"}},
            {"name": "Fill some of it", "ansible.builtin.script": "{{ guest }} install 0 8"},
            {
                "name": "Freeze it",
                "vdisk.parallels.hdd_snapshot": {"path": f"{DISKS_OF_A_NODE}/1.hdd", "name": "before upgrade"},
            },
            {"name": "Upgrade it", "ansible.builtin.script": "{{ guest }} upgrade 2 4"},
            {
                "name": "Make the others",
                "ansible.builtin.command": f"cp -a {DISKS_OF_A_NODE}/1.hdd {DISKS_OF_A_NODE}/{{{{ item }}}}.hdd",
                "loop": list(range(2, DISKS + 1)),
            },
        ],
    }
]


def role(name: str, variables: dict[str, object]) -> list[dict[str, object]]:
    return [
        {
            "name": "Measure",
            "hosts": "all",
            "gather_facts": False,
            "roles": [{"role": f"vdisk.parallels.{name}", **variables}],
        }
    ]


def inventory(repository: str, folder: str) -> dict[str, object]:
    return {
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_private_key_file": os.path.join(folder, "key"),
                "ansible_ssh_common_args": " ".join(f"-o {option}" for option in SSH),
                "guest": f"'{repository}/examples/play_guest.py' {DISKS_OF_A_NODE}/1.hdd",
            },
            "hosts": {f"f{number}": {"ansible_host": f"10.99.7.{100 + number}"} for number in range(1, NODES + 1)},
        }
    }


def play(command: list[str], forks: int) -> tuple[float, str]:
    """Seconds and output of one run."""
    environment = {
        **os.environ,
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_FORKS": str(forks),
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }
    begun = time.monotonic()
    ran = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False
    )
    taken = time.monotonic() - begun
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {ran.returncode}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")
    return taken, ran.stdout


def main() -> None:
    repository, folder = sys.argv[1:]
    work = os.path.join(folder, "run")
    files = {
        "inventory": inventory(repository, folder),
        "prepare": PREPARE,
        "audit": role(
            "audit",
            {
                "audit_paths": [DISKS_OF_A_NODE],
                "audit_dest": os.path.join(work, "report"),
                "audit_stamp": "a quiet day",
            },
        ),
        "maintain": role("maintain", {"maintain_paths": [DISKS_OF_A_NODE]}),
    }
    paths = {name: os.path.join(work, f"{name}.yml") for name in files}
    for name, content in files.items():
        with open(paths[name], "w", encoding="utf-8") as file:
            yaml.safe_dump(content, file, sort_keys=False)
    for number in range(1, NODES + 1):
        suite = SUITES[number % len(SUITES)]
        subprocess.run(
            [
                "sh",
                os.path.join(repository, "tests", "nodes", "nodes.sh"),
                "up",
                f"f{number}",
                suite,
                f"10.99.7.{100 + number}",
            ],
            check=True,
        )
    source = f"--inventory={paths['inventory']}"
    play(["ansible-playbook", source, paths["prepare"]], NODES)
    info = ["ansible", source, "all", "-m", "vdisk.parallels.hdd_info", "-a", f"paths={DISKS_OF_A_NODE} recurse=true"]
    _seconds, output = play(info, NODES)
    seen = len(re.findall(r'"exists": true', output))
    if seen != NODES * DISKS:
        raise SystemExit(f"{seen} disks are seen, {NODES * DISKS} there are")
    print(f"\n{seen} disks on {NODES} nodes, {os.cpu_count()} processors, median of {RUNS} runs in seconds\n")
    print(f"{'':<24}" + "".join(f"{f'forks {forks}':>10}" for forks in FORKS))
    for name, command in (
        ("hdd_info, one task", info),
        ("role audit", ["ansible-playbook", source, paths["audit"]]),
        ("role maintain", ["ansible-playbook", source, paths["maintain"]]),
    ):
        medians = [statistics.median(play(command, forks)[0] for _run in range(RUNS)) for forks in FORKS]
        print(f"{name:<24}" + "".join(f"{median:>10.1f}" for median in medians), flush=True)


if __name__ == "__main__":
    main()
