# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text for HTML: the one place where what comes from disks and hosts is made harmless."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import html
from typing import Iterable, Optional

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import format_size

_NO_BREAK = "\N{NO-BREAK SPACE}"


def escaped(value: object) -> str:
    """``value`` as text of HTML, also within a quoted attribute. What is no character becomes a question mark."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return html.escape("".join(one if one >= " " or one in "\t\n" else "?" for one in text), quote=True)


def size(value: Optional[int]) -> str:
    """Bytes for people, kept on one line; a dash for what is not known."""
    return "\N{EN DASH}" if value is None else format_size(value).replace(" ", _NO_BREAK)


def count(number: int, one: str, many: Optional[str] = None) -> str:
    """A number and what it counts, such as ``1 disk`` and ``2 disks``."""
    return f"{number}{_NO_BREAK}{one if number == 1 else many or one + 's'}"


def chip(text: object, kind: str = "") -> str:
    """A short mark; ``kind`` is error, warning, info, good or nothing."""
    known = f" {kind}" if kind in ("error", "warning", "good") else ""
    return f'<span class="chip{known}">{escaped(text)}</span>'


def plain_list(items: Iterable[str]) -> str:
    """Items, which are HTML already, as a list."""
    return f'<ul class="plain">{joined(f"<li>{item}</li>" for item in items)}</ul>'


def element(name: str, content: str, **attributes: object) -> str:
    """An element around ``content``, which is HTML already.

    Values of attributes are escaped; ``class_`` means class, None leaves one out.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{told}>{content}</{name}>"


def joined(parts: Iterable[str]) -> str:
    """Pieces of HTML, one per line."""
    return "\n".join(part for part in parts if part)
