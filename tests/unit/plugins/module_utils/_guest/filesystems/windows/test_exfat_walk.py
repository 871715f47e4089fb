# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.runs import Runs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.exfat_layout import (
    Clusters,
    read_boot,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.exfat_walk import Walk
from ansible_collections.vdisk.parallels.tests.support.exfat_images import (
    CLUSTER,
    CONTIGUOUS,
    FOLDER,
    ROOT,
    ExfatVolume,
    file,
    stored,
)


def walk(made: ExfatVolume) -> None:
    disk = made.build()
    volume = Volume(disk, [(0, disk.size)])
    boot = read_boot(volume)
    assert boot is not None
    clusters = Clusters(volume, boot)
    one = Walk(volume, boot, clusters)
    root = clusters.chain(ROOT, 10)
    free = Runs((made.place(number), made.place(number + 1)) for number in range(2, 202) if number not in made.used)
    one.run(free, root, one.content(root))


def refusal(made: ExfatVolume) -> str:
    with pytest.raises(Uncertain) as caught:
        walk(made)
    return caught.value.code


def test_folders_and_files_in_use_are_in_order() -> None:
    made = ExfatVolume()
    made.root += [file(0, 0), file(20, 3 * CLUSTER, flags=CONTIGUOUS)]
    made.used.update((20, 21, 22))
    walk(made)


def test_folders_in_folders_are_visited() -> None:
    made = ExfatVolume()
    made.folders[6] = [file(20, CLUSTER, flags=CONTIGUOUS, attributes=FOLDER)]
    made.folders[20] = [file(30, CLUSTER, flags=CONTIGUOUS)]
    made.used.add(20)
    assert refusal(made) == "damaged"
    made.used.add(30)
    walk(made)


BROKEN: List[Any] = [
    pytest.param(file(20, CLUSTER, flags=CONTIGUOUS), "damaged", id="a file in a free cluster"),
    pytest.param(file(12, 2 * CLUSTER, flags=CONTIGUOUS), "damaged", id="a file that ends in a free cluster"),
    pytest.param(file(12, CLUSTER, flags=0), "damaged", id="a file that may have no cluster"),
    pytest.param(file(12, 0), "damaged", id="a cluster without bytes"),
    pytest.param(file(6, CLUSTER, flags=CONTIGUOUS, attributes=FOLDER), "damaged", id="a folder with two names"),
    pytest.param(file(ROOT, CLUSTER, attributes=FOLDER), "damaged", id="a circle"),
    pytest.param(file(0, 0, more=[stored(0xC2, 0, 0, 0)]), "unknown_features", id="an unknown part of a file"),
    pytest.param(file(0, 0, more=[stored(0xE1, 3, 20, 9)]), "damaged", id="a vendor's free cluster"),
    pytest.param(stored(0x84, 0, 0, 0), "unknown_features", id="an unknown entry"),
    pytest.param(stored(0xC0, 0, 0, 0), "unknown_features", id="a part without a file"),
    pytest.param(file(8, 5).replace(b"\xc0\1", b"\xc1\1"), "damaged", id="a wrong checksum"),
    pytest.param(stored(0x82, 0, 20, 9), "damaged", id="a free table of names"),
]


@pytest.mark.parametrize(("entry", "code"), BROKEN)
def test_what_cannot_be_is_refused(entry: bytes, code: str) -> None:
    made = ExfatVolume()
    made.root.append(entry)
    assert refusal(made) == code


def test_a_vendor_may_have_clusters_and_notes() -> None:
    made = ExfatVolume()
    made.root.append(file(0, 0, more=[stored(0xE1, 3, 20, 9), stored(0xE0, 0, 50, 50)]))
    made.used.add(20)
    walk(made)


def test_only_the_root_has_a_bitmap() -> None:
    made = ExfatVolume()
    made.folders[6] = [stored(0x81, 0, 2, 25)]
    assert refusal(made) == "damaged"


def test_folders_beyond_all_measure_are_not_read() -> None:
    made = ExfatVolume(150_000)
    made.root = [file(6, 100_000 * CLUSTER, flags=CONTIGUOUS, attributes=FOLDER)]
    made.bitmap = b""
    assert refusal(made) == "damaged"
