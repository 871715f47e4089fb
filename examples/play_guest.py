#!/usr/bin/env python3
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands in for a guest operating system: writes into the current layer of an expanding, unsplit bundle.

Usage: play_guest.py BUNDLE install|upgrade|build|wipe START COUNT   (both in clusters of the disk)
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
from xml.etree import ElementTree

TOP = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"


def current_image(bundle: str) -> str:
    """The file of the layer that the guest writes to."""
    for image in ElementTree.parse(os.path.join(bundle, "DiskDescriptor.xml")).iter("Image"):
        if image.findtext("GUID") == TOP:
            return os.path.join(bundle, image.findtext("File") or "")
    raise SystemExit(f"{bundle}: no current layer")


def content(what: str, cluster: int, length: int) -> bytes:
    """What the guest writes: zeros when it wipes, else bytes that differ from cluster to cluster."""
    if what == "wipe":
        return bytes(length)
    return hashlib.shake_128(f"{what} {cluster}".encode()).digest(length)


def main() -> None:
    bundle, what, start, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with open(current_image(bundle), "r+b") as image:
        header = image.read(64)
        sectors = struct.unpack_from("<I", header, 28)[0]
        unit = 1 if header.startswith(b"WithoutFreeSpace") else sectors
        for cluster in range(start, start + count):
            image.seek(64 + 4 * cluster)
            entry = struct.unpack("<I", image.read(4))[0]
            if not entry:
                entry = image.seek(0, os.SEEK_END) // 512 // unit
                image.seek(64 + 4 * cluster)
                image.write(struct.pack("<I", entry))
            image.seek(entry * unit * 512)
            image.write(content(what, cluster, sectors * 512))


if __name__ == "__main__":
    main()
