# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the virtual machine of a disk (findings ``vm_*``, ``layer_without_vm_snapshot``)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import FrozenSet, Iterator, NamedTuple, Optional

from ..._bundle.paths import Location
from ..._bundle.pvm import VmFacts, VmReport
from ..._bundle.tree import SnapshotTree
from ..._core.errors import DiskError
from ..._core.findings import NO, Finding, found
from ..._core.records import replace
from ..._core.units import MIB
from ..._io.port import Port
from .descriptor import listed


class DiskFacts(NamedTuple):
    """What must fit the machine of a disk; ``size_bytes`` and ``tree`` are None when they are not known.

    ``named`` are snapshots to which somebody gave a name here; ``kind`` is plain or expanding, None where it is both or
    there are snapshots.
    """

    directory: str
    size_bytes: Optional[int]
    suspended: bool
    tree: Optional[SnapshotTree]
    named: FrozenSet[str] = frozenset()
    kind: Optional[str] = None


def examine_vm(report: VmReport, disk: DiskFacts) -> Iterator[Finding]:
    """How the virtual machine and its disk fit."""
    vm = report.facts
    where = disk.directory if vm is None else vm.config
    for text in report.warnings:
        # A machine that is understood may not name the disk, or have an unclear list of snapshots.
        is_about_disk = vm is not None and (vm.snapshots_known or text is not report.warnings[-1])
        yield found("vm_disk_not_named" if is_about_disk else "vm_unclear", where, text)
    if disk.suspended or (vm is not None and vm.suspended):
        text = "The disk belongs to a suspended virtual machine; what changes the guest's data makes its memory wrong."
        yield found("vm_suspended", where, text)
    if vm is not None:
        for one in (vm, *report.others):
            yield from _size(one, disk.size_bytes)
            yield from _type(one, disk.kind)
        if disk.tree is not None and vm.snapshots_known:
            yield from _snapshots(vm, disk.tree, disk.named)


def with_repair(port: Port, location: Location, one: Finding, disk: DiskFacts) -> Finding:
    """What the machine says of its disk is not to be repaired while it sleeps, or in a file that is not safe."""
    if one.code not in ("vm_size", "vm_disk_type") or disk.size_bytes is None:
        return one
    from ..._bundle.machine.edit import DiskValues, machine_edit

    try:
        edit = machine_edit(port, location, DiskValues(disk.size_bytes, disk.kind), configs=(one.where,))
    except DiskError as error:
        return replace(one, repairable=NO, message=f"{one.message} {error}")
    return one if edit is not None and not disk.suspended else replace(one, repairable=NO)


def _size(vm: VmFacts, size_bytes: Optional[int]) -> Iterator[Finding]:
    if vm.config_size_mib is not None and size_bytes is not None and vm.config_size_mib != size_bytes // MIB:
        text = f"The virtual machine gives the disk {vm.config_size_mib} MiB; it has {size_bytes // MIB}."
        yield found("vm_size", vm.config, text)


def _type(vm: VmFacts, kind: Optional[str]) -> Iterator[Finding]:
    if kind is not None and vm.config_kind is not None and vm.config_kind != kind:
        text = f"The virtual machine takes the disk for {vm.config_kind}; it is {kind}."
        yield found("vm_disk_type", vm.config, text)


def _snapshots(vm: VmFacts, tree: SnapshotTree, named: FrozenSet[str]) -> Iterator[Finding]:
    absent = [f"{guid} ({snapshot.name})" for guid, snapshot in vm.snapshots.items() if guid not in tree.shots]
    if absent:
        text = f"The virtual machine cannot go back to these in this disk: {listed(absent)}."
        yield found("vm_snapshot_without_layer", vm.config, text)
    unknown = [guid for guid in tree.shots if guid != tree.top and guid not in vm.snapshots and guid not in named]
    if unknown:
        text = "No snapshot of the virtual machine needs these layers; hdd_merge can merge them"
        yield found("layer_without_vm_snapshot", vm.config, f"{text}: {listed(unknown)}.")
