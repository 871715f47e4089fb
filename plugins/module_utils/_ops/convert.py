# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Convert: the guest disk of one snapshot into a new image of any kind that can be written.

The output is built under a temporary name beside its place, synced and read back. Commit point: its rename. What lay there
before is replaced in the same step, and removed after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import List, Optional, Sequence, Tuple

from .._bundle.bundle import BundleState, identity, observe, refuse_dirty, refuse_encrypted
from .._bundle.naming import classify, marker_name, temporary_name
from .._bundle.paths import is_inside, locate
from .._core import guid as guids
from .._core.errors import AlreadyExists, BadRequest, DiskError, HasSnapshots, InUse, NotABundle, NotFound, Unsupported
from .._core.plan import Cleanup, CreateFile, MakeDirectory, Plan, Remove, Rename, Step, Sync, Transfer
from .._core.units import SECTOR, ceil_div, round_up
from .._formats.hds_writer import measure_hds
from .._io.port import DIRECTORY, FILE, Port, Stat
from .compare import first_difference
from .layout import EXPANDING, PLAIN, Shape, descriptor_of, shape_of
from .recover import displaced_name
from .views import HDD, RAW, PaddedView, Source, find_source, open_source

CONTENT = "content"
MISSING = "missing"
ALWAYS = "always"


@dataclass(frozen=True)
class Wanted:
    """The output that is asked for. Sizes are bytes; ``version`` None chooses; ``align`` rounds the guest size up."""

    format: str
    path: str
    kind: str = EXPANDING
    cluster_bytes: int = 1 << 20
    version: Optional[int] = None
    split_size: Optional[int] = None
    align: int = SECTOR
    sparse: bool = True
    preallocate: bool = False
    name: Optional[str] = None
    update: str = CONTENT
    verify: bool = True
    checksum: Optional[str] = None
    reproducible: bool = True
    force: bool = False


@dataclass(frozen=True)
class Existing:
    """What lies at the destination: its entry, and the disk when it is one of the wanted format."""

    stat: Optional[Stat]
    state: Optional[BundleState] = None


def plan_convert(port: Port, source: Source, wanted: Wanted, *, token: str, predict: bool = False) -> Plan:
    """Make ``wanted`` from ``source``, or an empty plan whose ``reason`` says why it is good as it is.

    ``predict`` also reads the source to tell the exact size of the output, as check mode wants it.
    """
    _refuse_source(port, source, wanted)
    size = round_up(source.size, wanted.align)
    shape = _shape(source, wanted, size)
    existing = _existing(port, wanted)
    reason = _reason(port, source, shape, wanted, existing)
    facts = {"virtual_size": size, "reason": reason, "shape": shape}
    if reason.startswith("kept"):
        return Plan("convert", facts=facts)
    _refuse_replacing(port, wanted, existing)
    warnings = (
        [f"The guest disk grows from {source.size} to {size} bytes because of align; a backup GPT header stays where it was."] if size != source.size else []
    )
    warnings += _odd_raw(port, source)
    plan = _bundle_plan(source, wanted, shape, existing, token) if wanted.format == HDD else _raw_plan(source, wanted, shape, existing, token)
    plan = _with_warnings(plan, warnings).with_facts(**facts)
    return _predicted(port, source, shape, wanted, plan) if predict else plan


def _with_warnings(plan: Plan, warnings: Sequence[str]) -> Plan:
    return replace(plan, warnings=tuple(warnings))


def _shape(source: Source, wanted: Wanted, size: int) -> Shape:
    if wanted.format == RAW:
        return Shape(size, PLAIN, preallocate=wanted.preallocate)
    return shape_of(
        size=size, kind=wanted.kind, cluster_bytes=wanted.cluster_bytes, version=wanted.version, split_size=wanted.split_size, preallocate=wanted.preallocate
    )


def _odd_raw(port: Port, source: Source) -> List[str]:
    stat = port.stat(source.path)
    if source.format != RAW or stat is None or stat.size == source.size:
        return []
    return [f"{source.path}: {stat.size} bytes are no whole number of sectors; the output ends with {source.size - stat.size} zero bytes more."]


def _refuse_source(port: Port, source: Source, wanted: Wanted) -> None:
    if source.state is not None:
        refuse_encrypted(source.state)
    for path, _seen in source.fingerprint:
        for holder in port.holders(path):
            if holder.kind == "write":
                raise InUse(
                    "The source is being written by another process", path=path, found=holder.owner, hint="Stop it, or convert a snapshot of another copy."
                )
    real = port.real_path(wanted.path)
    if any(real == path or is_inside(path, real) for path, _seen in source.fingerprint):
        raise BadRequest("The destination is the source itself or a directory around it", path=wanted.path, hint="Choose another dest.")
    if source.state is not None and source.state.is_bundle and is_inside(real, source.state.location.directory):
        raise BadRequest("The destination lies inside the source bundle", path=wanted.path, hint="Choose a dest outside of it.")


def _existing(port: Port, wanted: Wanted) -> Existing:
    stat = port.stat(wanted.path)
    if stat is None and port.lstat(wanted.path) is not None:
        raise AlreadyExists("The destination is a link that leads nowhere", path=wanted.path, hint="Remove it or choose another dest.")
    if stat is None or wanted.format == RAW:
        return Existing(stat)
    if stat.kind != DIRECTORY:
        raise AlreadyExists("A file lies where the bundle should go", path=wanted.path, hint="Remove it or choose another dest.")
    try:
        return Existing(stat, observe(port, locate(port, wanted.path)))
    except NotABundle as error:
        raise AlreadyExists(
            "A directory that is no bundle lies where the bundle should go", path=wanted.path, hint="Remove it or choose another dest."
        ) from error
    except DiskError as error:
        # What is damaged, or only not understood, may still be all that somebody has.
        if wanted.force or wanted.update == MISSING:
            return Existing(stat)
        error.hint = f"{error.hint or ''} Set force: true to replace the destination all the same.".strip()
        raise


def _reason(port: Port, source: Source, shape: Shape, wanted: Wanted, existing: Existing) -> str:
    if existing.stat is None:
        return "written: there was no destination"
    if wanted.update == MISSING:
        return "kept: the destination exists"
    if wanted.update == ALWAYS:
        return "written: update is always"
    difference = _shape_difference(shape, wanted, existing)
    if difference is not None:
        return f"written: {difference}"
    offset = _content_difference(port, source, wanted, shape.size)
    return "kept: shape and content are the same" if offset is None else f"written: the content differs at byte {offset}"


def _shape_difference(shape: Shape, wanted: Wanted, existing: Existing) -> Optional[str]:
    if wanted.format == RAW:
        size = existing.stat.size if existing.stat is not None and existing.stat.kind == FILE else -1
        return None if size == shape.size else f"the destination has {size} bytes instead of {shape.size}"
    state = existing.state
    if state is None:
        return "the destination is damaged"
    if len(state.tree.shots) != 1:
        return "the destination has snapshots"
    return shape_difference(state, shape)


def shape_difference(state: BundleState, shape: Shape) -> Optional[str]:
    """In words, the first way in which a disk of one layer differs from ``shape``; None when it does not."""
    storages = state.descriptor.storages
    parts = tuple((storage.start_sector * SECTOR, (storage.end_sector - storage.start_sector) * SECTOR) for storage in storages)
    if parts != shape.parts:
        return f"its parts end at {[start + length for start, length in parts]} instead of {[start + length for start, length in shape.parts]}"
    for image in state.layer(state.tree.top):
        if image.kind != shape.kind:
            return f"it is {image.kind} instead of {shape.kind}"
        if image.header is not None and (image.header.cluster_bytes, image.header.version) != (shape.cluster_bytes, shape.version):
            return f"it has format version {image.header.version} with clusters of {image.header.cluster_bytes} bytes"
    return None


def _content_difference(port: Port, source: Source, wanted: Wanted, size: int) -> Optional[int]:
    one = PaddedView(open_source(port, source), size)
    try:
        other = open_source(port, find_source(port, wanted.path, format=wanted.format))
        try:
            return first_difference(one, other)
        finally:
            other.close()
    finally:
        one.close()


def _refuse_replacing(port: Port, wanted: Wanted, existing: Existing) -> None:
    if existing.state is not None:
        if len(existing.state.tree.shots) > 1 and not wanted.force:
            raise HasSnapshots("The destination has snapshots, which would be lost", path=wanted.path, hint="Set force: true to replace it with all of them.")
        refuse_dirty(existing.state, force=wanted.force)
        _refuse_foreign(wanted, existing.state.others)
    elif existing.stat is not None and wanted.format == HDD:
        _refuse_foreign(wanted, port.list_directory(wanted.path))
    elif existing.stat is not None and existing.stat.kind not in (FILE, DIRECTORY):
        raise AlreadyExists("The destination is neither a file nor a bundle", path=wanted.path, found=existing.stat.kind, hint="Choose another dest.")
    elif existing.stat is not None and wanted.format == RAW and existing.stat.kind != FILE:
        raise AlreadyExists("A directory lies where the file should go", path=wanted.path, hint="Remove it or choose another dest.")
    directory = wanted.path.rsplit("/", 1)[0] or "/"
    parent = port.stat(directory)
    if parent is None or parent.kind != DIRECTORY:
        raise NotFound("The directory for the destination does not exist", path=directory, hint="Create it first, for example with ansible.builtin.file.")


def _refuse_foreign(wanted: Wanted, names: Sequence[str]) -> None:
    """A bundle is replaced as a whole, so it must not hold what belongs to no disk."""
    foreign = [name for name in names if classify(name) == "foreign"]
    if foreign:
        raise Unsupported(
            f"The destination holds files that are no part of a disk: {', '.join(foreign[:5])}",
            path=wanted.path,
            found=foreign[:20],
            hint="Move them away, then run again; nothing was replaced.",
        )


def _raw_plan(source: Source, wanted: Wanted, shape: Shape, existing: Existing, token: str) -> Plan:
    from .transfer import TransferJob

    directory, base = wanted.path.rsplit("/", 1)
    temporary = f"{directory}/{temporary_name(base, token)}"
    job = TransferJob(source, shape.size, (temporary,), shape, wanted.sparse, wanted.preallocate, wanted.verify, wanted.checksum)
    like = wanted.path if existing.stat is not None else None
    steps = (CreateFile(temporary, 0, like=like, hold=True), Transfer(job), Rename(temporary, wanted.path))
    return Plan(
        "convert",
        steps,
        source.fingerprint + ((wanted.path, identity(existing.stat)),),
        lock_files=(wanted.path,) if existing.stat is not None else (),
        space=((directory or "/", shape.size if wanted.preallocate or not wanted.sparse else 0),),
        cleanup=Cleanup(remove=(temporary,)),
        facts={"files": (wanted.path,)},
    )


def _bundle_plan(source: Source, wanted: Wanted, shape: Shape, existing: Existing, token: str) -> Plan:
    from .transfer import TransferJob

    directory, base = wanted.path.rsplit("/", 1)
    if not base.endswith(".hdd"):
        raise BadRequest("The name of a bundle ends in .hdd", path=wanted.path, found=base, hint="Add .hdd, in lower case, to the name.")
    temporary = f"{directory}/{temporary_name(base, token)}"
    displaced = displaced_name(wanted.path, token) if existing.stat is not None else None
    name = wanted.name or base[: -len(".hdd")]
    descriptor = descriptor_of(shape, name=name, base=base, uid=None if wanted.reproducible else guids.draw())
    files = tuple(storage.images[0].file for storage in descriptor.storages)
    paths = tuple(f"{temporary}/{file}" for file in files)
    job = TransferJob(source, shape.size, paths, shape, wanted.sparse, wanted.preallocate, wanted.verify, wanted.checksum, temporary, descriptor)
    steps: List[Step] = [MakeDirectory(temporary)]
    steps += [CreateFile(path, 0) for path in paths]
    steps += [CreateFile(f"{temporary}/DiskDescriptor.xml", 0), CreateFile(f"{temporary}/{marker_name(base)}", 0)]
    steps += [Transfer(job), Sync(directories=(temporary,)), Rename(temporary, wanted.path, displaced=displaced)]
    if displaced is not None:
        steps.append(Remove((displaced,), directory or "/"))
    locks = _locks(existing)
    return Plan(
        "convert",
        tuple(steps),
        source.fingerprint + _destination(wanted, existing),
        lock_directories=locks[0],
        lock_files=locks[1],
        space=((directory or "/", shape.size if wanted.preallocate else 0),),
        cleanup=Cleanup(remove=(temporary,)),
        facts={"files": tuple(f"{wanted.path}/{file}" for file in files)},
    )


def _locks(existing: Existing) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    if existing.state is None:
        return (), ()
    images = tuple(image.path for image in existing.state.images.values() if not image.outside)
    return (existing.state.location.directory,), images


def _destination(wanted: Wanted, existing: Existing) -> Tuple[Tuple[str, Optional[Tuple[int, ...]]], ...]:
    if existing.state is not None:
        return existing.state.fingerprint
    return ((wanted.path, identity(existing.stat)),)


def _predicted(port: Port, source: Source, shape: Shape, wanted: Wanted, plan: Plan) -> Plan:
    from .transfer import measure

    view = PaddedView(open_source(port, source), shape.size)
    try:
        foretold = measure(view, shape, sparse=wanted.sparse)
    finally:
        view.close()
    lengths = tuple(_image_length(shape, length, foretold.clusters.get(number, 0)) for number, (_start, length) in enumerate(shape.parts))
    return replace(plan, bytes_read=foretold.bytes_read, bytes_written=foretold.bytes_written).with_facts(lengths=lengths)


def _image_length(shape: Shape, length: int, clusters: int) -> int:
    """How long the image of a part of ``length`` guest bytes gets when data lie in so many clusters."""
    if shape.kind == PLAIN:
        return length
    allocated = ceil_div(length, shape.cluster_bytes) if shape.preallocate else clusters
    return measure_hds(size_bytes=length, cluster_bytes=shape.cluster_bytes, version=shape.version, allocated_clusters=allocated)
