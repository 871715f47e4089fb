# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names for new files in a bundle, and what a plan must find at them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterable, Tuple

from .._bundle.bundle import BundleState
from .._bundle.naming import image_name
from .._core import guid as guids
from .._core.plan import Fingerprint


def unused_names(state: BundleState, storages: Iterable[int], *purpose: str) -> Tuple[str, ...]:
    """Names for new images in ``storages``.

    They follow from what is known before the run, so that check mode can tell them.

    A name that is taken is passed over: the layer that got it for the same purpose may have another role by now.
    """
    files = (path.rsplit("/", 1)[-1] for image in state.images.values() for path in (image.file, image.path))
    taken = {*state.others, *files}
    storages = tuple(storages)
    attempt = 0
    while True:
        own = guids.derive(
            purpose[0], state.descriptor.uid or guids.NONE, *purpose[1:], *([str(attempt)] if attempt else [])
        )
        names = tuple(image_name(state.location.base, number, own) for number in storages)
        if taken.isdisjoint(names):
            return names
        attempt += 1


def nothing_at(state: BundleState, names: Iterable[str]) -> Fingerprint:
    """The part of a fingerprint that makes a plan stale when somebody else puts a file where a new one should go."""
    return tuple((f"{state.location.directory}/{name}", None) for name in names)
