# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import swap
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import MIB
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import swap as make
from ansible_collections.vdisk.parallels.tests.support.filesystems import (
    ImageFile,
    free_of,
    reason_of,
    sparse,
    turn_bits,
    whole,
)


def test_all_pages_but_the_first_are_worthless(tmp_path: Path) -> None:
    image = make(tmp_path / "swap", "-L", "pages")
    assert list(free_of(swap, image)) == [(4096, MIB)]
    found = swap.recognise(whole(ImageFile(image)))
    assert found is not None and (found.type, found.label, found.size) == ("swap", "pages", MIB)


def test_other_sizes_of_pages(tmp_path: Path) -> None:
    assert list(free_of(swap, make(tmp_path / "swap", "-p", "65536"))) == [(65536, MIB)]


@pytest.mark.parametrize("magic", [b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"])
def test_a_hibernated_guest_is_refused(tmp_path: Path, magic: bytes) -> None:
    image = make(tmp_path / "swap")
    with open(image, "r+b") as stream:
        stream.seek(4086)
        stream.write(magic)
    assert reason_of(swap, image) == "hibernated"


def test_a_swap_larger_than_its_partition_is_refused(tmp_path: Path) -> None:
    image = make(tmp_path / "swap")
    with open(image, "r+b") as stream:
        stream.truncate(MIB - 4096)
    assert reason_of(swap, image) == "too_large"


def test_no_swap_is_none(tmp_path: Path) -> None:
    assert swap.recognise(whole(ImageFile(sparse(tmp_path / "none", MIB)))) is None


def test_flipped_bits(tmp_path: Path) -> None:
    assert turn_bits(swap, make(tmp_path / "swap"), 300).get("larger", 0) == 0
