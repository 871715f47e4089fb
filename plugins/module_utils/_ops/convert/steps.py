# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a conversion, by what the output consists of: one file, several files, or a bundle."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import re
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..._bundle.descriptor import Descriptor, ImageEntry, Shot
from ..._bundle.naming import DESCRIPTOR, SUFFIX, image_name, marker_name, temporary_name, without_suffix, writable
from ..._bundle.notes import Notes
from ..._bundle.shape import Shape, descriptor_of
from ..._change.aside import displaced_name
from ..._core import guid as guids
from ..._core.errors import BadRequest
from ..._core.plan import Cleanup, CreateFile, Fingerprint, MakeDirectory, Plan, Remove, Rename, Step, Sync, Transfer
from ..._core.records import replace
from ..._formats.catalog import NONE, RAW, ForeignShape
from ..._guest.source import Source
from ..._io.port import Port
from .conversion import Conversion, ConvertFacts
from .destination import Destination
from .job import LayerJob, TransferJob, predict_transfer
from .replacing import bundle_locks, destination_fingerprint
from .request import ConvertRequest


class _Place(NamedTuple):
    """Where the output goes, in ``directory``, empty for the root; it is built at ``temporary``.

    ``displaced`` is what a replaced bundle is called until it is removed.
    """

    directory: str
    base: str
    temporary: str
    displaced: str


def convert_steps(port: Port, conversion: Conversion, token: str) -> Plan[ConvertFacts]:
    """The plan that writes the output; ``token`` goes into temporary names."""
    shape, request = conversion.shape, conversion.request
    directory, base = request.path.rsplit("/", 1)
    temporary = f"{directory}/{temporary_name(base, token)}"
    place = _Place(directory, base, temporary, displaced_name(request.path, token))
    if isinstance(shape, Shape):
        if request.format == RAW:
            return _file_plan(port, conversion, place)
        return _bundle_plan(port, conversion, shape, place)
    # Bundles and raw images need nothing of this.
    from ..._formats.codecs import file_names
    from .properties import wanted_properties

    # A disk that the format cannot hold is refused before anything is there.
    wanted_properties(shape, request.path, is_overlay=False)
    replaced = _own_pieces(request, conversion.destination)
    if len(conversion.depths) > 1 or len(file_names(shape, "x")) > 1 or replaced:
        files = _unused_files(port, conversion, shape, place)
        return _set_plan(conversion, place, files, replaced)
    return _file_plan(port, conversion, place)


def predicted(port: Port, plan: Plan[ConvertFacts]) -> Plan[ConvertFacts]:
    """``plan`` with the exact lengths of its files and the bytes that go through."""
    jobs = [step.job for step in plan.steps if isinstance(step, Transfer)]
    job = next(job for job in jobs if isinstance(job, TransferJob))
    prediction = predict_transfer(port, job)
    facts = plan.facts
    lengths = tuple(prediction.lengths[path] for path in facts.built)
    plan = replace(plan, bytes_read=prediction.bytes_read, bytes_written=prediction.bytes_written)
    return plan.with_facts(replace(facts, lengths=lengths))


def _job(conversion: Conversion, layers: Sequence[LayerJob]) -> TransferJob:
    request = conversion.request
    return TransferJob(
        conversion.source,
        conversion.shape,
        tuple(layers),
        request.sparse,
        request.verify,
        request.checksum,
        request.reproducible,
        dropped=conversion.dropped,
    )


def _space(conversion: Conversion, place: _Place) -> Tuple[Tuple[str, int], ...]:
    shape, request = conversion.shape, conversion.request
    is_packed = isinstance(shape, ForeignShape) and shape.compression != NONE
    needed = shape.size if request.preallocate or (not request.sparse and not is_packed) else 0
    return ((place.directory or "/", needed),)


def _fingerprint(conversion: Conversion) -> Fingerprint:
    return conversion.source.fingerprint + destination_fingerprint(conversion.request, conversion.destination)


def _facts(
    conversion: Conversion, files: Sequence[str], built: Sequence[str], descriptor: Optional[Descriptor] = None
) -> ConvertFacts:
    facts = ConvertFacts(conversion.reason, conversion.shape, tuple(files), tuple(built), (), descriptor)
    return facts if conversion.dropped is None else replace(facts, filesystems=conversion.dropped.filesystems)


def _file_plan(port: Port, conversion: Conversion, place: _Place) -> Plan[ConvertFacts]:
    path, is_new = conversion.request.path, conversion.destination.stat is None
    temporary = place.temporary
    job = _job(conversion, [LayerJob(conversion.depths[0], (temporary,), (place.base,))]).with_clones(port)
    model = job.clones[0] if job.clones else None
    return Plan(
        "convert",
        (
            CreateFile(temporary, 0, like=None if is_new else path, hold=True, clone_of=model),
            Transfer(job),
            Rename(temporary, path, is_new=is_new),
        ),
        _fingerprint(conversion),
        lock_files=() if is_new else (port.real_path(path),),
        space=_space(conversion, place),
        cleanup=Cleanup(remove=(temporary,)),
        commit=2,
        facts=_facts(conversion, (path,), (temporary,)),
    )


def _own_pieces(request: ConvertRequest, destination: Destination) -> Tuple[str, ...]:
    """The names of files beside the destination that belong to it alone: pieces, and layers that a conversion has made.

    Any other image below it may have been made by somebody else, and have other images on it.
    """
    if destination.chain is None or destination.is_link:
        return ()
    directory, base = request.path.rsplit("/", 1)
    stem, suffix = (re.escape(part) for part in posixpath.splitext(base))
    own = re.compile(rf"{stem}(?:\.\d+)?(?:\.layer\d+{suffix}|(?:{suffix})?-(?:flat|[sf]\d{{3,}})\.vmdk)|{stem}\.v\d\d")
    names = (posixpath.split(path) for path, _seen in destination.chain.fingerprint)
    return tuple(name for folder, name in names if folder == (directory or "/") and own.fullmatch(name))


def _set_plan(
    conversion: Conversion, place: _Place, files: Sequence[Tuple[str, ...]], replaced: Tuple[str, ...]
) -> Plan[ConvertFacts]:
    """Several files: ``files`` are the names for each layer, ``replaced`` those that go with the old image."""
    from ..._change.publish import publish_steps

    staging, directory = place.temporary, place.directory
    layers = [
        LayerJob(depth, tuple(f"{staging}/{name}" for name in names), names)
        for depth, names in zip(conversion.depths, files)
    ]
    # The image itself, then its pieces, then the layers below it.
    names = [name for layer in reversed(files) for name in layer]
    is_new = conversion.destination.stat is None
    # What a link leads to is not replaced.
    replaced_too = () if is_new or conversion.destination.is_link else (place.base,)
    like = None if is_new else conversion.request.path
    steps: List[Step] = [MakeDirectory(staging)]
    steps += [CreateFile(path, 0, like=like) for layer in layers for path in layer.paths]
    steps += [Transfer(_job(conversion, layers)), Sync(directories=(staging,))]
    steps += publish_steps(staging, names, replaced, is_new=is_new)
    final = [f"{directory}/{name}" for name in names]
    return Plan(
        "convert",
        tuple(steps),
        _fingerprint(conversion) + tuple((path, None) for path in final[1:]),
        lock_files=tuple(f"{directory}/{name}" for name in replaced_too + replaced),
        space=_space(conversion, place),
        cleanup=Cleanup(staging=staging),
        commit=_last_rename(steps),
        facts=_facts(conversion, final, [f"{staging}/{name}" for name in names]),
    )


def _last_rename(steps: Sequence[Step]) -> int:
    """The index of the step that gives the image itself its name, after its pieces."""
    return max(number for number, step in enumerate(steps) if isinstance(step, Rename))


def _unused_files(
    port: Port, conversion: Conversion, shape: ForeignShape, place: _Place
) -> Tuple[Tuple[str, ...], ...]:
    """Names that nobody uses, but for the image itself, whose name changes hands in the commit."""
    from .foreign_shape import layer_files

    generation = 1
    while True:
        files = layer_files(shape, place.base, layers=len(conversion.depths), generation=generation)
        others = [name for layer in files for name in layer if name != place.base]
        if all(port.lstat(f"{place.directory}/{name}") is None for name in others):
            return files
        generation += 1


def _bundle_plan(port: Port, conversion: Conversion, shape: Shape, place: _Place) -> Plan[ConvertFacts]:
    path, temporary = conversion.request.path, place.temporary
    _refuse_name(path, place.base)
    job = _bundle_job(conversion, shape, temporary).with_clones(port)
    displaced = None if conversion.destination.stat is None else place.displaced
    notes = _notes(conversion, job)
    steps = [*_bundle_files(job, temporary, place.base), *_notes_steps(temporary, notes)]
    steps += [Transfer(job), Sync(directories=(temporary,)), Rename(temporary, path, displaced=displaced)]
    if displaced is not None:
        steps.append(Remove((displaced,), place.directory or "/"))
    directories, images = _locks(port, path, conversion.destination)
    names = [name for layer in reversed(job.layers) for name in layer.names]
    files, staged = [f"{path}/{name}" for name in names], [f"{temporary}/{name}" for name in names]
    return Plan(
        "convert",
        tuple(steps),
        _fingerprint(conversion),
        lock_directories=directories,
        lock_files=images,
        space=_space(conversion, place),
        cleanup=Cleanup(remove=(temporary,)),
        commit=_last_rename(steps),
        facts=replace(_facts(conversion, files, staged, job.descriptor), notes=notes),
    )


def _notes(conversion: Conversion, job: TransferJob) -> Notes:
    if len(job.layers) < 2 or job.descriptor is None:
        return {}
    # Few outputs have snapshots.
    from ..copy.names import carried_notes

    return carried_notes(conversion, [shot.guid for shot in reversed(job.descriptor.shots)])


def _notes_steps(directory: str, notes: Notes) -> Iterator[Step]:
    if notes:
        from ..copy.names import notes_file_steps

        yield from notes_file_steps(directory, notes)


def _bundle_files(job: TransferJob, directory: str, base: str) -> Iterator[Step]:
    built = [file for layer in job.layers for file in layer.paths]
    yield MakeDirectory(directory)
    for file, model in zip(built, job.clones or [None] * len(built)):
        yield CreateFile(file, 0, clone_of=model)
    yield CreateFile(f"{directory}/{DESCRIPTOR}", 0)
    yield CreateFile(f"{directory}/{marker_name(base)}", 0)


def _refuse_name(path: str, base: str) -> None:
    if not base.endswith(SUFFIX):
        hint = "Add .hdd, in lower case, to the name."
        raise BadRequest("The name of a bundle ends in .hdd", path=path, found=base, hint=hint)


def _bundle_job(conversion: Conversion, shape: Shape, temporary: str) -> TransferJob:
    uid = None if conversion.request.reproducible else guids.draw()
    descriptor = bundle_descriptor(conversion, shape, uid=uid)
    count = len(conversion.depths)
    layers = []
    for number, depth in enumerate(conversion.depths):
        names = tuple(storage.images[count - 1 - number].file for storage in descriptor.storages)
        layers.append(LayerJob(depth, tuple(f"{temporary}/{name}" for name in names), names))
    return replace(_job(conversion, layers), directory=temporary, descriptor=descriptor)


def bundle_descriptor(conversion: Conversion, shape: Shape, *, uid: Optional[str]) -> Descriptor:
    """The descriptor of the output: one layer, or a chain whose snapshots keep the GUIDs of a Parallels disk."""
    request = conversion.request
    base = request.path.rsplit("/", 1)[-1]
    name = request.name or writable(without_suffix(base))
    descriptor = descriptor_of(shape, name=name, base=base, uid=uid)
    chain = _guids(conversion.source, name, conversion.depths)
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


def _locks(port: Port, path: str, destination: Destination) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    if destination.stat is None:
        return (), ()
    if destination.state is None:
        # Somebody may be at work with one that cannot be read, too.
        return bundle_locks(port, port.real_path(path))
    images = tuple(image.path for image in destination.state.images.values() if not image.outside)
    return (destination.state.location.directory,), images
