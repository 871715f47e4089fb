# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One disk in a run of maintenance: check it, merge its layers, give its space back. Whatever happens is an outcome."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, Callable, Iterable, List, Optional

from ansible.module_utils.basic import AnsibleModule

from ..._bundle.leftovers import holders
from ..._bundle.neighbours import Vicinity
from ..._core.errors import Dirty, DiskError, HasSnapshots, InUse
from ..._core.plan import Plan
from ..._core.records import replace
from ..._io.port import Port
from ..._ops.maintain.budget import Budget
from ..._ops.maintain.outcome import Outcome, figures
from ..._ops.maintain.policy import Policy, plan_compaction_by, plan_merge_by
from ..._ops.report.facts import snapshot_facts
from ..disk import Disk, advise, open_disk, planned_among, run_plan
from ..run import Result
from .facts import DiskFacts
from .others import Others

if TYPE_CHECKING:
    from ..._formats.hds.known import KnownTables

Planner = Callable[[Disk, Policy], Plan[Any]]


class Run:
    """What all visits have in common, and what they leave: disks that are ``unfinished``, warnings, changes."""

    def __init__(
        self, module: AnsibleModule, port: Port, policy: Policy, budget: Budget, others: Iterable[str] = ()
    ) -> None:
        self.module = module
        self.port = port
        self.policy = policy
        self.budget = budget
        self.unfinished: List[str] = []
        self.warnings: List[str] = []
        self.others = Others(others)
        self.warnings += self.others.unsearched
        self.facts = DiskFacts(module.params)
        self.has_changed = False

    def open(self, path: str, known: Optional[KnownTables] = None) -> Disk:
        """The disk as it is now, of which some tables may be ``known``; outside check mode, an interrupted run is ended
        first.
        """
        disk = open_disk(self.module, path=path, standing=self.others.standing, known=known)
        self.has_changed = self.has_changed or bool(disk.recovered)
        self.warnings += [*disk.recovered, *disk.warnings]
        return disk


def visit(run: Run, path: str) -> Result:
    """Do for a disk what the policy says, as far as the budget goes: its entry in ``disks``."""
    one = _Visit(run, path)
    try:
        one.work()
    except DiskError as error:
        one.outcome.complain(error)
    one.describe()
    run.has_changed = run.has_changed or one.outcome.is_changed
    return one.outcome.as_result(is_left_out=one.is_left_out)


class _Visit:
    """A disk while it has its turn."""

    def __init__(self, run: Run, path: str) -> None:
        self._run = run
        self._policy = run.policy
        self.outcome = Outcome(path)
        self.is_left_out = False
        self._known: Optional[KnownTables] = None

    def work(self) -> None:
        """Check, merge, compact. Raises what stops the work."""
        if self._is_over() or (self._policy.checks and not self._is_sound()):
            return
        disk = self._open()
        try:
            for place, holder in () if self._policy.checks else holders(self._run.port, disk.state):
                raise _held(place, f"{holder.owner} holds it ({holder.kind}).")
            self._change(disk)
        except (Dirty, InUse) as error:
            advise(self._run.module, disk, error)
            self.outcome.complain(error)
            self._predict(disk)

    def describe(self) -> None:
        """Tell its facts although it was not opened, unless it is for another run."""
        if not self.is_left_out:
            run = self._run
            run.facts.note_closed(self.outcome.path, run.port, run.others.standing, self._known)

    def _open(self) -> Disk:
        # What was read serves once: a merge may come next.
        known, self._known = self._known, None
        disk = self._run.open(self.outcome.path, known)
        self._run.facts.note_open(self.outcome.path, disk)
        for sentence in disk.recovered:
            self.outcome.is_changed = True
            self.outcome.note(sentence)
        facts = disk.machine.facts
        if facts is not None:
            folder = posixpath.dirname(facts.config)
            self.outcome.machine = {"name": facts.name, "uuid": facts.uuid, "path": folder}
        self.outcome.before = self.outcome.before or figures(disk.state)
        if self.outcome.snapshots is None:
            self.outcome.snapshots = snapshot_facts(disk.state, facts)
        return disk

    def _is_over(self) -> bool:
        why = self._run.budget.exhausted
        if why is not None:
            self.is_left_out = True
            self.outcome.note(why)
            self._run.unfinished.append(self.outcome.path)
        return why is not None

    def _is_sound(self) -> bool:
        # A run without a check does without what examines disks.
        from ..._ops.check.check_and_repair import CheckRequest, check_and_repair
        from ..._ops.check.examine import locate_damaged

        port, policy = self._run.port, self._policy
        vicinity = Vicinity(self.outcome.path, self._run.others.standing)
        request = CheckRequest(policy.allow_outside, reads_data=policy.reads_data, vicinity=vicinity)
        location = locate_damaged(port, self.outcome.path)
        checked = check_and_repair(port, location, request, _no_repair)
        findings, self._known = checked.findings, checked.tables
        held = next((one for one in findings if one.code == "in_use"), None)
        if held is None:
            return self.outcome.judge(findings)
        # What else was found may be a momentary state.
        self.outcome.findings = findings
        self.outcome.complain(_held(held.where, held.message))
        self._predict(self._open())
        return False

    def _change(self, disk: Disk) -> None:
        merge: Optional[Plan[Any]] = None
        if self._policy.merges:
            try:
                merge = self._step(disk, _planned_merge)
            except HasSnapshots as error:
                # Nothing keeps the disk from being compacted.
                self.outcome.complain(error)
        if merge is not None:
            self.outcome.merged, self.outcome.freed = merge.facts.merged, merge.bytes_freed
        if not self._policy.compacts or (merge is not None and self._is_over()):
            return
        if merge is not None and self._run.module.check_mode:
            self._foretell(disk, merge)
            return
        compaction = self._step(disk if merge is None else self._open(), _planned_compaction)
        if compaction is not None:
            self.outcome.reclaimed = compaction.facts.reclaimable

    def _foretell(self, disk: Disk, merge: Plan[Any]) -> None:
        """What a compaction would give back after a merge that is not done."""
        from ..._change.foreseen import foreseen

        state = replace(merge.facts.after, surroundings=disk.state.surroundings)
        plan = _planned_compaction(replace(disk, port=foreseen(disk.port, merge.steps), state=state), self._policy)
        if not plan.is_empty:
            self._run.budget.spend(plan.bytes_written)
            self.outcome.written += plan.bytes_written
            self.outcome.reclaimed = plan.facts.reclaimable
            self.outcome.after = figures(plan.facts.after)

    def _step(self, disk: Disk, planner: Planner) -> Optional[Plan[Any]]:
        """Plan and apply one change; returns its plan, None when there was nothing to do."""
        is_prediction = self._run.module.check_mode

        def make(one: Disk) -> Plan[Any]:
            return planner(one, self._policy)

        disk, plan = planned_among(self._run.others, disk, make, is_prediction=is_prediction)
        if plan.is_empty:
            return None
        result, done = run_plan(self._run.module, disk.port, plan)
        self._run.warnings += result["warnings"]
        self._run.budget.spend(result["bytes_written"])
        self.outcome.written += result["bytes_written"]
        self.outcome.is_changed = True
        self.outcome.after = figures(plan.facts.after if done is None else self._run.open(self.outcome.path).state)
        return plan

    def _predict(self, disk: Disk) -> None:
        """For a disk that is in use: whether there would be something to do."""
        if self._run.module.params["busy"] != "predict":
            return
        forced = replace(self._policy, force=True)
        planners = [_planned_merge] * self._policy.merges + [_planned_compaction] * self._policy.compacts
        self.outcome.worthwhile = any(_would_change(disk, planner, forced) for planner in planners)


def _planned_merge(disk: Disk, policy: Policy) -> Plan[Any]:
    return plan_merge_by(policy, disk.port, disk.state, disk.machine)


def _planned_compaction(disk: Disk, policy: Policy) -> Plan[Any]:
    return plan_compaction_by(policy, disk.port, disk.state)


def _would_change(disk: Disk, planner: Planner, policy: Policy) -> bool:
    try:
        return not planner(disk, policy).is_empty
    except DiskError:
        # Somebody is changing it, or it may not be changed at all.
        return False


def _held(path: str, sentence: str) -> InUse:
    text = f"The disk is in use: {sentence.rstrip('.')}"
    return InUse(text, path=path, found=sentence, hint="Stop the virtual machine or wait, then run again.")


def _no_repair(*_arguments: object) -> Result:
    raise AssertionError("a check without repair changes nothing")
