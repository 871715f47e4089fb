# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The crash explorer: every tree that a disk may show after the power failed during an operation.

It takes a ``Recording`` of a ``MemoryPort`` and yields a ``MemoryPort`` for each state. The model:

*Barriers.* ``sync`` of a file makes all earlier changes of its content, length, reserved blocks and attributes durable,
but not its name. ``sync_directory`` makes durable the names set in that directory (create, mkdir, rename, exchange,
unlink, rmdir) and its own attributes. A rename between two directories is durable as soon as one of them is synced,
because it is atomic. Nothing else is a barrier; closing is none.

*A sync of a file that fails* is the last that is heard of the bytes it was to make durable (Linux marks the pages as
clean): each write has reached the medium or never will, whatever is synced later, although every program still reads it
until the power fails. Lengths, attributes and names go on waiting, in their order; a file system that cannot write
those stops altogether.

*What is not durable* is kept or lost on its own, in any combination:

- the bytes of a write and the growth that it caused: growth without bytes reads as zeros, bytes without growth are not
  seen;
- the bytes of a write sector by sector (512 bytes); a sector is atomic; the file may also have grown only to the end of
  a torn head;
- a punched hole in the same way, as a write of zeros;
- truncating, reserving and setting attributes, each as a whole.

What is kept is applied in the order in which it was done.

*Names* are kept in order within a directory, as journals of file systems do; across directories any one may be kept
without another. Each operation is atomic. Making, removing and replacing a directory is in order with what happens
inside it; a directory that merely moves is not. A name remembers its inode: a file whose create was lost but whose
rename was kept cannot exist (both are in one directory), a file whose every name was lost disappears with its content,
even if that was synced.

*Which states.* After each effect: all of what is not durable kept; all lost; each single change lost, or kept alone;
each file's changes lost, or kept alone; each write torn (first sector, halves, all but the first sector, random
sectors) with the rest kept and with the rest lost; random subsets with random tears. Equal states are yielded once.
"""

from __future__ import annotations

import random
from typing import Callable, Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import DIRECTORY, FILE
from ansible_collections.vdisk.parallels.tests.support import memory_file as kinds
from ansible_collections.vdisk.parallels.tests.support.memory_file import Effect
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort, Recording
from ansible_collections.vdisk.parallels.tests.support.memory_tree import Patch, Tree, patches

SECTOR = 512
_RANDOM_SUBSETS = 6


class Tear(NamedTuple):
    """What is left of a torn write; ``grown_to`` when the file grew only so far."""

    what: str
    parts: List[Patch]
    grown_to: Optional[int] = None


class Change:
    """The smallest thing that is kept or lost."""

    def __init__(self, number: int, effect: Effect) -> None:
        self.number = number
        self.effect = effect
        self.inode = effect.inode
        self.tears: List[Tear] = []

    def apply(self, tree: Tree, tear: Optional[Tear]) -> None:
        """Do it to ``tree``."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()} of {self.effect}"


class Content(Change):
    """The bytes of a write."""

    def __init__(self, number: int, effect: Effect, grows: bool, chance: random.Random) -> None:
        super().__init__(number, effect)
        self.parts = patches(effect.offset, effect.data)
        self.grows = grows
        self.tears = list(_tears(self.parts, effect, grows, chance))

    def apply(self, tree: Tree, tear: Optional[Tear]) -> None:
        node = tree.own(self.inode)
        node.apply(self.parts if tear is None else tear.parts)
        if tear is not None and tear.grown_to is not None:
            node.size = max(node.size, tear.grown_to)


class Punched(Content):
    """The hole that was punched: zeros, which may be torn as those of a write."""

    def __init__(self, number: int, effect: Effect, size: int, chance: random.Random) -> None:
        end = max(effect.offset, min(effect.offset + effect.size, size))
        super().__init__(number, effect._replace(data=bytes(end - effect.offset)), False, chance)
        self.effect = effect

    def apply(self, tree: Tree, tear: Optional[Tear]) -> None:
        if tear is None:
            tree.own(self.inode).punch(self.effect.offset, self.effect.offset + self.effect.size)
        else:
            super().apply(tree, tear)


class Growth(Change):
    """The new length that came with a write or a reservation."""

    def apply(self, tree: Tree, tear: Optional[Tear]) -> None:
        node = tree.own(self.inode)
        node.size = max(node.size, self.effect.offset + (len(self.effect.data) or self.effect.size))


class Whole(Change):
    """Truncating, reserving, setting attributes."""

    def apply(self, tree: Tree, tear: Optional[Tear]) -> None:
        node = tree.own(self.inode)
        effect = self.effect
        if effect.kind == kinds.TRUNCATE:
            node.size = effect.size
            node.cut()
        elif effect.kind == kinds.ALLOCATE:
            node.reserve(effect.offset, effect.offset + effect.size)
        else:
            node.mode, node.uid, node.gid = effect.attributes


class Names(Change):
    """An operation on directories."""

    def __init__(self, number: int, effect: Effect) -> None:
        super().__init__(number, effect)
        self.directories = frozenset(effect.directories)
        self.named_in = frozenset(directory for directory, _name, _inode in effect.entries)

    def apply(self, tree: Tree, tear: Optional[Tear]) -> None:
        for directory, name, inode in self.effect.entries:
            if directory not in tree.nodes:
                continue
            if inode is None:
                tree.own(directory).entries.pop(name, None)
            else:
                tree.own(directory).entries[name] = inode


def _tears(parts: List[Patch], effect: Effect, grows: bool, chance: random.Random) -> Iterator[Tear]:
    start, end = effect.offset, effect.offset + len(effect.data)
    cuts = list(range((start // SECTOR + 1) * SECTOR, end, SECTOR))
    if not cuts:
        return
    middle = cuts[len(cuts) // 2]
    for cut in sorted({cuts[0], middle}):
        head = _clipped(parts, [(start, cut)])
        yield Tear(f"head to {cut}", head)
        if grows:
            yield Tear(f"head and length to {cut}", head, cut)
    for cut in sorted({cuts[0], middle}):
        yield Tear(f"tail from {cut}", _clipped(parts, [(cut, end)]))
    if len(cuts) > 2:
        edges = [start] + cuts + [end]
        kept = [(low, high) for low, high in zip(edges, edges[1:]) if chance.random() < 0.5]
        yield Tear("random sectors", _clipped(parts, kept))


def _clipped(parts: List[Patch], ranges: List[Tuple[int, int]]) -> List[Patch]:
    """``parts`` as far as they lie in ``ranges``, ascending. Whole pages stay the same objects, whose hash is known."""
    result = []
    position = 0
    for part in parts:
        end = part.start + len(part.content)
        while position < len(ranges) and ranges[position][1] <= part.start:
            position += 1
        for low, high in _within(ranges, position, part.start, end):
            whole = (low, high) == (part.start, end)
            result.append(
                part
                if whole
                else Patch(
                    part.index, part.within + low - part.start, part.content[low - part.start : high - part.start]
                )
            )
    return result


def _within(ranges: List[Tuple[int, int]], position: int, start: int, end: int) -> Iterator[Tuple[int, int]]:
    """``ranges`` from ``position`` on, cut to start and end, neighbours joined."""
    pending: Optional[Tuple[int, int]] = None
    while position < len(ranges) and ranges[position][0] < end:
        low, high = max(ranges[position][0], start), min(ranges[position][1], end)
        if pending is not None and pending[1] == low:
            low = pending[0]
        elif pending is not None:
            yield pending
        pending = (low, high)
        position += 1
    if pending is not None:
        yield pending


class Choice(NamedTuple):
    """Which changes are kept, by number, and which of these are torn and how."""

    kept: FrozenSet[int]
    torn: Tuple[Tuple[int, int], ...] = ()


class Origin(NamedTuple):
    """How a state came about, for the message of a failing test."""

    effects: Tuple[Effect, ...]
    lost: Tuple[Change, ...]
    torn: Tuple[Tuple[Change, Tear], ...]

    def __str__(self) -> str:
        lines = [f"power failed after effect {len(self.effects)}" + (f": {self.effects[-1]}" if self.effects else "")]
        lines += [f"  lost: {change}" for change in self.lost]
        lines += [f"  torn: {change}: {tear.what}" for change, tear in self.torn]
        return "\n".join(lines)


class _Disk:
    """What is durable, as a tree, and what is not, as changes in order."""

    def __init__(self, initial: Tree, chance: random.Random, dropped: float) -> None:
        self.durable = initial.fork()
        self.forgotten: List[Change] = []
        self._dropped = dropped
        self.version = 0
        self.pending: List[Change] = []
        self._sizes = {inode: node.size for inode, node in initial.nodes.items()}
        self._chance = chance
        self._count = 0

    def feed(self, effect: Effect) -> bool:
        """Take one effect in. False for a barrier, which opens no new states."""
        if effect.kind == kinds.SYNC:
            self._make_durable(self._contents_of(effect.inode))
            return False
        if effect.kind == kinds.SYNC_FAILED:
            self._forget(effect.inode)
            return True
        if effect.kind == kinds.SYNCDIR:
            attributes = {
                change.number for change in self.pending if change.inode == effect.inode and isinstance(change, Whole)
            }
            self._make_durable(attributes | self._names_synced_by(effect.inode))
            return False
        for change in self._changes(effect):
            self.pending.append(change)
        return True

    def _changes(self, effect: Effect) -> Iterator[Change]:
        if effect.kind in (kinds.CREATE, kinds.MKDIR):
            kind = FILE if effect.kind == kinds.CREATE else DIRECTORY
            self.durable.add(kind, mode=effect.attributes[0], inode=effect.inode)
            self._sizes[effect.inode] = 0
        if effect.entries:
            yield Names(self._next(), effect)
            return
        size = self._sizes.get(effect.inode, 0)
        end = {kinds.WRITE: effect.offset + len(effect.data), kinds.ALLOCATE: effect.offset + effect.size}.get(
            effect.kind, 0
        )
        if effect.kind == kinds.WRITE:
            yield Content(self._next(), effect, end > size, self._chance)
        elif effect.kind == kinds.PUNCH:
            yield Punched(self._next(), effect, size, self._chance)
        else:
            yield Whole(self._next(), effect)
        if end > size:
            yield Growth(self._next(), effect)
        self._sizes[effect.inode] = effect.size if effect.kind == kinds.TRUNCATE else max(size, end)

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _contents_of(self, inode: int) -> Set[int]:
        return {change.number for change in self.pending if change.inode == inode and not isinstance(change, Names)}

    def _forget(self, inode: int) -> None:
        """Some of the writes that wait for a sync of a file reach the medium now, the others never."""
        writes = [change for change in self.pending if change.inode == inode and isinstance(change, Content)]
        lost = [change for change in writes if self._chance.random() < self._dropped]
        self.forgotten += lost
        self.pending = [change for change in self.pending if change not in lost]
        self._make_durable({change.number for change in writes} - {change.number for change in lost})
        self.version += 1

    def _make_durable(self, numbers: Set[int]) -> None:
        if not numbers:
            return
        for change in self.pending:
            if change.number in numbers:
                change.apply(self.durable, None)
        self.pending = [change for change in self.pending if change.number not in numbers]
        self.version += 1

    def _names(self) -> List[Names]:
        return [change for change in self.pending if isinstance(change, Names)]

    def _names_synced_by(self, directory: int) -> Set[int]:
        """What syncing a directory makes durable: its names, and what comes before them by the order within
        directories.

        That a directory exists does not follow from its being synced.
        """
        synced: Set[int] = set()
        names = self._names()
        for index in range(len(names) - 1, -1, -1):
            later = names[index]
            if later.number not in synced and directory not in later.named_in:
                continue
            synced.add(later.number)
            for earlier in names[:index]:
                makes_its_place = earlier.effect.kind == kinds.MKDIR and later.named_in == {earlier.inode}
                if earlier.directories & later.directories and not makes_its_place:
                    synced.add(earlier.number)
        return synced

    def with_needed(self, kept: Iterable[int]) -> FrozenSet[int]:
        """``kept`` and the names that must have come before."""
        result = set(kept)
        names = self._names()
        for index in range(len(names) - 1, -1, -1):
            if names[index].number in result:
                result.update(
                    earlier.number for earlier in names[:index] if earlier.directories & names[index].directories
                )
        return frozenset(result)

    def without_orphaned(self, kept: Iterable[int]) -> FrozenSet[int]:
        """``kept`` without the names whose forerunners are lost."""
        result = set(kept)
        barred: Set[int] = set()
        for change in self._names():
            if change.number not in result or change.directories & barred:
                result.discard(change.number)
                barred |= change.directories
        return frozenset(result)

    def choices(self, chance: random.Random) -> Iterator[Choice]:
        """The states to look at now; some may be equal."""
        everything = frozenset(change.number for change in self.pending)
        yield Choice(everything)
        yield Choice(frozenset())
        groups: Dict[int, Set[int]] = {}
        for change in self.pending:
            if not isinstance(change, Names):
                groups.setdefault(change.inode, set()).add(change.number)
        for numbers in [{change.number} for change in self.pending] + list(groups.values()):
            yield Choice(self.without_orphaned(everything - numbers))
            yield Choice(self.with_needed(numbers))
        for change in self.pending:
            yield from _torn_choices(change, everything)
        for _round in range(_RANDOM_SUBSETS):
            yield self._random_choice(chance)

    def _random_choice(self, chance: random.Random) -> Choice:
        likely = chance.choice((0.2, 0.5, 0.8))
        kept = self.without_orphaned(change.number for change in self.pending if chance.random() < likely)
        torn = [
            (c.number, chance.randrange(len(c.tears)))
            for c in self.pending
            if c.tears and c.number in kept and chance.random() < 0.3
        ]
        return Choice(kept, tuple(torn))

    def build(self, choice: Choice) -> Tree:
        """The tree that is left."""
        tree = self.durable.fork()
        torn = dict(choice.torn)
        for change in self.pending:
            if change.number in choice.kept:
                change.apply(tree, change.tears[torn[change.number]] if change.number in torn else None)
        tree.settle()
        return tree

    def origin(self, choice: Choice, effects: Tuple[Effect, ...]) -> Origin:
        """``choice`` in words."""
        torn = dict(choice.torn)
        lost = (*self.forgotten, *(change for change in self.pending if change.number not in choice.kept))
        return Origin(
            effects,
            lost,
            tuple((change, change.tears[torn[change.number]]) for change in self.pending if change.number in torn),
        )


def _torn_choices(change: Change, everything: FrozenSet[int]) -> Iterator[Choice]:
    growth = change.number + 1
    grows = isinstance(change, Content) and change.grows
    for index, tear in enumerate(change.tears):
        torn = ((change.number, index),)
        alone = frozenset((change.number, growth) if grows and tear.grown_to is None else (change.number,))
        yield Choice(everything if tear.grown_to is None else everything - {growth}, torn)
        yield Choice(alone, torn)


def crash_states(
    recording: Recording, *, limit: Optional[int] = None, seed: int = 0, since: int = 0, dropped: float = 1.0
) -> Iterator[MemoryPort]:
    """Each state once, in the order of the effects; ``origin`` of a state tells how it came about.

    With ``limit`` at most so many: after each effect a random part of the states, spread evenly over the effects.
    With ``since`` only the states that are possible after so many effects; ``len(recording.effects)`` is what a
    finished operation still leaves to chance. ``dropped`` is the share of writes that a failed sync loses. The same
    arguments give the same states.
    """
    effects = tuple(recording.effects)
    disk = _Disk(recording.initial, random.Random(f"{seed}"), dropped)
    seen_choices: Set[Tuple[int, Choice]] = set()
    seen_trees: Set[int] = set()
    for done in range(len(effects) + 1):
        opens_states = done == 0 or disk.feed(effects[done - 1])
        if done < since or not (opens_states or done == since):
            continue
        choices = disk.choices(random.Random(f"{seed} {done}"))
        goal = None
        if limit is not None:
            choices = _shuffled(choices, random.Random(f"{seed} {done} order"))
            goal = -(-limit * (done + 1 - since) // (len(effects) + 1 - since))
        for choice in choices:
            if goal is not None and len(seen_trees) >= goal:
                break
            if (disk.version, choice) in seen_choices:
                continue
            seen_choices.add((disk.version, choice))
            tree = disk.build(choice)
            key = tree.key()
            if key not in seen_trees:
                seen_trees.add(key)
                port = MemoryPort(tree)
                port.origin = disk.origin(choice, effects[:done])
                yield port


def _shuffled(choices: Iterator[Choice], chance: random.Random) -> Iterator[Choice]:
    """All kept and all lost stay in front."""
    rest = list(choices)
    first, rest = rest[:2], rest[2:]
    chance.shuffle(rest)
    return iter(first + rest)


def check_states(
    recording: Recording,
    check: Callable[[MemoryPort], None],
    *,
    limit: Optional[int] = None,
    seed: int = 0,
    since: int = 0,
) -> int:
    """Run ``check`` on every state; how many there were. AssertionError with the origin of the first bad one."""
    count = 0
    for state in crash_states(recording, limit=limit, seed=seed, since=since):
        count += 1
        try:
            check(state)
        except Exception as error:
            raise AssertionError(f"{state.origin}\n{type(error).__name__}: {error}") from error
    return count
