# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give a partition what the disk has gained; small ones behind it that only have to be there move to the new end.

Commit point: one sector of the guest disk, which names the new places: the primary GPT header, the boot record, or the
record of a logical partition (or the table entry of the cluster that it lies in). Before it bytes are copied to places
that no partition has; the old places keep theirs. After it the entries of a GPT are written in front again, as they are
at the end of the disk. File systems are left to the guest.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.guards import EXACT, Touches, check_guards, refuse_encrypted
from ..._change.bundle_plan import ChangeFacts, bundle_plan, unchanged
from ..._core.errors import BadRequest, Damaged, DiskError, Unsupported
from ..._core.plan import Plan
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR
from ..._guest import contents
from ..._guest.arrangement import Part, choose
from ..._guest.boot_sectors import moved_boot_sectors
from ..._guest.gpt import is_in_place
from ..._guest.growth import Growth, Layout, candidates, grow_partition, read_layout
from ..._guest.view import ComposedView, open_view
from ..._io.port import Port
from .guest_commands import commands_to_grow
from .guest_write import GuestWriter
from .partition_table import OPERATION, change_of_guest, plan_partition_fix, write_table

END = "end of partition table"
"""The operation that ends what was cut off behind its commit."""

_ROOM_ONLY = frozenset((contents.BITLOCKER, contents.HFS))
"""What knows its own size so well that only its guest may give it more: it gets the room behind it."""

_RECOVERY = frozenset(("de94bba4-06d1-4d40-a16a-bfd50179d6ac", "0x27"))


@dataclass(frozen=True)
class PartitionFacts(ChangeFacts):
    """The disk after the change, and the partition that grows as results show it; None for a disk without any."""

    grown: Optional[Dict[str, Any]] = None


@dataclass(frozen=True)
class GrowthRequest:
    """``wanted`` names a partition by number, GUID or label; None takes the last that holds data."""

    wanted: Optional[str] = None
    force: bool = False


def plan_partition_growth(
    port: Port, state: BundleState, request: GrowthRequest, *, actual: BundleState
) -> Plan[PartitionFacts]:
    """Let a partition reach as far as the disk of ``state`` does; an empty plan where it does already.

    ``actual`` is the disk as its files are, from which ``state`` may be predicted. Raises BadRequest or Unsupported
    with the reason for a disk whose partitions cannot be changed, Damaged for a table that is not sound.
    """
    refuse_encrypted(state)
    view = open_view(port, actual, actual.tree.top)
    try:
        return _planned(port, state, request, actual, view)
    except DiskError as error:
        error.path = error.path or (state.location.directory if state.is_bundle else state.location.descriptor)
        raise
    finally:
        view.close()


def _planned(
    port: Port, state: BundleState, request: GrowthRequest, actual: BundleState, view: ComposedView
) -> Plan[PartitionFacts]:
    size = state.descriptor.size_bytes
    layout = read_layout(view, size, sector=state.descriptor.logical_sector or SECTOR)
    if layout is None:
        return unchanged(OPERATION, PartitionFacts(state, _without_table(view, request)))
    if layout.gpt is not None and layout.gpt.is_unfinished:
        # What was cut off behind its commit is ended first.
        plan = plan_partition_fix(port, state, size, actual=actual, force=request.force)
        return replace(plan, operation=END).with_facts(PartitionFacts(plan.facts.after))
    target = choose(candidates(layout), request.wanted)
    content = contents.content_of(view, target.start, target.end)
    _refuse_content(view, layout, target, content)
    growth = grow_partition(layout, target, size, extends=content not in _ROOM_ONLY)
    grown = _facts(layout, target, content, growth)
    if growth is None:
        plan = _table_alone(port, state, request, actual, layout)
        return plan.with_facts(PartitionFacts(plan.facts.after, grown))
    clearance = check_guards(state, Touches(data=True, lengths=EXACT), force=request.force)
    writer = GuestWriter(port, state, actual)
    _write(writer, view, layout, growth)
    return bundle_plan(clearance, change_of_guest(writer), PartitionFacts(writer.after(), grown))


def _table_alone(
    port: Port, state: BundleState, request: GrowthRequest, actual: BundleState, layout: Layout
) -> Plan[ChangeFacts]:
    """Where no partition changes, the backup of a GPT may still have to."""
    size = state.descriptor.size_bytes
    if layout.gpt is None or is_in_place(layout.gpt, size):
        return unchanged(OPERATION, ChangeFacts(state))
    return plan_partition_fix(port, state, size, actual=actual, force=request.force)


def _write(writer: GuestWriter, view: ComposedView, layout: Layout, growth: Growth) -> None:
    if growth.first is not None:
        _move(writer, view, layout, growth.first)
        writer.write(*growth.first.commit)
    _move(writer, view, layout, growth)
    write_table(writer, growth.before, growth.commit, growth.after)


def _move(writer: GuestWriter, view: ComposedView, layout: Layout, growth: Growth) -> None:
    for start, end, place in growth.copies:
        writer.copy(start, end, place)
    for part, place in growth.moved:
        for offset, content in moved_boot_sectors(view, part.start, part.end, place, layout.sector):
            writer.write(offset, content)


def _without_table(view: ComposedView, request: GrowthRequest) -> Optional[Dict[str, Any]]:
    """A file system on the whole disk needs no table; the guest can use the room at once."""
    content = contents.content_of(view, 0, view.size)
    if request.wanted is not None:
        raise BadRequest(
            "grow_partition: the disk has no partition table", found=content, hint="Leave grow_partition out."
        )
    if content == contents.UNKNOWN:
        _refuse_unsound(view)
        return None
    commands = commands_to_grow(content, device="/dev/sdX", number=0)
    return _result(None, content, (0, view.size, view.size), (), commands)


def _refuse_unsound(view: ComposedView) -> None:
    """A boot record with partitions that make no sense is not a disk without any."""
    record = bytearray(min(SECTOR, view.size))
    view.pread_into(0, record)
    if record[510:] == b"\x55\xaa" and any(record[at + 4] for at in range(446, 510, 16)):
        text = "partition_table: the boot record or its chain of logical partitions is not sound"
        raise Damaged(text, found="MBR", hint="Look at it in the guest, for example with sfdisk --verify, first.")


def _refuse_content(view: ComposedView, layout: Layout, target: Part, content: str) -> None:
    for part in layout.parts:
        if contents.content_of(view, part.start, part.end) == contents.HIBERNATED:
            text = f"partition_table: {part.label} has the memory of a sleeping guest, which knows the old partitions"
            raise Unsupported(text, hint="Start the guest, shut it down completely, then run again.")
    if content == contents.CORE_STORAGE:
        text, hint = f"partition_table: {target.label} holds Apple Core Storage", "Set partition_table: fix and grow it"
        raise Unsupported(text, found=content, hint=f"{hint} in the guest with diskutil cs resizeStack.")
    if contents.has_raid_at_end(view, target.start, min(target.end, view.size)):
        text = f"partition_table: {target.label} is a part of a Linux RAID that keeps its record at its end"
        raise Unsupported(text, found=contents.RAID, hint="Set partition_table: fix and grow it in the guest.")


def _facts(layout: Layout, target: Part, content: str, growth: Optional[Growth]) -> Dict[str, Any]:
    moved = growth.all_moved if growth is not None else ()
    end = target.end if growth is None else growth.end
    recovers = any(part.kind in _RECOVERY for part, _place in moved)
    commands = commands_to_grow(content, device=layout.device(target), number=target.number, moves_recovery=recovers)
    sizes = (target.start, target.end - target.start, end - target.start)
    return {**_result(target, content, sizes, moved, commands), "scheme": layout.scheme}


def _result(
    target: Optional[Part],
    content: str,
    sizes: Tuple[int, int, int],
    moved: Tuple[Tuple[Part, int], ...],
    commands: Tuple[str, ...],
) -> Dict[str, Any]:
    start, before, after = sizes
    return {
        "scheme": None,
        "number": None if target is None else target.number,
        "guid": None if target is None else target.guid,
        "type": None if target is None else target.kind,
        "name": None if target is None else target.name,
        "content": content,
        "start": start,
        "size_before": before,
        "size": after,
        "moved": [
            {
                "number": part.number,
                "type": part.kind,
                "start_before": part.start,
                "start": place,
                "size": part.end - part.start,
            }
            for part, place in moved
        ],
        "guest_commands": list(commands),
    }
