# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action against a node that is a script: what it asks, when it keeps out, what it makes of the answers."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest

if sys.version_info < (3, 10):
    pytest.skip("controllers run on newer Pythons", allow_module_level=True)
pytest.importorskip("jinja2")

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action.normal import ActionModule as PlainAction

from ansible_collections.vdisk.parallels.plugins.action import (
    hdd_check,
    hdd_convert,
    hdd_merge,
)
from ansible_collections.vdisk.parallels.plugins.plugin_utils._progress import action as subject

DONE = {
    "changed": True,
    "merged": ["{1}"],
    "bytes_written": 5,
    "diff": {"before": {}, "after": {}},
    "invocation": {"module_args": {}},
}
LITTER = {
    "ansible_job_id": "j1.2",
    "started": True,
    "finished": True,
    "results_file": "/h/.ansible_async/j1.2",
    "stdout": "",
    "stderr": "",
    "stdout_lines": [],
}
WRITING = {"pid": 4711, "phase": "writing", "total": 100 << 20}


def following(answers: List[Any]) -> Any:
    """The next answer; the last one is given for ever."""
    answer = answers.pop(0) if len(answers) > 1 else answers[0]
    if isinstance(answer, Exception):
        raise answer
    return answer


class Shell:
    SHELL_FAMILY = "sh"
    tmpdir = None

    def join_path(self, *parts: str) -> str:
        return os.path.join(*parts)


class Node:
    """A connection and what it leads to. ``looks`` are the answers to one look at the files after the other."""

    def __init__(self) -> None:
        self.transport = "ssh"
        self.has_native_async = self.always_pipeline_modules = False
        self.become = None
        self._shell = Shell()
        self.umask = {"rc": 0, "stdout": "0027\n"}
        self.start: Dict[str, Any] = {
            "ansible_job_id": "j1.2",
            "results_file": "/h/.ansible_async/j1.2",
            "changed": True,
        }
        self.looks: List[Any] = ["ended"]
        self.status: List[Any] = [{**LITTER, **DONE}]
        self.commands: List[str] = []
        self.runs: List[Dict[str, Any]] = []
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def answer(self, command: str) -> Dict[str, Any]:
        self.commands.append(command)
        if command.startswith("umask"):
            return self.umask
        if "vdisk-state" not in command:
            return {"rc": 0, "stdout": ""}
        look = following(self.looks)
        if look == "ended":
            return {"rc": 0, "stdout": "vdisk-state \n"}
        alive = "" if look.get("dead") else "vdisk-alive\n"
        return {"rc": 0, "stdout": f"Welcome\nvdisk-state {json.dumps(look)}\nvdisk-running\n{alive}"}


def writing(percent: int, **more: Any) -> Dict[str, Any]:
    return {**WRITING, "done": percent << 20, "seconds": percent / 10, **more}


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def lines(monkeypatch) -> List[str]:
    told: List[str] = []

    def show(text: str, *, stderr: bool) -> None:
        assert stderr
        told.append(text)

    monkeypatch.setattr(subject.display, "display", show)
    return told


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(subject.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    monkeypatch.setattr(subject.time, "monotonic", lambda: clock.now)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("VDISK_PROGRESS", raising=False)
    monkeypatch.setattr(subject, "_HAS_TERMINAL", False)


@pytest.fixture
def make(node, monkeypatch):
    """An action for a task with these options, as the executor makes it."""

    def of(plugin: Any = hdd_merge, *, options: Any = None, **fields: Any) -> Any:
        name = plugin.__name__.rpartition(".")[2]
        task = SimpleNamespace(
            action=f"vdisk.parallels.{name}",
            args={"path": "/vms/a.hdd"} if options is None else options,
            check_mode=False,
            async_val=0,
            no_log=False,
            delegate_to=None,
            environment=[{"A": "b"}],
            diff=False,
        )
        vars(task).update(fields)
        action = plugin.ActionModule(
            task, node, SimpleNamespace(), None, SimpleNamespace(template=lambda value: value), None
        )

        def execute(
            module_name: Any = None, module_args: Any = None, task_vars: Any = None, wrap_async: bool = False
        ) -> Dict[str, Any]:
            node.runs.append(
                {
                    "name": module_name,
                    "args": module_args,
                    "async": wrap_async,
                    "limit": task.async_val,
                    "environment": list(task.environment),
                }
            )
            if wrap_async:
                return dict(node.start)
            if module_name is None:
                return {"plain": True}
            return dict(following(node.status))

        monkeypatch.setattr(action, "_execute_module", execute)
        monkeypatch.setattr(action, "_low_level_execute_command", lambda command, **_more: node.answer(command))
        monkeypatch.setattr(action, "_make_tmp_path", lambda: setattr(node._shell, "tmpdir", "/tmp/ansible-tmp-1"))
        monkeypatch.setattr(
            action, "_remove_tmp_path", lambda path, force=False: node.commands.append(f"remove {path}")
        )
        monkeypatch.setattr(action, "get_shell_option", lambda _name, default: default)
        monkeypatch.setattr(action, "_is_become_unprivileged", lambda: bool(node.become))
        monkeypatch.setattr(PlainAction.__mro__[1], "run", lambda self, tmp=None, task_vars=None: {})
        return action

    return of


def shown(action: Any, **variables: Any) -> Dict[str, Any]:
    return action.run(task_vars={"inventory_hostname": "web1", "vdisk_progress": "always", **variables})


def is_plain(node: Node) -> bool:
    return [run["async"] for run in node.runs] == [False] and not [
        command for command in node.commands if "vdisk" in command
    ]


def test_the_result_is_the_one_of_the_module(node, make) -> None:
    action = make()
    assert shown(action) == DONE
    start, status = node.runs
    assert start["async"]
    assert status["name"] == "ansible.legacy.async_status"
    assert status["args"] == {"jid": "j1.2", "mode": "status", "_async_dir": "/h/.ansible_async"}
    assert not status["async"]


def test_the_module_is_told_where_and_with_which_umask(node, make) -> None:
    action = make()
    shown(action)
    told = node.runs[0]["environment"][1]
    assert sorted(told) == ["VDISK_PROGRESS_FILE", "VDISK_PROGRESS_UMASK"]
    assert told["VDISK_PROGRESS_UMASK"] == "0027"
    assert told["VDISK_PROGRESS_FILE"].startswith("~/.ansible_async/vdisk-")
    # Later commands, and the task that the callbacks see, know nothing of it.
    assert node.runs[1]["environment"] == action._task.environment == [{"A": "b"}]
    assert action._task.async_val == node.runs[1]["limit"] == 0
    assert node.runs[0]["limit"] > 10**8


def test_nothing_is_left_on_the_node(node, make) -> None:
    shown(make())
    name = os.path.basename(node.runs[0]["environment"][1]["VDISK_PROGRESS_FILE"])
    assert f"rm -f /h/.ansible_async/j1.2 /h/.ansible_async/{name} /h/.ansible_async/{name}.new" in node.commands[-1]


def test_the_temporary_folder_of_another_user_goes_too(node, make) -> None:
    node.become = "user"
    shown(make())
    assert node.commands[-1] == "remove /tmp/ansible-tmp-1"


def test_lines_tell_host_module_path_percent_rate_and_time(node, make, lines) -> None:
    node.looks = [writing(percent) for percent in range(0, 100, 5)] + ["ended"]
    shown(make(delegate_to="store", options={"src": "/a", "dest": "/b.raw"}, plugin=hdd_convert))
    assert lines[0].startswith("progress: [web1 -> store] hdd_convert /b.raw: ")
    assert (
        lines[-1]
        == "progress: [web1 -> store] hdd_convert /b.raw: 90 %, writing 90.0 MiB of 100.0 MiB, 10.0 MiB/s, 2 s left"
    )
    assert 8 <= len(lines) <= 11


@pytest.mark.parametrize(
    "fields, variables",
    [
        ({"check_mode": True}, {}),
        ({"async_val": 60}, {}),
        ({"no_log": True}, {}),
        ({}, {"vdisk_progress": "never"}),
        ({}, {"vdisk_progress": False}),
        ({}, {"vdisk_progress": None}),
        ({}, {"vdisk_progress": "auto"}),
    ],
)
def test_it_keeps_out_of_the_way(node, make, monkeypatch, fields, variables) -> None:
    action = make(**fields)
    monkeypatch.setattr(PlainAction, "run", lambda self, tmp=None, task_vars=None: {"plain": True})
    assert shown(action, **variables) == {"plain": True}
    assert node.runs == node.commands == []


@pytest.mark.parametrize(
    "terminal, environment, wanted",
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"CI": "true"}, False),
        (True, {"VDISK_PROGRESS": "never"}, False),
        (False, {"VDISK_PROGRESS": "always", "CI": "true"}, True),
        (False, {"VDISK_PROGRESS": "1"}, True),
    ],
)
def test_without_a_word_it_depends_on_the_terminal(node, make, monkeypatch, terminal, environment, wanted) -> None:
    monkeypatch.setattr(subject, "_HAS_TERMINAL", terminal)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    make().run(task_vars={"inventory_hostname": "web1"})
    assert node.runs[0]["async"] == wanted


def test_the_variable_wins_over_the_environment(node, make, monkeypatch) -> None:
    monkeypatch.setenv("VDISK_PROGRESS", "always")
    shown(make(), vdisk_progress="never")
    assert is_plain(node)


def test_a_wrong_word_is_refused(make) -> None:
    with pytest.raises(AnsibleActionFail, match="must be auto, always or never, not 'sometimes'"):
        shown(make(), vdisk_progress="sometimes")


@pytest.mark.parametrize(
    "change",
    [
        lambda node: setattr(node, "has_native_async", True),
        lambda node: setattr(node, "always_pipeline_modules", True),
        lambda node: setattr(node._shell, "SHELL_FAMILY", "powershell"),
        lambda node: setattr(node, "_sub_plugin", {}),
        lambda node: setattr(node, "umask", {"rc": 127, "stdout": ""}),
        lambda node: setattr(node, "umask", {"rc": 0, "stdout": "u=rwx"}),
        lambda node: setattr(node, "umask", {"rc": 0, "stdout": ""}),
    ],
)
def test_where_async_cannot_work_the_run_is_plain(node, make, change) -> None:
    node.transport = "network_cli"
    change(node)
    assert shown(make()) == {"plain": True}
    assert is_plain(node)


@pytest.mark.parametrize(
    "transport, mode, is_async",
    [("containers.podman.podman", "auto", False), ("containers.podman.podman", "always", True)],
)
def test_unknown_connections_are_tried_only_when_told_to(node, make, monkeypatch, transport, mode, is_async) -> None:
    monkeypatch.setattr(subject, "_HAS_TERMINAL", True)
    node.transport = transport
    shown(make(), vdisk_progress=mode)
    assert node.runs[0]["async"] == is_async


@pytest.mark.parametrize(
    "start", [{"failed": True, "msg": "could not create directory"}, {"changed": True}, {"ansible_job_id": "j1.2"}]
)
def test_a_start_that_fails_becomes_a_plain_run(node, make, start) -> None:
    node.start = start
    action = make()
    assert shown(action) == {"plain": True}
    assert [run["async"] for run in node.runs] == [True, False]
    assert "remove /tmp/ansible-tmp-1" in node.commands
    assert action._task.async_val == 0
    assert action._task.environment == [{"A": "b"}]


def test_a_failure_of_the_module_comes_through(node, make) -> None:
    failed = {"failed": True, "msg": "no", "error_code": "in_use", "error_context": {"path": "/vms/a.hdd"}}
    node.status = [{**LITTER, **failed}]
    assert shown(make()) == failed


def test_a_module_that_crashed_is_told_as_such(node, make) -> None:
    node.status = [{**LITTER, "failed": True, "cmd": "x", "data": "out", "stderr": "Killed", "msg": "Traceback"}]
    result = shown(make())
    assert result["failed"]
    assert (result["module_stdout"], result["module_stderr"]) == ("out", "Killed")
    assert "Traceback" not in result["msg"]


def test_a_result_that_is_not_there_yet_is_waited_for(node, make) -> None:
    node.status = [
        {"finished": False},
        {"failed": True, "msg": "noise"},
        AnsibleConnectionFailure("gone"),
        {**LITTER, **DONE},
    ]
    assert shown(make()) == DONE


def test_a_node_that_was_restarted_ends_the_task(node, make) -> None:
    node.looks = [writing(10), writing(20), writing(20, dead=True)]
    node.status = [{"finished": False}]
    result = shown(make())
    assert result["failed"]
    assert "restarted" in result["msg"]
    assert "rm -f" in node.commands[-1]


def test_a_module_that_has_just_ended_is_not_lost(node, make) -> None:
    node.looks = [writing(10), writing(90, dead=True), writing(90, dead=True), "ended"]
    assert shown(make()) == DONE


def test_a_lost_connection_is_waited_for(node, make) -> None:
    node.looks = [writing(10), AnsibleConnectionFailure("gone"), AnsibleConnectionFailure("gone"), writing(20), "ended"]
    assert shown(make()) == DONE
    assert node.resets == 2


def test_a_connection_that_stays_away_makes_the_host_unreachable(node, make) -> None:
    node.looks = [writing(10), AnsibleConnectionFailure("ssh is gone")]
    with pytest.raises(AnsibleConnectionFailure, match="The module goes on.* ssh is gone"):
        shown(make())


@pytest.mark.parametrize(
    "plugin, options, is_long",
    [(hdd_merge, {}, True), (hdd_check, {}, False), (hdd_check, {"repair": "safe"}, True)],
)
def test_only_what_may_take_long_is_watched(node, make, plugin, options, is_long) -> None:
    shown(make(plugin, options={"path": "/vms/a.hdd", **options}))
    assert node.runs[0]["async"] == is_long
