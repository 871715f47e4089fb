# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Create and remove whole bundles.

A new bundle is built under a temporary name beside its place. Commit point of a creation: the rename of the directory.
A removal commits by giving the bundle a temporary name; then its files go.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, List, Mapping, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.descriptor import Descriptor
from ..._bundle.guards import Touches, check_guards, refuse_standing, refuse_strangers
from ..._bundle.naming import marker_name, temporary_name
from ..._bundle.paths import Location
from ..._bundle.shape import Shape, descriptor_of
from ..._change.bundle_plan import own_images
from ..._change.new_image import empty_image_steps
from ..._core.errors import BadRequest
from ..._core.plan import Cleanup, CreateFile, MakeDirectory, Plan, Remove, Rename, Step, Sync, WriteBytes
from ..._core.records import dataclass


@dataclass(frozen=True)
class CreateFacts:
    """The disk that will be: its descriptor, its shape, and the lengths of its image files by name."""

    descriptor: Descriptor
    shape: Shape
    lengths: Mapping[str, int]


def plan_create(path: str, shape: Shape, *, name: str, uid: str, token: str) -> Plan[CreateFacts]:
    """A new, empty bundle at ``path``, an absolute path where nothing is.

    ``token`` makes the temporary name unique.
    """
    directory, base = path.rsplit("/", 1)
    _refuse_name(path, base)
    temporary = f"{directory}/{temporary_name(base, token)}"
    descriptor = descriptor_of(shape, name=name, base=base, uid=uid)
    files = list(_empty_images(temporary, shape, descriptor))
    steps: List[Step] = [MakeDirectory(temporary), *files, *bundle_end_steps(temporary, base, descriptor)]
    steps += [_sync_step(temporary, steps), Rename(temporary, path)]
    images = [step for step in files if isinstance(step, CreateFile)]
    needed = sum(image.size for image in images if image.reserve)
    needed += sum(len(step.content) for step in steps if isinstance(step, WriteBytes))
    lengths = {image.path.rsplit("/", 1)[-1]: image.size for image in images}
    return Plan(
        "create",
        tuple(steps),
        fingerprint=((path, None),),
        space=((directory or "/", needed),),
        cleanup=Cleanup(remove=(temporary,)),
        commit=len(steps) - 1,
        facts=CreateFacts(descriptor, shape, lengths),
    )


def _refuse_name(path: str, base: str) -> None:
    if not base.endswith(".hdd"):
        raise BadRequest(
            "The name of a bundle ends in .hdd", path=path, found=base, hint="Add .hdd, in lower case, to the name."
        )


def _empty_images(directory: str, shape: Shape, descriptor: Descriptor) -> Iterator[Step]:
    for (_start, length), storage in zip(shape.parts, descriptor.storages):
        yield from empty_image_steps(f"{directory}/{storage.images[0].file}", shape, length)


def bundle_end_steps(directory: str, base: str, descriptor: Descriptor) -> Tuple[Step, ...]:
    """The descriptor and the empty file that lets people choose the bundle in a file dialog."""
    from ..._bundle.descriptor_edit import new_descriptor

    content = new_descriptor(descriptor)
    path = f"{directory}/DiskDescriptor.xml"
    return (CreateFile(path, 0), WriteBytes(path, 0, content), CreateFile(f"{directory}/{marker_name(base)}", 0))


def _sync_step(directory: str, steps: List[Step]) -> Sync:
    return Sync(files=tuple(step.path for step in steps if isinstance(step, CreateFile)), directories=(directory,))


def plan_remove(state: BundleState, *, token: str, force: bool = False) -> Plan[None]:
    """The disk and its own files are gone.

    Refuses a bundle that holds files which belong to no disk, and a dirty one.
    """
    check_guards(state, Touches(images=False), force=force)
    own = own_images(state)
    refuse_standing(state, own, force=force)
    location, freed = state.location, _allocated(state)
    if not state.is_bundle:
        step = Remove(own, location.directory)
        return Plan("remove", (step,), state.fingerprint, lock_files=own, bytes_freed=freed, commit=0)
    refuse_strangers(state, force=force)
    return Plan(
        "remove",
        tuple(_removal(location, token)),
        state.fingerprint,
        (location.directory,),
        own,
        bytes_freed=freed,
        commit=0,
    )


def _removal(location: Location, token: str) -> Iterator[Step]:
    directory, base = location.directory.rsplit("/", 1)
    hidden = f"{directory}/{temporary_name(base, token)}"
    yield Rename(location.directory, hidden)
    yield Remove((hidden,), directory or "/")


def _allocated(state: BundleState) -> int:
    return sum(image.stat.allocated for image in state.images.values() if not image.outside)
