# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rows of formats, and what is looked up in them."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.catalog import (
    FORMATS,
    HDD,
    RAW,
    ForeignShape,
    format_detected_as,
    format_of_name,
    format_of_parent,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.detect import UNSTRUCTURED


@pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)
def test_a_row_agrees_with_itself(row) -> None:  # type: ignore[no-untyped-def]
    assert FORMATS[row.name] is row
    assert set(row.fixed_kinds + row.packed_kinds + row.chain_kinds) <= set(row.kinds)
    assert row.overlay_kind is None or (row.has_layers and row.overlay_kind in row.kinds[1:])
    assert row.clusters is None or row.clusters.smallest <= row.clusters.largest
    assert ("cluster_size" in row.options) <= (row.clusters is not None)
    assert ("subformat" in row.options) == bool(row.kinds)
    assert ("format_version" in row.options) == bool(row.versions)


@pytest.mark.parametrize(
    "name, format",
    [
        ("a.hdd", HDD),
        ("A.RAW", RAW),
        ("/x.y/a.img", RAW),
        ("a.vhdx", "vhdx"),
        ("a.vhd", "vhd"),
        ("a", None),
        ("a.", None),
    ],
)
def test_the_end_of_a_name_stands_for_a_format(name: str, format: str) -> None:
    assert format_of_name(name) == format


@pytest.mark.parametrize(
    "called, format", [("vpc", "vhd"), ("QCOW2", "qcow2"), ("raw", RAW), ("hdd", None), ("qed", None), ("", None)]
)
def test_overlays_have_names_of_their_own_for_formats(called: str, format: str) -> None:
    assert format_of_parent(called) == format


@pytest.mark.parametrize("found, format", [("hds", HDD), (UNSTRUCTURED, RAW), ("vdi", "vdi"), ("qed", None)])
def test_what_is_detected_is_a_format_or_cannot_be_read(found: str, format: str) -> None:
    assert format_detected_as(found) == format


def test_fixed_images_have_a_place_for_everything() -> None:
    assert ForeignShape("vmdk", 512, "monolithicFlat").is_fixed and ForeignShape("vhd", 512, "fixed").is_fixed
    assert not ForeignShape("vmdk", 512, "streamOptimized").is_fixed and not ForeignShape("qcow2", 512).is_fixed
