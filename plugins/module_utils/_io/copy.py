# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copying ranges of bytes between files by the fastest way that works."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Callable, Optional, Sequence, Union

from .._core.errors import Damaged
from .port import File

SLICE = 256 * 1024
"""The grid of content digests (it may never change), and a buffer that stays in the cache of a core."""

WINDOW = 2 << 20
"""The size for what goes through whole: writes this long make the host take memory in large pages, where it can, and
several such buffers still lie in the cache that the cores share.
"""

WRITEBACK_STEP = 8 << 20
"""Writeback starts after so many bytes, so that the sync at the end finds little to do."""


class Writeback:
    """Starts writing back what was written every few MiB, so that the sync at the end finds little to do."""

    def __init__(self, files: Sequence[File]) -> None:
        self._files = files
        self._started = 0

    def reached(self, written: int) -> None:
        """So many bytes are written now."""
        if written - self._started >= WRITEBACK_STEP:
            self._started = written
            for file in self._files:
                file.start_writeback(0, 0)


def copy_bytes(
    source: File,
    source_offset: int,
    target: File,
    offset: int,
    length: int,
    *,
    buffer: Union[bytearray, memoryview],
    on_progress: Optional[Callable[[int], None]] = None,
) -> None:
    """Copy a range, by the kernel where it can, else through ``buffer``, which is reused and best WINDOW long.

    Writeback starts after each WRITEBACK_STEP; callers with many shorter ranges start it themselves. Ranges of one file
    must not overlap unless the target is below the source. ``on_progress`` gets how many bytes were added. Raises
    Damaged when the source ends too early.
    """
    end = offset + length
    shift = source_offset - offset
    kernel_copies = True
    while offset < end:
        step_end = min(end, offset + WRITEBACK_STEP)
        position = offset
        if kernel_copies:
            position += target.copy_from(source, position + shift, position, step_end - position)
            kernel_copies = position == step_end
        if position < step_end:
            _through_buffer(source, position + shift, target, position, step_end - position, memoryview(buffer))
        if step_end - offset == WRITEBACK_STEP:
            target.start_writeback(offset, WRITEBACK_STEP)
        if on_progress is not None:
            on_progress(step_end - offset)
        offset = step_end


def _through_buffer(source: File, source_offset: int, target: File, offset: int, length: int, view: memoryview) -> None:
    done = 0
    while done < length:
        part = view[: length - done]
        size = source.pread_into(source_offset + done, part)
        if not size:
            raise Damaged(
                f"{source.path} ends too early",
                path=source.path,
                offset=source_offset + done,
                expected=f"{length - done} more bytes",
            )
        target.pwrite(offset + done, part[:size])
        done += size
