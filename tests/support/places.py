# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every place of an image must be: the bytes there are those that the guest reads."""

from __future__ import annotations

from typing import List

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ImageReader, Place


def checked_places(image: ImageReader, start: int, length: int, *, has_packed: bool = False) -> List[Place]:
    """The places of a range, ascending within it and right to the byte; unless some data is packed, all data has
    one.
    """
    places = list(image.places(start, length))
    position = start
    for place in places:
        assert place.start >= position and place.length > 0
        position = place.end
        there, read = bytearray(place.length), bytearray(place.length)
        assert place.file.pread_into(place.offset, there) == place.length
        image.pread_into(place.start, read)
        assert there == read
    assert position <= start + length
    data = [extent for extent in image.extents(start, length) if extent.kind == DATA]
    for extent in data if not has_packed else ():
        inside = [(max(place.start, extent.start), min(place.end, extent.end)) for place in places]
        assert sum(end - begin for begin, end in inside if begin < end) == extent.length
    return places
