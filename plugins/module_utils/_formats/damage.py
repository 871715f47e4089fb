# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damage that only a copy of the image can undo."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from .._core.errors import Damaged


class DamagedImage(Damaged):
    """The image contradicts itself."""

    usual_hint = "Restore the image from a copy."


class DamagedSource(Damaged):
    """Likewise, found before anything was done."""

    usual_hint = "Restore the image from a copy; nothing was changed."
