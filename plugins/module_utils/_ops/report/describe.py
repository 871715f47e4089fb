# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk described: its facts, and what else is asked for."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

from ..._bundle.bundle import BundleState, observe
from ..._bundle.guards import refuse_encrypted
from ..._bundle.neighbours import Standing, with_surroundings
from ..._bundle.paths import locate
from ..._core.records import dataclass
from ..._guest.view import ComposedView, open_view
from ..._io.port import Port
from .facts import Facts, disk_facts

if TYPE_CHECKING:
    from ..._bundle.pvm import VmReport
    from ..._formats.hds.known import KnownTables
    from ..compact.freed import FreedLayers

METADATA = "metadata"
FILESYSTEM = "filesystem"


@dataclass(frozen=True)
class DescribeRequest:
    """``scan`` is how to look for reclaimable bytes, with ``swap`` in pages of swap, too; ``buckets`` the length of the
    map, 0 for none.
    """

    allow_outside: bool = False
    scan: str = METADATA
    swap: bool = False
    buckets: int = 0
    checksum: Optional[str] = None


def describe_disk(
    port: Port,
    path: str,
    request: DescribeRequest,
    standing: Optional[Standing] = None,
    known: Optional[KnownTables] = None,
) -> Facts:
    """The facts of the disk at ``path``.

    ``standing`` is what is known of the disks of other folders, ``known`` the tables that need not be read again.
    """
    location = locate(port, path)
    observed = observe(port, location, allow_outside=request.allow_outside, known=known)
    state, around = with_surroundings(port, observed, path, standing=standing)
    machine = around.machine._replace(warnings=around.machine.warnings + around.unknown)
    return describe_state(port, state, machine, request)


def describe_state(port: Port, state: BundleState, machine: VmReport, request: DescribeRequest) -> Facts:
    """The facts of a disk that was observed with what surrounds it. What is rarely asked for is imported only then."""
    facts = disk_facts(port, state, machine)
    if request.scan != METADATA:
        _scan(port, state, request, facts)
    facts["partitions"] = _partitions(port, state)
    if request.buckets:
        from .allocation import allocation_map

        facts["map"] = allocation_map(state, request.buckets)
    if request.checksum is not None:
        facts["checksum"] = _checksum(port, state, request.checksum)
    return facts


def _scan(port: Port, state: BundleState, request: DescribeRequest, facts: Facts) -> None:
    # Only a scan of the data needs what compaction needs.
    from ..compact.savings import estimate, reclaimable_by_reason

    refuse_encrypted(state)
    freed: Optional[FreedLayers] = None
    if request.scan == FILESYSTEM:
        from ..compact.freed import find_freed

        freed = find_freed(port, state, swap=request.swap)
        facts["filesystems"] = list(freed.filesystems)
    savings = estimate(port, state, scan=request.scan, freed=freed)
    facts["reclaimable"].update(reclaimable_by_reason(savings, scan=request.scan))


def _partitions(port: Port, state: BundleState) -> Any:
    return None if state.descriptor.encrypted else _of_guest(port, state, _partitions_of)


def _partitions_of(view: ComposedView) -> Any:
    from ..._guest.partitions import read_partitions
    from ..._guest.tables.boot import efi_loaders, has_boot_code

    table = read_partitions(view)
    if table is None:
        return None
    return {**table, "boot_code": has_boot_code(view), "efi_loaders": efi_loaders(view, table)}


def _checksum(port: Port, state: BundleState, algorithm: str) -> Any:
    from ..._guest.checksums import guest_checksum

    return _of_guest(port, state, lambda view: guest_checksum(view, algorithm))


def _of_guest(port: Port, state: BundleState, read: Callable[[ComposedView], Any]) -> Any:
    view = open_view(port, state, state.tree.top)
    try:
        return read(view)
    finally:
        view.close()
