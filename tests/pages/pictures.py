# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pictures of the documentation, made anew: the page of an audit in light and dark, and the snapshot tree of one of
its disks.

Usage: python -m ansible_collections.vdisk.parallels.tests.pages.pictures FOLDER   (`make pictures`)

The fleet comes from seeds, so that the same page is drawn each time; the pixels depend on the fonts of the machine.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ansible_collections.vdisk.parallels.plugins.filter.audit_page import audit_page
from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.markup import escaped, size
from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.pictures import (
    PROFILE_HEIGHT,
    PROFILE_WIDTH,
    lanes,
    lanes_width,
    levels_of,
    profile,
)
from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.tree import rows_of
from ansible_collections.vdisk.parallels.tests.pages.browser import Browser, find_chromium
from ansible_collections.vdisk.parallels.tests.pages.fleet import clusters, guid, machine, report_of, tree
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle
from ansible_collections.vdisk.parallels.tests.support.images import fill

MIB = 1 << 20
GIB_SECTORS = 2 << 20
FARM = "Users/build/Parallels"
WIDTH, HEIGHT = 1280, 900
LICENCE = "SPDX-FileCopyrightText: 2026 The vdisk.parallels authors\nSPDX-License-Identifier: GPL-3.0-or-later\n"

Shape = Mapping[str, Tuple[Optional[str], Dict[int, bytes]]]


def data(seed: int, gib: int, *ranges: Tuple[float, float, float], zeros: bool = False) -> Dict[int, bytes]:
    """Clusters with data, or with zeros, in ranges of the disk."""
    return {number: bytes(MIB) if zeros else fill(number, MIB, seed) for number in clusters(seed, gib, ranges)}


def make_farm(root: str) -> Dict[str, str]:
    """The hosts of the pictures, and the folder on each of them that holds its disks. Takes some hundred megabytes."""
    hosts = {name: os.path.join(root, name) for name in ("mac-build-01", "mac-build-02", "mac-build-03")}
    for folder in hosts.values():
        os.makedirs(f"{folder}/{FARM}")
    shape: Shape = {
        "clean": (None, data(1, 1, (0, 0.16, 1), (0.3, 0.4, 0.7))),
        "xcode": ("clean", data(2, 1, (0.1, 0.18, 0.9), (0.42, 0.5, 0.5))),
        "beta": ("xcode", data(3, 1, (0.15, 0.24, 0.6), (0.6, 0.64, 0.3))),
        "nightly": ("xcode", data(5, 1, (0.12, 0.2, 0.8), (0.5, 0.57, 0.4))),
        "release": ("nightly", data(6, 1, (0.13, 0.2, 0.7), (0.5, 0.57, 0.3))),
        "top": ("release", data(7, 1, (0.14, 0.19, 0.5), (0.7, 0.73, 1))),
    }
    known = {"clean": "Clean install of macOS 15.1", "xcode": "Xcode 16.2", "beta": "Xcode 16.3 beta"}
    machine(
        f"{hosts['mac-build-01']}/{FARM}/macOS 15.pvm",
        "macOS 15",
        1,
        tree("one", shape),
        {guid(f"one {key}"): name for key, name in known.items()},
    )
    steps = ["root", *(f"run {number}" for number in range(1, 9)), "top"]
    chain = {
        name: (
            steps[index - 1] if index else None,
            data(20 + index, 1, (0, 0.12, 0.9) if not index else (0.05 + index / 60, 0.11 + index / 60, 0.5)),
        )
        for index, name in enumerate(steps)
    }
    machine(
        f"{hosts['mac-build-02']}/{FARM}/ci-runner.pvm",
        "ci-runner",
        1,
        tree("two", chain),
        {guid("two root"): "base image"},
    )
    wiped = {**data(50, 1, (0, 0.06, 1)), **data(51, 1, (0.06, 0.2, 1), zeros=True)}
    build_bundle(
        f"{hosts['mac-build-03']}/{FARM}/scratch.hdd", size_sectors=GIB_SECTORS, layers=[Layer(TOP, clusters=wiped)]
    )
    build_bundle(
        f"{hosts['mac-build-03']}/{FARM}/hurt.hdd",
        size_sectors=GIB_SECTORS,
        layers=[Layer(TOP, clusters=data(70, 1, (0, 0.01, 1)))],
    )
    with open(f"{hosts['mac-build-03']}/{FARM}/hurt.hdd/hurt.hdd.0.{TOP}.hds", "r+b") as stream:
        # Two entries lead to one cluster.
        stream.seek(64)
        stream.write(stream.read(4))
    return hosts


def farm_report() -> Dict[str, Any]:
    """The report of that farm, with the paths that its hosts would have."""
    with tempfile.TemporaryDirectory(prefix="vdisk-farm-") as root:
        hosts = make_farm(root)
        text = json.dumps(report_of(hosts, absent="mac-build-04", stamp="2026-11-22", scan="zeros"))
    for folder in hosts.values():
        text = text.replace(folder, "")
    report: Dict[str, Any] = json.loads(text)
    return report


_END = "Math.round(document.getElementById('hosts').getBoundingClientRect().top)"
"""Where the upper part of the page ends."""


def photograph(report: Dict[str, Any], folder: str, program: str) -> None:
    """The upper part of the page, light and dark."""
    browser = Browser(program)
    try:
        with tempfile.TemporaryDirectory(prefix="vdisk-page-") as place:
            page = os.path.join(place, "audit.html")
            with open(page, "w", encoding="utf-8") as stream:
                stream.write(audit_page(report))
            for name, dark in (("audit-light.png", False), ("audit-dark.png", True)):
                browser.look(width=WIDTH, height=HEIGHT, dark=dark)
                browser.open(page)
                browser.look(width=WIDTH, height=browser.evaluate(_END), dark=dark)
                browser.screenshot(os.path.join(folder, name), whole=False)
    finally:
        browser.close()


_ROW, _NAME, _MAP = 30, 220, 520
_STYLE = """
text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:#1b2230}
.soft{fill:#566074}
.lanes path{fill:none;stroke:#566074;stroke-width:1.5}
circle{fill:#fff;stroke:#566074;stroke-width:1.5}.now{fill:#3b6fd4;stroke:#3b6fd4}
.track{fill:#e9ecf2}path{fill:#3b6fd4}
@media (prefers-color-scheme:dark){
text{fill:#e6e9ef}.soft{fill:#9aa5b8}.lanes path{stroke:#9aa5b8}circle{fill:#1b2029;stroke:#9aa5b8}
.now{fill:#6c9bf5;stroke:#6c9bf5}
.track{fill:#2a313d}path{fill:#6c9bf5}}
"""


def tree_picture(disk: Mapping[str, Any]) -> str:
    """The layers of one disk as the page draws them, as a picture of its own."""
    mapped = {layer["guid"]: layer for layer in disk["map"]["layers"]}
    names = {
        one["guid"]: one["name"] or f"{one['guid'][:9]}\N{HORIZONTAL ELLIPSIS}  orphan" for one in disk["snapshots"]
    }
    rows = rows_of({key: layer["parent"] for key, layer in mapped.items()}, disk["layers"][0]["guid"])
    width = max(row.lane for row in rows) + 1
    left = lanes_width(width) + 8
    capacity = disk["map"]["bucket_size"] // disk["cluster_size"]
    drawn: List[str] = []
    for number, row in enumerate(rows):
        layer, top = mapped[row.guid], number * _ROW
        name = names.get(row.guid, "current state")
        used = layer["used_clusters"]
        outline = profile(levels_of(used, [capacity] * len(used), PROFILE_WIDTH))
        drawn += [
            (
                f'<svg y="{top}" width="{left}" height="{_ROW}">'
                f"{lanes(row, is_current=row.guid not in names, width=width)}</svg>"
            ),
            f'<text x="{left}" y="{top + 20}">{escaped(name)}</text>',
            (
                f'<text x="{left + _NAME + 70}" y="{top + 20}" text-anchor="end" class="soft">'
                f"{escaped(size(layer['file_size']))}</text>"
            ),
            (
                f'<svg x="{left + _NAME + 90}" y="{top + 7}" width="{_MAP}" height="16" preserveAspectRatio="none" '
                f'viewBox="0 0 {PROFILE_WIDTH} {PROFILE_HEIGHT}">'
                f'<rect class="track" width="100%" height="100%"/><path d="{outline}"/></svg>'
            ),
        ]
    whole, height = left + _NAME + 90 + _MAP, len(rows) * _ROW
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" width="{whole}" height="{height}">'
    return f"{head}<style>{_STYLE}</style>\n" + "\n".join(drawn) + "\n</svg>\n"


def main() -> None:
    folder = sys.argv[1]
    program = find_chromium()
    if program is None:
        raise SystemExit("there is no Chromium on this machine")
    os.makedirs(folder, exist_ok=True)
    report = farm_report()
    photograph(report, folder, program)
    disk = next(one for host in report["hosts"] for one in host["disks"] if one["name"] == "macOS 15")
    with open(os.path.join(folder, "snapshot-tree.svg"), "w", encoding="utf-8") as stream:
        stream.write(tree_picture(disk))
    for name in ("audit-light.png", "audit-dark.png", "snapshot-tree.svg"):
        with open(os.path.join(folder, name + ".license"), "w", encoding="utf-8") as stream:
            stream.write(LICENCE)
        print(f"{name}: {os.path.getsize(os.path.join(folder, name))} bytes")


if __name__ == "__main__":
    main()
