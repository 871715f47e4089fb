# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put the backup of a GUID partition table back to the end of a disk whose end has moved.

Commit point: the sector of the primary header, or the table entry of the cluster that it lies in. Before it the new
backup is written where the guest has nothing, and the protective boot record; after it nothing. The old backup stays
where it is; nobody looks for it there. A change of partitions that was cut off behind its commit is ended the same way.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterable, Optional

from ..._bundle.bundle import BundleState
from ..._bundle.guards import EXACT, Touches, check_guards, refuse_encrypted
from ..._change.after import dropped_extensions
from ..._change.bundle_plan import SMALL_CHANGES, BundleChange, ChangeFacts, bundle_plan, unchanged
from ..._core.errors import BadRequest
from ..._core.plan import Plan
from ..._guest.gpt import Gpt, GptMove, Write, is_in_place, move_backup, read_gpt
from ..._guest.view import open_view
from ..._io.journal import APPLY, ImageBefore, Journal
from ..._io.port import Port
from .guest_write import GuestWriter

OPERATION = "partition table"


def find_gpt(port: Port, state: BundleState) -> Optional[Gpt]:
    """The GUID partition table of the current state; None for none, a damaged one, and a disk that cannot be read."""
    if state.descriptor.encrypted:
        return None
    view = open_view(port, state, state.tree.top)
    try:
        return read_gpt(view)
    finally:
        view.close()


def plan_partition_fix(
    port: Port, state: BundleState, size: int, *, actual: BundleState, force: bool = False
) -> Plan[ChangeFacts]:
    """Let the table fit a disk of ``size`` bytes; an empty plan where it does, or where there is none.

    ``actual`` is the disk as its files are, from which ``state`` may be predicted. Raises BadRequest when partitions
    leave no room for the backup.
    """
    refuse_encrypted(state)
    gpt = find_gpt(port, actual)
    if gpt is None or is_in_place(gpt, size):
        return unchanged(OPERATION, ChangeFacts(state))
    move = _move(state, gpt, size)
    clearance = check_guards(state, Touches(data=True, lengths=EXACT), force=force)
    writer = GuestWriter(port, state, actual)
    write_table(writer, move.before, move.commit, move.after)
    return bundle_plan(clearance, change_of_guest(writer), ChangeFacts(writer.after()))


def write_table(writer: GuestWriter, before: Iterable[Write], commit: Write, after: Iterable[Write]) -> None:
    """Write a table in its order, each piece durably before the next."""
    for offset, content in before:
        writer.write(offset, content)
    writer.commit(*commit)
    for offset, content in after:
        writer.write(offset, content)


def change_of_guest(writer: GuestWriter) -> BundleChange:
    """What the writes of ``writer`` do to the disk. Cut off, it leaves images that need no more than to be closed."""
    touched = list(writer.touched.values())
    paths = tuple(image.path for image in touched)
    structured = [image for image in touched if image.header is not None]
    images = tuple(ImageBefore(image.path.rsplit("/", 1)[-1], image.stat.size, 0) for image in structured)
    before, commit, after = writer.steps_around_commit()
    return BundleChange(
        OPERATION,
        Journal(OPERATION, APPLY, images=images),
        before=before,
        commit=commit,
        after=after,
        hidden=paths,
        settled=paths,
        needed=SMALL_CHANGES + writer.growth,
        bytes_read=writer.bytes_read,
        bytes_written=writer.bytes_written,
        warnings=tuple(dropped_extensions(touched)),
    )


def _move(state: BundleState, gpt: Gpt, size: int) -> GptMove:
    move = move_backup(gpt, size)
    if move is None:
        raise BadRequest(
            "partition_table: a partition reaches into the end of the disk, where the backup of the partition table"
            " belongs",
            path=state.location.directory,
            expected=f"no partition past byte {gpt.end_of_partitions(size)}",
            found=(gpt.last_used + 1) * gpt.sector,
            hint="Make the last partition smaller in the guest first.",
        )
    return move
