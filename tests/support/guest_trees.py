# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that grew out of one another as the snapshots of a disk, and what the guest reads at each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Optional, Sequence

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import observe
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import ComposedView, open_view
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.filesystems import sparse

PORT = OsPort()
MIB, CLUSTER = 1 << 20, 64 << 10
Parents = Sequence[Optional[int]]
"""Of each state the number of the one that it was made from, None for the first."""


def guid_at(parents: Parents, number: int) -> str:
    """The last state is the current one."""
    return TOP if number == len(parents) - 1 else guid_of(number + 1)


def built(path: str, size: int, folder: Path, parents: Parents) -> None:
    """A disk with the images as snapshots, each layer with the clusters that differ from its parent's."""
    layers = []
    for number, parent in enumerate(parents):
        held: Dict[int, bytes] = {}
        with open(folder / f"state{number}", "rb") as own, open(folder / f"state{parent or 0}", "rb") as below:
            for cluster in range(size // CLUSTER):
                piece, old = own.read(CLUSTER), below.read(CLUSTER)
                if piece != (bytes(CLUSTER) if parent is None else old):
                    held[cluster] = piece
        above = NONE if parent is None else guid_at(parents, parent)
        layers.append(Layer(guid_at(parents, number), above, held))
    build_bundle(path, size_sectors=size // 512, cluster_sectors=CLUSTER // 512, layers=layers)


def shown(path: str, guid: str, target: Path) -> Path:
    """What the guest reads at a snapshot, as an image."""
    view = open_view(PORT, observe(PORT, locate(PORT, path)), guid)
    try:
        return written(view, target)
    finally:
        view.close()


def written(view: ComposedView, target: Path) -> Path:
    sparse(target, view.size)
    with open(target, "r+b") as stream:
        for offset in range(0, view.size, MIB):
            piece = bytearray(min(MIB, view.size - offset))
            view.pread_into(offset, piece)
            if piece.strip(b"\0"):
                stream.seek(offset)
                stream.write(piece)
    return target
