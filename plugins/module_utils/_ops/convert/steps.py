# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a conversion, by what the output consists of: one file, several files, or a bundle."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import posixpath
import re
from typing import Dict, List, Optional, Sequence, Tuple

from ..._bundle.descriptor import Descriptor, ImageEntry, Shot
from ..._bundle.naming import image_name, marker_name, temporary_name, without_suffix
from ..._bundle.shape import Shape, descriptor_of
from ..._change.aside import displaced_name
from ..._change.publish import publish_steps
from ..._core import guid as guids
from ..._core.errors import BadRequest
from ..._core.plan import Cleanup, CreateFile, MakeDirectory, Plan, Remove, Rename, Step, Sync, Transfer
from ..._core.records import replace
from ..._guest.source import RAW, Source
from ..._io.port import Port
from .job import LayerJob, TransferJob, predict_transfer
from .options import NONE, AnyShape, ForeignShape, file_names, layer_files
from .plan import ConvertRequest, Destination, destination_fingerprint
from .properties import wanted_properties


def convert_steps(
    port: Port,
    source: Source,
    shape: AnyShape,
    wanted: ConvertRequest,
    existing: Destination,
    depths: Sequence[int],
    token: str,
) -> Plan:
    """The plan that writes ``shape`` to the destination, one layer for each of ``depths``, lowest first."""
    if isinstance(shape, Shape) and wanted.format != RAW:
        return _bundle_plan(port, source, shape, wanted, existing, depths, token)
    if isinstance(shape, ForeignShape):
        # A disk that the format cannot hold is refused before anything is there.
        wanted_properties(shape, wanted.path, is_overlay=False)
        replaced = _own_pieces(wanted, existing)
        if len(depths) > 1 or len(file_names(shape, "x")) > 1 or replaced:
            return _set_plan(port, source, shape, wanted, existing, depths, token, replaced)
    return _file_plan(port, source, shape, wanted, existing, depths, token)


def predicted(port: Port, plan: Plan) -> Plan:
    """``plan`` with the exact lengths of its files and the bytes that go through."""
    job = next(step.job for step in plan.steps if isinstance(step, Transfer))
    predicted = predict_transfer(port, job)
    lengths = tuple(predicted.lengths[plan.facts["made"][path]] for path in plan.facts["files"])
    return replace(plan, bytes_read=predicted.bytes_read, bytes_written=predicted.bytes_written).with_facts(
        lengths=lengths
    )


def _job(source: Source, shape: AnyShape, wanted: ConvertRequest, layers: Sequence[LayerJob]) -> TransferJob:
    return TransferJob(source, shape, tuple(layers), wanted.sparse, wanted.verify, wanted.checksum, wanted.reproducible)


def _space(shape: AnyShape, wanted: ConvertRequest) -> int:
    is_packed = isinstance(shape, ForeignShape) and shape.compression != NONE
    return shape.size if wanted.preallocate or (not wanted.sparse and not is_packed) else 0


def _file_plan(
    port: Port,
    source: Source,
    shape: AnyShape,
    wanted: ConvertRequest,
    existing: Destination,
    depths: Sequence[int],
    token: str,
) -> Plan:
    directory, base = wanted.path.rsplit("/", 1)
    temporary = f"{directory}/{temporary_name(base, token)}"
    job = _job(source, shape, wanted, [LayerJob(depths[0], (temporary,), (base,))]).with_clones(port)
    model = job.clones[0] if job.clones else None
    like = wanted.path if existing.stat is not None else None
    return Plan(
        "convert",
        (
            CreateFile(temporary, 0, like=like, hold=True, clone_of=model),
            Transfer(job),
            Rename(temporary, wanted.path, is_new=existing.stat is None),
        ),
        source.fingerprint + destination_fingerprint(wanted, existing),
        lock_files=(wanted.path,) if existing.stat is not None else (),
        space=((directory or "/", _space(shape, wanted)),),
        cleanup=Cleanup(remove=(temporary,)),
        facts={"files": (wanted.path,), "made": {wanted.path: temporary}},
    )


def _own_pieces(wanted: ConvertRequest, existing: Destination) -> Tuple[str, ...]:
    """The names of files beside the destination that belong to it alone: pieces, and layers that a conversion has made.

    Whatever else it lies on may have been made by somebody else, and have other images on it.
    """
    if existing.chain is None or existing.is_link:
        return ()
    directory, base = wanted.path.rsplit("/", 1)
    stem, suffix = (re.escape(part) for part in posixpath.splitext(base))
    own = re.compile(rf"{stem}(?:\.\d+)?(?:\.layer\d+{suffix}|(?:{suffix})?-(?:flat|[sf]\d{{3,}})\.vmdk)|{stem}\.v\d\d")
    names = (posixpath.split(path) for path, _seen in existing.chain.fingerprint)
    return tuple(name for folder, name in names if folder == (directory or "/") and own.fullmatch(name))


def _set_plan(
    port: Port,
    source: Source,
    shape: ForeignShape,
    wanted: ConvertRequest,
    existing: Destination,
    depths: Sequence[int],
    token: str,
    replaced: Tuple[str, ...],
) -> Plan:
    directory, base = wanted.path.rsplit("/", 1)
    staging = f"{directory}/{temporary_name(base, token)}"
    files = _unused_files(port, directory, shape, base, len(depths))
    layers = [
        LayerJob(depth, tuple(f"{staging}/{name}" for name in names), names) for depth, names in zip(depths, files)
    ]
    # The image itself comes first, then its pieces, then what it lies on.
    names = [name for layer in reversed(files) for name in layer]
    steps: List[Step] = [MakeDirectory(staging)]
    like = wanted.path if existing.stat is not None else None
    steps += [CreateFile(path, 0, like=like) for layer in layers for path in layer.paths]
    steps += [Transfer(_job(source, shape, wanted, layers)), Sync(directories=(staging,))]
    steps += publish_steps(directory, staging, names, replaced, is_new=existing.stat is None)
    final = tuple(f"{directory}/{name}" for name in names)
    return Plan(
        "convert",
        tuple(steps),
        source.fingerprint + destination_fingerprint(wanted, existing) + tuple((path, None) for path in final[1:]),
        lock_files=tuple(f"{directory}/{name}" for name in (base,) + replaced) if existing.stat is not None else (),
        space=((directory or "/", _space(shape, wanted)),),
        cleanup=Cleanup(staging=staging),
        facts={"files": final, "made": {path: f"{staging}/{name}" for path, name in zip(final, names)}},
    )


def _unused_files(
    port: Port, directory: str, shape: ForeignShape, base: str, layers: int
) -> Tuple[Tuple[str, ...], ...]:
    """Names that nobody uses, but for the image itself, whose name changes hands in the commit."""
    generation = 1
    while True:
        files = layer_files(shape, base, layers=layers, generation=generation)
        others = [name for layer in files for name in layer if name != base]
        if all(port.lstat(f"{directory}/{name}") is None for name in others):
            return files
        generation += 1


def _bundle_plan(
    port: Port,
    source: Source,
    shape: Shape,
    wanted: ConvertRequest,
    existing: Destination,
    depths: Sequence[int],
    token: str,
) -> Plan:
    directory, base = wanted.path.rsplit("/", 1)
    if not base.endswith(".hdd"):
        raise BadRequest(
            "The name of a bundle ends in .hdd",
            path=wanted.path,
            found=base,
            hint="Add .hdd, in lower case, to the name.",
        )
    temporary = f"{directory}/{temporary_name(base, token)}"
    displaced = displaced_name(wanted.path, token) if existing.stat is not None else None
    descriptor = bundle_descriptor(source, shape, wanted, depths, uid=None if wanted.reproducible else guids.draw())
    layers = []
    for number, depth in enumerate(depths):
        names = tuple(storage.images[len(depths) - 1 - number].file for storage in descriptor.storages)
        layers.append(LayerJob(depth, tuple(f"{temporary}/{name}" for name in names), names))
    job = replace(_job(source, shape, wanted, layers), directory=temporary, descriptor=descriptor).with_clones(port)
    paths = [path for layer in layers for path in layer.paths]
    steps: List[Step] = [MakeDirectory(temporary)]
    steps += [CreateFile(path, 0, clone_of=model) for path, model in zip(paths, job.clones or [None] * len(paths))]
    steps += [CreateFile(f"{temporary}/DiskDescriptor.xml", 0), CreateFile(f"{temporary}/{marker_name(base)}", 0)]
    steps += [Transfer(job), Sync(directories=(temporary,)), Rename(temporary, wanted.path, displaced=displaced)]
    if displaced is not None:
        steps.append(Remove((displaced,), directory or "/"))
    locks = _locks(existing)
    names = tuple(name for layer in reversed(layers) for name in layer.names)
    return Plan(
        "convert",
        tuple(steps),
        source.fingerprint + destination_fingerprint(wanted, existing),
        lock_directories=locks[0],
        lock_files=locks[1],
        space=((directory or "/", _space(shape, wanted)),),
        cleanup=Cleanup(remove=(temporary,)),
        facts={
            "files": tuple(f"{wanted.path}/{name}" for name in names),
            "made": {f"{wanted.path}/{name}": f"{temporary}/{name}" for name in names},
            "descriptor": descriptor,
        },
    )


def bundle_descriptor(
    source: Source, shape: Shape, wanted: ConvertRequest, depths: Sequence[int], *, uid: Optional[str]
) -> Descriptor:
    """The descriptor of the output: one layer, or a chain of snapshots that keep the GUIDs they have in a Parallels
    disk.
    """
    base = wanted.path.rsplit("/", 1)[-1]
    name = wanted.name or without_suffix(base)
    descriptor = descriptor_of(shape, name=name, base=base, uid=uid)
    chain = _guids(source, name, depths)
    storages = []
    for number, storage in enumerate(descriptor.storages):
        lowest = storage.images[0].type
        images = [
            ImageEntry(guid, lowest if guid == chain[-1] else "Compressed", image_name(base, number, guid))
            for guid in chain
        ]
        storages.append(replace(storage, images=tuple(images)))
    shots = tuple(Shot(guid, parent) for guid, parent in zip(chain, chain[1:] + (guids.NONE,)))
    return replace(descriptor, storages=tuple(storages), shots=tuple(reversed(shots)))


def _guids(source: Source, name: str, depths: Sequence[int]) -> Tuple[str, ...]:
    """The layers of the output, topmost first."""
    known: Dict[int, str] = {}
    if source.state is not None and source.guid is not None:
        known = dict(enumerate(source.state.tree.chain(source.guid)))
    below = [known.get(depth) or guids.derive("layer", name, str(depth)) for depth in reversed(depths) if depth]
    return (guids.TOP,) + tuple(guid if guid != guids.TOP else guids.derive("layer", name, "root") for guid in below)


def _locks(existing: Destination) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    if existing.state is None:
        return (), ()
    images = tuple(image.path for image in existing.state.images.values() if not image.outside)
    return (existing.state.location.directory,), images
