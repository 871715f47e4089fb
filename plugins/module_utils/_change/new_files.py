# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names for new files in a bundle, and what a plan must find at them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from itertools import count
from typing import Iterable, Tuple

from .._bundle.bundle import BundleState
from .._bundle.naming import image_name
from .._core import guid as guids
from .._core.plan import Fingerprint


def unused_names(state: BundleState, storages: Iterable[int], *purpose: str) -> Tuple[str, ...]:
    """Names for new images in ``storages``, derived from what is known before the run, so that check mode has them.

    A name that is taken is skipped: the layer that got it for the same purpose may have another role by now.
    """
    files = (path.rsplit("/", 1)[-1] for image in state.images.values() for path in (image.file, image.path))
    taken = {*state.others, *files}
    storages, what, *details = tuple(storages), *purpose
    for attempt in count():
        own = guids.derive(what, state.descriptor.uid or guids.NONE, *details, *([str(attempt)] if attempt else []))
        names = tuple(image_name(state.location.base, number, own) for number in storages)
        if taken.isdisjoint(names):
            break
    return names


def nothing_at(state: BundleState, names: Iterable[str]) -> Fingerprint:
    """The part of a fingerprint that makes a plan stale when somebody else creates one of its new files."""
    return tuple((f"{state.location.directory}/{name}", None) for name in names)
