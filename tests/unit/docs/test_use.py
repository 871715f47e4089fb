# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README and the page on use: their playbooks and commands print what the pages say."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.gpt import bootable
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.plays import MIB, PLAYBOOK, moved, run_ansible, run_plays

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("README.md", "docs/use.md")
"""What is played, one page after the other, on the same disks."""
HOSTS = {"build_macs": "mac07", "runner": "runner"}
"""Which host stands for a group of the pages."""
_BLOCK = re.compile(r"^```(yaml|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# They need a network, write into the checkout, or are about other things.
NOT_PLAYED = ("ansible-galaxy", "make")


def blocks() -> list:
    """The playbooks, and the commands with what they print, in the order of the pages."""
    found = []
    for page in PAGES:
        for kind, text in _BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
            if kind == "yaml":
                found.append((kind, text, ""))
                continue
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _end, printed = command.partition("\n")
                found.append((kind, line, printed))
    return found


def clusters(*ranges: tuple) -> dict:
    """Clusters of 1 MiB in ranges of begin, end and whether they hold data or zeros."""
    return {
        number: fill(number, MIB) if full else bytes(MIB) for begin, end, full in ranges for number in range(begin, end)
    }


def furnish(root: str) -> None:
    """The disks of the pages."""
    farm = f"{root}/Users/build/Parallels"
    for folder in (f"{root}/vms", f"{root}/images", f"{root}/export", farm):
        os.makedirs(folder)
    layers = line_of_layers(clusters((0, 32, True)), clusters((4, 10, True)), clusters((40, 44, True), (44, 64, False)))
    make_machine(f"{root}/vms/mac.pvm", size_mib=256)
    build_bundle(f"{root}/vms/mac.pvm/mac.hdd", size_sectors=2048 * 256, layers=layers)
    build_bundle(
        f"{farm}/runner.hdd",
        size_sectors=2048 * 64,
        layers=line_of_layers(clusters((0, 8, True)), *(clusters((n, n + 3, True)) for n in range(3, 9))),
    )
    build_bundle(
        f"{farm}/scratch.hdd", size_sectors=2048 * 64, layers=line_of_layers(clusters((0, 4, True), (4, 14, False)))
    )
    build_bundle(f"{farm}/stopped.hdd", size_sectors=2048 * 64, layers=line_of_layers(clusters((0, 4, True))))
    image = next(name for name in os.listdir(f"{farm}/stopped.hdd") if name.endswith(".hds"))
    with open(f"{farm}/stopped.hdd/{image}", "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
    with open(f"{root}/images/debian-13-arm64.raw", "wb") as stream:
        stream.write(bootable(fill(1, MIB) + bytes(7 * MIB)))


def command_line(line: str, root: str) -> list:
    """An ad-hoc command on this machine, its paths below ``root``."""
    words = shlex.split(line)
    place = words.index("-a") + 1
    words[place] = re.sub(r"=(/\S+)", lambda match: f'="{root}{match[1]}"', words[place])
    return [os.path.join(os.path.dirname(PLAYBOOK), words[0]), *words[1:]]


def squeezed(text: str) -> list:
    """Lines without the stars after them, and with single spaces."""
    return [line for line in (" ".join(line.rstrip("* ").split()) for line in text.splitlines()) if line]


def missing(expected: str, printed: str) -> list:
    """Lines of ``expected`` that do not come in this order; "..." stands for what is left out, lines or the end of
    one.
    """
    lines = iter(squeezed(printed))
    return [line for line in squeezed(expected) if line != "..." and not any(_is(line, one) for one in lines)]


def _is(shown: str, printed: str) -> bool:
    return printed.startswith(shown[:-3]) if shown.endswith("...") else printed == shown


@pytest.mark.skipif(not os.access(PLAYBOOK, os.X_OK), reason="there is no ansible-playbook beside this Python")
@pytest.mark.plays_all
def test_playbooks_and_commands_print_what_the_pages_say(tmp_path, repository) -> None:
    yaml = pytest.importorskip("yaml", reason="playbooks need PyYAML")
    pytest.importorskip("jinja2", reason="playbooks need jinja2")
    root = str(tmp_path / "host")
    furnish(root)
    plays, played = None, 0
    for kind, text, expected in blocks():
        if kind == "yaml":
            loaded = yaml.safe_load(text)
            plays = (
                [{**moved(one, root), "hosts": HOSTS[one["hosts"]]} for one in loaded]
                if isinstance(loaded, list)
                else None
            )
            continue
        program = shlex.split(text, comments=True)[0]
        if program in NOT_PLAYED:
            continue
        if program == "ansible-playbook":
            printed = run_plays(
                str(tmp_path / "plays"), plays, repository, arguments=shlex.split(text)[2:], hosts=[*HOSTS.values()]
            )
            assert "failed=0" in printed
        else:
            printed = run_ansible(
                str(tmp_path / "plays"), command_line(text, root), repository, hosts=[*HOSTS.values()]
            )
        assert missing(expected, printed.replace(root, "")) == [], printed
        played += 1
    assert played >= 8
