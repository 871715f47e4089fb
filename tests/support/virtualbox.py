# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VirtualBox's own tools: those on the path, or those in a root file system that VDISK_VIRTUALBOX names.

Debian has VirtualBox in contrib of sid alone. Its tools for images need no kernel module; as root:
``mmdebstrap --variant=minbase --components=main,contrib --include=virtualbox sid FOLDER``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import List, Optional

import pytest

_NAMES = {"qcow2": "QCOW"}
_SEEN = "/mnt"
_ENTER = (
    'mount --make-rprivate / && mount --bind "$1" "$0/mnt" && mount --rbind /proc "$0/proc"'
    ' && shift && exec chroot "$0" "$@"'
)
_PACKAGE = (
    "vbox-img is not installed (package virtualbox of Debian sid; VDISK_VIRTUALBOX may name a root folder with it)"
)


def command(folder: Path, *arguments: str) -> List[str]:
    """A command of VirtualBox that sees ``folder`` alone; arguments below it are paths. Skips where there is none."""
    if shutil.which(arguments[0]):
        return list(arguments)
    root = os.environ.get("VDISK_VIRTUALBOX", "")
    if not os.path.isdir(f"{root}/usr/lib/virtualbox") or os.geteuid() != 0:
        pytest.skip(_PACKAGE)
    inside = [one.replace(str(folder), _SEEN, 1) for one in arguments]
    return ["unshare", "-m", "sh", "-c", _ENTER, root, str(folder), *inside]


def read(folder: Path, path: str, format: str) -> Optional[bytes]:
    """What VirtualBox reads from an image in ``folder``; None where it refuses."""
    out = folder / "virtualbox.raw"
    options = [
        f"--srcfilename={path}",
        f"--srcformat={_NAMES.get(format, format.upper())}",
        f"--dstfilename={out}",
        "--dstformat=RAW",
    ]
    done = subprocess.run(
        command(folder, "vbox-img", "convert", *options), capture_output=True, check=False, timeout=300
    )
    found = out.read_bytes() if done.returncode == 0 and out.exists() else None
    if out.exists():
        out.unlink()
    return found
