# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a module in this process, as AnsiballZ would: arguments in, the printed result out.

Needs ansible-core, of any version that Python can import.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import stat
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple
from unittest import mock

from ansible.module_utils import basic
from ansible.module_utils.common import warnings as recorded

MODULES = "ansible_collections.vdisk.parallels.plugins.modules"
ANSIBLE_OWNS = {"changed", "diff", "failed", "msg", "warnings", "deprecations", "exception", "invocation"}
"""Keys that every module may return without documenting them."""

Tree = Dict[str, Tuple[Any, ...]]


class Run(NamedTuple):
    """What a module printed, and whether it failed."""

    result: Dict[str, Any]
    failed: bool


class ThreeRuns(NamedTuple):
    """One task in check mode, for real, and again."""

    predicted: Dict[str, Any]
    done: Dict[str, Any]
    again: Dict[str, Any]


@contextlib.contextmanager
def _arguments(options: Dict[str, Any]) -> Iterator[None]:
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:
        with mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode()):
            yield
        return
    with patch_module_args(options):
        yield


@contextlib.contextmanager
def _on_a_node() -> Iterator[None]:
    """Warnings are what a module returns, even when a test of the controller's side has shared this process."""
    internal = getattr(recorded, "_internal", None)
    if not hasattr(internal, "is_controller"):
        yield
        return
    with mock.patch.object(internal, "is_controller", False):
        yield


def run(module: str, /, *, check: bool = False, **options: Any) -> Run:
    """Call ``main()`` of the module with these options, in diff mode."""
    main = importlib.import_module(f"{MODULES}.{module}").main
    for record in ("_global_warnings", "_global_deprecations"):
        getattr(recorded, record, []).clear()
    printed = io.StringIO()
    code: Any = "it returned"
    own = {
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        "_ansible_keep_remote_files": True,
        "_ansible_socket": None,
    }
    with _arguments({**options, **own}), _on_a_node(), contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as end:
            code = end.code
    result = json.loads(printed.getvalue().strip().splitlines()[-1])
    failed = bool(result.get("failed"))
    assert code in ((1,) if failed else (0, None)), (code, result)
    return Run(result, failed)


def warnings(result: Dict[str, Any]) -> List[str]:
    """The texts of the warnings; the newest ansible-core wraps each of them."""
    return [one["event"]["msg"] if isinstance(one, dict) else one for one in result.get("warnings", ())]


def succeed(module: str, /, *, check: bool = False, **options: Any) -> Dict[str, Any]:
    """The result of a run that must not fail."""
    ended = run(module, check=check, **options)
    assert not ended.failed, ended.result
    return ended.result


def refused(
    module: str, root: str, /, *, code: Optional[str], check: Optional[bool] = None, **options: Any
) -> Dict[str, Any]:
    """The result of a task that must fail with this code, in check mode as well as for real, and leave everything
    below ``root`` as it is.
    """
    before = tree(root)
    ended = Run({}, False)
    for mode in (True, False) if check is None else (check,):
        ended = run(module, check=mode, **options)
        assert ended.failed, ended.result
        assert ended.result.get("error_code") == code, ended.result
        assert "Traceback" not in json.dumps(ended.result)
        assert tree(root) == before
    return ended.result


def three_runs(module: str, root: str, /, **options: Any) -> ThreeRuns:
    """Predict, do, repeat.

    The prediction touches nothing below ``root`` and comes true; the repetition touches nothing and changes nothing.
    """
    before = tree(root)
    predicted = succeed(module, check=True, **options)
    assert tree(root) == before
    done = succeed(module, **options)
    assert predictable(predicted) == predictable(done)
    after = tree(root)
    if not done["changed"]:
        assert after == before
    again = succeed(module, **options)
    assert not again["changed"]
    assert tree(root) == after
    assert predictable(succeed(module, check=True, **options)) == predictable(again)
    assert tree(root) == after
    return ThreeRuns(predicted, done, again)


def predictable(result: Dict[str, Any]) -> Dict[str, Any]:
    """The part of a result that a prediction must hit: all but times, what is drawn at random, and the host's
    blocks.
    """
    kept = {key: value for key, value in result.items() if key not in ("elapsed", "rate", "invocation")}
    for key in ("disk", "snapshot"):
        if isinstance(kept.get(key), dict):
            kept[key] = _without_host(kept[key])
    if "disks" in kept:
        kept["disks"] = [predictable(one) for one in kept["disks"]]
    return kept


def _without_host(facts: Dict[str, Any]) -> Dict[str, Any]:
    kept = {key: value for key, value in facts.items() if key not in ("uid", "allocated_size", "taken")}
    if "snapshots" in kept:
        kept["snapshots"] = [{**one, "taken": None} for one in kept["snapshots"]]
    if "layers" in kept:
        kept["layers"] = [
            {**layer, "files": [{**file, "allocated": None} for file in layer["files"]]} for layer in kept["layers"]
        ]
    return kept


def tree(root: str) -> Tree:
    """Everything at and below ``root``: kind, mode, owner, inode, length, time of change to the nanosecond, and
    content.
    """
    found = {root: _entry(root)}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            found[path] = _entry(path)
    return found


def _entry(path: str) -> Tuple[Any, ...]:
    seen = os.lstat(path)
    content: Any = None
    if stat.S_ISLNK(seen.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(seen.st_mode):
        content = _digest(path)
    return (
        seen.st_mode,
        seen.st_uid,
        seen.st_gid,
        seen.st_ino,
        seen.st_nlink,
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
        content,
    )


def _digest(path: str) -> str:
    """The checksum of the data in a file; holes are passed over, so that a large sparse file costs nothing."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        end = os.fstat(stream.fileno()).st_size
        start = 0
        while start < end:
            try:
                start = os.lseek(stream.fileno(), start, getattr(os, "SEEK_DATA", os.SEEK_SET))
            except OSError:
                break
            stream.seek(start)
            data = stream.read(1 << 20)
            digest.update(b"%d:" % start + data)
            start += len(data)
    return digest.hexdigest()


def guest_of(path: str) -> str:
    """The SHA-256 of what the guest sees of a disk, as the module reports it."""
    found: str = succeed("hdd_info", path=path, checksum="sha256")["disks"][0]["checksum"]
    return found


def content(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as stream:
        return stream.read()


def put(path: str, data: bytes) -> None:
    """Write a file."""
    with open(path, "wb") as stream:
        stream.write(data)
