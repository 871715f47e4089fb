# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small Linux in a virtual machine, which writes APFS and HFS+ into files. It is prepared once for each checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import List, Sequence

import pytest

_ROOT = Path(__file__).resolve().parents[2]
FOLDER = _ROOT / ".build" / "guest_kernel"
_EMULATOR = "qemu-system-x86_64"
_NEEDED = (_EMULATOR, "busybox", "cpio", "apt-get", "dpkg", "depmod", "modprobe", "make", "gcc")


def in_guest(script: str, images: Sequence[Path], work: Path) -> List[str]:
    """What a shell script says (``echo "says ..."``) that has the images as /dev/vda, /dev/vdb and so on.

    Skip where it cannot be run.
    """
    _prepare()
    tree = work / "tree"
    shutil.copytree(FOLDER / "tree", tree, symlinks=True)
    (tree / "script.sh").write_text(script, encoding="ascii")
    subprocess.run(f"cd '{tree}' && find . | cpio -o -H newc --quiet > '{work}/initrd'", shell=True, check=True)
    shutil.rmtree(tree)
    machine = [_EMULATOR, "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "768", "-nographic", "-no-reboot"]
    machine += ["-nic", "none", "-kernel", str(FOLDER / "vmlinuz"), "-initrd", str(work / "initrd")]
    machine += ["-append", "console=ttyS0 quiet loglevel=1 panic=-1 no_timer_check"]
    for image in images:
        machine += ["-drive", f"file={image},if=virtio,format=raw,cache=unsafe"]
    done = subprocess.run(machine, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=900, check=False)
    told = done.stdout.decode(errors="replace").replace("\r", "")
    assert "GUEST ENDS" in told, told
    # The firmware leaves its last words on the first line.
    return re.findall("says (.*)", told)


def _prepare() -> None:
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if (FOLDER / "ready").exists():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    script = str(_ROOT / "tests" / "utils" / "guest_kernel.sh")
    done = subprocess.run(["sh", script, str(FOLDER)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        pytest.skip(f"the guest's kernel cannot be prepared: {done.stdout.decode(errors='replace')[-200:]}")
