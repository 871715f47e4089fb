# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.names import meant, readable
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("größe", "größe"),
        ("b\udcff", r"b\xff"),
        ("\ud800x", r"\ud800x"),
        (("a\udce9", 1, None), [r"a\xe9", 1, None]),
        ({"\udcff": ["\udcfe", True]}, {r"\xff": [r"\xfe", True]}),
        (b"\xff", b"\xff"),
    ],
)
def test_what_is_not_utf8_is_shown_as_python_writes_it(value: object, shown: object) -> None:
    assert readable(value) == shown


def test_a_shown_name_means_the_file_that_is_there(tmp_path: Path) -> None:
    port, odd = OsPort(), f"{tmp_path}/b\udcff"
    assert meant(port, rf"{tmp_path}/b\xff") == rf"{tmp_path}/b\xff"
    os.mkdir(odd)
    assert meant(port, rf"{tmp_path}/b\xff") == odd
    assert meant(port, rf"{tmp_path}/b\xff/new") == rf"{tmp_path}/b\xff/new"
    os.mkdir(rf"{tmp_path}/b\xff")
    assert meant(port, rf"{tmp_path}/b\xff") == rf"{tmp_path}/b\xff"
    assert meant(port, r"\x41") == r"\x41"
