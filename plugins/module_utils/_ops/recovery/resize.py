# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of an interrupted change of size: a grow is taken back before its commit, a shrink goes forward after it.

The journal says what the disk was to become; the descriptor (of a single file, its length) says whether it has.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Any, Iterator, Mapping, Optional

from ..._bundle.bundle import BundleState, ImageState
from ..._core.errors import Damaged, DiskError
from ..._core.plan import Resize, Step, Sync, WriteBytes
from ..._core.records import replace
from ..._core.units import ceil_div
from ..._formats.hds.header import CLOSED, HEADER_BYTES, IN_USE_OFFSET, HdsHeader, pack_header, parse_header
from ..._io.journal import ImageBefore, Journal
from .written_since import extension_end

_POSSIBLE_ENTRIES = range(1 << 29)
"""The longest table that QEMU opens."""


def resize_end_steps(state: BundleState, journal: Journal) -> Iterator[Step]:
    """The steps that bring the images to order. Raises Damaged for a journal that does not fit the disk."""
    request = journal.request or {}
    sectors, headers, entries = request.get("sectors"), request.get("headers", {}), request.get("entries", 0)
    if not isinstance(sectors, int) or not isinstance(headers, dict) or entries not in _POSSIBLE_ENTRIES:
        raise _misfit(state)
    is_done = state.descriptor.size_sectors == sectors
    by_name = {image.path.rsplit("/", 1)[-1]: image for image in state.images.values() if not image.outside}
    for before in journal.images:
        image = by_name.get(before.name)
        if image is None:
            continue
        if journal.operation == "grow" and not is_done:
            yield from _take_back_steps(state, image, before, request)
        elif journal.operation == "shrink" and is_done:
            yield from _go_forward_steps(state, image, entries)
            yield Sync(files=(image.path,))
        else:
            if image.is_dirty:
                yield WriteBytes(image.path, IN_USE_OFFSET, struct.pack("<I", CLOSED))
            # What the run that was cut off had written last may be in the cache alone, and the journal goes next.
            yield Sync(files=(image.path,))


def _misfit(state: BundleState) -> Damaged:
    text = "The journal of an interrupted change of size does not fit the disk"
    return Damaged(text, path=state.journal_path, hint="Look at the disk with hdd_info.")


def _take_back_steps(
    state: BundleState, image: ImageState, before: ImageBefore, request: Mapping[str, Any]
) -> Iterator[Step]:
    """The header as it was, then the length, but no entry may point past it."""
    if image.header is None:
        if image.size <= before.size < image.stat.size:
            yield Resize(image.path, before.size)
            yield Sync(files=(image.path,))
        return
    header = _header_before(state, image, request)
    is_foreign = extension_end(image) > before.size
    if header is not None:
        marked = _with_marks(header, image.header, before, is_foreign=is_foreign)
        yield WriteBytes(image.path, 0, pack_header(marked))
        yield Sync(files=(image.path,))
    elif image.is_dirty and not is_foreign:
        yield WriteBytes(image.path, IN_USE_OFFSET, struct.pack("<I", CLOSED))
    # Clusters that were moved stay where they are now; what the file gained after them goes.
    length = max(before.size, _used_end(image, header or image.header), extension_end(image))
    if length < image.stat.size:
        yield Resize(image.path, length)
    yield Sync(files=(image.path,))


def _with_marks(header: HdsHeader, now: HdsHeader, before: ImageBefore, *, is_foreign: bool) -> HdsHeader:
    """The header of before with what others may have written since: flags, the extension, and how they left it."""
    own_mark = before.in_use if before.in_use < 1 << 32 else CLOSED
    in_use = now.in_use if is_foreign or (now.ext_off and not now.is_dirty) else own_mark
    return replace(header, in_use=in_use, flags=now.flags, ext_off=now.ext_off)


def _used_end(image: ImageState, header: HdsHeader) -> int:
    """The end of the last cluster of the disk that ``header`` describes; 0 for none."""
    runs = image.table.runs(0, header.used_entries) if image.table is not None else ()
    return max((run.offset + run.count * header.cluster_bytes for run in runs), default=0)


def _header_before(state: BundleState, image: ImageState, request: Mapping[str, Any]) -> Optional[HdsHeader]:
    """The header in the journal, if it fits the image and hides nothing that the guest or others have written."""
    now, text = image.header, request.get("headers", {}).get(image.path.rsplit("/", 1)[-1])
    if now is None or not isinstance(text, str):
        raise _misfit(state)
    try:
        raw = bytes.fromhex(text)
        header = parse_header(raw, path=image.path, file_size=image.stat.size)
    except (ValueError, DiskError) as error:
        raise _misfit(state) from error
    if (
        len(raw) != HEADER_BYTES
        or (header.version, header.cluster_bytes) != (now.version, now.cluster_bytes)
        or header.data_start > now.data_start
    ):
        raise _misfit(state)
    seen = ceil_div(image.size, header.cluster_bytes)
    ends = [run.cluster + run.count for run in image.table.runs(0, seen)] if image.table is not None else []
    return header if max(ends, default=0) <= header.used_entries and not _is_adopted(image, header, request) else None


def _is_adopted(image: ImageState, header: HdsHeader, request: Mapping[str, Any]) -> bool:
    """Whether others took the larger image for true: they wrote past its old end, or an extension of its new size."""
    now, table = image.header, image.table
    if now is None or table is None or now.used_entries == header.used_entries:
        return False
    named = table.has_any(header.used_entries, now.used_entries)
    return bool(image.pinned) or (named and request.get("reserved", True) is False)


def _go_forward_steps(state: BundleState, image: ImageState, entries: int) -> Iterator[Step]:
    from ..reshape.shrink_image import cut_image, cut_steps

    length = state.parts[image.storage][1]
    whole = image.stat.size if image.header is None else image.header.size_bytes
    if whole > length or (whole == length and not image.pinned):
        yield from cut_steps(cut_image(image, length, entries=entries))
