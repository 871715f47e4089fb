# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Convert: the guest disk of a source, or each of its layers, into a new image of any kind that can be written.

The output is built under a temporary name beside its place, synced and read back. Commit point: the rename of the
bundle or of the image that names the other files. What lay there before is replaced in the same step, and removed after
it.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState, observe
from ..._bundle.guards import refuse_dirty, refuse_encrypted
from ..._bundle.naming import classify
from ..._bundle.paths import is_inside, locate
from ..._bundle.shape import DEFAULT_CLUSTER, EXPANDING, PLAIN, Shape, shape_of
from ..._core.errors import (
    AlreadyExists,
    BadRequest,
    DiskError,
    HasSnapshots,
    InUse,
    IoFailure,
    NoSpace,
    NotABundle,
    NotFound,
    Unsupported,
)
from ..._core.plan import Plan
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR, round_up
from ..._guest.source import HDD, RAW, Source, find_source, open_source
from ..._io.fingerprint import identity
from ..._io.port import DIRECTORY, FILE, SYMLINK, Port, Stat
from .options import NONE, AnyShape, ForeignShape, foreign_shape

if TYPE_CHECKING:
    from ..._guest.backing import ForeignChain

CONTENT = "content"
MISSING = "missing"
ALWAYS = "always"


@dataclass(frozen=True)
class ConvertRequest:
    """The output that is asked for. Sizes are bytes; None leaves the choice; ``align`` rounds the guest size up.

    ``kind``, ``split_size`` and ``name`` are for bundles, ``subformat``, the compression and ``adapter_type`` for
    images of other products. With ``keeps_layers`` each layer of the source becomes one of the output.
    """

    format: str
    path: str
    kind: str = EXPANDING
    cluster_bytes: Optional[int] = None
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
    subformat: Optional[str] = None
    compression: str = NONE
    level: Optional[int] = None
    adapter_type: Optional[str] = None
    timestamp: int = 0
    keeps_layers: bool = False


@dataclass(frozen=True)
class Destination:
    """What lies at the destination: its entry, and the disk when it is one of the wanted format.

    Behind a link lies somebody else's file.
    """

    stat: Optional[Stat]
    state: Optional[BundleState] = None
    chain: Optional[ForeignChain] = None
    is_link: bool = False


def plan_convert(port: Port, source: Source, wanted: ConvertRequest, *, token: str, predict: bool = False) -> Plan:
    """Make ``wanted`` from ``source``, or an empty plan whose ``reason`` says why it is good as it is.

    ``predict`` also reads the source to tell the exact size of the output, as check mode wants it.
    """
    from .steps import convert_steps, predicted

    _refuse_source(port, source, wanted)
    depths = layer_depths(source, wanted)
    shape = _shape(wanted, round_up(source.size, wanted.align), len(depths))
    existing = _existing(port, wanted)
    _refuse_needed(source, existing)
    reason = _reason(port, source, shape, wanted, existing, depths)
    facts = {"virtual_size": shape.size, "reason": reason, "shape": shape}
    if reason.startswith("kept"):
        return Plan("convert", facts=facts)
    _refuse_replacing(port, wanted, existing)
    plan = convert_steps(port, source, shape, wanted, existing, depths, token)
    plan = replace(plan, warnings=tuple(_warnings(port, source, shape, wanted))).with_facts(**facts)
    return predicted(port, plan) if predict else plan


def layer_depths(source: Source, wanted: ConvertRequest) -> Tuple[int, ...]:
    """Which layers of the source become layers of the output, counted from its top, the lowest first."""
    if not wanted.keeps_layers or wanted.format == RAW:
        return (0,)
    if source.state is not None and source.guid is not None:
        count = len(source.state.tree.chain(source.guid))
    else:
        count = len(source.chain.layers) if source.chain is not None else 1
    return tuple(reversed(range(count)))


def _shape(wanted: ConvertRequest, size: int, layers: int) -> AnyShape:
    if wanted.format == RAW:
        return Shape(size, PLAIN, preallocate=wanted.preallocate)
    if wanted.format == HDD:
        return shape_of(
            size=size,
            kind=wanted.kind,
            cluster_bytes=DEFAULT_CLUSTER if wanted.cluster_bytes is None else wanted.cluster_bytes,
            version=wanted.version,
            split_size=wanted.split_size,
            preallocate=wanted.preallocate,
        )
    shape = ForeignShape(
        wanted.format,
        size,
        wanted.subformat,
        wanted.cluster_bytes,
        wanted.version,
        wanted.compression,
        wanted.level,
        wanted.adapter_type,
        wanted.preallocate,
        wanted.timestamp,
    )
    return foreign_shape(shape, layers=layers)


def _warnings(port: Port, source: Source, shape: AnyShape, wanted: ConvertRequest) -> List[str]:
    found = list(source.chain.warnings) if source.chain is not None else []
    found += _odd_size(port, source)
    if shape.size != source.size:
        found.append(
            f"The guest disk grows from {source.size} to {shape.size} bytes because of align; {_stranded(port, source)}."
        )
    return found


def _odd_size(port: Port, source: Source) -> List[str]:
    stat = port.stat(source.path)
    exact = (
        source.chain.layers[0].size
        if source.chain is not None
        else stat.size
        if source.format == RAW and stat is not None
        else source.size
    )
    if exact == source.size:
        return []
    return [
        f"{source.path}: {exact} bytes are no whole number of sectors; the output ends with {source.size - exact} zero bytes more."
    ]


def _stranded(port: Port, source: Source) -> str:
    """What a larger disk means for the partition table."""
    from ..._guest.partitions import read_partitions

    view = open_source(port, source)
    try:
        table = read_partitions(view)
    finally:
        view.close()
    if table is None or table["scheme"] != "gpt":
        return "no GUID partition table is affected"
    return f"the backup GPT header stays at byte {source.size - SECTOR} instead of the end (mend it in the guest with sgdisk -e)"


def _refuse_source(port: Port, source: Source, wanted: ConvertRequest) -> None:
    if source.state is not None:
        refuse_encrypted(source.state)
    for path, _seen in source.fingerprint:
        writers = port.writers(path)
        if writers:
            found, hint = writers[0].owner, "Stop it, or convert a snapshot of another copy."
            raise InUse("The source is being written by another process", path=path, found=found, hint=hint)
    real = port.real_path(wanted.path)
    if any(real == path or is_inside(path, real) for path, _seen in source.fingerprint):
        raise BadRequest(
            "The destination is the source itself or a directory around it",
            path=wanted.path,
            hint="Choose another dest.",
        )
    if source.state is not None and source.state.is_bundle and is_inside(real, source.state.location.directory):
        raise BadRequest(
            "The destination lies inside the source bundle", path=wanted.path, hint="Choose a dest outside of it."
        )


def _refuse_needed(source: Source, existing: Destination) -> None:
    """The source must not be a part of what is replaced."""
    if existing.chain is None:
        return
    files = {path for path, _seen in existing.chain.fingerprint}
    for path, _seen in source.fingerprint:
        if path in files:
            raise BadRequest("The destination consists of files of the source", path=path, hint="Choose another dest.")


def _existing(port: Port, wanted: ConvertRequest) -> Destination:
    stat = port.stat(wanted.path)
    if stat is None and port.lstat(wanted.path) is not None:
        raise AlreadyExists(
            "The destination is a link that leads nowhere", path=wanted.path, hint="Remove it or choose another dest."
        )
    if stat is None or wanted.format == RAW:
        return Destination(stat)
    if wanted.format != HDD:
        return _existing_image(port, wanted, stat)
    if stat.kind != DIRECTORY:
        raise AlreadyExists(
            "A file lies where the bundle should go", path=wanted.path, hint="Remove it or choose another dest."
        )
    try:
        return Destination(stat, observe(port, locate(port, wanted.path)))
    except NotABundle as error:
        raise AlreadyExists(
            "A directory that is no bundle lies where the bundle should go",
            path=wanted.path,
            hint="Remove it or choose another dest.",
        ) from error
    except DiskError as error:
        return _unreadable(wanted, stat, error)


def _existing_image(port: Port, wanted: ConvertRequest, stat: Stat) -> Destination:
    if stat.kind != FILE:
        # What is no file is refused where replacing is judged.
        return Destination(stat)
    from ..._guest.backing import find_chain

    try:
        chain = find_chain(port, wanted.path, format=wanted.format, backing=True, with_properties=True)
        return Destination(stat, chain=chain, is_link=_is_link(port, wanted.path))
    except DiskError as error:
        return _unreadable(wanted, stat, error)


def _is_link(port: Port, path: str) -> bool:
    entry = port.lstat(path)
    return entry is not None and entry.kind == SYMLINK


def _unreadable(wanted: ConvertRequest, stat: Stat, error: DiskError) -> Destination:
    """What is damaged, or only not understood, may still be all that somebody has.

    A call that the operating system refused says nothing of the image; replaced unseen, it would leave its pieces
    behind.
    """
    is_refused = isinstance(error, (IoFailure, NoSpace))
    if wanted.update == MISSING or (wanted.force and not is_refused):
        return Destination(stat)
    if is_refused:
        raise error
    error.hint = f"{error.hint or ''} Set force: true to replace the destination all the same.".strip()
    raise error


def _reason(
    port: Port, source: Source, shape: AnyShape, wanted: ConvertRequest, existing: Destination, depths: Sequence[int]
) -> str:
    if existing.stat is None:
        return "written: there was no destination"
    if wanted.update == MISSING:
        return "kept: the destination exists"
    if wanted.update == ALWAYS:
        return "written: update is always"
    difference = _shape_difference(port, shape, wanted, existing, len(depths))
    if difference is not None:
        return f"written: {difference}"
    found = _content_difference(port, source, wanted, shape.size, depths)
    return "kept: shape and content are the same" if found is None else f"written: the content differs {found}"


def _shape_difference(
    port: Port, shape: AnyShape, wanted: ConvertRequest, existing: Destination, layers: int
) -> Optional[str]:
    if isinstance(shape, ForeignShape):
        from .properties import image_difference

        return image_difference(port, shape, wanted.path, existing.chain, layers)
    if wanted.format == RAW:
        size = existing.stat.size if existing.stat is not None and existing.stat.kind == FILE else -1
        return None if size == shape.size else f"the destination has {size} bytes instead of {shape.size}"
    state = existing.state
    if state is None:
        return "the destination is damaged"
    if len(state.tree.shots) != len(state.tree.current_chain) or len(state.tree.shots) != layers:
        return (
            "the destination has snapshots"
            if layers == 1
            else f"the destination has other snapshots than a chain of {layers} layers"
        )
    return shape_difference(state, shape)


def shape_difference(state: BundleState, shape: Shape) -> Optional[str]:
    """In words, the first way in which a disk without branches differs from ``shape``; None when it does not."""
    storages = state.descriptor.storages
    parts = tuple(
        (storage.start_sector * SECTOR, (storage.end_sector - storage.start_sector) * SECTOR) for storage in storages
    )
    if parts != shape.parts:
        return f"its parts end at {[start + length for start, length in parts]} instead of {[start + length for start, length in shape.parts]}"
    root = state.tree.current_chain[-1]
    for guid in state.tree.current_chain:
        for image in state.layer(guid):
            kind = shape.kind if guid == root else EXPANDING
            if image.kind != kind:
                return f"it is {image.kind} instead of {kind}"
            if image.header is not None and (image.header.cluster_bytes, image.header.version) != (
                shape.cluster_bytes,
                shape.version,
            ):
                return (
                    f"it has format version {image.header.version} with clusters of {image.header.cluster_bytes} bytes"
                )
    return None


def _content_difference(
    port: Port, source: Source, wanted: ConvertRequest, size: int, depths: Sequence[int]
) -> Optional[str]:
    """Where the first of the layers that differ does so."""
    from ..._guest.compare import chain_difference

    one = open_source(port, source, size)
    try:
        other = open_source(port, find_source(port, wanted.path, format=wanted.format, backing=True))
        try:
            found = chain_difference(one, other, list(reversed(depths)))
        finally:
            other.close()
    finally:
        one.close()
    if found is None:
        return None
    return f"at byte {found[1]}" + (f", {found[0]} layers below the top" if found[0] else "")


def _refuse_replacing(port: Port, wanted: ConvertRequest, existing: Destination) -> None:
    if existing.state is not None:
        if len(existing.state.tree.shots) > 1 and not wanted.force:
            raise HasSnapshots(
                "The destination has snapshots, which would be lost",
                path=wanted.path,
                hint="Set force: true to replace it with all of them.",
            )
        refuse_dirty(existing.state, force=wanted.force)
        _refuse_foreign(wanted, existing.state.others)
    elif existing.chain is not None and any(layer.snapshots for layer in existing.chain.layers) and not wanted.force:
        raise HasSnapshots(
            "The destination holds snapshots of its own, which would be lost",
            path=wanted.path,
            hint="Set force: true to replace it with them.",
        )
    elif existing.chain is not None and len(existing.chain.layers) > 1 and not wanted.force:
        raise HasSnapshots(
            "The destination lies on other images, which would be lost with it",
            path=wanted.path,
            hint="Set force: true to replace it and its own layers.",
        )
    elif existing.stat is not None and wanted.format == HDD:
        _refuse_foreign(wanted, port.list_directory(wanted.path))
    elif existing.stat is not None and existing.stat.kind not in (FILE, DIRECTORY):
        raise AlreadyExists(
            "The destination is neither a file nor a bundle",
            path=wanted.path,
            found=existing.stat.kind,
            hint="Choose another dest.",
        )
    elif existing.stat is not None and wanted.format != HDD and existing.stat.kind != FILE:
        raise AlreadyExists(
            "A directory lies where the file should go", path=wanted.path, hint="Remove it or choose another dest."
        )
    directory = wanted.path.rsplit("/", 1)[0] or "/"
    parent = port.stat(directory)
    if parent is None or parent.kind != DIRECTORY:
        raise NotFound(
            "The directory for the destination does not exist",
            path=directory,
            hint="Create it first, for example with ansible.builtin.file.",
        )


def _refuse_foreign(wanted: ConvertRequest, names: Sequence[str]) -> None:
    """A bundle is replaced as a whole, so it must not hold what belongs to no disk."""
    foreign = [name for name in names if classify(name) == "foreign"]
    if foreign:
        raise Unsupported(
            f"The destination holds files that are no part of a disk: {', '.join(foreign[:5])}",
            path=wanted.path,
            found=foreign[:20],
            hint="Move them away, then run again; nothing was replaced.",
        )


def destination_fingerprint(
    wanted: ConvertRequest, existing: Destination
) -> Tuple[Tuple[str, Optional[Tuple[int, ...]]], ...]:
    """The files that the output replaces, as they were looked at."""
    if existing.state is not None:
        return existing.state.fingerprint
    return ((wanted.path, identity(existing.stat)),) + (
        existing.chain.fingerprint if existing.chain is not None else ()
    )
