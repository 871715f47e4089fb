# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give a disk another shape: expanding or plain, other parts, another format version; at once another size and no
snapshots, when asked for.

New images are written beside the old ones under names that nobody uses, synced, and read back. Commit point: the rename
of the descriptor, which then names them. After it the old images are removed. A run that is cut off before the commit
leaves new files that the next run removes.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState, ImageState
from ..._bundle.descriptor import Descriptor, ImageEntry, Shot, StorageEntry
from ..._bundle.guards import SHORTER, Touches, check_guards, minds_holes
from ..._bundle.naming import image_name
from ..._bundle.predicted import unwritten
from ..._bundle.shape import PLAIN, Shape, header_of_part, resized
from ..._bundle.tree import build_tree
from ..._change.after import as_described, dropped_extensions, forgotten_paths, forgotten_steps
from ..._change.bundle_plan import SMALL_CHANGES, BundleChange, ChangeFacts, bundle_plan
from ..._change.executor import Progress, refuse_without_room
from ..._change.journal import descriptor_step
from ..._change.new_files import unused_names
from ..._core import guid as guids
from ..._core.errors import BadRequest, NoSpace, Unsupported, VerifyFailed
from ..._core.extents import DATA
from ..._core.plan import CreateFile, Plan, Step, Sync, Transfer
from ..._core.ranges import rounded
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR, round_up
from ..._formats.hds.bat import RunTable
from ..._formats.hds.reader import open_hds
from ..._formats.hds.writer import HdsWriter, ReservedHdsWriter
from ..._formats.raw.reader import open_raw
from ..._guest.compare import first_difference
from ..._guest.view import ComposedView, LayerStack, open_view
from ..._io.counting import CountingFile
from ..._io.fingerprint import refuse_changed
from ..._io.journal import PREPARE, Journal
from ..._io.port import File, Port
from ..copy.parts_writer import PartsWriter, parts_writer
from ..copy.stream import Flow, Sink, stream_disk

if TYPE_CHECKING:
    from ..._bundle.machine.edit import MachineEdit


@dataclass(frozen=True)
class RetypeJob:
    """The current state of a disk, written once more in another shape.

    ``paths`` are the files of the parts, created and empty.
    """

    state: BundleState
    shape: Shape
    paths: Tuple[str, ...]

    def run(self, port: Port, on_progress: Optional[Progress] = None) -> RetypeReport:
        """Fill the files, sync them, and read them back.

        Raises StalePlan when the disk changed meanwhile, VerifyFailed.
        """
        view = _whole_view(port, self.state, self.shape.size)
        files: List[File] = []
        try:
            for path in self.paths:
                files.append(port.open_write(path))
            flow = self._fill(files, view, _counts(on_progress, self.shape.size))
            refuse_changed(port, self.state.fingerprint)
            self._verify(port, view)
        finally:
            for file in files:
                file.close()
            view.close()
        return RetypeReport(flow.read, flow.written)

    def _fill(self, files: Sequence[File], view: ComposedView, report: Optional[Callable[[int], None]]) -> Flow:
        writer = parts_writer(self.shape, files)
        sparse = not minds_holes(self.state)
        # Blocks that are reserved are no blocks of others.
        shares = sparse and not self.shape.preallocate
        flow = stream_disk(view, Sink(writer, files, None, report), sparse=sparse, shares=shares)
        writer.finish("")
        for file in files:
            file.sync()
        return flow

    def _verify(self, port: Port, view: ComposedView) -> None:
        output = _output(port, self.shape, self.paths)
        try:
            offset = first_difference(view, output)
        finally:
            output.close()
        if offset is not None:
            raise VerifyFailed(
                "The new images do not read back as the old ones",
                path=self.state.location.directory,
                offset=offset,
                hint="Check the disks and the memory of this machine; the disk is as it was.",
            )


def _counts(on_progress: Optional[Progress], total: int) -> Optional[Callable[[int], None]]:
    if on_progress is None:
        return None
    report = on_progress
    return lambda done: report(done, total)


@dataclass(frozen=True)
class RetypeReport:
    """What went through: guest bytes read and written."""

    bytes_read: int
    bytes_written: int


@dataclass(frozen=True)
class Prediction:
    """What a retype would do: the flow, and for each file its length and table (None for a plain one)."""

    flow: Flow
    lengths: Tuple[int, ...]
    tables: Tuple[Optional[RunTable], ...]


def _whole_view(port: Port, state: BundleState, size: int) -> ComposedView:
    view = open_view(port, state, state.tree.top)
    return view if size == view.size else view.grown(size)


def _output(port: Port, shape: Shape, paths: Sequence[str]) -> ComposedView:
    parts: List[Tuple[int, LayerStack[Any]]] = []
    try:
        for (start, length), path in zip(shape.parts, paths):
            image = open_raw(port, path, size=length) if shape.kind == PLAIN else open_hds(port, path)
            parts.append((start, LayerStack([image], [image.size], length)))
    except BaseException:
        for _start, stack in parts:
            stack.close()
        raise
    return ComposedView(shape.size, parts)


def predict_retype(port: Port, state: BundleState, shape: Shape) -> Prediction:
    """Predict a retype exactly, by doing all of it but the writing."""
    view = _whole_view(port, state, shape.size)
    files = [CountingFile(f"part {number}") for number in range(len(shape.parts))]
    try:
        writer = parts_writer(shape, files)
        flow = stream_disk(view, Sink(writer, files), sparse=True)
        writer.finish("")
    finally:
        view.close()
    return Prediction(flow, tuple(file.size() for file in files), _tables(writer))


def _tables(writer: PartsWriter) -> Tuple[Optional[RunTable], ...]:
    return tuple(part.table() if isinstance(part, (HdsWriter, ReservedHdsWriter)) else None for part in writer.writers)


def plan_retype(
    port: Port,
    state: BundleState,
    shape: Shape,
    *,
    force: bool = False,
    predict: bool = False,
    machine: Optional[MachineEdit] = None,
) -> Plan[ChangeFacts]:
    """Write the current state of the disk anew in ``shape``, not smaller than the disk; snapshots are given up.

    With ``predict`` amounts and lengths are exact, which takes reading all data. Raises NoSpace, Dirty, Encrypted,
    Unsupported for a disk that is a single file, BadRequest for a smaller size.
    """
    clearance = check_guards(state, Touches(data=True, lengths=SHORTER), force=force)
    _refuse(state, shape)
    names = _names(state, shape)
    predicted = predict_retype(port, state, shape) if predict else None
    change = replace(_change(port, state, shape, names), machine=machine)
    if predicted is not None:
        change = replace(change, bytes_read=predicted.flow.read, bytes_written=predicted.flow.written)
    plan = _with_exact_need(port, bundle_plan(clearance, change, ChangeFacts(state)), state, shape)
    images = _images_after(state, shape, names, predicted)
    target = _target(state, shape, names)
    tree = build_tree(target.shots, declared_top=target.declared_top, path=state.location.descriptor)
    kept = tuple(name for name in state.others if name not in names)
    after = as_described(replace(state, tree=tree, others=kept), target, plan.steps, images)
    return plan.with_facts(ChangeFacts(after))


def _change(port: Port, state: BundleState, shape: Shape, names: Tuple[str, ...]) -> BundleChange:
    old = [image.path for image in state.images.values() if not image.outside]
    return BundleChange(
        "retype",
        Journal("retype", PREPARE, created=names, discarded=tuple(path.rsplit("/", 1)[-1] for path in old)),
        before=tuple(_new_files(state, shape, names)),
        commit=descriptor_step(state, _target(state, shape, names)),
        after=forgotten_steps(state, _target(state, shape, names)),
        settled=forgotten_paths(state),
        created=names,
        discarded=tuple(old),
        needed=SMALL_CHANGES + _most_needed(port, state, shape),
        warnings=tuple(dropped_extensions(list(state.images.values()))),
    )


def _new_files(state: BundleState, shape: Shape, names: Sequence[str]) -> Iterator[Step]:
    directory, last = state.location.directory, len(state.descriptor.storages) - 1
    paths = tuple(f"{directory}/{name}" for name in names)
    for number, path in enumerate(paths):
        yield CreateFile(path, 0, like=state.images[(min(number, last), state.tree.top)].path)
    yield Transfer(RetypeJob(state, shape, paths))
    yield Sync(directories=(directory,))


def _refuse(state: BundleState, shape: Shape) -> None:
    if not state.is_bundle:
        raise Unsupported(
            "A single-file image cannot get another shape where it lies",
            path=state.location.image,
            hint="Make a new disk with hdd_convert.",
        )
    if shape.size < state.descriptor.size_bytes:
        raise BadRequest(
            "A disk cannot get shorter and another shape in one step", path=state.location.directory, found=shape.size
        )


def _names(state: BundleState, shape: Shape) -> Tuple[str, ...]:
    """The usual names where they are all free, else names that are known before the run."""
    numbers = range(len(shape.parts))
    usual = tuple(image_name(state.location.base, number, state.tree.top) for number in numbers)
    files = {path.rsplit("/", 1)[-1] for image in state.images.values() for path in (image.file, image.path)}
    if files.isdisjoint(usual) and set(state.others).isdisjoint(usual):
        return usual
    return unused_names(state, numbers, "shape of", state.tree.top)


def _target(state: BundleState, shape: Shape, names: Sequence[str]) -> Descriptor:
    top = state.tree.top
    kind = "Plain" if shape.kind == PLAIN else "Compressed"
    is_reserved = shape.preallocate and shape.kind != PLAIN
    sectors = shape.cluster_bytes // SECTOR
    storages = [
        StorageEntry(start // SECTOR, (start + length) // SECTOR, sectors, is_reserved, (ImageEntry(top, kind, name),))
        for (start, length), name in zip(shape.parts, names)
    ]
    return replace(resized(state.descriptor, shape.size, storages), shots=(Shot(top, guids.NONE),))


def _most_needed(port: Port, state: BundleState, shape: Shape) -> int:
    """Room for the new images when nothing of what is stored is zero, as metadata and the holes of the files say."""
    headers = [header_of_part(shape, length) for _start, length in shape.parts if shape.kind != PLAIN]
    if shape.preallocate:
        return shape.size + sum(header.data_start for header in headers)
    view = open_view(port, state, state.tree.top)
    try:
        data = ((extent.start, extent.end) for extent in view.extents(0, view.size) if extent.kind == DATA)
        needed = sum(end - start for start, end in rounded(data, 1 if shape.kind == PLAIN else shape.cluster_bytes))
    finally:
        view.close()
    return needed + sum(header.table_end for header in headers)


def _with_exact_need(port: Port, plan: Plan[ChangeFacts], state: BundleState, shape: Shape) -> Plan[ChangeFacts]:
    """Where the upper bound does not fit, what is really needed decides; that takes reading everything once."""
    try:
        refuse_without_room(port, plan)
        return plan
    except NoSpace:
        predicted = predict_retype(port, state, shape)
    if shape.preallocate:
        return plan
    headers = [header_of_part(shape, length) for _start, length in shape.parts if shape.kind != PLAIN]
    tables = sum(header.table_end for header in headers)
    needed = round_up(predicted.flow.written, SECTOR) + tables + 2 * len(state.xml) + (1 << 16)
    return replace(plan, space=((state.location.directory, needed),))


def _images_after(
    state: BundleState, shape: Shape, names: Sequence[str], predicted: Optional[Prediction]
) -> Dict[Tuple[int, str], ImageState]:
    """The images as they will be; without a prediction their files have no length."""
    top = state.tree.top
    images: Dict[Tuple[int, str], ImageState] = {}
    for number, (name, (_start, length)) in enumerate(zip(names, shape.parts)):
        path = f"{state.location.directory}/{name}"
        stat = unwritten(predicted.lengths[number] if predicted is not None else 0)
        header = None if shape.kind == PLAIN else header_of_part(shape, length)
        table = predicted.tables[number] if predicted is not None else None
        used = table.clusters_used if table is not None else 0
        images[(number, top)] = ImageState(
            number, top, name, path, False, shape.kind, stat, length, header, table=table, used_clusters=used
        )
    return images
