# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a module and showing how far it is.

::

    controller                                   node
    ask for the umask ------------------------>
    start the module in the async wrapper ----->  module, writes NAME.progress beside the job file of Ansible
    look at both files, show a line <---------->
    fetch the result with async_status <-------
    remove both files ------------------------->

Wherever this is not wanted or not possible, the module runs as any module without an action plugin does.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import os
import re
import shlex
import sys
import time
import uuid
from dataclasses import dataclass
from typing import Any, Dict, Optional

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action.normal import ActionModule as PlainAction
from ansible.utils.display import Display

from ansible_collections.vdisk.parallels.plugins.plugin_utils._progress.lines import Lines, State, parse_state

VARIABLE = "vdisk_progress"
ENVIRONMENT = "VDISK_PROGRESS"
AUTO, ALWAYS, NEVER = "auto", "always", "never"

# Workers have no terminal. Strategies load an action before they fork, so this is the answer of the main process.
_HAS_TERMINAL = bool(getattr(sys.stderr, "isatty", lambda: False)())
_CONNECTIONS = ("local", "ssh", "paramiko", "paramiko_ssh")
_NO_LIMIT = 10 * 365 * 24 * 3600
"""Seconds after which the async wrapper would kill the module: a plain run has no limit."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
_PATIENCE = 300.0
"""Seconds without a connection after which the host counts as unreachable."""
_GRACE = 10.0
"""Seconds between the end of the module and its result, at most."""
# What tells of the job and not of the module. The second line is what async_status of old ansible-core adds about a
# path in a result.
_JOB_KEYS = frozenset(
    ("ansible_job_id", "started", "finished", "results_file", "stdout", "stdout_lines", "stderr", "stderr_lines")
    + ("uid", "gid", "owner", "group", "mode", "state", "size", "secontext")
)

display = Display()


@dataclass
class _Job:
    """A module that runs on the node, and what was seen of it."""

    jid: str
    result_file: str
    progress_file: str
    state: Optional[State] = None
    is_running: bool = True
    is_alive: bool = True


class ProgressAction(PlainAction):
    """The action of a module that may take long. A run that cannot is left alone: see ``may_take_long``."""

    def run(self, tmp: Any = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Run the module; the result is that of a run without this plugin."""
        variables = task_vars or {}
        mask = self._umask() if self._is_wanted(variables) else None
        if mask is None:
            return super().run(tmp, task_vars)
        # Of the plain action only what comes before its module.
        result = super(PlainAction, self).run(tmp, task_vars)
        job = self._start(variables, mask)
        if job is None:
            return super().run(tmp, task_vars)
        result.update(self._follow(job, variables))
        return result

    def may_take_long(self, options: Dict[str, Any]) -> bool:  # pylint: disable=unused-argument
        """Whether a task with these options may move data."""
        return True

    # Whether.

    def _is_wanted(self, variables: Dict[str, Any]) -> bool:
        mode = self._mode(variables)
        if mode == NEVER or self._task.check_mode or self._task.async_val or self._task.no_log:
            return False
        if mode == AUTO and not (_HAS_TERMINAL and not os.environ.get("CI")):
            return False
        return self._is_able(mode) and self.may_take_long(self._task.args)

    def _mode(self, variables: Dict[str, Any]) -> str:
        value = variables.get(VARIABLE)
        if value is None:
            value = os.environ.get(ENVIRONMENT) or AUTO
        else:
            value = self._templar.template(value)
        text = str(value).lower()
        if text in (AUTO, ALWAYS, NEVER):
            return text
        try:
            return ALWAYS if boolean(text) else NEVER
        except TypeError:
            raise AnsibleActionFail(f"{VARIABLE} must be {AUTO}, {ALWAYS} or {NEVER}, not {text[:80]!r}.") from None

    def _is_able(self, mode: str) -> bool:
        """Whether the connection leads to a shell in which processes outlive a command.

        Unknown ones are tried only when told to.
        """
        connection = self._connection
        if getattr(connection, "has_native_async", False) or getattr(connection, "always_pipeline_modules", False):
            return False
        if getattr(connection._shell, "SHELL_FAMILY", "") != "sh":
            return False
        transport = str(getattr(connection, "transport", "")).rpartition(".")[2]
        return transport in _CONNECTIONS or (mode == ALWAYS and not hasattr(connection, "_sub_plugin"))

    def _umask(self) -> Optional[str]:
        """The umask of a plain run on the node, None when there is no proper shell.

        The async wrapper has one of its own.
        """
        seen = self._low_level_execute_command("umask && command -v cat >/dev/null && command -v grep >/dev/null")
        lines = str(seen.get("stdout", "")).split()
        return lines[-1] if not seen.get("rc") and lines and re.fullmatch("[0-7]{3,4}", lines[-1]) else None

    # The run.

    def _start(self, variables: Dict[str, Any], mask: str) -> Optional[_Job]:
        """Start the module on the node; None when that is not possible, and then nothing has begun."""
        shell = self._connection._shell
        name = f"vdisk-{uuid.uuid4().hex}.progress"
        folder = self.get_shell_option("async_dir", default="~/.ansible_async")
        environment = {"VDISK_PROGRESS_FILE": shell.join_path(folder, name), "VDISK_PROGRESS_UMASK": mask}
        self._make_tmp_path()
        self._tmp_of_job = shell.tmpdir
        self._task.environment.append(environment)
        self._task.async_val = _NO_LIMIT
        try:
            started = self._execute_module(task_vars=variables, wrap_async=True)
        finally:
            self._task.async_val = 0
            self._task.environment.remove(environment)
            # What is made from here on is not the wrapper's to remove.
            self._cleanup_remote_tmp = True
        if started.get("failed") or not started.get("ansible_job_id") or not started.get("results_file"):
            self._remove_tmp_path(self._tmp_of_job)
            return None
        result_file = str(started["results_file"])
        return _Job(str(started["ansible_job_id"]), result_file, shell.join_path(os.path.dirname(result_file), name))

    def _follow(self, job: _Job, variables: Dict[str, Any]) -> Dict[str, Any]:
        """Show lines until the job has ended; returns the result of the module."""
        begun = time.monotonic()
        lines = Lines(self._host_name(variables), self._task.action.rpartition(".")[2], self._path())
        pause, dead_since = _FIRST_PAUSE, None
        while True:
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            self._look(job)
            now = time.monotonic()
            line = lines.line(job.state, now - begun) if job.is_running else None
            if line is not None:
                display.display(line, stderr=True)
            if job.is_running and job.is_alive:
                dead_since = None
                continue
            dead_since = dead_since or now
            is_lost = now - dead_since > _GRACE
            if job.is_running and not is_lost:
                continue
            result = self._result(job, variables)
            if result is not None or is_lost:
                self._clear(job)
                return _LOST if result is None else result

    def _look(self, job: _Job) -> None:
        """Read the files of the job. Raises AnsibleConnectionFailure when there is no connection for long."""
        progress, result = shlex.quote(job.progress_file), shlex.quote(job.result_file)
        # While the module runs, the file of the result says that it has not finished.
        command = (
            f'echo "vdisk-state $(cat {progress})"; if grep -q \'"finished":\' {result}; then echo vdisk-running; fi'
        )
        if job.state is not None:
            command += f"; if kill -0 {job.state.pid}; then echo vdisk-alive; fi"
        output = str(self._patiently(command).get("stdout", ""))
        words = {line.strip() for line in output.splitlines()}
        job.is_running = "vdisk-running" in words
        job.is_alive = job.state is None or "vdisk-alive" in words
        for line in output.splitlines():
            if line.startswith("vdisk-state {"):
                job.state = parse_state(line[len("vdisk-state ") :]) or job.state

    def _patiently(self, command: str) -> Dict[str, Any]:
        """Run a command although the connection may be away for a while. The module goes on meanwhile."""
        begun, pause = time.monotonic(), _LONGEST_PAUSE
        while True:
            try:
                return dict(self._low_level_execute_command(f"{{ {command}; }} 2>/dev/null"))
            except AnsibleConnectionFailure as error:
                if time.monotonic() - begun > _PATIENCE:
                    text = (
                        "The connection is lost. The module goes on on the node; "
                        "run the task again when it has ended, before that the disk is in use."
                    )
                    raise AnsibleConnectionFailure(f"{text} {error}") from error
            try:
                self._connection.reset()
            except AnsibleError:
                pass
            time.sleep(pause)
            pause = min(pause * 1.5, 10.0)

    def _result(self, job: _Job, variables: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """The result of the module, None when it has not ended."""
        options = {"jid": job.jid, "mode": "status", "_async_dir": os.path.dirname(job.result_file)}
        try:
            result = self._execute_module(
                module_name="ansible.legacy.async_status", module_args=options, task_vars=variables
            )
        except AnsibleConnectionFailure:
            # The next look waits for the connection.
            return None
        if not result.get("finished"):
            return None
        if result.get("failed") and "cmd" in result and "data" in result:
            # The wrapper speaks, because the module ended without a result.
            return {
                "failed": True,
                "msg": _NO_RESULT,
                "module_stdout": result["data"],
                "module_stderr": result.get("stderr", ""),
            }
        return {key: value for key, value in result.items() if key not in _JOB_KEYS}

    def _clear(self, job: _Job) -> None:
        """Leave nothing of the job on the node."""
        paths = [job.result_file, job.progress_file, f"{job.progress_file}.new"]
        self._patiently("rm -f " + " ".join(shlex.quote(path) for path in paths))
        if self._is_become_unprivileged():
            # The wrapper may not remove what belongs to the user who logs in.
            self._remove_tmp_path(self._tmp_of_job)

    # Words.

    def _host_name(self, variables: Dict[str, Any]) -> str:
        host = str(variables.get("inventory_hostname", "?"))
        return f"{host} -> {self._task.delegate_to}" if self._task.delegate_to else host

    def _path(self) -> str:
        options = self._task.args
        paths = options.get("paths") or ()
        several = ", ".join(str(path) for path in ([paths] if isinstance(paths, str) else paths))
        return str(options.get("path") or options.get("hdd") or options.get("dest") or several or "?")


_NO_RESULT = (
    "The module ended without a result. See module_stdout and module_stderr; "
    "run the task again to finish or take back what was begun."
)
_LOST: Dict[str, Any] = {
    "failed": True,
    "msg": (
        "The module ended without a result: it was killed, or the node was restarted. "
        "Run the task again to finish or take back what was begun."
    ),
}
