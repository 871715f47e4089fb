# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A new, empty current layer: its images in every storage, and the steps that create them before anybody names them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Iterator, Mapping, Tuple

from .._bundle.bundle import EXPANDING, BundleState, ImageState, size_warnings
from .._bundle.descriptor import Descriptor
from .._bundle.tree import build_tree
from .._core.plan import CreateFile, Step, Sync, WriteBytes
from .._core.records import replace
from .._core.units import SECTOR
from .._formats.hds.header import HdsHeader, max_size_bytes, new_header, pack_header
from .new_files import unused_names

NewImages = Tuple[Tuple[str, HdsHeader], ...]
"""File name and header of the image in each storage."""


def new_images(state: BundleState, parent: str, *, base: str) -> NewImages:
    """The images of a new layer on snapshot ``parent``, whose images are, or will be, those of layer ``base`` now."""
    names = unused_names(state, range(len(state.descriptor.storages)), "layer on", parent)
    return tuple((name, _header(state, number, base)) for number, name in enumerate(names))


def _header(state: BundleState, storage: int, base: str) -> HdsHeader:
    """An overlay has the version and cluster size of the layers below it (ploop refuses a mixed chain)."""
    part = state.descriptor.storages[storage]
    size, cluster_bytes = part.length_sectors * SECTOR, part.cluster_sectors * SECTOR
    for image in state.chain(base, storage):
        if image.header is not None:
            header = new_header(size_bytes=size, cluster_bytes=image.header.cluster_bytes, version=image.header.version)
            return replace(header, heads=image.header.heads)
    version = 1 if size <= max_size_bytes(1, cluster_bytes) else 2
    return new_header(size_bytes=size, cluster_bytes=cluster_bytes, version=version)


def new_image_steps(state: BundleState, created: NewImages, *, like: str) -> Iterator[Step]:
    """New files with mode and owner of those of layer ``like``, then one barrier."""
    directory = state.location.directory
    for (name, header), model in zip(created, state.layer(like)):
        yield CreateFile(f"{directory}/{name}", header.data_start, like=model.path)
        yield WriteBytes(f"{directory}/{name}", 0, pack_header(header))
    yield Sync(files=tuple(f"{directory}/{name}" for name, _header in created), directories=(directory,))


def with_new_top(
    state: BundleState, target: Descriptor, kept: Mapping[Tuple[int, str], ImageState], created: NewImages
) -> BundleState:
    """The disk as it will be, for predictions: the images in ``kept`` and an empty current layer."""
    top, directory = state.tree.top, state.location.directory
    images: Dict[Tuple[int, str], ImageState] = dict(kept)
    for number, (name, header) in enumerate(created):
        stat = replace(state.images[(number, top)].stat, size=header.data_start, allocated=-1)
        path, size = f"{directory}/{name}", header.size_bytes
        images[(number, top)] = ImageState(number, top, name, path, False, EXPANDING, stat, size, header)
    tree = build_tree(target.shots, declared_top=target.declared_top, path=state.location.descriptor)
    warnings = tuple(size_warnings(target, tree, images))
    return replace(state, descriptor=target, tree=tree, images=images, warnings=warnings)
