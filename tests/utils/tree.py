# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copy the working tree to where ansible-test can work, and give it a home of its own.

Usage: tree.py REPOSITORY BUILD

ansible-test insists on a real folder ``ansible_collections/vdisk/parallels``, asks git which files count, and keeps
caches in ``HOME``. So the copy is fresh each time, is a git repository of its own (the outer one ignores the build
folder, and ansible-test would then skip everything and call it a success), and ``BUILD/home`` is its home, with the
bootstrap of pip already in the cache.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import types

NEVER = {
    ".git",
    ".venv",
    ".build",
    ".ansible",
    "__pycache__",
    ".hypothesis",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
}


def _files(root: str) -> list[str]:
    """What belongs to the collection: tracked and new files, as git tells; all but known rubbish where git cannot
    tell.
    """
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
        return [name for name in os.fsdecode(listed).split("\0") if name and os.path.lexists(os.path.join(root, name))]
    except (OSError, subprocess.CalledProcessError):
        print("git cannot list the files here; copying everything but build folders", file=sys.stderr)
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in NEVER]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return found


def copy(root: str, tree: str) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    for name in _files(root):
        target = os.path.join(tree, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(os.path.join(root, name), target, follow_symlinks=False)
    if shutil.which("git"):
        subprocess.run(
            ["git", "-c", "init.defaultBranch=main", "init", "--quiet", tree], stdin=subprocess.DEVNULL, check=True
        )


def bootstrap(root: str, home: str) -> None:
    """Put the stand-in where ansible-test looks for the bootstrap of pip, under the name that its version wants."""
    from ansible_test._internal import python_requirements

    cache = os.path.join(home, ".ansible", "test", "cache")
    os.makedirs(cache, exist_ok=True)
    for minor in range(8, 15):
        packages = python_requirements.get_venv_packages(types.SimpleNamespace(version=f"3.{minor}"))
        name = "get_pip_" + packages["pip"].replace(".", "_") + ".py"
        shutil.copyfile(os.path.join(root, "tests", "utils", "get_pip.py"), os.path.join(cache, name))


def pip_settings(home: str) -> None:
    """Keep the machine's pip settings in force in the new home: the user's file as it is, PIP_ variables as a second
    one.
    """
    old = os.path.expanduser("~")
    places = ("Library/Application Support/pip/pip.conf", ".config/pip/pip.conf", ".pip/pip.conf")
    users = next((path for path in (os.path.join(old, place) for place in places) if os.path.exists(path)), None)
    legacy = os.path.join(home, ".pip", "pip.conf")
    current = os.path.join(home, ".config", "pip", "pip.conf")
    for path in (legacy, current):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
    if users:
        os.symlink(users, legacy)
    settings = {
        name[4:].lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE"
    }
    if settings:
        written = configparser.RawConfigParser()
        written["global"] = settings
        with open(os.open(current, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            written.write(file)


def main() -> None:
    root, build = sys.argv[1:]
    home = os.path.join(build, "home")
    copy(root, os.path.join(build, "tree", "ansible_collections", "vdisk", "parallels"))
    bootstrap(root, home)
    pip_settings(home)


if __name__ == "__main__":
    main()
