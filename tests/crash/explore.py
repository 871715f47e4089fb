# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Walks through the states that a trial's folder may be left in: by a power failure, by one during the recovery from
it, by a killed process whose successor meets a power failure, and by one after an error.

A bad state ends in an AssertionError that says how it came about. States with the same content are judged once.
"""

from __future__ import annotations

import random
from typing import Any, Iterable, Iterator, List, Optional, Set, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.tests.crash.operations import FOLDER, Run
from ansible_collections.vdisk.parallels.tests.crash.sight import likeness_of
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support.crash import crash_states
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort, Recording
from ansible_collections.vdisk.parallels.tests.support.memory_tree import Tree


class Killed(BaseException):
    """The process is gone; nobody cleans up."""


class MortalPort(MemoryPort):
    """A port whose process is killed in the call number ``dies_at``, counted from 1.

    ``done`` tells how many effects came before each call.
    """

    dies_at = 0

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.done: List[int] = []

    def called(self, name: str, path: str) -> None:
        self.done.append(len(self.effects))
        super().called(name, path)
        if self.dies_at and len(self.calls) >= self.dies_at:
            raise Killed


class Explorer:
    """What was seen of one trial: how many states were ``explored``, and how many of them were ``different`` in what
    lies in them.

    ``limit`` is for the states of each run, ``later`` for those of each run that follows on another failure.
    """

    def __init__(
        self, trial: Trial, *, seed: int = 0, limit: Optional[int] = None, later: Optional[int] = None
    ) -> None:
        self.trial = trial
        self.explored = 0
        self._seed = seed
        self._limit = limit
        self._later = limit if later is None else later
        self._chance = random.Random(f"{trial.operation.name} {seed}")
        self._seen: Set[int] = set()

    @property
    def different(self) -> int:
        """States with a content of their own."""
        return len(self._seen)

    def power_failures(self) -> None:
        """A power failure anywhere in the run."""
        self._judge_all(self._states(self.trial.recording), "", first_run=True)

    def power_failures_while_recovering(self, parents: int) -> None:
        """A second power failure, anywhere in the run that follows the first; tried for ``parents`` of the first
        ones.
        """
        for state in self._sample(self._states(self.trial.recording), parents):
            origin = f"{state.origin}\nthen, in the next run, "
            recording = state.record()
            self.trial.operation.run(Run(state, FOLDER, token="2"))
            self._judge_all(self._states(recording, limit=self._later), origin)

    def kills(self, deaths: int) -> None:
        """The process is killed, the next run builds on what it left in the cache, and the power fails during that.

        It dies after each change of a name, which the next run sees although it is not durable, and ``deaths`` times
        elsewhere.
        """
        named, others = self.moments()
        for number in named + self._sample(others, deaths):
            recording, state = self._killed(number)
            done = len(recording.effects)
            origin = (
                f"killed in call {number} after {recording.effects[-1] if recording.effects else 'nothing'}; "
                f"then, in the next run, "
            )
            self._judge(MemoryPort(state.tree.fork()), origin, first_run=True)
            self.trial.operation.run(Run(state, FOLDER, token="2"))
            self._judge_all(self._states(recording, since=done, limit=self._later), origin)

    def errors(self, numbers: Iterable[int], errno_name: str) -> None:
        """A call fails, the run takes back what it can, and then the power fails."""
        for number in numbers:
            port = self.trial.start()
            recording = port.record()
            port.fail_call(number, errno_name, partial=1000)
            try:
                self.trial.operation.run(Run(port, FOLDER))
            except DiskError as error:
                self._judge_all(self._states(recording), f"call {number} failed: {error}; then ")

    def failed_syncs(self, *, dropped: float) -> None:
        """Each sync fails in turn and loses that share of what it was for; nobody may go on as if it had not.

        Then the power fails; or the next run comes first, which still reads what is lost, and whose success must be a
        true one.
        """
        for number in self._sync_step():
            port = self.trial.adopt(MortalPort(self.trial.start().tree))
            recording = port.record()
            port.fail_call(number, "EIO")
            origin = self._failed(port, number)
            port.fail_call(0)
            self._judge_all(
                self._states(recording, since=port.done[number - 1], limit=self._later, dropped=dropped), origin
            )
            done = len(recording.effects)
            following = Run(port, FOLDER, token="2")
            self.trial.operation.run(following)
            self._judge_all(
                self._states(recording, since=done, limit=self._later, dropped=dropped), f"{origin}in the next run, "
            )
            # A run that finds everything as it should be syncs nothing.
            for state in (
                self._states(recording, since=len(recording.effects), dropped=dropped) if following.changed else ()
            ):
                assert self.trial.shows_the_end(state), (
                    f"{self.trial.operation.name}: {origin}after the next run, {state.origin}"
                )
                self._judge(state, f"{origin}after the next run, {state.origin}")

    def _failed(self, port: MemoryPort, number: int) -> str:
        """Let the operation fail in a sync; what to call that."""
        try:
            self.trial.operation.run(Run(port, FOLDER))
        except DiskError as error:
            return f"{' '.join(port.calls[number - 1])} fails: {error}; then "
        raise AssertionError(
            f"{self.trial.operation.name}: {' '.join(port.calls[number - 1])} fails, and the run goes on"
        )

    def _sync_step(self) -> List[int]:
        port = self.trial.start()
        self.trial.operation.run(Run(port, FOLDER))
        return [number for number, (name, _path) in enumerate(port.calls, 1) if name in ("sync", "sync_directory")]

    def finished_states(self) -> None:
        """What a power failure leaves after the run has returned: always the new disk, with nothing to do."""
        for state in self._states(self.trial.recording, since=len(self.trial.effects)):
            self._judge_end(state, f"after the end, {state.origin}")

    def _judge_end(self, state: MemoryPort, origin: str) -> None:
        self.explored += 1
        try:
            self.trial.check_finished(state)
        except Exception as error:
            raise AssertionError(f"{self.trial.operation.name}: {origin}\n{type(error).__name__}: {error}") from error

    def calls(self) -> int:
        """How many calls an undisturbed run makes."""
        port = self.trial.start()
        self.trial.operation.run(Run(port, FOLDER))
        return len(port.calls)

    def moments(self) -> Tuple[List[int], List[int]]:
        """The calls in which dying makes a difference: those that find one effect more.

        First those that come right behind a change of a name.
        """
        port = MortalPort(self.trial.start().tree)
        self.trial.adopt(port)
        self.trial.operation.run(Run(port, FOLDER))
        named, others = [], []
        for number, (before, done) in enumerate(zip([-1, *port.done], port.done), 1):
            if done != before:
                (named if done and port.effects[done - 1].entries else others).append(number)
        return named, others

    def deaths(self, end: int) -> Iterator[MemoryPort]:
        """What each process leaves in the cache that dies after fewer than ``end`` effects."""
        for number in sorted(number for numbers in self.moments() for number in numbers):
            recording, heir = self._killed(number)
            if len(recording.effects) >= end:
                return
            heir.origin = f"killed after {recording.effects[-1] if recording.effects else 'nothing'}"
            yield heir

    def _killed(self, number: int) -> Tuple[Recording, MemoryPort]:
        """What the process did until call ``number``, and a port that goes on from there and adds to the same
        recording.
        """
        port = MortalPort(self.trial.start().tree)
        self.trial.adopt(port)
        recording = port.record()
        port.dies_at = number
        try:
            self.trial.operation.run(Run(port, FOLDER))
        except Killed:
            pass
        heir = self.trial.adopt(MemoryPort(port.tree))
        heir.effects = recording.effects
        return recording, heir

    def _states(
        self, recording: Recording, *, since: int = 0, limit: Optional[int] = None, dropped: float = 1.0
    ) -> Iterator[MemoryPort]:
        for state in crash_states(recording, limit=limit or self._limit, seed=self._seed, since=since, dropped=dropped):
            yield self.trial.adopt(state)

    def _sample(self, population: Iterable[Any], size: int) -> List[Any]:
        found = list(population)
        return found if len(found) <= size else self._chance.sample(found, size)

    def _judge_all(self, states: Iterable[MemoryPort], origin: str, *, first_run: bool = False) -> None:
        for state in states:
            self._judge(state, f"{origin}{state.origin}", first_run=first_run)

    def _judge(self, state: MemoryPort, origin: str, *, first_run: bool = False) -> None:
        self.explored += 1
        likeness = likeness_of(state)
        if likeness in self._seen:
            return
        self._seen.add(likeness)
        self.trial.adopt(state)
        try:
            self.trial.check(state, first_run=first_run)
            self.trial.finish(state)
        except Exception as error:
            raise AssertionError(f"{self.trial.operation.name}: {origin}\n{type(error).__name__}: {error}") from error
