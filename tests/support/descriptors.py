# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptors as text, in the styles of the products that write them."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor import (
    Descriptor,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor_xml import parse_descriptor
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, descriptor_text, line_of_layers

PATH = "/disk.hdd/DiskDescriptor.xml"
STYLES = ("desktop", "virtuozzo", "ploop")


def parse(text: str) -> Descriptor:
    return parse_descriptor(text.encode(), path=PATH)


def document(
    style: str = "desktop",
    layers: Optional[List[Layer]] = None,
    ranges: Tuple[Tuple[int, int], ...] = ((0, 8192),),
    **options: Any,
) -> str:
    layers = line_of_layers({}, {}) if layers is None else layers
    names = {(part, layer.guid): f"mac.hdd.{part}.{layer.guid}.hds" for part in range(len(ranges)) for layer in layers}
    return descriptor_text(name="mac", ranges=ranges, layers=layers, names=names, style=style, **options)
