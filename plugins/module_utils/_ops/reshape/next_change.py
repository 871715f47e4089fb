# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The changes that bring a disk to what a task asks for, each with its own commit, all planned before the first."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.pvm import VmReport
from ..._bundle.shape import EXPANDING, PLAIN, Shape, part_size_of, refuse_many_parts, refuse_odd_cluster, wanted_parts
from ..._change.bundle_plan import ChangeFacts, unchanged
from ..._core.errors import BadRequest, DiskError, HasSnapshots, Unsupported
from ..._core.plan import Plan
from ..._core.records import dataclass
from ..._core.units import MIB, SECTOR, format_size
from ..._formats.hds.header import max_size_bytes
from ..._io.port import Port
from .rename import plan_rename
from .request import FIX, GROW, KEEP, MERGE, REFUSE, TOP_ONLY, UPDATE, ReshapeRequest

if TYPE_CHECKING:
    from ..._bundle.machine.edit import MachineEdit
    from ..._guest.gpt import Gpt


@dataclass(frozen=True)
class Reshaping:
    """One task on one disk. With ``predict`` the plans are exact, which may take reading all data."""

    port: Port
    machine: VmReport
    request: ReshapeRequest
    predict: bool = False


@dataclass(frozen=True)
class Position:
    """How far a task has come: ``state`` is the disk after the changes so far, ``done`` their operations.

    ``actual`` is the disk as its files are now, the same unless changes are only planned. ``followed`` are the
    configurations of machines that say what the disk is.
    """

    state: BundleState
    actual: BundleState
    done: FrozenSet[str] = frozenset()
    followed: FrozenSet[str] = frozenset()

    def after(self, task: Reshaping, plan: Plan[ChangeFacts], state: BundleState, actual: BundleState) -> Position:
        """The position after one more change, which has made ``state`` of the disk."""
        followed = self.followed
        if task.machine.configs:
            from ..._change.machine import changes_machine

            followed |= {config for config in task.machine.configs if changes_machine(plan, config)}
        return Position(state, actual, self.done | {plan.operation}, followed)


class AllChanges(NamedTuple):
    """Every change of a task, as far as they can be planned before the first, and what to tell the user.

    ``grown`` is the partition that was to grow, as results show it.
    """

    plans: Tuple[Plan[ChangeFacts], ...]
    notes: Tuple[str, ...]
    grown: Optional[Dict[str, Any]] = None


def plan_all_changes(task: Reshaping, state: BundleState) -> AllChanges:
    """All plans, as far as they can be made now; whatever can be refused is refused here."""
    _refuse_cluster_size(state, task.request)
    gpt = _refuse_bad_sizes(task, state)
    position = Position(state, state)
    plans: List[Plan[ChangeFacts]] = []
    grown: Optional[Dict[str, Any]] = None
    while True:
        plan = plan_next_change(task, position)
        grown = getattr(plan.facts, "grown", None) or grown
        if plan.is_empty:
            break
        plans.append(plan)
        position = position.after(task, plan, plan.facts.after, state)
        if plan.operation == "retype" and not task.predict:
            # What the new images are like is known when they are there; what follows finds nothing more to refuse.
            break
    return AllChanges(tuple(plans), _stranded(task, gpt, state, position.state) if plans else (), grown)


def plan_next_change(task: Reshaping, position: Position) -> Plan[ChangeFacts]:
    """The next change that a disk in this ``position`` needs, an empty plan when it needs none."""
    state, request = position.state, task.request
    plan = plan_rename(state, request.name, force=request.force)
    if not plan.is_empty:
        return plan
    size = _other_size(state, request)
    shape = _other_shape(state, request, size)
    if shape is not None and "retype" not in position.done:
        return _retype(task, state, shape)
    if size is None:
        plan = _fix(task, position, state.descriptor.size_bytes)
        return plan if not plan.is_empty else _follow(task, position) or plan
    if len(state.tree.shots) > 1 and request.snapshots == MERGE:
        return _merge(task, state)
    return _resize(task, position, size)


def _resize(task: Reshaping, position: Position, size: int) -> Plan[ChangeFacts]:
    from .grow import Growth, plan_grow
    from .shrink import plan_shrink

    state, request = position.state, task.request
    if size > state.descriptor.size_bytes:
        growth = Growth(
            size,
            _parts(state, request, size),
            reserve=request.reserve,
            top_only=request.snapshots == TOP_ONLY,
            # Only what the merge of this very task has made may be longer than the disk.
            is_merged="merge" in position.done,
            machine=_machine_edit(task, state, size),
        )
        return plan_grow(state, growth, force=request.force)
    # While the disk still has its old end, its partition table learns of the new one.
    plan = _fix(task, position, size)
    if not plan.is_empty:
        return plan
    return plan_shrink(state, size, force=request.force, machine=_machine_edit(task, state, size))


def _follow(task: Reshaping, position: Position) -> Optional[Plan[ChangeFacts]]:
    """A machine says the size that the task asks for, when no change of the disk has told it; None when all do."""
    state, request = position.state, task.request
    if request.size is None:
        return None
    try:
        edit = _machine_edit(task, state, state.descriptor.size_bytes, but=position.followed)
    except DiskError:
        # A disk that is as the task wants it needs nothing of the machine.
        if request.machine == UPDATE:
            raise
        edit = None
    if edit is None:
        return None
    from .follow_machine import plan_machine

    return plan_machine(state, edit, force=request.force)


def _machine_edit(
    task: Reshaping,
    state: BundleState,
    size: int,
    shape: Optional[Shape] = None,
    *,
    but: FrozenSet[str] = frozenset(),
) -> Optional[MachineEdit]:
    """What becomes of the configuration of a machine, if there is one that is to follow, and not in ``but``."""
    request = task.request
    if request.machine == KEEP or (task.machine.facts is None and not task.machine.warnings):
        return None
    # Most disks are in no machine.
    from ..._bundle.machine.edit import DiskValues, machine_edit

    kind, is_split = (None, None) if shape is None else (shape.kind, len(shape.parts) > 1)
    values = DiskValues(size, kind, is_split)
    configs = tuple(config for config in task.machine.configs if config not in but)
    if but and not configs:
        return None
    is_asked_for = request.machine == UPDATE and not but
    return machine_edit(task.port, state.location, values, configs=configs, is_asked_for=is_asked_for)


def _fix(task: Reshaping, position: Position, size: int) -> Plan[ChangeFacts]:
    request, state = task.request, position.state
    if request.partition_table == KEEP or "partition table" in position.done:
        return unchanged("partition table", ChangeFacts(state))
    if request.partition_table == GROW:
        return _grow_partition(task, position)
    if state.descriptor.encrypted:
        return unchanged("partition table", ChangeFacts(state))
    from .partition_table import plan_partition_fix

    return plan_partition_fix(task.port, state, size, actual=position.actual, force=request.force)


def _grow_partition(task: Reshaping, position: Position) -> Plan[ChangeFacts]:
    from .grow_partition import END, GrowthRequest, plan_partition_growth

    if END in position.done and position.state is not position.actual:
        # What follows is known when the table is in order.
        return unchanged("partition table", ChangeFacts(position.state))
    request = GrowthRequest(task.request.grow_partition, task.request.force)
    return plan_partition_growth(task.port, position.state, request, actual=position.actual)  # type: ignore[return-value]


def _merge(task: Reshaping, state: BundleState) -> Plan[ChangeFacts]:
    from ..snapshots.merge import plan_merge

    plan = plan_merge(task.port, state, _all_snapshots(task, state), force=task.request.force)
    return plan.with_facts(ChangeFacts(plan.facts.after))


def _all_snapshots(task: Reshaping, state: BundleState) -> Tuple[str, ...]:
    """Every snapshot, when nothing is lost but the snapshots themselves; else HasSnapshots."""
    from ..snapshots.removals import choose_removals, refuse_doubtful

    chain = state.tree.current_chain
    aside = [guid for guid in state.tree.shots if guid not in chain]
    if aside:
        raise HasSnapshots(
            "Snapshots branch off from the current state, and merging would lose them",
            path=state.location.directory,
            found=aside[:20],
            hint="Delete them with hdd_snapshot first, or give them up with hdd_merge and branches: discard.",
        )
    force = task.request.force
    removals = choose_removals(state, max_layers=1, kept_by_vm=() if force else task.machine.needed)
    refuse_doubtful(state, task.machine, removals, force=force)
    return removals


def _retype(task: Reshaping, state: BundleState, shape: Shape) -> Plan[ChangeFacts]:
    from ..._bundle.guards import refuse_snapshots
    from .retype import plan_retype

    if len(state.tree.shots) > 1:
        if task.request.snapshots == TOP_ONLY:
            raise BadRequest(
                "snapshots: top_only is for a larger size only; all layers of a disk have one type and one version",
                path=state.location.directory,
                hint="Set snapshots: merge to give the snapshots up.",
            )
        if task.request.snapshots == REFUSE:
            refuse_snapshots(state, "retype")
        _all_snapshots(task, state)
    edit = _machine_edit(task, state, shape.size, shape)
    return plan_retype(task.port, state, shape, force=task.request.force, predict=task.predict, machine=edit)


# What differs.


def _other_size(state: BundleState, request: ReshapeRequest) -> Optional[int]:
    """The size that the disk must get, None when it is right."""
    is_right = state.descriptor.size_bytes in (request.size, request.exact)
    return None if is_right else request.size


def _parts(state: BundleState, request: ReshapeRequest, size: int) -> Tuple[Tuple[int, int], ...]:
    cluster = _cluster(state, request)
    part = None if request.split is None else part_size_of(request.split, cluster)
    parts = wanted_parts(state, size, part)
    refuse_many_parts(len(parts))
    return parts


def _root_kind(state: BundleState) -> str:
    return state.images[(0, state.tree.current_chain[-1])].kind


def _cluster(state: BundleState, request: ReshapeRequest) -> int:
    headers = [image.header for image in state.images.values() if image.header is not None]
    if headers:
        return headers[0].cluster_bytes
    if request.cluster is not None:
        refuse_odd_cluster(request.cluster)
    return request.cluster or state.descriptor.storages[0].cluster_sectors * SECTOR


def _other_shape(state: BundleState, request: ReshapeRequest, size: Optional[int]) -> Optional[Shape]:
    """The shape that the disk must be written anew in, None when what it has will do."""
    headers = [image.header for image in state.images.values() if image.header is not None]
    kind = request.kind or _root_kind(state)
    # A merge of layers above a plain root may leave an expanding disk, of another version.
    is_merged = size is not None and request.snapshots == MERGE and len(state.tree.shots) > 1
    becomes_other = is_merged and _root_kind(state) == PLAIN and (request.kind == PLAIN or request.version is not None)
    differs = kind != _root_kind(state) or becomes_other
    if kind == EXPANDING and request.version is not None:
        differs = differs or any(header.version != request.version for header in headers)
    new_size = max(state.descriptor.size_bytes, size or 0)
    parts = state.parts
    wanted = _parts(state, request, new_size)
    if request.split is not None:
        differs = differs or not _reaches(parts, wanted, grows=new_size > state.descriptor.size_bytes)
    if not differs:
        return None
    cluster = _cluster(state, request)
    part = wanted[0][1] if len(wanted) > 1 else None
    longest = max(length for _start, length in wanted)
    version = 1 if kind == PLAIN else _version(state, request, cluster, longest)
    return Shape(new_size, kind, cluster, version, part, request.reserve)


def _reaches(parts: Tuple[Tuple[int, int], ...], wanted: Tuple[Tuple[int, int], ...], *, grows: bool) -> bool:
    """Whether the disk gets these parts without being written anew."""
    if not grows:
        return parts == wanted
    number = len(parts) - 1
    return (
        len(wanted) > number
        and parts[:-1] == wanted[:number]
        and parts[-1][0] == wanted[number][0]
        and parts[-1][1] <= wanted[number][1]
    )


def _version(state: BundleState, request: ReshapeRequest, cluster: int, longest: int) -> int:
    """The version of the new images: what is asked for, else what the disk has, else the first one that fits."""
    versions = [image.header.version for image in state.images.values() if image.header is not None]
    version = request.version or max(versions, default=1 if longest <= max_size_bytes(1, cluster) else 2)
    if longest > max_size_bytes(version, cluster):
        raise BadRequest(
            f"size: {format_size(longest)} do not fit format version {version} with clusters of {format_size(cluster)}",
            path=state.location.directory,
            found=longest,
            expected=f"at most {max_size_bytes(version, cluster)} bytes",
            hint='Set format_version: "2".'
            if version == 1
            else "Make a new disk with larger clusters with hdd_convert.",
        )
    return version


# What is refused, and what is reported.


def _refuse_cluster_size(state: BundleState, request: ReshapeRequest) -> None:
    headers = [image.header for image in state.images.values() if image.header is not None]
    if request.cluster is not None and any(header.cluster_bytes != request.cluster for header in headers):
        raise Unsupported(
            "cluster_size: The cluster size of a disk is fixed when it is created;"
            f" the disk has {headers[0].cluster_bytes}, the task asks for {request.cluster}",
            path=state.location.directory,
            expected=request.cluster,
            found=headers[0].cluster_bytes,
            hint="Leave the option out, or make a new disk with hdd_convert.",
        )


def _refuse_bad_sizes(task: Reshaping, state: BundleState) -> Optional[Gpt]:
    """Refuse a smaller size that loses something; returns the partition table of a disk whose size is to change."""
    request = task.request
    size = _other_size(state, request)
    if size is None:
        return None
    if size <= 0:
        raise BadRequest(
            "size: a disk of 0 bytes is not possible",
            path=state.location.directory,
            found=size,
            hint="Write for example 64G.",
        )
    from .partition_table import find_gpt

    gpt = find_gpt(task.port, state)
    if size < state.descriptor.size_bytes:
        _refuse_shrink(task, state, size)
        if not request.force:
            _refuse_loss(task, state, size, has_gpt=gpt is not None)
    return gpt


def _refuse_shrink(task: Reshaping, state: BundleState, size: int) -> None:
    now = state.descriptor.size_bytes
    if task.request.partition_table == GROW:
        raise BadRequest(
            f"partition_table: grow is for a larger disk; this one has {format_size(now)} and is to have"
            f" {format_size(size)}",
            path=state.location.directory,
            expected=size,
            found=now,
            hint="Set partition_table: fix, which moves the backup of the table to the new end.",
        )
    if not task.request.shrink:
        raise BadRequest(
            f"size: the disk has {format_size(now)}, the task asks for {format_size(size)}, which is less",
            path=state.location.directory,
            expected=size,
            found=now,
            hint="Set shrink: true to make the disk smaller, or leave size out.",
        )
    if len(state.tree.shots) > 1 and task.request.snapshots != MERGE:
        from ..._bundle.guards import refuse_snapshots

        refuse_snapshots(state, "shrink")


def _refuse_loss(task: Reshaping, state: BundleState, size: int, *, has_gpt: bool) -> None:
    from ..._bundle.guards import refuse_encrypted
    from ..._guest.gpt import backup_ranges
    from ..._guest.view import open_view
    from .in_the_way import partitions_in_the_way
    from .shrink import refuse_loss

    refuse_encrypted(state)
    view = open_view(task.port, state, state.tree.top)
    try:
        found = partitions_in_the_way(view, size)
        # A backup that is put in its place again at the new end is no loss where the old one was.
        spared = backup_ranges(view) if has_gpt and task.request.partition_table == FIX else ()
    finally:
        view.close()
    refuse_loss(task.port, state, size, partitions=found.partitions, spared=spared, advice=found.advice)


def _stranded(task: Reshaping, gpt: Optional[Gpt], before: BundleState, after: BundleState) -> Tuple[str, ...]:
    """A warning when the end of the disk moves away from the backup of its partition table."""
    if gpt is None or task.request.partition_table != KEEP:
        return ()
    size = after.descriptor.size_bytes
    if gpt.backup == size // gpt.sector - 1 or size == before.descriptor.size_bytes:
        return ()
    where = "is not at the end of the disk; set partition_table: fix to put it there, or let the guest do it"
    return (f"{before.location.directory}: the backup of the GUID partition table {where}.",)


def machine_warnings(machine: VmReport, state: BundleState) -> Tuple[str, ...]:
    """A warning for each virtual machine that takes the disk for longer or shorter than it is."""
    found = state.descriptor.size_bytes // MIB
    known = [facts for facts in (machine.facts, *machine.others) if facts is not None]
    return tuple(
        f"{facts.config}: the virtual machine takes the disk for {facts.config_size_mib} MiB, it has {found} MiB;"
        " set machine: update to change that."
        for facts in known
        if facts.config_size_mib is not None and facts.config_size_mib != found
    )
