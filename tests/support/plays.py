# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playing the tasks of documentation as they stand, on disks in a temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

from ansible_collections.vdisk.parallels.tests.support import oracles
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.gpt import bootable
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed
from ansible_collections.vdisk.parallels.tests.support.served import run_folder
from ansible_collections.vdisk.parallels.tests.support.sockets import short_folder

MIB = 1 << 20
PLAYBOOK = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")


def moved(value, root):
    """The same arguments with every absolute path below ``root``."""
    if isinstance(value, dict):
        return {key: moved(one, root) for key, one in value.items()}
    if isinstance(value, list):
        return [moved(one, root) for one in value]
    return root + value if isinstance(value, str) and value.startswith("/") else value


def small(task):
    """What reserves the host's blocks must not need a gigabyte of them."""
    arguments = task.get("vdisk.parallels.hdd", {})
    return {**task, "vdisk.parallels.hdd": {**arguments, "size": "16M"}} if arguments.get("preallocate") else task


def furnish(root, name):
    """The places and disks that the examples speak of."""
    for folder in ("vms", "images", "export", "backup", "run", "Users/build/Parallels"):
        os.makedirs(f"{root}/{folder}")
    machine = f"{root}/vms/mac.pvm"
    make_machine(machine, size_mib=8)
    build_bundle(
        f"{machine}/mac.hdd",
        size_sectors=2048 * 8,
        layers=line_of_layers({0: fill(0, MIB)}, {1: bytes(MIB)}, {2: fill(2, MIB)}),
    )
    build_bundle(f"{root}/Users/build/Parallels/one.hdd", size_sectors=2048 * 8)
    if name == "hdd_check":
        for image in [file for file in os.listdir(f"{machine}/mac.hdd") if file.endswith(".hds")]:
            os.truncate(f"{machine}/mac.hdd/{image}", os.path.getsize(f"{machine}/mac.hdd/{image}") + MIB)
    with open(f"{root}/images/almalinux.raw", "wb") as stream:
        stream.write(bootable(fill(0, MIB)))
    if name in ("hdd_convert", "hdd_merge", "hdd_nbd", "hdd_snapshot", "guide_looking"):
        succeed("hdd_snapshot", path=f"{machine}/mac.hdd", name="before-upgrade")
    if name in ("hdd_nbd", "guide_looking"):
        for image in ("backup/mac.qcow2", "vms/windows.vhdx"):
            succeed("hdd_convert", src=f"{machine}/mac.hdd", dest=f"{root}/{image}")


@contextmanager
def place_for(name, folder):
    """Where the examples of a module or guide are played.

    Those that serve disks have sockets, whose paths are short, and servers, which end with the test.
    """
    if name not in ("hdd_nbd", "guide_looking"):
        yield f"{folder}/host"
        return
    oracles.require("qemu-img", "nbdinfo", "nbdcopy")
    with run_folder(), short_folder() as place:
        yield f"{place}/host"


def play(folder, tasks, repository):
    """Run the tasks; returns what ansible-playbook printed. Nothing of the user's own settings counts."""
    return run_plays(
        folder,
        [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}],
        repository,
        arguments=["--diff"],
    )


def run_plays(folder, plays, repository, *, arguments=(), hosts=("localhost",)):
    """Run whole plays on hosts that are all this machine; returns what ansible-playbook printed."""
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/play.yml", "w", encoding="utf-8") as stream:
        json.dump(plays, stream)
    return run_ansible(folder, [PLAYBOOK, *arguments, f"{folder}/play.yml"], repository, hosts=hosts)


def run_ansible(folder, command, repository, *, hosts=("localhost",)):
    """Run one of Ansible's programs with the collection of this checkout; returns what it printed."""
    os.makedirs(f"{folder}/collections/ansible_collections/vdisk", exist_ok=True)
    link = f"{folder}/collections/ansible_collections/vdisk/parallels"
    if not os.path.lexists(link):
        os.symlink(repository, link)
    os.makedirs(f"{folder}/home", exist_ok=True)
    open(f"{folder}/ansible.cfg", "wb").close()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment.update(
        ANSIBLE_COLLECTIONS_PATH=f"{folder}/collections",
        ANSIBLE_HOME=f"{folder}/home",
        HOME=f"{folder}/home",
        ANSIBLE_CONFIG=f"{folder}/ansible.cfg",
        ANSIBLE_LOCALHOST_WARNING="false",
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_NOCOWS="1",
        LC_ALL="en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
    )
    variables = {"ansible_python_interpreter": sys.executable, "ansible_connection": "local"}
    ended = subprocess.run(
        [*command, "-i", ",".join(hosts) + ",", "-e", json.dumps(variables)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    text = (ended.stdout + ended.stderr).decode("utf-8", "replace")
    assert ended.returncode == 0, text
    return text
