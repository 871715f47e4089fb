# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every module as root in the folder of somebody who swaps what is behind a name: before each call, and before the run.

Whatever was swapped and whenever: no victim changes in a byte, an owner, a mode, an attribute or a time, no byte of one
is in anything that the enemy can read, and the run ends with a result or with an error of ours.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.conftest import ROOT
from ansible_collections.vdisk.parallels.tests.crash.privileged import TASKS, Scene, Task, give_to_enemy
from ansible_collections.vdisk.parallels.tests.crash.swapper import (
    KINDS,
    LINK,
    OTHER_FILE,
    SECRET,
    STRANGE,
    Asked,
    Swapper,
)
from ansible_collections.vdisk.parallels.tests.support.module_runner import Run
from ansible_collections.vdisk.parallels.tests.support.served import run_folder

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names are told by /proc")

LONG = bool(os.environ.get("VDISK_LONG"))
_SWAPS, _PLANTED = 12, 6
"""How many of each a task meets in a short run."""
_PATIENCE = 60


@pytest.fixture(name="base", scope="module")
def base_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A place where syncing costs little, if there is one."""
    fast = "/dev/shm"
    slow = str(tmp_path_factory.mktemp("races"))
    base = os.path.realpath(tempfile.mkdtemp(dir=fast if os.access(fast, os.W_OK) else slow))
    yield base
    shutil.rmtree(base)


@pytest.fixture(name="fresh", scope="module")
def fresh_fixture(base: str) -> Callable[[Task], str]:
    """The enemy's folder, with the scene of a task as nobody has touched it."""
    made: Dict[Scene, str] = {}
    folder = f"{base}/now/vm"

    def fresh(task: Task) -> str:
        shutil.rmtree(os.path.dirname(folder), ignore_errors=True)
        if task.scene not in made:
            # Where it will be: some scenes know their own paths.
            os.makedirs(folder)
            task.scene(folder)
            made[task.scene] = f"{base}/scene{len(made)}"
            os.rename(folder, made[task.scene])
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        shutil.copytree(made[task.scene], folder, symlinks=True)
        give_to_enemy(folder)
        return folder

    return fresh


@pytest.fixture(name="servers", scope="module", autouse=True)
def servers_fixture() -> Iterator[str]:
    with run_folder() as folder:
        yield folder


def _too_long(_number: int, _frame: Any) -> None:
    raise TimeoutError("the run hangs")


def met(task: Task, folder: str, swapper: Swapper, *, only_victims: bool = False) -> List[Run]:
    """The task while somebody is at work; it ends, and nothing got out or in."""
    error: Any = None
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(_PATIENCE)
    try:
        with swapper:
            runs = task.act(folder)
        for one in runs:
            text = json.dumps(one.result)
            assert "Traceback" not in text
            assert not one.failed or one.result.get("error_code"), one.result
            error = error or one.result.get("msg")
            is_told = not only_victims and not swapper.is_second_name_seen_first
            assert not is_told or SECRET.decode() not in text, "the result tells what only root may know"
        if swapper.has_swapped:
            swapper.check_victims() if only_victims else swapper.check()
    except BaseException as failure:
        raise AssertionError(f"{error}\n{type(failure).__name__}: {failure}") from failure
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return runs


def named(task: Task, folder: str) -> List[str]:
    return [f"{folder}/{one}".rstrip("/") for one in task.named]


def spread(items: Sequence[Any], count: int, seed: str) -> List[Any]:
    """So many of the items, evenly, from one that the seed says; all of them in a long run."""
    if LONG or len(items) <= count:
        return list(items)
    start = sum(seed.encode()) % len(items)
    return [items[(start + number * len(items) // count) % len(items)] for number in range(count)]


def positions(asked: Sequence[Asked]) -> List[int]:
    """The numbers of the names to swap: one of each site of the code, in a long run all."""
    if LONG:
        return list(range(1, len(asked) + 1))
    by_site: Dict[Tuple[str, str], List[int]] = {}
    for number, one in enumerate(asked, 1):
        by_site.setdefault((one.site, os.path.splitext(one.path)[1]), []).append(number)
    return [found[len(site[0]) % len(found)] for site, found in by_site.items()]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name.replace(" ", "-"))
def test_what_is_swapped_before_a_call_is_not_followed(task: Task, fresh: Callable[[Task], str]) -> None:
    folder = fresh(task)
    calm = Swapper(folder, named=named(task, folder))
    runs = met(task, folder, calm)
    assert not any(one.failed for one in runs), runs
    assert calm.count > 10
    kinds = (*KINDS, *STRANGE)
    sites = calm.sites()
    chosen = spread(positions(sites), _SWAPS, task.name)
    swapped = 0
    for turn, number in enumerate(chosen):
        for kind in kinds if LONG else [kinds[(turn + len(task.name)) % len(kinds)]]:
            folder = fresh(task)
            swapper = Swapper(folder, number, kind, named=named(task, folder))
            try:
                met(task, folder, swapper)
            except AssertionError as failure:
                what = f"{task.name}: {kind} before name {number}, {sites[number - 1]}"
                raise AssertionError(f"{what}: {failure}") from failure
            swapped += swapper.has_swapped
    assert swapped > len(chosen) // 4


def test_every_module_is_met() -> None:
    modules = {name[: -len(".py")] for name in os.listdir(os.path.join(ROOT, "plugins", "modules"))}
    assert {task.module for task in TASKS} == {name for name in modules if name.isidentifier() and name[0] != "_"}


def names_of(task: Task, fresh: Callable[[Task], str]) -> List[str]:
    """The names that a calm run asks for and that can be known before it, without those that the user names."""
    found = []
    for _turn in range(2):
        folder = fresh(task)
        calm = Swapper(folder, named=named(task, folder))
        with calm:
            task.act(folder)
        found.append({one.path for one in calm.sites() if one.path.startswith(f"{folder}/")})
    above = [*named(task, folder), *(f"{folder}/{name}" for name in ("out", "chain", "a.pvm"))]
    return sorted(path for path in found[0] & found[1] if not any(f"{one}/".startswith(f"{path}/") for one in above))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name.replace(" ", "-"))
def test_what_is_planted_before_a_run_is_not_followed(task: Task, fresh: Callable[[Task], str]) -> None:
    paths = names_of(task, fresh)
    cases = [(path, kind) for path in paths for kind in (LINK, OTHER_FILE, *STRANGE)]
    for path, kind in spread(cases, _PLANTED, task.name):
        folder = fresh(task)
        if not os.path.isdir(os.path.dirname(path)) or (kind == OTHER_FILE and os.path.isdir(path)):
            continue
        swapper = Swapper(folder, -1, kind, named=named(task, folder))
        swapper.plant(path)
        try:
            # A file that is there under another name, too, is what the run finds; it is not changed.
            met(task, folder, swapper, only_victims=kind == OTHER_FILE)
        except AssertionError as failure:
            raise AssertionError(f"{task.name}: {kind} at {path}: {failure}") from failure
