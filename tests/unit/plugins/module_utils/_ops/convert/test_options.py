# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which options go with which format."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.catalog import FORMATS
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.options import (
    alignment,
    output_format,
    refuse_options,
)

MIB = 1 << 20
DEFAULTS: Dict[str, Any] = {
    "subformat": None,
    "cluster_size": None,
    "split_size": None,
    "name": None,
    "adapter_type": None,
    "compression_level": None,
    "format_version": "auto",
    "compression": "none",
    "azure": False,
    "chain": "flatten",
    "sparse": True,
    "free_space": "keep",
    "swap": "keep",
}
SET: Dict[str, Any] = {
    "subformat": "fixed",
    "cluster_size": "1M",
    "split_size": "2G",
    "name": "a",
    "adapter_type": "ide",
    "compression_level": 1,
    "format_version": "2",
    "compression": "zlib",
    "azure": True,
}


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_left_out_goes_with_every_format(format: str) -> None:
    refuse_options(DEFAULTS, format, "/vm/a")


@pytest.mark.parametrize("option", SET)
@pytest.mark.parametrize("format", FORMATS)
def test_an_option_that_a_format_does_not_know_is_refused_by_its_name(format: str, option: str) -> None:
    value = "plain" if (format, option) == ("hdd", "subformat") else SET[option]
    options = {**DEFAULTS, option: value}
    if option in FORMATS[format].options:
        refuse_options(options, format, "/vm/a")
        return
    with pytest.raises(BadRequest) as caught:
        refuse_options(options, format, "/vm/a")
    assert str(caught.value).startswith(f"{option}: no option for {format}")


@pytest.mark.parametrize(
    "format, options, words",
    [
        ("qcow2", {"compression": "zlib", "compression_level": 0}, "levels begin at 1"),
        ("raw", {"chain": "preserve"}, "holds no layers"),
        ("hdd", {"subformat": "fixed"}, "expanding or plain"),
        ("hdd", {"format_version": "3"}, "hdd has no version 3"),
        ("qcow2", {"format_version": "1"}, "qcow2 has no version 1"),
        ("qcow2", {"sparse": False, "chain": "preserve"}, "sparse:"),
        ("vmdk", {"sparse": False, "subformat": "streamOptimized"}, "sparse:"),
        ("vhd", {"azure": True, "subformat": "dynamic"}, "Azure"),
    ],
    ids=str,
)
def test_values_that_do_not_go_together_are_refused(format: str, options: Dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        refuse_options({**DEFAULTS, **options}, format, "/vm/a")
    assert words in str(caught.value)


def test_the_name_says_the_format_unless_it_is_said() -> None:
    assert output_format("/vm/A.QCOW2", None) == "qcow2"
    assert output_format("/vm/a.img", "hdd") == "hdd"
    with pytest.raises(BadRequest, match="dest_format"):
        output_format("/vm/a.hdd.old", None)


def test_sizes_are_aligned_to_sectors_and_for_azure_to_mebibytes() -> None:
    assert alignment(None, is_azure=False) == 512 and alignment(None, is_azure=True) == MIB
    assert alignment(4096, is_azure=False) == 4096
    for asked, is_azure in ((0, False), (700, False), (4096, True)):
        with pytest.raises(BadRequest, match="align"):
            alignment(asked, is_azure=is_azure)
