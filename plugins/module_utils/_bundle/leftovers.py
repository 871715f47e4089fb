# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What else there is about a bundle: who holds it, images that nobody names, files of an interrupted run."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Tuple

from .._io.port import Holder, Port
from .bundle import BundleState
from .naming import classify


def holders(port: Port, state: BundleState) -> Tuple[Tuple[str, Holder], ...]:
    """Who is seen to hold the bundle or one of its images."""
    places = [state.location.directory] if state.is_bundle else []
    # One outside that was not opened has no size, and one that is only predicted no blocks.
    present = [image for image in state.images.values() if image.stat.allocated >= 0]
    places += [image.path for image in present if image.size or not image.outside]
    return port.holders(places)


def orphans(state: BundleState) -> Tuple[str, ...]:
    """Image files in the bundle that the descriptor does not name."""
    return tuple(name for name in state.others if classify(name) == "image")


def leftovers(state: BundleState) -> Tuple[str, ...]:
    """Files that an interrupted operation left, ours or ploop's."""
    return tuple(name for name in state.others if classify(name) in ("ours", "ploop_leftover"))


def temporaries(state: BundleState) -> Tuple[str, ...]:
    """Files of ours that an interrupted run did not complete."""
    journal = state.journal_path.rsplit("/", 1)[-1]
    return tuple(name for name in state.others if classify(name) == "ours" and name != journal)


def needs_recovery(state: BundleState) -> bool:
    """Whether an earlier run left a journal or files of its own in the disk's directory."""
    return state.journal is not None or bool(temporaries(state))
