# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd does with a disk that exists: one change after the other, each with its own commit, all
foreseen before the first.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._bundle.bundle import BundleState, observe
from .._bundle.shape import EXPANDING, PLAIN, Shape, part_size_of, refuse_many_parts, refuse_odd_cluster
from .._core.errors import BadRequest, DiskError, HasSnapshots, Unsupported
from .._core.plan import Plan
from .._core.records import dataclass
from .._core.units import MIB, SECTOR, format_size
from .._formats.hds.header import max_size_bytes
from .._io.fingerprint import refuse_changed
from .._io.port import Port
from .._ops.recovery.recover import needs_recovery
from .._ops.reshape.rename import plan_rename
from .disk import Disk, diff_of, open_disk, refuse_doubtful, run_plan
from .run import Result
from .spec import disk_name, size_option

REFUSE, TOP_ONLY, MERGE = "refuse", "top_only", "merge"
KEEP, FIX = "keep", "fix"


@dataclass(frozen=True)
class ReshapeRequest:
    """What a task asks of a disk that exists; None is what it leaves alone.

    ``size`` is rounded up, ``exact`` is not.
    """

    size: Optional[int]
    exact: Optional[int]
    kind: Optional[str]
    cluster: Optional[int]
    version: Optional[int]
    split: Optional[int]
    name: Optional[str]
    reserve: bool
    shrink: bool
    snapshots: str
    partition_table: str
    force: bool


def reshape_request(params: Dict[str, Any], size: Optional[int]) -> ReshapeRequest:
    """The options of a task; ``size`` is the rounded one."""
    return ReshapeRequest(
        size=size,
        exact=size_option(params["size"], "size"),
        kind=params["type"],
        cluster=size_option(params["cluster_size"], "cluster_size"),
        version=None if params["format_version"] == "auto" else int(params["format_version"]),
        split=size_option(params["split_size"], "split_size"),
        name=disk_name(params["name"]),
        reserve=params["preallocate"],
        shrink=params["shrink"],
        snapshots=params["snapshots"],
        partition_table=params["partition_table"],
        force=params["force"],
    )


def change_existing(module: AnsibleModule, request: ReshapeRequest) -> Tuple[Result, Disk, BundleState]:
    """Make the disk what ``request`` says; the result, the disk as it was found and as it is now."""
    disk = open_disk(module)
    before = disk.facts()
    try:
        plans, notes = _foresee(disk, request, predict=module.check_mode)
    except DiskError:
        # A disk that somebody else changes while it is looked at may seem damaged.
        refuse_changed(disk.port, disk.state.fingerprint)
        raise
    if module.check_mode:
        results = [run_plan(module, disk.port, plan)[0] for plan in plans]
        state = plans[-1].facts["after"] if plans else disk.state
    else:
        results, state = _apply(module, disk, request, plans)
    result: Result = {
        "changed": bool(plans or disk.recovered) or needs_recovery(disk.state),
        "bytes_read": sum(one["bytes_read"] for one in results),
        "bytes_written": sum(one["bytes_written"] for one in results),
        "elapsed": round(sum(one["elapsed"] for one in results), 3),
        "disk": disk.facts(state),
        "warnings": [*disk.recovered, *(warning for one in results for warning in one["warnings"]), *notes],
    }
    result["diff"] = diff_of(before, result["disk"])
    result["warnings"] += [*result["disk"]["warnings"], *_config_warnings(disk, state)]
    return result, disk, state


def _foresee(disk: Disk, request: ReshapeRequest, *, predict: bool) -> Tuple[List[Plan], List[str]]:
    """All plans, as far as they can be made now; whatever can be refused is refused here.

    And what to tell of the partition table.
    """
    state = disk.state
    done: FrozenSet[str] = frozenset()
    _refuse_cluster_size(state, request)
    gpt = _refuse_bad_sizes(disk, request)
    plans: List[Plan] = []
    while True:
        plan = _next_plan(disk, request, state, actual=disk.state, done=done, predict=predict)
        if plan.is_empty:
            break
        plans.append(plan)
        done |= {plan.operation}
        state = plan.facts["after"]
        if plan.operation == "retype" and not predict:
            # What the new images are like is known when they are there; what follows finds nothing more to refuse.
            break
    return plans, _stranded(disk, gpt, plans, state, request)


def _apply(
    module: AnsibleModule, disk: Disk, request: ReshapeRequest, plans: List[Plan]
) -> Tuple[List[Result], BundleState]:
    """Carry out one plan after the other, each made for the disk as the one before has left it."""
    results: List[Result] = []
    state = disk.state
    done: FrozenSet[str] = frozenset()
    plan = plans[0] if plans else None
    while plan is not None:
        results.append(run_plan(module, disk.port, plan)[0])
        done |= {plan.operation}
        state = observe(disk.port, disk.state.location, allow_outside=module.params["allow_outside"])
        following = _next_plan(disk, request, state, actual=state, done=done, predict=False)
        plan = None if following.is_empty else following
    return results, state


def _next_plan(
    disk: Disk, request: ReshapeRequest, state: BundleState, *, actual: BundleState, done: FrozenSet[str], predict: bool
) -> Plan:
    """The next change that a disk in this ``state`` needs, an empty plan when it needs none.

    ``actual`` is what lies in its files now.
    """
    port = disk.port
    plan = plan_rename(state, request.name, force=request.force)
    if not plan.is_empty:
        return plan
    size = _other_size(state, request)
    shape = _other_shape(state, request, size)
    if shape is not None and "retype" not in done:
        return _retype(disk, request, state, shape, actual=actual, predict=predict)
    if size is not None:
        if len(state.tree.shots) > 1 and request.snapshots == MERGE:
            return _merge(disk, request, state)
        return _resize(port, request, state, size, actual=actual, done=done)
    return _fix(port, request, state, state.descriptor.size_bytes, actual=actual, done=done)


def _resize(
    port: Port, request: ReshapeRequest, state: BundleState, size: int, *, actual: BundleState, done: FrozenSet[str]
) -> Plan:
    from .._ops.reshape.grow import plan_grow
    from .._ops.reshape.shrink import plan_shrink

    if size > state.descriptor.size_bytes:
        top_only = request.snapshots == TOP_ONLY
        # Only what the merge of this very task has made may be longer than the disk.
        is_merged = "merge" in done
        return plan_grow(
            state,
            size,
            parts=_parts(state, request, size),
            reserve=request.reserve,
            top_only=top_only,
            is_merged=is_merged,
            force=request.force,
        )
    # While the disk still has its old end, its partition table learns of the new one.
    plan = _fix(port, request, state, size, actual=actual, done=done)
    return plan_shrink(state, size, force=request.force) if plan.is_empty else plan


def _fix(
    port: Port, request: ReshapeRequest, state: BundleState, size: int, *, actual: BundleState, done: FrozenSet[str]
) -> Plan:
    if request.partition_table != FIX or "partition table" in done or state.descriptor.encrypted:
        return Plan("partition table", facts={"after": state})
    from .._ops.reshape.partition_table import plan_partition_fix

    return plan_partition_fix(port, state, size, actual=actual, force=request.force)


def _merge(disk: Disk, request: ReshapeRequest, state: BundleState) -> Plan:
    from .._ops.snapshots.merge import plan_merge

    return plan_merge(disk.port, state, _all_snapshots(disk, request, state), force=request.force)


def _all_snapshots(disk: Disk, request: ReshapeRequest, state: BundleState) -> Tuple[str, ...]:
    """Every snapshot, when nothing is lost but the snapshots themselves; else HasSnapshots."""
    from .._ops.snapshots.removals import choose_removals

    chain = state.tree.current_chain
    aside = [guid for guid in state.tree.shots if guid not in chain]
    if aside:
        raise HasSnapshots(
            "Snapshots branch off from the current state, and merging would lose them",
            path=state.location.directory,
            found=aside[:20],
            hint="Delete them with hdd_snapshot first, or give them up with hdd_merge and branches: discard.",
        )
    kept = () if request.force or disk.vm is None else tuple(disk.vm.snapshots)
    removals = choose_removals(state, max_layers=1, kept_by_vm=kept)
    refuse_doubtful(disk, removals, force=request.force)
    return removals


def _retype(
    disk: Disk, request: ReshapeRequest, state: BundleState, shape: Shape, *, actual: BundleState, predict: bool
) -> Plan:
    from .._bundle.guards import refuse_snapshots
    from .._ops.reshape.retype import plan_retype

    if len(state.tree.shots) > 1:
        if request.snapshots == TOP_ONLY:
            raise BadRequest(
                "snapshots: top_only is for a larger size only; all layers of a disk have one type and one version",
                path=state.location.directory,
                hint="Set snapshots: merge to give the snapshots up.",
            )
        if request.snapshots == REFUSE:
            refuse_snapshots(state, "retype")
        _all_snapshots(disk, request, state)
    return plan_retype(disk.port, state, shape, force=request.force, predict=predict)


# What differs.


def _other_size(state: BundleState, request: ReshapeRequest) -> Optional[int]:
    """The size that the disk must get, None when it is right."""
    return (
        None if request.size is None or state.descriptor.size_bytes in (request.size, request.exact) else request.size
    )


def _parts(state: BundleState, request: ReshapeRequest, size: int) -> Tuple[Tuple[int, int], ...]:
    from .._bundle.shape import wanted_parts

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
    from .._bundle.shape import parts_of

    headers = [image.header for image in state.images.values() if image.header is not None]
    kind = request.kind or _root_kind(state)
    # A merge of layers above a plain root may leave an expanding disk, of another version.
    is_merged = size is not None and request.snapshots == MERGE and len(state.tree.shots) > 1
    becomes_other = is_merged and _root_kind(state) == PLAIN and (request.kind == PLAIN or request.version is not None)
    differs = kind != _root_kind(state) or becomes_other
    if kind == EXPANDING and request.version is not None:
        differs = differs or any(header.version != request.version for header in headers)
    new_size = max(state.descriptor.size_bytes, size or 0)
    parts = parts_of(state)
    wanted = _parts(state, request, new_size)
    if request.split is not None:
        differs = differs or not _reaches(parts, wanted, grows=new_size > state.descriptor.size_bytes)
    if not differs:
        return None
    cluster = _cluster(state, request)
    part = wanted[0][1] if len(wanted) > 1 else None
    version = _version(state, request, kind, cluster, max(length for _start, length in wanted))
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


def _version(state: BundleState, request: ReshapeRequest, kind: str, cluster: int, longest: int) -> int:
    """The version of the new images: what is asked for, else what the disk has, else the first one, where the disk
    fits it.
    """
    if kind == PLAIN:
        return 1
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


# What is refused, and what is told.


def _refuse_cluster_size(state: BundleState, request: ReshapeRequest) -> None:
    headers = [image.header for image in state.images.values() if image.header is not None]
    if request.cluster is not None and any(header.cluster_bytes != request.cluster for header in headers):
        raise Unsupported(
            f"cluster_size: The cluster size of a disk is fixed when it is created; the disk has {headers[0].cluster_bytes}, the task asks for {request.cluster}",
            path=state.location.directory,
            expected=request.cluster,
            found=headers[0].cluster_bytes,
            hint="Leave the option out, or make a new disk with hdd_convert.",
        )


def _refuse_bad_sizes(disk: Disk, request: ReshapeRequest) -> Any:
    """Refuse a smaller size that loses something; returns the partition table of a disk whose size is to change."""
    state = disk.state
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
    from .._ops.reshape.partition_table import find_gpt

    gpt = find_gpt(disk.port, state)
    if size > state.descriptor.size_bytes:
        return gpt
    if not request.shrink:
        raise BadRequest(
            f"size: the disk has {format_size(state.descriptor.size_bytes)}, the task asks for {format_size(size)}, which is less",
            path=state.location.directory,
            expected=size,
            found=state.descriptor.size_bytes,
            hint="Set shrink: true to make the disk smaller, or leave size out.",
        )
    if len(state.tree.shots) > 1 and request.snapshots != MERGE:
        from .._bundle.guards import refuse_snapshots

        refuse_snapshots(state, "shrink")
    if not request.force:
        _refuse_loss(disk, request, size, has_gpt=gpt is not None)
    return gpt


def _refuse_loss(disk: Disk, request: ReshapeRequest, size: int, *, has_gpt: bool) -> None:
    from .._bundle.guards import refuse_encrypted
    from .._guest.gpt import backup_ranges
    from .._guest.partitions import read_partitions
    from .._guest.view import open_view
    from .._ops.reshape.shrink import refuse_loss

    refuse_encrypted(disk.state)
    view = open_view(disk.port, disk.state, disk.state.tree.top)
    try:
        table = read_partitions(view)
        # A backup that is put in its place again at the new end is no loss where the old one was.
        spared = backup_ranges(view) if has_gpt and request.partition_table == FIX else ()
    finally:
        view.close()
    partitions = [
        (f"partition {one['number']}", one["start"], one["start"] + one["size"])
        for one in (table or {}).get("entries", [])
    ]
    refuse_loss(disk.port, disk.state, size, partitions=partitions, spared=spared)


def _stranded(disk: Disk, gpt: Any, plans: List[Plan], state: BundleState, request: ReshapeRequest) -> List[str]:
    """A warning when the end of the disk moves away from the backup of its partition table."""
    if gpt is None or request.partition_table == FIX or not plans:
        return []
    size = state.descriptor.size_bytes
    if gpt.backup == size // SECTOR - 1 or size == disk.state.descriptor.size_bytes:
        return []
    where = "is not at the end of the disk; set partition_table: fix to put it there, or let the guest do it"
    return [f"{disk.state.location.directory}: the backup of the GUID partition table {where}."]


def _config_warnings(disk: Disk, state: BundleState) -> List[str]:
    size = None if disk.vm is None else disk.vm.config_size_mib
    if disk.vm is None or size is None or size == state.descriptor.size_bytes // MIB:
        return []
    found = state.descriptor.size_bytes // MIB
    return [
        f"{disk.vm.config}: the virtual machine takes the disk for {size} MiB, it has {found} MiB; the file of the machine is not edited here."
    ]
