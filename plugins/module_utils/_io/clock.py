# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time that goes into files."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import os


def source_date_epoch() -> int:
    """Seconds since 1970 by SOURCE_DATE_EPOCH, the convention of reproducible builds; 0 when it is not set or no
    number.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
