# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of maintenance tells of each disk, if it is to: its facts as its turn begins, as hdd_info gives them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional

from ..._core.errors import BadRequest, DiskError
from ..._io.port import Port
from ..disk import Disk
from ..run import Result, failure_of

if TYPE_CHECKING:
    from ..._bundle.neighbours import Standing
    from ..._formats.hds.known import KnownTables
    from ..._ops.report.describe import DescribeRequest


class DiskFacts:
    """The facts of the disks by path, and why those that are missing could not be had."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        if params["map"] and not params["facts"]:
            raise BadRequest("map: it is a part of the facts", found=params["map"], hint="Set facts: true as well.")
        self._request: Optional[DescribeRequest] = None
        if params["facts"]:
            # Most runs describe nothing.
            from ..info import describe_request

            self._request = describe_request(params)
        self._facts: Dict[str, Result] = {}
        self._failures: Dict[str, Result] = {}

    def note_open(self, path: str, disk: Disk) -> None:
        """Describe a disk that is open; only as it was found first."""
        request = self._request
        if request is not None and not self._is_noted(path):
            from ..._ops.report.describe import describe_state

            around = disk.state.surroundings
            unknown = () if around is None else around.unknown
            # What the task says of its own plans is no fact of the disk.
            machine = disk.machine._replace(warnings=disk.machine.warnings + unknown)
            self._note(path, lambda: describe_state(disk.port, disk.state, machine, request))

    def note_closed(self, path: str, port: Port, standing: Optional[Standing], known: Optional[KnownTables]) -> None:
        """Describe a disk that its turn did not open, such as a damaged one."""
        request = self._request
        if request is not None and not self._is_noted(path):
            from ..._ops.report.describe import describe_disk

            self._note(path, lambda: describe_disk(port, path, request, standing, known))

    def of(self, entry: Result) -> Result:
        """The entry of a disk, with its facts if they are asked for."""
        return entry if self._request is None else {**entry, "facts": self._facts.get(entry["path"])}

    @property
    def undescribed(self) -> Dict[str, List[Result]]:
        """The part of the result that says which disks cannot be described, and why."""
        return {} if self._request is None else {"undescribed": list(self._failures.values())}

    def _is_noted(self, path: str) -> bool:
        return path in self._facts or path in self._failures

    def _note(self, path: str, describe: Callable[[], Result]) -> None:
        try:
            self._facts[path] = describe()
        except DiskError as error:
            self._failures[path] = {"path": path, **failure_of(error)}
