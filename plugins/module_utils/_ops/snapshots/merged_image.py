# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How each group of a merge becomes one image: which of its files receives the rest, or a new one."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, Mapping, Optional, Sequence, Tuple

from ..._bundle.bundle import EXPANDING, PLAIN, BundleState, ImageState
from ..._change.new_files import unused_names
from ..._change.slots import Slots, free_slots
from ..._core.errors import Damaged, Unsupported
from ..._core.extents import Extent
from ..._core.plan import Move
from ..._core.records import dataclass, replace
from ..._formats.hds.header import HdsHeader, new_header
from ..._guest.view import open_stack
from ..._io.port import Port
from .placement import (
    Candidate,
    Group,
    Placement,
    common_cluster_bytes,
    grown_header,
    may_receive,
    place_in_expanding,
    place_in_plain,
    refuse_ragged,
    visible_extents,
)

IN_PLACE = "in_place"
COPY = "copy"


@dataclass(frozen=True)
class MergedImage:
    """How one group becomes one image: in the receiver's file, or in a new one like the receiver.

    ``grown`` is the header of a receiver that was shorter than the layer it becomes.
    """

    group: Group
    receiver: ImageState
    is_new: bool
    placement: Placement
    grown: Optional[HdsHeader] = None

    @property
    def moves(self) -> Tuple[Move, ...]:
        """All guest data that is written."""
        return self.placement.fresh + self.placement.overwrites

    @property
    def growth(self) -> int:
        """Bytes by which the receiver's file becomes longer."""
        return self.placement.size_after - (0 if self.is_new else self.receiver.stat.size)

    @property
    def changes_file(self) -> bool:
        """Whether the receiver's file is written at all; one that is marked as in use is closed."""
        return (
            self.is_new
            or self.receiver.is_dirty
            or bool(self.moves or self.placement.entries or self.growth or self.grown)
        )


@dataclass(frozen=True)
class Choice:
    """What the choice of receivers depends on: the disk, all groups, the strategy, and what a cut-off merge had chosen.

    ``receivers`` are file names by "storage/survivor".
    """

    state: BundleState
    groups: Sequence[Tuple[str, ...]]
    strategy: str
    receivers: Mapping[str, str]

    def is_shared(self, guid: str) -> bool:
        """Whether a layer serves several branches; it stays as it is."""
        return sum(guid in group for group in self.groups) > 1


def merged_images(port: Port, choice: Choice) -> List[MergedImage]:
    """Each group in each storage. Raises Unsupported, and Damaged when a cut-off merge cannot be repeated."""
    storages = range(len(choice.state.descriptor.storages))
    return [_merged_image(port, choice, storage, layers) for layers in choice.groups for storage in storages]


def _merged_image(port: Port, choice: Choice, storage: int, layers: Tuple[str, ...]) -> MergedImage:
    chain = choice.state.chain(layers[0], storage)
    stack = open_stack(port, chain, choice.state.parts[storage][1])
    try:
        group = Group(storage, layers[0], chain[: len(layers)], stack)
        extents = visible_extents(group)
        index = _choose_receiver(choice, group, extents)
        candidate = Candidate(group, extents, index)
        if index is None:
            return _into_new_file(choice.state, candidate)
        return _into_layer(candidate, group.images[index])
    finally:
        stack.close()


def _choose_receiver(choice: Choice, group: Group, extents: Sequence[Extent]) -> Optional[int]:
    """Index of the layer that takes the rest in, or None for a new file.

    Equal costs go to the lowest layer, whose file lives longest.
    """
    if choice.strategy == COPY:
        return None
    allowed = [
        index
        for index, image in enumerate(group.images)
        if not choice.is_shared(image.guid) and image.stat.links == 1 and may_receive(image, group.images[0])
    ]
    forced = choice.receivers.get(f"{group.storage}/{group.survivor}")
    if forced is not None:
        allowed = [index for index in allowed if group.images[index].file == forced]
    if not allowed:
        _refuse_no_receiver(choice, forced)
    return min(allowed, key=lambda index: (Candidate(group, extents, index).cost, -index), default=None)


def _refuse_no_receiver(choice: Choice, forced: Optional[str]) -> None:
    if forced is not None:
        raise Damaged(
            "The file that an interrupted merge was changing cannot take the layers in",
            path=choice.state.journal_path,
            found=str(forced)[:255],
        )
    if choice.strategy == IN_PLACE:
        directory = choice.state.location.directory
        raise Unsupported("No layer of the disk may be changed in place", path=directory, hint="Use strategy: copy.")


def _into_layer(candidate: Candidate, image: ImageState) -> MergedImage:
    group = candidate.group
    if image.header is None:
        return MergedImage(group, image, False, place_in_plain(candidate, image))
    refuse_ragged(candidate)
    placement = place_in_expanding(candidate, free_slots(image, image.header), image.header.version)
    if not placement.fresh and not placement.overwrites and not placement.entries:
        placement = placement._replace(size_after=image.stat.size)
    return MergedImage(group, image, False, placement, grown_header(image.header, group.images[0].size))


def _into_new_file(state: BundleState, candidate: Candidate) -> MergedImage:
    """A fresh image with all visible extents; it gets a name that is known before the run."""
    group = candidate.group
    survivor = group.images[0]
    _refuse_plain(group)
    refuse_ragged(candidate)
    version = max(image.header.version for image in group.images if image.header is not None)
    step = common_cluster_bytes(group.images)
    header = new_header(size_bytes=survivor.size, cluster_bytes=step, version=version)
    placement = place_in_expanding(candidate, Slots((), header.data_start), version)
    (name,) = unused_names(state, [group.storage], "merged", *(image.guid for image in group.images))
    stat = replace(survivor.stat, size=placement.size_after, allocated=-1)
    path = f"{state.location.directory}/{name}"
    image = ImageState(group.storage, group.survivor, name, path, False, EXPANDING, stat, survivor.size, header)
    return MergedImage(group, image, True, placement)


def _refuse_plain(group: Group) -> None:
    if any(image.kind == PLAIN for image in group.images):
        raise Unsupported(
            "A plain layer cannot be merged into a new file",
            path=group.images[0].path,
            hint="Use strategy: in_place, or convert the disk with hdd_convert.",
        )
