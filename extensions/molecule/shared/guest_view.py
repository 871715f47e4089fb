# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Print the SHA-256 of what a guest disk holds after the writes of play_guest.py, without looking at any disk.

Usage: guest_view.py CLUSTERS [WHAT START COUNT]...   (in clusters of 1 MiB)
"""

from __future__ import annotations

import hashlib
import sys

import play_guest

CLUSTER = 1 << 20


def main() -> None:
    clusters, writes = int(sys.argv[1]), sys.argv[2:]
    last = {}
    for what, start, count in zip(writes[::3], writes[1::3], writes[2::3]):
        last.update((cluster, what) for cluster in range(int(start), int(start) + int(count)))
    digest = hashlib.sha256()
    for cluster in range(clusters):
        digest.update(play_guest.content(last.get(cluster, "wipe"), cluster, CLUSTER))
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
