# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be true of a folder while, and after, an operation was cut off.

A ``Trial`` knows the folder before the operation and after an undisturbed one. Whatever happens, the folder is one of
the two to every eye that looks, and the next run of the same task makes it the second.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.naming import NOTES
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import DIRECTORY, Port
from ansible_collections.vdisk.parallels.tests.crash.operations import FOLDER, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.sight import (
    Sight,
    Whole,
    images_of,
    is_marked,
    journal_of,
    likeness_of,
    print_of,
    sight_of,
    whole,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort, Recording


class Folder(NamedTuple):
    """Everything in a folder: the disk of the operation as a sight (when it is changed where it lies), and all names
    as they are.
    """

    sight: Optional[Sight]
    names: Dict[str, Whole]


class _Known(Exception):
    """The rest of the run starts from what an earlier run started from, and that one ended well."""


class NothingToDo(Exception):
    """The disk is as the operation wants it already."""


class Trial:
    """One operation on its scene, run undisturbed once and recorded.

    The ports to be judged have the scene at ``folder``.
    """

    def __init__(self, operation: Operation, folder: str = FOLDER) -> None:
        self.operation = operation
        self.folder = FOLDER
        port = operation.scene()
        self._initial = port.tree.fork()
        self.before = self._look(port)
        self._bodies = [images_of(port, self.path)] if operation.inside else []
        self.recording: Recording = port.record()
        run = Run(port, FOLDER)
        operation.run(run)
        self.effects = tuple(self.recording.effects)
        self.after = self._look(port)
        self._bodies += [images_of(port, self.path)] if operation.inside else []
        if not run.changed:
            raise NothingToDo(operation.name)
        assert len(run.plans) == 1 and not run.recovered, "the scene does not give the operation one thing to do"
        assert operation.expects is None or operation.expects(port, self.path), "the scene is not what its name says"
        self.folder = folder
        self._leads_to_the_end: Set[int] = set()
        self._at_the_end: Set[int] = set()

    @property
    def path(self) -> str:
        """Where the disk lies."""
        return f"{self.folder}/{self.operation.disk}"

    def start(self) -> MemoryPort:
        """The scene before the operation."""
        return self.adopt(MemoryPort(self._initial.fork()))

    def adopt(self, port: MemoryPort) -> MemoryPort:
        """Let a port be able to do what that of the scene can."""
        port.exchanges, port.kernel_copies = self.operation.exchanges, self.operation.kernel_copies
        return port

    def _look(self, port: Port) -> Folder:
        sight = self.sight(port) if self.operation.inside else None
        return Folder(sight, {name: whole(port, f"{self.folder}/{name}") for name in port.list_directory(self.folder)})

    def sight(self, port: Port) -> Sight:
        """What the disk shows, without what the operation may change."""
        shown = sight_of(port, self.path)
        return shown if self.operation.mask is None else self.operation.mask(shown)

    # At any moment.

    def check(self, port: Port, *, first_run: bool = False) -> None:
        """What must hold at every moment, whatever was cut off. In a ``first_run`` nothing was recovered yet."""
        for name, content in self.before.names.items():
            if name != self.operation.disk:
                possible = (content, self.after.names.get(name, content))
                assert whole(port, f"{self.folder}/{name}") in possible, f"{name} was changed"
        if not self.operation.inside:
            self._check_built(port)
            return
        self._check_views(port, unreliable=self.operation.gone if self.is_merging(port) else ())
        images = images_of(port, self.path)
        marked = [name for name, content in images.items() if is_marked(content)]
        assert journal_of(port, self.path)[0] or not marked, f"{marked} are in use, and no journal says by whom"
        if first_run:
            self._check_closed_images({name: content for name, content in images.items() if name not in marked})

    def _check_built(self, port: Port) -> None:
        now = whole(port, self.path)
        old, new = self.before.names.get(self.operation.disk), self.after.names.get(self.operation.disk)
        if now is None and old is not None and new is not None:
            aside = [
                name
                for name in port.list_directory(self.folder)
                if name.startswith(f".{self.operation.disk}.vdisk-old-")
            ]
            assert aside, "the old disk is gone, and no new one is there"
            now = whole(port, f"{self.folder}/{aside[0]}")
        assert now in (old, new), "the disk is neither the old nor the new one"

    def _check_views(self, port: Port, *, unreliable: Tuple[str, ...] = ()) -> None:
        """The disk shows the old or the new; snapshots that are ``unreliable`` may show anything as long as they are
        there.
        """
        assert self.before.sight is not None and self.after.sight is not None
        shown = self.sight(port)
        faults = [difference(shown, expected, unreliable) for expected in (self.before.sight, self.after.sight)]
        assert None in faults, f"not as before: {faults[0]}; not as after: {faults[1]}"

    def _check_closed_images(self, images: Dict[str, bytes]) -> None:
        """An image without the mark is as it was or as it will be; only its end may be longer than it will be."""
        for name, content in images.items():
            known = [bodies[name][64:] for bodies in self._bodies if name in bodies]
            if len(known) == 2:
                assert any(content[64 : 64 + len(body)] == body for body in known), (
                    f"{name} is half changed, but not marked as in use"
                )

    def _check_taken_back(self, port: Port) -> None:
        """When the disk shows what it showed before a change that is to be seen, its images are as long as they
        were.
        """
        assert self.before.sight is not None and self.after.sight is not None
        if set(self.before.sight.views) == set(self.after.sight.views) or set(self.sight(port).views) != set(
            self.before.sight.views
        ):
            return
        now = images_of(port, self.path)
        assert {name: len(content) for name, content in self._bodies[0].items()} == {
            name: len(content) for name, content in now.items()
        }, "images grew"

    # What comes next.

    def finish(self, port: Port, *, token: str = "2") -> Run:
        """The next run of the same task makes the folder what an undisturbed run makes of it.

        Every snapshot that is there after its recovery shows what it showed before.
        """
        start: Set[int] = set()

        def between() -> None:
            if isinstance(port, MemoryPort):
                start.add(likeness_of(port))
                if start <= self._leads_to_the_end:
                    raise _Known
            assert not self.traces(port), "recovery left traces"
            if self.operation.inside:
                self._check_views(port)
                self._check_taken_back(port)

        run = Run(port, self.folder, token=token, between=between)
        try:
            self.operation.run(run)
        except _Known:
            return run
        self.check_finished(port)
        self._leads_to_the_end |= start
        return run

    def is_merging(self, port: Port) -> bool:
        """Whether the disk carries the journal of a merge that can only go forward."""
        return self.operation.inside and journal_of(port, self.path) == ("merge", "apply")

    def is_new(self, port: Port) -> bool:
        """Whether a disk that is built or removed is what it will be."""
        return whole(port, self.path) == self.after.names.get(self.operation.disk)

    def shows_the_end(self, port: Port) -> bool:
        """Whether the disk shows what it will show, whatever else may be left to do."""
        if not self.operation.inside:
            return self.is_new(port)
        return self.sight(port) == self.after.sight

    def traces(self, port: Port) -> List[str]:
        """Names in the folder and in the disk that only an unfinished run leaves."""
        stat = port.stat(self.path)
        inside = port.list_directory(self.path) if stat is not None and stat.kind == DIRECTORY else []
        return [name for name in inside + port.list_directory(self.folder) if ".vdisk-" in name]

    def check_finished(self, port: Port) -> None:
        """The folder is what an undisturbed run makes of it, and a further run finds nothing to do."""
        key = {likeness_of(port)} if isinstance(port, MemoryPort) else set()
        if key and key <= self._at_the_end:
            return
        now = self._look(port)
        assert now.sight == self.after.sight, "the disk does not show what it should"
        for name in {**now.names, **self.after.names}:
            self._check_files(name, now.names.get(name), self.after.names.get(name))
        if self.operation.inside:
            marked = [name for name, content in images_of(port, self.path).items() if is_marked(content)]
            assert not marked, f"{marked} are still marked as in use"
        self._check_second_run(port)
        self._at_the_end |= key

    def _check_files(self, name: str, now: Whole, expected: Whole) -> None:
        assert now is not None and expected is not None, f"{name} is {'missing' if now is None else 'left over'}"
        if name != self.operation.disk or not self.operation.inside:
            assert now == expected, f"{name} is not what it should be"
            return
        assert set(now) == set(expected), f"left over or missing: {set(now) ^ set(expected)}"
        for inner, (kind, mode, content) in now.items():
            assert (kind, mode) == expected[inner][:2], f"{inner} has another kind or mode"
            # A name without its snapshot harms nobody, and a check says so.
            is_right = inner.endswith(NOTES) or len(content) <= len(expected[inner][2])
            assert is_right, f"{inner} is longer than it should be"

    def _check_second_run(self, port: Port) -> None:
        seen = print_of(port, self.folder)
        run = Run(port, self.folder, token="3")
        self.operation.run(run)
        assert not run.changed, "a further run found something to do"
        assert print_of(port, self.folder) == seen, "a further run changed something"
        if isinstance(port, MemoryPort):
            assert not port.held and not any(port.opened.values()), "something is still open or locked"


def difference(shown: Sight, expected: Sight, unreliable: Tuple[str, ...]) -> Optional[str]:
    if shown.name != expected.name:
        return f"the name is {shown.name}"
    if set(shown.views) != set(expected.views):
        return f"the snapshots are {sorted(shown.views)}"
    for guid, content in shown.views.items():
        if guid not in unreliable and content != expected.views[guid]:
            return f"the view of {guid} differs from byte {_first_difference(content, expected.views[guid])} on"
    return None


def _first_difference(one: bytes, other: bytes) -> int:
    return next((index for index, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
